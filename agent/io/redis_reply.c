/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis_reply.h"

#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "base/alloc.h"

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

/* How many items it has: 0 for what is no array. */
static size_t reply_items(const struct redisReply *from)
{
    return from->type == REDIS_REPLY_ARRAY ? from->elements : 0;
}

static void reply_take(const struct redisReply *from, struct span *items, struct reply *ret_reply)
{
    *ret_reply =
        (struct reply){.kind = reply_kind_of(from), .integer = from->integer, .items = items};
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
        items[ret_reply->item_count++] = (struct span){item->str, item->len};
    }
}

void redis_replies_init(struct redis_replies *all, struct redisReply *const *from, size_t count)
{
    size_t items = 0;
    for (size_t i = 0; i < count; i++)
        items += reply_items(from[i]);
    *all = (struct redis_replies){.from = xcalloc(count ? count : 1, sizeof(redisReply *)),
                                  .replies = xcalloc(count ? count : 1, sizeof(struct reply)),
                                  .items = xcalloc(items ? items : 1, sizeof(struct span)),
                                  .count = count};
    items = 0;
    for (size_t i = 0; i < count; i++) {
        all->from[i] = from[i];
        reply_take(from[i], &all->items[items], &all->replies[i]);
        items += reply_items(from[i]);
    }
}

void redis_replies_deinit(struct redis_replies *all)
{
    for (size_t i = 0; i < all->count; i++)
        freeReplyObject(all->from[i]);
    free(all->from);
    free(all->replies);
    free(all->items);
}
