/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/scale_pace.h"

static void test_nothing_is_foretold_of_nothing(void **state)
{
    (void)state;
    struct scale_pace pace = {0};
    assert_int_equal(scale_pace_seconds(&pace, 90000), 0);
    scale_pace_note(&pace, 4096, 1000);
    assert_int_equal(scale_pace_seconds(&pace, 90000), 0); /* none has moved */
    scale_pace_note(&pace, 4000, 1500);
    assert_int_equal(scale_pace_seconds(&pace, 1500), 0); /* too early */
}

static void test_what_is_left_takes_as_long_as_what_has_moved(void **state)
{
    (void)state;
    struct scale_pace pace = {0};
    scale_pace_note(&pace, 4000, 1000);
    scale_pace_note(&pace, 3000, 5000);
    assert_int_equal(scale_pace_seconds(&pace, 5000), 12);
    scale_pace_note(&pace, 1, 16999);
    assert_int_equal(scale_pace_seconds(&pace, 16999), 1);
    scale_pace_note(&pace, 0, 17000);
    assert_int_equal(pace.since_ms, 0);
}

static void test_another_size_begins_anew(void **state)
{
    (void)state;
    struct scale_pace pace = {0};
    scale_pace_note(&pace, 4000, 1000);
    scale_pace_note(&pace, 100, 11000);
    scale_pace_note(&pace, 3000, 12000);
    assert_int_equal(scale_pace_seconds(&pace, 15000), 0);
    scale_pace_note(&pace, 2000, 15000);
    assert_int_equal(scale_pace_seconds(&pace, 15000), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_foretold_of_nothing),
        cmocka_unit_test(test_what_is_left_takes_as_long_as_what_has_moved),
        cmocka_unit_test(test_another_size_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
