/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A StatefulSet that is scaled, by the whole planner: newcomers are entered, introduced and given roles, what
 * moves is looked at, entered, carried out by the agents beside the sources as they know of it (core/mover.h),
 * and taken out; pods above the size stay until nothing is lost by their leaving. With clients, elections that
 * lose that slots are half-moved (Redis 7), actions and looks that get lost, and another tool.
 */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/rng.h"
#include "core/doomed.h"
#include "core/mover.h"
#include "core/scale_see.h"
#include "lib/world_build.h"
#include "plan/plan_check.h"
#include "plan/truth.h"

#define PODS 12
#define FORMED 6
#define SHARDS 3
#define TURNS_MAX 900
#define STILL 12
#define STRIKES 18 /* orders of two windows, each kind of them in both */

struct redis {
    unsigned number;             /* of its node id */
    uint32_t values[SLOT_COUNT]; /* a key for each slot; 0 = none */
    uint16_t opens
        [SLOT_COUNT];   /* 1 + number of the node that it migrates to or imports from; 0 = closed */
    bool since;         /* its agent has read the record since it is a primary, */
    struct record copy; /* up to this */
};

struct walk {
    struct arena keep; /* truth and records */
    struct arena turn;
    struct truth *truth;
    struct rng rng;
    struct redis servers[PODS];
    struct scale_watch watch;
    uint32_t truths[SLOT_COUNT]; /* the newest acknowledged value */
    uint8_t owner[SLOT_COUNT];   /* pod */
    uint32_t version;
    unsigned numbers;
    bool lossy;
    unsigned strike;     /* after so many more orders of a mover its source, */
    bool at_destination; /* or destination, is lost, and a replica takes over; 0 = never */
    unsigned moved, elections, meddled, left, anew;
    const struct world *world;
    struct plan plan;
};

static bool chance(struct walk *k, unsigned percent)
{
    return rng_below(&k->rng, 100) < percent;
}

/* ---- servers ---- */

static struct truth_node *node_of(struct walk *k, size_t pod)
{
    return k->truth->listed[pod] ? truth_node_of(k->truth, pod) : NULL;
}

static struct truth_node *listed_node_of(struct walk *k, size_t pod)
{
    struct truth_node *n = node_of(k, pod);
    assert(n);
    return n;
}

static size_t pod_of_number(struct walk *k, unsigned number)
{
    for (size_t i = 0; i < PODS; i++)
        if (k->truth->listed[i] && k->servers[i].number == number)
            return i;
    return NO_POD;
}

static size_t pod_of_id(struct walk *k, const struct node_id *id)
{
    for (size_t i = 0; i < PODS; i++) {
        const struct truth_node *n = node_of(k, i);
        if (n && node_id_eq(&n->id, id))
            return i;
    }
    return NO_POD;
}

static bool is_primary(struct walk *k, size_t pod)
{
    const struct truth_node *n = node_of(k, pod);
    return n && n->primary;
}

/* The primary of its shard now. */
static size_t present(struct walk *k, size_t pod)
{
    const struct truth_node *n = pod == NO_POD ? NULL : node_of(k, pod);
    return !n || n->primary ? pod : pod_of_id(k, &n->follows);
}

static void note_owners(struct walk *k)
{
    memset(k->owner, 0xff, sizeof k->owner);
    for (size_t i = 0; i < PODS; i++) {
        const struct truth_node *n = node_of(k, i);
        for (unsigned slot = 0; n && slot < SLOT_COUNT; slot++)
            if (slot_set_has(&n->slots, slot))
                k->owner[slot] = (uint8_t)i;
    }
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        assert_int_not_equal(k->owner[slot], 0xff); /* never without an owner */
}

static bool is_open(const struct redis *s)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (s->opens[slot])
            return true;
    return false;
}

