/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model StatefulSet that is scaled at any moment, with clients: pods come empty, leave when nothing is
 * lost by it, primaries that leave hand over, slots go as scale_next() enters them and core/mover.h
 * orders. Primaries are elected, which loses that slots are half-moved, agents go by old copies of the
 * record, and another tool begins moves of its own. Whatever the sizes asked for one after the other, it
 * arrives with every key.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/rng.h"
#include "core/mover.h"
#include "core/scale.h"

#define PODS 18
#define SLOTS 600 /* the others are nobody's */
#define MATES 1
#define NOBODY (-1)

struct server {
    bool exists;
    bool primary;
    int follows;         /* of a replica: the pod of its primary */
    bool owns[SLOTS];    /* of a primary; its replicas have what it has */
    int8_t opens[SLOTS]; /* 1 + the pod that it migrates to or imports from; 0 = closed */
    int values[SLOTS];   /* one key for each slot; 0 = none */
};

struct model {
    struct arena *arena;
    struct server pods[PODS];
    unsigned replicas; /* wanted */
    int from[SLOTS];   /* the record: where a slot comes from and */
    int going[SLOTS];  /* the pod that it goes to; their shards' present primaries are meant */
    bool cancel[SLOTS];
    int generation;
    bool evening;
    struct { /* what the agent beside each has read of it */
        int from[SLOTS];
        int going[SLOTS];
        bool cancel[SLOTS];
        int generation;
        bool since; /* since its server became a primary */
    } copies[PODS];
    int clean[SLOTS]; /* the pod at which the leader saw it clean, and not since */
    int truth[SLOTS];
    int version;
    struct rng rng;
    unsigned moved; /* slots that changed hands */
    unsigned hand_overs;
    unsigned fills;
    unsigned meddled; /* slots that another tool has half-moved */
};

/* ---- what the leader sees ---- */

/* The present primary of its shard, or NOBODY. */
static int present(const struct model *m, int pod)
{
    if (pod == NOBODY || !m->pods[pod].exists)
        return NOBODY;
    return m->pods[pod].primary ? pod : m->pods[pod].follows;
}

static int owner_of(const struct model *m, int slot)
{
    for (int i = 0; i < PODS; i++)
        if (m->pods[i].exists && m->pods[i].primary && m->pods[i].owns[slot])
            return i;
    fail_msg("slot %d is nobody's", slot);
    return NOBODY;
}

/* ---- clients ---- */

static void use(struct model *m)
{
    int slot = (int)rng_below(&m->rng, SLOTS);
    int owner = owner_of(m, slot);
    struct server *serves = &m->pods[owner];
    /* Who lost the open state sends nobody on; until the mover is back a key may not be found. */
    for (int i = 0; i < PODS && !serves->values[slot]; i++)
        if (i != owner && m->pods[i].exists && m->pods[i].primary && m->pods[i].values[slot])
            serves = &m->pods[i];
    if (serves != &m->pods[owner] && !(m->pods[owner].opens[slot] && serves->opens[slot])) {
        if (rng_below(&m->rng, 2)) /* who only writes does not see that */
            m->pods[owner].values[slot] = m->truth[slot] = ++m->version;
        return;
    }
    assert_int_equal(serves->values[slot], m->truth[slot]);
    serves->values[slot] = m->truth[slot] = ++m->version;
}

struct seen {
    struct target_pod pods[PODS];
    size_t pod_of[PODS];   /* by index in `pods` */
    size_t index_of[PODS]; /* by pod */
    size_t shard_of[PODS]; /* by pod, of primaries */
    bool ready[PODS];
    bool read[PODS];
    bool full[PODS];
    uint16_t owner[SLOT_COUNT];
    uint16_t from[SLOT_COUNT];
    uint16_t going[SLOT_COUNT];
    uint16_t half[SLOT_COUNT];
    uint16_t clean[SLOT_COUNT];
    struct slot_set open;
    struct slot_set cancel;
    struct slot_set stuck;
    struct scale_ask ask;
};

/* Between which two a slot is half-moved, by whoever shows it. */
static bool is_half(const struct model *m, int slot, int *ret_from, int *ret_to)
{
    for (int i = 0; i < PODS; i++) {
        const struct server *p = &m->pods[i];
        if (!p->exists || !p->primary || !p->opens[slot])
            continue;
        int peer = present(m, p->opens[slot] - 1);
        bool migrates = p->owns[slot] && peer != i && !m->pods[peer].owns[slot];
        *ret_from = migrates ? i : peer;
        *ret_to = migrates ? peer : i;
        return true;
    }
    return false;
}

