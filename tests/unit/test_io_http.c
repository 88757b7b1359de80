/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "io/clock.h"
#include "io/http_client.h"
#include "unit/io_script.h"

struct session {
    struct loop *loop;
    struct http_client *client;
    struct io_script script;
    struct http_request *request;
    int done;
    int status;
    int code;
    int64_t retry_after_ms;
    char msg[ERR_MSG_SIZE];
    struct buf body;   /* of the answer */
    struct buf stream; /* of on_data */
    int opened;        /* on_data without bytes */
    size_t stop_after; /* on_data refuses more than this */
    bool cancel_in_data;
    bool cancel_in_done;
};

static void session_on_done(void *ctx, const struct http_response *response)
{
    struct session *session = ctx;
    session->done++;
    session->status = response->status;
    session->code = response->err.code;
    session->retry_after_ms = response->retry_after_ms;
    memcpy(session->msg, response->err.msg, sizeof session->msg);
    buf_clear(&session->body);
    assert_int_equal(buf_append(&session->body, response->body.ptr, response->body.len), 0);
    if (session->cancel_in_done)
        http_cancel(session->request);
    session->request = NULL;
}

static bool session_on_data(void *ctx, struct span bytes)
{
    struct session *session = ctx;
    session->opened += bytes.len == 0;
    (void)buf_append(&session->stream, bytes.ptr, bytes.len);
    if (session->cancel_in_data && bytes.len) {
        http_cancel(session->request);
        session->request = NULL;
    }
    return session->stream.len <= session->stop_after;
}

static bool session_is_done(void *ctx)
{
    const struct session *session = ctx;
    return session->done > 0;
}

static void session_open(struct session *session, io_serve_fn serve)
{
    *session = (struct session){.loop = loop_new(NULL), .stop_after = MIB(1)};
    session->client = http_client_new(session->loop, NULL);
    assert_non_null(session->client);
    buf_init(&session->body, MIB(1));
    buf_init(&session->stream, MIB(1));
    io_script_start(&session->script, serve);
}

static void session_close(struct session *session)
{
    assert_int_equal(io_count_threads(), 1); /* nothing was resolved by a thread */
    http_client_free(session->client);
    loop_free(session->loop);
    buf_deinit(&session->body);
    buf_deinit(&session->stream);
    io_script_stop(&session->script);
}

static struct http_call call_of(struct session *session, const char *method)
{
    return (struct http_call){.method = method,
                              .plain = true,
                              .body_max = 1000,
                              .timeout_ms = 1500,
                              .on_done = session_on_done,
                              .ctx = session};
}

static void start(struct session *session, struct http_call *call, const char *path)
{
    char url[256];
    struct err err = {0};
    text_format(url, sizeof url, "http://127.0.0.1:%u%s", session->script.port, path);
    call->url = url;
    session->done = 0;
    session->request = http_start(session->client, call, &err);
    assert_non_null(session->request);
    assert_int_equal(session->done, 0);
}

static void get(struct session *session, const char *path)
{
    struct http_call call = call_of(session, "GET");
    start(session, &call, path);
    assert_true(io_run_until(session->loop, session_is_done, session, 4000));
}

static void serve_plain(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    char body[256] = "";
    for (int at; (at = io_http_read(fd, shared, body, sizeof body)) >= 0;) {
        const char *line = shared->lines[at];
        if (strstr(line, "/echo")) {
            io_http_answer(fd, 200, "", body);
        } else if (strstr(line, "/busy")) {
            io_http_answer(fd, 429, "Retry-After: 30\r\n", "slow down");
        } else if (strstr(line, "/far")) {
            io_http_answer(fd, 429, "Retry-After: 999999999\r\n", "");
        } else if (strstr(line, "/moved")) {
            io_http_answer(fd, 302, "Location: http://127.0.0.1:1/\r\n", "");
        } else if (strstr(line, "/large")) {
            io_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n");
            for (int i = 0; i < 1001; i++)
                io_send(fd, "x");
        } else if (strstr(line, "/cut")) {
            io_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it");
            return;
        } else if (strstr(line, "/silent")) {
            io_hold(fd);
        } else if (strstr(line, "/headers")) {
            io_send(fd, "HTTP/1.1 200 OK\r\n");
            for (int i = 0; i < 40000; i++)
                io_send(fd, "X-Header: 0123456789012345678901234567890123456789\r\n");
            io_hold(fd);
        } else {
            io_http_answer(fd, 200, "", "hello");
        }
    }
}

