/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/lease.h"

#define DURATION_S 15
#define DURATION_MS (DURATION_S * 1000)
#define FENCE_MS (DURATION_MS * 2 / 3)

/* The API: one Lease, changed only by who names its resourceVersion. */
struct api {
    bool exists;
    struct lease lease;
    unsigned writes;
};

static void api_store(struct api *api, const struct lease *lease)
{
    api->exists = true;
    api->lease = *lease;
    api->writes++;
    text_format(api->lease.resource_version, RESOURCE_VERSION_SIZE, "%u", api->writes);
    if (lease->holder[0])
        text_format(api->lease.renew_time, LEASE_TIME_SIZE, "time %u", api->writes);
}

/* What the API makes of a request: 200, 404 or 409. */
static int api_handle(struct api *api, enum lease_verb verb, const struct lease *sent)
{
    if (verb == LEASE_GET)
        return api->exists ? 200 : 404;
    if (verb == LEASE_CREATE && api->exists)
        return 409;
    if (verb == LEASE_UPDATE &&
        (!api->exists || strcmp(api->lease.resource_version, sent->resource_version) != 0))
        return api->exists ? 409 : 404;
    api_store(api, sent);
    return 200;
}

static void agent_hear(struct lease_state *state, int64_t now, int status,
                       const struct lease *lease)
{
    if (status == 200)
        lease_on_object(state, now, lease);
    else if (status == 404)
        lease_on_absent(state, now);
    else
        lease_on_conflict(state, now);
}

/* One step with an answer at once; returns what was sent. */
static enum lease_verb agent_step(struct lease_state *state, struct api *api, int64_t now)
{
    struct lease sent = {0};
    enum lease_verb verb = lease_step(state, now, &sent);
    if (verb != LEASE_IDLE)
        agent_hear(state, now, api_handle(api, verb, &sent), &api->lease);
    return verb;
}

/* Steps every 100 ms; returns the time at the end. */
static int64_t agent_run(struct lease_state *state, struct api *api, int64_t now, int64_t ms)
{
    for (int64_t end = now + ms; now < end; now += 100)
        (void)agent_step(state, api, now);
    return now;
}

static struct lease_state agent_new(const char *name)
{
    struct lease_state state;
    lease_init(&state, name, DURATION_S, text_hash(TEXT_HASH_SEED, name, strlen(name)));
    return state;
}

static void test_the_first_agent_reads_then_creates_then_leads(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    assert_false(lease_may_act(&a, 1000));
    assert_string_equal(lease_holder(&a, 1000), "");
    assert_int_equal(agent_step(&a, &api, 1000), LEASE_GET);
    assert_false(lease_may_act(&a, 1000));
    assert_int_equal(agent_step(&a, &api, 1000), LEASE_CREATE);
    assert_true(lease_may_act(&a, 1000));
    assert_string_equal(lease_holder(&a, 1000), "a");
    assert_string_equal(api.lease.holder, "a");
    assert_int_equal(api.lease.duration_s, DURATION_S);
    assert_int_equal(agent_step(&a, &api, 1100), LEASE_IDLE);
}

static void test_a_holder_renews_at_a_third_and_keeps_leading(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    int64_t now = agent_run(&a, &api, 1000, 200);
    unsigned writes = api.writes;
    assert_int_equal(lease_next_ms(&a), 1100 + DURATION_MS / 3);
    for (int i = 0; i < 600; i++, now += 100) {
        (void)agent_step(&a, &api, now);
        assert_true(lease_may_act(&a, now));
    }
    assert_in_range(api.writes - writes, 11, 13); /* a minute, each five seconds */
    assert_int_equal(api.lease.transitions, 0);
}

static void test_the_fence_closes_at_two_thirds_of_the_sending_time(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    struct lease sent;
    (void)agent_step(&a, &api, 1000);
    assert_int_equal(lease_step(&a, 2000, &sent), LEASE_CREATE);
    assert_int_equal(lease_next_ms(&a), INT64_MAX);
    assert_int_equal(lease_step(&a, 2500, &sent), LEASE_IDLE); /* one request at a time */
    assert_false(lease_may_act(&a, 2500));
    (void)api_handle(&api, LEASE_CREATE, &sent);
    lease_on_object(&a, 5000, &api.lease); /* the answer took three seconds */
    assert_true(lease_may_act(&a, 5000));
    assert_true(lease_may_act(&a, 2000 + FENCE_MS - 1));
    assert_false(lease_may_act(&a, 2000 + FENCE_MS));
}

