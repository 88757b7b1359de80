/* SPDX-License-Identifier: Apache-2.0 */
/* What the leader remembers of placement: since when it is quiet, and when a role was moved last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/place.h"

static struct place_watch watch;
static struct world world;
static struct plan plan;

static int setup(void **state)
{
    (void)state;
    watch = (struct place_watch){0};
    world = (struct world){
        .now_ms = 1000, .leader = true, .my_pod = "muster-0", .leader_pod = "muster-0"};
    plan = (struct plan){.place = {.quiet = true, .seen = 7}};
    return 0;
}

static void test_quiet_begins_anew_when_anything_changes(void **state)
{
    (void)state;
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.quiet_ms, 1000);
    world.now_ms = 2000;
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.quiet_ms, 1000);
    plan.place.seen = 8;
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.quiet_ms, 2000);
    plan.place.quiet = false;
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.quiet_ms, 0);
}

static void test_a_new_leader_counts_from_when_it_leads(void **state)
{
    (void)state;
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.moved_ms, 1000);
    world.now_ms = 5000;
    world.leader = false; /* its renewal is late: it still holds the Lease */
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.moved_ms, 1000);
    world.leader_pod[0] = '\0';
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.moved_ms, 0);
}

static void test_only_its_own_order_counts_as_a_move(void **state)
{
    (void)state;
    struct action ordered = {.kind = ACTION_FAILOVER, .subject = {"aa"}};
    struct action other = {.kind = ACTION_FAILOVER, .subject = {"bb"}};
    plan.place.key = action_key(&ordered);
    place_note(&watch, &world, &plan);
    plan.place.key = 0; /* the turns after it order nothing */
    place_note(&watch, &world, &plan);
    assert_false(place_ordered(&watch, &other, 3000));
    assert_int_equal(watch.moved_ms, 1000);
    assert_true(place_ordered(&watch, &ordered, 4000));
    assert_int_equal(watch.moved_ms, 4000);
    assert_false(place_ordered(&watch, &ordered, 5000)); /* a drain of the same primary, later */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_quiet_begins_anew_when_anything_changes, setup),
        cmocka_unit_test_setup(test_a_new_leader_counts_from_when_it_leads, setup),
        cmocka_unit_test_setup(test_only_its_own_order_counts_as_a_move, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
