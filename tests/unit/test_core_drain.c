/* SPDX-License-Identifier: Apache-2.0 */
/* A drain from its beginning to its end, as its turns see it. Single rules are in plan/drain/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/text.h"
#include "core/action.h"
#include "core/drain.h"
#include "core/failover.h"
#include "core/plan.h"
#include "lib/world_build.h"

#define T0 WORLD_BUILD_NOW_MS

static struct failover_history history;
static struct drain_watch watch;

static struct world_build *formed(struct arena *arena, size_t *ret_replica)
{
    arena_reset(arena);
    memset(&history, 0, sizeof history);
    watch = (struct drain_watch){0};
    struct world_build *b = world_build_formed(arena, 3, 6);
    b->world.me = 0;
    b->world.failovers = &history;
    for (size_t i = 0; i < b->count; i++)
        if (!b->nodes[i].primary && b->nodes[i].primary_node == 0)
            *ret_replica = i;
    b->world.now_ms = T0 - 60000;
    for (size_t i = 0; i < b->count; i++)
        b->pods[i].server.seen_ms = b->world.now_ms;
    failover_look(&history, world_build_refresh(b));
    return b;
}

/* Everything is asked and heard anew, then the own server's drain is judged. */
static struct drain_verdict turn(struct world_build *b, int64_t now_ms)
{
    struct drain_verdict verdict;
    struct facts facts;
    for (size_t i = 0; i < b->count; i++)
        b->pods[i].server.seen_ms = 0;
    for (; b->world.now_ms < now_ms; b->world.now_ms += 1000)
        failover_look(&history, &b->world); /* turns in which nobody answers */
    b->world.now_ms = b->world.api_seen_ms = now_ms;
    for (size_t i = 0; i < b->count; i++) {
        b->pods[i].server.seen_ms = b->pods[i].server.asked_ms = now_ms;
        b->pods[i].told.heard_ms = now_ms;
    }
    (void)world_build_refresh(b);
    failover_look(&history, &b->world);
    drain_look(&watch, &b->world);
    b->world.drain = watch;
    facts_gather(&b->world, b->arena, &facts);
    drain_judge(&b->world, &facts, b->world.me, &watch, &verdict);
    return verdict;
}

static void test_nobody_asks(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    assert_int_equal(turn(b, T0).step, DRAIN_NONE);
}

/* Of its next limit no news tells: the turn must come by itself. */
static void test_the_next_turn_comes_with_its_next_limit(void **state)
{
    (void)state;
    struct plan plan = {0};
    assert_int_equal(plan_again_ms(&plan), PLAN_TICK_MS);
    plan.drain.again_ms = 140;
    assert_int_equal(plan_again_ms(&plan), 140);
    plan.drain.again_ms = 30000;
    assert_int_equal(plan_again_ms(&plan), PLAN_TICK_MS);
    plan.crash.hold = true;
    assert_int_equal(plan_again_ms(&plan), PLAN_CRASH_TICK_MS);
}

