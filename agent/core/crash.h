/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hand-over after a crash (DESIGN 5.6). The process of a primary is dead: its life line has ended, and
 * nothing listens at its port; nothing will, for the agent beside it, which judges this, keeps the gate.
 * Redis would elect a replica after cluster-node-timeout and an election (FACTS 3: 19 s by default); an
 * order to ask for the votes at once (CLUSTER FAILOVER FORCE) takes 50 ms (FACTS 13, M1). But FORCE asks
 * nobody what the candidate has: one that lags loses writes, one that has never synced loses everything
 * (M2, M3), and a second order within 4 x cluster-node-timeout keeps the shard down for minutes (M4). So
 * it is given once for each death, to a replica that proves
 *
 *   that it was online in the primary's last word, which is at most a second older than the end;
 *   that its data is of the same history (replid), which it only has once a synchronization is over;
 *   that it has read to the end of the stream (its link is down), and has all of the primary's last
 *   word but policy.handoverMaxLag;
 *
 * and if the vote can succeed (core/failover.h) and nobody has found the dead one failed: then Redis elects
 * by itself. Where the primary has nothing on its disk (neither AOF nor snapshots) or with
 * policy.crashHandover: always it may lack any amount, but not all. If nobody proves it within
 * CRASH_HOLD_MS, the gate opens: the restart is the recovery.
 *
 * One and two primaries never elect anybody (FACTS 8): there the order is TAKEOVER. It needs no vote, and
 * is safe by the same proof, as the agent beside the dead one is the only one that gives it: who leads
 * hears that the server waits at its gate (core/rule_held.c) only after that. Somebody must be seen to hold
 * the Lease, and the API to answer: an agent that is cut off from both may be beside a pod that is deleted.
 *
 * An order counts as given when it is sent: what a heir that froze has in its socket it executes when it
 * thaws, whenever that is. So nobody else gets one.
 */
#ifndef MUSTER_CORE_CRASH_H
#define MUSTER_CORE_CRASH_H

#include "core/action.h"
#include "core/facts.h"
#include "core/failover.h"
#include "core/world.h"

#define CRASH_REASON_SIZE 320
/* The primary's last word may be so much older than its end. */
#define CRASH_SAMPLE_MS 1000
/* And its last view, which is read each ten seconds of a large cluster, unless its epochs have changed. */
#define CRASH_VIEW_MS 12000
/* For so long a replica that answered may be waited for others that may have more. */
#define CRASH_GATHER_MS 300
/* For so long at most the dead server's next start waits for an order. */
#define CRASH_HOLD_MS 1000
/* And so long it may be taken: its view of the voters is not kept for longer. */
#define CRASH_WINDOW_MS 10000
/* An election takes less (CLUSTER_MF_TIMEOUT, 5 s; Redis 7.0.15), or comes to nothing. */
#define CRASH_WIN_MS 6000
/* No order later: what comes of it is to be seen within the window. */
#define CRASH_ORDER_MS (CRASH_WINDOW_MS - CRASH_WIN_MS)

enum crash_step {
    CRASH_NONE = 0,  /* nothing has crashed here */
    CRASH_WAIT,      /* a decision is near */
    CRASH_ORDER,     /* now */
    CRASH_UNDER_WAY, /* it was ordered */
    CRASH_DONE,      /* another node owns the slots */
    CRASH_LEFT,      /* to its restart, or to Redis's own election */
};

struct crash_verdict {
    enum crash_step step;
    size_t heir;                    /* CRASH_ORDER: the pod; else NO_POD */
    bool takeover;                  /* CRASH_ORDER: without votes */
    int64_t least;                  /* CRASH_ORDER: the offset that the heir proved at least */
    bool hold;                      /* its server must not start meanwhile */
    char reason[CRASH_REASON_SIZE]; /* a sentence for people */
};

void crash_judge(const struct world *world, const struct facts *facts,
                 struct crash_verdict *ret_verdict);

/* The process of the own server has ended. Who drains ends because we said so: its slots are seen to. */
void crash_begin(struct crash_watch *watch, bool drains, int64_t now_ms);

/* What the world of this turn says of it: somebody else may have started the server again. */
void crash_look(struct crash_watch *watch, const struct world *world);

/*
 * Asked in the callback that sends: may this order for the own dead server go out? One may for each death,
 * and none once others may act or while it drains. True counts as sent, whatever comes of it.
 */
bool crash_may_send(struct crash_watch *watch, bool drains, struct failover_history *failovers,
                    const struct action *action, int64_t now_ms);

/* Its server has refused the order: no election is under way. */
void crash_note_refused(struct crash_watch *watch, const struct action *action);

/* After each verdict; `waits`: its next process is at the gate. From then on others may act. */
void crash_note(struct crash_watch *watch, const struct crash_verdict *verdict, bool waits);

/* The others are not to hear yet of what waits at the gate: an order may come, or be under way. */
bool crash_hides(const struct crash_watch *watch, enum crash_policy policy);

#endif
