/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kill matrix of scaling (FAULTS E6): after a single command of all that a change of the size takes, the agent
 * that sent it, or a server of the move, is killed. Whoever comes next goes on from there: no key is lost, no slot
 * stays half-moved, and the size is reached.
 *
 *     test_sim_scale_kill              each STEP-th command of each line
 *     test_sim_scale_kill 1 [LINE]     each one, of all lines or of this one (from 0)
 *     test_sim_scale_kill 1 LINE AT    this command only, with the whole trace
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "schedule.h"

/* More commands than any of these changes takes. */
#define SENDS_MAX 6000
#define STEP 41

static const struct line {
    const char *what;
    struct scale_plan plan;
} lines[] = {
    {"out, agent", {6, 1, 8, &redis_traits_70, VICTIM_AGENT, 0, false}},
    {"out, source", {6, 1, 8, &redis_traits_70, VICTIM_SOURCE, 0, false}},
    {"out, destination", {6, 1, 8, &redis_traits_70, VICTIM_DEST, 0, false}},
    {"in, agent", {8, 1, 6, &redis_traits_70, VICTIM_AGENT, 0, false}},
    {"in, source", {8, 1, 6, &redis_traits_70, VICTIM_SOURCE, 0, false}},
    {"in, destination", {8, 1, 6, &redis_traits_70, VICTIM_DEST, 0, false}},
    {"valkey, out, agent", {6, 1, 8, &redis_traits_valkey9, VICTIM_AGENT, 0, false}},
    {"valkey, out, source", {6, 1, 8, &redis_traits_valkey9, VICTIM_SOURCE, 0, false}},
    {"valkey, out, destination", {6, 1, 8, &redis_traits_valkey9, VICTIM_DEST, 0, false}},
    {"without replicas, out, agent", {3, 0, 4, &redis_traits_70, VICTIM_AGENT, 0, false}},
};

/* True if it was killed and all is well in the end, or there was nothing left to be killed (*ret_killed). */
static bool kill_once(struct sim *sim, const struct line *line, unsigned at, bool verbose,
                      bool *ret_killed)
{
    struct stats stats = {0};
    struct scale_plan plan = line->plan;
    plan.kill_at = at;
    plan.verbose = verbose;
    bool ok = schedule_scale(sim, 1, &plan, &stats, ret_killed);
    if (!ok)
        printf("FAIL %s, killed after command %u: %s\n", line->what, at, sim->violation);
    sim_deinit(sim);
    return ok;
}

static bool kill_along(struct sim *sim, const struct line *line, uint64_t first, uint64_t step)
{
    unsigned points = 0;
    unsigned failed = 0;
    bool killed = true;
    for (uint64_t at = first; killed && at < SENDS_MAX; at += step) {
        failed += !kill_once(sim, line, (unsigned)at, false, &killed);
        points += killed;
    }
    printf("%s %s: killed after %u commands, %u ended badly\n", failed ? "FAIL" : "ok  ",
           line->what, points, failed);
    return !failed;
}

int main(int argc, char **argv)
{
    uint64_t step = STEP;
    uint64_t only = ARRAY_LEN(lines);
    if (argc > 1 && (!text_to_u64(span_of(argv[1]), SENDS_MAX, &step) || !step))
        return 2;
    if (argc > 2 && !text_to_u64(span_of(argv[2]), ARRAY_LEN(lines), &only))
        return 2;
    uint64_t at;
    bool killed;
    struct sim *sim = xcalloc(1, sizeof *sim);
    if (argc > 3 && only < ARRAY_LEN(lines) && text_to_u64(span_of(argv[3]), SENDS_MAX, &at))
        return kill_once(sim, &lines[only], (unsigned)at, true, &killed) ? 0 : 1;
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (only == ARRAY_LEN(lines) || only == i)
            ok &= kill_along(sim, &lines[i], 1 + i % step, step);
    free(sim);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
