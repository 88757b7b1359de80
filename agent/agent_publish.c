/* SPDX-License-Identifier: Apache-2.0 */
/* Tells people: the turn's sentence in the log, and the pages that the HTTP server serves. */
#include <string.h>

#include "agent.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "core/facts.h"
#include "core/status.h"
#include "version.h"
#include "wire/digest.h"
#include "wire/metrics_text.h"
#include "wire/status_json.h"

/* Pages are made anew this often, and whenever the sentence changes. */
#define PUBLISH_PERIOD_MS 1000

static void publish_sentence(struct agent *agent)
{
    const struct plan *plan = &agent->plan;
    if (strcmp(agent->said, plan->reason) == 0)
        return;
    text_format(agent->said, sizeof agent->said, "%s", plan->reason);
    agent->published_ms = 0;
    LOG(LOG_INFO, "turn", LOG_ABOUT("turn"), LOG_S("rule", plan->rule), LOG_S("msg", plan->reason),
        LOG_I("actions", (int64_t)plan->action_count));
}

/*
 * What the leader does or waits for, and each agent for its own pod, that an operator looks for in
 * `kubectl describe`, once it has stood for a while: by the rule that speaks. Single acts have Events
 * of their own (agent_act.c). Who does not lead gets no further than `drain`, which is its own.
 */
static const struct telling {
    const char *rule;
    const char *reason;
    bool warning;
    int64_t after_ms;
} TELLINGS[] = {
    {"record", "RecordProblem", true, 3000},        {"rebirth", "ClusterLost", true, 3000},
    {"adopt", "AdoptionWaits", false, 10000},       {"form-wait", "FormationWaits", false, 10000},
    {"form-replan", "FormationWaits", true, 10000}, {"held", "PrimaryHeld", true, 0},
    {"serving", "SlotsNotServed", true, 3000},      {"members", "ServerLeftAlone", true, 3000},
    {"meet", "NodesIntroduced", false, 0},          {"follow", "ReplicaRepointed", false, 0},
    {"chain", "ReplicaRepointed", false, 0},        {"strangers", "StrangerNode", true, 3000},
    {"forget", "NodeNotForgotten", false, 10000},   {"drain-silent", "DrainWaits", false, 10000},
    {"drain", "DrainWaits", false, 10000},
};

static void publish_event(struct agent *agent)
{
    const char *rule = agent->plan.rule;
    int64_t now_ms = agent->world.now_ms;
    if (agent->speaks.rule != rule) {
        agent->speaks.rule = rule;
        agent->speaks.since_ms = now_ms;
        agent->speaks.told = false;
    }
    if (!agent->events || agent->speaks.told)
        return;
    for (size_t i = 0; i < ARRAY_LEN(TELLINGS); i++) {
        const struct telling *t = &TELLINGS[i];
        if (strcmp(t->rule, rule) != 0 || now_ms - agent->speaks.since_ms < t->after_ms)
            continue;
        agent->speaks.told = true;
        event_client_post(agent->events, t->warning, t->reason, agent->plan.reason);
    }
}

static void publish_leader(struct agent *agent)
{
    const struct world *w = &agent->world;
    bool leader = agent->hosts ? agent->hosts->verdict.watch : w->leader;
    if (leader == agent->was_leader)
        return;
    agent->was_leader = leader;
    LOG(LOG_INFO, leader ? "leading" : "not-leading", LOG_ABOUT("leader"),
        LOG_S("msg", agent->hosts ? "the first of the servers that are well leads"
                     : leader     ? "this agent holds the Lease"
                                  : "this agent lost the Lease"),
        LOG_S("leader", w->leader_pod));
}

static void publish_problem(struct agent *agent)
{
    if (agent->hosts)
        return; /* the turn's sentence says it */
    const char *problem = kube_state_problem(agent->state);
    if (strcmp(agent->problem, problem) == 0)
        return;
    text_format(agent->problem, sizeof agent->problem, "%s", problem);
    if (problem[0])
        LOG(LOG_WARN, "api-problem", LOG_ABOUT("api"), LOG_S("msg", problem));
    else
        LOG(LOG_INFO, "api-well", LOG_ABOUT("api"),
            LOG_S("msg", "the Kubernetes API answers everything again"));
}

static void publish_readiness(struct agent *agent, bool was_ready)
{
    const struct readiness *r = &agent->readiness;
    struct span reason = span_of(r->reason);
    if (r->ready != was_ready)
        LOG(LOG_INFO, r->ready ? "ready" : "not-ready", LOG_ABOUT("readiness"),
            LOG_S("msg", r->reason));
    http_server_publish_ready(agent->http, r->ready, reason);
    hook_server_publish_ready(agent->hook, r->ready, r->reason);
}

