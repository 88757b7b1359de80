/* SPDX-License-Identifier: Apache-2.0 */
/* A reply as hiredis built it, as ours. Internal to redis_link.c. */
#ifndef MUSTER_IO_REDIS_REPLY_H
#define MUSTER_IO_REDIS_REPLY_H

#include "io/peer.h"

struct redisReply;

/*
 * Borrows the texts of `from`, an array of which has at most PEER_LIST_MAX items. A list of anything
 * but strings becomes REPLY_NONE.
 */
void redis_reply_take(const struct redisReply *from, struct reply *ret_reply);

#endif