static bool is_dest(const struct model *m, int pod)
{
    int from;
    int to;
    for (int slot = 0; slot < SLOTS; slot++)
        if (present(m, m->going[slot]) == pod || (is_half(m, slot, &from, &to) && to == pod))
            return true;
    return false;
}

static bool is_shard(const struct model *m, int pod)
{
    const struct server *p = &m->pods[pod];
    if (!p->exists || !p->primary)
        return false;
    for (int slot = 0; slot < SLOTS; slot++)
        if (p->owns[slot])
            return true;
    for (int i = 0; i < PODS; i++)
        if (m->pods[i].exists && !m->pods[i].primary && m->pods[i].follows == pod)
            return true;
    return is_dest(m, pod);
}

static uint16_t code_of(const struct seen *s, int pod)
{
    if (pod == NOBODY)
        return SCALE_NOBODY;
    size_t shard = s->shard_of[pod];
    return (uint16_t)(shard != TARGET_NONE ? shard : s->ask.target.shard_count + s->index_of[pod]);
}

static void see_slots(const struct model *m, struct seen *s)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        int from;
        int to;
        s->owner[slot] = s->from[slot] = s->going[slot] = SCALE_NOBODY;
        s->half[slot] = s->clean[slot] = SCALE_NOBODY;
        if (slot >= SLOTS)
            continue;
        const struct slot_range one = {(uint16_t)slot, (uint16_t)slot};
        s->owner[slot] = code_of(s, owner_of(m, (int)slot));
        s->from[slot] = code_of(s, present(m, m->from[slot]));
        s->going[slot] = code_of(s, present(m, m->going[slot]));
        if (m->going[slot] == NOBODY && is_half(m, (int)slot, &from, &to)) {
            s->from[slot] = code_of(s, from);
            s->half[slot] = code_of(s, to);
        }
        s->clean[slot] = code_of(s, present(m, m->clean[slot]));
        if (m->cancel[slot])
            slot_set_add(&s->cancel, one);
        for (int i = 0; i < PODS; i++)
            if (m->pods[i].exists && m->pods[i].opens[slot])
                slot_set_add(&s->open, one);
    }
}

static void see(const struct model *m, struct seen *s)
{
    static const char *const nodes[] = {"n1", "n2", "n3"};
    size_t count = 0;
    memset(s, 0, sizeof *s);
    for (int i = 0; i < PODS; i++) {
        s->shard_of[i] = TARGET_NONE;
        if (!is_shard(m, i))
            continue;
        s->shard_of[i] = s->ask.target.shard_count++;
    }
    for (int i = 0; i < PODS; i++) {
        const struct server *p = &m->pods[i];
        if (!p->exists)
            continue;
        size_t shard = s->shard_of[p->primary ? i : p->follows];
        s->pod_of[count] = (size_t)i;
        s->index_of[i] = count;
        s->ready[count] = p->primary;
        s->read[count] = m->copies[i].generation == m->generation && m->copies[i].since;
        s->pods[count++] = (struct target_pod){
            i, {nodes[i % 3], nodes[i % 3]}, shard, p->primary && shard != TARGET_NONE};
    }
    see_slots(m, s);
    s->ask.target.replicas = m->replicas;
    s->ask.target.replicas_per_primary = MATES;
    s->ask.target.pods = s->pods;
    s->ask.target.pod_count = count;
    s->ask.evening = m->evening;
    s->ask.ready = s->ready;
    s->ask.read = s->read;
    s->ask.full = s->full;
    s->ask.owner = s->owner;
    s->ask.from = s->from;
    s->ask.going = s->going;
    s->ask.half = s->half;
    s->ask.clean = s->clean;
    s->ask.open = &s->open;
    s->ask.cancel = &s->cancel;
    s->ask.stuck = &s->stuck;
}

/* ---- what happens ---- */

static bool holds_slots(const struct server *p, bool open_ones)
{
    for (int slot = 0; slot < SLOTS; slot++)
        if (p->opens[slot] || (p->owns[slot] && !open_ones))
            return true;
    return false;
}

