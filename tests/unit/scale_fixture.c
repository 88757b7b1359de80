/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/scale_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

void scale_fixture_formed(struct scale_fixture *f, size_t shards, unsigned mates, size_t newcomers)
{
    static const char *const nodes[] = {"n1", "n2", "n3"};
    size_t old = shards * (1 + mates);
    struct arena arena = f->arena;
    memset(f, 0, sizeof *f);
    f->arena = arena;
    for (size_t i = 0; i < old + newcomers; i++) {
        f->pods[i] = (struct target_pod){
            (int)i, {nodes[i % 3], nodes[i % 3]}, i < old ? i % shards : TARGET_NONE, i < shards};
        f->ready[i] = i >= old;
        f->read[i] = true;
        f->synced[i] = mates;
    }
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        f->from[slot] = f->going[slot] = f->half[slot] = f->import[slot] = f->clean[slot] =
            SCALE_NOBODY;
    for (unsigned i = 0; i < shards; i++) {
        struct slot_range range = slots_of_shard(i, (unsigned)shards);
        for (unsigned slot = range.first; slot <= range.last; slot++)
            f->owner[slot] = (uint16_t)i;
    }
    f->ask = (struct scale_ask){
        .target = {.replicas = (unsigned)(old + newcomers),
                   .replicas_per_primary = mates,
                   .pods = f->pods,
                   .pod_count = old + newcomers,
                   .shard_count = shards},
        .ready = f->ready,
        .read = f->read,
        .full = f->full,
        .synced = f->synced,
        .laden = f->laden,
        .owner = f->owner,
        .from = f->from,
        .going = f->going,
        .half = f->half,
        .import = f->import,
        .clean = f->clean,
        .open = &f->open,
        .cancel = &f->cancel,
        .stuck = &f->stuck,
    };
}

const struct scale *scale_fixture_next(struct scale_fixture *f)
{
    arena_reset(&f->arena);
    scale_next(&f->ask, &f->arena, &f->scale);
    return &f->scale;
}

int scale_fixture_setup(void **state)
{
    struct scale_fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    arena_init(&f->arena, MIB(64));
    *state = f;
    return 0;
}

int scale_fixture_teardown(void **state)
{
    struct scale_fixture *f = *state;
    arena_deinit(&f->arena);
    free(f);
    return 0;
}
