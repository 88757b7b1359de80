/* SPDX-License-Identifier: Apache-2.0 */
#include "core/slot_move.h"

#include <stddef.h>

const char *slot_step_name(enum slot_step step)
{
    switch (step) {
#define X(name, text) \
    case name:        \
        return text;
        SLOT_STEPS(X)
#undef X
    }
    return "unknown";
}

/* What stands in the way, or NULL. */
static const char *slot_obstacle(const struct slot_seen *seen)
{
    const struct slot_side *source = &seen->source;
    const struct slot_side *dest = &seen->dest;
    if (source->owner == SLOT_OWNER_OTHER || dest->owner == SLOT_OWNER_OTHER)
        return "another node owns the slot";
    if (source->open == SLOT_OPEN_OTHER || dest->open == SLOT_OPEN_OTHER)
        return "the slot is half-moved in another direction";
    if (source->owner == SLOT_OWNER_NOBODY)
        return "the source does not know whose the slot is";
    return NULL;
}

/* The destination has taken it: the source learns of it, and what is open is closed. */
static enum slot_step slot_after(const struct slot_seen *seen, const char **ret_why)
{
    const struct slot_side *source = &seen->source;
    if (source->owner == SLOT_OWNER_SOURCE) {
        if (!source->keys)
            return SLOT_GIVE;
        *ret_why = "both own the slot, and the source holds keys of it";
        return SLOT_WAIT;
    }
    if (source->open != SLOT_CLOSED)
        return SLOT_CLOSE_SOURCE;
    return seen->dest.open != SLOT_CLOSED ? SLOT_CLOSE_DEST : SLOT_DONE;
}

/*
 * The destination first: a key that comes there before that is seen before the source is closed, and while
 * the source still sends clients on, none of them is told that such a key is not there.
 */
static enum slot_step slot_cancel(const struct slot_seen *seen)
{
    if (seen->dest.open != SLOT_CLOSED)
        return SLOT_CLOSE_DEST;
    return seen->source.open != SLOT_CLOSED ? SLOT_CLOSE_SOURCE : SLOT_DONE;
}

enum slot_step slot_move_next(const struct slot_seen *seen, const char **ret_why)
{
    const struct slot_side *source = &seen->source;
    const struct slot_side *dest = &seen->dest;
    const char *obstacle = slot_obstacle(seen);
    *ret_why = obstacle ? obstacle : "";
    if (obstacle)
        return SLOT_WAIT;
    if (dest->owner == SLOT_OWNER_DEST)
        return slot_after(seen, ret_why);
    if (!seen->begun) {
        *ret_why = "the record does not say that the slot's move has begun";
        return SLOT_WAIT;
    }
    if (seen->cancel && !dest->keys && source->owner == SLOT_OWNER_SOURCE)
        return slot_cancel(seen);
    bool open = source->open != SLOT_CLOSED || dest->open != SLOT_CLOSED;
    if (seen->big && !open && source->keys && !dest->keys) {
        *ret_why = "a key of the slot is too big to be moved without blocking its clients";
        return SLOT_WAIT;
    }
    if (dest->owner == SLOT_OWNER_NOBODY && source->owner == SLOT_OWNER_SOURCE)
        return SLOT_TELL;
    if (dest->open != SLOT_OPEN_PEER)
        return SLOT_IMPORT;
    /* A source that gave it up first: only the importing one can still take it. */
    if (source->owner == SLOT_OWNER_DEST)
        return SLOT_TAKE;
    if (source->open != SLOT_OPEN_PEER)
        return SLOT_MIGRATE;
    if (source->keys)
        return SLOT_KEYS;
    if (dest->epoch < source->epoch || dest->tied) {
        *ret_why = "the destination does not know the source's epoch yet";
        return SLOT_WAIT;
    }
    return SLOT_TAKE;
}
