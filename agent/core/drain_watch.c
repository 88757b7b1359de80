/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of the own server's drain from turn to turn, and what a stop leaves on its disk. */
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

bool drain_is_on_disk(const struct world *world, const struct pod *pod)
{
    const struct server *s = &pod->server;
    if (!world->set.volumes)
        return false; /* an emptyDir goes with the pod, whose end the API may not have told yet */
    if (s->aof == 1)
        return s->aof_written;
    return s->aof == 0 && s->rdb_at_end == 1 && s->rdb_written;
}
