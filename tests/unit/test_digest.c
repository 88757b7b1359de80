/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "wire/digest.h"

#define RUN "89abcdef0123456789abcdef0123456789abcdef"
#define ID "0123456789abcdef0123456789abcdef01234567"
#define PRIMARY "76543210fedcba9876543210fedcba9876543210"

static const struct digest UNKNOWN = {.offset = -1, .moves = -1, .quiet_ms = -1, .age_ms = -1};

static struct digest full_digest(void)
{
    struct digest d = {
        .pod = UINT64_C(0x00000000000000fe),
        .role = DIGEST_REPLICA,
        .link_up = true,
        .offset = 4096,
        .epoch = 7,
        .view_hash = UINT64_C(0x00c0ffee00c0ffee),
        .open_slots = 2,
        .gate = DIGEST_GATE_OPEN,
        .drain = DIGEST_DRAIN_NONE,
        .moves = 7,
        .quiet_ms = 12345,
        .age_ms = 80,
    };
    assert_true(TEXT_COPY(d.run_id, span_of(RUN)));
    assert_true(node_id_parse(span_of(ID), &d.id));
    assert_true(node_id_parse(span_of(PRIMARY), &d.primary));
    return d;
}

static int parse(const char *text, struct digest *d, struct err *err)
{
    *err = (struct err){0};
    memset(d, 0xa5, sizeof *d);
    return digest_parse(span_of(text), d, err);
}

static void test_format_is_one_line_of_pairs(void **state)
{
    (void)state;
    struct digest d = full_digest();
    auto_buf struct buf out;
    buf_init(&out, DIGEST_TEXT_MAX);
    assert_int_equal(digest_format(&out, &d), 0);
    assert_string_equal(buf_str(&out),
                        "v=1 pod=00000000000000fe run=" RUN " id=" ID
                        " role=replica primary=" PRIMARY
                        " link=up offset=4096 epoch=7 view=00c0ffee00c0ffee open=2 gate=open"
                        " drain=none quiet=12345 age=80 moves=7\n");
}

static void test_what_is_unknown_is_left_out(void **state)
{
    (void)state;
    auto_buf struct buf out;
    buf_init(&out, DIGEST_TEXT_MAX);
    assert_int_equal(digest_format(&out, &UNKNOWN), 0);
    assert_string_equal(buf_str(&out), "v=1 epoch=0 open=0\n");
}

static void assert_digest_equal(const struct digest *a, const struct digest *b)
{
    assert_true(a->pod == b->pod);
    assert_string_equal(a->run_id, b->run_id);
    assert_string_equal(a->id.hex, b->id.hex);
    assert_string_equal(a->primary.hex, b->primary.hex);
    assert_int_equal(a->role, b->role);
    assert_int_equal(a->link_up, b->link_up);
    assert_true(a->offset == b->offset && a->epoch == b->epoch && a->view_hash == b->view_hash);
    assert_int_equal(a->open_slots, b->open_slots);
    assert_int_equal(a->gate, b->gate);
    assert_int_equal(a->drain, b->drain);
    assert_string_equal(a->why, b->why);
    assert_true(a->moves == b->moves);
    assert_true(a->quiet_ms == b->quiet_ms && a->age_ms == b->age_ms);
}

static void assert_round_trip(const struct digest *d)
{
    auto_buf struct buf out;
    struct digest read;
    struct err err;
    buf_init(&out, DIGEST_TEXT_MAX);
    assert_int_equal(digest_format(&out, d), 0);
    assert_int_equal(parse(buf_str(&out), &read, &err), 0);
    assert_digest_equal(d, &read);
}

static void test_round_trip_of_every_state(void **state)
{
    (void)state;
    assert_round_trip(&UNKNOWN);
    for (int gate = DIGEST_GATE_UNKNOWN; gate <= DIGEST_GATE_HELD; gate++)
        for (int drain = DIGEST_DRAIN_UNKNOWN; drain <= DIGEST_DRAIN_DONE; drain++) {
            struct digest d = full_digest();
            d.gate = (enum digest_gate)gate;
            d.drain = (enum digest_drain)drain;
            d.link_up = gate & 1;
            assert_round_trip(&d);
        }
    struct digest primary = full_digest();
    primary.role = DIGEST_PRIMARY;
    primary.primary = (struct node_id){""};
    primary.link_up = false;
    assert_round_trip(&primary);
}

/* The largest value of every field stays within the limit of the format. */
static void test_the_longest_digest_fits(void **state)
{
    (void)state;
    struct digest d = full_digest();
    d.offset = d.moves = d.quiet_ms = d.age_ms = INT64_MAX;
    d.epoch = d.view_hash = UINT64_MAX;
    d.open_slots = SLOT_COUNT;
    d.link_up = false;
    d.drain = DIGEST_DRAIN_RUNNING;
    assert_round_trip(&d);
}