static void test_a_primary_hands_over_and_leaves(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    b->pods[0].terminating = true;
    watch.since_ms = T0;
    struct drain_verdict v = turn(b, T0 + 10);
    assert_int_equal(v.step, DRAIN_WAIT);
    assert_int_equal(v.heir, NO_POD); /* who else stops may not be known yet */
    assert_int_equal(v.again_ms, DRAIN_TOGETHER_MS - 10);
    v = turn(b, T0 + DRAIN_TOGETHER_MS);
    assert_int_equal(v.step, DRAIN_WAIT);
    assert_int_equal(v.heir, c);
    assert_true(v.hurry);
    assert_true(watch.owner);
    assert_int_equal(watch.slots, 5461);

    b->nodes[c].primary = true; /* won, and nobody but the two knows yet */
    b->nodes[c].slots = b->nodes[0].slots;
    b->nodes[0].slots = (struct slot_set){0};
    b->nodes[0].primary = false;
    b->nodes[0].primary_node = c;
    b->nodes[c].epoch = b->nodes[0].epoch = watch.epoch;
    v = turn(b, T0 + 60);
    assert_int_equal(v.step, DRAIN_WAIT);
    assert_int_equal(v.heir, NO_POD);
    assert_int_equal(watch.handed_ms, T0 + 60);
    assert_non_null(strstr(v.reason, "0 of 3 primaries know of it so far"));

    b->nodes[c].epoch = b->nodes[0].epoch = 9;
    b->pods[0].server.link_up = true;
    v = turn(b, T0 + 80);
    assert_int_equal(v.step, DRAIN_LEAVE);
    assert_false(v.kept);
    assert_non_null(strstr(v.reason, "muster-0 handed its 5461 slots over to"));

    watch.told_ms = T0 + 80;
    v = turn(b, T0 + 90);
    assert_int_equal(v.step, DRAIN_LEAVE);
    assert_int_equal(v.heir, NO_POD);
}

/* The one whose drain was given up and asked for again begins anew. */
static void test_what_is_remembered_ends_with_the_question(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    watch.since_ms = T0;
    (void)turn(b, T0 + 10);
    assert_true(watch.owner);
    watch.since_ms = 0;
    assert_int_equal(turn(b, T0 + 20).step, DRAIN_NONE);
    assert_false(watch.owner);
    assert_int_equal(watch.epoch, 0);
}

/* An agent that was started after the hand-over: it never saw its server own slots. */
static void test_after_a_restart_of_the_agent_a_former_primary_is_a_replica(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    b->world.me = c;
    watch.since_ms = T0;
    struct drain_verdict v = turn(b, T0 + 10);
    assert_int_equal(v.step, DRAIN_LEAVE);
    assert_non_null(strstr(v.reason, "stops as a replica of muster-0"));
}

/* Not in the list of pods, or a role that was read before the view: nothing is concluded. */
static void test_half_knowledge_is_none(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    watch.since_ms = T0;
    struct facts facts;
    struct drain_verdict v = turn(b, T0 + 10);
    facts_gather(&b->world, b->arena, &facts);
    drain_judge(&b->world, &facts, NO_POD, &watch, &v);
    assert_int_equal(v.step, DRAIN_WAIT);
    assert_int_equal(v.heir, NO_POD);
    b->pods[0].server.primary = false;
    drain_judge(&b->world, &facts, 0, &watch, &v);
    assert_int_equal(v.step, DRAIN_WAIT);
    assert_non_null(strstr(v.reason, "what its server owns is not known yet"));
    b->pods[0].server.primary = true;
    b->pods[0].server.view_outdated = true;
    drain_judge(&b->world, &facts, 0, &watch, &v);
    assert_int_equal(v.heir, NO_POD);
}

/* By their ordinals, a second each; who has handed over, or stays, counts for nothing. */
static void test_several_shards_take_turns(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    b->world.me = 2;
    b->pods[0].terminating = b->pods[2].terminating = true;
    b->pods[1].told.leaving = LEAVING_ASKED;
    watch.since_ms = T0;
    int64_t second_ms = DRAIN_TOGETHER_MS + DRAIN_TURN_MS;
    struct drain_verdict v = turn(b, T0 + second_ms);
    assert_int_equal(v.heir, NO_POD);
    assert_int_equal(v.again_ms, DRAIN_TURN_MS);
    assert_non_null(strstr(v.reason, " after those of muster-1"));
    b->pods[1].told.leaving = LEAVING_NO;
    assert_int_not_equal(turn(b, T0 + second_ms).heir, NO_POD);
    b->pods[2].grace_ms = 600; /* its turn comes in the first half of what it has */
    b->pods[1].told.leaving = LEAVING_ASKED;
    assert_int_equal(turn(b, T0 + 10).again_ms, 140);
}

