/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One server: a connection, and what the server says of itself.
 *
 * At most one exchange is in flight: commands sent in one go whose replies come back in order,
 * within an absolute deadline of PEER_EXCHANGE_MS. An exchange that fails, a reply that is larger
 * than REDIS_REPLY_MAX, nested, or not asked for ends the connection; the next is tried with backoff
 * and jitter. RESP2 only. The address is a literal one, so nothing is ever resolved.
 *
 * Used by peers.h, which owns the peers, and by executor.h.
 */
#ifndef MUSTER_IO_PEER_H
#define MUSTER_IO_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "core/observe.h"
#include "core/world.h"
#include "io/loop.h"
#include "io/redis_auth.h"
#include "io/redis_tls.h"

struct peer;

#define PEER_CONNECT_MS 1000
#define PEER_HANDSHAKE_MS 2000
#define PEER_EXCHANGE_MS 1000
#define PEER_BACKOFF_MS 100
#define PEER_BACKOFF_CAP_MS 1000
/* A view that is not read again is kept as long; its hash stays. */
#define PEER_VIEW_KEEP_MS 12000

#define PEER_COMMANDS_MAX 10
#define PEER_WORDS_MAX 10
#define PEER_LIST_MAX 16

/* A reply, as a value; texts are borrowed for the call. */
enum reply_kind { REPLY_NONE = 0, REPLY_TEXT, REPLY_ERROR, REPLY_INTEGER, REPLY_NIL, REPLY_LIST };
struct reply {
    enum reply_kind kind;
    struct span text; /* of TEXT and ERROR */
    int64_t integer;
    const struct span *items; /* of LIST: its strings; a list of anything else is refused */
    size_t item_count;
};

struct peer_command {
    struct span words[PEER_WORDS_MAX];
    size_t word_count;
};

/*
 * An exchange of the executor's. `on_replies` comes once: with `count` replies in the order of the
 * commands (which may be errors), or with count 0 and `err` when the exchange failed. Not from
 * within peer_send().
 */
struct peer_exchange {
    struct peer_command commands[PEER_COMMANDS_MAX]; /* words borrowed during peer_send() only */
    size_t command_count;
    void (*on_replies)(void *ctx, const struct reply *replies, size_t count, const struct err *err);
    void *ctx;
};

/* Full views under way over all peers; who finds OBSERVE_IN_FLIGHT of them waits for on_free(). */
struct peer_window {
    size_t in_flight;
    void (*on_free)(void *ctx); /* only to be noted */
    void *ctx;
};

struct peer_counters {
    uint64_t commands;
    uint64_t bytes_in;
    uint64_t connects;
    uint64_t failures; /* connections that ended with an error */
};

struct peer_config {
    const char *ip; /* literal, copied */
    uint16_t port;
    const char *bind_ip;            /* source address, or NULL; copied */
    struct redis_auth *auth;        /* borrowed for good */
    struct redis_tls *tls;          /* borrowed for good */
    struct peer_counters *counters; /* borrowed for good */
    struct peer_window *window;     /* borrowed for good */
    uint64_t seed;
    void (*on_change)(void *ctx); /* server() says something else than before, times aside */
    void *ctx;
};

/* Connects with the first poll. Owned by peers.h; free before the loop. */
struct peer *peer_new(struct loop *loop, const struct peer_config *config);

/* The executor's exchange in flight, if any, ends with E_GONE in this call. Accepts NULL. */
void peer_free(struct peer *peer);

/* INFO with all sections (wide) is kept for peer_info(). */
void peer_set_rhythm(struct peer *peer, const struct observe_rhythm *rhythm);

/* Polls in full each `period_ms` until `until_ms` (clock_mono_ms). */
void peer_hurry(struct peer *peer, int64_t period_ms, int64_t until_ms);

/* Polls in full once, as soon as the window allows. */
void peer_read(struct peer *peer);

/* A full view is due and nothing is in flight: the window held it back. And when it was read last. */
bool peer_waits(const struct peer *peer, int64_t *ret_since_ms);
void peer_nudge(struct peer *peer);

/* Drops a view older than PEER_VIEW_KEEP_MS: true. Whoever was given it must not use it any more. */
bool peer_tidy(struct peer *peer);

/* Never NULL. The view is valid until the second next successful full poll, or peer_tidy(). */
const struct server *peer_server(const struct peer *peer);

/* The server's last whole INFO, for metrics; empty before. Borrowed until the loop runs again. */
struct span peer_info(const struct peer *peer);

/* Sends when the poll in flight has ended, before any other poll. One at a time: E_BUSY. */
must_check int peer_send(struct peer *peer, const struct peer_exchange *exchange, struct err *err);

/* Forgets the exchange's callback; what was sent stays sent. */
void peer_forget(struct peer *peer, const void *ctx);

/* Writes out what is still buffered: for the tests that end the process at a chosen moment. */
void peer_flush(struct peer *peer);

#endif
