/* SPDX-License-Identifier: Apache-2.0 */
/* Composition and the turn. */
#include "agent.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "core/place.h"
#include "io/clock.h"
#include "version.h"

void agent_wake(struct agent *agent)
{
    if (agent->woken) /* or a steady stream of news would put the turn off for ever */
        return;
    agent->woken = true;
    loop_timer_arm(agent->turn_timer, AGENT_DEBOUNCE_MS);
}

static void agent_on_change(void *ctx)
{
    agent_wake(ctx);
}

static void agent_on_stall(void *ctx, int64_t delay_ms)
{
    struct agent *agent = ctx;
    agent->settle_until_ms = clock_mono_ms() + AGENT_SETTLE_MS;
    LOG(LOG_WARN, "stall",
        LOG_S("msg", "the agent did not run or the clock jumped: observing first"),
        LOG_I("delay_ms", delay_ms));
    agent_wake(agent);
}

/* What hangs on the StatefulSet's name: Lease, record and the object that Events are about. */
static void agent_follow_set(struct agent *agent)
{
    const struct stateful_set *set = &agent->world.set;
    if (agent->hosts)
        return;
    char name[POD_NAME_SIZE + sizeof "-muster"] = "";
    if (set->name[0])
        text_format(name, sizeof name, "%s-muster", set->name);
    lease_client_follow(agent->lease, name);
    lease_client_set_crowd(agent->lease, agent->world.pod_count);
    /* Who holds the Lease but is late with its renewal leads again in a moment. */
    kube_state_lead(agent->state, agent->world.leader ||
                                      (agent->world.leader_pod[0] &&
                                       strcmp(agent->world.leader_pod, agent->world.my_pod) == 0));
    record_client_follow(agent->records, name);
    if (set->known)
        event_client_about(agent->events, set->name, set->uid);
}

static void agent_turn(void *ctx)
{
    struct agent *agent = ctx;
    agent->woken = false;
    http_server_turned(agent->http);
    agent_observe(agent);
    plan_next(&agent->world, &agent->arena, &agent->plan);
    place_note(&agent->place, &agent->world, &agent->plan);
    scale_pace_note(&agent->pace, agent->plan.scale.slots, agent->world.now_ms);
    takeover_note(&agent->takeover, &agent->plan.takeover, agent->world.now_ms);
    agent_publish(agent);
    agent_answer_people(agent);
    agent_answer_crash(agent);
    agent_answer_hook(agent);
    agent_answer_drain(agent);
    agent_execute(agent);
    agent_look_at_slots(agent);
    agent_move_slots(agent);
    agent->counters.turns++;
    /* Last: servers that are no longer followed take along what the world still points to. */
    agent_follow_set(agent);
    agent_follow_pods(agent);
    if (!agent->woken)
        loop_timer_arm(agent->turn_timer, plan_again_ms(&agent->plan));
    agent_ask_mates(agent);
}

static void agent_on_released(void *ctx)
{
    struct agent *agent = ctx;
    loop_stop(agent->loop);
}

/* What was done last, a hand-over as a rule, is told before we go. */
static void agent_on_told(void *ctx)
{
    struct agent *agent = ctx;
    lease_client_release(agent->lease, agent_on_released, agent);
}

/*
 * While the server beside us runs we stay: a sidecar is not started again once its pod terminates,
 * and the server is not to be left alone (DESIGN 5.5).
 */
static void agent_leave_if_alone(struct agent *agent)
{
    if (!agent->stopping || hook_server_server_running(agent->hook))
        return;
    if (agent->hosts)
        loop_stop(agent->loop);
    else
        event_client_finish(agent->events, agent_on_told, agent);
}

static void agent_on_term(void *ctx)
{
    struct agent *agent = ctx;
    bool again = agent->stopping;
    agent->stopping = true;
    bool running = hook_server_server_running(agent->hook);
    LOG(LOG_INFO, "stopping",
        LOG_S("msg", running && !again ? "SIGTERM: staying until the server beside has ended"
                                       : "SIGTERM: leaving"));
    if (again && !running)
        loop_stop(agent->loop);
    agent_leave_if_alone(agent);
}

static void agent_on_server_gone(void *ctx)
{
    struct agent *agent = ctx;
    bool told = agent->drain.told_ms != 0;
    LOG(told ? LOG_INFO : LOG_WARN, "server-gone",
        LOG_S("msg", told ? "the server beside has ended, as it was told to"
                          : "the server beside has ended"));
    agent_note_crash(agent);
    agent_end_drain(agent);
    agent_wake(agent);
    agent_leave_if_alone(agent);
}

static int agent_open_api(struct agent *agent, struct err *err)
{
    const struct config *c = agent->config;
    struct kube_client_config client = {
        .api_server = c->kubernetes.api_server,
        .ca_file = c->kubernetes.ca_file,
        .token_file = c->kubernetes.token_file,
        .ns = c->kubernetes.namespace[0] ? c->kubernetes.namespace : agent->identity.pod_namespace,
    };
    agent->kube = kube_client_new(agent->loop, &client, err);
    if (!agent->kube)
        return err->code;
    struct kube_state_config state = {
        .pod_name = agent->identity.pod_name,
        .stateful_set = c->kubernetes.stateful_set,
        .seed = clock_entropy(),
        .on_change = agent_on_change,
        .ctx = agent,
    };
    agent->state = kube_state_new(agent->loop, agent->kube, &state);
    char holder[LEASE_HOLDER_SIZE];
    text_format(holder, sizeof holder, "%s_%s", agent->identity.pod_name, agent->identity.pod_uid);
    struct lease_client_config lease = {
        .pod_name = holder,
        .duration_s = c->kubernetes.lease_seconds,
        .seed = clock_entropy(),
        .on_change = agent_on_change,
        .ctx = agent,
    };
    agent->lease = lease_client_new(agent->loop, agent->kube, &lease);
    agent->records = record_client_new(agent->kube);
    agent->events = event_client_new(agent->loop, agent->kube, agent->identity.pod_name);
    return 0;
}