/* The replica has what its primary has, but not that slots are half-moved. */
static void take_over(struct walk *k, size_t heir, size_t old)
{
    struct truth_node *h = node_of(k, heir);
    struct truth_node *o = node_of(k, old);
    uint64_t epoch = 0;
    for (size_t i = 0; i < k->truth->node_count; i++) {
        struct truth_node *n = &k->truth->nodes[i];
        epoch = n->epoch > epoch ? n->epoch : epoch;
        if (n != h && !n->primary && node_id_eq(&n->follows, &o->id))
            n->follows = h->id;
    }
    memcpy(k->servers[heir].values, k->servers[old].values, sizeof k->servers[heir].values);
    memset(k->servers[old].opens, 0, sizeof k->servers[old].opens);
    memset(k->servers[heir].opens, 0, sizeof k->servers[heir].opens);
    k->servers[heir].since = false;
    *h = (struct truth_node){.id = h->id,
                             .pod = h->pod,
                             .component = h->component,
                             .primary = true,
                             .epoch = epoch + 1,
                             .link = true,
                             .slots = o->slots};
    text_format(h->ip, sizeof h->ip, "%s", k->truth->pods[heir].ip);
    o->primary = false;
    o->follows = h->id;
    o->slots = (struct slot_set){{0}};
    note_owners(k);
}

/* The first of its replicas takes over; false if it has none, or no slots, and Redis elects nobody. */
static bool lose(struct walk *k, size_t pod)
{
    for (size_t heir = 0; heir < PODS; heir++) {
        if (!node_of(k, heir) || is_primary(k, heir) || present(k, heir) != pod ||
            !slot_set_count(&node_of(k, pod)->slots))
            continue;
        take_over(k, heir, pod);
        return true;
    }
    return false;
}

static bool is_recorded(const struct walk *k, unsigned slot)
{
    const struct record *record = &k->truth->record;
    for (size_t i = 0; i < record->move_count; i++)
        for (size_t r = 0; r < record->moves[i].range_count; r++)
            if (slot >= record->moves[i].ranges[r].first && slot <= record->moves[i].ranges[r].last)
                return true;
    return false;
}

/*
 * Keys of another tool's move would be left behind, which nobody has written down: whose they are cannot be told
 * from old ones, and a person has to say (core/scale.h).
 */
static bool strands_keys(const struct walk *k, size_t old)
{
    const struct redis *s = &k->servers[old];
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (s->opens[slot] && k->owner[slot] == old && !s->values[slot] && !is_recorded(k, slot))
            return true;
    return false;
}

static void elect(struct walk *k)
{
    size_t heir = (size_t)rng_below(&k->rng, PODS);
    if (!node_of(k, heir) || is_primary(k, heir))
        return;
    size_t old = present(k, heir);
    if (old == NO_POD || !slot_set_count(&node_of(k, old)->slots) || strands_keys(k, old))
        return;
    take_over(k, heir, old);
    k->elections++;
}

/* ---- clients ---- */

static void use(struct walk *k, unsigned slot)
{
    size_t owner = k->owner[slot];
    struct redis *serves = &k->servers[owner];
    for (size_t i = 0; i < PODS && !serves->values[slot]; i++)
        if (i != owner && is_primary(k, i) && k->servers[i].values[slot])
            serves = &k->servers[i];
    if (serves != &k->servers[owner] && !(k->servers[owner].opens[slot] && serves->opens[slot]))
        return; /* not found until its move goes on */
    if (serves->values[slot] != k->truths[slot])
        fail_msg("slot %u: value %u of %u", slot, serves->values[slot], k->truths[slot]);
    serves->values[slot] = k->truths[slot] = ++k->version;
}

/* ---- pods ---- */

static void add_pod(struct walk *k, size_t pod)
{
    struct pod *p = &k->truth->pods[pod];
    struct redis *s = &k->servers[pod];
    k->truth->listed[pod] = true;
    p->terminating = false;
    s->number = k->numbers++;
    memset(s->values, 0, sizeof s->values);
    memset(s->opens, 0, sizeof s->opens);
    s->since = false;
    truth_renew(k->truth, pod, world_build_id(s->number));
    listed_node_of(k, pod)->component = 1000 + s->number; /* alone */
    p->server.node_timeout_ms = TRUTH_NODE_TIMEOUT_MS;
    p->server.diskless_delay_s = TRUTH_DISKLESS_DELAY_S;
}

