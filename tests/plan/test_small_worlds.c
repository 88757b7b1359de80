/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every world of two pods, and every observer: the planner has a sentence and a plan for each, the
 * same twice, and breaks no promise (plan/plan_check.h). Every rule is reached.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "lib/world_build.h"
#include "plan/plan_check.h"
#include "plan/truth.h"

enum identity { SAME, ANEW, FOREIGN, COPY, IDENTITIES };
enum record_is {
    RECORD_AS_IS,
    RECORD_UNREAD,
    RECORD_MISSING,
    RECORD_DELETED,
    RECORD_ELSEWHERE,
    RECORD_ENTERED,
    RECORD_KINDS
};

/* What is odd about one pod of two. */
struct odd {
    enum reach reach;
    int64_t age_ms;
    enum identity identity;
    uint32_t flags; /* of its node in the other's view */
    bool unknown;   /* the other does not list it */
    bool terminating;
    bool moved;
    bool quick;  /* the formation's settings */
    bool absent; /* not in the API's list */
    bool held;   /* at the gate of its agent, without its data */
    bool met;    /* anew, introduced already, and its old id is forgotten everywhere */
};

struct sweep {
    struct arena *arena;
    size_t worlds;
    size_t speaks[64];
    bool scaling;  /* policy.scaling: auto, without replicas, */
    bool half_way; /* and some slots on their way from the first pod to the second */
};

static void odd_apply(struct truth *t, size_t pod, const struct odd *odd, enum record_is record)
{
    struct pod *p = &t->pods[pod];
    struct node_id old = world_build_id(pod);
    if (odd->identity == ANEW || odd->identity == FOREIGN) {
        truth_renew(t, pod, world_build_id(100 + pod));
        truth_node(t, old)->flags = NODE_FAIL;
        p->server.keys = odd->identity == FOREIGN ? 7 : 0;
        if (odd->met) {
            truth_node_of(t, pod)->component = truth_node_of(t, 1 - pod)->component;
            truth_node(t, old)->component = UINT32_MAX;
        }
        if (record == RECORD_ENTERED && t->record.member_count > pod) {
            t->members[pod].id = world_build_id(100 + pod);
            if (!odd->met)
                t->forget[t->record.forget_count++] = old;
        }
    }
    struct truth_edit *edit = truth_edit(t, 1 - pod, truth_node_of(t, pod)->id);
    edit->missing = odd->unknown;
    edit->changes_flags = odd->flags != 0;
    edit->flags = odd->flags;
    p->server.reach = odd->reach;
    p->server.seen_ms = p->server.view_ms =
        odd->reach == REACH_UNKNOWN ? 0 : TRUTH_NOW_MS - odd->age_ms;
    if (odd->held)
        p->told = (struct told){.heard_ms = TRUTH_NOW_MS, .gate = {.held = true, .owner = true}};
    p->terminating = odd->terminating;
    if (odd->moved)
        text_format(p->ip, sizeof p->ip, "10.9.9.%zu", pod);
    if (odd->quick) {
        p->server.node_timeout_ms = 500;
        p->server.diskless_delay_s = 0;
    }
    t->listed[pod] = !odd->absent;
}

static void record_apply(struct truth *t, struct world *w, enum record_is record)
{
    switch (record) {
    case RECORD_AS_IS:
    case RECORD_ENTERED:
    case RECORD_KINDS:
        return;
    case RECORD_UNREAD:
        w->record_presence = PRESENCE_UNKNOWN;
        w->record = w->record_copy = NULL;
        return;
    case RECORD_MISSING:
        w->record_presence = PRESENCE_ABSENT;
        w->record = w->record_copy = NULL;
        return;
    case RECORD_DELETED:
        w->record_presence = PRESENCE_ABSENT;
        w->record = NULL;
        return;
    case RECORD_ELSEWHERE:
        if (w->record) {
            struct record *copy = ARENA_NEW(t->arena, struct record, 1);
            *copy = *w->record;
            text_format(copy->set_uid, sizeof copy->set_uid, "another");
            w->record = w->record_copy = copy;
        }
        return;
    }
}

/* Plans for this world: whatever it is, there is a sentence, and no promise is broken. */
static void sweep_world(struct sweep *sweep, struct world *world)
{
    struct plan plan;
    struct plan again;
    plan_next(world, sweep->arena, &plan);
    plan_next(world, sweep->arena, &again);
    const char *why = plan_check(world, &plan, sweep->arena);
    if (why || !plan_check_same(&plan, &again)) {
        print_message("world %zu: %s\n  rule %s: %s\n", sweep->worlds,
                      why ? why : "two plans for one world", plan.rule, plan.reason);
        fail();
    }
    sweep->speaks[plan_check_rule(plan.rule)]++;
    sweep->worlds++;
}

