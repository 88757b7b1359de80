/* SPDX-License-Identifier: Apache-2.0 */
#include "io/peer_poll.h"

#include <assert.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/cluster_nodes.h"
#include "wire/redis_info.h"

#define POLL_INFO (INFO_SERVER | INFO_REPLICATION | INFO_KEYSPACE | INFO_MEMORY)
#define PROBE_INFO (INFO_REPLICATION | INFO_KEYSPACE)

static struct peer_command *poll_add(struct peer_command *commands, size_t *count,
                                     const char *const *words)
{
    struct peer_command *command = &commands[(*count)++];
    command->word_count = 0;
    for (; *words; words++) {
        assert(command->word_count < PEER_WORDS_MAX);
        command->words[command->word_count++] = span_of(*words);
    }
    return command;
}

#define POLL_ADD(...) (void)poll_add(ret_commands, &count, (const char *const[]){__VA_ARGS__, NULL})

size_t poll_commands(unsigned ask, struct peer_command *ret_commands)
{
    size_t count = 0;
    if (!(ask & POLL_LIGHT)) {
        POLL_ADD("INFO", "replication");
        return count;
    }
    if (ask & POLL_WIDE)
        POLL_ADD("INFO");
    else if (ask & POLL_SETTINGS) /* several sections at once: since Redis 7.0 */
        POLL_ADD("INFO", "server", "replication", "memory", "keyspace", "persistence");
    else
        POLL_ADD("INFO", "server", "replication", "memory", "keyspace");
    POLL_ADD("CLUSTER", "MYID");
    POLL_ADD("CLUSTER", "INFO");
    if (ask & POLL_FULL)
        POLL_ADD("CLUSTER", "NODES");
    if (ask & POLL_SETTINGS) /* several names at once: since Redis 7.0 */
        POLL_ADD("CONFIG", "GET", "cluster-node-timeout", "repl-diskless-sync-delay",
                 "cluster-allow-replica-migration", "cluster-replica-no-failover",
                 "cluster-announce-ip", "save", "shutdown-on-sigterm", "min-replicas-to-write");
    return count;
}

enum reach poll_reach_of(struct span error)
{
    if (span_starts(error, "LOADING"))
        return REACH_LOADING;
    if (span_starts(error, "NOAUTH") || span_starts(error, "WRONGPASS") ||
        span_starts(error, "NOPERM") || span_starts(error, "ERR AUTH"))
        return REACH_DENIED;
    return REACH_ERROR;
}

/*
 * "NOPERM User muster has no permissions to run the 'cluster|nodes' command" of Redis 7.2 and Valkey,
 * "NOPERM this user has no ..." of Redis 7.0.
 */
void poll_refusal(struct span error, char dst[POLL_REFUSAL_SIZE])
{
    ptrdiff_t open = span_starts(error, "NOPERM") ? span_find(error, '\'') : -1;
    if (open >= 0) {
        struct span rest = {error.ptr + open + 1, error.len - (size_t)open - 1};
        ptrdiff_t len = span_find(rest, '\'');
        if (len > 0 && len < 64) {
            text_format(dst, POLL_REFUSAL_SIZE, "the ACL user lacks +%.*s", (int)len, rest.ptr);
            return;
        }
    }
    int len = error.len < POLL_REFUSAL_SIZE ? (int)error.len : POLL_REFUSAL_SIZE;
    text_format(dst, POLL_REFUSAL_SIZE, "%.*s", len, error.ptr);
}

/* The reply must be a text; its words for people otherwise. */
static int poll_text(const struct reply *reply, const char *what, struct span *ret_text,
                     enum reach *ret_reach, struct err *err)
{
    if (reply->kind == REPLY_TEXT) {
        *ret_text = reply->text;
        return 0;
    }
    *ret_reach = REACH_ERROR;
    if (reply->kind != REPLY_ERROR)
        return err_set(err, E_PROTO, "%s: unexpected kind of reply", what);
    *ret_reach = poll_reach_of(reply->text);
    int code = *ret_reach == REACH_LOADING ? E_BUSY : *ret_reach == REACH_DENIED ? E_AUTH : E_PROTO;
    char why[POLL_REFUSAL_SIZE];
    poll_refusal(reply->text, why);
    return err_set(err, code, "%s: %s", what, why);
}

