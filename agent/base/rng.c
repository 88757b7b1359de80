/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"

#include <assert.h>

#include "base/cleanup.h"

uint64_t rng_next(struct rng *rng)
{
    uint64_t z = (rng->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    assert(bound > 0);
    return rng_next(rng) % bound;
}

int64_t backoff_ms(struct rng *rng, unsigned failures, int64_t base_ms, int64_t cap_ms)
{
    if (!failures)
        return 0;
    int64_t delay = base_ms;
    for (unsigned i = 1; i < failures && delay < cap_ms; i++)
        delay *= 2;
    if (delay > cap_ms)
        delay = cap_ms;
    return delay / 2 + (int64_t)rng_below(rng, (uint64_t)(delay / 2 + 1));
}
