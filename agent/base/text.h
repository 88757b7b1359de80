/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict text: spans (pointer and length, no NUL assumed), whole-token integers, bounded copies.
 * Nothing here accepts "12abc", " 12", "+12", "0x12" or a value out of range.
 */
#ifndef MUSTER_BASE_TEXT_H
#define MUSTER_BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
    const char *ptr;
    size_t len;
};

struct span span_of(const char *text);
bool span_is(struct span span, const char *text);
bool span_starts(struct span span, const char *prefix);

/* The part before the first `sep`; *rest becomes what follows it (empty, ptr at the end, if none). */
struct span span_until(struct span *rest, char sep);

/* The next token separated by one or more spaces; false when *rest holds none. */
bool span_token(struct span *rest, struct span *ret_token);

/* The next line without its \n or \r\n; false at the end. A last line needs no newline. */
bool span_line(struct span *rest, struct span *ret_line);

/* Position of the first/last `c`, or -1. */
ptrdiff_t span_find(struct span span, char c);
ptrdiff_t span_rfind(struct span span, char c);

/* The whole span as a decimal number within min..max. False, output untouched, if it is not. */
bool text_to_u64(struct span span, uint64_t max, uint64_t *ret_value);
bool text_to_i64(struct span span, int64_t min, int64_t max, int64_t *ret_value);

/*
 * Copies the span into dst[size] with a NUL. False, dst untouched, if it does not fit or holds a
 * NUL byte. With constant-size arrays use TEXT_COPY(dst, span).
 */
bool text_copy(char *dst, size_t size, struct span span);
#define TEXT_COPY(dst, span) text_copy((dst), sizeof(dst), (span))

/* snprintf that always ends with a NUL and cuts silently: for sentences and log values only. */
void text_format(char *dst, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

void text_vformat(char *dst, size_t size, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));

/* Appends to what dst[size] holds, cutting silently. */
void text_append(char *dst, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* True if every byte is printable ASCII other than space, quote and backslash. */
bool text_is_plain(struct span span);

/*
 * The bytes of the UTF-8 sequence (RFC 3629) that `text` begins with, 1 to 4, and its code point; 0
 * if there is none: overlong, cut, a surrogate, or nothing.
 */
size_t text_utf8(struct span text, unsigned *ret_code);

/* FNV-1a 64: a hash for comparing and spreading, not for security. Start with TEXT_HASH_SEED. */
#define TEXT_HASH_SEED UINT64_C(0xcbf29ce484222325)
uint64_t text_hash(uint64_t seed, const void *bytes, size_t len);

#endif
