/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's end of the hook's socket, with sockets of our own in the part of the hook. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "io/clock.h"
#include "io/hook_server.h"
#include "io/loop.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct fixture {
    char dir[64];
    char socket_path[96];
    struct loop *loop;
    struct hook_server *server;
    int starts;
    int gone;
    enum hook_verdict drain;
};

static void on_start(void *ctx)
{
    ((struct fixture *)ctx)->starts++;
}

static void on_server_gone(void *ctx)
{
    ((struct fixture *)ctx)->gone++;
}

static enum hook_verdict on_drain(void *ctx, char reason[HOOK_REASON_SIZE])
{
    text_format(reason, HOOK_REASON_SIZE, "so says the owner");
    return ((struct fixture *)ctx)->drain;
}

static struct hook_server_config config_of(struct fixture *f)
{
    return (struct hook_server_config){
        .base = loop_base(f->loop),
        .socket_path = f->socket_path,
        .server_ip = "127.0.0.1",
        .server_port = 6379,
        .now_ms = clock_mono_ms,
        .on_start = on_start,
        .on_server_gone = on_server_gone,
        .on_drain = on_drain,
        .ctx = f,
    };
}

static void open_server(struct fixture *f)
{
    struct hook_server_config config = config_of(f);
    struct err err = {0};
    if (hook_server_new(&config, &f->server, &err) < 0)
        fail_msg("%s", err.msg);
}

