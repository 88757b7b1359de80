/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of agents, servers, pods, volumes and addresses. */
#include <assert.h>
#include <string.h>

#include "fault_kinds.h"

/* An address is free for so long before a stranger gets it. */
#define ADDR_REST_US SECONDS(10)
#define STRANGER_EPOCH 1000

void fault_lasts(struct sim *sim, int64_t duration_us)
{
    int64_t until = sim->now_us + duration_us;
    if (until > sim->faults.last_us)
        sim->faults.last_us = until;
}

int fault_any_pod(struct sim *sim)
{
    return (int)sim_between(sim, 0, sim->api.now.replicas - 1);
}

int fault_leader_pod(const struct sim *sim)
{
    for (int i = 0; i < PODS_MAX; i++)
        if (sim->agents[i].alive && agent_may_act(sim, &sim->agents[i]))
            return i;
    return -1;
}

bool fault_record_formed(const struct sim *sim)
{
    const struct stored_record *stored = sim->api.now.record;
    return stored && stored->record.state == RECORD_FORMED;
}

static bool anything_written(const struct sim *sim)
{
    for (int k = 0; k < sim->atom_count; k++)
        if (sim->acked[k])
            return true;
    return false;
}

/* Some server's view has an owner of slots that no server of ours is any more. */
bool fault_owner_is_gone(const struct sim *sim)
{
    for (int i = 0; i < PODS_MAX; i++) {
        const struct redis *r = &sim->redis[i];
        for (int n = 1; r->phase != REDIS_DOWN && n < r->node_high; n++) {
            bool here = !r->nodes[n].used || !r->nodes[n].slot_count;
            for (int k = 0; k < PODS_MAX && !here; k++)
                here = sim->redis[k].has_conf && sim->redis[k].nodes[0].id == r->nodes[n].id;
            if (!here)
                return true;
        }
    }
    return false;
}

/* Of fewer than three, one that is gone for good is gone with the votes: nobody elects its heir. */
static int planned_primaries(const struct sim *sim)
{
    return sim->setup.pods / (1 + sim->setup.replicas_per_primary);
}

/* Redis mends the loss of this pod's data by itself: it holds none, or others can take over. */
static bool may_lose_data(struct sim *sim, int pod)
{
    if (!anything_written(sim) && !sim->api.now.record)
        return true;
    const struct redis_node *me = redis_myself(&sim->redis[pod]);
    if (!fault_record_formed(sim)) {
        /* Schedules that were kept before a second owner could be lost do without it. */
        bool second = sim->faults.drawn > faults_find("unsynced-heir");
        bool no_heir = planned_primaries(sim) < 3 || !sim->setup.replicas_per_primary;
        bool unelected = second ? !(me->flags & NODE_REPLICA) && no_heir
                                : me->slot_count && fault_owner_is_gone(sim);
        return !anything_written(sim) && !unelected;
    }
    if (!check_healthy(sim) || sim->faults.cuts)
        return false;
    if (me->flags & NODE_REPLICA)
        return true;
    if (!me->slot_count)
        return true;
    if (sim->redis[pod].size < 3)
        return false;
    /* One that its agent has not seen in sync yet is not elected. (Not in the seeds kept before.) */
    bool any = sim->faults.drawn <= faults_find("person-failover");
    for (int i = 0; i < sim->api.now.replicas; i++)
        if (sim->redis[i].nodes[0].primary == me->id && (any || !sim->redis[i].set.no_failover)) {
            sim->faults.hold_us = sim->now_us + ELECTION_US(sim->setup.node_timeout_ms);
            return true;
        }
    return false;
}

static bool gone_for_good(struct sim *sim, int pod)
{
    return !sim->setup.volumes && !may_lose_data(sim, pod);
}

/* ---- agents ---- */

bool fault_agent_crash(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    if (!sim->agents[pod].alive)
        return false;
    pods_crash_agent(sim, pod);
    fault_lasts(sim, SECONDS(45));
    return true;
}

bool fault_leader_crash(struct sim *sim)
{
    int pod = fault_leader_pod(sim);
    if (pod < 0)
        return false;
    pods_crash_agent(sim, pod);
    fault_lasts(sim, SECONDS(45));
    return true;
}

bool fault_crash_at_send(struct sim *sim)
{
    if (sim->faults.act_at_send)
        return false;
    sim->faults.act_at_send = (unsigned)sim_between(sim, 1, fault_record_formed(sim) ? 6 : 50);
    sim->faults.pause_at_send = sim_chance(sim, 300);
    return true;
}

bool fault_agent_pause(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    if (!sim->agents[pod].alive)
        return false;
    int64_t duration = sim_between(sim, MS(500), SECONDS(12));
    agent_pause(sim, &sim->agents[pod], duration);
    fault_lasts(sim, duration);
    return true;
}

/* Longer than the Lease lasts: another takes over, then the first one wakes up. */
bool fault_leader_pause(struct sim *sim)
{
    int pod = fault_leader_pod(sim);
    if (pod < 0)
        return false;
    int64_t duration = sim_between(sim, SECONDS(5), SECONDS(40));
    agent_pause(sim, &sim->agents[pod], duration);
    fault_lasts(sim, duration);
    return true;
}

