/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "unit/scale_fixture.h"

#define SMALL 3 /* pods, each a shard or empty */

/* The state of one slot: whose, on its way to whom, cancelled, open, and whether a key of it went already. */
struct small {
    unsigned owner, going, cancel, open, key;
};

static bool small_read(unsigned code, struct small *ret_small)
{
    *ret_small =
        (struct small){code % 3, code / 3 % 4, code / 12 % 2, code / 24 % 2, code / 48 % 2};
    if (ret_small->going == ret_small->owner)
        return !ret_small->key;
    return ret_small->going < SMALL || !(ret_small->cancel || ret_small->open || ret_small->key);
}

#define SMALL_CODES 96

static void small_put(struct scale_fixture *f, unsigned slot, const struct small *s)
{
    const struct slot_range range = scale_one(slot);
    bool goes = s->going < SMALL;
    f->owner[slot] = (uint16_t)s->owner;
    f->going[slot] = goes ? (uint16_t)s->going : SCALE_NOBODY;
    f->from[slot] =
        goes ? (uint16_t)(s->owner == s->going ? (s->going + 1) % SMALL : s->owner) : SCALE_NOBODY;
    slot_set_remove(&f->open, range);
    slot_set_remove(&f->cancel, range);
    if (s->open)
        slot_set_add(&f->open, range);
    if (s->cancel)
        slot_set_add(&f->cancel, range);
}

static void small_formed(struct scale_fixture *f, unsigned replicas)
{
    scale_fixture_formed(f, SMALL, 0, 0);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        f->owner[slot] = SCALE_NOBODY;
    f->ask.target.replicas = replicas;
}

static void assert_step(const struct scale_fixture *f, unsigned slot, unsigned replicas)
{
    const struct scale *s = &f->scale;
    uint16_t was = f->going[slot];
    uint16_t to = s->going[slot];
    bool open = slot_set_has(&f->open, slot);
    bool clean = slot_set_has(&f->cancel, slot) && !open && f->clean[slot] == was;
    bool arrived = was == f->owner[slot] && !open;
    if (was != SCALE_NOBODY && !arrived && !clean)
        assert_int_equal(to, was);
    if (to != SCALE_NOBODY && to != was) { /* entered */
        assert_int_equal(f->clean[slot], to);
        assert_true(!open && to < replicas && to != f->owner[slot]);
    }
    if (to != SCALE_NOBODY)
        assert_int_not_equal(s->from[slot], to);
    if (s->look[slot] != SCALE_NOBODY)
        assert_int_not_equal(s->look[slot], f->owner[slot]);
    assert_true(to != SCALE_NOBODY || !slot_set_has(s->cancel, slot));
}

/* Two slots in every state that each can be in, looked at or not. */
static void test_each_step_of_each_small_world(void **state)
{
    struct scale_fixture *f = *state;
    for (unsigned replicas = 1; replicas <= SMALL; replicas++) {
        small_formed(f, replicas);
        for (unsigned code = 0; code < SMALL_CODES * SMALL_CODES; code++) {
            struct small small[2];
            if (!small_read(code % SMALL_CODES, &small[0]) ||
                !small_read(code / SMALL_CODES, &small[1]) || small[1].key != small[0].key)
                continue;
            for (unsigned slot = 0; slot < 2; slot++) {
                small_put(f, slot, &small[slot]);
                f->clean[slot] = small[slot].key ? SCALE_NOBODY : f->going[slot];
            }
            (void)scale_fixture_next(f);
            for (unsigned slot = 0; slot < 2; slot++)
                assert_step(f, slot, replicas);
        }
    }
}

/* The mover, for one slot that it has read of: all of its way, or closed again. */
static void small_move(struct small *s)
{
    if (s->going >= SMALL)
        return;
    if (!s->cancel || s->key)
        s->owner = s->going;
    s->open = s->key = 0;
}

static void small_turn(struct scale_fixture *f, struct small *small, unsigned slots)
{
    for (unsigned slot = 0; slot < slots; slot++)
        small_put(f, slot, &small[slot]);
    (void)scale_fixture_next(f);
    for (unsigned slot = 0; slot < slots; slot++) {
        bool clean = !small[slot].open && !small[slot].key;
        f->clean[slot] = clean && !f->scale.changed ? f->scale.look[slot] : SCALE_NOBODY;
        if (!f->scale.changed)
            continue;
        small[slot].going = f->scale.going[slot] == SCALE_NOBODY ? SMALL : f->scale.going[slot];
        small[slot].cancel = slot_set_has(f->scale.cancel, slot);
    }
    if (f->scale.changed)
        f->ask.evening = f->scale.evening;
    for (unsigned slot = 0; slot < slots; slot++)
        small_move(&small[slot]);
}

/* From every state of one slot, beside two at rest, to where nothing is left to do. */
static void test_every_small_world_comes_to_rest(void **state)
{
    struct scale_fixture *f = *state;
    for (unsigned code = 0; code < SMALL_CODES * 9 * SMALL; code++) {
        unsigned replicas = 1 + code / SMALL_CODES / 9;
        struct small small[3] = {{0},
                                 {code / SMALL_CODES % 3, SMALL, 0, 0, 0},
                                 {code / SMALL_CODES / 3 % 3, SMALL, 0, 0, 0}};
        if (!small_read(code % SMALL_CODES, &small[0]))
            continue;
        small_formed(f, replicas);
        for (unsigned turn = 0; turn < 12; turn++)
            small_turn(f, small, 3);
        assert_false(f->scale.changed || f->scale.evening);
        assert_int_equal(f->scale.slots, 0);
        for (unsigned slot = 0; slot < 3; slot++) {
            assert_true(small[slot].owner < replicas);
            assert_int_equal(small[slot].going, SMALL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_step_of_each_small_world),
        cmocka_unit_test(test_every_small_world_comes_to_rest),
    };
    return cmocka_run_group_tests(tests, scale_fixture_setup, scale_fixture_teardown);
}
