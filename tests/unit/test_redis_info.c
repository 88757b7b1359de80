/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/redis_info.h"
#include "wire_sample.h"

#define ALL (INFO_SERVER | INFO_REPLICATION | INFO_KEYSPACE | INFO_MEMORY)

typedef int (*parse_fn)(struct span text, struct server *server, struct err *err);

static int parse_all(struct span text, struct server *server, struct err *err)
{
    return redis_info_parse(text, ALL, server, err);
}

static int parse_some(struct span text, struct server *server, struct err *err)
{
    return redis_info_parse(text, 0, server, err);
}

static struct server parse_sample(parse_fn parse, const char *name)
{
    size_t len;
    auto_free char *text = wire_sample(name, &len);
    struct err err = {0};
    struct server server = {.keys = -1};
    if (parse((struct span){text, len}, &server, &err) < 0)
        fail_msg("%s: %s", name, err.msg);
    return server;
}

static struct server parse_text(parse_fn parse, const char *text)
{
    struct err err = {0};
    struct server server = {.keys = -1, .offset = -7, .memory_bytes = -1};
    if (parse(span_of(text), &server, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return server;
}

static void assert_refused(parse_fn parse, struct span text, int code, const char *part)
{
    struct err err = {0};
    struct server server;
    struct server before;
    memset(&server, 0x25, sizeof server);
    memset(&before, 0x25, sizeof before);
    if (parse(text, &server, &err) != code || !strstr(err.msg, part))
        fail_msg("'%.*s' gives %d '%s', not %d '%s'", (int)text.len, text.ptr, err.code, err.msg,
                 code, part);
    assert_memory_equal(&server, &before, sizeof server);
    assert_int_equal(parse(text, &server, NULL), code);
}

static void test_primary_of_redis(void **state)
{
    (void)state;
    struct server server = parse_sample(parse_all, "redis_info/redis-7.0-primary");
    assert_int_equal(server.kind, SERVER_REDIS);
    assert_int_equal(server.version, 70015);
    assert_int_equal(strlen(server.run_id), 40);
    assert_int_equal(server.uptime_ms % 1000, 0);
    assert_in_range(server.uptime_ms, 1000, 60000);
    assert_true(server.cluster_enabled);
    assert_true(server.primary);
    assert_string_equal(server.primary_ip, "");
    assert_int_equal(server.primary_port, 0);
    assert_int_equal(server.offset, 14);
    assert_int_equal(server.keys, 0);
    assert_in_range(server.memory_bytes, 1000000, 10000000);
}

static void test_replica_of_redis(void **state)
{
    (void)state;
    struct server server = parse_sample(parse_all, "redis_info/redis-7.0-replica");
    assert_string_equal(server.run_id, "a94fdba247bb41957698793eec3e9c2dcfbd032e");
    assert_false(server.primary);
    assert_string_equal(server.primary_ip, "127.0.0.1");
    assert_int_equal(server.primary_port, 23100);
    assert_true(server.link_up);
    assert_int_equal(server.offset, 14);
    assert_int_equal(server.memory_bytes, 1826720);
}

static void test_standalone_redis_is_told_apart_and_all_its_keys_count(void **state)
{
    (void)state;
    struct server server = parse_sample(parse_all, "redis_info/redis-7.0-standalone");
    assert_false(server.cluster_enabled);
    assert_int_equal(server.keys, 3);
}

static void test_valkey_says_its_own_version(void **state)
{
    (void)state;
    struct server server = parse_sample(parse_all, "redis_info/valkey-9.1-two-databases");
    assert_int_equal(server.kind, SERVER_VALKEY);
    assert_int_equal(server.version, 90102);
    assert_true(server.cluster_enabled);
    assert_int_equal(server.keys, 3);
    server = parse_sample(parse_all, "redis_info/valkey-9.1-replica");
    assert_false(server.primary);
    assert_int_equal(server.offset, 188);
}

/* extended-redis-compatibility yes: server_name is redis, and redis_mode is back. */
static void test_valkey_that_poses_as_redis(void **state)
{
    (void)state;
    size_t len;
    auto_free char *text = wire_sample("redis_info/valkey-9.1-replica", &len);
    auto_free char *named = wire_replace(text, "server_name:valkey", "server_name:redis");
    auto_free char *posing = wire_replace(named, "server_mode:", "redis_mode:");
    struct server server = parse_text(parse_all, posing);
    assert_int_equal(server.kind, SERVER_VALKEY);
    assert_int_equal(server.version, 90102);
    assert_true(server.cluster_enabled);
}

static void test_link_is_down_while_synchronizing(void **state)
{
    (void)state;
    size_t len;
    auto_free char *text = wire_sample("redis_info/redis-7.0-replica", &len);
    auto_free char *down = wire_replace(text, "master_link_status:up", "master_link_status:down");
    assert_false(parse_text(parse_all, down).link_up);
    assert_int_equal(parse_text(parse_all, down).link_down_ms, 0); /* it is not told */
    auto_free char *since =
        wire_replace(text, "master_link_status:up",
                     "master_link_status:down\r\nmaster_link_down_since_seconds:7");
    assert_int_equal(parse_text(parse_all, since).link_down_ms, 7000);
    auto_free char *never =
        wire_replace(text, "master_link_status:up",
                     "master_link_status:down\r\nmaster_link_down_since_seconds:-1");
    assert_int_equal(parse_text(parse_all, never).link_down_ms, -1);
    auto_free char *sync =
        wire_replace(text, "master_sync_in_progress:0", "master_sync_in_progress:1");
    assert_false(parse_text(parse_all, sync).link_up);
    auto_free char *offset = wire_replace(text, "slave_repl_offset:14", "slave_repl_offset:-1");
    assert_int_equal(parse_text(parse_all, offset).offset, -1);
}

static void test_a_section_alone_leaves_the_rest(void **state)
{
    (void)state;
    struct server server = parse_text(parse_some, "# Keyspace\r\ndb0:keys=5,expires=0\r\n"
                                                  "db12:keys=6,expires=0,avg_ttl=0\r\ndbx:1\r\n");
    assert_int_equal(server.keys, 11);
    assert_int_equal(server.offset, -7);
    server = parse_text(parse_some, "used_memory:77");
    assert_int_equal(server.memory_bytes, 77);
    assert_int_equal(server.keys, -1);
    server = parse_text(parse_some, "role:master\nmaster_repl_offset:5\nnew_field:{}!\n");
    assert_true(server.primary);
    assert_int_equal(server.offset, 5);
    /* Not under its heading: some other field that begins with db. */
    server = parse_text(parse_some, "db0:keys=5,expires=0\r\n");
    assert_int_equal(server.keys, -1);
}

static void test_what_is_required_must_be_there(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "redis_version",      "redis_mode",   "run_id",      "uptime_in_sec",      "role",
        "master_repl_offset", "master_host",  "master_port", "master_link_status", "slave_repl",
        "master_sync_in_pro", "used_memory:",
    };
    size_t len;
    auto_free char *text = wire_sample("redis_info/redis-7.0-replica", &len);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        char first[64];
        char renamed[64];
        text_format(first, sizeof first, "\n%s", fields[i]);
        text_format(renamed, sizeof renamed, "\nx_%s", fields[i]);
        auto_free char *without = wire_replace(text, first, renamed);
        assert_refused(parse_all, span_of(without), E_PROTO, "no");
    }
    auto_free char *unnamed = wire_replace(text, "# Keyspace", "# Spacekey");
    assert_refused(parse_all, span_of(unnamed), E_PROTO, "no section Keyspace");
    assert_refused(parse_all, span_of(""), E_PROTO, "no redis_version");
    assert_refused(parse_some, span_of("role:slave\nmaster_host:10.0.0.1\n"), E_PROTO,
                   "INFO: no master_repl_offset");
    struct server server = parse_text(parse_some, "");
    assert_int_equal(server.keys, -1);
}

