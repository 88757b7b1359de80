/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out the intent (DESIGN 5.2): FACTS 1's fastest safe sequence, cut into steps whose state
 * is read from the servers themselves, so that any leader goes on from wherever another one stopped.
 *
 *   each server alone: quick settings, epoch, slots -> MEET (rule_join.c) -> REPLICATE
 *   -> every view complete -> settings back -> record says formed
 */
#include <assert.h>
#include <string.h>

#include "core/rules.h"

/*
 * The pod of a member of the intent, if its server answers with the member's id and its view was
 * read; NO_POD otherwise. From form-servers on, every member has one.
 */
static size_t form_pod(const struct planner *p, size_t member)
{
    size_t pod = p->facts->pod_of_member[member];
    if (pod == NO_POD || !world_view_fresh(p->world, &p->world->pods[pod]) ||
        !node_id_eq(&p->world->pods[pod].server.id, &p->world->record->members[member].id))
        return NO_POD;
    return pod;
}

static struct action form_set(const struct planner *p, size_t pod, enum setting setting,
                              int64_t value)
{
    struct action a = planner_action(p, ACTION_CONFIG_SET, pod, AUTHORITY_LEADER);
    a.setting = setting;
    a.value = value;
    return a;
}

/* What is still to be done to a member that knows nobody yet. True if nothing is. */
static bool form_prepare(struct planner *p, const struct record_member *m, size_t pod)
{
    const struct server *s = &p->world->pods[pod].server;
    bool ready = true;
    bool company = p->world->record->member_count > 1; /* a single server has nobody to wait for */
    int64_t quick_ms = planner_quick_timeout_ms(p->world->record->member_count, p->world->tls);
    if (company && s->node_timeout_ms > quick_ms) {
        ready = false;
        (void)planner_add(p, form_set(p, pod, SETTING_NODE_TIMEOUT, quick_ms));
    }
    if (company && s->diskless_delay_s > 0) {
        ready = false;
        (void)planner_add(p, form_set(p, pod, SETTING_DISKLESS_DELAY, 0));
    }
    if (s->my_epoch == 0) {
        ready = false;
        struct action a = planner_action(p, ACTION_SET_CONFIG_EPOCH, pod, AUTHORITY_LEADER);
        a.require = REQUIRE_ALONE;
        a.epoch = m->epoch;
        (void)planner_add(p, a);
    }
    if (m->primary && !s->slots_assigned) {
        ready = false;
        struct action a = planner_action(p, ACTION_ADD_SLOTS, pod, AUTHORITY_LEADER);
        a.require = REQUIRE_ALONE | REQUIRE_UNASSIGNED | REQUIRE_PRIMARY;
        a.slots = slots_of_shard(m->shard, p->world->record->shards);
        (void)planner_add(p, a);
    }
    return ready;
}

/* Why a member is not counted as prepared. */
static const char *form_missing(struct planner *p, size_t member)
{
    const char *name = p->world->record->members[member].pod;
    size_t pod = p->facts->pod_of_member[member];
    if (pod == NO_POD)
        return member < p->facts->expected
                   ? arena_format(p->arena, "%s (no such pod yet)", name)
                   : arena_format(p->arena,
                                  "%s, which is beyond the %zu replicas of now (%zu servers were "
                                  "planned: scale back to finish)",
                                  name, p->facts->expected, p->world->record->member_count);
    const struct pod *found = &p->world->pods[pod];
    if (!p->facts->fresh[pod])
        return planner_missing(p, found->ordinal);
    if (!world_view_fresh(p->world, found))
        return arena_format(p->arena, "the view of %s", name);
    if (!found->server.node_timeout_ms)
        return arena_format(p->arena, "the settings of %s to be read", name);
    return arena_format(p->arena, "%s, whose server answers with another id and is not empty",
                        name);
}

/*
 * Without a Lease a plan may find a server that an earlier one had begun to prepare (core/hosts.h):
 * it is used only if that was for the very same part, and never joined to strangers.
 */
static bool form_is_spoilt(const struct planner *p, const struct record_member *m, size_t pod)
{
    const struct record *record = p->world->record;
    const struct server *s = &p->world->pods[pod].server;
    const struct view_node *me = s->view->myself;
    if (p->world->arbiter != ARBITER_HOSTS)
        return false;
    for (size_t i = 0; s->known_nodes > 1 && i < s->view->node_count; i++) {
        const struct view_node *n = &s->view->nodes[i];
        if (!(n->flags & NODE_HANDSHAKE) && !record_find_id(record, &n->id) &&
            !record_forgets(record, &n->id))
            return true;
    }
    if (s->known_nodes > 1)
        return false;
    struct slot_range part = slots_of_shard(m->shard, record->shards);
    const struct slot_range *has = &s->view->ranges[me->range_first];
    bool same =
        m->primary && me->range_count == 1 && has->first == part.first && has->last == part.last;
    return (s->my_epoch && s->my_epoch != m->epoch) || (me->slot_count && !same);
}

