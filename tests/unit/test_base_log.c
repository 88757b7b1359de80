/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"

static int64_t now_ms;

static int64_t fake_clock(void)
{
    return now_ms;
}

static struct buf line;

static int setup(void **state)
{
    (void)state;
    buf_init(&line, KIB(64));
    log_setup(LOG_INFO, LOG_LOGFMT, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_deinit(&line);
    return 0;
}

/* What `act` writes to stderr, into `line`. */
static const char *captured(void (*act)(void))
{
    FILE *file = tmpfile();
    if (!file)
        abort();
    (void)fflush(stderr);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    act();
    (void)fflush(stderr);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(saved);
    char text[KIB(64)];
    assert_int_equal(fseek(file, 0, SEEK_SET), 0);
    size_t len = fread(text, 1, sizeof text, file);
    (void)fclose(file);
    buf_clear(&line);
    assert_int_equal(buf_append(&line, text, len), 0);
    return buf_str(&line);
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    return lines;
}

static const char *format(enum log_level level, const struct log_field *fields)
{
    buf_clear(&line);
    log_format_line(&line, 1795227727001, level, "formed", fields);
    return buf_str(&line);
}

static void test_logfmt(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_LOGFMT, "muster-0");
    const struct log_field fields[] = {LOG_S("msg", "six nodes"),
                                       LOG_I("nodes", 6),
                                       LOG_S("id", "c48c"),
                                       LOG_I("lag", INT64_MIN),
                                       {0}};
    assert_string_equal(format(LOG_INFO, fields),
                        "ts=2026-11-21T02:22:07.001Z level=info pod=muster-0 event=formed "
                        "msg=\"six nodes\" nodes=6 id=c48c lag=-9223372036854775808\n");
}

static void test_json(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_JSON, "muster-0");
    const struct log_field fields[] = {LOG_S("msg", "six nodes"), LOG_I("nodes", 6), {0}};
    assert_string_equal(format(LOG_WARN, fields),
                        "{\"ts\":\"2026-11-21T02:22:07.001Z\",\"level\":\"warn\","
                        "\"pod\":\"muster-0\",\"event\":\"formed\",\"msg\":\"six nodes\","
                        "\"nodes\":6}\n");
}

/* No value can end the line, open a key, or speak to a terminal. */
static void test_values_cannot_forge_a_line(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *logged;
    } cases[] = {
        {"", "\"\""},
        {"a b", "\"a b\""},
        {"a=b", "\"a=b\""},
        {"x\" level=error", "\"x\\\" level=error\""},
        {"a\\", "\"a\\\\\""},
        {"a\nts=0 level=error", "\"a\\nts=0 level=error\""},
        {"a\rb\tc", "\"a\\u000db\\u0009c\""},
        {"\x1b[31m", "\"\\u001b[31m\""},
        {"\x7f", "\"\\u007f\""},
        {"\xc2\x9b", "\"\\u009b\""},                   /* CSI as one character */
        {"\xe2\x80\xae", "\"\\u202e\""},               /* what follows reads from the right */
        {"\xf0\x9f\x90\x99", "\"\\ud83d\\udc19\""},    /* above the first plane */
        {"a\xff\xc3", "\"a\\ufffd\\ufffd\""},          /* no UTF-8 at all */
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate alone */
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},            /* overlong */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char expected[100];
        const struct log_field fields[] = {LOG_S("v", cases[i].value), {0}};
        (void)snprintf(expected, sizeof expected, " v=%s\n", cases[i].logged);
        assert_non_null(strstr(format(LOG_INFO, fields), expected));
    }
}

static void test_every_level_has_its_name(void **state)
{
    (void)state;
    const struct log_field none[] = {{0}};
    assert_non_null(strstr(format(LOG_ERROR, none), " level=error "));
    assert_non_null(strstr(format(LOG_WARN, none), " level=warn "));
    assert_non_null(strstr(format(LOG_INFO, none), " level=info "));
    assert_non_null(strstr(format(LOG_DEBUG, none), " level=debug "));
    log_setup(LOG_WARN, LOG_LOGFMT, NULL);
    assert_true(log_enabled(LOG_ERROR));
    assert_true(log_enabled(LOG_WARN));
    assert_false(log_enabled(LOG_INFO));
}

static void test_dates(void **state)
{
    (void)state;
    static const struct {
        int64_t unix_ms;
        const char *text;
    } cases[] = {
        {0, "ts=1970-01-01T00:00:00.000Z "},
        {951782400999, "ts=2000-02-29T00:00:00.999Z "},
        {4107542400000, "ts=2100-03-01T00:00:00.000Z "},
    };
    const struct log_field none[] = {{0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&line);
        log_format_line(&line, cases[i].unix_ms, LOG_INFO, "e", none);
        assert_int_equal(strncmp(buf_str(&line), cases[i].text, strlen(cases[i].text)), 0);
    }
}

