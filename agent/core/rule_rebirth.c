/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a record whose cluster does not answer: the StatefulSet was made anew around it,
 * or every server came back empty (DESIGN 5.2).
 *
 * The reborn cluster keeps the uid of the record and gets the next generation: it is the same
 * StatefulSet's cluster to whoever reads the record, and a copy of the old generation that some
 * agent still holds is then recognised as the older one.
 */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "core/pause.h"
#include "core/rebirth.h"
#include "core/rules.h"

/* What answers and stays, as far as it can be read now. */
struct remains {
    size_t empty;                  /* servers that hold nothing */
    size_t belong;                 /* that answer under the id which the record has for them */
    const struct pod *other;       /* one that holds something; NULL if none does */
    const struct pod *terminating; /* a pod that is on its way out; NULL */
};

static struct remains rebirth_remains(const struct planner *p)
{
    struct remains r = {0};
    for (size_t i = 0; i < p->world->pod_count; i++) {
        const struct pod *pod = &p->world->pods[i];
        r.belong += p->facts->belongs[i];
        if (pod->terminating)
            r.terminating = r.terminating ? r.terminating : pod;
        else if (p->facts->virgin[i])
            r.empty++;
        else if (p->facts->fresh[i])
            r.other = pod;
    }
    return r;
}

/* "the cluster of 6 members in 3 shards (generation 1) is gone" */
static const char *rebirth_what(struct planner *p)
{
    const struct record *record = p->world->record;
    return arena_format(p->arena, "the cluster of %s in %s (generation %" PRId64 ") is gone",
                        planner_count(p, record->member_count, "member"),
                        planner_count(p, record->shards, "shard"), record->generation);
}

/* A recorded pod that is not there now, but whose volume may be; or NULL. */
static const struct record_member *rebirth_beyond(const struct planner *p)
{
    for (size_t i = 0; i < p->world->record->member_count; i++)
        if (p->facts->pod_of_member[i] == NO_POD)
            return &p->world->record->members[i];
    return NULL;
}

/*
 * May the cluster be formed anew from these empty servers? Without volumes there is nothing that
 * could come back. With them somebody must say that the data is lost: a claim that was not mounted
 * looks like an empty one.
 */
static enum rule_verdict rebirth_decide(struct planner *p)
{
    const struct world *w = p->world;
    bool anew = strcmp(w->record->set_uid, w->set.uid) != 0;
    const struct record_member *beyond = rebirth_beyond(p);
    if (pause_stops(w, WORK_REFORM))
        return planner_wait(p, "%s: nothing is formed anew before `muster resume`",
                            rebirth_what(p));
    if (w->set.volumes && !w->reform_lost && !anew)
        return planner_wait(p,
                            "%s: all %zu servers came back with empty volumes. Bring the volumes "
                            "back, or set policy.lostCluster to reform to give the data up",
                            rebirth_what(p), p->facts->expected);
    if (w->set.volumes && !w->reform_lost && beyond)
        return planner_wait(p,
                            "%s, but the volume of %s may hold a part of it: scale to where it "
                            "is, or set policy.lostCluster to reform to give the data up",
                            rebirth_what(p), beyond->pod);
    p->lost = arena_format(p->arena, "%s, lost with its %s", rebirth_what(p),
                           w->set.volumes && !anew ? "volumes"
                                                   : (anew ? "StatefulSet" : "pods (no volumes)"));
    return RULE_PASS;
}

enum rule_verdict rule_rebirth(struct planner *p)
{
    const struct world *w = p->world;
    if (!rebirth_concerns(w))
        return RULE_PASS;
    bool gone = rebirth_is_gone(w);
    struct remains r = rebirth_remains(p);
    if (!gone && (r.other || !r.empty))
        return RULE_PASS; /* it lives, or nothing can be said */
    if (planner_forming(p) && r.belong)
        return RULE_PASS; /* the servers of the intent are here to carry it out */
    /* Nobody is entered in the record meanwhile: there is nothing that a newcomer could join. */
    if (p->facts->first_missing_ordinal >= 0)
        return planner_wait(p,
                            "no server of the recorded cluster answers: %zu of %zu are there, all "
                            "empty; missing %s",
                            p->facts->expected_virgin, p->facts->expected,
                            planner_missing(p, p->facts->first_missing_ordinal));
    if (r.terminating)
        return planner_wait(p, "no server of the recorded cluster stays: waiting for %s to end",
                            r.terminating->name);
    if (!gone)
        return planner_wait(p, "no server of the recorded cluster answers: waiting for every pod "
                               "above the size to end or to answer");
    if (!w->gone_since_ms || w->now_ms - w->gone_since_ms < REBIRTH_STANDS_MS)
        return planner_wait(p, "%s: reading every server once more before anything is done",
                            rebirth_what(p));
    return rebirth_decide(p);
}

/* It is held at its gate with the member's volume: it may wait for what only this cluster's leader does. */
static bool rebirth_waits_here(const struct planner *p, size_t pod)
{
    const struct gate_word *word = world_gate_word(p->world, &p->world->pods[pod]);
    size_t member = p->facts->member_of[pod];
    return word && member != NO_POD && node_id_is_set(&word->id) &&
           node_id_eq(&word->id, &p->world->record->members[member].id);
}

/*
 * The record outlives its StatefulSet by design. It is the cluster of the new one when most of its
 * members answer, or wait at their gates, under the ids that it has for them, on pods of the new one.
 */
enum rule_verdict rule_take_over(struct planner *p)
{
    const struct world *w = p->world;
    if (!w->record || p->lost || strcmp(w->record->set_uid, w->set.uid) == 0)
        return RULE_PASS;
    size_t answering = 0;
    for (size_t i = 0; i < w->pod_count; i++)
        answering += p->facts->belongs[i] || rebirth_waits_here(p, i);
    if (answering <= w->record->member_count / 2)
        return planner_wait(p,
                            "the record %s-muster belongs to an earlier StatefulSet of this name, "
                            "and %zu of its %zu members answer here: waiting for most of them",
                            w->set.name, answering, w->record->member_count);
    struct record *record = ARENA_NEW(p->arena, struct record, 1);
    *record = *w->record;
    text_format(record->set_uid, sizeof record->set_uid, "%s", w->set.uid);
    (void)planner_put_record(p, record);
    return planner_wait(p,
                        "the StatefulSet %s was created anew and %zu of %zu members answer: "
                        "going on with their cluster",
                        w->set.name, answering, w->record->member_count);
}
