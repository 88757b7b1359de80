/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "unit/state_fixture.h"

static bool has_node_zone(void *ctx)
{
    const struct state_fixture *session = ctx;
    return strcmp(state_fixture_zone(session, "db-2"), session->wanted_zone) == 0;
}

static void expect_zone(struct state_fixture *session, const char *zone)
{
    session->wanted_zone = zone;
    if (!io_run_until(session->loop, has_node_zone, session, 3000))
        fail_msg("the zone of db-2 is '%s', not '%s'", state_fixture_zone(session, "db-2"), zone);
}

static void test_everything_is_found_from_the_own_pod(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "", 0);
    assert_string_equal(kube_state_set_name(session.state), "");
    assert_null(kube_state_set(session.state));
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    assert_true(session.changes > 0);
    const struct kube_stateful_set *set = kube_state_set(session.state);
    assert_non_null(set);
    assert_string_equal(kube_state_set_name(session.state), "db");
    assert_string_equal(set->meta.uid, "set-1");
    assert_int_equal(set->replicas, 3);
    size_t count;
    const struct kube_pod *pods = kube_state_pods(session.state, &count);
    assert_int_equal(count, 3);
    assert_string_equal(pods[2].meta.name, "db-2");
    assert_string_equal(pods[2].ip, "10.0.0.3");

    const struct record *record;
    assert_int_equal(kube_state_record(session.state, &record), PRESENCE_PRESENT);
    assert_non_null(record);
    assert_int_equal(record->generation, 4);
    assert_int_equal(record->member_count, 1);
    assert_string_equal(kube_state_record_version(session.state), "7");
    assert_string_equal(kube_state_problem(session.state), "");

    /* By the label, by the endpoint, by the node. */
    expect_zone(&session, "node-zone");
    assert_string_equal(state_fixture_zone(&session, "db-0"), "label-zone");
    assert_string_equal(state_fixture_zone(&session, "db-1"), "slice-zone");
    const struct io_shared *shared = session.script.shared;
    assert_true(io_run_until(session.loop, state_fixture_has_four_watches, &session, 2000));
    assert_int_equal(io_count_lines(shared, "labelSelector=app%3Ddb&"), 2); /* list and watch */
    assert_int_equal(io_count_lines(shared, "fieldSelector=metadata.name%3Ddb&"), 2);
    assert_int_equal(io_count_lines(shared, "fieldSelector=metadata.name%3Ddb-muster&"), 2);
    assert_int_equal(io_count_lines(shared, "kubernetes.io%2Fservice-name%3Ddb-all&"), 2);
    assert_int_equal(io_count_lines(shared, "/nodes/"), 1); /* only where it was needed */
    state_fixture_close(&session);
}

static void test_a_configured_name_needs_no_own_pod(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "db", ORPHAN);
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    assert_int_equal(io_count_lines(session.script.shared, "/pods/db-0"), 0);
    state_fixture_close(&session);
}

static void test_a_pod_without_a_set_says_so(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "", ORPHAN);
    (void)loop_run_for(session.loop, 700);
    assert_string_equal(kube_state_set_name(session.state), "");
    assert_non_null(strstr(kube_state_problem(session.state), "not by a StatefulSet"));
    session.script.shared->stage = 0; /* and goes on looking */
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 5000));
    state_fixture_close(&session);
}

/* FAULTS A11: neither right is necessary. */
static void test_without_the_rights_zones_stay_unknown(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "", NO_SLICES | NO_NODES);
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    (void)loop_run_for(session.loop, 500);
    assert_string_equal(state_fixture_zone(&session, "db-0"), "label-zone");
    assert_string_equal(state_fixture_zone(&session, "db-1"), "");
    assert_string_equal(state_fixture_zone(&session, "db-2"), "");
    assert_string_equal(kube_state_problem(session.state), "");
    assert_int_equal(io_count_lines(session.script.shared, "/nodes/"), 1); /* once and for all */
    state_fixture_close(&session);
}

static bool record_is_absent(void *ctx)
{
    const struct state_fixture *session = ctx;
    const struct record *record;
    return kube_state_record(session->state, &record) == PRESENCE_ABSENT && !record;
}

static void test_a_deleted_record_leaves_a_copy(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "", 0);
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    (void)loop_run_for(session.loop, 200);
    session.script.shared->stage = NO_RECORD;
    assert_true(io_run_until(session.loop, record_is_absent, &session, 3000));
    assert_string_equal(kube_state_record_version(session.state), ""); /* to be created */
    assert_non_null(kube_state_record_copy(session.state));
    assert_int_equal(kube_state_record_copy(session.state)->generation, 4);

    struct record written = *kube_state_record_copy(session.state);
    written.generation = 5;
    written.members = NULL;
    written.member_count = 0;
    kube_state_record_written(session.state, &written, "99");
    const struct record *record;
    assert_int_equal(kube_state_record(session.state, &record), PRESENCE_PRESENT);
    assert_int_equal(record->generation, 5);
    assert_string_equal(kube_state_record_version(session.state), "99");
    state_fixture_close(&session);
}