enum rule_verdict rule_form_servers(struct planner *p)
{
    if (!planner_forming(p))
        return RULE_PASS;
    const struct record *record = p->world->record;
    for (size_t i = 0; i < record->member_count; i++) {
        size_t pod = form_pod(p, i);
        if (pod != NO_POD && form_is_spoilt(p, &record->members[i], pod))
            return planner_wait(p,
                                "forming: %s was prepared for another plan: a person must empty it "
                                "(CLUSTER RESET HARD)",
                                p->world->pods[pod].name);
    }
    size_t ready = 0;
    size_t missing = NO_POD;
    for (size_t i = 0; i < record->member_count; i++) {
        size_t pod = form_pod(p, i);
        if (pod == NO_POD)
            missing = missing == NO_POD ? i : missing;
        else if (p->world->pods[pod].server.known_nodes > 1 ||
                 form_prepare(p, &record->members[i], pod))
            ready++;
    }
    if (missing != NO_POD)
        return planner_wait(p, "forming: %zu of %zu servers prepared, waiting for %s", ready,
                            record->member_count, form_missing(p, missing));
    if (ready < record->member_count)
        return planner_wait(p, "forming: %zu of %zu servers have their epoch and slots", ready,
                            record->member_count);
    return RULE_PASS;
}

/* True if the view lists this id as a node that it has shaken hands with. */
static bool form_knows(const struct view *view, const struct node_id *id)
{
    const struct view_node *n = view_find(view, id);
    return n && !(n->flags & NODE_HANDSHAKE);
}

static bool form_knows_all(const struct record *record, const struct view *view)
{
    for (size_t i = 0; i < record->member_count; i++)
        if (!form_knows(view, &record->members[i].id))
            return false;
    return true;
}

enum rule_verdict rule_form_acquaint(struct planner *p)
{
    if (!planner_forming(p))
        return RULE_PASS;
    const struct record *record = p->world->record;
    size_t acquainted = 0;
    const struct view *complete = NULL; /* views with the same hash list the same nodes */
    for (size_t i = 0; i < record->member_count; i++) {
        size_t pod = form_pod(p, i);
        assert(pod != NO_POD); /* form-servers waits for that */
        const struct view *view = p->world->pods[pod].server.view;
        if ((complete && complete->hash == view->hash) || form_knows_all(record, view)) {
            complete = view;
            acquainted++;
        }
    }
    if (acquainted < record->member_count)
        return planner_wait(p, "forming: %zu of %zu servers know all the others", acquainted,
                            record->member_count);
    return RULE_PASS;
}

enum rule_verdict rule_form_roles(struct planner *p)
{
    if (!planner_forming(p))
        return RULE_PASS;
    const struct record *record = p->world->record;
    size_t replicas = 0;
    size_t placed = 0;
    for (size_t i = 0; i < record->member_count; i++) {
        const struct record_member *m = &record->members[i];
        if (m->primary)
            continue;
        replicas++;
        size_t pod = form_pod(p, i);
        const struct server *s = &p->world->pods[pod].server;
        const struct view_node *owner =
            planner_owner(s->view, slots_of_shard(m->shard, record->shards));
        bool owns = s->view->myself->slot_count > 0;
        if (owns || (!s->primary && owner && node_id_eq(&s->view->myself->primary, &owner->id))) {
            placed++;
            continue;
        }
        if (!owner)
            continue; /* the gossip of its slots is still on the way */
        struct action a = planner_action(p, ACTION_REPLICATE, pod, AUTHORITY_LEADER);
        a.require = s->primary ? REQUIRE_PRIMARY | REQUIRE_EMPTY : REQUIRE_REPLICA;
        a.subject = owner->id;
        (void)planner_add(p, a);
    }
    if (placed < replicas)
        return planner_wait(p, "forming: %zu of %zu replicas follow their primary", placed,
                            replicas);
    return RULE_PASS;
}

/* The view has every member in the part that the member itself says it plays. */
static bool form_sees(const struct planner *p, const struct view *view)
{
    const struct record *record = p->world->record;
    for (size_t i = 0; i < record->member_count; i++) {
        size_t pod = form_pod(p, i);
        assert(pod != NO_POD && p->world->pods[pod].server.view); /* form-servers waits for that */
        const struct view_node *own = p->world->pods[pod].server.view->myself;
        const struct view_node *n = view_find(view, &own->id);
        if (!n || (n->flags & NODE_PRIMARY) != (own->flags & NODE_PRIMARY) ||
            !node_id_eq(&n->primary, &own->primary) || n->slot_count != own->slot_count)
            return false;
    }
    return true;
}