/* Freed in the same moment they would ask for votes in the same moment. */
static void test_who_waits_for_an_election_goes_on_in_turn(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    b->world.me = 2;
    b->pods[2].terminating = true;
    watch.since_ms = T0;
    int64_t voted_ms = T0 + 5000;
    (void)turn(b, voted_ms);
    failover_ordered(&history, &b->pods[c].server.id, &b->pods[0].server.id, voted_ms);
    struct drain_verdict v = turn(b, voted_ms + FAILOVER_TURN_MS - 1);
    assert_int_equal(v.heir, NO_POD);
    assert_int_equal(v.again_ms, 1);
    assert_non_null(strstr(v.reason, " after those of muster-0"));
    assert_int_not_equal(turn(b, voted_ms + FAILOVER_TURN_MS).heir, NO_POD);
    b->pods[1].terminating = true; /* it goes on before us */
    assert_int_equal(turn(b, voted_ms + 2 * FAILOVER_TURN_MS - 1).heir, NO_POD);
    assert_int_not_equal(turn(b, voted_ms + 2 * FAILOVER_TURN_MS).heir, NO_POD);
}

/* With 5 s of grace a turn a second would be late by half of what is left for SIGTERM. */
static void test_the_next_limit_is_told(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    b->pods[0].terminating = b->pods[c].terminating = true;
    b->pods[0].grace_ms = 5000;
    watch.since_ms = T0;
    assert_int_equal(turn(b, T0).again_ms, DRAIN_TOGETHER_MS);
    assert_int_equal(turn(b, T0 + DRAIN_TOGETHER_MS).again_ms, 2500 - DRAIN_TOGETHER_MS);
    assert_int_equal(turn(b, T0 + 2499).again_ms, 1);
    assert_int_equal(turn(b, T0 + 2500).again_ms, 500);
    b->pods[0].grace_ms = 60000;
    assert_int_equal(turn(b, T0 + 2500).again_ms, ACTION_FAILOVER_MS - 2500);
    assert_int_equal(turn(b, T0 + 20000).again_ms, 30000);
    assert_int_equal(turn(b, T0 + 50000).again_ms, 8000);
    assert_int_equal(turn(b, T0 + 58000).again_ms, 0);
}

/* Nothing is under way then: it waits no longer than for nobody, and tells why. */
static void test_an_order_that_is_refused(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    struct attempts attempts = {0};
    struct action order = {.kind = ACTION_FAILOVER, .subject = b->pods[0].server.id};
    b->world.attempts = &attempts;
    b->world.set.volumes = b->pods[0].terminating = b->pods[0].server.aof_written = true;
    b->pods[0].server.aof = 1;
    b->pods[0].grace_ms = 22000;
    watch.since_ms = T0;
    assert_int_equal(turn(b, T0 + DRAIN_TOGETHER_MS).heir, c);

    (void)attempts_failed(&attempts, action_key(&order), T0 + 160, 60000);
    struct drain_verdict v = turn(b, T0 + 170);
    assert_non_null(strstr(v.reason, "muster-0 hands its 5461 slots over"));
    (void)TEXT_COPY(watch.refused,
                    span_of("muster-5 refuses: the ACL user lacks +cluster|failover"));
    v = turn(b, T0 + 11999);
    assert_int_equal(v.step, DRAIN_WAIT);
    v = turn(b, T0 + 12000);
    assert_int_equal(v.step, DRAIN_LEAVE);
    assert_true(v.kept);
    assert_string_equal(v.reason,
                        "muster-0 stops as the primary of 5461 slots: no hand-over within "
                        "12 s (muster-5 refuses: the ACL user lacks +cluster|failover); "
                        "its data is on disk");
}

