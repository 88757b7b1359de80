/* SPDX-License-Identifier: Apache-2.0 */
#include "core/facts.h"

#include <stdlib.h>
#include <string.h>

size_t facts_pod_of(const struct facts *facts, const struct node_id *id)
{
    return index_find(&facts->ids, id->hex);
}

const struct shard *facts_shard_of(const struct facts *facts, size_t pod)
{
    for (size_t s = 0; s < facts->shard_count; s++) {
        const struct shard *shard = &facts->shards[s];
        if (shard->primary_pod == pod)
            return shard;
        for (size_t r = 0; r < shard->replica_count; r++)
            if (shard->replica_pods[r] == pod)
                return shard;
    }
    return NULL;
}

const struct record_member *facts_member(const struct world *world, const struct facts *facts,
                                         const struct node_id *id)
{
    size_t at = index_find(&facts->members, id->hex);
    return at == INDEX_NONE ? NULL : &world->record->members[at];
}

/* Another pod has this id in the record and answers with it: this one runs on a copied volume. */
static bool facts_is_copy(const struct world *world, const struct facts *facts, size_t pod)
{
    const struct node_id *id = &world->pods[pod].server.id;
    size_t member = index_find(&facts->members, id->hex);
    size_t owner = member == INDEX_NONE ? NO_POD : facts->pod_of_member[member];
    return owner != NO_POD && owner != pod && world_server_fresh(world, &world->pods[owner]) &&
           node_id_eq(&world->pods[owner].server.id, id);
}

static void facts_gather_pods(const struct world *world, struct arena *arena, struct facts *facts)
{
    bool *fresh = ARENA_NEW(arena, bool, world->pod_count);
    bool *virgin = ARENA_NEW(arena, bool, world->pod_count);
    bool *belongs = ARENA_NEW(arena, bool, world->pod_count);
    index_init(&facts->ids, arena, world->pod_count);
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        fresh[i] = world_server_fresh(world, pod);
        virgin[i] = world_server_virgin(world, pod);
        belongs[i] = fresh[i] && facts->member_of[i] != INDEX_NONE &&
                     node_id_eq(&world->record->members[facts->member_of[i]].id, &pod->server.id);
        if (fresh[i] && node_id_is_set(&pod->server.id) && !facts_is_copy(world, facts, i))
            index_add(&facts->ids, pod->server.id.hex, i);
        /* A Valkey 9 replica shows its primary's open slots as its own. */
        if (fresh[i] && pod->server.primary && pod->server.view && pod->server.view->open_count)
            facts->open_pod = i;
    }
    index_sort(&facts->ids);
    facts->fresh = fresh;
    facts->virgin = virgin;
    facts->belongs = belongs;
}

static void facts_gather_expected(const struct world *world, struct facts *facts)
{
    facts->expected = world->set.known && world->set.replicas > 0 ? (size_t)world->set.replicas : 0;
    facts->first_missing_ordinal = -1;
    size_t next = 0; /* pods are sorted by ordinal */
    for (size_t ordinal = 0; ordinal < facts->expected; ordinal++) {
        while (next < world->pod_count && world->pods[next].ordinal < (int)ordinal)
            next++;
        const struct pod *pod = next < world->pod_count && world->pods[next].ordinal == (int)ordinal
                                    ? &world->pods[next]
                                    : NULL;
        if (pod && facts->fresh[next]) {
            facts->expected_fresh++;
            facts->expected_virgin += facts->virgin[next];
        } else if (facts->first_missing_ordinal < 0) {
            facts->first_missing = pod;
            facts->first_missing_ordinal = (int)ordinal;
        }
    }
}

static void facts_gather_members(const struct world *world, struct arena *arena,
                                 struct facts *facts)
{
    const struct record *record = world->record;
    size_t count = record ? record->member_count : 0;
    struct index names;
    index_init(&names, arena, count);
    index_init(&facts->members, arena, count);
    for (size_t i = 0; i < count; i++) {
        index_add(&names, record->members[i].pod, i);
        index_add(&facts->members, record->members[i].id.hex, i);
    }
    index_sort(&names);
    index_sort(&facts->members);
    size_t *member_of = ARENA_NEW(arena, size_t, world->pod_count);
    size_t *pod_of_member = ARENA_NEW(arena, size_t, count);
    for (size_t i = 0; i < count; i++)
        pod_of_member[i] = NO_POD;
    for (size_t i = 0; i < world->pod_count; i++) {
        member_of[i] = index_find(&names, world->pods[i].name);
        if (member_of[i] != INDEX_NONE)
            pod_of_member[member_of[i]] = i;
    }
    facts->member_of = member_of;
    facts->pod_of_member = pod_of_member;
}

struct vote {
    uint64_t hash;
    uint64_t epoch;
    int rank; /* 2: its view is fresh, 1: it is kept, 0: only its hash is */
    size_t pod;
    bool part; /* it owns slots, or follows somebody */
};

static int vote_cmp(const void *a, const void *b)
{
    const struct vote *va = a;
    const struct vote *vb = b;
    if (va->hash != vb->hash)
        return va->hash < vb->hash ? -1 : 1;
    if (va->rank != vb->rank)
        return va->rank > vb->rank ? -1 : 1;
    return va->pod < vb->pod ? -1 : va->pod > vb->pod;
}

/*
 * Which of two views is believed. Who is new in the cluster is never told of a node that was dead
 * already, though it owns slots (gossip has its receiver greet an unknown node, FACTS 1): the views of
 * those who have no part yet count only between others.
 */