/* Nobody lists the node any more: its place is free, and what was open towards it is closed (clusterDelNode). */
static void drop_nodes(struct walk *k)
{
    struct truth *t = k->truth;
    for (size_t i = 0; i < t->node_count; i++) {
        if (t->nodes[i].pod != NO_POD || t->nodes[i].component != UINT32_MAX)
            continue;
        for (size_t e = 0; e < t->edit_count; e++)
            if (node_id_eq(&t->edits[e].id, &t->nodes[i].id))
                t->edits[e--] = t->edits[--t->edit_count];
        t->nodes[i--] = t->nodes[--t->node_count];
    }
    for (size_t i = 0; i < PODS; i++)
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
            unsigned peer = k->servers[i].opens[slot];
            struct node_id id = peer ? world_build_id(peer - 1) : (struct node_id){""};
            bool known = !peer;
            for (size_t n = 0; peer && n < t->node_count; n++)
                known |= node_id_eq(&t->nodes[n].id, &id);
            if (!known)
                k->servers[i].opens[slot] = 0;
        }
}

static void end_pod(struct walk *k, size_t pod)
{
    struct truth_node *n = listed_node_of(k, pod);
    assert_int_equal(slot_set_count(&n->slots), 0);
    n->pod = NO_POD;
    n->flags = NODE_FAIL;
    k->truth->listed[pod] = false;
}

static size_t heir_of(struct walk *k, size_t pod)
{
    for (size_t i = 0; i < (size_t)k->truth->world.set.replicas; i++)
        if (i != pod && node_of(k, i) && !is_primary(k, i) && present(k, i) == pod)
            return i;
    return NO_POD;
}

/* The StatefulSet's controller, and preStop of who is above the size. */
static void control(struct walk *k)
{
    const struct world *w = k->world;
    for (size_t i = 0; i < PODS; i++) {
        bool wanted = i < (size_t)k->truth->world.set.replicas;
        if (wanted && !k->truth->listed[i])
            add_pod(k, i);
        if (!k->truth->listed[i] || !w || (wanted && !k->truth->pods[i].terminating))
            continue;
        size_t heir = heir_of(k, i);
        const struct truth_node *n = listed_node_of(k, i);
        k->truth->pods[i].terminating =
            !wanted; /* wanted again it stops, and comes back as it was */
        if (n->primary && heir != NO_POD && slot_set_count(&n->slots) && !is_open(&k->servers[i]))
            take_over(k, heir, i);
        for (size_t p = 0; p < w->pod_count && !wanted; p++)
            if (w->pods[p].ordinal == (int)i && node_id_eq(&w->pods[p].server.id, &n->id) &&
                !slot_set_count(&n->slots) && w->pods[p].terminating &&
                !doomed_is_named(w, &w->pods[p]) && !is_open(&k->servers[i])) {
                end_pod(k, i);
                break;
            }
    }
}

/* ---- the leader ---- */

static void see_open(struct walk *k, struct pod *pod, const struct redis *s)
{
    struct view *view = ARENA_NEW(&k->turn, struct view, 1);
    struct open_slot *open = ARENA_NEW(&k->turn, struct open_slot, SLOT_COUNT);
    *view = *pod->server.view;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        if (!s->opens[slot])
            continue;
        open[view->open_count++] = (struct open_slot){
            (uint16_t)slot, k->owner[slot] != pod->ordinal, world_build_id(s->opens[slot] - 1u)};
    }
    view->open_slots = open;
    pod->server.view = view;
}

static int64_t keys_of(const struct redis *s)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (s->values[slot])
            return 1;
    return 0;
}

static void see(struct walk *k)
{
    struct truth *t = k->truth;
    arena_reset(&k->turn);
    for (size_t i = 0; i < PODS; i++) {
        size_t lead = present(k, i);
        if (t->listed[i] && lead != NO_POD)
            t->pods[i].server.keys = keys_of(&k->servers[lead]);
    }
    size_t leader;
    do
        leader = (size_t)rng_below(&k->rng, PODS);
    while (!t->listed[leader]);
    text_format(t->world.my_pod, sizeof t->world.my_pod, "muster-%zu", leader);
    text_format(t->world.leader_pod, sizeof t->world.leader_pod, "muster-%zu", leader);
    t->world.my_ip[0] = '\0';
    t->arena = &k->turn;
    struct world *w = truth_world(t);
    t->arena = &k->keep;
    w->scaling = SCALING_AUTO;
    w->replicas_per_primary = 1;
    w->scale = &k->watch;
    for (size_t i = 0; i < w->pod_count; i++) {
        struct pod *pod = &t->derived[i];
        const struct redis *s = &k->servers[pod->ordinal];
        struct moves_word word = {true, s->since ? s->copy.move_generation : -1};
        pod->told.heard_ms = w->now_ms;
        pod->told.moves = word;
        pod->told.leaving = pod->terminating ? LEAVING_ASKED : LEAVING_NO;
        if (i == w->me)
            w->moves = word;
        if (pod->server.primary && is_open(s))
            see_open(k, pod, s);
    }
    k->world = w;
}

