/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clusterCron and clusterUpdateState. The real cron runs each 100 ms; here a tick is run only when
 * something can be due in it, on the same grid.
 */
#include <assert.h>

#include "sim.h"

#define CRON_US MS(100)
/* CLUSTER_WRITABLE_DELAY, CLUSTER_MIN/MAX_REJOIN_DELAY (FACTS 1). */
#define WRITABLE_DELAY_US MS(2000)
#define REJOIN_MIN_US MS(500)
#define REJOIN_MAX_US MS(5000)
#define RANDOM_PING_US MS(1000)

static void on_cron(struct sim *sim, const struct event *event);
static void on_connect(struct sim *sim, const struct event *event);

static int64_t node_timeout_us(const struct redis *r)
{
    return MS(r->set.node_timeout_ms);
}

static void cron_schedule(struct sim *sim, struct redis *r, int64_t at_us)
{
    int64_t phase = (int64_t)r->index * 7919 % CRON_US;
    int64_t ticks = (at_us - phase + CRON_US - 1) / CRON_US;
    int64_t tick = ticks * CRON_US + phase;
    if (tick <= sim->now_us)
        tick += CRON_US;
    if (r->cron_at_us && r->cron_at_us <= tick && r->cron_at_us >= sim->now_us)
        return;
    r->cron_at_us = tick;
    sim_after(sim, tick - sim->now_us, on_cron, r->index, 0, r->run, NULL);
}

void redis_wake(struct sim *sim, struct redis *r)
{
    if (r->phase == REDIS_UP)
        cron_schedule(sim, r, sim->now_us + 1);
}

static void cron_connect(struct sim *sim, struct redis *r, struct redis_node *n)
{
    n->link = (struct redis_link){
        .state = LINK_CONNECTING, .gen = ++sim->next_gen, .since_us = sim->now_us};
    int host = sim_host_at(sim, n->addr);
    int64_t delay = host < 0 ? sim->setup.lan_us : sim->latency_us[r->index][host];
    sim_after(sim, delay, on_connect, r->index, (int)(n - r->nodes), n->link.gen, NULL);
}

/* What became of a connection attempt: refused, silence (SYN again later), or a process. */
static void on_connect(struct sim *sim, const struct event *event)
{
    struct redis *r = &sim->redis[event->who];
    struct redis_node *n = &r->nodes[event->other];
    if (!n->used || n->link.gen != event->run || r->phase != REDIS_UP)
        return;
    int host = sim_host_at(sim, n->addr);
    if (host < 0 || !sim_linked(sim, r->index, host)) {
        int64_t wait = SECONDS(1) << (n->link.tries < 6 ? n->link.tries : 6);
        n->link.tries++;
        sim_after(sim, wait, on_connect, event->who, event->other, event->run, NULL);
        return;
    }
    struct redis *peer = &sim->redis[host];
    if (peer->phase == REDIS_DOWN) {
        redis_free_link(r, n);
        redis_wake(sim, r);
        return;
    }
    if (peer->phase == REDIS_LOADING) {
        /* clusterAcceptHandler does not accept while a primary loads. */
        sim_after(sim, CRON_US, on_connect, event->who, event->other, event->run, NULL);
        return;
    }
    n->link.state = LINK_UP;
    n->link.peer = host;
    n->link.peer_run = peer->run;
    redis_touch(r);
    int64_t waiting_since = n->ping_us;
    bus_send_ping(sim, r, n, n->flags & NODE_MEET ? BUS_MEET : BUS_PING);
    if (waiting_since)
        n->ping_us = waiting_since;
    n->flags &= ~NODE_MEET;
    redis_wake(sim, r);
}

/* A handshake is given up after max(NT, 1 s) (FACTS 1). */
static bool cron_handshake_expired(const struct sim *sim, const struct redis *r,
                                   const struct redis_node *n)
{
    int64_t limit = node_timeout_us(r) < MS(1000) ? MS(1000) : node_timeout_us(r);
    return n->flags & NODE_HANDSHAKE && sim->now_us - n->created_us > limit;
}

