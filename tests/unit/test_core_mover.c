/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves of many slots between two model primaries, with clients that write at any moment, refusals,
 * and movers that end after any single order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "core/mover.h"

enum { SOURCE, DEST, SIDES };
#define SLOTS 80
#define KEYS 6

struct side {
    bool owns[SLOTS]; /* in its own view */
    bool open[SLOTS];
    int values[SLOTS][KEYS]; /* 0 = none */
};

struct model {
    struct side sides[SIDES];
    int truth[SLOTS][KEYS];
    int version;
    struct rng rng;
    double key_ms; /* that MIGRATE takes for a key */
    unsigned refuse_one_in;
    unsigned clients; /* that do something between two orders */
    int64_t longest_ms;
    unsigned exchanges;
    bool big[SLOTS];
};

static const struct slot_range ALL[] = {{3, 40}, {42, 42}, {50, 79}};

static bool is_moving(unsigned slot)
{
    for (size_t i = 0; i < sizeof ALL / sizeof ALL[0]; i++)
        if (slot >= ALL[i].first && slot <= ALL[i].last)
            return true;
    return false;
}

static struct mover_config config_of(bool cancel)
{
    return (struct mover_config){ALL, sizeof ALL / sizeof ALL[0], MOVER_BUDGET_MS, cancel};
}

static void begin(struct model *m, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    m->rng.state = seed;
    m->key_ms = 0.1;
    for (int slot = 0; slot < SLOTS; slot++) {
        m->sides[SOURCE].owns[slot] = true;
        for (int key = 0; key < KEYS; key++)
            if (rng_below(&m->rng, 3))
                m->truth[slot][key] = m->sides[SOURCE].values[slot][key] = ++m->version;
    }
}

static int64_t count(const struct side *side, int slot)
{
    int64_t keys = 0;
    for (int key = 0; key < KEYS; key++)
        keys += side->values[slot][key] != 0;
    return keys;
}

/* What the source hears of the destination's epoch: it deletes what it holds of a slot that it lost. */
static void hear(struct model *m)
{
    for (int slot = 0; slot < SLOTS; slot++) {
        if (!m->sides[DEST].owns[slot] || !m->sides[SOURCE].owns[slot])
            continue;
        m->sides[SOURCE].owns[slot] = false;
        memset(m->sides[SOURCE].values[slot], 0, sizeof m->sides[SOURCE].values[slot]);
    }
}

static void use(struct model *m)
{
    int slot = (int)rng_below(&m->rng, SLOTS);
    int key = (int)rng_below(&m->rng, KEYS);
    struct side *source = &m->sides[SOURCE];
    struct side *dest = &m->sides[DEST];
    struct side *serves = source->owns[slot] ? source : dest;
    if (serves == source && source->open[slot] && !source->values[slot][key])
        serves = dest; /* ASK */
    if (serves == dest && !dest->owns[slot] && !dest->open[slot])
        return;
    assert_int_equal(serves->values[slot][key], m->truth[slot][key]);
    serves->values[slot][key] = m->truth[slot][key] = ++m->version;
}

/* ---- orders ---- */

static void look(const struct model *m, const struct mover_order *order, struct slot_seen *ret_seen)
{
    for (size_t i = 0; i < order->count; i++) {
        int slot = order->slots[i];
        for (int side = 0; side < SIDES; side++) {
            const struct side *s = &m->sides[side];
            const struct slot_side said = {
                .owner = s->owns[slot] == (side == SOURCE) ? SLOT_OWNER_SOURCE : SLOT_OWNER_DEST,
                .open = s->open[slot] ? SLOT_OPEN_PEER : SLOT_CLOSED,
                .keys = count(s, slot),
            };
            if (side == SOURCE)
                ret_seen[i].source = said;
            else
                ret_seen[i].dest = said;
        }
        ret_seen[i].big = m->big[slot];
    }
}

static int64_t migrate(struct model *m, int slot, unsigned keys)
{
    struct side *source = &m->sides[SOURCE];
    struct side *dest = &m->sides[DEST];
    assert_true(source->open[slot] && dest->open[slot]);
    for (int key = 0; key < KEYS && keys; key++) {
        if (!source->values[slot][key])
            continue;
        dest->values[slot][key] = source->values[slot][key];
        source->values[slot][key] = 0;
        keys--;
    }
    return count(source, slot);
}

