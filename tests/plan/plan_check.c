/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/plan_check.h"

#include <ctype.h>
#include <string.h>

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

/* A record is written for a cluster that has a name, and names each pod and each id once. */
static const char *check_record(const struct action *a)
{
    const struct record *record = a->record;
    if (!record)
        return "a record that is none";
    if (record->version != RECORD_VERSION || !record->uid[0] || record->generation < 1 ||
        !record->member_count || !record->shards)
        return "an incomplete record";
    if (!check_unique_ids(record))
        return "a record that names a pod or an id twice, or forgets a member";
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
    if (a->kind == ACTION_MEET && (!a->ip[0] || !a->port || a->pod == NO_POD))
        return "MEET without an address";
    if ((a->kind == ACTION_REPLICATE || a->kind == ACTION_FORGET) &&
        (!node_id_is_set(&a->subject) || node_id_eq(&a->subject, &pod->server.id)))
        return "about nobody or about itself";
    if (a->kind == ACTION_ADD_SLOTS && !(a->require & REQUIRE_UNASSIGNED))
        return "slots for a server that may have some";
    return NULL;
}

static const char *check_action(const struct world *world, const struct action *a)
{
    if (a->authority != AUTHORITY_OWN && a->authority != AUTHORITY_LEADER)
        return "on nobody's authority";
    if (a->authority == AUTHORITY_LEADER && !world->leader)
        return "on the leader's authority by another agent";
    if (a->authority == AUTHORITY_OWN && a->pod != world->me)
        return "on another pod than the own one without the leader's authority";
    return a->kind == ACTION_RECORD_PUT ? check_record(a) : check_command(world, a);
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
    if (world->settling && plan->action_count)
        return "something is done while settling";
    for (size_t i = 0; i < plan->action_count; i++) {
        const struct action *a = &plan->actions[i];
        const char *why = check_action(world, a);
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
