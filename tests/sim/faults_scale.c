/* SPDX-License-Identifier: Apache-2.0 */
/* The StatefulSet's size changes, at times again while slots still move (E1, E2). */
#include <string.h>

#include "fault_kinds.h"
#include "schedule.h"

#define SHARDS_MIN 3
#define SHARDS_MAX 9

static void on_again(struct sim *sim, const struct event *event);

/* As many pods as some number of shards needs, and perhaps some that are left over. */
static int scale_draw(struct sim *sim)
{
    int copies = 1 + sim->setup.replicas_per_primary;
    int most = PODS_MAX / copies < SHARDS_MAX ? PODS_MAX / copies : SHARDS_MAX;
    int pods = (int)sim_between(sim, SHARDS_MIN, most) * copies;
    pods += sim_chance(sim, 200) ? (int)sim_between(sim, 0, copies - 1) : 0;
    return pods < PODS_MAX ? pods : PODS_MAX;
}

/* Slots whose server does not run stay on its volume until its pod is wanted again: a person must not take it away. */
static bool scale_may(struct sim *sim, int pods)
{
    for (int i = pods; i < PODS_MAX; i++) {
        const struct redis *r = &sim->redis[i];
        bool owns = r->has_conf && r->nodes[0].flags & NODE_PRIMARY && r->nodes[0].slot_count;
        if (owns && r->phase != REDIS_UP && i < sim->api.now.replicas)
            return false;
    }
    return true;
}

static void scale_now(struct sim *sim, int pods)
{
    sim->stats->scalings += pods != sim->api.now.replicas;
    pods_scale(sim, pods);
    fault_lasts(sim, SECONDS(10));
}

static void on_again(struct sim *sim, const struct event *event)
{
    if (scale_may(sim, event->other)) {
        scale_now(sim, event->other);
        return;
    }
    fault_lasts(sim, SECONDS(1));
    sim_after(sim, SECONDS(1), on_again, 0, event->other, 0, NULL);
}

bool fault_scale(struct sim *sim)
{
    if (!sim->setup.scaling || !fault_record_formed(sim) || sim->api.now.set_absent)
        return false;
    int before = sim->api.now.replicas;
    int now = scale_draw(sim);
    if (!scale_may(sim, now))
        return false;
    scale_now(sim, now);
    if (!sim_chance(sim, 400))
        return true;
    /* While the first one is on its way: elsewhere, or back. */
    int64_t wait_us = sim_between(sim, MS(100), SECONDS(25));
    int pods = sim_chance(sim, 500) ? before : scale_draw(sim);
    sim_after(sim, wait_us, on_again, 0, pods, 0, NULL);
    fault_lasts(sim, wait_us);
    return true;
}

void scale_setup(struct sim *sim)
{
    sim->rng.state = rng_next(&sim->rng); /* the streams of neighbouring seeds overlap */
    sim->setup.volumes = true;
    sim->setup.pods = scale_draw(sim);
}

/* A quiet place, where nothing but what is killed disturbs. */
void scale_setup_plan(struct sim *sim, const struct scale_plan *plan)
{
    struct setup *s = &sim->setup;
    s->pods = plan->pods;
    s->replicas_per_primary = plan->replicas_per_primary;
    s->traits = plan->traits;
    s->ordered_ready = false;
    s->announce_by_hook = s->no_failover_by_hook = true;
    s->node_timeout_ms = 2000;
}

void scale_kills(struct sim *sim, struct agent *agent)
{
    int dest = agent_link_is_busy(agent, LINK_MOVER) ? agent->looks->links[LINK_MOVER].host[1] : -1;
    fault_lasts(sim, SECONDS(60));
    switch (sim->options.scale->victim) {
    case VICTIM_AGENT:
        pods_crash_agent(sim, agent->index);
        return;
    case VICTIM_SOURCE:
        pods_crash_server(sim, agent->index);
        return;
    case VICTIM_DEST:
        pods_crash_server(sim, dest < 0 ? agent->index : dest);
        return;
    }
}

void scale_setup_keys(struct sim *sim)
{
    sim->atom_count = 0;
    while (sim->atom_count < ATOMS_MAX) {
        int k = sim->atom_count++;
        unsigned slot = (unsigned)rng_below(&sim->rng, SLOT_COUNT);
        bool mate = k && sim_chance(sim, 200); /* of the same slot as the one before */
        sim->atoms[k] = mate ? sim->atoms[k - 1] : slot_one(slot);
    }
}

void scale_write(struct sim *sim)
{
    int k = (int)rng_below(&sim->rng, (uint64_t)sim->atom_count);
    struct redis *owner = check_owner(sim, sim->atoms[k].first);
    struct redis *r = owner ? slots_serving(sim, owner, k) : NULL;
    /* What is not found now must be there in the end. */
    if (!r || r->data[k] != sim->acked[k]) {
        sim->stats->invisible += r != NULL;
        return;
    }
    repl_write(sim, r, k, ++sim->writes);
    sim->acked[k] = sim->writes;
}

/* The planner says of a replica that somebody has to make its pod and volume anew. */
void scale_person(struct sim *sim)
{
    int leader = fault_leader_pod(sim);
    for (int pod = 0; leader >= 0 && pod < PODS_MAX; pod++) {
        char what[128];
        text_format(what, sizeof what, "%s would be the primary of a new shard, but is a replica",
                    sim->redis[pod].name);
        if (!strstr(sim->agents[leader].reason, what) || sim->pods[pod].lose_volume ||
            sim->api.now.pods[pod].terminating)
            continue;
        sim_trace(sim, "person", "makes %s anew", sim->redis[pod].name);
        sim->stats->anew++;
        sim->pods[pod].lose_volume = true;
        pods_delete(sim, pod, true);
    }
}
