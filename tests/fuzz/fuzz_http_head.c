/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken from a request lies within it, and more bytes never turn a head into a partial one. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(struct span part, struct span text)
{
    assert(part.ptr >= text.ptr && part.ptr + part.len <= text.ptr + text.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    struct http_head head;
    enum http_head_state state = http_head_parse(text, &head);
    if (state == HTTP_HEAD_COMPLETE) {
        check_within(head.method, text);
        check_within(head.path, text);
        check_within(head.query, text);
        assert(head.method.len > 0 && head.path.len > 0 && head.path.ptr[0] == '/');
        assert(span_find(head.path, '?') < 0);
    }
    bool ended = false;
    for (size_t len = 0; len <= size; len++) {
        bool partial = http_head_parse((struct span){text.ptr, len}, &head) == HTTP_HEAD_PARTIAL;
        assert(!(ended && partial));
        ended = !partial;
    }
    assert(ended == (state != HTTP_HEAD_PARTIAL));
    return 0;
}
