/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/err.h"

void buf_init(struct buf *buf, size_t ceiling)
{
    *buf = (struct buf){.ceiling = ceiling};
}

void buf_deinit(struct buf *buf)
{
    free(buf->bytes);
    buf_init(buf, buf->ceiling);
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->failed = false;
    if (buf->bytes)
        buf->bytes[0] = '\0';
}

/* Room for `len` more bytes and the NUL. */
static int buf_reserve(struct buf *buf, size_t len)
{
    if (buf->failed || len > buf->ceiling - buf->len) {
        buf->failed = true;
        return E_LIMIT;
    }
    size_t need = buf->len + len + 1;
    if (need > buf->cap) {
        size_t cap = buf->cap ? buf->cap * 2 : 64;
        if (cap < need)
            cap = need;
        buf->bytes = xrealloc(buf->bytes, cap, 1);
        buf->cap = cap;
    }
    return 0;
}

int buf_append(struct buf *buf, const void *bytes, size_t len)
{
    int r = buf_reserve(buf, len);
    if (r < 0)
        return r;
    if (len)
        memcpy(buf->bytes + buf->len, bytes, len);
    buf->len += len;
    buf->bytes[buf->len] = '\0';
    return 0;
}

int buf_append_str(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

int buf_format(struct buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(len >= 0);
    int r = buf_reserve(buf, (size_t)len);
    if (r < 0)
        return r;
    va_start(args, fmt);
    (void)vsnprintf(buf->bytes + buf->len, (size_t)len + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)len;
    return 0;
}

void buf_consume(struct buf *buf, size_t len)
{
    if (len > buf->len)
        len = buf->len;
    if (!len)
        return;
    memmove(buf->bytes, buf->bytes + len, buf->len - len);
    buf->len -= len;
    buf->bytes[buf->len] = '\0';
}

const char *buf_str(const struct buf *buf)
{
    return buf->bytes ? buf->bytes : "";
}
