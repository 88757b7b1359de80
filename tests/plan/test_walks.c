/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan that is carried out leads to the next one and at last to none, from every half-way state,
 * whoever leads, whatever gets lost; and no plan ever lets data be overwritten by less data.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/rng.h"
#include "lib/world_build.h"
#include "plan/plan_check.h"
#include "plan/truth.h"

#define TURNS_MAX 60
#define DONE_MAX 4096

/* A cluster on its way, and what was done to it. */
struct walk {
    struct arena *arena;
    struct truth *truth;
    struct rng rng;
    unsigned percent; /* of the actions that are carried out each turn */
    bool late;        /* late plans undo what was done */
    uint64_t done[DONE_MAX];
    size_t done_count;
    const struct world *world;
    struct plan plan;
    char story[128];
};

static void walk_fail(const struct walk *walk, const char *why)
{
    char command[256];
    print_message("%s: %s\n  rule %s: %s\n", walk->story, why, walk->plan.rule, walk->plan.reason);
    for (size_t i = 0; i < walk->plan.action_count && i < 20; i++) {
        const struct action *a = &walk->plan.actions[i];
        action_format(a, command, sizeof command);
        print_message("    %s < %s\n", a->pod == NO_POD ? "api" : walk->world->pods[a->pod].name,
                      command);
    }
    fail();
}

static bool walk_has_done(const struct walk *walk, uint64_t key)
{
    for (size_t i = 0; i < walk->done_count; i++)
        if (walk->done[i] == key)
            return true;
    return false;
}

/* Carries out what the plan says, or a part of it. */
static void walk_apply(struct walk *walk)
{
    for (size_t i = 0; i < walk->plan.action_count; i++) {
        const struct action *a = &walk->plan.actions[i];
        if (rng_below(&walk->rng, 100) >= walk->percent)
            continue;
        /* What was done and still holds need not be done again; MEET heals an address, too. */
        if (!walk->late && walk_has_done(walk, action_key(a)) && a->kind != ACTION_RECORD_PUT &&
            a->kind != ACTION_MEET)
            walk_fail(walk, "something is done twice");
        if (!truth_apply(walk->truth, walk->world, a) && !walk->late)
            walk_fail(walk, "a server refuses what was planned");
        assert_true(walk->done_count < DONE_MAX);
        walk->done[walk->done_count++] = action_key(a);
    }
    if (!truth_settle(walk->truth))
        walk_fail(walk, "data was overwritten by less data");
}

static void walk_look(struct walk *walk)
{
    walk->world = truth_world(walk->truth);
    plan_next(walk->world, walk->arena, &walk->plan);
    const char *why = plan_check(walk->world, &walk->plan, walk->arena);
    if (why)
        walk_fail(walk, why);
}

/* Another agent holds the Lease from now on. */
static void walk_lead(struct walk *walk, size_t pod)
{
    struct world *w = &walk->truth->world;
    text_format(w->my_pod, sizeof w->my_pod, "muster-%zu", pod);
    text_format(w->leader_pod, sizeof w->leader_pod, "muster-%zu", pod);
    w->my_ip[0] = '\0';
}

static void walk_turns(struct walk *walk, size_t turns)
{
    for (size_t turn = 0; turn < turns; turn++) {
        walk_lead(walk, (size_t)rng_below(&walk->rng, walk->truth->pod_count));
        walk_look(walk);
        walk_apply(walk);
    }
}

static void walk_assert_formed(struct walk *walk)
{
    const struct world *w = walk->world;
    if (strcmp(walk->plan.rule, "steady") != 0 || walk->plan.action_count)
        walk_fail(walk, "it does not come to rest");
    assert_int_equal(w->record->state, RECORD_FORMED);
    assert_int_equal(w->record->forget_count, 0);
    assert_int_equal(w->record->member_count, w->pod_count);
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct server *s = &w->pods[i].server;
        if (s->slots_assigned != SLOT_COUNT || s->known_nodes != w->pod_count ||
            s->node_timeout_ms != TRUTH_NODE_TIMEOUT_MS ||
            s->diskless_delay_s != TRUTH_DISKLESS_DELAY_S ||
            s->view->hash != w->pods[0].server.view->hash)
            walk_fail(walk, "a server is not as it should be in the end");
        if (s->primary && !s->view->myself->slot_count)
            walk_fail(walk, "a server was left idle");
    }
}

