/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement (DESIGN 5.9): roles are moved one at a time, by hand-overs and re-parentings, until they are
 * spread over nodes and zones as well as these can spread them. Only in a cluster where nothing else is to be done, where every
 * pod is there and in sync, by the six rules of core/failover.h and those of core/reparent.h. Never while a pod stops or is
 * about to be made anew, and never more often than policy.placementMinInterval: the harm that this
 * prevents is one that may come, a hand-over too many is one that does.
 */
#include <string.h>

#include "base/text.h"
#include "core/arrange.h"
#include "core/failover.h"
#include "core/pause.h"
#include "core/place.h"
#include "core/reparent.h"
#include "core/rules.h"

/* Somebody's zone is known; one that is not may be the same. */
static bool place_knows_zones(const struct world *w)
{
    for (size_t i = 0; i < w->pod_count; i++)
        if (w->pods[i].zone[0])
            return true;
    return false;
}

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
    else if (!pod->zone[0] && place_knows_zones(w))
        why = "is in a zone that is not known, as those of others are";
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
    if (w->record->move_count || w->record->evening || w->record->moves_unclear)
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
    if (a->then.copies.uneven < a->now.copies.uneven)
        return "a shard lacks a copy that another one has too many";
    if (a->then.copies.same_node < a->now.copies.same_node)
        return "two copies of a shard share a node";
    if (a->then.copies.same_zone < a->now.copies.same_zone)
        return "two copies of a shard share a zone";
    if (then->node_over < now->node_over)
        return "a node holds more than half of the primaries";
    if (then->zone_over < now->zone_over)
        return "a zone holds more than half of the primaries";
    if (then->zone_squares < now->zone_squares)
        return "the primaries are not even over the zones";
    return "the primaries are not even over the nodes";
}

/* A replica beside another copy of its shard, as things will be, where there is another node; or NO_POD. */
static size_t place_together(const struct planner *p, const struct role *roles)
{
    const struct world *w = p->world;
    for (size_t i = 0; i < w->pod_count; i++) {
        bool shares = false;
        bool elsewhere = false;
        for (size_t j = 0; j < w->pod_count && !roles[i].primary; j++) {
            const char *node = w->pods[j].node; /* "" is like none other */
            bool same = node[0] && strcmp(w->pods[i].node, node) == 0;
            shares |= same && i != j && roles[i].shard == roles[j].shard;
            elsewhere |= node[0] && !same;
        }
        if (shares && elsewhere)
            return i;
    }
    return NO_POD;
}

/* What no move can mend. */
static void place_note_impossible(struct planner *p, const struct place_found *found)
{
    if (found->same_node)
        planner_note(p,
                     "%s on a node with another copy of the same shard: only the scheduler can "
                     "part them%s",
                     planner_count(p, found->same_node, "replica"),
                     found->together == NO_POD
                         ? ""
                         : arena_format(p->arena, " (delete %s, to have it scheduled anew)",
                                        p->world->pods[found->together].name));
    else if (found->node_over)
        planner_note(p, "a node holds more than half of the primaries, and no replica elsewhere "
                        "can relieve it");
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
    arrange_plan(places, roles, w->pod_count, (unsigned)f->shard_count, w->arbiter == ARBITER_LEASE,
                 p->arena, &a);
    const struct arrange_move none = {NO_POD, 0, true, false};
    const struct arrange_move *first = a.move_count ? a.moves : &none;
    *ret_found = (struct place_found){
        .look = look,
        .moves = a.move_count,
        .pod = first->pod,
        .reparents = !first->primary,
        .shard = first->shard,
        .more = first->more,
        .uneven = a.then.copies.uneven < a.now.copies.uneven,
        .goal = place_goal(&a),
        .same_node = a.then.copies.same_node,
        .together = a.then.copies.same_node ? place_together(p, a.roles) : NO_POD,
        .node_over = f->shard_count > 1 && a.then.primaries.node_over,
    };
    p->plan->place.found = *ret_found;
    return true;
}

/* What is to be done, and by whom. */
struct place_step {
    const struct place_found *found;
    const struct shard *from; /* that the pod is a replica of */
    const struct shard *to;   /* that it is to copy; NULL = it takes over from its own primary */
    const char *what;
};

static bool place_is_early(const struct planner *p, const struct place_found *found)
{
    const struct world *w = p->world;
    const struct place_watch *watch = &w->place;
    return !watch->quiet_ms || p->plan->place.seen != watch->seen ||
           w->now_ms - watch->quiet_ms < PLACE_QUIET_MS || !watch->moved_ms ||
           (w->now_ms - watch->moved_ms < place_interval_ms(watch, w->placement_interval_ms) &&
            !place_goes_on(watch, found));
}

/*
 * What it has until it has copied the other shard is no data of that one, and its offset may be higher
 * than any there: it is told first to stand in no election (core/election.h). Both only while it follows
 * its primary.
 */
