/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis_reply.h"

#include <hiredis/hiredis.h>

static enum reply_kind reply_kind_of(const redisReply *from)
{
    switch (from->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        return REPLY_TEXT;
    case REDIS_REPLY_ERROR:
        return REPLY_ERROR;
    case REDIS_REPLY_INTEGER:
        return REPLY_INTEGER;
    case REDIS_REPLY_NIL:
        return REPLY_NIL;
    case REDIS_REPLY_ARRAY:
        return REPLY_LIST;
    default: /* other types are not built */
        return REPLY_NONE;
    }
}

void redis_reply_take(const struct redisReply *from, struct reply *ret_reply)
{
    *ret_reply = (struct reply){.kind = reply_kind_of(from), .integer = from->integer};
    if (ret_reply->kind == REPLY_TEXT || ret_reply->kind == REPLY_ERROR)
        ret_reply->text = (struct span){from->str, from->len};
    if (ret_reply->kind != REPLY_LIST)
        return;
    for (size_t i = 0; i < from->elements; i++) {
        const redisReply *item = from->element[i];
        if (reply_kind_of(item) != REPLY_TEXT) {
            ret_reply->kind = REPLY_NONE;
            return;
        }
        ret_reply->items[ret_reply->item_count++] = (struct span){item->str, item->len};
    }
}
