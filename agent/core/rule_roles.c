/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a server follows once the cluster stands (DESIGN 5.3). */
#include <string.h>

#include "core/placement.h"
#include "core/rules.h"

/* A primary without slots that the cluster knows: it waits to be told whom to follow. */
static bool roles_is_idle(const struct planner *p, size_t pod)
{
    const struct pod *candidate = &p->world->pods[pod];
    const struct server *s = &candidate->server;
    if (!planner_belongs(p, pod) || !world_view_fresh(p->world, candidate) ||
        candidate->terminating || !s->primary || s->view->myself->slot_count ||
        s->view->open_count || planner_is_named(p, &s->id))
        return false;
    const struct view_node *n = view_find(p->facts->reference, &s->id);
    return n && n->flags & NODE_PRIMARY && !n->slot_count;
}

/* The primary at the end of a chain of replicas that begins with `id`; NULL if there is no chain. */
static const struct view_node *roles_end_of_chain(const struct view *view, const struct node_id *id)
{
    const struct view_node *n = view_find(view, id);
    if (!n || n->flags & NODE_PRIMARY)
        return NULL;
    /* Each step is another node, or it is a circle. */
    for (size_t i = 0; n && i < view->node_count; i++) {
        if (n->flags & NODE_PRIMARY)
            return n;
        n = view_find(view, &n->primary);
    }
    return NULL;
}

/* A replica that is away, of which the reference does not tell whose: gossip names no primary. */
static bool roles_is_untold(const struct planner *p, const struct node_id *id)
{
    const struct view_node *n = view_find(p->facts->reference, id);
    return n && n->flags & NODE_REPLICA && !node_id_is_set(&n->primary) &&
           facts_pod_of(p->facts, id) == NO_POD;
}

/*
 * The primary of whom it follows, by whoever knew that before it was away: it may have become a replica
 * since. NULL if nobody did, or none is.
 */
static const struct view_node *roles_followed(const struct planner *p, const struct node_id *id)
{
    for (size_t i = 0; i < p->world->pod_count; i++) {
        const struct pod *pod = &p->world->pods[i];
        const struct view_node *n = planner_belongs(p, i) && world_view_fresh(p->world, pod)
                                        ? view_find(pod->server.view, id)
                                        : NULL;
        const struct view_node *primary =
            n && n->flags & NODE_REPLICA ? view_find(p->facts->reference, &n->primary) : NULL;
        if (primary && primary->flags & NODE_REPLICA)
            primary = roles_end_of_chain(p->facts->reference, &primary->id);
        if (primary)
            return primary;
    }
    return NULL;
}

/*
 * By shard: its replicas that the reference does not show as such. Who follows another replica of it will
 * be pointed to its primary, rule_chain().
 */
static unsigned *roles_unseen(const struct planner *p)
{
    const struct facts *f = p->facts;
    const struct record *record = p->world->record;
    unsigned *unseen = ARENA_NEW(p->arena, unsigned, f->shard_count);
    for (size_t i = 0; i < record->member_count; i++) {
        const struct view_node *primary = roles_is_untold(p, &record->members[i].id)
                                              ? roles_followed(p, &record->members[i].id)
                                              : NULL;
        for (size_t s = 0; primary && s < f->shard_count; s++)
            unseen[s] += node_id_eq(&primary->id, &f->shards[s].primary);
    }
    for (size_t i = 0; i < p->world->pod_count; i++) {
        const struct pod *pod = &p->world->pods[i];
        if (!planner_belongs(p, i) || !world_view_fresh(p->world, pod) || pod->server.primary)
            continue;
        const struct view_node *end =
            roles_end_of_chain(f->reference, &pod->server.view->myself->primary);
        for (size_t s = 0; end && s < f->shard_count; s++)
            unseen[s] += node_id_eq(&end->id, &f->shards[s].primary);
    }
    return unseen;
}

/* The shards as placement sees them: where their copies run. */
static struct placement_shard *roles_shards(const struct planner *p)
{
    const struct facts *f = p->facts;
    struct placement_shard *shards = ARENA_NEW(p->arena, struct placement_shard, f->shard_count);
    struct place *places = ARENA_NEW(p->arena, struct place, p->world->pod_count + f->shard_count);
    const unsigned *unseen = roles_unseen(p);
    for (size_t s = 0; s < f->shard_count; s++) {
        unsigned replicas = f->shards[s].replicas_known + unseen[s];
        /* Without its primary the shard is about to promote one of its replicas. */
        if (f->shards[s].primary_pod == NO_POD && replicas)
            replicas--;
        shards[s] = (struct placement_shard){.replicas = replicas, .copies = places};
        if (f->shards[s].primary_pod != NO_POD) {
            const struct pod *pod = &p->world->pods[f->shards[s].primary_pod];
            places[shards[s].copy_count++] = (struct place){pod->node, pod->zone};
        }
        for (size_t r = 0; r < f->shards[s].replica_count; r++) {
            const struct pod *pod = &p->world->pods[f->shards[s].replica_pods[r]];
            places[shards[s].copy_count++] = (struct place){pod->node, pod->zone};
        }
        places += shards[s].copy_count;
    }
    return shards;
}

