/* SPDX-License-Identifier: Apache-2.0 */
#include "io/peer_clock.h"

#include "io/peer_poll.h"

static bool clock_is_hurried(const struct peer_clock *clock, int64_t now_ms)
{
    return clock->hurry_period_ms && now_ms < clock->hurry_until_ms;
}

/* INT64_MAX for never, 0 for at once. */
static int64_t clock_due_ms(int64_t sent_ms, int64_t period_ms)
{
    if (!period_ms)
        return INT64_MAX;
    return sent_ms ? sent_ms + period_ms : 0;
}

static int64_t clock_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t clock_full_due_ms(const struct peer_clock *clock, int64_t now_ms)
{
    int64_t due_ms = clock_due_ms(clock->full_sent_ms, clock->rhythm.full_ms);
    if (clock_is_hurried(clock, now_ms))
        due_ms = clock_min(due_ms, clock_due_ms(clock->full_sent_ms, clock->hurry_period_ms));
    return due_ms;
}

bool peer_clock_full_due(const struct peer_clock *clock, int64_t now_ms)
{
    return clock_full_due_ms(clock, now_ms) <= now_ms + PEER_SLACK_MS;
}

int64_t peer_clock_next_ms(const struct peer_clock *clock, int64_t now_ms, bool full_allowed)
{
    int64_t due_ms = full_allowed ? clock_full_due_ms(clock, now_ms) : INT64_MAX;
    due_ms = clock_min(due_ms, clock_due_ms(clock->light_sent_ms, clock->rhythm.light_ms));
    return clock_min(due_ms, clock_due_ms(clock->beat_sent_ms, clock->rhythm.beat_ms));
}

unsigned peer_clock_due(const struct peer_clock *clock, int64_t now_ms, bool full_allowed)
{
    int64_t soon_ms = now_ms + PEER_SLACK_MS;
    unsigned ask = 0;
    if (full_allowed && peer_clock_full_due(clock, now_ms))
        ask = POLL_BEAT | POLL_LIGHT | POLL_FULL;
    else if (clock_due_ms(clock->light_sent_ms, clock->rhythm.light_ms) <= soon_ms)
        ask = POLL_BEAT | POLL_LIGHT;
    else if (clock_due_ms(clock->beat_sent_ms, clock->rhythm.beat_ms) <= soon_ms)
        ask = POLL_BEAT;
    if (!(ask & POLL_LIGHT))
        return ask;
    /* Whoever hurries waits for settings too. */
    if (clock_is_hurried(clock, now_ms) ||
        clock_due_ms(clock->settings_sent_ms, PEER_SETTINGS_MS) <= soon_ms)
        ask |= POLL_SETTINGS;
    if (clock_due_ms(clock->wide_sent_ms, clock->rhythm.wide_ms) <= soon_ms)
        ask |= POLL_WIDE;
    return ask;
}

void peer_clock_sent(struct peer_clock *clock, unsigned ask, int64_t now_ms)
{
    clock->beat_sent_ms = now_ms;
    if (ask & POLL_LIGHT)
        clock->light_sent_ms = now_ms;
    if (ask & POLL_FULL)
        clock->full_sent_ms = now_ms;
    if (ask & POLL_SETTINGS)
        clock->settings_sent_ms = now_ms;
    if (ask & POLL_WIDE)
        clock->wide_sent_ms = now_ms;
}

void peer_clock_reset(struct peer_clock *clock)
{
    clock->beat_sent_ms = clock->light_sent_ms = 0;
    clock->full_sent_ms = clock->settings_sent_ms = 0;
}
