/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which servers the agent asks, how often, and what it keeps of the answers (io/peers, io/peer).
 * The own server's 200 ms beat is left out: the rules of formation and joining read nothing from it
 * that the 1 s poll does not bring.
 */
#include <assert.h>
#include <string.h>

#include "sim.h"

#define FULL_MS 1000
#define HURRY_MS 25
#define HURRY_FOR_MS 1500
#define SETTINGS_MS 10000
#define EXCHANGE_MS 1000
#define REFUSED_BACKOFF_MS 300

static void on_poll_due(struct sim *sim, const struct event *event);
static void on_polled(struct sim *sim, const struct event *event);

void agent_peer_drop(struct agent_peer *peer)
{
    if (!peer->used)
        return;
    snapshot_release(peer->snap);
    *peer = (struct agent_peer){.gen = peer->gen + 1};
}

static int peer_event_id(const struct agent_peer *peer, int i)
{
    return (int)(peer->gen % 1000000) * PODS_MAX + i;
}

static struct agent_peer *peer_of_event(struct agent *agent, const struct event *event)
{
    struct agent_peer *peer = &agent->peers[event->other % PODS_MAX];
    bool same = peer->used && peer_event_id(peer, event->other % PODS_MAX) == event->other;
    return same ? peer : NULL;
}

static void peer_schedule(struct sim *sim, struct agent *agent, struct agent_peer *peer,
                          int64_t delay_us)
{
    int i = (int)(peer - agent->peers);
    peer->due_us = sim->now_us + delay_us;
    sim_after(sim, delay_us, on_poll_due, agent->index, peer_event_id(peer, i), agent->run, NULL);
}

static void peer_follow(struct sim *sim, struct agent *agent, int i, const char *uid, int addr)
{
    struct agent_peer *peer = &agent->peers[i];
    if (peer->used && peer->addr == addr && strcmp(peer->uid, uid) == 0)
        return;
    agent_peer_drop(peer);
    peer->used = true;
    peer->gen++;
    peer->addr = addr;
    peer->server.replica_migration = -1;
    peer->server.diskless_delay_s = -1;
    text_format(peer->uid, sizeof peer->uid, "%s", uid);
    peer_schedule(sim, agent, peer, MS(1));
}

/* agent_follow_pods(): the own server always, all the others while this agent leads. */
void agent_peers_follow(struct sim *sim, struct agent *agent)
{
    bool wanted[PODS_MAX] = {0};
    wanted[agent->index] = true;
    peer_follow(sim, agent, agent->index, agent->pod_uid, agent->addr);
    const struct world *w = &agent->world;
    for (size_t p = 0; w->leader && p < w->pod_count; p++) {
        const struct pod *pod = &w->pods[p];
        if (pod->ordinal == agent->index || !pod->ip[0])
            continue;
        wanted[pod->ordinal] = true;
        peer_follow(sim, agent, pod->ordinal, pod->uid, sim_addr_parse(pod->ip));
    }
    for (int i = 0; i < PODS_MAX; i++)
        if (!wanted[i])
            agent_peer_drop(&agent->peers[i]);
}

void agent_peers_hurry(struct sim *sim, struct agent *agent)
{
    int64_t until_ms = agent_clock_ms(sim, agent) + HURRY_FOR_MS;
    for (int i = 0; i < PODS_MAX; i++) {
        struct agent_peer *peer = &agent->peers[i];
        if (!peer->used)
            continue;
        peer->hurry_until_ms = until_ms;
        if (!peer->polling && peer->due_us > sim->now_us + MS(HURRY_MS))
            peer_schedule(sim, agent, peer, MS(HURRY_MS));
    }
}

/* What a question to the address would come to now. */
static enum reach peer_reach(const struct sim *sim, const struct agent *agent,
                             const struct agent_peer *peer)
{
    int host = sim_host_at(sim, peer->addr);
    if (host < 0 || !sim_linked(sim, agent->index, host))
        return REACH_TIMEOUT;
    const struct redis *r = &sim->redis[host];
    switch (r->phase) {
    case REDIS_DOWN:
        return REACH_REFUSED;
    case REDIS_LOADING:
        return REACH_LOADING;
    case REDIS_UP:
        break;
    }
    return redis_running(sim, r) ? REACH_OK : REACH_TIMEOUT;
}