/* One copy more, so that the next newcomer of this turn sees it. */
static void roles_take(struct planner *p, struct placement_shard *shard, struct place place)
{
    struct place *copies = ARENA_NEW(p->arena, struct place, shard->copy_count + 1);
    if (shard->copy_count)
        memcpy(copies, shard->copies, shard->copy_count * sizeof *copies);
    copies[shard->copy_count++] = place;
    shard->copies = copies;
    shard->replicas++;
}

/*
 * Members that have no part in the reference and are away, or do not know it yet: a former primary
 * becomes a replica of the shard that took its slots, which no view tells beforehand.
 */
static size_t roles_away(const struct planner *p)
{
    size_t away = 0;
    const struct record *record = p->world->record;
    for (size_t i = 0; i < record->member_count; i++) {
        const struct node_id *id = &record->members[i].id;
        const struct view_node *n = view_find(p->facts->reference, id);
        size_t pod = facts_pod_of(p->facts, id);
        away += n && n->flags & NODE_PRIMARY && !n->slot_count &&
                (pod == NO_POD || !roles_is_idle(p, pod));
        away += roles_is_untold(p, id) && !roles_followed(p, id);
    }
    return away;
}

/*
 * Reserves places in the shards that have fewest replicas for those who are away: the shards elected
 * last, by their epoch. True if that leaves none which has no replica at all: then a newcomer had
 * better wait.
 */
static bool roles_reserve(const struct planner *p, struct placement_shard *shards)
{
    const struct facts *f = p->facts;
    size_t away = roles_away(p);
    unsigned fewest = (unsigned)p->world->replicas_per_primary;
    for (size_t s = 0; s < f->shard_count; s++)
        fewest = shards[s].replicas < fewest ? shards[s].replicas : fewest;
    size_t lacking = 0;
    for (size_t s = 0; s < f->shard_count; s++)
        lacking += shards[s].replicas == fewest;
    if (!away || fewest >= (unsigned)p->world->replicas_per_primary)
        return false;
    if (lacking <= away)
        return !fewest;
    while (away--) {
        size_t newest = f->shard_count;
        uint64_t newest_epoch = 0;
        for (size_t s = 0; s < f->shard_count; s++) {
            uint64_t epoch = view_find(f->reference, &f->shards[s].primary)->epoch;
            if (shards[s].replicas == fewest &&
                (newest == f->shard_count || epoch > newest_epoch)) {
                newest = s;
                newest_epoch = epoch;
            }
        }
        shards[newest].replicas++;
    }
    return false;
}

/* While scaling cannot say what a newcomer is to be: a replica could not become a primary again. */
static bool roles_waits_for_scale(const struct planner *p, unsigned replicas)
{
    const struct world *w = p->world;
    return w->scaling == SCALING_AUTO && w->arbiter == ARBITER_LEASE && !w->record->moves_unclear &&
           replicas >= (unsigned)w->replicas_per_primary;
}

/* The primary of the shard that scaling has for this pod; NO_POD if it leaves or is to be one itself. */
static size_t roles_target(const struct planner *p, size_t pod)
{
    const struct target *t = &p->scale->target;
    const struct target_part *part = &t->parts[pod];
    if (!part->stays || part->primary)
        return NO_POD;
    size_t was = t->shards[part->shard].was;
    return was == TARGET_NONE ? t->shards[part->shard].primary : p->sight->leads[was];
}

static void roles_order(struct planner *p, size_t pod, size_t primary, uint32_t require)
{
    const struct world *w = p->world;
    const struct view_node *n = view_find(w->pods[pod].server.view, &w->pods[primary].server.id);
    /* It must know its primary first (FACTS 1). */
    if (!n || n->flags & (NODE_HANDSHAKE | NODE_NOADDR | NODE_FAIL) || !(n->flags & NODE_PRIMARY)) {
        planner_say(p, "%s waits to know %s, whose replica it will be", w->pods[pod].name,
                    w->pods[primary].name);
        return;
    }
    struct action a = planner_action(p, ACTION_REPLICATE, pod, AUTHORITY_LEADER);
    a.require = require;
    a.subject = w->pods[primary].server.id;
    (void)planner_add(p, a);
    planner_say(p, "%s becomes a replica of %s", w->pods[pod].name, w->pods[primary].name);
}

