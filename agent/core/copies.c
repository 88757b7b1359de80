/* SPDX-License-Identifier: Apache-2.0 */
#include "core/copies.h"

#include <assert.h>
#include <string.h>

#define NONE SIZE_MAX
/* What a unit of each goal weighs: one more of it outweighs all of those below it. */
#define CHANGE_UNEVEN (INT64_C(1) << 40)
#define CHANGE_NODE (INT64_C(1) << 28)
#define CHANGE_ZONE (INT64_C(1) << 8) /* above the moves that a change takes */

void copies_list(struct copies *c)
{
    memset(c->first, 0, (c->shards + 1) * sizeof *c->first);
    for (size_t i = 0; i < c->count; i++)
        c->first[c->shard_of[i] + 1]++;
    for (unsigned s = 0; s < c->shards; s++)
        c->first[s + 1] += c->first[s];
    for (size_t i = c->count; i-- > 0;)
        c->list[--c->first[c->shard_of[i] + 1]] = i;
    /* Counting down has moved each end to its beginning. */
    memmove(c->first, c->first + 1, c->shards * sizeof *c->first);
    c->first[c->shards] = c->count;
}

unsigned copies_size(const struct copies *c, unsigned shard)
{
    return (unsigned)(c->first[shard + 1] - c->first[shard]);
}

/* ---- how good ---- */

/* Adds the copies that share a node, or a zone, with an earlier one of their shard. */
static void count_shared(const struct copies *c, unsigned shard, struct copies_cost *cost)
{
    for (size_t i = c->first[shard]; i < c->first[shard + 1]; i++) {
        bool node = false;
        bool zone = false;
        for (size_t j = c->first[shard]; j < i; j++) {
            unsigned one = c->node_of[c->list[i]];
            unsigned two = c->node_of[c->list[j]];
            node |= one == two;
            zone |= c->zone_of[one] == c->zone_of[two];
        }
        cost->same_node += node;
        cost->same_zone += zone;
    }
}

static unsigned sum_squares_least(size_t units, size_t over)
{
    assert(over > 0);
    size_t low = units / over;
    size_t extra = units % over;
    return (unsigned)(extra * (low + 1) * (low + 1) + (over - extra) * low * low);
}

struct copies_cost copies_cost(const struct copies *c)
{
    struct copies_cost cost = {0};
    for (unsigned s = 0; s < c->shards; s++) {
        cost.uneven += copies_size(c, s) * copies_size(c, s);
        count_shared(c, s, &cost);
    }
    cost.uneven -= sum_squares_least(c->count, c->shards);
    return cost;
}

int copies_cost_cmp(const struct copies_cost *a, const struct copies_cost *b)
{
    const unsigned left[] = {a->uneven, a->same_node, a->same_zone};
    const unsigned right[] = {b->uneven, b->same_node, b->same_zone};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    return 0;
}

/* ---- one change ---- */

/* What a pod shares with the copies of a shard but `except`. */
static int64_t clash(const struct copies *c, unsigned shard, size_t pod, size_t except)
{
    bool node = false;
    bool zone = false;
    for (size_t i = c->first[shard]; i < c->first[shard + 1]; i++) {
        size_t other = c->list[i];
        if (other == pod || other == except)
            continue;
        node |= c->node_of[other] == c->node_of[pod];
        zone |= c->zone_of[c->node_of[other]] == c->zone_of[c->node_of[pod]];
    }
    return node * CHANGE_NODE + zone * CHANGE_ZONE;
}

/* A primary takes a hand-over first. */
static int64_t moves_of(const struct copies *c, size_t pod)
{
    return 1 + (c->today[c->shard_of[pod]] == pod);
}

static void try_change(struct copies *c, size_t pod, unsigned shard, size_t other, unsigned to,
                       struct copies_change *best)
{
    unsigned from = c->shard_of[pod];
    unsigned grows = other == NONE ? shard : to;
    int64_t gain = clash(c, shard, pod, other) - clash(c, from, pod, NONE);
    int64_t moves = moves_of(c, pod);
    c->tries++;
    if (other != NONE) {
        gain += clash(c, to, other, pod) - clash(c, shard, other, NONE);
        moves += moves_of(c, other);
    }
    if (grows != from)
        gain += ((int64_t)copies_size(c, grows) + 1 - copies_size(c, from)) * CHANGE_UNEVEN;
    if (gain < 0 && gain + moves < best->gain)
        *best = (struct copies_change){pod, shard, other, to, gain + moves};
}

/* More copies of the shard share a node, or a zone, than must. */
static bool may_gain(const struct copies *c, unsigned shard, unsigned least)
{
    unsigned must = copies_size(c, shard);
    struct copies_cost cost = {0};
    must -= must > least; /* it can give one away */
    count_shared(c, shard, &cost);
    return cost.same_node > (must > c->nodes ? must - c->nodes : 0) ||
           cost.same_zone > (must > c->zones ? must - c->zones : 0);
}

static bool has_tries(const struct copies *c)
{
    return c->tries < COPIES_TRIES_MAX;
}

/* ---- the best change ---- */

struct sizes {
    unsigned smallest;
    unsigned largest;
};

static struct sizes sizes_of(const struct copies *c)
{
    struct sizes sizes = {UINT32_MAX, 0};
    for (unsigned s = 0; s < c->shards; s++) {
        unsigned size = copies_size(c, s);
        sizes.largest = size > sizes.largest ? size : sizes.largest;
        sizes.smallest = size < sizes.smallest ? size : sizes.smallest;
    }
    return sizes;
}

