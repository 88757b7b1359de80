/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people ordered:
 *   pause [until=MS] [unclear] [reason=WORD]   in the record; it ends in so many ms; "over": it just has,
 *                                              "old": long ago
 *   person pause|resume                        a wish that is not in the record yet
 *   failover POD [asked=MS] [ordered=MS] [accepted]   so long ago
 */
#ifndef MUSTER_TESTS_PLAN_CASE_PEOPLE_H
#define MUSTER_TESTS_PLAN_CASE_PEOPLE_H

#include "base/text.h"
#include "core/world.h"

/* False if it is none of these; *ret_heard: agents were heard, and servers watched. */
bool case_people_read(struct world *world, struct record *record, struct span keyword,
                      struct span words, bool *ret_heard);

#endif
