/* SPDX-License-Identifier: Apache-2.0 */
/* What core/scale.h asks for, as arrays that tests change. */
#ifndef MUSTER_TESTS_UNIT_SCALE_FIXTURE_H
#define MUSTER_TESTS_UNIT_SCALE_FIXTURE_H

#include "core/scale.h"

#define SCALE_FIXTURE_PODS 1000

/* What the leader knows; tests change it and ask again. */
struct scale_fixture {
    struct arena arena;
    struct target_pod pods[SCALE_FIXTURE_PODS];
    bool ready[SCALE_FIXTURE_PODS];
    bool read[SCALE_FIXTURE_PODS];
    bool full[SCALE_FIXTURE_PODS];
    uint16_t owner[SLOT_COUNT];
    uint16_t from[SLOT_COUNT];
    uint16_t going[SLOT_COUNT];
    uint16_t half[SLOT_COUNT];
    unsigned synced[SCALE_FIXTURE_PODS];
    bool laden[SCALE_FIXTURE_PODS];
    uint16_t import[SLOT_COUNT];
    uint16_t clean[SLOT_COUNT];
    struct slot_set open;
    struct slot_set cancel;
    struct slot_set stuck;
    struct scale_ask ask;
    struct scale scale;
};

/*
 * `shards` even shards of 1 + `mates` pods, the primaries first; then so many newcomers, empty primaries.
 * Everybody has read the record, and nothing is on its way.
 */
void scale_fixture_formed(struct scale_fixture *fixture, size_t shards, unsigned mates,
                          size_t newcomers);

/* scale_next() of it, into `scale`. */
const struct scale *scale_fixture_next(struct scale_fixture *fixture);

/* For cmocka groups. */
int scale_fixture_setup(void **state);
int scale_fixture_teardown(void **state);

static inline struct slot_range scale_one(unsigned slot)
{
    return (struct slot_range){(uint16_t)slot, (uint16_t)slot};
}

#endif