static void cron_reconnect(struct sim *sim, struct redis *r)
{
    for (int i = 1; i < r->node_high; i++) {
        struct redis_node *n = &r->nodes[i];
        if (!n->used || n->flags & NODE_NOADDR)
            continue;
        if (cron_handshake_expired(sim, r, n))
            redis_del_node(sim, r, n);
        else if (n->link.state == LINK_NONE)
            cron_connect(sim, r, n);
    }
}

/* Once a second: of five random nodes the one that has been silent longest. */
static void cron_random_ping(struct sim *sim, struct redis *r)
{
    if (sim->now_us < r->random_ping_us)
        return;
    r->random_ping_us = sim->now_us + RANDOM_PING_US;
    struct redis_node *oldest = NULL;
    for (int tries = 0; tries < 5; tries++) {
        struct redis_node *n = &r->nodes[rng_below(&sim->rng, (uint64_t)r->node_high)];
        if (!n->used || n == redis_myself(r) || n->flags & NODE_HANDSHAKE)
            continue;
        if (n->link.state == LINK_NONE || n->ping_us)
            continue;
        if (!oldest || n->pong_us < oldest->pong_us)
            oldest = n;
    }
    if (oldest)
        bus_send_ping(sim, r, oldest, BUS_PING);
}

#define RETRANSMIT_US SECONDS(1)

/* TCP brings what was lost while the network was cut, once it is not. */
static void cron_ping_again(struct sim *sim, struct redis *r, struct redis_node *n)
{
    int64_t sent_us = n->again_us > n->ping_us ? n->again_us : n->ping_us;
    if (n->link.state != LINK_UP || sim->now_us - sent_us < RETRANSMIT_US ||
        !sim_linked(sim, r->index, n->link.peer) ||
        sim->now_us < sim->redis[n->link.peer].paused_until_us)
        return;
    int64_t waiting_since = n->ping_us;
    bus_send_ping(sim, r, n, BUS_PING);
    n->ping_us = waiting_since;
    n->again_us = sim->now_us;
}

/* Pings each NT/2, a fresh connection after NT/2 without an answer, PFAIL after NT. */
static void cron_watch_node(struct sim *sim, struct redis *r, struct redis_node *n)
{
    int64_t nt = node_timeout_us(r);
    int64_t now = sim->now_us;
    if (n->link.state != LINK_NONE && now - n->link.since_us > nt && n->ping_us &&
        now - n->ping_us > nt / 2 && now - n->data_us > nt / 2)
        redis_free_link(r, n);
    if (n->link.state != LINK_NONE && !n->ping_us && now - n->pong_us > nt / 2) {
        bus_send_ping(sim, r, n, BUS_PING);
        return;
    }
    if (!n->ping_us)
        return;
    cron_ping_again(sim, r, n);
    int64_t ping_delay = now - n->ping_us;
    int64_t data_delay = now - n->data_us;
    int64_t silence = ping_delay < data_delay ? ping_delay : data_delay;
    if (silence > nt && !(n->flags & (NODE_PFAIL | NODE_FAIL))) {
        n->flags |= NODE_PFAIL;
        r->recheck = true;
        redis_touch(r);
        /* A primary's own suspicion can complete the quorum at the next gossip. */
    }
}

