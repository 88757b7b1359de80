/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One slot, two shards, clients, and what SETSLOT, MIGRATE and a failover do to them (FACTS 6):
 * whatever happens between the steps, the slot arrives with every acknowledged write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "core/slot_move.h"

enum { SOURCE, DEST, SHARDS };
#define KEYS 4
#define MATES 10 /* ids of a shard's primaries are equal modulo this */
#define NOBODY (-1)

/* The present primary of a shard. */
struct primary {
    int id;
    int owner;        /* whose the slot is in its view: a shard */
    int open;         /* id that the slot is open towards, or NOBODY */
    bool claims;      /* by an epoch that the other has not heard of yet */
    int values[KEYS]; /* 0 = it does not hold the key */
};

struct model {
    struct primary shards[SHARDS];
    int truth[KEYS];   /* last acknowledged; 0 = deleted */
    int version;       /* of the last write */
    bool keeps_states; /* a failover keeps the open states (Valkey 8 and later) */
    bool failed_over;  /* once: a key may be invisible for a while */
    bool begun;        /* by the record; `cancel`, too */
    bool cancel;
    struct rng rng;
    unsigned steps;
};

static int64_t held(const struct primary *p)
{
    int64_t count = 0;
    for (int k = 0; k < KEYS; k++)
        count += p->values[k] != 0;
    return count;
}

/* ---- the servers ---- */

static void set_importing(struct model *m, int shard, int from)
{
    if (m->shards[shard].owner != shard) /* else "I'm already the owner of hash slot" */
        m->shards[shard].open = from;
}

static void set_migrating(struct model *m, int shard, int to)
{
    if (m->shards[shard].owner == shard) /* else "I'm not the owner of hash slot" */
        m->shards[shard].open = to;
}

static void set_node(struct model *m, int shard, int owner)
{
    struct primary *p = &m->shards[shard];
    if (p->owner == shard && owner != shard) {
        if (held(p))
            return; /* "while I still hold keys" */
        p->open = NOBODY;
    }
    if (owner == shard && p->open != NOBODY) {
        p->open = NOBODY;
        p->claims = true; /* under a new epoch, told to all */
    }
    p->owner = owner;
}

/* The keys of a slot that someone else took under a later epoch are deleted. */
static void hear(struct model *m)
{
    for (int shard = 0; shard < SHARDS; shard++) {
        struct primary *other = &m->shards[!shard];
        if (!m->shards[shard].claims)
            continue;
        m->shards[shard].claims = false;
        if (other->owner == !shard)
            memset(other->values, 0, sizeof other->values);
        other->owner = shard;
    }
}

/* MIGRATE ... REPLACE of one key; `half`: its answer, and the deletion, are lost. */
static void migrate_key(struct model *m, int key, bool half)
{
    struct primary *source = &m->shards[SOURCE];
    struct primary *dest = &m->shards[DEST];
    if (!source->values[key] || source->open == NOBODY)
        return;
    if (dest->open == NOBODY && dest->owner != DEST)
        return; /* RESTORE-ASKING is sent away */
    dest->values[key] = source->values[key];
    if (!half)
        source->values[key] = 0;
}

static void fail_over(struct model *m, int shard)
{
    struct primary *p = &m->shards[shard];
    struct primary *other = &m->shards[!shard];
    hear(m); /* that takes seconds, gossip does not */
    if (m->keeps_states && other->open == p->id)
        other->open = p->id + MATES;
    p->id += MATES;
    if (!m->keeps_states)
        p->open = NOBODY;
    m->failed_over |= !m->keeps_states;
}

/* ---- clients ---- */

/* The shard that serves the key to a client that begins at `shard`; NOBODY if it is sent in circles. */
static int serving(const struct model *m, int shard, int key)
{
    for (int hops = 0; hops < 4; hops++) {
        const struct primary *p = &m->shards[shard];
        const struct primary *other = &m->shards[!shard];
        if (p->owner != shard) {
            shard = p->owner;
            continue;
        }
        if (p->open == NOBODY || p->values[key])
            return shard;
        if (p->open != other->id)
            return NOBODY; /* ASK to who is no longer the primary */
        return other->open != NOBODY || other->owner == !shard ? !shard : NOBODY;
    }
    return NOBODY;
}

