/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "io/record_copy.h"
#include "wire/record_json.h"
#include "wire_sample.h"

#define A "c48cc923b98c01f650cfc78a7eb04585597ba295"
#define B "65af16c646bf869c37c026dec1e037260e25a52e"
#define C "057378b8ec0c5839298f16b8d96d6ac07140350e"

static const char sample[] =
    "{\"version\":1,\"uid\":\"7b1f\",\"generation\":2,\"setUid\":\"d3-A\",\"state\":\"forming\","
    "\"shards\":2,\n\"members\":[\n"
    "{\"pod\":\"muster-0\",\"id\":\"" A "\",\"shard\":0,\"primary\":true,\"epoch\":1,"
    "\"nodeTimeoutMs\":15000,\"disklessDelayS\":5},\n"
    "{\"pod\":\"muster-1\",\"id\":\"" B "\",\"shard\":1}],\n"
    "\"forget\":[\n\"" C "\"]}\n";

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, MIB(16));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static struct record parse(const char *text)
{
    struct err err = {0};
    struct record record;
    if (record_parse(span_of(text), &arena, &record, &err) < 0)
        fail_msg("%s", err.msg);
    return record;
}

static void assert_refused(struct span text, int code, const char *part)
{
    struct err err = {0};
    struct record record;
    struct record before;
    memset(&record, 0xa5, sizeof record);
    memset(&before, 0xa5, sizeof before);
    if (record_parse(text, &arena, &record, &err) != code || !strstr(err.msg, part))
        fail_msg("%.*s gives %d '%s', not %d '%s'", (int)text.len, text.ptr, err.code, err.msg,
                 code, part);
    assert_memory_equal(&record, &before, sizeof record);
}

static void test_every_field_is_read(void **state)
{
    (void)state;
    struct record record = parse(sample);
    assert_int_equal(record.version, 1);
    assert_string_equal(record.uid, "7b1f");
    assert_int_equal(record.generation, 2);
    assert_string_equal(record.set_uid, "d3-A");
    assert_int_equal(record.state, RECORD_FORMING);
    assert_int_equal(record.shards, 2);
    assert_int_equal(record.member_count, 2);
    const struct record_member *first = &record.members[0];
    assert_string_equal(first->pod, "muster-0");
    assert_string_equal(first->id.hex, A);
    assert_int_equal(first->shard, 0);
    assert_true(first->primary);
    assert_int_equal(first->epoch, 1);
    assert_int_equal(first->node_timeout_ms, 15000);
    assert_int_equal(first->diskless_delay_s, 5);
    assert_false(record.members[1].primary);
    assert_int_equal(record.members[1].epoch, 0);
    assert_int_equal(record.members[1].node_timeout_ms, 0);
    assert_int_equal(record.members[1].diskless_delay_s, -1);
    assert_int_equal(record.forget_count, 1);
    assert_string_equal(record.forget[0].hex, C);
}

static void test_the_text_is_what_it_was(void **state)
{
    (void)state;
    struct record record = parse(sample);
    auto_buf struct buf text;
    buf_init(&text, RECORD_TEXT_MAX);
    assert_int_equal(record_format(&record, &text), 0);
    assert_string_equal(buf_str(&text), sample);
}

#define MOVES                                                                                     \
    "],\n\"movesGeneration\":7,\n\"evening\":true,\n\"moves\":[\n{\"from\":\"" A "\",\"to\":\"" B \
    "\",\"generation\":7,\"cancel\":true,\"anchor\":0,\"slots\":\"0-99,200\"},\n{\"from\":\"" B   \
    "\",\"to\":\"" A "\",\"generation\":3,\"slots\":\"16383\"}]}\n"

static void assert_written(const struct record *record, const char *text)
{
    auto_buf struct buf again;
    buf_init(&again, RECORD_TEXT_MAX);
    assert_int_equal(record_format(record, &again), 0);
    assert_string_equal(buf_str(&again), text);
}