/* Its node id comes never again: who is told to forget it closes what was open towards it (clusterDelNode). */
static void forget(struct model *m, int pod)
{
    for (int slot = 0; slot < SLOTS; slot++) {
        m->from[slot] = m->from[slot] == pod ? NOBODY : m->from[slot];
        for (int i = 0; i < PODS; i++) {
            if (m->pods[i].opens[slot] == 1 + pod)
                m->pods[i].opens[slot] = 0;
            if (m->copies[i].from[slot] == pod || m->copies[i].going[slot] == pod)
                m->copies[i].going[slot] = NOBODY;
        }
    }
}

/* Somebody's half-moved slot, or the record, means the shard that it is of now. */
static bool is_named(const struct model *m, int pod)
{
    for (int slot = 0; slot < SLOTS; slot++) {
        if (m->from[slot] == pod || m->going[slot] == pod)
            return true;
        for (int i = 0; i < PODS; i++)
            if (m->pods[i].exists && m->pods[i].opens[slot] == 1 + pod)
                return true;
    }
    return false;
}

/* The StatefulSet makes what is missing, and stops what is too much, when nothing is lost by it. */
static void control(struct model *m)
{
    for (unsigned i = 0; i < PODS; i++) {
        struct server *p = &m->pods[i];
        if (i < m->replicas && !p->exists) {
            memset(p, 0, sizeof *p);
            p->exists = p->primary = true;
            m->copies[i].since = false;
        } else if (i >= m->replicas && p->exists && !is_named(m, (int)i) &&
                   (!p->primary || (!holds_slots(p, false) && !is_dest(m, (int)i)))) {
            p->exists = false;
            forget(m, (int)i);
            for (int k = 0; k < PODS; k++) /* whom nobody leads any more is empty soon */
                if (m->pods[k].exists && !m->pods[k].primary && m->pods[k].follows == (int)i) {
                    memset(&m->pods[k], 0, sizeof m->pods[k]);
                    m->pods[k].exists = m->pods[k].primary = true;
                }
        }
    }
}

/* An election may come with open slots, and loses that they are (Redis 7); an order of ours never does. */
static void hand_over(struct model *m, int from, int to, bool ordered)
{
    if (ordered && holds_slots(&m->pods[from], true))
        return;
    m->copies[to].since = false;
    memset(m->pods[from].opens, 0, sizeof m->pods[from].opens);
    struct server *heir = &m->pods[to];
    memcpy(heir->owns, m->pods[from].owns, sizeof heir->owns);
    memcpy(heir->values, m->pods[from].values, sizeof heir->values);
    heir->primary = true;
    memset(m->pods[from].owns, 0, sizeof heir->owns);
    m->pods[from].primary = false;
    m->pods[from].follows = to;
    for (int i = 0; i < PODS; i++)
        if (m->pods[i].exists && !m->pods[i].primary && m->pods[i].follows == from)
            m->pods[i].follows = to;
    m->hand_overs++;
}

/* One thing that the target wants of roles: a hand-over, or a replica. */
static void give_role(struct model *m, const struct seen *s, const struct target *t)
{
    for (int from = 0; from < PODS; from++) {
        size_t shard = s->shard_of[from];
        if (shard == TARGET_NONE || t->heirs[shard] == TARGET_NONE)
            continue;
        hand_over(m, from, (int)s->pod_of[t->heirs[shard]], true);
        return;
    }
    for (size_t i = 0; i < s->ask.target.pod_count; i++) {
        int pod = (int)s->pod_of[i];
        if (!t->parts[i].fills || t->parts[i].primary || !m->pods[pod].exists || is_named(m, pod))
            continue;
        if (m->pods[pod].primary && (holds_slots(&m->pods[pod], false) || is_shard(m, pod)))
            continue; /* it has to be emptied first */
        m->pods[pod].primary = false;
        m->pods[pod].follows = (int)s->pod_of[t->shards[t->parts[i].shard].primary];
        m->fills++;
        return;
    }
}

static int pod_of(const struct seen *s, uint16_t code)
{
    if (code == SCALE_NOBODY)
        return NOBODY;
    for (int pod = 0; pod < PODS; pod++)
        if (s->shard_of[pod] == code)
            return pod;
    return (int)s->pod_of[code - s->ask.target.shard_count];
}

