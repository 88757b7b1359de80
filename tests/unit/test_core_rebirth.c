/* SPDX-License-Identifier: Apache-2.0 */
/* Since when the recorded cluster has been seen gone (core/rebirth.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "core/rebirth.h"
#include "lib/world_build.h"
#include "unit/arena_fixture.h"

/* Six empty servers, and the record of a cluster that none of them has heard of. */
static struct world_build *gone(struct arena *arena)
{
    arena_reset(arena);
    struct world_build *old = world_build_formed(arena, 3, 6);
    struct world_build *b = world_build_virgin(arena, 6);
    world_build_refresh(b);
    b->record = old->record;
    for (size_t i = 0; i < 6; i++)
        old->members[i].id = world_build_id(100 + i);
    b->world.record = &b->record;
    b->world.record_presence = PRESENCE_PRESENT;
    return b;
}

static void test_gone_stands_from_the_first_look_on(void **state)
{
    struct world_build *b = gone(*state);
    struct rebirth_watch watch = {0};
    assert_int_equal(rebirth_look(&watch, &b->world), WORLD_BUILD_NOW_MS);
    b->world.now_ms += 900;
    assert_int_equal(rebirth_look(&watch, &b->world), WORLD_BUILD_NOW_MS);
}

static void test_a_break_begins_anew(void **state)
{
    struct world_build *b = gone(*state);
    struct rebirth_watch watch = {0};
    (void)rebirth_look(&watch, &b->world);
    b->world.now_ms += 100;
    b->pods[2].server.keys = 1;
    assert_int_equal(rebirth_look(&watch, &b->world), 0);
    b->world.now_ms += 100;
    b->pods[2].server.keys = 0;
    assert_int_equal(rebirth_look(&watch, &b->world), WORLD_BUILD_NOW_MS + 200);
}

/* What was read twice must be one thing: a server that started again, or another record, is new. */
static void test_other_servers_or_another_record_begin_anew(void **state)
{
    struct world_build *b = gone(*state);
    struct rebirth_watch watch = {0};
    (void)rebirth_look(&watch, &b->world);
    b->world.now_ms += 100;
    b->pods[3].server.run_id[0] ^= 1;
    assert_int_equal(rebirth_look(&watch, &b->world), WORLD_BUILD_NOW_MS + 100);
    b->world.now_ms += 100;
    b->pods[3].uid[0] ^= 1;
    assert_int_equal(rebirth_look(&watch, &b->world), WORLD_BUILD_NOW_MS + 200);
    b->world.now_ms += 100;
    b->record.generation++;
    assert_int_equal(rebirth_look(&watch, &b->world), WORLD_BUILD_NOW_MS + 300);
}

static void test_who_does_not_answer_may_hold_the_data(void **state)
{
    struct world_build *b = gone(*state);
    assert_true(rebirth_is_gone(&b->world));
    b->pods[5].server.reach = REACH_REFUSED;
    assert_false(rebirth_is_gone(&b->world));
    b = gone(*state);
    b->pods[0].terminating = true;
    assert_false(rebirth_is_gone(&b->world));
    b = gone(*state);
    b->world.set.replicas = 7; /* one pod is not there */
    assert_false(rebirth_is_gone(&b->world));
    b = gone(*state);
    b->world.set.replicas = 5; /* one pod more, which answers and is empty */
    assert_true(rebirth_is_gone(&b->world));
    b = gone(*state);
    b->world.api_seen_ms = b->world.now_ms - WORLD_API_FRESH_MS - 1;
    assert_false(rebirth_is_gone(&b->world));
}

static void test_without_a_cluster_there_is_nothing_to_lose(void **state)
{
    struct world_build *b = gone(*state);
    b->record.state = RECORD_FORMING; /* form-replan deals with that */
    assert_false(rebirth_is_gone(&b->world));
    text_format(b->record.set_uid, sizeof b->record.set_uid, "another");
    assert_true(rebirth_is_gone(&b->world));
    b->world.record = NULL;
    assert_false(rebirth_is_gone(&b->world));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gone_stands_from_the_first_look_on),
        cmocka_unit_test(test_a_break_begins_anew),
        cmocka_unit_test(test_other_servers_or_another_record_begin_anew),
        cmocka_unit_test(test_who_does_not_answer_may_hold_the_data),
        cmocka_unit_test(test_without_a_cluster_there_is_nothing_to_lose),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
