/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks an address which node answers there, where nobody has shown yet who he is: one connection for
 * one question, CLUSTER MYID, with a name and TLS as to any server but without a password.
 */
#ifndef MUSTER_IO_WHOIS_H
#define MUSTER_IO_WHOIS_H

#include <stdint.h>

#include "core/world.h"
#include "io/loop.h"
#include "io/redis_tls.h"

struct whois;

struct whois_config {
    const struct redis_tls_config *tls; /* NULL = plain; copied */
    int64_t limit_ms;                   /* from whois_ask() to on_told() */
    /*
     * REACH_OK with the node's id; REACH_DENIED: a server that tells a stranger nothing (NOAUTH,
     * NOPERM, LOADING, BUSY, a certificate that is not trusted); REACH_REFUSED; REACH_TIMEOUT; else
     * REACH_ERROR, also for a server without a cluster. The id is borrowed, NULL but with REACH_OK.
     */
    void (*on_told)(void *ctx, enum reach reach, const struct node_id *id);
    void *ctx;
};

/* Owned by the caller; free before the loop. */
struct whois *whois_new(struct loop *loop, const struct whois_config *config);
void whois_free(struct whois *whois); /* accepts NULL */

/* Asks a literal address; what was asked before is not told any more. on_told comes once, later. */
void whois_ask(struct whois *whois, const char *ip, uint16_t port);

bool whois_is_asking(const struct whois *whois);

/* What was asked is not told any more. */
void whois_stop(struct whois *whois);

#endif