static int poll_take_info(const struct reply *reply, unsigned sections, struct server *server,
                          enum reach *ret_reach, struct err *err)
{
    struct span text = {0};
    int rc = poll_text(reply, "INFO", &text, ret_reach, err);
    return rc < 0 ? rc : redis_info_parse(text, sections, server, err);
}

static int poll_take_light(const struct reply *replies, struct server *server,
                           enum reach *ret_reach, struct err *err)
{
    struct span text = {0};
    int rc = poll_take_info(&replies[0], POLL_INFO, server, ret_reach, err);
    if (rc < 0)
        return rc;
    rc = poll_text(&replies[1], "CLUSTER MYID", &text, ret_reach, err);
    if (rc < 0)
        return rc;
    rc = server_id_parse(text, server, err);
    if (rc < 0)
        return rc;
    rc = poll_text(&replies[2], "CLUSTER INFO", &text, ret_reach, err);
    return rc < 0 ? rc : cluster_info_parse(text, server, err);
}

static int poll_take_settings(const struct reply *reply, struct server *server, struct err *err)
{
    poll_forget_settings(server);
    if (reply->kind == REPLY_ERROR)
        return 0; /* without the right to read them they stay unknown */
    if (reply->kind != REPLY_LIST || reply->item_count % 2)
        return err_set(err, E_PROTO, "CONFIG GET: unexpected kind of reply");
    for (size_t i = 0; i < reply->item_count; i += 2) {
        int rc = server_setting_parse(reply->items[i], reply->items[i + 1], server, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int poll_take(unsigned ask, const struct reply *replies, size_t count, struct server *server,
              struct view *view, struct arena *arena, enum reach *ret_reach, struct err *err)
{
    *ret_reach = REACH_ERROR;
    assert(count > 0);
    if (!(ask & POLL_LIGHT))
        return poll_take_info(&replies[0], INFO_REPLICATION, server, ret_reach, err);
    assert(count == 3 + (size_t) !!(ask & POLL_FULL) + (size_t) !!(ask & POLL_SETTINGS));
    int rc = poll_take_light(replies, server, ret_reach, err);
    if (rc < 0)
        return rc;
    size_t next = 3;
    if (ask & POLL_FULL) {
        struct span text = {0};
        rc = poll_text(&replies[next++], "CLUSTER NODES", &text, ret_reach, err);
        if (rc < 0)
            return rc;
        rc = cluster_nodes_parse(text, arena, view, err);
        if (rc < 0)
            return rc;
        server->view = view;
    }
    if (ask & POLL_SETTINGS)
        return poll_take_settings(&replies[next], server, err);
    return 0;
}

void poll_forget_settings(struct server *server)
{
    server->node_timeout_ms = 0;
    server->diskless_delay_s = -1;
    server->min_replicas = -1;
    server->replica_migration = -1;
    server->no_failover = -1;
    server->announce_ip[0] = '\0';
    server->rdb_saves = -1;
    server->rdb_at_end = -1;
}

void poll_forget_process(struct server *server)
{
    poll_forget_settings(server);
    server->aof = -1;
    server->aof_rewriting = server->aof_written = server->rdb_written = false;
}

#define POLL_HASH(hash, field) text_hash((hash), &(field), sizeof(field))
#define POLL_HASH_TEXT(hash, field) text_hash((hash), (field), strlen(field))

static uint64_t poll_digest_view(uint64_t hash, const struct view *view)
{
    hash = POLL_HASH(hash, view->hash);
    hash = POLL_HASH(hash, view->open_count);
    for (size_t i = 0; i < view->node_count; i++) {
        hash = POLL_HASH_TEXT(hash, view->nodes[i].ip);
        hash = POLL_HASH(hash, view->nodes[i].connected);
        hash = POLL_HASH(hash, view->nodes[i].flags);
    }
    return hash;
}

uint64_t poll_figures(const struct server *server)
{
    uint64_t hash = POLL_HASH_TEXT(TEXT_HASH_SEED, server->id.hex);
    hash = POLL_HASH(hash, server->primary);
    hash = POLL_HASH(hash, server->state_ok);
    hash = POLL_HASH(hash, server->slots_assigned);
    hash = POLL_HASH(hash, server->slots_ok);
    hash = POLL_HASH(hash, server->known_nodes);
    hash = POLL_HASH(hash, server->size);
    hash = POLL_HASH(hash, server->current_epoch);
    return POLL_HASH(hash, server->my_epoch);
}

uint64_t poll_digest(const struct server *server)
{
    bool empty = server->keys == 0;
    uint64_t hash = POLL_HASH(TEXT_HASH_SEED, server->reach);
    uint64_t figures = poll_figures(server);
    hash = POLL_HASH(hash, figures);
    hash = POLL_HASH_TEXT(hash, server->run_id);
    hash = POLL_HASH_TEXT(hash, server->primary_ip);
    hash = POLL_HASH(hash, server->primary_port);
    hash = POLL_HASH(hash, server->link_up);
    hash = POLL_HASH(hash, empty);
    hash = POLL_HASH(hash, server->node_timeout_ms);
    hash = POLL_HASH(hash, server->diskless_delay_s);
    hash = POLL_HASH(hash, server->replica_migration);
    hash = POLL_HASH(hash, server->no_failover);
    hash = POLL_HASH_TEXT(hash, server->announce_ip);
    hash = POLL_HASH(hash, server->vote_requests);
    hash = POLL_HASH(hash, server->slot_jobs);
    hash = POLL_HASH(hash, server->aof_rewriting);
    hash = POLL_HASH(hash, server->aof);
    hash = POLL_HASH(hash, server->aof_written);
    hash = POLL_HASH(hash, server->rdb_written);
    hash = POLL_HASH(hash, server->rdb_saves);
    hash = POLL_HASH(hash, server->min_replicas);
    hash = POLL_HASH(hash, server->rdb_at_end);
    return server->view ? poll_digest_view(hash, server->view) : hash;
}

size_t probe_commands(struct peer_command *ret_commands)
{
    size_t count = 0;
    POLL_ADD("CLUSTER", "MYID");
    POLL_ADD("INFO", "replication", "keyspace");
    POLL_ADD("CLUSTER", "INFO");
    return count;
}

int probe_take(const struct reply *replies, size_t count, struct probe *ret_probe, struct err *err)
{
    assert(count == 3);
    (void)count;
    struct server server = {0};
    enum reach reach;
    struct span text = {0};
    int rc = poll_text(&replies[0], "CLUSTER MYID", &text, &reach, err);
    if (rc < 0)
        return rc;
    rc = server_id_parse(text, &server, err);
    if (rc < 0)
        return rc;
    rc = poll_take_info(&replies[1], PROBE_INFO, &server, &reach, err);
    if (rc < 0)
        return rc;
    rc = poll_text(&replies[2], "CLUSTER INFO", &text, &reach, err);
    if (rc < 0)
        return rc;
    rc = cluster_info_parse(text, &server, err);
    if (rc < 0)
        return rc;
    *ret_probe = (struct probe){.id = server.id,
                                .primary = server.primary,
                                .link_up = server.link_up,
                                .offset = server.offset,
                                .primary_port = server.primary_port,
                                .vote_requests = server.vote_requests,
                                .known_nodes = server.known_nodes,
                                .slots_assigned = server.slots_assigned,
                                .keys = server.keys};
    (void)TEXT_COPY(ret_probe->primary_ip, span_of(server.primary_ip));
    (void)TEXT_COPY(ret_probe->replid, span_of(server.replid));
    return 0;
}
