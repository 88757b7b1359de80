/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "io/clock.h"
#include "io/peers.h"
#include "unit/io_script.h"

#define RHYTHM ((struct observe_rhythm){.beat_ms = 40, .light_ms = 100, .full_ms = 200})

struct watcher {
    struct loop *loop;
    struct peers *peers;
    int changes;
    enum reach wanted;
    int64_t after_ms;
};

static void watcher_on_change(void *ctx)
{
    struct watcher *watcher = ctx;
    watcher->changes++;
}

static void watcher_open(struct watcher *watcher, const char *username, const char *password_file)
{
    *watcher = (struct watcher){.loop = loop_new(NULL)};
    struct peers_config config = {.username = username,
                                  .password_file = password_file,
                                  .seed = 1,
                                  .on_change = watcher_on_change,
                                  .ctx = watcher};
    watcher->peers = peers_new(watcher->loop, &config);
}

static void watcher_close(struct watcher *watcher)
{
    assert_int_equal(io_count_threads(), 1);
    peers_free(watcher->peers);
    loop_free(watcher->loop);
}

static void watcher_follow(struct watcher *watcher, uint16_t port)
{
    struct peer_target target = {.uid = "u-0", .ip = "127.0.0.1", .port = port, .rhythm = RHYTHM};
    peers_sync(watcher->peers, &target, 1);
}

static const struct server *watcher_server(const struct watcher *watcher)
{
    return peers_server(watcher->peers, "u-0");
}

static bool watcher_reached(void *ctx)
{
    const struct watcher *watcher = ctx;
    const struct server *server = watcher_server(watcher);
    return server->reach == watcher->wanted && server->asked_ms >= watcher->after_ms;
}

/* Runs until a question sent from now on has this outcome. */
static void watcher_expect(struct watcher *watcher, enum reach reach, int64_t limit_ms)
{
    watcher->wanted = reach;
    watcher->after_ms = clock_mono_ms();
    if (!io_run_until(watcher->loop, watcher_reached, watcher, limit_ms))
        fail_msg("reach is %d, not %d", (int)watcher_server(watcher)->reach, (int)reach);
}

static void test_a_real_server_is_read_in_full(void **state)
{
    (void)state;
    struct watcher watcher;
    struct io_redis redis = {0};
    io_redis_start(&redis, (const char *const[]){"--cluster-node-timeout", "4321",
                                                 "--repl-diskless-sync-delay", "7", NULL});
    watcher_open(&watcher, "", "");
    assert_null(watcher_server(&watcher));
    watcher_follow(&watcher, redis.port);
    assert_int_equal(watcher_server(&watcher)->reach, REACH_UNKNOWN);
    assert_int_equal(watcher_server(&watcher)->diskless_delay_s, -1);
    watcher_expect(&watcher, REACH_OK, 3000);

    const struct server *server = watcher_server(&watcher);
    assert_int_equal(server->kind, SERVER_REDIS);
    assert_in_range(server->version, 70000, 70099);
    assert_true(node_id_is_set(&server->id));
    assert_int_equal(strlen(server->run_id), 40);
    assert_true(server->cluster_enabled && server->primary);
    assert_int_equal(server->known_nodes, 1);
    assert_int_equal(server->slots_assigned, 0);
    assert_int_equal(server->keys, 0);
    assert_int_equal(server->node_timeout_ms, 4321);
    assert_int_equal(server->diskless_delay_s, 7);
    assert_int_equal(server->replica_migration, 1);
    assert_string_equal(server->announce_ip, "");
    assert_non_null(server->view);
    assert_int_equal(server->view->node_count, 1);
    assert_true(node_id_eq(&server->view->myself->id, &server->id));
    assert_true(server->seen_ms > 0 && server->view_ms == server->seen_ms);
    assert_int_equal(watcher.changes, 1); /* told once, and not for each poll that says the same */
    (void)loop_run_for(watcher.loop, 500);
    assert_int_equal(watcher.changes, 1);
    assert_true(peers_counters(watcher.peers).commands > 20);
    assert_int_equal(peers_counters(watcher.peers).connects, 1);
    watcher_close(&watcher);
    io_redis_stop(&redis);
}

/* A view that was given out stays readable until the second next full poll (peers.h). */
static void test_a_view_outlives_the_next_poll(void **state)
{
    (void)state;
    struct watcher watcher;
    struct io_redis redis = {0};
    io_redis_start(&redis, (const char *const[]){NULL});
    watcher_open(&watcher, "", "");
    watcher_follow(&watcher, redis.port);
    watcher_expect(&watcher, REACH_OK, 3000);
    const struct view *view = watcher_server(&watcher)->view;
    struct node_id id = view->myself->id;
    while (watcher_server(&watcher)->view == view)
        (void)loop_run_for(watcher.loop, 5);
    assert_true(node_id_eq(&view->myself->id, &id));
    watcher_close(&watcher);
    io_redis_stop(&redis);
}

