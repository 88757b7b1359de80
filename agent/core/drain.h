/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May the server of a pod stop? preStop asks, and holds SIGTERM back until it is told to leave
 * (DESIGN 5.5). A pure function of the world and of what was seen since it asked, so that an agent that
 * was restarted meanwhile goes on where it stands: the hook asks again, and Redis tells the rest.
 *
 *   a replica leaves once nobody is about to make it a primary, one after the other of its shard
 *   a primary hands over to the best replica that stays, and leaves when most primaries say so
 *   primaries of several shards that stop at once hand over one after the other: a voter votes once in an
 *   epoch, and the heir that comes second to it asks again only seconds later, with the writes paused
 *   (Redis 7.0.15 cluster.c clusterSendFailoverAuthIfNeeded; agent/FACTS.md)
 *   whose whole shard goes, or whose StatefulSet is gone or scaled to 0, leaves as the primary that
 *   it is once its data is on disk: nobody will come
 *   with policy.scaling it waits above the size of its StatefulSet until its slots have moved, and anywhere
 *   until no half-moved slot and none of the record's moves names it (core/doomed.h)
 *   else it waits: with its data on disk until max(grace/2, grace - 10 s), without until 2 s before the
 *   end of its grace period
 *   where a snapshot keeps the data it is min(grace/2, grace - 16 s): at SIGTERM the server first waits
 *   for replicas that lag, and killed meanwhile it comes back with what the one before had; a grace
 *   period that leaves no time for it is as good as none
 *   who leaves as a primary with its data on disk first has those followers that lack some of it told
 *   to wait for it (core/election.h): it may be away for longer than an election takes
 *   while its AOF is rewritten nobody leaves: Redis 7.0 loses a SIGTERM in the first rewrite after a
 *   full synchronization (FACTS 13)
 */
#ifndef MUSTER_CORE_DRAIN_H
#define MUSTER_CORE_DRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/facts.h"
#include "core/world.h"

#define DRAIN_REASON_SIZE 320
/* A liveness probe kills without a deletion: the container starts again in the same pod. */
#define DRAIN_LIVENESS_MS 6000
/* What Kubernetes gives by default, where it is not known. */
#define DRAIN_GRACE_MS 30000
/* SIGTERM needs as long: to flush, and to be told from a hook that hangs. */
#define DRAIN_LEFT_MS 2000
/* Before a snapshot: shutdown-timeout, 10 s by default (Redis 7.0.15 prepareForShutdown). So much... */
#define DRAIN_SNAPSHOT_MS 16000
/* ...or at the least so much is left for both, */
#define DRAIN_SNAPSHOT_LEAST_MS 12000
/* and so much before, to find an heir. */
#define DRAIN_SEARCH_MS 3000
/* What is hurried at the beginning of a drain, and around a hand-over, is looked at calmly later. */
#define DRAIN_HURRY_MS 10000
/* A former primary is in sync with its successor within a second (FACTS 3); then it stops anyhow. */
#define DRAIN_RESYNC_MS 5000
/* So long after preStop asked those that are to stop at the same moment know of each other, */
#define DRAIN_TOGETHER_MS 300
/* and so long each that still is to hand over before is waited for. */
#define DRAIN_TURN_MS 1000
/* A setting is read again within a fraction of a second; a follower that does not answer has so long. */
#define DRAIN_TELL_MS 3000
/* Whether an AOF is being rewritten was asked as long ago, at most. */
#define DRAIN_REWRITE_MS 1000
/* An agent that was restarted in mid-drain knows neither its pod's grace nor its server at once. */
#define DRAIN_NEW_MS 5000

enum drain_step {
    DRAIN_NONE = 0, /* nobody asks */
    DRAIN_WAIT,
    DRAIN_LEAVE,
};

struct drain_verdict {
    enum drain_step step;
    size_t heir; /* DRAIN_WAIT: CLUSTER FAILOVER to this pod's server, now; NO_POD = to nobody */
    bool tells;  /* DRAIN_WAIT: followers are to be told that they wait for it, now */
    bool kept;   /* DRAIN_LEAVE: it stops as the owner of its slots */
    bool risks; /* DRAIN_LEAVE: who lacks some of its data may be elected: they could not be told */
    bool hurry; /* what others say is to be asked for at once */
    int64_t again_ms;               /* until its next limit, of which no news tells; 0 = never */
    char reason[DRAIN_REASON_SIZE]; /* a sentence for people */
};

/* What the world of this turn adds to what is remembered. Nobody asks: *watch is zeroed. */
void drain_look(struct drain_watch *watch, const struct world *world);

/* For the pod `at` (NO_POD: it is not in the list of pods), whose drain is `watch`. */
void drain_judge(const struct world *world, const struct facts *facts, size_t at,
                 const struct drain_watch *watch, struct drain_verdict *ret_verdict);

/* What came of it: *watch remembers what was begun, and that the server was told to leave. */
void drain_note(struct drain_watch *watch, const struct drain_verdict *verdict, int64_t now_ms);

/*
 * Whether all that the server holds will be there when the pod comes back: its AOF is written, or
 * SIGTERM makes a snapshot and the last one went well; on a volume that outlives the pod.
 */
bool drain_is_on_disk(const struct world *world, const struct pod *pod);

#endif
