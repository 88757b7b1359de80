/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement for ever (DESIGN 5.9): what an agent remembers of it from turn to turn, so that the rule,
 * which remembers nothing, moves roles in a quiet cluster only, and not often.
 */
#ifndef MUSTER_CORE_PLACE_H
#define MUSTER_CORE_PLACE_H

#include "core/action.h"
#include "core/drain.h"
#include "core/facts.h"
#include "core/plan.h"
#include "core/world.h"

/*
 * For so long nothing may have changed before a role is moved: longer than the pause between two pods
 * of a rolling update, so that one that goes on is not taken for the end.
 */
#define PLACE_QUIET_MS 10000
/*
 * The word of an agent that its server stays is not older than that, and was asked for the move. An agent
 * whose server is to stop waits for longer before it orders anything: by then the move is under way.
 */
#define PLACE_WORD_MS (DRAIN_TOGETHER_MS - PLACE_SEND_MS)
/*
 * So an order that relies on such words is not sent later than that after it was planned: between zones, and
 * on a busy machine, there are up to four round trips in it.
 */
#define PLACE_SEND_MS 100
/* So long everybody is asked in a hurry for a move that is wanted, and not again before: */
#define PLACE_HURRY_MS 10000
#define PLACE_CALM_MS 60000
/* So many moves are one change at the most: two re-parentings, a hand-over before each. */
#define PLACE_CHANGE_MOVES 4
/* An order that relieved nobody is given again after the interval or this, doubled each time. */
#define PLACE_RETRY_MS 10000
#define PLACE_RETRY_DOUBLED_MAX 8

/* Pods, their processes and what most say of the roles: while that is the same nothing has happened. */
uint64_t place_seen(const struct world *world, const struct facts *facts);

/* Whether everybody may be asked in a hurry in this turn. */
bool place_may_hurry(const struct place_watch *watch, int64_t now_ms);

/* For so long after the last move there is no other one. */
int64_t place_interval_ms(const struct place_watch *watch, int64_t interval_ms);

/* Unless what was found is the rest of a change, or gives a shard a copy that it lacks. */
bool place_goes_on(const struct place_watch *watch, const struct place_found *found);

/*
 * After each plan. Whoever does not lead remembers nothing: who leads next cannot know of the last
 * move, and counts from when he began to.
 */
void place_note(struct place_watch *watch, const struct world *world, const struct plan *plan);

/*
 * Asked in the callback that sends, of what a leader orders in the place of others' agents: their words
 * are not too old yet, and its own server is not to stop (`drains`).
 */
bool place_may_send(const struct world *world, const struct action *action, bool drains,
                    int64_t now_ms);

/* A person has moved a role: it stays so for the interval, also if half a change is done. */
void place_leave(struct place_watch *watch, int64_t now_ms);

/* A move was ordered, or may have been: the time counts from here. */
void place_ordered(struct place_watch *watch, const struct action *action, int64_t now_ms);

#endif
