/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, in any pieces, from either side of the socket: what is accepted says the same after
 * it was written and read again. The first byte chooses the size of the pieces.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/limits.h"
#include "wire/hook_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again_request(struct span message)
{
    auto_hook_request struct hook_request request = {0}, read = {0};
    if (hook_request_parse(message, &request, NULL) < 0)
        return;
    auto_buf struct buf first, second;
    buf_init(&first, HOOK_MESSAGE_MAX);
    buf_init(&second, HOOK_MESSAGE_MAX);
    if (hook_request_format(&request, &first, NULL) < 0)
        return;
    assert(hook_request_parse((struct span){buf_str(&first), first.len}, &read, NULL) == 0);
    assert(read.verb == request.verb);
    assert(hook_request_format(&read, &second, NULL) == 0);
    assert(strcmp(buf_str(&first), buf_str(&second)) == 0);
}

static void again_answer(struct span message)
{
    auto_hook_answer struct hook_answer answer = {0}, read = {0};
    if (hook_answer_parse(message, &answer, NULL) < 0)
        return;
    for (size_t i = 0; i < answer.setting_count; i++)
        assert(hook_setting_is_allowed(&answer.settings[i]));
    auto_buf struct buf first, second;
    buf_init(&first, HOOK_MESSAGE_MAX);
    buf_init(&second, HOOK_MESSAGE_MAX);
    if (hook_answer_format(&answer, &first, NULL) < 0)
        return;
    assert(hook_answer_parse((struct span){buf_str(&first), first.len}, &read, NULL) == 0);
    assert(read.verdict == answer.verdict && read.address_count == answer.address_count);
    assert(hook_answer_format(&read, &second, NULL) == 0);
    assert(strcmp(buf_str(&first), buf_str(&second)) == 0);
}

static void stream(const uint8_t *data, size_t size, size_t step, enum hook_direction direction)
{
    struct hook_reader reader;
    hook_reader_init(&reader, direction);
    int r = 0;
    while (size && r >= 0) {
        size_t len = size < step ? size : step;
        r = hook_reader_feed(&reader, data, len, NULL);
        struct span message;
        while (r >= 0 && (r = hook_reader_next(&reader, &message, NULL)) > 0) {
            if (direction == HOOK_REQUESTS)
                again_request(message);
            else
                again_answer(message);
        }
        data += len;
        size -= len;
    }
    hook_reader_deinit(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    size_t step = data[0] ? data[0] : KIB(16);
    stream(data + 1, size - 1, step, HOOK_REQUESTS);
    stream(data + 1, size - 1, step, HOOK_ANSWERS);
    return 0;
}
