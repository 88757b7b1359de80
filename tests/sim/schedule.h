/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One schedule: a set of pods forms its cluster while faults, drawn from the seed, happen; after the
 * last of them it must converge, and then keep still.
 */
#ifndef MUSTER_SIM_SCHEDULE_H
#define MUSTER_SIM_SCHEDULE_H

#include <stdbool.h>

#include "sim.h"

/* Every schedule lasts at least this long and holds at least so many faults. */
#define SCHEDULE_SECONDS_MIN 600
#define SCHEDULE_FAULTS_MIN 3

/*
 * Runs the schedule of `seed`. True if no rule was broken; else sim->violation says which. The
 * caller ends with sim_deinit() in both cases.
 */
bool schedule_run(struct sim *sim, uint64_t seed, const struct options *options,
                  struct stats *stats);

#endif