struct rank {
    size_t parts; /* votes of who owns slots, or follows somebody */
    size_t votes;
    uint64_t epoch;
    size_t nodes;
};

static int rank_cmp(const struct rank *a, const struct rank *b)
{
    if (a->parts != b->parts)
        return a->parts > b->parts ? 1 : -1;
    if (a->votes != b->votes)
        return a->votes > b->votes ? 1 : -1;
    if (a->epoch != b->epoch)
        return a->epoch > b->epoch ? 1 : -1;
    return a->nodes > b->nodes ? 1 : a->nodes < b->nodes ? -1 : 0;
}

static bool facts_is_ours(const struct record *record, const struct view *view)
{
    size_t listed = 0;
    for (size_t i = 0; record && i < record->member_count; i++) {
        const struct view_node *n = view_find(view, &record->members[i].id);
        listed += n && !(n->flags & NODE_HANDSHAKE);
    }
    return record && listed > record->member_count / 2;
}

static void facts_gather_reference(const struct world *world, struct arena *arena,
                                   struct facts *facts)
{
    struct vote *votes = ARENA_NEW(arena, struct vote, world->pod_count);
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct server *s = &world->pods[i].server;
        bool fresh = world_view_fresh(world, &world->pods[i]);
        facts->unread += facts->fresh[i] && !fresh;
        if (world_view_stands(world, &world->pods[i]))
            votes[facts->views++] = (struct vote){
                .hash = s->view ? s->view->hash : s->view_hash,
                .epoch = s->current_epoch,
                .rank = (s->view != NULL) + fresh,
                .pod = i,
                .part = !s->primary || (s->view && s->view->myself->slot_count),
            };
    }
    if (facts->views)
        qsort(votes, facts->views, sizeof *votes, vote_cmp);
    struct rank best = {0};
    for (size_t first = 0; first < facts->views;) {
        size_t last = first;
        size_t parts = 0;
        for (; last < facts->views && votes[last].hash == votes[first].hash; last++)
            parts += votes[last].part;
        const struct view *view = world->pods[votes[first].pod].server.view;
        struct rank rank = {parts, last - first, votes[first].epoch, view ? view->node_count : 0};
        if (rank_cmp(&rank, &best) > 0) {
            facts->reference = view;
            facts->reference_votes = rank.votes;
            best = rank;
        }
        first = last;
    }
    if (facts->reference)
        facts->reference_ours = facts_is_ours(world->record, facts->reference);
}

static int shard_cmp(const void *a, const void *b)
{
    const struct shard *sa = a;
    const struct shard *sb = b;
    return (int)sa->first_range.first - (int)sb->first_range.first;
}

struct follower {
    size_t shard;
    size_t pod;
};

static int follower_cmp(const void *a, const void *b)
{
    const struct follower *fa = a;
    const struct follower *fb = b;
    if (fa->shard != fb->shard)
        return fa->shard < fb->shard ? -1 : 1;
    return fa->pod < fb->pod ? -1 : fa->pod > fb->pod;
}

static void facts_gather_replicas(const struct record *record, const struct view *view,
                                  struct arena *arena, const struct facts *facts,
                                  struct shard *shards, size_t shard_count)
{
    struct index primaries;
    index_init(&primaries, arena, shard_count);
    for (size_t s = 0; s < shard_count; s++)
        index_add(&primaries, shards[s].primary.hex, s);
    index_sort(&primaries);
    struct follower *followers = ARENA_NEW(arena, struct follower, view->node_count);
    size_t count = 0;
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        if (!(n->flags & NODE_REPLICA))
            continue;
        struct follower f = {index_find(&primaries, n->primary.hex), facts_pod_of(facts, &n->id)};
        if (f.shard != INDEX_NONE && !(record && record_forgets(record, &n->id)))
            shards[f.shard].replicas_known++;
        if (f.shard != INDEX_NONE && f.pod != NO_POD)
            followers[count++] = f;
    }
    if (count)
        qsort(followers, count, sizeof *followers, follower_cmp);
    size_t *pods = ARENA_NEW(arena, size_t, count);
    for (size_t i = 0; i < count; i++) {
        struct shard *shard = &shards[followers[i].shard];
        pods[i] = followers[i].pod;
        if (!shard->replica_count++)
            shard->replica_pods = &pods[i];
    }
}

static void facts_gather_shards(const struct world *world, struct arena *arena, struct facts *facts)
{
    const struct view *view = facts->reference;
    if (!view)
        return;
    struct shard *shards = ARENA_NEW(arena, struct shard, view->node_count);
    size_t count = 0;
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        if (!(n->flags & NODE_PRIMARY) || !n->slot_count)
            continue;
        facts->slots_assigned += n->slot_count;
        if (!(n->flags & NODE_FAIL))
            facts->slots_covered += n->slot_count;
        shards[count++] = (struct shard){
            .primary = n->id,
            .primary_pod = facts_pod_of(facts, &n->id),
            .slot_count = n->slot_count,
            .first_range = view->ranges[n->range_first],
        };
    }
    if (count)
        qsort(shards, count, sizeof *shards, shard_cmp);
    facts_gather_replicas(world->record, view, arena, facts, shards, count);
    facts->shards = shards;
    facts->shard_count = count;
}

void facts_gather(const struct world *world, struct arena *arena, struct facts *ret_facts)
{
    *ret_facts = (struct facts){.open_pod = NO_POD};
    facts_gather_members(world, arena, ret_facts);
    facts_gather_pods(world, arena, ret_facts);
    facts_gather_expected(world, ret_facts);
    facts_gather_reference(world, arena, ret_facts);
    facts_gather_shards(world, arena, ret_facts);
}