static void place_reparent(struct planner *p, const struct place_step *step)
{
    const struct world *w = p->world;
    size_t pod = step->found->pod;
    const struct pod *from = &w->pods[step->from->primary_pod];
    struct action guard = planner_action(p, ACTION_CONFIG_SET, pod, AUTHORITY_LEADER);
    struct action move = planner_action(p, ACTION_REPLICATE, pod, AUTHORITY_LEADER);
    text_format(guard.ip, sizeof guard.ip, "%s", from->ip);
    text_format(move.ip, sizeof move.ip, "%s", from->ip);
    guard.port = move.port = from->port;
    guard.require = REQUIRE_SAME;
    guard.setting = SETTING_NO_FAILOVER;
    guard.value = 1;
    guard.subject = step->to->primary;
    guard.placing = true;
    guard.planned_ms = move.planned_ms = w->now_ms;
    move.require = REQUIRE_FOLLOWS;
    move.subject = step->to->primary;
    move.value = w->pods[pod].server.vote_requests;
    move.placing = true;
    planner_say(p, "%s", step->what);
    /* Ordered a moment ago: the setting alone would keep it out of elections for nothing. */
    if (attempts_may(w->attempts, action_key(&move), w->now_ms) &&
        (w->guards_off & GUARD_UNSYNCED || planner_add(p, guard)))
        (void)planner_add(p, move);
}

static void place_hand_over(struct planner *p, const struct place_step *step)
{
    const struct pod *from = &p->world->pods[step->from->primary_pod];
    struct action a = planner_failover(p, from, step->found->pod, AUTHORITY_LEADER);
    a.placing = true;
    a.planned_ms = p->world->now_ms;
    if (planner_add(p, a))
        planner_say(p, "%s", step->what);
}

/* Nothing is in the way: who votes and who might stop are asked now, and then it is ordered. */
static void place_go(struct planner *p, const struct place_step *step)
{
    const struct world *w = p->world;
    size_t pod = step->found->pod;
    size_t from = step->from->primary_pod;
    bool unsafe = w->guards_off & GUARD_PLACE || (step->to && w->guards_off & GUARD_SPARE);
    char why[FAILOVER_WHY_SIZE];
    const char *unheard = planner_unheard(p, step->from, step->to, w->place.wanted_ms);
    p->plan->place.asks = true;
    p->plan->wants_views |= place_may_hurry(&w->place, w->now_ms);
    bool may = step->to ? reparent_may(w, pod, from, step->to->primary_pod, why)
                        : failover_may(w, p->facts, pod, from, why);
    if (!unsafe && (!may || unheard))
        planner_say(p, "%s; it waits: %s", step->what, may ? unheard : why);
    else if (step->to)
        place_reparent(p, step);
    else
        place_hand_over(p, step);
}

/* Ordered a moment ago, and not seen in all views yet. */
static bool place_is_under_way(const struct world *w, const struct place_step *step)
{
    if (step->to)
        return node_id_eq(&w->place.copy, &w->pods[step->found->pod].server.id) &&
               w->now_ms - w->place.moved_ms < PLACE_RETRY_MS;
    return failover_in_flight(w, &w->pods[step->from->primary_pod].server.id);
}

/* The first of the moves: ordered, or what it waits for. */
static void place_move(struct planner *p, const struct place_step *step)
{
    const struct world *w = p->world;
    const char *what = step->what;
    bool unspared = step->to && w->guards_off & GUARD_SPARE;
    bool unsafe = unspared || w->guards_off & GUARD_PLACE;
    if (w->placement != PLACE_ENFORCE) {
        planner_note(p, "%s; policy.placement is warn: nobody orders it", what);
        return;
    }
    if (pause_stops(w, WORK_PLACE)) {
        planner_note(p, "%s, not before `muster resume`", what);
        return;
    }
    const char *obstacle = unspared ? NULL : place_obstacle(p);
    if (obstacle) {
        planner_say(p, "%s; it waits: %s", what, obstacle);
        return;
    }
    p->plan->place.quiet = true;
    p->plan->place.seen = place_seen(w, p->facts);
    /* Without what is left of it: each change of the sentence is a line in the log. */
    if (place_is_under_way(w, step))
        planner_say(p, "%s; it is under way", what);
    else if (place_is_early(p, step->found) && !unsafe)
        planner_say(p, "%s; not before it is quiet for %d s, %d s after the last move", what,
                    PLACE_QUIET_MS / 1000,
                    (int)(place_interval_ms(&w->place, w->placement_interval_ms) / 1000));
    else
        place_go(p, step);
}

static const char *place_what(struct planner *p, const struct place_step *step)
{
    const struct world *w = p->world;
    const struct place_found *found = step->found;
    const char *name = w->pods[found->pod].name;
    const char *from = w->pods[step->from->primary_pod].name;
    if (step->to)
        return arena_format(p->arena,
                            "%s is to be a replica of %s instead of %s (move 1 of %zu): %s", name,
                            w->pods[step->to->primary_pod].name, from, found->moves, found->goal);
    return arena_format(p->arena, "%s is to take the %u slots of %s over (move 1 of %zu): %s", name,
                        step->from->slot_count, from, found->moves, found->goal);
}

enum rule_verdict rule_place(struct planner *p)
{
    const struct world *w = p->world;
    const struct facts *f = p->facts;
    struct place_found found;
    if (w->placement == PLACE_OFF || p->plan->action_count || p->plan->reason[0] ||
        !planner_formed(p) || !f->reference || !place_find(p, &found))
        return RULE_PASS;
    struct place_step step = {.found = &found};
    if (found.moves) {
        step.from = facts_shard_of(f, found.pod);
        step.to = found.reparents ? &f->shards[found.shard] : NULL;
    }
    if (step.from && step.from->primary_pod != NO_POD && step.from->primary_pod != found.pod &&
        (!step.to || step.to->primary_pod != NO_POD)) {
        step.what = place_what(p, &step);
        place_move(p, &step);
    } else if (!found.moves && (found.same_node || found.node_over) && !place_obstacle(p)) {
        place_note_impossible(p, &found);
    }
    return RULE_PASS;
}
