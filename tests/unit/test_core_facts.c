/* SPDX-License-Identifier: Apache-2.0 */
/* The world's own questions, and the facts that the rules match on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "core/facts.h"
#include "core/plan.h"
#include "core/rules.h"
#include "lib/world_build.h"

static struct world_build *formed(struct arena *arena)
{
    arena_reset(arena);
    return world_build_formed(arena, 3, 6);
}

static struct facts gather(struct world_build *build)
{
    struct facts facts;
    facts_gather(world_build_refresh(build), build->arena, &facts);
    return facts;
}

static void test_pods_are_found_by_ordinal_and_by_name(void **state)
{
    struct world_build *b = formed(*state);
    const struct world *w = &b->world;
    for (int i = 0; i < 6; i++)
        assert_ptr_equal(world_pod_by_ordinal(w, i), &w->pods[i]);
    assert_null(world_pod_by_ordinal(w, 6));
    assert_null(world_pod_by_ordinal(w, -1));
    assert_ptr_equal(world_pod_by_name(w, "muster-3"), &w->pods[3]);
    assert_null(world_pod_by_name(w, "muster-33"));
}

static void test_an_answer_is_fresh_for_three_and_a_half_seconds(void **state)
{
    struct world_build *b = formed(*state);
    struct server *s = &b->pods[2].server;
    s->seen_ms = s->view_ms = b->world.now_ms - WORLD_FRESH_MS;
    assert_true(world_server_fresh(&b->world, &b->pods[2]));
    assert_true(world_view_fresh(&b->world, &b->pods[2]));
    s->view_ms--;
    assert_true(world_server_fresh(&b->world, &b->pods[2]));
    assert_false(world_view_fresh(&b->world, &b->pods[2]));
    s->view_ms = b->world.now_ms;
    s->seen_ms--;
    assert_false(world_server_fresh(&b->world, &b->pods[2]));
    assert_false(
        world_view_fresh(&b->world, &b->pods[2])); /* a view of a server that is silent now */
    s->seen_ms = 0;
    assert_false(world_server_fresh(&b->world, &b->pods[2]));
    s->seen_ms = b->world.now_ms;
    s->view = NULL;
    assert_false(world_view_fresh(&b->world, &b->pods[2]));
    for (enum reach reach = REACH_UNKNOWN; reach <= REACH_ERROR; reach++) {
        s->reach = reach;
        assert_int_equal(world_server_fresh(&b->world, &b->pods[2]), reach == REACH_OK);
    }
}

static void test_the_api_is_fresh_for_ninety_seconds(void **state)
{
    struct world_build *b = formed(*state);
    struct world *w = &b->world;
    w->api_seen_ms = w->now_ms - WORLD_API_FRESH_MS;
    assert_true(world_api_fresh(w));
    w->api_seen_ms--;
    assert_false(world_api_fresh(w));
    w->api_seen_ms = 0;
    assert_false(world_api_fresh(w));
    w->api_seen_ms = w->now_ms;
    w->set.known = false;
    assert_false(world_api_fresh(w));
}

static void test_a_virgin_holds_nothing_and_knows_nobody(void **state)
{
    arena_reset(*state);
    struct world_build *b = world_build_virgin(*state, 2);
    struct server *s = &b->pods[1].server;
    struct server virgin = *s;
    assert_true(world_server_virgin(&b->world, &b->pods[1]));
    s->keys = 1;
    assert_false(world_server_virgin(&b->world, &b->pods[1]));
    *s = virgin;
    s->known_nodes = 2;
    assert_false(world_server_virgin(&b->world, &b->pods[1]));
    s->known_nodes = 0; /* was not read */
    assert_false(world_server_virgin(&b->world, &b->pods[1]));
    *s = virgin;
    s->slots_assigned = 1;
    assert_false(world_server_virgin(&b->world, &b->pods[1]));
    *s = virgin;
    s->primary = false;
    assert_false(world_server_virgin(&b->world, &b->pods[1]));
    *s = virgin;
    s->reach = REACH_LOADING;
    assert_false(world_server_virgin(&b->world, &b->pods[1]));
}

