/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/plan_check.h"

#include <ctype.h>
#include <string.h>

#include "core/handover.h"
#include "core/pause.h"
#include "core/place.h"

size_t plan_check_rule(const char *rule)
{
    for (size_t i = 0; plan_rule_name(i); i++)
        if (strcmp(plan_rule_name(i), rule) == 0)
            return i;
    return SIZE_MAX;
}

static bool check_printable(const char *text)
{
    for (; *text; text++)
        if (!isprint((unsigned char)*text))
            return false;
    return true;
}

static bool check_unique_ids(const struct record *record)
{
    for (size_t i = 0; record->member_count <= 64 && i < record->member_count; i++) {
        for (size_t j = 0; j < i; j++)
            if (node_id_eq(&record->members[i].id, &record->members[j].id) ||
                strcmp(record->members[i].pod, record->members[j].pod) == 0)
                return false;
        if (record_forgets(record, &record->members[i].id))
            return false;
    }
    return true;
}

/* A cluster that stands is formed again only when every server was seen empty, and twice. */
static bool check_reborn(const struct world *world, const struct record *record)
{
    if (!world->record || world->record->state != RECORD_FORMED ||
        record->state != RECORD_FORMING || world->guards_off & (GUARD_REBIRTH | GUARD_RECORD))
        return true;
    for (size_t i = 0; i < world->pod_count; i++)
        if (!world_server_virgin(world, &world->pods[i]))
            return false;
    return world->gone_since_ms && world->now_ms - world->gone_since_ms > WORLD_FRESH_MS &&
           strcmp(record->uid, world->record->uid) == 0 &&
           record->generation == world->record->generation + 1;
}

/* Slots move from one member's server to another's, none of them twice. */
static bool check_moves(const struct record *record)
{
    struct slot_set taken = {{0}};
    unsigned count = 0;
    for (size_t i = 0; i < record->move_count; i++) {
        const struct record_move *move = &record->moves[i];
        if (node_id_eq(&move->from, &move->to) || move->generation > record->move_generation ||
            !move->range_count)
            return false;
        for (size_t r = 0; r < move->range_count; r++) {
            slot_set_add(&taken, move->ranges[r]);
            count += slot_range_count(move->ranges[r]);
        }
    }
    return record->move_count <= RECORD_MOVES_MAX && slot_set_count(&taken) == count;
}

/* A record is written for a cluster that has a name, and names each pod and each id once. */
static const char *check_record(const struct world *world, const struct action *a)
{
    const struct record *record = a->record;
    if (!record)
        return "a record that is none";
    if (record->version != RECORD_VERSION || !record->uid[0] || record->generation < 1 ||
        !record->member_count || !record->shards)
        return "an incomplete record";
    if (!check_unique_ids(record))
        return "a record that names a pod or an id twice, or forgets a member";
    if (!check_moves(record))
        return "a record with moves that cannot be";
    return check_reborn(world, record) ? NULL : "a cluster that stands is formed again";
}

/* Only the record says who belongs: nobody else is met. */
static const char *check_meet(const struct world *world, const struct action *a)
{
    if (!a->ip[0] || !a->port)
        return "without an address";
    if (world->guards_off & GUARD_MEMBER)
        return NULL;
    if (!record_find_id(world->record, &a->node) || !record_find_id(world->record, &a->subject))
        return "somebody who is not in the record";
    return NULL;
}

/* FACTS 4: only what the record lists, and never the owner of slots. */
static const char *check_forget(const struct world *world, const struct action *a)
{
    if (world->guards_off & GUARD_FORGET)
        return NULL;
    if (!record_forgets(world->record, &a->subject))
        return "an id that is not on the record's list";
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        if (!world_view_fresh(world, pod))
            continue;
        const struct view_node *n = view_find(pod->server.view, &a->subject);
        if (n && (n->slot_count || !(n->flags & (NODE_FAIL | NODE_PFAIL | NODE_NOADDR))))
            return "an id that owns slots or lives";
        for (size_t k = 0; k < pod->server.view->node_count; k++)
            if (node_id_eq(&pod->server.view->nodes[k].primary, &a->subject))
                return "an id that is followed";
    }
    return NULL;
}

/* Its volume was lost: the record gives it up, and no pod answers or waits with its id. */
static bool check_is_gone(const struct world *world, const struct node_id *id)
{
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct gate_word *word = world_gate_word(world, &world->pods[i]);
        if (node_id_eq(&world->pods[i].server.id, id) || (word && node_id_eq(&word->id, id)))
            return false;
    }
    return record_forgets(world->record, id);
}

