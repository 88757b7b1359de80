/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is asked what, and how often: decided here only (DESIGN 3), and O(N) for each turn.
 *
 *   own server   INFO replication each 200 ms, CLUSTER INFO each second; CLUSTER NODES each second
 *                up to OBSERVE_OWN_VIEW_MAX servers, above when CLUSTER INFO's figures changed, and
 *                each 10 s
 *   a watcher    (the leader) asks every server for CLUSTER INFO and INFO each second, and for
 *                CLUSTER NODES
 *                  up to `sweep_max` servers: with it
 *                  above: three witnesses each second; besides at most OBSERVE_READS servers a
 *                  second that show a sign of another view, the longest unread first, and as many
 *                  in turn as to have read each once in OBSERVE_ROUND_MS
 *                  all of them, as fast as they answer, for a plan that wants every view
 *   others       ask their shard mates for CLUSTER INFO and INFO each second
 *
 * Signs of another view: none was read; CLUSTER INFO's figures changed since; it differs from what
 * most say; a replica's link is down; the agent beside tells another hash or open slots by its digest. A sign only triggers a
 * read. A server that was not read agrees with nobody: rules that need every view ask for them
 * (planner_sees_all).
 */
#ifndef MUSTER_CORE_OBSERVE_H
#define MUSTER_CORE_OBSERVE_H

#include "base/arena.h"
#include "core/plan.h"
#include "core/world.h"

/* A full view has about 130 bytes for each node (FACTS 13, M8): 130 KB a second at 32 servers. */
#define OBSERVE_SWEEP_MAX 32
#define OBSERVE_OWN_VIEW_MAX 100
#define OBSERVE_WITNESSES 3
#define OBSERVE_READS 8
#define OBSERVE_ROUND_MS 60000
/* Full views that are under way at one time, whatever is wanted. */
#define OBSERVE_IN_FLIGHT 8

/* How often to ask what; milliseconds, 0 = never. Slower kinds contain the faster. */
struct observe_rhythm {
    int64_t beat_ms;  /* INFO replication */
    int64_t light_ms; /* INFO, CLUSTER MYID and CLUSTER INFO */
    int64_t full_ms;  /* and CLUSTER NODES */
    int64_t wide_ms;  /* and every usual section of INFO */
};

/* What is wanted of one pod's server until the next turn. */
struct observe_ask {
    bool dial; /* else no connection is kept */
    struct observe_rhythm rhythm;
    bool read;        /* CLUSTER NODES once, now */
    int64_t hurry_ms; /* CLUSTER NODES so often for a moment; 0 = no hurry */
};

/*
 * For each pod of the world, by index; the array lives in `arena`. `watch`: this agent watches all
 * servers. `sweep_max` is OBSERVE_SWEEP_MAX but in tests. An agent that is not in the list of pods
 * yet still asks its own server in observe_own_rhythm().
 */
const struct observe_ask *observe_choose(const struct world *world, const struct plan *plan,
                                         bool watch, size_t sweep_max, struct arena *arena);

struct observe_rhythm observe_own_rhythm(size_t servers, bool watch);

#endif
