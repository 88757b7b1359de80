/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promises that `muster check` judges, each held or not with its reason (core/status.h lists
 * them). Only status.c includes this.
 */
#ifndef MUSTER_CORE_PROMISES_H
#define MUSTER_CORE_PROMISES_H

#include "base/arena.h"
#include "core/facts.h"
#include "core/roster.h"
#include "core/status.h"
#include "core/survival.h"
#include "core/world.h"

void promises_judge(const struct world *world, const struct facts *facts,
                    const struct roster *roster, const struct survival *survival,
                    struct arena *arena, struct promise ret_promises[PROMISE_COUNT]);

#endif
