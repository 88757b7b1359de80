/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

#include <assert.h>
#include <string.h>

#include "base/cleanup.h"
#include "sim.h"

/* An address is free for so long before a stranger gets it. */
#define ADDR_REST_US SECONDS(10)
#define STRANGER_EPOCH 1000
/* Detection, delays, and a second try (FACTS 0.3, 3). */
#define ELECTION_US(nt_ms) (SECONDS(20) + 6 * MS(nt_ms))

static void on_fault(struct sim *sim, const struct event *event);

static void faults_last(struct sim *sim, int64_t duration_us) {
    int64_t until = sim->now_us + duration_us;
    if (until > sim->faults.last_us)
        sim->faults.last_us = until;
}

static int any_pod(struct sim *sim) {
    return (int)sim_between(sim, 0, sim->api.now.replicas - 1);
}

static int leader_pod(const struct sim *sim) {
    for (int i = 0; i < PODS_MAX; i++)
        if (sim->agents[i].alive && agent_may_act(sim, &sim->agents[i]))
            return i;
    return -1;
}

static bool record_formed(const struct sim *sim) {
    const struct stored_record *stored = sim->api.now.record;
    return stored && stored->record.state == RECORD_FORMED;
}

static bool anything_written(const struct sim *sim) {
    for (int k = 0; k < sim->atom_count; k++)
        if (sim->acked[k])
            return true;
    return false;
}

/* Redis mends the loss of this pod's data by itself: it holds none, or others can take over. */
static bool may_lose_data(struct sim *sim, int pod) {
    if (!anything_written(sim) && !sim->api.now.record)
        return true;
    if (!record_formed(sim))
        return !anything_written(sim);
    if (!check_healthy(sim) || sim->faults.cuts)
        return false;
    const struct redis_node *me = redis_myself(&sim->redis[pod]);
    if (me->flags & NODE_REPLICA)
        return true;
    if (!me->slots)
        return true;
    if (sim->redis[pod].size < 3)
        return false;
    for (int i = 0; i < sim->api.now.replicas; i++)
        if (sim->redis[i].nodes[0].primary == me->id) {
            sim->faults.hold_us = sim->now_us + ELECTION_US(sim->setup.node_timeout_ms);
            return true;
        }
    return false;
}

static bool gone_for_good(struct sim *sim, int pod) {
    return !sim->setup.volumes && !may_lose_data(sim, pod);
}

/* ---- agents ---- */

static bool fault_agent_crash(struct sim *sim) {
    int pod = any_pod(sim);
    if (!sim->agents[pod].alive)
        return false;
    pods_crash_agent(sim, pod);
    faults_last(sim, SECONDS(45));
    return true;
}

static bool fault_leader_crash(struct sim *sim) {
    int pod = leader_pod(sim);
    if (pod < 0)
        return false;
    pods_crash_agent(sim, pod);
    faults_last(sim, SECONDS(45));
    return true;
}

static bool fault_crash_at_send(struct sim *sim) {
    if (sim->faults.act_at_send)
        return false;
    sim->faults.act_at_send = (unsigned)sim_between(sim, 1, record_formed(sim) ? 6 : 50);
    sim->faults.pause_at_send = sim_chance(sim, 300);
    return true;
}

static bool fault_agent_pause(struct sim *sim) {
    int pod = any_pod(sim);
    if (!sim->agents[pod].alive)
        return false;
    int64_t duration = sim_between(sim, MS(500), SECONDS(12));
    agent_pause(sim, &sim->agents[pod], duration);
    faults_last(sim, duration);
    return true;
}

/* Longer than the Lease lasts: another takes over, then the first one wakes up. */
static bool fault_leader_pause(struct sim *sim) {
    int pod = leader_pod(sim);
    if (pod < 0)
        return false;
    int64_t duration = sim_between(sim, SECONDS(5), SECONDS(40));
    agent_pause(sim, &sim->agents[pod], duration);
    faults_last(sim, duration);
    return true;
}

