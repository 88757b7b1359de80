/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "io/clock.h"
#include "io/endpoint.h"
#include "io/http_server.h"

/* Real sockets on loopback; the client's side never blocks, the loop runs between its steps. */

static int64_t later_ms;

static int64_t test_clock(void)
{
    return clock_mono_ms() + later_ms;
}

struct fixture {
    struct event_base *base;
    struct http_server *server;
    struct endpoint endpoint;
    char *answer; /* of the last request; owned */
    size_t answer_len;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    later_ms = 0;
    f->base = event_base_new();
    assert_non_null(f->base);
    assert_int_equal(event_base_priority_init(f->base, 5), 0);
    struct http_server_config config = {
        .base = f->base, .priority = 4, .address = "127.0.0.1", .now_ms = test_clock};
    struct err err;
    assert_int_equal(http_server_new(&config, &f->server, &err), 0);
    assert_true(endpoint_parse(span_of("127.0.0.1"), http_server_port(f->server), &f->endpoint));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    http_server_free(f->server);
    event_base_free(f->base);
    free(f->answer);
    free(f);
    return 0;
}

static void turn(struct fixture *f)
{
    const struct timeval soon = {.tv_usec = 2000};
    (void)event_base_loopexit(f->base, &soon);
    (void)event_base_loop(f->base, EVLOOP_ONCE);
}

static int dial(const struct fixture *f)
{
    int fd = socket(f->endpoint.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&f->endpoint.address, f->endpoint.len),
                     0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads to the end while the loop runs; false if the other side reset or said nothing in time. */
static bool drain(struct fixture *f, int fd)
{
    free(f->answer);
    f->answer = xcalloc(MIB(3), 1);
    f->answer_len = 0;
    int64_t until_ms = clock_mono_ms() + 4000;
    while (clock_mono_ms() < until_ms) {
        ssize_t n = recv(fd, f->answer + f->answer_len, MIB(3) - 1 - f->answer_len, 0);
        if (n == 0)
            return true;
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0)
            f->answer_len += (size_t)n;
        else
            turn(f);
    }
    return false;
}

static const char *ask(struct fixture *f, const char *request)
{
    auto_close int fd = dial(f);
    put(fd, request);
    assert_true(drain(f, fd));
    return f->answer;
}

static void assert_status(const char *answer, const char *status)
{
    char line[64];
    text_format(line, sizeof line, "HTTP/1.1 %s\r\n", status);
    if (strncmp(answer, line, strlen(line)) != 0)
        fail_msg("not %s but %.80s", status, answer);
}