/* Everybody carries moves out; what else is odd about the second pod varies what is known of them. */
static void sweep_scaling(const struct sweep *sweep, struct truth *t, struct world *w,
                          const struct odd *odd)
{
    static const struct slot_range ranges[] = {{0, 99}};
    w->scaling = SCALING_AUTO;
    w->replicas_per_primary = 0;
    w->moves = (struct moves_word){true, 1};
    for (size_t i = 0; i < w->pod_count; i++) {
        t->derived[i].told.heard_ms = w->now_ms;
        t->derived[i].told.moves = (struct moves_word){true, odd->quick};
    }
    if (!sweep->half_way || w->record != &t->record)
        return;
    struct record_move *move = ARENA_NEW(t->arena, struct record_move, 1);
    *move = (struct record_move){.from = world_build_id(0),
                                 .to = world_build_id(1),
                                 .generation = 1,
                                 .cancel = odd->moved,
                                 .ranges = ranges,
                                 .range_count = 1};
    t->record.moves = move;
    t->record.move_count = 1;
    t->record.move_generation = 1;
}

static void sweep_pair(struct sweep *sweep, enum truth_stage stage, enum record_is record,
                       const struct odd odd[2])
{
    arena_reset(sweep->arena);
    struct truth *t = truth_new(sweep->arena, 2, 1, stage);
    odd_apply(t, 0, &odd[0], record);
    odd_apply(t, 1, &odd[1], record);
    if (odd[0].identity == SAME && odd[1].identity == SAME && odd[1].terminating && odd[1].moved) {
        struct truth_node *stranger = truth_node(t, world_build_id(200));
        stranger->component = truth_node_of(t, 0)->component;
        stranger->primary = true;
        stranger->flags = odd[1].quick ? NODE_FAIL : 0;
    }
    /* Only a world in which the cluster is gone looks at these. */
    t->world.gone_since_ms = odd[1].terminating ? 0 : TRUTH_NOW_MS - 5000;
    t->world.set.volumes = !odd[1].moved;
    t->world.reform_lost = odd[1].quick;
    struct world *w = truth_world(t);
    for (size_t i = 0; i < w->pod_count; i++) {
        size_t pod = (size_t)w->pods[i].ordinal;
        if (odd[pod].identity == COPY && odd[pod].reach == REACH_OK)
            t->derived[i].server.id = world_build_id(1 - pod);
    }
    record_apply(t, w, record);
    if (sweep->scaling)
        sweep_scaling(sweep, t, w, &odd[1]);
    sweep_world(sweep, w);
}

static const uint32_t sweep_flags[] = {0, NODE_FAIL, NODE_PFAIL, NODE_NOADDR, NODE_HANDSHAKE};

/* The second pod through all its oddities, the first as given. */
static void sweep_second(struct sweep *sweep, enum truth_stage stage, enum record_is record,
                         const struct odd *first)
{
    static const struct {
        enum reach reach;
        int64_t age_ms;
    } answers[] = {{REACH_OK, 200}, {REACH_OK, 9000}, {REACH_REFUSED, 9000}, {REACH_UNKNOWN, 0}};
    for (size_t answer = 0; answer < ARRAY_LEN(answers); answer++) {
        for (unsigned bits = 0; bits < 64; bits++) {
            for (size_t f = 0; f < ARRAY_LEN(sweep_flags); f++) {
                for (enum identity identity = SAME; identity < IDENTITIES; identity++) {
                    struct odd odd[2] = {*first,
                                         {.reach = answers[answer].reach,
                                          .age_ms = answers[answer].age_ms,
                                          .identity = identity,
                                          .flags = sweep_flags[f],
                                          .unknown = bits & 1,
                                          .terminating = bits & 2,
                                          .moved = bits & 4,
                                          .quick = bits & 8,
                                          .absent = bits & 16,
                                          .met = bits & 32}};
                    if ((odd[1].unknown && odd[1].flags) || (odd[1].met && identity != ANEW))
                        continue;
                    sweep_pair(sweep, stage, record, odd);
                }
            }
        }
    }
}

