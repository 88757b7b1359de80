/* SPDX-License-Identifier: Apache-2.0 */
/* How near a server is to refusing writes, by INFO. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "wire/redis_info.h"

static struct server parse(const char *info)
{
    struct err err = {0};
    struct server server = {.keys = -1, .memory_bytes = -1};
    if (redis_info_parse(span_of(info), INFO_MEMORY, &server, &err) < 0)
        fail_msg("%s: %s", info, err.msg);
    return server;
}

static void test_what_is_not_told_is_unknown(void **state)
{
    (void)state;
    struct server server = parse("used_memory:77\nmaxmemory_policy:allkeys-lru\n");
    assert_int_equal(server.memory_max, -1);
    assert_int_equal(server.memory_uncounted, 0);
    assert_false(server.refuses_full);
}

/* It is no reason to take a server for one that does not answer. */
static void test_what_is_told_badly_is_unknown(void **state)
{
    (void)state;
    struct server server = parse("used_memory:77\nmaxmemory:-1\nmem_not_counted_for_evict:a few\n");
    assert_int_equal(server.memory_max, -1);
    assert_int_equal(server.memory_uncounted, 0);
}

static void test_the_limit_and_what_does_not_count(void **state)
{
    (void)state;
    struct server server =
        parse("used_memory:77\r\nmem_not_counted_for_evict:7\r\nmaxmemory:100\r\n"
              "maxmemory_policy:noeviction\r\n");
    assert_int_equal(server.memory_bytes, 77);
    assert_int_equal(server.memory_uncounted, 7);
    assert_int_equal(server.memory_max, 100);
    assert_true(server.refuses_full);
}

/* volatile-*: nothing can be evicted where no key expires. */
static void test_who_evicts_only_what_expires_needs_something_that_does(void **state)
{
    (void)state;
    static const char full[] = "used_memory:77\nmaxmemory_policy:volatile-ttl\n# Keyspace\n";
    static const struct {
        const char *keyspace;
        bool refuses;
    } table[] = {
        {"", true},
        {"db0:keys=5,expires=0,avg_ttl=0\n", true},
        {"db0:keys=5,expires=0\ndb1:keys=5,expires=1\n", false},
        {"db0:keys=5\n", false}, /* not told */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[256];
        text_format(text, sizeof text, "%s%s", full, table[i].keyspace);
        assert_int_equal(parse(text).refuses_full, table[i].refuses);
    }
    assert_false(parse("used_memory:77\nmaxmemory_policy:volatile-ttl\n").refuses_full);
}

/* What is once near its limit is so until it is clearly below: no alert that comes and goes. */
static void test_near_the_limit_lasts(void **state)
{
    (void)state;
    struct server server = {.keys = -1};
    static const struct {
        int used;
        bool near;
    } table[] = {{899, false}, {900, true}, {899, true}, {850, true}, {849, false}, {899, false}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct err err;
        char text[256];
        text_format(text, sizeof text,
                    "used_memory:%d\nmem_not_counted_for_evict:10\nmaxmemory:1000\n"
                    "maxmemory_policy:noeviction\n",
                    table[i].used + 10);
        assert_int_equal(redis_info_parse(span_of(text), INFO_MEMORY, &server, &err), 0);
        assert_int_equal(server.near_limit, table[i].near);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_not_told_is_unknown),
        cmocka_unit_test(test_what_is_told_badly_is_unknown),
        cmocka_unit_test(test_the_limit_and_what_does_not_count),
        cmocka_unit_test(test_who_evicts_only_what_expires_needs_something_that_does),
        cmocka_unit_test(test_near_the_limit_lasts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