/*
 * Only for a primary whose agent holds it back without its data, and that refuses connections; by
 * vote also for one that is gone.
 */
static const char *check_takeover(const struct world *world, const struct pod *pod,
                                  const struct action *a)
{
    const struct record_member *m = record_find_id(world->record, &a->subject);
    const struct pod *held = m ? world_pod_by_name(world, m->pod) : NULL;
    const struct gate_word *word = held ? world_gate_word(world, held) : NULL;
    bool gone = a->kind == ACTION_FORCE && check_is_gone(world, &a->subject);
    const struct takeover_watch *watch = &world->takeover;
    bool by_vote = a->kind == ACTION_FORCE;
    bool ordered = watch->asked_ms && (!by_vote || watch->part_since_ms);
    int64_t since_ms = by_vote ? watch->part_since_ms : watch->lost_since_ms;
    if (ordered && held && held->ip[0] && !word && !world_server_fresh(world, held))
        return "of a primary that may run behind a partition";
    gone |= ordered && world->now_ms - since_ms >= TAKEOVER_STUCK_MS;
    if (!gone && (!word || word->data || held->server.reach != REACH_REFUSED))
        return "of a primary that may run";
    if (!(a->require & REQUIRE_REPLICA) || !pod->server.keys ||
        !node_id_eq(&pod->server.view->myself->primary, &a->subject))
        return "by a server that is no replica of it with data";
    return NULL;
}

/* Most owners of slots, asked now, list the candidate as a replica of the primary. */
static bool check_is_known(const struct world *world, const struct action *a,
                           const struct view *owners)
{
    size_t voters = 0;
    size_t known = 0;
    for (size_t i = 0; i < owners->node_count; i++) {
        if (!(owners->nodes[i].flags & NODE_PRIMARY) || !owners->nodes[i].slot_count)
            continue;
        voters++;
        for (size_t k = 0; k < world->pod_count; k++) {
            const struct pod *pod = &world->pods[k];
            if (!world_view_fresh(world, pod) || !node_id_eq(&pod->server.id, &owners->nodes[i].id))
                continue;
            const struct view_node *n = view_find(pod->server.view, &a->node);
            known += n && n->flags & NODE_REPLICA && node_id_eq(&n->primary, &a->subject);
        }
    }
    return known > voters / 2;
}

/* It was asked since the move is wanted, a moment ago: it knew whether its server stays. */
static bool check_is_heard(const struct world *world, const struct pod *pod, int64_t wanted_ms)
{
    return pod == &world->pods[world->me] || world->guards_off & GUARD_PLACE ||
           (pod->agent == AGENT_SILENT && world->arbiter == ARBITER_LEASE &&
            world->now_ms - pod->agent_seen_ms > ACTION_FAILOVER_MS) ||
           (wanted_ms && pod->told.heard_ms >= wanted_ms &&
            world->now_ms - pod->told.heard_ms <= PLACE_WORD_MS);
}

/* A pod that is deleted, unless its agent has said a while later that nobody stops it, or cannot. */
static bool check_is_stopped(const struct world *world, const struct pod *pod)
{
    int64_t said_ms = pod == &world->pods[world->me] ? world->now_ms : pod->told.heard_ms;
    return pod->terminating && pod->agent != AGENT_SILENT &&
           said_ms - world->handover.asked_ms < HANDOVER_STOP_MS;
}

/* By placement, or a person's word: nobody stops, so that no other agent orders anything. */
static bool check_is_calm(const struct world *world, const struct pod *primary,
                          const struct pod *heir, const struct action *a)
{
    int64_t wanted_ms = a->asked_ms ? world->handover.asked_ms : world->place.wanted_ms;
    bool stays = true;
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        bool heard = world->now_ms - pod->told.heard_ms <= WORLD_TOLD_FRESH_MS;
        bool answers = world_server_fresh(world, pod);
        bool gone = a->asked_ms && !answers && (pod->told.leaving == LEAVING_NO || !heard);
        bool left = a->asked_ms && !check_is_stopped(world, pod);
        stays &= gone || ((left || !pod->terminating) && pod->told.leaving == LEAVING_NO);
    }
    if (a->asked_ms && (strcmp(world->handover.pod, heir->name) != 0 || world->handover.ordered_ms))
        return false;
    return (a->asked_ms || world->placement == PLACE_ENFORCE) && stays && !world->drain.since_ms &&
           check_is_heard(world, primary, wanted_ms) && check_is_heard(world, heir, wanted_ms);
}

