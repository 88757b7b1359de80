/* SPDX-License-Identifier: Apache-2.0 */
/* What people order: noted when it is said, answered by a turn, and told to everybody else. */
#include <string.h>

#include "agent.h"
#include "base/log.h"
#include "base/text.h"
#include "core/handover.h"
#include "core/pause.h"
#include "core/people.h"
#include "core/place.h"
#include "io/clock.h"

_Static_assert(HOOK_REASON_SIZE >= PEOPLE_SAID_SIZE, "an answer is said as it is");
_Static_assert(HOOK_REASON_SIZE >= HANDOVER_SAID_SIZE, "an answer is said as it is");

/* A pause is told again after so long, by who leads. */
#define PAUSE_TELL_MS (INT64_C(10) * 60 * 1000)

/* What became of a failover: also of one that this agent gave up since it does not lead any more. */
static enum hook_verdict people_look(const struct agent *agent, const char *pod,
                                     char said[HOOK_REASON_SIZE])
{
    static const enum hook_verdict verdicts[] = {[HANDOVER_ANSWER_WAITS] = HOOK_WAIT,
                                                 [HANDOVER_ANSWER_YES] = HOOK_OK,
                                                 [HANDOVER_ANSWER_NO] = HOOK_NO};
    return verdicts[handover_last_answer(&agent->handover, pod, said)];
}

static enum hook_verdict people_failover(struct agent *agent, const char *pod,
                                         char said[HOOK_REASON_SIZE])
{
    if (!handover_ask(&agent->handover, pod, clock_mono_ms(), said))
        return HOOK_NO;
    text_format(agent->people.pod, sizeof agent->people.pod, "%s", pod);
    agent->people.ordering = true;
    LOG(LOG_WARN, "ordered", LOG_S("msg", "a person orders a failover"), LOG_S("to", pod));
    agent_wake(agent);
    return HOOK_VERDICT_NONE;
}

/* The API's, which all agents share; each host's own without Kubernetes. */
static int64_t people_unix_ms(const struct agent *agent)
{
    return agent->kube ? kube_client_unix_ms(agent->kube) : clock_unix_ms();
}

static enum hook_verdict people_pause(struct agent *agent, const struct hook_person *person,
                                      enum person_wish wish)
{
    int64_t for_ms = person->for_ms < PAUSE_FOR_MS_MAX ? person->for_ms : PAUSE_FOR_MS_MAX;
    agent->people.pod[0] = '\0'; /* who waited for that has gone */
    people_ask(&agent->person, wish, person->reason, for_ms, clock_mono_ms(),
               people_unix_ms(agent));
    LOG(LOG_WARN, "ordered",
        LOG_S("msg", wish == PERSON_PAUSE ? "a person pauses Muster" : "a person resumes"),
        LOG_S("why", person->reason));
    agent_wake(agent);
    return HOOK_VERDICT_NONE;
}

enum hook_verdict agent_on_person(void *ctx, const struct hook_request *request,
                                  char said[HOOK_REASON_SIZE])
{
    struct agent *agent = ctx;
    const struct hook_person *person = &request->person;
    bool failover = request->verb == HOOK_FAILOVER;
    bool pause = request->verb == HOOK_PAUSE;
    char command[POD_NAME_SIZE + sizeof "failover "];
    text_format(command, sizeof command, "%s%s",
                failover ? "failover "
                : pause  ? "pause"
                         : "resume",
                failover ? person->pod : "");
    if (failover && !person->pod[0]) {
        text_format(said, HOOK_REASON_SIZE, "a failover needs the name of a pod");
        return HOOK_NO;
    }
    if (failover && person->look)
        return people_look(agent, person->pod, said);
    bool more = person->reason[0] || person->for_ms;
    if (!people_may_order(&agent->world, command, more, said))
        return HOOK_NO;
    if (failover)
        return people_failover(agent, person->pod, said);
    return people_pause(agent, person, pause ? PERSON_PAUSE : PERSON_RESUME);
}

void agent_watch_people(struct agent *agent)
{
    struct action put = {.kind = ACTION_RECORD_PUT};
    agent->world.now_unix_ms = people_unix_ms(agent);
    agent->world.record_writing = executor_is_doing(agent->executor, &put);
    agent->world.person = agent->person;
    agent->world.handover = agent->handover;
}

bool agent_may_order(struct agent *agent, const struct action *action)
{
    if (!handover_may_send(&agent->handover, action, clock_mono_ms()))
        return false;
    place_leave(&agent->place, clock_mono_ms());
    return true;
}

/* The end of one is logged, whoever waits for it. */
static void people_tell_end(struct agent *agent)
{
    const struct handover_end *ended = &agent->handover.ended[0];
    bool ordering = agent->handover.pod[0] != '\0';
    if (agent->people.ordering && !ordering)
        LOG(ended->won ? LOG_INFO : LOG_WARN, ended->won ? "failover-done" : "failover-ended",
            LOG_S("to", ended->pod), LOG_S("msg", ended->said));
    agent->people.ordering = ordering;
}

static void people_answer_failover(struct agent *agent)
{
    char said[HANDOVER_SAID_SIZE];
    enum handover_answer answer = handover_first_answer(&agent->handover, agent->people.pod, said);
    if (answer == HANDOVER_ANSWER_WAITS)
        return;
    agent->people.pod[0] = '\0';
    hook_server_answer_person(agent->hook, answer == HANDOVER_ANSWER_YES ? HOOK_OK : HOOK_NO, said);
}

static void people_answer_pause(struct agent *agent)
{
    char said[PEOPLE_SAID_SIZE];
    enum people_answer answer = people_judge(&agent->world, agent->plan.reason, said);
    if (answer == PEOPLE_WAIT)
        return;
    agent->person = (struct person_watch){0};
    if (!agent->people.pod[0])
        hook_server_answer_person(agent->hook, answer == PEOPLE_DONE ? HOOK_OK : HOOK_NO, said);
}

void agent_answer_people(struct agent *agent)
{
    handover_note(&agent->handover, &agent->world, &agent->plan.handover, agent->plan.reason);
    people_tell_end(agent);
    if (agent->world.person.wish)
        people_answer_pause(agent);
    if (agent->people.pod[0])
        people_answer_failover(agent);
}

void agent_publish_pause(struct agent *agent)
{
    const struct world *w = &agent->world;
    const struct record_pause *pause = pause_of(w);
    bool changed = agent->people.paused != (pause != NULL);
    bool again = pause && w->leader && w->now_ms - agent->people.paused_ms >= PAUSE_TELL_MS;
    char said[PAUSE_SAID_SIZE + 64];
    if (!changed && !again)
        return;
    agent->people.paused = pause != NULL;
    agent->people.paused_ms = w->now_ms;
    pause_say(w, said);
    text_append(said, sizeof said, "%s",
                pause ? ": only what keeps the cluster alive is done"
                      : "the pause is over: Muster goes on with everything");
    LOG(pause ? LOG_WARN : LOG_INFO, pause ? "paused" : "resumed", LOG_S("msg", said));
    if (agent->events && w->leader)
        event_client_post(agent->events, pause != NULL, pause ? "Paused" : "Resumed", said);
}