static bool set_slot(struct model *m, enum slot_step step, int slot)
{
    struct side *source = &m->sides[SOURCE];
    struct side *dest = &m->sides[DEST];
    switch (step) {
    case SLOT_IMPORT:
        dest->open[slot] = !dest->owns[slot];
        return !dest->owns[slot];
    case SLOT_MIGRATE:
        source->open[slot] = source->owns[slot];
        return source->owns[slot];
    case SLOT_TAKE:
        dest->owns[slot] = true;
        dest->open[slot] = false;
        return true;
    case SLOT_GIVE:
        if (source->owns[slot] && count(source, slot))
            return false;
        source->owns[slot] = source->open[slot] = false;
        return true;
    case SLOT_CLOSE_SOURCE:
        source->open[slot] = false;
        return true;
    case SLOT_CLOSE_DEST:
        dest->open[slot] = false;
        return true;
    case SLOT_TELL:
    case SLOT_WAIT:
    case SLOT_DONE:
    case SLOT_KEYS:
        break;
    }
    fail_msg("no command");
    return false;
}

static void carry_out(struct model *m, struct mover *mover, const struct mover_order *order)
{
    struct slot_seen seen[MOVER_WINDOW] = {0};
    enum mover_result results[MOVER_WINDOW];
    int64_t left[MOVER_WINDOW];
    unsigned keys = 0;
    m->exchanges++;
    if (order->kind == MOVER_LOOK) {
        look(m, order, seen);
        mover_saw(mover, order, seen);
        return;
    }
    for (size_t i = 0; i < order->count; i++) {
        int slot = order->slots[i];
        bool ok = !m->refuse_one_in || rng_below(&m->rng, m->refuse_one_in) > 0;
        keys += order->keys[i];
        if (ok && order->step == SLOT_KEYS)
            left[i] = migrate(m, slot, order->keys[i]);
        else if (ok)
            ok = set_slot(m, order->step, slot);
        results[i] = ok ? MOVER_OK : MOVER_REFUSED;
    }
    int64_t took = (int64_t)(keys * m->key_ms) + 1;
    m->longest_ms = took > m->longest_ms ? took : m->longest_ms;
    mover_did(mover, order, results, left, took);
}

/* So many orders; true if it is done before. */
static bool run(struct model *m, struct mover *mover, unsigned orders)
{
    struct mover_order order;
    for (unsigned i = 0; i < orders; i++) {
        mover_next(mover, &order);
        if (order.kind == MOVER_DONE || order.kind == MOVER_BLOCKED || order.kind == MOVER_PAUSED)
            return true;
        for (unsigned k = 0; k < m->clients; k++)
            use(m);
        carry_out(m, mover, &order);
        if (m->clients && rng_below(&m->rng, 3) == 0)
            hear(m);
    }
    return false;
}

static void assert_arrived(const struct model *m)
{
    for (int slot = 0; slot < SLOTS; slot++) {
        int side = is_moving((unsigned)slot) ? DEST : SOURCE;
        for (int key = 0; key < KEYS; key++) {
            assert_int_equal(m->sides[side].values[slot][key], m->truth[slot][key]);
            assert_int_equal(m->sides[!side].values[slot][key], 0);
        }
        assert_int_equal(m->sides[SOURCE].owns[slot], side == SOURCE);
        assert_int_equal(m->sides[DEST].owns[slot], side == DEST);
        assert_false(m->sides[SOURCE].open[slot] || m->sides[DEST].open[slot]);
    }
}

static void move_all(struct model *m)
{
    const struct mover_config config = config_of(false);
    struct mover mover;
    struct mover_order order;
    mover_init(&mover, &config);
    assert_true(run(m, &mover, 10000));
    mover_next(&mover, &order);
    if (order.kind != MOVER_DONE)
        fail_msg("slot %u: %s", order.slots[0], order.why);
    hear(m);
    assert_arrived(m);
}