static void test_a_killed_server_is_refused_and_found_again(void **state)
{
    (void)state;
    struct watcher watcher;
    struct io_redis redis = {0};
    io_redis_start(&redis, (const char *const[]){NULL});
    watcher_open(&watcher, "", "");
    watcher_follow(&watcher, redis.port);
    watcher_expect(&watcher, REACH_OK, 3000);
    uint16_t port = redis.port;
    char run_id[RUN_ID_SIZE];
    memcpy(run_id, watcher_server(&watcher)->run_id, sizeof run_id);
    io_redis_stop(&redis);
    int64_t killed_ms = clock_mono_ms();
    watcher_expect(&watcher, REACH_REFUSED, 1000);
    assert_true(clock_mono_ms() - killed_ms < 500); /* by the end of the stream, not by a poll */

    /* Another process at the same address. */
    redis.port = port;
    io_redis_start(&redis, (const char *const[]){NULL});
    watcher_expect(&watcher, REACH_OK, 3000);
    assert_string_not_equal(watcher_server(&watcher)->run_id, run_id);
    watcher_close(&watcher);
    io_redis_stop(&redis);
}

static void test_a_stopped_server_is_silent_within_its_deadline(void **state)
{
    (void)state;
    struct watcher watcher;
    struct io_redis redis = {0};
    io_redis_start(&redis, (const char *const[]){NULL});
    watcher_open(&watcher, "", "");
    watcher_follow(&watcher, redis.port);
    watcher_expect(&watcher, REACH_OK, 3000);
    int64_t seen_ms = watcher_server(&watcher)->seen_ms;
    (void)kill(redis.pid, SIGSTOP);
    watcher_expect(&watcher, REACH_TIMEOUT, PEER_EXCHANGE_MS + PEER_CONNECT_MS + 500);
    /* What it said before is still there, and its age shows. */
    assert_true(watcher_server(&watcher)->seen_ms <= seen_ms + 200);
    assert_non_null(watcher_server(&watcher)->view);
    (void)kill(redis.pid, SIGCONT);
    watcher_expect(&watcher, REACH_OK, 4000);
    watcher_close(&watcher);
    io_redis_stop(&redis);
}

