/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining and healing of a cluster that exists (DESIGN 5.3): who belongs, who must meet whom, what
 * is to be forgotten.
 *
 * Only the record says who belongs. A pod's new id is entered there first, and only what is entered
 * is met; an id that its pod no longer has is entered for forgetting, and only that is forgotten.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/pause.h"
#include "core/rules.h"

/*
 * May the server of this pod be entered in the record under the id that it has now? NULL if so, else
 * why not.
 */
static const char *join_refuse(struct planner *p, size_t pod)
{
    const struct facts *f = p->facts;
    const struct node_id *id = &p->world->pods[pod].server.id;
    if (f->virgin[pod] || record_forgets(p->world->record, id) ||
        record_has_left(p->world->record, id))
        return NULL;
    size_t member = index_find(&f->members, id->hex);
    if (member != INDEX_NONE) {
        /* An id moves to another pod only when the pod that had it is seen with another one. */
        size_t had = f->pod_of_member[member];
        if (had != NO_POD && f->fresh[had] && !node_id_eq(&p->world->pods[had].server.id, id))
            return NULL;
        return arena_format(p->arena, "it answers with the node id of %s (a copied volume?)",
                            p->world->record->members[member].pod);
    }
    /* Or a person has met it: most servers list it. A stranger's own view is never most. */
    const struct view_node *n =
        f->reference_ours && f->reference_votes > f->views / 2 ? view_find(f->reference, id) : NULL;
    if (n && !(n->flags & NODE_HANDSHAKE))
        return planner_sees_all(p) ? NULL : "not every server was asked yet whether it knows it";
    return "it holds data or a cluster of its own that the record does not know";
}

/* A newcomer is not taken in during a pause; a pod that has lost its volume gets its copy again. */
static bool join_waits(const struct planner *p, size_t pod)
{
    const struct pod *candidate = &p->world->pods[pod];
    return p->facts->fresh[pod] && p->facts->member_of[pod] == INDEX_NONE &&
           index_find(&p->facts->members, candidate->server.id.hex) == INDEX_NONE &&
           pause_stops(p->world, WORK_JOIN);
}

/* The pod's server has an id that is not the one in the record. */
static bool join_differs(const struct planner *p, size_t pod)
{
    const struct pod *candidate = &p->world->pods[pod];
    size_t at = p->facts->member_of[pod];
    return p->facts->fresh[pod] && !candidate->terminating &&
           (size_t)candidate->ordinal < p->facts->expected &&
           (at == INDEX_NONE ||
            !node_id_eq(&p->world->record->members[at].id, &candidate->server.id));
}

/*
 * What listens at the address that the API tells for a pod may be another's by now, where a list is
 * shown that is older than that: a stranger's server has none of our agents beside it.
 */
static bool join_is_vouched(const struct planner *p, size_t pod)
{
    return pod == p->world->me || p->world->pods[pod].agent == AGENT_OK;
}

/* And may be judged by it. */
static bool join_changed(const struct planner *p, size_t pod)
{
    return join_differs(p, pod) && join_is_vouched(p, pod) && !join_waits(p, pod) &&
           p->world->pods[pod].server.node_timeout_ms > 0;
}

static int join_member_cmp(const void *a, const void *b)
{
    const struct record_member *ma = a;
    const struct record_member *mb = b;
    return record_name_cmp(ma->pod, mb->pod);
}

/* Another pod is to be entered with this member's id, which it takes along. */
static bool join_moved(struct planner *p, size_t member)
{
    size_t answers = facts_pod_of(p->facts, &p->world->record->members[member].id);
    return answers != NO_POD && join_changed(p, answers) && !join_refuse(p, answers);
}

/* The members as they are now: what answers, else what was known. */
static size_t join_members(struct planner *p, struct record_member *members)
{
    const struct record *record = p->world->record;
    const struct facts *f = p->facts;
    size_t count = 0;
    for (size_t at = 0; at < record->member_count; at++) {
        size_t pod = f->pod_of_member[at];
        if (pod != NO_POD && join_changed(p, pod))
            continue; /* below */
        if (!join_moved(p, at) && !planner_has_left(p, at))
            members[count++] = record->members[at];
    }
    for (size_t pod = 0; pod < p->world->pod_count; pod++) {
        if (!join_changed(p, pod))
            continue;
        const char *why = join_refuse(p, pod);
        if (!why) {
            members[count++] = planner_member(&p->world->pods[pod]);
            continue;
        }
        planner_say(p, "%s is left alone: %s; a person must empty or remove it",
                    p->world->pods[pod].name, why);
        if (f->member_of[pod] != INDEX_NONE && !join_moved(p, f->member_of[pod]))
            members[count++] = record->members[f->member_of[pod]];
    }
    if (count)
        qsort(members, count, sizeof *members, join_member_cmp);
    return count;
}

