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
    if (w->record->move_count || w->record->evening)
        return "slots are on their way";
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
static const char *place_impossible(struct planner *p, const struct place_found *found)
{
    if (found->same_node)
        return arena_format(p->arena,
                            "; %s on a node with another copy of the same shard: only the "
                            "scheduler can part them",
                            planner_count(p, found->same_node, "replica"));
    if (found->node_over)
        return "; a node holds more than half of the primaries, and no replica elsewhere can "
               "relieve it";
    return "";
}

/* All that the arrangement depends on: where the pods are, and what most say of their roles. */
static uint64_t place_look_of(const struct world *w, const struct facts *f)
{
    uint64_t look = text_hash(TEXT_HASH_SEED, &f->reference->hash, sizeof f->reference->hash);
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        char node = pod->node[0]; /* a pod never changes it, but may not have one yet */
        look = text_hash(look, pod->uid, strlen(pod->uid));
        look = text_hash(look, pod->server.id.hex, strlen(pod->server.id.hex));
        look = text_hash(look, pod->zone, strlen(pod->zone) + 1);
        look = text_hash(look, &node, 1);
        look = text_hash(look, &f->fresh[i], sizeof f->fresh[i]); /* else it is no copy's pod */
    }
    return look ? look : 1;
}

/* Looks for it once for each arrangement, and remembers what was found. */
static bool place_find(struct planner *p, struct place_found *ret_found)
{
    const struct world *w = p->world;
    const struct facts *f = p->facts;
    struct place *places;
    struct role *roles;
    struct arrangement a;
    uint64_t look = place_look_of(w, f);
    if (w->place.found.look == look) {
        *ret_found = w->place.found;
        return true;
    }
    if (!place_gather(p, &places, &roles))
        return false;
    arrange_plan(places, roles, w->pod_count, (unsigned)f->shard_count, p->arena, &a);
    *ret_found =
        (struct place_found){.look = look,
                             .moves = a.move_count,
                             .heir = a.move_count ? a.moves[0].pod : NO_POD,
                             .shard = a.move_count ? a.moves[0].shard : 0,
                             .goal = place_goal(&a),
                             .same_node = a.then.same_node,
                             .node_over = f->shard_count > 1 && a.then.primaries.node_over};
    p->plan->place.found = *ret_found;
    return true;
}

static bool place_is_early(const struct planner *p)
{
    const struct world *w = p->world;
    const struct place_watch *watch = &w->place;
    return !watch->quiet_ms || p->plan->place.seen != watch->seen ||
           w->now_ms - watch->quiet_ms < PLACE_QUIET_MS || !watch->moved_ms ||
           w->now_ms - watch->moved_ms < place_interval_ms(watch, w->placement_interval_ms);
}

static void place_order(struct planner *p, const struct pod *from, size_t heir, const char *what)
{
    struct action a = planner_action(p, ACTION_FAILOVER, heir, AUTHORITY_LEADER);
    a.require = REQUIRE_FOLLOWS;
    a.subject = from->server.id;
    a.port = from->port;
    a.value = p->world->pods[heir].server.vote_requests;
    a.placing = true;
    text_format(a.ip, sizeof a.ip, "%s", from->ip);
    if (planner_add(p, a))
        planner_say(p, "%s", what);
}

/*
 * An agent orders hand-overs for its own server as soon as that is to stop, which nobody else may know
 * yet: each of the shard's was asked since the move is wanted, and a moment ago said that it stays.
 */
static const char *place_unheard(struct planner *p, const struct shard *shard)
{
    const struct world *w = p->world;
    size_t *pods = ARENA_NEW(p->arena, size_t, shard->replica_count + 1);
    const char *why = NULL;
    for (size_t r = 0; r <= shard->replica_count; r++) {
        size_t at = r ? shard->replica_pods[r - 1] : shard->primary_pod;
        const struct pod *pod = &w->pods[at];
        pods[r] = at;
        if (at != w->me && (!w->place.wanted_ms || pod->told.heard_ms < w->place.wanted_ms ||
                            w->now_ms - pod->told.heard_ms > PLACE_WORD_MS))
            why = why ? why : arena_format(p->arena, "%s is asked whether it stays", pod->name);
    }
    p->plan->place.asks = true;
    p->plan->place.pods = pods;
    p->plan->place.pod_count = shard->replica_count + 1;
    return why;
}

/* Nothing is in the way: who votes and who might stop are asked now, and then it is ordered. */
static void place_go(struct planner *p, const struct shard *shard, size_t heir, const char *what)
{
    const struct world *w = p->world;
    const struct pod *from = &w->pods[shard->primary_pod];
    char why[FAILOVER_WHY_SIZE];
    bool unsafe = w->guards_off & GUARD_PLACE;
    const char *unheard = place_unheard(p, shard);
    p->plan->wants_views |= place_may_hurry(&w->place, w->now_ms);
    if (!unsafe && !failover_may(w, p->facts, heir, shard->primary_pod, why))
        planner_say(p, "%s; it waits: %s", what, why);
    else if (!unsafe && unheard)
        planner_say(p, "%s; it waits: %s", what, unheard);
    else
        place_order(p, from, heir, what);
}

/* The first of the moves: ordered, or what it waits for. */
static void place_move(struct planner *p, const struct place_found *found)
{
    const struct world *w = p->world;
    const struct shard *shard = &p->facts->shards[found->shard];
    const struct pod *from = &w->pods[shard->primary_pod];
    const char *what = arena_format(
        p->arena, "%s is to take the %u slots of %s over (hand-over 1 of %zu): %s",
        w->pods[found->heir].name, shard->slot_count, from->name, found->moves, found->goal);
    if (w->placement != PLACE_ENFORCE) {
        p->note = arena_format(p->arena, "; %s; policy.placement is warn: nobody orders it", what);
        return;
    }
    const char *obstacle = place_obstacle(p);
    if (obstacle) {
        planner_say(p, "%s; it waits: %s", what, obstacle);
        return;
    }
    p->plan->place.quiet = true;
    p->plan->place.seen = place_seen(w, p->facts);
    /* Without what is left of it: each change of the sentence is a line in the log. */
    if (failover_in_flight(w, &from->server.id))
        planner_say(p, "%s; it is under way", what);
    else if (place_is_early(p) && !(w->guards_off & GUARD_PLACE))
        planner_say(p, "%s; not before it is quiet for %d s, %d s after the last move", what,
                    PLACE_QUIET_MS / 1000,
                    (int)(place_interval_ms(&w->place, w->placement_interval_ms) / 1000));
    else
        place_go(p, shard, found->heir, what);
}

enum rule_verdict rule_place(struct planner *p)
{
    const struct world *w = p->world;
    struct place_found found;
    if (w->placement == PLACE_OFF || p->plan->action_count || p->plan->reason[0] ||
        !planner_formed(p) || !p->facts->reference || !place_find(p, &found))
        return RULE_PASS;
    if (found.moves && p->facts->shards[found.shard].primary_pod != NO_POD)
        place_move(p, &found);
    else if ((found.same_node || found.node_over) && !place_obstacle(p))
        p->note = place_impossible(p, &found);
    return RULE_PASS;
}
