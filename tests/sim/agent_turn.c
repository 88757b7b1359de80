/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's life, its clock, and the turn: world -> plan -> execute (agent.c, agent_world.c). */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

/* agent.h */
#define DEBOUNCE_US MS(20)
#define SETTLE_MS WORLD_FRESH_MS
#define STALL_US MS(2000)
#define LEASE_SECONDS 15
#define NAME_SIZE 16 /* of a node or zone */

static void on_turn(struct sim *sim, const struct event *event);
static void on_resume(struct sim *sim, const struct event *event);

int64_t agent_clock_ms(const struct sim *sim, const struct agent *agent)
{
    int64_t ms = sim->now_us / 1000;
    return agent->clock_offset_ms + ms + ms * agent->clock_ppm / 1000000;
}

bool agent_absent(struct sim *sim, const struct event *event, struct agent **ret_agent)
{
    struct agent *agent = &sim->agents[event->who];
    *ret_agent = agent;
    if (!agent->alive || agent->run != event->run)
        return true;
    if (sim->now_us >= agent->paused_until_us)
        return false;
    sim_after(sim, agent->paused_until_us - sim->now_us, event->fn, event->who, event->other,
              event->run, event->data);
    return true;
}

static void agent_turn_at(struct sim *sim, struct agent *agent, int64_t delay_us)
{
    agent->turn_us = sim->now_us + delay_us;
    sim_after(sim, delay_us, on_turn, agent->index, 0, agent->run, NULL);
}

/* Each wake arms the timer anew, as loop_timer_arm() does. */
void agent_wake(struct sim *sim, struct agent *agent)
{
    if (agent->turn_us != sim->now_us + DEBOUNCE_US)
        agent_turn_at(sim, agent, DEBOUNCE_US);
}

void agent_start(struct sim *sim, int pod, const char *pod_uid, int addr)
{
    struct agent *agent = &sim->agents[pod];
    assert(!agent->alive);
    uint64_t run = agent->run + 1;
    int64_t offset = sim_between(sim, 1000, 100000000);
    int ppm = (int)sim_between(sim, -sim->setup.clock_ppm, sim->setup.clock_ppm);
    memset(agent, 0, sizeof *agent);
    agent->index = pod;
    agent->alive = true;
    agent->run = run;
    agent->clock_offset_ms = offset;
    agent->clock_ppm = ppm;
    agent->addr = addr;
    text_format(agent->pod_uid, sizeof agent->pod_uid, "%s", pod_uid);
    agent->attempts.rng.state = rng_next(&sim->rng);
    agent->entropy[0] = rng_next(&sim->rng);
    agent->entropy[1] = rng_next(&sim->rng);
    agent->rule = "";
    char holder[LEASE_HOLDER_SIZE];
    text_format(holder, sizeof holder, SET_NAME "-%d_%s", pod, pod_uid);
    lease_init(&agent->lease, holder, LEASE_SECONDS, rng_next(&sim->rng));
    agent_kube_start(sim, agent);
    agent_wake(sim, agent);
}

void agent_forget(struct sim *sim, struct agent *agent)
{
    (void)sim;
    agent_end_links(agent);
    for (int i = 0; i < PODS_MAX; i++)
        agent_peer_drop(&agent->peers[i]);
}

void agent_stop(struct sim *sim, struct agent *agent)
{
    if (!agent->alive)
        return;
    agent_forget(sim, agent);
    agent->alive = false;
    agent->run++;
}

/* The stall is noticed first of all: the beat that tells has the highest priority (io/loop.c). */
void agent_pause(struct sim *sim, struct agent *agent, int64_t for_us)
{
    if (!agent->alive || sim->now_us < agent->paused_until_us)
        return;
    sim_trace(sim, sim->redis[agent->index].name, "agent paused for %lld ms",
              (long long)(for_us / 1000));
    agent->paused_until_us = sim->now_us + for_us;
    if (for_us > STALL_US)
        sim_after(sim, for_us, on_resume, agent->index, 0, agent->run, NULL);
}

static void on_resume(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (agent_absent(sim, event, &agent))
        return;
    agent->settle_until_ms = agent_clock_ms(sim, agent) + SETTLE_MS;
    agent_wake(sim, agent);
}

/* "node-3": asked for in each turn, and always the same. */
static void turn_put_name(char *dst, const char *prefix, int number)
{
    static char names[2][PODS_MAX][NAME_SIZE];
    char *name = names[prefix[0] == 'z'][number];
    if (!name[0])
        text_format(name, NAME_SIZE, "%s-%d", prefix, number);
    memcpy(dst, name, NAME_SIZE);
}

static void turn_put_pod(const struct sim *sim, struct agent *agent, const struct api_pod *from,
                         int ordinal, struct pod *pod)
{
    *pod = (struct pod){.ordinal = ordinal,
                        .port = MODEL_PORT,
                        .terminating = from->terminating,
                        .grace_ms = from->grace_ms,
                        .updated = true,
                        .ready = from->ready};
    memcpy(pod->name, sim->redis[ordinal].name, sizeof pod->name);
    memcpy(pod->uid, from->uid, sizeof pod->uid);
    sim_addr_text(from->addr, pod->ip, sizeof pod->ip);
    if (from->node >= 0) {
        turn_put_name(pod->node, "node", from->node);
        turn_put_name(pod->zone, "zone", from->zone);
    }
    const struct agent_mate *mate = &agent->mates[ordinal];
    pod->told = agent_told_of(sim, agent, ordinal, from->uid);
    if (strcmp(from->uid, agent->pod_uid) == 0)
        pod->agent = AGENT_OK;
    else if (strcmp(mate->uid, from->uid) == 0) {
        pod->agent = mate->state;
        pod->agent_seen_ms = mate->seen_ms;
    }
    const struct agent_peer *peer = &agent->peers[ordinal];
    if (peer->used && strcmp(peer->uid, from->uid) == 0)
        pod->server = peer->server;
}