static void test_absent_and_unreadable_records_are_told_apart(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "", NO_RECORD);
    const struct record *record;
    assert_int_equal(kube_state_record(session.state, &record), PRESENCE_UNKNOWN);
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    assert_true(record_is_absent(&session));
    assert_null(kube_state_record_copy(session.state));
    state_fixture_close(&session);

    state_fixture_open(&session, "", BAD_RECORD);
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    assert_int_equal(kube_state_record(session.state, &record), PRESENCE_PRESENT);
    assert_null(record);
    assert_string_equal(kube_state_record_version(session.state), "7");
    assert_true(strlen(kube_state_problem(session.state)) > 0);
    state_fixture_close(&session);
}

static bool has_second_pods(void *ctx)
{
    const struct state_fixture *session = ctx;
    const struct kube_pod *pod = kube_state_find_pod(session->state, "db-1");
    return pod && strcmp(pod->controller.uid, "set-2") == 0;
}

static void test_a_set_that_was_created_again_has_its_pods_read_anew(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "", 0);
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    (void)loop_run_for(session.loop, 200);
    session.script.shared->stage = REBORN;
    assert_true(io_run_until(session.loop, has_second_pods, &session, 3000));
    assert_string_equal(kube_state_set(session.state)->meta.uid, "set-2");
    state_fixture_close(&session);
}

static bool follows_other(void *ctx)
{
    const struct state_fixture *session = ctx;
    return strcmp(kube_state_set_name(session->state), "other") == 0;
}

static void test_the_own_pod_leads_to_another_set(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "", OTHER);
    assert_true(io_run_until(session.loop, follows_other, &session, 3000));
    assert_null(kube_state_set(session.state)); /* the API has none of that name */
    state_fixture_close(&session);
}

static bool set_is_absent(void *ctx)
{
    const struct state_fixture *session = ctx;
    return kube_state_set_absent(session->state);
}

static void test_a_deleted_set_leaves_what_it_was(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "", 0);
    assert_false(kube_state_set_absent(session.state)); /* nothing was told yet */
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    assert_true(io_run_until(session.loop, state_fixture_has_four_watches, &session, 2000));
    assert_false(kube_state_set_absent(session.state));
    session.script.shared->stage = GONE;
    assert_true(io_run_until(session.loop, set_is_absent, &session, 3000));
    assert_string_equal(kube_state_set(session.state)->meta.uid, "set-1");
    assert_string_equal(kube_state_set_name(session.state), "db");
    size_t count;
    (void)kube_state_pods(session.state, &count);
    assert_int_equal(count, 3);
    state_fixture_close(&session);
}

static void test_an_api_that_is_gone_keeps_what_was_known(void **state)
{
    (void)state;
    struct state_fixture session;
    state_fixture_open(&session, "", 0);
    assert_true(io_run_until(session.loop, state_fixture_is_complete, &session, 3000));
    (void)loop_run_for(session.loop, 100);
    io_script_stop(&session.script);
    int64_t seen_ms = kube_state_seen_ms(session.state);
    (void)loop_run_for(session.loop, 700);
    size_t count;
    (void)kube_state_pods(session.state, &count);
    assert_int_equal(count, 3);
    assert_int_equal(kube_state_seen_ms(session.state), seen_ms); /* and its age shows */
    assert_true(strlen(kube_state_problem(session.state)) > 0);
    io_script_start(&session.script, state_fixture_serve);
    state_fixture_close(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_is_found_from_the_own_pod),
        cmocka_unit_test(test_a_configured_name_needs_no_own_pod),
        cmocka_unit_test(test_a_pod_without_a_set_says_so),
        cmocka_unit_test(test_without_the_rights_zones_stay_unknown),
        cmocka_unit_test(test_a_deleted_record_leaves_a_copy),
        cmocka_unit_test(test_absent_and_unreadable_records_are_told_apart),
        cmocka_unit_test(test_a_set_that_was_created_again_has_its_pods_read_anew),
        cmocka_unit_test(test_the_own_pod_leads_to_another_set),
        cmocka_unit_test(test_a_deleted_set_leaves_what_it_was),
        cmocka_unit_test(test_an_api_that_is_gone_keeps_what_was_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
