/* SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/alloc.h"

static bool event_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

void queue_push(struct queue *queue, struct event event)
{
    if (queue->count == queue->capacity) {
        queue->capacity = queue->capacity ? queue->capacity * 2 : 256;
        queue->heap = xrealloc(queue->heap, queue->capacity, sizeof *queue->heap);
    }
    event.seq = queue->next_seq++;
    size_t i = queue->count++;
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!event_before(&event, &queue->heap[parent]))
            break;
        queue->heap[i] = queue->heap[parent];
        i = parent;
    }
    queue->heap[i] = event;
}

struct event queue_pop(struct queue *queue)
{
    assert(queue->count > 0);
    struct event top = queue->heap[0];
    struct event last = queue->heap[--queue->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= queue->count)
            break;
        if (child + 1 < queue->count && event_before(&queue->heap[child + 1], &queue->heap[child]))
            child++;
        if (!event_before(&queue->heap[child], &last))
            break;
        queue->heap[i] = queue->heap[child];
        i = child;
    }
    if (queue->count)
        queue->heap[i] = last;
    return top;
}

void queue_deinit(struct queue *queue)
{
    for (size_t i = 0; i < queue->count; i++)
        free(queue->heap[i].data);
    free(queue->heap);
    *queue = (struct queue){0};
}
