/* SPDX-License-Identifier: Apache-2.0 */
/* What was seen of elections, on the observer's clock. The six rules are in plan/drain/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "core/action.h"
#include "core/failover.h"
#include "lib/world_build.h"

#define T0 WORLD_BUILD_NOW_MS

static struct failover_history history;

/* Shard 0 is pod 0 and its replica; everybody was seen for ten minutes, and nobody asked for votes. */
static struct world_build *formed(struct arena *arena, size_t *ret_replica)
{
    arena_reset(arena);
    memset(&history, 0, sizeof history);
    struct world_build *b = world_build_formed(arena, 3, 6);
    b->world.me = 0;
    b->world.failovers = &history;
    for (size_t i = 0; i < b->count; i++) {
        b->pods[i].told.heard_ms = b->world.now_ms;
        if (!b->nodes[i].primary && b->nodes[i].primary_node == 0)
            *ret_replica = i;
    }
    return b;
}

/* Nobody answers meanwhile, but there are turns. */
static void pass(struct world_build *b, int64_t until_ms)
{
    for (size_t i = 0; i < b->count; i++)
        b->pods[i].server.seen_ms = 0;
    for (; b->world.now_ms < until_ms && history.looked_ms; b->world.now_ms += 1000)
        failover_look(&history, &b->world);
}

static void look(struct world_build *b, int64_t now_ms)
{
    pass(b, now_ms);
    b->world.now_ms = now_ms;
    for (size_t i = 0; i < b->count; i++) {
        b->pods[i].server.seen_ms = b->pods[i].server.asked_ms = now_ms;
        b->pods[i].told.heard_ms = now_ms;
    }
    b->world.api_seen_ms = now_ms;
    failover_look(&history, world_build_refresh(b));
}

static bool may(struct world_build *b, size_t candidate, size_t primary,
                char why[FAILOVER_WHY_SIZE])
{
    struct facts facts;
    facts_gather(&b->world, b->arena, &facts);
    return failover_may(&b->world, &facts, candidate, primary, why);
}

/* A primary that asked for votes once, and is seen now for the first time: when that was is not known. */
static void test_a_dead_primarys_heir_does_not_wait_for_a_guess(void **state)
{
    size_t c = 0;
    size_t other = 1;
    struct world_build *b = formed(*state, &c);
    const struct pod *before = NULL;
    struct facts facts;
    while (!b->nodes[other].primary)
        other++;
    b->pods[other].server.reach = REACH_UNKNOWN;
    look(b, T0);
    look(b, T0 + 60000);
    b->pods[other].server.reach = REACH_OK;
    b->pods[other].server.vote_requests = 5;
    look(b, T0 + 61000);
    facts_gather(&b->world, b->arena, &facts);
    assert_int_equal(failover_wait_ms(&b->world, &facts, 0, 300, false, &before), 0);
    assert_null(before);
    assert_int_equal(failover_wait_ms(&b->world, &facts, 0, 300, true, &before), 300); /* a drain */
    assert_ptr_equal(before, &b->pods[other]);
    b->pods[other].server.vote_requests = 10; /* this was seen */
    look(b, T0 + 62000);
    facts_gather(&b->world, b->arena, &facts);
    assert_int_equal(failover_wait_ms(&b->world, &facts, 0, 300, false, &before), 300);
}

/* Shard mates are asked for their role, but not always for their view: then nobody knows whom they follow. */
static void test_a_replica_whose_primary_was_not_told_was_none_itself(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    look(b, T0);
    const struct view *view = b->pods[c].server.view;
    memset(&history, 0, sizeof history);
    b->pods[c].server.view = NULL;
    failover_look(&history, &b->world);
    b->pods[c].server.view = view;
    look(b, T0 + 90000);
    for (size_t i = 0; i < history.count; i++)
        if (node_id_eq(&history.items[i].id, &b->pods[c].server.id))
            assert_true(history.items[i].voted_ms < T0 + 90000);
    assert_true(may(b, c, 0, why));
}

/* The replica takes over: it asked each of the five others for its vote. */
static void take_over(struct world_build *b, size_t from, size_t to, uint64_t epoch)
{
    b->nodes[to].primary = true;
    b->nodes[to].slots = b->nodes[from].slots;
    b->nodes[to].epoch = b->nodes[from].epoch = epoch;
    b->nodes[from].slots = (struct slot_set){0};
    b->nodes[from].primary = false;
    b->nodes[from].primary_node = to;
    b->pods[to].server.vote_requests += 5;
    b->pods[to].server.primary_ip[0] = '\0';
}