/* The record outlives the turn. */
static void put_record(struct walk *k, const struct record *record)
{
    struct record kept = *record;
    struct record_move *moves = ARENA_NEW(&k->keep, struct record_move, record->move_count);
    for (size_t i = 0; i < record->move_count; i++) {
        const struct record_move *move = &record->moves[i];
        struct slot_range *ranges = ARENA_NEW(&k->keep, struct slot_range, move->range_count);
        memcpy(ranges, move->ranges, move->range_count * sizeof *ranges);
        moves[i] = *move;
        moves[i].ranges = ranges;
    }
    kept.moves = moves;
    struct action put = {.kind = ACTION_RECORD_PUT, .record = &kept};
    assert_true(truth_apply(k->truth, k->world, &put));
}

static void look_at(struct walk *k, const struct scale_look *look)
{
    size_t from = pod_of_id(k, &look->from);
    size_t to = pod_of_id(k, &look->to);
    struct scale_seen seen = {.from = look->from,
                              .to = look->to,
                              .generation = look->generation,
                              .asked_ms = k->world->now_ms};
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        struct slot_range one = {(uint16_t)slot, (uint16_t)slot};
        if (!slot_set_has(look->slots, slot) || k->owner[slot] != from ||
            k->servers[from].opens[slot])
            continue;
        slot_set_add(k->servers[to].values[slot]  ? &seen.keys
                     : k->servers[to].opens[slot] ? &seen.bare
                                                  : &seen.clean,
                     one);
    }
    scale_note(&k->watch, &seen, look->slots);
}

static void lead(struct walk *k)
{
    see(k);
    plan_next(k->world, &k->turn, &k->plan);
    const char *why = plan_check(k->world, &k->plan, &k->turn);
    if (why)
        fail_msg("%s: %s: %s", why, k->plan.rule, k->plan.reason);
    for (size_t i = 0; i < k->plan.action_count; i++) {
        const struct action *a = &k->plan.actions[i];
        if (k->lossy && chance(k, 20))
            continue;
        if (a->kind == ACTION_RECORD_PUT)
            put_record(k, a->record);
        else if (!truth_apply(k->truth, k->world, a))
            fail_msg("refused: %s: %s", k->plan.rule, k->plan.reason);
        if (a->kind == ACTION_REPLICATE) {
            struct redis *s = &k->servers[k->world->pods[a->pod].ordinal];
            assert_false(is_open(s));
            memset(s->values, 0, sizeof s->values); /* what it had is gone */
        }
    }
    for (size_t i = 0; i < k->plan.scale.look_count; i++)
        if (!k->lossy || chance(k, 80))
            look_at(k, &k->plan.scale.looks[i]);
    assert_true(truth_settle(k->truth));
    drop_nodes(k);
}

/* ---- the agents ---- */

static void read_record(struct walk *k, size_t pod)
{
    k->servers[pod].copy = k->truth->record;
    k->servers[pod].since = true;
}

static struct slot_side side_of(struct walk *k, size_t self, size_t peer, size_t from,
                                unsigned slot)
{
    const struct redis *s = &k->servers[self];
    size_t open = s->opens[slot] ? pod_of_number(k, s->opens[slot] - 1u) : NO_POD;
    bool gone = open == NO_POD || present(k, open) == peer;
    enum slot_open state = !s->opens[slot] ? SLOT_CLOSED
                           : open == peer  ? SLOT_OPEN_PEER
                           : gone          ? SLOT_OPEN_MATE
                                           : SLOT_OPEN_OTHER;
    size_t owner = k->owner[slot];
    enum slot_owner whose = owner == from                           ? SLOT_OWNER_SOURCE
                            : owner == (self == from ? peer : self) ? SLOT_OWNER_DEST
                                                                    : SLOT_OWNER_OTHER;
    return (struct slot_side){whose, state, s->values[slot] != 0, 0, false};
}

