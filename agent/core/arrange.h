/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From today's roles to better ones: the fewest hand-overs (CLUSTER FAILOVER within a shard) to the best
 * arrangement that they can reach (DESIGN 5.9).
 *
 * What is best, most important first:
 *   1. no node, 2. no zone holds more than half of the primaries
 *   3. primaries even over zones, 4. over nodes
 *   5. the fewest hand-overs
 * Exact (core/seats.h), up to a limit of its work, before which a thousand pods are far. Copies of a
 * shard that share a node or a zone stay where they are: no hand-over parts them.
 *
 * Deterministic, and stable: after the first move the plan is what was left of it.
 */
#ifndef MUSTER_CORE_ARRANGE_H
#define MUSTER_CORE_ARRANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "core/placement.h"
#include "core/seats.h"

struct arrange_cost {
    unsigned same_node; /* copies on the node of another one of their shard; no move changes it */
    unsigned same_zone;
    struct seats_cost primaries;
};

/* The pod takes over the shard that it is a replica of. */
struct arrange_move {
    size_t pod;
    uint16_t shard;
};

struct arrangement {
    const struct arrange_move *moves; /* each spreads the primaries as much as one of them can */
    size_t move_count;
    struct arrange_cost now;
    struct arrange_cost then;
};

/* An unknown ("") node or zone is like none other. Each of `shards` has one primary. */
void arrange_plan(const struct place *places, const struct role *roles, size_t count,
                  unsigned shards, struct arena *arena, struct arrangement *ret_arrangement);

/* How far roles are from the goals. */
struct arrange_cost arrange_cost(const struct place *places, const struct role *roles, size_t count,
                                 unsigned shards, struct arena *arena);

/* <0 if `a` is better than `b`. */
int arrange_cost_cmp(const struct arrange_cost *a, const struct arrange_cost *b);

#endif