/* Turns until nothing is planned, then checks that what stands is a whole cluster. */
static void walk_to_the_end(struct walk *walk)
{
    size_t quiet = 0;
    for (size_t turn = 0; turn < TURNS_MAX && quiet < 3; turn++) {
        walk_turns(walk, 1);
        quiet = walk->plan.action_count ? 0 : quiet + 1;
    }
    walk_assert_formed(walk);
}

static struct walk walk_new(struct arena *arena, size_t pods, size_t shards, enum truth_stage stage,
                            uint64_t seed)
{
    arena_reset(arena);
    struct walk walk = {
        .arena = arena,
        .truth = truth_new(arena, pods, shards, stage),
        .rng = {seed},
        .percent = 100,
    };
    walk.truth->world.replicas_per_primary = (int)(pods / shards) - 1;
    text_format(walk.story, sizeof walk.story, "%zu pods, %zu shards, from stage %d, seed %d", pods,
                shards, (int)stage, (int)seed);
    return walk;
}

static void test_formation_ends_and_then_nothing_is_planned(void **state)
{
    static const struct {
        size_t pods;
        size_t shards;
    } sizes[] = {{1, 1}, {2, 1}, {3, 3}, {3, 1}, {6, 3}, {7, 3}, {9, 3}, {12, 6}, {51, 25}};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (enum truth_stage stage = TRUTH_VIRGIN; stage <= TRUTH_FORMED; stage++) {
            struct walk walk =
                walk_new(*state, sizes[i].pods, sizes[i].shards, stage, (uint64_t)stage + 1);
            walk_to_the_end(&walk);
        }
    }
}

static void test_formation_takes_few_turns(void **state)
{
    struct walk walk = walk_new(*state, 6, 3, TRUTH_VIRGIN, 1);
    size_t turns = 0;
    for (; turns < TURNS_MAX && strcmp(walk.plan.rule ? walk.plan.rule : "", "steady") != 0;
         turns++)
        walk_turns(&walk, 1);
    /* intent, servers, meet, roles, finish, formed, and the look that finds it steady */
    assert_int_equal(turns, 7);
}

static void test_formation_ends_when_half_of_each_plan_gets_lost(void **state)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct walk walk = walk_new(*state, 6, 3, TRUTH_VIRGIN, seed);
        walk.percent = 50;
        walk_turns(&walk, 30);
        walk.percent = 100;
        walk_to_the_end(&walk);
    }
}

/* What another agent planned a moment ago arrives now: only its conditions hold it back. */
static void walk_apply_late(struct walk *walk, const struct world *then, const struct plan *plan)
{
    const struct world *now = truth_world(walk->truth);
    for (size_t i = 0; i < plan->action_count; i++) {
        const struct action *a = &plan->actions[i];
        if (a->kind == ACTION_RECORD_PUT)
            continue; /* its resourceVersion is gone */
        const struct server *s = &now->pods[a->pod].server;
        struct probe probe = {.id = s->id,
                              .primary = s->primary,
                              .known_nodes = s->known_nodes,
                              .slots_assigned = s->slots_assigned,
                              .keys = s->keys};
        const char *why = NULL;
        if (action_still_valid(a, &probe, &why))
            (void)truth_apply(walk->truth, then, a); /* the server may still refuse it */
    }
    if (!truth_settle(walk->truth))
        walk_fail(walk, "a late plan overwrote data by less data");
}

static void test_formation_ends_when_plans_arrive_late_and_twice(void **state)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct walk walk = walk_new(*state, 6, 3, TRUTH_VIRGIN, seed);
        struct plan old = {0};
        const struct world *then = NULL;
        walk.percent = 60;
        walk.late = true;
        for (size_t turn = 0; turn < 25; turn++) {
            walk_turns(&walk, 1);
            if (then)
                walk_apply_late(&walk, then, &old);
            if (rng_below(&walk.rng, 3) == 0) {
                old = walk.plan;
                then = walk.world;
            }
        }
        walk.percent = 100;
        walk_to_the_end(&walk);
    }
}

static void walk_lose_volume(struct walk *walk, size_t pod, struct node_id id)
{
    truth_renew(walk->truth, pod, id);
    walk->truth->pods[pod].server.node_timeout_ms = TRUTH_NODE_TIMEOUT_MS;
    walk->truth->pods[pod].server.diskless_delay_s = TRUTH_DISKLESS_DELAY_S;
}

