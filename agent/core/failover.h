/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May a replica take over from a primary that lives, by CLUSTER FAILOVER? (DESIGN 5.5.)
 *
 * An order given too early does harm. Redis and Valkey before 8.1 keep the votes of an earlier
 * election for 4 x cluster-node-timeout: a replica that is ordered again within it "wins" on them
 * without an epoch, serves writes for a moment and loses them (FACTS 0.3, FAULTS 0.1), or pauses its
 * primary for 5 s and wins nothing. And their voters refuse a second vote about one primary within
 * 2 x cluster-node-timeout. Valkey 8.1 and newer reset both (#1274, #1305, #1711).
 *
 * What is needed beside the world is when each server asked for votes last: by what this observer has
 * seen, on its own clock. What it has not seen counts as attempted now.
 */
#ifndef MUSTER_CORE_FAILOVER_H
#define MUSTER_CORE_FAILOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "core/facts.h"
#include "core/world.h"

#define FAILOVER_WHY_SIZE 160
/*
 * What the candidate may lack of its primary's stream, bytes: writes are paused until it has it. The
 * two offsets are of different moments, at most a second apart.
 */
#define FAILOVER_LAG_MAX (INT64_C(1) << 20)
/*
 * So little takes less than a ms on a gigabit, and two offsets of one moment differ by it under load: who
 * lacks no more is as good as who lacks nothing.
 */
#define FAILOVER_LAG_NONE (INT64_C(1) << 16)
/*
 * So long an election may take. A voter votes once in an epoch: an heir of another shard that asks
 * meanwhile is refused, and its writes stay paused until it asks again (agent/FACTS.md).
 */
#define FAILOVER_TURN_MS 300
/*
 * An observer that was frozen for longer has seen nothing meanwhile. The leader takes an agent for
 * silent later than that, so that the two of them never order the same.
 */
#define FAILOVER_BLIND_MS 3000
/* A word of a voter that is older was not asked for now (FAULTS I6). */
#define FAILOVER_ASKED_MS 2000

/* What was seen of one node, in the order in which it happened. */
struct failover_past {
    struct node_id id;
    struct node_id follows;   /* when it was seen last; "" = nobody, or not told */
    bool primary;             /* likewise */
    char run_id[RUN_ID_SIZE]; /* likewise */
    int64_t vote_requests;    /* likewise */
    int64_t watched_ms;       /* since when it is watched without a break, in whatever run */
    int64_t attempt_ms; /* the last sign that it asked for votes in this run; 0 = it did not */
    int64_t voted_ms;   /* the last sign that votes about it as a primary were asked for */
    bool guessed;       /* which is that it was not watched before */
    int64_t heard_ms;   /* when it answered last */
    bool silent;        /* and has been asked in vain since */
};

struct failover_history {
    struct failover_past items[NODES_MAX];
    size_t count;
    size_t next;       /* where the pod after the last one was found: pods keep their order */
    int64_t looked_ms; /* the last time */
};

/* Takes the world of this turn into account. */
void failover_look(struct failover_history *history, const struct world *world);

/* The observer ordered an attempt of `candidate`, whatever came of it. */
void failover_ordered(struct failover_history *history, const struct node_id *candidate,
                      const struct node_id *primary, int64_t now_ms);

/*
 * DESIGN 5.5's six rules for the servers of two pods. False with the first reason that stands
 * against it: half a sentence that begins with the pod it is about.
 */
bool failover_may(const struct world *world, const struct facts *facts, size_t candidate,
                  size_t primary, char ret_why[FAILOVER_WHY_SIZE]);

/*
 * Milliseconds until votes were asked for about no primary of another shard for `quiet_ms`, as far as this
 * observer has seen; 0 = now. `guesses`: they may have been when it began to watch, too. *ret_other: about
 * whom they were last, only set if it is not 0.
 */
int64_t failover_wait_ms(const struct world *world, const struct facts *facts, size_t primary,
                         int64_t quiet_ms, bool guesses, const struct pod **ret_other);

/*
 * The rules that are left for a primary whose process is dead, of which `dead` shows the last answer and
 * view: all but those that ask for its own word (1, 2, 3, 5 and 6, and of 4 what concerns pods and
 * versions). Without votes (`by_vote` false) only 4 and 5. Whether the candidate has its data is not asked.
 */
bool failover_may_replace(const struct world *world, const struct facts *facts, size_t candidate,
                          size_t dead, bool by_vote, char ret_why[FAILOVER_WHY_SIZE]);

/*
 * The agent beside has been silent for longer than an order of its could still be under way, and the API
 * would tell if the pod were to stop: the leader orders for it (DESIGN 4). Never without Kubernetes.
 */
bool failover_is_mute(const struct world *world, const struct pod *pod);

/* It is about to stop, by the API's word, its agent's, or ours. */
bool failover_leaves(const struct world *world, const struct pod *pod);

/* It cannot read the data of the other one. Releases of one minor version read each other's. */
bool failover_is_older(const struct server *server, const struct server *than);

/* A hand-over of this primary's shard was ordered a moment ago and may still be under way. */
bool failover_in_flight(const struct world *world, const struct node_id *primary);

/*
 * Where one more primary belongs: the fewer primaries of other shards are in the heir's zone and, between
 * equal ones, on its node, the less this is. 0 for all if policy.placement is off.
 */
unsigned failover_count_beside(const struct world *world, const struct facts *facts,
                               const struct pod *primary, const struct pod *heir);

/*
 * The follower of the primary that should take over now: already of the StatefulSet's new revision,
 * then of the newest version, then one that lacks next to nothing; of these where the fewest other
 * primaries run (failover_count_beside); then with least lag, then of the lowest ordinal. NO_POD with
 * the reason against the one that came nearest, or against having any.
 */
size_t failover_choose(const struct world *world, const struct facts *facts, size_t primary,
                       char ret_why[FAILOVER_WHY_SIZE]);

#endif
