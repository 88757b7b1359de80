/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries one move of slots out: core/mover.h's orders over an io/slot_link.h. It begins at once, looks
 * first, and ends by itself; what it did is in the servers, so another one goes on from there.
 */
#ifndef MUSTER_IO_MOVER_CLIENT_H
#define MUSTER_IO_MOVER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/mover.h"
#include "io/slot_link.h"

struct mover_client;

enum mover_end {
    MOVER_END_DONE = 1, /* every slot is where it belongs */
    MOVER_END_BLOCKED,  /* some are not, and nothing can be done about it now */
    MOVER_END_PAUSED, /* some were not begun, as it was told; what was half-moved is where it belongs */
    MOVER_END_STOPPED, /* as it was told to be */
    MOVER_END_LOST,    /* one of the servers does not answer, or is another one, */
    MOVER_END_UNSURE,  /* and what was ordered last may still be carried out */
};

struct mover_client_config {
    struct slot_link_config
        link; /* without callbacks; big_bytes: such keys are left, with their slots */
    const struct slot_range *ranges; /* of slots that the record has as begun; copied */
    size_t range_count;
    bool cancel;
    bool paused;               /* mover_client_pause() from the beginning */
    bool functions;            /* a destination that has none gets the source's first */
    void (*on_end)(void *ctx); /* only to be noted */
    void *ctx;
};

/* What came of it so far. */
struct mover_report {
    unsigned slots;
    unsigned slots_done;
    uint64_t keys_moved;
    int64_t began_ms;
    int64_t longest_ms; /* that a server took for one exchange of keys */
    char why[192];      /* at an end other than DONE and STOPPED */
};

/* Owned by the caller; free before the peers. */
struct mover_client *mover_client_new(struct loop *loop, const struct mover_client_config *config);

/* Accepts NULL. What is under way then may still be carried out by the servers. */
void mover_client_free(struct mover_client *client);

/* While it is paused no slot is opened (core/mover.h). */
void mover_client_pause(struct mover_client *client, bool paused);

/* Nothing more is ordered; it ends as soon as what was ordered is answered. */
void mover_client_stop(struct mover_client *client);

/* False while it works. */
bool mover_client_ended(const struct mover_client *client, enum mover_end *ret_end);

struct mover_report mover_client_report(const struct mover_client *client);

#endif