static void take_slot(struct walk *k, size_t from, size_t to, unsigned slot)
{
    struct slot_range one = {(uint16_t)slot, (uint16_t)slot};
    struct truth_node *dest = node_of(k, to);
    assert_int_equal(k->servers[from].values[slot], 0);
    for (size_t i = 0; i < k->truth->node_count; i++)
        if (k->truth->nodes[i].epoch >= dest->epoch && &k->truth->nodes[i] != dest)
            dest->epoch = k->truth->nodes[i].epoch + 1;
    slot_set_remove(&node_of(k, from)->slots, one);
    slot_set_add(&dest->slots, one);
    k->owner[slot] = (uint8_t)to;
    k->moved++;
}

static void carry_out(struct walk *k, size_t from, size_t to, enum slot_step step, unsigned slot)
{
    struct redis *source = &k->servers[from];
    struct redis *dest = &k->servers[to];
    switch (step) {
    case SLOT_IMPORT:
        dest->opens[slot] = (uint16_t)(source->number + 1);
        break;
    case SLOT_MIGRATE:
        source->opens[slot] = (uint16_t)(dest->number + 1);
        break;
    case SLOT_KEYS:
        dest->values[slot] = source->values[slot];
        source->values[slot] = 0;
        break;
    case SLOT_TAKE:
        take_slot(k, from, to, slot);
        dest->opens[slot] = 0;
        break;
    case SLOT_GIVE:
    case SLOT_CLOSE_SOURCE:
        source->opens[slot] = 0;
        break;
    case SLOT_CLOSE_DEST:
        dest->opens[slot] = 0;
        break;
    case SLOT_TELL:
    case SLOT_WAIT:
    case SLOT_DONE:
        fail_msg("no command");
    }
}

static void move_slots(struct walk *k, size_t from, const struct record_move *move, unsigned orders)
{
    size_t to = pod_of_id(k, &move->to);
    struct mover mover;
    struct mover_config config = {move->ranges, move->range_count, MOVER_BUDGET_MS, move->cancel};
    mover_init(&mover, &config);
    for (unsigned i = 0; i < orders; i++) {
        struct mover_order order;
        struct slot_seen seen[MOVER_WINDOW] = {0};
        enum mover_result results[MOVER_WINDOW];
        int64_t left[MOVER_WINDOW] = {0};
        mover_next(&mover, &order);
        if (order.kind == MOVER_DONE || order.kind == MOVER_BLOCKED)
            return;
        for (size_t s = 0; s < order.count; s++) {
            results[s] = MOVER_OK;
            seen[s].source = side_of(k, from, to, from, order.slots[s]);
            seen[s].dest = side_of(k, to, from, from, order.slots[s]);
            if (order.kind == MOVER_STEP)
                carry_out(k, from, to, order.step, order.slots[s]);
            use(k, order.slots[s]);
        }
        if (k->strike && !--k->strike && !lose(k, k->at_destination ? to : from))
            k->strike = 1; /* it could not be yet */
        if (!is_primary(k, from) || !is_primary(k, to))
            return;
        if (order.kind == MOVER_LOOK)
            mover_saw(&mover, &order, seen);
        else
            mover_did(&mover, &order, results, left, 1);
    }
}

/* By the ids as they are in its copy: the leader renews them. */
static void carry_moves(struct walk *k, size_t pod, unsigned orders)
{
    const struct redis *s = &k->servers[pod];
    const struct truth_node *n = node_of(k, pod);
    if (!n || !n->primary || !s->since)
        return;
    for (size_t i = 0; i < s->copy.move_count; i++) {
        const struct record_move *move = &s->copy.moves[i];
        size_t to = pod_of_id(k, &move->to);
        if (node_id_eq(&move->from, &n->id) && to != NO_POD && is_primary(k, to))
            move_slots(k, pod, move, orders);
    }
}

/* Another tool begins to move a slot that is at rest, and is stopped. */
static void meddle(struct walk *k)
{
    unsigned slot = (unsigned)rng_below(&k->rng, SLOT_COUNT);
    size_t to = (size_t)rng_below(&k->rng, (uint64_t)k->truth->world.set.replicas);
    size_t from = k->owner[slot];
    const struct record *record = &k->truth->record;
    if (is_recorded(k, slot))
        return;
    if (to == from || !is_primary(k, to) || !record_find_id(record, &node_of(k, to)->id) ||
        k->servers[to].values[slot] || k->servers[from].opens[slot] || k->servers[to].opens[slot])
        return;
    k->watch.count = 0; /* what was looked at is not so any more */
    k->meddled++;
    carry_out(k, from, to, SLOT_IMPORT, slot);
    if (chance(k, 60))
        carry_out(k, from, to, SLOT_MIGRATE, slot);
    if (k->servers[from].opens[slot] && chance(k, 60))
        carry_out(k, from, to, SLOT_KEYS, slot);
}

