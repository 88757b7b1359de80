/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of work of one move by SETSLOT and MIGRATE: many slots from one primary to another, a
 * window of them at a time, each step for all slots of the window that are at it in one exchange.
 * How many keys go in one exchange follows from how long the last ones took, for MIGRATE blocks both
 * servers meanwhile. Pure: who carries the orders out asks for the next, and tells what came of it.
 *
 *     mover_init(&mover, &config);
 *     for (;;) {
 *         mover_next(&mover, &order);
 *         ... MOVER_LOOK: ask both primaries, then mover_saw(); the others: send, then mover_did() ...
 *     }
 *
 * It ends, whatever the servers answer: a slot whose step is refused again and again, or carried out again
 * and again without bringing it on, is given up for this time.
 *
 * Nothing has to be kept: a new mover of the same slots looks first, and goes on from there. It must be
 * begun anew when one of the two servers is another one (its run id, or who is the primary).
 */
#ifndef MUSTER_CORE_MOVER_H
#define MUSTER_CORE_MOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/slot_move.h"
#include "core/slots.h"

/* Slots that are open at a time: each is two lines of nodes.conf, written anew with every SETSLOT. */
#define MOVER_WINDOW 32
/* Keys in one exchange, at most. */
#define MOVER_KEYS_MAX 512
/* No stall that a client would see as one (the issue of scaling asks for 20 ms). */
#define MOVER_BUDGET_MS 20

/* Of slots that the record has as begun: the mover is made for no others. */
struct mover_config {
    const struct slot_range *ranges; /* borrowed for as long as the mover; ascending */
    size_t range_count;
    int64_t budget_ms; /* for one exchange of keys; MOVER_BUDGET_MS */
    bool cancel;       /* as in slot_move.h: the record says so */
};

enum mover_kind {
    MOVER_LOOK = 1, /* at owner and open state, then the keys of the slots, at both primaries */
    MOVER_STEP,     /* `step` for the slots, in one exchange with one of them */
    MOVER_DONE,     /* all slots are where they belong, and closed */
    MOVER_BLOCKED,  /* some are not, and nothing can be done about it now: `why` */
    MOVER_PAUSED,   /* some have not been begun, for a person has paused Muster; all others are */
};

struct mover_order {
    enum mover_kind kind;
    enum slot_step step; /* of MOVER_STEP */
    uint16_t slots[MOVER_WINDOW];
    unsigned keys[MOVER_WINDOW]; /* of SLOT_KEYS: at most so many of that slot; together <= batch */
    size_t count;
    const char *why; /* of MOVER_BLOCKED: a fixed sentence, about the first slot of `slots` */
};

/* What came of an order, for each of its slots. */
enum mover_result {
    MOVER_OK = 1,
    MOVER_REFUSED, /* an error: it is looked at again before anything else */
};

struct mover_slot {
    uint16_t slot;
    struct slot_seen seen;
    unsigned refused; /* in a row */
    unsigned idle;    /* orders that were carried out since the source held fewer keys than ever */
    int64_t least;    /* that it held */
};

struct mover {
    struct mover_config config;
    size_t range;  /* the next slot to be taken into the window: its range, */
    unsigned next; /* and how many of that range were taken before it */
    struct mover_slot window[MOVER_WINDOW];
    size_t window_count;
    bool looked;    /* at the slots of the window, */
    bool fresh;     /* and nothing was sent since */
    unsigned batch; /* keys in the next exchange */
    bool paused;

    /* So far. */
    unsigned slots_done;
    unsigned slots_blocked;
    unsigned slots_paused;
    uint64_t keys_moved;
    uint16_t blocked_slot; /* the first one */
    const char *blocked_why;
};

void mover_init(struct mover *mover, const struct mover_config *config);

/*
 * While a person has paused Muster no slot is opened. Half-moved it is of no use to anyone: what is open, or
 * has keys at the destination though an election has closed it again, goes on to its end.
 */
void mover_pause(struct mover *mover, bool paused);

void mover_next(struct mover *mover, struct mover_order *ret_order);

/* The outcome of MOVER_LOOK: `seen` by slot of the order; `begun` and `cancel` are filled in here. */
void mover_saw(struct mover *mover, const struct mover_order *order, const struct slot_seen *seen);

/*
 * The outcome of MOVER_STEP. `keys_left`: of SLOT_KEYS, what the source says that it still holds of each
 * slot; else NULL. `took_ms`: of the longest command, for that is how long other clients waited.
 */
void mover_did(struct mover *mover, const struct mover_order *order,
               const enum mover_result *results, const int64_t *keys_left, int64_t took_ms);

/* All slots of the move. */
unsigned mover_slots(const struct mover *mover);

#endif
