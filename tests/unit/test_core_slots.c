/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "core/slots.h"

static struct slot_range range(unsigned first, unsigned last)
{
    return (struct slot_range){(uint16_t)first, (uint16_t)last};
}

/* The same set, one byte a slot: the plain way to compare with. */
struct plain {
    bool has[SLOT_COUNT];
};

static void assert_same(const struct slot_set *set, const struct plain *plain)
{
    unsigned count = 0;
    for (unsigned s = 0; s < SLOT_COUNT; s++) {
        assert_int_equal(slot_set_has(set, s), plain->has[s]);
        count += plain->has[s];
    }
    assert_int_equal(slot_set_count(set), count);
}

static void test_an_empty_set_has_nothing(void **state)
{
    (void)state;
    struct slot_set set = {0};
    struct slot_range found;
    unsigned from = 0;
    assert_int_equal(slot_set_count(&set), 0);
    assert_false(slot_set_next(&set, &from, &found));
    assert_int_equal(from, SLOT_COUNT);
}

static void test_adding_and_removing_ranges_is_exact(void **state)
{
    (void)state;
    struct rng rng = {7};
    struct slot_set set = {0};
    static struct plain plain;
    for (int step = 0; step < 60; step++) {
        unsigned a = (unsigned)rng_below(&rng, SLOT_COUNT);
        unsigned b = (unsigned)rng_below(&rng, SLOT_COUNT);
        struct slot_range r = a < b ? range(a, b) : range(b, a);
        bool add = step % 3 != 2;
        if (add)
            slot_set_add(&set, r);
        else
            slot_set_remove(&set, r);
        for (unsigned s = r.first; s <= r.last; s++)
            plain.has[s] = add;
        assert_same(&set, &plain);
    }
}

/* Where a range begins or ends on a word's border, masks go wrong first. */
static void test_word_borders_are_exact(void **state)
{
    (void)state;
    static const unsigned edges[] = {0, 1, 62, 63, 64, 65, 127, 128, 16319, 16320, 16382, 16383};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        for (size_t j = i; j < sizeof edges / sizeof edges[0]; j++) {
            struct slot_set set = {0};
            slot_set_add(&set, range(edges[i], edges[j]));
            assert_int_equal(slot_set_count(&set), edges[j] - edges[i] + 1);
            assert_true(slot_set_has(&set, edges[i]));
            assert_true(slot_set_has(&set, edges[j]));
            if (edges[i] > 0)
                assert_false(slot_set_has(&set, edges[i] - 1));
            if (edges[j] < SLOT_COUNT - 1)
                assert_false(slot_set_has(&set, edges[j] + 1));
            slot_set_remove(&set, range(edges[i], edges[j]));
            assert_int_equal(slot_set_count(&set), 0);
        }
    }
}

static void test_ranges_come_out_maximal_and_in_order(void **state)
{
    (void)state;
    struct slot_set set = {0};
    struct slot_range found;
    unsigned from = 0;
    slot_set_add(&set, range(0, 10));
    slot_set_add(&set, range(11, 20)); /* adjacent: one range */
    slot_set_add(&set, range(22, 22));
    slot_set_add(&set, range(16000, 16383));
    assert_true(slot_set_next(&set, &from, &found));
    assert_int_equal(found.first, 0);
    assert_int_equal(found.last, 20);
    assert_true(slot_set_next(&set, &from, &found));
    assert_int_equal(found.first, 22);
    assert_int_equal(found.last, 22);
    assert_true(slot_set_next(&set, &from, &found));
    assert_int_equal(found.first, 16000);
    assert_int_equal(found.last, 16383);
    assert_false(slot_set_next(&set, &from, &found));
}

static void test_sets_intersect_when_they_share_a_slot(void **state)
{
    (void)state;
    struct slot_set a = {0};
    struct slot_set b = {0};
    assert_false(slot_set_intersects(&a, &b));
    slot_set_add(&a, range(0, 8191));
    slot_set_add(&b, range(8192, 16383));
    assert_false(slot_set_intersects(&a, &b));
    slot_set_add(&b, range(8191, 8191));
    assert_true(slot_set_intersects(&a, &b));
}

/* Every number of shards covers every slot once, and no shard has more than one slot more. */
static void test_shards_share_the_slots_evenly(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 1000; shards++) {
        unsigned next = 0;
        unsigned least = SLOT_COUNT;
        unsigned most = 0;
        for (unsigned i = 0; i < shards; i++) {
            struct slot_range r = slots_of_shard(i, shards);
            assert_int_equal(r.first, next);
            assert_true(r.last >= r.first);
            next = r.last + 1u;
            unsigned count = slot_range_count(r);
            least = count < least ? count : least;
            most = count > most ? count : most;
        }
        assert_int_equal(next, SLOT_COUNT);
        assert_true(most - least <= 1);
    }
}

/* redis-cli --cluster create, three primaries: 0-5460, 5461-10922, 10923-16383. */
static void test_three_shards_are_cut_as_redis_cli_cuts_them(void **state)
{
    (void)state;
    assert_int_equal(slots_of_shard(0, 3).last, 5460);
    assert_int_equal(slots_of_shard(1, 3).first, 5461);
    assert_int_equal(slots_of_shard(1, 3).last, 10922);
    assert_int_equal(slots_of_shard(2, 3).first, 10923);
    assert_int_equal(slots_of_shard(0, 1).last, 16383);
    assert_int_equal(slots_of_shard(16383, 16384).first, 16383);
}

static void test_ranges_are_read_strictly(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",        ",",   "-",   "1-",      "-1",    "1,",  ",1",
                                        "1,,2",    "2,1", "1,1", "1-3,3-4", "5-4",   "5-5", "16384",
                                        "0-16384", " 1",  "1 ",  "0x1",     "1-2-3", "+1",  "1;2"};
    struct slot_set set = {{0}};
    slot_set_add(&set, range(7, 7));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (slot_set_parse(span_of(wrong[i]), &set))
            fail_msg("'%s'", wrong[i]);
        assert_int_equal(slot_set_count(&set), 1);
    }
    assert_true(slot_set_parse(span_of("0-2,5,16383"), &set));
    assert_int_equal(slot_set_count(&set), 6);
    assert_true(slot_set_has(&set, 5) && slot_set_has(&set, 16383) && slot_set_has(&set, 7));
    assert_true(slot_set_parse(span_of("0-16383"), &set));
    assert_int_equal(slot_set_count(&set), SLOT_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_set_has_nothing),
        cmocka_unit_test(test_adding_and_removing_ranges_is_exact),
        cmocka_unit_test(test_word_borders_are_exact),
        cmocka_unit_test(test_ranges_come_out_maximal_and_in_order),
        cmocka_unit_test(test_sets_intersect_when_they_share_a_slot),
        cmocka_unit_test(test_shards_share_the_slots_evenly),
        cmocka_unit_test(test_three_shards_are_cut_as_redis_cli_cuts_them),
        cmocka_unit_test(test_ranges_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