void faults_on_send(struct sim *sim, struct agent *agent) {
    struct faults *f = &sim->faults;
    if (!f->act_at_send || --f->act_at_send)
        return;
    if (!f->pause_at_send) {
        pods_crash_agent(sim, agent->index);
        faults_last(sim, SECONDS(45));
        return;
    }
    int64_t duration = sim_between(sim, SECONDS(5), SECONDS(40));
    agent_pause(sim, agent, duration);
    faults_last(sim, duration);
}

/* ---- servers and pods ---- */

static bool fault_server_crash(struct sim *sim) {
    int pod = any_pod(sim);
    if (sim->redis[pod].phase != REDIS_UP)
        return false;
    pods_crash_server(sim, pod);
    faults_last(sim, SECONDS(20));
    return true;
}

static bool fault_server_pause(struct sim *sim) {
    int pod = any_pod(sim);
    if (sim->redis[pod].phase != REDIS_UP)
        return false;
    int64_t duration = sim_between(sim, MS(200), SECONDS(30));
    redis_pause(sim, &sim->redis[pod], duration);
    faults_last(sim, duration);
    return true;
}

static bool delete_pod(struct sim *sim, int pod, bool graceful) {
    if (!sim->api.now.pods[pod].exists || sim->api.now.pods[pod].terminating)
        return false;
    /* What may be lost now may be needed in a second, when the cluster stands. */
    if (!sim->setup.volumes && !record_formed(sim))
        graceful = false;
    pods_delete(sim, pod, graceful);
    faults_last(sim, SECONDS(10) + sim->pods[pod].late_us);
    return true;
}

static bool fault_pod_delete(struct sim *sim) {
    int pod = any_pod(sim);
    return !gone_for_good(sim, pod) && delete_pod(sim, pod, true);
}

static bool fault_pod_lost(struct sim *sim) {
    int pod = any_pod(sim);
    return !gone_for_good(sim, pod) && delete_pod(sim, pod, false);
}

static bool fault_pod_late(struct sim *sim) {
    int pod = any_pod(sim);
    if (gone_for_good(sim, pod))
        return false;
    sim->pods[pod].late_us = sim_between(sim, SECONDS(5), SECONDS(60));
    if (delete_pod(sim, pod, sim_chance(sim, 500)))
        return true;
    sim->pods[pod].late_us = 0;
    return false;
}

static bool fault_all_pods(struct sim *sim) {
    if (!sim->setup.volumes && anything_written(sim))
        return false;
    if (!sim->setup.volumes && sim->api.now.record && record_formed(sim))
        return false;
    for (int i = 0; i < sim->api.now.replicas; i++)
        (void)delete_pod(sim, i, sim_chance(sim, 500));
    faults_last(sim, SECONDS(15));
    return true;
}

static bool fault_volume_lost(struct sim *sim) {
    int pod = any_pod(sim);
    if (!sim->setup.volumes || !may_lose_data(sim, pod))
        return false;
    sim->pods[pod].lose_volume = true;
    if (delete_pod(sim, pod, sim_chance(sim, 500)))
        return true;
    sim->pods[pod].lose_volume = false;
    return false;
}

/* ---- addresses and strangers ---- */

void faults_addr_released(struct sim *sim, int addr) {
    struct faults *f = &sim->faults;
    if (f->released_count < RELEASED_MAX) {
        f->released[f->released_count].addr = addr;
        f->released[f->released_count++].at_us = sim->now_us;
    }
}

