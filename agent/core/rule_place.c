/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement (DESIGN 5.9): roles are moved one at a time until they are spread over nodes and zones as
 * well as hand-overs can spread them. Only in a cluster where nothing else is to be done, where every
 * pod is there and in sync, and by the six rules of core/failover.h. Never while a pod stops or is
 * about to be made anew, and never more often than policy.placementMinInterval: the harm that this
 * prevents is one that may come, a hand-over too many is one that does.
 */
#include <string.h>

#include "base/text.h"
#include "core/arrange.h"
#include "core/failover.h"
#include "core/place.h"
#include "core/rules.h"

/* What stands against any move just now; NULL if nothing does. */
static const char *place_pod_obstacle(struct planner *p, size_t at)
{
    const struct world *w = p->world;
    const struct pod *pod = &w->pods[at];
    const struct server *s = &pod->server;
    bool kube = w->arbiter == ARBITER_LEASE;
    bool me = at == w->me;
    const char *why = NULL;
    if (pod->terminating || pod->told.leaving != LEAVING_NO || (me && w->drain.since_ms))
        why = "is stopping";
    else if (kube && !pod->updated)
        why = "is not made from the StatefulSet's present template yet";
    else if (!pod->ready)
        why = "is not ready";
    else if (!planner_belongs(p, at))
        why = "does not answer";
    else if (!me &&
             (pod->agent != AGENT_OK || w->now_ms - pod->told.heard_ms > WORLD_TOLD_FRESH_MS))
        why = "has a silent agent";
    else if (pod->zone_pending)
        why = "is in a zone that is not known yet";
    else if (s->slot_jobs)
        why = "moves slots";
    else if (!s->primary && !s->link_up)
        why = "is not in sync";
    else if (s->no_failover != 0)
        why = "does not take part in elections yet";
    return why ? arena_format(p->arena, "%s %s", pod->name, why) : NULL;
}

static const char *place_obstacle(struct planner *p)
{
    const struct world *w = p->world;
    const struct facts *f = p->facts;
    if (p->plan->action_count || p->plan->reason[0])
        return "something else is done first";
    if (f->expected != w->pod_count || f->first_missing_ordinal >= 0)
        return "a pod is missing, or one too many";
    for (size_t i = 0; i < w->pod_count; i++) {
        const char *why = place_pod_obstacle(p, i);
        if (why)
            return why;
    }
    if (!f->reference_ours || f->reference_votes != f->views || f->views != w->pod_count)
        return "the servers do not agree on the cluster";
    if (f->slots_covered != SLOT_COUNT || f->open_pod != NO_POD)
        return "a slot is not served, or half-moved";
    if (f->reference->node_count != w->pod_count || w->record->forget_count)
        return "nodes are known that are no pods";
    return NULL;
}

/* Where each pod is and what it does; false if that is not known of every one. */
static bool place_gather(struct planner *p, struct place **ret_places, struct role **ret_roles)
{
    const struct world *w = p->world;
    const struct facts *f = p->facts;
    struct place *places = ARENA_NEW(p->arena, struct place, w->pod_count);
    struct role *roles = ARENA_NEW(p->arena, struct role, w->pod_count);
    size_t known = 0;
    for (size_t i = 0; i < w->pod_count; i++)
        places[i] = (struct place){w->pods[i].node, w->pods[i].zone};
    for (size_t s = 0; s < f->shard_count; s++) {
        const struct shard *shard = &f->shards[s];
        if (shard->primary_pod == NO_POD)
            return false;
        roles[shard->primary_pod] = (struct role){(uint16_t)s, true};
        for (size_t r = 0; r < shard->replica_count; r++)
            roles[shard->replica_pods[r]].shard = (uint16_t)s;
        known += 1 + shard->replica_count;
    }
    *ret_places = places;
    *ret_roles = roles;
    return known == w->pod_count;
}

/* For what all the moves are. */
static const char *place_goal(const struct arrangement *a)
{
    const struct seats_cost *now = &a->now.primaries;
    const struct seats_cost *then = &a->then.primaries;
    if (then->node_over < now->node_over)
        return "a node holds more than half of the primaries";
    if (then->zone_over < now->zone_over)
        return "a zone holds more than half of the primaries";
    if (then->zone_squares < now->zone_squares)
        return "the primaries are not even over the zones";
    return "the primaries are not even over the nodes";
}

