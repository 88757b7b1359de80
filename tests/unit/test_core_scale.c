/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/scale_fixture.h"

static unsigned entered(const struct scale *s)
{
    unsigned count = 0;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        count += s->going[slot] != SCALE_NOBODY;
    return count;
}

static unsigned looked(const struct scale *s)
{
    unsigned count = 0;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        count += s->look[slot] != SCALE_NOBODY;
    return count;
}

/* All that is to be looked at is found clean, and the record is written. */
static void look(struct scale_fixture *f)
{
    memcpy(f->clean, f->scale.look, sizeof f->clean);
}

static void put(struct scale_fixture *f)
{
    memcpy(f->from, f->scale.from, sizeof f->from);
    memcpy(f->going, f->scale.going, sizeof f->going);
    f->cancel = *f->scale.cancel;
    f->ask.evening = f->scale.evening;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        f->clean[slot] = SCALE_NOBODY;
}

/* A newcomer to which slots go is a shard. */
static void found_as(struct scale_fixture *f, size_t pod, size_t code)
{
    size_t shard = f->ask.target.shard_count++;
    f->pods[pod].shard = shard;
    f->pods[pod].primary = true;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (f->going[slot] == code)
            f->going[slot] = (uint16_t)shard;
}

static void found(struct scale_fixture *f, size_t pod)
{
    found_as(f, pod, f->ask.target.shard_count + pod);
}

/* Three shards of two pods and a fourth one to come, which has got its first slot. */
static void founded(struct scale_fixture *f)
{
    scale_fixture_formed(f, 3, 1, 2);
    (void)scale_fixture_next(f);
    look(f);
    (void)scale_fixture_next(f);
    put(f);
    found(f, 6);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (f->going[slot] != SCALE_NOBODY)
            f->owner[slot] = f->going[slot];
    (void)scale_fixture_next(f);
    put(f);
}

/* And the first portions of which are entered. */
static void begun(struct scale_fixture *f)
{
    founded(f);
    (void)scale_fixture_next(f);
    look(f);
    (void)scale_fixture_next(f);
    put(f);
}

/* Nobody is elected for a primary without slots: what its replica has of a whole portion would be lost. */
static void test_who_owns_nothing_gets_one_slot_first(void **state)
{
    struct scale_fixture *f = *state;
    scale_fixture_formed(f, 3, 1, 2);
    assert_int_equal(looked(scale_fixture_next(f)), 1);
    look(f);
    const struct scale *s = scale_fixture_next(f);
    assert_true(s->changed && s->evening);
    assert_int_equal(entered(s), 1);
    put(f);
    found(f, 6);
    assert_int_equal(looked(scale_fixture_next(f)), 0); /* it has not arrived */
    founded(f);
    assert_int_equal(looked(scale_fixture_next(f)), 3 * SCALE_PORTION);
}

/* Or data that had two copies would have one. */
static void test_who_has_no_copy_in_sync_gets_nothing(void **state)
{
    struct scale_fixture *f = *state;
    scale_fixture_formed(f, 3, 1, 2);
    f->synced[6] = 0;
    const struct scale *s = scale_fixture_next(f);
    assert_int_equal(looked(s), 0);
    assert_int_equal(s->lone, 6);
    founded(f);
    f->synced[6] = 0;
    s = scale_fixture_next(f);
    assert_int_equal(looked(s), 0);
    assert_int_equal(s->lone, 6);
    /* A copy of another shard would come for nothing: it is not waited for before there is a key. */
    scale_fixture_formed(f, 3, 1, 2);
    f->synced[6] = 0;
    f->laden[7] = true;
    f->pods[7].shard = 0;
    f->synced[0] = 2;
    assert_int_equal(looked(scale_fixture_next(f)), 1);
    f->laden[6] = true;
    assert_int_equal(looked(scale_fixture_next(f)), 0);
}

static void test_only_what_was_looked_at_is_entered(void **state)
{
    struct scale_fixture *f = *state;
    founded(f);
    const struct scale *s = scale_fixture_next(f);
    assert_int_equal(s->slots, 4095);
    assert_false(s->changed);
    assert_int_equal(entered(s), 0);
    assert_int_equal(looked(s), 3 * SCALE_PORTION);
    look(f);
    unsigned slot = 0;
    while (f->clean[slot] == SCALE_NOBODY)
        slot++;
    f->clean[slot] = SCALE_NOBODY; /* half-moved there, or not without keys */
    s = scale_fixture_next(f);
    assert_true(s->changed && s->evening);
    assert_int_equal(s->slots, 4095);
    assert_int_equal(entered(s), 3 * SCALE_PORTION - 1);
    assert_int_equal(s->going[slot], SCALE_NOBODY);
    for (slot = 0; slot < SLOT_COUNT; slot++)
        if (s->going[slot] != SCALE_NOBODY)
            assert_int_equal(s->from[slot], f->owner[slot]);
}

