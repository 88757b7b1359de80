/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pods copy which shard: the part of placement that re-parentings (CLUSTER REPLICATE) decide.
 *
 * What is best, most important first: the shards' numbers of copies differ by one at most; no two copies
 * of a shard on one node; nor in one zone; the fewest changes. From the copies of today the best change
 * is made as long as one is better: a pod goes to another shard, and a second one may go on from there,
 * to where the first was or to a third shard.
 *
 * A pod leaves a shard only while another replica stays, and a primary only after a hand-over. So where
 * no shard has two replicas nothing can be changed.
 */
#ifndef MUSTER_CORE_COPIES_H
#define MUSTER_CORE_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* So many changes are looked at for a plan: about 10 ms for a thousand pods of which most clash. */
#define COPIES_TRIES_MAX 200000

struct copies {
    struct arena *arena;
    size_t count; /* pods */
    unsigned shards;
    unsigned nodes;
    unsigned zones;
    const unsigned *node_of; /* by pod */
    const unsigned *zone_of; /* by node */
    const size_t *today;     /* by shard: its primary */
    unsigned *shard_of;      /* by pod */
    size_t *first;           /* by shard, and one more: where its copies begin in `list` */
    size_t *list;            /* pods, one shard behind the other */
    unsigned tries;          /* changes that were looked at */
};

/* How far the copies are from the goals, most important first. */
struct copies_cost {
    unsigned uneven;    /* sum over shards of (copies)^2, less the best possible */
    unsigned same_node; /* copies on the node of another one of their shard */
    unsigned same_zone;
};

/* `pod` goes to `shard`; then `other`, a copy of that, goes to `to`. */
struct copies_change {
    size_t pod;
    unsigned shard;
    size_t other; /* SIZE_MAX = nobody */
    unsigned to;
    int64_t gain; /* < 0 is better */
};

/* Makes the lists anew, after `shard_of` was changed. */
void copies_list(struct copies *copies);

unsigned copies_size(const struct copies *copies, unsigned shard);

/* Changes `shard_of` and the lists; at most one change for each pod. Returns their number. */
size_t copies_improve(struct copies *copies, struct copies_change *ret_changes);

struct copies_cost copies_cost(const struct copies *copies);

/* <0 if `a` is better than `b`. */
int copies_cost_cmp(const struct copies_cost *a, const struct copies_cost *b);

#endif
