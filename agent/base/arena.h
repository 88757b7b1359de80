/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena holds the data of one turn (world, facts, plan) and is reset at the top of the next:
 * no frees, no leaks, no stale pointers. It grows by blocks up to a hard ceiling and keeps its
 * largest block across resets, so a steady turn allocates nothing.
 */
#ifndef MUSTER_BASE_ARENA_H
#define MUSTER_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first; owned */
    size_t used_total;          /* bytes handed out since the last reset */
    size_t ceiling;             /* used_total never exceeds this: aborts instead */
};

/* `ceiling` in bytes. Nothing is allocated yet. */
void arena_init(struct arena *arena, size_t ceiling);

/* Frees everything; the arena may be used again. */
void arena_deinit(struct arena *arena);

/* Forgets every allocation, keeps one block. */
void arena_reset(struct arena *arena);

/* Zeroed, aligned for any type, valid until reset; aborts past the ceiling. Never NULL. */
void *arena_alloc(struct arena *arena, size_t count, size_t size) __attribute__((returns_nonnull));

#define ARENA_NEW(arena, type, count) ((type *)arena_alloc((arena), (count), sizeof(type)))

/* What may still be allocated: to be asked before what another program's input decides the size of. */
size_t arena_room(const struct arena *arena);

/* printf into the arena. */
const char *arena_format(struct arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
