/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 16384 hash slots (Redis Cluster specification, "Key distribution model"): sets and ranges.
 */
#ifndef MUSTER_CORE_SLOTS_H
#define MUSTER_CORE_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

#define SLOT_COUNT 16384u

/* Both ends included. */
struct slot_range {
    uint16_t first;
    uint16_t last;
};

struct slot_set {
    uint64_t words[SLOT_COUNT / 64];
};

void slot_set_add(struct slot_set *set, struct slot_range range);
void slot_set_remove(struct slot_set *set, struct slot_range range);
bool slot_set_has(const struct slot_set *set, unsigned slot);
unsigned slot_set_count(const struct slot_set *set);
bool slot_set_intersects(const struct slot_set *a, const struct slot_set *b);

/*
 * The next maximal range at or after `*from`; false when there is none. Start with *from = 0;
 * *from is moved behind the range found.
 */
bool slot_set_next(const struct slot_set *set, unsigned *from, struct slot_range *ret_range);

/*
 * "0-99,200": ranges in ascending order without overlap, at least one. Adds them to *set; false, *set
 * untouched, if the text is anything else.
 */
bool slot_set_parse(struct span text, struct slot_set *set);

static inline unsigned slot_range_count(struct slot_range range)
{
    return (unsigned)range.last - range.first + 1;
}

/*
 * The slots of shard `index` of `shards` when a cluster is formed: an even cut by rounding, as
 * `redis-cli --cluster create` makes it (7.0.15, clusterManagerCommandCreate).
 * Requires 0 < shards <= SLOT_COUNT, index < shards.
 */
struct slot_range slots_of_shard(unsigned index, unsigned shards);

#endif
