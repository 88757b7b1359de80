/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target of scaling (DESIGN 5.7): from the number of pods that the StatefulSet is to have, how
 * many shards they make, which of today's go on, which pods stay and who serves what.
 *
 * A shard goes on only where a copy of it stays: its primary, or a replica that the slots are handed
 * over to, which is instant. Of those, as many as are wanted, the ones that move the least data:
 * slots away from the others, and copies that a shard then lacks. Who stays with a shard that goes on
 * keeps its copy; only the others get a new part. Asked again of its own result it changes nothing,
 * and it may be asked at any moment of the way there.
 */
#ifndef MUSTER_CORE_TARGET_H
#define MUSTER_CORE_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "core/placement.h"

#define TARGET_NONE SIZE_MAX

/* Pods with ordinals below the wanted number stay. */
struct target_pod {
    int ordinal;
    struct place place;
    size_t shard; /* today's, of which it has a copy; TARGET_NONE = of none */
    bool primary; /* of that shard */
};

struct target_ask {
    unsigned replicas; /* the StatefulSet's, as wanted */
    unsigned replicas_per_primary;
    unsigned slack; /* percent: without a shard that comes or goes, or that lacks more of the even
                       share than this, all keep their slots; 0 = none may lack any */
    const struct target_pod *pods; /* that there are */
    size_t pod_count;
    const unsigned *slots; /* by today's shard; 0 = a primary without slots that has followers */
    size_t shard_count;
};

struct target_shard {
    size_t was;      /* today's shard, or TARGET_NONE: a new one */
    unsigned slots;  /* that it is to have */
    size_t primary;  /* pod */
    bool handed;     /* today's primary leaves: the slots are handed over first */
    unsigned copies; /* pods that serve it, its primary too */
};

/* What a pod is to do. */
struct target_part {
    bool stays;
    size_t shard; /* of the target; TARGET_NONE for one that leaves */
    bool primary;
    bool fills; /* it has no copy of this shard yet */
};

struct target {
    const struct target_shard *shards; /* today's in their order, then the new ones */
    size_t shard_count;
    const struct target_part *parts; /* by pod */
    const size_t
        *became; /* by today's shard: its index in `shards`; TARGET_NONE = its slots move to
                             the others */
    const size_t
        *heirs;     /* by today's shard: the pod that takes it over before anything of it moves,
                            for its primary leaves; TARGET_NONE = nobody has to, or can */
    unsigned moved; /* slots that have to be moved */
    unsigned fills; /* pods that copy a shard's data for it */
};

/*
 * Without pods that stay there are no shards, and nothing moves: the data stays on the volumes.
 * Otherwise there is at least one. A new shard is made only if there are pods for all its copies,
 * so pods that do not exist yet delay it. Deterministic. Everything lives in `arena`.
 */
void target_find(const struct target_ask *ask, struct arena *arena, struct target *ret_target);

#endif