/* Its shard can do without it: no slots are left there, or enough others are in sync. */
static bool roles_is_spare(const struct planner *p, size_t pod)
{
    const struct world *w = p->world;
    size_t lead = p->sight->leads[p->sight->ask.target.pods[pod].shard];
    const struct view *view = w->pods[lead].server.view;
    int others = 0;
    if (!view->myself->slot_count && !planner_is_moving(p, &view->myself->id))
        return true;
    for (size_t i = 0; i < w->pod_count; i++)
        others += i != pod && i != lead && w->pods[i].server.link_up && p->facts->belongs[i] &&
                  !w->pods[i].terminating && w->pods[i].told.leaving == LEAVING_NO &&
                  p->sight->ask.target.pods[i].shard == p->sight->ask.target.pods[pod].shard;
    return others >= w->replicas_per_primary;
}

/* Its primary is gone, and had no slots that anybody could be elected for. */
static bool roles_is_orphan(const struct planner *p, size_t pod)
{
    const struct view *view = p->world->pods[pod].server.view;
    const struct view_node *n = view_find(view, &view->myself->primary);
    const uint32_t gone = NODE_FAIL | NODE_NOADDR;
    return !n || (n->flags & NODE_PRIMARY && n->flags & gone && !n->slot_count);
}

/* A copy more than is needed is given up for another one, but not for nothing (FAULTS I8). */
static void roles_move(struct planner *p, size_t pod, size_t primary)
{
    const struct pod *pods = p->world->pods;
    if (!pods[pod].server.keys || pods[primary].server.keys)
        roles_order(p, pod, primary, REQUIRE_REPLICA);
}

/* Placement is in the middle of a change: the copy that a shard has too few another has too many, and gives next. */
static bool roles_are_exchanged(const struct planner *p)
{
    return p->world->place.half && !p->scale->slots;
}

/* What a pod without a shard, or of one that is spare there, is to be. */
static void roles_scale(struct planner *p, size_t pod)
{
    const struct world *w = p->world;
    const struct pod *candidate = &w->pods[pod];
    size_t shard = p->sight->ask.target.pods[pod].shard; /* of an orphan where it is counted */
    size_t primary = roles_target(p, pod);
    bool there = primary != NO_POD && w->pods[primary].server.primary;
    if (planner_is_moving(p, &candidate->server.id) || candidate->terminating ||
        !p->facts->belongs[pod] || !world_view_fresh(w, candidate))
        return;
    if (candidate->server.primary) {
        if (there && roles_is_idle(p, pod) && !candidate->server.keys)
            roles_order(p, pod, primary, REQUIRE_PRIMARY | REQUIRE_EMPTY);
    } else if (shard != TARGET_NONE && roles_is_orphan(p, pod)) {
        roles_move(p, pod, there ? primary : p->sight->leads[shard]);
    } else if (shard != TARGET_NONE && there && p->scale->target.parts[pod].fills &&
               !roles_are_exchanged(p) && roles_is_spare(p, pod)) {
        roles_move(p, pod, primary);
    }
}

/* Scaling knows who is to be what; without it a newcomer joins the shard that lacks a replica. */
static bool roles_scaled(struct planner *p)
{
    for (size_t i = 0; p->scale && i < p->world->pod_count; i++)
        roles_scale(p, i);
    return p->scale != NULL;
}

enum rule_verdict rule_replicate(struct planner *p)
{
    const struct facts *f = p->facts;
    if (!planner_formed(p) || !f->shard_count)
        return RULE_PASS;
    if (roles_scaled(p))
        return RULE_PASS;
    struct placement_shard *shards = NULL;
    bool served = false;
    for (size_t i = 0; i < p->world->pod_count; i++) {
        if (!roles_is_idle(p, i))
            continue;
        const struct pod *pod = &p->world->pods[i];
        if (!f->reference_ours || f->reference_votes <= f->views / 2) {
            planner_say(p, "%s waits: the servers do not agree on the cluster (%zu of %zu do)",
                        pod->name, f->reference_votes, f->views);
            return RULE_PASS;
        }
        if (pod->server.keys) {
            planner_say(p, "%s serves no slots but holds %s: left alone", pod->name,
                        planner_count(p, (size_t)pod->server.keys, "key"));
            continue;
        }
        if (!shards) {
            shards = roles_shards(p);
            served = roles_reserve(p, shards);
        }
        if (served) {
            planner_say(p, "%s waits for %s, who may be the replica that is lacking", pod->name,
                        f->first_missing_ordinal < 0
                            ? "a former primary that does not know it yet"
                            : planner_missing(p, f->first_missing_ordinal));
            return RULE_PASS;
        }
        struct place place = {pod->node, pod->zone};
        size_t s = placement_join(&place, shards, f->shard_count);
        if (roles_waits_for_scale(p, shards[s].replicas)) {
            planner_say(p, "%s waits: no shard lacks a replica, and it may become a primary",
                        pod->name);
            continue;
        }
        const struct view_node *primary = view_find(pod->server.view, &f->shards[s].primary);
        roles_take(p, &shards[s], place);
        if (f->shards[s].primary_pod == NO_POD) {
            planner_say(p, "%s waits for the shard of slot %u to have a primary again", pod->name,
                        f->shards[s].first_range.first);
            continue;
        }
        /* It must know its primary first (FACTS 1). */
        if (!primary || primary->flags & (NODE_HANDSHAKE | NODE_NOADDR | NODE_FAIL)) {
            planner_say(p, "%s waits to know %s, whose replica it will be", pod->name,
                        p->world->pods[f->shards[s].primary_pod].name);
            continue;
        }
        if (!planner_sees_all(p)) {
            planner_say(p, "%s waits until every server's view was read", pod->name);
            return RULE_PASS;
        }
        struct action a = planner_action(p, ACTION_REPLICATE, i, AUTHORITY_LEADER);
        a.require = REQUIRE_PRIMARY | REQUIRE_EMPTY;
        a.subject = f->shards[s].primary;
        (void)planner_add(p, a);
        planner_say(p, "%s becomes a replica of %s (slots from %u)", pod->name,
                    p->world->pods[f->shards[s].primary_pod].name, f->shards[s].first_range.first);
    }
    return RULE_PASS;
}