static void test_an_answer_after_the_fence_does_not_open_it(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    struct lease sent;
    (void)agent_step(&a, &api, 1000);
    (void)lease_step(&a, 2000, &sent);
    (void)api_handle(&api, LEASE_CREATE, &sent);
    lease_on_object(&a, 2000 + FENCE_MS, &api.lease);
    assert_false(lease_may_act(&a, 2000 + FENCE_MS));
}

static void test_a_follower_waits_for_the_duration_on_its_own_clock(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    struct lease_state b = agent_new("b");
    (void)agent_run(&a, &api, 1000, 200);
    /* b's clock shows quite another time; only how long nothing changes counts. */
    int64_t start = 7000000;
    int64_t now = start;
    for (; !lease_may_act(&b, now) && now < start + 60000; now += 100)
        (void)agent_step(&b, &api, now);
    assert_in_range(now - start, DURATION_MS, DURATION_MS + DURATION_MS / 3);
    assert_string_equal(api.lease.holder, "b");
    assert_int_equal(api.lease.transitions, 1);
}

static void test_a_follower_never_takes_a_lease_that_is_renewed(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    struct lease_state b = agent_new("b");
    for (int64_t now = 1000; now < 300000; now += 100) {
        (void)agent_step(&a, &api, now);
        (void)agent_step(&b, &api, now + 9000000);
        assert_false(lease_may_act(&b, now + 9000000));
    }
    assert_string_equal(lease_holder(&b, 9300000), "a");
    assert_int_equal(api.lease.transitions, 0);
}

static void test_who_loses_the_race_reads_again_and_follows(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    struct lease_state b = agent_new("b");
    struct lease from_a;
    struct lease from_b;
    (void)agent_step(&a, &api, 1000);
    (void)agent_step(&b, &api, 1000);
    assert_int_equal(lease_step(&a, 1000, &from_a), LEASE_CREATE);
    assert_int_equal(lease_step(&b, 1000, &from_b), LEASE_CREATE);
    agent_hear(&a, 1010, api_handle(&api, LEASE_CREATE, &from_a), &api.lease);
    agent_hear(&b, 1010, api_handle(&api, LEASE_CREATE, &from_b), &api.lease);
    assert_true(lease_may_act(&a, 1010));
    assert_false(lease_may_act(&b, 1010));
    (void)agent_run(&b, &api, 1010, 1000);
    assert_string_equal(lease_holder(&b, 2010), "a");
    assert_false(lease_may_act(&b, 2010));
}

static void test_a_holder_that_meets_a_conflict_stops_at_once(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    int64_t now = agent_run(&a, &api, 1000, 200);
    struct lease other = api.lease;
    text_format(other.holder, sizeof other.holder, "b");
    api_store(&api, &other);
    now += DURATION_MS / 3;
    assert_int_equal(agent_step(&a, &api, now), LEASE_UPDATE);
    assert_false(lease_may_act(&a, now));
    (void)agent_run(&a, &api, now, 1000);
    assert_string_equal(lease_holder(&a, now + 1000), "b");
    assert_false(lease_may_act(&a, now + 1000));
}

static void test_a_lost_answer_is_found_out_by_reading(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    struct lease sent;
    (void)agent_step(&a, &api, 1000);
    assert_int_equal(lease_step(&a, 1000, &sent), LEASE_CREATE);
    (void)api_handle(&api, LEASE_CREATE, &sent); /* done, but the answer is lost */
    lease_on_failure(&a, 3000, 0);
    assert_false(lease_may_act(&a, 3000));
    int64_t now = lease_next_ms(&a);
    assert_in_range(now, 3001, 3500);
    assert_int_equal(agent_step(&a, &api, now), LEASE_GET);
    assert_false(lease_may_act(&a, now)); /* who knows when that was sent */
    assert_int_equal(agent_step(&a, &api, now), LEASE_UPDATE);
    assert_true(lease_may_act(&a, now));
    assert_int_equal(api.lease.transitions, 0);
}

static void test_failed_renewals_leave_the_fence_as_it_was(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    struct lease sent;
    (void)agent_run(&a, &api, 1000, 200); /* held since 1100 */
    int64_t now = 1100;
    for (; now < 1100 + FENCE_MS; now += 100) {
        if (lease_step(&a, now, &sent) != LEASE_IDLE)
            lease_on_failure(&a, now, 0);
        assert_true(lease_may_act(&a, now));
    }
    assert_false(lease_may_act(&a, now));
}

