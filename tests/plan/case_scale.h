/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cases of scaling say beside the cluster:
 *
 *     scaling auto [generation=N] [evening] [idle] [unclear]   policy.scaling; what the record says of its moves;
 *                                                      idle: no agent carries any out;
 *                                                      unclear: they are of a later release
 *     move @F @T slots=0-99,200 [cancel] [anchor=N]    one of them
 *     unread NAME                                      the agent beside it has read an earlier generation
 *     looked @F @T [clean=0-9] [bare=9] [keys=8] [age=MS] what the leader saw at both
 *     open NAME importing|migrating SLOT @N            a slot that this server shows as half-moved
 */
#ifndef MUSTER_TESTS_PLAN_CASE_SCALE_H
#define MUSTER_TESTS_PLAN_CASE_SCALE_H

#include "base/arena.h"
#include "base/text.h"
#include "core/record.h"
#include "core/scale_see.h"
#include "core/world.h"

#define CASE_SCALE_MAX 8

struct case_scale {
    struct record_move moves[CASE_SCALE_MAX];
    struct scale_watch watch;
    bool idle;
    struct span unread[CASE_SCALE_MAX];
    size_t unread_count;
    struct span open[CASE_SCALE_MAX];
    size_t open_count;
};

/* False if the keyword is none of these, or the words are not understood. */
bool case_scale_read(struct case_scale *scale, struct span keyword, struct span words,
                     struct world *world, struct record *record, struct arena *arena);

/* What the derived pods tell of it. */
bool case_scale_finish(struct case_scale *scale, struct world *world, struct pod *pods,
                       struct arena *arena);

#endif
