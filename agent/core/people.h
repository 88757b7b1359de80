/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people order by `muster pause` and `muster resume`, from the word to the answer. The agent that
 * leads hears it; its planner writes it to the record (core/rule_people.c); when that has it, or has not in
 * time, the person is told.
 */
#ifndef MUSTER_CORE_PEOPLE_H
#define MUSTER_CORE_PEOPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/world.h"

#define PEOPLE_SAID_SIZE 256
/* A person waits no longer for the record; what was sent by then may be written later. */
#define PEOPLE_PATIENCE_MS 4000
/* A pause that has ended stays in the record: what one clock takes for its end another may not. */
#define PEOPLE_KEEP_MS (INT64_C(10) * 60 * 1000)

enum people_answer { PEOPLE_WAIT = 0, PEOPLE_DONE, PEOPLE_REFUSED };

/* What is to stand in the record, by a person's word or since a pause ended long ago; false = what does. */
bool people_wanted_pause(const struct world *world, struct record_pause *ret_pause);

/* A person says it now; `for_ms` 0 = without an end. */
void people_ask(struct person_watch *watch, enum person_wish wish, const char *reason,
                int64_t for_ms, int64_t now_ms, int64_t now_unix_ms);

/*
 * Whether this agent is the one that must be told: it leads. Else the answer says who does, and what is to be
 * said there. `more`: that is not all, so it cannot be copied as it stands.
 */
bool people_may_order(const struct world *world, const char *command, bool more,
                      char ret_said[PEOPLE_SAID_SIZE]);

/* What the person is told after this turn, whose sentence is `said`. */
enum people_answer people_judge(const struct world *world, const char *said,
                                char ret_said[PEOPLE_SAID_SIZE]);

#endif