static void test_a_body_comes_whole_over_one_connection(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_plain);
    for (int i = 0; i < 3; i++) {
        get(&session, "/a");
        assert_int_equal(session.code, E_OK);
        assert_int_equal(session.status, 200);
        assert_string_equal(buf_str(&session.body), "hello");
    }
    struct http_call post = call_of(&session, "POST");
    post.body = span_of("{\"a\":1}");
    post.bearer = "the-token";
    start(&session, &post, "/echo");
    assert_true(io_run_until(session.loop, session_is_done, &session, 2000));
    assert_string_equal(buf_str(&session.body), "{\"a\":1}");
    assert_string_equal(session.script.shared->lines[3], "POST /echo HTTP/1.1");
    assert_string_equal(session.script.shared->bearers[3], "the-token");
    assert_string_equal(session.script.shared->bearers[2], "");
    assert_int_equal(session.script.shared->connections, 1);
    session_close(&session);
}

static void test_statuses_are_answers_and_redirects_are_not_followed(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_plain);
    get(&session, "/busy");
    assert_int_equal(session.code, E_OK);
    assert_int_equal(session.status, 429);
    assert_int_equal(session.retry_after_ms, 30000);
    assert_string_equal(buf_str(&session.body), "slow down");
    get(&session, "/far");
    assert_int_equal(session.retry_after_ms, 3600000); /* no server may silence us for long */
    get(&session, "/moved");
    assert_int_equal(session.status, 302);
    assert_int_equal(session.retry_after_ms, 0);
    session_close(&session);
}

static void test_what_goes_wrong_is_told_apart(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_plain);
    get(&session, "/large");
    assert_int_equal(session.code, E_LIMIT);
    assert_int_equal(session.status, 0);
    get(&session, "/cut");
    assert_int_equal(session.code, E_UNREACHABLE);
    assert_int_equal(session.status, 0); /* half an answer is none */
    int64_t start_ms = clock_mono_ms();
    get(&session, "/silent");
    assert_int_equal(session.code, E_TIMEOUT);
    assert_in_range(clock_mono_ms() - start_ms, 1400, 2500);
    get(&session, "/headers");
    assert_int_not_equal(session.code, E_OK);
    session.script.port = io_free_port();
    get(&session, "/");
    assert_int_equal(session.code, E_UNREACHABLE);
    assert_true(strlen(session.msg) > 0);
    session_close(&session);
}

static void test_http_without_tls_needs_leave(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_plain);
    struct http_call call = call_of(&session, "GET");
    call.plain = false;
    start(&session, &call, "/");
    assert_true(io_run_until(session.loop, session_is_done, &session, 2000));
    assert_int_equal(session.code, E_PROTO);
    assert_int_equal(session.script.shared->connections, 0);
    session_close(&session);
}

static void serve_watches(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        if (strstr(shared->lines[at], "/stream")) {
            io_http_open(fd);
            io_hold(fd);
            return;
        }
        io_http_answer(fd, 200, "", "hello");
    }
}

static bool session_opened_all(void *ctx)
{
    const struct session *session = ctx;
    return session->opened == 4;
}

/* As many as an agent watches: each has a connection, and one is kept for all other requests. */
static void test_one_connection_is_kept_beside_those_of_streams(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_watches);
    get(&session, "/a");
    struct http_call call = call_of(&session, "GET");
    call.timeout_ms = 0;
    call.on_data = session_on_data;
    call.fresh = call.in_turn = true;
    for (int i = 0; i < 4; i++)
        start(&session, &call, "/stream");
    assert_true(io_run_until(session.loop, session_opened_all, &session, 3000));
    for (int i = 0; i < 3; i++) {
        get(&session, "/b");
        assert_int_equal(session.status, 200);
    }
    assert_int_equal(session.script.shared->connections, 5);
    session_close(&session);
}

static void serve_stream(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    int at = io_http_read(fd, shared, NULL, 0);
    if (at < 0)
        return;
    if (strstr(shared->lines[at], "/refused")) {
        io_http_answer(fd, 403, "", "no");
        return;
    }
    io_http_open(fd);
    while (shared->stage < 1)
        (void)usleep(2000);
    io_http_chunk(fd, "one\n");
    io_http_chunk(fd, "two");
    while (shared->stage < 2)
        (void)usleep(2000);
    if (!strstr(shared->lines[at], "/cut"))
        io_http_chunk(fd, "");
}

