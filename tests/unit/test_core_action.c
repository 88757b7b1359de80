/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/action.h"
#include "lib/world_build.h"

static void assert_command(const struct action *action, const char *expected)
{
    char text[256];
    action_format(action, text, sizeof text);
    assert_string_equal(text, expected);
    struct action_args args;
    char joined[256] = "";
    action_command(action, &args);
    for (size_t i = 0; i < args.count; i++) {
        text_append(joined, sizeof joined, "%s%s", i ? " " : "", args.words[i]);
        assert_true(strlen(args.words[i]) > 0);
    }
    assert_string_equal(joined, expected);
}

static void test_commands_read_as_they_are_sent(void **state)
{
    (void)state;
    char expected[128];
    struct action a = {.kind = ACTION_MEET, .ip = "fd00::17", .port = 6379};
    assert_command(&a, "CLUSTER MEET fd00::17 6379");
    a.bus_port = 16379; /* what the server takes for granted */
    assert_command(&a, "CLUSTER MEET fd00::17 6379");
    a.bus_port = 17000;
    assert_command(&a, "CLUSTER MEET fd00::17 6379 17000");
    a = (struct action){.kind = ACTION_SET_CONFIG_EPOCH, .epoch = 7};
    assert_command(&a, "CLUSTER SET-CONFIG-EPOCH 7");
    a = (struct action){.kind = ACTION_ADD_SLOTS, .slots = {5461, 10922}};
    assert_command(&a, "CLUSTER ADDSLOTSRANGE 5461 10922");
    a = (struct action){.kind = ACTION_REPLICATE, .subject = world_build_id(3)};
    text_format(expected, sizeof expected, "CLUSTER REPLICATE %s", a.subject.hex);
    assert_command(&a, expected);
    a = (struct action){.kind = ACTION_FORGET, .subject = world_build_id(3)};
    text_format(expected, sizeof expected, "CLUSTER FORGET %s", a.subject.hex);
    assert_command(&a, expected);
}

static void test_settings_read_as_config_set_wants_them(void **state)
{
    (void)state;
    struct action a = {.kind = ACTION_CONFIG_SET, .setting = SETTING_NODE_TIMEOUT, .value = 15000};
    assert_command(&a, "CONFIG SET cluster-node-timeout 15000");
    a.setting = SETTING_DISKLESS_DELAY;
    a.value = 0;
    assert_command(&a, "CONFIG SET repl-diskless-sync-delay 0");
    a.setting = SETTING_REPLICA_MIGRATION;
    assert_command(&a, "CONFIG SET cluster-allow-replica-migration no");
    a.value = 1;
    assert_command(&a, "CONFIG SET cluster-allow-replica-migration yes");
    a.setting = SETTING_NO_FAILOVER;
    assert_command(&a, "CONFIG SET cluster-replica-no-failover yes");
    a.setting = SETTING_ANNOUNCE_IP;
    text_format(a.ip, sizeof a.ip, "10.0.0.9");
    assert_command(&a, "CONFIG SET cluster-announce-ip 10.0.0.9");
    assert_string_equal(setting_name(SETTING_NONE), "none");
}

static void test_a_record_is_named_by_its_state(void **state)
{
    (void)state;
    char text[64];
    struct record record = {.state = RECORD_FORMING};
    struct action a = {.kind = ACTION_RECORD_PUT, .pod = SIZE_MAX, .record = &record};
    action_format(&a, text, sizeof text);
    assert_string_equal(text, "record: forming");
    record.state = RECORD_FORMED;
    action_format(&a, text, sizeof text);
    assert_string_equal(text, "record: formed");
    record.state = RECORD_STATE_NONE;
    action_format(&a, text, sizeof text);
    assert_string_equal(text, "record");
    a.record = NULL;
    action_format(&a, text, sizeof text);
    assert_string_equal(text, action_kind_name(ACTION_RECORD_PUT));
    a.kind = ACTION_NONE;
    action_format(&a, text, sizeof text);
    assert_string_equal(text, "nothing");
}

