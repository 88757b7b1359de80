/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "lib/golden.h"
#include "lib/world_build.h"
#include "wire/status_json.h"

struct fixture {
    struct arena arena;
    struct buf buf;
    struct facts facts;
    struct plan plan;
    struct status status;
    struct status read;
    struct err err;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.plan = {.rule = "steady", .reason = "nothing to do"}};
    arena_init(&fixture.arena, TURN_ARENA_MAX);
    buf_init(&fixture.buf, STATUS_JSON_MAX);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_deinit(&f->arena);
    buf_deinit(&f->buf);
    return 0;
}

static const char *format(struct fixture *f, struct world_build *b)
{
    const struct world *world = world_build_refresh(b);
    facts_gather(world, &f->arena, &f->facts);
    status_gather(world, &f->facts, &f->plan, &f->arena, &f->status);
    buf_clear(&f->buf);
    assert_int_equal(status_json_format(&f->buf, &f->status), 0);
    return buf_str(&f->buf);
}

static int parse(struct fixture *f, const char *text)
{
    f->err = (struct err){0};
    return status_json_parse(span_of(text), &f->arena, &f->read, &f->err);
}

static void test_a_formed_cluster_is_written_as_golden(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_lose(b, 5);
    b->nodes[0].open[0] = (struct open_slot){93, false, b->nodes[1].id};
    b->nodes[0].open_count = 1;
    golden_assert_text("status_degraded.json", format(f, b));
}

static void test_what_a_follower_does_not_know_is_null(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_observe_as(b, 1);
    const char *json = format(f, b);
    assert_non_null(strstr(json, "\"survivesNodeLoss\":null,\"survivesZoneLoss\":null"));
    assert_non_null(strstr(json,
                           "\"lagBytes\":null,\"memoryBytes\":null,\"maxMemoryBytes\":null,"
                           "\"server\":\"\","
                           "\"agent\":\"unknown\",\"gate\":\"\",\"gateWhy\":\"\",\"ageMs\":null"));
    assert_non_null(strstr(json, "\"keys\":null"));
    assert_non_null(strstr(json, "\"agent\":{\"pod\":\"muster-1\",\"leader\":false}"));
}

/* Written, read, and written again it is the same text. */
static void test_reading_gives_back_what_was_written(void **state)
{
    struct fixture *f = *state;
    static const size_t shards[] = {1, 3, 4};
    for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
        struct action action = {.kind = ACTION_MEET, .ip = "10.0.0.3", .port = 6379};
        f->plan = (struct plan){
            .rule = "meet", .reason = "\"quoted\"\n", .actions = &action, .action_count = 1};
        struct world_build *b = world_build_formed(&f->arena, shards[i], 8);
        world_build_lose(b, 7);
        if (i == 1)
            world_build_observe_as(b, 2);
        const char *first = arena_format(&f->arena, "%s", format(f, b));
        assert_int_equal(parse(f, first), 0);
        buf_clear(&f->buf);
        assert_int_equal(status_json_format(&f->buf, &f->read), 0);
        assert_string_equal(buf_str(&f->buf), first);
        assert_int_equal(f->read.check, f->status.check);
        assert_int_equal(f->read.state, f->status.state);
        assert_string_equal(f->read.plan_reason, "\"quoted\"\n");
    }
}

static void test_plan_and_check_are_written_alone(void **state)
{
    struct fixture *f = *state;
    (void)format(f, world_build_virgin(&f->arena, 1));
    buf_clear(&f->buf);
    assert_int_equal(status_json_format_plan(&f->buf, &f->status), 0);
    assert_string_equal(buf_str(&f->buf),
                        "{\"rule\":\"steady\",\"reason\":\"nothing to do\",\"actions\":[]}");
    buf_clear(&f->buf);
    assert_int_equal(status_json_format_check(&f->buf, &f->status), 0);
    assert_ptr_equal(strstr(buf_str(&f->buf), "{\"result\":2,\"promises\":[{\"name\":\"slots\","
                                              "\"held\":\"no\",\"why\":\"0 of 16384"),
                     buf_str(&f->buf));
}

static void test_past_the_ceiling_is_an_error(void **state)
{
    struct fixture *f = *state;
    (void)format(f, world_build_formed(&f->arena, 3, 6));
    auto_buf struct buf small;
    buf_init(&small, 100);
    assert_int_equal(status_json_format(&small, &f->status), E_LIMIT);
    buf_clear(&small);
    assert_int_equal(status_json_format_check(&small, &f->status), E_LIMIT);
}

