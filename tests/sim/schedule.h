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
 * A formation and nothing else, with the leader's agent killed right after its `kill_at`-th send (0:
 * never). *ret_killed tells whether it came to that. Returns as schedule_run() does.
 */
struct form_plan {
    int pods;
    int replicas_per_primary;
    int zones;
    unsigned kill_at;
};
bool schedule_form(struct sim *sim, uint64_t seed, const struct form_plan *plan,
                   struct stats *stats, bool *ret_killed);

/*
 * A formation, then the StatefulSet is scaled, and right after the kill_at-th send of any agent from then on
 * (0: never) something is killed: the agent that sent it, or a server of the move that it carries out.
 */
enum scale_victim { VICTIM_AGENT = 0, VICTIM_SOURCE, VICTIM_DEST };
struct scale_plan {
    int pods;
    int replicas_per_primary;
    int to;
    const struct redis_traits *traits;
    enum scale_victim victim;
    unsigned kill_at;
    bool verbose; /* with its trace, as it happens */
};
bool schedule_scale(struct sim *sim, uint64_t seed, const struct scale_plan *plan,
                    struct stats *stats, bool *ret_killed);

/*
 * Runs the schedule of `seed`. True if no rule was broken; else sim->violation says which. The
 * caller ends with sim_deinit() in both cases.
 */
bool schedule_run(struct sim *sim, uint64_t seed, const struct options *options,
                  struct stats *stats);

#endif