/* The pod goes to a smaller shard, and nobody from there. */
static void try_singles(struct copies *c, size_t pod, struct copies_change *best)
{
    unsigned size = copies_size(c, c->shard_of[pod]);
    for (unsigned s = 0; size > 2 && s < c->shards; s++)
        if (copies_size(c, s) < size)
            try_change(c, pod, s, NONE, 0, best);
}

/* The pod and each one of another shard, of which one keeps a replica meanwhile, for each other. */
static void try_swaps(struct copies *c, size_t pod, struct copies_change *best)
{
    unsigned from = c->shard_of[pod];
    unsigned size = copies_size(c, from);
    for (size_t other = 0; other < c->count && has_tries(c); other++) {
        unsigned s = c->shard_of[other];
        unsigned theirs = copies_size(c, s);
        if (s != from && size > 1 && theirs > 1 && (size > 2 || theirs > 2))
            try_change(c, pod, s, other, from, best);
    }
}

/* A spare copy comes to the shard of `other`, which then can go to a third one. */
static void try_chains(struct copies *c, size_t pod, size_t other, struct copies_change *best)
{
    unsigned from = c->shard_of[pod];
    unsigned by = c->shard_of[other];
    unsigned size = copies_size(c, from);
    if (from == by || size < 3 || copies_size(c, by) < 2)
        return;
    for (unsigned s = 0; s < c->shards && has_tries(c); s++)
        if (s != by && s != from && copies_size(c, s) < size)
            try_change(c, pod, by, other, s, best);
}

static void find_even(struct copies *c, struct sizes sizes, struct copies_change *best)
{
    for (size_t i = 0; i < c->count && has_tries(c); i++)
        if (copies_size(c, c->shard_of[i]) > sizes.smallest + 1)
            try_singles(c, i, best);
    for (size_t i = 0; i < c->count; i++)
        for (size_t other = 0;
             copies_size(c, c->shard_of[i]) > sizes.smallest + 1 && other < c->count; other++)
            try_chains(c, i, other, best);
}

static void part(struct copies *c, const bool *clashes, bool swaps_only, struct copies_change *best)
{
    /* Single moves first: a change that is half done is finished by one, however many pods clash. */
    for (size_t i = 0; i < c->count && !swaps_only && has_tries(c); i++)
        if (clashes[i])
            try_singles(c, i, best);
    for (size_t i = 0; i < c->count && has_tries(c); i++)
        if (clashes[i])
            try_swaps(c, i, best);
    for (size_t i = 0; i < c->count && !swaps_only && has_tries(c); i++)
        for (size_t pod = 0; clashes[i] && pod < c->count && has_tries(c); pod++)
            try_chains(c, pod, i, best);
}

/* Whoever shares a node first: the others can gain less. */
static void find_parting(struct copies *c, struct sizes sizes, bool swaps_only,
                         struct copies_change *best)
{
    bool *on_node = ARENA_NEW(c->arena, bool, c->count);
    bool *in_zone = ARENA_NEW(c->arena, bool, c->count);
    for (size_t i = 0; i < c->count; i++) {
        unsigned s = c->shard_of[i];
        int64_t shares = may_gain(c, s, sizes.smallest) ? clash(c, s, i, NONE) : 0;
        on_node[i] = shares >= CHANGE_NODE;
        in_zone[i] = shares && !on_node[i];
    }
    part(c, on_node, swaps_only, best);
    if (best->gain > -CHANGE_NODE / 2)
        part(c, in_zone, swaps_only, best);
}

static void make_change(struct copies *c, const struct copies_change *change)
{
    if (change->other != NONE)
        c->shard_of[change->other] = change->to;
    c->shard_of[change->pod] = change->shard;
    copies_list(c);
}

/* With `late` copies change places while there is a spare one, and only then are made even. */
static size_t improve(struct copies *c, bool late, struct copies_change *ret_changes)
{
    size_t count = 0;
    while (count < c->count) {
        struct sizes sizes = sizes_of(c);
        struct copies_change best = {.pod = NONE};
        bool uneven = sizes.largest > sizes.smallest + 1;
        if (sizes.largest < 3)
            break; /* nobody has a replica to spare */
        if (late || !uneven)
            find_parting(c, sizes, uneven, &best);
        if (best.pod == NONE && uneven)
            find_even(c, sizes, &best);
        if (best.pod == NONE)
            break;
        make_change(c, &best);
        ret_changes[count++] = best;
    }
    return count;
}

/* It ends with nobody who has a replica to spare. */
static bool spends_the_spare(const struct copies *c)
{
    return c->count <= 2 * (size_t)c->shards && sizes_of(c).largest > 2;
}

size_t copies_improve(struct copies *c, struct copies_change *ret_changes)
{
    if (!spends_the_spare(c))
        return improve(c, false, ret_changes);
    unsigned *before = ARENA_NEW(c->arena, unsigned, c->count);
    unsigned *even = ARENA_NEW(c->arena, unsigned, c->count);
    struct copies_change *late_changes = ARENA_NEW(c->arena, struct copies_change, c->count);
    memcpy(before, c->shard_of, c->count * sizeof *before);
    size_t changes = improve(c, false, ret_changes);
    struct copies_cost cost = copies_cost(c);
    memcpy(even, c->shard_of, c->count * sizeof *even);
    memcpy(c->shard_of, before, c->count * sizeof *before);
    copies_list(c);
    c->tries = 0;
    size_t late = improve(c, true, late_changes);
    struct copies_cost late_cost = copies_cost(c);
    if (copies_cost_cmp(&late_cost, &cost) < 0) {
        memcpy(ret_changes, late_changes, late * sizeof *late_changes);
        return late;
    }
    memcpy(c->shard_of, even, c->count * sizeof *even);
    copies_list(c);
    return changes;
}