/* ---- tests ---- */

static void test_all_slots_arrive_in_few_exchanges(void **state)
{
    (void)state;
    struct model m;
    const struct mover_config config = config_of(false);
    struct mover mover;
    begin(&m, 1);
    mover_init(&mover, &config);
    assert_int_equal(mover_slots(&mover), 69);
    assert_true(run(&m, &mover, 10000));
    assert_int_equal(mover.slots_done, 69);
    assert_int_equal(mover.slots_blocked, 0);
    int64_t keys = 0;
    for (int slot = 0; slot < SLOTS; slot++)
        keys += is_moving((unsigned)slot) ? count(&m.sides[DEST], slot) : 0;
    assert_int_equal(mover.keys_moved, keys);
    assert_arrived(&m);
    /* Three windows of two looks, import, migrate, take and give, and the keys. */
    assert_true(m.exchanges < 3 * 6 + 40);
}

static void test_writes_at_any_moment_arrive(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct model m;
        begin(&m, seed);
        m.clients = 5;
        move_all(&m);
    }
}

static void test_a_mover_ends_after_each_order_and_another_goes_on(void **state)
{
    (void)state;
    for (unsigned killed = 0; killed < 70; killed++) {
        struct model m;
        const struct mover_config config = config_of(false);
        struct mover mover;
        begin(&m, killed);
        m.clients = 3;
        mover_init(&mover, &config);
        (void)run(&m, &mover, killed);
        move_all(&m);
    }
}

/* Again and again, after a few orders each. */
static void test_movers_that_live_for_few_orders_get_there(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct model m;
        const struct mover_config config = config_of(false);
        begin(&m, seed);
        m.clients = 3;
        for (unsigned life = 0; life < 30; life++) {
            struct mover mover;
            mover_init(&mover, &config);
            (void)run(&m, &mover, 4 + (unsigned)rng_below(&m.rng, 8));
        }
        move_all(&m);
    }
}

static void test_refusals_are_looked_at_and_tried_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct model m;
        const struct mover_config config = config_of(false);
        struct mover mover;
        begin(&m, seed);
        m.refuse_one_in = 12;
        m.clients = 1;
        mover_init(&mover, &config);
        assert_true(run(&m, &mover, 10000));
        m.refuse_one_in = 0;
        move_all(&m); /* what was given up */
    }
}

static void test_what_is_refused_for_good_is_given_up(void **state)
{
    (void)state;
    struct model m;
    const struct mover_config config = config_of(false);
    struct mover mover;
    struct mover_order order;
    begin(&m, 1);
    m.refuse_one_in = 1;
    mover_init(&mover, &config);
    assert_true(run(&m, &mover, 200));
    mover_next(&mover, &order);
    assert_int_equal(order.kind, MOVER_BLOCKED);
    assert_string_equal(order.why, "the servers refuse its next step");
    assert_int_equal(mover.slots_blocked, 69);
}

static void test_a_slot_with_a_big_key_is_left_and_the_others_go(void **state)
{
    (void)state;
    struct model m;
    const struct mover_config config = config_of(false);
    struct mover mover;
    struct mover_order order;
    begin(&m, 1);
    m.big[20] = true;
    mover_init(&mover, &config);
    assert_true(run(&m, &mover, 10000));
    mover_next(&mover, &order);
    assert_int_equal(order.kind, MOVER_BLOCKED);
    assert_int_equal(order.slots[0], 20);
    assert_non_null(strstr(order.why, "too big"));
    assert_int_equal(mover.slots_done, 68);
    assert_true(m.sides[SOURCE].owns[20]);
    assert_false(m.sides[SOURCE].open[20] || m.sides[DEST].open[20]);
    m.big[20] = false;
    move_all(&m);
}

