/* SPDX-License-Identifier: Apache-2.0 */
/* Who may act without Kubernetes, and which copy of the record replaces which. */
#include "core/hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"

#define SIZE 4
#define SET UINT64_C(0xfeed)
#define OURS UINT64_C(0x11)
#define OTHER UINT64_C(0x22)
#define NOW 100000

/* Four servers, a-0 to a-3, seen from `me`; the first two own the slots. */
static struct world world;
static struct pod pods[SIZE + 1];
static struct record record;
static struct record_member members[SIZE];
static struct view views[SIZE];
static struct view_node nodes[SIZE][SIZE];
static struct hosts_state state;
static struct hosts_verdict verdict;
static const struct attempts attempts;

static struct node_id id_of(size_t i)
{
    struct node_id id;
    text_format(id.hex, sizeof id.hex, "%040zu", i + 1);
    return id;
}

static void put_pod(size_t i)
{
    pods[i] = (struct pod){.ordinal = (int)i, .port = 6379};
    text_format(pods[i].name, sizeof pods[i].name, "a-%zu", i);
    text_format(pods[i].ip, sizeof pods[i].ip, "10.0.0.%zu", i + 1);
    pods[i].word = (struct host_word){.heard_ms = NOW, .id = id_of(i), .set = SET};
    pods[i].server.id = id_of(i);
    pods[i].server.node_timeout_ms = 15000;
}

static void put_view(size_t i)
{
    for (size_t k = 0; k < SIZE; k++)
        nodes[i][k] = (struct view_node){.id = id_of(k),
                                         .flags = k < 2 ? NODE_PRIMARY : NODE_REPLICA,
                                         .slot_count = k < 2 ? SLOT_COUNT / 2 : 0};
    nodes[i][i].flags |= NODE_MYSELF;
    views[i] = (struct view){.nodes = nodes[i], .node_count = SIZE};
    assert_true(view_finish(&views[i], nodes[i]));
    pods[i].server.reach = REACH_OK;
    pods[i].server.seen_ms = pods[i].server.view_ms = NOW;
    pods[i].server.view = &views[i];
}

static int setup(void **unused)
{
    (void)unused;
    memset(&state, 0, sizeof state);
    record = (struct record){.version = RECORD_VERSION,
                             .uid = "u",
                             .generation = 1,
                             .state = RECORD_FORMING,
                             .shards = 2,
                             .members = members,
                             .member_count = SIZE};
    for (size_t i = 0; i < SIZE; i++) {
        put_pod(i);
        put_view(i);
        members[i] = (struct record_member){.id = id_of(i)};
        text_format(members[i].pod, sizeof members[i].pod, "%s", pods[i].name);
    }
    world = (struct world){.now_ms = NOW,
                           .arbiter = ARBITER_HOSTS,
                           .hosts_problem = "",
                           .set = {.known = true, .name = "a", .replicas = SIZE},
                           .pods = pods,
                           .pod_count = SIZE,
                           .attempts = &attempts};
    return 0;
}

/* Time passes; everybody but `silent` (SIZE = nobody) is heard again. */
static void pass(int64_t ms, size_t silent)
{
    world.now_ms += ms;
    for (size_t i = 0; i < world.pod_count; i++) {
        if (i != silent)
            pods[i].word.heard_ms = world.now_ms;
        pods[i].server.seen_ms = pods[i].server.view_ms = world.now_ms;
    }
}

static void hold(size_t i, uint64_t hash, int64_t generation, enum record_state record_state)
{
    pods[i].word.record = hash;
    pods[i].word.generation = generation;
    pods[i].word.state = record_state;
}

static void hold_all(enum record_state record_state)
{
    record.state = record_state;
    world.record = &record;
    for (size_t i = 0; i < SIZE; i++)
        hold(i, OURS, record.generation, record_state);
}

static void step(size_t me)
{
    world.me = me;
    hosts_step(&state, &world, &verdict);
    /* Whoever may not act says why; whoever may asks every server. */
    assert_int_equal(verdict.leader, verdict.why[0] == '\0');
    assert_true(!verdict.leader || verdict.watch);
}

static void assert_why(const char *part)
{
    assert_false(verdict.leader);
    if (!strstr(verdict.why, part))
        fail_msg("'%s' is not in '%s'", part, verdict.why);
}

/* ---- before there is a record ---- */

