/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which copy of each shard is its primary: the part of placement that hand-overs decide.
 *
 * A primary sits on a node, and the node in a zone. Handing a shard over takes a unit of load from one
 * node to another one, and chains of such moves may be needed: the best seats are a flow of least cost,
 * with what each further primary on a node or in a zone costs growing. From the seats of today
 * circles of negative cost are taken until there is none, which is then the best there is, with the
 * fewest shards handed over. Near-linear where little is to be moved.
 */
#ifndef MUSTER_CORE_SEATS_H
#define MUSTER_CORE_SEATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* So that a cost fits into 63 bits. More shards than that of 1,000 servers have few replicas. */
#define SEATS_SHARDS_MAX 512

/*
 * So many ways are looked at for a plan at the most: about 30 ms. A thousand pods whose primaries are
 * all in one zone take a twentieth of it (tests/unit/test_core_arrange.c).
 */
#define SEATS_WORK_MAX 20000000

struct seats {
    size_t pods;
    unsigned shards;
    unsigned nodes;
    unsigned zones;
    const unsigned *node_of;  /* by pod */
    const unsigned *zone_of;  /* by node */
    const unsigned *shard_of; /* by pod */
    const size_t *today; /* by shard: the pod that is its primary now; SIZE_MAX = it has left */
    size_t *primary;     /* by shard: in: where to begin; out: where it is best */
};

/* How far the primaries are from the goals, most important first. */
struct seats_cost {
    unsigned node_over; /* primaries beyond half of all on one node */
    unsigned zone_over;
    unsigned zone_squares; /* sum over zones of (primaries in it)^2: least when they are even */
    unsigned node_squares;
};

/*
 * `primary` becomes the best there is: true. False if that takes looking at more than `work_max` ways:
 * then it is as good as was found, never worse than today. Requires 0 < shards <= SEATS_SHARDS_MAX.
 */
bool seats_improve(const struct seats *seats, size_t work_max, struct arena *arena);

/* Primaries by node and by zone. */
struct seats_loads {
    unsigned *node;
    unsigned *zone;
};
void seats_count(const struct seats *seats, struct arena *arena, struct seats_loads *ret_loads);

/* The heir becomes the primary of its shard, and the loads follow. */
void seats_hand_over(const struct seats *seats, const struct seats_loads *loads, size_t heir);

/* What that changes: < 0 is better, by the order of struct seats_cost. */
int64_t seats_gain(const struct seats *seats, const struct seats_loads *loads, size_t heir);

struct seats_cost seats_cost(const struct seats *seats, struct arena *arena);

/* <0 if `a` is better than `b`. */
int seats_cost_cmp(const struct seats_cost *a, const struct seats_cost *b);

#endif