/* From whatever moment on: what is open goes on to its end, and nothing else is opened before it may. */
static void test_paused_it_finishes_what_is_half_moved(void **state)
{
    (void)state;
    for (unsigned orders = 0; orders < 40; orders++) {
        struct model m;
        const struct mover_config config = config_of(false);
        struct mover mover;
        struct mover_order order;
        bool begun[SLOTS];
        begin(&m, orders);
        m.clients = 2;
        mover_init(&mover, &config);
        (void)run(&m, &mover, orders);
        for (int slot = 0; slot < SLOTS; slot++)
            begun[slot] = m.sides[SOURCE].open[slot] || m.sides[DEST].open[slot] ||
                          (is_moving((unsigned)slot) && m.sides[DEST].owns[slot]);
        if (orders % 2) /* by a new one, which knows of nothing */
            mover_init(&mover, &config);
        mover_pause(&mover, true);
        while (!run(&m, &mover, 10000))
            ;
        mover_next(&mover, &order);
        bool all = true;
        for (int slot = 0; slot < SLOTS; slot++) {
            bool moves = is_moving((unsigned)slot);
            all &= begun[slot] || !moves;
            assert_int_equal(m.sides[DEST].owns[slot], moves && begun[slot]);
            assert_false(m.sides[SOURCE].open[slot] || m.sides[DEST].open[slot]);
        }
        assert_int_equal(order.kind, all ? MOVER_DONE : MOVER_PAUSED);
        move_all(&m);
    }
}

/* After a few exchanges none takes longer than the budget, and none much less than it might. */
static void test_exchanges_of_keys_stay_within_their_budget(void **state)
{
    (void)state;
    static const double costs[] = {0.01, 0.1, 0.5, 2, 6};
    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; i++) {
        struct mover_order order = {.kind = MOVER_STEP, .step = SLOT_KEYS, .count = 1};
        const struct mover_config config = config_of(false);
        const enum mover_result ok = MOVER_OK;
        const int64_t left = 1000000;
        struct slot_seen seen = {{SLOT_OWNER_SOURCE, SLOT_OPEN_PEER, left, 0, false},
                                 {SLOT_OWNER_SOURCE, SLOT_OPEN_PEER, 0, 0, false},
                                 .begun = true};
        struct mover mover;
        unsigned late = 0;
        mover_init(&mover, &config);
        for (unsigned k = 0; k < 200; k++) {
            mover_next(&mover, &order);
            if (order.kind == MOVER_LOOK) {
                struct slot_seen all[MOVER_WINDOW];
                for (size_t n = 0; n < order.count; n++)
                    all[n] = seen;
                mover_saw(&mover, &order, all);
                continue;
            }
            assert_int_equal(order.step, SLOT_KEYS);
            assert_int_equal(order.count, 1);
            int64_t took = (int64_t)(order.keys[0] * costs[i]);
            late += k > 30 && took > MOVER_BUDGET_MS;
            if (k > 30 && order.keys[0] < MOVER_KEYS_MAX)
                assert_true(took > MOVER_BUDGET_MS / 3);
            mover_did(&mover, &order, &ok, &left, took);
        }
        assert_int_equal(late, 0);
    }
}

/* A server that says OK and does nothing. */
static void test_what_does_not_come_on_is_given_up(void **state)
{
    (void)state;
    static const struct slot_side sides[][SIDES] = {
        {{SLOT_OWNER_SOURCE, SLOT_CLOSED, 3, 0, false},
         {SLOT_OWNER_SOURCE, SLOT_CLOSED, 0, 0, false}},
        {{SLOT_OWNER_SOURCE, SLOT_OPEN_PEER, 3, 0, false},
         {SLOT_OWNER_SOURCE, SLOT_OPEN_MATE, 0, 0, false}},
        {{SLOT_OWNER_SOURCE, SLOT_OPEN_PEER, 3, 0, false},
         {SLOT_OWNER_SOURCE, SLOT_OPEN_PEER, 1, 0, false}},
    };
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        const struct mover_config config = config_of(false);
        struct mover mover;
        struct mover_order order;
        unsigned orders = 0;
        mover_init(&mover, &config);
        for (;; orders++) {
            struct slot_seen seen[MOVER_WINDOW] = {0};
            enum mover_result results[MOVER_WINDOW];
            int64_t left[MOVER_WINDOW];
            mover_next(&mover, &order);
            if (order.kind == MOVER_BLOCKED)
                break;
            assert_true(orders < 4000 && order.kind != MOVER_DONE);
            for (size_t k = 0; k < order.count; k++) {
                seen[k].source = sides[i][SOURCE];
                seen[k].dest = sides[i][DEST];
                results[k] = MOVER_OK;
                left[k] = 3;
            }
            if (order.kind == MOVER_LOOK)
                mover_saw(&mover, &order, seen);
            else
                mover_did(&mover, &order, results, left, 1);
            if (orders % 7 == 0)
                mover.looked = false; /* whatever it does in between */
        }
        assert_non_null(strstr(order.why, "do not bring it on"));
    }
}

