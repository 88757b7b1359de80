/* SPDX-License-Identifier: Apache-2.0 */
/* Who is asked what, and how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "core/facts.h"
#include "core/observe.h"
#include "core/rules.h"
#include "lib/world_build.h"

#define MANY 100
#define SHARDS 50

static const struct plan idle = {.rule = "steady"};

/* A formed cluster whose leader, pod 0, read every view just now. */
static struct world_build *cluster(struct arena *arena, size_t pods)
{
    arena_reset(arena);
    struct world_build *b = world_build_formed(arena, pods / 2, pods);
    (void)world_build_refresh(b);
    for (size_t i = 0; i < pods; i++) {
        struct server *s = &b->pods[i].server;
        s->view_hash = s->view->hash;
        s->view_ms = b->world.now_ms - 500;
    }
    return b;
}

static const struct observe_ask *choose(const struct world_build *b, const struct plan *plan)
{
    return observe_choose(&b->world, plan, b->world.leader, OBSERVE_SWEEP_MAX, b->arena);
}

static size_t reads(const struct observe_ask *asks, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += asks[i].read;
    return sum;
}

static size_t each_second(const struct observe_ask *asks, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += asks[i].rhythm.full_ms == 1000;
    return sum;
}

static void test_a_small_cluster_is_read_in_full_each_second(void **state)
{
    const struct world_build *b = cluster(*state, OBSERVE_SWEEP_MAX);
    const struct observe_ask *asks = choose(b, &idle);
    for (size_t i = 0; i < b->count; i++) {
        assert_true(asks[i].dial);
        assert_int_equal(asks[i].rhythm.light_ms, 1000);
        assert_int_equal(asks[i].rhythm.full_ms, 1000);
        assert_int_equal(asks[i].hurry_ms, 0);
    }
    assert_int_equal(asks[0].rhythm.beat_ms, 200);
    assert_int_equal(asks[1].rhythm.beat_ms, 0);
    assert_int_equal(reads(asks, b->count), 0);
}

static void test_a_large_one_has_three_witnesses_and_a_round(void **state)
{
    struct world_build *b = cluster(*state, MANY);
    for (size_t i = 0; i < MANY; i++)
        b->pods[i].server.view_ms = b->world.now_ms - 20000 - (int64_t)i;
    const struct observe_ask *asks = choose(b, &idle);
    for (size_t i = 0; i < MANY; i++) {
        assert_true(asks[i].dial);
        assert_int_equal(asks[i].rhythm.light_ms, 1000);
    }
    assert_int_equal(each_second(asks, MANY), 1 + OBSERVE_WITNESSES); /* and the own server */
    assert_int_equal(reads(asks, MANY), 2); /* a hundred in sixty seconds */
    assert_true(asks[99].read && asks[98].read);

    b->pods[99].server.view_ms = b->pods[98].server.view_ms = b->world.now_ms - 900;
    assert_int_equal(reads(choose(b, &idle), MANY), 0); /* this second's are done */
}

static void test_a_witness_that_does_not_answer_is_replaced(void **state)
{
    struct world_build *b = cluster(*state, MANY);
    const struct observe_ask *asks = choose(b, &idle);
    for (size_t i = 1; i < MANY; i++)
        if (asks[i].rhythm.full_ms == 1000)
            b->pods[i].server.reach = REACH_TIMEOUT;
    assert_int_equal(each_second(choose(b, &idle), MANY), 1 + OBSERVE_WITNESSES);
}

