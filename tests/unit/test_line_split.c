/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "wire/line_split.h"

/* The lines so far, each followed by '|'; a line "stop" ends the feeding with 7. */
static int on_line(void *context, struct span line, struct err *err)
{
    (void)err;
    struct buf *seen = context;
    assert_int_equal(buf_append(seen, line.ptr, line.len), 0);
    assert_int_equal(buf_append_str(seen, "|"), 0);
    return span_is(line, "stop") ? 7 : 0;
}

static struct line_split split;
static struct buf seen;

static int setup(void **state)
{
    (void)state;
    line_split_init(&split, 8);
    buf_init(&seen, 1000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    line_split_deinit(&split);
    buf_deinit(&seen);
    return 0;
}

static int feed(const char *text)
{
    struct err err;
    return line_split_feed(&split, span_of(text), on_line, &seen, &err);
}

static void test_lines_within_one_piece(void **state)
{
    (void)state;
    assert_int_equal(feed("one\ntwo\r\n\n\r\nthree\n"), 0);
    assert_string_equal(buf_str(&seen), "one|two|three|");
    assert_false(line_split_is_partial(&split));
}

static void test_one_byte_at_a_time(void **state)
{
    (void)state;
    const char *text = "one\ntwo\r\n12345678\n12345678\r\n";
    for (const char *p = text; *p; p++)
        assert_int_equal(feed((char[]){*p, '\0'}), 0);
    assert_string_equal(buf_str(&seen), "one|two|12345678|12345678|");
}

static void test_the_cut_off_rest_is_told(void **state)
{
    (void)state;
    assert_int_equal(feed("one\ntw"), 0);
    assert_string_equal(buf_str(&seen), "one|");
    assert_true(line_split_is_partial(&split));
    line_split_clear(&split);
    assert_false(line_split_is_partial(&split));
    assert_int_equal(feed("o\n"), 0);
    assert_string_equal(buf_str(&seen), "one|o|");
}

static void test_a_line_that_is_too_long(void **state)
{
    (void)state;
    static const char *const pieces[][2] = {
        {"123456789\n", ""},
        {"1234", "56789\n"},
        {"1234567890", ""},
        {"12345678\r", "\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        line_split_clear(&split);
        struct err err = {0};
        int r = 0;
        for (size_t j = 0; j < 2 && r == 0; j++)
            r = line_split_feed(&split, span_of(pieces[i][j]), on_line, &seen, &err);
        assert_int_equal(r, E_LIMIT);
        assert_string_equal(err.msg, "line longer than 8 bytes");
    }
    assert_string_equal(buf_str(&seen), "");
    assert_int_equal(feed("x"), E_LIMIT);
    line_split_clear(&split);
    assert_int_equal(feed("ok\n"), 0);
    assert_string_equal(buf_str(&seen), "ok|");
}

static void test_the_reader_may_stop(void **state)
{
    (void)state;
    assert_int_equal(feed("a\nstop\nb\n"), 7);
    assert_string_equal(buf_str(&seen), "a|stop|");
    assert_false(line_split_is_partial(&split));
    assert_int_equal(feed("st"), 0);
    assert_int_equal(feed("op\nb\n"), 7);
    assert_false(line_split_is_partial(&split));
}

static void test_nothing_is_fine(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(line_split_feed(&split, (struct span){NULL, 0}, on_line, &seen, &err), 0);
    assert_false(line_split_is_partial(&split));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_within_one_piece, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_byte_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_cut_off_rest_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_line_that_is_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_reader_may_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_fine, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
