/* SPDX-License-Identifier: Apache-2.0 */
#include "core/lease.h"

#include <string.h>

#include "base/text.h"

#define LEASE_BACKOFF_MS 500
#define LEASE_BACKOFF_CAP_MS 5000
/* The first conflict is a race lost: whoever won is read soon. */
#define LEASE_CONFLICT_MS 200

void lease_init(struct lease_state *state, const char *me, int duration_s, uint64_t seed)
{
    *state = (struct lease_state){.duration_s = duration_s, .rng = {seed}};
    text_format(state->me, sizeof state->me, "%s", me);
}

static int64_t lease_duration_ms(const struct lease_state *state)
{
    /* The holder's own duration counts: agents with different settings run side by side. */
    int seconds =
        state->known && state->seen.duration_s > 0 ? state->seen.duration_s : state->duration_s;
    return (int64_t)seconds * 1000;
}

static bool lease_is_mine(const struct lease_state *state)
{
    return state->known && !state->absent && strcmp(state->seen.holder, state->me) == 0;
}

/* On our clock: not changed for its duration since we first saw it so. */
static bool lease_expired(const struct lease_state *state, int64_t boot_ms)
{
    return state->seen.holder[0] == '\0' || boot_ms - state->changed_ms >= lease_duration_ms(state);
}

static enum lease_verb lease_send(struct lease_state *state, enum lease_verb verb, int64_t boot_ms)
{
    state->in_flight = verb;
    state->sent_ms = boot_ms;
    return verb;
}

static void lease_claim(const struct lease_state *state, struct lease *ret_lease)
{
    bool change = state->absent || strcmp(state->seen.holder, state->me) != 0;
    *ret_lease = state->absent ? (struct lease){0} : state->seen;
    text_format(ret_lease->holder, sizeof ret_lease->holder, "%s", state->me);
    ret_lease->duration_s = state->duration_s;
    if (change && !state->absent)
        ret_lease->transitions++;
}

enum lease_verb lease_step(struct lease_state *state, int64_t boot_ms, struct lease *ret_lease)
{
    if (state->in_flight)
        return LEASE_IDLE;
    if (state->releasing) {
        if (!lease_is_mine(state) || !state->held_ms)
            return LEASE_IDLE;
        *ret_lease = state->seen;
        ret_lease->holder[0] = '\0';
        state->held_ms = 0; /* from here on nothing is sent in the Lease's name */
        return lease_send(state, LEASE_UPDATE, boot_ms);
    }
    if (boot_ms < state->next_ms)
        return LEASE_IDLE;
    if (!state->known || state->reread)
        return lease_send(state, LEASE_GET, boot_ms);
    if (state->absent) {
        lease_claim(state, ret_lease);
        return lease_send(state, LEASE_CREATE, boot_ms);
    }
    if (lease_is_mine(state) || lease_expired(state, boot_ms)) {
        lease_claim(state, ret_lease);
        return lease_send(state, LEASE_UPDATE, boot_ms);
    }
    return lease_send(state, LEASE_GET, boot_ms);
}

static void lease_settle(struct lease_state *state)
{
    state->in_flight = LEASE_IDLE;
    state->failures = 0;
    state->known = true;
    state->reread = false;
}

void lease_set_crowd(struct lease_state *state, size_t count)
{
    state->crowd = count;
}

/* See lease_set_crowd(). An unread Lease is no proof of a holder's end: each look is a read. */
static void lease_schedule_in_crowd(struct lease_state *state, int64_t boot_ms)
{
    int64_t duration = lease_duration_ms(state);
    if (lease_expired(state, boot_ms)) {
        state->watching = false;
        state->next_ms = boot_ms; /* unchanged for its whole duration: claim it */
        return;
    }
    state->watching = !state->watching;
    if (state->watching) {
        int64_t jitter = (int64_t)rng_below(&state->rng, (uint64_t)duration / 12 + 1);
        state->next_ms = state->changed_ms + duration + jitter;
    } else {
        /* Two looks in each cycle of one duration and one rest. */
        int64_t rest = (int64_t)state->crowd * 2000 / LEASE_LOOKS_PER_SECOND - duration;
        int64_t least = duration / 3;
        rest = rest > least ? rest : least;
        state->next_ms =
            boot_ms + rest * 3 / 4 + (int64_t)rng_below(&state->rng, (uint64_t)rest / 2 + 1);
    }
    state->reread = true;
    state->believed_ms = state->next_ms + duration / 3;
}