/* A primary whose time is up, and whose replica lacks some of what it has on its disk. */
static struct world_build *time_is_up(struct arena *arena, size_t *ret_replica)
{
    struct world_build *b = formed(arena, ret_replica);
    b->world.set.volumes = b->pods[0].terminating = b->pods[0].server.aof_written = true;
    b->pods[0].server.aof = 1;
    b->pods[0].grace_ms = 30000;
    b->pods[0].server.offset = b->pods[*ret_replica].server.offset + 2 * FAILOVER_LAG_MAX;
    watch.since_ms = T0;
    return b;
}

static void test_who_lacks_something_is_told_before_it_stops(void **state)
{
    size_t c = 0;
    struct world_build *b = time_is_up(*state, &c);
    struct drain_verdict v = turn(b, T0 + 19999);
    assert_false(v.tells);
    v = turn(b, T0 + 20000);
    assert_int_equal(v.step, DRAIN_WAIT);
    assert_true(v.tells && v.hurry && !v.kept);
    drain_note(&watch, &v, T0 + 20000);
    assert_int_equal(watch.tells_ms, T0 + 20000);
    v = turn(b, T0 + 20100); /* the order is on its way */
    assert_int_equal(v.step, DRAIN_WAIT);
    drain_note(&watch, &v, T0 + 20100);
    assert_int_equal(watch.tells_ms, T0 + 20000);

    b->pods[c].server.no_failover =
        1; /* as it was set before, and may have been taken back since */
    b->pods[c].server.settings_ms = T0 - 1;
    assert_int_equal(turn(b, T0 + 20150).step, DRAIN_WAIT);
    b->pods[c].server.settings_ms = T0 + 20150; /* as its server says, asked again */
    v = turn(b, T0 + 20200);
    assert_int_equal(v.step, DRAIN_LEAVE);
    assert_true(v.kept && !v.tells && !v.risks);
    assert_non_null(strstr(v.reason, "its data is on disk, and muster-"));
    assert_non_null(strstr(v.reason, " waits for it"));
    drain_note(&watch, &v, T0 + 20200);
    assert_int_equal(watch.told_ms, T0 + 20200);
}

/* Its agent was restarted, and its order was lost: it is given again. */
static void test_a_new_agent_tells_again(void **state)
{
    size_t c = 0;
    struct world_build *b = time_is_up(*state, &c);
    struct drain_verdict v = turn(b, T0 + 20000);
    drain_note(&watch, &v, T0 + 20000);
    watch = (struct drain_watch){.since_ms = T0};
    v = turn(b, T0 + 24000);
    assert_true(v.tells);
}

/* It has heard neither of its server yet nor of its pod's grace: the one assumed until then is over. */
static void test_a_new_agent_hears_its_server_first(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    struct facts facts;
    struct drain_verdict v;
    watch.since_ms = T0;
    b->world.now_ms = T0 + 120000;
    b->pods[0].server.reach = REACH_UNKNOWN;
    for (int i = 0; i < 2; i++) {
        drain_look(&watch, &b->world);
        facts_gather(&b->world, b->arena, &facts);
        drain_judge(&b->world, &facts, 0, &watch, &v);
        assert_int_equal(v.step, i ? DRAIN_LEAVE : DRAIN_WAIT);
        b->world.now_ms += DRAIN_NEW_MS;
    }
    assert_true(v.risks);
}

/* A full synchronization begins one; Redis 7.0 loses a SIGTERM that comes meanwhile. */
static void test_a_replica_tells_first_whether_its_aof_is_rewritten(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    b->world.me = c;
    b->pods[c].server.aof = 1;
    b->pods[c].server.settings_ms = T0 - 1;
    watch.since_ms = T0;
    struct drain_verdict v = turn(b, T0 + 10);
    assert_int_equal(v.step, DRAIN_WAIT);
    assert_true(v.hurry);
    assert_non_null(strstr(v.reason, "may stop once it tells whether its AOF is being rewritten"));
    b->pods[c].server.settings_ms = T0 + 10;
    assert_int_equal(turn(b, T0 + 20).step, DRAIN_LEAVE);
    assert_int_equal(turn(b, T0 + 20 + DRAIN_REWRITE_MS).step, DRAIN_WAIT);
    b->pods[c].server.aof = 0;
    assert_int_equal(turn(b, T0 + 30 + DRAIN_REWRITE_MS).step, DRAIN_LEAVE);
}

