/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which servers the agent asks, how often, and what it keeps of the answers (io/peers, io/peer).
 * The own server's 200 ms beat is left out: the rules of formation and joining read nothing from it
 * that the 1 s poll does not bring.
 */
#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "core/observe.h"
#include "sim.h"

#define LIGHT_MS 1000
#define HURRY_FOR_MS 1500
#define VIEW_KEEP_MS 12000
#define SLACK_MS 5
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

void agent_peer_broke(struct sim *sim, struct agent *agent, int pod)
{
    struct agent_peer *peer = &agent->peers[pod];
    if (peer->used && !peer->polling)
        peer_schedule(sim, agent, peer, MS(1));
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
    peer->server.no_failover = -1;
    peer->server.diskless_delay_s = -1;
    text_format(peer->uid, sizeof peer->uid, "%s", uid);
    peer_schedule(sim, agent, peer, MS(1));
}

static void peer_obey(struct sim *sim, struct agent *agent, struct agent_peer *peer,
                      const struct observe_ask *ask)
{
    int64_t now_ms = agent_clock_ms(sim, agent);
    peer->full_ms = ask->rhythm.full_ms;
    peer->read = peer->read || ask->read;
    int64_t soon_ms = ask->read ? 1 : LIGHT_MS;
    if (ask->hurry_ms) {
        peer->hurry_ms = ask->hurry_ms;
        peer->hurry_until_ms = now_ms + HURRY_FOR_MS;
        soon_ms = ask->hurry_ms;
    }
    if (!peer->polling && peer->due_us > sim->now_us + MS(soon_ms))
        peer_schedule(sim, agent, peer, MS(soon_ms));
    if (peer->server.view && now_ms - peer->server.view_ms > VIEW_KEEP_MS) {
        snapshot_release(peer->snap);
        peer->snap = NULL;
        peer->server.view = NULL;
    }
}

/* agent_follow_pods(): whom core/observe.h says. */
void agent_peers_follow(struct sim *sim, struct agent *agent, const struct plan *plan)
{
    bool wanted[PODS_MAX] = {0};
    const struct world *w = &agent->world;
    /* Gate and drain judge by the views of all (agent_follow_pods). */
    bool judges = agent->gate_asks || agent_drains(agent) || plan->crash.hold;
    bool watch = w->leader || judges;
    size_t sweep_max = judges ? NODES_MAX : sim->setup.sweep_max;
    const struct observe_ask *asks = observe_choose(w, plan, watch, sweep_max, &sim->turn_arena);
    struct observe_ask own = {.rhythm = observe_own_rhythm(w->pod_count, watch)};
    wanted[agent->index] = true;
    peer_follow(sim, agent, agent->index, agent->pod_uid, agent->addr);
    peer_obey(sim, agent, &agent->peers[agent->index], w->me == NO_POD ? &own : &asks[w->me]);
    for (size_t p = 0; p < w->pod_count; p++) {
        const struct pod *pod = &w->pods[p];
        if (pod->ordinal == agent->index || !asks[p].dial)
            continue;
        wanted[pod->ordinal] = true;
        peer_follow(sim, agent, pod->ordinal, pod->uid, sim_addr_parse(pod->ip));
        peer_obey(sim, agent, &agent->peers[pod->ordinal], &asks[p]);
    }
    for (int i = 0; i < PODS_MAX; i++)
        if (!wanted[i])
            agent_peer_drop(&agent->peers[i]);
}

enum reach agent_reach(const struct sim *sim, const struct agent *agent, int addr)
{
    int host = sim_host_at(sim, addr);
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
    bool due = peer->full_ms && (!peer->full_asked_ms ||
                                 peer->asked_ms - peer->full_asked_ms >= peer->full_ms - SLACK_MS);
    peer->full = due || peer->read || peer->asked_ms < peer->hurry_until_ms;
    if (peer->full) {
        peer->full_asked_ms = peer->asked_ms;
        peer->read = false;
    }
    enum reach reach = agent_reach(sim, agent, peer->addr);
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
    peer->server.no_failover = -1;
    peer->server.announce_ip[0] = '\0';
}

