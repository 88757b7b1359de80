/* SPDX-License-Identifier: Apache-2.0 */
/* A person orders a failover of any pod at any moment, or pauses Muster while other things break. */
#include "core/pause.h"
#include "core/people.h"
#include "fault_kinds.h"

#define INSISTS_US SECONDS(5)
#define ASKS_MAX 4

static struct agent *told_agent(struct sim *sim)
{
    int pod = fault_leader_pod(sim);
    if (pod < 0 || sim->now_us < sim->agents[pod].paused_until_us ||
        !agent_is_told(&sim->agents[pod]))
        return NULL;
    return &sim->agents[pod];
}

static void say(struct sim *sim, struct agent *agent, enum person_wish wish, int64_t for_us)
{
    sim_trace(sim, "person", "%s at %s", wish == PERSON_PAUSE ? "pause" : "resume",
              sim->redis[agent->index].name);
    sim->checks.said_us = sim->now_us;
    people_ask(&agent->person, wish, "the simulator", for_us / 1000, agent_clock_ms(sim, agent),
               agent_unix_ms(sim, agent->index));
    agent_wake(sim, agent);
}

static bool is_paused(const struct sim *sim)
{
    const struct stored_record *stored = sim->api.now.record;
    return stored && stored->record.pause.set;
}

/* Says so until it is done: the first word may have been lost with who led. */
static void on_resume_order(struct sim *sim, const struct event *event)
{
    struct agent *agent = told_agent(sim);
    if (!is_paused(sim) && sim->now_us > (int64_t)event->run)
        return;
    if (agent && is_paused(sim))
        say(sim, agent, PERSON_RESUME, 0);
    fault_lasts(sim, 2 * INSISTS_US);
    sim_after(sim, INSISTS_US, on_resume_order, 0, 0, event->run, NULL);
}

bool fault_person_pauses(struct sim *sim)
{
    struct agent *agent = told_agent(sim);
    if (!agent || !fault_record_formed(sim) || is_paused(sim))
        return false;
    int64_t for_us = sim_between(sim, SECONDS(5), SECONDS(120));
    bool by_itself = sim_chance(sim, 500);
    say(sim, agent, PERSON_PAUSE, by_itself ? for_us : 0);
    /* one that is written late, or whose end nobody could write, is ended by hand as well */
    int64_t last_us = sim->now_us + for_us + 2 * INSISTS_US;
    sim_after(sim, for_us + (by_itself ? 2 * INSISTS_US : 0), on_resume_order, 0, 0,
              (uint64_t)last_us, NULL);
    fault_lasts(sim, for_us + 3 * INSISTS_US);
    return true;
}

static void on_order(struct sim *sim, const struct event *event)
{
    struct agent *agent = told_agent(sim);
    char said[HANDOVER_SAID_SIZE];
    if (agent) {
        const char *pod = sim->redis[event->who].name;
        bool heard = handover_ask(&agent->handover, pod, agent_clock_ms(sim, agent), said);
        sim_trace(sim, "person", "failover %s at %s%s", pod, sim->redis[agent->index].name,
                  heard ? "" : ": not now");
        agent_wake(sim, agent);
    }
    int64_t again_us = event->other > 1 ? sim_between(sim, MS(10), SECONDS(30)) : 0;
    fault_lasts(sim, again_us + SECONDS(20));
    if (again_us)
        sim_after(sim, again_us, on_order, event->who, event->other - 1, 0, NULL);
}

/* Any pod, a few times in a row: the same again, too early, or to no purpose. */
bool fault_person_failover(struct sim *sim)
{
    if (!told_agent(sim) || !fault_record_formed(sim))
        return false;
    sim_after(sim, MS(1), on_order, fault_any_pod(sim), (int)sim_between(sim, 1, ASKS_MAX), 0,
              NULL);
    fault_lasts(sim, SECONDS(20));
    return true;
}
