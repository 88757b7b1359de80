/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "lib/golden.h"
#include "lib/world_build.h"
#include "wire/metrics_info.h"
#include "wire/metrics_text.h"

/* As Redis 7.0.15 answers, shortened. */
static const char INFO[] =
    "# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\nos:Linux 6.1.0 x86_64\r\n"
    "run_id:0123\r\nuptime_in_seconds:42\r\n\r\n"
    "# Clients\r\nconnected_clients:5\r\nblocked_clients:1\r\n\r\n"
    "# Memory\r\nused_memory:1258291\r\nused_memory_human:1.20M\r\nused_memory_rss:9000000\r\n"
    "maxmemory:0\r\nmem_fragmentation_ratio:7.15\r\n\r\n"
    "# Persistence\r\nloading:0\r\nrdb_changes_since_last_save:3\r\nrdb_bgsave_in_progress:0\r\n"
    "rdb_last_bgsave_status:ok\r\naof_enabled:1\r\naof_rewrite_in_progress:0\r\n"
    "aof_last_write_status:err\r\n\r\n"
    "# Stats\r\ntotal_connections_received:7\r\ntotal_commands_processed:1234\r\n"
    "total_net_input_bytes:100\r\ntotal_net_output_bytes:200\r\nrejected_connections:0\r\n"
    "expired_keys:1\r\nevicted_keys:2\r\nkeyspace_hits:3\r\nkeyspace_misses:4\r\n\r\n"
    "# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\n"
    "master_link_status:up\r\nmaster_repl_offset:4096\r\nconnected_slaves:0\r\n\r\n"
    "# CPU\r\nused_cpu_sys:0.123456\r\nused_cpu_user:1.5\r\n\r\n"
    "# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\ndb7:keys=1,expires=0,avg_ttl=0\r\n";

struct fixture {
    struct arena arena;
    struct buf buf;
    struct facts facts;
    struct plan plan;
    struct status status;
    struct metrics_counters counters;
    struct metrics metrics;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.plan = {.rule = "steady", .reason = ""}};
    arena_init(&f.arena, TURN_ARENA_MAX);
    buf_init(&f.buf, METRICS_TEXT_MAX);
    f.metrics = (struct metrics){
        .status = &f.status,
        .counters = &f.counters,
        .version = "0.1.0",
        .commit = "abc\"def",
        .now_ms = WORLD_BUILD_NOW_MS,
        .view_ms = WORLD_BUILD_NOW_MS - 1205,
        .server_up = true,
        .info = span_of(INFO),
    };
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_deinit(&f->arena);
    buf_deinit(&f->buf);
    return 0;
}

static const char *format(struct fixture *f, struct world_build *b)
{
    const struct world *world = world_build_refresh(b);
    facts_gather(world, &f->arena, &f->facts);
    status_gather(world, &f->facts, &f->plan, &f->arena, &f->status);
    buf_clear(&f->buf);
    assert_int_equal(metrics_text_format(&f->buf, &f->metrics), 0);
    return buf_str(&f->buf);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in\n%s", part, text);
}

static void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("\"%s\" is in\n%s", part, text);
}

static void test_the_leaders_exposition_is_golden(void **state)
{
    struct fixture *f = *state;
    f->counters.turns = 99;
    f->counters.handovers[HANDOVER_DRAIN] = 2;
    f->counters.actions_ok[ACTION_MEET] = 5;
    f->counters.actions_failed[ACTION_REPLICATE] = 1;
    metrics_count_api(&f->counters, "list", 200);
    metrics_count_api(&f->counters, "watch", 410);
    metrics_count_api(&f->counters, "list", 200);
    metrics_count_api(&f->counters, "get", 0);
    golden_assert_text("metrics_leader.txt", format(f, world_build_formed(&f->arena, 3, 6)));
}

/* What a follower cannot tell is absent, so that no alert fires on 0. */
static void test_what_is_unknown_is_absent(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_observe_as(b, 1);
    f->metrics.view_ms = 0;
    f->metrics.server_up = false;
    const char *text = format(f, b);
    assert_lacks(text, "muster_survives_node_loss");
    assert_lacks(text, "muster_survives_zone_loss");
    assert_lacks(text, "muster_shard_replicas_in_sync{");
    assert_lacks(text, "muster_view_age_seconds");
    assert_lacks(text, "promise=\"servers\"");
    assert_has(text, "muster_slots_covered 16384\n");
    assert_has(text, "muster_is_leader 0\n");
    assert_has(text, "redis_up 0\n");
    assert_lacks(text, "redis_connected_clients");
    for (size_t i = 0; i < 6; i++)
        b->pods[i].server = (struct server){.reach = REACH_TIMEOUT};
    text = format(f, b);
    assert_lacks(text, "muster_slots_covered");
    assert_has(text, "muster_cluster_state{state=\"unknown\"} 1\n");
}

static void test_a_lost_replica_is_seen(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_lose(b, 5);
    const char *text = format(f, b);
    assert_has(text, "muster_cluster_state{state=\"degraded\"} 1\n");
    assert_has(text, "muster_survives_node_loss 0\n");
    assert_has(text, "muster_shard_replicas_in_sync{primary=\"muster-0\"} 0\n");
    assert_has(text, "muster_promise_held{promise=\"replicas\"} 0\n");
}

/* A shard whose primary is on no pod has no label to go by. */
static void test_a_foreign_primary_is_left_out(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->world.pod_count = 3;
    b->world.pods = b->pods + 3;
    const char *text = format(f, b);
    assert_lacks(text, "muster_shard_replicas_in_sync{");
}

