/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's end of the hook's socket: requests, verdicts and bounds. */
#include "unit/hook_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "io/clock.h"

static void test_a_start_waits_and_its_connection_becomes_the_life_line(void **state)
{
    struct hook_fixture *f = *state;
    int64_t since = 0;
    assert_null(hook_server_waiting(f->server, &since));
    int fd = hook_fixture_ask(f, HOOK_FIXTURE_START);
    assert_int_equal(f->starts, 1);
    const struct hook_facts *facts = hook_server_waiting(f->server, &since);
    assert_non_null(facts);
    assert_string_equal(facts->myself.id.hex, HOOK_FIXTURE_ID);
    assert_true(since > 0 && since <= clock_mono_ms());
    assert_false(hook_server_server_running(f->server));
    hook_fixture_hears(fd, "", false);

    hook_fixture_answer(f, HOOK_WAIT, "not yet");
    hook_fixture_hears(fd, "muster-agent/1 wait\nreason=not yet\n\n", false);
    hook_fixture_answer(f, HOOK_WAIT, "not yet");
    hook_fixture_hears(fd, "", false);
    hook_fixture_answer(f, HOOK_WAIT, "another reason");
    hook_fixture_hears(fd, "muster-agent/1 wait\nreason=another reason\n\n", false);

    hook_fixture_answer(f, HOOK_GO, "");
    hook_fixture_hears(fd, "muster-agent/1 go\n\n", false);
    assert_null(hook_server_waiting(f->server, NULL));
    assert_true(hook_server_server_running(f->server));
    loop_run_for(f->loop, HOOK_REPEAT_MS + 200);
    hook_fixture_hears(fd, "", false);
    assert_int_equal(f->gone, 0);
    close(fd);
    loop_run_for(f->loop, 20);
    assert_int_equal(f->gone, 1);
    assert_false(hook_server_server_running(f->server));
}

static void test_a_wait_is_repeated_as_a_sign_of_life(void **state)
{
    struct hook_fixture *f = *state;
    int fd = hook_fixture_ask(f, HOOK_FIXTURE_START);
    loop_run_for(f->loop, HOOK_REPEAT_MS + 100);
    hook_fixture_hears(fd, "muster-agent/1 wait\nreason=the agent has not judged yet\n\n", false);
    hook_fixture_answer(f, HOOK_WAIT, "told");
    hook_fixture_hears(fd, "muster-agent/1 wait\nreason=told\n\n", false);
    loop_run_for(f->loop, HOOK_REPEAT_MS + 100);
    hook_fixture_hears(fd, "muster-agent/1 wait\nreason=told\n\n", false);
    close(fd);
    loop_run_for(f->loop, 20);
    assert_null(hook_server_waiting(f->server, NULL));
    assert_int_equal(f->gone, 0);
}

static void test_a_hook_that_does_not_read_gets_no_pile_of_waits(void **state)
{
    struct hook_fixture *f = *state;
    int fd = hook_fixture_ask(f, HOOK_FIXTURE_START);
    for (int i = 0; i < 20000; i++) {
        char reason[HOOK_REASON_SIZE];
        text_format(reason, sizeof reason, "%d %0200d", i, 0);
        hook_fixture_answer(f, HOOK_WAIT, reason);
    }
    assert_non_null(hook_server_waiting(f->server, NULL));
    hook_fixture_answer(f, HOOK_GO, "");
    loop_run_for(f->loop, 20);
    char bytes[65536];
    char last[64] = "";
    for (ssize_t n; (n = recv(fd, bytes, sizeof bytes, 0)) > 0; loop_run_for(f->loop, 5))
        if (n >= 19)
            text_format(last, sizeof last, "%.19s", bytes + n - 19);
    assert_string_equal(last, "muster-agent/1 go\n\n");
    close(fd);
}

