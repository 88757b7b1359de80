/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From today's roles to better ones: the fewest moves to the best arrangement that can be reached
 * (DESIGN 5.9). A move is a CLUSTER FAILOVER within a shard, or a CLUSTER REPLICATE that gives a
 * replica to another shard.
 *
 * What is best, most important first:
 *   1. the shards' numbers of copies differ by one at most
 *   2. no two copies of a shard on one node, 3. nor in one zone
 *   4. the fewest re-parentings: each copies a whole data set over the network
 *   5. no node, 6. no zone holds more than half of the primaries
 *   7. primaries even over zones, 8. over nodes
 *   9. the fewest hand-overs
 * So a replica is moved for the goals that only that can reach, and the primaries are spread by
 * hand-overs alone. 5 to 9 are exact for the copies that there are then (core/seats.h), up to a limit of
 * its work, before which a thousand pods are far; 1 to 4 are found change by change (core/copies.h).
 *
 * Deterministic, and stable: after the first move the plan is what was left of it.
 */
#ifndef MUSTER_CORE_ARRANGE_H
#define MUSTER_CORE_ARRANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "core/copies.h"
#include "core/placement.h"
#include "core/seats.h"

struct arrange_cost {
    struct copies_cost copies;
    struct seats_cost primaries;
};

/* The pod takes over the shard that it is a replica of (primary), or becomes a replica of `shard`. */
struct arrange_move {
    size_t pod;
    uint16_t shard;
    bool primary;
    bool more; /* a change is half done after it: the next move belongs to it */
};

struct arrangement {
    const struct role *roles; /* by pod, at the end */
    const struct arrange_move
        *moves; /* in an order in which each is possible after the one before */
    size_t move_count;
    struct arrange_cost now;
    struct arrange_cost then;
};

/*
 * An unknown ("") node or zone is like none other. Each of `shards` has one primary. With !reparents
 * only hand-overs are planned.
 */
void arrange_plan(const struct place *places, const struct role *roles, size_t count,
                  unsigned shards, bool reparents, struct arena *arena,
                  struct arrangement *ret_arrangement);

/* How far roles are from the goals. */
struct arrange_cost arrange_cost(const struct place *places, const struct role *roles, size_t count,
                                 unsigned shards, struct arena *arena);

/* <0 if `a` is better than `b`. */
int arrange_cost_cmp(const struct arrange_cost *a, const struct arrange_cost *b);

#endif
