/* SPDX-License-Identifier: Apache-2.0 */
/* When a server is to be asked what. Times are clock_mono_ms(); no connection and no clock here. */
#ifndef MUSTER_IO_PEER_CLOCK_H
#define MUSTER_IO_PEER_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/observe.h"

/* libevent's coarse clock may fire a timer this much early. */
#define PEER_SLACK_MS 5
/* Settings are read for each new process, and again this often. */
#define PEER_SETTINGS_MS 10000

struct peer_clock {
    struct observe_rhythm rhythm;
    int64_t hurry_period_ms; /* in full so often, */
    int64_t hurry_until_ms;  /* until then */

    /* When each kind was asked last; 0 = never: at once, if it is asked at all. */
    int64_t beat_sent_ms;
    int64_t light_sent_ms;
    int64_t full_sent_ms;
    int64_t settings_sent_ms;
    int64_t wide_sent_ms;
};

/* What is due now, of enum poll_ask; 0 = nothing. `full_allowed`: else no POLL_FULL. */
unsigned peer_clock_due(const struct peer_clock *clock, int64_t now_ms, bool full_allowed);

/* A full view is due. */
bool peer_clock_full_due(const struct peer_clock *clock, int64_t now_ms);

/* When something is due next, INT64_MAX for never; without full views if they are not allowed. */
int64_t peer_clock_next_ms(const struct peer_clock *clock, int64_t now_ms, bool full_allowed);

void peer_clock_sent(struct peer_clock *clock, unsigned ask, int64_t now_ms);

/* Whoever answers next is asked everything. */
void peer_clock_reset(struct peer_clock *clock);

#endif
