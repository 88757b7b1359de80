/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which single failure the cluster would not survive: the loss of any one node, of any one zone.
 *
 * A failure is survived when every shard whose primary is lost with it has an in-sync replica
 * elsewhere, and the primaries that are left can still vote: floor(P/2) + 1 of P primaries with
 * slots (cluster.c, clusterSendFailoverAuthIfNeeded: needed_quorum = server.cluster->size / 2 + 1).
 */
#ifndef MUSTER_CORE_SURVIVAL_H
#define MUSTER_CORE_SURVIVAL_H

#include "base/arena.h"
#include "core/facts.h"
#include "core/world.h"

/* Whether something that was promised is so. */
enum held {
    HELD_UNKNOWN = 0,
    HELD_NO,
    HELD_YES,
    HELD_NOT_APPLICABLE, /* nothing can be promised: the zones of a cluster that has fewer than two */
};

struct survival {
    enum held node;
    enum held zone;
    /* Why not, or why it is not known: sentences, in the arena. "" when held. */
    const char *node_why;
    const char *zone_why;
    /* The weakest spot of the cluster in one sentence; "" when there is none. */
    const char *weakest;
};

/* Whether the replica in this pod is in sync; HELD_UNKNOWN if this agent does not ask its server. */
enum held survival_in_sync(const struct world *world, const struct facts *facts, size_t pod);

void survival_judge(const struct world *world, const struct facts *facts, struct arena *arena,
                    struct survival *ret_survival);

#endif
