/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/placement.h"
#include "unit/arena_fixture.h"

#define PODS_MAX 1000

static const char *const node_names[] = {"", "n1", "n2", "n3", "n4", "n5", "n6"};
static const char *const zone_names[] = {"", "z1", "z2", "z3"};

static struct place places[PODS_MAX];
static struct role roles[PODS_MAX];

static void assert_cost(const struct placement_cost *cost, unsigned same_node, unsigned same_zone,
                        unsigned node_majority, unsigned zone_majority)
{
    assert_int_equal(cost->same_node, same_node);
    assert_int_equal(cost->same_zone, same_zone);
    assert_int_equal(cost->node_majority, node_majority);
    assert_int_equal(cost->zone_majority, zone_majority);
}

/* Each shard has one primary, and their numbers of replicas differ by one at most. */
static void assert_whole(const struct role *given, size_t count, unsigned shards)
{
    unsigned primaries[PODS_MAX] = {0};
    unsigned replicas[PODS_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        assert_true(given[i].shard < shards);
        if (given[i].primary)
            primaries[given[i].shard]++;
        else
            replicas[given[i].shard]++;
    }
    for (unsigned s = 0; s < shards; s++) {
        assert_int_equal(primaries[s], 1);
        assert_in_range(replicas[s], (count - shards) / shards,
                        (count - shards + shards - 1) / shards);
    }
}

static struct placement_cost form(struct arena *arena, size_t count, unsigned shards)
{
    arena_reset(arena);
    memset(roles, 0xff, sizeof roles);
    placement_form(places, count, shards, arena, roles);
    assert_whole(roles, count, shards);
    return placement_cost(places, roles, count, shards);
}

static void test_left_over_pods_make_no_shard(void **state)
{
    (void)state;
    assert_int_equal(placement_shards(6, 1), 3);
    assert_int_equal(placement_shards(7, 1), 3);
    assert_int_equal(placement_shards(9, 2), 3);
    assert_int_equal(placement_shards(3, 0), 3);
    assert_int_equal(placement_shards(1, 1), 0);
    assert_int_equal(placement_shards(0, 0), 0);
}

static void test_six_pods_in_three_zones_are_perfect(void **state)
{
    for (size_t i = 0; i < 6; i++)
        places[i] = (struct place){node_names[1 + i], zone_names[1 + i % 3]};
    struct placement_cost cost = form(*state, 6, 3);
    assert_cost(&cost, 0, 0, 0, 0);
    assert_int_equal(cost.zone_uneven, 0);
    assert_int_equal(cost.node_uneven, 0);
}

static void test_two_pods_a_node_are_spread_over_three_nodes(void **state)
{
    for (size_t i = 0; i < 6; i++)
        places[i] = (struct place){node_names[1 + i / 2], ""};
    struct placement_cost cost = form(*state, 6, 3);
    assert_cost(&cost, 0, 0, 0, 0);
    assert_int_equal(cost.node_uneven, 0);
}

static void test_unknown_places_are_never_the_same(void **state)
{
    for (size_t i = 0; i < 6; i++)
        places[i] = (struct place){"", ""};
    struct placement_cost cost = form(*state, 6, 3);
    assert_cost(&cost, 0, 0, 0, 0);
}

static void test_one_node_is_the_worst_and_still_gets_roles(void **state)
{
    for (size_t i = 0; i < 6; i++)
        places[i] = (struct place){"n1", "z1"};
    struct placement_cost cost = form(*state, 6, 3);
    assert_cost(&cost, 3, 3, 1, 1);
}

