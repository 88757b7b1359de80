/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent makes of the end of the server beside it (agent/agent_crash.c). */
#include "sim.h"

#define LIFE_LINE_US MS(1) /* FACTS 13, M7 */

static void on_gone(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (agent_absent(sim, event, &agent))
        return;
    bool drains = agent->drain.since_ms || sim->redis[agent->index].phase != REDIS_DOWN;
    crash_begin(&agent->crash, drains, agent_clock_ms(sim, agent));
    if (drains)
        return;
    agent_peer_broke(sim, agent, agent->index);
    agent_wake(sim, agent);
}

/* Its life line ends; an agent that is paused reads of it when it goes on. */
void agent_server_gone(struct sim *sim, struct agent *agent)
{
    if (agent->alive)
        sim_after(sim, LIFE_LINE_US, on_gone, agent->index, 0, agent->run, NULL);
}

/* Some schedules do without it, as everybody does by default. */
static enum crash_policy crash_policy_of(const struct sim *sim)
{
    return sim->setup.crash_off ? CRASH_OFF : CRASH_AUTO;
}

void agent_watch_crash(struct sim *sim, struct agent *agent)
{
    struct world *w = &agent->world;
    crash_look(&agent->crash, w);
    w->crash = agent->crash;
    w->crash_policy = crash_policy_of(sim);
}

bool agent_hides_crash(const struct sim *sim, const struct agent *agent)
{
    return crash_hides(&agent->crash, crash_policy_of(sim));
}

void agent_answer_crash(struct sim *sim, struct agent *agent, const struct plan *plan)
{
    crash_note(&agent->crash, &plan->crash, sim->pods[agent->index].gate.waiting);
    if (plan->crash.step == CRASH_DONE && agent->crash_verdict.step == CRASH_UNDER_WAY)
        sim->stats->crashes++;
    agent->crash_verdict = plan->crash;
}

bool agent_may_replace(struct sim *sim, struct agent *agent, const struct action *action)
{
    return crash_may_send(&agent->crash, agent->drain.since_ms != 0, &agent->failovers, action,
                          agent_clock_ms(sim, agent));
}
