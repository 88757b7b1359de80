/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "core/readiness.h"
#include "lib/world_build.h"

#define PRIMARY 1
#define REPLICA 4

static struct world_build *formed(struct arena *arena, size_t me)
{
    arena_reset(arena);
    struct world_build *b = world_build_formed(arena, 3, 6);
    b->world.me = me;
    return b;
}

static void step(struct readiness *r, struct world_build *b, bool ready, const char *reason)
{
    readiness_step(r, &b->world);
    assert_string_equal(r->reason, reason);
    assert_int_equal(r->ready, ready);
}

/* A readiness that has passed the strict test of the server that runs in `b`. */
static struct readiness passed(struct world_build *b)
{
    struct readiness r = {0};
    readiness_step(&r, &b->world);
    assert_true(r.ready);
    return r;
}

static void test_nothing_is_ready_before_it_was_heard_of(void **state)
{
    struct world_build *b = formed(*state, PRIMARY);
    struct readiness r = {0};
    b->world.me = NO_POD;
    readiness_step(&r, &b->world);
    assert_false(r.ready);
    b->world.me = PRIMARY;
    b->pods[PRIMARY].server.reach = REACH_UNKNOWN;
    readiness_step(&r, &b->world);
    assert_false(r.ready);
}

static void test_a_server_of_a_formed_cluster_is_ready(void **state)
{
    struct world_build *b = formed(*state, PRIMARY);
    struct readiness r = {0};
    step(&r, b, true, "a primary that serves its slots");
    step(&r, b, true, "a primary that answers");
    b = formed(*state, REPLICA);
    r = (struct readiness){0};
    step(&r, b, true, "a replica in sync with its primary");
    step(&r, b, true, "a replica in sync");
}

/* Under OrderedReady the next pod comes only when this one is ready. */
static void test_a_virgin_is_ready_until_a_cluster_exists(void **state)
{
    arena_reset(*state);
    struct world_build *b = world_build_virgin(*state, 3);
    struct readiness r = {0};
    b->world.me = 1;
    step(&r, b, true, "an empty server that waits for the cluster to be formed");
    b->record = (struct record){.state = RECORD_FORMING};
    b->world.record = &b->record;
    b->world.record_presence = PRESENCE_PRESENT;
    step(&r, b, true, "an empty server that waits for the cluster to be formed");
    b->record.state = RECORD_FORMED;
    step(&r, b, false, "an empty server that has not joined the cluster yet");
    b->world.record = NULL;
    b->world.record_presence = PRESENCE_UNKNOWN;
    step(&r, b, false, "an empty server; whether a cluster exists is not known yet");
}

/* A virgin's easy pass is not the strict test's: once it has joined it must be in sync. */
static void test_a_virgin_that_joined_must_pass_the_strict_test(void **state)
{
    arena_reset(*state);
    struct world_build *virgin = world_build_virgin(*state, 3);
    struct readiness r = {0};
    virgin->world.me = 1;
    step(&r, virgin, true, "an empty server that waits for the cluster to be formed");
    struct world_build *b = world_build_formed(virgin->arena, 1, 3);
    b->world.me = 1;
    b->pods[1].server.link_up = false;
    step(&r, b, false, "a replica that is not in sync with its primary yet");
    b->pods[1].server.link_up = true;
    step(&r, b, true, "a replica in sync with its primary");
}

static void test_the_strict_test_names_what_is_missing(void **state)
{
    struct readiness r = {0};
    struct world_build *b = formed(*state, REPLICA);
    struct server *s = &b->pods[REPLICA].server;
    s->view_ms = 0;
    step(&r, b, false, "its view of the cluster was not read yet");
    b = formed(*state, REPLICA);
    b->pods[REPLICA].server.state_ok = false;
    step(&r, b, false, "the cluster is not ok in its eyes");
    b = formed(*state, REPLICA);
    b->pods[REPLICA].server.link_up = false;
    step(&r, b, false, "a replica that is not in sync with its primary yet");
    b = formed(*state, REPLICA);
    b->nodes[REPLICA].primary = true;
    (void)world_build_refresh(b);
    step(&r, b, false, "a primary without slots: its part is not given yet");
}

static void test_a_majority_of_the_primaries_must_be_seen(void **state)
{
    static const uint32_t flags[] = {NODE_FAIL, NODE_PFAIL, NODE_NOADDR};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        struct readiness r = {0};
        struct world_build *b = formed(*state, REPLICA);
        b->nodes[0].flags = flags[i];
        (void)world_build_refresh(b);
        b->pods[REPLICA].server.state_ok = true;
        step(&r, b, true, "a replica in sync with its primary"); /* two of three */
        r = (struct readiness){0};
        b->nodes[1].flags = flags[i];
        (void)world_build_refresh(b);
        b->pods[REPLICA].server.state_ok = true;
        b->pods[REPLICA].server.link_up = true;
        step(&r, b, false, "it is not connected to a majority of the primaries");
    }
}

