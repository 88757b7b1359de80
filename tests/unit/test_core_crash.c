/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of a crash from turn to turn. Who takes over is in plan/crash/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/crash.h"
#include "lib/world_build.h"

#define T0 WORLD_BUILD_NOW_MS

static struct failover_history history;
static struct crash_watch watch;

static struct action order(enum action_kind kind, size_t heir)
{
    return (struct action){.kind = kind,
                           .authority = AUTHORITY_OWN,
                           .node = world_build_id(heir),
                           .subject = world_build_id(0)};
}

static bool may_send(const struct action *action, int64_t now_ms)
{
    return crash_may_send(&watch, false, &history, action, now_ms);
}

/* The first answers late, and by then another one has more: there is no second order for one death. */
static void test_an_order_counts_from_its_send(void **state)
{
    (void)state;
    struct action first = order(ACTION_FORCE, 5);
    struct action second = order(ACTION_FORCE, 7);
    struct action taken = order(ACTION_TAKEOVER, 7);
    crash_begin(&watch, false, T0);
    assert_true(may_send(&first, T0 + 20));
    assert_int_equal(watch.ordered_ms, T0 + 20);
    assert_true(node_id_eq(&watch.heir, &first.node));
    assert_false(may_send(&first, T0 + 40));
    assert_false(may_send(&second, T0 + 320));
    assert_false(may_send(&taken, T0 + 320));
    crash_begin(&watch, false, T0 + 60000);
    assert_true(may_send(&second, T0 + 60020));
}

static void test_nothing_is_sent_for_who_lives_drains_or_is_left_to_others(void **state)
{
    (void)state;
    struct action force = order(ACTION_FORCE, 5);
    watch = (struct crash_watch){0};
    assert_false(may_send(&force, T0));
    crash_begin(&watch, true, T0); /* its end was asked for */
    assert_int_equal(watch.gone_ms, 0);
    crash_begin(&watch, false, T0);
    assert_false(crash_may_send(&watch, true, &history, &force, T0));
    assert_false(may_send(&force, T0 + CRASH_ORDER_MS)); /* nobody would see it fail */
    watch.ceded = true;
    assert_false(may_send(&force, T0));
    assert_int_equal(watch.ordered_ms, 0);
    force.authority = AUTHORITY_LEADER; /* has its own fence */
    assert_true(may_send(&force, T0));
    struct action handover = order(ACTION_FAILOVER, 5);
    assert_true(may_send(&handover, T0));
    assert_int_equal(watch.ordered_ms, 0);
}

static void test_only_its_own_refusal_counts(void **state)
{
    (void)state;
    struct action force = order(ACTION_FORCE, 5);
    struct action other = order(ACTION_FORCE, 7);
    crash_begin(&watch, false, T0);
    crash_note_refused(&watch, &force);
    assert_false(watch.refused);
    assert_true(may_send(&force, T0));
    crash_note_refused(&watch, &other);
    assert_false(watch.refused);
    crash_note_refused(&watch, &force);
    assert_true(watch.refused);
}

/* The end is noticed when its successor asks at the gate: nobody may act for it before it was judged. */
static void test_others_hear_of_it_when_nothing_will_be_ordered_any_more(void **state)
{
    (void)state;
    struct crash_verdict verdict = {.step = CRASH_WAIT, .hold = true};
    watch = (struct crash_watch){0};
    assert_false(crash_hides(&watch, CRASH_AUTO));
    crash_begin(&watch, false, T0);
    assert_true(crash_hides(&watch, CRASH_AUTO));
    assert_true(crash_hides(&watch, CRASH_ALWAYS));
    assert_false(crash_hides(&watch, CRASH_OFF));
    crash_note(&watch, &verdict, true);
    assert_true(crash_hides(&watch, CRASH_AUTO));
    verdict = (struct crash_verdict){.step = CRASH_LEFT};
    crash_note(&watch, &verdict, false);
    assert_true(crash_hides(&watch, CRASH_AUTO));
    crash_note(&watch, &verdict, true);
    assert_false(crash_hides(&watch, CRASH_AUTO));
}

static void test_who_answers_again_has_not_crashed(void **state)
{
    struct world_build *b = world_build_formed(*state, 3, 6);
    b->world.me = 0;
    crash_begin(&watch, false, T0);
    b->pods[0].server.beat_ms = T0 - 1;
    crash_look(&watch, &b->world);
    assert_int_equal(watch.gone_ms, T0);
    b->pods[0].server.beat_ms = T0;
    crash_look(&watch, &b->world);
    assert_int_equal(watch.gone_ms, 0);
}

/* Its last word is of 100 ms before its end, and its replica has all of it. */
static struct crash_verdict judge(struct arena *arena, int64_t since_ms)
{
    struct crash_verdict verdict;
    struct facts facts;
    arena_reset(arena);
    struct world_build *b = world_build_formed(arena, 3, 6);
    struct server *dead = &b->pods[0].server;
    (void)world_build_refresh(b);
    b->world.me = 0;
    b->world.crash_policy = CRASH_AUTO;
    b->world.crash = (struct crash_watch){.gone_ms = b->world.now_ms - since_ms};
    dead->reach = REACH_REFUSED;
    dead->asked_ms = b->world.now_ms;
    dead->seen_ms = dead->beat_ms = dead->view_ms = b->world.crash.gone_ms - 100;
    text_format(dead->replid, sizeof dead->replid, "history");
    facts_gather(&b->world, arena, &facts);
    crash_judge(&b->world, &facts, &verdict);
    return verdict;
}

/* A heir that does not get its order, or one whose turn is late, does not keep the restart waiting. */
static void test_its_restart_waits_for_a_second_at_most(void **state)
{
    assert_true(judge(*state, CRASH_HOLD_MS - 1).hold);
    struct crash_verdict verdict = judge(*state, CRASH_HOLD_MS);
    assert_false(verdict.hold);
    assert_false(judge(*state, CRASH_WINDOW_MS - 1).hold);
    assert_int_equal(judge(*state, CRASH_WINDOW_MS).step, CRASH_NONE);
}

static struct arena arena;

static int arena_setup(void **state)
{
    arena_init(&arena, (size_t)64 << 20);
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
        cmocka_unit_test(test_an_order_counts_from_its_send),
        cmocka_unit_test(test_nothing_is_sent_for_who_lives_drains_or_is_left_to_others),
        cmocka_unit_test(test_only_its_own_refusal_counts),
        cmocka_unit_test(test_others_hear_of_it_when_nothing_will_be_ordered_any_more),
        cmocka_unit_test(test_who_answers_again_has_not_crashed),
        cmocka_unit_test(test_its_restart_waits_for_a_second_at_most),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
