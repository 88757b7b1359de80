/* SPDX-License-Identifier: Apache-2.0 */
#include "core/arrange.h"

#include <string.h>

#include "core/index.h"

/* So many changes are looked at in one turn; a thousand pods that clash must not stop it. */
#define ARRANGE_TRIES_MAX 200000
#define NONE SIZE_MAX

/* A change of copies: `pod` goes to `shard`, and `other`, if any, from there to where the pod was. */
struct change {
    size_t pod;
    unsigned shard;
    size_t other;
    int64_t gain; /* < 0 is better: evenness, nodes, zones and then moves */
};

struct arrange {
    struct arena *arena;
    size_t count;
    unsigned shards;
    unsigned nodes;
    unsigned zones;
    unsigned *node_of;      /* by pod */
    unsigned *zone_of;      /* by node */
    unsigned *shard_of;     /* by pod */
    size_t *today;          /* by shard: its primary */
    size_t *first;          /* by shard, and one more: where its copies begin in `copies` */
    size_t *copies;         /* pods */
    struct change *changes; /* that have led here, in their order */
    size_t change_count;
    unsigned tries;
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

static unsigned arrange_size(const struct arrange *a, unsigned shard)
{
    return (unsigned)(a->first[shard + 1] - a->first[shard]);
}

/* ---- who is whose copy ---- */

/* What a pod shares with the copies of a shard but `except`: 2 a node, 1 a zone. Both weigh as below. */
static int64_t arrange_clash(const struct arrange *a, unsigned shard, size_t pod, size_t except)
{
    bool node = false;
    bool zone = false;
    for (size_t i = a->first[shard]; i < a->first[shard + 1]; i++) {
        size_t other = a->copies[i];
        if (other == pod || other == except)
            continue;
        node |= a->node_of[other] == a->node_of[pod];
        zone |= a->zone_of[a->node_of[other]] == a->zone_of[a->node_of[pod]];
    }
    return ((int64_t)node << 20) + zone;
}

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

#define CHANGE_UNEVEN (INT64_C(1) << 40)
#define CHANGE_NODE (INT64_C(1) << 8) /* arrange_clash() above the moves */

/* It costs a hand-over first. */
static bool is_primary(const struct arrange *a, size_t pod)
{
    return a->today[a->shard_of[pod]] == pod;
}

static void try_change(struct arrange *a, size_t pod, unsigned shard, size_t other,
                       struct change *best)
{
    unsigned from = a->shard_of[pod];
    int64_t gain = arrange_clash(a, shard, pod, other) - arrange_clash(a, from, pod, NONE);
    int64_t moves = 1 + is_primary(a, pod);
    a->tries++;
    if (other != NONE) {
        gain += arrange_clash(a, from, other, pod) - arrange_clash(a, shard, other, NONE);
        moves += 1 + is_primary(a, other);
    }
    gain *= CHANGE_NODE;
    if (other == NONE)
        gain += ((int64_t)arrange_size(a, shard) + 1 - arrange_size(a, from)) * CHANGE_UNEVEN;
    if (gain < 0 && gain + moves < best->gain)
        *best = (struct change){pod, shard, other, gain + moves};
}

/* More copies of the shard share a node, or a zone, than must where the smallest shard has `least`. */
static bool may_gain(const struct arrange *a, unsigned shard, unsigned least)
{
    unsigned must = arrange_size(a, shard);
    unsigned node_twice = 0;
    unsigned zone_twice = 0;
    must -= must > least; /* it can give one away */
    count_shared(a, shard, &node_twice, &zone_twice);
    return node_twice > (must > a->nodes ? must - a->nodes : 0) ||
           zone_twice > (must > a->zones ? must - a->zones : 0);
}

static void try_pod(struct arrange *a, size_t pod, unsigned largest, unsigned smallest,
                    struct change *best)
{
    unsigned from = a->shard_of[pod];
    unsigned size = arrange_size(a, from);
    bool clashes = may_gain(a, from, smallest) && arrange_clash(a, from, pod, NONE);
    bool spare = size > 2 && size > smallest;
    if (!clashes && !(spare && size > smallest + 1))
        return;
    for (unsigned s = 0; spare && s < a->shards; s++)
        if (arrange_size(a, s) < size && (clashes || arrange_size(a, s) + 1 < size))
            try_change(a, pod, s, NONE, best);
    if (!clashes || largest < 3)
        return;
    for (size_t other = 0; other < a->count && a->tries < ARRANGE_TRIES_MAX; other++) {
        unsigned s = a->shard_of[other];
        if (s != from && (size > 2 || arrange_size(a, s) > 2))
            try_change(a, pod, s, other, best);
    }
}

static bool find_change(struct arrange *a, struct change *ret_change)
{
    unsigned largest = 0;
    unsigned smallest = UINT32_MAX;
    for (unsigned s = 0; s < a->shards; s++) {
        unsigned size = arrange_size(a, s);
        largest = size > largest ? size : largest;
        smallest = size < smallest ? size : smallest;
    }
    *ret_change = (struct change){.pod = NONE};
    if (largest < 3)
        return false; /* nobody has a replica to spare */
    for (size_t i = 0; i < a->count && a->tries < ARRANGE_TRIES_MAX; i++)
        try_pod(a, i, largest, smallest, ret_change);
    return ret_change->pod != NONE;
}

static void arrange_copies(struct arrange *a)
{
    struct change c;
    a->changes = ARENA_NEW(a->arena, struct change, a->count);
    while (a->change_count < a->count && find_change(a, &c)) {
        if (c.other != NONE)
            a->shard_of[c.other] = a->shard_of[c.pod];
        a->shard_of[c.pod] = c.shard;
        a->changes[a->change_count++] = c;
        list_copies(a);
    }
}

/* ---- who is primary ---- */

static struct seats arrange_seats(struct arrange *a)
{
    size_t *today = ARENA_NEW(a->arena, size_t, a->shards);
    size_t *primary = ARENA_NEW(a->arena, size_t, a->shards);
    for (unsigned s = 0; s < a->shards; s++) {
        bool stays = a->shard_of[a->today[s]] == s;
        today[s] = stays ? a->today[s] : NONE;
        primary[s] = stays ? a->today[s] : a->copies[a->first[s]];
    }
    return (struct seats){a->count,   a->shards,   a->nodes, a->zones, a->node_of,
                          a->zone_of, a->shard_of, today,    primary};
}

/* ---- the way there ---- */

struct walk {
    struct arrange *now; /* as far as the moves have led */
    struct seats seats;  /* likewise */
    struct seats_loads loads;
    const struct role *roles; /* at the end */
    struct arrange_move *moves;
    size_t count;
};

static void walk_take(struct walk *w, size_t pod, unsigned shard, bool primary)
{
    struct arrange *now = w->now;
    w->moves[w->count++] = (struct arrange_move){pod, (uint16_t)shard, primary};
    if (primary) {
        seats_hand_over(&w->seats, &w->loads, pod);
        now->today[shard] = pod;
        return;
    }
    now->shard_of[pod] = shard;
    list_copies(now);
}

/* Who takes over from a primary that leaves: who will have the shard in the end, or who is there. */
static size_t walk_heir(const struct walk *w, size_t pod)
{
    const struct arrange *now = w->now;
    unsigned shard = now->shard_of[pod];
    size_t heir = NONE;
    for (size_t c = now->first[shard]; c < now->first[shard + 1]; c++) {
        size_t copy = now->copies[c];
        bool last = w->roles[copy].primary && w->roles[copy].shard == shard;
        if (copy != pod && (heir == NONE || last))
            heir = copy;
    }
    return heir;
}

static void walk_reparent(struct walk *w, size_t pod, unsigned shard)
{
    if (is_primary(w->now, pod))
        walk_take(w, walk_heir(w, pod), w->now->shard_of[pod], true);
    walk_take(w, pod, shard, false);
}

/*
 * One change after the other, each to its end: planned anew in its middle, its end is the best again,
 * for it is nearer than before. The larger shard gives first, and so keeps a replica.
 */
static void walk_change(struct walk *w, const struct change *c)
{
    struct arrange *now = w->now;
    unsigned from = now->shard_of[c->pod];
    bool first = c->other == NONE || arrange_size(now, from) >= arrange_size(now, c->shard);
    if (first)
        walk_reparent(w, c->pod, c->shard);
    if (c->other != NONE)
        walk_reparent(w, c->other, from);
    if (!first)
        walk_reparent(w, c->pod, c->shard);
}

/* The hand-over that spreads the primaries most. */
static bool walk_hand_over(struct walk *w)
{
    struct arrange *now = w->now;
    size_t best = NONE;
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < now->count; i++) {
        unsigned s = w->roles[i].shard;
        if (!w->roles[i].primary || now->shard_of[i] != s || now->today[s] == i)
            continue;
        int64_t gain = seats_gain(&w->seats, &w->loads, i);
        if (gain < least) {
            best = i;
            least = gain;
        }
    }
    if (best == NONE)
        return false;
    walk_take(w, best, w->roles[best].shard, true);
    return true;
}

