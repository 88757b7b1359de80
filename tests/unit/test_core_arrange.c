/* SPDX-License-Identifier: Apache-2.0 */
/* The way from today's roles to better ones, against every way there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/arrange.h"
#include "unit/arena_fixture.h"

#define PODS_MAX 1000
#define SMALL_PODS 6
#define SMALL_SHARDS 3
#define STATES_MAX 4000
#define WAYS_MAX 24
#define FAR UINT32_MAX
#define REPARENT 1000 /* weighs more than any number of hand-overs */

static const char *const node_names[] = {"", "n1", "n2", "n3", "n4", "n5", "n6"};
static const char *const zone_names[] = {"", "z1", "z2", "z3"};

static struct place places[PODS_MAX];
static struct role roles[PODS_MAX];

static void put(size_t pod, unsigned node, unsigned zone, unsigned shard, bool primary)
{
    places[pod] = (struct place){node_names[node], zone_names[zone]};
    roles[pod] = (struct role){(uint16_t)shard, primary};
}

static struct arrangement plan(struct arena *arena, size_t count, unsigned shards)
{
    struct arrangement result;
    arena_reset(arena);
    arrange_plan(places, roles, count, shards, true, arena, &result);
    return result;
}

/* What the move does, if it may be done: only a replica moves, and only if another one stays. */
static bool apply(struct role *at, size_t count, const struct arrange_move *move)
{
    unsigned stay = 0;
    if (at[move->pod].primary)
        return false;
    for (size_t i = 0; i < count; i++)
        stay += at[i].shard == at[move->pod].shard && !at[i].primary && i != move->pod;
    if (!move->primary) {
        if (!stay || at[move->pod].shard == move->shard)
            return false;
        at[move->pod].shard = move->shard;
        return true;
    }
    if (at[move->pod].shard != move->shard)
        return false;
    for (size_t i = 0; i < count; i++)
        if (at[i].shard == move->shard)
            at[i].primary = i == move->pod;
    return true;
}

struct walk {
    unsigned moves;
    unsigned reparents;
    unsigned strays; /* plans that were not what was left of the one before */
    struct arrange_cost end;
};

/* Every move is possible, and the way ends; planned anew after each. */
static struct walk check_walk(struct arena *arena, size_t count, unsigned shards)
{
    static struct role saved[PODS_MAX];
    struct arrangement a = plan(arena, count, shards);
    struct arrange_cost begin = a.now;
    size_t planned = a.move_count;
    struct walk walk = {.end = a.now};
    memcpy(saved, roles, count * sizeof *roles);
    while (a.move_count) {
        struct arrange_move move = a.moves[0];
        size_t left = a.move_count - 1;
        assert_true(apply(roles, count, &move));
        walk.moves++;
        walk.reparents += !move.primary;
        assert_true(walk.moves <= 2 * planned + 2); /* or it goes in circles */
        a = plan(arena, count, shards);
        walk.strays += a.move_count > left;
        walk.end = a.now;
    }
    assert_true(!planned || arrange_cost_cmp(&walk.end, &begin) < 0);
    memcpy(roles, saved, count * sizeof *roles);
    return walk;
}

/* ---- by hand ---- */

static void test_what_is_good_stays(void **state)
{
    for (size_t i = 0; i < 6; i++)
        put(i, 1 + (unsigned)i % 3, 1 + (unsigned)i % 3, (unsigned)(i < 3 ? i : (i + 1) % 3),
            i < 3);
    struct arrangement a = plan(*state, 6, 3);
    assert_int_equal(a.move_count, 0);
    assert_int_equal(arrange_cost_cmp(&a.now, &a.then), 0);
}

/* FAULTS F6: after a node's loss two of three primaries are on one node. */
static void test_a_majority_on_one_node_is_handed_over_by_one_move(void **state)
{
    put(0, 1, 1, 0, true);
    put(1, 2, 2, 0, false);
    put(2, 1, 1, 1, true);
    put(3, 3, 3, 1, false);
    put(4, 2, 2, 2, true);
    put(5, 3, 3, 2, false);
    struct arrangement a = plan(*state, 6, 3);
    assert_int_equal(a.move_count, 1);
    assert_true(a.moves[0].primary);
    assert_int_equal(a.moves[0].pod, 3); /* by way of pod 1 node 2 would hold two */
    assert_int_equal(a.then.primaries.node_over, 0);
}