/* A thousand pods with the longest names fit. */
static void test_the_largest_cluster_fits(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_virgin(&f->arena, NODES_MAX);
    b->views = 3;
    for (size_t i = 0; i < NODES_MAX; i++) {
        b->nodes[i].component = 0;
        memset(b->pods[i].node, 'n', sizeof b->pods[i].node - 1);
        memset(b->pods[i].zone, 'z', sizeof b->pods[i].zone - 1);
        memset(b->pods[i].name, 'p', sizeof b->pods[i].name - 1);
    }
    for (unsigned slot = 0; slot < SLOT_COUNT; slot += 2)
        slot_set_add(&b->nodes[slot / 2 % NODES_MAX].slots,
                     (struct slot_range){(uint16_t)slot, (uint16_t)slot});
    assert_true(strlen(format(f, b)) > 600000);
    assert_int_equal(f->status.shard_count, NODES_MAX);
}

static void test_absent_keys_read_as_unknown(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, "{\"cluster\":{}}"), 0);
    assert_string_equal(f->read.name, "");
    assert_int_equal(f->read.state, STATUS_UNKNOWN);
    assert_int_equal(f->read.survives_node, HELD_UNKNOWN);
    assert_int_equal(f->read.check, CHECK_UNKNOWN);
    assert_int_equal(f->read.pod_count, 0);
    assert_int_equal(f->read.promises[PROMISE_SLOTS].held, HELD_UNKNOWN);
    assert_string_equal(f->read.promises[PROMISE_SLOTS].why, "this agent does not say");
    assert_int_equal(parse(f, "{\"cluster\":{},\"pods\":[{}],\"shards\":[{}]}"), 0);
    assert_int_equal(f->read.pods[0].lag_bytes, STATUS_NUMBER_UNKNOWN);
    assert_int_equal(f->read.pods[0].role, STATUS_ROLE_NONE);
    assert_string_equal(f->read.pods[0].name, "");
    assert_string_equal(f->read.shards[0].slots, "");
}

/* An agent of a later release may have more keys, states and promises. */
static void test_what_is_not_known_is_ignored(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, "{\"new\":[1],\"cluster\":{\"state\":\"dancing\",\"x\":{}},"
                              "\"check\":{\"result\":1,\"promises\":[{\"name\":\"new\"},"
                              "{\"name\":\"api\",\"held\":\"no\",\"why\":\"gone\"}]}}"),
                     0);
    assert_int_equal(f->read.state, STATUS_UNKNOWN);
    assert_int_equal(f->read.check, CHECK_PROMISE);
    assert_int_equal(f->read.promises[PROMISE_API].held, HELD_NO);
    assert_string_equal(f->read.promises[PROMISE_API].why, "gone");
}

static void test_what_is_malformed_is_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "status: JSON"},
        {"[]", "status: JSON: not an object"},
        {"{}", "status: cluster: missing"},
        {"{\"cluster\":[]}", "status: cluster: not an object"},
        {"{\"cluster\":{\"name\":1}}", "status: cluster.name: not a string"},
        {"{\"cluster\":{\"formed\":\"yes\"}}", "status: cluster.formed: not true or false"},
        {"{\"cluster\":{\"epoch\":-1}}", "status: cluster.epoch: not a number in its range"},
        {"{\"cluster\":{},\"plan\":{\"actions\":[1]}}",
         "status: plan.actions: not an array of strings"},
        {"{\"cluster\":{},\"pods\":{}}", "status: pods: not an array"},
        {"{\"cluster\":{},\"pods\":[1],\"shards\":[{\"slots\":[]}]}",
         "status: slots: not a string"},
        {"{\"cluster\":{},\"check\":{\"result\":4}}",
         "status: check.result: not a number in its range"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        f->read.name = "untouched";
        assert_true(parse(f, cases[i].text) < 0);
        assert_ptr_equal(strstr(f->err.msg, cases[i].message), f->err.msg);
        assert_string_equal(f->read.name, "untouched");
    }
}

static void test_lists_that_nobody_can_have_written_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {"pods", "shards"};
    for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
        buf_clear(&f->buf);
        (void)buf_format(&f->buf, "{\"cluster\":{},\"%s\":[{}", keys[k]);
        for (int i = 0; i < NODES_MAX; i++)
            (void)buf_append_str(&f->buf, ",{}");
        (void)buf_append_str(&f->buf, "]}");
        assert_int_equal(parse(f, buf_str(&f->buf)), E_LIMIT);
        assert_non_null(strstr(f->err.msg, "too many"));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_formed_cluster_is_written_as_golden),
        TEST(test_what_a_follower_does_not_know_is_null),
        TEST(test_reading_gives_back_what_was_written),
        TEST(test_plan_and_check_are_written_alone),
        TEST(test_past_the_ceiling_is_an_error),
        TEST(test_the_largest_cluster_fits),
        TEST(test_absent_keys_read_as_unknown),
        TEST(test_what_is_not_known_is_ignored),
        TEST(test_what_is_malformed_is_refused),
        TEST(test_lists_that_nobody_can_have_written_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
