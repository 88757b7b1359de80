/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who serves what: roles over nodes and zones.
 *
 * Goals, in order (DESIGN 5.9): no shard's primary and replica on one node; nor in one zone; no
 * node or zone holds a majority of the primaries; primaries even over zones, then over nodes.
 */
#ifndef MUSTER_CORE_PLACEMENT_H
#define MUSTER_CORE_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* Where a pod runs. An unknown ("") node or zone is like none other: it never counts as shared. */
struct place {
    const char *node;
    const char *zone;
};

/* The part a pod plays. */
struct role {
    uint16_t shard;
    bool primary;
};

/* How far an arrangement is from the goals, most important first; all zero is perfect. */
struct placement_cost {
    unsigned same_node; /* replicas on the node of their shard's primary or of an earlier replica */
    unsigned same_zone; /* likewise zones */
    unsigned node_majority; /* nodes that hold more than half of the primaries */
    unsigned zone_majority;
    unsigned zone_uneven; /* sum over zones of (primaries in it)^2, less the best possible */
    unsigned node_uneven;
};

/* The number of shards that `pods` pods make (DESIGN 5.7): floor(pods / (1 + replicas)). */
unsigned placement_shards(unsigned pods, unsigned replicas_per_primary);

/*
 * Roles for a new cluster: `shards` primaries, the other pods as replicas, spread as evenly over the
 * shards as their number allows. Deterministic. Requires 0 < shards <= count.
 */
void placement_form(const struct place *places, size_t count, unsigned shards, struct arena *arena,
                    struct role *ret_roles);

struct placement_cost placement_cost(const struct place *places, const struct role *roles,
                                     size_t count, unsigned shards);

/* <0 if `a` is better than `b`. */
int placement_cost_cmp(const struct placement_cost *a, const struct placement_cost *b);

/* A shard as the choice for a newcomer sees it. */
struct placement_shard {
    unsigned replicas;          /* that it has now */
    const struct place *copies; /* its primary and replicas */
    size_t copy_count;
};

/*
 * The shard that a new replica at `place` should serve: fewest replicas first, then none of its
 * copies on the same node, then none in the same zone, then the lowest index.
 */
size_t placement_join(const struct place *place, const struct placement_shard *shards,
                      size_t shard_count);

#endif