static void test_pods_that_left_are_read_and_written(void **state)
{
    (void)state;
    auto_free char *text = wire_replace(sample, "]}\n",
                                        "],\n\"left\":[\n{\"pod\":\"muster-6\",\"id\":\"" A
                                        "\"},\n{\"pod\":\"muster-7\",\"id\":\"" B "\"}]}\n");
    struct record record = parse(text);
    assert_int_equal(record.left_count, 2);
    assert_string_equal(record.left[1].pod, "muster-7");
    assert_string_equal(record.left[1].id.hex, B);
    assert_written(&record, text);
    struct record copy;
    record_copy(&record, &arena, &copy);
    assert_true(record_eq(&record, &copy));
    assert_ptr_not_equal(copy.left, record.left);
    auto_free char *nobody = wire_replace(text, "\"pod\":\"muster-7\",", "");
    assert_refused(span_of(nobody), E_PROTO, "pod: missing");
}

static void test_moves_are_read_and_written(void **state)
{
    (void)state;
    auto_free char *text = wire_replace(sample, "]}\n", MOVES);
    struct record record = parse(text);
    assert_int_equal(record.move_generation, 7);
    assert_int_equal(record.move_count, 2);
    assert_true(record.evening);
    const struct record_move *first = &record.moves[0];
    assert_string_equal(first->from.hex, A);
    assert_string_equal(first->to.hex, B);
    assert_int_equal(first->generation, 7);
    assert_true(first->cancel);
    assert_true(first->anchored);
    assert_int_equal(first->anchor, 0);
    assert_int_equal(first->range_count, 2);
    assert_int_equal(first->ranges[0].last, 99);
    assert_int_equal(first->ranges[1].first, 200);
    assert_int_equal(first->ranges[1].last, 200);
    assert_false(record.moves[1].cancel);
    assert_false(record.moves[1].anchored);
    assert_written(&record, text);
    struct record copy;
    record_copy(&record, &arena, &copy);
    assert_true(record_eq(&record, &copy));
    assert_ptr_not_equal(copy.moves[0].ranges, record.moves[0].ranges);
    /* Adjacent ranges are one. */
    auto_free char *split = wire_replace(text, "0-99,200", "0-50,51-99,200");
    record = parse(split);
    assert_true(record_eq(&record, &copy));
}

/* They stop the moves only, and are found as they were by a release that understands them. */
static void test_moves_that_cannot_be_stop_the_moves_only(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        const char *to;
    } cases[] = {
        {"0-99,200", "0-99,99"},
        {"0-99,200", "99-0"},
        {"0-99,200", ""},
        {"0-99,200", "0-99,"},
        {"0-99,200", "1-16384"},
        {"0-99,200", "16380-16383"},
        {"\"slots\":\"16383\"", "\"x\":1"},
        {"\"16383\"", "16383"},
        {"\"to\":\"" B, "\"to\":\"" A},
        {"\"to\":\"" B "\",", ""},
        {"\"generation\":3,", ""},
        {"\"generation\":3", "\"generation\":8"},
        {"\"generation\":3", "\"generation\":0"},
        {"\"cancel\":true", "\"cancel\":1"},
        {"\"anchor\":0", "\"anchor\":16384"},
        {"\"anchor\":0", "\"anchor\":-1"},
    };
    auto_free char *text = wire_replace(sample, "]}\n", MOVES);
    struct record plain = parse(sample);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_free char *wrong = wire_replace(text, cases[i].from, cases[i].to);
        struct record record = parse(wrong);
        if (!record.moves_unclear || record.move_count)
            fail_msg("%s was read", cases[i].to);
        assert_int_equal(record.member_count, plain.member_count);
        auto_buf struct buf again;
        buf_init(&again, RECORD_TEXT_MAX);
        assert_int_equal(record_format(&record, &again), 0);
        struct record twice = parse(buf_str(&again));
        assert_true(record_eq(&record, &twice));
    }
}