void faults_on_send(struct sim *sim, struct agent *agent)
{
    struct faults *f = &sim->faults;
    if (sim->options.form && !agent_may_act(sim, agent))
        return; /* only what a leader sends counts */
    if (!f->act_at_send)
        return;
    f->act_at_send--;
    if (f->act_at_send)
        return;
    if (sim->options.scale) {
        scale_kills(sim, agent);
        return;
    }
    if (!f->pause_at_send) {
        pods_crash_agent(sim, agent->index);
        fault_lasts(sim, SECONDS(45));
        return;
    }
    int64_t duration = sim_between(sim, SECONDS(5), SECONDS(40));
    agent_pause(sim, agent, duration);
    fault_lasts(sim, duration);
}

/* ---- servers and pods ---- */

bool fault_server_crash(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    if (sim->redis[pod].phase != REDIS_UP)
        return false;
    pods_crash_server(sim, pod);
    fault_lasts(sim, SECONDS(20));
    return true;
}

bool fault_server_pause(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    if (sim->redis[pod].phase != REDIS_UP)
        return false;
    int64_t duration = sim_between(sim, MS(200), SECONDS(30));
    redis_pause(sim, &sim->redis[pod], duration);
    fault_lasts(sim, duration);
    return true;
}

/* What holds a primary without its data is gone with its pod, and nobody tells the new one. */
static bool hold_is_forgotten(const struct sim *sim)
{
    return fault_api_troubled(sim) && fault_owner_is_gone(sim);
}

static bool delete_pod(struct sim *sim, int pod, bool graceful)
{
    if (hold_is_forgotten(sim))
        return false;
    if (!sim->api.now.pods[pod].exists || sim->api.now.pods[pod].terminating)
        return false;
    /* What may be lost now may be needed in a second, when the cluster stands. */
    if (!sim->setup.volumes && !fault_record_formed(sim))
        graceful = false;
    pods_delete(sim, pod, graceful);
    fault_lasts(sim, SECONDS(10) + sim->pods[pod].late_us);
    return true;
}

bool fault_pod_delete(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    return !gone_for_good(sim, pod) && delete_pod(sim, pod, true);
}

bool fault_pod_lost(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    return !gone_for_good(sim, pod) && delete_pod(sim, pod, false);
}

bool fault_pod_late(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    if (gone_for_good(sim, pod))
        return false;
    sim->pods[pod].late_us = sim_between(sim, SECONDS(5), SECONDS(60));
    if (delete_pod(sim, pod, sim_chance(sim, 500)))
        return true;
    sim->pods[pod].late_us = 0;
    return false;
}

/*
 * With OrderedReady a first pod that cannot prove its data waits for the word of others, which are
 * not made before it is ready: a person must open its gate.
 */
static bool order_needs_person(const struct sim *sim)
{
    for (int i = 0; i < sim->api.now.replicas; i++)
        if (sim->setup.ordered_ready && sim->redis[i].nodes[0].slot_count &&
            !redis_has_data(sim, &sim->redis[i]))
            return true;
    return false;
}

bool fault_all_pods(struct sim *sim)
{
    if (order_needs_person(sim) || hold_is_forgotten(sim) || fault_owner_is_gone(sim))
        return false;
    if (!sim->setup.volumes && anything_written(sim))
        return false;
    if (!sim->setup.volumes && sim->api.now.record && fault_record_formed(sim))
        return false;
    for (int i = 0; i < sim->api.now.replicas; i++)
        (void)delete_pod(sim, i, sim_chance(sim, 500));
    fault_lasts(sim, SECONDS(15));
    return true;
}

/* Everything that runs there, and each comes back somewhere else. */
bool fault_node_lost(struct sim *sim)
{
    int node = sim->api.now.pods[fault_any_pod(sim)].node;
    if (!sim->setup.volumes || node < 0 || !check_healthy(sim) || order_needs_person(sim) ||
        hold_is_forgotten(sim))
        return false;
    for (int i = 0; i < sim->api.now.replicas; i++) {
        if (sim->api.now.pods[i].node != node || gone_for_good(sim, i))
            continue;
        sim->pods[i].late_us = sim_between(sim, SECONDS(1), SECONDS(40));
        if (!delete_pod(sim, i, false))
            sim->pods[i].late_us = 0;
    }
    fault_lasts(sim, SECONDS(10));
    return true;
}

bool fault_volume_lost(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    if (!sim->setup.volumes || !may_lose_data(sim, pod))
        return false;
    sim->pods[pod].lose_volume = true;
    if (delete_pod(sim, pod, sim_chance(sim, 500)))
        return true;
    sim->pods[pod].lose_volume = false;
    return false;
}

/* ---- addresses and strangers ---- */

void faults_addr_released(struct sim *sim, int addr)
{
    struct faults *f = &sim->faults;
    if (f->released_count < RELEASED_MAX) {
        f->released[f->released_count].addr = addr;
        f->released[f->released_count++].at_us = sim->now_us;
    }
}

