/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record: whatever is read is written again, and reads the same. Moves that are not understood stay as
 * they were, beside members that are, and so does a pause.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "core/slots.h"
#include "fuzz.h"
#include "wire/record_json.h"

static void check_moves(const struct record *record)
{
    struct slot_set taken = {{0}};
    FUZZ_REQUIRE(record->move_count <= RECORD_MOVES_MAX);
    FUZZ_REQUIRE(!record->moves_unclear || !record->move_count);
    for (size_t i = 0; i < record->move_count; i++) {
        const struct record_move *move = &record->moves[i];
        FUZZ_REQUIRE(move->from.hex[0] && move->to.hex[0] && !node_id_eq(&move->from, &move->to));
        FUZZ_REQUIRE(move->generation > 0 && move->generation <= record->move_generation);
        FUZZ_REQUIRE(move->range_count > 0);
        for (size_t r = 0; r < move->range_count; r++) {
            struct slot_set one = {{0}};
            slot_set_add(&one, move->ranges[r]);
            FUZZ_REQUIRE(!slot_set_intersects(&taken, &one));
            slot_set_add(&taken, move->ranges[r]);
        }
    }
}

static void check_pause(const struct record *record)
{
    static const struct record_pause none = {0};
    FUZZ_REQUIRE(record->pause.set || memcmp(&record->pause, &none, sizeof none) == 0);
    for (const char *c = record->pause.reason; *c; c++)
        FUZZ_REQUIRE(*c >= ' ' && *c <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct record record;
    struct record again;
    struct err err = {0};
    arena_init(&arena, MIB(64));
    if (record_parse(fuzz_span(data, size), &arena, &record, &err) < 0) {
        FUZZ_REQUIRE(err.msg[0]);
    } else {
        auto_buf struct buf out;
        buf_init(&out, 8 * RECORD_TEXT_MAX); /* escapes make a text longer */
        check_moves(&record);
        check_pause(&record);
        FUZZ_REQUIRE(record_format(&record, &out) == 0);
        if (out.len <= RECORD_TEXT_MAX) {
            FUZZ_REQUIRE(
                record_parse((struct span){buf_str(&out), out.len}, &arena, &again, &err) == 0);
            FUZZ_REQUIRE(record_eq(&record, &again));
        }
    }
    arena_deinit(&arena);
    return 0;
}
