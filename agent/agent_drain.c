/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries the drain: notes that preStop asks, tells it the planner's verdict, and tells people what a
 * rolling upgrade does. What must survive a restart of this agent is in Redis and in the hook, which
 * asks again and says since when.
 */
#include <string.h>

#include "agent.h"
#include "base/log.h"
#include "base/text.h"
#include "io/clock.h"

/* A server that was told that it may stop has stopped by then, or was never sent SIGTERM. */
#define DRAIN_TOLD_MS 60000

enum hook_verdict agent_on_drain(void *ctx, char reason[HOOK_REASON_SIZE])
{
    struct agent *agent = ctx;
    const char *said = agent->drain_tale.said;
    if (agent->drain.told_ms) /* a server that did not stop then is judged anew */
        agent_end_drain(agent);
    text_format(reason, HOOK_REASON_SIZE, "%s", said[0] ? said : "the agent looks at the shard");
    agent_wake(agent);
    return HOOK_WAIT; /* the turn answers: agent_answer_drain() */
}

bool agent_drains(const struct agent *agent)
{
    return agent->drain.since_ms && !agent->drain.told_ms;
}

void agent_end_drain(struct agent *agent)
{
    agent->drain = (struct drain_watch){0};
    memset(&agent->drain_tale, 0, sizeof agent->drain_tale);
}

static bool drain_is_over(const struct agent *agent)
{
    const struct world *w = &agent->world;
    if (!agent->drain.told_ms)
        return true; /* whoever asked has gone away */
    bool terminating = w->me != NO_POD && w->pods[w->me].terminating;
    return !terminating && w->now_ms - agent->drain.told_ms > DRAIN_TOLD_MS;
}

static bool drain_is_ordering(const struct agent *agent)
{
    const struct world *w = &agent->world;
    if (w->me == NO_POD)
        return false;
    struct action order = {.kind = ACTION_FAILOVER, .subject = w->pods[w->me].server.id};
    return executor_is_doing(agent->executor, &order);
}

/* What the next agents and the planner are to know of it. */
void agent_watch_drain(struct agent *agent)
{
    struct world *w = &agent->world;
    int64_t since_ms;
    failover_look(agent->failovers, w);
    w->failovers = agent->failovers;
    if (hook_server_draining(agent->hook, &since_ms)) {
        if (!agent->drain.since_ms || since_ms < agent->drain.since_ms)
            agent->drain.since_ms = since_ms;
    } else if (agent->drain.since_ms && drain_is_over(agent)) {
        agent_end_drain(agent);
    }
    drain_look(&agent->drain, w);
    agent->drain.ordering = drain_is_ordering(agent);
    w->drain = agent->drain;
}

static void drain_post(struct agent *agent, bool warning, const char *reason, const char *message)
{
    if (agent->events)
        event_client_post(agent->events, warning, reason, message);
}

/* How long clients waited: from the order to the first answer that shows the other role. */
static void drain_tell_handed(struct agent *agent)
{
    const struct server *s = &agent->world.pods[agent->world.me].server;
    const struct view_node *heir = s->view ? view_find(s->view, &s->view->myself->primary) : NULL;
    if (agent->drain_tale.handed || !agent->drain.handed_ms || !heir)
        return;
    size_t at = 0;
    while (at < agent->world.pod_count && !node_id_eq(&agent->world.pods[at].server.id, &heir->id))
        at++;
    const char *name = at < agent->world.pod_count ? agent->world.pods[at].name : heir->id.hex;
    int64_t ordered_ms = agent->drain_tale.ordered_ms;
    int64_t gap_ms = ordered_ms ? agent->drain.handed_ms - ordered_ms : -1;
    if (gap_ms < 0 && ordered_ms)
        gap_ms = 0;
    char message[EVENT_MESSAGE_SIZE];
    text_format(
        message, sizeof message, "%s handed its %u slots over to %s, under config epoch %llu",
        agent->identity.pod_name, agent->drain.slots, name, (unsigned long long)heir->epoch);
    if (gap_ms >= 0)
        text_append(message, sizeof message, "; writes paused for at most %d ms", (int)gap_ms);
    agent->drain_tale.handed = true;
    agent->counters.handovers[HANDOVER_DRAIN]++;
    LOG(LOG_INFO, "handed-over", LOG_S("msg", message), LOG_S("to", name), LOG_I("gap_ms", gap_ms));
    drain_post(agent, false, "PrimaryHandedOver", message);
}

static void drain_tell_left(struct agent *agent, const struct drain_verdict *verdict)
{
    LOG(verdict->kept || verdict->risks ? LOG_WARN : LOG_INFO, "drained",
        LOG_S("msg", verdict->reason),
        LOG_I("waited_ms", agent->world.now_ms - agent->drain.since_ms));
    if (verdict->kept)
        drain_post(agent, true, "PrimaryNotHandedOver", verdict->reason);
}

void agent_answer_drain(struct agent *agent)
{
    const struct drain_verdict *verdict = &agent->plan.drain;
    if (!agent_drains(agent))
        return;
    if (!agent->drain_tale.asked)
        LOG(LOG_INFO, "draining", LOG_S("msg", "preStop asks: the server beside is to stop"));
    agent->drain_tale.asked = true;
    if (agent->world.me != NO_POD)
        drain_tell_handed(agent);
    if (verdict->step == DRAIN_NONE)
        return; /* no rule of this turn came so far: it settles first */
    text_format(agent->drain_tale.said, sizeof agent->drain_tale.said, "%s", verdict->reason);
    if (verdict->step == DRAIN_LEAVE)
        drain_tell_left(agent, verdict);
    drain_note(&agent->drain, verdict, agent->world.now_ms);
    hook_server_answer_drain(agent->hook, verdict->step == DRAIN_LEAVE ? HOOK_OK : HOOK_WAIT,
                             verdict->reason);
}
