/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves: from the slots that shards have to the numbers that they are to have, as pairs of a source
 * and a destination with the slots that go from the one to the other. No more slots move than have
 * to, between few pairs, and so that the ranges stay few.
 */
#ifndef MUSTER_CORE_MOVES_H
#define MUSTER_CORE_MOVES_H

#include <stddef.h>

#include "base/arena.h"
#include "core/slots.h"

/* A shard before, and the number of slots that it is to have. */
struct moves_shard {
    const struct slot_set *slots;
    unsigned wanted;
};

struct move {
    size_t from;
    size_t to;
    const struct slot_range *ranges; /* ascending, each maximal */
    size_t range_count;
    unsigned slot_count;
};

struct moves {
    const struct move *moves; /* a source's moves are neighbours */
    size_t count;
    unsigned slot_count;
};

/*
 * Requires disjoint sets whose number of slots is the sum of what is wanted. At most one move for each
 * pair and fewer moves than shards. Deterministic; everything lives in `arena`.
 */
void moves_find(const struct moves_shard *shards, size_t count, struct arena *arena,
                struct moves *ret_moves);

#endif
