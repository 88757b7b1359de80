/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods above the size that the StatefulSet is to have: with policy.scaling their slots move to those that stay,
 * and preStop holds them until nothing is lost by their leaving (DESIGN 5.7).
 */
#ifndef MUSTER_CORE_DOOMED_H
#define MUSTER_CORE_DOOMED_H

#include <stdbool.h>

#include "core/world.h"

/* The pod goes for good and others stay; its own agent carries moves out, so that waiting for it is of use. */
bool doomed_is_emptied(const struct world *world, const struct pod *pod);

/*
 * Its preStop asks since lasts_ms, and whether it goes for good cannot be told: the API tells of no changes, or
 * does not know yet that the pod stops. A liveness kill, which it is never told of, looks the same for a while.
 */
bool doomed_is_unclear(const struct world *world, const struct pod *pod, int64_t lasts_ms);

/*
 * Slots are half-moved to the pod's server or from it, or the record means its shard by its id, and it is of use
 * to wait: whoever left now, for good or not, would take keys along, or nobody would know where they are.
 */
bool doomed_is_named(const struct world *world, const struct pod *pod);

#endif