static void test_failures_back_off_and_obey_the_server(void **state)
{
    (void)state;
    struct lease_state a = agent_new("a");
    struct lease sent;
    int64_t now = 1000;
    int64_t longest = 0;
    for (int i = 0; i < 12; i++) {
        assert_int_equal(lease_step(&a, now, &sent), LEASE_GET);
        lease_on_failure(&a, now, 0);
        int64_t next = lease_next_ms(&a);
        assert_int_equal(lease_step(&a, next - 1, &sent), LEASE_IDLE);
        longest = next - now > longest ? next - now : longest;
        now = next;
    }
    assert_in_range(longest, 2500, 5000);
    (void)lease_step(&a, now, &sent);
    lease_on_failure(&a, now, 30000);
    assert_int_equal(lease_next_ms(&a), now + 30000);
}

static void test_a_clean_end_gives_the_lease_back(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    struct lease_state b = agent_new("b");
    int64_t now = agent_run(&a, &api, 1000, 200);
    (void)agent_step(&b, &api, now);
    lease_release(&a);
    assert_false(lease_may_act(&a, now));
    assert_int_equal(agent_step(&a, &api, now), LEASE_UPDATE);
    assert_string_equal(api.lease.holder, "");
    assert_false(lease_may_act(&a, now));
    assert_int_equal(agent_step(&a, &api, now + 60000), LEASE_IDLE);
    /* The next one does not wait for the end of the duration. */
    now = lease_next_ms(&b);
    assert_int_equal(agent_step(&b, &api, now), LEASE_GET);
    assert_int_equal(agent_step(&b, &api, now), LEASE_UPDATE);
    assert_true(lease_may_act(&b, now));
    assert_int_equal(api.lease.transitions, 1);
}

static void test_a_follower_has_nothing_to_give_back(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    struct lease_state b = agent_new("b");
    (void)agent_run(&a, &api, 1000, 200);
    (void)agent_step(&b, &api, 1200);
    lease_release(&b);
    assert_int_equal(agent_step(&b, &api, 90000), LEASE_IDLE);
    assert_string_equal(api.lease.holder, "a");
}

/* The release waits for a renewal that is on its way, or it would meet a conflict. */
static void test_a_release_follows_the_renewal_in_flight(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    struct lease sent;
    (void)agent_run(&a, &api, 1000, 200);
    int64_t now = 1200 + DURATION_MS / 3;
    assert_int_equal(lease_step(&a, now, &sent), LEASE_UPDATE);
    lease_release(&a);
    struct lease none;
    assert_int_equal(lease_step(&a, now, &none), LEASE_IDLE);
    agent_hear(&a, now, api_handle(&api, LEASE_UPDATE, &sent), &api.lease);
    assert_false(lease_may_act(&a, now));
    assert_int_equal(agent_step(&a, &api, now), LEASE_UPDATE);
    assert_string_equal(api.lease.holder, "");
}

static void test_a_restart_in_the_same_pod_takes_its_own_lease_up_at_once(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    (void)agent_run(&a, &api, 1000, 200);
    struct lease_state again = agent_new("a");
    assert_int_equal(agent_step(&again, &api, 2000), LEASE_GET);
    assert_false(lease_may_act(&again, 2000)); /* not before a renewal of its own */
    assert_int_equal(agent_step(&again, &api, 2000), LEASE_UPDATE);
    assert_true(lease_may_act(&again, 2000));
    assert_int_equal(api.lease.transitions, 0);
}

static void test_a_deleted_lease_is_made_again(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a = agent_new("a");
    int64_t now = agent_run(&a, &api, 1000, 200) + DURATION_MS / 3;
    api.exists = false;
    assert_int_equal(agent_step(&a, &api, now), LEASE_UPDATE);
    assert_false(lease_may_act(&a, now));
    assert_string_equal(lease_holder(&a, now), "");
    assert_int_equal(agent_step(&a, &api, now), LEASE_CREATE);
    assert_true(lease_may_act(&a, now));
}

/* During an upgrade that changes leaseSeconds, the holder's own duration is what counts. */
static void test_the_holders_duration_counts(void **state)
{
    (void)state;
    struct api api = {0};
    struct lease_state a;
    struct lease_state b = agent_new("b");
    lease_init(&a, "a", 60, 1);
    (void)agent_run(&a, &api, 1000, 200);
    int64_t now = 1000;
    for (; !lease_may_act(&b, now) && now < 200000; now += 100)
        (void)agent_step(&b, &api, now);
    assert_in_range(now, 61000, 85000);
}

/* ---- many agents, slow and lossy, clocks of their own: never two that may act ---- */

#define AGENTS 5

struct busy_agent {
    struct lease_state lease;
    int64_t clock_offset;
    int64_t down_until; /* killed */
    int64_t reaches_ms; /* the API handles it then; 0 = it did */
    int64_t answers_ms;
    bool waiting; /* a request is under way */
    bool lost;    /* the answer, not the request */
    enum lease_verb verb;
    struct lease sent;
    int status;
    struct lease answer;
};