/* A free address that no server replicates from (see faults.h), or 0. */
static int free_addr(struct sim *sim) {
    struct faults *f = &sim->faults;
    for (int i = 0; i < f->released_count; i++) {
        int addr = f->released[i].addr;
        bool used = sim_host_at(sim, addr) >= 0 || sim->now_us - f->released[i].at_us < ADDR_REST_US;
        for (int k = 0; k < sim->redis_count; k++) {
            const struct redis *r = &sim->redis[k];
            used |= r->phase != REDIS_DOWN && r->repl.addr == addr;
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

static bool fault_addr_reuse(struct sim *sim) {
    int addr = free_addr(sim);
    int pod = any_pod(sim);
    if (!addr || gone_for_good(sim, pod))
        return false;
    sim->pods[pod].reuse_addr = addr;
    if (delete_pod(sim, pod, true))
        return true;
    sim->pods[pod].reuse_addr = 0;
    return false;
}

/* What another cluster's volume holds: an id, all slots, data, a high epoch. */
static void make_foreign(struct sim *sim, struct redis *r) {
    r->has_conf = true;
    r->current_epoch = STRANGER_EPOCH;
    redis_add_node(sim, r, sim->next_id++, 0, NODE_MYSELF | NODE_PRIMARY);
    redis_myself(r)->epoch = STRANGER_EPOCH;
    for (int k = 0; k < sim->atom_count; k++) {
        redis_set_owner(r, k, redis_myself(r));
        r->data[k] = 1;
    }
    check_is_foreign(sim, redis_myself(r)->id);
}

static bool stranger_at_free_addr(struct sim *sim, bool cluster) {
    int addr = free_addr(sim);
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

static bool fault_foreign_server(struct sim *sim) {
    return stranger_at_free_addr(sim, true);
}

static bool fault_impostor(struct sim *sim) {
    return stranger_at_free_addr(sim, false);
}

void faults_volume_swapped(struct sim *sim, int pod) {
    if (!sim->faults.swap_volume[pod])
        return;
    sim->faults.swap_volume[pod] = false;
    redis_lose_volume(sim, &sim->redis[pod]);
    make_foreign(sim, &sim->redis[pod]);
}

/* A person empties what does not belong here, as soon as there is a pod to delete. */
static void on_person(struct sim *sim, const struct event *event) {
    const struct api_pod *p = &sim->api.now.pods[event->who];
    if (!p->exists || p->terminating) {
        faults_last(sim, SECONDS(15));
        sim_after(sim, SECONDS(5), on_person, event->who, 0, 0, NULL);
        return;
    }
    sim_trace(sim, "person", "empties the volume of %s", sim->redis[event->who].name);
    sim->pods[event->who].lose_volume = true;
    pods_delete(sim, event->who, true);
}

static bool fault_foreign_volume(struct sim *sim) {
    int pod = any_pod(sim);
    if (!sim->setup.volumes || !record_formed(sim) || !may_lose_data(sim, pod) ||
        sim->checks.foreign_count > FOREIGN_IDS_MAX - 8)
        return false;
    sim->faults.swap_volume[pod] = true;
    if (!delete_pod(sim, pod, true)) {
        sim->faults.swap_volume[pod] = false;
        return false;
    }
    int64_t wait = sim_between(sim, SECONDS(30), SECONDS(90));
    sim_after(sim, wait, on_person, pod, 0, 0, NULL);
    faults_last(sim, wait + SECONDS(10));
    return true;
}

/* ---- the API ---- */

static void on_api_up(struct sim *sim, const struct event *event) {
    (void)event;
    sim->api.down = false;
    sim->api.error_permille = 0;
    sim->api.conflict_permille = 0;
    sim_trace(sim, "api", "is well again");
}

static void api_trouble(struct sim *sim, int64_t longest_us) {
    int64_t duration = sim_between(sim, SECONDS(1), longest_us);
    sim_after(sim, duration, on_api_up, 0, 0, 0, NULL);
    faults_last(sim, duration);
}

static bool api_troubled(const struct sim *sim) {
    return sim->api.down || sim->api.error_permille || sim->api.conflict_permille;
}

static bool fault_api_down(struct sim *sim) {
    if (api_troubled(sim))
        return false;
    sim->api.down = true;
    api_trouble(sim, SECONDS(150));
    return true;
}

static bool fault_api_errors(struct sim *sim) {
    if (api_troubled(sim))
        return false;
    sim->api.error_permille = (unsigned)sim_between(sim, 100, 900);
    api_trouble(sim, SECONDS(60));
    return true;
}

static bool fault_api_conflicts(struct sim *sim) {
    if (api_troubled(sim))
        return false;
    sim->api.conflict_permille = (unsigned)sim_between(sim, 100, 950);
    api_trouble(sim, SECONDS(60));
    return true;
}

static bool fault_api_stale(struct sim *sim) {
    int pod = sim_chance(sim, 500) ? leader_pod(sim) : any_pod(sim);
    if (pod < 0)
        return false;
    int64_t duration = sim_between(sim, SECONDS(2), SECONDS(60));
    sim->faults.frozen_until_us[pod] = sim->now_us + duration;
    sim->faults.list_age_us[pod] = sim_between(sim, 0, SECONDS(120));
    if (sim_chance(sim, 400))
        pods_crash_agent(sim, pod);
    faults_last(sim, duration);
    return true;
}

static bool fault_lease_lost(struct sim *sim) {
    if (!sim->api.lease_exists)
        return false;
    sim->api.lease_exists = false;
    sim->checks.two_leaders_until_us = sim->now_us + SECONDS(20);
    return true;
}

/*
 * As long as it is not put back, it must not be followed by the loss of every copy: a half formed
 * cluster without a record waits for a person, and so does a dead id that nobody remembers.
 */
static bool fault_record_deleted(struct sim *sim) {
    if (!sim->api.now.record || api_troubled(sim) || sim->faults.cuts || leader_pod(sim) < 0)
        return false;
    sim->faults.hold_us = sim->now_us + SECONDS(45);
    sim->faults.act_at_send = 0;
    api_delete_record(sim);
    return true;
}

/* And every copy of it: the cluster must be adopted as it is. */
static bool fault_record_and_copies(struct sim *sim) {
    if (check_converged(sim) || api_troubled(sim) || sim->faults.cuts)
        return false;
    api_delete_record(sim);
    for (int i = 0; i < sim->api.now.replicas; i++)
        pods_crash_agent(sim, i);
    sim->faults.hold_us = sim->now_us + SECONDS(75);
    faults_last(sim, SECONDS(60));
    return true;
}

/* ---- the network ---- */

static void cut_groups(struct sim *sim, uint32_t a, uint32_t b, int step) {
    for (int i = 0; i < HOSTS; i++)
        for (int k = 0; k < HOSTS; k++)
            if (a >> i & 1 && b >> k & 1 && i != k)
                sim->cut[i][k] = (unsigned char)(sim->cut[i][k] + step);
}

static void on_heal(struct sim *sim, const struct event *event) {
    cut_groups(sim, (uint32_t)event->run, (uint32_t)(event->run >> 32), -1);
    sim->faults.cuts--;
    sim_trace(sim, "network", "partition healed");
}

static bool cut_for(struct sim *sim, uint32_t a, uint32_t b, int64_t longest_us) {
    int64_t duration = sim_between(sim, MS(500), longest_us);
    cut_groups(sim, a, b, 1);
    sim->faults.cuts++;
    sim_after(sim, duration, on_heal, 0, 0, (uint64_t)b << 32 | a, NULL);
    faults_last(sim, duration);
    return true;
}

#define ALL_PODS ((1u << PODS_MAX) - 1)
#define THE_API (1u << HOST_API)

static bool fault_partition_pod(struct sim *sim) {
    uint32_t pod = 1u << any_pod(sim);
    uint32_t api = sim_chance(sim, 500) ? THE_API : 0;
    return cut_for(sim, pod, (ALL_PODS & ~pod) | api, SECONDS(60));
}

static bool fault_partition_halves(struct sim *sim) {
    uint32_t half = (uint32_t)rng_below(&sim->rng, ALL_PODS);
    uint32_t api = sim_chance(sim, 500) ? THE_API : 0;
    return cut_for(sim, half, (ALL_PODS & ~half) | api, SECONDS(60));
}

static bool fault_partition_api(struct sim *sim) {
    int pod = sim_chance(sim, 500) ? leader_pod(sim) : any_pod(sim);
    return pod >= 0 && cut_for(sim, 1u << pod, THE_API, SECONDS(90));
}

/* ---- the set ---- */

static bool fault_scale_out(struct sim *sim) {
    if (sim->api.now.replicas >= PODS_MAX || !record_formed(sim))
        return false;
    pods_scale(sim, sim->api.now.replicas + 1);
    faults_last(sim, SECONDS(10));
    return true;
}

static const struct fault_kind {
    const char *name;
    bool (*inject)(struct sim *sim);
} kinds[] = {
    {"agent-crash", fault_agent_crash},
    {"leader-crash", fault_leader_crash},
    {"leader-dies-or-stalls-at-a-send", fault_crash_at_send},
    {"agent-pause", fault_agent_pause},
    {"leader-pause", fault_leader_pause},
    {"server-crash", fault_server_crash},
    {"server-pause", fault_server_pause},
    {"pod-delete", fault_pod_delete},
    {"pod-lost", fault_pod_lost},
    {"pod-late", fault_pod_late},
    {"all-pods", fault_all_pods},
    {"volume-lost", fault_volume_lost},
    {"address-reuse", fault_addr_reuse},
    {"foreign-server", fault_foreign_server},
    {"impostor", fault_impostor},
    {"foreign-volume", fault_foreign_volume},
    {"api-down", fault_api_down},
    {"api-errors", fault_api_errors},
    {"api-conflicts", fault_api_conflicts},
    {"api-stale", fault_api_stale},
    {"lease-lost", fault_lease_lost},
    {"record-deleted", fault_record_deleted},
    {"record-and-copies-lost", fault_record_and_copies},
    {"partition-pod", fault_partition_pod},
    {"partition-halves", fault_partition_halves},
    {"partition-api", fault_partition_api},
    {"scale-out", fault_scale_out},
};

_Static_assert(ARRAY_LEN(kinds) <= STATS_FAULTS_MAX, "room for every kind of fault");

size_t faults_count(void) {
    return ARRAY_LEN(kinds);
}

const char *faults_name(size_t index) {
    return kinds[index].name;
}

size_t faults_find(const char *name) {
    size_t i = 0;
    while (i < ARRAY_LEN(kinds) && strcmp(kinds[i].name, name) != 0)
        i++;
    return i;
}

bool faults_inject(struct sim *sim, size_t kind) {
    uint64_t before = sim->trace_count;
    bool verbose = sim->options.verbose;
    sim->options.verbose = false;
    sim_trace(sim, "fault", "%s", kinds[kind].name);
    bool done = kinds[kind].inject(sim);
    sim->options.verbose = verbose;
    if (!done) {
        sim->trace_count = before;
        return false;
    }
    if (verbose)
        sim_print_trace(sim, sim->trace_count - before);
    sim->stats->faults[kind]++;
    sim->faults.injected++;
    faults_last(sim, 0);
    return true;
}

void faults_plan(struct sim *sim, int count, int64_t first_us, int64_t last_us) {
    for (int i = 0; i < count; i++)
        sim_after(sim, sim_between(sim, first_us, last_us), on_fault, 0, 0, 0, NULL);
    faults_last(sim, last_us);
    sim->faults.planned += count;
}

/* What is impossible now gives way to another kind; if all are, later. */
static void on_fault(struct sim *sim, const struct event *event) {
    for (int tries = 0; tries < 12 && sim->now_us >= sim->faults.hold_us; tries++) {
        size_t kind = (size_t)rng_below(&sim->rng, ARRAY_LEN(kinds));
        if (sim->faults.kinds >> kind & 1 && faults_inject(sim, kind)) {
            sim->faults.planned--;
            return;
        }
    }
    int64_t wait = sim_between(sim, SECONDS(1), SECONDS(5));
    faults_last(sim, wait);
    sim_after(sim, wait, event->fn, 0, 0, 0, NULL);
}
