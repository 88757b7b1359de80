/* SPDX-License-Identifier: Apache-2.0 */
/* What the leader remembers of its looks at slots that are to move. */
#include "core/scale_see.h"

static struct scale_seen *watch_find(struct scale_watch *watch, const struct scale_seen *seen)
{
    for (size_t i = 0; i < watch->count; i++)
        if (node_id_eq(&watch->seen[i].from, &seen->from) &&
            node_id_eq(&watch->seen[i].to, &seen->to))
            return &watch->seen[i];
    return NULL;
}

/* A place for a pair that has none: a new one, or the one that was looked at longest ago. */
static struct scale_seen *watch_place(struct scale_watch *watch)
{
    if (watch->count < SCALE_PAIRS_MAX)
        return &watch->seen[watch->count++];
    struct scale_seen *oldest = &watch->seen[0];
    for (size_t i = 1; i < watch->count; i++)
        if (watch->seen[i].asked_ms < oldest->asked_ms)
            oldest = &watch->seen[i];
    return oldest;
}

void scale_note(struct scale_watch *watch, const struct scale_seen *seen,
                const struct slot_set *looked)
{
    struct scale_seen *at = watch_find(watch, seen);
    struct scale_seen now = *seen;
    now.keys_ms = seen->asked_ms;
    bool joins =
        at && at->generation == seen->generation && seen->asked_ms - at->keys_ms <= SCALE_KEYS_MS;
    for (size_t i = 0; joins && i < sizeof now.keys.words / sizeof now.keys.words[0]; i++) {
        uint64_t kept = at->keys.words[i] & ~looked->words[i];
        now.keys.words[i] |= kept;
        if (kept)
            now.keys_ms = at->keys_ms;
    }
    *(at ? at : watch_place(watch)) = now;
}