static void test_the_first_of_an_agreed_list_forms(void **unused)
{
    (void)unused;
    step(0);
    assert_true(verdict.leader);
    assert_int_equal(verdict.leader_pod, 0);
    step(1);
    assert_why("following a-0");
    assert_false(verdict.watch);
}

static void test_nobody_forms_unless_every_agent_expects_the_same(void **unused)
{
    (void)unused;
    pods[2].word.set = SET + 1;
    step(0);
    assert_why("the agent of a-2 expects other servers");
    pods[2].word.set = 0; /* it has not read its list twice yet */
    step(0);
    assert_why("the agent of a-2 expects other servers");
    pods[2].word.set = SET;
    pods[3].word.heard_ms = NOW - HOSTS_HEARD_MS - 1;
    step(0);
    assert_why("the one of a-3 at 10.0.0.4 does not answer");
    pods[3].word.heard_ms = 0;
    step(0);
    assert_why("the one of a-3 at 10.0.0.4 does not answer");
}

static void test_an_unsure_list_is_said(void **unused)
{
    (void)unused;
    pods[0].word.set = 0;
    world.hosts_problem = "forming needs exactly cluster.size 4 servers: redis has 3 addresses";
    step(0);
    assert_why("redis has 3 addresses");
    world.me = NO_POD;
    hosts_step(&state, &world, &verdict);
    assert_why("redis has 3 addresses");
    world.hosts_problem = "";
    hosts_step(&state, &world, &verdict);
    assert_why("set POD_IP");
}

/* Somebody holds a record: the own copy comes first, whatever else is agreed. */
static void test_a_record_that_exists_is_taken_first(void **unused)
{
    (void)unused;
    hold(3, OTHER, 7, RECORD_FORMED);
    step(0);
    assert_why("taking the record from the agent of a-3");
    assert_false(hosts_none_recorded(&world));
    hold(3, 0, 0, RECORD_STATE_NONE);
    assert_true(hosts_none_recorded(&world));
    pods[3].word.heard_ms = 0;
    assert_false(hosts_none_recorded(&world));
}

/* ---- forming ---- */

static void test_an_intent_is_carried_out_only_when_every_agent_has_taken_it(void **unused)
{
    (void)unused;
    hold_all(RECORD_FORMING);
    hold(3, 0, 0, RECORD_STATE_NONE);
    step(0);
    assert_why("waiting for the agent of a-3 to take the plan");
    hold(3, OURS, 1, RECORD_FORMING);
    step(0);
    assert_true(verdict.leader);
    step(1);
    assert_why("following a-0, which leads");
}

static void test_the_next_finishes_what_a_dead_one_began(void **unused)
{
    (void)unused;
    hold_all(RECORD_FORMING);
    step(1);
    pass(HOSTS_HEARD_MS + 1, 0);
    step(1);
    assert_why("following a-0, which is not well: passed over after 5 s");
    pass(HOSTS_SILENT_MS, 0);
    step(1);
    assert_true(verdict.leader);
    step(2);
    assert_why("following a-1");
    /* The first is back. */
    pass(100, SIZE);
    step(1);
    assert_why("following a-0, which leads");
}

/* What the next never heard the first to hold it cannot know to be the plan of all. */
static void test_the_next_waits_for_a_vote_that_it_never_heard(void **unused)
{
    (void)unused;
    hold_all(RECORD_FORMING);
    pods[0].word.heard_ms = 0;
    step(1);
    pass(HOSTS_SILENT_MS, 0);
    step(1);
    assert_why("waiting for the agent of a-0 to take the plan");
}

static void test_a_minority_of_agents_carries_out_nothing(void **unused)
{
    (void)unused;
    hold_all(RECORD_FORMING);
    step(0);
    assert_true(verdict.leader);
    for (size_t i = 2; i < SIZE; i++)
        pods[i].word.heard_ms = 0;
    step(0);
    assert_why("only 2 of 4 agents answer");
}

static void test_a_later_generation_waits_until_the_earlier_is_given_up(void **unused)
{
    (void)unused;
    record.generation = 2;
    hold_all(RECORD_FORMING);
    step(0);
    assert_why("generation 2 begins when");
    pass(2 * HOSTS_HEARD_MS - 1, SIZE);
    step(0);
    assert_why("generation 2 begins when");
    pass(1, SIZE);
    step(0);
    assert_true(verdict.leader);
}

