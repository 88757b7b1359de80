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
#include "wire_sample.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, MIB(32));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static struct kube_object parse(const char *text, enum kube_kind kind)
{
    struct err err = {0};
    struct kube_object object;
    if (kube_object_parse(span_of(text), kind, &arena, &object, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    assert_int_equal(object.kind, kind);
    return object;
}

static struct kube_object parse_sample(const char *name, enum kube_kind kind)
{
    size_t len;
    auto_free char *text = wire_sample(name, &len);
    return parse(text, kind);
}

static void assert_refused(const char *text, enum kube_kind kind, int code, const char *part)
{
    struct err err = {0};
    struct kube_object object;
    struct kube_object before;
    memset(&object, 0x25, sizeof object);
    memset(&before, 0x25, sizeof before);
    if (kube_object_parse(span_of(text), kind, &arena, &object, &err) != code ||
        !strstr(err.msg, part))
        fail_msg("%.500s gives %d '%s', not %d '%s'", text, err.code, err.msg, code, part);
    assert_memory_equal(&object, &before, sizeof object);
}

/* Each case changes the sample in one place. */
struct change {
    const char *what;
    const char *by;
    int code;
    const char *message;
};

static void assert_changes_refused(const char *name, enum kube_kind kind,
                                   const struct change *changes, size_t count)
{
    size_t len;
    auto_free char *sample = wire_sample(name, &len);
    for (size_t i = 0; i < count; i++) {
        auto_free char *text = wire_replace(sample, changes[i].what, changes[i].by);
        assert_refused(text, kind, changes[i].code, changes[i].message);
    }
}

static const char least[] =
    "{\"metadata\":{\"name\":\"muster-3\",\"uid\":\"u-3\",\"resourceVersion\":\"7\"}}";

static void test_the_least_of_each_kind(void **state)
{
    (void)state;
    struct kube_object object = parse(least, KUBE_POD);
    assert_string_equal(object.meta.name, "muster-3");
    assert_int_equal(object.pod.ordinal, 3);
    assert_string_equal(object.pod.controller.kind, "");
    assert_string_equal(object.pod.ip, "");
    assert_false(object.pod.ready);
    assert_int_equal(object.pod.phase, KUBE_PHASE_UNKNOWN);
    object = parse(least, KUBE_STATEFUL_SET);
    assert_int_equal(object.stateful_set.replicas, 1);
    assert_true(object.stateful_set.ordered_ready);
    assert_false(object.stateful_set.volumes);
    assert_string_equal(object.stateful_set.selector, "");
    object = parse(least, KUBE_LEASE);
    assert_string_equal(object.lease.lease.holder, "");
    assert_string_equal(object.lease.lease.resource_version, "7");
    object = parse(least, KUBE_ENDPOINT_SLICE);
    assert_int_equal(object.endpoint_slice.endpoint_count, 0);
    object = parse(least, KUBE_NODE);
    assert_string_equal(object.node.zone, "");
    object = parse(least, KUBE_CONFIG_MAP);
    assert_false(object.config_map.readable);
    assert_string_equal(object.config_map.problem, "no data[record.json]");
}

static void test_meta(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {"\"kind\":\"Lease\"", "\"kind\":\"Pod\"", E_PROTO, "kind: not the kind"},
        {"\"kind\":\"Lease\"", "\"kind\":5", E_PROTO, "kind: not a string"},
        {"\"metadata\":{", "\"x\":{", E_PROTO, "name: missing"},
        {"\"metadata\":{", "\"metadata\":5,\"x\":{", E_PROTO, "metadata: not an object"},
        {"\"name\":\"muster\"", "\"name\":\"\"", E_PROTO, "metadata.name: missing"},
        {"\"name\":\"muster\"", "\"name\":\"a/../b\"", E_PROTO, "metadata.name: malformed"},
        {"\"name\":\"muster\"", "\"name\":[]", E_PROTO, "metadata.name: not a string"},
        {"\"namespace\":\"data\"", "\"namespace\":\"a.b\"", E_PROTO, "namespace: malformed"},
        {"\"uid\":\"", "\"uid\":null,\"x\":\"", E_PROTO, "uid: missing"},
        {"\"uid\":\"", "\"uid\":\"abcd", E_LIMIT, "uid: too long"},
        {"\"uid\":\"d2f2a", "\"uid\":\"d2f2 ", E_PROTO, "uid: malformed"},
        {"\"resourceVersion\":\"20001\"", "\"resourceVersion\":20001", E_PROTO, "not a string"},
        {"\"resourceVersion\":\"20001\"", "\"resourceVersion\":\"2&x=1\"", E_PROTO, "malformed"},
        {"\"uid\"", "\"generation\":-1,\"uid\"", E_PROTO, "metadata.generation: not a number"},
        {"\"uid\"", "\"deletionTimestamp\":{},\"uid\"", E_PROTO, "deletionTimestamp"},
    };
    assert_changes_refused("kube_json/lease", KUBE_LEASE, changes, ARRAY_LEN(changes));
    struct kube_object lease = parse_sample("kube_json/lease", KUBE_LEASE);
    assert_string_equal(lease.meta.namespace, "data");
    assert_string_equal(lease.meta.uid, "d2f2a3d4-1c55-4a0e-8c3e-58b9e3a0f0b1");
    assert_false(lease.meta.deleting);
}

static void test_pod_of_two_families(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        const char *ip;
        const char *other_ip;
    } cases[] = {
        {"{\"podIP\":\"10.0.0.1\"}", "10.0.0.1", ""},
        {"{\"podIP\":\"10.0.0.1\",\"podIPs\":[{\"ip\":\"10.0.0.1\"}]}", "10.0.0.1", ""},
        {"{\"podIP\":\"10.0.0.1\",\"podIPs\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"fd00::1\"}]}",
         "10.0.0.1", "fd00::1"},
        {"{\"podIP\":\"fd00::1\",\"podIPs\":[{\"ip\":\"fd00::1\"},{\"ip\":\"10.0.0.1\"}]}",
         "fd00::1", "10.0.0.1"},
        {"{\"podIPs\":[{\"ip\":\"10.0.0.1\"}]}", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[512];
        text_format(text, sizeof text,
                    "{\"metadata\":{\"name\":\"muster-1\",\"uid\":\"u\",\"resourceVersion\":\"1\"},"
                    "\"status\":%s}",
                    cases[i].status);
        struct kube_object object = parse(text, KUBE_POD);
        assert_string_equal(object.pod.ip, cases[i].ip);
        assert_string_equal(object.pod.other_ip, cases[i].other_ip);
    }
    assert_true(kube_is_same_family("10.0.0.1", "127.0.0.1"));
    assert_true(kube_is_same_family("::1", "fd00::1"));
    assert_false(kube_is_same_family("::1", "127.0.0.1"));
}

static void test_of_a_repeated_key_the_first_counts(void **state)
{
    (void)state;
    struct kube_object object =
        parse("{\"metadata\":{\"name\":\"a-1\",\"name\":\"b-2\",\"uid\":\"u\","
              "\"resourceVersion\":\"7\"},\"metadata\":5}",
              KUBE_POD);
    assert_string_equal(object.meta.name, "a-1");
}

static void test_lease(void **state)
{
    (void)state;
    struct kube_object object = parse_sample("kube_json/lease", KUBE_LEASE);
    const struct kube_lease *lease = &object.lease;
    assert_string_equal(lease->lease.holder, "muster-0");
    assert_int_equal(lease->lease.duration_s, 15);
    assert_int_equal(lease->lease.transitions, 4);
    assert_string_equal(lease->lease.renew_time, "2026-11-21T10:16:42.654321Z");
    assert_string_equal(lease->lease.resource_version, "20001");
    assert_string_equal(lease->acquire_time, "2026-11-21T10:15:02.123000Z");
    static const struct change changes[] = {
        {"\"muster-0\"", "\"two words\"", E_PROTO, "spec.holderIdentity: malformed"},
        {"\"muster-0\"",
         "\"01234567890123456789012345678901234567890123456789012"
         "01234567890123456789012345678901234567890123456789012\"",
         E_LIMIT, "spec.holderIdentity: too long"},
        {"\"leaseDurationSeconds\":15", "\"leaseDurationSeconds\":1.5", E_PROTO, "not an integer"},
        {"\"leaseDurationSeconds\":15", "\"leaseDurationSeconds\":-1", E_PROTO, "not a number"},
        {"\"leaseTransitions\":4", "\"leaseTransitions\":1e300", E_PROTO, "not a number"},
        {"\"spec\":{", "\"spec\":[],\"x\":{", E_PROTO, "spec: not an object"},
    };
    assert_changes_refused("kube_json/lease", KUBE_LEASE, changes, ARRAY_LEN(changes));
}

static void test_stateful_set(void **state)
{
    (void)state;
    struct kube_object object = parse_sample("kube_json/stateful-set", KUBE_STATEFUL_SET);
    const struct kube_stateful_set *set = &object.stateful_set;
    assert_string_equal(set->meta.name, "muster");
    assert_int_equal(set->meta.generation, 3);
    assert_int_equal(set->replicas, 6);
    assert_string_equal(set->service_name, "muster-headless");
    assert_string_equal(set->selector,
                        "app.kubernetes.io/name=muster,app.kubernetes.io/instance=cache");
    assert_true(set->volumes);
    assert_false(set->ordered_ready);
    assert_string_equal(set->current_revision, "muster-5d7c9f7b6d");
    assert_string_equal(set->update_revision, "muster-7f6b8d9c4f");
    static const struct change changes[] = {
        {"\"replicas\":6", "\"replicas\":-6", E_PROTO, "spec.replicas"},
        {"\"replicas\":6", "\"replicas\":\"6\"", E_PROTO, "spec.replicas"},
        {"\"matchLabels\":{", "\"matchLabels\":{\"a,b\":\"c\",", E_PROTO, "malformed key"},
        {"\"matchLabels\":{", "\"matchLabels\":{\"a\":\"b,c\",", E_PROTO,
         "matchLabels.a: malformed"},
        {"\"matchLabels\":{", "\"matchLabels\":{\"a\":5,", E_PROTO, "matchLabels.a: not a string"},
        {"\"volumeClaimTemplates\":[", "\"volumeClaimTemplates\":5,\"x\":[", E_PROTO,
         "not an array"},
    };
    assert_changes_refused("kube_json/stateful-set", KUBE_STATEFUL_SET, changes,
                           ARRAY_LEN(changes));
}

static void test_a_selector_that_is_too_long(void **state)
{
    (void)state;
    size_t len;
    auto_free char *sample = wire_sample("kube_json/stateful-set", &len);
    auto_buf struct buf labels;
    buf_init(&labels, KIB(4));
    (void)buf_append_str(&labels, "\"matchLabels\":{");
    for (int i = 0; i < 200; i++)
        (void)buf_format(&labels, "\"label-%d\":\"value\",", i);
    auto_free char *text = wire_replace(sample, "\"matchLabels\":{", buf_str(&labels));
    assert_refused(text, KUBE_STATEFUL_SET, E_LIMIT, "selector.matchLabels: too long");
}

static void test_config_map_with_a_record(void **state)
{
    (void)state;
    struct kube_object object = parse_sample("kube_json/config-map", KUBE_CONFIG_MAP);
    assert_true(object.config_map.readable);
    assert_string_equal(object.config_map.problem, "");
    assert_string_equal(object.meta.resource_version, "501");
    assert_int_equal(object.config_map.record.member_count, 1);
    assert_string_equal(object.config_map.record.members[0].pod, "muster-0");
}

/* It is there and says something: nobody may take it for absent. */
static void test_config_map_whose_record_cannot_be_read(void **state)
{
    (void)state;
    size_t len;
    auto_free char *sample = wire_sample("kube_json/config-map", &len);
    auto_free char *newer = wire_replace(sample, "{\\\"version\\\":1", "{\\\"version\\\":9");
    struct kube_object object = parse(newer, KUBE_CONFIG_MAP);
    assert_false(object.config_map.readable);
    assert_non_null(strstr(object.config_map.problem, "version 9"));
    assert_string_equal(object.meta.resource_version, "501");
    auto_free char *cut = wire_replace(sample, "\\\"shards\\\"", "\\u0000");
    object = parse(cut, KUBE_CONFIG_MAP);
    assert_false(object.config_map.readable);
    auto_free char *number = wire_replace(sample, "\"record.json\":", "\"record.json\":5,\"x\":");
    object = parse(number, KUBE_CONFIG_MAP);
    assert_string_equal(object.config_map.problem, "no data[record.json]");
    auto_free char *array = wire_replace(sample, "\"data\":", "\"data\":[],\"x\":");
    assert_refused(array, KUBE_CONFIG_MAP, E_PROTO, "data: not an object");
}

static void test_status(void **state)
{
    (void)state;
    size_t len;
    auto_free char *text = wire_sample("kube_json/status-conflict", &len);
    struct err err = {0};
    struct kube_status status;
    assert_int_equal(kube_status_parse(span_of(text), &status, &err), 0);
    assert_int_equal(status.code, 409);
    assert_string_equal(status.reason, "Conflict");
    assert_int_equal(status.retry_after_s, 3);
    assert_int_equal(strncmp(status.message, "Operation cannot be fulfilled", 29), 0);
    assert_int_equal(kube_status_parse(span_of("{}"), &status, &err), 0);
    assert_int_equal(status.code, 0);
    assert_string_equal(status.message, "");
    auto_free char *message = xcalloc(2001, 1);
    memset(message, 'm', 2000);
    auto_free char *longer = wire_replace(text, "Operation", message);
    assert_int_equal(kube_status_parse(span_of(longer), &status, &err), 0);
    assert_int_equal(strlen(status.message), ERR_MSG_SIZE - 1);
    assert_int_equal(kube_status_parse(span_of("{\"message\":null}"), &status, &err), 0);
    assert_int_equal(kube_status_parse(span_of("{\"message\":5}"), &status, &err), E_PROTO);
    assert_int_equal(kube_status_parse(span_of("{\"code\":\"409\"}"), &status, &err), E_PROTO);
    assert_int_equal(kube_status_parse(span_of("<html>"), &status, &err), E_PROTO);
}

static void test_documents_that_are_not_json(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"a\":}",
        "{} {}",
        "{}x",
        "{'a':1}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\"",
        "{\"a\":\"",
        "{\"a\":\"\\",
        "{\"a\":1e}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_refused(texts[i], KUBE_POD, E_PROTO, "JSON: ");
    assert_refused(least, KUBE_KIND_NONE, E_INVALID, "none was asked for");
    auto_free char *spaced = wire_replace(least, "}}", "}} \t\r\n");
    (void)parse(spaced, KUBE_POD);
}

static void assert_limit(size_t len, const char *open, const char *part)
{
    auto_free char *text = xcalloc(len + 1, 1);
    for (size_t i = 0; i < len; i++)
        text[i] = open[i < 5 ? i : 5 + (i - 5) % (strlen(open) - 5)];
    struct err err = {0};
    struct kube_object object;
    assert_int_equal(kube_object_parse((struct span){text, len}, KUBE_POD, &arena, &object, &err),
                     E_LIMIT);
    assert_non_null(strstr(err.msg, part));
}

/* Told before anything is built: depth 10^5 and a hostile 16 MiB cost no memory. */
static void test_depth_values_and_length_are_bounded(void **state)
{
    (void)state;
    assert_limit(100000, "{\"a\":[", "nested deeper than 64");
    assert_limit(100000, "{\"a\":{\"a\":", "nested deeper than 64");
    assert_limit(HTTP_BODY_MAX, "{\"a\":1,", "more than");
    assert_limit(HTTP_BODY_MAX + 1, "{\"a\":1", "longer than");
    /* Brackets within a string are text, whatever is escaped before its end. */
    char deep[600] = "{\"a\":\"\\\"";
    text_append(deep, sizeof deep, "%0250d", 0);
    for (char *p = deep; *p; p++)
        if (*p == '0')
            *p = '[';
    text_append(deep, sizeof deep, "\\\\\",\"metadata\":{\"name\":\"a\",\"uid\":\"u\",%s",
                "\"resourceVersion\":\"7\"}}");
    (void)parse(deep, KUBE_NODE);
    /* 64 levels are allowed, 65 are not. */
    for (int levels = 64; levels <= 65; levels++) {
        auto_buf struct buf text;
        buf_init(&text, KIB(1));
        (void)buf_append_str(&text, "{\"a\":");
        for (int i = 1; i < levels; i++)
            (void)buf_append_str(&text, "[");
        for (int i = 1; i < levels; i++)
            (void)buf_append_str(&text, "]");
        (void)buf_append_str(&text, "}");
        struct err err = {0};
        struct kube_status status;
        assert_int_equal(kube_status_parse(span_of(buf_str(&text)), &status, &err),
                         levels == 64 ? 0 : E_LIMIT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_least_of_each_kind),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_pod_of_two_families),
        cmocka_unit_test(test_of_a_repeated_key_the_first_counts),
        cmocka_unit_test(test_lease),
        cmocka_unit_test(test_stateful_set),
        cmocka_unit_test(test_a_selector_that_is_too_long),
        cmocka_unit_test(test_config_map_with_a_record),
        cmocka_unit_test(test_config_map_whose_record_cannot_be_read),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_documents_that_are_not_json),
        cmocka_unit_test(test_depth_values_and_length_are_bounded),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
