/* SPDX-License-Identifier: Apache-2.0 */
/* Placement, judged by what runs, not by what an agent believes. */
#include "core/arrange.h"
#include "core/place.h"
#include "sim.h"

/* By then who sends has heard that a replica has lost its primary. */
#define HEARD_US SECONDS(4)

/* A moment ago at the latest. */
static bool was_in_sync(const struct sim *sim, const struct redis *r)
{
    if (r->phase != REDIS_UP)
        return sim->now_us - r->died_us < HEARD_US;
    return r->repl.state == REPL_UP || sim->now_us - r->repl.down_since_us < HEARD_US;
}

static void check_reparent(struct sim *sim, const struct agent *agent, const struct action *action,
                           const char *text)
{
    uint32_t id = redis_id_parse(action->node.hex);
    uint32_t left = 0;
    bool spare = false;
    for (int i = 0; i < sim->redis_count; i++)
        if (sim->redis[i].nodes[0].id == id)
            left = sim->redis[i].nodes[0].primary;
    for (int i = 0; i < sim->redis_count; i++) {
        const struct redis *r = &sim->redis[i];
        spare |=
            r->ours && r->nodes[0].id != id && r->nodes[0].primary == left && was_in_sync(sim, r);
    }
    if (left && !spare)
        sim_violation(sim, "F6: %s sends \"%s\", which leaves %s without a replica in sync",
                      sim->redis[agent->index].name, text, redis_name_of(sim, left));
}

/*
 * Clocks differ. Without the interval follows what belongs to one change, or gives a shard a copy that it
 * lacks; the quiet before a move is never left out.
 */
static bool is_early(const struct sim *sim, const struct agent *agent)
{
    int64_t since_us = sim->now_us - sim->checks.placed_us;
    bool goes_on = place_goes_on(&agent->place, &agent->place.found);
    int64_t wait_ms = goes_on ? PLACE_QUIET_MS : sim->setup.placement_interval_ms;
    return sim->checks.placed_us && since_us < MS(wait_ms) * 8 / 10;
}

/* FAULTS F6: whoever leads, and however often that changes. */
void check_place(struct sim *sim, const struct agent *agent, const struct action *action,
                 const char *text)
{
    if (action->kind != ACTION_FAILOVER)
        check_reparent(sim, agent, action, text);
    if (action->kind == ACTION_CONFIG_SET)
        return;
    sim_trace(sim, sim->redis[agent->index].name, "moves a role: %s", text);
    if (is_early(sim, agent))
        sim_violation(sim, "F6: %s moves a role %lld ms after the last one",
                      sim->redis[agent->index].name,
                      (long long)((sim->now_us - sim->checks.placed_us) / 1000));
    for (size_t i = 0; i < agent->world.pod_count; i++)
        if (agent->world.pods[i].terminating)
            sim_violation(sim, "F6: %s moves a role while %s stops", sim->redis[agent->index].name,
                          agent->world.pods[i].name);
    sim->checks.placed_us = sim->now_us;
}

/* What the other one has of its own slots, and it has nothing of. */
static bool lacks(const struct sim *sim, const struct redis *r, const struct redis *primary)
{
    for (int k = 0; k < sim->atom_count; k++)
        if (redis_owns_atom(sim, primary, k) && primary->data[k] && !r->data[k])
            return true;
    return false;
}

void check_copied(struct sim *sim, const struct redis *r, uint32_t primary)
{
    for (int i = 0; r->repl.by_command && i < sim->redis_count; i++) {
        const struct redis *old = &sim->redis[i];
        if (old != r && old->ours && old->nodes[0].id == primary && redis_has_data(sim, r) &&
            lacks(sim, r, old))
            sim_violation(sim, "I8: %s takes over from %s, which it was told to copy and did not",
                          r->name, old->name);
    }
}

static bool owns(const struct redis *r)
{
    return r->nodes[0].flags & NODE_PRIMARY && r->nodes[0].slot_count;
}

const char *check_arrangement(struct sim *sim)
{
    struct place places[PODS_MAX];
    struct role roles[PODS_MAX];
    char nodes[PODS_MAX][8];
    char zones[PODS_MAX][8];
    unsigned shards = 0;
    size_t count = (size_t)sim->api.now.replicas;
    for (size_t i = 0; i < count; i++) {
        text_format(nodes[i], sizeof nodes[i], "n%d", sim->api.now.pods[i].node);
        text_format(zones[i], sizeof zones[i], "z%d", sim->api.now.pods[i].zone);
        places[i] = (struct place){nodes[i], zones[i]};
        if (owns(&sim->redis[i]))
            roles[i] = (struct role){(uint16_t)shards++, true};
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; !owns(&sim->redis[i]) && j < count; j++)
            if (owns(&sim->redis[j]) && sim->redis[j].nodes[0].id == sim->redis[i].nodes[0].primary)
                roles[i] = (struct role){roles[j].shard, false};
    struct arrangement a;
    arena_reset(&sim->turn_arena);
    arrange_plan(places, roles, count, shards, true, &sim->turn_arena, &a);
    return a.move_count ? "the roles could be spread better" : NULL;
}
