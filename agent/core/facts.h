/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts: the world digested once per turn into what the rules ask for. Flat and named; rules match
 * on facts only. Everything lives in the turn's arena.
 */
#ifndef MUSTER_CORE_FACTS_H
#define MUSTER_CORE_FACTS_H

#include "base/arena.h"
#include "core/index.h"
#include "core/world.h"

/* A shard as the reference view shows it: a primary with slots, and its replicas. */
struct shard {
    struct node_id primary;
    size_t primary_pod;         /* NO_POD if the node is not one of our pods' servers */
    const size_t *replica_pods; /* indexes into world.pods, sorted */
    size_t replica_count;
    unsigned
        replicas_known; /* also those that do not answer now, but none that is to be forgotten */
    unsigned slot_count;
    struct slot_range first_range; /* lowest, for names and order */
};

struct facts {
    struct index ids;        /* node id -> pod index, of fresh servers; copied volumes left out */
    struct index members;    /* node id -> index in record->members; empty without a record */
    const size_t *member_of; /* by pod index: its entry in record->members by name, or NO_POD */
    const size_t *pod_of_member; /* by index in record->members: the pod of that name, or NO_POD */

    /* By pod index. */
    const bool *fresh;   /* world_server_fresh */
    const bool *virgin;  /* world_server_virgin */
    const bool *belongs; /* fresh, and answers with the id that the record has for the pod */

    size_t expected;       /* spec.replicas */
    size_t expected_fresh; /* of the expected ordinals: pods whose server is fresh */
    size_t expected_virgin;
    const struct pod
        *first_missing; /* lowest expected pod that is not fresh; NULL if none or not in the list */
    int first_missing_ordinal; /* -1 if none is missing */

    /* The view held by most fresh servers; among equals the one with the highest epoch. */
    const struct view *reference; /* the lowest fresh one of them; NULL = none at hand */
    size_t reference_votes;       /* views that stand and have the same hash */
    bool reference_ours;          /* it lists most members of the record: not a stranger's own */
    size_t views;                 /* views that stand */
    size_t unread;                /* fresh servers whose view is not fresh */
    unsigned slots_assigned;      /* in the reference, to whomever */
    unsigned slots_covered;       /* by nodes that are not failing */
    size_t open_pod;              /* a fresh server that shows a half-moved slot; NO_POD = none */

    const struct shard *shards; /* of the reference, by lowest slot */
    size_t shard_count;
};

void facts_gather(const struct world *world, struct arena *arena, struct facts *ret_facts);

/* The pod whose server answers with this id, or NO_POD. */
size_t facts_pod_of(const struct facts *facts, const struct node_id *id);

/* The shard whose primary or replica this pod's server is, by the reference; NULL = none. Not of NO_POD. */
const struct shard *facts_shard_of(const struct facts *facts, size_t pod);

/* The record's member with this id, or NULL. */
const struct record_member *facts_member(const struct world *world, const struct facts *facts,
                                         const struct node_id *id);

#endif
