/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two primaries between which slots move, over a connection to each that nothing else uses: what they
 * say of slots, and a step of core/mover.h for some of them. One question or order at a time.
 *
 * Each connection belongs to one process, which is asked with every look who it is: a server that is another
 * node now, or no primary, ends the link, as does one that does not answer. What was ordered last may then
 * still be carried out; who links to the same servers again and gets an answer knows that it was.
 */
#ifndef MUSTER_IO_SLOT_LINK_H
#define MUSTER_IO_SLOT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/mover.h"
#include "core/slot_look.h"
#include "io/loop.h"
#include "io/peers.h"

struct slot_link;

/* Slots that may be looked at in one go. */
#define SLOT_LINK_SLOTS_MAX 256
/* An answer: Valkey 8 and later wait 2 s for their replicas with each SETSLOT, MIGRATE for its destination. */
#define SLOT_LINK_EXCHANGE_MS 5000

/* Where a server answers: literal addresses, copied. */
struct slot_end {
    const char *ip;
    uint16_t port;
};

struct slot_link_config {
    struct peers *peers; /* borrowed for as long as the link */
    struct slot_pair pair;
    struct slot_end source;
    struct slot_end dest;
    uint16_t migrate_port; /* of the destination, as the source is to reach it */
    int64_t big_bytes;     /* a key of more makes its slot `big`, if it is closed; 0 = none does */
    /* The outcome of slot_link_look(), by slot; `begun` and `cancel` are not set. */
    void (*on_seen)(void *ctx, const struct slot_seen *seen);
    /* The outcome of slot_link_order(), as mover_did() wants it. */
    void (*on_did)(void *ctx, const enum mover_result *results, const int64_t *keys_left,
                   int64_t took_ms);
    /* Once, and nothing after it; `ordered`: of the last order nobody knows what came of it. */
    void (*on_lost)(void *ctx, bool ordered, const char *why);
    void *ctx; /* callbacks only note: they may ask and order, but not free */
};

/* Connects. Owned by the caller; free before the peers. */
struct slot_link *slot_link_new(struct loop *loop, const struct slot_link_config *config);

/* No callbacks come after this. Accepts NULL. */
void slot_link_free(struct slot_link *link);

/* At most SLOT_LINK_SLOTS_MAX slots; nothing else may be under way (asserted). */
void slot_link_look(struct slot_link *link, const uint16_t *slots, size_t count);

/* A MOVER_STEP; likewise. Copied. */
void slot_link_order(struct slot_link *link, const struct mover_order *order);

/* Something is asked or ordered, and not answered. */
bool slot_link_is_busy(const struct slot_link *link);

/*
 * Each of the two has answered something, be it that it is not who was meant, or nothing listens there: what an
 * earlier link has ordered was carried out, or never will be. Also of one that is lost.
 */
bool slot_link_was_answered(const struct slot_link *link);

/* The last refusal of a server, as it said it; "" = none. */
const char *slot_link_refusal(const struct slot_link *link);

#endif
