/* SPDX-License-Identifier: Apache-2.0 */
#include "io/record_copy.h"

#include <string.h>

#include "base/cleanup.h"

void record_copy(const struct record *record, struct arena *arena, struct record *ret_copy)
{
    struct record copy = *record;
    copy.members = NULL;
    copy.forget = NULL;
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
    *ret_copy = copy;
}
