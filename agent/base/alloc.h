/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation that cannot fail: out of memory aborts. The container has a memory limit and a restart
 * policy, and every input is bounded before it is stored (base/limits.h), so an abort here means a
 * wrong limit, not a wrong input.
 */
#ifndef MUSTER_BASE_ALLOC_H
#define MUSTER_BASE_ALLOC_H

#include <stddef.h>

/* Zeroed memory for `count` items of `size` bytes; aborts on overflow. Owned by the caller. */
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* Resizes to `count` items of `size` bytes, keeping the contents; what is new is not zeroed. */
void *xrealloc(void *p, size_t count, size_t size) __attribute__((returns_nonnull));

/* Copies of a string, or of its first `len` bytes and a NUL. */
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t len) __attribute__((malloc, returns_nonnull));

/* After much was freed: gives whole free pages back to the kernel, where the C library can. */
void alloc_trim(void);

#endif