/* The record gets a pod that it did not name, but for a cluster that is put back or formed. */
static bool check_takes_in(const struct world *world, const struct record *record)
{
    const struct record *old = world->record;
    for (size_t i = 0; old && old->state == RECORD_FORMED && i < record->member_count; i++)
        if (!record_find_pod(old, record->members[i].pod))
            return true;
    return false;
}

/* A person's pause stops it: by what is written and sent, whatever kind of work it is called. */
static bool check_is_paused(const struct world *world, const struct action *a)
{
    bool wished = world->person.wish == PERSON_PAUSE;
    if (world->guards_off & GUARD_PAUSE || !(wished || pause_of(world)))
        return false;
    if (a->kind != ACTION_RECORD_PUT)
        return a->placing || a->kind == ACTION_FORGET;
    bool anew = world->record && world->record->state == RECORD_FORMED &&
                a->record->state == RECORD_FORMING;
    return anew || check_takes_in(world, a->record);
}

/* A primary that lives hands over to a replica that is in sync, stays, and can win (DESIGN 5.5). */
static const char *check_failover(const struct world *world, const struct pod *pod,
                                  const struct action *a)
{
    const struct pod *primary = NULL;
    for (size_t i = 0; i < world->pod_count; i++)
        if (node_id_eq(&world->pods[i].server.id, &a->subject))
            primary = &world->pods[i];
    if (!primary || !world_view_fresh(world, primary) || !primary->server.primary)
        return "of a primary that does not answer";
    if (a->authority == AUTHORITY_OWN && primary != &world->pods[world->me])
        return "of another pod's primary without the leader's authority";
    bool leaders = a->authority == AUTHORITY_LEADER;
    bool booked = a->placing || a->asked_ms;
    if (booked != (a->planned_ms == world->now_ms))
        return "that may be sent at any time";
    if ((booked && !leaders) || (leaders && !booked && !primary->terminating) ||
        (a->placing && (a->asked_ms || primary->terminating)))
        return "that is booked as what it is not";
    if (a->authority == AUTHORITY_LEADER && primary->agent != AGENT_SILENT &&
        !check_is_calm(world, primary, pod, a))
        return "of a primary whose own agent may order it";
    if (!(a->require & REQUIRE_FOLLOWS) || strcmp(a->ip, primary->ip) != 0)
        return "without the primary as its condition";
    if (pod->terminating || pod->server.primary || !pod->server.link_up)
        return "by a server that goes or is not in sync";
    if (primary->server.view->open_count)
        return "of a primary with half-moved slots";
    return check_is_known(world, a, primary->server.view) ? NULL
                                                          : "by a server that most do not know";
}

/* Of the own server, that is dead, by a replica that proves it has what the dead one had (DESIGN 5.6). */
static const char *check_crash(const struct world *world, const struct pod *pod,
                               const struct action *a)
{
    const struct pod *dead = world->me == NO_POD ? NULL : &world->pods[world->me];
    if (!dead || !world->crash.gone_ms || world->crash.ordered_ms || world->drain.since_ms ||
        !node_id_eq(&dead->server.id, &a->subject) || dead->server.reach != REACH_REFUSED)
        return "of a primary that is not known to be dead";
    if (pod->server.primary || pod->server.link_up ||
        !node_id_eq(&pod->server.view->myself->primary, &a->subject))
        return "by a server that has not lost it";
    if (world->guards_off & GUARD_HEIR)
        return NULL;
    if (!(a->require & REQUIRE_HEIR) || strcmp(a->ip, dead->ip) != 0 || !a->replid[0] ||
        strcmp(a->replid, pod->server.replid) != 0 || pod->server.offset < a->offset)
        return "by a server that does not prove its data";
    if (a->kind == ACTION_TAKEOVER)
        return world->arbiter == ARBITER_LEASE ? NULL : "without a Lease";
    return check_is_known(world, a, dead->server.view) ? NULL : "by a server that most do not know";
}

/* A replica that Redis would elect as well, with all of it. */
static bool check_has_spare(const struct world *world, const struct pod *but,
                            const struct pod *primary)
{
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct server *s = &world->pods[i].server;
        if (&world->pods[i] != but && world_view_fresh(world, &world->pods[i]) && s->link_up &&
            !s->primary && node_id_eq(&s->view->myself->primary, &primary->server.id) &&
            s->no_failover == 0 && !world->pods[i].terminating)
            return true;
    }
    return false;
}