static void test_malformed_values_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"redis_version:7.0", "redis_version"},
        {"redis_version:7.0.256", "redis_version"},
        {"redis_version:a.b.c", "redis_version"},
        {"redis_version:7.0.15.1", "redis_version"},
        {"valkey_version:", "valkey_version"},
        {"run_id:", "run_id"},
        {"run_id:with space", "run_id"},
        {"run_id:a94fdba247bb41957698793eec3e9c2dcfbd032e0", "run_id"},
        {"uptime_in_seconds:-1", "uptime_in_seconds"},
        {"uptime_in_seconds:9223372036854775807", "uptime_in_seconds"},
        {"role:primary", "role"},
        {"role:master\nrole:slave", "role: said twice"},
        {"master_port:65536", "master_port"},
        {"master_link_status:UP", "master_link_status"},
        {"master_sync_in_progress:2", "master_sync_in_progress"},
        {"slave_repl_offset:-2", "slave_repl_offset"},
        {"master_repl_offset:99999999999999999999", "master_repl_offset"},
        {"master_host:a host", "master_host"},
        {"master_host:0123456789012345678901234567890123456789012345", "master_host"},
        {"used_memory:1e9", "used_memory"},
        {"# Keyspace\ndb0:keys=-1", "db0"},
        {"# Keyspace\ndb0:keys=1x,expires=0", "db0"},
        {"# Keyspace\ndb0:expires=0,keys=1", "db0"},
        {"# Keyspace\ndb0:keys=9223372036854775807\ndb1:keys=1", "db1"},
        {"a line without a colon", "without a name"},
        {":value", "without a name"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_refused(parse_some, span_of(cases[i].text), E_PROTO, cases[i].message);
    auto_free char *bytes = xcalloc(INFO_TEXT_MAX + 1, 1);
    memset(bytes, '\n', INFO_TEXT_MAX + 1);
    assert_refused(parse_some, (struct span){bytes, INFO_TEXT_MAX + 1}, E_LIMIT, "longer than");
}

