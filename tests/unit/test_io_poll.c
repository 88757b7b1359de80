/* SPDX-License-Identifier: Apache-2.0 */
/* What an error reply says to people (FAULTS C11). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "io/peer_poll.h"

static void test_a_refusal_names_the_right_that_is_missing(void **state)
{
    (void)state;
    static const struct {
        const char *reply, *text;
    } cases[] = {
        {"NOPERM this user has no permissions to run the 'cluster|nodes' command",
         "the ACL user lacks +cluster|nodes"},
        {"NOPERM User muster has no permissions to run the 'info' command",
         "the ACL user lacks +info"},
        {"NOPERM No permissions to access a key", "NOPERM No permissions to access a key"},
        {"NOPERM an odd 'quote", "NOPERM an odd 'quote"},
        {"NOPERM an empty ''", "NOPERM an empty ''"},
        {"ERR no 'such' thing", "ERR no 'such' thing"},
        {"", ""},
    };
    char text[POLL_REFUSAL_SIZE];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        poll_refusal(span_of(cases[i].reply), text);
        assert_string_equal(text, cases[i].text);
    }
    char long_reply[512];
    memset(long_reply, 'x', sizeof long_reply);
    poll_refusal((struct span){long_reply, sizeof long_reply}, text);
    assert_int_equal(strlen(text), sizeof text - 1);
}

static void test_a_refusal_is_told_apart_from_an_error(void **state)
{
    (void)state;
    assert_int_equal(poll_reach_of(span_of("NOAUTH Authentication required.")), REACH_DENIED);
    assert_int_equal(poll_reach_of(span_of("NOPERM this user")), REACH_DENIED);
    assert_int_equal(poll_reach_of(span_of("WRONGPASS invalid")), REACH_DENIED);
    assert_int_equal(poll_reach_of(span_of("LOADING Redis is loading")), REACH_LOADING);
    assert_int_equal(poll_reach_of(span_of("ERR unknown command")), REACH_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_refusal_names_the_right_that_is_missing),
        cmocka_unit_test(test_a_refusal_is_told_apart_from_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
