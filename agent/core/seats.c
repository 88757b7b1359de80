/* SPDX-License-Identifier: Apache-2.0 */
#include "core/seats.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

/* What a unit of each goal weighs: one more of it outweighs all of those below it. */
struct weights {
    int64_t node_over;
    int64_t zone_over;
    int64_t zone_square;
    int64_t node_square;
};

/* A way for one unit: along a hand-over, or over the tree of nodes and zones, which moves load. */
struct way {
    unsigned from;
    unsigned to;
    int64_t cost;
    size_t heir; /* the pod that takes its shard over; SIZE_MAX on the tree */
};

struct search {
    const struct seats *seats;
    struct weights weights;
    struct seats_loads loads;
    struct way *ways;
    size_t way_count;
    size_t work_left; /* ways that may still be looked at */
    unsigned places;  /* nodes, then zones, then the root */
    int64_t *distance;
    size_t *came_by; /* the way into each place; SIZE_MAX = none */
    unsigned *seen;
};

static struct weights weights_of(unsigned shards)
{
    int64_t moves = (int64_t)shards + 1;
    int64_t squares = (int64_t)shards * shards + 1;
    struct weights w = {.node_square = moves};
    w.zone_square = w.node_square * squares;
    w.zone_over = w.zone_square * squares;
    w.node_over = w.zone_over * moves;
    return w;
}

void seats_count(const struct seats *seats, struct arena *arena, struct seats_loads *ret_loads)
{
    ret_loads->node = ARENA_NEW(arena, unsigned, seats->nodes);
    ret_loads->zone = ARENA_NEW(arena, unsigned, seats->zones);
    for (unsigned s = 0; s < seats->shards; s++) {
        unsigned node = seats->node_of[seats->primary[s]];
        ret_loads->node[node]++;
        ret_loads->zone[seats->zone_of[node]]++;
    }
}

void seats_hand_over(const struct seats *seats, const struct seats_loads *loads, size_t heir)
{
    unsigned shard = seats->shard_of[heir];
    unsigned from = seats->node_of[seats->primary[shard]];
    unsigned to = seats->node_of[heir];
    loads->node[from]--;
    loads->zone[seats->zone_of[from]]--;
    loads->node[to]++;
    loads->zone[seats->zone_of[to]]++;
    seats->primary[shard] = heir;
}

/* What the unit on top of `load` costs. */
static int64_t rise(unsigned load, unsigned shards, int64_t square, int64_t over)
{
    return square * (2 * (int64_t)load + 1) + (load >= shards / 2 ? over : 0);
}

int64_t seats_gain(const struct seats *seats, const struct seats_loads *loads, size_t heir)
{
    const struct weights w = weights_of(seats->shards);
    unsigned from = seats->node_of[seats->primary[seats->shard_of[heir]]];
    unsigned to = seats->node_of[heir];
    unsigned from_zone = seats->zone_of[from];
    unsigned to_zone = seats->zone_of[to];
    int64_t gain = 0;
    if (from != to)
        gain += rise(loads->node[to], seats->shards, w.node_square, w.node_over) -
                rise(loads->node[from] - 1, seats->shards, w.node_square, w.node_over);
    if (from_zone != to_zone)
        gain += rise(loads->zone[to_zone], seats->shards, w.zone_square, w.zone_over) -
                rise(loads->zone[from_zone] - 1, seats->shards, w.zone_square, w.zone_over);
    return gain;
}

static void add_way(struct search *s, unsigned from, unsigned to, int64_t cost, size_t heir)
{
    s->ways[s->way_count++] = (struct way){from, to, cost, heir};
}

/* Both directions between a place and the one above it. */
static void add_branch(struct search *s, unsigned place, unsigned above, unsigned load,
                       int64_t square, int64_t over)
{
    unsigned shards = s->seats->shards;
    add_way(s, place, above, rise(load, shards, square, over), SIZE_MAX);
    if (load)
        add_way(s, above, place, -rise(load - 1, shards, square, over), SIZE_MAX);
}

static void lay_ways(struct search *s)
{
    const struct seats *seats = s->seats;
    unsigned root = seats->nodes + seats->zones;
    s->way_count = 0;
    for (size_t pod = 0; pod < seats->pods; pod++) {
        unsigned shard = seats->shard_of[pod];
        size_t primary = seats->primary[shard];
        size_t today = seats->today[shard];
        if (pod != primary)
            add_way(s, seats->node_of[primary], seats->node_of[pod],
                    (pod != today) - (primary != today), pod);
    }
    for (unsigned n = 0; n < seats->nodes; n++)
        add_branch(s, n, seats->nodes + seats->zone_of[n], s->loads.node[n], s->weights.node_square,
                   s->weights.node_over);
    for (unsigned z = 0; z < seats->zones; z++)
        add_branch(s, seats->nodes + z, root, s->loads.zone[z], s->weights.zone_square,
                   s->weights.zone_over);
}