static void arrange_walk(struct walk *w, const struct arrange *then)
{
    for (size_t i = 0; i < then->change_count; i++)
        walk_change(w, &then->changes[i]);
    while (walk_hand_over(w))
        ;
}

/* ---- the plan ---- */

static unsigned sum_squares_least(size_t units, size_t over)
{
    size_t low = units / over;
    size_t extra = units % over;
    return (unsigned)(extra * (low + 1) * (low + 1) + (over - extra) * low * low);
}

static struct arrange_cost cost_of(struct arrange *a)
{
    struct seats seats = arrange_seats(a);
    struct arrange_cost cost = {.primaries = seats_cost(&seats, a->arena)};
    for (unsigned s = 0; s < a->shards; s++) {
        cost.uneven += arrange_size(a, s) * arrange_size(a, s);
        count_shared(a, s, &cost.same_node, &cost.same_zone);
    }
    cost.uneven -= sum_squares_least(a->count, a->shards);
    return cost;
}

struct arrange_cost arrange_cost(const struct place *places, const struct role *roles, size_t count,
                                 unsigned shards, struct arena *arena)
{
    struct arrange a;
    arrange_init(&a, places, roles, count, shards, arena);
    return cost_of(&a);
}

int arrange_cost_cmp(const struct arrange_cost *a, const struct arrange_cost *b)
{
    const unsigned left[] = {a->uneven, a->same_node, a->same_zone};
    const unsigned right[] = {b->uneven, b->same_node, b->same_zone};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    return seats_cost_cmp(&a->primaries, &b->primaries);
}

