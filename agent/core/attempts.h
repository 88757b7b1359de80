/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was tried lately. The planner leaves out an action that was just sent (its effect takes a
 * moment to be seen) or that failed and is backing off, so that one failing action starves nothing
 * else and no success is repeated before it could show. Forgetting is harmless: every action is
 * idempotent and the next observation decides.
 */
#ifndef MUSTER_CORE_ATTEMPTS_H
#define MUSTER_CORE_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

#define ATTEMPTS_MAX 1024
/* A failed action waits this long, doubling to the cap. */
#define ATTEMPT_BACKOFF_MS 500
#define ATTEMPT_BACKOFF_CAP_MS 30000

struct attempt {
    uint64_t key;      /* action_key() */
    unsigned failures; /* in a row */
    int64_t until_ms;  /* not again before */
};

struct attempts {
    struct attempt items[ATTEMPTS_MAX];
    size_t count;
    struct rng rng;
};

/* True if the action may be planned now. */
bool attempts_may(const struct attempts *attempts, uint64_t key, int64_t now_ms);

/* It was sent and succeeded: not again for `quiet_ms`. */
void attempts_succeeded(struct attempts *attempts, uint64_t key, int64_t now_ms, int64_t quiet_ms);

/* It failed: backs off, for `least_ms` or longer. Returns the delay in milliseconds. */
int64_t attempts_failed(struct attempts *attempts, uint64_t key, int64_t now_ms, int64_t least_ms);

#endif
