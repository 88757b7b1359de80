/* SPDX-License-Identifier: Apache-2.0 */
/* The Lease's and the Events' clients against a scripted API server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "io/clock.h"
#include "io/event_client.h"
#include "io/lease_client.h"
#include "unit/io_script.h"

/* The one object of the server, in memory shared by its connections. */
#define BODY_OFFSET (IO_LINES_MAX - 4)

struct session {
    struct loop *loop;
    struct io_script script;
    struct kube_client *client;
    struct lease_client *leases[2];
    int changes[2];
    int released;
    int sent; /* events wanted */
};

static void on_change_0(void *ctx)
{
    struct session *session = ctx;
    session->changes[0]++;
}

static void on_change_1(void *ctx)
{
    struct session *session = ctx;
    session->changes[1]++;
}

/*
 * A Lease with compare-and-swap. stage: the version; 0 = absent. lines[BODY_OFFSET] holds the body
 * as it was written, without its resourceVersion.
 */
static void serve_lease(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    static char body[4096];
    static char answer[8192];
    for (int at; (at = io_http_read(fd, shared, body, sizeof body)) >= 0;) {
        char *stored = shared->lines[BODY_OFFSET];
        const char *line = shared->lines[at];
        bool get = strncmp(line, "GET", 3) == 0, create = strncmp(line, "POST", 4) == 0;
        char version[48];
        text_format(version, sizeof version, "\"resourceVersion\":\"%d\"", (int)shared->stage);
        if ((get || !create) && shared->stage == 0) {
            io_http_answer(fd, 404, "", "{\"kind\":\"Status\",\"code\":404}");
            continue;
        }
        if ((create && shared->stage) || (!get && !create && !strstr(body, version))) {
            io_http_answer(fd, 409, "", "{\"kind\":\"Status\",\"code\":409}");
            continue;
        }
        if (!get) {
            shared->stage = shared->stage + 1;
            const char *spec = strstr(body, "\"spec\":");
            text_format(stored, IO_LINE_SIZE, "%s", spec ? spec : "\"spec\":{}}");
        }
        text_format(answer, sizeof answer,
                    "{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\",\"metadata\":{"
                    "\"name\":\"db-muster\",\"namespace\":\"ns\",\"uid\":\"l\","
                    "\"resourceVersion\":\"%d\"},%s",
                    (int)shared->stage, stored);
        io_http_answer(fd, create ? 201 : 200, "", answer);
    }
}

static void session_open(struct session *session, io_serve_fn serve)
{
    *session = (struct session){.loop = loop_new(NULL)};
    io_script_start(&session->script, serve);
    char url[64];
    text_format(url, sizeof url, "http://127.0.0.1:%u", session->script.port);
    struct kube_client_config config = {.api_server = url, .ns = "ns"};
    session->client = kube_client_new(session->loop, &config, NULL);
    assert_non_null(session->client);
}

static void session_close(struct session *session)
{
    lease_client_free(session->leases[0]);
    lease_client_free(session->leases[1]);
    kube_client_free(session->client);
    loop_free(session->loop);
    io_script_stop(&session->script);
}

static void compete(struct session *session, int who)
{
    struct lease_client_config config = {.pod_name = who ? "db-1" : "db-0",
                                         .duration_s = 3,
                                         .seed = (uint64_t)who + 1,
                                         .on_change = who ? on_change_1 : on_change_0,
                                         .ctx = session};
    session->leases[who] = lease_client_new(session->loop, session->client, &config);
    lease_client_follow(session->leases[who], "db-muster");
}

static bool leads_0(void *ctx)
{
    const struct session *session = ctx;
    return lease_client_may_act(session->leases[0]);
}

static bool leads_1(void *ctx)
{
    const struct session *session = ctx;
    return lease_client_may_act(session->leases[1]);
}

static bool knows_holder_1(void *ctx)
{
    const struct session *session = ctx;
    return strcmp(lease_client_holder(session->leases[1]), "db-0") == 0;
}

static void on_released(void *ctx)
{
    struct session *session = ctx;
    session->released++;
}

static bool is_released(void *ctx)
{
    const struct session *session = ctx;
    return session->released > 0;
}

static void test_one_leads_keeps_leading_and_hands_over(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_lease);
    compete(&session, 0);
    assert_false(lease_client_may_act(session.leases[0]));
    assert_string_equal(lease_client_holder(session.leases[0]), "");
    assert_true(io_run_until(session.loop, leads_0, &session, 2000));
    assert_int_equal(session.changes[0], 1);
    const char *stored = session.script.shared->lines[BODY_OFFSET];
    assert_non_null(strstr(stored, "\"holderIdentity\":\"db-0\""));
    assert_non_null(strstr(stored, "\"leaseDurationSeconds\":3"));
    assert_non_null(strstr(stored, "\"acquireTime\":\"20"));

    compete(&session, 1);
    assert_true(io_run_until(session.loop, knows_holder_1, &session, 2000));
    int64_t end_ms = clock_mono_ms() + 2500; /* longer than the fence lasts without a renewal */
    while (clock_mono_ms() < end_ms) {
        (void)loop_run_for(session.loop, 20);
        assert_true(lease_client_may_act(session.leases[0]));
        assert_false(lease_client_may_act(session.leases[1]));
    }
    assert_int_equal(session.changes[0], 1);
    assert_int_equal(io_count_lines(session.script.shared, "POST "), 1);

    lease_client_release(session.leases[0], on_released, &session);
    assert_false(lease_client_may_act(session.leases[0])); /* at once, whatever the API answers */
    assert_true(io_run_until(session.loop, is_released, &session, 2500));
    assert_true(io_run_until(session.loop, leads_1, &session, 3000));
    assert_int_equal(session.released, 1);
    session_close(&session);
}

