/* SPDX-License-Identifier: Apache-2.0 */
#include "core/observe.h"

#include <stdlib.h>
#include <string.h>

#define SECOND_MS 1000
#define HURRY_MS 25
/* While slots move: what has arrived makes room for what moves next. */
#define MOVES_MS 100

struct choice {
    const struct world *world;
    struct arena *arena;
    struct observe_ask *asks;
    uint64_t common; /* hash that most servers' views have */
};

struct observe_rhythm observe_own_rhythm(size_t servers, bool watch)
{
    int64_t full_ms = watch || servers <= OBSERVE_OWN_VIEW_MAX ? SECOND_MS : 10 * SECOND_MS;
    return (struct observe_rhythm){
        .beat_ms = 200, .light_ms = SECOND_MS, .full_ms = full_ms, .wide_ms = 5 * SECOND_MS};
}

static int hash_cmp(const void *a, const void *b)
{
    const uint64_t *ha = a;
    const uint64_t *hb = b;
    return *ha < *hb ? -1 : *ha > *hb;
}

/* What most servers said when they were read last; 0 if none was. */
static uint64_t observe_common(const struct choice *c)
{
    uint64_t *hashes = ARENA_NEW(c->arena, uint64_t, c->world->pod_count);
    size_t count = 0;
    for (size_t i = 0; i < c->world->pod_count; i++)
        if (c->world->pods[i].server.view_hash)
            hashes[count++] = c->world->pods[i].server.view_hash;
    if (count)
        qsort(hashes, count, sizeof *hashes, hash_cmp);
    uint64_t common = 0;
    size_t most = 0;
    for (size_t first = 0, last; first < count; first = last) {
        for (last = first + 1; last < count && hashes[last] == hashes[first]; last++)
            ;
        if (last - first > most) {
            most = last - first;
            common = hashes[first];
        }
    }
    return common;
}

static bool observe_shows_sign(const struct choice *c, const struct pod *pod)
{
    const struct server *s = &pod->server;
    bool told_later = pod->told.heard_ms > s->view_ms;
    return !s->view_hash || s->view_outdated || (!s->primary && !s->link_up) ||
           s->view_hash != c->common ||
           (told_later && pod->told.view_hash && pod->told.view_hash != s->view_hash) ||
           pod->told.open_slots;
}

/* Witnesses are spread over the ordinals; one that does not answer is replaced by the next. */
static void observe_witnesses(const struct choice *c)
{
    const struct world *w = c->world;
    for (size_t k = 0; k < OBSERVE_WITNESSES; k++) {
        for (size_t step = 0; step < w->pod_count; step++) {
            size_t i = (k * w->pod_count / OBSERVE_WITNESSES + step) % w->pod_count;
            if (i == w->me || c->asks[i].rhythm.full_ms == SECOND_MS ||
                !world_server_fresh(w, &w->pods[i]))
                continue;
            c->asks[i].rhythm.full_ms = SECOND_MS;
            break;
        }
    }
}

struct unread {
    int64_t view_ms;
    size_t pod;
};

static int unread_cmp(const void *a, const void *b)
{
    const struct unread *ua = a;
    const struct unread *ub = b;
    if (ua->view_ms != ub->view_ms)
        return ua->view_ms < ub->view_ms ? -1 : 1;
    return ua->pod < ub->pod ? -1 : ua->pod > ub->pod;
}

/* At most `max` a second of the servers with a sign (or of all others), the longest unread first. */
static void observe_reads(const struct choice *c, bool with_sign, size_t max)
{
    const struct world *w = c->world;
    struct unread *unread = ARENA_NEW(c->arena, struct unread, w->pod_count);
    size_t count = 0;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        if (i == w->me || c->asks[i].rhythm.full_ms == SECOND_MS || !world_server_fresh(w, pod) ||
            observe_shows_sign(c, pod) != with_sign)
            continue;
        bool lately = pod->server.view_ms && w->now_ms - pod->server.view_ms < SECOND_MS;
        if (!lately)
            unread[count++] = (struct unread){pod->server.view_ms, i};
        else if (max)
            max--;
    }
    if (count)
        qsort(unread, count, sizeof *unread, unread_cmp);
    for (size_t k = 0; k < count && k < max; k++)
        c->asks[unread[k].pod].read = true;
}

