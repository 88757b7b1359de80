/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `muster pause` (DESIGN 5.9): a person wants to work on the cluster without being disturbed, or does
 * not trust what Muster is about to do. It is kept in the record, so that it outlives every agent, and
 * ends by `muster resume` or, with an end, by itself.
 *
 * What keeps the cluster alive is never stopped: who pauses it has not taken its place. Which is which
 * stands in PAUSE_WORKS and nowhere else, and for people in agent/README.md.
 */
#ifndef MUSTER_CORE_PAUSE_H
#define MUSTER_CORE_PAUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/action.h"
#include "core/plan.h"
#include "core/world.h"

/* kind, whether a pause stops it, and what it is. */
#define PAUSE_WORKS(X)                                                                           \
    X(WORK_PLACE, true, "moving roles over nodes and zones")                                     \
    X(WORK_JOIN, true, "taking in pods and servers that the record does not know")               \
    X(WORK_SCALE, true, "moving slots, making and merging shards")                               \
    X(WORK_FORGET, true, "forgetting nodes that are gone")                                       \
    X(WORK_REFORM, true, "forming a lost cluster anew")                                          \
    X(WORK_DRAIN, false, "handing over before a stop")                                           \
    X(WORK_CRASH, false, "handing over after a crash")                                           \
    X(WORK_GATE, false, "holding servers back at their gates, and replacing held primaries")     \
    X(WORK_ADDRESS, false, "announcing addresses, introducing members, following a new address") \
    X(WORK_COPY, false, "making a lost copy of a member's pod again, parting chains")            \
    X(WORK_FORM, false, "finishing a formation, giving its settings back")                       \
    X(WORK_RECORD, false, "keeping the record")                                                  \
    X(WORK_PERSON, false, "what a person orders: failover, takeover, gate open, pause, resume")

enum pause_work {
#define X(name, stops, text) name,
    PAUSE_WORKS(X)
#undef X
        WORK_COUNT,
};

#define PAUSE_SAID_SIZE (RECORD_PAUSE_REASON_SIZE + 32)
/* For longer nobody pauses by mistake. */
#define PAUSE_FOR_MS_MAX (INT64_C(30) * 24 * 3600 * 1000)

/* The pause that holds now; NULL if there is none, or if it has ended. */
const struct record_pause *pause_of(const struct world *world);

/* Whether this is not to be done now. */
bool pause_stops(const struct world *world, enum pause_work work);

/*
 * Asked in the callback that sends: what a pause stops and was planned before it is not sent any more.
 * `wish`: what a person has said since the world was made.
 */
bool pause_may_send(const struct world *world, enum person_wish wish, const struct action *action);

/* Whether a pause stops this. */
bool pause_is_for(enum pause_work work);

/* "moving roles over nodes and zones". Never NULL. */
const char *pause_work_text(enum pause_work work);

/* "paused by a person (new disks)": the beginning of every sentence meanwhile; "" = it is not. */
void pause_say(const struct world *world, char ret_said[PAUSE_SAID_SIZE]);

/* Until its end, rounded up; 1 also for one that has just ended. */
int pause_minutes_left(const struct record_pause *pause, int64_t now_unix_ms);

/* The text as a reason: what is not printable ASCII becomes '?'. Cut at the size. */
void pause_put_reason(struct record_pause *pause, const char *text);

#endif