static void test_moves_of_another_shape_are_kept(void **state)
{
    (void)state;
    static const char *const shapes[] = {"[1,2]", "{\"a\":[true,null]}", "\"x\"",
                                         "[{\"later\":\"\\u0001\"}]"};
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        char moves[128];
        text_format(moves, sizeof moves, "],\n\"moves\":%s}\n", shapes[i]);
        auto_free char *text = wire_replace(sample, "]}\n", moves);
        struct record record = parse(text);
        assert_string_equal(record.moves_unclear, shapes[i]);
        assert_written(&record, text);
        struct record copy;
        record_copy(&record, &arena, &copy);
        assert_true(record_eq(&record, &copy));
    }
}

static void test_what_nobody_reads_is_not_written(void **state)
{
    (void)state;
    struct record record = parse(sample);
    struct record_move *moves = xcalloc(RECORD_MOVES_MAX + 1, sizeof *moves);
    struct slot_range *ranges = xcalloc(RECORD_MOVES_MAX + 1, sizeof *ranges);
    for (size_t i = 0; i <= RECORD_MOVES_MAX; i++) {
        uint16_t slot = (uint16_t)(2 * i);
        ranges[i] = (struct slot_range){slot, slot};
        moves[i] = (struct record_move){.generation = 1, .ranges = &ranges[i], .range_count = 1};
        (void)TEXT_COPY(moves[i].from.hex, span_of(A));
        (void)TEXT_COPY(moves[i].to.hex, span_of(B));
    }
    record.moves = moves;
    record.move_generation = 1;
    record.move_count = RECORD_MOVES_MAX + 1;
    auto_buf struct buf text;
    buf_init(&text, RECORD_TEXT_MAX);
    assert_int_equal(record_format(&record, &text), E_LIMIT);
    record.move_count = RECORD_MOVES_MAX;
    buf_clear(&text);
    assert_int_equal(record_format(&record, &text), 0);
    assert_int_equal(parse(buf_str(&text)).move_count, RECORD_MOVES_MAX);
    free(moves);
    free(ranges);
}

static void test_a_reader_ignores_what_it_does_not_know(void **state)
{
    (void)state;
    auto_free char *more = wire_replace(sample, "\"shard\":1",
                                        "\"shard\":1,\"later\":[{\"x\":null}],\"volume\":\"v\"");
    auto_free char *most = wire_replace(more, "\"uid\"", "\"jobs\":[1,2],\"uid\"");
    struct record record = parse(most);
    struct record plain = parse(sample);
    assert_true(record_eq(&record, &plain));
}

/* The sample with this in place of a pause. */
static struct record parse_pause(const char *pause)
{
    char with[512];
    text_format(with, sizeof with, "\"pause\":%s,\"uid\"", pause);
    auto_free char *text = wire_replace(sample, "\"uid\"", with);
    struct record record = parse(text);
    auto_buf struct buf out;
    buf_init(&out, RECORD_TEXT_MAX);
    assert_int_equal(record_format(&record, &out), 0);
    struct record again = parse(buf_str(&out));
    assert_true(record_eq(&record, &again));
    struct record copy;
    record_copy(&record, &arena, &copy);
    assert_true(record_eq(&record, &copy));
    return record;
}

static void test_a_pause_is_read_and_written(void **state)
{
    (void)state;
    struct record record =
        parse_pause("{\"sinceUnixMs\":1795000000000,\"untilUnixMs\":1795000060000,"
                    "\"reason\":\"new disks\"}");
    assert_string_equal(record.pause.reason, "new disks");
    assert_int_equal(record.pause.until_unix_ms - record.pause.since_unix_ms, 60000);
    assert_true(parse_pause("{}").pause.set); /* without an end or a reason */
    record = parse_pause("{\"untilUnixMs\":8975897500000499,\"x\":[]}"); /* kept whole */
    assert_string_equal(record.pause_unclear, "{\"untilUnixMs\":8.9758975000005e+15,\"x\":[]}");
}

