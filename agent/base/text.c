/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

bool span_is(struct span span, const char *text)
{
    size_t len = strlen(text);
    return span.len == len && (len == 0 || memcmp(span.ptr, text, len) == 0);
}

bool span_starts(struct span span, const char *prefix)
{
    size_t len = strlen(prefix);
    return span.len >= len && (len == 0 || memcmp(span.ptr, prefix, len) == 0);
}

static struct span span_skip(struct span span, size_t len)
{
    return (struct span){span.ptr + len, span.len - len};
}

ptrdiff_t span_find(struct span span, char c)
{
    const char *hit = span.len ? memchr(span.ptr, c, span.len) : NULL;
    return hit ? hit - span.ptr : -1;
}

ptrdiff_t span_rfind(struct span span, char c)
{
    for (size_t i = span.len; i > 0; i--)
        if (span.ptr[i - 1] == c)
            return (ptrdiff_t)(i - 1);
    return -1;
}

struct span span_until(struct span *rest, char sep)
{
    ptrdiff_t at = span_find(*rest, sep);
    size_t len = at < 0 ? rest->len : (size_t)at;
    struct span head = {rest->ptr, len};
    *rest = span_skip(*rest, at < 0 ? len : len + 1);
    return head;
}

bool span_token(struct span *rest, struct span *ret_token)
{
    struct span left = *rest;
    while (left.len && left.ptr[0] == ' ')
        left = span_skip(left, 1);
    if (!left.len) {
        *rest = left;
        return false;
    }
    *ret_token = span_until(&left, ' ');
    *rest = left;
    return true;
}

bool span_line(struct span *rest, struct span *ret_line)
{
    if (!rest->len)
        return false;
    struct span line = span_until(rest, '\n');
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    *ret_line = line;
    return true;
}

bool text_to_u64(struct span span, uint64_t max, uint64_t *ret_value)
{
    if (!span.len || (span.len > 1 && span.ptr[0] == '0'))
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < span.len; i++) {
        unsigned digit = (unsigned)(span.ptr[i] - '0');
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (value > max)
        return false;
    *ret_value = value;
    return true;
}

bool text_to_i64(struct span span, int64_t min, int64_t max, int64_t *ret_value)
{
    bool negative = span.len && span.ptr[0] == '-';
    uint64_t magnitude;
    if (span_is(span, "-0")) /* as text_to_u64 takes one form of each number */
        return false;
    if (!text_to_u64(negative ? span_skip(span, 1) : span, (uint64_t)INT64_MAX + (negative ? 1 : 0),
                     &magnitude))
        return false;
    int64_t value;
    if (!negative)
        value = (int64_t)magnitude;
    else if (magnitude > (uint64_t)INT64_MAX)
        value = INT64_MIN;
    else
        value = -(int64_t)magnitude;
    if (value < min || value > max)
        return false;
    *ret_value = value;
    return true;
}

bool text_copy(char *dst, size_t size, struct span span)
{
    if (span.len >= size || (span.len && memchr(span.ptr, '\0', span.len)))
        return false;
    if (span.len)
        memmove(dst, span.ptr, span.len);
    dst[span.len] = '\0';
    return true;
}

void text_vformat(char *dst, size_t size, const char *fmt, va_list args)
{
    (void)vsnprintf(dst, size, fmt, args);
}

void text_format(char *dst, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    text_vformat(dst, size, fmt, args);
    va_end(args);
}

void text_append(char *dst, size_t size, const char *fmt, ...)
{
    size_t used = strlen(dst);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(dst + used, size - used, fmt, args);
    va_end(args);
}

bool text_is_plain(struct span span)
{
    for (size_t i = 0; i < span.len; i++) {
        char c = span.ptr[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\')
            return false;
    }
    return true;
}

size_t text_utf8(struct span text, unsigned *ret_code)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    static const struct {
        unsigned char mask;
        unsigned char lead;
        unsigned smallest; /* below it the sequence is overlong */
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t len = 1; len <= ARRAY_LEN(forms) && len <= text.len; len++) {
        if ((p[0] & forms[len - 1].mask) != forms[len - 1].lead)
            continue;
        unsigned code = p[0] & (unsigned char)~forms[len - 1].mask;
        for (size_t i = 1; i < len; i++) {
            if ((p[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (p[i] & 0x3fu);
        }
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        if (code < forms[len - 1].smallest || code > 0x10ffff || surrogate)
            return 0;
        *ret_code = code;
        return len;
    }
    return 0;
}

uint64_t text_hash(uint64_t seed, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < len; i++)
        seed = (seed ^ p[i]) * UINT64_C(0x100000001b3);
    return seed;
}
