/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a replica may leave, and for whom: each condition alone is enough to forbid it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/attempts.h"
#include "core/failover.h"
#include "core/reparent.h"

#define NOW_MS 100000

enum { LEFT, SPARE, COPY, TO, PODS };

static struct pod pods[PODS];
static struct world world;
static struct attempts attempts;
static struct action action;

static void follow(struct pod *replica, const struct pod *primary)
{
    struct server *s = &replica->server;
    s->primary = false;
    s->link_up = true;
    text_format(s->primary_ip, sizeof s->primary_ip, "%s", primary->ip);
    s->primary_port = primary->port;
}

static void list(struct pod *primary, const struct pod *replica)
{
    struct replica_addr *addr = &primary->server.online[primary->server.online_count++];
    text_format(addr->ip, sizeof addr->ip, "%s", replica->ip);
    addr->port = replica->port;
}

static int setup(void **state)
{
    (void)state;
    attempts = (struct attempts){0};
    world = (struct world){
        .now_ms = NOW_MS, .me = TO, .pods = pods, .pod_count = PODS, .attempts = &attempts};
    for (size_t i = 0; i < PODS; i++) {
        pods[i] = (struct pod){.port = 6379,
                               .server = {.reach = REACH_OK,
                                          .seen_ms = NOW_MS - 100,
                                          .kind = SERVER_REDIS,
                                          .version = 70015,
                                          .offset = 1000,
                                          .primary = true}};
        text_format(pods[i].name, sizeof pods[i].name, "muster-%zu", i);
        text_format(pods[i].ip, sizeof pods[i].ip, "10.0.0.%zu", i + 1);
        text_format(pods[i].server.id.hex, sizeof pods[i].server.id.hex, "%040zu", i + 1);
    }
    follow(&pods[SPARE], &pods[LEFT]);
    follow(&pods[COPY], &pods[LEFT]);
    list(&pods[LEFT], &pods[SPARE]);
    list(&pods[LEFT], &pods[COPY]);
    action = (struct action){.kind = ACTION_REPLICATE,
                             .node = pods[COPY].server.id,
                             .subject = pods[TO].server.id,
                             .port = 6379,
                             .placing = true};
    text_format(action.ip, sizeof action.ip, "%s", pods[LEFT].ip);
    return 0;
}

static void assert_refused(const char *expected)
{
    char why[REPARENT_WHY_SIZE] = "";
    assert_false(reparent_may(&world, COPY, LEFT, TO, why));
    assert_string_equal(why, expected);
    assert_false(reparent_may_send(&world, &action));
}

static void test_a_replica_beside_another_one_may_go(void **state)
{
    (void)state;
    char why[REPARENT_WHY_SIZE];
    assert_true(reparent_may(&world, COPY, LEFT, TO, why));
    assert_true(reparent_may_send(&world, &action));
}

#define NO_SPARE "muster-0 has no other replica in sync"

static void test_another_one_stays_that_has_all(void **state)
{
    struct server *spare = &pods[SPARE].server;
    spare->link_up = false;
    assert_refused(NO_SPARE);
    setup(state);
    spare->seen_ms = NOW_MS - FAILOVER_ASKED_MS - 1;
    assert_refused(NO_SPARE);
    setup(state);
    text_format(spare->primary_ip, sizeof spare->primary_ip, "%s", pods[TO].ip);
    assert_refused(NO_SPARE);
    setup(state);
    pods[LEFT].server.online[0] = pods[LEFT].server.online[1]; /* by the primary's own word */
    assert_refused(NO_SPARE);
    setup(state);
    pods[LEFT].server.offset = spare->offset + FAILOVER_LAG_MAX + 1;
    assert_refused(NO_SPARE);
    setup(state);
    spare->no_failover = 1;
    assert_refused(NO_SPARE);
    setup(state);
    pods[SPARE].told.leaving = LEAVING_ASKED;
    assert_refused(NO_SPARE);
}

static void test_who_goes_and_who_is_left_are_what_they_were(void **state)
{
    pods[COPY].server.link_up = false;
    assert_refused("muster-2 is not in sync with the primary that it is to leave");
    setup(state);
    pods[COPY].server.seen_ms = NOW_MS - WORLD_FRESH_MS - 1;
    assert_refused("muster-2 has not answered a moment ago");
    setup(state);
    pods[LEFT].server.primary = false;
    assert_refused("muster-0 is no primary");
    setup(state);
    pods[LEFT].terminating = true;
    assert_refused("muster-0 is stopping");
}

static void test_who_is_copied_is_a_primary_that_it_can_read(void **state)
{
    pods[TO].server.primary = false;
    assert_refused("muster-3 is no primary");
    setup(state);
    pods[TO].server.version = 70200;
    assert_refused("muster-2 runs another release than the primary that it is to copy");
    setup(state);
    pods[TO].server.kind = SERVER_VALKEY;
    assert_refused("muster-2 runs another release than the primary that it is to copy");
    setup(state);
    world.drain.since_ms = NOW_MS - 1;
    assert_refused("muster-3 is stopping");
}

static void test_no_hand_over_is_under_way(void **state)
{
    (void)state;
    struct action ordered = {.kind = ACTION_FAILOVER, .subject = pods[LEFT].server.id};
    attempts_succeeded(&attempts, action_key(&ordered), NOW_MS - 1000, ACTION_FAILOVER_MS);
    assert_refused("muster-0 is being replaced");
}

/* An address that is nobody's, or an id. */
static void test_who_is_not_there_any_more_is_left_alone(void **state)
{
    text_format(action.ip, sizeof action.ip, "10.9.9.9");
    assert_false(reparent_may_send(&world, &action));
    setup(state);
    text_format(pods[TO].server.id.hex, sizeof pods[TO].server.id.hex, "%040d", 99);
    assert_false(reparent_may_send(&world, &action));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_replica_beside_another_one_may_go, setup),
        cmocka_unit_test_setup(test_another_one_stays_that_has_all, setup),
        cmocka_unit_test_setup(test_who_goes_and_who_is_left_are_what_they_were, setup),
        cmocka_unit_test_setup(test_who_is_copied_is_a_primary_that_it_can_read, setup),
        cmocka_unit_test_setup(test_no_hand_over_is_under_way, setup),
        cmocka_unit_test_setup(test_who_is_not_there_any_more_is_left_alone, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
