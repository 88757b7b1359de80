/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INFO, CLUSTER INFO and a pair of CONFIG GET: refused as a whole, or complete; what is understood
 * is understood again when it is written out, and a field of a later release changes nothing.
 */
#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "fuzz.h"
#include "wire/redis_info.h"

#define ALL (INFO_SERVER | INFO_REPLICATION | INFO_KEYSPACE | INFO_MEMORY)
#define LATER "# Later\r\nfield_of_a_later_release:1,two;three\r\n\r\n"

static const struct server nothing = {
    .keys = -1, .memory_bytes = -1, .node_timeout_ms = 0, .replica_migration = -1};

/* 70015 -> "7.0.15"; parts above 99 carry, so the number is what must come back. */
static void print_version(const struct server *server, struct buf *out)
{
    int major = server->version / 10000 < 999 ? server->version / 10000 : 999;
    int rest = server->version - major * 10000;
    int minor = rest / 100 < 255 ? rest / 100 : 255;
    (void)buf_format(out, "%s_version:%d.%d.%d\r\n",
                     server->kind == SERVER_VALKEY ? "valkey" : "redis", major, minor,
                     rest - minor * 100);
}

static void print_info(const struct server *server, struct buf *out)
{
    (void)buf_append_str(out, "# Server\r\n");
    if (server->kind == SERVER_VALKEY)
        (void)buf_append_str(out, "redis_version:7.2.4\r\n");
    print_version(server, out);
    (void)buf_format(out, "redis_mode:%s\r\nrun_id:%s\r\nuptime_in_seconds:%" PRId64 "\r\n",
                     server->cluster_enabled ? "cluster" : "standalone", server->run_id,
                     server->uptime_ms / 1000);
    (void)buf_format(out, "\r\n# Replication\r\nrole:%s\r\n", server->primary ? "master" : "slave");
    if (!server->primary)
        (void)buf_format(out,
                         "master_host:%s\r\nmaster_port:%u\r\nmaster_link_status:%s\r\n"
                         "master_sync_in_progress:0\r\nslave_repl_offset:%" PRId64 "\r\n",
                         server->primary_ip, (unsigned)server->primary_port,
                         server->link_up ? "up" : "down", server->offset);
    (void)buf_format(out, "master_repl_offset:%" PRId64 "\r\n", server->offset);
    (void)buf_format(out, "\r\n# Memory\r\nused_memory:%" PRId64 "\r\n", server->memory_bytes);
    if (server->memory_max >= 0)
        (void)buf_format(out, "maxmemory:%" PRId64 "\r\n", server->memory_max);
    (void)buf_format(out, "\r\n# Keyspace\r\ndb0:keys=%" PRId64 ",expires=0\r\n", server->keys);
    FUZZ_REQUIRE(!out->failed);
}

static void require_same_info(const struct server *a, const struct server *b)
{
    FUZZ_REQUIRE(a->kind == b->kind && a->version == b->version);
    FUZZ_REQUIRE(strcmp(a->run_id, b->run_id) == 0 && a->uptime_ms == b->uptime_ms);
    FUZZ_REQUIRE(a->cluster_enabled == b->cluster_enabled && a->primary == b->primary);
    FUZZ_REQUIRE(strcmp(a->primary_ip, b->primary_ip) == 0 && a->primary_port == b->primary_port);
    FUZZ_REQUIRE(a->link_up == b->link_up && a->offset == b->offset);
    FUZZ_REQUIRE(a->keys == b->keys && a->memory_bytes == b->memory_bytes);
    FUZZ_REQUIRE(a->memory_max == b->memory_max);
}

/* The text after a section that this release does not know. */
static void put_later(struct span text, struct buf *out)
{
    (void)buf_append_str(out, LATER);
    (void)buf_append(out, text.ptr, text.len);
    FUZZ_REQUIRE(!out->failed);
}

static void check_info(struct span text, unsigned required)
{
    struct server server = nothing;
    struct server again = nothing;
    struct err err;
    auto_buf struct buf out = {.ceiling = MIB(1)};
    auto_buf struct buf later = {.ceiling = MIB(2)};
    if (redis_info_parse(text, required, &server, &err) < 0) {
        FUZZ_REQUIRE(server.kind == SERVER_UNKNOWN && server.keys == -1 && err.msg[0]);
        return;
    }
    put_later(text, &later);
    if (later.len <= INFO_TEXT_MAX) {
        struct span grown = {later.bytes, later.len};
        FUZZ_REQUIRE(redis_info_parse(grown, required, &again, &err) == 0);
        require_same_info(&server, &again);
    }
    if (required != ALL)
        return;
    FUZZ_REQUIRE(server.kind != SERVER_UNKNOWN && server.run_id[0] && server.keys >= 0 &&
                 server.memory_bytes >= 0);
    print_info(&server, &out);
    again = nothing;
    FUZZ_REQUIRE(redis_info_parse(span_of(buf_str(&out)), ALL, &again, &err) == 0);
    require_same_info(&server, &again);
}

static void check_cluster_info(struct span text)
{
    struct server server = nothing;
    struct server again = nothing;
    struct err err;
    auto_buf struct buf out = {.ceiling = KIB(4)};
    if (cluster_info_parse(text, &server, &err) < 0)
        return;
    FUZZ_REQUIRE(server.known_nodes > 0 && server.slots_ok <= SLOT_COUNT);
    FUZZ_REQUIRE(server.slots_assigned <= SLOT_COUNT && server.size <= SLOT_COUNT);
    (void)buf_format(&out,
                     LATER
                     "cluster_state:%s\r\ncluster_slots_assigned:%u\r\ncluster_slots_ok:%u\r\n"
                     "cluster_known_nodes:%u\r\ncluster_size:%u\r\n"
                     "cluster_current_epoch:%" PRIu64 "\r\ncluster_my_epoch:%" PRIu64 "\r\n",
                     server.state_ok ? "ok" : "fail", server.slots_assigned, server.slots_ok,
                     server.known_nodes, server.size, server.current_epoch, server.my_epoch);
    FUZZ_REQUIRE(cluster_info_parse(span_of(buf_str(&out)), &again, &err) == 0);
    FUZZ_REQUIRE(server.state_ok == again.state_ok && server.known_nodes == again.known_nodes);
    FUZZ_REQUIRE(server.slots_assigned == again.slots_assigned && server.size == again.size);
    FUZZ_REQUIRE(server.slots_ok == again.slots_ok && server.my_epoch == again.my_epoch);
    FUZZ_REQUIRE(server.current_epoch == again.current_epoch);
}

static void check_setting(struct span text)
{
    struct server server = nothing;
    struct err err;
    struct span key = span_until(&text, '\n');
    if (server_setting_parse(key, text, &server, &err) < 0) {
        FUZZ_REQUIRE(server.node_timeout_ms == 0 && server.replica_migration == -1);
        return;
    }
    FUZZ_REQUIRE(strlen(server.announce_ip) < IP_SIZE && server.node_timeout_ms >= 0);
    FUZZ_REQUIRE(server.diskless_delay_s >= 0 && server.replica_migration <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_span(data, size);
    check_info(text, 0);
    check_info(text, ALL);
    check_cluster_info(text);
    check_setting(text);
    return 0;
}
