/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/rng.h"
#include "core/moves.h"
#include "unit/arena_fixture.h"

#define SHARDS_MAX 1000

static struct slot_set sets[SHARDS_MAX];
static struct moves_shard shards[SHARDS_MAX];

static void even(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memset(&sets[i], 0, sizeof sets[i]);
        slot_set_add(&sets[i], slots_of_shard((unsigned)i, (unsigned)count));
        shards[i] = (struct moves_shard){&sets[i], slot_set_count(&sets[i])};
    }
}

static void nothing(size_t shard)
{
    memset(&sets[shard], 0, sizeof sets[shard]);
    shards[shard] = (struct moves_shard){&sets[shard], 0};
}

/* The wanted numbers: even over `live` of `count` shards, what remains for those that have most. */
static void want_even(size_t count, const bool *live)
{
    unsigned sum = 0;
    unsigned number = 0;
    for (size_t i = 0; i < count; i++) {
        sum += slot_set_count(&sets[i]);
        number += live[i];
        shards[i].wanted = 0;
    }
    unsigned rest = sum % number;
    for (size_t i = 0; i < count; i++)
        if (live[i])
            shards[i].wanted = sum / number;
    while (rest) {
        size_t most = SHARDS_MAX;
        for (size_t i = 0; i < count; i++)
            if (live[i] && shards[i].wanted == sum / number &&
                (most == SHARDS_MAX || slot_set_count(&sets[i]) > slot_set_count(&sets[most])))
                most = i;
        shards[most].wanted++;
        rest--;
    }
}

/* Carries the moves out, and checks each. */
static struct moves carry_out(struct arena *arena, size_t count)
{
    struct moves found;
    unsigned least = 0;
    unsigned sum = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned has = slot_set_count(&sets[i]);
        least += has > shards[i].wanted ? has - shards[i].wanted : 0;
    }
    arena_reset(arena);
    moves_find(shards, count, arena, &found);
    for (size_t m = 0; m < found.count; m++) {
        const struct move *move = &found.moves[m];
        unsigned slots = 0;
        assert_int_not_equal(move->from, move->to);
        for (size_t k = 0; k < m; k++)
            assert_false(found.moves[k].from == move->from && found.moves[k].to == move->to);
        for (size_t r = 0; r < move->range_count; r++) {
            struct slot_range range = move->ranges[r];
            if (r)
                assert_true(range.first > move->ranges[r - 1].last + 1);
            for (unsigned slot = range.first; slot <= range.last; slot++)
                assert_true(slot_set_has(&sets[move->from], slot));
            slot_set_remove(&sets[move->from], range);
            slot_set_add(&sets[move->to], range);
            slots += slot_range_count(range);
        }
        assert_int_equal(slots, move->slot_count);
        sum += slots;
    }
    assert_int_equal(sum, found.slot_count);
    assert_int_equal(sum, least);
    assert_true(found.count < count || count == 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(slot_set_count(&sets[i]), shards[i].wanted);
    return found;
}

static size_t ranges_of(size_t shard)
{
    size_t count = 0;
    unsigned at = 0;
    struct slot_range range;
    while (slot_set_next(&sets[shard], &at, &range))
        count++;
    return count;
}

static void test_nothing_moves_where_everything_is_as_wanted(void **state)
{
    even(5);
    struct moves found = carry_out(*state, 5);
    assert_int_equal(found.count, 0);
    found = carry_out(*state, 0);
    assert_int_equal(found.count, 0);
}

static void test_each_of_three_gives_to_the_fourth(void **state)
{
    static const bool live[] = {true, true, true, true};
    even(3);
    nothing(3);
    want_even(4, live);
    struct moves found = carry_out(*state, 4);
    assert_int_equal(found.count, 3);
    assert_int_equal(found.slot_count, 4096);
    for (size_t m = 0; m < 3; m++) {
        assert_int_equal(found.moves[m].to, 3);
        assert_int_equal(found.moves[m].range_count, 1);
    }
}

static void test_a_shard_that_ends_gives_everything(void **state)
{
    static const bool live[] = {true, false, true};
    even(3);
    want_even(3, live);
    struct moves found = carry_out(*state, 3);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.slot_count, 5462);
    assert_int_equal(ranges_of(1), 0);
    /* Each neighbour takes what it touches. */
    assert_int_equal(ranges_of(0), 1);
    assert_int_equal(ranges_of(2), 1);
}

