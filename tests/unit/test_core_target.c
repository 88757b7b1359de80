/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/slots.h"
#include "core/target.h"
#include "unit/arena_fixture.h"

#define PODS_MAX 1000

static const char *const node_names[] = {"", "n1", "n2", "n3", "n4"};
static const char *const zone_names[] = {"", "z1", "z2", "z3"};

static struct target_pod pods[PODS_MAX];
static unsigned slots[PODS_MAX];

/* ---- what every target must be ---- */

static void assert_pods(const struct target_ask *ask, const struct target *t)
{
    unsigned fills = 0;
    for (size_t i = 0; i < ask->pod_count; i++) {
        const struct target_part *part = &t->parts[i];
        const struct target_pod *pod = &ask->pods[i];
        assert_int_equal(part->stays, pod->ordinal < (int)ask->replicas);
        assert_int_equal(part->stays, part->shard != TARGET_NONE);
        if (!part->stays)
            continue;
        assert_true(part->shard < t->shard_count);
        assert_int_equal(part->primary, t->shards[part->shard].primary == i);
        bool has = pod->shard != TARGET_NONE && t->became[pod->shard] == part->shard;
        assert_int_equal(part->fills, !has);
        fills += part->fills;
    }
    assert_int_equal(t->fills, fills);
}

static void assert_shards(const struct target_ask *ask, const struct target *t)
{
    unsigned sum = 0;
    unsigned total = 0;
    for (size_t i = 0; i < ask->shard_count; i++)
        total += ask->slots[i];
    for (size_t i = 0; i < t->shard_count; i++) {
        const struct target_shard *shard = &t->shards[i];
        unsigned copies = 0;
        for (size_t k = 0; k < ask->pod_count; k++)
            copies += t->parts[k].stays && t->parts[k].shard == i;
        assert_int_equal(shard->copies, copies);
        assert_true(t->parts[shard->primary].stays);
        assert_int_equal(t->parts[shard->primary].shard, i);
        if (shard->was != TARGET_NONE) {
            /* It goes on by a copy that stays: nobody fills a primary's place. */
            assert_int_equal(t->became[shard->was], i);
            assert_false(t->parts[shard->primary].fills);
            assert_int_equal(shard->handed, !ask->pods[shard->primary].primary);
        }
        if (!ask->slack)
            assert_in_range(shard->slots, total / t->shard_count,
                            total / t->shard_count + (total % t->shard_count > 0));
        sum += shard->slots;
    }
    if (t->shard_count)
        assert_int_equal(sum, total);
}

static struct target find(struct arena *arena, const struct target_ask *ask)
{
    struct target t;
    arena_reset(arena);
    target_find(ask, arena, &t);
    assert_pods(ask, &t);
    assert_shards(ask, &t);
    return t;
}

/* The cluster when everything is as the target says; `pods` keep their places. */
static struct target_ask become(const struct target_ask *ask, const struct target *t)
{
    struct target_ask next = *ask;
    size_t count = 0;
    for (size_t i = 0; i < t->shard_count; i++)
        slots[i] = t->shards[i].slots;
    for (size_t i = 0; i < ask->pod_count; i++) {
        if (!t->parts[i].stays)
            continue;
        pods[count] = pods[i];
        pods[count].shard = t->parts[i].shard;
        pods[count++].primary = t->parts[i].primary;
    }
    next.pod_count = count;
    next.shard_count = t->shard_count;
    return next;
}

static void assert_rests(struct arena *arena, const struct target_ask *ask, const struct target *t)
{
    struct target_ask next = become(ask, t);
    struct target again = find(arena, &next);
    assert_int_equal(again.moved, 0);
    assert_int_equal(again.fills, 0);
    assert_int_equal(again.shard_count, next.shard_count);
    for (size_t i = 0; i < again.shard_count; i++)
        assert_false(again.shards[i].handed);
}

/* ---- clusters ---- */

/* `shards` even shards; pod i is a copy of shard i modulo that, the first ones are the primaries. */
static struct target_ask formed(size_t shards, size_t count, unsigned mates)
{
    for (size_t i = 0; i < count; i++)
        pods[i] = (struct target_pod){
            (int)i, {node_names[1 + i % 3], zone_names[1 + i % 3]}, i % shards, i < shards};
    for (size_t i = 0; i < shards; i++)
        slots[i] = slot_range_count(slots_of_shard((unsigned)i, (unsigned)shards));
    return (struct target_ask){(unsigned)count, mates, 0, pods, count, slots, shards};
}

