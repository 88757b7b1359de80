/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out plans as io/executor.h says: per server one run of actions at a time; before it the
 * preconditions are read again; the fence is asked in the callback that sends; after anything but OK
 * the rest of the run is dropped.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "core/pause.h"
#include "core/place.h"
#include "core/reparent.h"
#include "sim.h"

#define EXECUTOR_PROBE_MS 1000
#define EXCHANGE_US MS(1000)
#define EXCHANGE_MS 1000

static void on_probe(struct sim *sim, const struct event *event);
static void on_command(struct sim *sim, const struct event *event);
static void on_reply(struct sim *sim, const struct event *event);

/* A question or command on its way, and its answer on the way back. */
struct exchange {
    int pod;
    uint64_t gen;        /* of the peer */
    uint64_t server_run; /* the connection leads to this process */
    int host;
    int64_t sent_ms;
    uint64_t agent_run;
    struct action action;
    struct probe probe;
    bool answered;
    bool given_up;     /* the sender has stopped waiting for it */
    const char *error; /* of the command; NULL = OK */
};

static struct agent_peer *exec_peer(struct agent *agent, const struct exchange *x)
{
    struct agent_peer *peer = &agent->peers[x->pod];
    return peer->used && peer->gen == x->gen && peer->run.busy ? peer : NULL;
}

static void exec_end(struct sim *sim, struct agent *agent, struct agent_peer *peer)
{
    peer->run.busy = false;
    agent_wake(sim, agent);
}

static bool exec_reachable(const struct sim *sim, const struct agent *agent,
                           const struct exchange *x)
{
    return x->host >= 0 && sim_linked(sim, agent->index, x->host) &&
           sim->redis[x->host].phase == REDIS_UP;
}

static struct exchange *exec_exchange(struct sim *sim, struct agent *agent, struct agent_peer *peer)
{
    struct exchange *x = xcalloc(1, sizeof *x);
    x->pod = (int)(peer - agent->peers);
    x->gen = peer->gen;
    x->host = sim_host_at(sim, peer->addr);
    x->server_run = x->host >= 0 ? sim->redis[x->host].run : 0;
    x->sent_ms = agent_clock_ms(sim, agent);
    x->agent_run = agent->run;
    return x;
}

static int64_t exec_round_trip(struct sim *sim, const struct agent *agent, const struct exchange *x)
{
    return 2 * sim->latency_us[agent->index][x->host] + sim_between(sim, 50, 500);
}

static void exec_fail(struct sim *sim, struct agent *agent, struct agent_peer *peer,
                      const struct action *action, bool refused, const char *why)
{
    char text[128];
    action_format(action, text, sizeof text);
    sim_trace(sim, sim->redis[agent->index].name, "%s at %s -> %s", text,
              sim->redis[peer - agent->peers].name, why);
    (void)attempts_failed(&agent->attempts, action_key(action), agent_clock_ms(sim, agent),
                          action_failed_quiet_ms(action));
    if (action->placing && action->kind != ACTION_CONFIG_SET)
        place_ordered(&agent->place, action, agent_clock_ms(sim, agent));
    if (action->asked_ms && refused)
        handover_refused(&agent->handover, action, why);
    if (action->kind == ACTION_FAILOVER)
        failover_ordered(&agent->failovers, &action->node, &action->subject,
                         agent_clock_ms(sim, agent));
    if (refused)
        crash_note_refused(&agent->crash, action);
    sim->stats->actions_failed++;
    exec_end(sim, agent, peer);
}

/* An order that was not sent has not begun (io/executor.c). */
static void exec_not_sent(struct sim *sim, struct agent *agent, struct agent_peer *peer,
                          const struct action *action)
{
    if (action_failed_quiet_ms(action))
        exec_end(sim, agent, peer);
    else
        exec_fail(sim, agent, peer, action, false, "no answer to the probe");
}

static void exec_send(struct sim *sim, struct agent *agent, struct agent_peer *peer)
{
    struct agent_run *run = &peer->run;
    const struct action *action = &run->actions[run->next];
    const char *why;
    if (!action_still_valid(action, &run->probe, &why)) {
        sim->stats->superseded++;
        exec_end(sim, agent, peer);
        return;
    }
    if (action->authority == AUTHORITY_LEADER && !agent_may_act(sim, agent)) {
        sim->stats->fenced++;
        exec_end(sim, agent, peer);
        return;
    }
    bool reparents = action->placing && action->kind != ACTION_FAILOVER;
    if (!place_may_send(&agent->world, action, agent->drain.since_ms != 0,
                        agent_clock_ms(sim, agent)) ||
        !pause_may_send(&agent->world, agent->person.wish, action) ||
        !agent_may_replace(sim, agent, action) || !agent_may_order(sim, agent, action) ||
        (reparents && !reparent_may_send(&agent->world, action))) {
        exec_end(sim, agent, peer);
        return;
    }
    check_send(sim, agent, action);
    struct exchange *x = exec_exchange(sim, agent, peer);
    x->action = *action;
    bool lost = !exec_reachable(sim, agent, x) || sim_chance(sim, sim->setup.loss_permille);
    int64_t there = lost ? EXCHANGE_US : sim->latency_us[agent->index][x->host];
    sim_after(sim, there, lost ? on_reply : on_command, agent->index, 0, agent->run, x);
    faults_on_send(sim, agent);
}

static void exec_step(struct sim *sim, struct agent *agent, struct agent_peer *peer)
{
    struct agent_run *run = &peer->run;
    int64_t now_ms = agent_clock_ms(sim, agent);
    if (run->next == run->count) {
        exec_end(sim, agent, peer);
        return;
    }
    if (run->probe_ms && now_ms - run->probe_ms <= EXECUTOR_PROBE_MS) {
        exec_send(sim, agent, peer);
        return;
    }
    struct exchange *x = exec_exchange(sim, agent, peer);
    bool lost = !exec_reachable(sim, agent, x) || sim_chance(sim, sim->setup.loss_permille);
    int64_t wait = lost ? EXCHANGE_US : exec_round_trip(sim, agent, x);
    x->answered = !lost;
    sim_after(sim, wait, on_probe, agent->index, 0, agent->run, x);
}

