/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"

static void test_every_code_is_negative_and_has_its_own_text(void **state)
{
    (void)state;
#define X(name, text) {name, text},
    static const struct {
        int code;
        const char *text;
    } codes[] = {ERR_CODES(X)};
#undef X
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        assert_true(codes[i].code < 0);
        assert_string_equal(err_text(codes[i].code), codes[i].text);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(codes[i].code, codes[j].code);
    }
    assert_string_equal(err_text(0), "ok");
    assert_string_equal(err_text(1), "unknown error");
    assert_string_equal(err_text(ERR_BASE), "unknown error");
    assert_string_equal(err_text(-1000), "unknown error");
}

static int read_line(struct err *err)
{
    return err_set(err, E_LIMIT, "line longer than %d bytes", 12);
}

static void test_context_is_put_in_front_as_the_error_rises(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(read_line(&err), E_LIMIT);
    assert_int_equal(err.code, E_LIMIT);
    assert_string_equal(err.msg, "line longer than 12 bytes");
    assert_int_equal(err_wrap(&err, "list"), E_LIMIT);
    assert_int_equal(err_wrap(&err, "watch %s", "pods"), E_LIMIT);
    assert_string_equal(err.msg, "watch pods: list: line longer than 12 bytes");
}

static void test_errno_is_named(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(err_errno(&err, ENOENT, "open %s", "/x"), E_SYSTEM);
    assert_string_equal(err.msg, "open /x: No such file or directory");
    assert_int_equal(err.code, E_SYSTEM);
}

static void test_nobody_may_listen(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, E_GONE, "x"), E_GONE);
    assert_int_equal(err_errno(NULL, ENOENT, "x"), E_SYSTEM);
    assert_true(err_wrap(NULL, "x") < 0);
}

static void test_long_messages_are_cut(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(err_set(&err, E_PROTO, "%0400d", 7), E_PROTO);
    assert_int_equal(strlen(err.msg), ERR_MSG_SIZE - 1);
    assert_int_equal(err_wrap(&err, "front"), E_PROTO);
    assert_int_equal(strlen(err.msg), ERR_MSG_SIZE - 1);
    assert_int_equal(strncmp(err.msg, "front: 000", 10), 0);
    assert_int_equal(err_wrap(&err, "%0400d", 7), E_PROTO);
    assert_int_equal(strlen(err.msg), ERR_MSG_SIZE - 1);
    assert_int_equal(err_errno(&err, ENOENT, "%0400d", 7), E_SYSTEM);
    assert_int_equal(strlen(err.msg), ERR_MSG_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_is_negative_and_has_its_own_text),
        cmocka_unit_test(test_context_is_put_in_front_as_the_error_rises),
        cmocka_unit_test(test_errno_is_named),
        cmocka_unit_test(test_nobody_may_listen),
        cmocka_unit_test(test_long_messages_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
