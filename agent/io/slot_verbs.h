/* SPDX-License-Identifier: Apache-2.0 */
/* Small questions about many slots in one exchange: "CLUSTER verb slot [number]". Internal to slot_link.c. */
#ifndef MUSTER_IO_SLOT_VERBS_H
#define MUSTER_IO_SLOT_VERBS_H

#include <stddef.h>

#include "base/text.h"
#include "io/redis_link.h"

#define SLOT_VERBS_MAX 257
#define SLOT_VERBS_NUMBER_SIZE 24

/* Too large for a stack: xcalloc'ed for a moment. */
struct slot_verbs {
    struct link_command commands[SLOT_VERBS_MAX];
    struct span words[SLOT_VERBS_MAX][4];
    char numbers[SLOT_VERBS_MAX][2][SLOT_VERBS_NUMBER_SIZE];
    size_t count;
};

/* One more; without `slot`, or `number`, if it is negative. */
void slot_verbs_put(struct slot_verbs *verbs, const char *verb, int slot, int number);

#endif
