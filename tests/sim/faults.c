/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of the API and the network; the table of all, and when they happen. */
#include "faults.h"

#include <string.h>

#include "base/cleanup.h"
#include "fault_kinds.h"

/* What was not possible until then does not happen: a schedule may allow few kinds only. */
#define LATEST_US SECONDS(600)
/* Of the faults of a schedule that scales. */
#define SCALE_PERMILLE 400

static void on_fault(struct sim *sim, const struct event *event);

/* ---- the API ---- */

static void on_api_up(struct sim *sim, const struct event *event)
{
    (void)event;
    sim->api.down = false;
    sim->api.error_permille = 0;
    sim->api.conflict_permille = 0;
    sim_trace(sim, "api", "is well again");
}

static void api_trouble(struct sim *sim, int64_t longest_us)
{
    int64_t duration = sim_between(sim, SECONDS(1), longest_us);
    sim_after(sim, duration, on_api_up, 0, 0, 0, NULL);
    fault_lasts(sim, duration);
}

bool fault_api_troubled(const struct sim *sim)
{
    return sim->api.down || sim->api.error_permille || sim->api.conflict_permille;
}

bool fault_api_down(struct sim *sim)
{
    if (fault_api_troubled(sim))
        return false;
    sim->api.down = true;
    api_trouble(sim, SECONDS(150));
    return true;
}

static bool fault_api_errors(struct sim *sim)
{
    if (fault_api_troubled(sim))
        return false;
    sim->api.error_permille = (unsigned)sim_between(sim, 100, 900);
    api_trouble(sim, SECONDS(60));
    return true;
}

static bool fault_api_conflicts(struct sim *sim)
{
    if (fault_api_troubled(sim))
        return false;
    sim->api.conflict_permille = (unsigned)sim_between(sim, 100, 950);
    api_trouble(sim, SECONDS(60));
    return true;
}

static bool fault_api_stale(struct sim *sim)
{
    int pod = sim_chance(sim, 500) ? fault_leader_pod(sim) : fault_any_pod(sim);
    if (pod < 0)
        return false;
    int64_t duration = sim_between(sim, SECONDS(2), SECONDS(60));
    sim->faults.frozen_until_us[pod] = sim->now_us + duration;
    sim->faults.list_age_us[pod] = sim_between(sim, 0, SECONDS(120));
    if (sim_chance(sim, 400))
        pods_crash_agent(sim, pod);
    fault_lasts(sim, duration);
    return true;
}

