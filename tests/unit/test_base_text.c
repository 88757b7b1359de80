/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

static const struct span nothing = {NULL, 0};

static void assert_span(struct span span, const char *expected)
{
    assert_true(span_is(span, expected));
}

static void test_comparisons(void **state)
{
    (void)state;
    assert_true(span_is(span_of("abc"), "abc"));
    assert_false(span_is(span_of("abc"), "ab"));
    assert_false(span_is(span_of("ab"), "abc"));
    assert_false(span_is(span_of("abd"), "abc"));
    assert_true(span_is(nothing, ""));
    assert_true(span_starts(span_of("abc"), "ab"));
    assert_true(span_starts(span_of("abc"), ""));
    assert_true(span_starts(nothing, ""));
    assert_false(span_starts(span_of("a"), "ab"));
    assert_false(span_starts(span_of("ba"), "a"));
    /* A NUL is a byte like any other. */
    assert_false(span_is((struct span){"a\0b", 3}, "a"));
}

static void test_find(void **state)
{
    (void)state;
    assert_int_equal(span_find(span_of("a:b:c"), ':'), 1);
    assert_int_equal(span_rfind(span_of("a:b:c"), ':'), 3);
    assert_int_equal(span_find(span_of("abc"), ':'), -1);
    assert_int_equal(span_rfind(span_of("abc"), ':'), -1);
    assert_int_equal(span_find(nothing, ':'), -1);
    assert_int_equal(span_rfind(nothing, ':'), -1);
    assert_int_equal(span_rfind(span_of(":"), ':'), 0);
}

static void test_until(void **state)
{
    (void)state;
    struct span rest = span_of("a,,b");
    assert_span(span_until(&rest, ','), "a");
    assert_span(span_until(&rest, ','), "");
    assert_span(span_until(&rest, ','), "b");
    assert_int_equal(rest.len, 0);
    assert_span(span_until(&rest, ','), "");
    rest = span_of("a,");
    assert_span(span_until(&rest, ','), "a");
    assert_int_equal(rest.len, 0);
}

static void test_tokens(void **state)
{
    (void)state;
    struct span rest = span_of("  one two   three ");
    struct span token;
    assert_true(span_token(&rest, &token));
    assert_span(token, "one");
    assert_true(span_token(&rest, &token));
    assert_span(token, "two");
    assert_true(span_token(&rest, &token));
    assert_span(token, "three");
    assert_false(span_token(&rest, &token));
    assert_span(token, "three");
    assert_int_equal(rest.len, 0);
    rest = nothing;
    assert_false(span_token(&rest, &token));
    rest = span_of("   ");
    assert_false(span_token(&rest, &token));
}

static void test_lines(void **state)
{
    (void)state;
    struct span rest = span_of("one\r\n\ntwo\rx\n\r\nlast");
    struct span line;
    static const char *const expected[] = {"one", "", "two\rx", "", "last"};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_true(span_line(&rest, &line));
        assert_span(line, expected[i]);
    }
    assert_false(span_line(&rest, &line));
    assert_span(line, "last");
}

static void test_unsigned_numbers(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "01",
        "00",
        "0x10",
        "1e3",
        "1.",
        "12a",
        "1_0",
        "٣",
        "18446744073709551616",
        "99999999999999999999",
    };
    uint64_t value = 7;
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
        assert_false(text_to_u64(span_of(malformed[i]), UINT64_MAX, &value));
    assert_false(text_to_u64((struct span){"1\0", 2}, UINT64_MAX, &value));
    assert_false(text_to_u64(span_of("11"), 10, &value));
    assert_int_equal(value, 7);
    assert_true(text_to_u64(span_of("0"), 0, &value));
    assert_int_equal(value, 0);
    assert_true(text_to_u64(span_of("10"), 10, &value));
    assert_int_equal(value, 10);
    assert_true(text_to_u64(span_of("18446744073709551615"), UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
}

static void test_signed_numbers(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "", "-", "--1", "-+1", "+1", "- 1", "-01", "9223372036854775808", "-9223372036854775809",
    };
    int64_t value = 7;
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
        assert_false(text_to_i64(span_of(malformed[i]), INT64_MIN, INT64_MAX, &value));
    assert_false(text_to_i64(span_of("-0"), -5, 5, &value));
    assert_false(text_to_i64(span_of("-6"), -5, 5, &value));
    assert_false(text_to_i64(span_of("6"), -5, 5, &value));
    assert_int_equal(value, 7);
    assert_true(text_to_i64(span_of("-5"), -5, 5, &value));
    assert_int_equal(value, -5);
    assert_true(text_to_i64(span_of("9223372036854775807"), 0, INT64_MAX, &value));
    assert_true(value == INT64_MAX);
    assert_true(text_to_i64(span_of("-9223372036854775808"), INT64_MIN, 0, &value));
    assert_true(value == INT64_MIN);
}

static void test_copy_fits_or_leaves_alone(void **state)
{
    (void)state;
    char dst[4] = "old";
    assert_false(TEXT_COPY(dst, span_of("four")));
    assert_false(TEXT_COPY(dst, ((struct span){"a\0", 2})));
    assert_string_equal(dst, "old");
    assert_true(TEXT_COPY(dst, span_of("abc")));
    assert_string_equal(dst, "abc");
    assert_true(TEXT_COPY(dst, ((struct span){dst + 1, 2})));
    assert_string_equal(dst, "bc");
    assert_true(TEXT_COPY(dst, nothing));
    assert_string_equal(dst, "");
}

static void test_format_and_append_cut(void **state)
{
    (void)state;
    char dst[8];
    text_format(dst, sizeof dst, "%s-%d", "abc", 12);
    assert_string_equal(dst, "abc-12");
    text_append(dst, sizeof dst, "%s", "345");
    assert_string_equal(dst, "abc-123");
    text_append(dst, sizeof dst, "x");
    assert_string_equal(dst, "abc-123");
    text_format(dst, sizeof dst, "%s", "longer than that");
    assert_string_equal(dst, "longer ");
}

static void test_plain(void **state)
{
    (void)state;
    assert_true(text_is_plain(span_of("muster-0:6379/{}~!")));
    assert_true(text_is_plain(nothing));
    static const char *const others[] = {"a b",      "a\"",         "a\\", "a\n",
                                         "\x1b[31m", "caf\xc3\xa9", "\x7f"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(text_is_plain(span_of(others[i])));
    assert_false(text_is_plain((struct span){"a\0", 2}));
}

/* The published vectors of FNV-1a 64. */
static void test_hash(void **state)
{
    (void)state;
    assert_true(text_hash(TEXT_HASH_SEED, "", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(text_hash(TEXT_HASH_SEED, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(text_hash(TEXT_HASH_SEED, "foobar", 6) == UINT64_C(0x85944171f73967e8));
    uint64_t half = text_hash(TEXT_HASH_SEED, "foo", 3);
    assert_true(text_hash(half, "bar", 3) == UINT64_C(0x85944171f73967e8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comparisons),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_until),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_unsigned_numbers),
        cmocka_unit_test(test_signed_numbers),
        cmocka_unit_test(test_copy_fits_or_leaves_alone),
        cmocka_unit_test(test_format_and_append_cut),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