static void test_a_formed_cluster_is_digested(void **state)
{
    struct world_build *b = formed(*state);
    struct facts f = gather(b);
    assert_int_equal(f.expected, 6);
    assert_int_equal(f.expected_fresh, 6);
    assert_int_equal(f.expected_virgin, 0);
    assert_int_equal(f.first_missing_ordinal, -1);
    assert_null(f.first_missing);
    assert_int_equal(f.views, 6);
    assert_int_equal(f.reference_votes, 6);
    assert_int_equal(f.slots_covered, SLOT_COUNT);
    assert_true(f.open_pod == NO_POD);
    assert_int_equal(f.shard_count, 3);
    for (size_t s = 0; s < 3; s++) {
        assert_int_equal(f.shards[s].primary_pod, s);
        assert_int_equal(f.shards[s].first_range.first, slots_of_shard((unsigned)s, 3).first);
        assert_int_equal(f.shards[s].slot_count, slot_range_count(slots_of_shard((unsigned)s, 3)));
        assert_int_equal(f.shards[s].replica_count, 1);
        assert_int_equal(b->nodes[f.shards[s].replica_pods[0]].primary_node, s);
    }
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(facts_pod_of(&f, &b->nodes[i].id), i);
        assert_int_equal(f.member_of[i], i);
        assert_int_equal(f.pod_of_member[i], i);
        assert_ptr_equal(facts_member(&b->world, &f, &b->nodes[i].id), &b->members[i]);
    }
    struct node_id stranger = world_build_id(50);
    assert_true(facts_pod_of(&f, &stranger) == NO_POD);
    assert_null(facts_member(&b->world, &f, &stranger));
}

static void test_the_lowest_missing_pod_is_named(void **state)
{
    struct world_build *b = formed(*state);
    world_build_lose(b, 4);
    world_build_lose(b, 2);
    struct facts f = gather(b);
    assert_int_equal(f.expected_fresh, 4);
    assert_int_equal(f.first_missing_ordinal, 2);
    assert_ptr_equal(f.first_missing, &b->pods[2]);
    /* A pod that the API does not list has no entry, but an ordinal. */
    b->world.set.replicas = 8;
    world_build_refresh(b);
    b->pods[2].server.reach = b->pods[4].server.reach = REACH_OK;
    b->pods[2].server.seen_ms = b->pods[4].server.seen_ms = b->world.now_ms;
    f = gather(b);
    assert_int_equal(f.first_missing_ordinal, 6);
    assert_null(f.first_missing);
}

static void test_pods_above_the_size_are_not_expected(void **state)
{
    struct world_build *b = formed(*state);
    b->world.set.replicas = 4;
    world_build_lose(b, 5);
    struct facts f = gather(b);
    assert_int_equal(f.expected, 4);
    assert_int_equal(f.expected_fresh, 4);
    assert_int_equal(f.first_missing_ordinal, -1);
    b->world.set.known = false;
    f = gather(b);
    assert_int_equal(f.expected, 0);
}

static void test_most_views_decide_and_then_the_highest_epoch(void **state)
{
    struct world_build *b = formed(*state);
    /* Three and three: the half that knows a later election is right. */
    for (size_t i = 3; i < 6; i++) {
        b->nodes[i].component = 1;
        b->nodes[i].primary = true;
        b->nodes[i].epoch = 20 + i;
        b->nodes[i].slots = b->nodes[i - 3].slots;
    }
    struct facts f = gather(b);
    assert_int_equal(f.views, 6);
    assert_int_equal(f.reference_votes, 3);
    assert_true(node_id_eq(&f.reference->myself->id, &b->nodes[3].id) ||
                node_id_eq(&f.reference->myself->id, &b->nodes[4].id) ||
                node_id_eq(&f.reference->myself->id, &b->nodes[5].id));
    /* Two and four: the four. */
    b->nodes[3].component = 0;
    b->nodes[3].epoch = 1;
    f = gather(b);
    assert_int_equal(f.reference_votes, 4);
    assert_int_equal(f.reference->node_count, 4);
}

