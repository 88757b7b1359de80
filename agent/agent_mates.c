/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without Kubernetes every agent asks every other for its digest, and fetches its record where that
 * is newer.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "agent_hosts.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "io/clock.h"

#define MATE_PERIOD_MS 1000
/* While nothing is formed every question is one that somebody waits for. */
#define MATE_HURRY_MS 250
#define MATE_TIMEOUT_MS 1500
#define MATE_COPY_TIMEOUT_MS 5000

const struct host_mate *agent_mates_find(const struct hosts *hosts, const char *ip)
{
    for (size_t i = 0; i < hosts->mate_count; i++)
        if (strcmp(hosts->mates[i].ip, ip) == 0)
            return &hosts->mates[i];
    return NULL;
}

static struct http_request *mate_get(struct host_mate *mate, const char *page, size_t body_max,
                                     int64_t timeout_ms, http_done_fn on_done)
{
    char url[128];
    bool v6 = strchr(mate->ip, ':') != NULL;
    text_format(url, sizeof url, "http://%s%s%s:%d%s", v6 ? "[" : "", mate->ip, v6 ? "]" : "",
                mate->agent->config->http.port, page);
    struct http_call call = {
        .method = "GET",
        .url = url,
        .plain = true,
        .body_max = body_max,
        .timeout_ms = timeout_ms,
        .on_done = on_done,
        .ctx = mate,
    };
    struct err err = {0};
    return http_start(mate->agent->gossip, &call, &err); /* NULL: asked again after a period */
}

/* ---- the record ---- */

/* Nothing that the own server holds could be lost to another cluster's record. */
static bool mate_own_is_empty(const struct agent *agent)
{
    const struct server *s = peers_server(agent->peers, HOSTS_SELF);
    return !s || !s->seen_ms ||
           (s->primary && s->known_nodes == 1 && !s->slots_assigned && !s->keys);
}

static bool mate_is_newer(const struct agent *agent, const struct host_mate *mate)
{
    const struct record *own = host_record_get(agent->hosts->record);
    struct host_word mine = {0};
    struct host_word theirs = {.generation = mate->digest.generation,
                               .state = mate->digest.record_state};
    if (own) {
        mine.generation = own->generation;
        mine.state = own->state;
    }
    return hosts_should_take(&mine, &theirs);
}

static void mate_on_copy(void *ctx, const struct http_response *response)
{
    struct host_mate *mate = ctx;
    struct agent *agent = mate->agent;
    struct host_record *record = agent->hosts->record;
    struct err err = response->err;
    mate->copy = NULL;
    if (err.code != E_OK || response->status != 200)
        return; /* asked for again with its next digest */
    if (!mate_is_newer(agent, mate))
        return; /* another one's copy came first */
    if (host_record_take(record, response->body, mate_own_is_empty(agent), &err) == 0) {
        LOG(LOG_INFO, "record-taken", LOG_S("from", mate->ip),
            LOG_I("generation", host_record_get(record)->generation));
        agent_hosts_publish_record(agent);
        agent_wake(agent);
        return;
    }
    if (err.code == E_CONFLICT || err.code == E_INVALID)
        mate->refused = mate->digest.record;
    LOG(LOG_WARN, "record-refused", LOG_S("from", mate->ip), LOG_S("why", err.msg));
}

/* One at a time, for most have the same. */
static void mate_judge_copy(struct agent *agent, struct host_mate *mate)
{
    const struct hosts *hosts = agent->hosts;
    bool busy = false;
    for (size_t i = 0; i < hosts->mate_count; i++)
        busy |= hosts->mates[i].copy != NULL;
    host_record_heard(hosts->record, mate->digest.generation);
    if (busy || !mate->digest.record || mate->digest.record == mate->refused ||
        !mate_is_newer(agent, mate))
        return;
    mate->copy = mate_get(mate, "/record", RECORD_TEXT_MAX, MATE_COPY_TIMEOUT_MS, mate_on_copy);
}

/* ---- the digest ---- */

static bool mate_says_news(const struct digest *a, const struct digest *b)
{
    return a->set != b->set || a->record != b->record || !node_id_eq(&a->id, &b->id) ||
           strcmp(a->run_id, b->run_id) != 0;
}