/* A replica's new part is gossiped: others hear of it up to NT/2 later (FACTS 0.4). */
static size_t form_agreeing(const struct planner *p)
{
    size_t agreeing = 0;
    const struct view *complete = NULL;
    for (size_t i = 0; i < p->world->record->member_count; i++) {
        size_t pod = form_pod(p, i);
        assert(pod != NO_POD && p->world->pods[pod].server.view);
        const struct view *view = p->world->pods[pod].server.view;
        if ((complete && complete->hash == view->hash) || form_sees(p, view)) {
            complete = view;
            agreeing++;
        }
    }
    return agreeing;
}

enum rule_verdict rule_form_verify(struct planner *p)
{
    if (!planner_forming(p))
        return RULE_PASS;
    const struct record *record = p->world->record;
    for (size_t i = 0; i < record->member_count; i++) {
        const struct pod *pod = &p->world->pods[form_pod(p, i)];
        const struct server *s = &pod->server;
        if (s->slots_assigned != SLOT_COUNT)
            return planner_wait(p, "forming: %s sees %u of %u slots assigned", pod->name,
                                s->slots_assigned, SLOT_COUNT);
        if (!s->state_ok)
            return planner_wait(p, "forming: the cluster is not ok yet in the eyes of %s",
                                pod->name);
        if (!s->primary && !s->link_up)
            return planner_wait(p, "forming: %s is copying its primary's data", pod->name);
    }
    size_t agreeing = form_agreeing(p);
    if (agreeing < record->member_count)
        return planner_wait(p, "forming: %zu of %zu servers see every part as it is", agreeing,
                            record->member_count);
    return RULE_PASS;
}

/* Gives back what the formation changed on one member. True if there was nothing to give back. */
static bool form_restore(struct planner *p, const struct record_member *m, size_t pod)
{
    const struct server *s = &p->world->pods[pod].server;
    bool done = true;
    if (m->node_timeout_ms > 0 && s->node_timeout_ms != m->node_timeout_ms) {
        done = false;
        (void)planner_add(p, form_set(p, pod, SETTING_NODE_TIMEOUT, m->node_timeout_ms));
    }
    if (m->diskless_delay_s >= 0 && s->diskless_delay_s != m->diskless_delay_s) {
        done = false;
        (void)planner_add(p, form_set(p, pod, SETTING_DISKLESS_DELAY, m->diskless_delay_s));
    }
    return done;
}

enum rule_verdict rule_form_finish(struct planner *p)
{
    if (!planner_forming(p))
        return RULE_PASS;
    const struct record *record = p->world->record;
    bool skip = p->world->guards_off & GUARD_RESTORE;
    size_t restored = 0;
    for (size_t i = 0; i < record->member_count; i++) {
        restored += skip || form_restore(p, &record->members[i], form_pod(p, i));
    }
    if (restored < record->member_count)
        return planner_wait(p, "forming: original settings given back to %zu of %zu servers",
                            restored, record->member_count);
    struct record *formed = ARENA_NEW(p->arena, struct record, 1);
    *formed = *record;
    formed->state = RECORD_FORMED;
    (void)planner_put_record(p, formed);
    return planner_wait(p, "formed: %s, %s, every slot covered",
                        planner_count(p, record->member_count, "server"),
                        planner_count(p, record->shards, "shard"));
}

enum rule_verdict rule_restore(struct planner *p)
{
    const struct world *w = p->world;
    if (!w->record || w->guards_off & GUARD_RESTORE)
        return RULE_PASS;
    for (size_t i = 0; i < w->pod_count; i++) {
        size_t at = p->facts->member_of[i];
        if (at == INDEX_NONE || !p->facts->fresh[i])
            continue;
        const struct record_member *m = &w->record->members[at];
        const struct server *s = &w->pods[i].server;
        /* Only the formation's own figures are taken back: any other is the user's. */
        if (!node_id_eq(&m->id, &s->id) || !planner_is_quick_timeout(s->node_timeout_ms) ||
            m->node_timeout_ms <= 0 || m->node_timeout_ms == s->node_timeout_ms)
            continue;
        if (!form_restore(p, m, i))
            planner_say(p, "giving %s the settings back that the formation had changed",
                        w->pods[i].name);
    }
    return RULE_PASS;
}