static void add_newcomers(struct target_ask *ask, size_t count)
{
    for (size_t i = ask->pod_count; i < ask->pod_count + count; i++)
        pods[i] = (struct target_pod){
            (int)i, {node_names[1 + i % 3], zone_names[1 + i % 3]}, TARGET_NONE, false};
    ask->pod_count += count;
    ask->replicas = (unsigned)ask->pod_count;
}

static void test_a_formed_cluster_is_its_own_target(void **state)
{
    for (unsigned mates = 0; mates <= 2; mates++) {
        for (size_t shards = 1; shards <= 6; shards++) {
            struct target_ask ask = formed(shards, shards * (1 + mates) + mates, mates);
            struct target t = find(*state, &ask);
            assert_int_equal(t.shard_count, shards);
            assert_int_equal(t.moved, 0);
            assert_int_equal(t.fills, 0);
        }
    }
}

static void test_two_pods_more_are_a_shard_more(void **state)
{
    struct target_ask ask = formed(3, 6, 1);
    add_newcomers(&ask, 2);
    struct target t = find(*state, &ask);
    assert_int_equal(t.shard_count, 4);
    assert_int_equal(t.shards[3].was, TARGET_NONE);
    assert_int_equal(t.shards[3].copies, 2);
    assert_int_equal(t.moved, 4096);
    assert_int_equal(t.fills, 2);
    assert_rests(*state, &ask, &t);
}

/* One of the two pods does not exist yet: as a replica the other is of some use. */
static void test_a_pod_that_is_not_there_yet_delays_the_new_shard(void **state)
{
    struct target_ask ask = formed(3, 6, 1);
    add_newcomers(&ask, 1);
    ask.replicas = 8;
    struct target t = find(*state, &ask);
    assert_int_equal(t.shard_count, 3);
    assert_int_equal(t.moved, 0);
    assert_int_equal(t.fills, 1);
}

static void test_a_missing_pod_ends_no_shard(void **state)
{
    struct target_ask ask = formed(3, 6, 1);
    pods[5] = pods[4];
    pods[4] = (struct target_pod){4, {"n2", "z2"}, 1, false};
    ask.pod_count = 5;
    struct target t = find(*state, &ask);
    assert_int_equal(t.shard_count, 3);
    assert_int_equal(t.moved, 0);
    assert_int_equal(t.fills, 0);
}

/* Spares of an earlier size become the new shard, not those whose shard would lack a copy. */
static void test_spare_replicas_make_the_new_shard(void **state)
{
    struct target_ask ask = formed(3, 6, 1);
    add_newcomers(&ask, 2);
    pods[6].shard = 0;
    pods[7].shard = 1;
    struct target t = find(*state, &ask);
    assert_int_equal(t.shard_count, 4);
    assert_int_equal(t.fills, 2);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(t.shards[i].copies, 2);
    assert_rests(*state, &ask, &t);
}

/* muster-4 and muster-5 leave: the shard goes on of which more stays. */
static void test_in_the_shard_with_the_fewest_copies_left_ends(void **state)
{
    struct target_ask ask = formed(3, 6, 1);
    ask.replicas = 4;
    struct target t = find(*state, &ask);
    assert_int_equal(t.shard_count, 2);
    assert_int_equal(t.became[0], 0); /* pods 0 and 3 both stay */
    assert_int_equal(t.moved, 5461);
    assert_int_equal(t.fills, 1);
    assert_false(t.shards[0].handed);
    assert_false(t.shards[1].handed);
    assert_rests(*state, &ask, &t);
}

static void test_the_slots_of_a_primary_that_leaves_are_handed_over(void **state)
{
    struct target_ask ask = formed(3, 6, 1);
    for (size_t i = 0; i < 6; i++)
        pods[i].primary = i >= 3; /* the primaries are muster-3 to -5 */
    ask.replicas = 4;
    struct target t = find(*state, &ask);
    assert_int_equal(t.shard_count, 2);
    assert_int_equal(t.moved, 5461);
    assert_false(t.shards[0].handed);
    assert_true(t.shards[1].handed);
    assert_int_equal(t.heirs[0], TARGET_NONE);
    assert_int_equal(t.heirs[1], 1);
    assert_int_equal(t.heirs[2], 2); /* its shard ends: it moves from there */
    assert_rests(*state, &ask, &t);
}

/* Both copies leave while other shards keep theirs: its slots move, whatever else would be cheaper. */
static void test_a_shard_of_which_nothing_stays_ends(void **state)
{
    struct target_ask ask = formed(3, 6, 1);
    static const size_t shard_of[] = {0, 1, 0, 1, 2, 2};
    for (size_t i = 0; i < 6; i++) {
        pods[i].shard = shard_of[i];
        pods[i].primary = i == 0 || i == 1 || i == 4;
    }
    slots[2] = 10000;
    slots[0] = 3000;
    slots[1] = 3384;
    ask.replicas = 4;
    struct target t = find(*state, &ask);
    assert_int_equal(t.shard_count, 2);
    assert_int_equal(t.became[2], TARGET_NONE);
    assert_int_equal(t.moved, 10000);
    assert_int_equal(t.fills, 0);
}