static void test_a_text_that_does_not_fit_is_cut(void **state)
{
    (void)state;
    char text[12];
    struct action a = {.kind = ACTION_MEET, .ip = "10.0.0.17", .port = 6379};
    action_format(&a, text, sizeof text);
    assert_string_equal(text, "CLUSTER MEE");
}

static void test_the_longest_words_fit(void **state)
{
    (void)state;
    struct action_args args;
    struct action a = {.kind = ACTION_CONFIG_SET, .setting = SETTING_ANNOUNCE_IP};
    memset(a.ip, 'f', IP_SIZE - 1);
    action_command(&a, &args);
    assert_int_equal(args.count, 4);
    assert_string_equal(args.words[3], a.ip);
    a = (struct action){.kind = ACTION_SET_CONFIG_EPOCH, .epoch = UINT64_MAX};
    action_command(&a, &args);
    assert_string_equal(args.words[2], "18446744073709551615");
}

static void test_the_same_attempt_has_the_same_key(void **state)
{
    (void)state;
    struct action a = {.kind = ACTION_REPLICATE,
                       .pod = 1,
                       .node = world_build_id(1),
                       .subject = world_build_id(2),
                       .require = REQUIRE_EMPTY};
    struct action b = a;
    b.pod = 7; /* pods are numbered anew each turn */
    assert_true(action_key(&a) == action_key(&b));
}

static void test_another_attempt_has_another_key(void **state)
{
    (void)state;
    struct action a = {.kind = ACTION_CONFIG_SET,
                       .node = world_build_id(1),
                       .setting = SETTING_NODE_TIMEOUT,
                       .value = 500};
    uint64_t key = action_key(&a);
    struct action b = a;
    b.kind = ACTION_MEET;
    assert_true(action_key(&b) != key);
    b = a;
    b.node = world_build_id(2);
    assert_true(action_key(&b) != key);
    b = a;
    b.subject = world_build_id(2);
    assert_true(action_key(&b) != key);
    b = a;
    text_format(b.ip, sizeof b.ip, "10.0.0.1");
    assert_true(action_key(&b) != key);
    b = a;
    b.setting = SETTING_DISKLESS_DELAY;
    assert_true(action_key(&b) != key);
    b = a;
    b.value = 501;
    assert_true(action_key(&b) != key);
}

static void test_all_writes_of_the_record_are_one_attempt(void **state)
{
    (void)state;
    struct record one = {.generation = 1};
    struct record two = {.generation = 2};
    struct action a = {.kind = ACTION_RECORD_PUT, .record = &one};
    struct action b = {.kind = ACTION_RECORD_PUT, .record = &two, .value = 3};
    assert_true(action_key(&a) == action_key(&b));
}

static void test_every_kind_has_a_name_and_a_quiet_time(void **state)
{
    (void)state;
    for (enum action_kind kind = ACTION_NONE; kind <= ACTION_RECORD_PUT; kind++) {
        struct action a = {.kind = kind};
        assert_string_not_equal(action_kind_name(kind), "unknown");
        assert_true(action_quiet_ms(&a) >= 0 && action_quiet_ms(&a) <= 10000);
    }
    struct action put = {.kind = ACTION_RECORD_PUT};
    assert_int_equal(action_quiet_ms(&put), 0); /* compare-and-swap repeats safely */
}

/* A primary that knows only itself and holds nothing: what every condition may ask for. */
static const struct probe empty = {.primary = true, .known_nodes = 1};

static bool still_valid(uint32_t require, const struct probe *probe, const char **why)
{
    struct action a = {.kind = ACTION_ADD_SLOTS, .node = world_build_id(1), .require = require};
    struct probe p = *probe;
    if (!p.id.hex[0])
        p.id = world_build_id(1);
    *why = NULL;
    return action_still_valid(&a, &p, why);
}

