/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replication follows an address, whoever answers there (FACTS 0.2): connect, then a partial resync
 * when both come from the same history, else a full one that replaces the replica's data.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define RETRY_US SECONDS(1) /* replicationCron */
#define TRANSFER_LOW_US MS(10)
#define TRANSFER_HIGH_US MS(400)

static void on_repl_connect(struct sim *sim, const struct event *event);
static void on_repl_synced(struct sim *sim, const struct event *event);

static void repl_try(struct sim *sim, struct redis *r, int64_t delay_us)
{
    r->repl.gen = ++sim->next_gen;
    sim_after(sim, delay_us, on_repl_connect, r->index, 0, r->repl.gen, NULL);
}

static void repl_down(struct sim *sim, struct redis *r)
{
    if (r->repl.state == REPL_UP)
        r->repl.down_since_us = sim->now_us;
    r->repl.state = REPL_CONNECT;
    r->repl.stalled_until_us = 0;
}

void repl_follow(struct sim *sim, struct redis *r, int addr, bool by_command)
{
    repl_down(sim, r);
    r->repl.addr = addr;
    r->repl.by_command = by_command;
    repl_try(sim, r, MS(1));
}

void repl_unset(struct sim *sim, struct redis *r)
{
    struct redis_replication *repl = &r->repl;
    repl->state = REPL_NONE;
    repl->addr = 0;
    repl->gen = 0;
    repl->by_command = false;
    repl->down_since_us = NEVER_US; /* replicationUnsetMaster */
    /* The old history stays known as the second id (psync2), so mates resync partially. */
    (void)sim;
}

/* clusterSetMaster. */
void redis_set_primary(struct sim *sim, struct redis *r, struct redis_node *n, bool by_command)
{
    struct redis_node *me = redis_myself(r);
    bool was_primary = me->flags & NODE_PRIMARY;
    me->flags = (me->flags & ~(uint32_t)NODE_PRIMARY) | NODE_REPLICA;
    me->primary = n->id;
    r->writes_paused_until_us = 0; /* clients are told of the other one instead */
    if (was_primary)
        r->open_count = 0; /* clusterCloseAllSlots */
    r->recheck = true;
    redis_touch(r);
    sim_trace(sim, r->name, "replicates %s now", redis_name_of(sim, n->id));
    if (n->addr)
        repl_follow(sim, r, n->addr, by_command);
    else
        r->repl.by_command = by_command;
    if (was_primary && r->traits->demotion_broadcast)
        bus_broadcast(sim, r, BUS_PONG);
    redis_wake(sim, r);
}

static bool repl_reaches(const struct sim *sim, const struct redis *r, int host)
{
    return host >= 0 && sim_linked(sim, r->index, host);
}

static bool repl_same_history(const struct redis *r, const struct redis *primary)
{
    return r->repl.lineage && r->repl.lineage == primary->repl.lineage &&
           r->repl.offset <= primary->repl.offset;
}

static void repl_up(struct sim *sim, struct redis *r, struct redis *primary)
{
    check_full_sync(sim, r, primary);
    if (!primary->repl.lineage)
        primary->repl.lineage = ++sim->next_gen;
    memcpy(r->data, primary->data, sizeof r->data);
    r->emptied = primary->emptied;
    r->bulk = slots_bulk(sim, primary);
    slots_copy_open(sim, primary, r);
    r->repl.lineage = primary->repl.lineage;
    r->repl.offset = primary->repl.offset;
    r->repl.state = REPL_UP;
    r->repl.by_command = false; /* what the command had to do is done */
    sim->stats->syncs++;
}

static void on_repl_connect(struct sim *sim, const struct event *event)
{
    struct redis *r = &sim->redis[event->who];
    if (r->repl.gen != event->run || r->phase != REDIS_UP)
        return;
    if (sim->now_us < r->paused_until_us) {
        sim_after(sim, r->paused_until_us - sim->now_us, on_repl_connect, event->who, 0, event->run,
                  NULL);
        return;
    }
    int host = sim_host_at(sim, r->repl.addr);
    struct redis *primary = repl_reaches(sim, r, host) ? &sim->redis[host] : NULL;
    bool answers = primary && redis_running(sim, primary) && primary != r;
    /* A replica that has no link itself answers PSYNC with -NOMASTERLINK. */
    if (answers && primary->repl.addr && primary->repl.state != REPL_UP)
        answers = false;
    if (!answers) {
        repl_try(sim, r, RETRY_US);
        return;
    }
    r->repl.peer = host;
    r->repl.peer_run = primary->run;
    r->repl.state = REPL_SYNC;
    int64_t wait = MS(2);
    if (!repl_same_history(r, primary))
        wait = SECONDS(primary->set.diskless_delay_s) +
               sim_between(sim, TRANSFER_LOW_US, TRANSFER_HIGH_US);
    sim_after(sim, wait, on_repl_synced, r->index, 0, r->repl.gen, NULL);
}

