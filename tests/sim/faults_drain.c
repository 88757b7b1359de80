/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods that are deleted with a preStop: one, the two of a shard in turn, or one whose replicas lag and
 * that is away for longer than an election takes.
 */
#include "fault_kinds.h"

#define DRAINS 4
#define DRAIN_GRACE_US SECONDS(90)

static void on_again(struct sim *sim, const struct event *event);

static bool may_go(const struct sim *sim, int pod)
{
    const struct api_pod *p = &sim->api.now.pods[pod];
    return sim->setup.volumes && p->exists && !p->terminating && fault_record_formed(sim);
}

/* Any pod; at times its agent has died a moment before. */
bool fault_pod_drain(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    if (!may_go(sim, pod))
        return false;
    if (sim_chance(sim, 300))
        pods_crash_agent(sim, pod);
    int64_t grace_us = sim_between(sim, SECONDS(5), DRAIN_GRACE_US);
    pods_drain(sim, pod, grace_us);
    fault_lasts(sim, grace_us + SECONDS(10));
    return true;
}

/* The primary of the shard that `pod` is part of; -1 if that is not to be told. */
static int primary_of(struct sim *sim, int pod)
{
    const struct redis_node *me = redis_myself(&sim->redis[pod]);
    uint32_t id = me->flags & NODE_REPLICA ? me->primary : me->id;
    for (int i = 0; i < sim->api.now.replicas; i++)
        if (sim->redis[i].nodes[0].id == id && sim->redis[i].nodes[0].slot_count)
            return i;
    return -1;
}

/* Once the shard is whole again, whoever owns its slots by then goes. */
static void on_again(struct sim *sim, const struct event *event)
{
    int left = event->other;
    int primary = check_healthy(sim) && !sim->faults.cuts ? primary_of(sim, event->who) : -1;
    if (primary >= 0 && may_go(sim, primary)) {
        pods_drain(sim, primary, DRAIN_GRACE_US);
        left--;
    }
    if (!left || sim->now_us > (int64_t)event->run)
        return;
    fault_lasts(sim, SECONDS(10));
    sim_after(sim, SECONDS(1), on_again, event->who, left, event->run, NULL);
}

/* As fast as it goes: votes of the last time are still about (FACTS 0.3). */
bool fault_back_and_forth(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    if (!check_healthy(sim) || sim->faults.cuts || !may_go(sim, pod) || primary_of(sim, pod) < 0)
        return false;
    sim_after(sim, MS(1), on_again, pod, DRAINS, (uint64_t)(sim->now_us + SECONDS(240)), NULL);
    fault_lasts(sim, SECONDS(10));
    return true;
}

#define BULK (INT64_C(2) << 20)

static bool is_replica_of(const struct sim *sim, int pod, const struct redis *primary)
{
    const struct redis *r = &sim->redis[pod];
    return r->nodes[0].flags & NODE_REPLICA && r->nodes[0].primary == primary->nodes[0].id;
}

/* Acknowledged, and more than a replica may lack. */
static void write_bulk(struct sim *sim, struct redis *primary)
{
    repl_note_write(sim, primary);
    primary->repl.offset += BULK;
    for (int k = 0; k < sim->atom_count; k++) {
        if (!redis_owns_atom(sim, primary, k))
            continue;
        repl_write(sim, primary, k, ++sim->writes);
        sim->acked[k] = sim->writes;
    }
}

/* A replica's agent, the primary's, or the one that leads, dies while the pod is drained or away. */
static void on_agent_dies(struct sim *sim, const struct event *event)
{
    pods_crash_agent(sim, event->who);
}

static void on_lagging_crash(struct sim *sim, const struct event *event)
{
    if (sim->redis[event->who].run == event->run)
        pods_crash_server(sim, event->who);
}

/* Its replicas have not got its latest writes when its process dies; its disk has them (FACTS 13, M2). */
bool fault_lagging_crash(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    int primary = check_healthy(sim) && !sim->faults.cuts ? primary_of(sim, pod) : -1;
    if (primary < 0 || !fault_record_formed(sim))
        return false;
    int64_t until_us = sim_between(sim, SECONDS(2), SECONDS(4));
    bool lags = false;
    for (int i = 0; i < sim->api.now.replicas; i++) {
        if (!is_replica_of(sim, i, &sim->redis[primary]) || (lags && sim_chance(sim, 500)))
            continue;
        repl_stall(sim, &sim->redis[i], until_us + SECONDS(1));
        lags = true;
    }
    if (!lags)
        return false;
    write_bulk(sim, &sim->redis[primary]);
    sim_after(sim, until_us, on_lagging_crash, primary, 0, sim->redis[primary].run, NULL);
    sim->faults.hold_us = sim->now_us + until_us + ELECTION_US(sim->setup.node_timeout_ms);
    fault_lasts(sim, until_us + SECONDS(20));
    return true;
}

/*
 * Its replicas get nothing any more while it goes on to acknowledge writes: it stops as the primary that
 * it is, and its pod is not back before an election could be over (FAULTS B15).
 */
bool fault_kept_away(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    int primary = check_healthy(sim) && !sim->faults.cuts ? primary_of(sim, pod) : -1;
    if (primary < 0 || !may_go(sim, primary) || sim->redis[primary].size < 3 ||
        sim->faults.act_at_send)
        return false;
    int64_t grace_us = sim_between(sim, SECONDS(5), SECONDS(40));
    int64_t away_us =
        sim_between(sim, SECONDS(2), SECONDS(10) + 4 * MS(sim->setup.node_timeout_ms));
    int64_t all_us = grace_us + away_us;
    bool lags = false;
    for (int i = 0; i < sim->api.now.replicas; i++) {
        if (!is_replica_of(sim, i, &sim->redis[primary]))
            continue;
        repl_stall(sim, &sim->redis[i], all_us);
        if (sim_chance(sim, 300))
            sim_after(sim, sim_between(sim, MS(1), all_us), on_agent_dies, i, 0, 0, NULL);
        lags = true;
    }
    if (!lags)
        return false;
    write_bulk(sim, &sim->redis[primary]);
    sim->pods[primary].late_us = away_us;
    pods_drain(sim, primary, grace_us);
    sim->faults.hold_us = sim->now_us + all_us + ELECTION_US(sim->setup.node_timeout_ms);
    fault_lasts(sim, all_us + SECONDS(10));
    return true;
}
