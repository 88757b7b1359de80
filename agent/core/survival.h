/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which single failure the cluster would not survive: the loss of any one node, of any one zone.
 *
 * A failure is survived when every shard whose primary is lost with it has an in-sync replica
 * elsewhere, and the primaries that are left can still vote: floor(P/2) + 1 of P primaries with
 * slots (cluster.c, clusterHandleSlaveFailover: needed_quorum = server.cluster->size / 2 + 1).
 */
#ifndef MUSTER_CORE_SURVIVAL_H
#define MUSTER_CORE_SURVIVAL_H

#include "base/arena.h"
#include "core/facts.h"
#include "core/roster.h"
#include "core/world.h"

struct survival {
    enum held node;
    enum held zone; /* HELD_NOT_APPLICABLE if no zone is known */
    /* Why not, or why it is not known: sentences, in the arena or fixed; "" when held. */
    const char *node_why;
    const char *zone_why;
    unsigned zones; /* different ones that are known of our pods */
    /* The weakest spot of the cluster in one sentence; "" when there is none. */
    const char *weakest;
};

void survival_judge(const struct world *world, const struct facts *facts,
                    const struct roster *roster, struct arena *arena,
                    struct survival *ret_survival);

#endif
