/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

void cli_put_safe(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (is_printable(text.ptr[i]))
            (void)buf_append(out, &text.ptr[i], 1);
        else
            (void)buf_format(out, "\\x%02x", (unsigned char)text.ptr[i]);
    }
}

/* Columns that the text takes when it is made safe. */
static size_t safe_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += is_printable(*text) ? 1 : 4;
    return width;
}

const char *cli_fit(struct arena *arena, const char *text, size_t width, enum table_keep keep)
{
    size_t len = strlen(text);
    assert(width > 2);
    if (len <= width)
        return text;
    if (keep == TABLE_KEEP_END)
        return arena_format(arena, "..%s", text + len - (width - 2));
    return arena_format(arena, "%.*s..", (int)(width - 2), text);
}

const char *cli_bytes(struct arena *arena, int64_t bytes)
{
    static const char units[] = "KMGTPE";
    int unit = -1;
    int64_t whole = bytes;
    int64_t rest = 0;
    if (bytes < 0)
        return "-";
    while (whole >= 1024) {
        rest = whole % 1024;
        whole /= 1024;
        unit++;
    }
    if (unit < 0)
        return arena_format(arena, "%" PRId64, whole);
    return arena_format(arena, "%" PRId64 ".%" PRId64 "%c", whole, rest * 10 / 1024, units[unit]);
}

const char *cli_number(struct arena *arena, int64_t number)
{
    return number < 0 ? "-" : arena_format(arena, "%" PRId64, number);
}

void table_init(struct table *table, struct arena *arena, const struct table_column *columns,
                size_t column_count, size_t rows)
{
    assert(column_count <= TABLE_COLUMNS_MAX);
    *table = (struct table){
        .arena = arena,
        .columns = columns,
        .column_count = column_count,
        .cells = ARENA_NEW(arena, const char *, rows *column_count),
        .row_max = rows,
    };
}

void table_add(struct table *table, const char *const *cells)
{
    assert(table->row_count < table->row_max);
    for (size_t c = 0; c < table->column_count; c++)
        table->cells[table->row_count * table->column_count + c] = cells[c];
    table->row_count++;
}

static void put_spaces(struct buf *out, size_t count)
{
    for (; count > 0; count--)
        (void)buf_append_str(out, " ");
}

static void put_row(const struct table *table, const char *const *cells, const size_t *widths,
                    struct buf *out)
{
    size_t owed = 0; /* spaces that only a further cell makes visible */
    for (size_t c = 0; c < table->column_count; c++) {
        size_t fill = widths[c] - safe_width(cells[c]);
        if (cells[c][0]) {
            put_spaces(out, owed + (table->columns[c].right ? fill : 0));
            cli_put_safe(out, span_of(cells[c]));
            owed = table->columns[c].right ? 2 : fill + 2;
        } else {
            owed += widths[c] + 2;
        }
    }
    (void)buf_append_str(out, "\n");
}

void table_put(const struct table *table, struct buf *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    const char *titles[TABLE_COLUMNS_MAX] = {0};
    for (size_t c = 0; c < table->column_count; c++) {
        titles[c] = table->columns[c].title;
        widths[c] = strlen(titles[c]);
        for (size_t r = 0; r < table->row_count; r++) {
            size_t width = safe_width(table->cells[r * table->column_count + c]);
            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
    put_row(table, titles, widths, out);
    for (size_t r = 0; r < table->row_count; r++)
        put_row(table, table->cells + r * table->column_count, widths, out);
}
