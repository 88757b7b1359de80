/* SPDX-License-Identifier: Apache-2.0 */
#include "core/arrange.h"

#include <string.h>

#include "core/index.h"

struct arrange {
    struct arena *arena;
    size_t count;
    unsigned shards;
    unsigned nodes;
    unsigned zones;
    unsigned *node_of;  /* by pod */
    unsigned *zone_of;  /* by node */
    unsigned *shard_of; /* by pod */
    size_t *today;      /* by shard: its primary */
    size_t *first;      /* by shard, and one more: where its copies begin in `copies` */
    size_t *copies;     /* pods */
};

/* ---- the places in numbers ---- */

/* Equal names get equal numbers; each unknown one a number of its own. */
static unsigned number_names(const char *const *names, size_t count, struct arena *arena,
                             unsigned *ret_numbers)
{
    struct index index;
    index_init(&index, arena, count);
    for (size_t i = 0; i < count; i++)
        index_add(&index, names[i], i);
    index_sort(&index);
    unsigned next = 0;
    for (size_t i = 0; i < count; i++) {
        size_t first = names[i][0] ? index_find(&index, names[i]) : i;
        ret_numbers[i] = first == i ? next++ : ret_numbers[first];
    }
    return next;
}

/* A node is in one zone: the first that is known of a pod on it. */
static void number_places(struct arrange *a, const struct place *places)
{
    const char **names = ARENA_NEW(a->arena, const char *, a->count);
    for (size_t i = 0; i < a->count; i++)
        names[i] = places[i].node;
    a->nodes = number_names(names, a->count, a->arena, a->node_of);
    const char **zones = ARENA_NEW(a->arena, const char *, a->nodes);
    for (size_t i = 0; i < a->count; i++)
        if (!zones[a->node_of[i]] || !zones[a->node_of[i]][0])
            zones[a->node_of[i]] = places[i].zone;
    a->zones = number_names(zones, a->nodes, a->arena, a->zone_of);
}

/* The copies of each shard, one shard behind the other. */
static void list_copies(struct arrange *a)
{
    memset(a->first, 0, (a->shards + 1) * sizeof *a->first);
    for (size_t i = 0; i < a->count; i++)
        a->first[a->shard_of[i] + 1]++;
    for (unsigned s = 0; s < a->shards; s++)
        a->first[s + 1] += a->first[s];
    for (size_t i = a->count; i-- > 0;)
        a->copies[--a->first[a->shard_of[i] + 1]] = i;
    /* Counting down has moved each end to its beginning. */
    memmove(a->first, a->first + 1, a->shards * sizeof *a->first);
    a->first[a->shards] = a->count;
}

static void arrange_init(struct arrange *a, const struct place *places, const struct role *roles,
                         size_t count, unsigned shards, struct arena *arena)
{
    *a = (struct arrange){
        .arena = arena,
        .count = count,
        .shards = shards,
        .node_of = ARENA_NEW(arena, unsigned, count),
        .zone_of = ARENA_NEW(arena, unsigned, count),
        .shard_of = ARENA_NEW(arena, unsigned, count),
        .today = ARENA_NEW(arena, size_t, shards),
        .first = ARENA_NEW(arena, size_t, shards + 1),
        .copies = ARENA_NEW(arena, size_t, count),
    };
    for (size_t i = 0; i < count; i++) {
        a->shard_of[i] = roles[i].shard;
        if (roles[i].primary)
            a->today[roles[i].shard] = i;
    }
    number_places(a, places);
    list_copies(a);
}

/* ---- who is whose copy ---- */

/* Adds the copies that share a node, or a zone, with an earlier one of their shard. */
static void count_shared(const struct arrange *a, unsigned shard, unsigned *node_twice,
                         unsigned *zone_twice)
{
    for (size_t i = a->first[shard]; i < a->first[shard + 1]; i++) {
        bool node = false;
        bool zone = false;
        for (size_t j = a->first[shard]; j < i; j++) {
            unsigned one = a->node_of[a->copies[i]];
            unsigned two = a->node_of[a->copies[j]];
            node |= one == two;
            zone |= a->zone_of[one] == a->zone_of[two];
        }
        *node_twice += node;
        *zone_twice += zone;
    }
}

