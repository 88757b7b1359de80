/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of keys that are to go to another primary next, by slot, and the MIGRATE that takes those of one
 * slot along. Internal to slot_link.c.
 */
#ifndef MUSTER_IO_SLOT_KEYS_H
#define MUSTER_IO_SLOT_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/mover.h"
#include "io/redis_auth.h"
#include "io/redis_link.h"

/* What MIGRATE waits for its destination, which blocks the source, at a time. */
#define SLOT_KEYS_MIGRATE_MS 1000

struct slot_keys {
    struct buf names;               /* of all slots, one after the other */
    size_t *sizes;                  /* owned: of each name */
    int64_t *bytes;                 /* owned: what each key weighs; 0 = not known */
    size_t total;                   /* of both */
    size_t first[MOVER_WINDOW + 1]; /* name of each slot */
    size_t secret;                  /* which of our passwords is sent to the destination */
    bool tried_all;                 /* of them, for this MIGRATE */
};

/* To where, and as whom. */
struct slot_keys_dest {
    const char *ip;
    uint16_t port;
    const struct redis_auth *auth;
};

void slot_keys_init(struct slot_keys *keys);
void slot_keys_deinit(struct slot_keys *keys);

/* Answers to GETKEYSINSLOT, one for each slot; what is no list has no keys. E_LIMIT if they are too long. */
must_check int slot_keys_take(struct slot_keys *keys, const struct reply *replies, size_t count);

/* How many keys of the nth slot there are. */
size_t slot_keys_count(const struct slot_keys *keys, size_t nth);

/*
 * Sends the MIGRATE of the nth slot's keys, as one exchange; what is there already is replaced. Only as many of the
 * first ones as weigh at most `limit` together, or one; 0 = all.
 */
void slot_keys_send(const struct slot_keys *keys, size_t nth, int64_t limit,
                    const struct slot_keys_dest *dest, struct redis_link *link);

/*
 * The destination did not take our password, and there is another one: during a rotation it may take that.
 * True if the same is to be sent again.
 */
bool slot_keys_tries_again(struct slot_keys *keys, struct span refusal,
                           const struct redis_auth *auth);

#endif
