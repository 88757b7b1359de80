/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a cluster is formed, and the whole formation planned once: the intent, which goes to the
 * record before anything is done (DESIGN 5.2). Planned anew only for a member that lost its id.
 */
#include <inttypes.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "core/placement.h"
#include "core/rules.h"

/* Roles are spread over zones from the first moment, but not at the price of a cluster. */
#define FORM_ZONE_WAIT_MS 10000

static bool unformed(const struct planner *p)
{
    return !p->world->record || p->lost ||
           (p->world->guards_off & GUARD_RECORD && p->world->record_presence == PRESENCE_UNKNOWN);
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
    const char *twins = planner_twins(p);
    if (twins)
        return planner_wait(p, "%s: a person must empty one of them", twins);
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        if ((size_t)pod->ordinal >= f->expected)
            continue;
        if (pod->terminating)
            return planner_wait(p, "forming waits: %s is terminating", pod->name);
        if (!pod->server.cluster_enabled)
            return planner_wait(p, "%s runs without cluster-enabled yes: it cannot join a cluster",
                                pod->name);
        if (pod->zone_pending && pod->server.uptime_ms < FORM_ZONE_WAIT_MS)
            return planner_wait(p, "forming waits a moment: the zone of %s is not told yet",
                                pod->name);
        if (!pod->server.node_timeout_ms)
            return planner_wait(p, "forming waits: the settings of %s were not read yet",
                                pod->name);
        if (!f->virgin[i] && !(w->guards_off & (GUARD_VIRGIN | GUARD_REBIRTH)))
            return planner_wait(p,
                                "%s %s and no record tells of a cluster: nothing is formed over it",
                                pod->name, form_holds(p, &pod->server));
    }
    return RULE_PASS;
}

/* A cluster that is formed anew keeps its name, see rule_rebirth.c. */
static void form_name(const struct planner *p, struct record *record)
{
    const struct world *w = p->world;
    if (p->lost) {
        text_format(record->uid, sizeof record->uid, "%s", w->record->uid);
        record->generation = w->record->generation + 1;
        return;
    }
    text_format(record->uid, sizeof record->uid, "%016" PRIx64 "%016" PRIx64, w->entropy[0],
                w->entropy[1]);
    record->generation = 1;
}

/*
 * The primaries' epochs are above all that a newcomer is given, rule_join.c. Valkey 9 believes nothing
 * of a replica whose own epoch is above its primary's once an older word of it was heard after the one
 * that told of its new part (FACTS 1).
 */