static void busy_send(struct busy_agent *agent, struct rng *rng, int64_t now)
{
    agent->verb = lease_step(&agent->lease, now + agent->clock_offset, &agent->sent);
    if (agent->verb == LEASE_IDLE)
        return;
    agent->waiting = true;
    int64_t slow = rng_below(rng, 10) == 0 ? 9000 : 300;
    agent->reaches_ms = now + (int64_t)rng_below(rng, (uint64_t)slow) + 1;
    agent->answers_ms = agent->reaches_ms + (int64_t)rng_below(rng, (uint64_t)slow) + 1;
    agent->lost = rng_below(rng, 8) == 0;
}

static void busy_turn(struct busy_agent *agent, struct api *api, struct rng *rng, int64_t now)
{
    if (agent->waiting && agent->reaches_ms && now >= agent->reaches_ms) {
        agent->status = api_handle(api, agent->verb, &agent->sent);
        agent->answer = api->lease;
        agent->reaches_ms = 0;
    }
    if (now < agent->down_until)
        return; /* what it had sent still arrives */
    if (agent->waiting && !agent->reaches_ms && now >= agent->answers_ms) {
        agent->waiting = false;
        if (agent->lost)
            lease_on_failure(&agent->lease, now + agent->clock_offset, 0);
        else
            agent_hear(&agent->lease, now + agent->clock_offset, agent->status, &agent->answer);
    }
    if (!agent->waiting)
        busy_send(agent, rng, now);
}

static void busy_kill(struct busy_agent *agent, size_t index, struct rng *rng, int64_t now)
{
    char name[16];
    text_format(name, sizeof name, "agent-%zu", index);
    int64_t offset = agent->clock_offset;
    bool suspended = rng_below(rng, 2) == 0; /* SIGSTOP: it goes on where it was */
    agent->down_until = now + (int64_t)rng_below(rng, 40000);
    if (suspended || agent->waiting)
        return;
    *agent = (struct busy_agent){.clock_offset = offset, .down_until = agent->down_until};
    lease_init(&agent->lease, name, DURATION_S, rng_next(rng));
}

static void test_never_two_may_act(void **state)
{
    (void)state;
    size_t led = 0;
    size_t ticks = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng rng = {seed};
        struct api api = {0};
        static struct busy_agent agents[AGENTS];
        memset(agents, 0, sizeof agents);
        for (size_t i = 0; i < AGENTS; i++) {
            char name[16];
            text_format(name, sizeof name, "agent-%zu", i);
            lease_init(&agents[i].lease, name, DURATION_S, seed * 100 + i);
            agents[i].clock_offset = (int64_t)rng_below(&rng, 100000000);
        }
        for (int64_t now = 1000; now < 600000; now += 50) {
            size_t acting = 0;
            for (size_t i = 0; i < AGENTS; i++) {
                busy_turn(&agents[i], &api, &rng, now);
                acting += lease_may_act(&agents[i].lease, now + agents[i].clock_offset);
                if (rng_below(&rng, 4000) == 0)
                    busy_kill(&agents[i], i, &rng, now);
            }
            assert_true(acting <= 1);
            led += acting;
            ticks++;
        }
    }
    assert_true(led > ticks / 2); /* and somebody does, most of the time */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_agent_reads_then_creates_then_leads),
        cmocka_unit_test(test_a_holder_renews_at_a_third_and_keeps_leading),
        cmocka_unit_test(test_the_fence_closes_at_two_thirds_of_the_sending_time),
        cmocka_unit_test(test_an_answer_after_the_fence_does_not_open_it),
        cmocka_unit_test(test_a_follower_waits_for_the_duration_on_its_own_clock),
        cmocka_unit_test(test_a_follower_never_takes_a_lease_that_is_renewed),
        cmocka_unit_test(test_who_loses_the_race_reads_again_and_follows),
        cmocka_unit_test(test_a_holder_that_meets_a_conflict_stops_at_once),
        cmocka_unit_test(test_a_lost_answer_is_found_out_by_reading),
        cmocka_unit_test(test_failed_renewals_leave_the_fence_as_it_was),
        cmocka_unit_test(test_failures_back_off_and_obey_the_server),
        cmocka_unit_test(test_a_clean_end_gives_the_lease_back),
        cmocka_unit_test(test_a_follower_has_nothing_to_give_back),
        cmocka_unit_test(test_a_release_follows_the_renewal_in_flight),
        cmocka_unit_test(test_a_restart_in_the_same_pod_takes_its_own_lease_up_at_once),
        cmocka_unit_test(test_a_deleted_lease_is_made_again),
        cmocka_unit_test(test_the_holders_duration_counts),
        cmocka_unit_test(test_never_two_may_act),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