/* No single hand-over helps: the way is through another zone. */
static void test_a_chain_of_two_is_found(void **state)
{
    put(0, 1, 1, 0, true);
    put(1, 2, 2, 0, false);
    put(2, 1, 1, 1, true);
    put(3, 2, 2, 1, false);
    put(4, 2, 2, 2, true);
    put(5, 3, 3, 2, false);
    struct arrangement a = plan(*state, 6, 3);
    assert_int_equal(a.move_count, 2);
    assert_int_equal(a.then.primaries.zone_squares, 3);
    assert_int_equal(check_walk(*state, 6, 3).moves, 2);
}

/* FAULTS F7. */
static void test_one_node_only_moves_nothing(void **state)
{
    for (size_t i = 0; i < 6; i++)
        put(i, 1, 1, (unsigned)i / 2, i % 2 == 0);
    assert_int_equal(plan(*state, 6, 3).move_count, 0);
    for (size_t i = 0; i < 6; i++)
        put(i, 1, 1, (unsigned)i / 3, i % 3 == 0);
    assert_int_equal(plan(*state, 6, 2).move_count, 0);
}

static void test_the_only_replica_of_a_shard_is_never_taken(void **state)
{
    put(0, 1, 1, 0, true);
    put(1, 1, 1, 0, false);
    put(2, 2, 2, 1, true);
    put(3, 2, 2, 1, false);
    struct arrangement a = plan(*state, 4, 2);
    assert_int_equal(a.move_count, 0);
    assert_int_equal(a.now.copies.same_node, 2);
}

/* With one pod to spare, copies change places by way of it. */
static void test_a_spare_replica_parts_who_shares_a_node(void **state)
{
    put(0, 1, 1, 0, true);
    put(1, 1, 1, 0, false);
    put(2, 2, 2, 1, true);
    put(3, 3, 3, 1, false);
    put(4, 4, 1, 1, false);
    struct arrangement a = plan(*state, 5, 2);
    assert_int_equal(a.then.copies.same_node, 0);
    assert_int_equal(a.now.copies.same_node, 1);
    assert_int_equal(check_walk(*state, 5, 2).moves, 2);
}

static void test_two_replicas_of_two_shards_change_places(void **state)
{
    static const unsigned nodes[] = {1, 1, 2, 3, 3, 2};
    for (size_t i = 0; i < 6; i++)
        put(i, nodes[i], 0, (unsigned)i / 3, i % 3 == 0);
    struct arrangement a = plan(*state, 6, 2);
    assert_int_equal(a.now.copies.same_node, 2);
    assert_int_equal(a.then.copies.same_node, 0);
    assert_int_equal(a.move_count, 2);
    assert_int_equal(check_walk(*state, 6, 2).moves, 2);
    arrange_plan(places, roles, 6, 2, false, *state, &a); /* hand-overs alone */
    for (size_t i = 0; i < a.move_count; i++)
        assert_true(a.moves[i].primary);
    assert_int_equal(a.then.copies.same_node, a.now.copies.same_node);
}

/* ---- every state, and every move between two ---- */

struct state {
    struct role roles[SMALL_PODS];
    unsigned ways;
    uint16_t to[WAYS_MAX];
    bool reparents[WAYS_MAX];
};

static struct {
    size_t count;
    unsigned shards;
    size_t states;
    struct state all[STATES_MAX];
    uint32_t far[STATES_MAX];
    bool known[STATES_MAX];
    struct arrange_cost cost[STATES_MAX];
    uint16_t queue[STATES_MAX * WAYS_MAX];
} world;

static size_t find_state(const struct role *wanted)
{
    for (size_t s = 0; s < world.states; s++) {
        const struct role *at = world.all[s].roles;
        size_t same = 0;
        while (same < world.count && at[same].shard == wanted[same].shard &&
               at[same].primary == wanted[same].primary)
            same++;
        if (same == world.count)
            return s;
    }
    fail();
    return 0;
}

static void add_states(struct role *given, size_t pod)
{
    if (pod < world.count) {
        for (unsigned shard = 0; shard < world.shards; shard++) {
            for (int primary = 0; primary < 2; primary++) {
                given[pod].shard = (uint16_t)shard;
                given[pod].primary = primary;
                add_states(given, pod + 1);
            }
        }
        given[pod] = (struct role){0};
        return;
    }
    unsigned primaries[SMALL_SHARDS] = {0};
    for (size_t i = 0; i < world.count; i++)
        primaries[given[i].shard] += given[i].primary;
    for (unsigned shard = 0; shard < world.shards; shard++)
        if (primaries[shard] != 1)
            return;
    assert_true(world.states < STATES_MAX);
    memcpy(world.all[world.states++].roles, given, sizeof world.all[0].roles);
}