/* A holder renews at a third of the duration; others look about as often, spread by jitter. */
static void lease_schedule(struct lease_state *state, int64_t boot_ms)
{
    int64_t third = lease_duration_ms(state) / 3;
    if (lease_is_mine(state)) {
        state->next_ms = state->sent_ms + third;
        return;
    }
    if (state->crowd > LEASE_CROWD_MAX) {
        lease_schedule_in_crowd(state, boot_ms);
        return;
    }
    int64_t expiry = state->changed_ms + lease_duration_ms(state);
    int64_t look = boot_ms + third + (int64_t)rng_below(&state->rng, (uint64_t)third / 2 + 1);
    /* Not long after the end, or nobody leads for a whole period; apart, or all write at once. */
    int64_t after = expiry + (int64_t)rng_below(&state->rng, (uint64_t)third / 4 + 1);
    state->next_ms = state->seen.holder[0] == '\0'     ? boot_ms
                     : look > after && after > boot_ms ? after
                                                       : look;
}

void lease_on_object(struct lease_state *state, int64_t boot_ms, const struct lease *lease)
{
    bool wrote = state->in_flight == LEASE_CREATE || state->in_flight == LEASE_UPDATE;
    bool changed = !state->known || state->absent ||
                   strcmp(state->seen.holder, lease->holder) != 0 ||
                   strcmp(state->seen.renew_time, lease->renew_time) != 0 ||
                   state->seen.transitions != lease->transitions ||
                   strcmp(state->seen.resource_version, lease->resource_version) != 0;
    lease_settle(state);
    state->absent = false;
    state->seen = *lease;
    if (changed)
        state->changed_ms = boot_ms;
    if (changed || wrote)
        state->conflicts = 0;
    if (!lease_is_mine(state))
        state->held_ms = 0;
    else if (wrote && !state->releasing)
        state->held_ms = state->sent_ms;
    lease_schedule(state, boot_ms);
    /* A Lease that bears our name but that this process did not write is from our earlier life:
     * renew it at once, which is what proves that we hold it. */
    if (lease_is_mine(state) && !wrote)
        state->next_ms = boot_ms;
}

void lease_on_absent(struct lease_state *state, int64_t boot_ms)
{
    lease_settle(state);
    state->absent = true;
    state->held_ms = 0;
    state->next_ms = boot_ms;
}

void lease_on_conflict(struct lease_state *state, int64_t boot_ms)
{
    state->in_flight = LEASE_IDLE;
    state->reread = true;
    state->held_ms = 0;
    /* Refused again though nobody wrote: no race, but a server that takes no writes. */
    state->conflicts++;
    state->next_ms =
        boot_ms + (state->conflicts == 1 ? (int64_t)rng_below(&state->rng, LEASE_CONFLICT_MS)
                                         : backoff_ms(&state->rng, state->conflicts,
                                                      LEASE_CONFLICT_MS, LEASE_BACKOFF_CAP_MS));
}

void lease_on_failure(struct lease_state *state, int64_t boot_ms, int64_t retry_after_ms)
{
    state->in_flight = LEASE_IDLE;
    state->failures++;
    int64_t delay =
        backoff_ms(&state->rng, state->failures, LEASE_BACKOFF_MS, LEASE_BACKOFF_CAP_MS);
    state->next_ms = boot_ms + (delay > retry_after_ms ? delay : retry_after_ms);
    /* A write whose answer was lost may have been done: it is found out by reading. */
    state->reread = true;
}

void lease_release(struct lease_state *state)
{
    state->releasing = true;
}

bool lease_may_act(const struct lease_state *state, int64_t boot_ms)
{
    return state->held_ms && !state->releasing &&
           boot_ms - state->held_ms < lease_duration_ms(state) * 2 / 3;
}

const char *lease_holder(const struct lease_state *state, int64_t boot_ms)
{
    if (!state->known || state->absent)
        return "";
    if (lease_expired(state, boot_ms) && boot_ms >= state->believed_ms)
        return "";
    return state->seen.holder;
}

int64_t lease_next_ms(const struct lease_state *state)
{
    return state->in_flight ? INT64_MAX : state->next_ms;
}
