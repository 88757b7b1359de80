/* SPDX-License-Identifier: Apache-2.0 */
/* Which node answers at an address of which nothing else is known (FAULTS B9). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "io/whois.h"
#include "unit/io_script.h"

#define LIMIT_MS 500
/* Where a second answer would have come. */
#define AFTER_MS 300

struct asker {
    struct loop *loop;
    struct whois *whois;
    int answers;
    enum reach reach;
    struct node_id id;
};

static void asker_on_told(void *ctx, enum reach reach, const struct node_id *id)
{
    struct asker *asker = ctx;
    assert_false(whois_is_asking(asker->whois));
    assert_int_equal(id != NULL, reach == REACH_OK);
    asker->answers++;
    asker->reach = reach;
    if (id)
        asker->id = *id;
}

static void asker_open(struct asker *asker, int64_t limit_ms)
{
    *asker = (struct asker){.loop = loop_new(NULL)};
    struct whois_config config = {.limit_ms = limit_ms, .on_told = asker_on_told, .ctx = asker};
    asker->whois = whois_new(asker->loop, &config);
}

static void asker_close(struct asker *asker)
{
    whois_free(asker->whois);
    loop_free(asker->loop);
}

static bool asker_was_told(void *ctx)
{
    return ((const struct asker *)ctx)->answers > 0;
}

/* One answer, and no second one. */
static enum reach ask(uint16_t port, struct asker *asker, int64_t limit_ms)
{
    asker_open(asker, limit_ms);
    whois_ask(asker->whois, "127.0.0.1", port);
    assert_true(whois_is_asking(asker->whois));
    assert_true(io_run_until(asker->loop, asker_was_told, asker, 10 * limit_ms));
    (void)loop_run_for(asker->loop, AFTER_MS);
    assert_int_equal(asker->answers, 1);
    asker_close(asker);
    return asker->reach;
}

static void test_a_server_says_its_id(void **state)
{
    (void)state;
    struct asker asker;
    struct io_redis redis = {0};
    io_redis_start(&redis, (const char *const[]){NULL});
    assert_int_equal(ask(redis.port, &asker, 10 * LIMIT_MS), REACH_OK);
    assert_int_equal(strlen(asker.id.hex), NODE_ID_LEN);
    io_redis_stop(&redis);
    assert_int_equal(ask(redis.port, &asker, 10 * LIMIT_MS), REACH_REFUSED);
}

static void test_a_server_with_a_password_tells_nothing(void **state)
{
    (void)state;
    static const char *const options[][9] = {
        {"--requirepass", "secret"},
        {"--user", "default", "on", "nopass", "~*", "&*", "+@all", "-cluster|myid"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct asker asker;
        struct io_redis redis = {0};
        io_redis_start(&redis, options[i]);
        assert_int_equal(ask(redis.port, &asker, 10 * LIMIT_MS), REACH_DENIED);
        io_redis_stop(&redis);
    }
}

static void test_a_server_without_a_cluster_is_not_it(void **state)
{
    (void)state;
    struct asker asker;
    struct io_redis redis = {0};
    io_redis_start(&redis, (const char *const[]){"--cluster-enabled", "no", NULL});
    assert_int_equal(ask(redis.port, &asker, 10 * LIMIT_MS), REACH_ERROR);
    io_redis_stop(&redis);
}

/* Says after each line what stage tells, and notes what came. */
static void serve(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    if (shared->stage == 0)
        io_hold(fd);
    char *all = shared->lines[0];
    for (size_t len = 0; len < IO_LINE_SIZE - 1;) {
        ssize_t got = read(fd, all + len, IO_LINE_SIZE - 1 - len);
        if (got <= 0)
            return;
        len += (size_t)got;
        io_send(fd, shared->stage == 1 ? "-LOADING it loads\r\n" : "+not an id\r\n");
    }
}

static void test_whatever_else_listens(void **state)
{
    (void)state;
    static const enum reach wanted[] = {REACH_TIMEOUT, REACH_DENIED, REACH_ERROR};
    struct io_script script;
    struct asker asker;
    io_script_start(&script, serve);
    for (int i = 0; i < 3; i++) {
        script.shared->stage = i;
        memset(script.shared->lines[0], 0, IO_LINE_SIZE);
        assert_int_equal(ask(script.port, &asker, i ? 10 * LIMIT_MS : LIMIT_MS), wanted[i]);
    }
    /* All that a stranger gets to know of us. */
    assert_string_equal(script.shared->lines[0],
                        "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$6\r\nmuster\r\n"
                        "*2\r\n$7\r\nCLUSTER\r\n$4\r\nMYID\r\n");
    io_script_stop(&script);
}

static void test_what_is_stopped_is_not_told(void **state)
{
    (void)state;
    struct asker asker;
    struct io_redis redis = {0};
    io_redis_start(&redis, (const char *const[]){NULL});
    asker_open(&asker, LIMIT_MS);
    whois_ask(asker.whois, "127.0.0.1", redis.port);
    whois_ask(asker.whois, "127.0.0.1", redis.port); /* instead of the first */
    assert_true(io_run_until(asker.loop, asker_was_told, &asker, 10 * LIMIT_MS));
    whois_ask(asker.whois, "127.0.0.1", redis.port);
    whois_stop(asker.whois);
    (void)loop_run_for(asker.loop, LIMIT_MS + AFTER_MS);
    assert_int_equal(asker.answers, 1);
    whois_ask(asker.whois, "127.0.0.1", redis.port);
    asker_close(&asker);
    io_redis_stop(&redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_says_its_id),
        cmocka_unit_test(test_a_server_with_a_password_tells_nothing),
        cmocka_unit_test(test_a_server_without_a_cluster_is_not_it),
        cmocka_unit_test(test_whatever_else_listens),
        cmocka_unit_test(test_what_is_stopped_is_not_told),
    };
    return cmocka_run_group_tests_name("io_whois", tests, NULL, NULL);
}
