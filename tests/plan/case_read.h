/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a case: a story in comments, a cluster with what is odd about it, and behind the line
 * "expect" what the planner says and does (plan/case_render.h). One fact a line: a keyword, what it
 * is about, words and key=value. NAME is a pod or "*" for all; @N is the node id world_build_id(N).
 *
 *     cluster STAGE pods=N shards=N       first; virgin intent prepared met placed restored formed
 *     hosts [disputed] [why SENTENCE]     without Kubernetes; why this agent does not act
 *     agent NAME [leader=NAME|-] [ip=IP]  who observes and who leads; else muster-0 leads and observes
 *     settling
 *     replicas-per-primary N
 *     viewers N                           the view is read from the first so many pods only
 *     set [replicas=N] [uid=U] [unknown] [absent] [no-volumes]
 *     gone MS                             the recorded cluster has been seen gone for so long
 *     reform                              policy.lostCluster
 *     api age=MS | api never
 *     record unknown|absent|deleted|broken|forming|formed [set-uid=U] [generation=N]
 *     member NAME [id=@N] [shard=N|-] [role=primary|replica] [epoch=N] [nt=MS] [delay=S] [gone]
 *     forget @N                           on the record's list
 *     pod NAME [ip=IP|-] [other-family] [node=N|-] [zone=Z|-] [zone-pending] [terminating] [gone]
 *          [held=empty|data]          its server waits at its agent's gate, with or without its data
 *          [waits=MS]                 for so long
 *     new-id NAME @N                      the pod's server lost its volume: alone, under this id
 *     node @N [pod=NAME|-] [component=N] [role=primary|@N] [epoch=N] [flags=a,b] [slots=1-2,3|-]
 *             [ip=IP]                     the truth of one node, also of one that is nobody's
 *     view NAME @N [missing] [untold] [flags=a,b] [ip=IP] [epoch=N]   what this server thinks of that
 *             node; untold: not whom it follows
 *     nodes NAME                          its CLUSTER NODES instead, in the indented lines that follow
 *     server NAME [reach=R] [age=MS] [view-age=MS] [view=none] [id=@N] [role=R] [keys=N] [offset=N] [nt=MS]
 *            [delay=S] [migration=yes|no|unknown] [no-failover=yes|no|unknown] [announce=IP|-] [cluster=no] [link=down] [asks=IP] [state=fail]
 *            [known=N] [epoch=N] [current=N] [assigned=N] [uptime=MS]  overrules what follows from the views
 *            [votes=N] [version=N] [kind=valkey] [slot-jobs=N] [aof=yes|no|unknown] [aof-written=no]
 *            [rewriting=yes] [save=yes|no|unknown]
 *            [min-replicas=N]
 *     guard-off GUARD                     plan/case_words.h; without that rule
 *     drain, watched, past, and more of pods: plan/case_drain.h; crash: plan/case_crash.h;
 *     pause, person, failover: plan/case_people.h; scaling, move, unread, looked, open: plan/case_scale.h
 *     tried [NAME]                        all that was planned, or that pod's part, was just sent
 */
#ifndef MUSTER_TESTS_PLAN_CASE_READ_H
#define MUSTER_TESTS_PLAN_CASE_READ_H

#include "base/err.h"
#include "base/text.h"
#include "plan/truth.h"

struct case_world {
    const struct world *world;
    bool tried;
    struct span tried_by; /* this pod only; empty = all */
    size_t expect_at;     /* offset behind the line "expect" */
};

/* Everything lives in `arena`. E_INVALID with the number of the line. */
must_check int case_read(struct span text, struct arena *arena, struct case_world *ret_case,
                         struct err *err);

#endif