/* What it was told of the address before it froze, or hears of it late: Redis greets whoever is there. */
static bool is_greeting(const struct redis *r, int addr)
{
    for (int n = 1; r->phase != REDIS_DOWN && n < r->node_high; n++)
        if (r->nodes[n].used && r->nodes[n].flags & NODE_HANDSHAKE && r->nodes[n].addr == addr)
            return true;
    return false;
}

/* A free address that no server replicates from or greets (see faults.h), or 0. */
int fault_free_addr(struct sim *sim)
{
    struct faults *f = &sim->faults;
    for (int i = 0; i < f->released_count; i++) {
        int addr = f->released[i].addr;
        bool used =
            sim_host_at(sim, addr) >= 0 || sim->now_us - f->released[i].at_us < ADDR_REST_US;
        for (int k = 0; k < sim->redis_count; k++) {
            const struct redis *r = &sim->redis[k];
            used |= (r->phase != REDIS_DOWN && r->repl.addr == addr) || is_greeting(r, addr);
            const struct redis_node *me = &r->nodes[0];
            for (int n = 0; r->has_conf && n < r->node_high; n++)
                used |= me->primary && r->nodes[n].used && r->nodes[n].id == me->primary &&
                        r->nodes[n].addr == addr;
        }
        if (!used)
            return addr;
    }
    return 0;
}

bool fault_addr_reuse(struct sim *sim)
{
    int addr = fault_free_addr(sim);
    int pod = fault_any_pod(sim);
    if (!addr || gone_for_good(sim, pod))
        return false;
    sim->pods[pod].reuse_addr = addr;
    if (delete_pod(sim, pod, true))
        return true;
    sim->pods[pod].reuse_addr = 0;
    return false;
}

/* What another cluster's volume holds: an id, all slots, data, a high epoch. */
static void make_foreign(struct sim *sim, struct redis *r)
{
    r->has_conf = true;
    r->current_epoch = STRANGER_EPOCH;
    redis_add_node(sim, r, sim->next_id++, 0, NODE_MYSELF | NODE_PRIMARY);
    redis_myself(r)->epoch = STRANGER_EPOCH;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        redis_set_owner(r, slot, redis_myself(r));
    for (int k = 0; k < sim->atom_count; k++)
        r->data[k] = 1;
    check_is_foreign(sim, redis_myself(r)->id);
}

static bool stranger_at_free_addr(struct sim *sim, bool cluster)
{
    int addr = fault_free_addr(sim);
    if (!addr || sim->faults.foreign == FOREIGN_MAX)
        return false;
    int index = PODS_MAX + sim->faults.foreign++;
    redis_init(sim, index, cluster ? "foreign" : "impostor", false);
    if (index >= sim->redis_count)
        sim->redis_count = index + 1;
    struct redis *r = &sim->redis[index];
    if (cluster)
        make_foreign(sim, r);
    sim_bind_addr(sim, addr, index);
    redis_start(sim, r, addr, MS(20));
    if (!cluster)
        check_is_foreign(sim, redis_myself(r)->id);
    return true;
}

bool fault_foreign_server(struct sim *sim)
{
    return stranger_at_free_addr(sim, true);
}

bool fault_impostor(struct sim *sim)
{
    for (int i = 0; i < sim->api.now.replicas; i++)
        if (sim->pods[i].gate.waiting) /* perhaps for the word of the one whose address it is */
            return false;
    return stranger_at_free_addr(sim, false);
}

void faults_volume_swapped(struct sim *sim, int pod)
{
    if (!sim->faults.swap_volume[pod])
        return;
    sim->faults.swap_volume[pod] = false;
    redis_lose_volume(sim, &sim->redis[pod]);
    make_foreign(sim, &sim->redis[pod]);
}

/* A person empties what does not belong here, as soon as there is a pod to delete. */
static void on_person(struct sim *sim, const struct event *event)
{
    const struct api_pod *p = &sim->api.now.pods[event->who];
    if (!p->exists || p->terminating) {
        fault_lasts(sim, SECONDS(15));
        sim_after(sim, SECONDS(5), on_person, event->who, 0, 0, NULL);
        return;
    }
    sim_trace(sim, "person", "empties the volume of %s", sim->redis[event->who].name);
    sim->pods[event->who].lose_volume = true;
    pods_delete(sim, event->who, true);
}

bool fault_foreign_volume(struct sim *sim)
{
    int pod = fault_any_pod(sim);
    if (!sim->setup.volumes || !fault_record_formed(sim) || !may_lose_data(sim, pod) ||
        sim->checks.foreign_count > FOREIGN_IDS_MAX - 8)
        return false;
    sim->faults.swap_volume[pod] = true;
    if (!delete_pod(sim, pod, true)) {
        sim->faults.swap_volume[pod] = false;
        return false;
    }
    int64_t wait = sim_between(sim, SECONDS(30), SECONDS(90));
    sim_after(sim, wait, on_person, pod, 0, 0, NULL);
    fault_lasts(sim, wait + SECONDS(10));
    return true;
}
