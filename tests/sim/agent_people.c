/* SPDX-License-Identifier: Apache-2.0 */
/* What people order of an agent, and what it remembers of it (agent/agent_people.c). */
#include "core/pause.h"
#include "core/people.h"
#include "core/place.h"
#include "sim.h"

/* What time the API tells, to each agent up to two seconds differently, and when that begins. */
#define SKEW_MS 200
#define UNIX_MS INT64_C(1795000000000)

int64_t agent_unix_ms(const struct sim *sim, int index)
{
    return UNIX_MS + sim->now_us / 1000 + index * SKEW_MS;
}

void agent_watch_people(struct sim *sim, struct agent *agent)
{
    struct world *w = &agent->world;
    w->now_unix_ms = agent_unix_ms(sim, agent->index);
    w->person = agent->person;
    w->handover = agent->handover;
    w->record_writing = agent->record_busy;
    if (!pause_of(w))
        agent->paused_ms = 0;
    else if (!agent->paused_ms)
        agent->paused_ms = w->now_ms;
}

void agent_note_people(struct sim *sim, struct agent *agent, const struct plan *plan)
{
    char said[PEOPLE_SAID_SIZE];
    bool asked = agent->handover.pod[0] != '\0';
    handover_note(&agent->handover, &agent->world, &plan->handover, plan->reason);
    if (asked && !agent->handover.pod[0])
        sim_trace(sim, sim->redis[agent->index].name, "to the person: %s",
                  agent->handover.ended[0].said);
    if (!agent->world.person.wish || people_judge(&agent->world, plan->reason, said) == PEOPLE_WAIT)
        return;
    sim_trace(sim, sim->redis[agent->index].name, "to the person: %s", said);
    agent->person = (struct person_watch){0};
}

bool agent_may_order(struct sim *sim, struct agent *agent, const struct action *action)
{
    int64_t now_ms = agent_clock_ms(sim, agent);
    if (!action->asked_ms)
        return true;
    if (!handover_may_send(&agent->handover, action, now_ms))
        return false;
    place_leave(&agent->place, now_ms);
    return true;
}

/* A person at this agent: false if he is sent to another one, or another order is looked at. */
bool agent_is_told(struct agent *agent)
{
    char said[PEOPLE_SAID_SIZE];
    return agent->alive && !agent->person.wish && people_may_order(&agent->world, "", false, said);
}
