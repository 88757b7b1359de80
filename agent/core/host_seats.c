/* SPDX-License-Identifier: Apache-2.0 */
#include "core/host_seats.h"

#include <stdbool.h>
#include <string.h>

#include "base/text.h"

#define SEAT_NONE (-1)

void host_seat_name(int seat, char dst[POD_NAME_SIZE])
{
    text_format(dst, POD_NAME_SIZE, "node-%d", seat);
}

/* The seat that the record gives to this id, or SEAT_NONE. */
static int seat_of_id(const struct record *record, size_t size, const struct node_id *id)
{
    const struct record_member *member =
        node_id_is_set(id) && record ? record_find_id(record, id) : NULL;
    char name[POD_NAME_SIZE];
    for (int seat = 0; member && seat < (int)size; seat++) {
        host_seat_name(seat, name);
        if (strcmp(name, member->pod) == 0)
            return seat;
    }
    return SEAT_NONE;
}

/* Heard under an id of its own that has no seat; of two with one id (a copied volume) neither is. */
static bool seat_is_newcomer(const struct record *record, const struct host_place *places,
                             size_t count, const int *seats, size_t place)
{
    const struct node_id *id = &places[place].id;
    if (seats[place] != SEAT_NONE || !node_id_is_set(id) || record_find_id(record, id))
        return false;
    for (size_t i = 0; i < count; i++)
        if (i != place && node_id_eq(&places[i].id, id))
            return false;
    return true;
}

static void seats_by_record(const struct record *record, size_t size,
                            const struct host_place *places, size_t count, struct arena *arena,
                            int *seats)
{
    bool *taken = ARENA_NEW(arena, bool, size);
    bool *newcomer = ARENA_NEW(arena, bool, count);
    size_t filled = 0;
    for (size_t i = 0; i < count; i++) {
        int seat = seat_of_id(record, size, &places[i].id);
        if (seat == SEAT_NONE || taken[seat])
            continue;
        seats[i] = seat;
        taken[seat] = true;
        filled++;
    }
    for (size_t i = 0; i < count; i++)
        filled += newcomer[i] = seat_is_newcomer(record, places, count, seats, i);
    if (filled != size)
        return;
    int seat = 0;
    for (size_t i = 0; i < count; i++) {
        if (!newcomer[i])
            continue;
        while (taken[seat])
            seat++;
        seats[i] = seat;
        taken[seat] = true;
    }
}

void host_seats(const struct record *record, size_t size, const struct host_place *places,
                size_t count, struct arena *arena, int *ret_seats)
{
    int spare = (int)size;
    for (size_t i = 0; i < count; i++)
        ret_seats[i] = record ? SEAT_NONE : (int)i;
    if (!record)
        return;
    seats_by_record(record, size, places, count, arena, ret_seats);
    for (size_t i = 0; i < count; i++)
        if (ret_seats[i] == SEAT_NONE)
            ret_seats[i] = spare++;
}