static void log_two_levels(void)
{
    LOG(LOG_DEBUG, "hidden", LOG_I("n", 1));
    log_event(LOG_DEBUG, "hidden", (const struct log_field[]){{0}});
    LOG(LOG_INFO, "shown", LOG_I("n", 2));
}

static void test_what_is_below_the_level_is_left_out(void **state)
{
    (void)state;
    now_ms = 0;
    log_set_clock(fake_clock);
    assert_string_equal(captured(log_two_levels),
                        "ts=1970-01-01T00:00:00.000Z level=info event=shown n=2\n");
}

static void log_for_two_minutes(void)
{
    for (now_ms = 1000000; now_ms < 1120000; now_ms += 1000) {
        LOG(LOG_INFO, "waiting", LOG_S("for", "muster-3"));
        LOG(LOG_INFO, "other", LOG_S("for", "muster-4"));
    }
}

static void test_a_repeated_line_is_held_back_and_counted(void **state)
{
    (void)state;
    log_set_clock(fake_clock);
    assert_string_equal(captured(log_for_two_minutes),
                        "ts=1970-01-01T00:16:40.000Z level=info event=waiting for=muster-3\n"
                        "ts=1970-01-01T00:16:40.000Z level=info event=other for=muster-4\n"
                        "ts=1970-01-01T00:17:40.000Z level=info event=waiting for=muster-3 "
                        "repeats=59\n"
                        "ts=1970-01-01T00:17:40.000Z level=info event=other for=muster-4 "
                        "repeats=59\n");
}

static void log_different_values(void)
{
    now_ms = 2000000;
    for (int i = 0; i < 200; i++)
        LOG(LOG_INFO, "count", LOG_I("n", i));
    LOG(LOG_INFO, "count", LOG_I("n", 0)); /* forgotten by now */
    now_ms = 1000;                         /* the clock went back */
    LOG(LOG_INFO, "count", LOG_I("n", 199));
}

static void test_different_values_are_different_lines(void **state)
{
    (void)state;
    log_set_clock(fake_clock);
    assert_int_equal(count_lines(captured(log_different_values)), 202);
}

static void say_ready(bool ready)
{
    LOG(LOG_INFO, ready ? "ready" : "not-ready", LOG_ABOUT("readiness"), LOG_S("msg", "so"));
}

static void log_a_state_that_comes_back(void)
{
    now_ms = 3000000;
    say_ready(true);
    now_ms += 1000;
    say_ready(false);
    now_ms += 1000;
    say_ready(true); /* as a second before the last line: but now it is news */
    now_ms += 1000;
    say_ready(true);
    LOG(LOG_WARN, "server_lost", LOG_ABOUT("server"), LOG_ABOUT("10.0.0.1"), LOG_S("ip", "1"));
    LOG(LOG_WARN, "server_lost", LOG_ABOUT("server"), LOG_ABOUT("10.0.0.2"), LOG_S("ip", "2"));
    LOG(LOG_WARN, "server_lost", LOG_ABOUT("server"), LOG_ABOUT("10.0.0.1"), LOG_S("ip", "1"));
}

static void test_the_last_line_of_a_topic_is_true(void **state)
{
    (void)state;
    log_set_clock(fake_clock);
    assert_string_equal(captured(log_a_state_that_comes_back),
                        "ts=1970-01-01T00:50:00.000Z level=info event=ready msg=so\n"
                        "ts=1970-01-01T00:50:01.000Z level=info event=not-ready msg=so\n"
                        "ts=1970-01-01T00:50:02.000Z level=info event=ready msg=so\n"
                        "ts=1970-01-01T00:50:03.000Z level=warn event=server_lost ip=1\n"
                        "ts=1970-01-01T00:50:03.000Z level=warn event=server_lost ip=2\n");
}

/* Ten times a second for two minutes, and then it stays. */
static void log_flapping(void)
{
    for (now_ms = 4000000; now_ms < 4110000; now_ms += 100)
        say_ready(now_ms % 200 == 0);
    say_ready(true);
}

static void log_time_passes(void)
{
    for (; now_ms < 4200000; now_ms += 1000)
        log_tick();
}

static void test_a_state_that_comes_and_goes_stays_bounded(void **state)
{
    (void)state;
    log_set_clock(fake_clock);
    size_t flapping = count_lines(captured(log_flapping));
    if (flapping < 4 || flapping > 3 * 2 * (LOG_RETURNS_MAX + 1))
        fail_msg("%zu lines for 1100 changes in two minutes", flapping);
    const char *last = captured(log_time_passes);
    assert_int_equal(count_lines(last), 1); /* what held in the end, said when the minute is over */
    assert_non_null(strstr(last, "ts=1970-01-01T01:08:30.000Z level=info event=ready "));
    assert_string_equal(captured(log_time_passes), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_logfmt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_cannot_forge_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_level_has_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_below_the_level_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_repeated_line_is_held_back_and_counted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_different_values_are_different_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_line_of_a_topic_is_true, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_state_that_comes_and_goes_stays_bounded, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