/* Members and moves are read beside it, and it is kept: it is somebody's pause. */
static void test_a_pause_that_is_not_understood_is_kept(void **state)
{
    (void)state;
    static const char *const pauses[] = {"true", "[1]", "{\"untilUnixMs\":\"tomorrow\"}",
                                         "{\"reason\":\"a\\nb\"}"};
    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        struct record record = parse_pause(pauses[i]);
        assert_false(record.pause.set);
        assert_string_equal(record.pause_unclear, pauses[i]);
        assert_int_equal(record.member_count, parse(sample).member_count);
    }
}

static void test_the_least_that_a_record_says(void **state)
{
    (void)state;
    struct record record = parse("{\"version\":1,\"uid\":\"u\",\"state\":\"formed\"}");
    assert_int_equal(record.state, RECORD_FORMED);
    assert_int_equal(record.member_count, 0);
    assert_int_equal(record.forget_count, 0);
    assert_string_equal(record.set_uid, "");
    auto_buf struct buf text;
    buf_init(&text, RECORD_TEXT_MAX);
    assert_int_equal(record_format(&record, &text), 0);
    struct record again = parse(buf_str(&text));
    assert_true(record_eq(&record, &again));
}

static void test_members_are_sorted_by_ordinal(void **state)
{
    (void)state;
    struct record record =
        parse("{\"version\":1,\"uid\":\"u\",\"state\":\"formed\",\"members\":["
              "{\"pod\":\"muster-10\",\"id\":\"" A "\"},{\"pod\":\"muster-9\",\"id\":\"" B "\"},"
              "{\"pod\":\"muster-1\",\"id\":\"" C "\"}]}");
    assert_string_equal(record.members[0].pod, "muster-1");
    assert_string_equal(record.members[1].pod, "muster-9");
    assert_string_equal(record.members[2].pod, "muster-10");
    assert_int_equal(record.members[0].shard, NO_SHARD);
}

/* Without Kubernetes a member may be called as its entry of static.peers. */
static void test_members_may_be_hosts(void **state)
{
    (void)state;
    struct record record = parse("{\"version\":1,\"uid\":\"u\",\"state\":\"formed\",\"members\":["
                                 "{\"pod\":\"redis-b.example.com:6379\",\"id\":\"" A "\"},"
                                 "{\"pod\":\"[fd00::1]:6379\",\"id\":\"" B "\"},"
                                 "{\"pod\":\"10.0.0.9:6379\",\"id\":\"" C "\"}]}");
    assert_string_equal(record.members[0].pod, "10.0.0.9:6379");
    assert_string_equal(record.members[1].pod, "[fd00::1]:6379");
    assert_string_equal(record.members[2].pod, "redis-b.example.com:6379");
}

static void test_another_version_is_refused_in_words(void **state)
{
    (void)state;
    auto_free char *newer = wire_replace(sample, "\"version\":1", "\"version\":2");
    assert_refused(span_of(newer), E_INVALID,
                   "record: version 2, but this release of muster reads version 1 only");
    auto_free char *none = wire_replace(sample, "\"version\":1", "\"v\":1");
    assert_refused(span_of(none), E_INVALID, "version 0");
}