/* A volume is lost at every moment of the formation, by each pod; then a second one elsewhere. */
static void test_formation_ends_when_members_lose_their_volumes(void **state)
{
    for (size_t variant = 0; variant < 8 * 3 * 36; variant++) {
        size_t turn = variant / 36 / 3;
        size_t gap = variant / 36 % 3;
        size_t pod = variant % 36 / 6;
        size_t other = variant % 6;
        struct walk walk = walk_new(*state, 6, 3, TRUTH_VIRGIN, variant + 1);
        text_format(walk.story, sizeof walk.story, "volumes of pods %zu in turn %zu, %zu in %zu",
                    pod, turn, other, turn + gap);
        walk_turns(&walk, turn);
        walk_lose_volume(&walk, pod, world_build_id(100 + pod));
        /* A formed cluster must have its replica back before it can lose another copy. */
        if (walk.truth->record.state == RECORD_FORMED)
            walk_to_the_end(&walk);
        walk_turns(&walk, gap);
        walk_lose_volume(&walk, other, world_build_id(200 + other));
        (void)truth_settle(walk.truth);
        walk_to_the_end(&walk);
    }
}

/* The cluster takes writes as soon as it is ok, long before the record says that it is formed. */
static void test_formation_never_empties_a_shard_that_was_written_to(void **state)
{
    for (enum truth_stage stage = TRUTH_PLACED; stage <= TRUTH_FORMED; stage++) {
        for (size_t pod = 0; pod < 6; pod++) {
            struct walk walk = walk_new(*state, 6, 3, stage, 1);
            text_format(walk.story, sizeof walk.story, "stage %d, volume of pod %zu lost",
                        (int)stage, pod);
            for (size_t i = 0; i < 6; i++)
                walk.truth->pods[i].server.keys = TRUTH_KEYS;
            truth_renew(walk.truth, pod, world_build_id(100 + pod));
            walk_turns(&walk, pod % 2); /* the election comes before or after the first look */
            walk_to_the_end(&walk);
            for (size_t i = 0; i < walk.world->pod_count; i++)
                assert_int_equal(walk.world->pods[i].server.keys, TRUTH_KEYS);
        }
    }
}

static void test_every_address_may_change_at_once(void **state)
{
    struct walk walk = walk_new(*state, 6, 3, TRUTH_FORMED, 1);
    for (size_t i = 0; i < 6; i++) {
        text_format(walk.truth->pods[i].ip, IP_SIZE, "10.9.9.%zu", i + 1);
        text_format(walk.truth->pods[i].server.announce_ip, IP_SIZE, "10.9.9.%zu", i + 1);
    }
    walk_to_the_end(&walk);
    const struct view *view = walk.world->pods[3].server.view;
    for (size_t i = 0; i < view->node_count; i++)
        assert_true(strncmp(view->nodes[i].ip, "10.9.9.", 7) == 0);
}

static void test_swapped_volumes_come_to_rest(void **state)
{
    struct walk walk = walk_new(*state, 6, 3, TRUTH_FORMED, 1);
    struct truth_node *a = truth_node_of(walk.truth, 1);
    struct truth_node *b = truth_node_of(walk.truth, 5);
    a->pod = 5;
    b->pod = 1;
    walk_to_the_end(&walk);
}

static void test_newcomers_are_spread_over_the_shards(void **state)
{
    struct walk walk = walk_new(*state, 9, 3, TRUTH_FORMED, 1);
    walk.truth->world.replicas_per_primary = 2;
    for (size_t pod = 3; pod < 9; pod++)
        truth_renew(walk.truth, pod, world_build_id(100 + pod));
    walk_to_the_end(&walk);
    for (size_t shard = 0; shard < 3; shard++) {
        size_t replicas = 0;
        for (size_t i = 0; i < walk.truth->node_count; i++)
            replicas += walk.truth->nodes[i].pod != NO_POD &&
                        node_id_eq(&walk.truth->nodes[i].follows, &walk.truth->nodes[shard].id);
        assert_int_equal(replicas, 2);
    }
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
        cmocka_unit_test(test_formation_ends_and_then_nothing_is_planned),
        cmocka_unit_test(test_formation_takes_few_turns),
        cmocka_unit_test(test_formation_ends_when_half_of_each_plan_gets_lost),
        cmocka_unit_test(test_formation_ends_when_plans_arrive_late_and_twice),
        cmocka_unit_test(test_formation_ends_when_members_lose_their_volumes),
        cmocka_unit_test(test_formation_never_empties_a_shard_that_was_written_to),
        cmocka_unit_test(test_every_address_may_change_at_once),
        cmocka_unit_test(test_swapped_volumes_come_to_rest),
        cmocka_unit_test(test_newcomers_are_spread_over_the_shards),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