/* At the slots that were asked for; what was seen in an earlier turn does not count any more. */
static void look_at(struct model *m, const struct seen *s, const struct scale *scale)
{
    for (int slot = 0; slot < SLOTS; slot++) {
        int to = pod_of(s, scale->look[slot]);
        m->clean[slot] = NOBODY;
        if (to != NOBODY && !m->pods[to].opens[slot] && !m->pods[to].values[slot] &&
            !m->pods[owner_of(m, slot)].opens[slot])
            m->clean[slot] = to;
    }
}

/* The record has the id of who is a shard's primary no longer, and would not be understood without it. */
static bool is_outdated(const struct model *m)
{
    for (int slot = 0; slot < SLOTS; slot++)
        if (present(m, m->from[slot]) != m->from[slot] ||
            present(m, m->going[slot]) != m->going[slot])
            return true;
    return false;
}

/* One turn of the leader: the record, then a role. */
static void lead(struct model *m)
{
    static struct seen s;
    struct scale scale;
    arena_reset(m->arena);
    see(m, &s);
    scale_next(&s.ask, m->arena, &scale);
    look_at(m, &s, &scale);
    if (!scale.changed && !is_outdated(m)) {
        give_role(m, &s, &scale.target);
        return;
    }
    m->generation++;
    m->evening = scale.evening;
    for (int slot = 0; slot < SLOTS; slot++) {
        m->clean[slot] = NOBODY; /* what was looked at before this was written says nothing of it */
        m->from[slot] = pod_of(&s, scale.from[slot]);
        m->going[slot] = pod_of(&s, scale.going[slot]);
        m->cancel[slot] = slot_set_has(scale.cancel, (unsigned)slot);
    }
}

/* An agent reads the record, sooner or later. */
static void read_record(struct model *m, int pod)
{
    memcpy(m->copies[pod].from, m->from, sizeof m->from);
    memcpy(m->copies[pod].going, m->going, sizeof m->going);
    memcpy(m->copies[pod].cancel, m->cancel, sizeof m->cancel);
    m->copies[pod].generation = m->generation;
    m->copies[pod].since = true;
}

/* ---- the mover of one entry, for some orders ---- */

static struct slot_side side_of(const struct model *m, const struct server *p,
                                const struct server *from, const struct server *to, int slot)
{
    const struct server *peer = p == from ? to : from;
    enum slot_open open = SLOT_CLOSED;
    enum slot_owner owner = SLOT_OWNER_OTHER;
    if (p->opens[slot] && &m->pods[p->opens[slot] - 1] == peer)
        open = SLOT_OPEN_PEER;
    else if (p->opens[slot] && &m->pods[present(m, p->opens[slot] - 1)] == peer)
        open = SLOT_OPEN_MATE;
    else if (p->opens[slot])
        open = SLOT_OPEN_OTHER;
    if (from->owns[slot])
        owner = SLOT_OWNER_SOURCE;
    else if (to->owns[slot])
        owner = SLOT_OWNER_DEST;
    return (struct slot_side){owner, open, p->values[slot] != 0};
}

static void carry_out(struct model *m, struct server *from, struct server *to,
                      const struct mover_order *order, int slot)
{
    switch (order->step) {
    case SLOT_IMPORT:
        to->opens[slot] = (int8_t)(1 + (from - m->pods));
        break;
    case SLOT_MIGRATE:
        from->opens[slot] = (int8_t)(1 + (to - m->pods));
        break;
    case SLOT_KEYS:
        to->values[slot] = from->values[slot];
        from->values[slot] = 0;
        break;
    case SLOT_TAKE:
        assert_int_equal(from->values[slot], 0);
        to->owns[slot] = true;
        to->opens[slot] = 0;
        from->owns[slot] = false; /* heard at once */
        m->moved++;
        break;
    case SLOT_GIVE:
    case SLOT_CLOSE_SOURCE:
        from->opens[slot] = 0;
        break;
    case SLOT_CLOSE_DEST:
        to->opens[slot] = 0;
        break;
    case SLOT_WAIT:
    case SLOT_DONE:
        fail_msg("no command");
    }
}

/*
 * What the agent's copy of the record says of the slots that its server owns, or gave up just now. By the ids as
 * they are: the leader renews them, and a replica that an old copy names may be one of another shard by now.
 */
