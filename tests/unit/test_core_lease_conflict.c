/* SPDX-License-Identifier: Apache-2.0 */
/* An API server that can be read and refuses every write: no storm, and no leader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/lease.h"

#define MINUTE_MS 60000

static struct lease_state agent;

static int setup(void **state)
{
    (void)state;
    lease_init(&agent, "a", 15, 1);
    return 0;
}

/* Steps for a minute; every GET is answered with `seen` (NULL: 404). Returns the requests. */
static int refused_for_a_minute(const struct lease *seen)
{
    int requests = 0;
    struct lease sent;
    for (int64_t now = 1000; now < 1000 + MINUTE_MS; now += 10) {
        enum lease_verb verb = lease_step(&agent, now, &sent);
        requests += verb != LEASE_IDLE;
        if (verb == LEASE_GET && seen)
            lease_on_object(&agent, now, seen);
        else if (verb == LEASE_GET)
            lease_on_absent(&agent, now);
        else if (verb != LEASE_IDLE)
            lease_on_conflict(&agent, now);
        assert_false(lease_may_act(&agent, now));
    }
    return requests;
}

static void test_refused_creations_back_off(void **state)
{
    (void)state;
    assert_in_range(refused_for_a_minute(NULL), 20, 60);
}

static void test_refused_updates_back_off(void **state)
{
    (void)state;
    const struct lease abandoned = {.resource_version = "7", .duration_s = 15};
    assert_in_range(refused_for_a_minute(&abandoned), 20, 60);
}

static void test_a_write_that_is_taken_ends_it(void **state)
{
    (void)state;
    int64_t now = 1000 + 2 * MINUTE_MS;
    struct lease sent = {0};
    (void)refused_for_a_minute(NULL);
    assert_int_equal(lease_step(&agent, now, &sent), LEASE_GET);
    lease_on_absent(&agent, now);
    assert_int_equal(lease_step(&agent, now, &sent), LEASE_CREATE);
    lease_on_object(&agent, now, &sent);
    assert_int_equal(agent.conflicts, 0);
    assert_true(lease_may_act(&agent, now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_refused_creations_back_off, setup),
        cmocka_unit_test_setup(test_refused_updates_back_off, setup),
        cmocka_unit_test_setup(test_a_write_that_is_taken_ends_it, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
