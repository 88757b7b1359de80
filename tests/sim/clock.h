/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual time: one queue of events, ordered by time and then by the order in which they were
 * scheduled, so that a run depends on its seed alone. Times are microseconds since the start.
 */
#ifndef MUSTER_SIM_CLOCK_H
#define MUSTER_SIM_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define MS(ms) ((int64_t)(ms)*1000)
#define SECONDS(s) ((int64_t)(s)*1000000)

struct sim;
struct event;
typedef void (*event_fn)(struct sim *sim, const struct event *event);

struct event {
    int64_t at_us;
    uint64_t seq;
    event_fn fn;
    int who;      /* index of the server, agent or pod concerned */
    int other;    /* a second one, or a detail */
    uint64_t run; /* generation of `who`: the callee drops the event if it has changed */
    void *data;   /* owned by the event; the callee frees it or hands it on */
};

struct queue {
    struct event *heap;
    size_t count;
    size_t capacity;
    uint64_t next_seq;
};

void queue_push(struct queue *queue, struct event event);

/* The earliest event; the queue must not be empty. */
struct event queue_pop(struct queue *queue);

/* Frees everything, the data of events that never happened included. */
void queue_deinit(struct queue *queue);

#endif
