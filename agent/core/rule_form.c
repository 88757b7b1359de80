/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formation, once (DESIGN 5.2): FACTS 1's fastest safe sequence, cut into steps whose state is read
 * from the servers themselves, so that any leader goes on from wherever another one stopped.
 *
 *   intent to the record -> each server alone: quick settings, epoch, slots -> MEET (rule_join.c)
 *   -> REPLICATE -> every view complete -> settings back -> record says formed
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "core/placement.h"
#include "core/rules.h"

/* Pings go out every NT/2 and the rejoin delay is clamp(NT, 500, 5000): FACTS 1. */
#define FORM_NODE_TIMEOUT_MS 500

static bool forming(const struct planner *p)
{
    return p->world->record && p->world->record->state == RECORD_FORMING;
}

static bool unformed(const struct planner *p)
{
    return !p->world->record ||
           (p->world->guards_off & GUARD_RECORD && p->world->record_presence == PRESENCE_UNKNOWN);
}

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

/* What makes a server not virgin. */
static const char *form_holds(struct planner *p, const struct server *s)
{
    if (s->keys)
        return arena_format(p->arena, "holds %s", planner_count(p, (size_t)s->keys, "key"));
    if (s->known_nodes > 1)
        return arena_format(p->arena, "knows %s",
                            planner_count(p, s->known_nodes - 1, "other node"));
    if (s->slots_assigned)
        return arena_format(p->arena, "has %s", planner_count(p, s->slots_assigned, "slot"));
    return "is a replica";
}

enum rule_verdict rule_form_wait(struct planner *p)
{
    const struct world *w = p->world;
    const struct facts *f = p->facts;
    if (!unformed(p))
        return RULE_PASS;
    if (!f->expected)
        return planner_wait(p, "the StatefulSet has 0 replicas: nothing to form");
    if (f->expected > NODES_MAX)
        return planner_wait(p, "%zu replicas are more than the %d nodes that a cluster may have",
                            f->expected, NODES_MAX);
    if (!placement_shards((unsigned)f->expected, (unsigned)w->replicas_per_primary))
        return planner_wait(p,
                            "%s cannot hold one primary with %s: raise replicas or lower "
                            "cluster.replicasPerPrimary",
                            planner_count(p, f->expected, "pod"),
                            planner_count(p, (size_t)w->replicas_per_primary, "replica"));
    if (f->first_missing_ordinal >= 0)
        return planner_wait(p, "forming needs all %zu servers, %zu answer; missing %s", f->expected,
                            f->expected_fresh, planner_missing(p, f->first_missing_ordinal));
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        if ((size_t)pod->ordinal >= f->expected)
            continue;
        if (pod->terminating)
            return planner_wait(p, "forming waits: %s is terminating", pod->name);
        if (!pod->server.cluster_enabled)
            return planner_wait(p, "%s runs without cluster-enabled yes: it cannot join a cluster",
                                pod->name);
        if (!pod->server.node_timeout_ms)
            return planner_wait(p, "forming waits: the settings of %s were not read yet",
                                pod->name);
        if (!f->virgin[i] && !(w->guards_off & GUARD_VIRGIN))
            return planner_wait(p,
                                "%s %s and no record tells of a cluster: nothing is formed over it",
                                pod->name, form_holds(p, &pod->server));
    }
    return RULE_PASS;
}

static void form_uid(const struct world *w, char *dst, size_t size)
{
    text_format(dst, size, "%016" PRIx64 "%016" PRIx64, w->entropy[0], w->entropy[1]);
}

