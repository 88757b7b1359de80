/* SPDX-License-Identifier: Apache-2.0 */
/* Many agents stand for one Lease: what that costs the API, and how soon a dead holder is followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/text.h"
#include "core/lease.h"

#define DURATION_S 15
#define STEP_MS 50
#define NOBODY SIZE_MAX

struct crowd {
    struct lease_state *agents;
    size_t count;
    size_t dead; /* takes no step any more */
    int64_t now_ms;
    bool exists;
    struct lease lease;
    unsigned writes;
    unsigned requests;
};

static void crowd_open(struct crowd *crowd, size_t count)
{
    *crowd = (struct crowd){.count = count, .dead = NOBODY, .now_ms = 1000000};
    crowd->agents = xcalloc(count, sizeof *crowd->agents);
    for (size_t i = 0; i < count; i++) {
        char name[32];
        text_format(name, sizeof name, "muster-%zu_uid", i);
        lease_init(&crowd->agents[i], name, DURATION_S, i * 7919 + 1);
        lease_set_crowd(&crowd->agents[i], count);
    }
}

/* The API answers at once; a write counts only against the version that it names. */
static void crowd_ask(struct crowd *crowd, struct lease_state *agent)
{
    struct lease sent = {0};
    enum lease_verb verb = lease_step(agent, crowd->now_ms, &sent);
    if (verb == LEASE_IDLE)
        return;
    crowd->requests++;
    if (verb == LEASE_GET && !crowd->exists) {
        lease_on_absent(agent, crowd->now_ms);
        return;
    }
    if (verb != LEASE_GET) {
        if (verb == LEASE_CREATE
                ? crowd->exists
                : strcmp(sent.resource_version, crowd->lease.resource_version) != 0) {
            lease_on_conflict(agent, crowd->now_ms);
            return;
        }
        crowd->exists = true;
        crowd->lease = sent;
        crowd->writes++;
        text_format(crowd->lease.resource_version, RESOURCE_VERSION_SIZE, "%u", crowd->writes);
        text_format(crowd->lease.renew_time, LEASE_TIME_SIZE, "time %u", crowd->writes);
    }
    lease_on_object(agent, crowd->now_ms, &crowd->lease);
}

static void crowd_step(struct crowd *crowd)
{
    crowd->now_ms += STEP_MS;
    for (size_t i = 0; i < crowd->count; i++)
        if (i != crowd->dead)
            crowd_ask(crowd, &crowd->agents[i]);
}

/* The one that may act; NOBODY if none. Never two. */
static size_t crowd_leader(const struct crowd *crowd)
{
    size_t leader = NOBODY;
    for (size_t i = 0; i < crowd->count; i++) {
        if (i == crowd->dead || !lease_may_act(&crowd->agents[i], crowd->now_ms))
            continue;
        assert_true(leader == NOBODY);
        leader = i;
    }
    return leader;
}

static const size_t counts[] = {2, 20, 21, 50, 100, 300, 1000};

static void test_a_crowd_asks_at_most_five_times_a_second(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct crowd crowd;
        crowd_open(&crowd, counts[c]);
        int64_t settled_ms = crowd.now_ms + (int64_t)counts[c] * 1000 + 60000;
        while (crowd.now_ms < settled_ms)
            crowd_step(&crowd);
        size_t leader = crowd_leader(&crowd);
        assert_true(leader != NOBODY);
        crowd.requests = 0;
        for (int64_t end_ms = crowd.now_ms + 300000; crowd.now_ms < end_ms;) {
            crowd_step(&crowd);
            assert_true(crowd_leader(&crowd) == leader); /* nobody takes what is renewed */
        }
        assert_true(crowd.requests <= 5 * 300);
        for (size_t i = 0; i < counts[c]; i++)
            assert_string_equal(lease_holder(&crowd.agents[i], crowd.now_ms), crowd.lease.holder);
        free(crowd.agents);
    }
}

/* leaseSeconds after the last renewal, and a few: whatever the number. */
static void test_a_dead_holder_is_followed_as_soon_in_any_crowd(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct crowd crowd;
        crowd_open(&crowd, counts[c]);
        int64_t settled_ms = crowd.now_ms + (int64_t)counts[c] * 1000 + 60000;
        while (crowd.now_ms < settled_ms)
            crowd_step(&crowd);
        for (int round = 0; round < 10; round++) {
            size_t before = crowd_leader(&crowd);
            assert_true(before != NOBODY);
            crowd.dead = before;
            int64_t died_ms = crowd.now_ms;
            while (crowd_leader(&crowd) == NOBODY && crowd.now_ms - died_ms < 120000)
                crowd_step(&crowd);
            assert_true(crowd_leader(&crowd) != NOBODY);
            int64_t limit_ms = DURATION_S * 1000 + 8000; /* small ones look each 5 to 7.5 s */
            assert_true(crowd.now_ms - died_ms <= limit_ms);
            crowd.dead = NOBODY;
            for (int64_t end_ms = crowd.now_ms + 40000 + 1370 * round; crowd.now_ms < end_ms;)
                crowd_step(&crowd);
        }
        free(crowd.agents);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_crowd_asks_at_most_five_times_a_second),
        cmocka_unit_test(test_a_dead_holder_is_followed_as_soon_in_any_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