static void test_a_gap_is_closed_before_a_range_is_cut(void **state)
{
    nothing(0);
    nothing(1);
    slot_set_add(&sets[0], (struct slot_range){0, 99});
    slot_set_add(&sets[1], (struct slot_range){100, 109}); /* in the first one's gap */
    slot_set_add(&sets[0], (struct slot_range){110, 199});
    slot_set_add(&sets[1], (struct slot_range){300, 499});
    shards[0].wanted = 200;
    shards[1].wanted = 200;
    struct moves found = carry_out(*state, 2);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.moves[0].range_count, 1);
    assert_int_equal(found.moves[0].ranges[0].first, 100);
    assert_int_equal(ranges_of(0), 1);
    assert_int_equal(ranges_of(1), 1);
}

static void test_slots_at_both_ends_are_no_neighbours(void **state)
{
    nothing(0);
    nothing(1);
    slot_set_add(&sets[0], (struct slot_range){0, 0});
    slot_set_add(&sets[1], (struct slot_range){16383, 16383});
    shards[0].wanted = 2;
    struct moves found = carry_out(*state, 2);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.moves[0].ranges[0].first, 16383);
}

/* What went out comes back to the same owners: three ranges as before. */
static void test_out_and_in_again_leaves_few_ranges(void **state)
{
    static const bool four[] = {true, true, true, true};
    static const bool three[] = {true, true, true, false};
    even(3);
    nothing(3);
    want_even(4, four);
    (void)carry_out(*state, 4);
    want_even(4, three);
    (void)carry_out(*state, 4);
    size_t ranges = ranges_of(0) + ranges_of(1) + ranges_of(2);
    assert_true(ranges <= 5);
}

/* 3 to 9 shards a thousand times: the ranges do not grow without bound. */
static void test_a_thousand_scalings_leave_few_ranges(void **state)
{
    struct rng rng = {5};
    size_t most = 0;
    bool live[9] = {true, true, true};
    even(3);
    for (size_t i = 3; i < 9; i++)
        nothing(i);
    for (unsigned i = 0; i < 1000; i++) {
        size_t size = 3 + rng_below(&rng, 7);
        for (size_t s = 0; s < 9; s++)
            live[s] = s < size;
        want_even(9, live);
        (void)carry_out(*state, 9);
        size_t ranges = 0;
        for (size_t s = 0; s < 9; s++)
            ranges += ranges_of(s);
        most = ranges > most ? ranges : most;
    }
    print_message("at most %zu ranges\n", most);
    assert_true(most < 100);
}

/* Any sets, any wanted numbers. */
static void check_random(struct arena *arena, struct rng *rng)
{
    size_t count = 1 + rng_below(rng, 7);
    for (size_t i = 0; i < count; i++)
        nothing(i);
    for (unsigned slot = 0; slot < SLOT_COUNT;) {
        unsigned last = slot + (unsigned)rng_below(rng, 2000);
        last = last < SLOT_COUNT ? last : SLOT_COUNT - 1;
        if (rng_below(rng, 10)) /* some are nobody's */
            slot_set_add(&sets[rng_below(rng, count)],
                         (struct slot_range){(uint16_t)slot, (uint16_t)last});
        slot = last + 1;
    }
    unsigned left = 0;
    for (size_t i = 0; i < count; i++)
        left += slot_set_count(&sets[i]);
    for (size_t i = 0; i < count; i++) {
        shards[i].wanted = i + 1 == count ? left : (unsigned)rng_below(rng, left + 1);
        left -= shards[i].wanted;
    }
    (void)carry_out(arena, count);
}

static void test_any_wish_is_met_with_the_fewest_slots(void **state)
{
    struct rng rng = {6};
    for (unsigned i = 0; i < 2000; i++)
        check_random(*state, &rng);
}

static void test_as_many_shards_as_there_can_be(void **state)
{
    static bool live[SHARDS_MAX];
    even(SHARDS_MAX / 2);
    for (size_t i = SHARDS_MAX / 2; i < SHARDS_MAX; i++)
        nothing(i);
    memset(live, true, sizeof live);
    want_even(SHARDS_MAX, live);
    struct moves found = carry_out(*state, SHARDS_MAX);
    assert_in_range(found.slot_count, SLOT_COUNT / 2 - 500, SLOT_COUNT / 2 + 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_moves_where_everything_is_as_wanted),
        cmocka_unit_test(test_each_of_three_gives_to_the_fourth),
        cmocka_unit_test(test_a_shard_that_ends_gives_everything),
        cmocka_unit_test(test_a_gap_is_closed_before_a_range_is_cut),
        cmocka_unit_test(test_slots_at_both_ends_are_no_neighbours),
        cmocka_unit_test(test_out_and_in_again_leaves_few_ranges),
        cmocka_unit_test(test_a_thousand_scalings_leave_few_ranges),
        cmocka_unit_test(test_any_wish_is_met_with_the_fewest_slots),
        cmocka_unit_test(test_as_many_shards_as_there_can_be),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
