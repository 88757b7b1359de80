/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record.h"

#include <string.h>

int record_name_cmp(const char *a, const char *b)
{
    size_t la = strlen(a);
    size_t lb = strlen(b);
    if (la != lb)
        return la < lb ? -1 : 1;
    return strcmp(a, b);
}

const struct record_member *record_find_pod(const struct record *record, const char *pod)
{
    for (size_t i = 0; i < record->member_count; i++)
        if (strcmp(record->members[i].pod, pod) == 0)
            return &record->members[i];
    return NULL;
}

const struct record_member *record_find_id(const struct record *record, const struct node_id *id)
{
    for (size_t i = 0; i < record->member_count; i++)
        if (node_id_eq(&record->members[i].id, id))
            return &record->members[i];
    return NULL;
}

bool record_forgets(const struct record *record, const struct node_id *id)
{
    for (size_t i = 0; i < record->forget_count; i++)
        if (node_id_eq(&record->forget[i], id))
            return true;
    return false;
}

bool record_has_left(const struct record *record, const struct node_id *id)
{
    for (size_t i = 0; i < record->left_count; i++)
        if (node_id_eq(&record->left[i].id, id))
            return true;
    return false;
}

static bool record_left_eq(const struct record *a, const struct record *b)
{
    if (a->left_count != b->left_count)
        return false;
    for (size_t i = 0; i < a->left_count; i++)
        if (strcmp(a->left[i].pod, b->left[i].pod) != 0 ||
            !node_id_eq(&a->left[i].id, &b->left[i].id))
            return false;
    return true;
}

static bool record_member_eq(const struct record_member *a, const struct record_member *b)
{
    return strcmp(a->pod, b->pod) == 0 && node_id_eq(&a->id, &b->id) && a->shard == b->shard &&
           a->primary == b->primary && a->epoch == b->epoch &&
           a->node_timeout_ms == b->node_timeout_ms && a->diskless_delay_s == b->diskless_delay_s;
}

bool record_move_eq(const struct record_move *a, const struct record_move *b)
{
    if (!node_id_eq(&a->from, &b->from) || !node_id_eq(&a->to, &b->to) ||
        a->generation != b->generation || a->cancel != b->cancel || a->anchored != b->anchored ||
        a->anchor != b->anchor || a->range_count != b->range_count)
        return false;
    for (size_t i = 0; i < a->range_count; i++)
        if (a->ranges[i].first != b->ranges[i].first || a->ranges[i].last != b->ranges[i].last)
            return false;
    return true;
}

static bool record_moves_eq(const struct record *a, const struct record *b)
{
    if (a->evening != b->evening || a->move_generation != b->move_generation ||
        a->move_count != b->move_count || !a->moves_unclear != !b->moves_unclear)
        return false;
    for (size_t i = 0; i < a->move_count; i++)
        if (!record_move_eq(&a->moves[i], &b->moves[i]))
            return false;
    return !a->moves_unclear || strcmp(a->moves_unclear, b->moves_unclear) == 0;
}

static bool record_pause_eq(const struct record *a, const struct record *b)
{
    const struct record_pause *pa = &a->pause;
    const struct record_pause *pb = &b->pause;
    if (pa->set != pb->set || pa->since_unix_ms != pb->since_unix_ms ||
        pa->until_unix_ms != pb->until_unix_ms || strcmp(pa->reason, pb->reason) != 0 ||
        !a->pause_unclear != !b->pause_unclear)
        return false;
    return !a->pause_unclear || strcmp(a->pause_unclear, b->pause_unclear) == 0;
}

bool record_eq(const struct record *a, const struct record *b)
{
    if (a->version != b->version || a->generation != b->generation || a->state != b->state ||
        a->shards != b->shards || a->member_count != b->member_count ||
        a->forget_count != b->forget_count || strcmp(a->uid, b->uid) != 0 ||
        strcmp(a->set_uid, b->set_uid) != 0)
        return false;
    for (size_t i = 0; i < a->member_count; i++)
        if (!record_member_eq(&a->members[i], &b->members[i]))
            return false;
    for (size_t i = 0; i < a->forget_count; i++)
        if (!node_id_eq(&a->forget[i], &b->forget[i]))
            return false;
    return record_left_eq(a, b) && record_moves_eq(a, b) && record_pause_eq(a, b);
}