static struct action join_forget_action(const struct planner *p, size_t pod,
                                        const struct node_id *id)
{
    struct action a = planner_action(p, ACTION_FORGET, pod, AUTHORITY_LEADER);
    a.subject = *id;
    return a;
}

_Static_assert(ACTION_FORGET_QUIET_MS > WORLD_FRESH_MS, "no older view counts");

/*
 * Some expected server or member lists the id, or not every one's view was read lately: since the last FORGET,
 * for until then one that still had the id could tell it to one whose view was read before.
 */
static bool join_still_known(struct planner *p, const struct node_id *id)
{
    if (p->facts->first_missing_ordinal >= 0)
        return true;
    for (size_t i = 0; i < p->world->pod_count; i++) {
        const struct pod *pod = &p->world->pods[i];
        struct action a = join_forget_action(p, i, id);
        if (!attempts_may(p->world->attempts, action_key(&a), p->world->now_ms))
            return true;
        /* One above the size may stay for long, and would make it a stranger again. */
        bool counts = (size_t)pod->ordinal < p->facts->expected || p->facts->belongs[i];
        if (counts && world_view_fresh(p->world, pod) && view_find(pod->server.view, id))
            return true;
    }
    return !planner_sees_all(p);
}

/* What is to be forgotten: ids that fell out of the record, until no server lists them. */
static size_t join_forget(struct planner *p, const struct index *kept, struct node_id *forget)
{
    const struct record *record = p->world->record;
    size_t count = 0;
    for (size_t i = 0; i < record->forget_count; i++)
        if (index_find(kept, record->forget[i].hex) == INDEX_NONE &&
            join_still_known(p, &record->forget[i]))
            forget[count++] = record->forget[i];
    for (size_t at = 0; at < record->member_count; at++)
        if (index_find(kept, record->members[at].id.hex) == INDEX_NONE)
            forget[count++] = record->members[at].id;
    return count;
}

static void join_say_members(struct planner *p, const struct record *record)
{
    const struct record_member *first = NULL; /* a pod whose id changed */
    size_t changed = 0;
    for (size_t i = 0; i < record->member_count; i++) {
        const struct record_member *m = &record->members[i];
        const struct record_member *old = facts_member(p->world, p->facts, &m->id);
        assert(m);
        if (old && strcmp(old->pod, m->pod) == 0)
            continue;
        changed++;
        first = first ? first : m;
    }
    if (!changed && record->member_count < p->world->record->member_count)
        planner_say(
            p, "%s left with the pods that were scaled in: to be forgotten",
            planner_count(p, p->world->record->member_count - record->member_count, "member"));
    else if (!changed && record->forget_count < p->world->record->forget_count)
        planner_say(
            p, "%s forgotten everywhere: taking it off the record's list",
            planner_count(p, p->world->record->forget_count - record->forget_count, "old node id"));
    else if (!changed)
        planner_say(p, "bringing the record up to date");
    else if (changed == 1)
        planner_say(p, "%s has a new node id (%.8s): entering it in the record", first->pod,
                    first->id.hex);
    else
        planner_say(p, "%zu pods have new node ids, first %s (%.8s): entering them in the record",
                    changed, first->pod, first->id.hex);
}

