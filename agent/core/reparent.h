/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May a replica be told to copy another shard (CLUSTER REPLICATE, DESIGN 5.9)? From then on until it has
 * copied all of it neither shard counts on it: what it has is thrown away.
 *
 *   it follows its primary and is in sync;
 *   another replica stays that has all as well, and the primary says so itself: it is online;
 *   as many stay as its min-replicas-to-write wants: with less it answers NOREPLICAS (Redis 7.0.15
 *   server.c, processCommand);
 *   who is to be copied is a primary of a release whose data it can read;
 *   nobody of these is about to stop, and no hand-over of either shard is under way;
 *   each of them has answered a moment ago.
 */
#ifndef MUSTER_CORE_REPARENT_H
#define MUSTER_CORE_REPARENT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/action.h"
#include "core/world.h"

#define REPARENT_WHY_SIZE 160

/* Of pods. False with the first reason against it: half a sentence that begins with the pod it is about. */
bool reparent_may(const struct world *world, size_t copy, size_t from, size_t to,
                  char ret_why[REPARENT_WHY_SIZE]);

/*
 * Asked in the callback that sends such an order, or the setting before it, by what is known then: the server itself was asked
 * again just before (REQUIRE_FOLLOWS).
 */
bool reparent_may_send(const struct world *world, const struct action *action);

#endif
