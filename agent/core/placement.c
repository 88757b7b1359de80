/* SPDX-License-Identifier: Apache-2.0 */
#include "core/placement.h"

#include <assert.h>
#include <string.h>

#include "core/index.h"

/* Above this the search by swaps, which is quadratic, is left out: the first draft is good. */
#define PLACEMENT_SEARCH_MAX 32

unsigned placement_shards(unsigned pods, unsigned replicas_per_primary)
{
    return pods / (1 + replicas_per_primary);
}

/* Two unknown places are never the same place. */
static bool placement_same(const char *a, const char *b)
{
    return a[0] != '\0' && strcmp(a, b) == 0;
}

/* How many of the `limit` roles are primaries at the same node (or zone) as `name`. */
static unsigned placement_share(const struct place *places, const struct role *roles, size_t count,
                                bool zone, const char *name)
{
    unsigned share = 0;
    for (size_t i = 0; i < count; i++) {
        const char *other = zone ? places[i].zone : places[i].node;
        if (roles[i].primary && placement_same(name, other))
            share++;
    }
    return share;
}

/* Adds majority and unevenness of primaries over nodes (or zones). */
static void placement_count_primaries(const struct place *places, const struct role *roles,
                                      size_t count, unsigned shards, bool zone,
                                      unsigned *ret_majority, unsigned *ret_uneven)
{
    unsigned majority = 0;
    unsigned squares = 0;
    unsigned names = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = zone ? places[i].zone : places[i].node;
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = placement_same(name, zone ? places[j].zone : places[j].node);
        if (seen || !name[0])
            continue;
        unsigned share = placement_share(places, roles, count, zone, name);
        names++;
        squares += share * share;
        if (share > shards / 2)
            majority++;
    }
    *ret_majority = majority;
    if (!names) {
        *ret_uneven = 0;
        return;
    }
    /* The least sum of squares: shards over names as evenly as whole numbers allow. */
    unsigned low = shards / names;
    unsigned extra = shards % names;
    unsigned best = extra * (low + 1) * (low + 1) + (names - extra) * low * low;
    *ret_uneven = squares > best ? squares - best : 0;
}

struct placement_cost placement_cost(const struct place *places, const struct role *roles,
                                     size_t count, unsigned shards)
{
    struct placement_cost cost = {0};
    for (size_t i = 0; i < count; i++) {
        bool node = false;
        bool zone = false;
        for (size_t j = 0; j < count; j++) {
            if (i == j || roles[i].shard != roles[j].shard || roles[i].primary)
                continue;
            if (!roles[j].primary && j > i)
                continue; /* a pair of replicas counts once */
            node = node || placement_same(places[i].node, places[j].node);
            zone = zone || placement_same(places[i].zone, places[j].zone);
        }
        cost.same_node += node;
        cost.same_zone += zone;
    }
    placement_count_primaries(places, roles, count, shards, false, &cost.node_majority,
                              &cost.node_uneven);
    placement_count_primaries(places, roles, count, shards, true, &cost.zone_majority,
                              &cost.zone_uneven);
    return cost;
}

int placement_cost_cmp(const struct placement_cost *a, const struct placement_cost *b)
{
    const unsigned left[] = {a->same_node,     a->same_zone,   a->node_majority,
                             a->zone_majority, a->zone_uneven, a->node_uneven};
    const unsigned right[] = {b->same_node,     b->same_zone,   b->node_majority,
                              b->zone_majority, b->zone_uneven, b->node_uneven};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    return 0;
}

/* Each pod's turn: how many pods of the same group come before it. */
static void placement_turns(const struct place *places, const size_t *order, size_t count,
                            bool zone, struct arena *arena, unsigned *ret_turns)
{
    struct index names;
    index_init(&names, arena, count);
    for (size_t i = 0; i < count; i++)
        index_add(&names, zone ? places[i].zone : places[i].node, i);
    index_sort(&names);
    /* Per name a counter, kept at the position of the name's first pod. */
    unsigned *next = ARENA_NEW(arena, unsigned, count);
    for (size_t i = 0; i < count; i++) {
        size_t pod = order[i];
        size_t first = index_find(&names, zone ? places[pod].zone : places[pod].node);
        ret_turns[pod] = next[first]++;
    }
}

/* Stable counting sort of `order` by `turns`. */
static void placement_sort(size_t *order, size_t count, const unsigned *turns, struct arena *arena)
{
    size_t *start = ARENA_NEW(arena, size_t, count + 1);
    size_t *sorted = ARENA_NEW(arena, size_t, count);
    for (size_t i = 0; i < count; i++)
        start[turns[i] + 1]++;
    for (size_t t = 0; t < count; t++)
        start[t + 1] += start[t];
    for (size_t i = 0; i < count; i++)
        sorted[start[turns[order[i]]]++] = order[i];
    memcpy(order, sorted, count * sizeof *order);
}

/*
 * An order in which neighbours differ: pods are dealt out zone by zone and, within a zone, node by
 * node, so that any run of consecutive pods is spread as widely as it can be.
 */
static void placement_deal(const struct place *places, size_t count, struct arena *arena,
                           size_t *ret_order)
{
    unsigned *turns = ARENA_NEW(arena, unsigned, count);
    for (size_t i = 0; i < count; i++)
        ret_order[i] = i;
    placement_turns(places, ret_order, count, false, arena, turns);
    placement_sort(ret_order, count, turns, arena);
    placement_turns(places, ret_order, count, true, arena, turns);
    placement_sort(ret_order, count, turns, arena);
}

/* The copies that each shard has so far: `width` pods for each, its primary first. */
struct copies {
    const struct place *places;
    size_t *pods;
    unsigned *counts;
    size_t width;
};