static void on_repl_synced(struct sim *sim, const struct event *event)
{
    struct redis *r = &sim->redis[event->who];
    if (r->repl.gen != event->run || r->phase != REDIS_UP || r->repl.state != REPL_SYNC)
        return;
    struct redis *primary = &sim->redis[r->repl.peer];
    bool alive = primary->run == r->repl.peer_run && redis_running(sim, primary) &&
                 sim_linked(sim, r->index, primary->index);
    if (!alive || sim->now_us < r->paused_until_us) {
        r->repl.state = REPL_CONNECT;
        repl_try(sim, r, RETRY_US);
        return;
    }
    repl_up(sim, r, primary);
}

/* The process at the other end has died: its replicas notice at once. */
void repl_lost(struct sim *sim, int peer, uint64_t peer_run)
{
    for (int i = 0; i < sim->redis_count; i++) {
        struct redis *r = &sim->redis[i];
        bool linked = r->repl.state == REPL_SYNC || r->repl.state == REPL_UP;
        if (r->phase == REDIS_DOWN || !linked || r->repl.peer != peer ||
            r->repl.peer_run != peer_run)
            continue;
        repl_down(sim, r);
        repl_try(sim, r, RETRY_US);
    }
}

static void on_replicated(struct sim *sim, const struct event *event)
{
    struct redis *r = &sim->redis[event->who];
    const struct redis *primary = &sim->redis[event->other];
    if (r->phase != REDIS_UP || r->repl.state != REPL_UP || r->repl.peer != event->other ||
        primary->run != r->repl.peer_run || event->run != r->run ||
        sim->now_us < r->repl.stalled_until_us)
        return;
    memcpy(r->data, primary->data, sizeof r->data);
    r->bulk = slots_bulk(sim, primary);
    r->repl.offset = primary->repl.offset;
}

/* Then all of it comes at once. */
void repl_stall(struct sim *sim, struct redis *r, int64_t for_us)
{
    r->repl.stalled_until_us = sim->now_us + for_us;
    sim_after(sim, for_us, on_replicated, r->index, r->repl.peer, r->run, NULL);
    sim_trace(sim, r->name, "nothing comes over its replication link for %lld ms",
              (long long)(for_us / 1000));
}

/* A stop by SIGTERM waits until the replicas have everything (FACTS 3). */
void repl_drain(struct sim *sim, struct redis *r)
{
    for (int i = 0; i < sim->redis_count; i++) {
        struct redis *replica = &sim->redis[i];
        if (replica->phase == REDIS_UP && replica->repl.state == REPL_UP &&
            replica->repl.peer == r->index && replica->repl.peer_run == r->run &&
            sim->now_us >= replica->repl.stalled_until_us && sim_linked(sim, i, r->index)) {
            memcpy(replica->data, r->data, sizeof r->data);
            replica->repl.offset = r->repl.offset;
        }
    }
}

void repl_note_write(struct sim *sim, struct redis *r)
{
    if (r->wrote[0].at_us == sim->now_us)
        return;
    memmove(r->wrote + 1, r->wrote, sizeof r->wrote - sizeof *r->wrote);
    r->wrote[0] = (struct redis_wrote){sim->now_us, r->repl.offset};
}

/* An acknowledged write; its replicas get it a moment later. */
void repl_write(struct sim *sim, struct redis *r, int atom, uint64_t version)
{
    if (!r->repl.lineage)
        r->repl.lineage = ++sim->next_gen;
    repl_note_write(sim, r);
    r->data[atom] = version;
    r->repl.offset += 100;
    for (int i = 0; i < sim->redis_count; i++) {
        struct redis *replica = &sim->redis[i];
        if (replica->repl.state != REPL_UP || replica->repl.peer != r->index ||
            !sim_linked(sim, i, r->index))
            continue;
        sim_after(sim, sim->latency_us[r->index][i], on_replicated, i, r->index, replica->run,
                  NULL);
    }
}
