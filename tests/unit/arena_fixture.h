/* SPDX-License-Identifier: Apache-2.0 */
/* One arena for a group of tests, which each finds as its state. */
#ifndef MUSTER_TESTS_UNIT_ARENA_FIXTURE_H
#define MUSTER_TESTS_UNIT_ARENA_FIXTURE_H

#include "base/arena.h"
#include "base/limits.h"

static inline int arena_setup(void **state)
{
    static struct arena arena;
    arena_init(&arena, MIB(64));
    *state = &arena;
    return 0;
}

static inline int arena_teardown(void **state)
{
    arena_deinit(*state);
    return 0;
}

#endif
