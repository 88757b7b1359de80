/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods that were scaled in (DESIGN 5.7): once one is gone and nothing hangs on its node any more, it is no
 * member and its node is forgotten. The record remembers whose volume that was: should it come back, it starts
 * from nothing (core/gate.c), for what it holds is old.
 */
#include <string.h>

#include "base/text.h"
#include "core/rules.h"

/* Its name is none that the set makes at its present size. */
static bool leave_is_beyond(const struct world *world, const char *pod)
{
    char first[POD_NAME_SIZE];
    text_format(first, sizeof first, "%s-%d", world->set.name, world->set.replicas);
    return record_name_cmp(pod, first) >= 0;
}

/* Somebody has it own slots, or lead others. */
static bool leave_has_part(const struct planner *p, const struct node_id *id)
{
    for (size_t i = 0; i < p->world->pod_count; i++) {
        const struct view *view =
            world_view_fresh(p->world, &p->world->pods[i]) ? p->world->pods[i].server.view : NULL;
        const struct view_node *n = view ? view_find(view, id) : NULL;
        if (n && n->slot_count)
            return true;
        for (size_t k = 0; n && k < view->node_count; k++)
            if (node_id_eq(&view->nodes[k].primary, id))
                return true;
    }
    return false;
}

bool planner_has_left(struct planner *p, size_t member)
{
    const struct world *w = p->world;
    const struct record_member *m = &w->record->members[member];
    bool known = w->arbiter == ARBITER_LEASE && w->set.known && !w->set.absent && !w->api_broken &&
                 world_api_fresh(w) && w->set.replicas > 0;
    if (w->scaling != SCALING_AUTO || !known || !leave_is_beyond(w, m->pod) ||
        p->facts->pod_of_member[member] != NO_POD || world_pod_by_name(w, m->pod))
        return false;
    return p->facts->first_missing_ordinal < 0 && facts_pod_of(p->facts, &m->id) == NO_POD &&
           !planner_is_named(p, &m->id) && !leave_has_part(p, &m->id) && planner_sees_all(p);
}

static void leave_add(struct record_left *left, size_t *count, const char *pod,
                      const struct node_id *id)
{
    if (*count == NODES_MAX)
        return; /* its volume would be left alone, as any that is not known */
    left[*count].id = *id;
    text_format(left[(*count)++].pod, sizeof left->pod, "%s", pod);
}

void planner_put_left(struct planner *p, struct record *record)
{
    const struct record *old = p->world->record;
    struct record_left *left =
        ARENA_NEW(p->arena, struct record_left, old->left_count + old->member_count);
    record->left = left;
    record->left_count = 0;
    for (size_t i = 0; i < old->left_count; i++)
        if (!record_find_pod(record, old->left[i].pod))
            leave_add(left, &record->left_count, old->left[i].pod, &old->left[i].id);
    for (size_t i = 0; i < old->member_count; i++) {
        const struct record_member *m = &old->members[i];
        if (record_find_pod(record, m->pod) || !leave_is_beyond(p->world, m->pod) ||
            !planner_has_left(p, i))
            continue;
        /* An earlier one of this name is nobody's volume any more. */
        for (size_t k = 0; k < record->left_count; k++)
            if (strcmp(left[k].pod, m->pod) == 0)
                left[k--] = left[--record->left_count];
        leave_add(left, &record->left_count, m->pod, &m->id);
    }
}