static void test_competing_plans_stop_everything_and_are_planned_anew(void **unused)
{
    (void)unused;
    hold_all(RECORD_FORMING);
    step(0);
    assert_true(verdict.leader);
    hold(2, OTHER, 1, RECORD_FORMING);
    step(0);
    assert_why("different plans");
    pass(HOSTS_DISPUTE_MS, SIZE);
    step(0);
    assert_true(verdict.leader && verdict.anew);
    step(1); /* not the first */
    assert_why("different plans");
    pods[3].word.set = SET + 1; /* not agreed */
    step(0);
    assert_why("expects other servers");
    pods[3].word.set = SET;
    hold(3, OTHER, 1, RECORD_FORMED); /* never over a formed cluster */
    step(0);
    assert_why("different plans");
}

static void test_a_newer_plan_is_taken_before_anything_else(void **unused)
{
    (void)unused;
    hold_all(RECORD_FORMING);
    hold(2, OTHER, 2, RECORD_FORMING);
    step(0);
    assert_why("taking a newer record from the agent of a-2");
    assert_int_equal(state.disputed_ms, 0);
}

/* ---- formed ---- */

static void test_the_first_member_leads_at_once_after_a_common_restart(void **unused)
{
    (void)unused;
    hold_all(RECORD_FORMED);
    for (size_t i = 0; i < SIZE; i++)
        for (size_t k = 0; k < SIZE; k++)
            if (i != k)
                nodes[i][k].flags |= NODE_NOADDR;
    step(0);
    assert_true(verdict.leader);
    step(1);
    assert_why("following a-0");
    /* Valkey 8.1 says more of it than it knows. */
    for (size_t i = 0; i < SIZE; i++)
        for (size_t k = 0; k < SIZE; k++)
            if (i != k)
                nodes[i][k].flags |= NODE_FAIL;
    step(0);
    assert_true(verdict.leader);
}

static void test_a_failed_first_is_passed_over_after_twice_the_timeout(void **unused)
{
    (void)unused;
    hold_all(RECORD_FORMED);
    for (size_t i = 1; i < SIZE; i++)
        nodes[i][0].flags |= NODE_FAIL;
    step(1);
    assert_why("following a-0");
    pass(29999, SIZE);
    step(1);
    assert_why("following a-0, which is not well: passed over after 30 s");
    pass(1, SIZE);
    step(1);
    assert_true(verdict.leader);
    /* A flap begins the time anew. */
    nodes[1][0].flags &= ~(uint32_t)NODE_FAIL;
    step(1);
    assert_why("following a-0, which leads");
    nodes[1][0].flags |= NODE_FAIL;
    step(1);
    assert_why("following a-0");
}

static void test_a_first_that_lost_its_id_is_passed_over(void **unused)
{
    (void)unused;
    hold_all(RECORD_FORMED);
    pods[0].word.id = id_of(9);
    step(1);
    pass(30000, SIZE);
    step(1);
    assert_true(verdict.leader);
}

static void test_the_leader_needs_most_slot_owners(void **unused)
{
    (void)unused;
    hold_all(RECORD_FORMED);
    pods[1].server.reach = REACH_TIMEOUT;
    step(0);
    assert_why("only 1 of 2 slot owners answer and list this server as well");
    pods[1].server.reach = REACH_OK;
    nodes[1][0].flags |= NODE_FAIL;
    step(0);
    assert_why("only 1 of 2 slot owners");
    nodes[1][0].flags &= ~(uint32_t)NODE_FAIL;
    pods[0].server.reach = REACH_REFUSED;
    step(0);
    assert_why("the server beside does not answer");
    pods[0].server.reach = REACH_OK;
    for (size_t k = 0; k < SIZE; k++)
        nodes[0][k].slot_count = 0; /* it came back empty */
    step(0);
    assert_why("knows of no slots: if every server is empty, remove record.json");
}

static void test_the_leader_needs_most_copies(void **unused)
{
    (void)unused;
    hold_all(RECORD_FORMED);
    hold(2, OTHER, 0, RECORD_STATE_NONE);
    step(0);
    assert_true(verdict.leader);
    hold(3, OTHER, 0, RECORD_STATE_NONE);
    step(0);
    assert_why("only 2 of 4 agents hold the record of generation 1");
    hold(3, OTHER, 2, RECORD_FORMED);
    step(0);
    assert_why("taking a newer record from the agent of a-3");
    hold(3, OTHER, 1, RECORD_FORMED);
    step(0);
    assert_true(verdict.leader && verdict.settle);
}

