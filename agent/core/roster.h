/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is who, for people: which pod a node of the reference view belongs to, also while its server
 * does not answer, and whether each pod's server is up as far as this agent can tell. The planner
 * does not use this: it acts on what fresh servers say of themselves.
 */
#ifndef MUSTER_CORE_ROSTER_H
#define MUSTER_CORE_ROSTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "core/facts.h"
#include "core/world.h"

/* Whether something that is hoped for is so. */
enum held {
    HELD_UNKNOWN = 0,
    HELD_NO,
    HELD_YES,
    HELD_NOT_APPLICABLE,
};

struct roster {
    const size_t *pod_of_node; /* by index in facts->reference->nodes; NO_POD if on none of ours */
    const struct view_node *const *node_of_pod; /* by pod index, in the reference; or NULL */
    const enum held *up;                        /* by pod index: its server answers */
    bool complete;                              /* no `up` is unknown */
};

/*
 * A node's pod is, first match: the one whose fresh server has its id; the record's; the one whose
 * server had its id when it last answered; the one with its address. All but the first only while
 * that pod's server does not answer with another id.
 *
 * A server is up if it is fresh. It is not up if the agent that asks it (the leader, or the one
 * beside it) got no good answer, or if the reference view has it as failed. Otherwise unknown.
 */
void roster_gather(const struct world *world, const struct facts *facts, struct arena *arena,
                   struct roster *ret_roster);

/* In sync with its primary: HELD_YES only if its fresh server says so. */
enum held roster_in_sync(const struct world *world, const struct facts *facts,
                         const struct roster *roster, size_t pod);

#endif