static int64_t cron_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The earliest moment at which the next tick may have something to do. */
static int64_t cron_next(const struct sim *sim, struct redis *r)
{
    int64_t soon = sim->now_us + 1;
    if (!r->state_ok || r->recheck)
        return soon;
    const struct redis_node *me = &r->nodes[0];
    if (me->flags & NODE_REPLICA) {
        const struct redis_node *primary = redis_find(r, me->primary);
        if (r->repl.state == REPL_NONE || (primary && primary->flags & NODE_FAIL))
            return soon;
    }
    int64_t nt = node_timeout_us(r);
    int64_t next = r->random_ping_us;
    for (int i = 1; i < r->node_high; i++) {
        const struct redis_node *n = &r->nodes[i];
        if (!n->used || n->flags & NODE_NOADDR)
            continue;
        if (n->flags & NODE_HANDSHAKE || n->link.state == LINK_NONE)
            return soon;
        if (!n->ping_us) {
            next = cron_min(next, n->pong_us + nt / 2 + 1);
            continue;
        }
        if (n->link.state == LINK_UP)
            next = cron_min(next, sim->now_us + RETRANSMIT_US);
        int64_t free_at = n->ping_us + nt / 2 + 1;
        if (free_at <= sim->now_us)
            free_at = n->link.since_us + nt + 1;
        if (free_at > sim->now_us)
            next = cron_min(next, free_at);
        int64_t fail_at = (n->ping_us > n->data_us ? n->ping_us : n->data_us) + nt + 1;
        if (!(n->flags & (NODE_PFAIL | NODE_FAIL)))
            next = cron_min(next, fail_at);
    }
    return next;
}

static void cron_follow_primary(struct sim *sim, struct redis *r)
{
    struct redis_node *me = redis_myself(r);
    if (!(me->flags & NODE_REPLICA) || r->repl.state != REPL_NONE)
        return;
    struct redis_node *primary = redis_find(r, me->primary);
    if (primary && primary->addr)
        repl_follow(sim, r, primary->addr, r->repl.by_command);
}

static void on_cron(struct sim *sim, const struct event *event)
{
    struct redis *r = &sim->redis[event->who];
    if (r->run != event->run || r->phase != REDIS_UP || r->cron_at_us != event->at_us)
        return;
    if (sim->now_us < r->paused_until_us) {
        /* After what waits in the sockets. */
        r->cron_at_us = r->paused_until_us + MS(1);
        sim_after(sim, r->cron_at_us - sim->now_us, on_cron, r->index, 0, r->run, NULL);
        return;
    }
    cron_reconnect(sim, r);
    cron_random_ping(sim, r);
    for (int i = 1; i < r->node_high; i++) {
        struct redis_node *n = &r->nodes[i];
        if (n->used && !(n->flags & (NODE_NOADDR | NODE_HANDSHAKE)))
            cron_watch_node(sim, r, n);
    }
    cron_follow_primary(sim, r);
    election_step(sim, r);
    if (r->recheck || !r->state_ok)
        redis_update_state(sim, r);
    r->cron_at_us = 0;
    cron_schedule(sim, r, cron_next(sim, r));
}

static bool state_covered(const struct redis *r)
{
    unsigned slots = 0;
    for (int i = 0; i < r->node_high; i++)
        if (r->nodes[i].used && !(r->nodes[i].flags & NODE_FAIL))
            slots += r->nodes[i].slot_count;
    return slots == SLOT_COUNT;
}

void redis_update_state(struct sim *sim, struct redis *r)
{
    r->recheck = false;
    bool primary = redis_myself(r)->flags & NODE_PRIMARY;
    if (primary && !r->state_ok && sim->now_us - r->up_us < WRITABLE_DELAY_US)
        return;
    bool ok = state_covered(r);
    unsigned size = 0;
    unsigned reachable = 0;
    for (int i = 0; i < r->node_high; i++) {
        const struct redis_node *n = &r->nodes[i];
        if (!n->used || !(n->flags & NODE_PRIMARY) || !n->slot_count)
            continue;
        size++;
        reachable += !(n->flags & (NODE_FAIL | NODE_PFAIL));
    }
    r->size = size;
    if (reachable < size / 2 + 1) {
        ok = false;
        r->minority_us = sim->now_us;
    }
    if (ok == r->state_ok)
        return;
    int64_t rejoin = node_timeout_us(r);
    rejoin = rejoin < REJOIN_MIN_US   ? REJOIN_MIN_US
             : rejoin > REJOIN_MAX_US ? REJOIN_MAX_US
                                      : rejoin;
    if (ok && primary && sim->now_us - r->minority_us < rejoin)
        return;
    r->state_ok = ok;
    sim_trace(sim, r->name, "cluster_state:%s", ok ? "ok" : "fail");
}
