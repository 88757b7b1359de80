/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts a stream of bytes into messages of the hook's protocol. */
#include <string.h>

#include "base/limits.h"
#include "wire/hook_proto.h"

#define REQUEST_MAGIC "muster-hook/"
#define ANSWER_MAGIC "muster-agent/"

void hook_reader_init(struct hook_reader *reader, enum hook_direction direction)
{
    *reader =
        (struct hook_reader){.magic = direction == HOOK_REQUESTS ? REQUEST_MAGIC : ANSWER_MAGIC};
    buf_init(&reader->buf, HOOK_MESSAGE_MAX);
}

void hook_reader_deinit(struct hook_reader *reader)
{
    buf_deinit(&reader->buf);
}

static void drop_taken(struct hook_reader *reader)
{
    buf_consume(&reader->buf, reader->taken);
    reader->taken = 0;
}

int hook_reader_feed(struct hook_reader *reader, const void *bytes, size_t len, struct err *err)
{
    drop_taken(reader);
    if (buf_append(&reader->buf, bytes, len) < 0)
        return err_set(err, E_LIMIT, "message longer than %zu bytes", HOOK_MESSAGE_MAX);
    return 0;
}

int hook_reader_next(struct hook_reader *reader, struct span *ret_message, struct err *err)
{
    drop_taken(reader);
    struct span all = {buf_str(&reader->buf), reader->buf.len};
    size_t magic_len = strlen(reader->magic);
    if (memcmp(all.ptr, reader->magic, all.len < magic_len ? all.len : magic_len) != 0)
        return err_set(err, E_PROTO, "not a message of %s", reader->magic);
    const char *end = NULL;
    if (all.len > reader->scanned)
        end = memmem(all.ptr + reader->scanned, all.len - reader->scanned, "\n\n", 2);
    if (!end) {
        reader->scanned = all.len ? all.len - 1 : 0;
        return 0;
    }
    *ret_message = (struct span){all.ptr, (size_t)(end - all.ptr) + 2};
    reader->taken = ret_message->len;
    reader->scanned = 0;
    return 1;
}
