/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text for a terminal. Whatever a string holds, only printable ASCII reaches the terminal: other
 * bytes are shown as \xNN, so that no name or sentence can move the cursor or forge a line.
 */
#ifndef MUSTER_CLI_TABLE_H
#define MUSTER_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/text.h"

/* Appends the text, made safe. */
void cli_put_safe(struct buf *out, struct span text);

/* The same, cut to `width` columns with ".." in place of its end or of its beginning. */
enum table_keep { TABLE_KEEP_START = 1, TABLE_KEEP_END };
const char *cli_fit(struct arena *arena, const char *text, size_t width, enum table_keep keep);

/* "512", "1.2K", "3.4G": powers of 1024; "-" if negative, which is unknown. */
const char *cli_bytes(struct arena *arena, int64_t bytes);

/* "12", or "-" if negative. */
const char *cli_number(struct arena *arena, int64_t number);

#define TABLE_COLUMNS_MAX 12

struct table_column {
    const char *title;
    bool right; /* aligned to the right, as numbers are */
};

struct table {
    struct arena *arena;
    const struct table_column *columns;
    size_t column_count;
    const char **cells; /* by row, then column */
    size_t row_count;
    size_t row_max;
};

/* Room for `rows` rows; `columns` has to outlive the table. */
void table_init(struct table *table, struct arena *arena, const struct table_column *columns,
                size_t column_count, size_t rows);

/* Appends a row of `column_count` cells, which have to outlive the table. "" stays empty. */
void table_add(struct table *table, const char *const *cells);

/* Each column as wide as its widest cell, two spaces between, none at the end of a line. */
void table_put(const struct table *table, struct buf *out);

#endif
