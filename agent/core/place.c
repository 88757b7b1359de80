/* SPDX-License-Identifier: Apache-2.0 */
#include "core/place.h"

#include <string.h>

#include "base/text.h"

uint64_t place_seen(const struct world *world, const struct facts *facts)
{
    uint64_t seen = TEXT_HASH_SEED;
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        seen = text_hash(seen, pod->uid, strlen(pod->uid));
        seen = text_hash(seen, pod->server.run_id, strlen(pod->server.run_id));
    }
    return text_hash(seen, &facts->reference->hash, sizeof facts->reference->hash);
}

bool place_may_hurry(const struct place_watch *watch, int64_t now_ms)
{
    int64_t since_ms = now_ms - watch->hurry_ms;
    return !watch->hurry_ms || since_ms < PLACE_HURRY_MS || since_ms >= PLACE_CALM_MS;
}

int64_t place_interval_ms(const struct place_watch *watch, int64_t interval_ms)
{
    if (!watch->fruitless)
        return interval_ms;
    unsigned doubled =
        watch->fruitless < PLACE_RETRY_DOUBLED_MAX ? watch->fruitless : PLACE_RETRY_DOUBLED_MAX;
    return (interval_ms > PLACE_RETRY_MS ? interval_ms : PLACE_RETRY_MS) << doubled;
}

bool place_goes_on(const struct place_watch *watch, const struct place_found *found)
{
    return !watch->fruitless && (found->uneven || watch->half);
}

/* It copies what it was told to, all of it. */
static bool place_copies(const struct world *world, const struct pod *pod,
                         const struct node_id *primary)
{
    return world_view_fresh(world, pod) && pod->server.link_up &&
           node_id_eq(&pod->server.view->myself->primary, primary);
}

/* The last order is over once its primary is none any more, whoever won, or its copy is made. */
static void place_look(struct place_watch *watch, const struct world *world)
{
    for (size_t i = 0; node_id_is_set(&watch->copy) && i < world->pod_count; i++)
        if (node_id_eq(&world->pods[i].server.id, &watch->copy) &&
            place_copies(world, &world->pods[i], &watch->to)) {
            watch->copy = (struct node_id){""};
            watch->fruitless = 0;
        }
    for (size_t i = 0; node_id_is_set(&watch->from) && i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        if (!node_id_eq(&pod->server.id, &watch->from) || !world_server_fresh(world, pod) ||
            pod->server.primary)
            continue;
        watch->from = (struct node_id){""};
        watch->fruitless = 0;
    }
}

void place_note(struct place_watch *watch, const struct world *world, const struct plan *plan)
{
    bool leads = world->leader || strcmp(world->leader_pod, world->my_pod) == 0;
    int64_t now_ms = world->now_ms;
    if (!leads) {
        *watch = (struct place_watch){0};
        return;
    }
    place_look(watch, world);
    if (plan->place.found.look)
        watch->found = plan->place.found;
    if (!watch->moved_ms)
        watch->moved_ms = now_ms;
    if (!plan->place.quiet || plan->place.seen != watch->seen) {
        watch->quiet_ms = plan->place.quiet ? now_ms : 0;
        watch->wanted_ms = 0;
    }
    watch->seen = plan->place.seen;
    if (!plan->place.asks)
        return;
    if (!watch->wanted_ms)
        watch->wanted_ms = now_ms;
    if (!watch->hurry_ms || now_ms - watch->hurry_ms >= PLACE_CALM_MS)
        watch->hurry_ms = now_ms;
}

bool place_may_send(const struct world *world, const struct action *action, bool drains,
                    int64_t now_ms)
{
    if (!action->planned_ms || world->guards_off & GUARD_PLACE)
        return true;
    return !drains && now_ms - action->planned_ms <= PLACE_SEND_MS;
}

void place_leave(struct place_watch *watch, int64_t now_ms)
{
    watch->moved_ms = now_ms;
    watch->half = 0;
}

void place_ordered(struct place_watch *watch, const struct action *action, int64_t now_ms)
{
    watch->moved_ms = now_ms;
    watch->wanted_ms = 0;
    watch->hurry_ms = 0;
    watch->from = watch->copy = watch->to = (struct node_id){""};
    if (action->kind == ACTION_REPLICATE) {
        watch->copy = action->node;
        watch->to = action->subject;
    } else {
        watch->from = action->subject;
    }
    bool more = watch->found.more && watch->half + 1 < PLACE_CHANGE_MOVES;
    watch->half = more ? watch->half + 1 : 0;
    watch->fruitless++;
}