static void write_file(const char *path, const char *text)
{
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void test_a_wrong_password_is_denied_until_the_file_is_right(void **state)
{
    (void)state;
    struct watcher watcher;
    struct io_redis redis = {0};
    char file[] = "/tmp/muster-io-password-XXXXXX";
    auto_close int fd = mkstemp(file);
    assert_true(fd >= 0);
    write_file(file, "wrong\n");
    io_redis_start(&redis, (const char *const[]){"--user", "muster", "on", ">right", "~*", "+@all",
                                                 "--user", "default", "off", NULL});
    watcher_open(&watcher, "muster", file);
    watcher_follow(&watcher, redis.port);
    watcher_expect(&watcher, REACH_DENIED, 2000);
    write_file(file, ""); /* half a rotation changes nothing */
    watcher_expect(&watcher, REACH_DENIED, 2000);
    write_file(file, "right\n");
    watcher_expect(&watcher, REACH_OK, 4000);
    watcher_close(&watcher);
    io_redis_stop(&redis);
    (void)unlink(file);
}

static void test_a_server_with_a_password_denies_who_has_none(void **state)
{
    (void)state;
    struct watcher watcher;
    struct io_redis redis = {0};
    io_redis_start(&redis, (const char *const[]){"--requirepass", "secret", NULL});
    watcher_open(&watcher, "", "");
    watcher_follow(&watcher, redis.port);
    watcher_expect(&watcher, REACH_DENIED, 2000);
    watcher_close(&watcher);
    io_redis_stop(&redis);
}

static void test_an_address_that_changes_is_another_peer(void **state)
{
    (void)state;
    struct watcher watcher;
    struct io_redis redis = {0};
    io_redis_start(&redis, (const char *const[]){NULL});
    watcher_open(&watcher, "", "");
    watcher_follow(&watcher, redis.port);
    watcher_expect(&watcher, REACH_OK, 3000);
    struct peer_target targets[] = {
        {.uid = "u-0", .ip = "127.0.0.2", .port = redis.port, .rhythm = RHYTHM},
        {.uid = "u-1", .ip = "example.org", .port = redis.port, .rhythm = RHYTHM},
        {.uid = "", .ip = "127.0.0.1", .port = redis.port, .rhythm = RHYTHM},
    };
    peers_sync(watcher.peers, targets, 3);
    assert_int_equal(peers_count(watcher.peers), 1); /* no names, no empty keys */
    assert_int_equal(watcher_server(&watcher)->reach, REACH_UNKNOWN);
    assert_null(watcher_server(&watcher)->view);
    watcher_expect(&watcher, REACH_REFUSED, 2000);
    peers_sync(watcher.peers, NULL, 0);
    assert_null(watcher_server(&watcher));
    watcher_close(&watcher);
    io_redis_stop(&redis);
}

/* A server that has answered, and is not asked again for 5 s. */
static void watcher_open_idle(struct watcher *watcher, struct io_redis *redis)
{
    io_redis_start(redis, (const char *const[]){NULL});
    watcher_open(watcher, "", "");
    struct peer_target target = {.uid = "u-0", .ip = "127.0.0.1", .port = redis->port};
    target.rhythm = (struct observe_rhythm){.light_ms = 5000, .full_ms = 5000};
    peers_sync(watcher->peers, &target, 1);
    watcher_expect(watcher, REACH_OK, 3000);
}

static void test_hurry_asks_often_and_then_no_more(void **state)
{
    (void)state;
    struct watcher watcher;
    struct io_redis redis = {0};
    watcher_open_idle(&watcher, &redis);
    uint64_t before = peers_counters(watcher.peers).commands;
    (void)loop_run_for(watcher.loop, 400);
    assert_int_equal(peers_counters(watcher.peers).commands, before);
    peers_hurry(watcher.peers, NULL, 25, clock_mono_ms() + 500);
    (void)loop_run_for(watcher.loop, 600);
    uint64_t hurried = peers_counters(watcher.peers).commands - before;
    assert_in_range(hurried, 5 * 10, 5 * 21); /* five commands each 25 ms, for half a second */
    before = peers_counters(watcher.peers).commands;
    (void)loop_run_for(watcher.loop, 400);
    assert_int_equal(peers_counters(watcher.peers).commands, before);
    watcher_close(&watcher);
    io_redis_stop(&redis);
}

static void hurry_now(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what;
    struct watcher *watcher = ctx;
    peers_hurry(watcher->peers, NULL, 1, clock_mono_ms() + 1000);
}

/* Both in one iteration, the end of an idle connection first: whoever waits at a gate asks often. */
static void test_what_is_asked_as_the_server_ends(void **state)
{
    (void)state;
    struct watcher watcher;
    struct io_redis redis = {0};
    watcher_open_idle(&watcher, &redis);
    (void)loop_run_for(watcher.loop, 200);
    struct event *wish = event_new(loop_base(watcher.loop), -1, 0, hurry_now, &watcher);
    assert_int_equal(event_priority_set(wish, LOOP_HTTP), 0);
    io_redis_stop(&redis);
    event_active(wish, EV_READ, 0);
    watcher_expect(&watcher, REACH_REFUSED, 1000);
    event_free(wish);
    watcher_close(&watcher);
}

/* ---- servers that are none (FAULTS H2) ---- */

static const char *bomb;
static int bomb_times;
static long bomb_pause_us;

static void serve_bomb(int fd, struct io_shared *shared, int nth)
{
    (void)shared, (void)nth;
    char request[512];
    if (read(fd, request, sizeof request) <= 0)
        return;
    for (int i = 0; i < bomb_times; i++) {
        io_send(fd, bomb);
        if (bomb_pause_us)
            (void)usleep((useconds_t)bomb_pause_us);
    }
    io_hold(fd);
}

/* The second number of statm, in pages. */
static long resident_kib(void)
{
    char text[128] = "";
    auto_close int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    struct span rest = span_of(text), word = {0};
    uint64_t pages = 0;
    assert_true(span_token(&rest, &word) && span_token(&rest, &word));
    assert_true(text_to_u64(word, UINT32_MAX, &pages));
    return (long)pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void expect_defused(const char *text, int times, enum reach reach)
{
    struct watcher watcher;
    struct io_script script;
    bomb = text;
    bomb_times = times;
    io_script_start(&script, serve_bomb);
    long before_kib = resident_kib();
    watcher_open(&watcher, "", "");
    watcher_follow(&watcher, script.port);
    watcher_expect(&watcher, reach, 4000);
    assert_true(resident_kib() - before_kib < 48 * 1024);
    assert_null(watcher_server(&watcher)->view);
    watcher_close(&watcher);
    io_script_stop(&script);
}

static void test_hostile_replies_end_the_connection(void **state)
{
    (void)state;
    bomb_pause_us = 0;
    expect_defused("*2147483647\r\n", 1, REACH_ERROR);
    expect_defused("*17\r\n", 1, REACH_ERROR);
    expect_defused("$-5\r\n", 1, REACH_ERROR);
    expect_defused("$99999999999999999999\r\n", 1, REACH_ERROR);
    expect_defused("*1\r\n", 1000000, REACH_ERROR); /* nested: its release would recurse */
    expect_defused("HTTP/1.1 400 Bad Request\r\n\r\n", 1, REACH_ERROR);
    expect_defused("%1\r\n+a\r\n+b\r\n", 1, REACH_ERROR); /* RESP3 */
    expect_defused(",1.5\r\n", 1, REACH_ERROR);
    expect_defused("#t\r\n", 1, REACH_ERROR);
    expect_defused(">1\r\n+message\r\n", 1, REACH_ERROR);
}

static void test_unasked_replies_do_not_end_the_process(void **state)
{
    (void)state;
    expect_defused("+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n", 1, REACH_ERROR);
    expect_defused(":1\r\n:2\r\n$-1\r\n+a\r\n+b\r\n+c\r\n:3\r\n", 1, REACH_ERROR);
}

static void test_a_reply_without_an_end_is_bounded(void **state)
{
    (void)state;
    static char block[65536];
    memset(block, 'x', sizeof block - 1);
    block[0] = '+';
    expect_defused(block, 400, REACH_ERROR); /* 25 MiB in one line */
    memcpy(block, "$500000000\r\n", 12);
    expect_defused(block, 400, REACH_ERROR);
}

static void test_a_drip_of_bytes_is_silence(void **state)
{
    (void)state;
    bomb_pause_us = 20000;
    expect_defused("$", 1, REACH_TIMEOUT);
    expect_defused(":1", 1, REACH_TIMEOUT);
    bomb_pause_us = 0;
}

static void serve_loading(int fd, struct io_shared *shared, int nth)
{
    (void)shared, (void)nth;
    char request[1024];
    ssize_t got;
    while ((got = read(fd, request, sizeof request)) > 0)
        for (ssize_t i = 0; i < got; i++)
            if (request[i] == '*')
                io_send(fd, "-LOADING Redis is loading the dataset in memory\r\n");
}

static void test_loading_is_told_apart(void **state)
{
    (void)state;
    struct watcher watcher;
    struct io_script script;
    io_script_start(&script, serve_loading);
    watcher_open(&watcher, "", "");
    watcher_follow(&watcher, script.port);
    watcher_expect(&watcher, REACH_LOADING, 2000);
    watcher_expect(&watcher, REACH_LOADING, 2000);
    assert_int_equal(script.shared->connections, 1); /* it is asked again, on the same connection */
    watcher_close(&watcher);
    io_script_stop(&script);
}

static void serve_goodbye(int fd, struct io_shared *shared, int nth)
{
    (void)shared, (void)nth;
    io_send(fd, "-ERR max number of clients reached\r\n");
    close(fd);
}

static void test_a_server_that_hangs_up_is_tried_with_backoff(void **state)
{
    (void)state;
    struct watcher watcher;
    struct io_script script;
    io_script_start(&script, serve_goodbye);
    watcher_open(&watcher, "", "");
    watcher_follow(&watcher, script.port);
    watcher_expect(&watcher, REACH_ERROR, 2000);
    (void)loop_run_for(watcher.loop, 2000);
    assert_in_range(script.shared->connections, 3, 12);
    watcher_close(&watcher);
    io_script_stop(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_real_server_is_read_in_full),
        cmocka_unit_test(test_a_view_outlives_the_next_poll),
        cmocka_unit_test(test_a_killed_server_is_refused_and_found_again),
        cmocka_unit_test(test_a_stopped_server_is_silent_within_its_deadline),
        cmocka_unit_test(test_a_wrong_password_is_denied_until_the_file_is_right),
        cmocka_unit_test(test_a_server_with_a_password_denies_who_has_none),
        cmocka_unit_test(test_an_address_that_changes_is_another_peer),
        cmocka_unit_test(test_hurry_asks_often_and_then_no_more),
        cmocka_unit_test(test_what_is_asked_as_the_server_ends),
        cmocka_unit_test(test_hostile_replies_end_the_connection),
        cmocka_unit_test(test_unasked_replies_do_not_end_the_process),
        cmocka_unit_test(test_a_reply_without_an_end_is_bounded),
        cmocka_unit_test(test_a_drip_of_bytes_is_silence),
        cmocka_unit_test(test_loading_is_told_apart),
        cmocka_unit_test(test_a_server_that_hangs_up_is_tried_with_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
