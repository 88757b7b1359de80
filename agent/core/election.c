/* SPDX-License-Identifier: Apache-2.0 */
#include "core/election.h"

#include <string.h>

#include "base/text.h"
#include "core/failover.h"

/* The pod that the record has for the node, whoever answers there; or NULL. */
static const struct pod *recorded_pod(const struct world *w, const struct facts *facts,
                                      const struct node_id *id)
{
    size_t member = index_find(&facts->members, id->hex);
    size_t at = member == INDEX_NONE ? NO_POD : facts->pod_of_member[member];
    return at == NO_POD ? NULL : &w->pods[at];
}

const struct pod *election_find_held(const struct world *world, const struct facts *facts,
                                     const struct node_id *id)
{
    const struct pod *pod = recorded_pod(world, facts, id);
    const struct gate_word *word = pod ? world_gate_word(world, pod) : NULL;
    bool refused = pod && pod->server.reach == REACH_REFUSED &&
                   world->now_ms - pod->server.asked_ms <= WORLD_FRESH_MS;
    if (world->guards_off & GUARD_FENCE && pod && pod->server.reach == REACH_TIMEOUT)
        return pod;
    return word && !word->data && refused ? pod : NULL;
}

/* Nobody brings back what it had. */
static bool is_lost(const struct world *w, const struct facts *facts, const struct node_id *primary)
{
    return (w->record && record_forgets(w->record, primary)) ||
           election_find_held(w, facts, primary);
}

/* Copies from this primary, and is not far behind it. */
static bool has_all(const struct pod *replica, const struct pod *primary)
{
    const struct server *r = &replica->server;
    const struct server *p = &primary->server;
    return p->primary && r->link_up && strcmp(r->primary_ip, primary->ip) == 0 &&
           r->primary_port == primary->port && p->offset - r->offset <= FAILOVER_LAG_MAX;
}

void election_note(struct own_copy *copy, const struct world *world)
{
    const struct pod *me = world->me == NO_POD ? NULL : &world->pods[world->me];
    if (!me || !world_view_fresh(world, me))
        return;
    const struct server *s = &me->server;
    const struct view_node *self = s->view->myself;
    const struct view_node *n = s->primary ? self : view_find(s->view, &self->primary);
    if (!node_id_eq(&copy->id, &s->id))
        *copy = (struct own_copy){.id = s->id};
    /* Role and view are not of one moment: both name the same server. */
    if (s->primary
            ? self->slot_count > 0
            : n && s->link_up && n->port == s->primary_port && strcmp(n->ip, s->primary_ip) == 0)
        copy->of = n->id;
}

bool election_is_strange(const struct world *world, const struct facts *facts, size_t at)
{
    const struct server *s = &world->pods[at].server;
    if (s->primary || s->link_up || !s->view)
        return false;
    if (at == world->me && node_id_eq(&world->copy.id, &s->id) && node_id_is_set(&world->copy.of) &&
        !node_id_eq(&world->copy.of, &s->view->myself->primary))
        return true; /* whoever answers: the others' servers are not asked by everybody */
    for (size_t i = 0; s->replid[0] && i < facts->shard_count; i++) {
        const struct shard *shard = &facts->shards[i];
        if (shard->primary_pod != NO_POD &&
            !node_id_eq(&shard->primary, &s->view->myself->primary) &&
            strcmp(world->pods[shard->primary_pod].server.replid, s->replid) == 0)
            return true;
    }
    return false;
}

bool election_allows(const struct world *world, const struct facts *facts, size_t at)
{
    const struct pod *pod = &world->pods[at];
    const struct server *s = &pod->server;
    if (s->primary)
        return s->view && s->view->myself->slot_count;
    if (!s->view || election_is_strange(world, facts, at))
        return false;
    const struct node_id *primary = &s->view->myself->primary;
    size_t primary_at = facts_pod_of(facts, primary);
    if (!world->set.volumes || world->guards_off & GUARD_KEPT) /* nobody stops with more */
        return s->link_up || (s->keys > 0 && (primary_at == NO_POD || world->set.volumes));
    if (primary_at != NO_POD)
        return has_all(pod, &world->pods[primary_at]);
    return s->keys > 0 && is_lost(world, facts, primary);
}

bool election_is_open(const struct world *world, const struct facts *facts, size_t at,
                      size_t primary, int64_t since_ms)
{
    const struct server *s = &world->pods[at].server;
    const struct view *view = world->pods[primary].server.view;
    const struct view_node *n = view && facts->fresh[at] ? view_find(view, &s->id) : NULL;
    return n && node_id_eq(&n->primary, &world->pods[primary].server.id) && !s->primary &&
           (s->no_failover != 1 || s->settings_ms < since_ms) &&
           !has_all(&world->pods[at], &world->pods[primary]);
}

/*
 * A server that is not heard may run all the same; unless it is failing for its primary too, nothing
 * listens there, or it just loads what it had: then it starts, or has started, as one that is not elected.
 */
static bool may_run(const struct world *w, const struct facts *facts, const struct view_node *n,
                    const struct pod **ret_pod)
{
    const struct pod *pod = recorded_pod(w, facts, &n->id);
    *ret_pod = pod;
    if (n->flags & (NODE_FAIL | NODE_NOADDR | NODE_HANDSHAKE))
        return false;
    if (!pod || !pod->ip[0]) /* there is none, by the API's word, which may be old */
        return !world_api_fresh(w) || (n->connected && !(n->flags & NODE_PFAIL));
    return pod->server.reach != REACH_REFUSED && pod->server.reach != REACH_LOADING;
}

void election_look(const struct world *world, const struct facts *facts, size_t primary,
                   int64_t since_ms, struct election_heirs *ret_heirs)
{
    const struct view *view = world->pods[primary].server.view;
    const struct node_id *id = &world->pods[primary].server.id;
    *ret_heirs = (struct election_heirs){0};
    for (size_t i = 0; view && i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        if (!node_id_eq(&n->primary, id))
            continue;
        size_t at = facts_pod_of(facts, &n->id);
        const struct pod *pod;
        if (at == NO_POD) {
            if (may_run(world, facts, n, &pod))
                text_format(ret_heirs->unheard, sizeof ret_heirs->unheard, "%s",
                            pod ? pod->name : n->id.hex);
            continue;
        }
        pod = &world->pods[at];
        if (election_is_open(world, facts, at, primary, since_ms))
            ret_heirs->open = pod;
        else if (!pod->server.primary && !has_all(pod, &world->pods[primary]))
            ret_heirs->told = pod;
    }
}