static void test_version_of_a_pre_release(void **state)
{
    (void)state;
    struct server server = parse_text(
        parse_some,
        "redis_version:255.255.255-rc1\nredis_mode:cluster\nrun_id:x\nuptime_in_seconds:0\n");
    assert_int_equal(server.version, 255 * 10000 + 255 * 100 + 255);
}

static void test_cluster_info(void **state)
{
    (void)state;
    struct server server = parse_sample(cluster_info_parse, "redis_info/redis-7.0-cluster-info");
    assert_true(server.state_ok);
    assert_int_equal(server.slots_assigned, 16384);
    assert_int_equal(server.slots_ok, 16384);
    assert_int_equal(server.known_nodes, 4);
    assert_int_equal(server.size, 3);
    assert_int_equal(server.current_epoch, 3);
    assert_int_equal(server.my_epoch, 1);
    server = parse_sample(cluster_info_parse, "redis_info/valkey-9.1-cluster-info");
    assert_true(server.state_ok);
    assert_int_equal(server.keys, -1);
}

static void test_votes_asked_for_are_counted(void **state)
{
    (void)state;
    size_t len;
    auto_free char *text = wire_sample("redis_info/redis-7.0-cluster-info", &len);
    auto_free char *asked = wire_replace(text, "cluster_stats_messages_sent:",
                                         "cluster_stats_messages_auth-req_sent:15\r\n"
                                         "cluster_slot_migration_active_tasks:1\r\n"
                                         "cluster_stats_messages_sent:");
    struct server server = parse_text(cluster_info_parse, text);
    assert_int_equal(server.vote_requests, 0); /* kinds that were never sent are not listed */
    assert_int_equal(server.slot_jobs, 0);
    server = parse_text(cluster_info_parse, asked);
    assert_int_equal(server.vote_requests, 15);
    assert_int_equal(server.slot_jobs, 1);
    auto_free char *broken = wire_replace(asked, "req_sent:15", "req_sent:-1");
    assert_refused(cluster_info_parse, span_of(broken), E_PROTO, "auth-req_sent: malformed");
}