/* FAULTS C18: nobody serves a shard, which is not this pod's matter. */
static void test_another_shard_that_is_down_is_not_waited_for(void **state)
{
    struct readiness r = {0};
    struct world_build *b = formed(*state, REPLICA);
    b->nodes[1].flags = NODE_FAIL;
    (void)world_build_refresh(b);
    b->pods[REPLICA].server.state_ok = false;
    b->pods[REPLICA].server.link_up = true;
    step(&r, b, true, "a replica in sync with its primary");
    r = (struct readiness){0};
    b->nodes[1].flags = NODE_PFAIL; /* its slots count as served until it has failed */
    (void)world_build_refresh(b);
    b->pods[REPLICA].server.state_ok = false;
    step(&r, b, false, "the cluster is not ok in its eyes");
    b->nodes[1].flags = 0;
    b->nodes[1].slots = (struct slot_set){0}; /* and those that belong to nobody are not */
    (void)world_build_refresh(b);
    b->pods[REPLICA].server.state_ok = false;
    step(&r, b, true, "a replica in sync with its primary");
}

static void test_no_primary_at_all_is_no_majority(void **state)
{
    struct readiness r = {0};
    struct world_build *b = formed(*state, REPLICA);
    for (size_t i = 0; i < 3; i++)
        b->nodes[i].slots = (struct slot_set){0};
    (void)world_build_refresh(b);
    b->pods[REPLICA].server.state_ok = true;
    step(&r, b, false, "it is not connected to a majority of the primaries");
}

/* A failing cluster must not empty the Service (k8s: every pod unready at once). */
static void test_a_failing_cluster_does_not_unready_a_ready_pod(void **state)
{
    struct world_build *b = formed(*state, PRIMARY);
    struct readiness r = passed(b);
    struct server *s = &b->pods[PRIMARY].server;
    s->state_ok = false;
    s->view_ms = 0;
    step(&r, b, true, "a primary that answers");
}

static void test_a_server_that_does_not_answer_is_not_ready(void **state)
{
    struct world_build *b = formed(*state, PRIMARY);
    struct readiness r = passed(b);
    struct server *s = &b->pods[PRIMARY].server;
    s->reach = REACH_TIMEOUT;
    step(&r, b, false, "its server does not answer");
    s->reach = REACH_LOADING;
    step(&r, b, false, "its server is loading data");
    s->reach = REACH_OK;
    s->seen_ms = b->world.now_ms - WORLD_FRESH_MS - 1;
    step(&r, b, false, "its server does not answer");
    s->seen_ms = b->world.now_ms;
    step(&r, b, true, "a primary that answers"); /* the same process: no strict test again */
}

/* An agent that did not run has not asked: it is silent itself, and not its server. */
static void test_a_stall_of_the_agent_keeps_the_verdict(void **state)
{
    struct world_build *b = formed(*state, PRIMARY);
    struct readiness r = passed(b);
    struct server *s = &b->pods[PRIMARY].server;
    s->seen_ms = b->world.now_ms - WORLD_FRESH_MS - 1;
    b->world.settling = true;
    step(&r, b, true, "a primary that serves its slots");
    struct readiness other = {0};
    step(&other, b, false, "");
    s->reach = REACH_REFUSED; /* asked since then */
    step(&r, b, false, "its server does not answer");
    s->reach = REACH_OK;
    b->world.settling = false; /* a full period has passed */
    step(&r, b, false, "its server does not answer");
}

/* A password or a right taken away is the agent's trouble, not the clients'. */
static void test_a_server_that_denies_the_agent_keeps_its_verdict(void **state)
{
    struct world_build *b = formed(*state, PRIMARY);
    struct readiness r = passed(b);
    b->pods[PRIMARY].server.reach = REACH_DENIED;
    step(&r, b, true, "the agent has no access to its server");
    struct readiness fresh = {0};
    step(&fresh, b, false, "the agent has no access to its server");
    b->pods[PRIMARY].server.reach = REACH_REFUSED;
    step(&r, b, false, "its server does not answer");
    b->pods[PRIMARY].server.reach = REACH_DENIED;
    step(&r, b, false, "the agent has no access to its server");
}

static void test_a_restarted_server_passes_the_strict_test_again(void **state)
{
    struct world_build *b = formed(*state, REPLICA);
    struct readiness r = passed(b);
    struct server *s = &b->pods[REPLICA].server;
    text_format(s->run_id, sizeof s->run_id, "another process");
    s->link_up = false;
    step(&r, b, false, "a replica that is not in sync with its primary yet");
    s->link_up = true;
    step(&r, b, true, "a replica in sync with its primary");
    step(&r, b, true, "a replica in sync");
}

