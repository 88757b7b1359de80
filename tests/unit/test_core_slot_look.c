/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "core/slot_look.h"
#include "wire/cluster_nodes.h"

/* Two primaries, a third one, and what was the first one's primary before it handed over. */
#define SOURCE "c48cc923b98c01f650cfc78a7eb04585597ba295"
#define DEST "65af16c646bf869c37c026dec1e037260e25a52e"
#define OTHER "057378b8ec0c5839298f16b8d96d6ac07140350e"
#define BEFORE "1111111111111111111111111111111111111111"
#define FAILED "2222222222222222222222222222222222222222"
#define FOLLOWS "4444444444444444444444444444444444444444"
#define ELDER "6666666666666666666666666666666666666666"
#define LOST "5555555555555555555555555555555555555555"
#define GONE "3333333333333333333333333333333333333333"

static const struct slot_pair pair = {{SOURCE}, {DEST}};
static struct arena arena;

/* "10-19 [12->-...]" at the source; the destination has 30-39, the third one 50-59. */
static struct view view_of(bool at_source, const char *source_slots, const char *dest_slots)
{
    static char text[2048];
    struct view view;
    struct err err = {0};
    text_format(text, sizeof text,
                SOURCE " 10.0.0.1:6379@16379 %smaster - 0 0 4 connected %s\n" DEST
                       " 10.0.0.2:6379@16379 %smaster - 0 0 5 connected %s\n" OTHER
                       " 10.0.0.3:6379@16379 master - 0 0 6 connected 50-59\n" BEFORE
                       " 10.0.0.4:6379@16379 slave " SOURCE " 0 0 4 connected\n" FAILED
                       " 10.0.0.5:6379@16379 master,fail - 0 0 7 disconnected\n" FOLLOWS
                       " 10.0.0.6:6379@16379 slave " DEST " 0 0 5 connected\n" LOST
                       " 10.0.0.7:6379@16379 master,fail - 0 0 3 disconnected 70-79\n" ELDER
                       " 10.0.0.8:6379@16379 master - 0 0 2 connected 80-89\n",
                at_source ? "myself," : "", source_slots, at_source ? "" : "myself,", dest_slots);
    if (cluster_nodes_parse(span_of(text), &arena, &view, &err) < 0)
        fail_msg("%s", err.msg);
    return view;
}

static struct slot_side look(const struct view *view, bool at_source, uint16_t slot)
{
    struct slot_side side = {.keys = 7};
    slot_look(view, &pair, at_source, &slot, 1, &side);
    assert_int_equal(side.keys, 7);
    return side;
}

static void test_owners_are_told_apart(void **state)
{
    (void)state;
    struct view view = view_of(true, "10-19", "30-39");
    assert_int_equal(look(&view, true, 10).owner, SLOT_OWNER_SOURCE);
    assert_int_equal(look(&view, true, 19).owner, SLOT_OWNER_SOURCE);
    assert_int_equal(look(&view, true, 30).owner, SLOT_OWNER_DEST);
    assert_int_equal(look(&view, true, 50).owner, SLOT_OWNER_OTHER);
    assert_int_equal(look(&view, true, 20).owner, SLOT_OWNER_NOBODY);
    assert_int_equal(look(&view, true, 10).open, SLOT_CLOSED);
}

static void test_the_source_migrates(void **state)
{
    (void)state;
    struct view view = view_of(true,
                               "10-19 [12->-" DEST "] [13->-" OTHER "] [14-<-" DEST "] [15->-" GONE
                               "] [16->-" FAILED "]",
                               "");
    assert_int_equal(look(&view, true, 11).open, SLOT_CLOSED);
    assert_int_equal(look(&view, true, 12).open, SLOT_OPEN_PEER);
    assert_int_equal(look(&view, true, 13).open, SLOT_OPEN_OTHER);
    assert_int_equal(look(&view, true, 14).open, SLOT_OPEN_OTHER);
    /* Whoever took over from it may not be known by it: it is gone, with what it had or without. */
    assert_int_equal(look(&view, true, 15).open, SLOT_OPEN_MATE);
    assert_int_equal(look(&view, true, 16).open, SLOT_OPEN_MATE);
}

static void test_the_destination_imports(void **state)
{
    (void)state;
    struct view view =
        view_of(false, "10-19",
                "30-39 [12-<-" SOURCE "] [13-<-" OTHER "] [14-<-" BEFORE "] [30->-" SOURCE "]");
    assert_int_equal(look(&view, false, 12).open, SLOT_OPEN_PEER);
    assert_int_equal(look(&view, false, 12).owner, SLOT_OWNER_SOURCE);
    assert_int_equal(look(&view, false, 13).open, SLOT_OPEN_OTHER);
    /* From who was the source's shard's primary before, and follows the destination now. */
    struct view later = view_of(false, "10-19", "30-39 [12-<-" FOLLOWS "]");
    assert_int_equal(look(&later, false, 12).open, SLOT_OPEN_MATE);
    /* Or still follows it. */
    assert_int_equal(look(&view, false, 14).open, SLOT_OPEN_MATE);
    assert_int_equal(look(&view, false, 30).open, SLOT_OPEN_OTHER);
}

