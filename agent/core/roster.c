/* SPDX-License-Identifier: Apache-2.0 */
#include "core/roster.h"

#include "core/index.h"

/* The pods whose server is not fresh, by the id that it last had and by address. */
struct absent {
    struct index by_id;
    struct index by_ip;
};

static void absent_gather(const struct world *world, const struct facts *facts, struct arena *arena,
                          struct absent *ret_absent)
{
    index_init(&ret_absent->by_id, arena, world->pod_count);
    index_init(&ret_absent->by_ip, arena, world->pod_count);
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        if (facts->fresh[i])
            continue;
        if (node_id_is_set(&pod->server.id))
            index_add(&ret_absent->by_id, pod->server.id.hex, i);
        if (pod->ip[0])
            index_add(&ret_absent->by_ip, pod->ip, i);
    }
    index_sort(&ret_absent->by_id);
    index_sort(&ret_absent->by_ip);
}

static size_t roster_find_pod(const struct world *world, const struct facts *facts,
                              const struct absent *absent, const struct view_node *node)
{
    size_t pod = facts_pod_of(facts, &node->id);
    if (pod != NO_POD)
        return pod;
    const struct record_member *member = facts_member(world, facts, &node->id);
    if (member) {
        pod = facts->pod_of_member[member - world->record->members];
        return pod != NO_POD && !facts->fresh[pod] ? pod : NO_POD;
    }
    pod = index_find(&absent->by_id, node->id.hex);
    return pod != NO_POD || !node->ip[0] ? pod : index_find(&absent->by_ip, node->ip);
}

static enum held roster_is_up(const struct world *world, const struct facts *facts, size_t i,
                              const struct view_node *node)
{
    const struct server *s = &world->pods[i].server;
    if (facts->fresh[i])
        return HELD_YES;
    bool asked = s->reach != REACH_UNKNOWN && s->reach != REACH_OK;
    if (asked && !world->settling && (world->leader || i == world->me))
        return HELD_NO;
    return node && (node->flags & NODE_FAIL) ? HELD_NO : HELD_UNKNOWN;
}

void roster_gather(const struct world *world, const struct facts *facts, struct arena *arena,
                   struct roster *ret_roster)
{
    size_t node_count = facts->reference ? facts->reference->node_count : 0;
    size_t *pod_of_node = ARENA_NEW(arena, size_t, node_count);
    const struct view_node **node_of_pod =
        ARENA_NEW(arena, const struct view_node *, world->pod_count);
    enum held *up = ARENA_NEW(arena, enum held, world->pod_count);
    struct absent absent;
    absent_gather(world, facts, arena, &absent);

    for (size_t i = 0; i < node_count; i++) {
        const struct view_node *node = &facts->reference->nodes[i];
        size_t pod = roster_find_pod(world, facts, &absent, node);
        /* Two ids of one pod, as after a lost volume: the first that resolves stays. */
        if (pod != NO_POD && node_of_pod[pod])
            pod = NO_POD;
        pod_of_node[i] = pod;
        if (pod != NO_POD)
            node_of_pod[pod] = node;
    }
    *ret_roster = (struct roster){pod_of_node, node_of_pod, up, true};
    for (size_t i = 0; i < world->pod_count; i++) {
        up[i] = roster_is_up(world, facts, i, node_of_pod[i]);
        if (up[i] == HELD_UNKNOWN)
            ret_roster->complete = false;
    }
}

enum held roster_in_sync(const struct world *world, const struct facts *facts,
                         const struct roster *roster, size_t pod)
{
    const struct server *s = &world->pods[pod].server;
    if (!facts->fresh[pod])
        return roster->up[pod] == HELD_UNKNOWN ? HELD_UNKNOWN : HELD_NO;
    return !s->primary && s->link_up ? HELD_YES : HELD_NO;
}
