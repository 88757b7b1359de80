/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of every plan, whatever the world. */
#ifndef MUSTER_TESTS_PLAN_PLAN_CHECK_H
#define MUSTER_TESTS_PLAN_PLAN_CHECK_H

#include "core/plan.h"

/* NULL, or which promise the plan breaks, in the arena. */
const char *plan_check(const struct world *world, const struct plan *plan, struct arena *arena);

/* The position of this rule in the table, or SIZE_MAX. */
size_t plan_check_rule(const char *rule);

/* The same rule, sentence and actions. */
bool plan_check_same(const struct plan *a, const struct plan *b);

#endif