static void add_way(struct state *from, struct arrange_move move)
{
    struct role then[SMALL_PODS];
    memcpy(then, from->roles, sizeof then);
    if (!apply(then, world.count, &move))
        return;
    assert_true(from->ways < WAYS_MAX);
    from->reparents[from->ways] = !move.primary;
    from->to[from->ways++] = (uint16_t)find_state(then);
}

static void make_world(size_t count, unsigned shards)
{
    struct role given[SMALL_PODS] = {{0, false}};
    memset(&world, 0, sizeof world);
    world.count = count;
    world.shards = shards;
    add_states(given, 0);
    for (size_t s = 0; s < world.states; s++) {
        struct state *from = &world.all[s];
        for (size_t pod = 0; pod < count; pod++) {
            add_way(from, (struct arrange_move){pod, from->roles[pod].shard, true, false});
            for (unsigned shard = 0; shard < shards; shard++)
                add_way(from, (struct arrange_move){pod, (uint16_t)shard, false, false});
        }
    }
}

/* The least of moves to every state, re-parentings first. */
static void measure_ways(size_t from)
{
    size_t head = 0;
    size_t tail = 0;
    memset(world.far, 0xff, sizeof world.far);
    world.far[from] = 0;
    world.queue[tail++] = (uint16_t)from;
    while (head < tail) {
        size_t at = world.queue[head++];
        for (unsigned w = 0; w < world.all[at].ways; w++) {
            size_t to = world.all[at].to[w];
            uint32_t far = world.far[at] + (world.all[at].reparents[w] ? REPARENT : 1);
            if (far >= world.far[to])
                continue;
            world.far[to] = far;
            assert_true(tail < sizeof world.queue / sizeof world.queue[0]);
            world.queue[tail++] = (uint16_t)to;
        }
    }
}

static const struct arrange_cost *cost_of_state(struct arena *arena, size_t s)
{
    if (!world.known[s]) {
        arena_reset(arena);
        world.cost[s] = arrange_cost(places, world.all[s].roles, world.count, world.shards, arena);
        world.known[s] = true;
    }
    return &world.cost[s];
}

/* By the order of arrange.h. */
static int state_cmp(struct arena *arena, size_t a, size_t b)
{
    const struct arrange_cost *left = cost_of_state(arena, a);
    const struct arrange_cost *right = cost_of_state(arena, b);
    int order = copies_cost_cmp(&left->copies, &right->copies);
    if (order)
        return order;
    if (world.far[a] / REPARENT != world.far[b] / REPARENT)
        return world.far[a] < world.far[b] ? -1 : 1;
    order = arrange_cost_cmp(left, right);
    return order ? order : (world.far[a] > world.far[b]) - (world.far[a] < world.far[b]);
}

struct tally {
    size_t cases;
    size_t longer;  /* by a move */
    size_t strays;  /* planned otherwise on the way */
    size_t seats;   /* the primaries could be spread better by as many re-parentings */
    size_t copies;  /* the copies could be spread better */
    size_t longest; /* by more than a move */
};

static void print_case(const char *what, const struct walk *walk, uint32_t best)
{
    print_message("%s:", what);
    for (size_t i = 0; i < world.count; i++)
        print_message(" %s/%s:%u%s", places[i].node, places[i].zone, roles[i].shard,
                      roles[i].primary ? "p" : "");
    print_message(": %u moves, %u re-parentings instead of %u\n", walk->moves, walk->reparents,
                  best);
}

static void check_state(struct arena *arena, size_t from, struct tally *tally)
{
    measure_ways(from);
    size_t best = from;
    for (size_t s = 0; s < world.states; s++)
        if (world.far[s] != FAR && state_cmp(arena, s, best) < 0)
            best = s;
    uint32_t far = world.far[best];
    const struct arrange_cost least = *cost_of_state(arena, best);
    memcpy(roles, world.all[from].roles, sizeof world.all[from].roles);
    struct walk walk = check_walk(arena, world.count, world.shards);
    unsigned fewest = far / REPARENT + far % REPARENT;
    tally->cases++;
    tally->longer += walk.moves > fewest;
    tally->strays += walk.strays != 0;
    if (copies_cost_cmp(&walk.end.copies, &least.copies) != 0) {
        if (tally->copies++ < 5)
            print_case("copies", &walk, far);
    } else if (walk.moves > fewest + 1) {
        if (tally->longest++ < 5)
            print_case("longer", &walk, far);
    } else if (walk.reparents == far / REPARENT) {
        if (arrange_cost_cmp(&walk.end, &least) != 0 && tally->seats++ < 5)
            print_case("seats", &walk, far);
    }
}

/*
 * Every way to put the pods on up to four nodes (and nowhere): node names are given in the order of
 * their first pod, since names do not matter.
 */
