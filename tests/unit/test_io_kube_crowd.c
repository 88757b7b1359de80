/* SPDX-License-Identifier: Apache-2.0 */
/* Large sets: pods by their EndpointSlices, and whose they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "unit/state_fixture.h"

static bool owners_were_asked(void *ctx)
{
    const struct state_fixture *session = ctx;
    return io_count_lines(session->script.shared, "resourceVersion=0") > 0;
}

static void test_of_a_large_set_only_the_leader_watches_the_pods(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "", LARGE);
    const struct io_shared *shared = session.script.shared;
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    assert_true(io_run_until(session.loop, state_fixture_has_four_watches, &session, 2000));
    assert_int_equal(io_count_lines(shared, "labelSelector=app%3Ddb&"), 0);
    size_t count;
    const struct kube_pod *pods = kube_state_pods(session.state, &count);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) { /* the own one by itself, the others by their endpoints */
        assert_int_equal(pods[i].ordinal, i);
        assert_string_equal(pods[i].controller.uid, i < 3 ? "set-1" : "");
    }
    assert_string_equal(pods[1].meta.uid, "pod-1");
    assert_string_equal(pods[1].ip, "10.0.0.2");
    assert_string_equal(pods[1].node, "node-1");
    assert_string_equal(state_fixture_zone(&session, "db-0"), "label-zone");
    assert_string_equal(state_fixture_zone(&session, "db-1"), "slice-zone");

    kube_state_lead(session.state, true);
    assert_int_equal(kube_state_seen_ms(session.state), 0); /* the pods were not listed yet */
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    assert_true(io_count_lines(shared, "labelSelector=app%3Ddb&") > 0);
    state_fixture_close(&session);
}

/* Asked for by name, and of a server that does not know metadata only as well. */
static void test_an_endpoint_counts_once_its_owner_is_known(void **state)
{
    (void)state;
    static const int forms[] = {LARGE, LARGE | WHOLE_PODS};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct state_fixture session;
        size_t count;
        state_fixture_open(&session, "", forms[i] | NO_OWNERS);
        struct io_shared *shared = session.script.shared;
        assert_true(io_run_until(session.loop, state_fixture_has_four_watches, &session, 3000));
        assert_true(io_run_until(session.loop, owners_were_asked, &session, 3000));
        (void)loop_run_for(session.loop, 100);
        (void)kube_state_pods(session.state, &count);
        assert_int_equal(count, 1); /* the own one */
        assert_false(state_fixture_is_complete(&session));
        assert_non_null(strstr(kube_state_problem(session.state), "owners of pods: LIST "));
        assert_true(io_count_lines(shared, "labelSelector=app%3Ddb%2Cstatefulset.kubernetes.io%2F"
                                           "pod-name%20in%20%28db-1%2Cdb-2%2Cdb-3%29&") > 0);

        shared->stage = forms[i];
        assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 5000));
        const struct kube_pod *pods = kube_state_pods(session.state, &count);
        assert_int_equal(count, 4);
        assert_string_equal(pods[2].controller.uid, "set-1");
        assert_string_equal(pods[3].controller.uid, "");
        assert_string_equal(kube_state_problem(session.state), "");
        state_fixture_close(&session);
    }
}

static void test_a_stranger_is_asked_for_ever_more_seldom(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "", LARGE);
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    (void)loop_run_for(session.loop, 4000);
    const struct io_shared *shared = session.script.shared;
    int asked = io_count_lines(shared, "pod-name%20in%20%28db-3%29&");
    if (asked < 1 || asked > 3)
        fail_msg("asked for db-3 %d times in 4 s", asked);
    assert_int_equal(io_count_lines(shared, "resourceVersion=0"), asked + 1);
    state_fixture_close(&session);
}

static void test_without_slices_every_agent_watches_the_pods(void **state)
{
    (void)state;
    struct state_fixture session;
    size_t count;
    state_fixture_open(&session, "", LARGE | NO_SLICES);
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    (void)kube_state_pods(session.state, &count);
    assert_int_equal(count, 3);
    assert_true(io_count_lines(session.script.shared, "labelSelector=app%3Ddb&") > 0);
    state_fixture_close(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_a_large_set_only_the_leader_watches_the_pods),
        cmocka_unit_test(test_an_endpoint_counts_once_its_owner_is_known),
        cmocka_unit_test(test_a_stranger_is_asked_for_ever_more_seldom),
        cmocka_unit_test(test_without_slices_every_agent_watches_the_pods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
