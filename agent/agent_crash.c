/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the server beside us (core/crash.h): when it was, what was ordered for its slots, and
 * what people are told. Its next process waits at our gate meanwhile, so it is dead as long as
 * crash.gone_ms says so.
 */
#include <string.h>

#include "agent.h"
#include "base/log.h"
#include "base/text.h"
#include "io/clock.h"

/* Who is to stop ends because we said so; its slots have been seen to. */
void agent_note_crash(struct agent *agent)
{
    crash_begin(&agent->crash, agent->drain.since_ms != 0, clock_mono_ms());
    agent->crash_said[0] = '\0';
}

void agent_end_crash(struct agent *agent)
{
    agent->crash = (struct crash_watch){0};
    agent->crash_said[0] = '\0';
}

static enum crash_policy crash_policy_of(const struct agent *agent)
{
    switch (agent->config->policy.crash_handover) {
    case HANDOVER_AUTO:
        return CRASH_AUTO;
    case HANDOVER_ALWAYS:
        return CRASH_ALWAYS;
    case HANDOVER_OFF:
        break;
    }
    return CRASH_OFF;
}

void agent_watch_crash(struct agent *agent)
{
    struct world *w = &agent->world;
    crash_look(&agent->crash, w);
    if (!agent->crash.gone_ms)
        agent->crash_said[0] = '\0';
    w->takeover = agent->takeover;
    w->crash = agent->crash;
    w->crash_policy = crash_policy_of(agent);
    w->handover_max_lag = agent->config->policy.handover_max_lag;
}

bool agent_hides_crash(const struct agent *agent)
{
    return crash_hides(&agent->crash, crash_policy_of(agent));
}

bool agent_may_replace(struct agent *agent, const struct action *action)
{
    return crash_may_send(&agent->crash, agent->drain.since_ms != 0, agent->failovers, action,
                          clock_mono_ms());
}

static void crash_tell_done(struct agent *agent)
{
    char message[EVENT_MESSAGE_SIZE];
    int64_t gap_ms = agent->world.now_ms - agent->crash.gone_ms;
    text_format(message, sizeof message, "%s, %d ms after its end", agent->plan.crash.reason,
                (int)gap_ms);
    agent->counters.handovers[HANDOVER_CRASH] += agent->crash.ordered_ms != 0;
    LOG(LOG_INFO, "crash-handed-over", LOG_S("msg", message), LOG_I("gap_ms", gap_ms));
    if (agent->events)
        event_client_post(agent->events, false, "PrimaryHandedOver", message);
}

/* Its outcome is told once; the sentence of each turn tells the way there. */
void agent_answer_crash(struct agent *agent)
{
    const struct crash_verdict *verdict = &agent->plan.crash;
    crash_note(&agent->crash, verdict, hook_server_waiting(agent->hook, NULL) != NULL);
    if (verdict->step != CRASH_DONE && verdict->step != CRASH_LEFT)
        return;
    if (strcmp(agent->crash_said, verdict->reason) == 0 ||
        (verdict->step == CRASH_LEFT && agent->crash_said[0]))
        return;
    text_format(agent->crash_said, sizeof agent->crash_said, "%s", verdict->reason);
    if (verdict->step == CRASH_DONE) {
        crash_tell_done(agent);
        return;
    }
    LOG(LOG_WARN, "crash-left", LOG_S("msg", verdict->reason));
    if (agent->events)
        event_client_post(agent->events, true, "PrimaryNotHandedOver", verdict->reason);
}