/* For people: what is waited for, to the end of the line. */
static void test_a_held_server_says_why(void **state)
{
    (void)state;
    struct digest d = {.offset = -1,
                       .moves = -1,
                       .quiet_ms = -1,
                       .age_ms = -1,
                       .gate = DIGEST_GATE_HELD,
                       .volume = DIGEST_VOLUME_SLOTS,
                       .waits_ms = 4500,
                       .why = "node 76543210 owned slots: gate=open is what it waits for"};
    auto_buf struct buf out, cut;
    buf_init(&out, DIGEST_TEXT_MAX);
    assert_int_equal(digest_format(&out, &d), 0);
    assert_string_equal(buf_str(&out),
                        "v=1 epoch=0 open=0 gate=held volume=slots waits=4500 "
                        "why=node 76543210 owned slots: gate=open is what it waits for\n");
    assert_round_trip(&d);
    struct digest read;
    struct err err;
    assert_int_equal(parse(buf_str(&out), &read, &err), 0);
    struct gate_word word = digest_gate_word(&read);
    assert_true(word.held && word.owner && !word.data);
    assert_int_equal(word.waits_ms, 4500);
    assert_string_equal(word.why, d.why);
    memset(d.why, 'x', sizeof d.why - 1);
    assert_true(TEXT_COPY(d.run_id, span_of(RUN)) && TEXT_COPY(d.zone, span_of(ID)));
    assert_true(node_id_parse(span_of(ID), &d.id));
    d.set = d.record = UINT64_MAX;
    d.generation = INT64_MAX;
    d.record_state = RECORD_FORMED;
    buf_init(&cut, DIGEST_TEXT_MAX);
    assert_int_equal(digest_format(&cut, &d), 0);
    assert_int_equal(cut.len, DIGEST_TEXT_MAX);
    assert_int_equal(parse(buf_str(&cut), &read, &err), 0);
    assert_true(strlen(read.why) > 50 && strlen(read.why) < strlen(d.why));
    assert_int_equal(parse("v=1 why=\n", &read, &err), E_PROTO);
    assert_int_equal(parse("v=1 why=a\tb\n", &read, &err), E_PROTO);
}

static void test_a_pod_is_told_from_another_one_at_its_address(void **state)
{
    (void)state;
    assert_true(digest_pod("6f1c9a52-0001") == digest_pod("6f1c9a52-0001"));
    assert_true(digest_pod("6f1c9a52-0001") != digest_pod("6f1c9a52-0002"));
}

static void test_a_host_tells_its_list_and_its_record(void **state)
{
    (void)state;
    struct digest d = full_digest();
    d.set = UINT64_C(0x1122334455667788);
    d.record_state = RECORD_FORMING;
    d.generation = 3;
    d.record = UINT64_C(0x00000000000000ab);
    assert_true(TEXT_COPY(d.zone, span_of("rack-7")));
    auto_buf struct buf out;
    buf_init(&out, DIGEST_TEXT_MAX);
    assert_int_equal(digest_format(&out, &d), 0);
    assert_non_null(strstr(buf_str(&out), " age=80 set=1122334455667788"
                                          " rec=forming.3.00000000000000ab moves=7 zone=rack-7\n"));
    assert_round_trip(&d);
    struct digest read;
    struct err err;
    /* A state that only a newer agent knows is no record that could be read. */
    assert_int_equal(parse("v=2 rec=melting.9.00000000000000ab\n", &read, &err), 0);
    assert_int_equal(read.generation, 0);
    assert_int_equal(read.record, 0);
    static const char *const malformed[] = {
        "rec=formed", "rec=formed.0.00000000000000ab", "rec=formed.1", "rec=formed.1.ab",
        "set=1",      "set=0000000000000000",          "zone=",        "pod=fe"};
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
        char line[80];
        text_format(line, sizeof line, "v=1 %s\n", malformed[i]);
        assert_int_equal(parse(line, &read, &err), E_PROTO);
    }
}

static void test_a_drain_is_told(void **state)
{
    (void)state;
    struct digest d = full_digest();
    static const enum leaving leaving[] = {LEAVING_NO, LEAVING_NO, LEAVING_ASKED, LEAVING_GOES};
    for (int drain = DIGEST_DRAIN_UNKNOWN; drain <= DIGEST_DRAIN_DONE; drain++) {
        d.drain = (enum digest_drain)drain;
        assert_int_equal(digest_leaving(&d), leaving[drain]);
    }
}

/* A zone is told if there is room for it. */
static void test_the_longest_digest_of_a_host_fits(void **state)
{
    (void)state;
    struct digest d = full_digest();
    d.offset = d.quiet_ms = d.age_ms = d.generation = INT64_MAX;
    d.pod = 0; /* no pod */
    d.moves = -1;
    d.epoch = d.view_hash = d.set = d.record = UINT64_MAX;
    d.record_state = RECORD_FORMING;
    d.open_slots = SLOT_COUNT;
    d.link_up = false;
    d.drain = DIGEST_DRAIN_RUNNING;
    assert_round_trip(&d);
    auto_buf struct buf out;
    buf_init(&out, DIGEST_TEXT_MAX);
    memset(d.zone, 'z', sizeof d.zone - 1);
    d.moves = INT64_MAX;
    assert_int_equal(digest_format(&out, &d), 0);
    assert_null(strstr(buf_str(&out), "zone="));
    assert_null(strstr(buf_str(&out), "moves="));
    /* As long as any is in practice. */
    d.offset = d.quiet_ms = d.age_ms = INT64_C(1) << 50;
    d.generation = d.moves = 1 << 30;
    d.epoch = 1 << 30;
    buf_clear(&out);
    assert_int_equal(digest_format(&out, &d), 0);
    assert_non_null(strstr(buf_str(&out), " moves=1073741824"));
}