static void test_a_sign_of_another_view_is_looked_into(void **state)
{
    struct world_build *b = cluster(*state, MANY);
    for (size_t i = 0; i < MANY; i++)
        b->pods[i].server.view_ms = b->world.now_ms - 1500;
    struct pod *pod = &b->pods[77]; /* no witness, and not next in turn */
    assert_false(choose(b, &idle)[77].read);

    pod->server.view_outdated = true;
    assert_true(choose(b, &idle)[77].read);
    pod->server.view_outdated = false;

    pod->server.view_hash++;
    assert_true(choose(b, &idle)[77].read);
    pod->server.view_hash = 0;
    assert_true(choose(b, &idle)[77].read);
    pod->server.view_hash = b->pods[1].server.view_hash;

    pod->told = (struct told){.heard_ms = b->world.now_ms - 100, .view_hash = 1};
    assert_true(choose(b, &idle)[77].read);
    pod->told.heard_ms = pod->server.view_ms - 1; /* told before we read it ourselves */
    assert_false(choose(b, &idle)[77].read);
    pod->told = (struct told){.heard_ms = b->world.now_ms, .open_slots = 1};
    assert_true(choose(b, &idle)[77].read);
    pod->told = (struct told){0};

    pod->server.link_up = false;
    assert_true(choose(b, &idle)[77].read);
    pod->server.reach = REACH_REFUSED;
    assert_false(choose(b, &idle)[77].read);
}

static void test_at_most_eight_signs_a_second(void **state)
{
    struct world_build *b = cluster(*state, MANY);
    for (size_t i = 0; i < MANY; i++) {
        b->pods[i].server.view_ms = b->world.now_ms - 1500;
        b->pods[i].server.view_outdated = i > 40;
    }
    assert_true(reads(choose(b, &idle), MANY) <= OBSERVE_READS + 2);
    /* All of them come in turn. */
    bool done[MANY] = {0};
    for (int second = 0; second < 10; second++) {
        const struct observe_ask *asks = choose(b, &idle);
        for (size_t i = 0; i < MANY; i++) {
            done[i] = done[i] || asks[i].read || asks[i].rhythm.full_ms == 1000;
            if (asks[i].read || asks[i].rhythm.full_ms == 1000)
                b->pods[i].server.view_ms = b->world.now_ms;
        }
        b->world.now_ms += 1000;
        for (size_t i = 0; i < MANY; i++)
            b->pods[i].server.seen_ms = b->world.now_ms;
    }
    for (size_t i = 41; i < MANY; i++)
        assert_true(done[i]);
}

/* Reads per second in a steady cluster: they must not grow faster than its size. */
static void test_the_cost_is_linear(void **state)
{
    static const size_t sizes[] = {100, 200, 400};
    for (size_t s = 0; s < 3; s++) {
        struct world_build *b = cluster(*state, sizes[s]);
        for (size_t i = 0; i < sizes[s]; i++)
            b->pods[i].server.view_ms = b->world.now_ms - 30000;
        const struct observe_ask *asks = choose(b, &idle);
        assert_true(each_second(asks, sizes[s]) + reads(asks, sizes[s]) <=
                    1 + OBSERVE_WITNESSES + sizes[s] / 60 + 1);
    }
}

static void test_a_plan_that_wants_views_gets_them_in_a_hurry(void **state)
{
    struct world_build *b = cluster(*state, MANY);
    struct action act = {.kind = ACTION_REPLICATE, .pod = 60};
    struct plan plan = {.actions = &act, .action_count = 1};
    const struct observe_ask *asks = choose(b, &plan);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(asks[i].hurry_ms != 0, i == 60 || i == b->world.me);
    plan = (struct plan){.wants_views = true};
    asks = choose(b, &plan);
    for (size_t i = 0; i < MANY; i++)
        assert_true(asks[i].hurry_ms > 0 && asks[i].hurry_ms <= 1000);
    act.pod = NO_POD; /* the record */
    b = cluster(*state, 6);
    plan = (struct plan){.actions = &act, .action_count = 1};
    asks = choose(b, &plan);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(asks[i].hurry_ms, 25);
}

static void test_others_ask_their_shard_mates_only(void **state)
{
    struct world_build *b = cluster(*state, MANY);
    b->world.leader = false;
    b->world.me = SHARDS + 7; /* a replica of pod 7 */
    const struct observe_ask *asks = choose(b, &idle);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(asks[i].dial, i == 7 || i == b->world.me);
    assert_int_equal(asks[7].rhythm.full_ms, 0);
    assert_int_equal(asks[7].rhythm.light_ms, 1000);
    assert_int_equal(asks[b->world.me].rhythm.full_ms, 1000);
    b->world.me = 7;
    asks = choose(b, &idle);
    assert_true(asks[SHARDS + 7].dial);
    b->world.me = NO_POD;
    asks = choose(b, &idle);
    for (size_t i = 0; i < MANY; i++)
        assert_false(asks[i].dial);
}