static void use(struct model *m)
{
    int key = (int)rng_below(&m->rng, KEYS);
    int shard = serving(m, (int)rng_below(&m->rng, SHARDS), key);
    if (shard == NOBODY)
        return;
    int *value = &m->shards[shard].values[key];
    switch (rng_below(&m->rng, 4)) {
    case 0:
        /*
         * Left out: of a key whose MIGRATE was done but not answered. Redis itself cannot tell that
         * its copy at the destination is to go, too.
         */
        if (shard == SOURCE && m->shards[DEST].values[key])
            return;
        if (*value) /* else the client hears that nothing was deleted */
            m->truth[key] = 0;
        *value = 0;
        return;
    case 1:
    case 2:
        *value = ++m->version;
        m->truth[key] = *value;
        return;
    default:
        if (!m->failed_over)
            assert_int_equal(*value, m->truth[key]);
    }
}

/* ---- the mover ---- */

static enum slot_open open_of(const struct model *m, int shard)
{
    int open = m->shards[shard].open;
    if (open == NOBODY)
        return SLOT_CLOSED;
    if (open == m->shards[!shard].id)
        return SLOT_OPEN_PEER;
    return open % MATES == m->shards[!shard].id % MATES ? SLOT_OPEN_MATE : SLOT_OPEN_OTHER;
}

static struct slot_side side_of(const struct model *m, int shard)
{
    const struct primary *p = &m->shards[shard];
    return (struct slot_side){p->owner == SOURCE ? SLOT_OWNER_SOURCE : SLOT_OWNER_DEST,
                              open_of(m, shard), held(p), 0, false};
}

static enum slot_step look(const struct model *m, const char **ret_why)
{
    const struct slot_seen seen = {side_of(m, SOURCE), side_of(m, DEST), m->begun, m->cancel,
                                   false};
    return slot_move_next(&seen, ret_why);
}

static void do_step(struct model *m, enum slot_step step)
{
    m->steps++;
    switch (step) {
    case SLOT_WAIT:
    case SLOT_DONE:
        return;
    case SLOT_IMPORT:
        set_importing(m, DEST, m->shards[SOURCE].id);
        return;
    case SLOT_MIGRATE:
        set_migrating(m, SOURCE, m->shards[DEST].id);
        return;
    case SLOT_KEYS:
        for (int k = 0; k < KEYS; k++)
            if (rng_below(&m->rng, 2))
                migrate_key(m, k, rng_below(&m->rng, 4) == 0);
        return;
    case SLOT_TELL:
        set_node(m, DEST, SOURCE);
        return;
    case SLOT_TAKE:
        set_node(m, DEST, DEST);
        return;
    case SLOT_GIVE:
        set_node(m, SOURCE, DEST);
        return;
    case SLOT_CLOSE_SOURCE:
        m->shards[SOURCE].open = NOBODY;
        return;
    case SLOT_CLOSE_DEST:
        m->shards[DEST].open = NOBODY;
        return;
    }
}

static void assert_arrived(const struct model *m)
{
    for (int k = 0; k < KEYS; k++) {
        assert_int_equal(m->shards[DEST].values[k], m->truth[k]);
        assert_int_equal(m->shards[SOURCE].values[k], 0);
    }
    for (int shard = 0; shard < SHARDS; shard++) {
        assert_int_equal(m->shards[shard].owner, DEST);
        assert_int_equal(m->shards[shard].open, NOBODY);
    }
}

/* Quiet at last: it arrives in a few steps, and from then on nothing is to be done. */
static void finish(struct model *m)
{
    const char *why;
    enum slot_step step = SLOT_WAIT;
    for (unsigned i = 0; i < 60 && step != SLOT_DONE; i++) {
        step = look(m, &why);
        if (step == SLOT_WAIT)
            fail_msg("waits: %s", why);
        do_step(m, step);
        hear(m);
    }
    assert_int_equal(step, SLOT_DONE);
    assert_arrived(m);
}