static void test_fewer_pods_than_one_shard_needs_are_still_one(void **state)
{
    struct target_ask ask = formed(3, 6, 1);
    ask.replicas = 1;
    struct target t = find(*state, &ask);
    assert_int_equal(t.shard_count, 1);
    assert_int_equal(t.shards[0].primary, 0);
    ask.replicas = 0;
    t = find(*state, &ask);
    assert_int_equal(t.shard_count, 0);
    assert_int_equal(t.moved, 0);
}

static void test_small_differences_are_left_alone_if_asked(void **state)
{
    struct target_ask ask = formed(3, 6, 1);
    slots[0] = 5400;
    slots[1] = 5500;
    slots[2] = 5484;
    ask.slack = 2;
    struct target t = find(*state, &ask);
    assert_int_equal(t.moved, 0);
    slots[0] = 5300;
    slots[1] = 5600;
    t = find(*state, &ask);
    assert_in_range(t.moved, 1, 161);
    slots[0] = 0; /* a shard that has just come */
    slots[1] = 10900;
    ask.slack = 100;
    t = find(*state, &ask);
    assert_int_equal(t.moved, 5461);
    slots[0] = 5300;
    slots[1] = 5600;
    add_newcomers(&ask, 2);
    t = find(*state, &ask);
    assert_int_equal(t.moved, 4096);
}

static void test_primaries_and_copies_are_spread(void **state)
{
    /* Three newcomers per new shard, dealt over three zones: no clash is needed. */
    struct target_ask ask = formed(3, 9, 2);
    add_newcomers(&ask, 9);
    struct target t = find(*state, &ask);
    assert_int_equal(t.shard_count, 6);
    unsigned primaries[4] = {0};
    for (size_t s = 3; s < 6; s++) {
        unsigned zones = 0;
        for (size_t i = 0; i < ask.pod_count; i++)
            if (t.parts[i].shard == s)
                zones |= 1u << (pods[i].place.zone[1] - '0');
        assert_int_equal(zones, 2 + 4 + 8);
        primaries[pods[t.shards[s].primary].place.zone[1] - '0']++;
    }
    for (unsigned zone = 1; zone <= 3; zone++)
        assert_int_equal(primaries[zone], 1);
}

/* ---- against every choice there is ---- */

/* The data that moves if exactly the shards of `set` go on, in slots; -1 if they cannot. */
static long price(const struct target_ask *ask, unsigned set, unsigned wanted)
{
    unsigned total = 0;
    unsigned moved = 0;
    unsigned width = 1 + ask->replicas_per_primary;
    for (size_t i = 0; i < ask->shard_count; i++)
        total += ask->slots[i];
    unsigned share = total / wanted;
    long sum = 0;
    for (size_t i = 0; i < ask->shard_count; i++) {
        unsigned staying = 0;
        for (size_t k = 0; k < ask->pod_count; k++)
            staying += ask->pods[k].shard == i && ask->pods[k].ordinal < (int)ask->replicas;
        bool goes_on = set >> i & 1;
        if (goes_on && !staying)
            return -1;
        unsigned kept = ask->slots[i] < share ? ask->slots[i] : share;
        moved += ask->slots[i] - (goes_on ? kept : 0);
        if (goes_on && staying < width)
            sum += (long)(width - staying) * (long)share;
    }
    return sum + (long)moved;
}

static long cheapest(const struct target_ask *ask, unsigned count, unsigned wanted)
{
    long best = -1;
    for (unsigned set = 0; set < 1u << ask->shard_count; set++) {
        if ((unsigned)__builtin_popcount(set) != count)
            continue;
        long cost = price(ask, set, wanted);
        if (cost >= 0 && (best < 0 || cost < best))
            best = cost;
    }
    return best;
}

static unsigned staying_shards(const struct target_ask *ask)
{
    unsigned set = 0;
    for (size_t i = 0; i < ask->pod_count; i++)
        if (ask->pods[i].shard != TARGET_NONE && ask->pods[i].ordinal < (int)ask->replicas)
            set |= 1u << ask->pods[i].shard;
    return (unsigned)__builtin_popcount(set);
}