enum rule_verdict rule_form_intent(struct planner *p)
{
    const struct world *w = p->world;
    if (!unformed(p))
        return RULE_PASS;
    size_t count = p->facts->expected;
    unsigned shards = placement_shards((unsigned)count, (unsigned)w->replicas_per_primary);
    struct place *places = ARENA_NEW(p->arena, struct place, count);
    struct role *roles = ARENA_NEW(p->arena, struct role, count);
    struct record_member *members = ARENA_NEW(p->arena, struct record_member, count);
    for (size_t i = 0; i < count; i++) {
        const struct pod *pod = world_pod_by_ordinal(w, (int)i);
        places[i] = (struct place){pod->node, pod->zone};
    }
    placement_form(places, count, shards, p->arena, roles);
    for (size_t i = 0; i < count; i++) {
        const struct pod *pod = world_pod_by_ordinal(w, (int)i);
        members[i] = (struct record_member){
            .id = pod->server.id,
            .shard = roles[i].shard,
            .primary = roles[i].primary,
            .epoch = i + 1,
            .node_timeout_ms = pod->server.node_timeout_ms,
            .diskless_delay_s = pod->server.diskless_delay_s,
        };
        text_format(members[i].pod, sizeof members[i].pod, "%s", pod->name);
    }
    struct record *record = ARENA_NEW(p->arena, struct record, 1);
    *record = (struct record){
        .version = RECORD_VERSION,
        .generation = 1,
        .state = RECORD_FORMING,
        .shards = (uint16_t)shards,
        .members = members,
        .member_count = count,
    };
    form_uid(w, record->uid, sizeof record->uid);
    text_format(record->set_uid, sizeof record->set_uid, "%s", w->set.uid);
    (void)planner_put_record(p, record);
    return planner_wait(p, "forming a cluster of %s with %s%s",
                        shards == 1 ? "1 primary" : arena_format(p->arena, "%u primaries", shards),
                        planner_count(p, count - shards, "replica"),
                        shards < 3 ? " (fewer than 3 primaries cannot elect a new one by vote)"
                                   : "");
}

/* The highest epoch that anyone planned or uses: a member that comes anew must win over its past. */
static uint64_t form_highest_epoch(const struct planner *p)
{
    uint64_t highest = 0;
    for (size_t i = 0; i < p->world->record->member_count; i++)
        if (p->world->record->members[i].epoch > highest)
            highest = p->world->record->members[i].epoch;
    for (size_t i = 0; i < p->world->pod_count; i++)
        if (p->facts->fresh[i] && p->world->pods[i].server.current_epoch > highest)
            highest = p->world->pods[i].server.current_epoch;
    return highest;
}

/* The owner of the shard's first slot as this view has it: roles may have moved by an election. */
static const struct view_node *form_owner(const struct view *view, struct slot_range range)
{
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        for (uint32_t r = 0; r < n->range_count; r++) {
            const struct slot_range *owned = &view->ranges[n->range_first + r];
            if (owned->first <= range.first && range.first <= owned->last)
                return n;
        }
    }
    return NULL;
}

enum form_heir {
    HEIR_NONE,       /* the slots were not given yet */
    HEIR_NOBODY,     /* they are the lost id's, and nobody follows it */
    HEIR_WAITED_FOR, /* a replica of the lost id is to be elected */
    HEIR_ELECTED,    /* another node owns them */
};

/*
 * What became of the slots of a member that lost its id. The cluster may have taken writes already:
 * a copy of them must never be replaced by an empty server with a higher epoch (FACTS 0.1).
 */
static enum form_heir form_heir(const struct planner *p, const struct record_member *lost)
{
    struct slot_range range = slots_of_shard(lost->shard, p->world->record->shards);
    enum form_heir heir = HEIR_NONE;
    for (size_t i = 0; i < p->world->pod_count; i++) {
        if (!world_view_fresh(p->world, &p->world->pods[i]))
            continue;
        const struct view *view = p->world->pods[i].server.view;
        const struct view_node *owner = form_owner(view, range);
        if (owner && !node_id_eq(&owner->id, &lost->id))
            return HEIR_ELECTED;
        if (owner && heir == HEIR_NONE)
            heir = HEIR_NOBODY;
        for (size_t k = 0; k < view->node_count; k++)
            if (node_id_eq(&view->nodes[k].primary, &lost->id))
                heir = HEIR_WAITED_FOR;
    }
    return heir;
}

