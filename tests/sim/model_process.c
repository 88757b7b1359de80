/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and ends of server processes: what nodes.conf and the data set carry over, and what not. */
#include <assert.h>
#include <string.h>

#include "sim.h"

#define REPL_TIMEOUT_US SECONDS(60)

const struct redis_traits redis_traits_70 = {
    .name = "redis 7.0.15",
    .kind = SERVER_REDIS,
    .version = 70015,
    .votes_wait_2nt = true,
};

const struct redis_traits redis_traits_valkey9 = {
    .name = "valkey 9.1.2",
    .kind = SERVER_VALKEY,
    .version = 90102,
    .noaddr_fails = true,
    .forget_spreads = true,
    .demotion_broadcast = true,
    .gossip_repoints = true,
    .fast_election = true,
    .open_spreads = true,
    .drops_foreign = true,
};

void redis_init(struct sim *sim, int index, const char *name, bool ours)
{
    struct redis *r = &sim->redis[index];
    *r = (struct redis){.index = index, .ours = ours, .traits = sim->setup.traits};
    text_format(r->name, sizeof r->name, "%s", name);
    r->configured = (struct redis_settings){
        .node_timeout_ms = sim->setup.node_timeout_ms,
        .diskless_delay_s = sim->setup.diskless_delay_s,
        .replica_migration = true,
    };
    memset(r->owner, -1, sizeof r->owner);
}

bool redis_running(const struct sim *sim, const struct redis *r)
{
    return r->phase == REDIS_UP && sim->now_us >= r->paused_until_us;
}

/* clusterLoadConfig: who is known, what is owned; no links, no history of pings (FACTS 2). */
static void process_load_conf(struct sim *sim, struct redis *r)
{
    for (int i = 1; i < r->node_high; i++) {
        struct redis_node *n = &r->nodes[i];
        if (n->used && n->flags & NODE_HANDSHAKE)
            redis_del_node(sim, r, n);
    }
    for (int i = 0; i < r->node_high; i++) {
        struct redis_node *n = &r->nodes[i];
        n->flags &= ~NODE_MEET;
        n->link = (struct redis_link){0};
        n->ping_us = n->ping_us ? sim->now_us : 0;
        n->pong_us = n->pong_us ? sim->now_us : 0;
        n->created_us = sim->now_us;
        n->fail_us = sim->now_us;
        n->data_us = 0;
        n->voted_us = 0;
        n->report_count = 0;
    }
}

static void process_new_conf(struct sim *sim, struct redis *r)
{
    memset(r->nodes, 0, sizeof r->nodes);
    memset(r->owner, -1, sizeof r->owner);
    r->node_high = 0;
    r->open_count = 0;
    r->current_epoch = 0;
    r->vote_epoch = 0;
    r->has_conf = true;
    redis_add_node(sim, r, sim->next_id++, 0, NODE_MYSELF | NODE_PRIMARY);
}

static void on_loaded(struct sim *sim, const struct event *event)
{
    struct redis *r = &sim->redis[event->who];
    if (r->run != event->run || r->phase != REDIS_LOADING)
        return;
    r->phase = REDIS_UP;
    r->up_us = sim->now_us;
    slots_check_data(sim, r);
    redis_touch(r);
    redis_wake(sim, r);
    sim_trace(sim, r->name, "server up as %s", redis_name_of(sim, redis_myself(r)->id));
}

void redis_start(struct sim *sim, struct redis *r, int addr, int64_t load_us)
{
    assert(r->phase == REDIS_DOWN);
    r->run++;
    text_format(r->run_id, sizeof r->run_id, "%08d%032llu", r->index, (unsigned long long)r->run);
    r->phase = REDIS_LOADING;
    r->addr = addr;
    r->paused_until_us = 0;
    r->writes_paused_until_us = 0;
    r->vote_requests = 0;
    r->set = r->configured;
    if (sim->setup.announce_by_hook || !r->ours)
        r->set.announce = addr;
    r->set.no_failover =
        sim->setup.no_failover_by_hook && r->ours && !(sim->options.guards_off & GUARD_UNSYNCED);
    if (r->has_conf)
        process_load_conf(sim, r);
    else
        process_new_conf(sim, r);
    if (r->set.announce)
        redis_myself(r)->addr = addr;
    r->state_ok = false;
    r->minority_us = NEVER_US;
    r->size = 1;
    r->cron_at_us = 0;
    r->random_ping_us = 0;
    memset(r->blacklist, 0, sizeof r->blacklist);
    r->election = (struct redis_election){0};
    r->repl = (struct redis_replication){.down_since_us = NEVER_US};
    redis_touch(r);
    sim_after(sim, load_us, on_loaded, r->index, 0, r->run, NULL);
}

static void on_repl_timeout(struct sim *sim, const struct event *event)
{
    repl_lost(sim, event->who, event->run);
}

static void process_reset_links(struct sim *sim, const struct redis *dead, uint64_t run)
{
    for (int i = 0; i < sim->redis_count; i++) {
        struct redis *r = &sim->redis[i];
        if (r->phase == REDIS_DOWN)
            continue;
        for (int k = 1; k < r->node_high; k++) {
            struct redis_node *n = &r->nodes[k];
            if (!n->used || n->link.state != LINK_UP || n->link.peer != dead->index ||
                n->link.peer_run != run)
                continue;
            redis_free_link(r, n);
            redis_wake(sim, r);
        }
    }
}

void redis_stop(struct sim *sim, struct redis *r, bool reset_peers)
{
    if (r->phase == REDIS_DOWN)
        return;
    uint64_t dead = r->run++;
    r->phase = REDIS_DOWN;
    r->died_us = sim->now_us;
    if (reset_peers) {
        process_reset_links(sim, r, dead);
        repl_lost(sim, r->index, dead);
    } else {
        sim_after(sim, REPL_TIMEOUT_US, on_repl_timeout, r->index, 0, dead, NULL);
    }
    if (r->ours)
        agent_server_gone(sim, &sim->agents[r->index]);
    redis_touch(r);
    sim_trace(sim, r->name, "server down%s", reset_peers ? "" : ", silently");
}

void redis_lose_volume(struct sim *sim, struct redis *r)
{
    assert(r->phase == REDIS_DOWN);
    check_loses(sim, r);
    r->has_conf = false;
    r->emptied |= redis_has_data(sim, r);
    r->bulk = false;
    memset(r->data, 0, sizeof r->data);
    memset(r->owner, -1, sizeof r->owner);
    memset(r->nodes, 0, sizeof r->nodes);
    r->node_high = 0;
    r->open_count = 0;
}

void redis_lose_data(struct sim *sim, struct redis *r)
{
    assert(r->phase == REDIS_DOWN);
    check_loses(sim, r);
    r->emptied |= redis_has_data(sim, r);
    memset(r->data, 0, sizeof r->data);
}

void redis_pause(struct sim *sim, struct redis *r, int64_t for_us)
{
    if (r->phase == REDIS_DOWN)
        return;
    r->paused_until_us = sim->now_us + for_us;
    sim_trace(sim, r->name, "server paused for %lld ms", (long long)(for_us / 1000));
}