/* What each goal costs, by hand: three shards of two on three nodes and zones. */
static void test_each_goal_is_counted_as_promised(void **state)
{
    (void)state;
    static const struct place three[] = {{"n1", "z1"}, {"n2", "z2"}, {"n3", "z3"},
                                         {"n1", "z1"}, {"n2", "z2"}, {"n3", "z3"}};
    struct role good[] = {{0, true}, {1, true}, {2, true}, {1, false}, {2, false}, {0, false}};
    struct placement_cost cost = placement_cost(three, good, 6, 3);
    assert_cost(&cost, 0, 0, 0, 0);
    struct role mates[] = {{0, true}, {1, true}, {2, true}, {0, false}, {2, false}, {1, false}};
    cost = placement_cost(three, mates, 6, 3);
    assert_cost(&cost, 1, 1, 0, 0);
    /* Two of three primaries on n1 in z1. */
    struct role heavy[] = {{0, true}, {1, true}, {2, false}, {2, true}, {0, false}, {1, false}};
    cost = placement_cost(three, heavy, 6, 3);
    assert_cost(&cost, 0, 0, 1, 1);
    assert_int_equal(cost.node_uneven, 2); /* 4 + 1 + 0 instead of 1 + 1 + 1 */
    assert_int_equal(cost.zone_uneven, 2);
}

static void test_two_replicas_on_one_node_count_once(void **state)
{
    (void)state;
    static const struct place two[] = {{"n1", "z1"}, {"n2", "z1"}, {"n2", "z1"}};
    struct role shard[] = {{0, true}, {0, false}, {0, false}};
    struct placement_cost cost = placement_cost(two, shard, 3, 1);
    assert_int_equal(cost.same_node, 1);
    assert_int_equal(cost.same_zone, 2);
}

static void test_goals_are_compared_in_their_order(void **state)
{
    (void)state;
    struct placement_cost zero = {0};
    struct placement_cost worse[] = {
        {.node_uneven = 9},   {.zone_uneven = 1}, {.zone_majority = 1},
        {.node_majority = 1}, {.same_zone = 1},   {.same_node = 1},
    };
    assert_int_equal(placement_cost_cmp(&zero, &zero), 0);
    for (size_t i = 0; i < sizeof worse / sizeof worse[0]; i++) {
        assert_true(placement_cost_cmp(&zero, &worse[i]) < 0);
        assert_true(placement_cost_cmp(&worse[i], &zero) > 0);
        if (i)
            assert_true(placement_cost_cmp(&worse[i - 1], &worse[i]) < 0);
    }
}

/* ---- against every arrangement there is ---- */

struct search {
    size_t count;
    unsigned shards;
    struct role tried[6];
    unsigned primaries[6];
    unsigned replicas[6];
    struct placement_cost best;
    bool found;
};

/* Shards are named in the order of their first pod: a permutation of names is the same arrangement. */
static void search_all(struct search *s, size_t pod, unsigned named)
{
    if (pod == s->count) {
        for (unsigned i = 0; i < s->shards; i++)
            if (s->primaries[i] != 1)
                return;
        struct placement_cost cost = placement_cost(places, s->tried, s->count, s->shards);
        if (!s->found || placement_cost_cmp(&cost, &s->best) < 0)
            s->best = cost;
        s->found = true;
        return;
    }
    unsigned most = (unsigned)((s->count - s->shards + s->shards - 1) / s->shards);
    for (unsigned shard = 0; shard < s->shards && shard <= named; shard++) {
        unsigned next = shard == named ? named + 1 : named;
        if (!s->primaries[shard]) {
            s->primaries[shard]++;
            s->tried[pod] = (struct role){(uint16_t)shard, true};
            search_all(s, pod + 1, next);
            s->primaries[shard]--;
        }
        if (s->replicas[shard] < most) {
            s->replicas[shard]++;
            s->tried[pod] = (struct role){(uint16_t)shard, false};
            search_all(s, pod + 1, next);
            s->replicas[shard]--;
        }
    }
}

/*
 * Every way to put up to six pods on four nodes (and nowhere), the nodes in one of several patterns
 * of zones. Node names are given in the order of their first pod, since names do not matter.
 */
struct brute {
    struct arena *arena;
    size_t cases;
    size_t short_of; /* the best */
};

