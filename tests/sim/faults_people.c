/* SPDX-License-Identifier: Apache-2.0 */
/* Faults that need a person: all data lost and given up, a stranger introduced by hand. */
#include <string.h>

#include "fault_kinds.h"

static bool any_foreign_volume(const struct sim *sim)
{
    for (int i = 0; i < sim->api.now.replicas; i++) {
        if (sim->faults.swap_volume[i] || sim->pods[i].lose_volume)
            return true;
        for (int k = 0; k < sim->checks.foreign_count; k++)
            if (sim->redis[i].nodes[0].id == sim->checks.foreign_ids[k])
                return true;
    }
    return false;
}

/* policy.lostCluster, once somebody has looked for the volumes in vain. */
static void on_given_up(struct sim *sim, const struct event *event)
{
    (void)event;
    sim->setup.reform_lost = true;
    sim_trace(sim, "person", "gives the data up");
}

/*
 * Every pod goes at once, and its data with it. Nobody may be led astray meanwhile by an old list of
 * pods: a newcomer that was introduced to servers on their way out would not be empty afterwards.
 */
bool fault_everything_lost(struct sim *sim)
{
    if (!check_healthy(sim) || fault_api_troubled(sim) || sim->faults.cuts ||
        any_foreign_volume(sim))
        return false;
    for (int i = 0; i < PODS_MAX; i++)
        if (sim->now_us < sim->faults.frozen_until_us[i])
            return false;
    bool graceful = sim_chance(sim, 500);
    for (int i = 0; i < sim->api.now.replicas; i++) {
        sim->pods[i].lose_volume = true;
        sim->pods[i].late_us = 0;
        pods_delete(sim, i, graceful);
    }
    memset(sim->acked, 0, sizeof sim->acked);
    memset(sim->checks.kept, 0, sizeof sim->checks.kept);
    int64_t wait = SECONDS(30);
    if (sim->setup.volumes && !sim->setup.reform_lost) {
        wait += sim_between(sim, SECONDS(10), SECONDS(60));
        sim_after(sim, wait, on_given_up, 0, 0, 0, NULL);
    }
    sim->faults.hold_us = sim->now_us + wait + SECONDS(60);
    fault_lasts(sim, wait + SECONDS(30));
    return true;
}

static void on_stranger_met(struct sim *sim, const struct event *event)
{
    struct redis *stranger = &sim->redis[event->who];
    struct action meet = {.kind = ACTION_MEET, .port = MODEL_PORT};
    struct action_args args;
    sim->checks.met_by_hand = redis_myself(stranger)->id;
    sim_addr_text(stranger->addr, meet.ip, sizeof meet.ip);
    action_command(&meet, &args);
    for (int i = 0; i < sim->api.now.replicas; i++) {
        if (!redis_running(sim, &sim->redis[i]))
            continue;
        sim_trace(sim, "person", "introduces %s to %s", stranger->name, sim->redis[i].name);
        (void)redis_command(sim, &sim->redis[i], &args);
        return;
    }
}

static void on_stranger_ends(struct sim *sim, const struct event *event)
{
    struct redis *stranger = &sim->redis[event->who];
    redis_stop(sim, stranger, true);
    sim->host_of_addr[stranger->addr] = 0;
}

/* An empty server of nobody's is introduced by hand, runs for a while and ends for good. */
bool fault_stranger_met(struct sim *sim)
{
    if (!check_healthy(sim) || sim->faults.cuts || sim->checks.met_by_hand ||
        sim->faults.foreign == FOREIGN_MAX)
        return false;
    int index = PODS_MAX + sim->faults.foreign++;
    int addr = sim_new_addr(sim);
    redis_init(sim, index, "stranger", false);
    if (index >= sim->redis_count)
        sim->redis_count = index + 1;
    sim_bind_addr(sim, addr, index);
    redis_start(sim, &sim->redis[index], addr, MS(20));
    int64_t life = sim_between(sim, SECONDS(5), SECONDS(40));
    sim_after(sim, SECONDS(1), on_stranger_met, index, 0, 0, NULL);
    sim_after(sim, life, on_stranger_ends, index, 0, 0, NULL);
    sim->faults.hold_us = sim->now_us + life + ELECTION_US(sim->setup.node_timeout_ms);
    fault_lasts(sim, life + SECONDS(10));
    return true;
}

