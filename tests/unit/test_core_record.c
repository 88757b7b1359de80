/* SPDX-License-Identifier: Apache-2.0 */
/* The record, and what was tried lately. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/attempts.h"
#include "core/record.h"
#include "lib/world_build.h"

#define MEMBERS 3

struct sample {
    struct record record;
    struct record_member members[MEMBERS];
    struct node_id forget[2];
    struct record_left left[2];
    struct record_move moves[2];
    struct slot_range ranges[2];
};

static void sample_make(struct sample *s)
{
    *s = (struct sample){0};
    s->record = (struct record){
        .version = RECORD_VERSION,
        .uid = "uid",
        .generation = 2,
        .set_uid = "set",
        .state = RECORD_FORMED,
        .shards = 2,
        .members = s->members,
        .member_count = MEMBERS,
        .forget = s->forget,
        .forget_count = 2,
        .left = s->left,
        .left_count = 2,
        .moves = s->moves,
        .move_count = 2,
    };
    for (size_t i = 0; i < MEMBERS; i++) {
        s->members[i] = (struct record_member){
            .id = world_build_id(i),
            .shard = (uint16_t)i,
            .primary = i != 2,
            .epoch = i + 1,
            .node_timeout_ms = 15000,
            .diskless_delay_s = 5,
        };
        text_format(s->members[i].pod, POD_NAME_SIZE, "muster-%zu", i);
    }
    s->forget[0] = world_build_id(10);
    s->forget[1] = world_build_id(11);
    s->left[0] = (struct record_left){"muster-7", world_build_id(17)};
    s->left[1] = (struct record_left){"muster-8", world_build_id(18)};
    s->ranges[0] = (struct slot_range){1, 2};
    s->ranges[1] = (struct slot_range){5, 5};
    s->moves[0] = (struct record_move){.from = world_build_id(0),
                                       .to = world_build_id(1),
                                       .generation = 1,
                                       .ranges = s->ranges,
                                       .range_count = 2};
    s->moves[1] = (struct record_move){.from = world_build_id(1),
                                       .to = world_build_id(2),
                                       .generation = 2,
                                       .cancel = true,
                                       .ranges = s->ranges,
                                       .range_count = 1};
}

static void test_members_are_found_by_pod_and_by_id(void **state)
{
    (void)state;
    struct sample s;
    sample_make(&s);
    struct node_id second = world_build_id(1);
    struct node_id stranger = world_build_id(99);
    assert_ptr_equal(record_find_pod(&s.record, "muster-2"), &s.members[2]);
    assert_null(record_find_pod(&s.record, "muster-20"));
    assert_null(record_find_pod(&s.record, "muster"));
    assert_ptr_equal(record_find_id(&s.record, &second), &s.members[1]);
    assert_null(record_find_id(&s.record, &stranger));
    assert_true(record_forgets(&s.record, &s.forget[1]));
    assert_false(record_forgets(&s.record, &second));
    assert_true(record_has_left(&s.record, &s.left[1].id));
    assert_false(record_has_left(&s.record, &second));
}

static void test_a_copy_equals_its_record(void **state)
{
    (void)state;
    struct sample a;
    struct sample b;
    sample_make(&a);
    sample_make(&b);
    assert_true(record_eq(&a.record, &b.record));
}

/* A field that record_eq() forgets is a change that is never written. */
static void test_a_change_of_any_field_is_a_difference(void **state)
{
    (void)state;
    struct sample a;
    struct sample b;
    sample_make(&a);
#define DIFFERS(change)                                \
    do {                                               \
        sample_make(&b);                               \
        change;                                        \
        assert_false(record_eq(&a.record, &b.record)); \
        assert_false(record_eq(&b.record, &a.record)); \
    } while (0)
    DIFFERS(b.record.version = 2);
    DIFFERS(b.record.uid[0] = 'x');
    DIFFERS(b.record.generation++);
    DIFFERS(b.record.set_uid[0] = 'x');
    DIFFERS(b.record.state = RECORD_FORMING);
    DIFFERS(b.record.shards = 3);
    DIFFERS(b.record.member_count--);
    DIFFERS(b.record.forget_count--);
    DIFFERS(b.record.left_count--);
    DIFFERS(b.left[1].id = world_build_id(50));
    DIFFERS(b.left[0].pod[0] = 'x');
    DIFFERS(b.members[1].pod[0] = 'x');
    DIFFERS(b.members[1].id = world_build_id(50));
    DIFFERS(b.members[1].shard = NO_SHARD);
    DIFFERS(b.members[1].primary = false);
    DIFFERS(b.members[1].epoch = 9);
    DIFFERS(b.members[1].node_timeout_ms = 1);
    DIFFERS(b.members[1].diskless_delay_s = 1);
    DIFFERS(b.forget[1] = world_build_id(50));
    DIFFERS(b.record.move_count--);
    DIFFERS(b.moves[1].from = world_build_id(50));
    DIFFERS(b.moves[1].to = world_build_id(50));
    DIFFERS(b.moves[0].cancel = true);
    DIFFERS(b.moves[0].anchored = true);
    DIFFERS(b.moves[0].anchor = 7);
    DIFFERS(b.moves[0].generation++);
    DIFFERS(b.record.move_generation++);
    DIFFERS(b.record.moves_unclear = "[1]");
    DIFFERS(b.record.pause.set = true);
    DIFFERS(b.record.pause.since_unix_ms = 1);
    DIFFERS(b.record.pause.until_unix_ms = 1);
    DIFFERS(b.record.pause.reason[0] = 'x');
    DIFFERS(b.record.pause_unclear = "{}");
    DIFFERS(b.moves[0].range_count--);
    DIFFERS(b.ranges[1].first = 4);
    DIFFERS(b.ranges[1].last = 6);
#undef DIFFERS
}

