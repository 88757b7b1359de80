/* SPDX-License-Identifier: Apache-2.0 */
#include "core/scale_pace.h"

/* Nothing is foretold before: a new shard's first slot waits for its replicas. */
#define PACE_KNOWN_MS 2000

void scale_pace_note(struct scale_pace *pace, unsigned left, int64_t now_ms)
{
    if (!left)
        *pace = (struct scale_pace){0};
    else if (!pace->since_ms || left > pace->left)
        *pace = (struct scale_pace){now_ms, left, left};
    else
        pace->left = left;
}

int64_t scale_pace_seconds(const struct scale_pace *pace, int64_t now_ms)
{
    int64_t took_ms = now_ms - pace->since_ms;
    unsigned moved = pace->first - pace->left;
    if (!pace->since_ms || took_ms < PACE_KNOWN_MS || !moved)
        return 0;
    return (took_ms * pace->left / moved + 999) / 1000;
}
