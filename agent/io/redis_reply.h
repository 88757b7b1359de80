/* SPDX-License-Identifier: Apache-2.0 */
/* A reply as hiredis built it, as ours. Internal to redis_link.c. */
#ifndef MUSTER_IO_REDIS_REPLY_H
#define MUSTER_IO_REDIS_REPLY_H

#include "io/peer.h"

struct redisReply;

struct redis_replies {
    struct redisReply **from; /* owned, as are these: */
    struct reply *replies;
    struct span *items;
    size_t count;
};

/* Takes them over; ours borrow their texts. A list of anything but strings becomes REPLY_NONE. */
void redis_replies_init(struct redis_replies *all, struct redisReply *const *from, size_t count);
void redis_replies_deinit(struct redis_replies *all);

#endif
