/* SPDX-License-Identifier: Apache-2.0 */
/* Many schedules over several processes, and one schedule with its trace. */
#ifndef MUSTER_SIM_BATCH_H
#define MUSTER_SIM_BATCH_H

#include "sim.h"

#define BATCH_JOBS_MAX 64

struct batch {
    struct options options;
    uint64_t seeds;
    uint64_t first;
    int jobs;
    /* Folder of *.seed files: "seed N [kinds K] [fault NAME]... [scaling]" lines, `#` comments; run first. */
    const char *cases;
};

/* The exit code: 0 if no rule was broken and every rule of the planner was reached. */
int batch_run(const struct batch *batch);
int batch_run_seed(const struct options *options, uint64_t seed);

#endif