static void test_the_go_of_the_largest_cluster_arrives(void **state)
{
    struct hook_fixture *f = *state;
    int fd = hook_fixture_ask(f, HOOK_FIXTURE_START);
    static struct nodes_conf_address to[NODES_MAX];
    for (size_t i = 0; i < NODES_MAX; i++) {
        to[i].port = to[i].bus_port = 65535;
        text_format(to[i].id.hex, sizeof to[i].id.hex, "%040zx", i);
        TEXT_COPY(to[i].ip, span_of("1111:2222:3333:4444:5555:6666:7777:8888"));
    }
    struct hook_answer go = {
        .verdict = HOOK_GO, .rewrite = true, .addresses = to, .address_count = NODES_MAX};
    assert_int_equal(hook_server_answer_start(f->server, &go, NULL), 0);
    struct hook_reader reader;
    hook_reader_init(&reader, HOOK_ANSWERS);
    struct span message = {0};
    int r = 0;
    for (int i = 0; i < 1000 && r == 0; i++) {
        char bytes[4096];
        loop_run_for(f->loop, 1);
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n > 0)
            assert_int_equal(hook_reader_feed(&reader, bytes, (size_t)n, NULL), 0);
        r = hook_reader_next(&reader, &message, NULL);
    }
    assert_int_equal(r, 1);
    auto_hook_answer struct hook_answer got = {0};
    assert_int_equal(hook_answer_parse(message, &got, NULL), 0);
    assert_int_equal(got.address_count, NODES_MAX);
    hook_reader_deinit(&reader);
    close(fd);
}

static void test_an_answer_without_anybody_at_the_gate_or_too_long_is_an_error(void **state)
{
    struct hook_fixture *f = *state;
    struct hook_answer go = {.verdict = HOOK_GO};
    assert_int_equal(hook_server_answer_start(f->server, &go, NULL), E_NOT_FOUND);
    int fd = hook_fixture_ask(f, HOOK_FIXTURE_START);
    static struct nodes_conf_address to[3 * NODES_MAX];
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        to[i].port = to[i].bus_port = 65535;
        TEXT_COPY(to[i].ip, span_of("1111:2222:3333:4444:5555:6666:7777:8888"));
        text_format(to[i].id.hex, sizeof to[i].id.hex, "%040zx", i);
    }
    go.addresses = to;
    go.address_count = ARRAY_LEN(to);
    assert_int_equal(hook_server_answer_start(f->server, &go, NULL), E_LIMIT);
    assert_non_null(hook_server_waiting(f->server, NULL));
    hook_fixture_hears(fd, "", false);
    close(fd);
}

static void test_a_newer_start_takes_the_place_of_an_older(void **state)
{
    struct hook_fixture *f = *state;
    int old = hook_fixture_ask(f, HOOK_FIXTURE_START);
    int new = hook_fixture_ask(f, "muster-hook/1 start\npid=77\n\n");
    assert_int_equal(f->starts, 2);
    hook_fixture_hears_and_close(old, "");
    assert_int_equal(hook_server_waiting(f->server, NULL)->pid, 77);
    close(new);
}

static void test_probes_get_the_published_verdict(void **state)
{
    struct hook_fixture *f = *state;
    assert_false(hook_server_last_ready(f->server));
    hook_fixture_hears_and_close(hook_fixture_ask(f, "muster-hook/1 ready\n\n"),
                                 "muster-agent/1 no\nreason=the agent has not judged yet\n\n");
    hook_server_publish_ready(f->server, true, "in sync");
    hook_fixture_hears_and_close(hook_fixture_ask(f, "muster-hook/1 ready\n\n"),
                                 "muster-agent/1 ok\nreason=in sync\n\n");
    hook_server_publish_ready(f->server, false, "loading");
    hook_fixture_hears_and_close(hook_fixture_ask(f, "muster-hook/1 ready\n\n"),
                                 "muster-agent/1 no\nreason=loading\n\n");
    hook_fixture_hears_and_close(hook_fixture_ask(f, "muster-hook/1 alive\n\n"),
                                 "muster-agent/1 no\nreason=there is no server\n\n");
    int gate = hook_fixture_ask(f, HOOK_FIXTURE_START);
    hook_fixture_hears_and_close(hook_fixture_ask(f, "muster-hook/1 alive\n\n"),
                                 "muster-agent/1 ok\nreason=the server waits at the gate\n\n");
    hook_fixture_hears_and_close(hook_fixture_ask(f, "muster-hook/1 ready\n\n"),
                                 "muster-agent/1 no\nreason=the server waits at the gate\n\n");
    hook_fixture_answer(f, HOOK_GO, "");
    hook_fixture_hears_and_close(hook_fixture_ask(f, "muster-hook/1 alive\n\n"),
                                 "muster-agent/1 ok\nreason=the server runs\n\n");
    close(gate);
}