static size_t pick(struct model *m, int pod, int *ret_to, bool *ret_cancel,
                   struct slot_range *ranges)
{
    size_t count = 0;
    int begin = (int)rng_below(&m->rng, SLOTS);
    *ret_to = NOBODY;
    for (int i = 0; i < SLOTS; i++) {
        int slot = (begin + i) % SLOTS;
        int to = m->copies[pod].going[slot];
        if (to == NOBODY || present(m, to) != to || m->copies[pod].from[slot] != pod ||
            (!m->pods[pod].owns[slot] && !m->pods[to].owns[slot]))
            continue;
        if (*ret_to == NOBODY) {
            *ret_to = to;
            *ret_cancel = m->copies[pod].cancel[slot];
        }
        if (to == *ret_to && m->copies[pod].cancel[slot] == *ret_cancel)
            ranges[count++] = (struct slot_range){(uint16_t)slot, (uint16_t)slot};
    }
    return count;
}

static void move_some(struct model *m, int pod, unsigned orders)
{
    struct slot_range ranges[SLOTS];
    struct mover_config config = {ranges, 0, MOVER_BUDGET_MS, false};
    struct server *from = &m->pods[pod];
    struct mover mover;
    int dest;
    if (!from->exists || !from->primary || !m->copies[pod].since)
        return;
    config.range_count = pick(m, pod, &dest, &config.cancel, ranges);
    if (!config.range_count)
        return;
    struct server *to = &m->pods[dest];
    assert_true(to->exists && to->primary);
    mover_init(&mover, &config);
    for (unsigned i = 0; i < orders; i++) {
        struct mover_order order;
        struct slot_seen seen[MOVER_WINDOW] = {0};
        enum mover_result results[MOVER_WINDOW];
        int64_t left[MOVER_WINDOW] = {0};
        mover_next(&mover, &order);
        if (order.kind == MOVER_DONE || order.kind == MOVER_BLOCKED)
            return;
        for (size_t k = 0; k < order.count; k++) {
            int slot = order.slots[k];
            results[k] = MOVER_OK;
            seen[k].source = side_of(m, from, from, to, slot);
            seen[k].dest = side_of(m, to, from, to, slot);
            if (order.kind == MOVER_STEP)
                carry_out(m, from, to, &order, slot);
        }
        if (order.kind == MOVER_LOOK)
            mover_saw(&mover, &order, seen);
        else
            mover_did(&mover, &order, results, left, 1);
        use(m);
    }
}

/* Another tool begins to move a slot that is at rest, in the order of redis-cli, and is stopped. */
static void meddle(struct model *m)
{
    int slot = (int)rng_below(&m->rng, SLOTS);
    int to = (int)rng_below(&m->rng, PODS);
    struct server *from = &m->pods[owner_of(m, slot)];
    struct server *dest = &m->pods[to];
    int other;
    if (m->going[slot] != NOBODY || is_half(m, slot, &other, &other) || !dest->exists ||
        !dest->primary || dest == from || dest->values[slot])
        return;
    m->clean[slot] = NOBODY;
    m->meddled++;
    dest->opens[slot] = (int8_t)(1 + (from - m->pods));
    if (rng_below(&m->rng, 2))
        from->opens[slot] = (int8_t)(1 + to);
    if (from->opens[slot] && rng_below(&m->rng, 2)) {
        dest->values[slot] = from->values[slot];
        from->values[slot] = 0;
    }
}

/* ---- schedules ---- */

static void begin(struct model *m, struct arena *arena, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    m->arena = arena;
    m->rng.state = seed;
    m->replicas = 6;
    for (int i = 0; i < 6; i++) {
        m->pods[i].exists = true;
        m->pods[i].primary = i < 3;
        m->pods[i].follows = i % 3;
    }
    for (int slot = 0; slot < SLOTS; slot++) {
        m->from[slot] = m->going[slot] = m->clean[slot] = NOBODY;
        for (int i = 0; i < PODS; i++)
            m->copies[i].from[slot] = m->copies[i].going[slot] = NOBODY;
    }
    for (int slot = 0; slot < SLOTS; slot++) {
        struct server *owner = &m->pods[slot / (SLOTS / 3)];
        owner->owns[slot] = true;
        owner->values[slot] = m->truth[slot] = ++m->version;
    }
}

static void live(struct model *m)
{
    int pod = (int)rng_below(&m->rng, PODS);
    switch (rng_below(&m->rng, 7)) {
    case 0:
        control(m);
        break;
    case 1:
        lead(m);
        break;
    case 2:
        read_record(m, pod);
        break;
    case 3:
    case 4:
        move_some(m, pod, (unsigned)rng_below(&m->rng, 9));
        break;
    case 5:
        if (rng_below(&m->rng, 8) == 0)
            meddle(m);
        break;
    default:
        use(m);
    }
}

