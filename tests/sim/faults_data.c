/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers that come back without what they held (FACTS 0.1, 0.2; NOTES J3): the data set gone and
 * nodes.conf kept, or the whole volume gone and the address kept. What their replicas have must
 * stay; what nobody else has is lost.
 */
#include <string.h>

#include "fault_kinds.h"

enum loss {
    LOSS_DATA,       /* the container restarts, with its nodes.conf, at the same address */
    LOSS_VOLUME,     /* the container restarts with nothing, at the same address */
    LOSS_DATA_MOVED, /* the pod is made anew: its nodes.conf comes back at a new address */
};

/*
 * Whoever is lost is needed by nobody else's loss: all are in order, and no agent is about to die,
 * for a silent one's server starts as new after 30 s (agent/hook/verdict.c).
 */
static bool loss_possible(struct sim *sim)
{
    return check_healthy(sim) && !sim->faults.cuts && !sim->faults.act_at_send &&
           fault_record_is_todays(sim); /* half of a cluster is not taken over by a new set */
}

/* A new node cannot take up the slots of one whose data nobody has: a person must decide then. */
static bool loss_mendable(const struct sim *sim, int pod, enum loss loss)
{
    const struct redis_node *me = &sim->redis[pod].nodes[0];
    if (loss != LOSS_VOLUME || me->flags & NODE_REPLICA || !me->slot_count)
        return true;
    for (int i = 0; i < sim->api.now.replicas; i++) {
        const struct redis *r = &sim->redis[i];
        if (r->nodes[0].primary == me->id && redis_has_data(sim, r))
            return true;
    }
    return false;
}

static void loss_happens(struct sim *sim, int pod, enum loss loss)
{
    struct redis *r = &sim->redis[pod];
    bool stopped = sim_chance(sim, 400); /* by SIGTERM, not killed */
    check_keep_copies(sim, r);
    if (stopped)
        repl_drain(sim, r);
    if (loss == LOSS_DATA_MOVED) {
        sim->pods[pod].lose_data = true;
        pods_delete(sim, pod, stopped);
    } else {
        pods_crash_server(sim, pod);
        if (loss == LOSS_DATA)
            redis_lose_data(sim, r);
        else
            redis_lose_volume(sim, r);
    }
    sim_trace(sim, r->name, "has lost its %s", loss == LOSS_VOLUME ? "volume" : "data");
    sim->faults.hold_us = sim->now_us + ELECTION_US(sim->setup.node_timeout_ms);
    fault_lasts(sim, SECONDS(25));
}

static bool loss_of_one(struct sim *sim, enum loss loss)
{
    int pod = fault_any_pod(sim);
    if (!loss_possible(sim) || !loss_mendable(sim, pod, loss))
        return false;
    loss_happens(sim, pod, loss);
    return true;
}

bool fault_data_lost(struct sim *sim)
{
    return loss_of_one(sim, LOSS_DATA);
}

bool fault_data_lost_moved(struct sim *sim)
{
    return sim->setup.volumes && loss_of_one(sim, LOSS_DATA_MOVED);
}

bool fault_volume_lost_in_place(struct sim *sim)
{
    return loss_of_one(sim, LOSS_VOLUME);
}

/* How one of many is lost; without the older kind's limits its pod may be made anew as well. */
static enum loss loss_drawn(struct sim *sim, int pod, bool anyhow)
{
    if (sim_chance(sim, 500) && loss_mendable(sim, pod, LOSS_VOLUME))
        return LOSS_VOLUME;
    /* With OrderedReady the second of two is not made before the first is ready, which waits for it. */
    bool moves = anyhow && sim->setup.volumes && !sim->setup.ordered_ready;
    return moves && sim_chance(sim, 500) ? LOSS_DATA_MOVED : LOSS_DATA;
}

