/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes next for one slot that moves from a shard to another by SETSLOT and MIGRATE, from what
 * the two primaries say of it now. Nothing is remembered, so a move goes on from whatever half-way
 * state it is found in, ours or another tool's, and each step may be repeated.
 *
 * The order is redis-cli's (FACTS 6): the destination imports before the source migrates, so that who
 * is sent on with ASK finds it ready; it takes the slot before the source gives it up, or the slot
 * would be nobody's if it died then.
 *
 * Nothing begins before the record says so: on Redis, and on Valkey before 8, a failover of either side loses
 * the open state (FACTS 0.5, 6), and then keys at the destination are ours or old ones, which only what
 * was written ahead can tell. It is written when both sides are closed and the destination has no key of
 * the slot. From the first key on a move goes on to where it was going: to turn round, a slot is moved
 * there and then back, for the keys that are there already would be invisible (M6). Before that it may be
 * cancelled: both sides are closed again.
 *
 * Redis does not take up whose a slot is while it imports it (clusterUpdateSlotsConfigWith, 7.0.15 to 8.0): where the
 * source fails over, the slot stays with who has failed or, once that one follows, nobody, and as slots are not served
 * then the whole destination serves nothing. So it is told.
 *
 * Nothing is taken as long as the destination does not know the source's epoch: it takes a slot under the latest that
 * it knows and one more, which would be no later than the source's then. The slot would go back, and its keys be dropped.
 * Redis counts up without asking anybody where slots are taken, so that two that do it at once arrive at the same one.
 */
#ifndef MUSTER_CORE_SLOT_MOVE_H
#define MUSTER_CORE_SLOT_MOVE_H

#include <stdbool.h>
#include <stdint.h>

/* Whose a slot is, by the view of one of the two; who has failed is nobody to one that imports from it. */
enum slot_owner { SLOT_OWNER_NOBODY = 0, SLOT_OWNER_SOURCE, SLOT_OWNER_DEST, SLOT_OWNER_OTHER };

/* Its open state there: migrating at the source, importing at the destination. */
enum slot_open {
    SLOT_CLOSED = 0,
    SLOT_OPEN_PEER,  /* towards the other one of the two */
    SLOT_OPEN_MATE,  /* towards a node that was that shard's primary before, or is gone */
    SLOT_OPEN_OTHER, /* towards anyone else, or in the wrong direction */
};

struct slot_side {
    enum slot_owner owner;
    enum slot_open open;
    int64_t keys;   /* of the slot that this server holds */
    uint64_t epoch; /* the source's, as this server has it */
    bool
        tied; /* of the destination: its own is the same, which one of the two is about to change */
};

struct slot_seen {
    struct slot_side source;
    struct slot_side dest;
    bool begun;  /* by the record: keys of the slot at the destination came from this move */
    bool cancel; /* likewise: it is not wanted any more, if no key has gone yet */
    bool big;    /* the source holds a key of it that would block both servers for too long */
};

#define SLOT_STEPS(X)                                                               \
    X(SLOT_WAIT, "wait")                 /* nothing may be done now: *ret_why */    \
    X(SLOT_DONE, "done")                 /* it is where it belongs, nothing open */ \
    X(SLOT_TELL, "tell")                 /* dest: SETSLOT NODE source */            \
    X(SLOT_IMPORT, "import")             /* dest: SETSLOT IMPORTING source */       \
    X(SLOT_MIGRATE, "migrate")           /* source: SETSLOT MIGRATING dest */       \
    X(SLOT_KEYS, "keys")                 /* source: MIGRATE ... REPLACE its keys */ \
    X(SLOT_TAKE, "take")                 /* dest: SETSLOT NODE dest */              \
    X(SLOT_GIVE, "give")                 /* source: SETSLOT NODE dest */            \
    X(SLOT_CLOSE_SOURCE, "close-source") /* source: SETSLOT STABLE */               \
    X(SLOT_CLOSE_DEST, "close-dest")     /* dest: SETSLOT STABLE */

enum slot_step {
#define X(name, text) name,
    SLOT_STEPS(X)
#undef X
};

/*
 * `seen` was asked of both primaries just now. *ret_why is a fixed sentence with SLOT_WAIT, else "".
 * SLOT_TAKE is only answered when the source holds no key and, as it migrates, cannot get one; a cancelled
 * move's SLOT_CLOSE_SOURCE when the destination holds none and, as it is closed, cannot get one: so the
 * state is to be asked before the number, and the step to be sent at once. A big key stops only what
 * nobody has opened: half-way, its slot is of no use to anyone.
 */
enum slot_step slot_move_next(const struct slot_seen *seen, const char **ret_why);

/* "import": for logs. Never NULL. */
const char *slot_step_name(enum slot_step step);

#endif
