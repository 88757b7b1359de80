/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement for ever (DESIGN 5.9): what an agent remembers of it from turn to turn, so that the rule,
 * which remembers nothing, moves roles in a quiet cluster only, and not often.
 */
#ifndef MUSTER_CORE_PLACE_H
#define MUSTER_CORE_PLACE_H

#include "core/action.h"
#include "core/plan.h"
#include "core/world.h"

/*
 * For so long nothing may have changed before a role is moved: longer than the pause between two pods
 * of a rolling update, so that one that goes on is not taken for the end.
 */
#define PLACE_QUIET_MS 10000

/*
 * After each plan. Whoever does not lead remembers nothing: who leads next cannot know of the last
 * move, and counts from when he began to.
 */
void place_note(struct place_watch *watch, const struct world *world, const struct plan *plan);

/* An action was carried out, or may have been. True if it was a move, from which the time counts. */
bool place_ordered(struct place_watch *watch, const struct action *action, int64_t now_ms);

#endif