/* The next pod to be stopped may be the one with the only other copy. */
static void test_in_a_roll_the_shard_has_its_copies_first(void **state)
{
    arena_reset(*state);
    struct world_build *b = world_build_formed(*state, 3, 9);
    b->world.me = REPLICA;
    struct server *mate = &b->pods[REPLICA + 3].server;
    size_t primary = 0;
    while (!node_id_eq(&b->pods[primary].server.id, &mate->view->myself->primary))
        primary++;
    struct readiness r = {0};
    mate->link_up = false;
    b->pods[REPLICA].updated = true;
    step(&r, b, false, "in a rolling update, and muster-7 of its shard is not in sync yet");
    b->pods[REPLICA + 3].server.reach = REACH_REFUSED; /* it may wait for this very pod */
    step(&r, b, true, "a replica in sync with its primary");

    r = (struct readiness){0};
    b->pods[REPLICA + 3].server.reach = REACH_OK;
    b->world.me = primary;
    step(&r, b, true, "a primary that serves its slots"); /* an old one */
    r = (struct readiness){0};
    b->pods[primary].updated = true;
    step(&r, b, false, "in a rolling update, and muster-7 of its shard is not in sync yet");
    for (size_t i = 0; i < b->world.pod_count; i++)
        b->pods[i].updated = true;
    step(&r, b, true, "a primary that serves its slots");

    r = (struct readiness){0};
    b->pods[primary].updated = false;
    b->world.me = primary ? 0 : 1;
    step(&r, b, true, "a primary that serves its slots"); /* another shard's */
}

static void test_a_replica_may_be_cut_off_for_half_a_minute(void **state)
{
    struct world_build *b = formed(*state, REPLICA);
    struct readiness r = passed(b);
    struct server *s = &b->pods[REPLICA].server;
    s->link_up = false;
    step(&r, b, true, "a replica that lost its primary a moment ago");
    b->world.now_ms += READINESS_LINK_DOWN_MS;
    s->seen_ms = b->world.now_ms;
    step(&r, b, true, "a replica that lost its primary a moment ago");
    b->world.now_ms += 1;
    step(&r, b, false, "a replica cut off from its primary for more than 30 s");
    s->link_up = true;
    step(&r, b, true, "a replica in sync");
    s->link_up = false; /* the half minute begins anew */
    step(&r, b, true, "a replica that lost its primary a moment ago");
}

/* An agent's restart is no reason to test strictly what was ready. */
static void test_readiness_survives_the_agents_restart(void **state)
{
    struct world_build *b = formed(*state, REPLICA);
    struct readiness r = {0};
    readiness_resume(&r);
    assert_true(r.ready);
    assert_string_equal(r.reason, "it was ready before the agent restarted");
    b->pods[REPLICA].server.reach = REACH_UNKNOWN;
    step(&r, b, true, "it was ready before the agent restarted");
    b->pods[REPLICA].server.reach = REACH_OK;
    b->pods[REPLICA].server.state_ok = false;
    step(&r, b, true, "a replica in sync");
    text_format(b->pods[REPLICA].server.run_id, RUN_ID_SIZE, "another process");
    step(&r, b, false, "the cluster is not ok in its eyes");
}

static int setup(void **state)
{
    static struct arena arena;
    arena_init(&arena, MIB(8));
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
        cmocka_unit_test(test_nothing_is_ready_before_it_was_heard_of),
        cmocka_unit_test(test_a_server_of_a_formed_cluster_is_ready),
        cmocka_unit_test(test_a_virgin_is_ready_until_a_cluster_exists),
        cmocka_unit_test(test_a_virgin_that_joined_must_pass_the_strict_test),
        cmocka_unit_test(test_the_strict_test_names_what_is_missing),
        cmocka_unit_test(test_a_majority_of_the_primaries_must_be_seen),
        cmocka_unit_test(test_another_shard_that_is_down_is_not_waited_for),
        cmocka_unit_test(test_no_primary_at_all_is_no_majority),
        cmocka_unit_test(test_a_failing_cluster_does_not_unready_a_ready_pod),
        cmocka_unit_test(test_a_server_that_does_not_answer_is_not_ready),
        cmocka_unit_test(test_a_stall_of_the_agent_keeps_the_verdict),
        cmocka_unit_test(test_a_server_that_denies_the_agent_keeps_its_verdict),
        cmocka_unit_test(test_a_restarted_server_passes_the_strict_test_again),
        cmocka_unit_test(test_in_a_roll_the_shard_has_its_copies_first),
        cmocka_unit_test(test_a_replica_may_be_cut_off_for_half_a_minute),
        cmocka_unit_test(test_readiness_survives_the_agents_restart),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
