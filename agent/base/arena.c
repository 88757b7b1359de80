/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define ARENA_BLOCK_MIN ((size_t)16 * 1024)

struct arena_block {
    struct arena_block *next;
    size_t size;
    size_t used;
    alignas(max_align_t) unsigned char bytes[];
};

void arena_init(struct arena *arena, size_t ceiling)
{
    *arena = (struct arena){.ceiling = ceiling};
}

void arena_deinit(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    arena->used_total = 0;
}

void arena_reset(struct arena *arena)
{
    struct arena_block *keep = arena->blocks;
    for (struct arena_block *b = keep ? keep->next : NULL; b;) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
    }
    arena->used_total = 0;
}

static struct arena_block *arena_grow(struct arena *arena, size_t need)
{
    /* Doubling makes the newest block the largest, so the one kept by reset fits a whole turn soon. */
    size_t size = arena->blocks ? arena->blocks->size * 2 : ARENA_BLOCK_MIN;
    if (size > arena->ceiling)
        size = arena->ceiling;
    if (size < need)
        size = need;
    struct arena_block *block = xrealloc(NULL, 1, sizeof *block + size);
    *block = (struct arena_block){.next = arena->blocks, .size = size};
    arena->blocks = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
    assert(size == 0 || count <= (SIZE_MAX - alignof(max_align_t)) / size);
    const size_t align = alignof(max_align_t);
    size_t bytes = (count * size + align - 1) / align * align;
    assert(bytes <= arena->ceiling - arena->used_total);
    struct arena_block *block = arena->blocks;
    if (!block || block->size - block->used < bytes)
        block = arena_grow(arena, bytes);
    void *p = block->bytes + block->used;
    block->used += bytes;
    arena->used_total += bytes;
    memset(p, 0, bytes);
    return p;
}

size_t arena_room(const struct arena *arena)
{
    return arena->ceiling - arena->used_total;
}

const char *arena_format(struct arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(len >= 0);
    char *text = ARENA_NEW(arena, char, (size_t)len + 1);
    va_start(args, fmt);
    (void)vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}