static void test_who_never_asked_may_after_a_moment_of_watching(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    for (size_t i = 0; i < b->count; i++)
        b->pods[i].server.uptime_ms = 60000;
    look(b, T0);
    assert_false(may(b, c, 0, why)); /* an order of our predecessor may be under way */
    assert_non_null(strstr(why, "muster-0 is watched for too short a time"));
    look(b, T0 + ACTION_FAILOVER_MS - 1);
    assert_false(may(b, c, 0, why));
    look(b, T0 + ACTION_FAILOVER_MS);
    if (!may(b, c, 0, why))
        fail_msg("%s", why);
}

/* Who was frozen, as by SIGSTOP, does not know what the leader ordered meanwhile. */
static void test_who_was_frozen_begins_to_watch_anew(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    look(b, T0);
    look(b, T0 + 40000);
    b->world.now_ms = T0 + 40000 + FAILOVER_BLIND_MS; /* its next turn */
    look(b, b->world.now_ms);
    assert_true(may(b, c, 0, why));
    int64_t thawed_ms = b->world.now_ms += FAILOVER_BLIND_MS + 1;
    look(b, thawed_ms);
    assert_false(may(b, c, 0, why));
    assert_non_null(strstr(why, "muster-0 is watched for too short a time"));
    look(b, thawed_ms + ACTION_FAILOVER_MS);
    assert_true(may(b, c, 0, why));
}

/* A primary that started a moment ago may have been replaced just before that. */
static void test_a_young_primary_may_have_been_replaced(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    b->pods[0].server.uptime_ms = 10000;
    look(b, T0);
    look(b, T0 + 20999);
    assert_false(may(b, c, 0, why));
    assert_non_null(strstr(why, "no second vote about muster-0"));
    look(b, T0 + 21000); /* 31 s after its start */
    assert_true(may(b, c, 0, why));
}

static void test_votes_from_before_we_watched_count_as_asked_now(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    b->pods[c].server.vote_requests = 5;
    look(b, T0);
    look(b, T0 + 60999);
    assert_false(may(b, c, 0, why));
    assert_non_null(strstr(why, "may have votes of an earlier election for up to 10 s"));
    look(b, T0 + 61000);
    assert_true(may(b, c, 0, why));
}

/* FACTS 0.3: A to B, back to A, and B again: its votes of the first time would win without an epoch. */
static void test_there_and_back_and_there_again(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    look(b, T0);
    look(b, T0 + 40000);
    assert_true(may(b, c, 0, why));
    take_over(b, 0, c, 7);
    look(b, T0 + 41000);
    look(b, T0 + 42000);
    assert_true(may(b, 0, c, why)); /* pod 0 never asked, and nobody voted about the other */
    take_over(b, c, 0, 8);
    look(b, T0 + 43000);
    look(b, T0 + 101999);
    assert_false(may(b, c, 0, why));
    assert_non_null(strstr(why, "may have votes of an earlier election"));
    look(b, T0 + 102000); /* 61 s after it was seen to have asked */
    assert_true(may(b, c, 0, why));
}

/* A restart takes the candidate's votes away, but the voters keep to their pause. */
static void test_a_restart_of_the_candidate_does_not_end_the_voters_pause(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    look(b, T0);
    take_over(b, 0, c, 7);
    look(b, T0 + 10000);
    take_over(b, c, 0, 8);
    look(b, T0 + 20000);
    b->pods[c].server.vote_requests = 0;
    b->pods[c].server.run_id[0] = 'f';
    look(b, T0 + 40999);
    assert_false(may(b, c, 0, why));
    assert_non_null(strstr(why, "may give no second vote about muster-0"));
    look(b, T0 + 41000); /* 31 s after pod 0 was seen replaced, at T0 + 10 s */
    assert_true(may(b, c, 0, why));
}

/* A replica that has just started says in INFO that it is a primary, until its first clusterCron(). */
static void test_a_start_is_no_election(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    look(b, T0);
    look(b, T0 + 40000);
    assert_true(may(b, c, 0, why));
    b->pods[c].server.run_id[0] = 'f';
    world_build_refresh(b);
    b->pods[c].server.primary = true;
    b->world.now_ms = b->pods[c].server.seen_ms = T0 + 40100;
    failover_look(&history, &b->world);
    look(b, T0 + 41000); /* it follows pod 0 as before */
    if (!may(b, c, 0, why))
        fail_msg("%s", why);
}