static void copies_add(struct copies *copies, unsigned shard, size_t pod)
{
    copies->pods[shard * copies->width + copies->counts[shard]++] = pod;
}

/*
 * How badly a pod fits as a copy of the shard in the place of its copy `except` (SIZE_MAX: as a
 * further one): 2 the same node, 1 the same zone as another copy.
 */
static unsigned copies_clash(const struct copies *copies, unsigned shard, size_t pod, size_t except)
{
    unsigned clash = 0;
    for (unsigned i = 0; i < copies->counts[shard]; i++) {
        size_t other = copies->pods[shard * copies->width + i];
        if (other == except)
            continue;
        if (placement_same(copies->places[other].node, copies->places[pod].node))
            return 2;
        if (placement_same(copies->places[other].zone, copies->places[pod].zone))
            clash = 1;
    }
    return clash;
}

/* Of the shards with `replicas` replicas, the one where the pod clashes least, from `from` on. */
static unsigned copies_choose(const struct copies *copies, unsigned shards, unsigned replicas,
                              unsigned from, size_t pod)
{
    unsigned best = shards;
    unsigned best_clash = UINT32_MAX;
    for (unsigned k = 0; k < shards && best_clash; k++) {
        unsigned shard = (from + k) % shards;
        if (copies->counts[shard] != 1 + replicas)
            continue;
        unsigned clash = copies_clash(copies, shard, pod, SIZE_MAX);
        if (clash < best_clash) {
            best = shard;
            best_clash = clash;
        }
    }
    assert(best < shards);
    return best;
}

static void copies_replace(struct copies *copies, unsigned shard, size_t old, size_t pod)
{
    for (unsigned i = 0; i < copies->counts[shard]; i++)
        if (copies->pods[shard * copies->width + i] == old)
            copies->pods[shard * copies->width + i] = pod;
}

/* Two replicas change places if that clashes less. True if they did. */
static bool copies_swap(struct copies *copies, struct role *roles, size_t a, size_t b)
{
    unsigned sa = roles[a].shard;
    unsigned sb = roles[b].shard;
    if (sa == sb || roles[b].primary)
        return false;
    unsigned now = copies_clash(copies, sa, a, a) + copies_clash(copies, sb, b, b);
    unsigned then = copies_clash(copies, sa, b, a) + copies_clash(copies, sb, a, b);
    if (then >= now)
        return false;
    copies_replace(copies, sa, a, b);
    copies_replace(copies, sb, b, a);
    roles[a].shard = (uint16_t)sb;
    roles[b].shard = (uint16_t)sa;
    return true;
}

/* The last ones of a draft may be left with bad matches only: each looks for a better partner. */
static void copies_repair(struct copies *copies, struct role *roles, size_t count)
{
    for (size_t a = 0; a < count; a++) {
        if (roles[a].primary)
            continue;
        for (size_t b = 0; b < count && copies_clash(copies, roles[a].shard, a, a); b++)
            (void)copies_swap(copies, roles, a, b);
    }
}

static void placement_search(const struct place *places, struct role *roles, size_t count,
                             unsigned shards)
{
    struct placement_cost cost = placement_cost(places, roles, count, shards);
    for (bool better = true; better;) {
        better = false;
        for (size_t i = 0; i < count; i++) {
            for (size_t j = i + 1; j < count; j++) {
                struct role swap = roles[i];
                roles[i] = roles[j];
                roles[j] = swap;
                struct placement_cost tried = placement_cost(places, roles, count, shards);
                if (placement_cost_cmp(&tried, &cost) < 0) {
                    cost = tried;
                    better = true;
                } else {
                    roles[j] = roles[i];
                    roles[i] = swap;
                }
            }
        }
    }
}

void placement_form(const struct place *places, size_t count, unsigned shards, struct arena *arena,
                    struct role *ret_roles)
{
    assert(shards > 0 && shards <= count);
    size_t *order = ARENA_NEW(arena, size_t, count);
    placement_deal(places, count, arena, order);
    struct copies copies = {
        .places = places,
        .width = (count + shards - 1) / shards,
        .counts = ARENA_NEW(arena, unsigned, shards),
    };
    copies.pods = ARENA_NEW(arena, size_t, shards * copies.width);
    for (unsigned s = 0; s < shards; s++) {
        ret_roles[order[s]] = (struct role){.shard = (uint16_t)s, .primary = true};
        copies_add(&copies, s, order[s]);
    }
    for (size_t i = shards; i < count; i++) {
        /* In rounds, one replica for each shard; the neighbour in the deal is the likely match. */
        unsigned round = (unsigned)(i / shards - 1);
        unsigned shard =
            copies_choose(&copies, shards, round, (unsigned)((i + 1) % shards), order[i]);
        copies_add(&copies, shard, order[i]);
        ret_roles[order[i]] = (struct role){.shard = (uint16_t)shard};
    }
    copies_repair(&copies, ret_roles, count);
    if (count <= PLACEMENT_SEARCH_MAX)
        placement_search(places, ret_roles, count, shards);
}

size_t placement_join(const struct place *place, const struct placement_shard *shards,
                      size_t shard_count)
{
    assert(shard_count > 0);
    size_t best = 0;
    unsigned best_cost = UINT32_MAX;
    for (size_t s = 0; s < shard_count; s++) {
        unsigned clash = 0;
        for (size_t i = 0; i < shards[s].copy_count && clash < 2; i++) {
            if (placement_same(shards[s].copies[i].node, place->node))
                clash = 2;
            else if (placement_same(shards[s].copies[i].zone, place->zone))
                clash = 1;
        }
        unsigned cost = shards[s].replicas * 4 + clash;
        if (cost < best_cost) {
            best = s;
            best_cost = cost;
        }
    }
    return best;
}
