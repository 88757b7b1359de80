/* SPDX-License-Identifier: Apache-2.0 */
/* Which server sits where when servers have no names. */
#include "core/host_seats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/text.h"

#define SIZE 4

static struct record_member members[SIZE];
static struct record record = {.members = members, .member_count = SIZE};
static struct arena arena;

static struct node_id id_of(size_t i)
{
    struct node_id id;
    text_format(id.hex, sizeof id.hex, "%040zu", i + 1);
    return id;
}

static int setup(void **unused)
{
    (void)unused;
    arena_init(&arena, KIB(64));
    for (size_t i = 0; i < SIZE; i++) {
        members[i] = (struct record_member){.id = id_of(i)};
        host_seat_name((int)i, members[i].pod);
    }
    return 0;
}

static int teardown(void **unused)
{
    (void)unused;
    arena_deinit(&arena);
    return 0;
}

static struct host_place place_of(size_t id)
{
    struct host_place place = {.ip = "10.0.0.1"};
    if (id)
        place.id = id_of(id - 1);
    return place;
}

/* Ids by number, 0 = not heard; expected seats. */
static void assert_seats(const struct record *by, size_t count, const size_t *ids,
                         const int *expected)
{
    struct host_place places[SIZE + 2] = {0};
    int seats[SIZE + 2];
    for (size_t i = 0; i < count; i++)
        places[i] = place_of(ids[i]);
    host_seats(by, SIZE, places, count, &arena, seats);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(seats[i], expected[i]);
}

static void test_without_a_record_the_addresses_give_the_order(void **unused)
{
    (void)unused;
    assert_seats(NULL, 5, (size_t[]){0, 9, 2, 0, 0}, (int[]){0, 1, 2, 3, 4});
    assert_string_equal(members[3].pod, "node-3");
}

static void test_a_seat_goes_with_the_id(void **unused)
{
    (void)unused;
    assert_seats(&record, 4, (size_t[]){3, 1, 4, 2}, (int[]){2, 0, 3, 1});
}

static void test_a_new_id_gets_what_is_left_when_all_others_are_heard(void **unused)
{
    (void)unused;
    assert_seats(&record, 4, (size_t[]){3, 9, 4, 2}, (int[]){2, 0, 3, 1});
    /* Two of them, in order; and an old address where nobody answers. */
    assert_seats(&record, 5, (size_t[]){8, 0, 3, 9, 4}, (int[]){0, 4, 2, 1, 3});
    /* Whoever was not heard may be the one who had the seat. */
    assert_seats(&record, 4, (size_t[]){3, 9, 4, 0}, (int[]){2, 4, 3, 5});
    /* One too many: nobody knows which. */
    assert_seats(&record, 5, (size_t[]){3, 9, 4, 2, 8}, (int[]){2, 4, 3, 1, 5});
}

static void test_twins_get_no_seat_of_their_own(void **unused)
{
    (void)unused;
    assert_seats(&record, 4, (size_t[]){3, 3, 4, 2}, (int[]){2, 4, 3, 1});
    assert_seats(&record, 4, (size_t[]){3, 4, 9, 9}, (int[]){2, 3, 4, 5});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_record_the_addresses_give_the_order),
        cmocka_unit_test(test_a_seat_goes_with_the_id),
        cmocka_unit_test(test_a_new_id_gets_what_is_left_when_all_others_are_heard),
        cmocka_unit_test(test_twins_get_no_seat_of_their_own),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