static void brute_check(struct brute *b, size_t count)
{
    for (unsigned shards = 1; shards <= count; shards++) {
        struct search search = {.count = count, .shards = shards};
        search_all(&search, 0, 0);
        struct placement_cost cost = form(b->arena, count, shards);
        b->cases++;
        if (placement_cost_cmp(&cost, &search.best) <= 0)
            continue;
        if (b->short_of++ < 5) {
            print_message("not the best: %u shards on", shards);
            for (size_t i = 0; i < count; i++)
                print_message(" %s/%s", places[i].node, places[i].zone);
            print_message(": %u %u %u %u %u %u instead of %u %u %u %u %u %u\n", cost.same_node,
                          cost.same_zone, cost.node_majority, cost.zone_majority, cost.zone_uneven,
                          cost.node_uneven, search.best.same_node, search.best.same_zone,
                          search.best.node_majority, search.best.zone_majority,
                          search.best.zone_uneven, search.best.node_uneven);
        }
        /* The goals that a failure turns into an outage are always met as well as they can be. */
        assert_int_equal(cost.same_node, search.best.same_node);
        assert_int_equal(cost.same_zone, search.best.same_zone);
    }
}

static void brute_places(struct brute *b, size_t pod, size_t count, unsigned used,
                         const unsigned *zones)
{
    if (pod == count) {
        brute_check(b, count);
        return;
    }
    for (unsigned node = 0; node <= used + 1 && node <= 4; node++) {
        places[pod] = (struct place){node_names[node], zone_names[node ? zones[node - 1] : 0]};
        brute_places(b, pod + 1, count, node > used ? node : used, zones);
    }
}

static void test_small_clusters_are_placed_as_well_as_can_be(void **state)
{
    static const unsigned patterns[][4] = {{0, 0, 0, 0}, {1, 1, 2, 2}, {1, 2, 3, 3},
                                           {1, 2, 3, 0}, {1, 1, 1, 2}, {1, 2, 1, 2}};
    struct brute brute = {.arena = *state};
    for (size_t pattern = 0; pattern < sizeof patterns / sizeof patterns[0]; pattern++)
        for (size_t count = 1; count <= 6; count++)
            brute_places(&brute, 0, count, 0, patterns[pattern]);
    print_message("%zu arrangements, %zu not the best\n", brute.cases, brute.short_of);
    assert_true(brute.cases > 10000);
    assert_int_equal(brute.short_of, 0);
}

static void test_the_same_places_give_the_same_roles(void **state)
{
    static struct role again[PODS_MAX];
    struct rng rng = {3};
    for (size_t count = 2; count <= 40; count++) {
        for (size_t i = 0; i < count; i++)
            places[i] =
                (struct place){node_names[rng_below(&rng, 7)], zone_names[rng_below(&rng, 4)]};
        (void)form(*state, count, (unsigned)(count / 2));
        memcpy(again, roles, sizeof again);
        (void)form(*state, count, (unsigned)(count / 2));
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(roles[i].shard, again[i].shard);
            assert_int_equal(roles[i].primary, again[i].primary);
        }
    }
}

/* `count` pods dealt evenly over `nodes` nodes, those over `zones` zones. */
static void deal(size_t count, size_t nodes, size_t zones)
{
    static char names[PODS_MAX][8];
    for (size_t i = 0; i < count; i++) {
        text_format(names[i], sizeof names[i], "n%zu", i % nodes);
        places[i] = (struct place){names[i], zone_names[1 + i % nodes % zones]};
    }
}

/* So many of `count` pods, dealt over `places_count` places, must share a place with their shard. */
static size_t crowded(size_t count, size_t places_count, unsigned shards)
{
    size_t least = count / places_count;
    size_t fuller = count % places_count; /* places with one pod more */
    size_t over = least > shards ? (least - shards) * (places_count - fuller) : 0;
    return over + (least + 1 > shards ? (least + 1 - shards) * fuller : 0);
}

