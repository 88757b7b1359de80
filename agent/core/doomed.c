/* SPDX-License-Identifier: Apache-2.0 */
#include "core/doomed.h"

/* As long as a watch may have fallen silent without anybody having noticed. */
#define DOOMED_UNTOLD_MS (WORLD_API_FRESH_MS + 5000)

bool doomed_is_unclear(const struct world *world, const struct pod *pod, int64_t lasts_ms)
{
    if (world->scaling != SCALING_AUTO || !world->moves.carries || world->arbiter != ARBITER_LEASE)
        return false;
    bool untold = !pod->terminating && lasts_ms < DOOMED_UNTOLD_MS;
    return world->api_broken || !world_api_fresh(world) || untold;
}

bool doomed_is_emptied(const struct world *world, const struct pod *pod)
{
    const struct stateful_set *set = &world->set;
    return world->scaling == SCALING_AUTO && world->moves.carries &&
           world->arbiter == ARBITER_LEASE && world_api_fresh(world) && set->known &&
           !set->absent && set->replicas > 0 && pod->ordinal >= set->replicas;
}

bool doomed_is_named(const struct world *world, const struct pod *pod)
{
    const struct record *record = world->record;
    if (!world->moves.carries)
        return false;
    if (world->scaling == SCALING_AUTO && pod->server.primary && pod->server.view &&
        pod->server.view->open_count)
        return true;
    for (size_t i = 0; record && i < record->move_count; i++)
        if (node_id_eq(&record->moves[i].from, &pod->server.id) ||
            node_id_eq(&record->moves[i].to, &pod->server.id))
            return true;
    return false;
}
