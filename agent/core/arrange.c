/* SPDX-License-Identifier: Apache-2.0 */
#include "core/arrange.h"

#include <string.h>

#include "core/index.h"

/* Roles in numbers. */
struct arrange {
    struct copies copies;
    size_t *today; /* by shard: its primary; SIZE_MAX = it has left */
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
static void number_places(struct copies *c, const struct place *places, unsigned *node_of,
                          unsigned *zone_of)
{
    const char **names = ARENA_NEW(c->arena, const char *, c->count);
    for (size_t i = 0; i < c->count; i++)
        names[i] = places[i].node;
    c->nodes = number_names(names, c->count, c->arena, node_of);
    const char **zones = ARENA_NEW(c->arena, const char *, c->nodes);
    for (size_t i = 0; i < c->count; i++)
        if (!zones[node_of[i]] || !zones[node_of[i]][0])
            zones[node_of[i]] = places[i].zone;
    c->zones = number_names(zones, c->nodes, c->arena, zone_of);
}

static void arrange_init(struct arrange *a, const struct place *places, const struct role *roles,
                         size_t count, unsigned shards, struct arena *arena)
{
    unsigned *node_of = ARENA_NEW(arena, unsigned, count);
    unsigned *zone_of = ARENA_NEW(arena, unsigned, count);
    a->today = ARENA_NEW(arena, size_t, shards);
    a->copies = (struct copies){
        .arena = arena,
        .count = count,
        .shards = shards,
        .node_of = node_of,
        .zone_of = zone_of,
        .today = a->today,
        .shard_of = ARENA_NEW(arena, unsigned, count),
        .first = ARENA_NEW(arena, size_t, shards + 1),
        .list = ARENA_NEW(arena, size_t, count),
    };
    for (size_t i = 0; i < count; i++) {
        a->copies.shard_of[i] = roles[i].shard;
        if (roles[i].primary)
            a->today[roles[i].shard] = i;
    }
    number_places(&a->copies, places, node_of, zone_of);
    copies_list(&a->copies);
}

/* ---- who is primary ---- */

/* A shard whose primary has left begins with any of its copies. */
static struct seats arrange_seats(const struct arrange *a)
{
    const struct copies *c = &a->copies;
    size_t *today = ARENA_NEW(c->arena, size_t, c->shards);
    size_t *primary = ARENA_NEW(c->arena, size_t, c->shards);
    for (unsigned s = 0; s < c->shards; s++) {
        bool stays = c->shard_of[a->today[s]] == s;
        today[s] = stays ? a->today[s] : SIZE_MAX;
        primary[s] = stays ? a->today[s] : c->list[c->first[s]];
    }
    return (struct seats){c->count,   c->shards,   c->nodes, c->zones, c->node_of,
                          c->zone_of, c->shard_of, today,    primary};
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
    w->moves[w->count++] = (struct arrange_move){pod, (uint16_t)shard, primary, false};
    if (primary) {
        seats_hand_over(&w->seats, &w->loads, pod);
        now->today[shard] = pod;
        return;
    }
    now->copies.shard_of[pod] = shard;
    copies_list(&now->copies);
}

/* Who takes over from a primary that leaves: who will have the shard in the end, or who is there. */
static size_t walk_heir(const struct walk *w, size_t pod)
{
    const struct copies *c = &w->now->copies;
    unsigned shard = c->shard_of[pod];
    size_t heir = SIZE_MAX;
    for (size_t i = c->first[shard]; i < c->first[shard + 1]; i++) {
        size_t copy = c->list[i];
        bool last = w->roles[copy].primary && w->roles[copy].shard == shard;
        bool stays = w->roles[copy].shard == shard;
        if (copy != pod && (heir == SIZE_MAX || last || (stays && w->roles[heir].shard != shard)))
            heir = copy;
        if (copy != pod && last)
            break;
    }
    return heir;
}

static void walk_reparent(struct walk *w, size_t pod, unsigned shard)
{
    unsigned from = w->now->copies.shard_of[pod];
    if (w->now->today[from] == pod)
        walk_take(w, walk_heir(w, pod), from, true);
    walk_take(w, pod, shard, false);
}

/*
 * One change after the other, each to its end: planned anew in its middle, its end is the best again,
 * for it is nearer than before. Of two shards the larger one gives first, and so keeps a replica.
 */
static void walk_change(struct walk *w, const struct copies_change *change)
{
    const struct copies *c = &w->now->copies;
    size_t begin = w->count;
    unsigned from = c->shard_of[change->pod];
    bool first = change->other == SIZE_MAX || change->to != from ||
                 copies_size(c, from) >= copies_size(c, change->shard);
    if (first)
        walk_reparent(w, change->pod, change->shard);
    if (change->other != SIZE_MAX)
        walk_reparent(w, change->other, change->to);
    if (!first)
        walk_reparent(w, change->pod, change->shard);
    for (size_t i = begin; i + 1 < w->count; i++)
        w->moves[i].more = true;
}

/* The hand-over on the way that spreads the primaries most; false = there is none left. */
static bool walk_hand_over(struct walk *w)
{
    const struct copies *c = &w->now->copies;
    size_t best = SIZE_MAX;
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < c->count; i++) {
        unsigned s = c->shard_of[i];
        if (!w->roles[i].primary || w->roles[i].shard != s || w->now->today[s] == i)
            continue;
        int64_t gain = seats_gain(&w->seats, &w->loads, i);
        if (gain < least) {
            best = i;
            least = gain;
        }
    }
    if (best == SIZE_MAX)
        return false;
    walk_take(w, best, w->roles[best].shard, true);
    return true;
}

/* ---- the plan ---- */

static struct arrange_cost cost_of(const struct arrange *a)
{
    struct seats seats = arrange_seats(a);
    return (struct arrange_cost){copies_cost(&a->copies), seats_cost(&seats, a->copies.arena)};
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
    int order = copies_cost_cmp(&a->copies, &b->copies);
    return order ? order : seats_cost_cmp(&a->primaries, &b->primaries);
}

/* Who is what at the end; the primaries of `then` follow. */
static const struct role *arrange_roles(struct arrange *then)
{
    const struct copies *c = &then->copies;
    struct role *roles = ARENA_NEW(c->arena, struct role, c->count);
    struct seats seats = arrange_seats(then);
    (void)seats_improve(&seats, SEATS_WORK_MAX, c->arena); /* short of the best it is better, too */
    for (size_t i = 0; i < c->count; i++)
        roles[i] = (struct role){(uint16_t)c->shard_of[i], seats.primary[c->shard_of[i]] == i};
    memcpy(then->today, seats.primary, c->shards * sizeof *then->today);
    return roles;
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
    struct copies_change *changes = ARENA_NEW(arena, struct copies_change, count);
    size_t change_count = reparents ? copies_improve(&then.copies, changes) : 0;
    struct walk walk = {.now = &now, .roles = arrange_roles(&then), .seats = arrange_seats(&now)};
    ret_arrangement->then = cost_of(&then);
    /* A change takes two re-parentings with a hand-over before each. */
    walk.moves = ARENA_NEW(arena, struct arrange_move, 4 * change_count + shards);
    seats_count(&walk.seats, arena, &walk.loads);
    for (size_t i = 0; i < change_count; i++)
        walk_change(&walk, &changes[i]);
    while (walk_hand_over(&walk))
        ;
    ret_arrangement->roles = walk.roles;
    ret_arrangement->moves = walk.moves;
    ret_arrangement->move_count = walk.count;
}
