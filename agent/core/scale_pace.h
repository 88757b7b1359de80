/* SPDX-License-Identifier: Apache-2.0 */
/* How fast slots move, for people: from what was left at the beginning, and since when. */
#ifndef MUSTER_CORE_SCALE_PACE_H
#define MUSTER_CORE_SCALE_PACE_H

#include <stdint.h>

/* Zero: nothing moves. What the leader remembers from turn to turn. */
struct scale_pace {
    int64_t since_ms;
    unsigned first; /* slots that were left then, */
    unsigned left;  /* and now */
};

/* What this turn found; more than before, as after another size, begins anew. */
void scale_pace_note(struct scale_pace *pace, unsigned left, int64_t now_ms);

/* Seconds until nothing is left, if it goes on like this; 0 = not known yet. */
int64_t scale_pace_seconds(const struct scale_pace *pace, int64_t now_ms);

#endif