/* A replica follows its mate, which was a primary when it was told so: Redis leaves it like that. */
bool fault_chain(struct sim *sim)
{
    struct redis *r = &sim->redis[fault_any_pod(sim)];
    if (!check_healthy(sim) || sim->faults.cuts || sim->setup.traits->kind != SERVER_REDIS ||
        !(r->nodes[0].flags & NODE_REPLICA))
        return false;
    for (int i = 0; i < sim->api.now.replicas; i++) {
        const struct redis *mate = &sim->redis[i];
        struct redis_node *n = redis_find(r, mate->nodes[0].id);
        if (mate == r || !n || mate->nodes[0].primary != r->nodes[0].primary)
            continue;
        redis_set_primary(sim, r, n, true);
        return true;
    }
    return false;
}

/* ---- a takeover by a person's word ---- */

#define WORD_US SECONDS(7)

/* `run`: how often it is said still. Whoever leads knows whether it can be obeyed (core/takeover.h). */
static void on_word(struct sim *sim, const struct event *event)
{
    int leader = fault_leader_pod(sim);
    if (leader >= 0 && sim->now_us >= sim->agents[leader].paused_until_us) {
        struct agent *agent = &sim->agents[leader];
        char answer[TAKEOVER_ANSWER_SIZE];
        bool obeys =
            takeover_answer(&agent->world, &agent->takeover_verdict, agent->reason, answer);
        if (obeys)
            agent->takeover.asked_ms = agent_clock_ms(sim, agent);
        sim_trace(sim, "person", "muster takeover at %s: %s", sim->redis[leader].name,
                  obeys ? "obeyed" : answer);
    }
    if (event->run && !check_healthy(sim))
        sim_after(sim, WORD_US, on_word, 0, 0, event->run - 1, NULL);
}

void fault_person_takes_over(struct sim *sim, int64_t for_us)
{
    sim_after(sim, WORD_US, on_word, 0, 0, (uint64_t)(for_us / WORD_US), NULL);
}

/* ---- a gate that waits for a person ---- */

#define PATIENCE_US SECONDS(90)
#define LOOKS_MAX 40

/* Who may have what the node of this pod held; a person who finds such a one does not open. */
static bool anybody_has_data_of(const struct sim *sim, int pod)
{
    const struct redis *r = &sim->redis[pod];
    for (int i = 0; i < sim->api.now.replicas; i++)
        if (i != pod && sim->redis[i].nodes[0].primary == r->nodes[0].id &&
            redis_has_data(sim, &sim->redis[i]))
            return true;
    return redis_has_data(sim, r);
}

/* Opens the gate of a server that already waited there when the person looked last (`other`). */
static void on_person_looks(struct sim *sim, const struct event *event)
{
    uint64_t looks = event->run + 1;
    int waits = -1;
    for (int i = 0; i < sim->api.now.replicas && waits < 0; i++)
        if (sim->pods[i].gate.waiting && sim->agents[i].alive && !anybody_has_data_of(sim, i))
            waits = i;
    if (waits >= 0 && waits == event->other) {
        sim_trace(sim, "person", "muster gate open %s", sim->redis[waits].name);
        sim->pods[waits].gate.opened = true;
        waits = -1;
    }
    if (looks == LOOKS_MAX || pods_all_running(sim))
        return;
    sim_after(sim, PATIENCE_US, on_person_looks, 0, waits, looks, NULL);
    fault_lasts(sim, PATIENCE_US + SECONDS(15));
    sim->faults.hold_us = sim->now_us + PATIENCE_US + SECONDS(15);
}

/*
 * The users empty their cluster, and all pods go. The set makes them one after the other
 * (OrderedReady): the first one cannot prove what nobody has, and waits for the word of others that are
 * not made before it is ready.
 */
bool fault_opened_by_hand(struct sim *sim)
{
    if (!sim->setup.ordered_ready || !sim->setup.volumes || !check_healthy(sim) || sim->faults.cuts)
        return false;
    memset(sim->acked, 0, sizeof sim->acked);
    memset(sim->checks.kept, 0, sizeof sim->checks.kept);
    for (int i = 0; i < sim->api.now.replicas; i++)
        memset(sim->redis[i].data, 0, sizeof sim->redis[i].data);
    for (int i = 0; i < sim->api.now.replicas; i++)
        pods_delete(sim, i, sim_chance(sim, 500));
    sim_after(sim, PATIENCE_US, on_person_looks, 0, -1, 0, NULL);
    fault_lasts(sim, PATIENCE_US + SECONDS(15));
    sim->faults.hold_us = sim->now_us + PATIENCE_US + SECONDS(15);
    return true;
}