static void mate_on_digest(void *ctx, const struct http_response *response)
{
    struct host_mate *mate = ctx;
    struct digest digest;
    struct err err = {0};
    mate->ask = NULL;
    if (response->err.code != E_OK || response->status != 200 ||
        digest_parse(response->body, &digest, &err) < 0) {
        mate->failures++;
        return;
    }
    bool news = !mate->heard_ms || mate->failures || mate_says_news(&digest, &mate->digest);
    mate->failures = 0;
    mate->heard_ms = mate->asked_ms;
    mate->digest = digest;
    mate_judge_copy(mate->agent, mate);
    if (news || mate->agent->plan.stay.pod_count) /* its word is soon too old for a move */
        agent_wake(mate->agent);
}

void agent_mates_ask(struct agent *agent)
{
    const struct hosts *hosts = agent->hosts;
    const struct record *record = host_record_get(hosts->record);
    bool formed = record && record->state == RECORD_FORMED;
    int64_t period_ms = formed ? MATE_PERIOD_MS : MATE_HURRY_MS;
    int64_t next_ms = plan_again_ms(&agent->plan);
    for (size_t i = 0; i < hosts->mate_count; i++) {
        struct host_mate *mate = &hosts->mates[i];
        int64_t due_ms = mate->asked_ms ? mate->asked_ms + period_ms - agent->world.now_ms : 0;
        if (!mate->ask && due_ms <= 0) {
            mate->asked_ms = agent->world.now_ms;
            mate->ask =
                mate_get(mate, "/status?digest", DIGEST_TEXT_MAX, MATE_TIMEOUT_MS, mate_on_digest);
            due_ms = period_ms;
        }
        if (due_ms > 0 && due_ms < next_ms)
            next_ms = due_ms;
    }
    if (!agent->woken)
        loop_timer_arm(agent->turn_timer, next_ms);
}

/* ---- who ---- */

static bool mates_same(const struct hosts *hosts, const char (*addresses)[IP_SIZE], size_t count)
{
    bool same = count == hosts->mate_count;
    for (size_t i = 0; same && i < count; i++)
        same = strcmp(hosts->mates[i].ip, addresses[i]) == 0;
    return same;
}

static void mates_cancel(const struct hosts *hosts)
{
    for (size_t i = 0; i < hosts->mate_count; i++) {
        http_cancel(TAKE(hosts->mates[i].ask));
        http_cancel(TAKE(hosts->mates[i].copy));
    }
}

void agent_mates_follow(struct agent *agent, const char (*addresses)[IP_SIZE], size_t count)
{
    struct hosts *hosts = agent->hosts;
    if (mates_same(hosts, addresses, count))
        return;
    mates_cancel(hosts); /* they point into the old table */
    struct host_mate *mates = xcalloc(count, sizeof *mates);
    for (size_t i = 0; i < count; i++) {
        const struct host_mate *old = agent_mates_find(hosts, addresses[i]);
        if (old)
            mates[i] = *old;
        text_format(mates[i].ip, sizeof mates[i].ip, "%s", addresses[i]);
        mates[i].agent = agent;
    }
    free(hosts->mates);
    hosts->mates = mates;
    hosts->mate_count = count;
}

void agent_mates_close(struct agent *agent)
{
    mates_cancel(agent->hosts);
    free(TAKE(agent->hosts->mates));
    agent->hosts->mate_count = 0;
}

/* ---- what the others see ---- */

void agent_hosts_fill_digest(const struct agent *agent, struct digest *digest)
{
    text_format(digest->zone, sizeof digest->zone, "%s", agent->config->cluster.zone);
    digest->set = agent->hosts->set;
    digest->record = host_record_hash(agent->hosts->record);
    const struct record *own = host_record_get(agent->hosts->record);
    if (own) {
        digest->generation = own->generation;
        digest->record_state = own->state;
    }
}

void agent_hosts_publish_record(struct agent *agent)
{
    struct span text = host_record_text(agent->hosts->record);
    if (text.len)
        http_server_publish(agent->http, HTTP_PAGE_RECORD, text);
}
