/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is true in a small cluster, from which a world follows: nodes that may be nobody's any more,
 * pods, settings, the record. The tests of the planner describe a truth, derive the world that an
 * agent would have observed, and may apply a plan to the truth and look again.
 *
 * Pod i is muster-<i> on node-<a,b,c> in zone-<a,b,c>, 10.0.<i+1>:6379; its first node id is
 * world_build_id(i), written "@<i>" in cases.
 */
#ifndef MUSTER_TESTS_PLAN_TRUTH_H
#define MUSTER_TESTS_PLAN_TRUTH_H

#include "base/arena.h"
#include "core/plan.h"
#include "core/world.h"

#define TRUTH_NOW_MS INT64_C(1000000)
#define TRUTH_PORT 6379
#define TRUTH_NODE_TIMEOUT_MS 15000
#define TRUTH_DISKLESS_DELAY_S 5
#define TRUTH_KEYS 100
#define TRUTH_SET_UID "7a7a7a7a-0000-4000-8000-000000000002"
#define TRUTH_CLUSTER_UID "5f0c9a1e-0000-4000-8000-000000000001"
#define TRUTH_EDITS_MAX 256

/* A node of the cluster as its servers know it. */
struct truth_node {
    struct node_id id;
    size_t pod;         /* index of the pod whose server it is; NO_POD = nobody's any more */
    unsigned component; /* nodes of one component list each other */
    bool primary;
    struct node_id follows; /* of a replica */
    uint64_t epoch;
    uint32_t flags; /* as the others see it */
    char ip[IP_SIZE];
    bool link; /* the others' link to it is up */
    struct slot_set slots;
};

/* One server's own opinion of one node, other than the truth. */
struct truth_edit {
    size_t viewer; /* pod */
    struct node_id id;
    bool missing;       /* it does not list the node */
    bool untold;        /* it does not know whom the node follows */
    bool changes_flags; /* `flags` instead of the node's */
    uint32_t flags;
    char ip[IP_SIZE]; /* "" = the node's */
    uint64_t epoch;   /* 0 = the node's */
};

struct truth {
    struct arena *arena;
    struct world world;  /* what is not derived */
    struct pod *derived; /* the pods of the last truth_world() */
    struct pod *pods; /* all, also those that the API does not list; servers' settings and ages */
    bool *listed;
    size_t pod_count;
    struct truth_node *nodes; /* room for twice the pods */
    size_t node_count;
    struct truth_edit *edits;
    size_t edit_count;
    struct record record;
    struct record_member *members; /* of record; room for twice the pods */
    struct node_id *forget;        /* of record; likewise */
    struct record_left *left;      /* likewise */
    struct attempts *attempts;
    size_t viewers; /* servers whose view is read: the first so many pods */
};

/* How far the cluster has come. */
enum truth_stage {
    TRUTH_VIRGIN,   /* no record, no server knows anything */
    TRUTH_INTENT,   /* the record says what is to be formed */
    TRUTH_PREPARED, /* settings, epochs and slots are set; nobody knows anybody */
    TRUTH_MET,      /* everybody knows everybody; no replica follows yet */
    TRUTH_PLACED,   /* replicas are in sync */
    TRUTH_RESTORED, /* settings are given back */
    TRUTH_FORMED,   /* the record says so, and there is data */
};

/* `shards` primaries first, then replicas in rounds, each beside another primary than its own. */
struct truth *truth_new(struct arena *arena, size_t pods, size_t shards, enum truth_stage stage);

/* A node of this id: the one there is, or a new one, alone, without an owner. */
struct truth_node *truth_node(struct truth *truth, struct node_id id);

/* The node whose server runs in this pod, or NULL. */
struct truth_node *truth_node_of(struct truth *truth, size_t pod);

/* The pod's server lost its data and its id: its old node is nobody's, the new one is alone. */
void truth_renew(struct truth *truth, size_t pod, struct node_id id);

/* Adds an own opinion; fill in what it returns. */
struct truth_edit *truth_edit(struct truth *truth, size_t viewer, struct node_id id);

/* The world that the agent of the pod `me` observes. In the arena; later changes do not show in it. */
struct world *truth_world(struct truth *truth);

/* Does what the action says, as a server or the API would; false if it would refuse. */
bool truth_apply(struct truth *truth, const struct world *world, const struct action *action);

/*
 * What Redis does by itself before the next turn: the nodes that no server answers for are failed,
 * an orphaned shard elects a replica, of two owners of a slot the higher epoch wins, replicas copy.
 * Returns false if data was overwritten by less data, which a plan must never bring about.
 */
bool truth_settle(struct truth *truth);

#endif