static struct record_member form_member(const struct planner *p, const struct pod *pod,
                                        const struct role *role)
{
    struct record_member m = {
        .id = pod->server.id,
        .shard = role->shard,
        .primary = role->primary,
        .epoch = (uint64_t)pod->ordinal + 1 + (role->primary ? NODES_MAX : 0),
        .node_timeout_ms = pod->server.node_timeout_ms,
        .diskless_delay_s = pod->server.diskless_delay_s,
    };
    text_format(m.pod, sizeof m.pod, "%s", pod->name);
    const struct record_member *old = p->lost ? record_find_pod(p->world->record, m.pod) : NULL;
    if (old && planner_is_quick_timeout(pod->server.node_timeout_ms) && old->node_timeout_ms > 0) {
        m.node_timeout_ms = old->node_timeout_ms;
        m.diskless_delay_s = old->diskless_delay_s;
    }
    return m;
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
        members[i] = form_member(p, world_pod_by_ordinal(w, (int)i), &roles[i]);
    }
    struct record *record = ARENA_NEW(p->arena, struct record, 1);
    *record = (struct record){
        .version = RECORD_VERSION,
        .state = RECORD_FORMING,
        .shards = (uint16_t)shards,
        .members = members,
        .member_count = count,
    };
    form_name(p, record);
    text_format(record->set_uid, sizeof record->set_uid, "%s", w->set.uid);
    (void)planner_put_record(p, record);
    return planner_wait(p, "%sforming a cluster of %s with %s%s",
                        p->lost ? arena_format(p->arena, "%s: ", p->lost) : "",
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

enum form_heir {
    HEIR_NONE,       /* the slots were not given yet */
    HEIR_NOBODY,     /* they are the lost id's, and nobody follows it */
    HEIR_UNSEEN,     /* some other member's view is not known: it may have been elected */
    HEIR_WAITED_FOR, /* a replica of the lost id is to be elected */
    HEIR_ELECTED,    /* another node owns them */
};

static bool form_is_lost(const struct planner *p, size_t member)
{
    size_t pod = p->facts->pod_of_member[member];
    return pod != NO_POD && p->facts->virgin[pod] && !p->facts->belongs[pod];
}

/*
 * Redis elects by the votes of most primaries. Who lost its id with its slots votes no more, unless
 * an heir of it does already.
 */
static bool form_can_elect(const struct planner *p)
{
    const struct record *record = p->world->record;
    size_t owners = record->shards;
    size_t voters = 0;
    for (size_t i = 0; i < record->member_count; i++) {
        size_t pod = p->facts->pod_of_member[i];
        if (pod == NO_POD)
            continue;
        const struct view *view = p->world->pods[pod].server.view;
        if (form_is_lost(p, i))
            owners -= record->members[i].primary && owners;
        else if (p->facts->belongs[pod] && view && world_view_fresh(p->world, &p->world->pods[pod]))
            voters += view->myself->slot_count > 0;
    }
    return owners > record->shards / 2u || voters > record->shards / 2u;
}

/*
 * A follower of the lost id that may yet become the heir. An empty one has nothing to wait for where
 * nobody can be elected, or it is not (Redis elects nobody who has been cut off for too long, or ever,
 * clusterHandleSlaveFailover), or must not be before it has copied something.
 */
static bool form_may_inherit(const struct planner *p, const struct node_id *follower)
{
    if (record_forgets(p->world->record, follower))
        return false;
    size_t pod = facts_pod_of(p->facts, follower);
    if (pod == NO_POD || p->world->pods[pod].server.keys > 0)
        return true;
    const struct server *s = &p->world->pods[pod].server;
    /* cluster-replica-validity-factor and repl-ping-replica-period of the default configuration */
    bool too_old = s->link_down_ms < 0 || s->link_down_ms > 10 * s->node_timeout_ms + 15000;
    return form_can_elect(p) && s->no_failover != 1 && !too_old;
}

/* What one view says of the slots of a member that lost its id. */
static enum form_heir form_heir_by(const struct planner *p, const struct record_member *lost,
                                   const struct view *view)
{
    const struct view_node *owner =
        planner_owner(view, slots_of_shard(lost->shard, p->world->record->shards));
    if (owner && !node_id_eq(&owner->id, &lost->id))
        return HEIR_ELECTED;
    for (size_t k = 0; k < view->node_count; k++)
        if (node_id_eq(&view->nodes[k].primary, &lost->id) &&
            form_may_inherit(p, &view->nodes[k].id))
            return HEIR_WAITED_FOR;
    return owner ? HEIR_NOBODY : HEIR_NONE;
}

/*
 * What became of the slots of a member that lost its id. The cluster may have taken writes already:
 * a copy of them must never be replaced by an empty server with a higher epoch (FACTS 0.1). So every
 * other member must be heard, but those that lost their ids too.
 */
static enum form_heir form_heir(const struct planner *p, const struct record_member *lost)
{
    const struct record *record = p->world->record;
    enum form_heir heir = HEIR_NONE;
    for (size_t i = 0; i < record->member_count; i++) {
        size_t pod = p->facts->pod_of_member[i];
        if (&record->members[i] == lost || form_is_lost(p, i))
            continue;
        bool heard = pod != NO_POD && p->facts->belongs[pod] &&
                     world_view_fresh(p->world, &p->world->pods[pod]);
        enum form_heir said =
            heard ? form_heir_by(p, lost, p->world->pods[pod].server.view) : HEIR_UNSEEN;
        if (said > heir)
            heir = said;
    }
    return heir;
}

/* The lost member's part for the server that answers in its place now. */
static struct record_member form_replace(const struct record_member *lost, const struct pod *pod,
                                         uint64_t epoch, enum form_heir heir)
{
    struct record_member m = *lost;
    m.id = pod->server.id;
    if (heir != HEIR_NONE)
        m.primary = heir == HEIR_NOBODY;
    if (m.primary)
        m.epoch = epoch; /* what it owned is still known as its past's */
    /* A process that went on under a new id (CLUSTER RESET HARD) still has our quick settings. */
    if (!planner_is_quick_timeout(pod->server.node_timeout_ms)) {
        m.node_timeout_ms = pod->server.node_timeout_ms;
        m.diskless_delay_s = pod->server.diskless_delay_s;
    }
    return m;
}

/*
 * Takes the server that answers in a lost member's place. NULL if it was taken, or why not yet.
 * What several members wait for may be each other, so each is taken as soon as it can be.
 */
static const char *form_take(struct planner *p, const struct record_member *lost,
                             const struct pod *pod, uint64_t epoch,
                             struct record_member *ret_member)
{
    const struct record_member *twin = facts_member(p->world, p->facts, &pod->server.id);
    if (twin)
        return arena_format(p->arena,
                            "it answers with the node id of %s (a copied volume?): a person must "
                            "empty one of them",
                            twin->pod);
    enum form_heir heir = form_heir(p, lost);
    if (heir == HEIR_UNSEEN)
        return "waiting for every other server to say who has its slots now";
    if (heir == HEIR_WAITED_FOR)
        return "waiting for one of its replicas to be elected in its place";
    *ret_member = form_replace(lost, pod, epoch, heir);
    return NULL;
}

/* An id that came back with an old volume is a member again, and not to be forgotten. */
static size_t form_prune(const struct record *record, struct node_id *forget, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!record_find_id(record, &forget[i]))
            forget[kept++] = forget[i];
    return kept;
}

enum rule_verdict rule_form_replan(struct planner *p)
{
    if (!planner_forming(p))
        return RULE_PASS;
    p->plan->wants_views = true;
    const struct world *w = p->world;
    const struct record *old = w->record;
    struct record_member *members = ARENA_NEW(p->arena, struct record_member, old->member_count);
    struct node_id *forget =
        ARENA_NEW(p->arena, struct node_id, old->forget_count + old->member_count);
    size_t lost = 0;
    const char *waits = NULL;
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
        const char *why = form_take(p, &old->members[i], pod, epoch + lost + 1, &members[i]);
        if (!why)
            forget[old->forget_count + lost++] = old->members[i].id;
        else if (!waits)
            waits =
                arena_format(p->arena, "%s came back empty under another id; %s", pod->name, why);
    }
    if (!lost)
        return waits ? planner_wait(p, "forming: %s", waits) : RULE_PASS;
    struct record *record = ARENA_NEW(p->arena, struct record, 1);
    *record = *old;
    record->generation++;
    record->members = members;
    record->forget = forget;
    record->forget_count = form_prune(record, forget, old->forget_count + lost);
    (void)planner_put_record(p, record);
    return planner_wait(p,
                        "forming: %zu of %zu servers came back with a new id; planned anew as "
                        "generation %" PRId64,
                        lost, old->member_count, record->generation);
}
