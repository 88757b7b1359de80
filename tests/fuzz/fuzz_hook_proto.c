/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, in any pieces, from either side of the socket: what is accepted says the same after
 * it was written and read again, and where the stream was cut makes no difference. The first byte
 * chooses the size of the pieces.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
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

/* The messages of a stream as a number; *ret_result is the last thing that the reader said. */
static uint64_t stream(const uint8_t *data, size_t size, size_t step, enum hook_direction direction,
                       int *ret_result)
{
    struct hook_reader reader;
    uint64_t hash = TEXT_HASH_SEED;
    int r = 0;
    hook_reader_init(&reader, direction);
    while (size && r >= 0) {
        size_t len = size < step ? size : step;
        r = hook_reader_feed(&reader, data, len, NULL);
        struct span message;
        while (r >= 0 && (r = hook_reader_next(&reader, &message, NULL)) > 0) {
            hash = text_hash(hash, message.ptr, message.len);
            hash = text_hash(hash, &message.len, sizeof message.len);
            if (direction == HOOK_REQUESTS)
                again_request(message);
            else
                again_answer(message);
        }
        data += len;
        size -= len;
    }
    hook_reader_deinit(&reader);
    *ret_result = r;
    return hash;
}

static void both_ways(const uint8_t *data, size_t size, size_t step, enum hook_direction direction)
{
    int in_pieces;
    int at_once;
    uint64_t hash = stream(data, size, step, direction, &in_pieces);
    /* more than a message's ceiling at once is refused, which pieces need not be */
    if (size <= HOOK_MESSAGE_MAX)
        assert(stream(data, size, size, direction, &at_once) == hash && at_once == in_pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t step = data[0] ? data[0] : KIB(16);
    both_ways(data + 1, size - 1, step, HOOK_REQUESTS);
    both_ways(data + 1, size - 1, step, HOOK_ANSWERS);
    return 0;
}
