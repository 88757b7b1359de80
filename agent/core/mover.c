/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mover.h"

#include <assert.h>

/* A slot whose step was refused as often in a row is given up for this time. */
#define MOVER_REFUSALS_MAX 3
/* Likewise one with as many orders that did not bring it on; seven do if all goes well. */
#define MOVER_IDLE_MAX 16
#define MOVER_BATCH_FIRST 8

void mover_init(struct mover *mover, const struct mover_config *config)
{
    *mover = (struct mover){.config = *config, .batch = MOVER_BATCH_FIRST, .blocked_why = ""};
    assert(config->budget_ms > 0);
}

unsigned mover_slots(const struct mover *mover)
{
    unsigned sum = 0;
    for (size_t i = 0; i < mover->config.range_count; i++)
        sum += slot_range_count(mover->config.ranges[i]);
    return sum;
}

static void mover_fill(struct mover *mover)
{
    while (mover->window_count < MOVER_WINDOW && mover->range < mover->config.range_count) {
        struct slot_range range = mover->config.ranges[mover->range];
        mover->window[mover->window_count++] =
            (struct mover_slot){.slot = (uint16_t)(range.first + mover->next), .least = INT64_MAX};
        if (++mover->next == slot_range_count(range)) {
            mover->range++;
            mover->next = 0;
        }
    }
}

void mover_pause(struct mover *mover, bool paused)
{
    mover->paused = paused;
}

/* Its next step would open it. */
static bool mover_is_whole(const struct slot_seen *seen, enum slot_step step)
{
    return step == SLOT_IMPORT && seen->source.open == SLOT_CLOSED &&
           seen->dest.open == SLOT_CLOSED && !seen->dest.keys &&
           seen->source.owner == SLOT_OWNER_SOURCE;
}

static void mover_leave(struct mover *mover, size_t at)
{
    mover->window[at] = mover->window[--mover->window_count];
}

static void mover_drop(struct mover *mover, size_t at, const char *why)
{
    if (!why) {
        mover->slots_done++;
    } else {
        if (!mover->slots_blocked++) {
            mover->blocked_slot = mover->window[at].slot;
            mover->blocked_why = why;
        }
    }
    mover_leave(mover, at);
}

/* What is next for a slot of the window; who is done, blocked or paused leaves it. SLOT_WAIT: it left. */
static enum slot_step mover_judge(struct mover *mover, size_t at)
{
    const struct mover_slot *slot = &mover->window[at];
    const char *why;
    enum slot_step step = slot_move_next(&slot->seen, &why);
    if (mover->paused && mover_is_whole(&slot->seen, step)) {
        mover->slots_paused++;
        mover_leave(mover, at);
        return SLOT_WAIT;
    }
    if (slot->refused >= MOVER_REFUSALS_MAX)
        why = "the servers refuse its next step";
    else if (slot->idle >= MOVER_IDLE_MAX && step != SLOT_DONE)
        why = "its steps are carried out, but do not bring it on";
    else if (step != SLOT_DONE && step != SLOT_WAIT)
        return step;
    mover_drop(mover, at, why[0] ? why : NULL);
    return SLOT_WAIT;
}

/*
 * The step of the window that comes first in the order of a move: so the slots of a window keep pace,
 * and as few exchanges as can be are needed.
 */
static enum slot_step mover_choose(struct mover *mover)
{
    enum slot_step first = SLOT_WAIT;
    for (size_t i = 0; i < mover->window_count;) {
        enum slot_step step = mover_judge(mover, i);
        if (step == SLOT_WAIT)
            continue; /* another one is at this place now */
        if (first == SLOT_WAIT || step < first)
            first = step;
        i++;
    }
    return first;
}

static void mover_order_step(const struct mover *mover, enum slot_step step,
                             struct mover_order *order)
{
    unsigned room = mover->batch;
    const char *why;
    order->kind = MOVER_STEP;
    order->step = step;
    for (size_t i = 0; i < mover->window_count; i++) {
        const struct mover_slot *slot = &mover->window[i];
        if (slot_move_next(&slot->seen, &why) != step)
            continue;
        unsigned keys = 0;
        if (step == SLOT_KEYS) {
            if (!room)
                break;
            keys = slot->seen.source.keys < room ? (unsigned)slot->seen.source.keys : room;
            room -= keys;
        }
        order->keys[order->count] = keys;
        order->slots[order->count++] = slot->slot;
    }
}

