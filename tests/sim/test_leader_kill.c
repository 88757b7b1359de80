/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leader's agent is killed after every single command of the formation, one run for each: another
 * agent finishes, everything ends in order, and no rule of checks.h is broken on the way.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "schedule.h"

/* More commands than any of these formations has. */
#define SENDS_MAX 400
/* A formation of n pods sends more than one command for each. */
#define SENDS_MIN(pods) (2u * (unsigned)(pods))

static const struct form_plan plans[] = {
    {.pods = 6, .replicas_per_primary = 1, .zones = 3},
    {.pods = 6, .replicas_per_primary = 1, .zones = 1},
    {.pods = 9, .replicas_per_primary = 2, .zones = 3},
    {.pods = 3, .replicas_per_primary = 0, .zones = 1},
};

/* Every point of one formation; the number of points, 0 if one of them ends badly. */
static unsigned kill_everywhere(struct sim *sim, const struct form_plan *shape, uint64_t seed)
{
    for (unsigned at = 1; at <= SENDS_MAX; at++) {
        struct form_plan plan = *shape;
        struct stats stats = {0};
        bool killed;
        plan.kill_at = at;
        bool ok = schedule_form(sim, seed, &plan, &stats, &killed);
        if (!ok) {
            sim_print_trace(sim, 100);
            printf("seed %llu, killed after command %u: %s\n", (unsigned long long)seed, at,
                   sim->violation);
        }
        sim_deinit(sim);
        if (!ok)
            return 0;
        if (!killed)
            return at - 1; /* the formation has fewer commands: all points were tried */
    }
    return 0;
}

int main(void)
{
    struct sim *sim = xcalloc(1, sizeof *sim);
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        const struct form_plan *plan = &plans[i];
        unsigned points = kill_everywhere(sim, plan, 1 + i);
        bool all = points >= SENDS_MIN(plan->pods);
        printf("%s %d pods, %d replicas per primary, zones %d: killed after each of %u commands\n",
               all ? "ok  " : "FAIL", plan->pods, plan->replicas_per_primary, plan->zones, points);
        ok &= all;
    }
    free(sim);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