static void test_persistence(void **state)
{
    (void)state;
    struct server server = parse_text(
        parse_some, "# Persistence\r\nloading:0\r\nrdb_last_bgsave_status:ok\r\naof_enabled:1\r\n"
                    "aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n"
                    "aof_last_write_status:ok\r\n");
    assert_int_equal(server.aof, 1);
    assert_true(server.aof_written && server.rdb_written);
    assert_false(server.aof_rewriting);
    static const char *const running[] = {"aof_rewrite_in_progress:1\naof_rewrite_scheduled:0\n",
                                          "aof_rewrite_in_progress:0\naof_rewrite_scheduled:1\n"};
    for (size_t i = 0; i < ARRAY_LEN(running); i++) {
        char text[256];
        text_format(text, sizeof text,
                    "aof_enabled:0\naof_last_write_status:err\nrdb_last_bgsave_status:err\n%s",
                    running[i]);
        server = parse_text(parse_some, text);
        assert_int_equal(server.aof, 0);
        assert_true(server.aof_rewriting);
        assert_false(server.aof_written || server.rdb_written);
    }
    assert_refused(parse_some, span_of("aof_enabled:1\n"), E_PROTO, "no aof_rewrite_in_progress");
}

static int rdb_at_end(const char *save, const char *on_sigterm)
{
    struct server server = {.rdb_at_end = -1};
    struct err err = {0};
    if (server_setting_parse(span_of("save"), span_of(save), &server, &err) < 0 ||
        server_setting_parse(span_of("shutdown-on-sigterm"), span_of(on_sigterm), &server, &err) <
            0)
        fail_msg("%s", err.msg);
    return server.rdb_at_end;
}

static void test_what_sigterm_saves(void **state)
{
    (void)state;
    assert_int_equal(rdb_at_end("3600 1 300 100", "default"), 1);
    assert_int_equal(rdb_at_end("", "default"), 0);
    assert_int_equal(rdb_at_end("3600 1", "nosave force"), 0);
    assert_int_equal(rdb_at_end("3600 1", "failover"), 1);
    struct server server = {.rdb_saves = -1};
    struct err err = {0};
    assert_int_equal(server_setting_parse(span_of("save"), span_of("3600 1"), &server, &err), 0);
    assert_int_equal(server.rdb_saves, 1);
    assert_int_equal(server_setting_parse(span_of("save"), span_of(""), &server, &err), 0);
    assert_int_equal(server.rdb_saves, 0);
}

static void test_cluster_info_is_complete_or_refused(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "cluster_state", "cluster_slots_assigned", "cluster_slots_ok", "cluster_known_nodes",
        "cluster_size",  "cluster_current_epoch",  "cluster_my_epoch",
    };
    size_t len;
    auto_free char *text = wire_sample("redis_info/redis-7.0-cluster-info", &len);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        char old[64];
        char new[64];
        text_format(old, sizeof old, "%s:", fields[i]);
        text_format(new, sizeof new, "x%s:", fields[i]);
        auto_free char *without = wire_replace(text, old, new);
        assert_refused(cluster_info_parse, span_of(without), E_PROTO, fields[i]);
        text_format(new, sizeof new, "%s:x", fields[i]);
        auto_free char *broken = wire_replace(text, old, new);
        assert_refused(cluster_info_parse, span_of(broken), E_PROTO, "malformed");
    }
    assert_refused(cluster_info_parse, span_of("no colon"), E_PROTO, "CLUSTER INFO: a line");
    auto_free char *bytes = xcalloc(INFO_TEXT_MAX + 1, 1);
    assert_refused(cluster_info_parse, (struct span){bytes, INFO_TEXT_MAX + 1}, E_LIMIT, "longer");
}

