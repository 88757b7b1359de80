/* SPDX-License-Identifier: Apache-2.0 */
#include "core/place.h"

#include <string.h>

void place_note(struct place_watch *watch, const struct world *world, const struct plan *plan)
{
    bool leads = world->leader || strcmp(world->leader_pod, world->my_pod) == 0;
    if (!leads) {
        *watch = (struct place_watch){0};
        return;
    }
    if (!watch->moved_ms)
        watch->moved_ms = world->now_ms;
    if (!plan->place.quiet || plan->place.seen != watch->seen)
        watch->quiet_ms = plan->place.quiet ? world->now_ms : 0;
    watch->seen = plan->place.seen;
    watch->key = plan->place.key ? plan->place.key : watch->key;
}

bool place_ordered(struct place_watch *watch, const struct action *action, int64_t now_ms)
{
    if (!watch->key || action_key(action) != watch->key)
        return false;
    watch->moved_ms = now_ms;
    watch->key = 0; /* the next order there may be another rule's */
    return true;
}