static const char *body_of(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

/* ---- Pages ---- */

static void test_pages_are_served_as_published(void **state)
{
    static const struct {
        enum http_page page;
        const char *target, *type, *body;
    } pages[] = {
        {HTTP_PAGE_METRICS, "/metrics", "text/plain; version=0.0.4; charset=utf-8", "m 1\n"},
        {HTTP_PAGE_STATUS, "/status", "application/json", "{}"},
        {HTTP_PAGE_STATUS, "/status?pretty", "application/json", "{}"},
        {HTTP_PAGE_DIGEST, "/status?digest", "text/plain; charset=utf-8", "v=1\n"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        http_server_publish(f->server, pages[i].page, span_of(pages[i].body));
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        char text[128];
        text_format(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", pages[i].target);
        const char *answer = ask(f, text);
        assert_status(answer, "200 OK");
        text_format(text, sizeof text, "\r\nContent-Type: %s\r\n", pages[i].type);
        assert_non_null(strstr(answer, text));
        text_format(text, sizeof text, "\r\nContent-Length: %zu\r\n", strlen(pages[i].body));
        assert_non_null(strstr(answer, text));
        assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
        assert_string_equal(body_of(answer), pages[i].body);
    }
}

static void test_a_page_is_replaced(void **state)
{
    struct fixture *f = *state;
    static const char *const bodies[] = {"one", "two", "two", ""};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        http_server_publish(f->server, HTTP_PAGE_STATUS, span_of(bodies[i]));
        assert_string_equal(body_of(ask(f, "GET /status HTTP/1.1\r\n\r\n")), bodies[i]);
    }
}

static void test_before_the_first_turn_pages_are_unavailable(void **state)
{
    struct fixture *f = *state;
    static const char *const targets[] = {"/readyz", "/metrics", "/status", "/status?digest"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char text[64];
        text_format(text, sizeof text, "GET %s HTTP/1.1\r\n\r\n", targets[i]);
        const char *answer = ask(f, text);
        assert_status(answer, "503 Service Unavailable");
        assert_string_equal(body_of(answer), "not known yet\n");
    }
}

static void test_readiness_is_the_last_verdict(void **state)
{
    struct fixture *f = *state;
    http_server_publish_ready(f->server, false, span_of("loading\n"));
    const char *answer = ask(f, "GET /readyz HTTP/1.1\r\n\r\n");
    assert_status(answer, "503 Service Unavailable");
    assert_string_equal(body_of(answer), "loading\n");
    /* The same sentence with another verdict is another page. */
    http_server_publish_ready(f->server, true, span_of("loading\n"));
    assert_status(ask(f, "GET /readyz HTTP/1.1\r\n\r\n"), "200 OK");
}

static void test_liveness_is_the_age_of_the_last_turn(void **state)
{
    struct fixture *f = *state;
    assert_status(ask(f, "GET /livez HTTP/1.1\r\n\r\n"), "200 OK");
    later_ms = HTTP_LIVE_MS + 5000;
    const char *answer = ask(f, "GET /livez HTTP/1.1\r\n\r\n");
    assert_status(answer, "503 Service Unavailable");
    assert_non_null(strstr(answer, "no turn for 15"));
    http_server_turned(f->server);
    answer = ask(f, "GET /livez HTTP/1.1\r\n\r\n");
    assert_status(answer, "200 OK");
    assert_string_equal(body_of(answer), "ok\n");
}

static void test_head_has_the_length_and_no_body(void **state)
{
    struct fixture *f = *state;
    http_server_publish(f->server, HTTP_PAGE_METRICS, span_of("m 1\n"));
    const char *answer = ask(f, "HEAD /metrics HTTP/1.0\r\n\r\n");
    assert_status(answer, "200 OK");
    assert_non_null(strstr(answer, "\r\nContent-Length: 4\r\n"));
    assert_string_equal(body_of(answer), "");
}

/* More than a socket's buffer holds; and what is replaced meanwhile is not mixed in. */
static void test_a_large_page_arrives_whole(void **state)
{
    struct fixture *f = *state;
    size_t len = MIB(2);
    auto_free char *big = xcalloc(len, 1);
    for (size_t i = 0; i < len; i++)
        big[i] = (char)('a' + i % 23);
    http_server_publish(f->server, HTTP_PAGE_STATUS, (struct span){big, len});
    auto_close int fd = dial(f);
    put(fd, "GET /status HTTP/1.1\r\n\r\n");
    for (int i = 0; i < 5; i++)
        turn(f);
    http_server_publish(f->server, HTTP_PAGE_STATUS, span_of("new"));
    assert_true(drain(f, fd));
    const char *body = body_of(f->answer);
    assert_int_equal(f->answer_len - (size_t)(body - f->answer), len);
    assert_memory_equal(body, big, len);
}

/* ---- Requests that are none ---- */

static void test_other_requests_are_refused(void **state)
{
    static const struct {
        const char *request, *status;
    } cases[] = {
        {"POST /status HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed"},
        {"DELETE / HTTP/1.1\r\n\r\n", "405 Method Not Allowed"},
        {"GET / HTTP/1.1\r\n\r\n", "404 Not Found"},
        {"GET /metrics/../status HTTP/1.1\r\n\r\n", "404 Not Found"},
        {"GET /status/ HTTP/1.1\r\n\r\n", "404 Not Found"},
        {"GET http://x/status HTTP/1.1\r\n\r\n", "400 Bad Request"},
        {"GET /status HTTP/2.0\r\n\r\n", "400 Bad Request"},
        {"\x16\x03\x01\r\n\r\n", "400 Bad Request"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_status(ask(f, cases[i].request), cases[i].status);
    assert_non_null(strstr(ask(f, "PUT / HTTP/1.1\r\n\r\n"), "\r\nAllow: GET, HEAD\r\n"));
}

/* 1 MiB of URL: the answer is read to its end although the client sent far more than was read. */
static void test_a_huge_request_is_told_so(void **state)
{
    struct fixture *f = *state;
    size_t len = MIB(1);
    auto_free char *url = xcalloc(len, 1);
    memset(url, 'a', len);
    memcpy(url, "GET /", 5);
    auto_close int fd = dial(f);
    size_t sent = 0;
    while (sent < len) {
        ssize_t n = send(fd, url + sent, len - sent, MSG_NOSIGNAL);
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            turn(f);
            continue;
        }
        sent += (size_t)n;
    }
    assert_true(drain(f, fd));
    assert_status(f->answer, "431 Request Header Fields Too Large");
}

static void test_the_largest_request_is_served(void **state)
{
    struct fixture *f = *state;
    char request[HTTP_REQUEST_MAX + 1];
    memset(request, 'x', sizeof request);
    memcpy(request, "GET /livez HTTP/1.1\r\nX: ", 24);
    memcpy(request + HTTP_REQUEST_MAX - 4, "\r\n\r\n", 5);
    assert_status(ask(f, request), "200 OK");
}

static void test_a_request_may_come_byte_by_byte(void **state)
{
    static const char request[] = "GET /livez HTTP/1.1\r\n\r\n";
    struct fixture *f = *state;
    auto_close int fd = dial(f);
    for (size_t i = 0; request[i]; i++) {
        assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
        turn(f);
    }
    assert_true(drain(f, fd));
    assert_status(f->answer, "200 OK");
}

static void test_a_client_that_leaves_is_forgotten(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        int fd = dial(f);
        if (i > 0)
            put(fd, i > 1 ? "GET /livez HTTP/1.1\r\n\r\n" : "GET /li");
        turn(f);
        (void)close(fd);
    }
    for (int i = 0; i < 20 && http_server_clients(f->server); i++)
        turn(f);
    assert_int_equal(http_server_clients(f->server), 0);
}

/* A client that resets instead of reading a large page. */
static void test_a_client_that_resets_is_forgotten(void **state)
{
    struct fixture *f = *state;
    auto_free char *big = xcalloc(MIB(2), 1);
    http_server_publish(f->server, HTTP_PAGE_STATUS, (struct span){big, MIB(2)});
    int fd = dial(f);
    put(fd, "GET /status HTTP/1.1\r\n\r\n");
    for (int i = 0; i < 5; i++)
        turn(f);
    assert_int_equal(http_server_clients(f->server), 1);
    const struct linger reset = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    (void)close(fd);
    for (int i = 0; i < 20 && http_server_clients(f->server); i++)
        turn(f);
    assert_int_equal(http_server_clients(f->server), 0);
}

/* ---- Slow and many ---- */

/* Whatever it does: nothing, a byte now and then, or not reading its answer. */
static void test_a_dawdler_is_cut_off_in_time(void **state)
{
    struct fixture *f = *state;
    auto_free char *big = xcalloc(MIB(2), 1);
    http_server_publish(f->server, HTTP_PAGE_STATUS, (struct span){big, MIB(2)});
    auto_close int idle = dial(f);
    (void)idle; /* it says nothing at all */
    auto_close int drip = dial(f);
    auto_close int deaf = dial(f);
    put(deaf, "GET /status HTTP/1.1\r\n\r\n");
    int64_t start_ms = clock_mono_ms();
    turn(f);
    assert_int_equal(http_server_clients(f->server), 3);
    int64_t next_ms = 0;
    while (http_server_clients(f->server)) {
        int64_t passed_ms = clock_mono_ms() - start_ms;
        assert_true(passed_ms < (HTTP_CLIENT_SECONDS + 1) * 1000);
        if (passed_ms >= next_ms) {
            (void)send(drip, "x", 1, MSG_NOSIGNAL);
            next_ms += 100;
        }
        turn(f);
    }
    assert_true(clock_mono_ms() - start_ms >= HTTP_CLIENT_SECONDS * 1000 - 100);
}

/* FAULTS H9: 1,000 connections that never finish their request; a probe is served at once. */
static void test_slowloris_does_not_delay_a_probe(void **state)
{
    enum { ATTACKERS = 1000, PROBES = 20 };
    struct fixture *f = *state;
    int fds[ATTACKERS];
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(limit.rlim_cur > ATTACKERS + 100);
    int64_t slowest_ms = 0;
    for (size_t i = 0; i < ATTACKERS; i++) {
        fds[i] = dial(f);
        put(fds[i], "GET /livez HTTP/1.1\r\nX: ");
        assert_true(http_server_clients(f->server) <= HTTP_CLIENTS_MAX);
        if (i % (ATTACKERS / PROBES) != 0) {
            if (i % 40 == 0)
                turn(f);
            continue;
        }
        int64_t start_ms = clock_mono_ms();
        assert_status(ask(f, "GET /livez HTTP/1.1\r\n\r\n"), "200 OK");
        int64_t took_ms = clock_mono_ms() - start_ms;
        slowest_ms = took_ms > slowest_ms ? took_ms : slowest_ms;
    }
    for (size_t i = 0; i < ATTACKERS; i++)
        (void)close(fds[i]);
    assert_true(slowest_ms < 1000);
}

/* Who was answered and lingers goes before who has yet to ask. */
static void test_those_who_were_answered_give_way_first(void **state)
{
    struct fixture *f = *state;
    auto_close int early = dial(f);
    turn(f);
    int answered[HTTP_CLIENTS_MAX];
    for (size_t i = 0; i + 1 < HTTP_CLIENTS_MAX; i++) {
        answered[i] = dial(f);
        put(answered[i], "GET /livez HTTP/1.1\r\n\r\n");
        turn(f);
        turn(f);
    }
    assert_int_equal(http_server_clients(f->server), HTTP_CLIENTS_MAX);
    auto_close int late = dial(f);
    (void)late;
    turn(f);
    put(early, "GET /livez HTTP/1.1\r\n\r\n");
    assert_true(drain(f, early));
    assert_status(f->answer, "200 OK");
    for (size_t i = 0; i + 1 < HTTP_CLIENTS_MAX; i++)
        (void)close(answered[i]);
}

/* ---- Listening ---- */

static int listen_at(struct fixture *f, const char *address, uint16_t port,
                     struct http_server **ret_server, struct err *err)
{
    struct http_server_config config = {
        .base = f->base, .priority = 4, .address = address, .port = port, .now_ms = test_clock};
    *err = (struct err){0};
    return http_server_new(&config, ret_server, err);
}

static void test_what_is_no_address_is_refused(void **state)
{
    static const char *const addresses[] = {"",
                                            "localhost",
                                            "[::",
                                            "[]",
                                            "1.2.3",
                                            "::1]",
                                            "1234567890123456789012345678901234567890123456789"};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        struct http_server *server = NULL;
        struct err err;
        assert_int_equal(listen_at(f, addresses[i], 0, &server, &err), E_INVALID);
        assert_non_null(strstr(err.msg, "is no IP address"));
        assert_null(server);
    }
}

static void test_a_taken_port_is_a_clear_error(void **state)
{
    struct fixture *f = *state;
    struct http_server *server = NULL;
    struct err err;
    uint16_t port = http_server_port(f->server);
    char want[128];
    assert_int_equal(listen_at(f, "127.0.0.1", port, &server, &err), E_SYSTEM);
    text_format(want, sizeof want,
                "HTTP server: listen on 127.0.0.1 port %u: Address already in use", port);
    assert_string_equal(err.msg, want);
    /* An address of no interface of ours. */
    assert_int_equal(listen_at(f, "192.0.2.1", 0, &server, &err), E_SYSTEM);
    assert_null(server);
}

static void test_any_address_serves_both_families(void **state)
{
    static const char *const clients[] = {"127.0.0.1", "::1"};
    struct fixture *f = *state;
    struct err err;
    http_server_free(f->server);
    assert_int_equal(listen_at(f, "[::]", 0, &f->server, &err), 0);
    auto_close int probe = socket(AF_INET6, SOCK_STREAM, 0);
    for (size_t i = 0; i < (probe < 0 ? 1 : ARRAY_LEN(clients)); i++) {
        assert_true(endpoint_parse(span_of(clients[i]), http_server_port(f->server), &f->endpoint));
        assert_status(ask(f, "GET /livez HTTP/1.1\r\n\r\n"), "200 OK");
    }
}

static void test_it_ends_with_clients_connected(void **state)
{
    struct fixture *f = *state;
    auto_close int reading = dial(f);
    auto_close int lingering = dial(f);
    put(lingering, "GET /livez HTTP/1.1\r\n\r\n");
    turn(f);
    turn(f);
    http_server_free(f->server);
    f->server = NULL;
    http_server_free(NULL);
    assert_true(drain(f, reading));
}

/* Out of descriptors: nobody is accepted, nothing spins, and later it goes on. */
static void test_without_descriptors_it_waits(void **state)
{
    struct fixture *f = *state;
    auto_close int waiting = dial(f);
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int highest = dup(waiting);
    assert_true(highest >= 0);
    (void)close(highest);
    const struct rlimit none = {.rlim_cur = (rlim_t)highest, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    put(waiting, "GET /livez HTTP/1.1\r\n\r\n");
    turn(f);
    turn(f);
    assert_int_equal(http_server_clients(f->server), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(drain(f, waiting));
    assert_status(f->answer, "200 OK");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pages_are_served_as_published),
        TEST(test_a_page_is_replaced),
        TEST(test_before_the_first_turn_pages_are_unavailable),
        TEST(test_readiness_is_the_last_verdict),
        TEST(test_liveness_is_the_age_of_the_last_turn),
        TEST(test_head_has_the_length_and_no_body),
        TEST(test_a_large_page_arrives_whole),
        TEST(test_other_requests_are_refused),
        TEST(test_a_huge_request_is_told_so),
        TEST(test_the_largest_request_is_served),
        TEST(test_a_request_may_come_byte_by_byte),
        TEST(test_a_client_that_leaves_is_forgotten),
        TEST(test_a_client_that_resets_is_forgotten),
        TEST(test_a_dawdler_is_cut_off_in_time),
        TEST(test_slowloris_does_not_delay_a_probe),
        TEST(test_those_who_were_answered_give_way_first),
        TEST(test_what_is_no_address_is_refused),
        TEST(test_a_taken_port_is_a_clear_error),
        TEST(test_any_address_serves_both_families),
        TEST(test_it_ends_with_clients_connected),
        TEST(test_without_descriptors_it_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
