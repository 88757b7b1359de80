/* SPDX-License-Identifier: Apache-2.0 */
/* Who copies which shard, against every way there is: clusters with few replicas to spare. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/rng.h"
#include "core/copies.h"
#include "unit/arena_fixture.h"

#define PODS 9
#define STATES 262144 /* 4 shards, 9 pods */
#define FAR 255

static unsigned node_of[PODS];
static unsigned zone_of[PODS];
static size_t today[PODS];
static uint8_t far_of[STATES];
static uint32_t queue[STATES];

/* The pods' shards as digits. */
static void put_state(struct copies *c, uint32_t state)
{
    for (size_t i = 0; i < c->count; i++, state /= c->shards)
        c->shard_of[i] = state % c->shards;
    copies_list(c);
}

static uint32_t state_of(const struct copies *c)
{
    uint32_t state = 0;
    for (size_t i = c->count; i-- > 0;)
        state = state * c->shards + c->shard_of[i];
    return state;
}

static struct copies make(struct arena *arena, size_t count, unsigned shards)
{
    struct copies c = {.arena = arena,
                       .count = count,
                       .shards = shards,
                       .nodes = PODS,
                       .zones = PODS,
                       .node_of = node_of,
                       .zone_of = zone_of,
                       .today = today,
                       .shard_of = ARENA_NEW(arena, unsigned, count),
                       .first = ARENA_NEW(arena, size_t, shards + 1),
                       .list = ARENA_NEW(arena, size_t, count)};
    memset(today, 0xff, sizeof today); /* whoever is primary hands over first: no matter here */
    return c;
}

static void measure(struct copies *c, uint32_t from)
{
    size_t head = 0;
    size_t tail = 0;
    memset(far_of, FAR, sizeof far_of);
    far_of[from] = 0;
    queue[tail++] = from;
    while (head < tail) {
        uint32_t at = queue[head++];
        uint32_t weight = 1;
        put_state(c, at);
        for (size_t i = 0; i < c->count; i++, weight *= c->shards) {
            unsigned shard = c->shard_of[i];
            for (unsigned s = 0; s < c->shards && copies_size(c, shard) > 2; s++) {
                uint32_t to = at - shard * weight + s * weight;
                if (far_of[to] != FAR)
                    continue;
                far_of[to] = (uint8_t)(far_of[at] + 1);
                queue[tail++] = to;
            }
        }
    }
}

/* The fewest re-parentings to the best; *ret_cost what that is. */
static unsigned search(struct copies *c, uint32_t states, struct copies_cost *ret_cost)
{
    unsigned fewest = FAR;
    for (uint32_t state = 0; state < states; state++) {
        if (far_of[state] == FAR)
            continue;
        put_state(c, state);
        struct copies_cost cost = copies_cost(c);
        int order = fewest == FAR ? -1 : copies_cost_cmp(&cost, ret_cost);
        if (order > 0 || (order == 0 && far_of[state] >= fewest))
            continue;
        *ret_cost = cost;
        fewest = far_of[state];
    }
    return fewest;
}

struct tally {
    size_t cases;
    size_t longer;
    size_t longest; /* by more than one */
    size_t worse;
};

static void check(struct arena *arena, size_t count, unsigned shards, struct rng *rng,
                  struct tally *tally)
{
    arena_reset(arena);
    struct copies c = make(arena, count, shards);
    struct copies_change *changes = ARENA_NEW(arena, struct copies_change, count);
    uint32_t states = 1;
    for (size_t i = 0; i < count; i++)
        states *= shards;
    do
        put_state(&c, (uint32_t)rng_below(rng, states));
    while (copies_cost(&c).uneven > 2 || !copies_size(&c, 0));
    unsigned emptiest = UINT32_MAX;
    for (unsigned s = 0; s < shards; s++)
        emptiest = copies_size(&c, s) < emptiest ? copies_size(&c, s) : emptiest;
    if (!emptiest)
        return;
    uint32_t from = state_of(&c);
    struct copies_cost best = {0};
    measure(&c, from);
    unsigned fewest = search(&c, states, &best);
    put_state(&c, from);
    size_t done = copies_improve(&c, changes);
    unsigned moves = 0;
    for (size_t i = 0; i < done; i++)
        moves += changes[i].other == SIZE_MAX ? 1 : 2;
    struct copies_cost end = copies_cost(&c);
    bool worse = copies_cost_cmp(&end, &best) != 0;
    tally->cases++;
    tally->worse += worse;
    tally->longer += !worse && moves > fewest;
    tally->longest += !worse && moves > fewest + 1;
}

static void test_few_spare_replicas_go_the_shortest_way(void **state)
{
    static const struct {
        size_t count;
        unsigned shards;
        int cases;
    } worlds[] = {{7, 3, 600}, {8, 3, 200}, {9, 3, 60}, {9, 4, 30}};
    struct rng rng = {3};
    for (size_t w = 0; w < sizeof worlds / sizeof worlds[0]; w++) {
        struct tally tally = {0};
        for (int k = 0; k < worlds[w].cases; k++) {
            unsigned nodes = 3 + (unsigned)rng_below(&rng, 5);
            for (size_t i = 0; i < PODS; i++)
                node_of[i] = (unsigned)rng_below(&rng, nodes);
            for (unsigned n = 0; n < PODS; n++)
                zone_of[n] = n % (2 + (unsigned)rng_below(&rng, 3));
            check(*state, worlds[w].count, worlds[w].shards, &rng, &tally);
        }
        print_message("%zu pods, %u shards: %zu cases, %zu longer, %zu by more than one, %zu not "
                      "the best\n",
                      worlds[w].count, worlds[w].shards, tally.cases, tally.longer, tally.longest,
                      tally.worse);
        assert_int_equal(tally.worse, 0);
        assert_true(tally.longest * 100 <= tally.cases); /* that began uneven */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_spare_replicas_go_the_shortest_way),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
