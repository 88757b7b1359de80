/* SPDX-License-Identifier: Apache-2.0 */
/* What INFO says of a primary's replicas and of the history that they share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "wire/redis_info.h"
#include "wire_sample.h"

static struct server parse_text(const char *text)
{
    struct err err = {0};
    struct server server = {0};
    if (redis_info_parse(span_of(text), 0, &server, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return server;
}

/* Who may be handed something over after a crash: in the primary's own word, and by the history's name. */
static void test_a_primary_tells_who_is_online(void **state)
{
    (void)state;
    struct server server = parse_text(
        "role:master\nconnected_slaves:5\n"
        "slave0:ip=10.0.0.7,port=6379,state=online,offset=14,lag=0\n"
        "slave1:ip=10.0.0.8,port=6379,state=wait_bgsave,offset=0,lag=0\n"
        "slave2:ip=fd00::9,port=6380,state=online,offset=14,lag=1,type=replica\n"
        "slave3:ip=10.0.0.9,port=70000,state=online,offset=14,lag=0\n"
        "slave4:state=online\n"
        "slavex:ip=10.0.0.9,port=6379,state=online,offset=14,lag=0\n"
        "master_replid:a94fdba247bb41957698793eec3e9c2dcfbd032e\nmaster_repl_offset:14\n");
    assert_int_equal(server.online_count, 2);
    assert_string_equal(server.online[0].ip, "10.0.0.7");
    assert_int_equal(server.online[0].port, 6379);
    assert_string_equal(server.online[1].ip, "fd00::9");
    assert_int_equal(server.online[1].port, 6380);
    assert_string_equal(server.replid, "a94fdba247bb41957698793eec3e9c2dcfbd032e");
    size_t len;
    auto_free char *replica = wire_sample("redis_info/redis-7.0-replica", &len);
    server = parse_text(replica);
    assert_int_equal(server.online_count, 0);
    assert_int_equal(strlen(server.replid), 40);
    server = parse_text("role:master\nmaster_repl_offset:5\n");
    assert_string_equal(server.replid, "");
    /* Only crashes ask for it: one that is not understood is not known, and the rest is. */
    server = parse_text("role:master\nmaster_repl_offset:5\n"
                        "master_replid:a94fdba247bb41957698793eec3e9c2dcfbd032e0\n");
    assert_string_equal(server.replid, "");
    assert_int_equal(server.offset, 5);
    server = parse_text("role:master\nmaster_repl_offset:5\nmaster_replid:a b\n");
    assert_string_equal(server.replid, "");
}

static void test_no_more_replicas_than_there_is_room_for(void **state)
{
    (void)state;
    char text[2048] = "role:master\nmaster_repl_offset:5\n";
    for (int i = 0; i < REPLICAS_TOLD_MAX + 2; i++)
        text_append(text, sizeof text,
                    "slave%d:ip=10.0.0.%d,port=6379,state=online,offset=1,lag=0\n", i, i + 1);
    struct server server = parse_text(text);
    assert_int_equal(server.online_count, REPLICAS_TOLD_MAX);
    assert_string_equal(server.online[REPLICAS_TOLD_MAX - 1].ip, "10.0.0.8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_primary_tells_who_is_online),
        cmocka_unit_test(test_no_more_replicas_than_there_is_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