enum rule_verdict rule_members(struct planner *p)
{
    if (!planner_formed(p))
        return RULE_PASS;
    const struct record *old = p->world->record;
    for (size_t pod = 0; pod < p->world->pod_count && !p->note; pod++)
        if (join_waits(p, pod))
            planner_note(p, "%s is not taken in before `muster resume`", p->world->pods[pod].name);
        else if (join_differs(p, pod) && !join_is_vouched(p, pod))
            planner_note(p, "%s is not taken in before the agent beside its server answers",
                         p->world->pods[pod].name);
    struct record_member *members =
        ARENA_NEW(p->arena, struct record_member, old->member_count + p->world->pod_count);
    struct record *record = ARENA_NEW(p->arena, struct record, 1);
    *record = *old;
    record->members = members;
    record->member_count = join_members(p, members);
    planner_put_left(p, record);
    struct index kept;
    index_init(&kept, p->arena, record->member_count);
    for (size_t i = 0; i < record->member_count; i++)
        index_add(&kept, members[i].id.hex, i);
    index_sort(&kept);
    struct node_id *forget =
        ARENA_NEW(p->arena, struct node_id, old->forget_count + old->member_count);
    record->forget = forget;
    record->forget_count = join_forget(p, &kept, forget);
    if (record_eq(record, old))
        return RULE_PASS;
    (void)planner_put_record(p, record);
    join_say_members(p, record);
    return RULE_STOP;
}

/*
 * Must `from` be told where `to` is? Redis mends a mere lost link by itself within a second; an
 * address that is wrong or lost it does not mend (FACTS 2).
 */
static bool join_must_meet(const struct planner *p, size_t from, size_t to)
{
    const struct pod *a = &p->world->pods[from];
    const struct pod *b = &p->world->pods[to];
    size_t count = p->world->pod_count;
    const struct view_node *n = view_find(a->server.view, &b->server.id);
    if (!n) {
        /* One of two strangers is enough to introduce them. */
        bool mutual = world_view_fresh(p->world, b) && !view_find(b->server.view, &a->server.id);
        return planner_meets(from, to, count) || (!mutual && planner_meets(to, from, count));
    }
    if (n->flags & (NODE_HANDSHAKE | NODE_MYSELF))
        return false;
    return n->flags & NODE_NOADDR || strcmp(n->ip, b->ip) != 0 ||
           (!n->connected && n->flags & (NODE_FAIL | NODE_PFAIL));
}

/* The reference does not have the pod where it answers: then every server's view matters. */
static bool join_is_misplaced(const struct planner *p, size_t pod)
{
    const struct pod *candidate = &p->world->pods[pod];
    const struct view_node *n =
        p->facts->reference ? view_find(p->facts->reference, &candidate->server.id) : NULL;
    return !n || n->flags & (NODE_NOADDR | NODE_FAIL) ||
           (!(n->flags & NODE_MYSELF) && strcmp(n->ip, candidate->ip) != 0);
}

/*
 * A newcomer gets a config epoch of its own before it meets anybody: two with none would be given the
 * highest by Redis (clusterHandleConfigEpochCollision), see form_member(). True if it waits for that.
 */
static bool join_number(struct planner *p, size_t pod)
{
    const struct pod *newcomer = &p->world->pods[pod];
    if (!planner_formed(p) || !planner_belongs(p, pod) || !p->facts->virgin[pod] ||
        newcomer->server.my_epoch || !p->facts->reference_ours)
        return false;
    struct action a = planner_action(p, ACTION_SET_CONFIG_EPOCH, pod, AUTHORITY_LEADER);
    a.require = REQUIRE_ALONE;
    a.epoch = (uint64_t)newcomer->ordinal + 1;
    for (size_t i = 0; i < p->facts->reference->node_count; i++) {
        const struct view_node *n = &p->facts->reference->nodes[i];
        if (n->flags & NODE_PRIMARY && n->epoch == a.epoch)
            return false; /* a cluster that others have formed */
    }
    return planner_add(p, a);
}

/* What is needed, not what is sent in this turn: a handshake takes longer than a turn. */
struct introduction {
    const struct pod *first; /* the lowest pod that some member must be told of */
    size_t by;               /* by so many members */
    size_t more;             /* pods beside the first */
    bool *later;             /* by pod: not in this turn */
};

static void join_introduce(struct planner *p, size_t to, struct introduction *said)
{
    const struct world *w = p->world;
    size_t by = 0;
    size_t from;
    if (join_is_misplaced(p, to))
        (void)planner_sees_all(p);
    for (size_t k = 0; planner_partner(to, k, w->pod_count, &from); k++) {
        if (said->later[from] || !planner_belongs(p, from) ||
            !world_view_fresh(w, &w->pods[from]) || !join_must_meet(p, from, to))
            continue;
        by++;
        (void)planner_add(p, planner_meet(p, &w->pods[from], &w->pods[to]));
    }
    if (!by)
        return;
    if (said->first) {
        said->more++;
    } else {
        said->first = &w->pods[to];
        said->by = by;
    }
}