static void test_the_own_view_of_a_large_cluster_is_read_on_change(void **state)
{
    assert_int_equal(observe_own_rhythm(OBSERVE_OWN_VIEW_MAX, false).full_ms, 1000);
    assert_int_equal(observe_own_rhythm(OBSERVE_OWN_VIEW_MAX + 1, false).full_ms, 10000);
    assert_int_equal(observe_own_rhythm(OBSERVE_OWN_VIEW_MAX + 1, true).full_ms, 1000);
    struct world_build *b = cluster(*state, MANY);
    b->world.leader = false;
    assert_false(choose(b, &idle)[b->world.me].read);
    b->pods[b->world.me].server.view_outdated = true;
    assert_true(choose(b, &idle)[b->world.me].read);
}

/* What was not read lately still tells what most say, but nobody acts on it. */
static void test_a_standing_view_votes_and_is_not_fresh(void **state)
{
    struct world_build *b = cluster(*state, 6);
    struct pod *pod = &b->pods[4];
    pod->server.view = NULL;
    pod->server.view_ms = b->world.now_ms - 40000;
    struct facts facts;
    facts_gather(&b->world, b->arena, &facts);
    assert_int_equal(facts.views, 6);
    assert_int_equal(facts.reference_votes, 6);
    assert_int_equal(facts.unread, 1);
    assert_false(world_view_fresh(&b->world, pod));
    assert_true(world_view_stands(&b->world, pod));

    pod->server.view_outdated = true;
    assert_false(world_view_stands(&b->world, pod));
    pod->server.view_outdated = false;
    pod->told = (struct told){.heard_ms = b->world.now_ms, .view_hash = 3};
    assert_false(world_view_stands(&b->world, pod));
    pod->told = (struct told){0};
    pod->server.view_ms = b->world.now_ms - WORLD_STANDS_MS - 1;
    assert_false(world_view_stands(&b->world, pod));
    facts_gather(&b->world, b->arena, &facts);
    assert_int_equal(facts.views, 5);
}

/* The view that is left of a majority may be no more than its hash. */
static void test_the_reference_is_one_that_is_at_hand(void **state)
{
    struct world_build *b = cluster(*state, 6);
    for (size_t i = 0; i < 5; i++) {
        b->pods[i].server.view = NULL;
        b->pods[i].server.view_ms = b->world.now_ms - 40000;
    }
    struct facts facts;
    facts_gather(&b->world, b->arena, &facts);
    assert_ptr_equal(facts.reference, b->pods[5].server.view);
    assert_int_equal(facts.reference_votes, 6);
}

static int setup(void **state)
{
    static struct arena arena;
    arena_init(&arena, MIB(512));
    *state = &arena;
    return 0;
}

static int teardown(void **state)
{
    arena_deinit(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_small_cluster_is_read_in_full_each_second),
        cmocka_unit_test(test_a_large_one_has_three_witnesses_and_a_round),
        cmocka_unit_test(test_a_witness_that_does_not_answer_is_replaced),
        cmocka_unit_test(test_a_sign_of_another_view_is_looked_into),
        cmocka_unit_test(test_at_most_eight_signs_a_second),
        cmocka_unit_test(test_the_cost_is_linear),
        cmocka_unit_test(test_a_plan_that_wants_views_gets_them_in_a_hurry),
        cmocka_unit_test(test_others_ask_their_shard_mates_only),
        cmocka_unit_test(test_the_own_view_of_a_large_cluster_is_read_on_change),
        cmocka_unit_test(test_a_standing_view_votes_and_is_not_fresh),
        cmocka_unit_test(test_the_reference_is_one_that_is_at_hand),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