/* The exchange of an agent that is gone is freed; of one that is paused, it waits. */
static bool exec_absent(struct sim *sim, const struct event *event, struct agent **ret_agent)
{
    if (!agent_absent(sim, event, ret_agent))
        return false;
    if (!(*ret_agent)->alive || (*ret_agent)->run != event->run)
        free(event->data);
    return true;
}

static void on_probe(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (exec_absent(sim, event, &agent))
        return;
    struct exchange *x = event->data;
    struct agent_peer *peer = exec_peer(agent, x);
    if (!peer) {
        free(x);
        return;
    }
    struct agent_run *run = &peer->run;
    bool late = agent_clock_ms(sim, agent) - x->sent_ms > EXCHANGE_MS;
    if (!x->answered || late || !exec_reachable(sim, agent, x) ||
        sim->redis[x->host].run != x->server_run || !redis_running(sim, &sim->redis[x->host])) {
        exec_not_sent(sim, agent, peer, &run->actions[run->next]);
    } else {
        redis_probe(sim, &sim->redis[x->host], &run->probe);
        run->probe_ms = x->sent_ms;
        exec_send(sim, agent, peer);
    }
    free(x);
}

/* The command waits in the socket of a paused server; its sender waits no longer than a deadline. */
static void exec_give_up(struct sim *sim, const struct event *event, struct exchange *x)
{
    if (x->given_up)
        return;
    struct exchange *failed = xcalloc(1, sizeof *failed);
    *failed = *x;
    x->given_up = true;
    sim_after(sim, EXCHANGE_US, on_reply, event->who, 0, event->run, failed);
}

/* The command arrives, whatever became of its sender. */
static void on_command(struct sim *sim, const struct event *event)
{
    struct exchange *x = event->data;
    struct redis *r = &sim->redis[x->host];
    struct agent *agent = &sim->agents[event->who];
    int64_t back = sim->latency_us[agent->index][x->host];
    if (r->run != x->server_run || r->phase != REDIS_UP) {
        if (x->given_up)
            free(x);
        else
            sim_after(sim, back, on_reply, event->who, 0, event->run, x);
        return;
    }
    if (sim->now_us < r->paused_until_us) {
        exec_give_up(sim, event, x);
        sim_after(sim, r->paused_until_us - sim->now_us, on_command, event->who, 0, event->run, x);
        return;
    }
    struct action_args args;
    action_command(&x->action, &args);
    sim->commands++;
    if (x->action.placing && x->action.kind == ACTION_REPLICATE)
        faults_on_reparent(sim, r, x->action.subject.hex);
    x->error = check_and_command(sim, agent, r, &x->action, &args);
    x->answered = true;
    char text[128];
    action_format(&x->action, text, sizeof text);
    sim_trace(sim, sim->redis[agent->index].name, "%s at %s -> %s", text, r->name,
              x->error ? x->error : "OK");
    if (x->given_up) {
        free(x);
        return;
    }
    if (!sim_linked(sim, agent->index, x->host)) {
        x->answered = false;
        back = EXCHANGE_US;
    }
    sim_after(sim, back, on_reply, event->who, 0, event->run, x);
}

static void on_reply(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (exec_absent(sim, event, &agent))
        return;
    struct exchange *x = event->data;
    struct agent_peer *peer = exec_peer(agent, x);
    int64_t now_ms = agent_clock_ms(sim, agent);
    if (!peer) {
        free(x);
        return;
    }
    struct agent_run *run = &peer->run;
    bool late = now_ms - x->sent_ms > EXCHANGE_MS;
    if (!x->answered || late || x->error) {
        exec_fail(sim, agent, peer, &x->action, x->answered && !late,
                  x->answered && !late ? x->error : "no answer in time");
    } else {
        attempts_succeeded(&agent->attempts, action_key(&x->action), now_ms,
                           action_quiet_ms(&x->action));
        if (x->action.placing && x->action.kind != ACTION_CONFIG_SET)
            place_ordered(&agent->place, &x->action, now_ms);
        if (x->action.kind == ACTION_FAILOVER)
            failover_ordered(&agent->failovers, &x->action.node, &x->action.subject, now_ms);
        sim->stats->actions_ok++;
        run->next++;
        exec_step(sim, agent, peer);
    }
    free(x);
}

static void exec_enqueue(struct sim *sim, struct agent *agent, const struct plan *plan, size_t pod)
{
    struct agent_peer *peer = &agent->peers[agent->world.pods[pod].ordinal];
    if (!peer->used || peer->run.busy)
        return;
    struct agent_run *run = &peer->run;
    *run = (struct agent_run){.busy = true};
    for (size_t i = 0; i < plan->action_count && run->count < RUN_ACTIONS_MAX; i++)
        if (plan->actions[i].pod == pod)
            run->actions[run->count++] = plan->actions[i];
    exec_step(sim, agent, peer);
}

void agent_execute(struct sim *sim, struct agent *agent, const struct plan *plan)
{
    bool seen[PODS_MAX] = {0};
    for (size_t i = 0; i < plan->action_count; i++) {
        const struct action *action = &plan->actions[i];
        if (action->kind == ACTION_RECORD_PUT) {
            agent_put_record(sim, agent, action);
        } else if (!seen[action->pod]) {
            seen[action->pod] = true;
            exec_enqueue(sim, agent, plan, action->pod);
        }
    }
}