/*
 * A replica keeps asking the address that it was given: when gossip corrects its primary's address
 * before the primary's own PING does, Redis 7.0 does not re-point the replication (FACTS 2). The
 * same REPLICATE again does. INFO tells whom it asks and CLUSTER NODES whom it follows: of two moments they
 * may be of two primaries, when it was just told to follow another one.
 */
static bool follow_is_settled(const struct server *s)
{
    return s->beat_ms <= s->view_ms && !s->view_outdated;
}

enum rule_verdict rule_follow(struct planner *p)
{
    const struct world *w = p->world;
    if (!w->record)
        return RULE_PASS;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct server *s = &w->pods[i].server;
        if (!planner_belongs(p, i) || !world_view_fresh(w, &w->pods[i]) || s->primary ||
            s->link_up || !s->primary_ip[0] || !follow_is_settled(s))
            continue;
        size_t primary = facts_pod_of(p->facts, &s->view->myself->primary);
        if (primary == NO_POD || !planner_belongs(p, primary) ||
            strcmp(w->pods[primary].ip, s->primary_ip) == 0)
            continue;
        struct action a = planner_action(p, ACTION_REPLICATE, i, AUTHORITY_LEADER);
        a.require = REQUIRE_REPLICA;
        a.subject = s->view->myself->primary;
        (void)planner_add(p, a);
        planner_say(p, "%s replicates from %s, where %s no longer is: pointing it to %s",
                    w->pods[i].name, s->primary_ip, w->pods[primary].name, w->pods[primary].ip);
    }
    return RULE_PASS;
}

/*
 * A replica of a replica has its data second hand, and stands in no election. It comes about when a
 * primary with followers is made a replica. Seen: Redis 7.0.15 and 8.0 leave it so; Valkey 8.1 and
 * 9.1 mend it by themselves within a second.
 */
enum rule_verdict rule_chain(struct planner *p)
{
    const struct world *w = p->world;
    const struct facts *f = p->facts;
    if (!planner_formed(p) || !f->reference_ours || f->reference_votes <= f->views / 2)
        return RULE_PASS;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct server *s = &w->pods[i].server;
        if (!planner_belongs(p, i) || !world_view_fresh(w, &w->pods[i]) || s->primary ||
            w->pods[i].terminating)
            continue;
        const struct node_id *followed = &s->view->myself->primary;
        const struct view_node *end = roles_end_of_chain(f->reference, followed);
        /* In its own eyes, too: after a hand-over the others' views are the old ones for a moment. */
        const struct view_node *known = end ? roles_end_of_chain(s->view, followed) : NULL;
        const uint32_t unfit = NODE_HANDSHAKE | NODE_NOADDR | NODE_FAIL | NODE_PFAIL;
        if (!known || known->flags & unfit || !node_id_eq(&known->id, &end->id) || !end->slot_count)
            continue;
        struct action a = planner_action(p, ACTION_REPLICATE, i, AUTHORITY_LEADER);
        a.require = REQUIRE_REPLICA;
        a.subject = end->id;
        (void)planner_add(p, a);
        size_t top = facts_pod_of(f, &end->id);
        planner_say(p, "%s follows %.8s, which is a replica itself: pointing it to %s",
                    w->pods[i].name, followed->hex,
                    top == NO_POD ? end->id.hex : w->pods[top].name);
    }
    return RULE_PASS;
}