static void check_places(struct arena *arena, size_t pod, unsigned used, const unsigned *zones,
                         struct rng *rng, struct tally *tally)
{
    if (pod == world.count) {
        memset(world.known, 0, sizeof world.known);
        bool all = world.states < 20;
        for (size_t i = 0; i < (all ? world.states : 1); i++)
            check_state(arena, all ? i : (size_t)rng_below(rng, world.states), tally);
        return;
    }
    for (unsigned node = 0; node <= used + 1 && node <= 4; node++) {
        places[pod] = (struct place){node_names[node], zone_names[node ? zones[node - 1] : 0]};
        check_places(arena, pod + 1, node > used ? node : used, zones, rng, tally);
    }
}

static void test_small_clusters_take_the_shortest_way_to_the_best(void **state)
{
    static const unsigned patterns[][4] = {
        {0, 0, 0, 0}, {1, 1, 2, 2}, {1, 2, 3, 3}, {1, 2, 3, 0}, {1, 1, 1, 2}};
    struct rng rng = {1};
    struct tally tally = {0};
    for (size_t count = 2; count <= SMALL_PODS; count++) {
        for (unsigned shards = 1; shards < count && shards <= SMALL_SHARDS; shards++) {
            make_world(count, shards);
            for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++)
                check_places(*state, 0, 0, patterns[p], &rng, &tally);
        }
    }
    print_message("%zu cases, %zu longer than the shortest, %zu planned anew on the way; could be "
                  "better: copies %zu, primaries %zu, moves %zu\n",
                  tally.cases, tally.longer, tally.strays, tally.copies, tally.seats,
                  tally.longest);
    assert_int_equal(tally.copies, 0);
    assert_int_equal(tally.longest, 0);
    assert_int_equal(tally.strays, 0);
    assert_int_equal(tally.seats, 0);
}

/* ---- larger ones ---- */

static void deal(size_t count, unsigned shards, unsigned nodes, struct rng *rng)
{
    static char names[PODS_MAX][8];
    bool led[PODS_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        unsigned node = (unsigned)rng_below(rng, nodes);
        text_format(names[i], sizeof names[i], "n%u", node);
        places[i] = (struct place){names[i], zone_names[1 + node % 3]};
        roles[i] = (struct role){(uint16_t)(i % shards), false};
    }
    for (size_t i = (size_t)rng_below(rng, count), k = 0; k < count; k++, i = (i + 7) % count) {
        roles[i].primary = !led[roles[i].shard];
        led[roles[i].shard] = true;
    }
}

static void test_any_way_ends_and_is_not_gone_twice(void **state)
{
    struct rng rng = {7};
    unsigned strays = 0;
    for (int i = 0; i < 300; i++) {
        size_t count = 6 + (size_t)rng_below(&rng, 30);
        unsigned shards = (unsigned)(count / (2 + rng_below(&rng, 2)));
        while (count % 7 == 0)
            count++;
        deal(count, shards, 3 + (unsigned)rng_below(&rng, 9), &rng);
        strays += check_walk(*state, count, shards).strays;
    }
    print_message("%u moves of 300 walks were planned anew on the way\n", strays);
}

static void test_a_thousand_pods(void **state)
{
    struct rng rng = {9};
    deal(PODS_MAX, 500, 99, &rng);
    struct arrangement a = plan(*state, PODS_MAX, 500);
    print_message("1,000 pods, 500 shards: %zu moves, zones %u -> %u\n", a.move_count,
                  a.now.primaries.zone_squares, a.then.primaries.zone_squares);
    deal(PODS_MAX, 333, 99, &rng);
    a = plan(*state, PODS_MAX, 333);
    print_message("1,000 pods, 333 shards: %zu moves, same node %u -> %u\n", a.move_count,
                  a.now.copies.same_node, a.then.copies.same_node);
    assert_true(a.then.copies.same_node < a.now.copies.same_node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_good_stays),
        cmocka_unit_test(test_a_majority_on_one_node_is_handed_over_by_one_move),
        cmocka_unit_test(test_a_chain_of_two_is_found),
        cmocka_unit_test(test_one_node_only_moves_nothing),
        cmocka_unit_test(test_the_only_replica_of_a_shard_is_never_taken),
        cmocka_unit_test(test_a_spare_replica_parts_who_shares_a_node),
        cmocka_unit_test(test_two_replicas_of_two_shards_change_places),
        cmocka_unit_test(test_small_clusters_take_the_shortest_way_to_the_best),
        cmocka_unit_test(test_any_way_ends_and_is_not_gone_twice),
        cmocka_unit_test(test_a_thousand_pods),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
