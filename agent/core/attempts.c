/* SPDX-License-Identifier: Apache-2.0 */
#include "core/attempts.h"

static const struct attempt *attempts_find(const struct attempts *attempts, uint64_t key)
{
    for (size_t i = 0; i < attempts->count; i++)
        if (attempts->items[i].key == key)
            return &attempts->items[i];
    return NULL;
}

bool attempts_may(const struct attempts *attempts, uint64_t key, int64_t now_ms)
{
    const struct attempt *a = attempts_find(attempts, key);
    return !a || now_ms >= a->until_ms;
}

/* The entry for `key`; a full table gives up the one that ends first. */
static struct attempt *attempts_enter(struct attempts *attempts, uint64_t key)
{
    struct attempt *oldest = &attempts->items[0];
    for (size_t i = 0; i < attempts->count; i++) {
        if (attempts->items[i].key == key)
            return &attempts->items[i];
        if (attempts->items[i].until_ms < oldest->until_ms)
            oldest = &attempts->items[i];
    }
    if (attempts->count < ATTEMPTS_MAX)
        oldest = &attempts->items[attempts->count++];
    *oldest = (struct attempt){.key = key};
    return oldest;
}

void attempts_succeeded(struct attempts *attempts, uint64_t key, int64_t now_ms, int64_t quiet_ms)
{
    struct attempt *a = attempts_enter(attempts, key);
    a->failures = 0;
    a->until_ms = now_ms + quiet_ms;
}

int64_t attempts_failed(struct attempts *attempts, uint64_t key, int64_t now_ms, int64_t least_ms)
{
    struct attempt *a = attempts_enter(attempts, key);
    a->failures++;
    int64_t delay =
        backoff_ms(&attempts->rng, a->failures, ATTEMPT_BACKOFF_MS, ATTEMPT_BACKOFF_CAP_MS);
    if (delay < least_ms)
        delay = least_ms;
    a->until_ms = now_ms + delay;
    return delay;
}
