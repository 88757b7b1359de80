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
#include "wire/kube_json.h"

static struct arena arena;
static struct buf text;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, MIB(16));
    buf_init(&text, MIB(2));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    buf_deinit(&text);
    return 0;
}

static struct lease sample_lease(void)
{
    return (struct lease){
        .holder = "muster-0",
        .duration_s = 15,
        .transitions = 4,
        .renew_time = "2026-11-21T10:16:42.654321Z",
        .resource_version = "20001",
    };
}

static void test_lease_to_update(void **state)
{
    (void)state;
    struct lease lease = sample_lease();
    assert_int_equal(
        kube_lease_format("data", "muster", &lease, "2026-11-21T10:15:02.123000Z", &text), 0);
    assert_string_equal(
        buf_str(&text),
        "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":"
        "{\"namespace\":\"data\",\"name\":\"muster\",\"resourceVersion\":\"20001\"},"
        "\"spec\":{\"leaseDurationSeconds\":15,\"leaseTransitions\":4,"
        "\"holderIdentity\":\"muster-0\","
        "\"acquireTime\":\"2026-11-21T10:15:02.123000Z\","
        "\"renewTime\":\"2026-11-21T10:16:42.654321Z\"}}");
}

static void test_lease_to_create_and_to_release(void **state)
{
    (void)state;
    struct lease lease = {.duration_s = 1};
    assert_int_equal(kube_lease_format("data", "muster", &lease, "", &text), 0);
    assert_string_equal(
        buf_str(&text),
        "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":"
        "{\"namespace\":\"data\",\"name\":\"muster\"},"
        "\"spec\":{\"leaseDurationSeconds\":1,\"leaseTransitions\":0}}");
}

/* The answer of the API is what was sent and a uid. */
static void test_lease_survives_a_round_trip(void **state)
{
    (void)state;
    struct lease lease = sample_lease();
    assert_int_equal(
        kube_lease_format("data", "muster", &lease, "2026-11-21T10:15:02.123000Z", &text), 0);
    struct buf answer;
    buf_init(&answer, KIB(4));
    (void)buf_append_str(&answer, "{\"metadata\":{\"uid\":\"u\",");
    (void)buf_append_str(&answer, strstr(buf_str(&text), "\"namespace\""));
    struct err err = {0};
    struct kube_object object;
    if (kube_object_parse(span_of(buf_str(&answer)), KUBE_LEASE, &arena, &object, &err) < 0)
        fail_msg("%s: %s", buf_str(&answer), err.msg);
    const struct lease *again = &object.lease.lease;
    assert_string_equal(again->holder, lease.holder);
    assert_int_equal(again->duration_s, lease.duration_s);
    assert_int_equal(again->transitions, lease.transitions);
    assert_string_equal(again->renew_time, lease.renew_time);
    assert_string_equal(again->resource_version, lease.resource_version);
    assert_string_equal(object.lease.acquire_time, "2026-11-21T10:15:02.123000Z");
    buf_deinit(&answer);
}

static void test_record_survives_a_round_trip(void **state)
{
    (void)state;
    struct record_member member = {.pod = "muster-0", .shard = 0, .primary = true, .epoch = 1};
    assert_true(node_id_parse(span_of("c48cc923b98c01f650cfc78a7eb04585597ba295"), &member.id));
    struct record record = {
        .version = RECORD_VERSION,
        .uid = "7b1f",
        .state = RECORD_FORMING,
        .shards = 1,
        .members = &member,
        .member_count = 1,
    };
    assert_int_equal(kube_record_format("data", "muster-muster", "501", &record, &text), 0);
    assert_non_null(strstr(buf_str(&text), "\"resourceVersion\":\"501\"},\"data\":{\"record.json\":"
                                           "\"{\\\"version\\\":1,"));
    (void)buf_consume(&text,
                      strlen("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{"));
    struct buf answer;
    buf_init(&answer, KIB(4));
    (void)buf_format(&answer, "{\"metadata\":{\"uid\":\"u\",%s", buf_str(&text));
    struct err err = {0};
    struct kube_object object;
    if (kube_object_parse(span_of(buf_str(&answer)), KUBE_CONFIG_MAP, &arena, &object, &err) < 0)
        fail_msg("%s: %s", buf_str(&answer), err.msg);
    assert_true(object.config_map.readable);
    assert_true(record_eq(&object.config_map.record, &record));
    buf_deinit(&answer);
}