static void check_random(struct arena *arena, struct rng *rng)
{
    unsigned mates = (unsigned)rng_below(rng, 3);
    size_t shards = 1 + rng_below(rng, 5);
    size_t count = shards + rng_below(rng, 10);
    struct target_ask ask = formed(shards, count, mates);
    unsigned left = SLOT_COUNT;
    for (size_t i = 0; i < shards; i++) {
        slots[i] = i + 1 == shards ? left : (unsigned)rng_below(rng, left / 2 + 1);
        left -= slots[i];
    }
    for (size_t i = 0; i < count; i++) {
        pods[i].place =
            (struct place){node_names[rng_below(rng, 5)], zone_names[rng_below(rng, 4)]};
        /* Primaries anywhere, some replicas of other shards, some of none. */
        size_t other = rng_below(rng, count);
        size_t shard = pods[i].shard;
        bool primary = pods[i].primary;
        pods[i].shard = pods[other].shard;
        pods[i].primary = pods[other].primary;
        pods[other].shard = shard;
        pods[other].primary = primary;
    }
    for (size_t i = 0; i < count; i++)
        if (!pods[i].primary && rng_below(rng, 4) == 0)
            pods[i].shard = rng_below(rng, 2) ? TARGET_NONE : rng_below(rng, shards);
    ask.replicas = 1 + (unsigned)rng_below(rng, count + 3);
    struct target t = find(arena, &ask);

    unsigned wanted =
        placement_shards(ask.replicas, mates) ? placement_shards(ask.replicas, mates) : 1;
    unsigned can = staying_shards(&ask);
    unsigned go_on = 0;
    unsigned set = 0;
    for (size_t i = 0; i < shards; i++) {
        go_on += t.became[i] != TARGET_NONE;
        set |= t.became[i] != TARGET_NONE ? 1u << i : 0;
    }
    assert_int_equal(go_on, can < wanted ? can : wanted);
    assert_int_equal(price(&ask, set, wanted), cheapest(&ask, go_on, wanted));
    assert_rests(arena, &ask, &t);
}

static void test_small_clusters_move_as_little_as_can_be(void **state)
{
    struct rng rng = {8};
    for (unsigned i = 0; i < 20000; i++)
        check_random(*state, &rng);
}

/* Whatever the sizes asked for one after the other, each target rests and loses no slot. */
static void test_a_thousand_sizes_one_after_the_other(void **state)
{
    struct rng rng = {9};
    struct target_ask ask = formed(3, 6, 1);
    for (unsigned i = 0; i < 1000; i++) {
        size_t size = 1 + rng_below(&rng, 18);
        if (size > ask.pod_count)
            add_newcomers(&ask, size - ask.pod_count);
        ask.replicas = (unsigned)size;
        struct target t = find(*state, &ask);
        assert_int_equal(t.shard_count, size / 2 ? size / 2 : 1);
        for (size_t s = 0; s < t.shard_count; s++)
            assert_true(t.shards[s].copies >= (size > 1 ? 2u : 1u));
        ask = become(&ask, &t);
        ask.replicas = (unsigned)ask.pod_count;
        t = find(*state, &ask);
        assert_int_equal(t.moved, 0);
        assert_int_equal(t.fills, 0);
    }
}

static void test_a_thousand_pods_take_little_memory(void **state)
{
    struct arena *arena = *state;
    struct target_ask ask = formed(400, 800, 1);
    add_newcomers(&ask, 200);
    struct target t = find(arena, &ask);
    assert_int_equal(t.shard_count, 500);
    assert_int_equal(t.fills, 200);
    assert_true(arena->used_total < MIB(1));
    ask = become(&ask, &t);
    ask.replicas = 600;
    t = find(arena, &ask);
    assert_int_equal(t.shard_count, 300);
    assert_true(arena->used_total < MIB(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_formed_cluster_is_its_own_target),
        cmocka_unit_test(test_two_pods_more_are_a_shard_more),
        cmocka_unit_test(test_a_pod_that_is_not_there_yet_delays_the_new_shard),
        cmocka_unit_test(test_a_missing_pod_ends_no_shard),
        cmocka_unit_test(test_spare_replicas_make_the_new_shard),
        cmocka_unit_test(test_in_the_shard_with_the_fewest_copies_left_ends),
        cmocka_unit_test(test_the_slots_of_a_primary_that_leaves_are_handed_over),
        cmocka_unit_test(test_a_shard_of_which_nothing_stays_ends),
        cmocka_unit_test(test_fewer_pods_than_one_shard_needs_are_still_one),
        cmocka_unit_test(test_small_differences_are_left_alone_if_asked),
        cmocka_unit_test(test_primaries_and_copies_are_spread),
        cmocka_unit_test(test_small_clusters_move_as_little_as_can_be),
        cmocka_unit_test(test_a_thousand_sizes_one_after_the_other),
        cmocka_unit_test(test_a_thousand_pods_take_little_memory),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
