/* SPDX-License-Identifier: Apache-2.0 */
#include "core/world.h"

#include <string.h>

/* Of maxmemory: where it begins to be near, and where that ends. */
#define MEMORY_NEAR_PERCENT 90
#define MEMORY_FAR_PERCENT 85

int64_t server_counted_memory(const struct server *server)
{
    int64_t counted = server->memory_bytes - server->memory_uncounted;
    return counted > 0 ? counted : 0;
}

bool server_nears_limit(const struct server *server)
{
    int percent = server->near_limit ? MEMORY_FAR_PERCENT : MEMORY_NEAR_PERCENT;
    return server->refuses_full && server->memory_max > 0 &&
           server_counted_memory(server) >=
               server->memory_max - server->memory_max / 100 * (100 - percent);
}

const struct pod *world_pod_by_ordinal(const struct world *world, int ordinal)
{
    size_t low = 0;
    size_t high = world->pod_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (world->pods[mid].ordinal == ordinal)
            return &world->pods[mid];
        if (world->pods[mid].ordinal < ordinal)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const struct pod *world_pod_by_name(const struct world *world, const char *name)
{
    for (size_t i = 0; i < world->pod_count; i++)
        if (strcmp(world->pods[i].name, name) == 0)
            return &world->pods[i];
    return NULL;
}

bool world_server_fresh(const struct world *world, const struct pod *pod)
{
    const struct server *s = &pod->server;
    return s->reach == REACH_OK && s->seen_ms && world->now_ms - s->seen_ms <= WORLD_FRESH_MS;
}

bool world_view_fresh(const struct world *world, const struct pod *pod)
{
    const struct server *s = &pod->server;
    return world_server_fresh(world, pod) && s->view &&
           world->now_ms - s->view_ms <= WORLD_FRESH_MS;
}

bool world_view_stands(const struct world *world, const struct pod *pod)
{
    const struct server *s = &pod->server;
    if (world_view_fresh(world, pod))
        return true;
    bool contradicted = pod->told.heard_ms > s->view_ms && pod->told.view_hash &&
                        pod->told.view_hash != s->view_hash;
    return world_server_fresh(world, pod) && s->view_hash && !s->view_outdated && !contradicted &&
           world->now_ms - s->view_ms <= WORLD_STANDS_MS;
}

const char *gate_word_text(const struct gate_word *word)
{
    if (word->data)
        return "waits at its gate with its data";
    return word->owner ? "waits at its gate without its data" : "waits at its gate";
}

const struct gate_word *world_gate_word(const struct world *world, const struct pod *pod)
{
    const struct told *told = &pod->told;
    bool lately = told->heard_ms && world->now_ms - told->heard_ms <= WORLD_TOLD_FRESH_MS;
    bool answered_since = pod->server.seen_ms >= told->heard_ms;
    return lately && told->gate.held && !answered_since ? &told->gate : NULL;
}

bool world_api_fresh(const struct world *world)
{
    return world->set.known && world->api_seen_ms &&
           world->now_ms - world->api_seen_ms <= WORLD_API_FRESH_MS;
}

bool world_server_virgin(const struct world *world, const struct pod *pod)
{
    const struct server *s = &pod->server;
    return world_server_fresh(world, pod) && s->primary && s->known_nodes == 1 &&
           s->slots_assigned == 0 && s->keys == 0;
}