void arrange_plan(const struct place *places, const struct role *roles, size_t count,
                  unsigned shards, bool reparents, struct arena *arena,
                  struct arrangement *ret_arrangement)
{
    *ret_arrangement = (struct arrangement){.roles = roles};
    if (!shards || shards > SEATS_SHARDS_MAX || count <= shards)
        return;
    struct arrange now;
    struct arrange then;
    arrange_init(&now, places, roles, count, shards, arena);
    arrange_init(&then, places, roles, count, shards, arena);
    ret_arrangement->now = cost_of(&now);
    if (reparents)
        arrange_copies(&then);
    struct seats seats = arrange_seats(&then);
    seats_improve(&seats, arena);
    struct role *target = ARENA_NEW(arena, struct role, count);
    for (size_t i = 0; i < count; i++)
        target[i] = (struct role){(uint16_t)then.shard_of[i], seats.primary[then.shard_of[i]] == i};
    memcpy(then.today, seats.primary, shards * sizeof *then.today);
    ret_arrangement->then = cost_of(&then);
    /* A change takes two re-parentings with a hand-over before each. */
    struct walk walk = {.now = &now, .seats = arrange_seats(&now), .roles = target};
    walk.moves = ARENA_NEW(arena, struct arrange_move, 4 * then.change_count + shards);
    seats_count(&walk.seats, arena, &walk.loads);
    arrange_walk(&walk, &then);
    *ret_arrangement = (struct arrangement){target, walk.moves, walk.count, ret_arrangement->now,
                                            ret_arrangement->then};
}