static void check_large(struct arena *arena, size_t count, size_t nodes, size_t zones,
                        unsigned mates)
{
    unsigned shards = (unsigned)(count / (1 + mates));
    deal(count, nodes, zones);
    struct placement_cost cost = form(arena, count, shards);
    /* A shard with a left-over pod may keep one pair in a zone that only several swaps would part. */
    size_t slack = mates > 1 && count % (1 + mates) ? 1 : 0;
    if (cost.same_node > crowded(count, nodes, shards) ||
        cost.same_zone > crowded(count, zones, shards) + slack ||
        (nodes > 2 && cost.node_majority) || (zones > 2 && cost.zone_majority)) {
        print_message("%zu pods on %zu nodes in %zu zones, %u replicas: %u %u %u %u\n", count,
                      nodes, zones, mates, cost.same_node, cost.same_zone, cost.node_majority,
                      cost.zone_majority);
        fail();
    }
}

/* Evenly dealt pods find an arrangement without a clash, however many they are. */
static void test_large_even_clusters_are_placed_without_a_clash(void **state)
{
    for (unsigned mates = 1; mates <= 2; mates++)
        for (size_t zones = 1 + mates; zones <= 3; zones++)
            for (size_t nodes = zones; nodes <= 30; nodes += zones)
                for (size_t count = 33; count <= 160; count++)
                    check_large(*state, count, nodes, zones, mates);
    check_large(*state, PODS_MAX, 99, 3, 1);
    check_large(*state, PODS_MAX, 99, 3, 2);
}

/* ---- newcomers ---- */

static void test_a_newcomer_serves_the_shard_with_fewest_replicas(void **state)
{
    (void)state;
    static const struct place a[] = {{"n1", "z1"}, {"n2", "z2"}};
    static const struct place b[] = {{"n3", "z3"}};
    struct placement_shard shards[] = {{1, a, 2}, {0, b, 1}, {1, a, 2}};
    /* Even where it clashes: a copy on the same node is better than none. */
    struct place newcomer = {"n3", "z3"};
    assert_int_equal(placement_join(&newcomer, shards, 3), 1);
}

static void test_among_equals_a_newcomer_avoids_node_then_zone(void **state)
{
    (void)state;
    static const struct place first[] = {{"n1", "z1"}, {"n2", "z2"}};
    static const struct place second[] = {{"n3", "z1"}, {"n4", "z2"}};
    static const struct place third[] = {{"n5", "z3"}, {"n6", "z2"}};
    struct placement_shard shards[] = {{1, first, 2}, {1, second, 2}, {1, third, 2}};
    struct place same_node_everywhere_but_second = {"n1", "z1"};
    assert_int_equal(placement_join(&same_node_everywhere_but_second, shards, 2), 1);
    struct place same_zone_but_third = {"n9", "z1"};
    assert_int_equal(placement_join(&same_zone_but_third, shards, 3), 2);
    struct place free = {"n9", "z9"};
    assert_int_equal(placement_join(&free, shards, 3), 0);
    struct place unknown = {"", ""};
    assert_int_equal(placement_join(&unknown, shards, 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_left_over_pods_make_no_shard),
        cmocka_unit_test(test_six_pods_in_three_zones_are_perfect),
        cmocka_unit_test(test_two_pods_a_node_are_spread_over_three_nodes),
        cmocka_unit_test(test_unknown_places_are_never_the_same),
        cmocka_unit_test(test_one_node_is_the_worst_and_still_gets_roles),
        cmocka_unit_test(test_each_goal_is_counted_as_promised),
        cmocka_unit_test(test_two_replicas_on_one_node_count_once),
        cmocka_unit_test(test_goals_are_compared_in_their_order),
        cmocka_unit_test(test_small_clusters_are_placed_as_well_as_can_be),
        cmocka_unit_test(test_the_same_places_give_the_same_roles),
        cmocka_unit_test(test_large_even_clusters_are_placed_without_a_clash),
        cmocka_unit_test(test_a_newcomer_serves_the_shard_with_fewest_replicas),
        cmocka_unit_test(test_among_equals_a_newcomer_avoids_node_then_zone),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
