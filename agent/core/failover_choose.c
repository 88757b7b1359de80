/* SPDX-License-Identifier: Apache-2.0 */
/* Of the replicas that may take over from a primary that lives (core/failover.c), the best. */
#include <string.h>

#include "base/text.h"
#include "core/failover.h"

struct choice {
    const struct world *world;
    const struct facts *facts;
    const struct pod *p; /* the primary */
};

unsigned failover_count_beside(const struct world *world, const struct facts *facts,
                               const struct pod *primary, const struct pod *heir)
{
    unsigned zone = 0;
    unsigned node = 0;
    if (world->placement == PLACE_OFF)
        return 0;
    for (size_t s = 0; s < facts->shard_count; s++) {
        size_t at = facts->shards[s].primary_pod;
        const struct pod *other = at == NO_POD ? primary : &world->pods[at];
        if (other == primary)
            continue;
        zone += heir->zone[0] && strcmp(heir->zone, other->zone) == 0;
        node += heir->node[0] && strcmp(heir->node, other->node) == 0;
    }
    return zone * NODES_MAX + node;
}

/* It has all but what a network carries within a moment. */
static bool is_caught_up(const struct choice *c, const struct pod *pod)
{
    return c->p->server.offset - pod->server.offset <= FAILOVER_LAG_NONE;
}

/*
 * What a replica lacks it gets while the writes are paused: only between those that lack next to
 * nothing does it matter where they run, and only to whoever wants roles placed.
 */
static bool is_better(const struct choice *c, const struct pod *a, const struct pod *b)
{
    bool caught_up = is_caught_up(c, a);
    if (a->updated != b->updated)
        return a->updated;
    if (a->server.version != b->server.version)
        return a->server.version > b->server.version;
    if (caught_up != is_caught_up(c, b))
        return caught_up;
    unsigned beside_a = caught_up ? failover_count_beside(c->world, c->facts, c->p, a) : 0;
    unsigned beside_b = caught_up ? failover_count_beside(c->world, c->facts, c->p, b) : 0;
    if (beside_a != beside_b)
        return beside_a < beside_b;
    if (a->server.offset != b->server.offset)
        return a->server.offset > b->server.offset;
    return a->ordinal < b->ordinal;
}

size_t failover_choose(const struct world *world, const struct facts *facts, size_t primary,
                       char ret_why[FAILOVER_WHY_SIZE])
{
    const struct view *view = world->pods[primary].server.view;
    const struct choice c = {.world = world, .facts = facts, .p = &world->pods[primary]};
    size_t best = NO_POD;
    bool answers = false; /* a reason against one that does is nearer than any silence */
    text_format(ret_why, FAILOVER_WHY_SIZE, "%s has no replica", world->pods[primary].name);
    for (size_t i = 0; view && i < view->node_count; i++) {
        char why[FAILOVER_WHY_SIZE];
        if (!node_id_eq(&view->nodes[i].primary, &world->pods[primary].server.id))
            continue;
        size_t at = facts_pod_of(facts, &view->nodes[i].id);
        if (at == NO_POD) {
            if (!answers)
                text_format(ret_why, FAILOVER_WHY_SIZE, "its replica %.8s does not answer",
                            view->nodes[i].id.hex);
            continue;
        }
        answers = true;
        if (!failover_may(world, facts, at, primary, why)) {
            if (best == NO_POD)
                memcpy(ret_why, why, sizeof why);
        } else if (best == NO_POD || is_better(&c, &world->pods[at], &world->pods[best])) {
            best = at;
        }
    }
    return best;
}
