/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "wire_sample.h"

#define SAMPLE_MAX 65536

char *wire_sample(const char *name, size_t *ret_len)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/fuzz/corpus/%s", MUSTER_TESTS_DIR, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: cannot be read", path);
    char *text = xcalloc(SAMPLE_MAX + 1, 1);
    *ret_len = fread(text, 1, SAMPLE_MAX, file);
    (void)fclose(file);
    assert_in_range(*ret_len, 1, SAMPLE_MAX - 1);
    return text;
}

size_t wire_mutate(struct span text, size_t at, unsigned kind, char *dst)
{
    static const char bytes[] = {'\0', '\n', ' ', ',', ':', '-', '9', 'z', '"', '\xff'};
    size_t tail = text.len - at - 1;
    memcpy(dst, text.ptr, at);
    size_t len = at;
    if (kind == 1) {
        dst[len++] = text.ptr[at];
        dst[len++] = text.ptr[at];
    } else if (kind > 1) {
        dst[len++] = bytes[kind - 2];
    }
    memcpy(dst + len, text.ptr + at + 1, tail);
    dst[len + tail] = '\0';
    return len + tail;
}

_Static_assert(WIRE_MUTATIONS == 12, "dropped, doubled, and each of the bytes");

struct span wire_exact(struct span text)
{
    char *copy = xcalloc(text.len, 1);
    memcpy(copy, text.ptr, text.len);
    return (struct span){copy, text.len};
}

char *wire_replace(const char *text, const char *what, const char *by)
{
    const char *hit = strstr(text, what);
    if (!hit)
        fail_msg("'%s' is not in the sample", what);
    size_t before = (size_t)(hit - text);
    char *out = xcalloc(strlen(text) + strlen(by) + 1, 1);
    memcpy(out, text, before);
    text_append(out, strlen(text) + strlen(by) + 1, "%s%s", by, hit + strlen(what));
    return out;
}
