/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent makes of preStop, and what the others hear of it (agent/agent_drain.c). */
#include "sim.h"

bool agent_drains(const struct agent *agent)
{
    return agent->drain.since_ms && !agent->drain.told_ms;
}

enum leaving agent_leaving(const struct agent *agent)
{
    if (!agent->drain.since_ms)
        return LEAVING_NO;
    return agent->drain.told_ms ? LEAVING_GOES : LEAVING_ASKED;
}

/* executor_is_doing() */
static bool drain_is_ordering(const struct agent *agent)
{
    const struct world *w = &agent->world;
    for (int i = 0; w->me != NO_POD && i < PODS_MAX; i++) {
        const struct agent_run *run = &agent->peers[i].run;
        for (int k = run->next; run->busy && k < run->count; k++)
            if (run->actions[k].kind == ACTION_FAILOVER &&
                node_id_eq(&run->actions[k].subject, &w->pods[w->me].server.id))
                return true;
    }
    return false;
}

void agent_watch_drain(struct sim *sim, struct agent *agent)
{
    struct world *w = &agent->world;
    const struct drain_model *hook = &sim->pods[agent->index].drain;
    failover_look(&agent->failovers, w);
    w->failovers = &agent->failovers;
    if (hook->asking && !agent->drain.since_ms) /* an agent that was restarted is told since when */
        agent->drain.since_ms = w->now_ms - (sim->now_us - hook->since_us) / 1000;
    else if (!hook->asking && !hook->goes)
        agent->drain = (struct drain_watch){0};
    drain_look(&agent->drain, w);
    agent->drain.ordering = drain_is_ordering(agent);
    w->drain = agent->drain;
}

void agent_answer_drain(struct sim *sim, struct agent *agent, const struct plan *plan)
{
    if (!agent_drains(agent))
        return;
    drain_note(&agent->drain, &plan->drain, agent->world.now_ms);
    if (plan->drain.step != DRAIN_LEAVE)
        return;
    sim_trace(sim, sim->redis[agent->index].name, "drained: %s", plan->drain.reason);
    sim->pods[agent->index].drain.risks = plan->drain.risks;
    sim->stats->risks += plan->drain.risks;
    pods_let_go(sim, agent->index);
}