/* A key that was deleted is still where another tool has left it: nobody's to serve, or to be moved to. */
static void leave_old_key(struct walk *k)
{
    unsigned slot = (unsigned)rng_below(&k->rng, SLOT_COUNT);
    size_t at = (size_t)rng_below(&k->rng, (uint64_t)k->truth->world.set.replicas);
    size_t owner = k->owner[slot];
    if (is_recorded(k, slot) || at == owner || !is_primary(k, at) ||
        !slot_set_count(&node_of(k, at)->slots) || k->servers[at].values[slot] ||
        !k->servers[owner].values[slot] || k->servers[owner].opens[slot] ||
        k->servers[at].opens[slot])
        return;
    k->watch.count = 0;
    k->servers[at].values[slot] = k->truths[slot];
    k->servers[owner].values[slot] = k->truths[slot] = 0;
    k->left++;
}

/* A person takes them away; until then their slots have stayed where they were. */
static void clear_old_keys(struct walk *k)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        for (size_t i = 0; i < PODS && !k->truths[slot]; i++)
            k->servers[i].values[slot] = 0;
    k->watch.count = 0;
}

/* ---- schedules ---- */

static void begin(struct walk *k, uint64_t seed)
{
    arena_reset(&k->keep);
    arena_reset(&k->turn);
    struct arena keep = k->keep;
    struct arena turn = k->turn;
    memset(k, 0, sizeof *k);
    k->keep = keep;
    k->turn = turn;
    k->rng.state = seed;
    k->truth = truth_new(&k->keep, PODS, PODS, TRUTH_VIRGIN);
    struct truth *formed = truth_new(&k->keep, FORMED, SHARDS, TRUTH_FORMED);
    for (size_t i = 0; i < PODS; i++) {
        k->truth->listed[i] = i < FORMED;
        k->servers[i].number = (unsigned)i;
    }
    k->truth->node_count = FORMED;
    memcpy(k->truth->nodes, formed->nodes, FORMED * sizeof *formed->nodes);
    memcpy(k->truth->members, formed->members, FORMED * sizeof *formed->members);
    k->truth->record = formed->record;
    k->truth->record.members = k->truth->members;
    k->truth->record.forget = k->truth->forget;
    k->truth->world.record_presence = PRESENCE_PRESENT;
    k->truth->world.set.replicas = FORMED;
    k->numbers = PODS;
    note_owners(k);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        k->servers[k->owner[slot]].values[slot] = k->truths[slot] = ++k->version;
}

static void turn(struct walk *k, unsigned orders)
{
    lead(k);
    control(k);
    for (size_t i = 0; i < PODS; i++) {
        if (!k->lossy || chance(k, 60))
            read_record(k, i);
        carry_moves(k, i, k->lossy ? (unsigned)rng_below(&k->rng, orders) : orders);
    }
    use(k, (unsigned)rng_below(&k->rng, SLOT_COUNT));
}

static void assert_arrived(struct walk *k)
{
    unsigned replicas = (unsigned)k->truth->world.set.replicas;
    unsigned shards = replicas / 2 ? replicas / 2 : 1;
    unsigned primaries = 0;
    if (k->truth->record.move_count || k->truth->record.evening || k->plan.action_count)
        fail_msg("%u pods: %s: %s", replicas, k->plan.rule, k->plan.reason);
    for (size_t i = 0; i < PODS; i++) {
        const struct truth_node *n = node_of(k, i);
        assert_int_equal(n != NULL, i < replicas);
        assert_false(n && is_open(&k->servers[i]));
        if (!n || !n->primary)
            continue;
        primaries++;
        /* What another tool has moved stays so until a shard comes or goes. */
        if (slot_set_count(&n->slots) + k->meddled < SLOT_COUNT / shards ||
            slot_set_count(&n->slots) > (SLOT_COUNT + shards - 1) / shards + k->meddled)
            fail_msg("%u pods: muster-%zu has %u slots: %s", replicas, i, slot_set_count(&n->slots),
                     k->plan.reason);
    }
    assert_int_equal(primaries, shards);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        assert_int_equal(k->servers[k->owner[slot]].values[slot], k->truths[slot]);
}

