/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of looks at slots that are to move. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/scale_see.h"

#define T0 1000000

static struct node_id node(unsigned number)
{
    struct node_id id = {{0}};
    for (size_t i = 0; i < sizeof id.hex - 1; i++)
        id.hex[i] = "0123456789abcdef"[(number >> (i % 4) * 4) & 15];
    return id;
}

static struct scale_seen seen_at(unsigned to, int64_t generation, int64_t asked_ms)
{
    return (struct scale_seen){
        .from = node(1), .to = node(to), .generation = generation, .asked_ms = asked_ms};
}

static void add(struct slot_set *set, unsigned first, unsigned last)
{
    slot_set_add(set, (struct slot_range){(uint16_t)first, (uint16_t)last});
}

/* Old keys in more slots than are looked at in one go: none of them is looked at again in turn for ever. */
static void test_old_keys_of_several_looks_are_known_together(void **state)
{
    struct scale_watch *watch = *state;
    struct scale_seen a = seen_at(2, 7, T0);
    struct scale_seen b = seen_at(2, 7, T0 + 500);
    struct slot_set looked_a = {{0}};
    struct slot_set looked_b = {{0}};
    add(&a.keys, 0, 255);
    add(&looked_a, 0, 255);
    add(&b.clean, 256, 300);
    add(&b.keys, 301, 511);
    add(&looked_b, 256, 511);
    watch->count = 0;
    scale_note(watch, &a, &looked_a);
    scale_note(watch, &b, &looked_b);
    assert_int_equal(watch->count, 1);
    assert_int_equal(slot_set_count(&watch->seen[0].keys), 256 + 211);
    assert_int_equal(slot_set_count(&watch->seen[0].clean), 45);
    assert_int_equal(watch->seen[0].asked_ms, T0 + 500);
    assert_int_equal(watch->seen[0].keys_ms, T0);
    /* Looked at again they are what they are now. */
    struct scale_seen c = seen_at(2, 7, T0 + 1000);
    add(&c.clean, 0, 255);
    scale_note(watch, &c, &looked_a);
    assert_int_equal(slot_set_count(&watch->seen[0].keys), 211);
    assert_int_equal(slot_set_count(&watch->seen[0].clean), 256);
}

static void test_what_was_seen_by_other_moves_or_long_ago_is_forgotten(void **state)
{
    struct scale_watch *watch = *state;
    struct scale_seen a = seen_at(2, 7, T0);
    struct slot_set looked = {{0}};
    add(&a.keys, 0, 255);
    add(&looked, 0, 255);
    watch->count = 0;
    scale_note(watch, &a, &looked);
    struct slot_set other = {{0}};
    add(&other, 600, 600);
    struct scale_seen later = seen_at(2, 7, T0 + SCALE_KEYS_MS + 1);
    scale_note(watch, &later, &other);
    assert_int_equal(slot_set_count(&watch->seen[0].keys), 0);
    scale_note(watch, &a, &looked);
    struct scale_seen changed = seen_at(2, 8, T0 + 100);
    scale_note(watch, &changed, &other);
    assert_int_equal(watch->count, 1);
    assert_int_equal(slot_set_count(&watch->seen[0].keys), 0);
}

static void test_the_pair_that_was_looked_at_longest_ago_makes_room(void **state)
{
    struct scale_watch *watch = *state;
    struct slot_set looked = {{0}};
    watch->count = 0;
    for (unsigned i = 0; i <= SCALE_PAIRS_MAX; i++) {
        struct scale_seen seen = seen_at(2 + i, 7, T0 + (i + 5) % SCALE_PAIRS_MAX);
        scale_note(watch, &seen, &looked);
    }
    assert_int_equal(watch->count, SCALE_PAIRS_MAX);
    struct node_id last = node(2 + SCALE_PAIRS_MAX);
    assert_true(node_id_eq(&watch->seen[SCALE_PAIRS_MAX - 5].to, &last));
}

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct scale_watch));
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_keys_of_several_looks_are_known_together),
        cmocka_unit_test(test_what_was_seen_by_other_moves_or_long_ago_is_forgotten),
        cmocka_unit_test(test_the_pair_that_was_looked_at_longest_ago_makes_room),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
