/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another number of pods would mean: from a status, the target (core/target.h) and the moves
 * (core/moves.h) with what they carry, for people and scripts: `muster plan --replicas N`. An
 * estimate that changes nothing: keys and bytes are taken to be spread evenly over a shard's slots.
 */
#ifndef MUSTER_CORE_SCALING_H
#define MUSTER_CORE_SCALING_H

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "core/moves.h"
#include "core/status.h"
#include "core/target.h"

/* A move between pods, of slots. */
struct scaling_move {
    const char *from; /* the pods that are to be the primaries then */
    const char *to;
    const struct move *move;
    int64_t keys; /* about, or STATUS_NUMBER_UNKNOWN */
    int64_t bytes;
};

/* A primary that stops and a replica that stays. */
struct scaling_hand_over {
    const char *from;
    const char *to;
    int64_t slots;
};

/* A shard as it would be. */
struct scaling_shard {
    const char *primary;
    int64_t slots;
    unsigned replicas;
    int64_t memory_bytes; /* about, or STATUS_NUMBER_UNKNOWN */
    int64_t memory_max;   /* 0 = no limit, or STATUS_NUMBER_UNKNOWN */
    enum held fits;
};

/* A pod that would have to copy a shard's data first. */
struct scaling_copy {
    const char *pod;
    const char *primary;
};

/* A shard of which no copy stays: unless its slots are moved first, nobody serves them then. */
struct scaling_unserved {
    const char *slots; /* "0-5460" */
    int64_t slot_count;
    const char *primary; /* today's */
};

#define SCALING_WARNINGS_MAX 5

struct scaling {
    int64_t pods_now; /* wanted today */
    int64_t pods_then;
    int64_t replicas_per_primary;
    size_t shards_now;

    const struct scaling_shard *shards;
    size_t shard_count;
    const struct scaling_hand_over *hand_overs;
    size_t hand_over_count;
    const struct scaling_move *moves;
    size_t move_count;
    const struct scaling_copy *copies;
    size_t copy_count;

    const struct scaling_unserved *unserved;
    size_t unserved_count;

    int64_t slots; /* that move, */
    int64_t keys;  /* with about as many keys */
    int64_t bytes;
    enum held fits; /* every shard into its primary's maxmemory */
    const char *warnings[SCALING_WARNINGS_MAX];
    size_t warning_count;
};

/*
 * E_INVALID with a sentence if it cannot be told: nothing is formed, a shard's primary is on no known
 * pod, the agent that was asked does not say how many replicas a primary has, or says more than
 * NODES_MAX pods could be. Everything lives in `arena` or is borrowed from the status.
 */
must_check int scaling_find(const struct status *status, unsigned replicas, struct arena *arena,
                            struct scaling *ret_scaling, struct err *err);

#endif
