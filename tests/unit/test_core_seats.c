/* SPDX-License-Identifier: Apache-2.0 */
/* Which copies are the primaries, where time does not suffice; test_core_arrange.c has the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "core/seats.h"
#include "unit/arena_fixture.h"

/* Every primary in one zone, and no time: what is found is better all the same, and it ends. */
static void test_a_search_that_is_cut_short_never_makes_it_worse(void **state)
{
    enum { PODS = 1000, SHARDS = 500, NODES = 99 };
    static unsigned node_of[PODS], zone_of[NODES], shard_of[PODS];
    static size_t today[SHARDS], primary[SHARDS];
    for (unsigned i = 0; i < PODS; i++) {
        node_of[i] = i < SHARDS ? i % 33 : 33 + i % 66;
        shard_of[i] = i % SHARDS;
        today[i % SHARDS] = i % SHARDS;
    }
    for (unsigned n = 0; n < NODES; n++)
        zone_of[n] = n / 33;
    const struct seats seats = {PODS, SHARDS, NODES, 3, node_of, zone_of, shard_of, today, primary};
    struct seats_cost last = {0};
    bool exact = false;
    for (size_t work = 0; !exact; work = 2 * work + 1000) {
        arena_reset(*state);
        memcpy(primary, today, sizeof primary);
        exact = seats_improve(&seats, work, *state);
        struct seats_cost cost = seats_cost(&seats, *state);
        assert_true(work == 0 || seats_cost_cmp(&cost, &last) <= 0);
        assert_true(!exact || cost.zone_over == 0);
        if (exact)
            print_message("a thousand in one zone: at most %zu ways are looked at\n", work);
        assert_true(work < SEATS_WORK_MAX / 4);
        last = cost;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_search_that_is_cut_short_never_makes_it_worse),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