static void on_poll_due(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (agent_absent(sim, event, &agent))
        return;
    struct agent_peer *peer = peer_of_event(agent, event);
    if (!peer || peer->polling || peer->due_us > sim->now_us)
        return;
    peer->polling = true;
    peer->asked_ms = agent_clock_ms(sim, agent);
    enum reach reach = peer_reach(sim, agent, peer);
    if (sim_chance(sim, sim->setup.loss_permille))
        reach = REACH_TIMEOUT;
    peer->failing = reach == REACH_TIMEOUT ? reach : REACH_UNKNOWN;
    int host = sim_host_at(sim, peer->addr);
    int64_t wait = MS(EXCHANGE_MS);
    if (reach != REACH_TIMEOUT)
        wait = 2 * sim->latency_us[agent->index][host] + sim_between(sim, 100, 1500);
    sim_after(sim, wait, on_polled, agent->index, event->other, agent->run, NULL);
}

static void peer_forget_settings(struct agent_peer *peer)
{
    peer->settings_ms = 0;
    peer->server.node_timeout_ms = 0;
    peer->server.diskless_delay_s = -1;
    peer->server.replica_migration = -1;
    peer->server.announce_ip[0] = '\0';
}

static void peer_take(struct sim *sim, struct agent *agent, struct agent_peer *peer)
{
    struct redis *r = &sim->redis[sim_host_at(sim, peer->addr)];
    struct server *s = &peer->server;
    char run_id[RUN_ID_SIZE];
    memcpy(run_id, s->run_id, sizeof run_id);
    redis_observe(sim, r, s);
    int64_t now_ms = agent_clock_ms(sim, agent);
    if (strcmp(run_id, s->run_id) != 0)
        peer_forget_settings(peer);
    if (!peer->settings_ms || now_ms < peer->hurry_until_ms ||
        now_ms - peer->settings_ms >= SETTINGS_MS) {
        redis_observe_settings(r, s);
        peer->settings_ms = peer->asked_ms;
    }
    struct snapshot *snap;
    s->view = snapshot_take(sim, r, &snap);
    snapshot_release(peer->snap);
    peer->snap = snap;
    s->seen_ms = s->view_ms = peer->asked_ms;
}

/* "says something else than before, times aside" */
static bool peer_says_same(const struct server *a, const struct server *b)
{
    return a->reach == b->reach && a->view == b->view && a->state_ok == b->state_ok &&
           a->link_up == b->link_up && a->primary == b->primary && a->keys == b->keys &&
           a->slots_ok == b->slots_ok && a->current_epoch == b->current_epoch &&
           a->my_epoch == b->my_epoch && a->node_timeout_ms == b->node_timeout_ms &&
           a->diskless_delay_s == b->diskless_delay_s &&
           a->replica_migration == b->replica_migration &&
           strcmp(a->announce_ip, b->announce_ip) == 0 && strcmp(a->run_id, b->run_id) == 0;
}

static void on_polled(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (agent_absent(sim, event, &agent))
        return;
    struct agent_peer *peer = peer_of_event(agent, event);
    if (!peer)
        return;
    int64_t now_ms = agent_clock_ms(sim, agent);
    struct server before = peer->server;
    enum reach reach = peer->failing ? peer->failing : peer_reach(sim, agent, peer);
    if (now_ms - peer->asked_ms > EXCHANGE_MS)
        reach = REACH_TIMEOUT;
    peer->polling = false;
    peer->server.reach = reach;
    peer->server.asked_ms = peer->asked_ms;
    if (reach == REACH_OK)
        peer_take(sim, agent, peer);
    else
        peer_forget_settings(peer);
    sim->stats->polls++;
    if (!peer_says_same(&before, &peer->server))
        agent_wake(sim, agent);
    int64_t period_ms = now_ms < peer->hurry_until_ms ? HURRY_MS : FULL_MS;
    int64_t wait_ms = peer->asked_ms + period_ms - now_ms;
    if (reach == REACH_REFUSED && wait_ms < REFUSED_BACKOFF_MS)
        wait_ms = REFUSED_BACKOFF_MS;
    peer_schedule(sim, agent, peer, wait_ms > 1 ? MS(wait_ms) : MS(1));
}
