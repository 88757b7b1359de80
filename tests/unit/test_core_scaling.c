/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "core/facts.h"
#include "core/scaling.h"
#include "lib/world_build.h"

struct fixture {
    struct arena arena;
    struct status status;
    struct scaling scaling;
    struct err err;
};

static const struct plan no_plan = {.rule = "steady", .reason = "nothing to do"};

static void look(struct fixture *f, struct world_build *b)
{
    struct facts facts;
    const struct world *world = world_build_refresh(b);
    facts_gather(world, &f->arena, &facts);
    status_gather(world, &facts, &no_plan, &f->arena, &f->status);
}

static const struct scaling *scale(struct fixture *f, struct world_build *b, unsigned replicas)
{
    look(f, b);
    if (scaling_find(&f->status, replicas, &f->arena, &f->scaling, &f->err) < 0)
        fail_msg("%s", f->err.msg);
    return &f->scaling;
}

static void test_out_each_shard_gives_its_part(void **state)
{
    struct fixture *f = *state;
    const struct scaling *s = scale(f, world_build_formed(&f->arena, 3, 6), 8);
    assert_int_equal(s->pods_now, 6);
    assert_int_equal(s->pods_then, 8);
    assert_int_equal(s->shards_now, 3);
    assert_int_equal(s->shard_count, 4);
    assert_int_equal(s->slots, 4096);
    assert_int_equal(s->keys, 8192); /* two keys in each slot */
    assert_int_equal(s->move_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(s->moves[i].to, "muster-6");
    assert_string_equal(s->shards[3].primary, "muster-6");
    assert_int_equal(s->shards[3].replicas, 1);
    assert_int_equal(s->copy_count, 1);
    assert_string_equal(s->copies[0].pod, "muster-7");
    assert_string_equal(s->copies[0].primary, "muster-6");
    assert_int_equal(s->fits, HELD_YES);
    assert_int_equal(s->warning_count, 0);
}

/* muster-5 follows muster-0, -3 muster-1, -4 muster-2: the shard with one copy left ends. */
static void test_in_a_shard_gives_everything(void **state)
{
    struct fixture *f = *state;
    const struct scaling *s = scale(f, world_build_formed(&f->arena, 3, 6), 4);
    assert_int_equal(s->shard_count, 2);
    assert_int_equal(s->slots, 5461);
    assert_int_equal(s->hand_over_count, 0);
    assert_int_equal(s->copy_count, 1);
    assert_int_equal(s->warning_count, 1);
    assert_non_null(strstr(s->warnings[0], "fewer than three primaries"));
    int64_t memory = 0;
    for (size_t i = 0; i < 2; i++)
        memory += s->shards[i].memory_bytes;
    assert_in_range(memory, 3 * 1258291 - 4, 3 * 1258291);
}

static void test_a_primary_that_stops_hands_over(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    /* muster-5 is the primary of muster-0's shard. */
    struct world_build_node first = b->nodes[0];
    b->nodes[0].primary = false;
    b->nodes[0].primary_node = 5;
    b->nodes[5].primary = true;
    b->nodes[5].epoch = 9;
    b->nodes[5].slots = first.slots;
    memset(&b->nodes[0].slots, 0, sizeof b->nodes[0].slots);
    /* Two of its copies stay. */
    b->nodes[3].primary_node = 5;
    const struct scaling *s = scale(f, b, 5);
    assert_int_equal(s->shard_count, 2);
    assert_int_equal(s->hand_over_count, 1);
    assert_string_equal(s->hand_overs[0].from, "muster-5");
    assert_string_equal(s->hand_overs[0].to, "muster-0");
    assert_int_equal(s->hand_overs[0].slots, 5461);
}

static void test_what_does_not_fit_is_named(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    for (size_t i = 0; i < 6; i++)
        b->pods[i].server.memory_max = 1500000;
    const struct scaling *s = scale(f, b, 4);
    assert_int_equal(s->fits, HELD_NO);
    assert_non_null(strstr(s->warnings[0], "of at most 1500000"));
    s = scale(f, b, 8);
    assert_int_equal(s->fits, HELD_YES);
    /* A pod that does not exist yet gets the lowest limit that any has. */
    assert_int_equal(s->shards[3].memory_max, 1500000);
    for (size_t i = 0; i < 6; i++)
        b->pods[i].server.memory_max = -1;
    assert_int_equal(scale(f, b, 4)->fits, HELD_UNKNOWN);
}

/* muster-2 and muster-4 both leave. */
static void test_slots_of_which_no_copy_stays_are_named(void **state)
{
    struct fixture *f = *state;
    const struct scaling *s = scale(f, world_build_formed(&f->arena, 3, 6), 2);
    assert_int_equal(s->unserved_count, 1);
    assert_string_equal(s->unserved[0].slots, "10923-16383");
    assert_int_equal(s->unserved[0].slot_count, 5461);
    assert_string_equal(s->unserved[0].primary, "muster-2");
    assert_non_null(strstr(s->warnings[0], "all pods that hold the slots 10923-16383 leave"));
    assert_int_equal(scale(f, world_build_formed(&f->arena, 3, 6), 4)->unserved_count, 0);
}

static void test_to_nothing_moves_nothing(void **state)
{
    struct fixture *f = *state;
    const struct scaling *s = scale(f, world_build_formed(&f->arena, 3, 6), 0);
    assert_int_equal(s->shard_count, 0);
    assert_int_equal(s->slots, 0);
    assert_int_equal(s->move_count, 0);
    assert_int_equal(s->unserved_count, 3);
    assert_int_equal(s->warning_count, 1);
    assert_non_null(strstr(s->warnings[0], "no pod stays"));
}

static void test_the_same_size_moves_nothing(void **state)
{
    struct fixture *f = *state;
    const struct scaling *s = scale(f, world_build_formed(&f->arena, 3, 6), 6);
    assert_int_equal(s->slots, 0);
    assert_int_equal(s->move_count + s->copy_count + s->hand_over_count + s->warning_count, 0);
}

static void test_what_one_agent_does_not_know_is_unknown(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_observe_as(b, 1);
    const struct scaling *s = scale(f, b, 4);
    assert_int_equal(s->shard_count, 2);
    assert_int_equal(s->keys, STATUS_NUMBER_UNKNOWN);
    assert_int_equal(s->bytes, STATUS_NUMBER_UNKNOWN);
    assert_int_equal(s->fits, HELD_UNKNOWN);
}

static void refused(struct fixture *f, const char *part)
{
    assert_int_equal(scaling_find(&f->status, 4, &f->arena, &f->scaling, &f->err), E_INVALID);
    if (!strstr(f->err.msg, part))
        fail_msg("%s", f->err.msg);
}

static void test_what_cannot_be_told_is_an_error(void **state)
{
    struct fixture *f = *state;
    look(f, world_build_virgin(&f->arena, 6));
    refused(f, "no shard is known yet");
    look(f, world_build_formed(&f->arena, 3, 6));
    f->status.replicas_per_primary = STATUS_NUMBER_UNKNOWN;
    refused(f, "how many replicas");
    /* 1 + the second of them is 0 in 32 bits. */
    static const int64_t numbers[] = {NODES_MAX, UINT32_MAX, INT64_C(1) << 53};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        f->status.replicas_per_primary = numbers[i];
        refused(f, "more than 1000 pods");
    }
    static const char *const texts[] = {"16384", "5-4", "x", "1,,2", "-"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct status_shard shard = {.slots = texts[i], .primary = "muster-0"};
        look(f, world_build_formed(&f->arena, 3, 6));
        f->status.shards = &shard;
        f->status.shard_count = 1;
        refused(f, "not understood");
    }
    struct status_shard nobody = {.slots = "0-16383", .primary = ""};
    f->status.shards = &nobody;
    refused(f, "on no known pod");
}

