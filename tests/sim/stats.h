/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch of schedules has done: plain counters, added up over processes. */
#ifndef MUSTER_SIM_STATS_H
#define MUSTER_SIM_STATS_H

#include <stdint.h>

#include "core/gate.h"

#define STATS_RULES_MAX 48
#define STATS_FAULTS_MAX 64

struct stats {
    uint64_t schedules;
    uint64_t failures;
    uint64_t simulated_s;
    uint64_t turns;
    uint64_t polls;
    uint64_t actions_ok;
    uint64_t actions_failed;
    uint64_t superseded;
    uint64_t fenced;
    uint64_t elections;
    uint64_t syncs;
    uint64_t wipes; /* data replaced by nothing, by Redis itself */
    uint64_t takeovers;
    uint64_t forced;
    uint64_t handovers;
    uint64_t crashes; /* primaries whose slots went to a replica by the agent's order */
    uint64_t slots_moved;
    uint64_t scalings;
    uint64_t invisible;                   /* writes that found a half-moved key nowhere */
    uint64_t lagged;                      /* keys whose latest write an election lost */
    uint64_t anew;                        /* pods that a person made anew */
    uint64_t risks;                       /* drains that could not tell who lacks data to wait */
    uint64_t verdicts[GATE_GO_EMPTY + 1]; /* of the gate, by enum gate_verdict */
    uint64_t hooks_alone;                 /* started without a word of their agent */
    uint64_t converge_ms_max;
    uint64_t converge_ms_sum;
    uint64_t
        rules[STATS_RULES_MAX]; /* turns whose sentence came from this rule, by plan_rule_name() */
    uint64_t faults[STATS_FAULTS_MAX];
};

void stats_rule(struct stats *stats, const char *rule);
void stats_add(struct stats *sum, const struct stats *more);
void stats_print(const struct stats *stats, double seconds);

/* The name of a rule that no turn has reached, or NULL; `scaling`: of schedules that are there for one rule only. */
const char *stats_unreached_rule(const struct stats *stats, bool scaling);

#endif