static struct model begin(uint64_t seed)
{
    struct model m = {.begun = true, .rng = {seed}}; /* written ahead */
    m.shards[SOURCE] = (struct primary){.id = 1, .owner = SOURCE, .open = NOBODY};
    m.shards[DEST] = (struct primary){.id = 2, .owner = SOURCE, .open = NOBODY};
    for (int k = 0; k < KEYS - 1; k++)
        m.truth[k] = m.shards[SOURCE].values[k] = ++m.version;
    return m;
}

/* ---- tests ---- */

static void test_a_slot_goes_in_the_order_of_redis_cli(void **state)
{
    (void)state;
    static const enum slot_step order[] = {SLOT_IMPORT, SLOT_MIGRATE, SLOT_KEYS,
                                           SLOT_TAKE,   SLOT_GIVE,    SLOT_DONE};
    struct model m = begin(1);
    const char *why;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        enum slot_step step = look(&m, &why);
        assert_int_equal(step, order[i]);
        assert_string_equal(why, "");
        if (step == SLOT_KEYS)
            for (int k = 0; k < KEYS; k++)
                migrate_key(&m, k, false);
        else
            do_step(&m, step);
    }
    assert_arrived(&m);
}

/*
 * Clients, two movers of which one acts on what it saw a while ago, failovers of both sides: in any
 * order. What takes the slot is sent in the exchange in which the source was seen to be empty.
 */
static void run(uint64_t seed, bool fails, bool keeps_states)
{
    struct model m = begin(seed);
    enum slot_step late = SLOT_DONE;
    const char *why;
    m.keeps_states = keeps_states;
    for (unsigned i = 0; i < 40; i++) {
        switch (rng_below(&m.rng, fails ? 9 : 8)) {
        case 0:
        case 1:
            do_step(&m, look(&m, &why));
            break;
        case 2:
            late = look(&m, &why);
            break;
        case 3:
            do_step(&m, late == SLOT_TAKE ? look(&m, &why) : late);
            break;
        case 4:
            hear(&m);
            break;
        case 8:
            if (m.shards[SOURCE].owner == SOURCE || rng_below(&m.rng, 2))
                fail_over(&m, (int)rng_below(&m.rng, SHARDS));
            late = SLOT_DONE; /* whoever sends finds another server there */
            break;
        default:
            use(&m);
        }
    }
    hear(&m);
    finish(&m);
}

static void test_no_write_is_lost_whatever_happens_between_the_steps(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50000; seed++)
        run(seed, false, false);
}

static void test_failovers_of_either_side_lose_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50000; seed++)
        run(seed, true, seed % 2);
}

/* A mover that ends after every single command, and one that begins anew. */
static void test_a_mover_that_dies_after_any_step_is_followed_by_another(void **state)
{
    (void)state;
    const char *why;
    for (unsigned killed = 0; killed < 12; killed++) {
        struct model m = begin(killed);
        for (unsigned i = 0; i < killed; i++)
            do_step(&m, look(&m, &why));
        finish(&m);
    }
}

/* The source gave the slot up first (redis issue 7116): it is nobody's until the other takes it. */
static void test_a_slot_that_was_given_up_first_is_taken(void **state)
{
    (void)state;
    struct model m = begin(3);
    memset(m.shards[DEST].values, 0, sizeof m.shards[DEST].values);
    memcpy(m.shards[DEST].values, m.shards[SOURCE].values, sizeof m.shards[DEST].values);
    memset(m.shards[SOURCE].values, 0, sizeof m.shards[SOURCE].values);
    m.shards[SOURCE].owner = DEST;
    finish(&m);
}

/* Old keys would come back to life, deleted or not. */
static void test_nothing_begins_before_the_record_says_so(void **state)
{
    (void)state;
    struct model m = begin(4);
    const char *why;
    m.begun = false;
    for (int keys = 0; keys < 2; keys++) {
        m.shards[DEST].values[KEYS - 1] = keys;
        m.shards[DEST].open = NOBODY;
        assert_int_equal(look(&m, &why), SLOT_WAIT);
        assert_string_equal(why, "the record does not say that the slot's move has begun");
        m.shards[DEST].open = m.shards[SOURCE].id; /* as it does by itself after a restart */
        assert_int_equal(look(&m, &why), SLOT_WAIT);
    }
    /* Once it says so, they came from the source, and the failover of either lost the state. */
    m.begun = true;
    m.shards[DEST].open = NOBODY;
    assert_int_equal(look(&m, &why), SLOT_IMPORT);
}

