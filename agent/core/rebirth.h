/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rebirth (DESIGN 5.2): is the recorded cluster gone, and for how long has that been seen?
 *
 * Gone means: every pod is there, every server answers, and not one of them holds anything of a
 * cluster. That is judged on answers only: a pod that is away may come back with the data. The
 * agent remembers since when it has seen so without a break, so that the planner, which remembers
 * nothing, can ask for two consistent reads.
 */
#ifndef MUSTER_CORE_REBIRTH_H
#define MUSTER_CORE_REBIRTH_H

#include "core/world.h"

/*
 * An answer is fresh for WORLD_FRESH_MS at most, so what has stood for longer than that was read
 * twice from every server.
 */
#define REBIRTH_STANDS_MS (WORLD_FRESH_MS + 1)

/* Zeroed at the start of an agent. */
struct rebirth_watch {
    uint64_t seen;    /* what was seen: which record, pods and servers */
    int64_t since_ms; /* since when, without a break; 0 = the cluster is not gone */
};

/* The record tells of a cluster that this StatefulSet's servers would be reborn from. */
bool rebirth_concerns(const struct world *world);

/* The cluster of the record is gone, as far as can be read at this moment. */
bool rebirth_is_gone(const struct world *world);

/* Looks once in each turn; returns `since_ms`, for world.gone_since_ms. */
int64_t rebirth_look(struct rebirth_watch *watch, const struct world *world);

#endif
