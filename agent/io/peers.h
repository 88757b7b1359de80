/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The servers that we talk to, by pod uid and address. A pod whose address changed is another peer:
 * what its old address said is forgotten.
 */
#ifndef MUSTER_IO_PEERS_H
#define MUSTER_IO_PEERS_H

#include <stddef.h>
#include <stdint.h>

#include "core/world.h"
#include "io/loop.h"
#include "io/peer.h"

struct peers;
struct redis_link;
struct redis_link_config;

struct peer_target {
    const char *uid; /* of the pod: the key; copied */
    const char *ip;  /* a literal address; others are ignored */
    uint16_t port;
    struct observe_rhythm rhythm;
    bool read; /* peer_read() */
};

struct peers_config {
    const char *username;               /* "" = default user; copied */
    const char *password_file;          /* "" = no password; copied */
    const struct redis_tls_config *tls; /* NULL = plain; copied */
    const char *bind_ip;                /* source address, or NULL; copied */
    uint64_t seed;
    void (*on_change)(void *ctx); /* a server says something new; only to be noted */
    void *ctx;
};

/* Owned by the caller; free before the loop. */
struct peers *peers_new(struct loop *loop, const struct peers_config *config);
void peers_free(struct peers *peers);

/*
 * From now on exactly these, at most NODES_MAX. Those that stay keep connection and knowledge, but
 * for views that are not read any more (peer_tidy()).
 */
void peers_sync(struct peers *peers, const struct peer_target *targets, size_t count);

/*
 * What the pod's server said; NULL if the uid is no target. Valid until the next turn of the loop;
 * copied by value, its view stays valid until the second next successful full poll or peers_sync().
 */
const struct server *peers_server(const struct peers *peers, const char *uid);

/* Asks in full each `period_ms` until `until_ms` (clock_mono_ms); `uid` NULL = all. */
void peers_hurry(struct peers *peers, const char *uid, int64_t period_ms, int64_t until_ms);

/* For the executor; NULL if the uid is no target. */
struct peer *peers_find(struct peers *peers, const char *uid);

/*
 * A connection of its own to a server, with the credentials, TLS and counters of the others; `config`
 * says the rest. Owned by the caller, freed before the peers.
 */
struct redis_link *peers_open_link(struct peers *peers, struct redis_link_config *config);

/* Who we are to all of them. */
const struct redis_auth *peers_auth(const struct peers *peers);

/* peer_info() of the pod's server; empty if the uid is no target. */
struct span peers_info(const struct peers *peers, const char *uid);

size_t peers_count(const struct peers *peers);
struct peer_counters peers_counters(const struct peers *peers);

#endif
