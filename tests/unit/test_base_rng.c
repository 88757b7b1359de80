/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/rng.h"

/* The published first values of splitmix64 for seed 1234567. */
static void test_the_sequence_is_splitmix64(void **state)
{
    (void)state;
    static const uint64_t expected[] = {
        UINT64_C(6457827717110365317),  UINT64_C(3203168211198807973),
        UINT64_C(9817491932198370423),  UINT64_C(4593380528125082431),
        UINT64_C(16408922859458223821),
    };
    struct rng rng = {1234567};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_true(rng_next(&rng) == expected[i]);
}

static void test_below_stays_below_and_reaches_all(void **state)
{
    (void)state;
    struct rng rng = {1};
    unsigned seen[6] = {0};
    for (int i = 0; i < 6000; i++)
        seen[rng_below(&rng, ARRAY_LEN(seen))]++;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_in_range(seen[i], 850, 1150);
    assert_int_equal(rng_below(&rng, 1), 0);
}

static void test_backoff_doubles_up_to_its_cap_and_spreads(void **state)
{
    (void)state;
    struct rng rng = {1};
    static const struct {
        unsigned failures;
        int64_t most;
    } steps[] = {{1, 500},   {2, 1000},  {3, 2000},          {4, 4000},
                 {7, 30000}, {8, 30000}, {4000000000, 30000}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        int64_t low = INT64_MAX;
        int64_t high = 0;
        for (int try = 0; try < 1000; try++) {
            int64_t delay = backoff_ms(&rng, steps[i].failures, 500, 30000);
            low = delay < low ? delay : low;
            high = delay > high ? delay : high;
        }
        assert_in_range(low, steps[i].most / 2, steps[i].most / 2 + steps[i].most / 20);
        assert_in_range(high, steps[i].most - steps[i].most / 20, steps[i].most);
    }
    assert_int_equal(backoff_ms(&rng, 0, 500, 30000), 0);
    assert_in_range(backoff_ms(&rng, 1, 500, 100), 50, 100);
    assert_int_equal(backoff_ms(&rng, 1, 1, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_sequence_is_splitmix64),
        cmocka_unit_test(test_below_stays_below_and_reaches_all),
        cmocka_unit_test(test_backoff_doubles_up_to_its_cap_and_spreads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
