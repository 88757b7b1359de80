/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `muster failover POD` (DESIGN 5.9): a person wants this replica to be its shard's primary. The agent
 * that leads hears of it, and its planner looks at it in each turn until it is sent or refused:
 *
 *   the six rules of core/failover.h;
 *   no server of the cluster is about to stop: a drain orders hand-overs by itself. A pod that is deleted
 *   and not stopped by anybody, as on a node without a kubelet, does not count;
 *   every shard's primary answers, or it has no heir left: one that is elected needs the same votes;
 *   the shard's own agents were asked since, and said a moment ago that their servers stay;
 *   the replica is ready, takes part in elections, and no other one is fit that would not have to hand over
 *   again when its pod is made anew. With none it goes, and the answer says so: an update may stand still
 *   for ever, or be what the person wants to go back from.
 *
 * What only needs a moment (views, votes of others) is waited for; all else is refused in words. It is
 * sent once. What came of it is remembered by this agent only: another one that leads has no order.
 */
#ifndef MUSTER_CORE_HANDOVER_H
#define MUSTER_CORE_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/facts.h"
#include "core/world.h"

/* So long a first look may need until all that must be known was asked for. */
#define HANDOVER_LOOK_MS 1500
/* So long preStop is waited for in a pod that is deleted: less, so that its agent can say so in time. */
#define HANDOVER_STOP_MS 700
/* Longer than that an accepted order does not wait: the person sees what stands against it. */
#define HANDOVER_WORD_MS 10000
/* By then a hand-over that was sent is won and seen, or is not. */
#define HANDOVER_WON_MS 8000

struct action;

enum handover_step {
    HANDOVER_NONE = 0, /* nobody asks, or no rule has looked */
    HANDOVER_REFUSED,  /* something stands against it that does not pass in a moment */
    HANDOVER_UNSURE,   /* something stands against it as far as is known now */
    HANDOVER_MAY,      /* nothing does: it is sent once the shard's agents were heard */
    HANDOVER_SENT,     /* it is under way */
    HANDOVER_DONE,     /* the server is its shard's primary */
};

struct handover_verdict {
    enum handover_step step;
    size_t heir;               /* NO_POD = not known */
    size_t from;               /* its primary, likewise */
    const struct shard *shard; /* theirs; NULL = not known */
    char reason[HANDOVER_SAID_SIZE];
};

/* As the world's leader sees it; the shard's agents are not asked here. */
void handover_judge(const struct world *world, const struct facts *facts,
                    struct handover_verdict *ret_verdict);

/* A person orders it. False, with the answer, while another one is under way; the same again is none. */
bool handover_ask(struct handover_watch *watch, const char *pod, int64_t now_ms,
                  char ret_said[HANDOVER_SAID_SIZE]);

/* After each plan, whose sentence is `said`: accepts, refuses, ends. */
void handover_note(struct handover_watch *watch, const struct world *world,
                   const struct handover_verdict *verdict, const char *said);

/*
 * Asked in the callback that sends: whether the order still stands, and was not sent. If so it counts as
 * sent from then on, whatever is heard of it. What was ended meanwhile is never sent.
 */
bool handover_may_send(struct handover_watch *watch, const struct action *action, int64_t now_ms);

/* The server has refused what was sent. */
void handover_refused(struct handover_watch *watch, const struct action *action, const char *why);

enum handover_answer { HANDOVER_ANSWER_WAITS = 0, HANDOVER_ANSWER_YES, HANDOVER_ANSWER_NO };

/* What the person is told who ordered it: that it is begun, or refused; WAITS = not looked at yet. */
enum handover_answer handover_first_answer(const struct handover_watch *watch, const char *pod,
                                           char ret_said[HANDOVER_SAID_SIZE]);

/* What became of it: WAITS = it is under way. */
enum handover_answer handover_last_answer(const struct handover_watch *watch, const char *pod,
                                          char ret_said[HANDOVER_SAID_SIZE]);

#endif