/* A place on a circle of the ways by which the places were reached; SIZE_MAX if there is none. */
static size_t find_circle(const struct search *s)
{
    memset(s->seen, 0, s->places * sizeof *s->seen);
    for (unsigned first = 0; first < s->places; first++) {
        unsigned at = first;
        while (!s->seen[at]) {
            s->seen[at] = first + 1;
            if (s->came_by[at] == SIZE_MAX)
                break;
            at = s->ways[s->came_by[at]].from;
        }
        if (s->seen[at] == first + 1 && s->came_by[at] != SIZE_MAX)
            return at;
    }
    return SIZE_MAX;
}

/* Bellman and Ford from everywhere at once: a circle among the ways taken has a negative cost. */
static size_t search_circle(struct search *s)
{
    memset(s->distance, 0, s->places * sizeof *s->distance);
    memset(s->came_by, 0xff, s->places * sizeof *s->came_by);
    for (bool shorter = true; shorter && s->work_left >= s->way_count;) {
        shorter = false;
        s->work_left -= s->way_count;
        for (size_t w = 0; w < s->way_count; w++) {
            const struct way *way = &s->ways[w];
            if (way->from == way->to || s->distance[way->from] + way->cost >= s->distance[way->to])
                continue;
            s->distance[way->to] = s->distance[way->from] + way->cost;
            s->came_by[way->to] = w;
            shorter = true;
        }
        size_t circle = shorter ? find_circle(s) : SIZE_MAX;
        if (circle != SIZE_MAX)
            return circle;
    }
    return SIZE_MAX;
}

/* A copy beside today's primary costs the same, and spares a hand-over. */
static void stay_where_possible(const struct seats *seats)
{
    for (unsigned s = 0; s < seats->shards; s++) {
        size_t today = seats->today[s];
        if (today != SIZE_MAX && seats->node_of[seats->primary[s]] == seats->node_of[today])
            seats->primary[s] = today;
    }
}

bool seats_improve(const struct seats *seats, size_t work_max, struct arena *arena)
{
    assert(seats->shards > 0 && seats->shards <= SEATS_SHARDS_MAX);
    unsigned places = seats->nodes + seats->zones + 1;
    struct search s = {
        .seats = seats,
        .weights = weights_of(seats->shards),
        .ways = ARENA_NEW(arena, struct way, seats->pods + 2 * (size_t)places),
        .places = places,
        .work_left = work_max,
        .distance = ARENA_NEW(arena, int64_t, places),
        .came_by = ARENA_NEW(arena, size_t, places),
        .seen = ARENA_NEW(arena, unsigned, places),
    };
    stay_where_possible(seats);
    seats_count(seats, arena, &s.loads);
    for (;;) {
        lay_ways(&s);
        size_t circle = search_circle(&s);
        if (circle == SIZE_MAX)
            return s.work_left >= s.way_count;
        size_t at = circle;
        do {
            const struct way *way = &s.ways[s.came_by[at]];
            if (way->heir != SIZE_MAX)
                seats_hand_over(seats, &s.loads, way->heir);
            at = way->from;
        } while (at != circle);
        stay_where_possible(seats);
    }
}

struct seats_cost seats_cost(const struct seats *seats, struct arena *arena)
{
    struct seats_loads loads;
    seats_count(seats, arena, &loads);
    unsigned half = seats->shards / 2;
    struct seats_cost cost = {0};
    for (unsigned n = 0; n < seats->nodes; n++) {
        cost.node_over += loads.node[n] > half ? loads.node[n] - half : 0;
        cost.node_squares += loads.node[n] * loads.node[n];
    }
    for (unsigned z = 0; z < seats->zones; z++) {
        cost.zone_over += loads.zone[z] > half ? loads.zone[z] - half : 0;
        cost.zone_squares += loads.zone[z] * loads.zone[z];
    }
    return cost;
}

int seats_cost_cmp(const struct seats_cost *a, const struct seats_cost *b)
{
    const unsigned left[] = {a->node_over, a->zone_over, a->zone_squares, a->node_squares};
    const unsigned right[] = {b->node_over, b->zone_over, b->zone_squares, b->node_squares};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    return 0;
}
