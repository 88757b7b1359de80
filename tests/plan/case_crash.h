/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cases of a crash say beside the cluster:
 *
 *     crash gone=50 [policy=auto|always|off] [max-lag=100] [ordered=20 heir=@3 [refused]] [ceded]
 *
 * The own server's process ended so many ms ago, 100 ms after its last word, with all of its followers
 * online and caught up; everybody else has answered since, and its followers have lost their link. Lines
 * "server" overrule that, with replid=, beat= and for the dead one online=none, beside the usual words.
 */
#ifndef MUSTER_TESTS_PLAN_CASE_CRASH_H
#define MUSTER_TESTS_PLAN_CASE_CRASH_H

#include "base/text.h"
#include "core/world.h"

/* takeover [lost=50000] [asked]: most primaries are lost for so long; a person has ordered a takeover. */
bool case_takeover_read(struct world *world, struct span words);

bool case_crash_read(struct world *world, struct span words);

/* The derived pods, before the lines "server". */
void case_crash_begin(const struct world *world, struct pod *pods);

#endif