enum rule_verdict rule_meet(struct planner *p)
{
    if (!p->world->record)
        return RULE_PASS;
    struct introduction said = {.later = ARENA_NEW(p->arena, bool, p->world->pod_count)};
    for (size_t i = 0; i < p->world->pod_count; i++)
        said.later[i] = join_number(p, i);
    for (size_t to = 0; to < p->world->pod_count; to++)
        if (p->world->pods[to].ip[0] && planner_belongs(p, to) && !said.later[to])
            join_introduce(p, to, &said);
    if (said.first && planner_formed(p))
        planner_say(p, "%s is not known or not reached at %s by %s: introducing it%s",
                    said.first->name, said.first->ip, planner_count(p, said.by, "member"),
                    said.more ? arena_format(p->arena, " and %zu more", said.more) : "");
    return RULE_PASS;
}

const char *planner_keep(struct planner *p, const struct node_id *id)
{
    if (p->world->guards_off & GUARD_FORGET)
        return NULL;
    if (p->facts->first_missing_ordinal >= 0)
        return "not every server answers";
    if (facts_pod_of(p->facts, id) != NO_POD)
        return "a server answers with it";
    size_t known = 0;
    size_t failed = 0;
    size_t voters = 0; /* who look after it */
    for (size_t i = 0; i < p->world->pod_count; i++) {
        const struct pod *pod = &p->world->pods[i];
        if (!world_view_fresh(p->world, pod))
            continue;
        const struct view *view = pod->server.view;
        const struct view_node *n = view_find(view, id);
        if (n && n->slot_count)
            return "it still owns slots";
        if (n && !(n->flags & (NODE_FAIL | NODE_PFAIL | NODE_NOADDR)))
            return "not every server holds it for failed";
        known += n != NULL;
        voters += n && !(n->flags & NODE_NOADDR) && view->myself->slot_count;
        failed += n && n->flags & (NODE_FAIL | NODE_NOADDR);
        for (size_t k = 0; k < view->node_count; k++)
            if (node_id_eq(&view->nodes[k].primary, id))
                return "replicas still follow it";
    }
    /* Nobody could tell any more which shard was meant. */
    if (planner_is_named(p, id))
        return "slots are on their way from it or to it";
    /*
     * It never gets beyond "fail?" where too few primaries look after it, as those do not to whom it is
     * noaddr or who are newer than its death; nor where one is alone (markNodeAsFailingIfNeeded: failed
     * is what most primaries report, and only a report of another has it asked).
     */
    size_t shards = p->facts->shard_count;
    bool may_fail = shards > 1 && voters > shards / 2;
    if (known && failed <= known / 2 && may_fail)
        return "most servers do not hold it for failed yet";
    return planner_sees_all(p) ? NULL : "not every view was read lately";
}

/*
 * To all that list it in one turn, or to none: the ban on gossip that would bring the id back lasts
 * 60 s from each server's own FORGET (FACTS 4).
 */
static bool join_forget_everywhere(struct planner *p, const struct node_id *id)
{
    bool wanted = false;
    for (int send = 0; send < 2; send++) {
        for (size_t i = 0; i < p->world->pod_count; i++) {
            const struct pod *pod = &p->world->pods[i];
            if (!world_view_fresh(p->world, pod) || !view_find(pod->server.view, id))
                continue;
            struct action a = join_forget_action(p, i, id);
            wanted = true;
            if (!planner_is_free(p, i) ||
                (!send && !attempts_may(p->world->attempts, action_key(&a), p->world->now_ms)))
                return wanted;
            if (send)
                (void)planner_add(p, a);
        }
    }
    return wanted;
}

enum rule_verdict rule_forget(struct planner *p)
{
    if (!planner_formed(p) || pause_stops(p->world, WORK_FORGET))
        return RULE_PASS;
    const struct record *record = p->world->record;
    for (size_t f = 0; f < record->forget_count; f++) {
        const struct node_id *id = &record->forget[f];
        const char *why = planner_keep(p, id);
        if (why) {
            planner_say(p, "node %.8s, which no pod has any more, is not forgotten yet: %s",
                        id->hex, why);
            continue;
        }
        if (!join_forget_everywhere(p, id))
            continue;
        planner_say(p, "forgetting node %.8s, which no pod has any more", id->hex);
    }
    return RULE_PASS;
}