static void test_settings(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *value;
        int result;
    } cases[] = {
        {"cluster-node-timeout", "15000", 0},
        {"cluster-node-timeout", "0", E_PROTO},
        {"cluster-node-timeout", "15s", E_PROTO},
        {"repl-diskless-sync-delay", "0", 0},
        {"repl-diskless-sync-delay", "-1", E_PROTO},
        {"min-replicas-to-write", "2", 0},
        {"min-replicas-to-write", "-1", E_PROTO},
        {"cluster-allow-replica-migration", "yes", 0},
        {"cluster-allow-replica-migration", "no", 0},
        {"cluster-allow-replica-migration", "maybe", E_PROTO},
        {"cluster-replica-no-failover", "yes", 0},
        {"cluster-replica-no-failover", "", E_PROTO},
        {"cluster-announce-ip", "", 0},
        {"cluster-announce-ip", "fd00::7", 0},
        {"cluster-announce-ip", "a b", E_PROTO},
        {"maxmemory", "anything", 0},
    };
    struct server server = {.replica_migration = -1, .diskless_delay_s = -1};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        int r = server_setting_parse(span_of(cases[i].key), span_of(cases[i].value), &server, &err);
        assert_int_equal(r, cases[i].result);
        if (r < 0)
            assert_non_null(strstr(err.msg, cases[i].key));
    }
    assert_int_equal(server.node_timeout_ms, 15000);
    assert_int_equal(server.diskless_delay_s, 0);
    assert_int_equal(server.min_replicas, 2);
    assert_int_equal(server.replica_migration, 0);
    assert_string_equal(server.announce_ip, "fd00::7");
}

static void test_id(void **state)
{
    (void)state;
    struct server server = {0};
    struct err err;
    assert_int_equal(
        server_id_parse(span_of("c48cc923b98c01f650cfc78a7eb04585597ba295"), &server, &err), 0);
    assert_string_equal(server.id.hex, "c48cc923b98c01f650cfc78a7eb04585597ba295");
    assert_int_equal(server_id_parse(span_of("c48c"), &server, &err), E_PROTO);
}

static void test_version_for_people(void **state)
{
    (void)state;
    char text[32];
    server_version_format(&(struct server){.kind = SERVER_REDIS, .version = 70015}, text,
                          sizeof text);
    assert_string_equal(text, "redis 7.0.15");
    server_version_format(&(struct server){.kind = SERVER_VALKEY, .version = 90102}, text,
                          sizeof text);
    assert_string_equal(text, "valkey 9.1.2");
    server_version_format(&(struct server){0}, text, sizeof text);
    assert_string_equal(text, "unknown 0.0.0");
}

/* A changed byte is refused or changes something harmless; it never leaves a half-filled server. */
static void test_every_mutation_of_a_sample(void **state)
{
    (void)state;
    size_t len;
    auto_free char *sample = wire_sample("redis_info/redis-7.0-replica", &len);
    auto_free char *mutated = xcalloc(len + 2, 1);
    size_t refused = 0;
    for (size_t at = 0; at < len; at++) {
        for (unsigned kind = 0; kind < WIRE_MUTATIONS; kind++) {
            size_t size = wire_mutate((struct span){sample, len}, at, kind, mutated);
            struct span text = wire_exact((struct span){mutated, size});
            struct err err = {0};
            struct server server = {.keys = -1};
            if (parse_all(text, &server, &err) == 0) {
                assert_int_not_equal(server.kind, SERVER_UNKNOWN);
                assert_string_not_equal(server.run_id, "");
                assert_int_not_equal(server.keys, -1);
            } else {
                assert_string_not_equal(err.msg, "");
                assert_int_equal(server.kind, SERVER_UNKNOWN);
                refused++;
            }
            free((void *)(uintptr_t)text.ptr);
        }
    }
    assert_in_range(refused, 500, len * WIRE_MUTATIONS - 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_primary_of_redis),
        cmocka_unit_test(test_replica_of_redis),
        cmocka_unit_test(test_standalone_redis_is_told_apart_and_all_its_keys_count),
        cmocka_unit_test(test_valkey_says_its_own_version),
        cmocka_unit_test(test_valkey_that_poses_as_redis),
        cmocka_unit_test(test_link_is_down_while_synchronizing),
        cmocka_unit_test(test_a_section_alone_leaves_the_rest),
        cmocka_unit_test(test_what_is_required_must_be_there),
        cmocka_unit_test(test_malformed_values_are_refused),
        cmocka_unit_test(test_version_of_a_pre_release),
        cmocka_unit_test(test_cluster_info),
        cmocka_unit_test(test_votes_asked_for_are_counted),
        cmocka_unit_test(test_persistence),
        cmocka_unit_test(test_what_sigterm_saves),
        cmocka_unit_test(test_cluster_info_is_complete_or_refused),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_id),
        cmocka_unit_test(test_version_for_people),
        cmocka_unit_test(test_every_mutation_of_a_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
