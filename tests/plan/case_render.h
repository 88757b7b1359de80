/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan as the cases show it:
 *
 *     rule meet
 *     says introducing members that do not know each other's address: ...
 *     muster-0 < CLUSTER MEET 10.0.0.5 6379
 *     muster-3 < CLUSTER REPLICATE @0 (if primary, empty)
 *     record < formed, generation 1, 3 shards, 6 members
 *       muster-4 @104 joined later, timeout 15000, delay 5
 *       forget @4
 *       moves 7, evening out
 *       move @0 to @6 slots 0-255 since 7
 *     muster-0 ? slots 256-383 at muster-6
 *
 * Of a record's members those that differ from what the world's record says, of node ids "@N", and
 * "@N.." where only the first eight digits are said. More than RENDER_ACTIONS_MAX actions are counted
 * by command.
 */
#ifndef MUSTER_TESTS_PLAN_CASE_RENDER_H
#define MUSTER_TESTS_PLAN_CASE_RENDER_H

#include "base/buf.h"
#include "core/plan.h"

#define RENDER_ACTIONS_MAX 40

/* Appends to `ret_text`. */
void case_render(const struct world *world, const struct plan *plan, struct buf *ret_text);

#endif
