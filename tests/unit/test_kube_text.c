/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "wire/kube_json.h"

#define TEN "abcdefghij"
#define SIXTY TEN TEN TEN TEN TEN TEN

static void test_labels_and_subdomains(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool label;
        bool subdomain;
    } cases[] = {
        {"muster-0", true, true},
        {"0", true, true},
        {"a--b", true, true},
        {"", false, false},
        {"-a", false, false},
        {"a-", false, false},
        {"A", false, false},
        {"a_b", false, false},
        {"a/b", false, false},
        {"a\nb", false, false},
        {"..", false, false},
        {"a.b-c.0", false, true},
        {"a.", false, false},
        {".a", false, false},
        {"a..b", false, false},
        {"a.-b", false, false},
        {"a-.b", false, false},
        {SIXTY "abc", true, true},
        {SIXTY "abcd", false, true},
        {SIXTY SIXTY SIXTY SIXTY TEN "abc", false, true},
        {SIXTY SIXTY SIXTY SIXTY TEN "abcd", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(kube_is_label(span_of(cases[i].text)), cases[i].label);
        assert_int_equal(kube_is_subdomain(span_of(cases[i].text)), cases[i].subdomain);
    }
    assert_false(kube_is_label((struct span){"a\0b", 3}));
}

static void test_addresses_are_literal(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool address;
    } cases[] = {
        {"10.244.1.7", true},
        {"::1", true},
        {"fd00:10:244::7", true},
        {"::ffff:10.0.0.1", true},
        {"", false},
        {"10.0.0", false},
        {"10.0.0.256", false},
        {"010.0.0.1", false},
        {"localhost", false},
        {"[::1]", false},
        {"fe80::1%eth0", false},
        {"10.0.0.1 ", false},
        {"10.0.0.1\n", false},
        {"1:2:3:4:5:6:7:8:9", false},
        {"0000:0000:0000:0000:0000:ffff:255.255.255.255", true},
        {"0000:0000:0000:0000:0000:ffff:255.255.255.2555", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (kube_is_address(span_of(cases[i].text)) != cases[i].address)
            fail_msg("%s", cases[i].text);
}

static void test_ordinals(void **state)
{
    (void)state;
    assert_int_equal(kube_pod_ordinal("muster-0"), 0);
    assert_int_equal(kube_pod_ordinal("my-cache-12"), 12);
    assert_int_equal(kube_pod_ordinal("muster-2147483647"), INT32_MAX);
    assert_int_equal(kube_pod_ordinal("muster-2147483648"), -1);
    assert_int_equal(kube_pod_ordinal("muster-01"), -1);
    assert_int_equal(kube_pod_ordinal("muster-x"), -1);
    assert_int_equal(kube_pod_ordinal("muster-"), -1);
    assert_int_equal(kube_pod_ordinal("muster"), -1);
    assert_int_equal(kube_pod_ordinal(""), -1);
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        int64_t unix_ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {951782400999, "2000-02-29T00:00:00.999000Z"},
        {1700000000123, "2023-11-14T22:13:20.123000Z"},
        {1795227727001, "2026-11-21T02:22:07.001000Z"},
        {4107542399000, "2100-02-28T23:59:59.000000Z"},
        {4107542400000, "2100-03-01T00:00:00.000000Z"},
        {253402300799999, "9999-12-31T23:59:59.999000Z"},
        {253402300800000, "9999-12-31T23:59:59.999000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999000Z"},
        {-1, "1970-01-01T00:00:00.000000Z"},
        {INT64_MIN, "1970-01-01T00:00:00.000000Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char micro[LEASE_TIME_SIZE];
        char seconds[LEASE_TIME_SIZE];
        kube_time_format_micro(cases[i].unix_ms, micro);
        assert_string_equal(micro, cases[i].text);
        kube_time_format(cases[i].unix_ms, seconds);
        assert_memory_equal(seconds, micro, strlen("1970-01-01T00:00:00"));
        assert_string_equal(seconds + strlen("1970-01-01T00:00:00"), "Z");
    }
}

static void test_kinds_have_names(void **state)
{
    (void)state;
    assert_string_equal(kube_kind_name(KUBE_POD), "Pod");
    assert_string_equal(kube_kind_name(KUBE_STATEFUL_SET), "StatefulSet");
    assert_string_equal(kube_kind_name(KUBE_LEASE), "Lease");
    assert_string_equal(kube_kind_name(KUBE_ENDPOINT_SLICE), "EndpointSlice");
    assert_string_equal(kube_kind_name(KUBE_NODE), "Node");
    assert_string_equal(kube_kind_name(KUBE_CONFIG_MAP), "ConfigMap");
    assert_string_equal(kube_kind_name(KUBE_POD_METADATA), "PartialObjectMetadata");
    assert_string_equal(kube_kind_name(KUBE_KIND_NONE), "object");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels_and_subdomains),
        cmocka_unit_test(test_addresses_are_literal),
        cmocka_unit_test(test_ordinals),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