/* Written ahead: a failover that loses the open state loses nothing of the record. */
static void test_what_is_entered_stays_until_it_has_arrived(void **state)
{
    struct scale_fixture *f = *state;
    begun(f);
    const struct scale *s = scale_fixture_next(f);
    assert_false(s->changed);
    assert_int_equal(entered(s), 3 * SCALE_PORTION);
    for (unsigned wanted = 1; wanted <= 8; wanted++) {
        f->ask.target.replicas = wanted;
        s = scale_fixture_next(f);
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
            if (f->going[slot] != SCALE_NOBODY)
                assert_int_equal(s->going[slot], f->going[slot]);
    }
    f->ask.target.replicas = 0; /* nothing moves, and nothing is forgotten */
    s = scale_fixture_next(f);
    assert_false(s->changed);
    assert_int_equal(entered(s), 3 * SCALE_PORTION);
}

static void test_what_is_cancelled_goes_when_everybody_knows_and_it_is_clean(void **state)
{
    struct scale_fixture *f = *state;
    begun(f);
    f->ask.target.replicas = 6;
    const struct scale *s = scale_fixture_next(f);
    assert_true(s->changed);
    assert_int_equal(slot_set_count(s->cancel), 3 * SCALE_PORTION);
    put(f);
    f->read[0] = f->read[1] = f->read[2] = false;
    assert_int_equal(looked(scale_fixture_next(f)), 0);
    f->read[0] = f->read[1] = f->read[2] = true;
    s = scale_fixture_next(f);
    assert_false(s->changed);
    assert_int_equal(looked(s), 3 * SCALE_PORTION); /* the one that is there goes back later */
    look(f);
    slot_set_add(&f->open, scale_one(0)); /* somebody was faster */
    bool first = f->going[0] != SCALE_NOBODY;
    s = scale_fixture_next(f);
    assert_true(s->changed);
    assert_int_equal(entered(s), first);
    /* Wanted again it goes on. */
    f->ask.target.replicas = 8;
    memset(&f->open, 0, sizeof f->open);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        f->clean[slot] = SCALE_NOBODY;
    s = scale_fixture_next(f);
    assert_true(s->changed);
    assert_int_equal(slot_set_count(s->cancel), 0);
}

static void test_who_has_not_read_the_record_begins_nothing(void **state)
{
    struct scale_fixture *f = *state;
    founded(f);
    f->read[1] = false;
    const struct scale *s = scale_fixture_next(f);
    assert_int_equal(looked(s), 2 * SCALE_PORTION);
    assert_int_equal(s->unread, 1);
    f->read[1] = true;
    f->read[6] = false; /* the destination: it might know of an earlier move of the same slots */
    s = scale_fixture_next(f);
    assert_int_equal(looked(s), 0);
    assert_int_equal(s->unread, 6);
}

static void test_what_is_half_moved_between_two_of_ours_is_entered(void **state)
{
    struct scale_fixture *f = *state;
    scale_fixture_formed(f, 3, 1, 0);
    f->half[7] = 2;
    f->from[7] = 0;
    slot_set_add(&f->open, scale_one(7));
    const struct scale *s = scale_fixture_next(f);
    assert_true(s->changed);
    assert_false(s->evening);
    assert_int_equal(entered(s), 1);
    assert_int_equal(s->from[7], 0);
    assert_int_equal(s->going[7], 2);
    assert_false(slot_set_has(s->cancel, 7));
    /* It arrived, and its source does not know yet: it stays until that is closed. */
    f->owner[7] = 2;
    s = scale_fixture_next(f);
    assert_int_equal(s->from[7], 0);
    assert_int_equal(s->going[7], 2);
    put(f);
    memset(&f->open, 0, sizeof f->open);
    f->half[7] = SCALE_NOBODY;
    s = scale_fixture_next(f);
    assert_true(s->changed);
    assert_int_equal(entered(s), 0);
}

static void test_nothing_is_entered_to_a_pod_that_is_a_replica_still(void **state)
{
    struct scale_fixture *f = *state;
    scale_fixture_formed(f, 3, 1, 2);
    for (size_t i = 6; i < 8; i++) {
        f->pods[i].shard = i - 6;
        f->ready[i] = false;
    }
    const struct scale *s = scale_fixture_next(f);
    assert_int_equal(s->target.shard_count, 4);
    assert_int_equal(s->slots, 4096);
    assert_int_equal(looked(s), 0);
    assert_false(s->changed);
}