static void publish_digest(struct agent *agent)
{
    const struct world *w = &agent->world;
    const struct pod *me = w->me == NO_POD ? NULL : &w->pods[w->me];
    struct digest digest = {
        .offset = -1, .waits_ms = -1, .moves = -1, .quiet_ms = -1, .age_ms = -1};
    if (me && !agent->hosts)
        digest.pod = digest_pod(me->uid);
    if (!agent_gate_digest(agent, &digest) && me && me->server.seen_ms) {
        const struct server *s = &me->server;
        memcpy(digest.run_id, s->run_id, sizeof digest.run_id);
        digest.id = s->id;
        digest.role = s->primary ? DIGEST_PRIMARY : DIGEST_REPLICA;
        digest.link_up = s->link_up;
        digest.offset = s->offset;
        digest.epoch = s->current_epoch;
        digest.age_ms = w->now_ms - s->seen_ms;
        if (s->view) {
            digest.primary = s->view->myself->primary;
            digest.view_hash = s->view->hash;
            digest.open_slots = (uint32_t)s->view->open_count;
        }
    }
    if (agent->hosts)
        agent_hosts_fill_digest(agent, &digest);
    digest.moves = w->moves.carries ? w->moves.read : -1;
    digest.drain = agent_drains(agent)     ? DIGEST_DRAIN_RUNNING
                   : agent->drain.since_ms ? DIGEST_DRAIN_DONE
                                           : DIGEST_DRAIN_NONE;
    if (hook_server_server_running(agent->hook))
        digest.gate = DIGEST_GATE_OPEN;
    auto_buf struct buf text;
    buf_init(&text, DIGEST_TEXT_MAX);
    if (digest_format(&text, &digest) == 0)
        http_server_publish(agent->http, HTTP_PAGE_DIGEST, (struct span){buf_str(&text), text.len});
}

static void publish_api_counters(struct agent *agent)
{
    struct metrics_counters *to = &agent->counters;
    size_t count;
    if (agent->hosts)
        return;
    const struct kube_counter *from = kube_client_counters(agent->kube, &count);
    to->api_count = 0;
    to->api_other = 0;
    for (size_t i = 0; i < count; i++) {
        if (to->api_count == METRICS_API_PAIRS) {
            to->api_other += from[i].count;
            continue;
        }
        struct metrics_api_count *pair = &to->api[to->api_count++];
        *pair = (struct metrics_api_count){.code = from[i].code, .count = from[i].count};
        text_format(pair->verb, sizeof pair->verb, "%s", kube_verb_name(from[i].verb));
    }
}

static void publish_pages(struct agent *agent)
{
    const struct world *w = &agent->world;
    struct facts facts;
    struct status status;
    facts_gather(w, &agent->arena, &facts);
    status_gather(w, &facts, &agent->plan, &agent->arena, &status);
    auto_buf struct buf text;
    buf_init(&text, STATUS_JSON_MAX);
    if (status_json_format(&text, &status) == 0)
        http_server_publish(agent->http, HTTP_PAGE_STATUS, (struct span){buf_str(&text), text.len});
    publish_api_counters(agent);
    const struct pod *me = w->me == NO_POD ? NULL : &w->pods[w->me];
    struct metrics metrics = {
        .status = &status,
        .counters = &agent->counters,
        .version = MUSTER_VERSION,
        .commit = MUSTER_COMMIT,
        .slots_to_move = agent->plan.scale.slots,
        .now_ms = w->now_ms,
        .view_ms = me ? me->server.view_ms : 0,
        .server_up = me && world_server_fresh(w, me),
        .info = peers_info(agent->peers, agent->identity.pod_uid),
    };
    buf_clear(&text);
    if (metrics_text_format(&text, &metrics) == 0)
        http_server_publish(agent->http, HTTP_PAGE_METRICS,
                            (struct span){buf_str(&text), text.len});
}

void agent_publish(struct agent *agent)
{
    bool was_ready = agent->readiness.ready;
    log_tick();
    publish_leader(agent);
    agent_publish_pause(agent);
    publish_sentence(agent);
    publish_event(agent);
    publish_problem(agent);
    readiness_step(&agent->readiness, &agent->world);
    publish_readiness(agent, was_ready);
    publish_digest(agent);
    if (agent->published_ms && agent->world.now_ms - agent->published_ms < PUBLISH_PERIOD_MS)
        return;
    agent->published_ms = agent->world.now_ms;
    publish_pages(agent);
}