void mover_next(struct mover *mover, struct mover_order *ret_order)
{
    struct mover_order order = {.why = ""};
    enum slot_step step = SLOT_WAIT;
    if (mover->looked)
        step = mover_choose(mover);
    /* A key may have come before the source migrated, or before the destination was closed. */
    if ((step == SLOT_TAKE || step == SLOT_CLOSE_SOURCE) && !mover->fresh)
        mover->looked = false;
    if (!mover->window_count) {
        mover_fill(mover);
        mover->looked = false;
    }
    if (!mover->window_count) {
        order.kind = mover->slots_blocked  ? MOVER_BLOCKED
                     : mover->slots_paused ? MOVER_PAUSED
                                           : MOVER_DONE;
        order.why = mover->blocked_why;
        order.slots[0] = mover->blocked_slot;
        order.count = mover->slots_blocked > 0;
    } else if (!mover->looked) {
        order.kind = MOVER_LOOK;
        for (size_t i = 0; i < mover->window_count; i++)
            order.slots[order.count++] = mover->window[i].slot;
    } else {
        mover_order_step(mover, step, &order);
    }
    *ret_order = order;
}

static struct mover_slot *mover_find(struct mover *mover, uint16_t slot)
{
    for (size_t i = 0; i < mover->window_count; i++)
        if (mover->window[i].slot == slot)
            return &mover->window[i];
    assert(false && "a slot that was not in the order");
    return &mover->window[0];
}

void mover_saw(struct mover *mover, const struct mover_order *order, const struct slot_seen *seen)
{
    for (size_t i = 0; i < order->count; i++) {
        struct mover_slot *slot = mover_find(mover, order->slots[i]);
        slot->seen = seen[i];
        slot->seen.begun = true;
        slot->seen.cancel = mover->config.cancel;
    }
    mover->looked = mover->fresh = true;
}

/* What the servers answered OK to is so. */
static void mover_apply(struct slot_seen *seen, enum slot_step step)
{
    switch (step) {
    case SLOT_TELL:
        seen->dest.owner = SLOT_OWNER_SOURCE;
        break;
    case SLOT_IMPORT:
        seen->dest.open = SLOT_OPEN_PEER;
        break;
    case SLOT_MIGRATE:
        seen->source.open = SLOT_OPEN_PEER;
        break;
    case SLOT_TAKE:
        seen->dest.owner = SLOT_OWNER_DEST;
        seen->dest.open = SLOT_CLOSED;
        break;
    case SLOT_GIVE:
        seen->source.owner = SLOT_OWNER_DEST;
        seen->source.open = SLOT_CLOSED;
        break;
    case SLOT_CLOSE_SOURCE:
        seen->source.open = SLOT_CLOSED;
        break;
    case SLOT_CLOSE_DEST:
        seen->dest.open = SLOT_CLOSED;
        break;
    case SLOT_WAIT:
    case SLOT_DONE:
    case SLOT_KEYS:
        break;
    }
}

/* Halved when it took too long, a quarter more when there was time for twice as many. */
static void mover_steer(struct mover *mover, unsigned keys, int64_t took_ms)
{
    if (took_ms > mover->config.budget_ms)
        mover->batch = keys > 1 ? (keys < mover->batch ? keys : mover->batch) / 2 : 1;
    else if (took_ms <= mover->config.budget_ms / 2 && keys >= mover->batch)
        mover->batch += mover->batch / 4 + 1;
    if (mover->batch > MOVER_KEYS_MAX)
        mover->batch = MOVER_KEYS_MAX;
}

void mover_did(struct mover *mover, const struct mover_order *order,
               const enum mover_result *results, const int64_t *keys_left, int64_t took_ms)
{
    unsigned keys = 0;
    mover->fresh = false;
    for (size_t i = 0; i < order->count; i++) {
        struct mover_slot *slot = mover_find(mover, order->slots[i]);
        keys += order->keys[i];
        slot->refused = results[i] == MOVER_REFUSED ? slot->refused + 1 : 0;
        slot->idle++;
        if (results[i] == MOVER_REFUSED)
            mover->looked = false;
        else
            mover_apply(&slot->seen, order->step);
        if (order->step != SLOT_KEYS || results[i] == MOVER_REFUSED)
            continue;
        int64_t moved = slot->seen.source.keys - keys_left[i];
        mover->keys_moved += moved > 0 ? (uint64_t)moved : 0;
        slot->seen.source.keys = keys_left[i];
        if (keys_left[i] < slot->least) {
            slot->least = keys_left[i];
            slot->idle = 0;
        }
    }
    if (order->step == SLOT_KEYS)
        mover_steer(mover, keys, took_ms);
}