static void test_who_cannot_be_told_is_named(void **state)
{
    size_t c = 0;
    struct world_build *b = time_is_up(*state, &c);
    struct drain_verdict v = turn(b, T0 + 20000);
    drain_note(&watch, &v, T0 + 20000);
    v = turn(b, T0 + 20000 + DRAIN_TELL_MS - 1);
    assert_int_equal(v.step, DRAIN_WAIT);
    v = turn(b, T0 + 20000 + DRAIN_TELL_MS);
    assert_int_equal(v.step, DRAIN_LEAVE);
    assert_true(v.kept && v.risks);
    assert_non_null(strstr(v.reason, "could not be told to wait for it"));

    b->pods[0].grace_ms = 5000; /* there is less time than that */
    watch = (struct drain_watch){.since_ms = T0, .tells_ms = T0 + 2500};
    v = turn(b, T0 + 2999);
    assert_int_equal(v.step, DRAIN_WAIT);
    v = turn(b, T0 + 3000);
    assert_int_equal(v.step, DRAIN_LEAVE);
}

static void test_what_a_stop_leaves_on_disk(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    struct server *s = &b->pods[0].server;
    s->aof = -1;
    s->rdb_at_end = -1;
    assert_false(drain_is_on_disk(&b->world, &b->pods[0]));
    s->aof = 1;
    assert_false(drain_is_on_disk(&b->world, &b->pods[0]));
    s->aof_written = true;
    assert_true(drain_is_on_disk(&b->world, &b->pods[0]));
    b->world.set.volumes = false;
    assert_false(drain_is_on_disk(&b->world, &b->pods[0]));
    b->world.set.volumes = true;
    s->aof = 0;
    s->rdb_written = true;
    assert_false(drain_is_on_disk(&b->world, &b->pods[0]));
    s->rdb_at_end = 1;
    assert_true(drain_is_on_disk(&b->world, &b->pods[0]));
    s->aof = -1; /* which of the two it would load is not known */
    assert_false(drain_is_on_disk(&b->world, &b->pods[0]));
    s->aof = 0;
    s->rdb_written = false;
    assert_false(drain_is_on_disk(&b->world, &b->pods[0]));
}

static int arena_setup(void **state)
{
    static struct arena arena;
    arena_init(&arena, MIB(64));
    *state = &arena;
    return 0;
}

static int arena_teardown(void **state)
{
    arena_deinit(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_asks),
        cmocka_unit_test(test_the_next_turn_comes_with_its_next_limit),
        cmocka_unit_test(test_a_primary_hands_over_and_leaves),
        cmocka_unit_test(test_what_is_remembered_ends_with_the_question),
        cmocka_unit_test(test_after_a_restart_of_the_agent_a_former_primary_is_a_replica),
        cmocka_unit_test(test_half_knowledge_is_none),
        cmocka_unit_test(test_several_shards_take_turns),
        cmocka_unit_test(test_who_waits_for_an_election_goes_on_in_turn),
        cmocka_unit_test(test_the_next_limit_is_told),
        cmocka_unit_test(test_an_order_that_is_refused),
        cmocka_unit_test(test_who_lacks_something_is_told_before_it_stops),
        cmocka_unit_test(test_a_new_agent_tells_again),
        cmocka_unit_test(test_a_new_agent_hears_its_server_first),
        cmocka_unit_test(test_a_replica_tells_first_whether_its_aof_is_rewritten),
        cmocka_unit_test(test_who_cannot_be_told_is_named),
        cmocka_unit_test(test_what_a_stop_leaves_on_disk),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