static void test_the_verdict_outlives_the_agent(void **state)
{
    struct hook_fixture *f = *state;
    hook_server_publish_ready(f->server, true, "in sync");
    char path[128], text[256] = "";
    text_format(path, sizeof path, "%s/ready", f->dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    assert_string_equal(text, "muster-agent/1 ok\nreason=in sync\nserver=127.0.0.1 6379\n\n");
    hook_server_free(f->server);
    hook_fixture_open(f);
    assert_true(hook_server_last_ready(f->server));
    hook_server_publish_ready(f->server, false, "in sync");
    assert_false(hook_server_last_ready(f->server));
}

static void test_drain_is_held_until_the_owner_lets_it_go(void **state)
{
    struct hook_fixture *f = *state;
    hook_fixture_hears_and_close(hook_fixture_ask(f, "muster-hook/1 drain\n\n"),
                                 "muster-agent/1 ok\nreason=so says the owner\n\n");
    f->drain = HOOK_WAIT;
    int fd = hook_fixture_ask(f, "muster-hook/1 drain\n\n");
    hook_fixture_hears(fd, "muster-agent/1 wait\nreason=so says the owner\n\n", false);
    loop_run_for(f->loop, HOOK_REPEAT_MS + 100);
    hook_fixture_hears(fd, "muster-agent/1 wait\n", false);
    f->drain = HOOK_NO;
    loop_run_for(f->loop, HOOK_REPEAT_MS + 100);
    hook_fixture_hears_and_close(fd, "muster-agent/1 no\nreason=so says the owner\n\n");
}

static void test_a_drain_is_answered_before_it_asks_again(void **state)
{
    struct hook_fixture *f = *state;
    int64_t since_ms = 0;
    assert_false(hook_server_draining(f->server, &since_ms));
    f->drain = HOOK_WAIT;
    int fd = hook_fixture_ask(f, "muster-hook/1 drain\nwaits=4000\n\n");
    int second = hook_fixture_ask(f, "muster-hook/1 drain\n\n");
    assert_true(hook_server_draining(f->server, &since_ms));
    int64_t asked_ms = hook_fixture_config(f).now_ms();
    assert_true(asked_ms - since_ms >= 4000 && asked_ms - since_ms < 9000);
    hook_fixture_hears(fd, "muster-agent/1 wait\nreason=so says the owner\n\n", false);
    hook_server_answer_drain(f->server, HOOK_WAIT, "so says the owner"); /* nothing new */
    hook_fixture_hears(fd, "", false);
    hook_server_answer_drain(f->server, HOOK_WAIT, "on its way");
    hook_fixture_hears(fd, "muster-agent/1 wait\nreason=on its way\n\n", false);
    hook_server_answer_drain(f->server, HOOK_OK, "handed over");
    hook_fixture_hears_and_close(fd, "muster-agent/1 ok\nreason=handed over\n\n");
    assert_false(hook_server_draining(f->server, &since_ms));
    close(second);
}

static void test_what_is_not_understood_is_answered_and_dropped(void **state)
{
    struct hook_fixture *f = *state;
    hook_fixture_hears_and_close(
        hook_fixture_ask(f, "muster-hook/9 dance\nwith=me\n\n"),
        "muster-agent/1 error\nreason=this agent does not know the request\n\n");
    hook_fixture_hears_and_close(hook_fixture_ask(f, "GET / HTTP/1.1\r\n\r\n"),
                                 "muster-agent/1 error\n");
    hook_fixture_hears_and_close(hook_fixture_ask(f, "muster-hook/1 start\npid=x\n\n"),
                                 "muster-agent/1 error\nreason=bad line \"pid\"\n\n");
    assert_int_equal(f->starts, 0);
}

static void test_an_endless_request_is_refused(void **state)
{
    struct hook_fixture *f = *state;
    int fd = hook_fixture_ask(f, "muster-hook/1 start\nargv0=");
    char bytes[4096];
    memset(bytes, 'x', sizeof bytes);
    ssize_t n = 0;
    for (size_t sent = 0; sent < MIB(1) && n >= 0; sent += n > 0 ? (size_t)n : 0) {
        n = send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            n = 0;
        loop_run_for(f->loop, 1);
    }
    assert_int_equal(n, -1);
    hook_fixture_hears_and_close(
        fd, "muster-agent/1 error\nreason=message longer than 262144 bytes\n\n");
}

static void test_clients_are_bounded_and_the_gate_keeps_its_place(void **state)
{
    struct hook_fixture *f = *state;
    int gate = hook_fixture_ask(f, HOOK_FIXTURE_START);
    int idle[HOOK_CLIENTS_MAX];
    for (size_t i = 0; i < ARRAY_LEN(idle); i++) {
        idle[i] = hook_fixture_dial(f);
        loop_run_for(f->loop, 5);
    }
    /* the first of the idle ones had to give way to the last */
    hook_fixture_hears_and_close(idle[0], "");
    for (size_t i = 1; i < ARRAY_LEN(idle); i++)
        hook_fixture_hears(idle[i], "", false);
    hook_fixture_hears_and_close(hook_fixture_ask(f, "muster-hook/1 ready\n\n"),
                                 "muster-agent/1 no\n");
    assert_non_null(hook_server_waiting(f->server, NULL));
    for (size_t i = 2; i < ARRAY_LEN(idle); i++)
        close(idle[i]);
    close(idle[1]);
    loop_run_for(f->loop, 20);

    f->drain = HOOK_WAIT;
    for (size_t i = 1; i < ARRAY_LEN(idle); i++)
        idle[i] = hook_fixture_ask(f, "muster-hook/1 drain\n\n");
    int one_more = hook_fixture_dial(f);
    loop_run_for(f->loop, 20);
    hook_fixture_hears_and_close(one_more, "");
    for (size_t i = 1; i < ARRAY_LEN(idle); i++)
        close(idle[i]);
    close(gate);
}

static void test_a_silent_client_is_dropped(void **state)
{
    struct hook_fixture *f = *state;
    int fd = hook_fixture_ask(f, "muster-hook/1 st");
    loop_run_for(f->loop, HOOK_REQUEST_MS + 100);
    hook_fixture_hears_and_close(fd, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, hook_fixture_setup, hook_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_start_waits_and_its_connection_becomes_the_life_line),
        TEST(test_a_wait_is_repeated_as_a_sign_of_life),
        TEST(test_a_hook_that_does_not_read_gets_no_pile_of_waits),
        TEST(test_the_go_of_the_largest_cluster_arrives),
        TEST(test_an_answer_without_anybody_at_the_gate_or_too_long_is_an_error),
        TEST(test_a_newer_start_takes_the_place_of_an_older),
        TEST(test_probes_get_the_published_verdict),
        TEST(test_the_verdict_outlives_the_agent),
        TEST(test_drain_is_held_until_the_owner_lets_it_go),
        TEST(test_a_drain_is_answered_before_it_asks_again),
        TEST(test_what_is_not_understood_is_answered_and_dropped),
        TEST(test_an_endless_request_is_refused),
        TEST(test_clients_are_bounded_and_the_gate_keeps_its_place),
        TEST(test_a_silent_client_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