/* muster-3 to -5 are the primaries, and muster-4 and -5 leave: one of their shards goes on, one ends. */
static void test_shards_are_handed_over_before_anything_of_them_moves(void **state)
{
    struct scale_fixture *f = *state;
    scale_fixture_formed(f, 3, 1, 0);
    for (size_t i = 0; i < 6; i++)
        f->pods[i].primary = i >= 3;
    f->ask.target.replicas = 4;
    const struct scale *s = scale_fixture_next(f);
    assert_int_equal(s->target.shard_count, 2);
    assert_int_equal(s->slots, 5461);
    assert_int_equal(looked(s), 0);
    assert_int_equal(s->target.heirs[0], TARGET_NONE);
    assert_int_equal(s->target.heirs[1], 1);
    assert_int_equal(s->target.heirs[2], 2); /* of the one that ends */
    assert_int_not_equal(s->handed, TARGET_NONE);
    for (size_t i = 0; i < 6; i++)
        f->pods[i].primary = i < 3;
    s = scale_fixture_next(f);
    assert_int_equal(s->handed, TARGET_NONE);
    assert_true(looked(s) > 0);
}

/* Both of its pods leave: nobody can take it over, and it moves at once. */
static void test_a_shard_of_which_nothing_stays_moves_at_once(void **state)
{
    struct scale_fixture *f = *state;
    scale_fixture_formed(f, 4, 0, 0);
    f->ask.target.replicas = 3;
    const struct scale *s = scale_fixture_next(f);
    assert_int_equal(s->handed, TARGET_NONE);
    assert_int_equal(s->slots, 4096);
    assert_int_equal(looked(s), 3 * SCALE_PORTION);
}

static void test_an_entry_of_a_source_that_is_another_shard_now_is_renewed(void **state)
{
    struct scale_fixture *f = *state;
    begun(f);
    unsigned slot = 0;
    while (f->going[slot] == SCALE_NOBODY)
        slot++;
    f->from[slot] = SCALE_NOBODY; /* nobody has its id any more */
    const struct scale *s = scale_fixture_next(f);
    assert_true(s->changed);
    assert_int_equal(s->from[slot], f->owner[slot]);
    f->from[slot] = 2;
    f->owner[slot] = 1; /* somebody gave it to another shard meanwhile */
    s = scale_fixture_next(f);
    assert_true(s->changed);
    assert_int_equal(s->from[slot], 1);
    f->owner[slot] =
        f->going[slot]; /* or it arrived, from nobody that is known: no entry to itself */
    f->from[slot] = SCALE_NOBODY;
    slot_set_add(&f->open, scale_one(slot));
    assert_int_equal(scale_fixture_next(f)->going[slot], SCALE_NOBODY);
}

/* The record is not written for each slot that arrives. */
static void test_what_has_arrived_is_taken_out_by_the_half_portion(void **state)
{
    struct scale_fixture *f = *state;
    begun(f);
    unsigned arrived = 0;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        if (f->going[slot] == SCALE_NOBODY)
            continue;
        f->owner[slot] = f->going[slot];
        const struct scale *s = scale_fixture_next(f);
        assert_int_equal(s->changed, ++arrived >= SCALE_PORTION / 2);
        if (s->changed)
            break;
    }
    assert_int_equal(arrived, SCALE_PORTION / 2);
    put(f);
    const struct scale *s = scale_fixture_next(f);
    assert_false(s->changed);
    assert_int_equal(looked(s), SCALE_PORTION / 2); /* of the pair that has room again */
    assert_true(s->evening);
}

/* What a person shared out stays, until a shard comes; then everything is evened out, to the last slot. */
static void test_what_was_shared_out_by_hand_stays(void **state)
{
    struct scale_fixture *f = *state;
    scale_fixture_formed(f, 3, 1, 2);
    for (unsigned slot = 0; slot < 4500; slot++)
        f->owner[slot] = 2;
    f->ask.target.replicas = 6;
    const struct scale *s = scale_fixture_next(f);
    assert_int_equal(s->slots, 0);
    assert_false(s->changed);
    f->ask.target.replicas = 8;
    s = scale_fixture_next(f);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(s->target.shards[i].slots, 4096);
    f->ask.target.replicas = 6;
    f->ask.evening = true; /* they had come, and went before all was even */
    s = scale_fixture_next(f);
    assert_true(s->slots > 0);
    assert_true(s->evening);
}

static void test_nothing_more_goes_to_who_has_no_memory_left(void **state)
{
    struct scale_fixture *f = *state;
    scale_fixture_formed(f, 4, 0, 0);
    f->ask.target.replicas = 3;
    f->full[1] = true;
    const struct scale *s = scale_fixture_next(f);
    assert_int_equal(s->full, 1);
    assert_int_equal(looked(s), 2 * SCALE_PORTION);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        assert_int_not_equal(s->look[slot], 1);
}