/* Four newcomers know each other and no owner that was dead when they came; two replicas know it. */
static void test_who_has_no_part_yet_knows_less(void **state)
{
    struct world_build *b = formed(*state);
    for (size_t i = 0; i < 4; i++) {
        b->nodes[i].component = 1;
        b->nodes[i].primary = true;
        b->nodes[i].slots = (struct slot_set){0};
    }
    struct facts f = gather(b);
    assert_int_equal(f.reference_votes, 2);
    assert_int_equal(f.reference->node_count, 2);
}

static void test_a_failed_owner_covers_nothing(void **state)
{
    struct world_build *b = formed(*state);
    world_build_lose(b, 1);
    struct facts f = gather(b);
    assert_int_equal(f.slots_assigned, SLOT_COUNT);
    assert_int_equal(f.slots_covered, SLOT_COUNT - slot_range_count(slots_of_shard(1, 3)));
    assert_int_equal(f.shard_count, 3);
    assert_true(f.shards[1].primary_pod == NO_POD);
    assert_true(node_id_eq(&f.shards[1].primary, &b->nodes[1].id));
}

/* The pod that has the id in the record is its owner, whichever comes first. */
static void test_a_copied_volume_does_not_own_the_id(void **state)
{
    struct world_build *b = formed(*state);
    (void)world_build_refresh(b);
    b->pods[0].server.id = b->nodes[4].id;
    b->pods[5].server.id = b->nodes[4].id;
    struct facts f;
    facts_gather(&b->world, b->arena, &f);
    assert_int_equal(facts_pod_of(&f, &b->nodes[4].id), 4);
    assert_true(f.belongs[4]);
    assert_false(f.belongs[0]);
    assert_false(f.belongs[5]);
    assert_true(facts_pod_of(&f, &b->nodes[5].id) == NO_POD);
}

static void test_open_slots_anywhere_are_seen(void **state)
{
    struct world_build *b = formed(*state);
    b->nodes[2].open[0] = (struct open_slot){.slot = 16000, .peer = b->nodes[1].id};
    b->nodes[2].open_count = 1;
    assert_int_equal(gather(b).open_pod, 2);
    world_build_lose(b, 2);
    assert_true(gather(b).open_pod == NO_POD);
}

static void test_nothing_known_is_digested_too(void **state)
{
    arena_reset(*state);
    struct world_build *b = world_build_virgin(*state, 3);
    b->world.pod_count = 0;
    struct facts f;
    facts_gather(&b->world, *state, &f);
    assert_null(f.reference);
    assert_int_equal(f.views, 0);
    assert_int_equal(f.shard_count, 0);
    assert_int_equal(f.first_missing_ordinal, 0);
}

static void test_the_rule_table_names_each_rule_once(void **state)
{
    (void)state;
    size_t count = 0;
    for (; plan_rule_name(count); count++) {
        assert_true(strlen(plan_rule_name(count)) > 0);
        assert_true(strlen(plan_rule_purpose(count)) > 10);
        for (size_t i = 0; i < count; i++)
            assert_string_not_equal(plan_rule_name(i), plan_rule_name(count));
    }
    assert_null(plan_rule_purpose(count));
    assert_null(plan_rule_name(count + 1));
    assert_string_equal(plan_rule_name(0), "settle");
    assert_string_equal(plan_rule_name(count - 1), "steady");
}

