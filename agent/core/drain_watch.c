/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of the own server's drain from turn to turn. */
#include "core/drain.h"

void drain_look(struct drain_watch *watch, const struct world *world)
{
    if (!watch->since_ms) {
        *watch = (struct drain_watch){0};
        return;
    }
    if (!watch->seen_ms)
        watch->seen_ms = world->now_ms;
    const struct pod *pod = world->me == NO_POD ? NULL : &world->pods[world->me];
    if (!pod || !world_view_fresh(world, pod))
        return;
    const struct server *s = &pod->server;
    if (s->primary && s->view->myself->slot_count) {
        watch->owner = true;
        watch->epoch = s->view->myself->epoch;
        watch->slots = s->view->myself->slot_count;
        watch->handed_ms = 0;
    } else if (watch->owner && !s->primary && !watch->handed_ms) {
        watch->handed_ms = world->now_ms;
    }
}

void drain_note(struct drain_watch *watch, const struct drain_verdict *verdict, int64_t now_ms)
{
    if (verdict->tells && !watch->tells_ms)
        watch->tells_ms = now_ms;
    if (verdict->step == DRAIN_LEAVE)
        watch->told_ms = now_ms;
}
