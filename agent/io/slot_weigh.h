/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keys weigh that are to move: MIGRATE blocks both servers for as long as its keys take. Of slots that are not
 * open yet, which may stay where they are; and of keys that go next, which are divided by it. Internal to slot_link.c.
 *
 *     while (slot_weigh_list(...))          its answers to slot_weigh_names(), then
 *         while (slot_weigh_send(...))      its answers to slot_weigh_take()
 */
#ifndef MUSTER_IO_SLOT_WEIGH_H
#define MUSTER_IO_SLOT_WEIGH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/slot_move.h"
#include "io/slot_keys.h"

/* Keys that are listed at a time; of a slot that holds more the others are not weighed. */
#define SLOT_WEIGH_KEYS 2048
/* MEMORY USAGE in one exchange. */
#define SLOT_WEIGH_EXCHANGE 256
#define SLOT_WEIGH_NAME_SIZE 96

struct slot_weigh {
    int64_t limit;              /* bytes; 0 = nothing is weighed */
    struct slot_keys *keys;     /* borrowed: their names */
    size_t nth;                 /* so many of them are weighed, */
    const char *name;           /* up to here, */
    size_t sent;                /* and so many are asked for */
    size_t next;                /* slot that is not listed yet */
    size_t group[MOVER_WINDOW]; /* slots whose keys are weighed now */
    size_t group_count;
    char found
        [SLOT_WEIGH_NAME_SIZE]; /* the last key that is too big, as it may be printed; "" = none */
    int64_t found_bytes;
};

void slot_weigh_init(struct slot_weigh *weigh, int64_t limit, struct slot_keys *keys);

/* Anew, of other slots. */
void slot_weigh_reset(struct slot_weigh *weigh);

/* Asks for the names of the next slots' keys, of those whose move would begin; false if there are none left. */
bool slot_weigh_list(struct slot_weigh *weigh, const uint16_t *slots, const struct slot_seen *seen,
                     size_t count, struct redis_link *link);

/* E_LIMIT: they are too long to be kept. */
must_check int slot_weigh_names(struct slot_weigh *weigh, const struct reply *replies);

/* From the first name on: whatever was taken into `keys`. */
void slot_weigh_begin(struct slot_weigh *weigh);

/* Asks what the next of them weigh; false if all are weighed, or nothing is to be. */
bool slot_weigh_send(struct slot_weigh *weigh, struct redis_link *link);

/* Of a server that refuses to tell all keys weigh nothing. */
void slot_weigh_take(struct slot_weigh *weigh, const struct reply *replies);

/* Marks those of the listed slots as big that have a key above the limit. */
void slot_weigh_mark(struct slot_weigh *weigh, struct slot_seen *seen);

#endif