/* What no hand-over can mend; "" if there is nothing. */
static const char *place_impossible(struct planner *p, const struct arrangement *a)
{
    const struct seats_cost *then = &a->then.primaries;
    if (a->then.same_node)
        return arena_format(p->arena,
                            "; %s on a node with another copy of the same shard: only the "
                            "scheduler can part them",
                            planner_count(p, a->then.same_node, "replica"));
    if (then->node_over)
        return "; a node holds more than half of the primaries, and no replica elsewhere can "
               "relieve "
               "it";
    return "";
}

static void place_remember(struct planner *p)
{
    const struct world *w = p->world;
    uint64_t seen = TEXT_HASH_SEED;
    for (size_t i = 0; i < w->pod_count; i++) {
        seen = text_hash(seen, w->pods[i].uid, strlen(w->pods[i].uid));
        seen = text_hash(seen, w->pods[i].server.run_id, strlen(w->pods[i].server.run_id));
    }
    seen = text_hash(seen, &p->facts->reference->hash, sizeof p->facts->reference->hash);
    p->plan->place.quiet = true;
    p->plan->place.seen = seen;
}

static bool place_is_early(const struct world *w)
{
    const struct place_watch *watch = &w->place;
    return !watch->quiet_ms || w->now_ms - watch->quiet_ms < PLACE_QUIET_MS || !watch->moved_ms ||
           w->now_ms - watch->moved_ms < w->placement_interval_ms;
}

static void place_order(struct planner *p, const struct pod *from, size_t heir, const char *what)
{
    struct action a = planner_action(p, ACTION_FAILOVER, heir, AUTHORITY_LEADER);
    a.require = REQUIRE_FOLLOWS;
    a.subject = from->server.id;
    a.port = from->port;
    a.value = p->world->pods[heir].server.vote_requests;
    text_format(a.ip, sizeof a.ip, "%s", from->ip);
    if (!planner_add(p, a))
        return;
    p->plan->place.key = action_key(&a);
    planner_say(p, "%s", what);
}

/* The first of the moves: ordered, or what it waits for. */
static void place_move(struct planner *p, const struct arrangement *a, const char *obstacle)
{
    const struct world *w = p->world;
    const struct arrange_move *move = &a->moves[0];
    const struct shard *shard = &p->facts->shards[move->shard];
    const struct pod *from = &w->pods[shard->primary_pod];
    const char *what = arena_format(
        p->arena, "%s is to take the %u slots of %s over (hand-over 1 of %zu): %s",
        w->pods[move->pod].name, shard->slot_count, from->name, a->move_count, place_goal(a));
    char why[FAILOVER_WHY_SIZE];
    bool unsafe = w->guards_off & GUARD_PLACE;
    if (w->placement != PLACE_ENFORCE) {
        p->note = arena_format(p->arena, "; %s; policy.placement is warn: nobody orders it", what);
        return;
    }
    if (obstacle) {
        planner_say(p, "%s; it waits: %s", what, obstacle);
        return;
    }
    if (failover_in_flight(w, &from->server.id)) {
        planner_say(p, "%s; it is under way", what);
        return;
    }
    /* Without what is left of it: each change of the sentence is a line in the log. */
    if (place_is_early(w) && !unsafe) {
        planner_say(p, "%s; not before it is quiet for %d s, %d s after the last move", what,
                    PLACE_QUIET_MS / 1000, (int)(w->placement_interval_ms / 1000));
        return;
    }
    p->plan->wants_views = true; /* those who vote are asked now */
    if (unsafe || failover_may(w, p->facts, move->pod, shard->primary_pod, why))
        place_order(p, from, move->pod, what);
    else
        planner_say(p, "%s; it waits: %s", what, why);
}

enum rule_verdict rule_place(struct planner *p)
{
    const struct world *w = p->world;
    struct place *places;
    struct role *roles;
    struct arrangement a;
    if (w->placement == PLACE_OFF || !planner_formed(p) || !p->facts->reference ||
        !place_gather(p, &places, &roles))
        return RULE_PASS;
    const char *obstacle = place_obstacle(p);
    if (!obstacle)
        place_remember(p);
    arrange_plan(places, roles, w->pod_count, (unsigned)p->facts->shard_count, false, p->arena, &a);
    if (a.move_count)
        place_move(p, &a, obstacle);
    else if (!obstacle)
        p->note = place_impossible(p, &a);
    return RULE_PASS;
}