static void test_what_was_never_tried_may_be_tried(void **state)
{
    (void)state;
    static struct attempts attempts;
    attempts = (struct attempts){0};
    assert_true(attempts_may(&attempts, 1, 0));
}

static void test_a_success_is_quiet_for_its_time_only(void **state)
{
    (void)state;
    static struct attempts attempts;
    attempts = (struct attempts){0};
    attempts_succeeded(&attempts, 1, 1000, 200);
    assert_false(attempts_may(&attempts, 1, 1000));
    assert_false(attempts_may(&attempts, 1, 1199));
    assert_true(attempts_may(&attempts, 1, 1200));
    assert_true(attempts_may(&attempts, 2, 1000));
    attempts_succeeded(&attempts, 3, 1000, 0);
    assert_true(attempts_may(&attempts, 3, 1000));
}

static void test_failures_back_off_doubling_to_the_cap(void **state)
{
    (void)state;
    static struct attempts attempts;
    attempts = (struct attempts){.rng = {5}};
    int64_t full = ATTEMPT_BACKOFF_MS;
    for (int i = 0; i < 20; i++) {
        int64_t delay = attempts_failed(&attempts, 1, 1000, 0);
        assert_true(delay >= full / 2 && delay <= full);
        assert_false(attempts_may(&attempts, 1, 1000 + delay - 1));
        assert_true(attempts_may(&attempts, 1, 1000 + delay));
        full = full * 2 < ATTEMPT_BACKOFF_CAP_MS ? full * 2 : ATTEMPT_BACKOFF_CAP_MS;
    }
    assert_int_equal(attempts.count, 1);
}

static void test_a_success_ends_the_backing_off(void **state)
{
    (void)state;
    static struct attempts attempts;
    attempts = (struct attempts){.rng = {5}};
    for (int i = 0; i < 10; i++)
        (void)attempts_failed(&attempts, 1, 1000, 0);
    assert_true(attempts_failed(&attempts, 2, 1000, 6000) >= 6000); /* whatever the backoff says */
    assert_false(attempts_may(&attempts, 2, 6999));
    attempts_succeeded(&attempts, 1, 1000, 0);
    assert_true(attempts_may(&attempts, 1, 1000));
    assert_true(attempts_failed(&attempts, 1, 2000, 0) <= ATTEMPT_BACKOFF_MS);
}

/* A full table gives up what ends first: forgetting it is harmless. */
static void test_a_full_table_gives_up_what_ends_first(void **state)
{
    (void)state;
    static struct attempts attempts;
    attempts = (struct attempts){0};
    for (uint64_t key = 0; key < ATTEMPTS_MAX; key++)
        attempts_succeeded(&attempts, key, 1000, key == 700 ? 10 : 5000);
    assert_int_equal(attempts.count, ATTEMPTS_MAX);
    attempts_succeeded(&attempts, 99999, 1000, 5000);
    assert_int_equal(attempts.count, ATTEMPTS_MAX);
    assert_true(attempts_may(&attempts, 700, 1000));
    assert_false(attempts_may(&attempts, 99999, 1000));
    for (uint64_t key = 0; key < ATTEMPTS_MAX; key++)
        if (key != 700)
            assert_false(attempts_may(&attempts, key, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_are_found_by_pod_and_by_id),
        cmocka_unit_test(test_a_copy_equals_its_record),
        cmocka_unit_test(test_a_change_of_any_field_is_a_difference),
        cmocka_unit_test(test_what_was_never_tried_may_be_tried),
        cmocka_unit_test(test_a_success_is_quiet_for_its_time_only),
        cmocka_unit_test(test_failures_back_off_doubling_to_the_cap),
        cmocka_unit_test(test_a_success_ends_the_backing_off),
        cmocka_unit_test(test_a_full_table_gives_up_what_ends_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
