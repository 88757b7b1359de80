/* SPDX-License-Identifier: Apache-2.0 */
/* Carries out the plan, and remembers what came of it. */
#include <string.h>

#include "agent.h"
#include "base/log.h"
#include "base/text.h"
#include "core/handover.h"
#include "core/pause.h"
#include "core/place.h"
#include "core/reparent.h"
#include "io/clock.h"

bool agent_may_send(void *ctx, const struct action *action, const char **ret_why)
{
    struct agent *agent = ctx;
    *ret_why = "it was ordered already, or others may act by now";
    if (action->authority != AUTHORITY_LEADER)
        return agent_may_replace(agent, action);
    *ret_why = "this agent is not surely the leader any more";
    if (!(agent->hosts ? agent_hosts_may_send(agent) : lease_client_may_act(agent->lease)))
        return false;
    *ret_why = "a person has paused Muster";
    if (!pause_may_send(&agent->world, agent->person.wish, action))
        return false;
    *ret_why = "others may be about to order since it was planned, or the server beside is to stop";
    if (!place_may_send(&agent->world, action, agent->drain.since_ms != 0, clock_mono_ms()))
        return false;
    *ret_why = "the replica may be needed where it is";
    if (action->placing && action->kind != ACTION_FAILOVER)
        return reparent_may_send(&agent->world, action);
    *ret_why = "it was given up, or sent already";
    return !action->asked_ms || agent_may_order(agent, action);
}

void agent_execute(struct agent *agent)
{
    const struct plan *plan = &agent->plan;
    if (plan->action_count)
        executor_run(agent->executor, plan, &agent->world,
                     agent->hosts ? host_record_version(agent->hosts->record)
                                  : kube_state_record_version(agent->state));
}

/* What people want to see as it happens; the rest is for debugging a formation. */
static enum log_level agent_action_level(const struct action *action)
{
    switch (action->kind) {
    case ACTION_REPLICATE:
    case ACTION_FORGET:
    case ACTION_TAKEOVER:
    case ACTION_FORCE:
    case ACTION_FAILOVER:
    case ACTION_RECORD_PUT:
        return LOG_INFO;
    case ACTION_NONE:
    case ACTION_CONFIG_SET:
    case ACTION_SET_CONFIG_EPOCH:
    case ACTION_ADD_SLOTS:
    case ACTION_MEET:
        break;
    }
    return LOG_DEBUG;
}

static const char *agent_pod_name(const struct agent *agent, const char *uid)
{
    for (size_t i = 0; i < agent->world.pod_count; i++)
        if (strcmp(agent->world.pods[i].uid, uid) == 0)
            return agent->world.pods[i].name;
    return uid[0] ? uid : agent->hosts ? "file" : "api";
}

/* The Event's reason where the act is one that `kubectl describe` should tell. */
static const char *agent_event_reason(const struct action *action)
{
    switch (action->kind) {
    case ACTION_RECORD_PUT:
        return action->record->state == RECORD_FORMED ? "ClusterRecorded" : "ClusterForming";
    case ACTION_REPLICATE:
        return action->placing ? "ReplicaMoved" : "ReplicaAssigned";
    case ACTION_FORGET:
        return "NodeForgotten";
    case ACTION_TAKEOVER:
    case ACTION_FORCE:
        return "ReplicaTookOver";
    case ACTION_NONE:
    case ACTION_CONFIG_SET:
    case ACTION_SET_CONFIG_EPOCH:
    case ACTION_ADD_SLOTS:
    case ACTION_MEET:
    case ACTION_FAILOVER: /* its outcome is what is told (agent_drain.c) */
        break;
    }
    return NULL;
}

static void agent_on_success(struct agent *agent, const struct action *action, const char *cmd,
                             const char *pod, const char *why)
{
    agent->counters.actions_ok[action->kind]++;
    attempts_succeeded(&agent->attempts, action_key(action), clock_mono_ms(),
                       action_quiet_ms(action));
    if (action->kind == ACTION_RECORD_PUT && agent->hosts)
        agent_hosts_publish_record(agent);
    else if (action->kind == ACTION_RECORD_PUT)
        kube_state_record_written(agent->state, action->record, why);
    if (action->kind == ACTION_FAILOVER && agent->drain.since_ms)
        agent->drain_tale.ordered_ms = clock_mono_ms();
    bool planned = action->kind == ACTION_FAILOVER && (action->placing || action->asked_ms);
    if (planned)
        agent->counters.handovers[HANDOVER_PLANNED]++;
    LOG(agent_action_level(action), "did", LOG_S("cmd", cmd), LOG_S("to", pod));
    const char *reason = planned ? "PrimaryMoved" : agent_event_reason(action);
    if (reason && agent->events) {
        char message[EVENT_MESSAGE_SIZE];
        text_format(message, sizeof message, "%s (%s to %s)", agent->said, cmd, pod);
        event_client_post(agent->events, false, reason, message);
    }
}

/* What an order of ours may have set going, and what our own drain waits for. */
static void agent_note_order(struct agent *agent, const struct action *action, const char *pod,
                             enum outcome outcome, const char *why)
{
    if (outcome == OUTCOME_REFUSED)
        crash_note_refused(&agent->crash, action);
    if (action->kind != ACTION_FAILOVER)
        return;
    if (outcome == OUTCOME_OK || outcome == OUTCOME_FAILED)
        failover_ordered(agent->failovers, &action->node, &action->subject, clock_mono_ms());
    if (action->authority != AUTHORITY_OWN || !agent->drain.since_ms)
        return;
    agent->drain.refused[0] = '\0';
    if (outcome == OUTCOME_REFUSED)
        text_format(agent->drain.refused, sizeof agent->drain.refused, "%s refuses: %s", pod, why);
}

void agent_on_outcome(void *ctx, const struct action *action, const char *pod_uid,
                      enum outcome outcome, const char *why)
{
    struct agent *agent = ctx;
    char cmd[ERR_MSG_SIZE];
    action_format(action, cmd, sizeof cmd);
    const char *pod = agent_pod_name(agent, pod_uid);
    agent_note_order(agent, action, pod, outcome, why);
    if (action->asked_ms && outcome == OUTCOME_REFUSED)
        handover_refused(&agent->handover, action, why);
    if (action->placing && action->kind != ACTION_CONFIG_SET &&
        (outcome == OUTCOME_OK || outcome == OUTCOME_FAILED))
        place_ordered(&agent->place, action, clock_mono_ms());
    switch (outcome) {
    case OUTCOME_OK:
        agent_on_success(agent, action, cmd, pod, why);
        break;
    case OUTCOME_REFUSED:
    case OUTCOME_FAILED: {
        agent->counters.actions_failed[action->kind]++;
        int64_t delay = attempts_failed(&agent->attempts, action_key(action), clock_mono_ms(),
                                        action_failed_quiet_ms(action));
        LOG(LOG_WARN, "failed", LOG_S("cmd", cmd), LOG_S("to", pod), LOG_S("why", why),
            LOG_I("retry_ms", delay));
        break;
    }
    case OUTCOME_FENCED:
        LOG(LOG_WARN, "fenced", LOG_S("cmd", cmd), LOG_S("to", pod), LOG_S("why", why));
        break;
    case OUTCOME_NONE:
    case OUTCOME_SUPERSEDED:
    case OUTCOME_DROPPED:
        LOG(LOG_DEBUG, outcome_name(outcome), LOG_S("cmd", cmd), LOG_S("to", pod),
            LOG_S("why", why));
        break;
    }
    agent_wake(agent);
}