static bool fault_lease_lost(struct sim *sim)
{
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
static bool fault_record_deleted(struct sim *sim)
{
    int leader = fault_leader_pod(sim);
    if (!sim->api.now.record || fault_api_troubled(sim) || sim->faults.cuts || leader < 0 ||
        !sim->agents[leader].record_copy || sim->now_us < sim->agents[leader].paused_until_us)
        return false;
    sim->faults.hold_us = sim->now_us + SECONDS(45);
    sim->faults.act_at_send = 0;
    api_delete_record(sim);
    return true;
}

static bool any_frozen(const struct sim *sim)
{
    for (int i = 0; i < PODS_MAX; i++)
        if (sim->now_us < sim->faults.frozen_until_us[i])
            return true;
    return false;
}

/*
 * And every copy of it: the cluster must be adopted as it is. Nobody is shown an old record then, which
 * would be put back.
 */
static bool fault_record_and_copies(struct sim *sim)
{
    if (check_converged(sim) || fault_api_troubled(sim) || sim->faults.cuts || any_frozen(sim))
        return false;
    api_delete_record(sim);
    for (int i = 0; i < sim->api.now.replicas; i++)
        pods_crash_agent(sim, i);
    sim->faults.hold_us = sim->now_us + SECONDS(75);
    fault_lasts(sim, SECONDS(60));
    return true;
}

/* ---- the network ---- */

static void cut_groups(struct sim *sim, uint32_t a, uint32_t b, int step)
{
    for (int i = 0; i < HOSTS; i++)
        for (int k = 0; k < HOSTS; k++)
            if (a >> i & 1 && b >> k & 1 && i != k)
                sim->cut[i][k] = (unsigned char)(sim->cut[i][k] + step);
}

static void on_heal(struct sim *sim, const struct event *event)
{
    cut_groups(sim, (uint32_t)event->run, (uint32_t)(event->run >> 32), -1);
    sim->faults.cuts--;
    sim_trace(sim, "network", "partition healed");
}

void fault_cut(struct sim *sim, uint32_t a, uint32_t b, int64_t duration)
{
    cut_groups(sim, a, b, 1);
    sim->faults.cuts++;
    sim_after(sim, duration, on_heal, 0, 0, (uint64_t)b << 32 | a, NULL);
    fault_lasts(sim, duration);
}

static bool cut_for(struct sim *sim, uint32_t a, uint32_t b, int64_t longest_us)
{
    fault_cut(sim, a, b, sim_between(sim, MS(500), longest_us));
    return true;
}

static bool fault_partition_pod(struct sim *sim)
{
    uint32_t pod = 1u << fault_any_pod(sim);
    uint32_t api = sim_chance(sim, 500) ? THE_API : 0;
    return cut_for(sim, pod, (ALL_PODS & ~pod) | api, SECONDS(60));
}

static bool fault_partition_halves(struct sim *sim)
{
    uint32_t half = (uint32_t)rng_below(&sim->rng, ALL_PODS);
    uint32_t api = sim_chance(sim, 500) ? THE_API : 0;
    return cut_for(sim, half, (ALL_PODS & ~half) | api, SECONDS(60));
}

static bool fault_partition_api(struct sim *sim)
{
    int pod = sim_chance(sim, 500) ? fault_leader_pod(sim) : fault_any_pod(sim);
    return pod >= 0 && cut_for(sim, 1u << pod, THE_API, SECONDS(90));
}

/* ---- the set ---- */

static bool fault_scale_out(struct sim *sim)
{
    if (sim->api.now.replicas >= PODS_MAX || !fault_record_formed(sim))
        return false;
    pods_scale(sim, sim->api.now.replicas + 1);
    fault_lasts(sim, SECONDS(10));
    return true;
}

static void on_set_made(struct sim *sim, const struct event *event)
{
    (void)event;
    sim->api.now.set_absent = false;
    sim->api.now.set_uid++;
    sim_trace(sim, "api", "the StatefulSet was made anew");
    api_changed(sim, API_SET);
    pods_scale(sim, sim->api.now.replicas); /* what went meanwhile comes back */
}

/* Deleted with its pods left running, and made again: the new one takes them over (--cascade=orphan). */
bool fault_record_is_todays(const struct sim *sim)
{
    char uid[UID_SIZE];
    api_set_uid(sim->api.now.set_uid, uid);
    const struct stored_record *stored = sim->api.now.record;
    return stored && !sim->api.now.set_absent && strcmp(stored->record.set_uid, uid) == 0;
}

/* The new set takes its cluster over from most of its members: with fewer a person must decide. */
static bool most_members_stay(const struct sim *sim)
{
    const struct stored_record *stored = sim->api.now.record;
    size_t stay = 0;
    for (size_t i = 0; stored && i < stored->record.member_count; i++) {
        const struct record_member *m = &stored->record.members[i];
        for (int pod = 0; pod < PODS_MAX; pod++) {
            const struct redis *r = &sim->redis[pod];
            bool comes =
                r->has_conf && !sim->pods[pod].lose_volume && !sim->faults.swap_volume[pod];
            struct node_id id;
            redis_id_hex(r->nodes[0].id, &id);
            stay += comes && r->ours && node_id_eq(&id, &m->id);
        }
    }
    return !stored || stay > stored->record.member_count / 2;
}

static bool fault_set_made_anew(struct sim *sim)
{
    if (sim->api.now.set_absent || !most_members_stay(sim))
        return false;
    int64_t absence = sim_chance(sim, 500) ? MS(5) : sim_between(sim, SECONDS(1), SECONDS(15));
    sim->api.now.set_absent = true;
    api_changed(sim, API_SET);
    sim_after(sim, absence, on_set_made, 0, 0, 0, NULL);
    fault_lasts(sim, absence);
    return true;
}

/* New kinds go to the end: a kept seed names how many there were (cases/). */
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
    {"everything-lost", fault_everything_lost},
    {"cloned-volume", fault_cloned_volume},
    {"stranger-met", fault_stranger_met},
    {"set-made-anew", fault_set_made_anew},
    {"data-lost", fault_data_lost},
    {"data-lost-moved", fault_data_lost_moved},
    {"volume-lost-in-place", fault_volume_lost_in_place},
    {"primaries-lost", fault_primaries_lost},
    {"chain", fault_chain},
    {"primaries-lost-anyhow", fault_primaries_lost_anyhow},
    {"opened-by-hand", fault_opened_by_hand},
    {"unsynced-heir", fault_unsynced_heir},
    {"pod-drain", fault_pod_drain},
    {"back-and-forth", fault_back_and_forth},
    {"kept-away", fault_kept_away},
    {"node-lost", fault_node_lost},
    {"lagging-crash", fault_lagging_crash},
    {"unsynced-crash", fault_unsynced_crash},
    {"primaries-gone", fault_primaries_gone},
    {"primaries-cut-off", fault_primaries_cut_off},
    {"person-pauses", fault_person_pauses},
    {"person-failover", fault_person_failover},
    {"copies-crossed", fault_copies_crossed},
    {"scale", fault_scale},
};

