/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults, drawn from the seed. What Redis does badly without our doing is left out unless `hazards`
 * is set (tests/sim/README.md names the issue that will deal with each):
 *   - a primary that restarts with nodes.conf and without its data (FACTS 0.1),
 *   - a pod that takes over an address from which a server still replicates (FACTS 0.2, M7b),
 *   - losses that no election can mend: of a primary's volume without a replica in sync, or of a
 *     majority of the primaries (FACTS 7, 8).
 */
#ifndef MUSTER_SIM_FAULTS_H
#define MUSTER_SIM_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model_api.h"

struct sim;
struct agent;
struct redis;

#define RELEASED_MAX 64

struct faults {
    int64_t last_us; /* until then something is broken on purpose */
    int64_t hold_us; /* until then no other fault: an election needs its time */
    int cuts;        /* partitions that last */
    int planned;     /* still to be injected */
    int injected;
    uint64_t kinds; /* mask by index: what this schedule may inject */
    size_t drawn;   /* kinds that are drawn from */
    bool strike;    /* at the primary that the leader's next re-parenting is for */
    bool uneven;    /* roles may end unevenly: shards lost copies for good */

    unsigned act_at_send; /* counts down with each send of a leader; then it crashes or stalls */
    bool pause_at_send;

    int64_t frozen_until_us[PODS_MAX]; /* the API server of this agent lags behind */
    int64_t list_age_us[PODS_MAX];     /* by so much */
    bool swap_volume[PODS_MAX];        /* the next pod of this name gets another cluster's volume */

    struct {
        int addr;
        int64_t at_us;
    } released[RELEASED_MAX];
    int released_count;
    int foreign; /* strangers' servers started so far */
};

size_t faults_count(void);
const char *faults_name(size_t index);
size_t faults_find(const char *name); /* faults_count() if there is none */

/* The kinds that happen while slots move, as a mask; what people order is not in seeds that were kept before. */
uint64_t faults_beside_scaling(bool people);

/* So many faults at moments between the two. */
void faults_plan(struct sim *sim, int count, int64_t first_us, int64_t last_us);

/* One of these kinds now; false if it is not possible at present. */
bool faults_inject(struct sim *sim, size_t kind);

/* Of schedules that scale (faults_scale.c). */
void scale_setup(struct sim *sim);
struct scale_plan;
void scale_setup_plan(struct sim *sim, const struct scale_plan *plan);
void scale_kills(struct sim *sim, struct agent *agent); /* what the plan has killed at this send */
void scale_setup_keys(struct sim *sim);
void scale_write(struct sim *sim);
void scale_person(struct sim *sim);

/* Where the other parts tell what faults build on. */
void faults_on_send(struct sim *sim, struct agent *agent);
void faults_on_reparent(struct sim *sim, const struct redis *r, const char *primary);
void faults_addr_released(struct sim *sim, int addr);
void faults_volume_swapped(struct sim *sim, int pod);

#endif
