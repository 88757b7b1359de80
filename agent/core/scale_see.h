/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between core/scale.h and the world: what it asks for, from what each server says of itself, and its answer
 * as the record's moves. Each primary's own word counts: while slots move, no two views are alike.
 */
#ifndef MUSTER_CORE_SCALE_SEE_H
#define MUSTER_CORE_SCALE_SEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "core/facts.h"
#include "core/scale.h"
#include "core/world.h"

/* Slots that are to be looked at: at the servers of two pods, each of which must still have this id. */
struct scale_look {
    size_t from_pod;
    size_t to_pod;
    struct node_id from;
    struct node_id to;
    int64_t generation;           /* of the record's moves */
    const struct slot_set *slots; /* in the plan's arena */
};

/* What came of it: slots that are closed at `from`, which owns them in both their views, */
struct scale_seen {
    struct node_id from;
    struct node_id to;
    int64_t generation;
    int64_t asked_ms;
    struct slot_set clean; /* closed and without a key at `to`; believed for WORLD_FRESH_MS */
    struct slot_set bare;  /* importing and without a key there; likewise */
    struct slot_set keys;  /* with keys there, for SCALE_KEYS_MS from keys_ms on: a person may have
                              taken them away */
    int64_t keys_ms;       /* when the first of them was looked at: set by scale_note() */
};

#define SCALE_KEYS_MS 60000

/* What the leader remembers of its looks from turn to turn, by pair. */
struct scale_watch {
    struct scale_seen seen[SCALE_PAIRS_MAX];
    size_t count;
};

/*
 * Takes the outcome of a look at the slots `looked`. What earlier looks at this pair found of other slots, while
 * the moves were the same, is kept where there are old keys: or who has more of them than are looked at
 * in one go would be looked at in turn for ever.
 */
void scale_note(struct scale_watch *watch, const struct scale_seen *seen,
                const struct slot_set *looked);

struct scale_sight {
    struct scale_ask ask; /* its pods are those of the world, by the same indexes */
    const size_t *leads;  /* by today's shard: the pod of its primary */
    const char *waits; /* half a sentence: why nothing may begin now (ask.settles); NULL = it may */
    const bool *kept;  /* by the record's moves: not to be judged now, and kept as they are */
    bool outdated;     /* the record has ids of former primaries: it is to be written anew */
    const char
        *odd; /* a slot that is half-moved in no direction of ours: half a sentence, or NULL */
};

/*
 * False with half a sentence while nothing can be told: no record that is understood, a slot that two claim. While
 * a recorded server is missing or its view not read nothing begins, but what is on its way between others is
 * seen to. Everything lives in `arena`.
 */
bool scale_see(const struct world *world, const struct facts *facts, struct arena *arena,
               struct scale_sight *ret_sight, const char **ret_why);

/* The pod of a code in scale's arrays by slot. */
size_t scale_pod(const struct scale_sight *sight, uint16_t code);

/*
 * The record with what `scale`, which came of this sight, wants; one generation of moves later. NULL if there
 * were more moves than a reader takes. In `arena`.
 */
const struct record *scale_record(const struct world *world, const struct scale_sight *sight,
                                  const struct scale *scale, struct arena *arena);

/* What is to be looked at, a pair of servers each; at most SCALE_PAIRS_MAX of them. In `arena`. */
const struct scale_look *scale_looks(const struct world *world, const struct scale_sight *sight,
                                     const struct scale *scale, struct arena *arena,
                                     size_t *ret_count);

#endif