static void serve_nothing(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    while (io_http_read(fd, shared, NULL, 0) >= 0)
        io_http_answer(fd, 500, "", "");
}

/* FAULTS A14: the holder whose API is gone stops by its own clock. */
static void test_a_leader_without_the_api_stops_acting(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_lease);
    compete(&session, 0);
    assert_true(io_run_until(session.loop, leads_0, &session, 2000));
    io_script_stop(&session.script);
    int64_t gone_ms = clock_mono_ms();
    while (lease_client_may_act(session.leases[0]) && clock_mono_ms() < gone_ms + 5000)
        (void)loop_run_for(session.loop, 20);
    assert_in_range(clock_mono_ms() - gone_ms, 800, 2100); /* two thirds of 3 s after the renewal */
    (void)loop_run_for(session.loop, 1200);
    /* Told, though nothing answered: no longer allowed, and then no longer the holder. */
    assert_in_range(session.changes[0], 2, 3);
    io_script_start(&session.script, serve_nothing);
    session_close(&session);
}

static void test_a_release_does_not_wait_for_a_silent_api(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_nothing);
    compete(&session, 0);
    (void)loop_run_for(session.loop, 50);
    lease_client_release(session.leases[0], on_released, &session);
    assert_true(io_run_until(session.loop, is_released, &session, 2300));
    session_close(&session);
}

/* ---- Events ---- */

static bool has_sent(void *ctx)
{
    const struct session *session = ctx;
    return session->script.shared->requests >= session->sent;
}

static void serve_events(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    while (io_http_read(fd, shared, shared->lines[BODY_OFFSET], IO_LINE_SIZE) >= 0)
        io_http_answer(fd, shared->stage ? 403 : 201, "", "{}");
}

static void test_events_are_sent_slowly_about_the_set(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_events);
    struct event_client *events = event_client_new(session.loop, session.client, "db-0");
    for (int i = 0; i < EVENT_QUEUE_MAX + 5; i++)
        event_client_post(events, false, "ClusterFormed", "the cluster has 3 shards");
    (void)loop_run_for(session.loop, 100);
    assert_int_equal(session.script.shared->requests, 0); /* about what? */
    event_client_about(events, "db", "set-1");
    session.sent = 3;
    int64_t start_ms = clock_mono_ms();
    assert_true(io_run_until(session.loop, has_sent, &session, 2000));
    assert_true(clock_mono_ms() - start_ms >= 2 * EVENT_PERIOD_MS - 20);
    const char *body = session.script.shared->lines[BODY_OFFSET];
    assert_non_null(strstr(body, "\"reason\":\"ClusterFormed\""));
    assert_non_null(strstr(body, "\"kind\":\"StatefulSet\""));
    assert_non_null(strstr(body, "\"uid\":\"set-1\""));
    assert_string_equal(session.script.shared->lines[0],
                        "POST /api/v1/namespaces/ns/events HTTP/1.1");
    event_client_free(events);
    session_close(&session);
}

static void test_without_the_right_events_are_given_up(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_events);
    session.script.shared->stage = 1;
    struct event_client *events = event_client_new(session.loop, session.client, "db-0");
    event_client_about(events, "db", "set-1");
    for (int i = 0; i < 5; i++)
        event_client_post(events, true, "Something", "happened");
    (void)loop_run_for(session.loop, 800);
    event_client_post(events, true, "Something", "else");
    (void)loop_run_for(session.loop, 300);
    assert_int_equal(session.script.shared->requests, 1);
    event_client_free(events);
    session_close(&session);
}

static void test_who_ends_finishes_what_was_posted(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_events);
    struct event_client *events = event_client_new(session.loop, session.client, "db-0");
    event_client_finish(events, on_released, &session);
    assert_int_equal(session.released, 1); /* nothing was posted */
    session.released = 0;
    event_client_about(events, "db", "set-1");
    for (int i = 0; i < 3; i++)
        event_client_post(events, false, "PrimaryHandedOver", "db-0 handed its slots over");
    event_client_finish(events, on_released, &session);
    event_client_finish(events, on_released, &session);
    assert_int_equal(session.released, 0);
    assert_true(io_run_until(session.loop, is_released, &session, EVENT_FINISH_MS));
    assert_int_equal(session.script.shared->requests, 3);
    event_client_free(events);
    session_close(&session);
}

static void serve_silence(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    while (io_http_read(fd, shared, NULL, 0) >= 0)
        continue;
}

static void test_who_ends_does_not_wait_for_a_silent_api(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_silence);
    struct event_client *events = event_client_new(session.loop, session.client, "db-0");
    event_client_about(events, "db", "set-1");
    event_client_post(events, false, "PrimaryHandedOver", "db-0 handed its slots over");
    int64_t start_ms = clock_mono_ms();
    event_client_finish(events, on_released, &session);
    assert_true(io_run_until(session.loop, is_released, &session, EVENT_FINISH_MS + 1000));
    assert_true(clock_mono_ms() - start_ms >= EVENT_FINISH_MS - 20);
    event_client_free(events);
    session_close(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_leads_keeps_leading_and_hands_over),
        cmocka_unit_test(test_a_leader_without_the_api_stops_acting),
        cmocka_unit_test(test_a_release_does_not_wait_for_a_silent_api),
        cmocka_unit_test(test_events_are_sent_slowly_about_the_set),
        cmocka_unit_test(test_without_the_right_events_are_given_up),
        cmocka_unit_test(test_who_ends_finishes_what_was_posted),
        cmocka_unit_test(test_who_ends_does_not_wait_for_a_silent_api),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