static void assert_arrived(struct model *m)
{
    static struct seen s;
    struct scale scale;
    unsigned shards = m->replicas / (1 + MATES) ? m->replicas / (1 + MATES) : 1;
    arena_reset(m->arena);
    see(m, &s);
    scale_next(&s.ask, m->arena, &scale);
    assert_false(scale.changed);
    assert_int_equal(scale.slots, 0);
    assert_int_equal(scale.target.fills, 0);
    assert_int_equal(s.ask.target.shard_count, shards);
    assert_int_equal(s.ask.target.pod_count, m->replicas);
    for (size_t i = 0; i < shards; i++)
        assert_in_range(scale.target.shards[i].slots, SLOTS / shards,
                        (SLOTS + shards - 1) / shards);
    assert_false(m->evening);
    assert_int_equal(slot_set_count(&s.open), 0);
    for (int slot = 0; slot < SLOTS; slot++)
        assert_int_equal(m->pods[owner_of(m, slot)].values[slot], m->truth[slot]);
}

static void settle(struct model *m)
{
    unsigned still = 0;
    for (unsigned turn = 0; turn < 600 && still < 40; turn++) {
        int generation = m->generation;
        unsigned done = m->moved + m->fills + m->hand_overs;
        control(m);
        lead(m);
        for (int i = 0; i < PODS; i++) {
            read_record(m, i);
            move_some(m, i, 12);
        }
        bool same = generation == m->generation && done == m->moved + m->fills + m->hand_overs;
        still = same ? still + 1 : 0;
    }
    assert_arrived(m);
}

static void test_out_and_in_arrive(void **state)
{
    static struct model m;
    static const unsigned sizes[] = {8, 10, 6, 18, 4, 7, 2, 1, 6};
    begin(&m, *state, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        m.replicas = sizes[i];
        settle(&m);
    }
}

/* 6 -> 8 moves a quarter of the slots, and nothing else. */
static void test_no_more_than_needed_moves(void **state)
{
    static struct model m;
    begin(&m, *state, 1);
    m.replicas = 8;
    settle(&m);
    assert_int_equal(m.moved, SLOTS / 4);
    assert_int_equal(m.fills, 1);
    m.replicas = 6;
    settle(&m);
    assert_int_equal(m.moved, SLOTS / 2);
}

/* Sizes from 3 to 9 shards, at any moment, some of the primaries on pods that leave. */
static void test_any_sizes_at_any_moment(void **state)
{
    static struct model m;
    unsigned hand_overs = 0;
    unsigned meddled = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        begin(&m, *state, seed);
        for (unsigned change = 0; change < 12; change++) {
            m.replicas = 6 + (unsigned)rng_below(&m.rng, 13);
            unsigned steps = (unsigned)rng_below(&m.rng, 120);
            for (unsigned i = 0; i < steps; i++)
                live(&m);
            int heir = (int)rng_below(&m.rng, PODS); /* an election or a person */
            if (m.pods[heir].exists && !m.pods[heir].primary && rng_below(&m.rng, 2))
                hand_over(&m, m.pods[heir].follows, heir, false);
        }
        settle(&m);
        hand_overs += m.hand_overs;
        meddled += m.meddled;
    }
    assert_true(hand_overs > 40);
    assert_true(meddled > 40);
}

/* Up and down before anything has begun costs nothing but the windows that were open. */
static void test_flapping_moves_little(void **state)
{
    static struct model m;
    begin(&m, *state, 3);
    for (unsigned i = 0; i < 60; i++) {
        m.replicas = i % 2 ? 6 : 8;
        control(&m);
        lead(&m);
        lead(&m);
        for (int pod = 0; pod < PODS; pod++) {
            read_record(&m, pod);
            move_some(&m, pod, 2);
        }
    }
    m.replicas = 6;
    settle(&m);
    assert_true(m.moved <= 30 * 2 * MOVER_WINDOW);
}

static int setup(void **state)
{
    static struct arena arena;
    arena_init(&arena, MIB(64));
    *state = &arena;
    return 0;
}

static int teardown(void **state)
{
    arena_deinit(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_and_in_arrive),
        cmocka_unit_test(test_no_more_than_needed_moves),
        cmocka_unit_test(test_any_sizes_at_any_moment),
        cmocka_unit_test(test_flapping_moves_little),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
