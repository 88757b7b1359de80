/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a server, by hiredis in the loop: TLS and AUTH first (redis_greet.h), then exchanges of commands
 * and replies, each within a deadline. hiredis is named in redis_link.c and redis_wipe.c only.
 *
 * What a hostile server could do to hiredis is shut out here: a reply larger than REDIS_REPLY_MAX
 * (or that many bytes without an end), arrays within arrays (their release recurses), arrays of more
 * than `list_max`, RESP3 types, and replies that nobody asked for (an assertion in hiredis 1.2,
 * redisProcessCallbacks) each end the connection.
 */
#ifndef MUSTER_IO_REDIS_LINK_H
#define MUSTER_IO_REDIS_LINK_H

#include <stdint.h>

#include "io/loop.h"
#include "io/peer.h"
#include "io/redis_auth.h"
#include "io/redis_tls.h"

struct redis_link;

struct redis_link_config {
    const char *ip; /* literal */
    uint16_t port;
    const char *bind_ip;            /* source address, or NULL */
    struct redis_auth *auth;        /* borrowed for good */
    struct redis_tls *tls;          /* borrowed for good */
    struct peer_counters *counters; /* borrowed for good */
    size_t commands_max;            /* in one exchange; 0 = PEER_COMMANDS_MAX */
    size_t list_max;                /* items of a reply that is a list; 0 = PEER_LIST_MAX */
    int64_t exchange_ms;            /* 0 = PEER_EXCHANGE_MS */
    void (*on_open)(void *ctx);     /* secured, let in: the first exchange may be sent */
    /* All replies of the exchange, in order; borrowed for the call. The next may be sent from it. */
    void (*on_replies)(void *ctx, const struct reply *replies, size_t count);
    /* Once, and nothing after it; never from within another call. The owner frees the link. */
    void (*on_lost)(void *ctx, enum reach reach, const char *why);
    void *ctx;
};

/*
 * Starts to connect, within PEER_CONNECT_MS; a TLS handshake has PEER_HANDSHAKE_MS more (a plain
 * server would just wait for the end of what it takes for a line, hiredis#1177), and each exchange
 * of signing in `exchange_ms`. Owned by the caller.
 */
struct redis_link *redis_link_new(struct loop *loop, const struct redis_link_config *config);

/* No callbacks come after this; may be called from them. Accepts NULL. */
void redis_link_free(struct redis_link *link);

/*
 * Sends the commands; on_replies or on_lost follows within `exchange_ms`. The link must be open
 * and no exchange in flight (asserted). It may just have ended: on_lost is then on its way.
 */
void redis_link_send(struct redis_link *link, const struct peer_command *commands, size_t count);

/* A command of any number of words, all borrowed for the call that sends it. */
struct link_command {
    const struct span *words;
    size_t word_count;
};

/* The same. */
void redis_link_send_long(struct redis_link *link, const struct link_command *commands,
                          size_t count);

/* Writes out at once what is buffered, as far as the socket takes it. */
void redis_link_flush(struct redis_link *link);

#endif