static void test_past_the_ceiling_is_an_error(void **state)
{
    (void)state;
    auto_buf struct buf out;
    buf_init(&out, 10);
    assert_int_equal(digest_format(&out, &UNKNOWN), E_LIMIT);
}

static void test_a_newer_digest_is_read(void **state)
{
    (void)state;
    struct digest d;
    struct err err;
    assert_int_equal(
        parse("v=2 mood=good offset=5 gate=ajar drain=paused role=witness\n", &d, &err), 0);
    assert_int_equal(d.offset, 5);
    assert_int_equal(d.gate, DIGEST_GATE_UNKNOWN);
    assert_int_equal(d.drain, DIGEST_DRAIN_UNKNOWN);
    assert_int_equal(d.role, DIGEST_ROLE_UNKNOWN);
    assert_int_equal(d.quiet_ms, -1);
    assert_int_equal(d.moves, -1); /* it cannot read them */
    /* A last line needs no newline. */
    assert_int_equal(parse("v=1", &d, &err), 0);
}

static void test_what_is_malformed_is_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "digest: not one line"},
        {"v=1\nv=1\n", "digest: not one line"},
        {"\n", "digest: no version"},
        {"offset=1\n", "digest: no version"},
        {"v=0\n", "digest: no version"},
        {"v=01\n", "digest: no version"},
        {"v=x\n", "digest: no version"},
        {"v=1 offset\n", "digest: a word that is no key=value"},
        {"v=1 =5\n", "digest: a word that is no key=value"},
        {"v=1 offset=1 offset=1\n", "digest: offset comes twice"},
        {"v=1 offset=-1\n", "digest: offset is malformed"},
        {"v=1 offset=9223372036854775808\n", "digest: offset is malformed"},
        {"v=1 run=short\n", "digest: run is malformed"},
        {"v=1 id=xyz\n", "digest: id is malformed"},
        {"v=1 primary=\n", "digest: primary is malformed"},
        {"v=1 role=\n", "digest: role is malformed"},
        {"v=1 role=pri\033mary\n", "digest: role is malformed"},
        {"v=1 link=\n", "digest: link is malformed"},
        {"v=1 gate=\n", "digest: gate is malformed"},
        {"v=1 drain=\n", "digest: drain is malformed"},
        {"v=1 epoch=x\n", "digest: epoch is malformed"},
        {"v=1 view=1\n", "digest: view is malformed"},
        {"v=1 view=00000000000000gg\n", "digest: view is malformed"},
        {"v=1 view=0000000000000000\n", "digest: view is malformed"},
        {"v=1 open=16385\n", "digest: open is malformed"},
        {"v=1 quiet=1.5\n", "digest: quiet is malformed"},
        {"v=1 moves=-1\n", "digest: moves is malformed"},
        {"v=1 age=soon\n", "digest: age is malformed"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct digest d;
        struct digest before;
        struct err err;
        memset(&before, 0xa5, sizeof before);
        assert_int_equal(parse(cases[i].text, &d, &err), E_PROTO);
        assert_string_equal(err.msg, cases[i].message);
        assert_memory_equal(&d, &before, sizeof d);
    }
}

static void test_a_longer_text_is_refused(void **state)
{
    (void)state;
    char text[DIGEST_TEXT_MAX + 2];
    struct digest d;
    struct err err;
    memset(text, 'x', sizeof text);
    memcpy(text, "v=1 y=", 6);
    text[DIGEST_TEXT_MAX] = '\0';
    assert_int_equal(parse(text, &d, &err), 0);
    text[DIGEST_TEXT_MAX] = 'x';
    text[DIGEST_TEXT_MAX + 1] = '\0';
    assert_int_equal(parse(text, &d, &err), E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_is_one_line_of_pairs),
        cmocka_unit_test(test_what_is_unknown_is_left_out),
        cmocka_unit_test(test_round_trip_of_every_state),
        cmocka_unit_test(test_the_longest_digest_fits),
        cmocka_unit_test(test_a_held_server_says_why),
        cmocka_unit_test(test_a_pod_is_told_from_another_one_at_its_address),
        cmocka_unit_test(test_a_host_tells_its_list_and_its_record),
        cmocka_unit_test(test_a_drain_is_told),
        cmocka_unit_test(test_the_longest_digest_of_a_host_fits),
        cmocka_unit_test(test_past_the_ceiling_is_an_error),
        cmocka_unit_test(test_a_newer_digest_is_read),
        cmocka_unit_test(test_what_is_malformed_is_refused),
        cmocka_unit_test(test_a_longer_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
