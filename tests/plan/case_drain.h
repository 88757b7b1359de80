/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cases of a drain say beside the cluster:
 *
 *     drain since=200 [epoch=1 slots=5461 handed=50] [tells=50] [told]    preStop asks for so many ms
 *     watched 120000                                           all servers were seen for so long
 *     past muster-3 [first=4000] [attempt=4000] [voted=4000]   what was seen of one, and how long ago
 *     pod muster-3 [agent=silent [seen=7000]] [leaving=asked|goes] [unheard] [heard=0] [grace=30000] [outdated]
 * and of placement:
 *     place enforce|warn [interval=600000] [moved=3600000] [quiet=3600000] [wanted=200] [hurry=200] [fruitless=0]
 *                       how long ago each; wanted, hurry: 0 = never
 */
#ifndef MUSTER_TESTS_PLAN_CASE_DRAIN_H
#define MUSTER_TESTS_PLAN_CASE_DRAIN_H

#include "base/arena.h"
#include "base/text.h"
#include "core/world.h"

#define CASE_DRAIN_PASTS_MAX 8

struct case_drain {
    bool used;
    int64_t watched_ms; /* 0 = the default */
    struct span pasts[CASE_DRAIN_PASTS_MAX];
    size_t past_count;
};

bool case_drain_read(struct case_drain *drain, struct world *world, struct span words);
bool case_drain_past(struct case_drain *drain, struct span keyword, struct span words);
bool case_drain_place(struct case_drain *drain, struct world *world, struct span words);
void case_drain_pod(struct pod *pod, int64_t now_ms, struct span words);

/* The history of the derived pods, once everything else is known. */
bool case_drain_finish(const struct case_drain *drain, struct world *world, struct pod *pods,
                       struct arena *arena);

#endif