static void test_what_still_holds_is_sent(void **state)
{
    (void)state;
    const char *why;
    assert_true(still_valid(0, &empty, &why));
    assert_null(why);
    assert_true(still_valid(REQUIRE_ALONE | REQUIRE_UNASSIGNED | REQUIRE_EMPTY | REQUIRE_PRIMARY,
                            &empty, &why));
    struct probe replica = {.known_nodes = 6, .slots_assigned = 16384, .keys = 5};
    assert_true(still_valid(REQUIRE_REPLICA, &replica, &why));
}

static void test_what_changed_meanwhile_is_not_sent(void **state)
{
    (void)state;
    static const struct {
        uint32_t require;
        struct probe probe;
        const char *why;
    } cases[] = {
        {REQUIRE_ALONE,
         {.primary = true, .known_nodes = 2},
         "the server has met other nodes meanwhile"},
        {REQUIRE_ALONE,
         {.primary = true, .known_nodes = 0},
         "the server has met other nodes meanwhile"},
        {REQUIRE_UNASSIGNED,
         {.primary = true, .known_nodes = 1, .slots_assigned = 1},
         "the server knows slots as assigned meanwhile"},
        {REQUIRE_EMPTY,
         {.primary = true, .known_nodes = 1, .keys = 1},
         "the server holds keys meanwhile"},
        {REQUIRE_PRIMARY, {.known_nodes = 1}, "the server is no longer a primary"},
        {REQUIRE_REPLICA, {.primary = true, .known_nodes = 1}, "the server is no longer a replica"},
    };
    const char *why;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_false(still_valid(cases[i].require, &cases[i].probe, &why));
        assert_string_equal(why, cases[i].why);
        assert_true(still_valid(0, &cases[i].probe, &why));
    }
}

/* Who takes over from a primary that is lost does not follow one that was elected meanwhile. */
static void test_a_takeover_is_not_of_who_was_elected(void **state)
{
    (void)state;
    struct action a = {.kind = ACTION_TAKEOVER,
                       .require = REQUIRE_REPLICA | REQUIRE_SAME,
                       .ip = "10.0.0.8",
                       .port = 6379};
    struct probe probe = {.primary_ip = "10.0.0.8", .primary_port = 6379};
    const char *why = NULL;
    assert_true(action_still_valid(&a, &probe, &why));
    probe.link_up = true; /* it may not have noticed yet */
    assert_true(action_still_valid(&a, &probe, &why));
    (void)TEXT_COPY(probe.primary_ip, span_of("10.0.0.9"));
    assert_false(action_still_valid(&a, &probe, &why));
    assert_string_equal(why, "the server follows another primary meanwhile");
}

/* CLUSTER FAILOVER goes to whoever is still what was judged, and nobody else of the shard meanwhile. */
static void test_a_hand_over_is_ordered_once_of_who_was_judged(void **state)
{
    (void)state;
    struct action a = {.kind = ACTION_FAILOVER,
                       .node = world_build_id(1),
                       .subject = world_build_id(7),
                       .require = REQUIRE_FOLLOWS,
                       .ip = "10.0.0.8",
                       .port = 6379,
                       .value = 3};
    const struct probe judged = {.id = world_build_id(1),
                                 .link_up = true,
                                 .primary_ip = "10.0.0.8",
                                 .primary_port = 6379,
                                 .vote_requests = 3};
    const char *why = NULL;
    assert_true(action_still_valid(&a, &judged, &why));
    struct probe other = judged;
    other.primary = true;
    assert_false(action_still_valid(&a, &other, &why));
    assert_string_equal(why, "the server is no longer a replica");
    other = judged;
    other.primary_port = 6380;
    assert_false(action_still_valid(&a, &other, &why));
    assert_string_equal(why, "the server follows another primary meanwhile");
    other = judged;
    other.link_up = false;
    assert_false(action_still_valid(&a, &other, &why));
    assert_string_equal(why, "the server has lost its primary meanwhile");
    other = judged;
    other.vote_requests = 8;
    assert_false(action_still_valid(&a, &other, &why));
    assert_string_equal(why, "the server has asked for votes meanwhile");

    struct action second = a;
    second.node = world_build_id(2);
    second.value = 0;
    assert_true(action_key(&a) == action_key(&second));
    second.subject = world_build_id(8);
    assert_true(action_key(&a) != action_key(&second));
    assert_int_equal(action_quiet_ms(&a), 6000);
    assert_int_equal(action_failed_quiet_ms(&a), 6000); /* its OK may be what was lost */
    a.kind = ACTION_MEET;
    assert_int_equal(action_failed_quiet_ms(&a), 0);
}