/* Both are closed, and no key has gone: the leader may take it out of the record. */
static bool is_clean(const struct model *m)
{
    return m->shards[SOURCE].owner == SOURCE && m->shards[SOURCE].open == NOBODY &&
           m->shards[DEST].open == NOBODY && !held(&m->shards[DEST]);
}

/* Cancelled and wanted again at any moment: it stays, or it goes, with every key. */
static void test_a_cancelled_move_is_undone_or_goes_on(void **state)
{
    (void)state;
    const char *why;
    unsigned undone = 0;
    for (uint64_t seed = 1; seed <= 50000; seed++) {
        struct model m = begin(seed);
        m.keeps_states = seed % 2;
        for (unsigned i = 0; i < 40; i++) {
            uint64_t what = rng_below(&m.rng, seed % 4 ? 7 : 8);
            if (what < 3)
                do_step(&m, look(&m, &why));
            else if (what < 5)
                use(&m);
            else if (what == 5)
                hear(&m);
            else if (what == 6 && m.begun)
                m.cancel = !m.cancel;
            else if (what == 7)
                fail_over(&m, (int)rng_below(&m.rng, SHARDS));
            if (m.cancel && is_clean(&m)) {
                assert_int_equal(look(&m, &why), SLOT_DONE);
                m.begun = m.cancel = false; /* the agent has read it, and sends nothing else */
                undone++;
            } else if (!m.begun && is_clean(&m) && rng_below(&m.rng, 4) == 0) {
                m.begun = true;
            }
        }
        m.begun = true;
        m.cancel = false;
        hear(&m);
        finish(&m);
    }
    assert_true(undone > 5000);
}

static void expect(struct slot_side source, struct slot_side dest, enum slot_step step)
{
    const struct slot_seen seen = {source, dest, true, false, false};
    const char *why;
    assert_int_equal(slot_move_next(&seen, &why), step);
    assert_int_equal(why[0] != '\0', step == SLOT_WAIT);
}

static void test_what_is_not_between_these_two_is_left_alone(void **state)
{
    (void)state;
    const struct slot_side own = {SLOT_OWNER_SOURCE, SLOT_CLOSED, 3, 0, false};
    const struct slot_side none = {SLOT_OWNER_SOURCE, SLOT_CLOSED, 0, 0, false};
    expect(own, none, SLOT_IMPORT);
    expect((struct slot_side){SLOT_OWNER_OTHER, SLOT_CLOSED, 0, 0, false}, none, SLOT_WAIT);
    expect(own, (struct slot_side){SLOT_OWNER_OTHER, SLOT_CLOSED, 0, 0, false}, SLOT_WAIT);
    expect((struct slot_side){SLOT_OWNER_SOURCE, SLOT_OPEN_OTHER, 3, 0, false}, none, SLOT_WAIT);
    expect(own, (struct slot_side){SLOT_OWNER_SOURCE, SLOT_OPEN_OTHER, 0, 0, false}, SLOT_WAIT);
    expect((struct slot_side){SLOT_OWNER_NOBODY, SLOT_CLOSED, 0, 0, false}, none, SLOT_WAIT);
    /* Both own it, and one would lose its keys. */
    expect(own, (struct slot_side){SLOT_OWNER_DEST, SLOT_CLOSED, 1, 0, false}, SLOT_WAIT);
}

/* Clients would be sent to a node that is a replica now. */
static void test_what_is_open_towards_an_earlier_primary_is_turned_to_the_present_one(void **state)
{
    (void)state;
    const struct slot_side open = {SLOT_OWNER_SOURCE, SLOT_OPEN_PEER, 0, 0, false};
    const struct slot_side mate = {SLOT_OWNER_SOURCE, SLOT_OPEN_MATE, 0, 0, false};
    expect(open, mate, SLOT_IMPORT);
    expect(mate, open, SLOT_MIGRATE);
    expect(mate, mate, SLOT_IMPORT);
    expect(open, open, SLOT_TAKE);
}

