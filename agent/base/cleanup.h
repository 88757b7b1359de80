/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound ownership: `auto_free char *p = ...;` frees at the end of the scope, TAKE(p) hands
 * the pointer on. Cleanups of other types are defined beside each type with DEFINE_CLEANUP.
 */
#ifndef MUSTER_BASE_CLEANUP_H
#define MUSTER_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define cleanup_with(function) __attribute__((cleanup(function)))

static inline void cleanup_free_ptr(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_close_fd(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

#define auto_free cleanup_with(cleanup_free_ptr)
#define auto_close cleanup_with(cleanup_close_fd)

/* Moves the pointer out of an auto_ variable, which is left NULL. */
#define TAKE(p)                        \
    __extension__({                    \
        __typeof__(p) take_tmp_ = (p); \
        (p) = NULL;                    \
        take_tmp_;                     \
    })

/* DEFINE_CLEANUP(kube_request_free, struct kube_request *) gives cleanup_with(kube_request_freep). */
#define DEFINE_CLEANUP(function, type)      \
    static inline void function##p(type *p) \
    {                                       \
        if (*p)                             \
            function(*p);                   \
    }

/* Moves the descriptor out of an auto_close variable, which is left closed (-1). */
static inline int cleanup_take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#if defined(__has_include)
#if __has_include("base/banned.h")
#include "base/banned.h"
#endif
#endif

#endif