/* Whose slot it imports it does not learn while it does (redis 7.0.15, clusterUpdateSlotsConfigWith). */
static void test_who_has_failed_owns_nothing_that_is_imported(void **state)
{
    (void)state;
    struct view view = view_of(false, "10-19", "30-39 [70-<-" LOST "] [50-<-" OTHER "]");
    assert_int_equal(look(&view, false, 70).owner, SLOT_OWNER_NOBODY);
    assert_int_equal(look(&view, false, 70).open, SLOT_OPEN_MATE);
    assert_int_equal(look(&view, false, 71).owner, SLOT_OWNER_OTHER);
    assert_int_equal(look(&view, false, 50).owner, SLOT_OWNER_OTHER);
    /* Who claims it under an earlier epoch than the source's would have lost it. */
    view = view_of(false, "10-19", "30-39 [80-<-" ELDER "] [51-<-" ELDER "]");
    assert_int_equal(look(&view, false, 80).owner, SLOT_OWNER_NOBODY);
    assert_int_equal(look(&view, false, 80).open, SLOT_OPEN_MATE);
    assert_int_equal(look(&view, false, 81).owner, SLOT_OWNER_OTHER);
    assert_int_equal(look(&view, false, 51).owner, SLOT_OWNER_OTHER);
    view = view_of(true, "10-19 [70-<-" LOST "]", "30-39");
    assert_int_equal(look(&view, true, 70).owner, SLOT_OWNER_OTHER);
}

/* A slot is taken under the latest epoch that is known, and one more. */
static void test_both_say_the_sources_epoch(void **state)
{
    (void)state;
    struct view view = view_of(true, "10-19", "30-39");
    assert_int_equal(look(&view, true, 10).epoch, 4);
    assert_false(look(&view, true, 10).tied);
    view = view_of(false, "10-19", "30-39");
    assert_int_equal(look(&view, false, 10).epoch, 4);
    assert_false(look(&view, false, 10).tied);
    const struct slot_pair equal = {{DEST}, {DEST}};
    struct slot_side side = {.keys = 0};
    slot_look(&view, &equal, false, (const uint16_t[]){10}, 1, &side);
    assert_true(side.tied);
}

static void test_many_slots_are_looked_at_in_one_go(void **state)
{
    (void)state;
    struct view view = view_of(true, "10-19 [12->-" DEST "]", "30-39");
    static const uint16_t slots[] = {50, 12, 30};
    struct slot_side sides[3];
    slot_look(&view, &pair, true, slots, 3, sides);
    assert_int_equal(sides[0].owner, SLOT_OWNER_OTHER);
    assert_int_equal(sides[1].open, SLOT_OPEN_PEER);
    assert_int_equal(sides[2].owner, SLOT_OWNER_DEST);
}

static void assert_command(enum slot_step step, const char *text, bool to_source)
{
    struct action_args args;
    bool source;
    char got[256] = "";
    slot_step_command(step, 12, &pair, &args, &source);
    for (size_t i = 0; i < args.count; i++)
        text_append(got, sizeof got, "%s%s", i ? " " : "", args.words[i]);
    assert_string_equal(got, text);
    assert_int_equal(source, to_source);
}

static void test_each_step_is_a_command(void **state)
{
    (void)state;
    assert_command(SLOT_IMPORT, "CLUSTER SETSLOT 12 IMPORTING " SOURCE, false);
    assert_command(SLOT_MIGRATE, "CLUSTER SETSLOT 12 MIGRATING " DEST, true);
    assert_command(SLOT_TAKE, "CLUSTER SETSLOT 12 NODE " DEST, false);
    assert_command(SLOT_GIVE, "CLUSTER SETSLOT 12 NODE " DEST, true);
    assert_command(SLOT_CLOSE_SOURCE, "CLUSTER SETSLOT 12 STABLE", true);
    assert_command(SLOT_CLOSE_DEST, "CLUSTER SETSLOT 12 STABLE", false);
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, MIB(16));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owners_are_told_apart),
        cmocka_unit_test(test_the_source_migrates),
        cmocka_unit_test(test_the_destination_imports),
        cmocka_unit_test(test_who_has_failed_owns_nothing_that_is_imported),
        cmocka_unit_test(test_both_say_the_sources_epoch),
        cmocka_unit_test(test_many_slots_are_looked_at_in_one_go),
        cmocka_unit_test(test_each_step_is_a_command),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