/* A replica leaves a shard that has another one, for one that lives; nobody stops (DESIGN 5.9). */
static const char *check_reparent(const struct world *world, const struct pod *pod,
                                  const struct action *a)
{
    const struct pod *from = NULL;
    const struct pod *to = NULL;
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *p = &world->pods[i];
        to = node_id_eq(&p->server.id, &a->subject) ? p : to;
        from = strcmp(p->ip, a->ip) == 0 && p->port == a->port ? p : from;
        if (world->guards_off & GUARD_SPARE)
            return NULL;
        if (p->terminating || p->told.leaving != LEAVING_NO)
            return "for another shard while a pod stops";
    }
    if (a->authority != AUTHORITY_LEADER || world->placement != PLACE_ENFORCE ||
        world->drain.since_ms)
        return "for another shard on nobody's word";
    if (!from || !to || from == to || !world_view_fresh(world, from) ||
        !world_view_fresh(world, to) || !from->server.primary || !to->server.primary)
        return "from or for a primary that does not answer";
    if (pod->server.primary || !pod->server.link_up || !check_has_spare(world, pod, from))
        return "of a shard that has no other replica";
    if (!(a->require & (REQUIRE_FOLLOWS | REQUIRE_SAME)))
        return "for another shard whomever it follows";
    int64_t wanted_ms = world->place.wanted_ms;
    return check_is_heard(world, pod, wanted_ms) && check_is_heard(world, from, wanted_ms) &&
                   check_is_heard(world, to, wanted_ms)
               ? NULL
               : "for another shard of one that may stop";
}

/* Who lacks something of a primary that stops is told to wait for it, by whoever hands it over. */
static const char *check_wait_order(const struct world *world, const struct pod *pod,
                                    const struct action *a)
{
    const struct pod *primary = NULL;
    for (size_t i = 0; i < world->pod_count && pod->server.view; i++)
        if (node_id_eq(&world->pods[i].server.id, &pod->server.view->myself->primary))
            primary = &world->pods[i];
    if (!primary || !(a->require & REQUIRE_REPLICA))
        return "not to be elected, of a server that is no replica";
    bool own = a->authority == AUTHORITY_OWN;
    if (own ? primary != &world->pods[world->me] || !world->drain.since_ms
            : !primary->terminating || primary->agent != AGENT_SILENT)
        return "not to be elected, though its primary does not stop";
    return NULL;
}

/* A server that holds anything is never made to follow another one's data. */
static const char *check_replicate(const struct pod *pod, const struct action *a)
{
    const struct view_node *n = pod->server.view ? view_find(pod->server.view, &a->subject) : NULL;
    if (!n || n->flags & NODE_HANDSHAKE)
        return "somebody whom the server does not know";
    bool as_empty = a->require & REQUIRE_EMPTY && a->require & REQUIRE_PRIMARY;
    if (!as_empty && !(a->require & (REQUIRE_REPLICA | REQUIRE_FOLLOWS)))
        return "without a condition on what the server holds";
    if (pod->server.view->myself->slot_count)
        return "by an owner of slots";
    return NULL;
}

/* FACTS 0.1: slots are given in the formation only, to a server that is alone and holds nothing. */
static const char *check_add_slots(const struct world *world, const struct pod *pod,
                                   const struct action *a)
{
    const struct record_member *m = record_find_id(world->record, &a->node);
    const uint32_t wanted = REQUIRE_ALONE | REQUIRE_UNASSIGNED | REQUIRE_PRIMARY;
    if (world->record->state != RECORD_FORMING || !m || !m->primary)
        return "to a server that is not to have them";
    if ((a->require & wanted) != wanted || pod->server.keys || pod->server.known_nodes != 1)
        return "to a server that is not alone and empty";
    return NULL;
}

