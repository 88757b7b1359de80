/* SPDX-License-Identifier: Apache-2.0 */
/* What people order: a pause and its end (core/pause.h), a hand-over (core/handover.h). */
#include "core/handover.h"
#include "core/pause.h"
#include "core/people.h"
#include "core/rules.h"

enum rule_verdict rule_pause(struct planner *p)
{
    const struct world *w = p->world;
    struct record_pause wanted;
    if (!people_wanted_pause(w, &wanted))
        return RULE_PASS;
    struct record *record = ARENA_NEW(p->arena, struct record, 1);
    *record = *w->record;
    record->pause = wanted;
    record->pause_unclear = NULL;
    if (record_eq(record, w->record) || !planner_put_record(p, record))
        return RULE_PASS;
    if (wanted.set)
        planner_say(p, "a person pauses Muster: writing it to the record");
    else
        planner_say(p, "%s: taking it out of the record",
                    w->person.wish == PERSON_RESUME ? "a person ends the pause"
                                                    : "the pause has ended long ago");
    /* A write may hang for long, and nobody who keeps the cluster alive waits for it. */
    return RULE_PASS;
}

/* What an earlier rule orders takes the votes that this one would need. */
static bool failover_is_second(const struct planner *p)
{
    for (size_t i = 0; i < p->plan->action_count; i++) {
        enum action_kind kind = p->plan->actions[i].kind;
        if (kind == ACTION_FAILOVER || kind == ACTION_FORCE || kind == ACTION_TAKEOVER)
            return true;
    }
    return p->plan->crash.hold;
}

/* What it waits for; NULL = it was added to the plan. */
static const char *failover_order(struct planner *p, const struct handover_verdict *verdict)
{
    const struct world *w = p->world;
    const char *unheard = planner_unheard(p, verdict->shard, NULL, w->handover.asked_ms);
    struct action a = planner_failover(p, &w->pods[verdict->from], verdict->heir, AUTHORITY_LEADER);
    a.asked_ms = w->handover.asked_ms;
    a.planned_ms = w->now_ms;
    if (unheard)
        return unheard;
    if (failover_is_second(p))
        return "another hand-over comes first";
    if (planner_add(p, a))
        return NULL;
    return planner_is_free(p, verdict->heir) ? "its server did not take the order just now"
                                             : "another act on that server comes first";
}

enum rule_verdict rule_failover(struct planner *p)
{
    const struct world *w = p->world;
    struct handover_verdict *verdict = &p->plan->handover;
    if (!w->handover.pod[0] || !planner_formed(p))
        return RULE_PASS;
    handover_judge(w, p->facts, verdict);
    p->plan->wants_views = true;
    if (verdict->step != HANDOVER_MAY) {
        if (verdict->step == HANDOVER_SENT || w->handover.accepted)
            planner_say(p, "a person has ordered a failover: %s", verdict->reason);
        return RULE_PASS;
    }
    const char *waits = failover_order(p, verdict);
    planner_say(p, "a person has ordered it, and %s%s%s", verdict->reason,
                waits ? "; it waits: " : "", waits ? waits : "");
    return RULE_PASS;
}