static int agent_open_servers(struct agent *agent, struct err *err)
{
    agent->gossip = http_client_new(agent->loop, err);
    if (!agent->gossip)
        return err->code;
    const struct redis_tls_config tls = {
        .enabled = agent->config->redis.tls.enabled,
        .ca_file = agent->config->redis.tls.ca_file,
        .cert_file = agent->config->redis.tls.cert_file,
        .key_file = agent->config->redis.tls.key_file,
        .server_name = agent->config->redis.tls.server_name,
    };
    struct peers_config peers = {
        .username = agent->config->redis.username,
        .password_file = agent->config->redis.password_file,
        .tls = &tls,
        .seed = clock_entropy(),
        .on_change = agent_on_change,
        .ctx = agent,
    };
    agent->peers = peers_new(agent->loop, &peers);
    agent_open_twin(agent, &tls);
    struct executor_config executor = {
        .peers = agent->peers,
        .records = agent->records,
        .copy = agent->hosts ? agent->hosts->record : NULL,
        .seed = clock_entropy(),
        .may_send = agent_may_send,
        .on_outcome = agent_on_outcome,
        .ctx = agent,
    };
    agent->executor = executor_new(agent->loop, &executor);
    return 0;
}

static int agent_open_ears(struct agent *agent, struct err *err)
{
    struct hook_server_config hook = agent_hook_config(agent);
    hook.on_server_gone = agent_on_server_gone;
    int r = hook_server_new(&hook, &agent->hook, err);
    if (r < 0)
        return r;
    agent_resume_past(agent);
    /* Our predecessor's verdict stands while its server runs. */
    if (hook_server_server_running(agent->hook) && hook_server_last_ready(agent->hook))
        readiness_resume(&agent->readiness);
    struct http_server_config http = {
        .base = loop_base(agent->loop),
        .priority = LOOP_HTTP,
        .address = agent->config->http.address,
        .port = agent->config->http.port,
        .now_ms = clock_mono_ms,
    };
    return http_server_new(&http, &agent->http, err);
}

static int agent_open(struct agent *agent, struct err *err)
{
    agent->loop = loop_new(err);
    if (!agent->loop)
        return err->code;
    agent->turn_timer = loop_timer_new(agent->loop, agent_turn, agent);
    int r = 0;
    if (agent->config->discovery == DISCOVERY_KUBERNETES)
        r = agent_open_api(agent, err);
    else
        agent_hosts_open(agent);
    if (r == 0)
        r = agent_open_servers(agent, err);
    if (r == 0)
        r = agent_open_ears(agent, err);
    if (r < 0)
        return r;
    if (agent->hosts)
        agent_hosts_publish_record(agent);
    loop_on_stall(agent->loop, agent_on_stall, agent);
    loop_on_signal(agent->loop, SIGTERM, agent_on_term, agent);
    loop_on_signal(agent->loop, SIGINT, agent_on_term, agent);
    return 0;
}

/* Everything accepts NULL, so a half-opened agent is closed the same way. */
static void agent_close(struct agent *agent)
{
    if (agent->hosts)
        agent_mates_close(agent);
    agent_forget_mates(agent);
    free(agent->ours.uids);
    agent_end_looks(agent);
    agent_end_moves(agent);
    free(agent->failovers);
    http_server_free(agent->http);
    hook_server_free(agent->hook);
    executor_free(agent->executor);
    whois_free(agent->whois);
    peers_free(agent->peers);
    http_client_free(agent->gossip);
    agent_hosts_close(agent);
    event_client_free(agent->events);
    record_client_free(agent->records);
    lease_client_free(agent->lease);
    kube_state_free(agent->state);
    kube_client_free(agent->kube);
    loop_timer_free(agent->turn_timer);
    loop_free(agent->loop);
    arena_deinit(&agent->arena);
}

static const char *agent_handover_name(enum config_handover handover)
{
    return handover == HANDOVER_AUTO ? "auto" : handover == HANDOVER_ALWAYS ? "always" : "off";
}

static const char *agent_placement_name(enum config_placement placement)
{
    return placement == PLACEMENT_ENFORCE ? "enforce"
           : placement == PLACEMENT_WARN  ? "warn"
                                          : "off";
}

int agent_run(const struct config *config, const struct identity *identity)
{
    struct agent agent = {.config = config, .identity = *identity};
    struct err err = {0};
    agent.failovers = xcalloc(1, sizeof *agent.failovers);
    arena_init(&agent.arena, TURN_ARENA_MAX);
    agent.attempts.rng.state = clock_entropy();
    agent.entropy[0] = clock_entropy();
    agent.entropy[1] = clock_entropy();
    int r = agent_open(&agent, &err);
    if (r < 0) {
        LOG(LOG_ERROR, "cannot-start", LOG_S("msg", err.msg));
    } else {
        LOG(LOG_INFO, "started", LOG_S("version", MUSTER_VERSION), LOG_S("commit", MUSTER_COMMIT),
            LOG_S("ip", identity->pod_ip),
            LOG_S("crash_handover", agent_handover_name(config->policy.crash_handover)),
            LOG_S("placement", agent_placement_name(config->policy.placement)));
        agent_wake(&agent);
        loop_run(agent.loop);
        LOG(LOG_INFO, "stopped", LOG_S("msg", "bye"));
    }
    agent_close(&agent);
    return r < 0 ? 1 : 0;
}