static void observe_watch_many(struct choice *c)
{
    size_t round_s = OBSERVE_ROUND_MS / SECOND_MS;
    c->common = observe_common(c);
    observe_witnesses(c);
    observe_reads(c, true, OBSERVE_READS);
    observe_reads(c, false, (c->world->pod_count + round_s - 1) / round_s);
}

/*
 * A plan that acts wants to see what came of it, one that says so every view. Views grow with their
 * number: the pace keeps the bytes of a second at those of fifty servers each 25 ms.
 */
static int64_t observe_pace_ms(size_t count)
{
    size_t pace_ms = count * count / 100;
    return pace_ms < HURRY_MS ? HURRY_MS : pace_ms > SECOND_MS ? SECOND_MS : (int64_t)pace_ms;
}

static void observe_hurry(const struct choice *c, const struct plan *plan, bool few)
{
    size_t count = c->world->pod_count;
    int64_t pace_ms = observe_pace_ms(count);
    bool all = plan->wants_views || (few && plan->action_count);
    for (size_t i = 0; all && i < count; i++)
        c->asks[i].hurry_ms = pace_ms;
    for (size_t i = 0; !all && few && plan->scale.slots && i < count; i++)
        c->asks[i].hurry_ms = pace_ms < MOVES_MS ? MOVES_MS : pace_ms;
    for (size_t k = 0; k < plan->action_count; k++)
        if (plan->actions[k].pod != NO_POD)
            c->asks[plan->actions[k].pod].hurry_ms = pace_ms;
}

/* The own view tells the mates: nodes of the same shard, at addresses of pods. */
static void observe_mates(const struct choice *c)
{
    const struct world *w = c->world;
    const struct view *view = w->me == NO_POD ? NULL : w->pods[w->me].server.view;
    if (!view)
        return;
    const struct view_node *me = view->myself;
    const struct node_id *shard = me->flags & NODE_REPLICA ? &me->primary : &me->id;
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        if (n == me || (!node_id_eq(&n->id, shard) && !node_id_eq(&n->primary, shard)))
            continue;
        for (size_t pod = 0; pod < w->pod_count; pod++)
            if (n->ip[0] && n->port == w->pods[pod].port && strcmp(n->ip, w->pods[pod].ip) == 0)
                c->asks[pod].dial = true;
    }
}

const struct observe_ask *observe_choose(const struct world *world, const struct plan *plan,
                                         bool watch, size_t sweep_max, struct arena *arena)
{
    size_t count = world->pod_count;
    bool few = count <= sweep_max;
    struct choice c = {
        .world = world, .arena = arena, .asks = ARENA_NEW(arena, struct observe_ask, count)};
    for (size_t i = 0; i < count; i++) {
        struct observe_ask *ask = &c.asks[i];
        ask->dial = watch && world->pods[i].ip[0];
        ask->rhythm = (struct observe_rhythm){.light_ms = SECOND_MS};
        if (watch)
            ask->rhythm.full_ms = few ? SECOND_MS : OBSERVE_ROUND_MS;
    }
    if (!watch)
        observe_mates(&c);
    else if (!few)
        observe_watch_many(&c);
    if (watch)
        observe_hurry(&c, plan, few);
    if (world->me != NO_POD) {
        struct observe_ask *own = &c.asks[world->me];
        const struct server *s = &world->pods[world->me].server;
        own->dial = true;
        own->rhythm = observe_own_rhythm(count, watch);
        own->read = s->view_outdated;
        if (plan->action_count)
            own->hurry_ms = HURRY_MS;
    }
    return c.asks;
}
