/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/plan.h"
#include "faults.h"

void stats_rule(struct stats *stats, const char *rule)
{
    const char *name;
    for (size_t i = 0; i < STATS_RULES_MAX && (name = plan_rule_name(i)) != NULL; i++) {
        if (name == rule) { /* a plan's rule is of this table */
            stats->rules[i]++;
            return;
        }
    }
}

void stats_add(struct stats *sum, const struct stats *more)
{
    uint64_t longest =
        sum->converge_ms_max > more->converge_ms_max ? sum->converge_ms_max : more->converge_ms_max;
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)more;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
    sum->converge_ms_max = longest;
}

void stats_print(const struct stats *s, double seconds)
{
    printf("schedules %" PRIu64 " (%.1f/s), failures %" PRIu64 ", simulated %" PRIu64 " h\n",
           s->schedules, (double)s->schedules / seconds, s->failures, s->simulated_s / 3600);
    printf("turns %" PRIu64 ", polls %" PRIu64 ", commands ok %" PRIu64 ", failed %" PRIu64
           ", superseded %" PRIu64 ", fenced %" PRIu64 "\n",
           s->turns, s->polls, s->actions_ok, s->actions_failed, s->superseded, s->fenced);
    printf("elections %" PRIu64 ", syncs %" PRIu64 ", data wiped by Redis itself %" PRIu64 "\n",
           s->elections, s->syncs, s->wipes);
    printf("gate: waits %" PRIu64 ", go %" PRIu64 ", rewritten %" PRIu64 ", alone %" PRIu64
           ", empty %" PRIu64 ", without its agent %" PRIu64 "; takeovers %" PRIu64
           ", forced %" PRIu64 ", handed over %" PRIu64 ", after a crash %" PRIu64
           ", stopped at a risk %" PRIu64 "\n",
           s->verdicts[GATE_WAIT], s->verdicts[GATE_GO], s->verdicts[GATE_GO_REWRITTEN],
           s->verdicts[GATE_GO_ALONE], s->verdicts[GATE_GO_EMPTY], s->hooks_alone, s->takeovers,
           s->forced, s->handovers, s->crashes, s->risks);
    if (s->scalings)
        printf("scalings %" PRIu64 ", slots moved %" PRIu64 ", keys not found for a moment %" PRIu64
               ", lost by elections %" PRIu64 ", pods made anew %" PRIu64 "\n",
               s->scalings, s->slots_moved, s->invisible, s->lagged, s->anew);
    if (s->schedules)
        printf("converged after the last fault within: mean %.1f s, longest %.1f s\n",
               (double)s->converge_ms_sum / 1000 / (double)s->schedules,
               (double)s->converge_ms_max / 1000);
    printf("rules:");
    for (size_t i = 0; i < STATS_RULES_MAX && plan_rule_name(i); i++)
        printf(" %s=%" PRIu64, plan_rule_name(i), s->rules[i]);
    printf("\nfaults:");
    for (size_t i = 0; i < faults_count(); i++)
        printf(" %s=%" PRIu64, faults_name(i), s->faults[i]);
    printf("\n");
}

const char *stats_unreached_rule(const struct stats *stats, bool scaling)
{
    const char *name;
    for (size_t i = 0; i < STATS_RULES_MAX && (name = plan_rule_name(i)) != NULL; i++)
        if (!stats->rules[i] && scaling == (strcmp(name, "scale") == 0))
            return name;
    return NULL;
}
