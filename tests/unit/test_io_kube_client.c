/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "io/clock.h"
#include "io/kube_client.h"
#include "unit/io_script.h"

struct session {
    struct loop *loop;
    struct io_script script;
    struct kube_client *client;
    char token_file[40];
    int done;
    int status;
    int64_t retry_after_ms;
    struct err err;
    char body[256];
};

static void session_on_done(void *ctx, const struct kube_answer *answer)
{
    struct session *session = ctx;
    session->done++;
    session->status = answer->status;
    session->retry_after_ms = answer->retry_after_ms;
    session->err = answer->err;
    text_format(session->body, sizeof session->body, "%.*s", (int)answer->body.len,
                answer->body.ptr);
}

static bool session_is_done(void *ctx)
{
    const struct session *session = ctx;
    return session->done > 0;
}

static void write_file(const char *path, const char *text)
{
    auto_close int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* "/status/<code>" answers with that status; "/token" with 200 for the token "new", else 401. */
static void serve_statuses(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        const char *code = strstr(shared->lines[at], "/status/");
        uint64_t status = 200;
        if (code)
            (void)text_to_u64((struct span){code + 8, 3}, 999, &status);
        else if (strcmp(shared->bearers[at], "new") != 0)
            status = 401;
        char body[256];
        text_format(body, sizeof body,
                    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\","
                    "\"message\":\"because\",\"reason\":\"Some\",\"code\":%d,"
                    "\"details\":{\"retryAfterSeconds\":3}}",
                    (int)status);
        io_http_answer(fd, (int)status, "", status == 200 ? "{}" : body);
    }
}

#define SOME_UNIX_MS INT64_C(1577836800000) /* 2020: nobody's clock */

/* The time of an answer's Date; that of "/late" is a minute later, of "/same" a second. */
static void serve_dates(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        const char *line = shared->lines[at];
        io_http_answer(fd, 200,
                       strstr(line, "/none")   ? ""
                       : strstr(line, "/late") ? "Date: Wed, 01 Jan 2020 00:01:00 GMT\r\n"
                       : strstr(line, "/same") ? "Date: Wed, 01 Jan 2020 00:00:01 GMT\r\n"
                                               : "date: Wed, 01 Jan 2020 00:00:00 GMT\r\n",
                       "{}");
    }
}

static void session_open(struct session *session, io_serve_fn serve)
{
    *session =
        (struct session){.loop = loop_new(NULL), .token_file = "/tmp/muster-io-token-XXXXXX"};
    auto_close int fd = mkstemp(session->token_file);
    assert_true(fd >= 0);
    io_script_start(&session->script, serve);
    char url[64];
    text_format(url, sizeof url, "http://127.0.0.1:%u", session->script.port);
    struct kube_client_config config = {
        .api_server = url, .token_file = session->token_file, .ns = "ns"};
    struct err err = {0};
    session->client = kube_client_new(session->loop, &config, &err);
    assert_non_null(session->client);
}

static void session_close(struct session *session)
{
    assert_int_equal(io_count_threads(), 1);
    kube_client_free(session->client);
    loop_free(session->loop);
    io_script_stop(&session->script);
    (void)unlink(session->token_file);
}

static void ask(struct session *session, enum kube_verb verb, const char *path)
{
    struct kube_call call = {
        .verb = verb, .path = path, .on_done = session_on_done, .ctx = session};
    struct err err = {0};
    session->done = 0;
    assert_non_null(kube_start(session->client, &call, &err));
    assert_int_equal(session->done, 0);
    assert_true(io_run_until(session->loop, session_is_done, session, 3000));
}

static void test_statuses_become_codes_with_the_servers_message(void **state)
{
    (void)state;
    static const struct {
        int status;
        int code;
    } table[] = {{200, E_OK},        {400, E_PROTO},       {401, E_AUTH},        {403, E_AUTH},
                 {404, E_NOT_FOUND}, {409, E_CONFLICT},    {410, E_GONE},        {429, E_BUSY},
                 {422, E_PROTO},     {500, E_UNREACHABLE}, {503, E_UNREACHABLE}, {302, E_PROTO}};
    struct session session;
    session_open(&session, serve_statuses);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char path[32], expected[64];
        text_format(path, sizeof path, "/status/%d?limit=1", table[i].status);
        ask(&session, KUBE_GET, path);
        assert_int_equal(session.status, table[i].status);
        assert_int_equal(session.err.code, table[i].code);
        text_format(expected, sizeof expected, "GET /status/%d: HTTP %d: because", table[i].status,
                    table[i].status);
        assert_string_equal(session.err.msg, table[i].code == E_OK ? "" : expected);
        assert_int_equal(session.retry_after_ms, table[i].code == E_OK ? 0 : 3000);
    }
    session.script.port = 0;
    session_close(&session);
}

static uint64_t count_of(const struct session *session, enum kube_verb verb, int code)
{
    size_t count;
    const struct kube_counter *counters = kube_client_counters(session->client, &count);
    for (size_t i = 0; i < count; i++)
        if (counters[i].verb == verb && counters[i].code == code)
            return counters[i].count;
    return 0;
}