_Static_assert(ARRAY_LEN(kinds) <= STATS_FAULTS_MAX, "room for every kind of fault");

size_t faults_count(void)
{
    return ARRAY_LEN(kinds);
}

const char *faults_name(size_t index)
{
    return kinds[index].name;
}

size_t faults_find(const char *name)
{
    size_t i = 0;
    while (i < ARRAY_LEN(kinds) && strcmp(kinds[i].name, name) != 0)
        i++;
    return i;
}

static uint64_t faults_named(const char *const *names, size_t count)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < count; i++)
        mask |= UINT64_C(1) << faults_find(names[i]);
    return mask;
}

uint64_t faults_beside_scaling(bool people)
{
    static const char *const orders[] = {"person-pauses", "person-failover"};
    static const char *const names[] = {
        "agent-crash",   "leader-crash",  "leader-dies-or-stalls-at-a-send",
        "agent-pause",   "leader-pause",  "server-crash",
        "server-pause",  "pod-delete",    "pod-lost",
        "pod-late",      "api-down",      "api-errors",
        "api-conflicts", "api-stale",     "lease-lost",
        "partition-pod", "partition-api", "partition-halves",
        "pod-drain",     "node-lost",     "scale",
    };
    return faults_named(names, ARRAY_LEN(names)) |
           (people ? faults_named(orders, ARRAY_LEN(orders)) : 0);
}

bool faults_inject(struct sim *sim, size_t kind)
{
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
    fault_lasts(sim, 0);
    return true;
}

void faults_plan(struct sim *sim, int count, int64_t first_us, int64_t last_us)
{
    size_t known = sim->options.kinds;
    sim->faults.drawn = known && known < ARRAY_LEN(kinds) ? known : ARRAY_LEN(kinds);
    if (!sim->setup.scaling && sim->faults.drawn > faults_find("scale"))
        sim->faults.drawn = faults_find("scale");
    for (int i = 0; i < count; i++)
        sim_after(sim, sim_between(sim, first_us, last_us), on_fault, 0, 0, 0, NULL);
    fault_lasts(sim, last_us);
    sim->faults.planned += count;
}

/*
 * An owner of slots came back under a new id while the cluster was being formed: until its heir is
 * elected, nothing else may happen to that one. (Not in the seeds that were kept before.)
 */
static bool heir_is_awaited(const struct sim *sim)
{
    return sim->faults.drawn > faults_find("unsynced-heir") && fault_record_formed(sim) &&
           pods_all_running(sim) && fault_owner_is_gone(sim);
}

/* What is impossible now gives way to another kind; if all are, later. */
static void on_fault(struct sim *sim, const struct event *event)
{
    bool hold = sim->now_us < sim->faults.hold_us || heir_is_awaited(sim);
    for (int tries = 0; tries < 12 && !hold; tries++) {
        bool scale = sim->setup.scaling && sim_chance(sim, SCALE_PERMILLE);
        size_t kind =
            scale ? faults_find("scale") : (size_t)rng_below(&sim->rng, sim->faults.drawn);
        if (sim->faults.kinds >> kind & 1 && faults_inject(sim, kind)) {
            sim->faults.planned--;
            return;
        }
    }
    if (sim->now_us > LATEST_US) {
        sim->faults.planned--;
        return;
    }
    int64_t wait = sim_between(sim, SECONDS(1), SECONDS(5));
    fault_lasts(sim, wait);
    sim_after(sim, wait, event->fn, 0, 0, 0, NULL);
}