static void test_what_is_stuck_stays_where_it_is(void **state)
{
    struct scale_fixture *f = *state;
    scale_fixture_formed(f, 4, 0, 0);
    f->ask.target.replicas = 3;
    for (unsigned slot = 13000; slot < SLOT_COUNT; slot++)
        slot_set_add(&f->stuck, scale_one(slot));
    const struct scale *s = scale_fixture_next(f);
    for (unsigned slot = 13000; slot < SLOT_COUNT; slot++)
        assert_int_equal(s->look[slot], SCALE_NOBODY);
    assert_true(looked(s) > 0);
    assert_true(s->evening == true);
}

/* Pairs with slots under way, and the most of one destination. */
static unsigned pairs_under_way(const struct scale_fixture *f, unsigned *ret_most)
{
    bool *seen = calloc((size_t)2 * SCALE_FIXTURE_PODS * SCALE_FIXTURE_PODS, sizeof *seen);
    unsigned *sources = calloc((size_t)2 * SCALE_FIXTURE_PODS, sizeof *sources);
    unsigned pairs = 0;
    assert_non_null(seen);
    assert_non_null(sources);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        uint16_t to = f->going[slot];
        if (to == SCALE_NOBODY)
            continue;
        bool *pair = &seen[(size_t)f->from[slot] * 2 * SCALE_FIXTURE_PODS + to];
        if (!*pair && ++sources[to] > *ret_most)
            *ret_most = sources[to];
        pairs += !*pair;
        *pair = true;
    }
    free(seen);
    free(sources);
    return pairs;
}

static bool is_going_to(const struct scale_fixture *f, size_t code)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (f->going[slot] != SCALE_NOBODY && f->going[slot] == code)
            return true;
    return false;
}

/* So that no record is written that nobody reads, a turn stays short, and nobody is blocked by many. */
static void test_no_more_pairs_begin_than_work_side_by_side(void **state)
{
    struct scale_fixture *f = *state;
    scale_fixture_formed(f, 300, 1, 400);
    for (int turn = 0; turn < 3; turn++) { /* what is entered counts when it is asked again */
        (void)scale_fixture_next(f);
        look(f);
        (void)scale_fixture_next(f);
        put(f);
        unsigned most = 0;
        assert_in_range(pairs_under_way(f, &most), 1, SCALE_PAIRS_MAX);
        assert_in_range(most, 1, SCALE_SOURCES_MAX);
        size_t shards = f->ask.target.shard_count;
        for (size_t pod = 0; pod < f->ask.target.pod_count; pod++)
            if (f->pods[pod].shard == TARGET_NONE && is_going_to(f, shards + pod))
                found_as(f, pod, shards + pod);
    }
    scale_fixture_formed(f, 8, 0, 0);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        f->owner[slot] = (uint16_t)(slot % 7 ? 1 + slot % 7 : 0); /* all of them give to one */
    f->owner[0] = 1;
    f->ask.evening = true;
    (void)scale_fixture_next(f);
    look(f);
    (void)scale_fixture_next(f);
    put(f);
    unsigned most = 0;
    (void)pairs_under_way(f, &most);
    assert_in_range(most, 1, SCALE_SOURCES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_owns_nothing_gets_one_slot_first),
        cmocka_unit_test(test_who_has_no_copy_in_sync_gets_nothing),
        cmocka_unit_test(test_only_what_was_looked_at_is_entered),
        cmocka_unit_test(test_what_is_entered_stays_until_it_has_arrived),
        cmocka_unit_test(test_what_is_cancelled_goes_when_everybody_knows_and_it_is_clean),
        cmocka_unit_test(test_who_has_not_read_the_record_begins_nothing),
        cmocka_unit_test(test_what_is_half_moved_between_two_of_ours_is_entered),
        cmocka_unit_test(test_nothing_is_entered_to_a_pod_that_is_a_replica_still),
        cmocka_unit_test(test_shards_are_handed_over_before_anything_of_them_moves),
        cmocka_unit_test(test_a_shard_of_which_nothing_stays_moves_at_once),
        cmocka_unit_test(test_an_entry_of_a_source_that_is_another_shard_now_is_renewed),
        cmocka_unit_test(test_what_has_arrived_is_taken_out_by_the_half_portion),
        cmocka_unit_test(test_what_was_shared_out_by_hand_stays),
        cmocka_unit_test(test_nothing_more_goes_to_who_has_no_memory_left),
        cmocka_unit_test(test_what_is_stuck_stays_where_it_is),
        cmocka_unit_test(test_no_more_pairs_begin_than_work_side_by_side),
    };
    return cmocka_run_group_tests(tests, scale_fixture_setup, scale_fixture_teardown);
}