/* Two shards that claim the same slots, or the same primary: whatever comes of it, it ends well. */
static void test_a_status_that_contradicts_itself_does_no_harm(void **state)
{
    struct fixture *f = *state;
    struct status_shard twice[] = {
        {.slots = "0-16383", .primary = "muster-0", .keys = 5},
        {.slots = "0-16383", .primary = "muster-0", .keys = INT64_C(1) << 53},
        {.slots = "5", .primary = "muster-1", .keys = 5},
    };
    look(f, world_build_formed(&f->arena, 3, 6));
    f->status.shards = twice;
    f->status.shard_count = 3;
    for (unsigned replicas = 0; replicas < 10; replicas++)
        assert_int_equal(scaling_find(&f->status, replicas, &f->arena, &f->scaling, &f->err), 0);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    arena_init(&f->arena, TURN_ARENA_MAX);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_deinit(&f->arena);
    free(f);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_out_each_shard_gives_its_part),
        TEST(test_in_a_shard_gives_everything),
        TEST(test_a_primary_that_stops_hands_over),
        TEST(test_what_does_not_fit_is_named),
        TEST(test_slots_of_which_no_copy_stays_are_named),
        TEST(test_to_nothing_moves_nothing),
        TEST(test_the_same_size_moves_nothing),
        TEST(test_what_one_agent_does_not_know_is_unknown),
        TEST(test_what_cannot_be_told_is_an_error),
        TEST(test_a_status_that_contradicts_itself_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