static bool lose_primaries(struct sim *sim, bool anyhow)
{
    int primaries[PODS_MAX];
    int count = 0;
    for (int i = 0; i < sim->api.now.replicas; i++)
        if (sim->redis[i].nodes[0].flags & NODE_PRIMARY && sim->redis[i].nodes[0].slot_count)
            primaries[count++] = i;
    int lost = count ? (int)sim_between(sim, (count + 1) / 2, count) : 0;
    for (int i = 0; i < lost; i++) {
        int pick = (int)sim_between(sim, i, count - 1);
        int pod = primaries[pick];
        primaries[pick] = primaries[i];
        enum loss loss = loss_drawn(sim, pod, anyhow);
        /* A newcomer is placed while former primaries are on their way back as replicas. */
        sim->faults.uneven |= loss == LOSS_VOLUME && lost > 1;
        loss_happens(sim, pod, loss);
    }
    return lost > 0;
}

/*
 * Half of the primaries or more at once: no election can name their heirs (DESIGN 5.4). All come back
 * at their addresses, and the API is there.
 */
bool fault_primaries_lost(struct sim *sim)
{
    return loss_possible(sim) && !fault_api_troubled(sim) && lose_primaries(sim, false);
}

/* The same with new addresses, and while the API is away. */
bool fault_primaries_lost_anyhow(struct sim *sim)
{
    if (!loss_possible(sim))
        return false;
    if (sim_chance(sim, 300))
        (void)fault_api_down(sim);
    return lose_primaries(sim, true);
}

/* ---- most primaries do not answer, and a person is in a hurry (FAULTS D12, D13) ---- */

/* Most of the primaries, any of them; 0 unless a replica of each has its data. */
static uint32_t most_primaries(struct sim *sim)
{
    uint32_t all = 0, most = 0;
    int count = 0;
    for (int i = 0; i < sim->api.now.replicas; i++) {
        const struct redis_node *me = &sim->redis[i].nodes[0];
        if (!(me->flags & NODE_PRIMARY) || !me->slot_count)
            continue;
        if (!loss_mendable(sim, i, LOSS_VOLUME))
            return 0;
        all |= 1u << i;
        count++;
    }
    for (int lost = 0; lost <= count / 2 && count;) {
        uint32_t pod = 1u << fault_any_pod(sim);
        lost += all & pod & ~most ? 1 : 0;
        most |= all & pod;
    }
    return most;
}

/* They, their volumes and their nodes; new pods are scheduled after longer than a person waits. */
bool fault_primaries_gone(struct sim *sim)
{
    uint32_t gone = loss_possible(sim) && !sim->setup.ordered_ready ? most_primaries(sim) : 0;
    if (!gone)
        return false;
    int64_t away = sim_between(sim, SECONDS(90), SECONDS(240));
    for (int i = 0; i < sim->api.now.replicas; i++) {
        if (!(gone >> i & 1))
            continue;
        check_keep_copies(sim, &sim->redis[i]);
        sim->pods[i].lose_volume = true;
        sim->pods[i].late_us = away;
        pods_delete(sim, i, false);
    }
    fault_person_takes_over(sim, away + SECONDS(120)); /* it may have been refused till then */
    sim->faults.uneven = true;
    sim->faults.hold_us = sim->now_us + away + ELECTION_US(sim->setup.node_timeout_ms);
    fault_lasts(sim, away + SECONDS(60));
    return true;
}

/* They serve on behind a partition: whatever is said, nobody takes over from them. */
bool fault_primaries_cut_off(struct sim *sim)
{
    uint32_t away = loss_possible(sim) ? most_primaries(sim) : 0;
    if (!away)
        return false;
    int64_t duration = sim_between(sim, SECONDS(60), SECONDS(120));
    fault_cut(sim, away, (ALL_PODS & ~away) | (sim_chance(sim, 500) ? THE_API : 0), duration);
    fault_person_takes_over(sim, duration);
    return true;
}

/* ---- an heir that has nothing ---- */

#define HEIR_LOOK_US MS(100)
#define HEIR_LOOKS 600

/* The low bit of an event's `run`: its process dies, instead of being silent. */
#define HEIR_CRASH 1u

static void heir_is_needed(struct sim *sim, int pod, bool crash)
{
    int64_t away = SECONDS(20);
    if (crash) {
        pods_crash_server(sim, pod);
    } else {
        away = SECONDS(10) + 3 * MS(sim->setup.node_timeout_ms);
        redis_pause(sim, &sim->redis[pod], away);
    }
    sim->faults.hold_us = sim->now_us + away + ELECTION_US(sim->setup.node_timeout_ms);
    fault_lasts(sim, away + SECONDS(10));
}

