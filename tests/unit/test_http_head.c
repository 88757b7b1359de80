/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "wire/http_head.h"

static enum http_head_state parse(const char *text, struct http_head *head)
{
    return http_head_parse(span_of(text), head);
}

static void test_method_path_and_query_are_taken(void **state)
{
    (void)state;
    struct http_head head;
    assert_int_equal(parse("GET /status?digest HTTP/1.1\r\nHost: x\r\n\r\n", &head),
                     HTTP_HEAD_COMPLETE);
    assert_true(span_is(head.method, "GET"));
    assert_true(span_is(head.path, "/status"));
    assert_true(span_is(head.query, "digest"));
}

static void test_forms_that_are_allowed(void **state)
{
    static const char *const texts[] = {
        "HEAD /livez HTTP/1.0\r\n\r\n",
        "HEAD /livez HTTP/1.1\n\n",
        "\r\nHEAD /livez HTTP/1.1\r\n\r\n",
        "HEAD /livez HTTP/1.1\r\nA: b\r\n\r\nbody",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct http_head head;
        assert_int_equal(parse(texts[i], &head), HTTP_HEAD_COMPLETE);
        assert_true(span_is(head.method, "HEAD"));
        assert_true(span_is(head.path, "/livez"));
        assert_int_equal(head.query.len, 0);
    }
}

/* Every prefix is partial, byte by byte, until the empty line is there. */
static void test_a_head_without_its_end_is_partial(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    (void)state;
    struct http_head head;
    for (size_t len = 0; len < sizeof text - 1; len++)
        assert_int_equal(http_head_parse((struct span){text, len}, &head), HTTP_HEAD_PARTIAL);
    assert_int_equal(parse(text, &head), HTTP_HEAD_COMPLETE);
}

static void test_what_is_no_http_1_is_bad(void **state)
{
    static const char *const texts[] = {
        "\n\n",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.1x\r\n\r\n",
        "GET / HTTP/1.x\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "get / HTTP/1.1\r\n\r\n",
        "GET http://x/ HTTP/1.1\r\n\r\n",
        "GET /\x80 HTTP/1.1\r\n\r\n",
        "GET /\x1b[2J HTTP/1.1\r\n\r\n",
        "*1\r\n$4\r\nPING\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct http_head head;
        assert_int_equal(parse(texts[i], &head), HTTP_HEAD_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_method_path_and_query_are_taken),
        cmocka_unit_test(test_forms_that_are_allowed),
        cmocka_unit_test(test_a_head_without_its_end_is_partial),
        cmocka_unit_test(test_what_is_no_http_1_is_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
