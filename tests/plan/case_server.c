/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/case_server.h"

#include "base/cleanup.h"
#include "plan/case_words.h"

void case_server_view(struct server *server, const struct view *view)
{
    server->view = view;
    server->id = view->myself->id;
    server->primary = view->myself->flags & NODE_PRIMARY;
    server->known_nodes = (uint32_t)view->node_count;
    server->slots_assigned = 0;
    server->my_epoch = view->myself->epoch;
    server->current_epoch = 0;
    for (size_t i = 0; i < view->node_count; i++) {
        server->slots_assigned += view->nodes[i].slot_count;
        if (view->nodes[i].epoch > server->current_epoch)
            server->current_epoch = view->nodes[i].epoch;
    }
    server->slots_ok = server->slots_assigned;
}

static bool server_reach(struct server *s, int64_t now_ms, struct span value)
{
    static const char *const names[] = {"unknown", "ok",     "loading", "refused",
                                        "timeout", "denied", "error"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!span_is(value, names[i]))
            continue;
        if (i == REACH_UNKNOWN)
            *s = (struct server){.reach = REACH_UNKNOWN};
        s->reach = (enum reach)i;
        if (i != REACH_OK)
            s->seen_ms = s->view_ms = s->seen_ms ? now_ms - 60000 : 0;
        return true;
    }
    return false;
}

static bool server_number(struct server *s, int64_t now_ms, struct span key, int64_t number)
{
    if (span_is(key, "age"))
        s->seen_ms = s->view_ms = now_ms - number;
    else if (span_is(key, "beat"))
        s->beat_ms = now_ms - number;
    else if (span_is(key, "view-age"))
        s->view_ms = now_ms - number;
    else if (span_is(key, "keys"))
        s->keys = number;
    else if (span_is(key, "offset"))
        s->offset = number;
    else if (span_is(key, "nt"))
        s->node_timeout_ms = number;
    else if (span_is(key, "delay"))
        s->diskless_delay_s = number;
    else if (span_is(key, "min-replicas"))
        s->min_replicas = number;
    else if (span_is(key, "uptime"))
        s->uptime_ms = number;
    else if (span_is(key, "known"))
        s->known_nodes = (uint32_t)number;
    else if (span_is(key, "epoch"))
        s->my_epoch = (uint64_t)number;
    else if (span_is(key, "current"))
        s->current_epoch = (uint64_t)number;
    else if (span_is(key, "assigned"))
        s->slots_assigned = (uint32_t)number;
    else if (span_is(key, "votes"))
        s->vote_requests = number;
    else if (span_is(key, "version"))
        s->version = (int)number;
    else if (span_is(key, "slot-jobs"))
        s->slot_jobs = (uint32_t)number;
    else
        return false;
    return true;
}

static int server_truth(struct span value)
{
    return span_is(value, "yes") ? 1 : span_is(value, "no") ? 0 : -1;
}

/* What a stop would leave on the disk, and which server it is. */
static bool server_disk_word(struct server *s, struct span key, struct span value)
{
    if (span_is(key, "aof")) {
        s->aof = server_truth(value);
        s->aof_written = true;
    } else if (span_is(key, "aof-written")) {
        s->aof_written = !span_is(value, "no");
    } else if (span_is(key, "rewriting")) {
        s->aof_rewriting = !span_is(value, "no");
    } else if (span_is(key, "save")) {
        s->rdb_at_end = s->rdb_saves = server_truth(value);
        s->rdb_written = true;
    } else if (span_is(key, "kind")) {
        s->kind = span_is(value, "valkey") ? SERVER_VALKEY : SERVER_REDIS;
    } else {
        return false;
    }
    return true;
}

static bool server_word(struct server *s, struct span key, struct span value)
{
    if (span_is(key, "view") && span_is(value, "none"))
        s->view = NULL;
    else if (span_is(key, "role"))
        s->primary = span_is(value, "primary");
    else if (span_is(key, "migration"))
        s->replica_migration = server_truth(value);
    else if (span_is(key, "no-failover"))
        s->no_failover = server_truth(value);
    else if (span_is(key, "cluster"))
        s->cluster_enabled = !span_is(value, "no");
    else if (span_is(key, "asks"))
        text_format(s->primary_ip, sizeof s->primary_ip, "%.*s", (int)value.len, value.ptr);
    else if (span_is(key, "replid"))
        text_format(s->replid, sizeof s->replid, "%.*s", (int)value.len, value.ptr);
    else if (span_is(key, "online"))
        text_format(s->online[0].ip, sizeof s->online[0].ip, "-"); /* "online=none" */
    else if (span_is(key, "link")) {
        s->link_up = span_is(value, "up");
        s->link_down_ms = span_is(value, "never") ? -1 : 0;
    } else if (span_is(key, "state"))
        s->state_ok = !span_is(value, "fail");
    else if (span_is(key, "announce"))
        text_format(s->announce_ip, sizeof s->announce_ip, "%.*s",
                    span_is(value, "-") ? 0 : (int)value.len, value.ptr);
    else
        return server_disk_word(s, key, value);
    return true;
}

bool case_server_apply(struct server *server, int64_t now_ms, struct span words)
{
    struct span word;
    while (span_token(&words, &word)) {
        struct span key = span_until(&word, '=');
        int64_t number;
        bool ok = span_is(key, "reach") ? server_reach(server, now_ms, word)
                  : span_is(key, "id")  ? case_id(word, &server->id)
                  : text_to_i64(word, INT32_MIN, INT64_MAX, &number)
                      ? server_number(server, now_ms, key, number)
                      : server_word(server, key, word);
        if (!ok)
            return false;
    }
    return true;
}