static void test_requests_are_counted_by_verb_and_status(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_statuses);
    ask(&session, KUBE_GET, "/status/200");
    ask(&session, KUBE_GET, "/status/200");
    ask(&session, KUBE_LIST, "/status/200");
    ask(&session, KUBE_PUT, "/status/409");
    assert_int_equal(count_of(&session, KUBE_GET, 200), 2);
    assert_int_equal(count_of(&session, KUBE_LIST, 200), 1);
    assert_int_equal(count_of(&session, KUBE_PUT, 409), 1);
    /* Statuses that a server invents do not make the table grow. */
    for (int code = 100; code < 300; code++) {
        char path[32];
        text_format(path, sizeof path, "/status/%d", code + 300);
        ask(&session, KUBE_GET, path);
    }
    size_t count;
    (void)kube_client_counters(session.client, &count);
    assert_int_equal(count, KUBE_COUNTERS_MAX);
    assert_string_equal(session.script.shared->lines[2], "GET /status/200 HTTP/1.1"); /* the list */
    session_close(&session);
}

/* FAULTS A9, A10: the kubelet replaces the file; in between it may be missing or empty. */
static void test_a_rotated_token_is_read_and_a_lost_one_kept(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_statuses);
    write_file(session.token_file, "old\n");
    ask(&session, KUBE_GET, "/token");
    assert_int_equal(session.status, 401);
    write_file(session.token_file, "new\n");
    ask(&session, KUBE_GET, "/token"); /* at once, because of the 401 */
    assert_int_equal(session.status, 200);
    write_file(session.token_file, "");
    (void)loop_run_for(session.loop, 1100);
    ask(&session, KUBE_GET, "/token");
    assert_int_equal(session.status, 200);
    (void)unlink(session.token_file);
    (void)loop_run_for(session.loop, 1100);
    ask(&session, KUBE_GET, "/token");
    assert_int_equal(session.status, 200);
    session_close(&session);
}

static void test_only_literal_addresses_are_servers(void **state)
{
    (void)state;
    static const char *const wrong[] = {"https://kubernetes.default.svc",
                                        "http://10.0.0.1:80",
                                        "https://10.0.0.1:0",
                                        "https://10.0.0.1:65536",
                                        "https://10.0.0.1:44x",
                                        "10.0.0.1:443",
                                        "ftp://127.0.0.1",
                                        "https://[::1",
                                        "https://[::1]x",
                                        "https://",
                                        "https://10.0.0.1/path",
                                        "http://localhost:80",
                                        "https://user@10.0.0.1"};
    static const char *const right[] = {"https://10.0.0.1", "https://10.0.0.1:6443",
                                        "https://[fd00::1]:6443", "http://127.0.0.1:8001",
                                        "http://[::1]:8001"};
    struct loop *loop = loop_new(NULL);
    struct kube_client_config config = {.ns = "ns"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct err err = {0};
        config.api_server = wrong[i];
        struct kube_client *client = kube_client_new(loop, &config, &err);
        if (client)
            fail_msg("%s was taken", wrong[i]);
        assert_int_equal(err.code, E_INVALID);
    }
    for (size_t i = 0; i < ARRAY_LEN(right); i++) {
        struct err err = {0};
        config.api_server = right[i];
        struct kube_client *client = kube_client_new(loop, &config, &err);
        if (!client)
            fail_msg("%s: %s", right[i], err.msg);
        kube_client_free(client);
    }
    config.api_server = right[0];
    config.ns = "Not A Label";
    assert_null(kube_client_new(loop, &config, NULL));
    loop_free(loop);
}

static void test_paths_are_built_and_escaped(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_statuses);
    auto_buf struct buf path;
    buf_init(&path, 1000);
    kube_path(session.client, &path, "", "pods", NULL);
    assert_string_equal(buf_str(&path), "/api/v1/namespaces/ns/pods");
    kube_path_query(&path, "labelSelector", "app=a b,c in (d)/é");
    kube_path_query(&path, "limit", "100");
    assert_string_equal(buf_str(&path),
                        "/api/v1/namespaces/ns/pods?labelSelector=app%3Da%20b%2Cc%20in%20%28d%29"
                        "%2F%C3%A9&limit=100");
    kube_path(session.client, &path, "apps/v1", "statefulsets", "db");
    assert_string_equal(buf_str(&path), "/apis/apps/v1/namespaces/ns/statefulsets/db");
    session_close(&session);
}

static void assert_near(int64_t a, int64_t b)
{
    assert_true(a - b < 20000 && b - a < 20000); /* a busy machine */
}

/* One clock for all agents: each machine's own may be wrong. */
static void test_the_time_is_the_apis(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_dates);
    ask(&session, KUBE_GET, "/none");
    assert_near(kube_client_unix_ms(session.client), clock_unix_ms());
    ask(&session, KUBE_GET, "/date");
    int64_t asked_ms = clock_mono_ms();
    int64_t then_ms = kube_client_unix_ms(session.client);
    assert_near(then_ms, SOME_UNIX_MS);
    ask(&session, KUBE_GET, "/same"); /* whole seconds: it does not jump back and forth */
    ask(&session, KUBE_GET, "/none");
    int64_t now_ms = kube_client_unix_ms(session.client);
    int64_t passed_ms = clock_mono_ms() - asked_ms;
    if (passed_ms < 900)
        assert_true(now_ms - then_ms <= passed_ms);
    ask(&session, KUBE_GET, "/late");
    assert_near(kube_client_unix_ms(session.client), SOME_UNIX_MS + 60000);
    session_close(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_time_is_the_apis),
        cmocka_unit_test(test_statuses_become_codes_with_the_servers_message),
        cmocka_unit_test(test_requests_are_counted_by_verb_and_status),
        cmocka_unit_test(test_a_rotated_token_is_read_and_a_lost_one_kept),
        cmocka_unit_test(test_only_literal_addresses_are_servers),
        cmocka_unit_test(test_paths_are_built_and_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
