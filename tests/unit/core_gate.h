/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the gate share: a formed cluster of six, and a server that asks to start. */
#ifndef MUSTER_TESTS_UNIT_CORE_GATE_H
#define MUSTER_TESTS_UNIT_CORE_GATE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "core/gate.h"
#include "lib/world_build.h"

#define LIMIT_MS 30000
/* Before the others were asked what the world has of them. */
#define ASKED_MS (WORLD_BUILD_NOW_MS - 1000)

static char reason[GATE_REASON_SIZE];

static inline struct world_build *formed(struct arena *arena)
{
    arena_reset(arena);
    return world_build_formed(arena, 3, 6);
}

/* The pod has an address that no node had. */
static inline struct world_build *formed_elsewhere(struct arena *arena)
{
    struct world_build *b = formed(arena);
    text_format(b->world.my_ip, sizeof b->world.my_ip, "10.0.0.77");
    return b;
}

static inline enum gate_verdict judge(const struct world_build *b, struct gate_claim claim)
{
    memset(reason, 0, sizeof reason);
    enum gate_verdict verdict = gate_judge(&b->world, &claim, LIMIT_MS, reason);
    assert_true(strlen(reason) > 0);
    return verdict;
}

/* The file of the server that runs in the agent's own pod. */
static inline struct gate_claim claim_of(const struct world_build *b, size_t pod)
{
    return (struct gate_claim){
        .has_nodes = true, .id = b->nodes[pod].id, .data = true, .asked_ms = b->world.now_ms};
}

static inline int setup(void **state)
{
    static struct arena arena;
    arena_init(&arena, MIB(8));
    *state = &arena;
    return 0;
}

static inline int teardown(void **state)
{
    arena_deinit(*state);
    return 0;
}

#endif