/* CLUSTER FAILOVER FORCE asks nobody for the data: the order does. */
static void test_a_dead_primarys_heir_still_has_what_it_proved(void **state)
{
    (void)state;
    const struct action a = {.kind = ACTION_FORCE,
                             .node = world_build_id(1),
                             .subject = world_build_id(7),
                             .require = REQUIRE_HEIR,
                             .ip = "10.0.0.8",
                             .port = 6379,
                             .offset = 100,
                             .replid = "history"};
    const struct probe judged = {.id = world_build_id(1),
                                 .primary_ip = "10.0.0.8",
                                 .primary_port = 6379,
                                 .offset = 100,
                                 .replid = "history"};
    const char *why = NULL;
    assert_true(action_still_valid(&a, &judged, &why));
    struct probe other = judged;
    other.primary = true;
    assert_false(action_still_valid(&a, &other, &why));
    assert_string_equal(why, "the server is no longer a replica");
    other = judged;
    text_format(other.primary_ip, sizeof other.primary_ip, "10.0.0.9");
    assert_false(action_still_valid(&a, &other, &why));
    assert_string_equal(why, "the server follows another primary meanwhile");
    other = judged;
    other.link_up = true;
    assert_false(action_still_valid(&a, &other, &why));
    assert_string_equal(why, "the server is in sync with its primary again");
    other = judged;
    other.offset = 99;
    assert_false(action_still_valid(&a, &other, &why));
    assert_string_equal(why, "the server does not have its primary's data");
    other = judged;
    text_format(other.replid, sizeof other.replid, "another");
    assert_false(action_still_valid(&a, &other, &why));
    assert_string_equal(why, "the server does not have its primary's data");
}

static void test_another_server_at_the_address_gets_nothing(void **state)
{
    (void)state;
    struct probe other = empty;
    const char *why;
    other.id = world_build_id(2);
    assert_false(still_valid(0, &other, &why));
    assert_string_equal(why, "another server answers at this address now");
    struct action any = {.kind = ACTION_MEET};
    assert_true(action_still_valid(&any, &other, &why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_read_as_they_are_sent),
        cmocka_unit_test(test_settings_read_as_config_set_wants_them),
        cmocka_unit_test(test_a_record_is_named_by_its_state),
        cmocka_unit_test(test_a_text_that_does_not_fit_is_cut),
        cmocka_unit_test(test_the_longest_words_fit),
        cmocka_unit_test(test_the_same_attempt_has_the_same_key),
        cmocka_unit_test(test_another_attempt_has_another_key),
        cmocka_unit_test(test_all_writes_of_the_record_are_one_attempt),
        cmocka_unit_test(test_every_kind_has_a_name_and_a_quiet_time),
        cmocka_unit_test(test_what_still_holds_is_sent),
        cmocka_unit_test(test_what_changed_meanwhile_is_not_sent),
        cmocka_unit_test(test_a_takeover_is_not_of_who_was_elected),
        cmocka_unit_test(test_a_hand_over_is_ordered_once_of_who_was_judged),
        cmocka_unit_test(test_a_dead_primarys_heir_still_has_what_it_proved),
        cmocka_unit_test(test_another_server_at_the_address_gets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