static void turn_observe(struct sim *sim, struct agent *agent)
{
    struct world *w = &agent->world;
    *w = (struct world){
        .now_ms = agent_clock_ms(sim, agent),
        .me = NO_POD,
        .leader = agent_may_act(sim, agent),
        .api_seen_ms = agent_api_seen_ms(agent),
        .api_broken = agent_api_broken(sim, agent),
        .replicas_per_primary = sim->setup.replicas_per_primary,
        .reform_lost = sim->setup.reform_lost,
        .attempts = &agent->attempts,
        .entropy = {agent->entropy[0], agent->entropy[1]},
        .record_problem = "",
        .guards_off = sim->options.guards_off,
        .placement = sim->setup.placement ? PLACE_ENFORCE : PLACE_OFF,
        .placement_interval_ms = sim->setup.placement_interval_ms,
        .place = agent->place,
        .takeover = agent->takeover,
    };
    w->settling = w->now_ms < agent->settle_until_ms;
    memcpy(w->my_pod, sim->redis[agent->index].name, sizeof w->my_pod);
    sim_addr_text(agent->addr, w->my_ip, sizeof w->my_ip);
    struct span holder = span_of(lease_holder(&agent->lease, w->now_ms));
    (void)TEXT_COPY(w->leader_pod, span_until(&holder, '_'));
    if (agent->synced[API_RECORD]) {
        w->record_presence = agent->record ? PRESENCE_PRESENT : PRESENCE_ABSENT;
        w->record = agent->record ? &agent->record->record : NULL;
    }
    w->record_copy = agent->record_copy ? &agent->record_copy->record : NULL;
    text_format(w->set.name, sizeof w->set.name, "%s", SET_NAME);
    if (!agent->synced[API_SET])
        return;
    const struct api_state *state = &sim->api.history[agent->cursor[API_SET]];
    w->set.absent = state->set_absent;
    agent->set_seen = agent->set_seen || !state->set_absent;
    if (!agent->set_seen)
        return;
    w->set.known = true;
    api_set_uid(state->set_uid, w->set.uid);
    w->set.replicas = state->replicas;
    w->set.volumes = sim->setup.volumes;
    w->set.ordered_ready = sim->setup.ordered_ready;
    w->pods = agent->pods;
    if (!agent->synced[API_PODS])
        return;
    const struct api_pod *pods = sim->api.history[agent->cursor[API_PODS]].pods;
    for (int i = 0; i < PODS_MAX; i++) {
        if (!pods[i].exists)
            continue;
        if (strcmp(pods[i].uid, agent->pod_uid) == 0)
            w->me = w->pod_count;
        turn_put_pod(sim, agent, &pods[i], i, &agent->pods[w->pod_count++]);
    }
    w->gone_since_ms = rebirth_look(&agent->rebirth, w);
}

static void turn_publish(struct sim *sim, struct agent *agent, const struct plan *plan)
{
    stats_rule(sim->stats, plan->rule);
    agent->idle = plan->action_count == 0 && !plan->scale.slots;
    if (strcmp(agent->reason, plan->reason) == 0)
        return;
    memcpy(agent->reason, plan->reason, sizeof agent->reason);
    if (strcmp(plan->rule, "leader") != 0 || strcmp(agent->rule, plan->rule) != 0)
        sim_trace(sim, sim->redis[agent->index].name, "plan %s: %s", plan->rule, plan->reason);
    agent->rule = plan->rule;
}

static void on_turn(struct sim *sim, const struct event *event)
{
    struct agent *agent = &sim->agents[event->who];
    bool current = agent->turn_us == event->at_us;
    if (agent_absent(sim, event, &agent)) {
        if (current && agent->alive && agent->run == event->run)
            agent->turn_us = agent->paused_until_us;
        return;
    }
    if (!current)
        return;
    turn_observe(sim, agent);
    agent_remember(sim, agent);
    agent_watch_drain(sim, agent);
    agent_watch_crash(sim, agent);
    agent_watch_people(sim, agent);
    agent_watch_moves(sim, agent);
    arena_reset(&sim->turn_arena);
    struct plan plan;
    plan_next(&agent->world, &sim->turn_arena, &plan);
    place_note(&agent->place, &agent->world, &plan);
    takeover_note(&agent->takeover, &plan.takeover, agent->world.now_ms);
    agent->takeover_verdict = plan.takeover;
    sim->stats->turns++;
    turn_publish(sim, agent, &plan);
    agent_note_people(sim, agent, &plan);
    agent_answer_crash(sim, agent, &plan);
    agent_answer_gate(sim, agent);
    agent_answer_drain(sim, agent, &plan);
    agent->hurries = plan.scale.slots > 0;
    agent_peers_follow(sim, agent, &plan); /* after it, which reads the views of who is left */
    agent_ask_mates(sim, agent, &plan);
    agent->turn_us = 0;
    if (plan.action_count)
        agent_execute(sim, agent, &plan);
    if (!agent->alive)
        return; /* it died at what it sent */
    agent_look_at_slots(sim, agent, &plan);
    agent_move_slots(sim, agent);
    if (!agent->alive)
        return;
    if (agent->turn_us < sim->now_us)
        agent_turn_at(sim, agent, MS(plan_again_ms(&plan)));
}