static void test_what_nobody_may_act_on_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *by;
        int code;
        const char *message;
    } cases[] = {
        {"{\"version\"", "[\"version\"", E_PROTO, "malformed"},
        {"\"version\":1", "\"version\":\"1\"", E_PROTO, "version"},
        {"\"uid\":\"7b1f\"", "\"uid\":\"\"", E_PROTO, "uid: missing"},
        {"\"uid\":\"7b1f\"", "\"uid\":\"a/b\"", E_PROTO, "uid: malformed"},
        {"\"uid\":\"7b1f\"", "\"uid\":\"0123456789012345678901234567890123456789\"", E_LIMIT,
         "uid"},
        {"\"generation\":2", "\"generation\":-1", E_PROTO, "generation"},
        {"\"generation\":2", "\"generation\":1.5", E_PROTO, "generation: not an integer"},
        {"\"generation\":2", "\"generation\":1e400", E_PROTO, "generation"},
        {"\"generation\":2", "\"generation\":\"2\"", E_PROTO, "generation"},
        {"\"setUid\":\"d3-A\"", "\"setUid\":5", E_PROTO, "setUid: not a string"},
        {"\"state\":\"forming\"", "\"state\":\"form\"", E_INVALID, "neither forming nor formed"},
        {"\"state\":\"forming\"", "\"state\":\"\"", E_INVALID, "neither forming nor formed"},
        {"\"shards\":2", "\"shards\":1001", E_PROTO, "shards"},
        {"\"shards\":2", "\"shards\":1", E_PROTO, "shard: not a number in its range"},
        {"\"shards\":2", "\"shards\":0", E_PROTO, "shard: not a number in its range"},
        {"\"members\":[", "\"members\":{},\"x\":[", E_PROTO, "members: not an array"},
        {"\"muster-0\"", "\"\"", E_PROTO, "pod: missing"},
        {"\"muster-0\"", "\"muster 0\"", E_PROTO, "pod: malformed"},
        {"\"muster-0\"", "\"muster\\\\0\"", E_PROTO, "pod: malformed"},
        {"\"muster-0\"", "\"muster-1\"", E_INVALID, "muster-1: pod twice"},
        {"\"id\":\"" A, "\"id\":\"" B, E_INVALID, "node id twice"},
        {"\"id\":\"" A, "\"id\":\"" C, E_INVALID, "node id twice"},
        {"\"id\":\"" A, "\"id\":\"0" A, E_LIMIT, "id: too long"},
        {"\"id\":\"c4", "\"id\":\"C4", E_PROTO, "id: malformed"},
        {"\"id\":\"" A "\",", "", E_PROTO, "id: missing"},
        {"\"shard\":0", "\"shard\":-1", E_PROTO, "shard"},
        {"\"shard\":0,", "", E_INVALID, "muster-0: primary of no shard"},
        {"\"shard\":1", "\"shard\":0,\"primary\":true", E_INVALID, "muster-1: second primary"},
        {"\"primary\":true", "\"primary\":1", E_PROTO, "primary: not true or false"},
        {"\"epoch\":1", "\"epoch\":9007199254740994", E_PROTO, "epoch"},
        {"\"disklessDelayS\":5", "\"disklessDelayS\":-2", E_PROTO, "disklessDelayS"},
        {"\"" C "\"", "\"x\"", E_PROTO, "forget: not a node id"},
        {"\"" C "\"", "5", E_PROTO, "forget: not a node id"},
        {"]}\n", "]} x", E_PROTO, "more behind"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_free char *text = wire_replace(sample, cases[i].what, cases[i].by);
        assert_refused(span_of(text), cases[i].code, cases[i].message);
    }
    assert_refused(span_of(""), E_PROTO, "record: JSON: malformed");
}

static void fill(struct record_member *member, unsigned i)
{
    text_format(member->pod, sizeof member->pod, "%059u-%u", i, i);
    text_format(member->id.hex, sizeof member->id.hex, "%040x", i + 1);
    member->shard = (uint16_t)i;
    member->primary = true;
    member->epoch = UINT64_C(1) << 53;
    member->node_timeout_ms = INT64_C(1) << 53;
    member->diskless_delay_s = INT64_C(1) << 53;
}