/* The lost member's part for the server that answers in its place now. */
static struct record_member form_replace(const struct planner *p, const struct record_member *lost,
                                         const struct pod *pod, uint64_t epoch)
{
    struct record_member m = *lost;
    m.id = pod->server.id;
    m.epoch = epoch;
    enum form_heir heir = form_heir(p, lost);
    if (heir != HEIR_NONE)
        m.primary = heir == HEIR_NOBODY;
    /* A process that went on under a new id (CLUSTER RESET HARD) still has our quick settings. */
    if (pod->server.node_timeout_ms != FORM_NODE_TIMEOUT_MS) {
        m.node_timeout_ms = pod->server.node_timeout_ms;
        m.diskless_delay_s = pod->server.diskless_delay_s;
    }
    return m;
}

enum rule_verdict rule_form_replan(struct planner *p)
{
    if (!forming(p))
        return RULE_PASS;
    const struct world *w = p->world;
    const struct record *old = w->record;
    struct record_member *members = ARENA_NEW(p->arena, struct record_member, old->member_count);
    struct node_id *forget =
        ARENA_NEW(p->arena, struct node_id, old->forget_count + old->member_count);
    size_t lost = 0;
    uint64_t epoch = form_highest_epoch(p);
    if (old->forget_count)
        memcpy(forget, old->forget, old->forget_count * sizeof *forget);
    for (size_t i = 0; i < old->member_count; i++) {
        members[i] = old->members[i];
        size_t at = p->facts->pod_of_member[i];
        const struct pod *pod = at == NO_POD ? NULL : &w->pods[at];
        if (!pod || !p->facts->virgin[at] || !pod->server.node_timeout_ms ||
            node_id_eq(&pod->server.id, &members[i].id))
            continue;
        if (form_heir(p, &members[i]) == HEIR_WAITED_FOR)
            return planner_wait(p,
                                "forming: %s came back empty under a new id; waiting for one of "
                                "its replicas to be elected in its place",
                                pod->name);
        forget[old->forget_count + lost++] = members[i].id;
        members[i] = form_replace(p, &members[i], pod, epoch + lost);
    }
    if (!lost)
        return RULE_PASS;
    struct record *record = ARENA_NEW(p->arena, struct record, 1);
    *record = *old;
    record->generation++;
    record->members = members;
    record->forget = forget;
    record->forget_count = old->forget_count + lost;
    (void)planner_put_record(p, record);
    return planner_wait(p,
                        "forming: %zu of %zu servers came back with a new id; planned anew as "
                        "generation %" PRId64,
                        lost, old->member_count, record->generation);
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
    if (s->node_timeout_ms > FORM_NODE_TIMEOUT_MS) {
        ready = false;
        (void)planner_add(p, form_set(p, pod, SETTING_NODE_TIMEOUT, FORM_NODE_TIMEOUT_MS));
    }
    if (s->diskless_delay_s > 0) {
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

enum rule_verdict rule_form_servers(struct planner *p)
{
    if (!forming(p))
        return RULE_PASS;
    const struct record *record = p->world->record;
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
    if (!forming(p))
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
    if (!forming(p))
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
            form_owner(s->view, slots_of_shard(m->shard, record->shards));
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

enum rule_verdict rule_form_verify(struct planner *p)
{
    if (!forming(p))
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
    if (!forming(p))
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
    return planner_wait(p, "formed: %zu servers, %u shards, every slot covered",
                        record->member_count, record->shards);
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
        /* Only the formation's own figure is taken back: any other is the user's. */
        if (!node_id_eq(&m->id, &s->id) || s->node_timeout_ms != FORM_NODE_TIMEOUT_MS ||
            m->node_timeout_ms <= 0 || m->node_timeout_ms == FORM_NODE_TIMEOUT_MS)
            continue;
        if (!form_restore(p, m, i))
            planner_say(p, "giving %s the settings back that the formation had changed",
                        w->pods[i].name);
    }
    return RULE_PASS;
}