/* Once the new replica has begun to copy, its primary is gone: for longer than an election takes, or for good. */
static void on_heir(struct sim *sim, const struct event *event)
{
    const struct redis *heir = &sim->redis[event->who];
    struct redis *primary = &sim->redis[event->other];
    uint64_t looks = (event->run >> 1) + 1;
    bool copies =
        heir->phase == REDIS_UP && heir->repl.state == REPL_SYNC && heir->repl.peer == event->other;
    if (!copies && looks < HEIR_LOOKS) {
        sim_after(sim, HEIR_LOOK_US, on_heir, event->who, event->other,
                  looks << 1 | (event->run & HEIR_CRASH), NULL);
        return;
    }
    if (copies && redis_running(sim, primary) && primary->nodes[0].flags & NODE_PRIMARY)
        heir_is_needed(sim, event->other, event->run & HEIR_CRASH);
}

static bool heir_has_nothing(struct sim *sim, unsigned how)
{
    int pod = fault_any_pod(sim);
    const struct redis_node *me = &sim->redis[pod].nodes[0];
    if (!loss_possible(sim) || !(me->flags & NODE_REPLICA) || sim->redis[pod].size < 3)
        return false;
    for (int i = 0; i < sim->api.now.replicas; i++) {
        if (sim->redis[i].nodes[0].id != me->primary)
            continue;
        sim->pods[pod].lose_volume = true;
        pods_delete(sim, pod, false);
        sim_after(sim, HEIR_LOOK_US, on_heir, pod, i, how, NULL);
        sim->faults.hold_us = sim->now_us + HEIR_LOOKS * HEIR_LOOK_US;
        fault_lasts(sim, HEIR_LOOKS * HEIR_LOOK_US);
        return true;
    }
    return false;
}

/* A replica loses its volume, and its primary goes before the new one has copied anything. */
bool fault_unsynced_heir(struct sim *sim)
{
    return heir_has_nothing(sim, 0);
}

/* Or dies (FACTS 13, M3). */
bool fault_unsynced_crash(struct sim *sim)
{
    return heir_has_nothing(sim, HEIR_CRASH);
}

/* In sync, beside another one that is. */
static bool has_mate(const struct sim *sim, const struct redis *r)
{
    for (int i = 0; i < sim->api.now.replicas; i++)
        if (&sim->redis[i] != r && sim->redis[i].nodes[0].flags & NODE_REPLICA &&
            sim->redis[i].nodes[0].primary == r->nodes[0].primary)
            return r->nodes[0].flags & NODE_REPLICA;
    return false;
}

/*
 * A person has a replica copy another shard, and takes care that it is not elected meanwhile. Where that
 * brings copies together, or leaves a shard without, the leader gives replicas to other shards.
 */
bool fault_copies_crossed(struct sim *sim)
{
    struct redis *r = &sim->redis[fault_any_pod(sim)];
    const struct redis *to = &sim->redis[fault_any_pod(sim)];
    struct redis_node *n = redis_find(r, to->nodes[0].id);
    if (!loss_possible(sim) || !sim->setup.placement || !has_mate(sim, r) || !n || !n->slot_count ||
        n->id == r->nodes[0].primary || r->set.no_failover)
        return false;
    r->set.no_failover = true;
    redis_set_primary(sim, r, n, true);
    sim->faults.strike = sim_chance(sim, 700);
    sim->faults.hold_us = sim->now_us + SECONDS(40);
    fault_lasts(sim, SECONDS(10));
    return true;
}

/* Armed by that: the primary is gone before the replica that our leader gives to it has copied anything. */
void faults_on_reparent(struct sim *sim, const struct redis *r, const char *primary)
{
    uint32_t id = redis_id_parse(primary);
    if (!sim->faults.strike || !loss_possible(sim) || r->size < 3)
        return;
    for (int i = 0; i < sim->api.now.replicas; i++) {
        if (sim->redis[i].nodes[0].id != id)
            continue;
        sim->faults.strike = false;
        sim->faults.hold_us = sim->now_us + SECONDS(10);
        fault_lasts(sim, SECONDS(10));
        sim_after(sim, MS(5), on_heir, r->index, i, (HEIR_LOOKS - 50) << 1, NULL);
        return;
    }
}