/* Who is met is enumerated without looking at all pairs, and must be the same. */
static void test_partners_are_those_that_must_meet(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 3, 6, 49, 50, 51, 52, 100, 1000};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        size_t count = counts[c];
        for (size_t i = 0; i < count; i++) {
            size_t met[1000] = {0};
            size_t j;
            for (size_t k = 0; planner_partner(i, k, count, &j); k++) {
                assert_true(j < count);
                met[j]++;
            }
            for (j = 0; j < count; j++)
                assert_int_equal(met[j], planner_meets(i, j, count) || planner_meets(j, i, count));
        }
    }
}

static void test_all_pairs_meet_up_to_fifty_then_a_ring_and_a_star(void **state)
{
    (void)state;
    size_t fifty = 0;
    size_t fifty_one = 0;
    for (size_t i = 0; i < 51; i++) {
        for (size_t j = 0; j < 51; j++) {
            fifty += i < 50 && j < 50 && planner_meets(i, j, 50);
            fifty_one += planner_meets(i, j, 51);
        }
    }
    assert_int_equal(fifty, 50 * 49 / 2);
    assert_int_equal(fifty_one, 50 + 2 * 50); /* the star, and two neighbours of the others */
    assert_true(planner_meets(49, 50, 51));
    assert_true(planner_meets(50, 0, 51));
    assert_true(planner_meets(50, 1, 51));
    assert_false(planner_meets(50, 2, 51));
    assert_false(planner_meets(7, 7, 51));
}

/* The bus of all pairs must not carry more than that of fifty at 500 ms, about. */
static void test_a_larger_formation_pings_more_slowly(void **state)
{
    (void)state;
    assert_int_equal(planner_quick_timeout_ms(1, false), 500);
    assert_int_equal(planner_quick_timeout_ms(50, false), 500);
    assert_int_equal(planner_quick_timeout_ms(1, true), 1990); /* handshakes take their time */
    assert_int_equal(planner_quick_timeout_ms(101, true), 4990);
    assert_int_equal(planner_quick_timeout_ms(100, false), 4990); /* pings wait for their turn */
    static const size_t counts[] = {51, 100, 101, 158};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        int64_t ms = planner_quick_timeout_ms(counts[c], false);
        assert_true((size_t)ms * 50 * 50 > counts[c] * counts[c] * 495);
        assert_true(planner_is_quick_timeout(ms));
        assert_true(ms < 5000); /* the rejoin delay grows no further */
    }
    static const int64_t of_users[] = {0, 1000, 2000, 5000, 15000};
    for (size_t c = 0; c < sizeof of_users / sizeof of_users[0]; c++)
        assert_false(planner_is_quick_timeout(of_users[c]));
}

static int setup(void **state)
{
    static struct arena arena;
    arena_init(&arena, MIB(8));
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
        cmocka_unit_test(test_pods_are_found_by_ordinal_and_by_name),
        cmocka_unit_test(test_an_answer_is_fresh_for_three_and_a_half_seconds),
        cmocka_unit_test(test_the_api_is_fresh_for_ninety_seconds),
        cmocka_unit_test(test_a_virgin_holds_nothing_and_knows_nobody),
        cmocka_unit_test(test_a_formed_cluster_is_digested),
        cmocka_unit_test(test_the_lowest_missing_pod_is_named),
        cmocka_unit_test(test_pods_above_the_size_are_not_expected),
        cmocka_unit_test(test_most_views_decide_and_then_the_highest_epoch),
        cmocka_unit_test(test_who_has_no_part_yet_knows_less),
        cmocka_unit_test(test_a_failed_owner_covers_nothing),
        cmocka_unit_test(test_a_copied_volume_does_not_own_the_id),
        cmocka_unit_test(test_open_slots_anywhere_are_seen),
        cmocka_unit_test(test_nothing_known_is_digested_too),
        cmocka_unit_test(test_partners_are_those_that_must_meet),
        cmocka_unit_test(test_all_pairs_meet_up_to_fifty_then_a_ring_and_a_star),
        cmocka_unit_test(test_a_larger_formation_pings_more_slowly),
        cmocka_unit_test(test_the_rule_table_names_each_rule_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
