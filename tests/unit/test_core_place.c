/* SPDX-License-Identifier: Apache-2.0 */
/* What the leader remembers of placement: since when it is quiet, and when a role was moved last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
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

/* Whatever took so long to be ordered was wanted for what is there no more. */
static void test_what_changes_is_asked_for_again(void **state)
{
    (void)state;
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.wanted_ms, 0);
    plan.place.asks = true;
    world.now_ms = 2000;
    place_note(&watch, &world, &plan);
    world.now_ms = 3000;
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.wanted_ms, 2000);
    plan.place.seen = 8;
    world.now_ms = 4000;
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.wanted_ms, 4000);
}

static void test_everybody_is_hurried_for_a_while_only(void **state)
{
    (void)state;
    int64_t hurried_ms = 0;
    plan.place.asks = true; /* and is refused all the time */
    for (; world.now_ms <= 600000; world.now_ms += 1000) {
        hurried_ms += place_may_hurry(&watch, world.now_ms) ? 1000 : 0;
        place_note(&watch, &world, &plan);
    }
    assert_in_range(hurried_ms, 90000, 120000);
}

/* Its own order does not count for another one, and none of others counts for it. */
static void test_an_order_is_a_move_of_its_own(void **state)
{
    (void)state;
    struct action ordered = {.kind = ACTION_FAILOVER, .subject = {"aa"}, .placing = true};
    place_note(&watch, &world, &plan);
    place_ordered(&watch, &ordered, 4000);
    assert_int_equal(watch.moved_ms, 4000);
    assert_int_equal(watch.wanted_ms, 0);
    assert_int_equal(place_interval_ms(&watch, 5000), 20000);
}

static struct pod *put_pod(const char *id, bool primary)
{
    static struct pod pod;
    pod = (struct pod){.server = {.reach = REACH_OK, .seen_ms = world.now_ms, .primary = primary}};
    text_format(pod.server.id.hex, sizeof pod.server.id.hex, "%s", id);
    world.pods = &pod;
    world.pod_count = 1;
    return &pod;
}

static void test_orders_that_relieve_nobody_become_rare(void **state)
{
    (void)state;
    struct action ordered = {.kind = ACTION_FAILOVER, .subject = {"aa"}, .placing = true};
    struct pod *pod = put_pod("aa", true);
    unsigned orders = 0;
    int64_t last_ms = 0;
    for (; world.now_ms <= 3600000; world.now_ms += 1000) {
        pod->server.seen_ms = world.now_ms;
        place_note(&watch, &world, &plan);
        if (last_ms && world.now_ms - last_ms < place_interval_ms(&watch, 0))
            continue;
        place_ordered(&watch, &ordered, world.now_ms);
        last_ms = world.now_ms;
        orders++;
    }
    assert_in_range(orders, 2, 10);
    pod->server.primary = false; /* at last */
    pod->server.seen_ms = world.now_ms;
    place_note(&watch, &world, &plan);
    assert_int_equal(place_interval_ms(&watch, 5000), 5000);
}

/* It is over when the copy is made, whatever the server said. */
static void test_a_copy_that_is_not_made_is_no_move(void **state)
{
    (void)state;
    struct action ordered = {
        .kind = ACTION_REPLICATE, .node = {"aa"}, .subject = {"cc"}, .placing = true};
    struct pod *pod = put_pod("aa", false);
    struct view_node self = {.id = {"aa"}, .primary = {"bb"}};
    const struct view view = {.myself = &self};
    place_note(&watch, &world, &plan);
    place_ordered(&watch, &ordered, 1000);
    pod->server.view = &view;
    pod->server.view_ms = world.now_ms;
    pod->server.link_up = true;
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.fruitless, 1);
    self.primary = (struct node_id){"cc"};
    pod->server.link_up = false;
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.fruitless, 1);
    pod->server.link_up = true;
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.fruitless, 0);
    assert_int_equal(place_interval_ms(&watch, 5000), 5000);
    pod->server.view = NULL;
}