static void test_a_thousand_of_the_longest_members_fit(void **state)
{
    (void)state;
    auto_free struct record_member *members = xcalloc(NODES_MAX + 1, sizeof *members);
    auto_free struct node_id *forget = xcalloc(NODES_MAX + 1, sizeof *forget);
    for (unsigned i = 0; i <= NODES_MAX; i++) {
        fill(&members[i], i);
        text_format(forget[i].hex, sizeof forget[i].hex, "f%039x", i);
    }
    struct record record = {
        .version = RECORD_VERSION,
        .uid = "u",
        .state = RECORD_FORMED,
        .shards = NODES_MAX,
        .members = members,
        .member_count = NODES_MAX,
        .forget = forget,
        .forget_count = NODES_MAX,
    };
    auto_buf struct buf text;
    buf_init(&text, RECORD_TEXT_MAX);
    assert_int_equal(record_format(&record, &text), 0);
    struct record again = parse(buf_str(&text));
    assert_true(record_eq(&record, &again));

    auto_free char *ids = wire_replace(buf_str(&text), "\"forget\":[", "\"forget\":[\"" A "\",");
    assert_refused(span_of(ids), E_LIMIT, "forget: too many");
    auto_free char *pods = wire_replace(buf_str(&text), "\"members\":[",
                                        "\"members\":[{\"pod\":\"m\",\"id\":\"" A "\"},");
    assert_refused(span_of(pods), E_LIMIT, "members: too many");
    /* Nor is it written. */
    record.forget_count++;
    assert_int_equal(record_format(&record, &text), E_LIMIT);
    record.forget_count = 0;
    record.member_count++;
    assert_int_equal(record_format(&record, &text), E_LIMIT);
}

static void test_a_text_that_is_too_long(void **state)
{
    (void)state;
    auto_free char *bytes = xcalloc(RECORD_TEXT_MAX + 1, 1);
    assert_refused((struct span){bytes, RECORD_TEXT_MAX + 1}, E_LIMIT, "longer than");
    struct record record = parse(sample);
    struct buf text;
    buf_init(&text, 100);
    assert_int_equal(record_format(&record, &text), E_LIMIT);
    buf_deinit(&text);
}

static void test_every_mutation_of_a_sample(void **state)
{
    (void)state;
    struct span whole = span_of(sample);
    auto_free char *mutated = xcalloc(whole.len + 2, 1);
    size_t refused = 0;
    for (size_t at = 0; at < whole.len; at++) {
        for (unsigned kind = 0; kind < WIRE_MUTATIONS; kind++) {
            size_t size = wire_mutate(whole, at, kind, mutated);
            struct span text = wire_exact((struct span){mutated, size});
            struct err err = {0};
            struct record record;
            auto_buf struct buf out;
            buf_init(&out, RECORD_TEXT_MAX);
            arena_reset(&arena);
            if (record_parse(text, &arena, &record, &err) == 0) {
                assert_int_equal(record_format(&record, &out), 0);
                struct record again = parse(buf_str(&out));
                assert_true(record_eq(&record, &again));
            } else {
                assert_string_not_equal(err.msg, "");
                refused++;
            }
            free((void *)(uintptr_t)text.ptr);
        }
    }
    assert_in_range(refused, whole.len * 6, whole.len * WIRE_MUTATIONS - whole.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_is_read),
        cmocka_unit_test(test_the_text_is_what_it_was),
        cmocka_unit_test(test_pods_that_left_are_read_and_written),
        cmocka_unit_test(test_moves_are_read_and_written),
        cmocka_unit_test(test_moves_that_cannot_be_stop_the_moves_only),
        cmocka_unit_test(test_moves_of_another_shape_are_kept),
        cmocka_unit_test(test_what_nobody_reads_is_not_written),
        cmocka_unit_test(test_a_reader_ignores_what_it_does_not_know),
        cmocka_unit_test(test_a_pause_is_read_and_written),
        cmocka_unit_test(test_a_pause_that_is_not_understood_is_kept),
        cmocka_unit_test(test_the_least_that_a_record_says),
        cmocka_unit_test(test_members_are_sorted_by_ordinal),
        cmocka_unit_test(test_members_may_be_hosts),
        cmocka_unit_test(test_another_version_is_refused_in_words),
        cmocka_unit_test(test_what_nobody_may_act_on_is_refused),
        cmocka_unit_test(test_a_thousand_of_the_longest_members_fit),
        cmocka_unit_test(test_a_text_that_is_too_long),
        cmocka_unit_test(test_every_mutation_of_a_sample),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
