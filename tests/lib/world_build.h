/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds worlds for tests from one description of the cluster: change `nodes` (what is true in Redis)
 * and `pods` (what Kubernetes and the servers say), then world_build_refresh() derives every
 * server's view, counts and epochs from `nodes`.
 *
 *     struct world_build *b = world_build_formed(&arena, 3, 6);
 *     world_build_lose(b, 4);
 *     plan_next(world_build_refresh(b), &arena, &plan);
 *
 * Pod i is muster-<i> on node-<a,b,c> in zone-<a,b,c> (round robin), 10.0.0.<i+1>:6379, and its
 * server has the id that world_build_id(i) gives. The agent that observes is pod 0's, the leader's.
 */
#ifndef MUSTER_TESTS_LIB_WORLD_BUILD_H
#define MUSTER_TESTS_LIB_WORLD_BUILD_H

#include "base/arena.h"
#include "core/world.h"

#define WORLD_BUILD_NOW_MS INT64_C(1000000)
#define WORLD_BUILD_UID "5f0c9a1e-0000-4000-8000-000000000001"
#define WORLD_BUILD_SET_UID "7a7a7a7a-0000-4000-8000-000000000002"

/* A node of the cluster, as its servers know it: the truth behind the views. One for each pod. */
struct world_build_node {
    struct node_id id;
    unsigned component; /* nodes of one component list each other */
    bool primary;
    size_t primary_node; /* of a replica: index of its primary's node */
    uint64_t epoch;      /* config epoch */
    uint32_t flags;      /* as the others see it: NODE_PFAIL, NODE_FAIL, NODE_NOADDR, ... */
    struct slot_set slots;
    struct open_slot open[4]; /* shown by its own server only */
    size_t open_count;
};

struct world_build {
    struct arena *arena;
    struct world world;
    struct pod *pods; /* world.pods */
    struct world_build_node *nodes;
    size_t count;
    size_t
        views; /* the servers of pods 0..views-1 give their view, the others their figures only */
    struct record record;          /* used once world.record points to it */
    struct record_member *members; /* record.members, by pod */
};

/* Deterministic and different for each index; their order is not that of the indexes. */
struct node_id world_build_id(size_t index);

/* Virgin servers, StatefulSet of as many replicas, no record. Everything lives in `arena`. */
struct world_build *world_build_virgin(struct arena *arena, size_t pods);

/*
 * A formed cluster: pods 0..shards-1 are primaries with even slots, the others replicas in sync,
 * each on another node and in another zone than its primary where that can be; the record says FORMED.
 * Requires 0 < shards <= pods.
 */
struct world_build *world_build_formed(struct arena *arena, size_t shards, size_t pods);

/* The server of `pod` is gone: refuses connections, and the others have agreed that it failed. */
void world_build_lose(struct world_build *build, size_t pod);

/* The observing agent is that of `pod`, which is not the leader: it has asked its own server only. */
void world_build_observe_as(struct world_build *build, size_t pod);

/* Derives all views and what follows from them. Returns the world; call it after every change. */
const struct world *world_build_refresh(struct world_build *build);

#endif