/* The shard has another primary, which has none of the open states (Redis, Valkey before 8). */
static void fail_over(struct model *m, int side)
{
    hear(m);
    memset(m->sides[side].open, 0, sizeof m->sides[side].open);
}

static void test_failovers_between_movers_lose_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct model m;
        const struct mover_config config = config_of(false);
        begin(&m, seed);
        for (unsigned life = 0; life < 12; life++) {
            struct mover mover;
            mover_init(&mover, &config);
            (void)run(&m, &mover, 3 + (unsigned)rng_below(&m.rng, 12));
            fail_over(&m, (int)rng_below(&m.rng, SIDES));
        }
        move_all(&m);
    }
}

/* What was taken has to stay there; of the rest nothing is open afterwards, and no key has gone. */
static void test_a_cancelled_move_leaves_nothing_half_done(void **state)
{
    (void)state;
    for (unsigned orders = 0; orders < 40; orders++) {
        struct model m;
        struct mover_config config = config_of(false);
        struct mover mover;
        struct mover_order order;
        begin(&m, orders);
        m.clients = 3;
        mover_init(&mover, &config);
        (void)run(&m, &mover, orders);
        config.cancel = true;
        mover_init(&mover, &config);
        assert_true(run(&m, &mover, 10000));
        mover_next(&mover, &order);
        assert_int_equal(order.kind, MOVER_DONE);
        hear(&m);
        unsigned stayed = 0;
        for (int slot = 0; slot < SLOTS; slot++) {
            int side = m.sides[DEST].owns[slot] ? DEST : SOURCE;
            assert_false(m.sides[SOURCE].open[slot] || m.sides[DEST].open[slot]);
            assert_true(m.sides[side].owns[slot] && !m.sides[!side].owns[slot]);
            for (int key = 0; key < KEYS; key++) {
                assert_int_equal(m.sides[side].values[slot][key], m.truth[slot][key]);
                assert_int_equal(m.sides[!side].values[slot][key], 0);
            }
            stayed += is_moving((unsigned)slot) && side == SOURCE;
        }
        assert_true(orders > 3 || stayed == 69);
        move_all(&m); /* wanted again */
    }
}

static void test_no_slots_are_done_at_once(void **state)
{
    (void)state;
    const struct mover_config config = {NULL, 0, MOVER_BUDGET_MS, false};
    struct mover mover;
    struct mover_order order;
    mover_init(&mover, &config);
    mover_next(&mover, &order);
    assert_int_equal(order.kind, MOVER_DONE);
    assert_int_equal(mover_slots(&mover), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_slots_arrive_in_few_exchanges),
        cmocka_unit_test(test_writes_at_any_moment_arrive),
        cmocka_unit_test(test_a_mover_ends_after_each_order_and_another_goes_on),
        cmocka_unit_test(test_movers_that_live_for_few_orders_get_there),
        cmocka_unit_test(test_refusals_are_looked_at_and_tried_again),
        cmocka_unit_test(test_what_is_refused_for_good_is_given_up),
        cmocka_unit_test(test_a_slot_with_a_big_key_is_left_and_the_others_go),
        cmocka_unit_test(test_paused_it_finishes_what_is_half_moved),
        cmocka_unit_test(test_exchanges_of_keys_stay_within_their_budget),
        cmocka_unit_test(test_what_does_not_come_on_is_given_up),
        cmocka_unit_test(test_failovers_between_movers_lose_nothing),
        cmocka_unit_test(test_a_cancelled_move_leaves_nothing_half_done),
        cmocka_unit_test(test_no_slots_are_done_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