static void rest(struct walk *k)
{
    unsigned still = 0;
    for (unsigned i = 0; i < TURNS_MAX && still < STILL; i++) {
        unsigned moved = k->moved;
        turn(k, 400);
        bool idle = !k->plan.action_count && !k->plan.scale.look_count;
        still = k->moved == moved && idle ? still + 1 : 0;
    }
}

/* A shard lacks its primary, and every pod is a replica: a person makes one anew, as the planner says. */
static bool begin_anew(struct walk *k)
{
    size_t replicas = (size_t)k->truth->world.set.replicas;
    size_t primaries = 0;
    size_t spare = NO_POD;
    for (size_t i = 0; i < replicas; i++) {
        primaries += is_primary(k, i);
        spare = is_primary(k, i) ? spare : i;
    }
    if (primaries >= replicas / 2 || spare == NO_POD)
        return false;
    end_pod(k, spare);
    k->anew++;
    return true;
}

static void settle(struct walk *k)
{
    k->lossy = false;
    rest(k);
    clear_old_keys(k);
    do
        rest(k);
    while (begin_anew(k));
    assert_arrived(k);
}

static void test_out_and_in(void **state)
{
    static const int sizes[] = {8, 10, 6, 12, 4, 7, 2, 1, 6};
    struct walk *k = *state;
    begin(k, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        k->truth->world.set.replicas = sizes[i];
        settle(k);
    }
    print_message("%u slots moved\n", k->moved);
}

static void test_no_more_moves_than_needed(void **state)
{
    struct walk *k = *state;
    begin(k, 1);
    settle(k);
    assert_int_equal(k->moved, 0);
    k->truth->world.set.replicas = 8;
    settle(k);
    assert_int_equal(k->moved, 4096);
    k->truth->world.set.replicas = 6;
    settle(k);
    assert_int_equal(k->moved, 8192);
}

/* After each order of a move the source's agent and server are lost, or the destination's. */
static void test_a_server_is_lost_after_each_order(void **state)
{
    struct walk *k = *state;
    for (unsigned i = 0; i < 2 * STRIKES; i++) {
        begin(k, 1);
        k->strike = 1 + i / 2;
        k->at_destination = i % 2;
        k->truth->world.set.replicas = 8;
        settle(k);
        assert_int_equal(k->strike, 0);
    }
}

static void test_any_size_at_any_moment(void **state)
{
    struct walk *k = *state;
    unsigned elections = 0;
    unsigned meddled = 0;
    unsigned left = 0;
    unsigned anew = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        begin(k, seed);
        for (unsigned change = 0; change < 5; change++) {
            k->truth->world.set.replicas = 4 + (int)rng_below(&k->rng, PODS - 3);
            k->lossy = true;
            unsigned turns = (unsigned)rng_below(&k->rng, 30);
            for (unsigned i = 0; i < turns; i++) {
                turn(k, 60);
                if (chance(k, 10))
                    elect(k);
                if (chance(k, 20))
                    meddle(k);
                if (chance(k, 10))
                    leave_old_key(k);
            }
        }
        settle(k);
        elections += k->elections;
        meddled += k->meddled;
        left += k->left;
        anew += k->anew;
    }
    print_message("%u elections, %u slots half-moved by others, %u old keys, %u pods made anew\n",
                  elections, meddled, left, anew);
    assert_true(elections && meddled);
}

static int setup(void **state)
{
    struct walk *k = calloc(1, sizeof *k);
    if (!k)
        return -1;
    arena_init(&k->keep, MIB(256));
    arena_init(&k->turn, MIB(64));
    *state = k;
    return 0;
}

static int teardown(void **state)
{
    struct walk *k = *state;
    arena_deinit(&k->keep);
    arena_deinit(&k->turn);
    free(k);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_and_in),
        cmocka_unit_test(test_no_more_moves_than_needed),
        cmocka_unit_test(test_a_server_is_lost_after_each_order),
        cmocka_unit_test(test_any_size_at_any_moment),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