/* The connection is gone: whoever answers next is asked everything. */
static void peer_lose(struct agent_peer *peer)
{
    peer_forget_settings(peer);
    peer->full_asked_ms = 0;
}

static bool peer_is_outdated(const struct server *now, const struct server *at_view)
{
    return now->primary != at_view->primary || now->state_ok != at_view->state_ok ||
           now->slots_assigned != at_view->slots_assigned || now->slots_ok != at_view->slots_ok ||
           now->known_nodes != at_view->known_nodes || now->size != at_view->size ||
           now->current_epoch != at_view->current_epoch || now->my_epoch != at_view->my_epoch;
}

static void peer_take(struct sim *sim, struct agent *agent, struct agent_peer *peer)
{
    struct redis *r = &sim->redis[sim_host_at(sim, peer->addr)];
    struct server *s = &peer->server;
    char run_id[RUN_ID_SIZE];
    memcpy(run_id, s->run_id, sizeof run_id);
    redis_observe(sim, r, s);
    int64_t now_ms = agent_clock_ms(sim, agent);
    if (strcmp(run_id, s->run_id) != 0) {
        peer_forget_settings(peer);
        s->view = NULL; /* another process: nothing that was read before is its */
        s->view_hash = 0;
        peer->full_asked_ms = 0;
    }
    if (!peer->settings_ms || now_ms < peer->hurry_until_ms ||
        now_ms - peer->settings_ms >= SETTINGS_MS) {
        redis_observe_settings(r, s);
        s->settings_ms = peer->settings_ms = peer->asked_ms;
    }
    s->seen_ms = s->beat_ms = peer->asked_ms;
    if (peer->full) {
        struct snapshot *snap;
        s->view = snapshot_take(r, &snap);
        snapshot_release(peer->snap);
        peer->snap = snap;
        s->view_ms = peer->asked_ms;
        s->view_hash = s->view->hash;
        peer->at_view = *s;
    }
    s->view_outdated = s->view_hash && peer_is_outdated(s, &peer->at_view);
}

/* "says something else than before, times aside" */
static bool peer_says_same(const struct server *a, const struct server *b)
{
    return a->reach == b->reach && a->view == b->view && a->state_ok == b->state_ok &&
           a->view_outdated == b->view_outdated && a->link_up == b->link_up &&
           a->primary == b->primary && a->vote_requests == b->vote_requests && a->keys == b->keys &&
           a->slots_ok == b->slots_ok && a->current_epoch == b->current_epoch &&
           a->my_epoch == b->my_epoch && a->node_timeout_ms == b->node_timeout_ms &&
           a->diskless_delay_s == b->diskless_delay_s &&
           a->replica_migration == b->replica_migration && a->no_failover == b->no_failover &&
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
    enum reach reach = peer->failing ? peer->failing : agent_reach(sim, agent, peer->addr);
    if (now_ms - peer->asked_ms > EXCHANGE_MS)
        reach = REACH_TIMEOUT;
    peer->polling = false;
    peer->server.reach = reach;
    peer->server.asked_ms = peer->asked_ms;
    if (reach == REACH_OK)
        peer_take(sim, agent, peer);
    else
        peer_lose(peer);
    sim->stats->polls++;
    if (!peer_says_same(&before, &peer->server))
        agent_wake(sim, agent);
    int64_t period_ms = now_ms < peer->hurry_until_ms ? peer->hurry_ms : LIGHT_MS;
    int64_t wait_ms = peer->asked_ms + period_ms - now_ms;
    if (reach == REACH_REFUSED && wait_ms < REFUSED_BACKOFF_MS)
        wait_ms = REFUSED_BACKOFF_MS;
    peer_schedule(sim, agent, peer, wait_ms > 1 ? MS(wait_ms) : MS(1));
}