/* A voter that was frozen finds the question in its socket when it thaws: its pause begins then. */
static void test_a_voter_votes_when_it_thaws(void **state)
{
    size_t c = 0;
    size_t voter = 1;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    struct node_id gone = {"0123456789012345678901234567890123456789"};
    while (!b->nodes[voter].primary)
        voter++;
    look(b, T0);
    look(b, T0 + 40000);
    failover_ordered(&history, &gone, &b->pods[0].server.id, T0 + 40000);
    b->pods[voter].server.reach = REACH_TIMEOUT;
    look(b, T0 + 60000);
    b->pods[voter].server.reach = REACH_OK;
    look(b, T0 + 61000);
    look(b, T0 + 75000); /* more than 2 x NT after the order, but not after the vote */
    assert_false(may(b, c, 0, why));
    assert_non_null(strstr(why, "may give no second vote about muster-0"));
    look(b, T0 + 93000);
    if (!may(b, c, 0, why))
        fail_msg("%s", why);
}

/* It asked and did not win: voters that gave their vote keep to their pause all the same. */
static void test_a_failed_attempt_of_another_replica_counts(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    size_t other = c == 5 ? 4 : 5;
    b->nodes[other].primary_node = 0;
    b->nodes[other].epoch = b->nodes[0].epoch;
    look(b, T0);
    look(b, T0 + 40000);
    assert_true(may(b, c, 0, why));
    b->pods[other].server.vote_requests = 5;
    look(b, T0 + 41000);
    look(b, T0 + 42000);
    assert_false(may(b, c, 0, why));
    assert_non_null(strstr(why, "no second vote about muster-0"));
    look(b, T0 + 72000);
    assert_true(may(b, c, 0, why));
}

/* Redis schedules an election that may expire unsent and then blocks an order for 4 x NT. */
static void test_a_primary_seen_failed_counts_as_an_attempt(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    look(b, T0);
    b->nodes[0].flags = NODE_FAIL;
    look(b, T0 + 10000);
    b->nodes[0].flags = 0;
    look(b, T0 + 11000);
    look(b, T0 + 70999);
    assert_false(may(b, c, 0, why));
    look(b, T0 + 71000);
    assert_true(may(b, c, 0, why));
}

static void test_what_we_ordered_counts_whatever_came_of_it(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    look(b, T0);
    look(b, T0 + 10000);
    failover_ordered(&history, &b->pods[c].server.id, &b->pods[0].server.id, T0 + 10000);
    look(b, T0 + 70999);
    assert_false(may(b, c, 0, why));
    look(b, T0 + 71000);
    assert_true(may(b, c, 0, why));
}

static void test_without_a_history_nothing_may(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    char why[FAILOVER_WHY_SIZE];
    look(b, T0);
    look(b, T0 + 60000);
    b->world.failovers = NULL;
    assert_false(may(b, c, 0, why));
}

/* A thousand nodes and one: the oldest word is given up, and what it said counts as unknown. */
static void test_a_full_history_gives_up_the_oldest(void **state)
{
    size_t c = 0;
    struct world_build *b = formed(*state, &c);
    look(b, T0);
    for (size_t i = history.count; i < NODES_MAX; i++)
        history.items[history.count++] = (struct failover_past){
            .id = world_build_id(1000 + i), .watched_ms = 1, .voted_ms = 10 + (int64_t)i};
    b->nodes[c].id = world_build_id(9999);
    look(b, T0 + 1000);
    assert_int_equal(history.count, NODES_MAX);
    size_t found = 0;
    for (size_t i = 0; i < history.count; i++)
        found += node_id_eq(&history.items[i].id, &b->nodes[c].id);
    assert_int_equal(found, 1);
}

static int arena_setup(void **state)
{
    static struct arena arena;
    arena_init(&arena, MIB(64));
    *state = &arena;
    return 0;
}

static int arena_teardown(void **state)
{
    arena_deinit(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_never_asked_may_after_a_moment_of_watching),
        cmocka_unit_test(test_who_was_frozen_begins_to_watch_anew),
        cmocka_unit_test(test_a_dead_primarys_heir_does_not_wait_for_a_guess),
        cmocka_unit_test(test_a_replica_whose_primary_was_not_told_was_none_itself),
        cmocka_unit_test(test_a_young_primary_may_have_been_replaced),
        cmocka_unit_test(test_votes_from_before_we_watched_count_as_asked_now),
        cmocka_unit_test(test_there_and_back_and_there_again),
        cmocka_unit_test(test_a_start_is_no_election),
        cmocka_unit_test(test_a_restart_of_the_candidate_does_not_end_the_voters_pause),
        cmocka_unit_test(test_a_voter_votes_when_it_thaws),
        cmocka_unit_test(test_a_failed_attempt_of_another_replica_counts),
        cmocka_unit_test(test_a_primary_seen_failed_counts_as_an_attempt),
        cmocka_unit_test(test_what_we_ordered_counts_whatever_came_of_it),
        cmocka_unit_test(test_without_a_history_nothing_may),
        cmocka_unit_test(test_a_full_history_gives_up_the_oldest),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