static void test_pairs_beyond_the_table_are_counted_together(void **state)
{
    struct fixture *f = *state;
    for (int code = 100; code < 100 + METRICS_API_PAIRS + 5; code++)
        metrics_count_api(&f->counters, "get", code);
    metrics_count_api(&f->counters, "get", 100);
    metrics_count_api(&f->counters, "a-long-verb", 200);
    const char *text = format(f, world_build_virgin(&f->arena, 1));
    assert_has(text, "muster_api_requests_total{verb=\"get\",code=\"100\"} 2\n");
    assert_has(text, "muster_api_requests_total{verb=\"other\",code=\"other\"} 6\n");
}

static void test_a_verb_that_is_too_long_is_other(void **state)
{
    struct fixture *f = *state;
    metrics_count_api(&f->counters, "a-long-verb", 200);
    assert_int_equal(f->counters.api_count, 0);
    assert_int_equal(f->counters.api_other, 1);
}

static const char *info_text(struct fixture *f, const char *info)
{
    buf_clear(&f->buf);
    metrics_put_info(&f->buf, span_of(info));
    return buf_str(&f->buf);
}

static void test_malformed_figures_are_left_out(void **state)
{
    static const char *const infos[] = {
        "connected_clients:\r\n",
        "connected_clients:5 \r\n",
        "connected_clients:0x5\r\n",
        "connected_clients:1.\r\n",
        "connected_clients:.5\r\n",
        "connected_clients:1.2.3\r\n",
        "connected_clients:-\r\n",
        "connected_clients:nan\r\n",
        "connected_clients\r\n",
        "xconnected_clients:5\r\n",
        "aof_last_write_status:maybe\r\n",
        "connected_clients:123456789012345678901234567890123\r\n",
        "db0:expires=0\r\ndbx:keys=1\r\ndb1:keys=x\r\n",
    };
    struct fixture *f = *state;
    const char *empty = arena_format(&f->arena, "%s", info_text(f, ""));
    for (size_t i = 0; i < ARRAY_LEN(infos); i++)
        if (strncmp(infos[i], "db0", 3) != 0)
            assert_string_equal(info_text(f, infos[i]), empty);
        else
            assert_lacks(info_text(f, infos[i]), "redis_db_keys{");
}

static void test_a_link_that_is_down_is_0(void **state)
{
    struct fixture *f = *state;
    assert_has(info_text(f, "master_host:::1\r\nmaster_port:1\r\nmaster_link_status:down\r\n"),
               "redis_master_link_up{master_host=\"::1\",master_port=\"1\"} 0\n");
}

static void test_valkey_says_what_it_is(void **state)
{
    struct fixture *f = *state;
    assert_has(info_text(f, "redis_version:7.2.4\r\nserver_mode:cluster\r\n"
                            "valkey_version:9.0.1\r\nrole:master\r\n"),
               "redis_instance_info{role=\"master\",redis_version=\"7.2.4\","
               "redis_mode=\"cluster\",os=\"\",valkey_version=\"9.0.1\"} 1\n");
}

/* No server can forge a line or a label. */
static void test_labels_are_escaped(void **state)
{
    struct fixture *f = *state;
    assert_has(info_text(f, "os:a\"} 1\\ \x1b[2J\xc3\xa9\r\n"), "os=\"a\\\"} 1\\\\ ?[2J??\"} 1\n");
    buf_clear(&f->buf);
    metrics_put_label(&f->buf, span_of("a\nb"));
    assert_string_equal(buf_str(&f->buf), "a\\nb");
}

static void test_past_the_ceiling_is_an_error(void **state)
{
    struct fixture *f = *state;
    (void)format(f, world_build_virgin(&f->arena, 1));
    auto_buf struct buf small;
    buf_init(&small, 1000);
    assert_int_equal(metrics_text_format(&small, &f->metrics), E_LIMIT);
}

/* Names, types and syntax as Prometheus' parser wants them. */
static void test_every_line_is_well_formed(void **state)
{
    struct fixture *f = *state;
    struct span rest = span_of(format(f, world_build_formed(&f->arena, 3, 6)));
    struct span line;
    struct span family = {"", 0};
    while (span_line(&rest, &line)) {
        assert_true(line.len > 0);
        if (span_starts(line, "# HELP ")) {
            line = (struct span){line.ptr + 7, line.len - 7};
            family = span_until(&line, ' ');
            continue;
        }
        if (span_starts(line, "# TYPE ")) {
            line = (struct span){line.ptr + 7, line.len - 7};
            struct span name = span_until(&line, ' ');
            assert_int_equal(name.len, family.len);
            assert_memory_equal(name.ptr, family.ptr, name.len);
            assert_true(span_is(line, "gauge") || span_is(line, "counter"));
            continue;
        }
        assert_true(line.len > family.len);
        assert_memory_equal(line.ptr, family.ptr, family.len);
        assert_true(line.ptr[family.len] == '{' || line.ptr[family.len] == ' ');
        assert_true(span_rfind(line, ' ') > 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_leaders_exposition_is_golden),
        TEST(test_what_is_unknown_is_absent),
        TEST(test_a_lost_replica_is_seen),
        TEST(test_a_foreign_primary_is_left_out),
        TEST(test_pairs_beyond_the_table_are_counted_together),
        TEST(test_a_verb_that_is_too_long_is_other),
        TEST(test_malformed_figures_are_left_out),
        TEST(test_a_link_that_is_down_is_0),
        TEST(test_valkey_says_what_it_is),
        TEST(test_labels_are_escaped),
        TEST(test_past_the_ceiling_is_an_error),
        TEST(test_every_line_is_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
