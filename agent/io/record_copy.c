/* SPDX-License-Identifier: Apache-2.0 */
#include "io/record_copy.h"

#include <string.h>

#include "base/cleanup.h"

static const struct record_move *copy_moves(const struct record *record, struct arena *arena)
{
    struct record_move *moves = ARENA_NEW(arena, struct record_move, record->move_count);
    for (size_t i = 0; i < record->move_count; i++) {
        const struct record_move *move = &record->moves[i];
        struct slot_range *ranges = ARENA_NEW(arena, struct slot_range, move->range_count);
        memcpy(ranges, move->ranges, move->range_count * sizeof *ranges);
        moves[i] = *move;
        moves[i].ranges = ranges;
    }
    return moves;
}

void record_copy(const struct record *record, struct arena *arena, struct record *ret_copy)
{
    struct record copy = *record;
    copy.members = NULL;
    copy.forget = NULL;
    copy.left = NULL;
    copy.moves = record->move_count ? copy_moves(record, arena) : NULL;
    if (record->moves_unclear)
        copy.moves_unclear = arena_format(arena, "%s", record->moves_unclear);
    if (record->pause_unclear)
        copy.pause_unclear = arena_format(arena, "%s", record->pause_unclear);
    if (record->member_count) {
        struct record_member *members =
            ARENA_NEW(arena, struct record_member, record->member_count);
        memcpy(members, record->members, record->member_count * sizeof *members);
        copy.members = members;
    }
    if (record->forget_count) {
        struct node_id *forget = ARENA_NEW(arena, struct node_id, record->forget_count);
        memcpy(forget, record->forget, record->forget_count * sizeof *forget);
        copy.forget = forget;
    }
    if (record->left_count) {
        struct record_left *left = ARENA_NEW(arena, struct record_left, record->left_count);
        memcpy(left, record->left, record->left_count * sizeof *left);
        copy.left = left;
    }
    *ret_copy = copy;
}
