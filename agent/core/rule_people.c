/* SPDX-License-Identifier: Apache-2.0 */
/* What people order: a pause and its end (core/pause.h). */
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