static int setup(void **state)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;
    *f = (struct fixture){.drain = HOOK_OK};
    text_format(f->dir, sizeof f->dir, "/tmp/muster-hook-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    text_format(f->socket_path, sizeof f->socket_path, "%s/agent.sock", f->dir);
    log_setup(LOG_ERROR, LOG_LOGFMT, NULL);
    f->loop = loop_new(NULL);
    open_server(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    hook_server_free(f->server);
    loop_free(f->loop);
    static const char *const names[] = {"agent.sock", "server.lock", "ready"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        text_format(path, sizeof path, "%s/%s", f->dir, names[i]);
        (void)unlink(path);
    }
    /* nothing else was left behind */
    assert_int_equal(rmdir(f->dir), 0);
    return 0;
}

/* ---- the hook's part ---- */

static int dial(const struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    TEXT_COPY(address.sun_path, span_of(f->socket_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static int ask(const struct fixture *f, const char *text)
{
    int fd = dial(f);
    say(fd, text);
    loop_run_for(f->loop, 30);
    return fd;
}

/* What came so far must begin with `text`; *ret_closed tells whether the other side has closed. */
static void hears(int fd, const char *text, bool closed)
{
    char bytes[4096] = "";
    size_t len = 0;
    ssize_t n;
    while ((n = recv(fd, bytes + len, sizeof bytes - len - 1, 0)) > 0)
        len += (size_t)n;
    assert_int_equal(n == 0 || errno == ECONNRESET, closed);
    if (strncmp(bytes, text, strlen(text)) != 0)
        fail_msg("heard \"%s\" instead of \"%s\"", bytes, text);
}

static void hears_and_close(int fd, const char *text)
{
    hears(fd, text, true);
    close(fd);
}

#define START "muster-hook/1 start\nnodes-conf=present\nmyself=" A " master 3 5461 -\n\n"

static int lock(const struct fixture *f)
{
    char path[128];
    text_format(path, sizeof path, "%s/server.lock", f->dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

static void answer(struct fixture *f, enum hook_verdict verdict, const char *reason)
{
    struct hook_answer a = {.verdict = verdict};
    TEXT_COPY(a.reason, span_of(reason));
    assert_int_equal(hook_server_answer_start(f->server, &a, NULL), 0);
}

/* ---- tests ---- */

static void test_a_start_waits_and_its_connection_becomes_the_life_line(void **state)
{
    struct fixture *f = *state;
    int64_t since = 0;
    assert_null(hook_server_waiting(f->server, &since));
    int fd = ask(f, START);
    assert_int_equal(f->starts, 1);
    const struct hook_facts *facts = hook_server_waiting(f->server, &since);
    assert_non_null(facts);
    assert_string_equal(facts->myself.id.hex, A);
    assert_true(since > 0 && since <= clock_mono_ms());
    assert_false(hook_server_server_running(f->server));
    hears(fd, "", false);

    answer(f, HOOK_WAIT, "not yet");
    hears(fd, "muster-agent/1 wait\nreason=not yet\n\n", false);
    answer(f, HOOK_WAIT, "not yet");
    hears(fd, "", false);
    answer(f, HOOK_WAIT, "another reason");
    hears(fd, "muster-agent/1 wait\nreason=another reason\n\n", false);

    answer(f, HOOK_GO, "");
    hears(fd, "muster-agent/1 go\n\n", false);
    assert_null(hook_server_waiting(f->server, NULL));
    assert_true(hook_server_server_running(f->server));
    loop_run_for(f->loop, HOOK_REPEAT_MS + 200);
    hears(fd, "", false);
    assert_int_equal(f->gone, 0);
    close(fd);
    loop_run_for(f->loop, 20);
    assert_int_equal(f->gone, 1);
    assert_false(hook_server_server_running(f->server));
}

static void test_a_wait_is_repeated_as_a_sign_of_life(void **state)
{
    struct fixture *f = *state;
    int fd = ask(f, START);
    loop_run_for(f->loop, HOOK_REPEAT_MS + 100);
    hears(fd, "muster-agent/1 wait\nreason=the agent has not judged yet\n\n", false);
    answer(f, HOOK_WAIT, "told");
    hears(fd, "muster-agent/1 wait\nreason=told\n\n", false);
    loop_run_for(f->loop, HOOK_REPEAT_MS + 100);
    hears(fd, "muster-agent/1 wait\nreason=told\n\n", false);
    close(fd);
    loop_run_for(f->loop, 20);
    assert_null(hook_server_waiting(f->server, NULL));
    assert_int_equal(f->gone, 0);
}

static void test_a_hook_that_does_not_read_gets_no_pile_of_waits(void **state)
{
    struct fixture *f = *state;
    int fd = ask(f, START);
    for (int i = 0; i < 20000; i++) {
        char reason[HOOK_REASON_SIZE];
        text_format(reason, sizeof reason, "%d %0200d", i, 0);
        answer(f, HOOK_WAIT, reason);
    }
    assert_non_null(hook_server_waiting(f->server, NULL));
    answer(f, HOOK_GO, "");
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
    struct fixture *f = *state;
    int fd = ask(f, START);
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
    struct fixture *f = *state;
    struct hook_answer go = {.verdict = HOOK_GO};
    assert_int_equal(hook_server_answer_start(f->server, &go, NULL), E_NOT_FOUND);
    int fd = ask(f, START);
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
    hears(fd, "", false);
    close(fd);
}

static void test_a_newer_start_takes_the_place_of_an_older(void **state)
{
    struct fixture *f = *state;
    int old = ask(f, START);
    int new = ask(f, "muster-hook/1 start\npid=77\n\n");
    assert_int_equal(f->starts, 2);
    hears_and_close(old, "");
    assert_int_equal(hook_server_waiting(f->server, NULL)->pid, 77);
    close(new);
}

static void test_probes_get_the_published_verdict(void **state)
{
    struct fixture *f = *state;
    assert_false(hook_server_last_ready(f->server));
    hears_and_close(ask(f, "muster-hook/1 ready\n\n"),
                    "muster-agent/1 no\nreason=the agent has not judged yet\n\n");
    hook_server_publish_ready(f->server, true, "in sync");
    hears_and_close(ask(f, "muster-hook/1 ready\n\n"), "muster-agent/1 ok\nreason=in sync\n\n");
    hook_server_publish_ready(f->server, false, "loading");
    hears_and_close(ask(f, "muster-hook/1 ready\n\n"), "muster-agent/1 no\nreason=loading\n\n");
    hears_and_close(ask(f, "muster-hook/1 alive\n\n"),
                    "muster-agent/1 no\nreason=there is no server\n\n");
    int gate = ask(f, START);
    hears_and_close(ask(f, "muster-hook/1 alive\n\n"),
                    "muster-agent/1 ok\nreason=the server waits at the gate\n\n");
    hears_and_close(ask(f, "muster-hook/1 ready\n\n"),
                    "muster-agent/1 no\nreason=the server waits at the gate\n\n");
    answer(f, HOOK_GO, "");
    hears_and_close(ask(f, "muster-hook/1 alive\n\n"),
                    "muster-agent/1 ok\nreason=the server runs\n\n");
    close(gate);
}

static void test_the_verdict_outlives_the_agent(void **state)
{
    struct fixture *f = *state;
    hook_server_publish_ready(f->server, true, "in sync");
    char path[128], text[256] = "";
    text_format(path, sizeof path, "%s/ready", f->dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    assert_string_equal(text, "muster-agent/1 ok\nreason=in sync\nserver=127.0.0.1 6379\n\n");
    hook_server_free(f->server);
    open_server(f);
    assert_true(hook_server_last_ready(f->server));
    hook_server_publish_ready(f->server, false, "in sync");
    assert_false(hook_server_last_ready(f->server));
}

static void test_drain_is_held_until_the_owner_lets_it_go(void **state)
{
    struct fixture *f = *state;
    hears_and_close(ask(f, "muster-hook/1 drain\n\n"),
                    "muster-agent/1 ok\nreason=so says the owner\n\n");
    f->drain = HOOK_WAIT;
    int fd = ask(f, "muster-hook/1 drain\n\n");
    hears(fd, "muster-agent/1 wait\nreason=so says the owner\n\n", false);
    loop_run_for(f->loop, HOOK_REPEAT_MS + 100);
    hears(fd, "muster-agent/1 wait\n", false);
    f->drain = HOOK_NO;
    loop_run_for(f->loop, HOOK_REPEAT_MS + 100);
    hears_and_close(fd, "muster-agent/1 no\nreason=so says the owner\n\n");
}

static void test_what_is_not_understood_is_answered_and_dropped(void **state)
{
    struct fixture *f = *state;
    hears_and_close(ask(f, "muster-hook/9 dance\nwith=me\n\n"),
                    "muster-agent/1 error\nreason=this agent does not know the request\n\n");
    hears_and_close(ask(f, "GET / HTTP/1.1\r\n\r\n"), "muster-agent/1 error\n");
    hears_and_close(ask(f, "muster-hook/1 start\npid=x\n\n"),
                    "muster-agent/1 error\nreason=bad line \"pid\"\n\n");
    assert_int_equal(f->starts, 0);
}

static void test_an_endless_request_is_refused(void **state)
{
    struct fixture *f = *state;
    int fd = ask(f, "muster-hook/1 start\nargv0=");
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
    hears_and_close(fd, "muster-agent/1 error\nreason=message longer than 262144 bytes\n\n");
}

static void test_clients_are_bounded_and_the_gate_keeps_its_place(void **state)
{
    struct fixture *f = *state;
    int gate = ask(f, START);
    int idle[HOOK_CLIENTS_MAX];
    for (size_t i = 0; i < ARRAY_LEN(idle); i++) {
        idle[i] = dial(f);
        loop_run_for(f->loop, 5);
    }
    /* the first of the idle ones had to give way to the last */
    hears_and_close(idle[0], "");
    for (size_t i = 1; i < ARRAY_LEN(idle); i++)
        hears(idle[i], "", false);
    hears_and_close(ask(f, "muster-hook/1 ready\n\n"), "muster-agent/1 no\n");
    assert_non_null(hook_server_waiting(f->server, NULL));
    for (size_t i = 2; i < ARRAY_LEN(idle); i++)
        close(idle[i]);
    close(idle[1]);
    loop_run_for(f->loop, 20);

    f->drain = HOOK_WAIT;
    for (size_t i = 1; i < ARRAY_LEN(idle); i++)
        idle[i] = ask(f, "muster-hook/1 drain\n\n");
    int one_more = dial(f);
    loop_run_for(f->loop, 20);
    hears_and_close(one_more, "");
    for (size_t i = 1; i < ARRAY_LEN(idle); i++)
        close(idle[i]);
    close(gate);
}

static void test_a_silent_client_is_dropped(void **state)
{
    struct fixture *f = *state;
    int fd = ask(f, "muster-hook/1 st");
    loop_run_for(f->loop, HOOK_REQUEST_MS + 100);
    hears_and_close(fd, "");
}

/* After an agent's restart: no life line, but the lock. */
static void test_a_server_without_a_life_line_is_known_by_its_lock(void **state)
{
    struct fixture *f = *state;
    int fd = lock(f);
    assert_true(hook_server_server_running(f->server));
    loop_run_for(f->loop, 7 * HOOK_LOCK_POLL_MS);
    assert_int_equal(f->gone, 0);
    close(fd);
    assert_false(hook_server_server_running(f->server));
    loop_run_for(f->loop, 2 * HOOK_LOCK_POLL_MS);
    assert_int_equal(f->gone, 1);
    loop_run_for(f->loop, 3 * HOOK_LOCK_POLL_MS);
    assert_int_equal(f->gone, 1);
}

/* The kernel closes the one before the other: the end of the life line is what counts. */
static void test_the_end_of_the_life_line_outweighs_the_lock(void **state)
{
    struct fixture *f = *state;
    int held = lock(f);
    int fd = ask(f, START);
    answer(f, HOOK_GO, "");
    loop_run_for(f->loop, 20);
    close(fd);
    loop_run_for(f->loop, 20);
    assert_int_equal(f->gone, 1);
    assert_false(hook_server_server_running(f->server));
    close(held);
}

static void test_a_start_proves_the_death_of_a_server_known_by_its_lock(void **state)
{
    struct fixture *f = *state;
    int fd = lock(f);
    loop_run_for(f->loop, 7 * HOOK_LOCK_POLL_MS);
    int start = ask(f, START);
    assert_int_equal(f->gone, 1);
    assert_int_equal(f->starts, 1);
    assert_false(hook_server_server_running(f->server));
    close(start);
    close(fd);
}

static void test_a_hook_that_comes_to_the_gate_is_no_dead_server(void **state)
{
    struct fixture *f = *state;
    int fd = lock(f);
    loop_run_for(f->loop, 2 * HOOK_LOCK_POLL_MS);
    int start = ask(f, START);
    close(fd);
    close(start);
    loop_run_for(f->loop, 3 * HOOK_LOCK_POLL_MS);
    assert_int_equal(f->gone, 0);
}

static int open_at(struct fixture *f, const char *path, struct err *err)
{
    struct hook_server_config config = config_of(f);
    struct hook_server *server = NULL;
    config.socket_path = path;
    int r = hook_server_new(&config, &server, err);
    assert_int_equal(server != NULL, r == 0);
    hook_server_free(server);
    return r;
}

static void test_the_socket_is_ours_alone_and_a_stale_one_is_replaced(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(f->socket_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    struct err err = {0};
    assert_int_equal(open_at(f, f->socket_path, &err), E_BUSY);
    hook_server_free(f->server);
    assert_int_equal(stat(f->socket_path, &st), -1);

    /* what a killed agent leaves */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    TEXT_COPY(address.sun_path, span_of(f->socket_path));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    open_server(f);
    hears_and_close(ask(f, "muster-hook/1 ready\n\n"), "muster-agent/1 no\n");
}

static void test_a_path_that_cannot_be_used_is_told(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    char path[512];
    text_format(path, sizeof path, "%s/server.lock", f->dir);
    assert_int_equal(open_at(f, path, &err), E_INVALID);
    assert_non_null(strstr(err.msg, "is no socket"));
    text_format(path, sizeof path, "%s/none/agent.sock", f->dir);
    assert_int_equal(open_at(f, path, &err), E_SYSTEM);
    assert_non_null(strstr(err.msg, path));
    text_format(path, sizeof path, "%s/%0120d", f->dir, 0);
    assert_int_equal(open_at(f, path, &err), E_INVALID);
    text_format(path, sizeof path, "%s/%0300d", f->dir, 0);
    assert_int_equal(open_at(f, path, &err), E_INVALID);
    assert_int_equal(open_at(f, "", &err), E_INVALID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
        TEST(test_what_is_not_understood_is_answered_and_dropped),
        TEST(test_an_endless_request_is_refused),
        TEST(test_clients_are_bounded_and_the_gate_keeps_its_place),
        TEST(test_a_silent_client_is_dropped),
        TEST(test_a_server_without_a_life_line_is_known_by_its_lock),
        TEST(test_the_end_of_the_life_line_outweighs_the_lock),
        TEST(test_a_start_proves_the_death_of_a_server_known_by_its_lock),
        TEST(test_a_hook_that_comes_to_the_gate_is_no_dead_server),
        TEST(test_the_socket_is_ours_alone_and_a_stale_one_is_replaced),
        TEST(test_a_path_that_cannot_be_used_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