static const char *check_command(const struct world *world, const struct action *a)
{
    if (a->pod >= world->pod_count)
        return "on a pod that is not there";
    const struct pod *pod = &world->pods[a->pod];
    if (!world_server_fresh(world, pod))
        return "to a server that did not answer lately";
    if (!node_id_is_set(&a->node) || !node_id_eq(&a->node, &pod->server.id))
        return "without the server's id as its condition";
    if (a->kind == ACTION_FAILOVER)
        return check_failover(world, pod, a);
    if (a->placing)
        return check_reparent(world, pod, a);
    if (a->kind == ACTION_CONFIG_SET && a->setting == SETTING_NO_FAILOVER && a->value)
        return check_wait_order(world, pod, a);
    if (a->authority == AUTHORITY_OWN && (a->kind == ACTION_FORCE || a->kind == ACTION_TAKEOVER))
        return check_crash(world, pod, a);
    if (a->authority == AUTHORITY_OWN)
        return a->kind == ACTION_CONFIG_SET ? NULL : "of the own agent that is the leader's";
    if (!world->record || strcmp(world->record->set_uid, world->set.uid) != 0 ||
        !world_api_fresh(world))
        return "without a record of this StatefulSet, or on an old list of its pods";
    switch (a->kind) {
    case ACTION_NONE:
    case ACTION_RECORD_PUT:
    case ACTION_FAILOVER:
        return "no command";
    case ACTION_CONFIG_SET:
        return NULL;
    case ACTION_SET_CONFIG_EPOCH:
        return a->epoch && a->require & REQUIRE_ALONE ? NULL : "to a server that knows others";
    case ACTION_MEET:
        return check_meet(world, a);
    case ACTION_ADD_SLOTS:
        return check_add_slots(world, pod, a);
    case ACTION_REPLICATE:
        return node_id_eq(&a->subject, &a->node) ? "itself" : check_replicate(pod, a);
    case ACTION_FORGET:
        return node_id_eq(&a->subject, &a->node) ? "itself" : check_forget(world, a);
    case ACTION_TAKEOVER:
    case ACTION_FORCE:
        return check_takeover(world, pod, a);
    }
    return NULL;
}

static const char *check_action(const struct world *world, const struct action *a)
{
    if (a->authority != AUTHORITY_OWN && a->authority != AUTHORITY_LEADER)
        return "on nobody's authority";
    if (check_is_paused(world, a))
        return "though a person has paused Muster";
    if (a->authority == AUTHORITY_LEADER && !world->leader)
        return "on the leader's authority by another agent";
    bool of_the_shard =
        a->kind == ACTION_FAILOVER || a->kind == ACTION_FORCE || a->kind == ACTION_TAKEOVER ||
        (a->kind == ACTION_CONFIG_SET && a->setting == SETTING_NO_FAILOVER && a->value);
    if (a->authority == AUTHORITY_OWN && a->pod != world->me && !of_the_shard)
        return "on another pod than the own one without the leader's authority";
    return a->kind == ACTION_RECORD_PUT ? check_record(world, a) : check_command(world, a);
}

/* Who is to copy another shard is told first to stand in no election. */
static bool check_is_guarded(const struct plan *plan, size_t at)
{
    const struct action *a = &plan->actions[at];
    if (a->kind != ACTION_REPLICATE || !a->placing)
        return true;
    const struct action *before = at ? a - 1 : a;
    return before->kind == ACTION_CONFIG_SET && before->setting == SETTING_NO_FAILOVER &&
           before->value && before->pod == a->pod;
}

const char *plan_check(const struct world *world, const struct plan *plan, struct arena *arena)
{
    if (!plan->rule || plan_check_rule(plan->rule) == SIZE_MAX)
        return "the plan's rule is not in the table";
    if (!plan->reason[0])
        return "the plan says nothing";
    if (!check_printable(plan->reason) || strlen(plan->reason) + 1 >= PLAN_REASON_SIZE)
        return "the sentence is cut or not printable";
    if (plan->action_count > PLAN_ACTIONS_MAX)
        return "too many actions";
    if (plan->place.found.look && strcmp(plan->rule, "place") != 0 &&
        strcmp(plan->rule, "steady") != 0)
        return "roles are placed beside what is done first";
    if (world->settling && plan->action_count)
        return "something is done while settling";
    for (size_t i = 0; i < plan->action_count; i++) {
        const struct action *a = &plan->actions[i];
        const char *why = check_is_guarded(plan, i) ? check_action(world, a) : "unguarded";
        for (size_t j = 0; !why && plan->action_count <= 64 && j < i; j++)
            if (action_key(&plan->actions[j]) == action_key(a))
                why = "twice in one plan";
        if (why)
            return arena_format(arena, "%s: %s", action_kind_name(a->kind), why);
    }
    return NULL;
}

static bool check_same_action(const struct action *a, const struct action *b)
{
    return a->kind == b->kind && a->authority == b->authority && a->pod == b->pod &&
           a->require == b->require && action_key(a) == action_key(b) && a->epoch == b->epoch &&
           a->slots.first == b->slots.first && a->slots.last == b->slots.last &&
           a->port == b->port && (a->kind != ACTION_RECORD_PUT || record_eq(a->record, b->record));
}

bool plan_check_same(const struct plan *a, const struct plan *b)
{
    if (strcmp(a->rule, b->rule) != 0 || strcmp(a->reason, b->reason) != 0 ||
        a->action_count != b->action_count)
        return false;
    for (size_t i = 0; i < a->action_count; i++)
        if (!check_same_action(&a->actions[i], &b->actions[i]))
            return false;
    return true;
}