static void test_a_record_that_does_not_fit(void **state)
{
    (void)state;
    struct record record = {.version = RECORD_VERSION, .uid = "u", .state = RECORD_FORMED};
    struct buf small;
    buf_init(&small, 100);
    assert_int_equal(kube_record_format("data", "muster", "", &record, &small), E_LIMIT);
    buf_deinit(&small);
    record.forget_count = RECORD_TEXT_MAX / NODE_ID_LEN;
    auto_free struct node_id *forget = xcalloc(record.forget_count, sizeof *forget);
    for (size_t i = 0; i < record.forget_count; i++)
        text_format(forget[i].hex, sizeof forget[i].hex, "%040zx", i);
    record.forget = forget;
    buf_init(&small, MIB(4));
    assert_int_equal(kube_record_format("data", "muster", "", &record, &small), E_LIMIT);
    assert_int_equal(small.len, 0);
    buf_deinit(&small);
}

static struct kube_event sample_event(void)
{
    return (struct kube_event){
        .namespace = "data",
        .name = "muster-0.17a9b",
        .about = {.api_version = "v1", .kind = "Pod", .name = "muster-0", .uid = "6f1b"},
        .reason = "Formed",
        .message = "the cluster was formed",
        .count = 2,
        .first_unix_ms = 1700000000123,
        .last_unix_ms = 1700000001123,
        .instance = "muster-1",
    };
}

static void test_event(void **state)
{
    (void)state;
    struct kube_event event = sample_event();
    assert_int_equal(kube_event_format(&event, &text), 0);
    assert_string_equal(
        buf_str(&text),
        "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"namespace\":\"data\",\"name\":"
        "\"muster-0.17a9b\"},\"involvedObject\":{\"namespace\":\"data\",\"apiVersion\":\"v1\","
        "\"kind\":\"Pod\",\"name\":\"muster-0\",\"uid\":\"6f1b\"},\"reason\":\"Formed\","
        "\"message\":\"the cluster was formed\",\"type\":\"Normal\",\"count\":2,"
        "\"firstTimestamp\":\"2023-11-14T22:13:20Z\",\"lastTimestamp\":\"2023-11-14T22:13:21Z\","
        "\"source\":{\"component\":\"muster\"},\"reportingComponent\":\"muster\","
        "\"reportingInstance\":\"muster-1\"}");
    event.warning = true;
    event.about.uid = "";
    buf_clear(&text);
    assert_int_equal(kube_event_format(&event, &text), 0);
    assert_non_null(strstr(buf_str(&text), "\"type\":\"Warning\""));
    assert_null(strstr(buf_str(&text), "\"uid\""));
}

/* No text of a server or a pod can leave its string or make the API refuse the event. */
static void test_text_is_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *json;
    } cases[] = {
        {"\"}, \\ {", "\\\"}, \\\\ {"},
        {"a\nb\tc\x1b[31m\x7f", "a\\nb\\u0009c\\u001b[31m\\u007f"},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa6", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa6"},
        {"\xff\xfe", "??"},
        {"\xc3", "?"},
        {"\xc3(", "?("},
        {"\xe2\x82", "??"},
        {"\xf0\x9f\x90", "???"},
        {"\xc0\xaf", "??"},           /* overlong */
        {"\xe0\x80\xaf", "???"},      /* overlong */
        {"\xed\xa0\x80", "???"},      /* a surrogate */
        {"\xf4\x90\x80\x80", "????"}, /* above U+10FFFF */
        {"\xf8\x88\x80\x80\x80", "?????"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kube_event event = sample_event();
        char expected[200];
        event.message = cases[i].text;
        buf_clear(&text);
        assert_int_equal(kube_event_format(&event, &text), 0);
        text_format(expected, sizeof expected, "\"message\":\"%s\",\"type\"", cases[i].json);
        if (!strstr(buf_str(&text), expected))
            fail_msg("%s is not in %s", expected, buf_str(&text));
    }
}

static void test_a_long_message_is_cut(void **state)
{
    (void)state;
    auto_free char *message = xcalloc(3001, 1);
    memset(message, 'm', 3000);
    message[1023] = '\xc3'; /* its second byte falls behind the cut */
    message[1024] = '\xa9';
    struct kube_event event = sample_event();
    event.message = message;
    assert_int_equal(kube_event_format(&event, &text), 0);
    const char *first =
        strchr(buf_str(&text) + strlen("{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"m"), 'm');
    const char *sent = strstr(first, "\"message\":\"") + strlen("\"message\":\"");
    assert_int_equal(strcspn(sent, "\""), 1024);
    assert_int_equal(sent[1022], 'm');
    assert_int_equal(sent[1023], '?');
}

static void test_a_full_buffer(void **state)
{
    (void)state;
    struct kube_event event = sample_event();
    struct lease lease = sample_lease();
    struct buf small;
    buf_init(&small, 50);
    assert_int_equal(kube_event_format(&event, &small), E_LIMIT);
    buf_clear(&small);
    assert_int_equal(kube_lease_format("data", "muster", &lease, "", &small), E_LIMIT);
    buf_deinit(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lease_to_update, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease_to_create_and_to_release, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease_survives_a_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_record_survives_a_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_record_that_does_not_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_event, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text_is_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_long_message_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_buffer, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
