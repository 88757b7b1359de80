/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growable bytes with a ceiling given at birth. Past the ceiling an append fails with E_LIMIT and
 * the buffer keeps what it had; `failed` remembers it, so that a formatter may append freely and
 * check once at the end. The bytes are always followed by a NUL that is not counted in `len`.
 */
#ifndef MUSTER_BASE_BUF_H
#define MUSTER_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *bytes; /* owned; NULL while nothing was appended */
    size_t len;
    size_t cap;
    size_t ceiling;
    bool failed;
};

/* `ceiling`: the largest `len` allowed, in bytes. Nothing is allocated yet. */
void buf_init(struct buf *buf, size_t ceiling);

/* Frees the bytes; the buffer stays usable with the same ceiling. Accepts a zeroed struct. */
void buf_deinit(struct buf *buf);

/* Forgets contents and failure, keeps the memory. */
void buf_clear(struct buf *buf);

/* 0, or E_LIMIT. */
int buf_append(struct buf *buf, const void *bytes, size_t len);
int buf_append_str(struct buf *buf, const char *text);
int buf_format(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first `len` bytes (at most all of them). */
void buf_consume(struct buf *buf, size_t len);

/* The contents as a string, "" when empty; borrowed until the next change. */
const char *buf_str(const struct buf *buf);

#define auto_buf __attribute__((cleanup(buf_deinit)))

#endif