static void test_every_world_of_two_pods_has_a_plan(void **state)
{
    struct sweep sweep = {.arena = *state};
    static const struct odd firsts[] = {
        {.reach = REACH_OK, .age_ms = 200},
        {.reach = REACH_OK, .age_ms = 200, .flags = NODE_FAIL},
        {.reach = REACH_OK, .age_ms = 200, .identity = ANEW},
        {.reach = REACH_OK, .age_ms = 200, .identity = FOREIGN, .moved = true},
        {.reach = REACH_TIMEOUT, .age_ms = 9000},
        {.reach = REACH_REFUSED, .age_ms = 200, .held = true},
    };
    for (size_t first = 0; first < ARRAY_LEN(firsts); first++)
        for (enum truth_stage stage = TRUTH_VIRGIN; stage <= TRUTH_FORMED; stage++)
            for (enum record_is record = RECORD_AS_IS; record < RECORD_KINDS; record++)
                sweep_second(&sweep, stage, record, &firsts[first]);
    for (size_t i = 0; plan_rule_name(i); i++) {
        const char *rule = plan_rule_name(i);
        /* These speak of the observer, not of the pods: below; where a replica's replication points
         * to is not varied here: follow has its case, and the simulator reaches it; a chain takes
         * three; nobody is to stop, policy.placement is off, and no person orders anything; scale:
         * below. */
        if (strcmp(rule, "settle") == 0 || strcmp(rule, "leader") == 0 ||
            strcmp(rule, "api") == 0 || strcmp(rule, "set-absent") == 0 ||
            strcmp(rule, "follow") == 0 || strcmp(rule, "chain") == 0 ||
            strcmp(rule, "drain") == 0 || strcmp(rule, "drain-silent") == 0 ||
            strcmp(rule, "place") == 0 || strcmp(rule, "crash") == 0 ||
            strcmp(rule, "pause") == 0 || strcmp(rule, "failover") == 0 ||
            strcmp(rule, "scale") == 0)
            continue;
        if (!sweep.speaks[i])
            print_message("rule %s never speaks\n", rule);
        assert_true(sweep.speaks[i] > 0);
    }
    print_message("%zu worlds\n", sweep.worlds);
}

static void test_every_world_that_is_scaled_has_a_plan(void **state)
{
    static const struct odd first = {.reach = REACH_OK, .age_ms = 200};
    struct sweep sweep = {.arena = *state, .scaling = true};
    for (enum record_is record = RECORD_AS_IS; record < RECORD_KINDS; record++)
        sweep_second(&sweep, TRUTH_FORMED, record, &first);
    sweep.half_way = true;
    sweep_second(&sweep, TRUTH_FORMED, RECORD_AS_IS, &first);
    assert_true(sweep.speaks[plan_check_rule("scale")] > 0);
    print_message("%zu worlds\n", sweep.worlds);
}

/* Who observes, and how well, for every stage: the first rules decide before anything is touched. */
static void test_every_observer_of_every_stage_has_a_plan(void **state)
{
    struct sweep sweep = {.arena = *state};
    for (unsigned bits = 0; bits < 1u << 7; bits++) {
        for (enum truth_stage stage = TRUTH_VIRGIN; stage <= TRUTH_FORMED; stage++) {
            for (int replicas = 0; replicas < 4; replicas++) {
                arena_reset(sweep.arena);
                struct truth *t = truth_new(sweep.arena, 2, 1, stage);
                t->world.settling = bits & 1;
                t->world.leader = bits & 2;
                t->world.api_seen_ms = bits & 4 ? t->world.now_ms : t->world.now_ms - 100000;
                t->world.set.known = bits & 8;
                t->world.set.absent = bits & 64;
                t->world.set.replicas = replicas;
                t->pods[0].server.replica_migration = bits & 16 ? 1 : 0;
                if (bits & 32)
                    t->listed[0] = false;
                else if (replicas == 3)
                    t->world.leader_pod[0] = '\0';
                struct world *w = truth_world(t);
                sweep_world(&sweep, w);
            }
        }
    }
    assert_true(sweep.speaks[plan_check_rule("settle")] > 0);
    assert_true(sweep.speaks[plan_check_rule("leader")] > 0);
    assert_true(sweep.speaks[plan_check_rule("api")] > 0);
    assert_true(sweep.speaks[plan_check_rule("set-absent")] > 0);
}

static int setup(void **state)
{
    static struct arena arena;
    arena_init(&arena, MIB(512));
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
        cmocka_unit_test(test_every_world_of_two_pods_has_a_plan),
        cmocka_unit_test(test_every_world_that_is_scaled_has_a_plan),
        cmocka_unit_test(test_every_observer_of_every_stage_has_a_plan),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