static bool session_is_open(void *ctx)
{
    const struct session *session = ctx;
    return session->opened > 0;
}

static bool session_has_seven(void *ctx)
{
    const struct session *session = ctx;
    return session->stream.len >= 7;
}

static void stream(struct session *session, const char *path)
{
    struct http_call call = call_of(session, "GET");
    call.on_data = session_on_data;
    call.timeout_ms = 0;
    session->opened = 0;
    session->script.shared->stage = 0;
    buf_clear(&session->stream);
    start(session, &call, path);
}

static void test_a_stream_opens_before_its_first_byte(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_stream);
    stream(&session, "/");
    assert_true(io_run_until(session.loop, session_is_open, &session, 2000));
    assert_int_equal(session.stream.len, 0);
    session.script.shared->stage = 1;
    assert_true(io_run_until(session.loop, session_has_seven, &session, 2000));
    assert_string_equal(buf_str(&session.stream), "one\ntwo");
    assert_int_equal(session.done, 0);
    session.script.shared->stage = 2;
    assert_true(io_run_until(session.loop, session_is_done, &session, 2000));
    assert_int_equal(session.code, E_OK);
    assert_int_equal(session.status, 200);
    assert_int_equal(session.body.len, 0);
    assert_int_equal(session.opened, 1);

    stream(&session, "/cut");
    session.script.shared->stage = 2;
    assert_true(io_run_until(session.loop, session_is_done, &session, 2000));
    assert_int_equal(session.code, E_UNREACHABLE);

    stream(&session, "/refused"); /* its body is an answer, not data */
    assert_true(io_run_until(session.loop, session_is_done, &session, 2000));
    assert_int_equal(session.status, 403);
    assert_string_equal(buf_str(&session.body), "no");
    assert_int_equal(session.stream.len, 0);
    assert_int_equal(session.opened, 0);
    session_close(&session);
}

static void test_the_receiver_may_give_a_stream_up(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_stream);
    session.stop_after = 4;
    stream(&session, "/");
    session.script.shared->stage = 1;
    assert_true(io_run_until(session.loop, session_is_done, &session, 2000));
    assert_int_equal(session.code, E_PROTO);
    session_close(&session);
}

static void test_nothing_comes_after_a_cancel(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_stream);
    session.cancel_in_data = true;
    stream(&session, "/");
    session.script.shared->stage = 1;
    assert_true(io_run_until(session.loop, session_has_seven, &session, 300) ||
                session.stream.len >= 4);
    session.script.shared->stage = 2;
    (void)loop_run_for(session.loop, 200);
    assert_int_equal(session.done, 0);

    stream(&session, "/");
    http_cancel(session.request);
    http_cancel(session.request); /* twice is once */
    (void)loop_run_for(session.loop, 100);
    assert_int_equal(session.done, 0);
    assert_int_equal(session.stream.len, 0);

    session.cancel_in_data = false;
    session.cancel_in_done = true;
    stream(&session, "/refused");
    assert_true(io_run_until(session.loop, session_is_done, &session, 2000));
    (void)loop_run_for(session.loop, 50);
    assert_int_equal(session.done, 1);
    stream(&session, "/"); /* still open when the client is freed */
    session_close(&session);
}

static void test_requests_are_bounded(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_plain);
    struct http_call call = call_of(&session, "GET");
    struct err err = {0};
    for (int i = 0; i < HTTP_REQUESTS_MAX; i++)
        start(&session, &call, "/silent");
    char url[64];
    text_format(url, sizeof url, "http://127.0.0.1:%u/", session.script.port);
    call.url = url;
    assert_null(http_start(session.client, &call, &err));
    assert_int_equal(err.code, E_LIMIT);
    session_close(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_body_comes_whole_over_one_connection),
        cmocka_unit_test(test_statuses_are_answers_and_redirects_are_not_followed),
        cmocka_unit_test(test_what_goes_wrong_is_told_apart),
        cmocka_unit_test(test_http_without_tls_needs_leave),
        cmocka_unit_test(test_one_connection_is_kept_beside_those_of_streams),
        cmocka_unit_test(test_a_stream_opens_before_its_first_byte),
        cmocka_unit_test(test_the_receiver_may_give_a_stream_up),
        cmocka_unit_test(test_nothing_comes_after_a_cancel),
        cmocka_unit_test(test_requests_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
