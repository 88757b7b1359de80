/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: what is safe to do now, with the reason.
 *
 * plan_next() is pure, total and deterministic. It walks an ordered table of rules; the order is
 * the safety policy and reads top-down: unknown or stale -> wait; half-done work -> finish it;
 * membership -> replicas. A rule adds actions on pods that no earlier rule has claimed in this
 * turn, so a plan is a set of actions that do not conflict, and one failing action starves nothing.
 */
#ifndef MUSTER_CORE_PLAN_H
#define MUSTER_CORE_PLAN_H

#include <stddef.h>

#include "base/arena.h"
#include "core/action.h"
#include "core/crash.h"
#include "core/drain.h"
#include "core/handover.h"
#include "core/takeover.h"
#include "core/world.h"

struct scale_look;

#define PLAN_ACTIONS_MAX 512
#define PLAN_REASON_SIZE 448
/* The next turn comes at the latest after this, sooner when something was noted. */
#define PLAN_TICK_MS 1000
/* While the slots of a dead server are to be handed over. */
#define PLAN_CRASH_TICK_MS 50
/* While slots move: the other agents are asked how far they have read. */
#define PLAN_MOVES_TICK_MS 100

struct plan {
    const char *rule;              /* the name of the rule that gave the sentence; never NULL */
    char reason[PLAN_REASON_SIZE]; /* one sentence for people, without names of secrets or keys */
    struct action *actions;        /* in the arena, NULL when there are none; sent in this order,
                                      per server one by one */
    size_t action_count;
    bool wants_views; /* a rule waits until every server's view was read (core/observe.h) */
    struct drain_verdict drain;       /* of the own server */
    struct crash_verdict crash;       /* likewise */
    struct takeover_verdict takeover; /* what a person may order */
    struct handover_verdict handover; /* what a person has ordered */
    struct {
        struct place_found found; /* to be remembered; look = 0: nothing new */
        bool quiet;               /* nothing is in the way of a move, */
        uint64_t seen;            /* and what is there then */
        bool asks; /* a move is wanted now: only the word of the shard's pods is missing */
    } place;       /* core/place.h */
    struct {
        const size_t *pods; /* whose agents are asked whether their servers stay, in the arena */
        size_t pod_count;   /* 0 = nobody's */
    } stay;
    struct {
        const struct scale_look *looks; /* what is to be looked at for scaling, in the arena */
        size_t look_count;
        unsigned slots; /* on their way or still to go: what becomes of them is waited for */
    } scale;            /* core/scale_see.h */
};

/* Plans this turn. Everything in *ret_plan lives in `arena`. */
void plan_next(const struct world *world, struct arena *arena, struct plan *ret_plan);

/* Milliseconds to the next turn when nothing is noted: a drain's next limit may come before the tick. */
int64_t plan_again_ms(const struct plan *plan);

/* Whether the agent in this pod of the plan's world is to say whether its server stays, now. */
bool plan_asks_whether_stays(const struct plan *plan, size_t pod);

/* The rule table as text, one "name: what it is for" per line, for people and documents. */
const char *plan_rule_name(size_t index); /* NULL behind the last */
const char *plan_rule_purpose(size_t index);

#endif
