/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis_wipe.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <hiredis/alloc.h>

#include "base/alloc.h"
#include "base/cleanup.h"

static void wipe_free(void *old)
{
    if (old)
        explicit_bzero(old, malloc_usable_size(old));
    free(old);
}

/* realloc() may move the bytes and leave a copy of them behind. */
static void *wipe_realloc(void *old, size_t size)
{
    size_t had = old ? malloc_usable_size(old) : 0;
    if (old && size <= had && size > had / 2)
        return old;
    char *fresh = xcalloc(1, size ? size : 1);
    if (old)
        memcpy(fresh, old, had < size ? had : size);
    wipe_free(old);
    return fresh;
}

static void *wipe_malloc(size_t size)
{
    return xcalloc(1, size ? size : 1);
}

static char *wipe_strdup(const char *text)
{
    return xstrdup(text);
}

void redis_wipe_setup(void)
{
    static bool done;
    hiredisAllocFuncs ours = {
        .mallocFn = wipe_malloc,
        .callocFn = xcalloc,
        .reallocFn = wipe_realloc,
        .strdupFn = wipe_strdup,
        .freeFn = wipe_free,
    };
    if (!done)
        (void)hiredisSetAllocators(&ours);
    done = true;
}