/* ---- copies ---- */

static void test_which_copies_are_fetched(void **unused)
{
    (void)unused;
    static const struct {
        int64_t mine, theirs;
        enum record_state my_state, their_state;
        bool take;
    } cases[] = {
        {0, 1, RECORD_STATE_NONE, RECORD_FORMING, true},
        {0, 0, RECORD_STATE_NONE, RECORD_STATE_NONE, false},
        {1, 1, RECORD_FORMING, RECORD_FORMED, false},
        {1, 2, RECORD_FORMING, RECORD_FORMING, true},
        {1, 2, RECORD_FORMED, RECORD_FORMING, false},
        {1, 2, RECORD_FORMED, RECORD_FORMED, true},
        {2, 1, RECORD_FORMED, RECORD_FORMED, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct host_word mine = {.generation = cases[i].mine, .state = cases[i].my_state};
        struct host_word theirs = {.generation = cases[i].theirs, .state = cases[i].their_state};
        assert_int_equal(hosts_should_take(&mine, &theirs), cases[i].take);
    }
}

static void test_which_copies_may_replace_ours(void **unused)
{
    (void)unused;
    const char *why;
    struct record theirs = record;
    theirs.generation = 2;
    assert_true(hosts_may_take(NULL, &theirs, false, &why));
    assert_true(hosts_may_take(&record, &theirs, false, &why));
    text_format(theirs.uid, sizeof theirs.uid, "v");
    assert_true(hosts_may_take(&record, &theirs, true, &why));
    assert_false(hosts_may_take(&record, &theirs, false, &why));
    assert_non_null(strstr(why, "prepared for another"));
    record.state = RECORD_FORMED;
    theirs.state = RECORD_FORMED;
    assert_false(hosts_may_take(&record, &theirs, true, &why));
    assert_non_null(strstr(why, "another cluster"));
    text_format(theirs.uid, sizeof theirs.uid, "u");
    assert_true(hosts_may_take(&record, &theirs, true, &why));
    theirs.state = RECORD_FORMING;
    assert_false(hosts_may_take(&record, &theirs, true, &why));
    assert_non_null(strstr(why, "formed already"));
    theirs.state = RECORD_FORMED;
    theirs.generation = 1;
    assert_false(hosts_may_take(&record, &theirs, true, &why));
    assert_non_null(strstr(why, "not newer"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_first_of_an_agreed_list_forms, setup),
        cmocka_unit_test_setup(test_nobody_forms_unless_every_agent_expects_the_same, setup),
        cmocka_unit_test_setup(test_an_unsure_list_is_said, setup),
        cmocka_unit_test_setup(test_a_record_that_exists_is_taken_first, setup),
        cmocka_unit_test_setup(test_an_intent_is_carried_out_only_when_every_agent_has_taken_it,
                               setup),
        cmocka_unit_test_setup(test_the_next_finishes_what_a_dead_one_began, setup),
        cmocka_unit_test_setup(test_the_next_waits_for_a_vote_that_it_never_heard, setup),
        cmocka_unit_test_setup(test_a_minority_of_agents_carries_out_nothing, setup),
        cmocka_unit_test_setup(test_a_later_generation_waits_until_the_earlier_is_given_up, setup),
        cmocka_unit_test_setup(test_competing_plans_stop_everything_and_are_planned_anew, setup),
        cmocka_unit_test_setup(test_a_newer_plan_is_taken_before_anything_else, setup),
        cmocka_unit_test_setup(test_the_first_member_leads_at_once_after_a_common_restart, setup),
        cmocka_unit_test_setup(test_a_failed_first_is_passed_over_after_twice_the_timeout, setup),
        cmocka_unit_test_setup(test_a_first_that_lost_its_id_is_passed_over, setup),
        cmocka_unit_test_setup(test_the_leader_needs_most_slot_owners, setup),
        cmocka_unit_test_setup(test_the_leader_needs_most_copies, setup),
        cmocka_unit_test_setup(test_which_copies_are_fetched, setup),
        cmocka_unit_test_setup(test_which_copies_may_replace_ours, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
