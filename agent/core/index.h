/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index from strings to numbers, built once per turn, so that the planner stays near-linear in the
 * number of nodes. Sorted by hash: keys of one kind share long prefixes.
 */
#ifndef MUSTER_CORE_INDEX_H
#define MUSTER_CORE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

#define INDEX_NONE SIZE_MAX

struct index_entry {
    uint64_t hash;
    const char *key; /* borrowed */
    size_t value;
};

struct index {
    struct index_entry *entries;
    size_t count;
};

/* Room for `capacity` entries in the arena. */
void index_init(struct index *index, struct arena *arena, size_t capacity);

/* Appends; the capacity must suffice. index_sort() before the first index_find() or walk. */
void index_add(struct index *index, const char *key, size_t value);

/* Sorts; equal keys are then neighbours. */
void index_sort(struct index *index);

/* The entries of `key`, by value; *ret_count may be 0. */
const struct index_entry *index_find_all(const struct index *index, const char *key,
                                         size_t *ret_count);

/* The value of `key`, or INDEX_NONE. Of equal keys the one with the lowest value. */
size_t index_find(const struct index *index, const char *key);

#endif