/* ---- who is primary ---- */

/* `primary`, by shard, is what the caller has or wants. */
static struct seats arrange_seats(const struct arrange *a, size_t *primary)
{
    return (struct seats){a->count,   a->shards,   a->nodes, a->zones, a->node_of,
                          a->zone_of, a->shard_of, a->today, primary};
}

/* ---- the way there ---- */

/* The hand-over on the way to `wanted` that spreads the primaries most; SIZE_MAX = it is reached. */
static size_t walk_best(const struct seats *now, const struct seats_loads *loads,
                        const size_t *wanted)
{
    size_t best = SIZE_MAX;
    int64_t least = INT64_MAX;
    for (unsigned s = 0; s < now->shards; s++) {
        if (now->primary[s] == wanted[s])
            continue;
        int64_t gain = seats_gain(now, loads, wanted[s]);
        if (gain < least) {
            best = wanted[s];
            least = gain;
        }
    }
    return best;
}

static void arrange_walk(const struct seats *now, const size_t *wanted, struct arena *arena,
                         struct arrangement *arrangement)
{
    struct arrange_move *moves = ARENA_NEW(arena, struct arrange_move, now->shards);
    struct seats_loads loads;
    size_t pod;
    seats_count(now, arena, &loads);
    while ((pod = walk_best(now, &loads, wanted)) != SIZE_MAX) {
        moves[arrangement->move_count++] = (struct arrange_move){pod, (uint16_t)now->shard_of[pod]};
        seats_hand_over(now, &loads, pod);
    }
    arrangement->moves = moves;
}

/* ---- the plan ---- */

static struct arrange_cost cost_of(const struct arrange *a, size_t *primary)
{
    struct seats seats = arrange_seats(a, primary);
    struct arrange_cost cost = {.primaries = seats_cost(&seats, a->arena)};
    for (unsigned s = 0; s < a->shards; s++)
        count_shared(a, s, &cost.same_node, &cost.same_zone);
    return cost;
}

struct arrange_cost arrange_cost(const struct place *places, const struct role *roles, size_t count,
                                 unsigned shards, struct arena *arena)
{
    struct arrange a;
    arrange_init(&a, places, roles, count, shards, arena);
    return cost_of(&a, a.today);
}

int arrange_cost_cmp(const struct arrange_cost *a, const struct arrange_cost *b)
{
    if (a->same_node != b->same_node)
        return a->same_node < b->same_node ? -1 : 1;
    if (a->same_zone != b->same_zone)
        return a->same_zone < b->same_zone ? -1 : 1;
    return seats_cost_cmp(&a->primaries, &b->primaries);
}

static size_t *copy_of(const size_t *primary, unsigned shards, struct arena *arena)
{
    size_t *copy = ARENA_NEW(arena, size_t, shards);
    memcpy(copy, primary, shards * sizeof *copy);
    return copy;
}

void arrange_plan(const struct place *places, const struct role *roles, size_t count,
                  unsigned shards, struct arena *arena, struct arrangement *ret_arrangement)
{
    *ret_arrangement = (struct arrangement){0};
    if (!shards || shards > SEATS_SHARDS_MAX || count <= shards)
        return;
    struct arrange a;
    arrange_init(&a, places, roles, count, shards, arena);
    size_t *wanted = copy_of(a.today, shards, arena);
    struct seats then = arrange_seats(&a, wanted);
    (void)seats_improve(&then, SEATS_WORK_MAX, arena); /* short of the best it is better, too */
    ret_arrangement->now = cost_of(&a, a.today);
    ret_arrangement->then = cost_of(&a, wanted);
    struct seats now = arrange_seats(&a, copy_of(a.today, shards, arena));
    arrange_walk(&now, wanted, arena, ret_arrangement);
}