/* The rest of a change waits for no interval, once what was done of it is done; but there is an end. */
static void test_half_a_change_goes_on(void **state)
{
    (void)state;
    struct action ordered = {
        .kind = ACTION_REPLICATE, .node = {"aa"}, .subject = {"cc"}, .placing = true};
    watch.found = (struct place_found){.look = 3, .moves = 2, .more = true};
    assert_false(place_goes_on(&watch, &watch.found));
    place_ordered(&watch, &ordered, 1000);
    assert_false(place_goes_on(&watch, &watch.found));
    for (int i = 0; i < PLACE_CHANGE_MOVES - 1; i++) {
        watch.fruitless = 0;
        assert_true(place_goes_on(&watch, &watch.found));
        place_ordered(&watch, &ordered, 2000);
    }
    watch.fruitless = 0;
    assert_false(place_goes_on(&watch, &watch.found));
    watch.found.uneven = true; /* which ends by itself */
    assert_true(place_goes_on(&watch, &watch.found));
}

/* Nor the rest of a change, once a person has moved a role. */
static void test_what_a_person_moves_is_left_for_the_interval(void **state)
{
    (void)state;
    struct action ordered = {.kind = ACTION_FAILOVER, .subject = {"aa"}, .placing = true};
    watch.found = (struct place_found){.look = 3, .moves = 2, .more = true};
    place_ordered(&watch, &ordered, 1000);
    watch.fruitless = 0;
    assert_true(place_goes_on(&watch, &watch.found));
    place_leave(&watch, 2000);
    assert_false(place_goes_on(&watch, &watch.found));
    assert_int_equal(watch.moved_ms, 2000);
}

/* A server may be told to stop right after its agent said that it stays: it waits for so long itself. */
static void test_what_relies_on_words_is_not_sent_late(void **state)
{
    (void)state;
    struct action own = {.kind = ACTION_FAILOVER};
    struct action move = {.kind = ACTION_FAILOVER, .placing = true, .planned_ms = 1000};
    assert_true(place_may_send(&world, &move, false, 1000 + PLACE_SEND_MS));
    assert_false(place_may_send(&world, &move, false, 1001 + PLACE_SEND_MS));
    assert_false(place_may_send(&world, &move, true, 1000));
    assert_true(place_may_send(&world, &own, true, 9000));
}

/* What was found stands until the pods or the roles are others. */
static void test_what_was_found_is_remembered(void **state)
{
    (void)state;
    plan.place.found = (struct place_found){.look = 3, .moves = 1};
    place_note(&watch, &world, &plan);
    plan.place.found = (struct place_found){0};
    place_note(&watch, &world, &plan);
    assert_int_equal(watch.found.look, 3);
    assert_int_equal(watch.found.moves, 1);
}

static void test_only_the_shards_agents_are_asked(void **state)
{
    (void)state;
    static const size_t pods[] = {4, 2};
    assert_false(plan_asks_whether_stays(&plan, 4));
    plan.stay.pods = pods;
    plan.stay.pod_count = 2;
    assert_true(plan_asks_whether_stays(&plan, 4));
    assert_false(plan_asks_whether_stays(&plan, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_quiet_begins_anew_when_anything_changes, setup),
        cmocka_unit_test_setup(test_a_new_leader_counts_from_when_it_leads, setup),
        cmocka_unit_test_setup(test_what_changes_is_asked_for_again, setup),
        cmocka_unit_test_setup(test_everybody_is_hurried_for_a_while_only, setup),
        cmocka_unit_test_setup(test_an_order_is_a_move_of_its_own, setup),
        cmocka_unit_test_setup(test_orders_that_relieve_nobody_become_rare, setup),
        cmocka_unit_test_setup(test_a_copy_that_is_not_made_is_no_move, setup),
        cmocka_unit_test_setup(test_half_a_change_goes_on, setup),
        cmocka_unit_test_setup(test_what_a_person_moves_is_left_for_the_interval, setup),
        cmocka_unit_test_setup(test_what_relies_on_words_is_not_sent_late, setup),
        cmocka_unit_test_setup(test_what_was_found_is_remembered, setup),
        cmocka_unit_test_setup(test_only_the_shards_agents_are_asked, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