/* It serves nothing as long as a slot is nobody's to it, and the source's keys would be refused, too. */
static void test_a_destination_that_does_not_know_the_owner_is_told(void **state)
{
    (void)state;
    const struct slot_side own = {SLOT_OWNER_SOURCE, SLOT_OPEN_PEER, 3, 0, false};
    expect(own, (struct slot_side){SLOT_OWNER_NOBODY, SLOT_OPEN_MATE, 2, 0, false}, SLOT_TELL);
    expect(own, (struct slot_side){SLOT_OWNER_NOBODY, SLOT_OPEN_PEER, 2, 0, false}, SLOT_TELL);
    expect(own, (struct slot_side){SLOT_OWNER_NOBODY, SLOT_CLOSED, 0, 0, false}, SLOT_TELL);
    const struct slot_side given = {SLOT_OWNER_DEST, SLOT_CLOSED, 0, 0, false};
    expect(given, (struct slot_side){SLOT_OWNER_NOBODY, SLOT_OPEN_PEER, 2, 0, false}, SLOT_TAKE);
}

/* The slot would go back to the source, and its keys be dropped. */
static void test_nothing_is_taken_before_the_sources_epoch_is_known(void **state)
{
    (void)state;
    const struct slot_side source = {SLOT_OWNER_SOURCE, SLOT_OPEN_PEER, 0, 7, false};
    expect(source, (struct slot_side){SLOT_OWNER_SOURCE, SLOT_OPEN_PEER, 2, 6, false}, SLOT_WAIT);
    expect(source, (struct slot_side){SLOT_OWNER_SOURCE, SLOT_OPEN_PEER, 2, 7, true}, SLOT_WAIT);
    expect(source, (struct slot_side){SLOT_OWNER_SOURCE, SLOT_OPEN_PEER, 2, 7, false}, SLOT_TAKE);
}

static void test_a_big_key_stops_only_what_has_not_begun(void **state)
{
    (void)state;
    const char *why;
    struct slot_seen seen = {{SLOT_OWNER_SOURCE, SLOT_CLOSED, 3, 0, false},
                             {SLOT_OWNER_SOURCE, SLOT_CLOSED, 0, 0, false},
                             .begun = true,
                             .big = true};
    assert_int_equal(slot_move_next(&seen, &why), SLOT_WAIT);
    assert_non_null(strstr(why, "too big"));
    seen.dest.open = SLOT_OPEN_PEER;
    assert_int_equal(slot_move_next(&seen, &why), SLOT_MIGRATE);
    seen.source.open = SLOT_OPEN_PEER;
    assert_int_equal(slot_move_next(&seen, &why), SLOT_KEYS);
}

static void test_steps_have_names(void **state)
{
    (void)state;
    assert_string_equal(slot_step_name(SLOT_IMPORT), "import");
    assert_string_equal(slot_step_name(SLOT_CLOSE_DEST), "close-dest");
    assert_string_equal(slot_step_name((enum slot_step)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slot_goes_in_the_order_of_redis_cli),
        cmocka_unit_test(test_no_write_is_lost_whatever_happens_between_the_steps),
        cmocka_unit_test(test_failovers_of_either_side_lose_nothing),
        cmocka_unit_test(test_a_mover_that_dies_after_any_step_is_followed_by_another),
        cmocka_unit_test(test_a_slot_that_was_given_up_first_is_taken),
        cmocka_unit_test(test_nothing_begins_before_the_record_says_so),
        cmocka_unit_test(test_a_cancelled_move_is_undone_or_goes_on),
        cmocka_unit_test(test_what_is_not_between_these_two_is_left_alone),
        cmocka_unit_test(test_what_is_open_towards_an_earlier_primary_is_turned_to_the_present_one),
        cmocka_unit_test(test_a_destination_that_does_not_know_the_owner_is_told),
        cmocka_unit_test(test_nothing_is_taken_before_the_sources_epoch_is_known),
        cmocka_unit_test(test_a_big_key_stops_only_what_has_not_begun),
        cmocka_unit_test(test_steps_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
