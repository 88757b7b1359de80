/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seeded generator (splitmix64) for jitter and for the simulator, and capped exponential backoff.
 * Not for secrets.
 */
#ifndef MUSTER_BASE_RNG_H
#define MUSTER_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *rng);

/* Even over 0..bound-1; bound > 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/*
 * Delay before try number `failures` + 1, in milliseconds: base * 2^(failures-1), at most `cap`,
 * of which the upper half is random so that agents that failed together do not return together.
 * 0 when failures is 0.
 */
int64_t backoff_ms(struct rng *rng, unsigned failures, int64_t base_ms, int64_t cap_ms);

#endif
