/* SPDX-License-Identifier: Apache-2.0 */
/* This agent's copy of the record: the file, and what may replace what. */
#include "io/host_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"

#define ID "0123456789abcdef0123456789abcdef01234567"

static char directory[] = "/tmp/muster-record-XXXXXX";
static char path[64];
static struct loop *loop;
static struct host_record *copy;
static struct err err;
static struct record_member member = {.pod = "10.0.0.1:6379", .id = {ID}, .primary = true};
static struct record record;
static unsigned done;
static char done_version[64];

static void on_done(void *ctx, const char *version, const struct err *why)
{
    assert_ptr_equal(ctx, &done);
    assert_int_equal(why->code, E_OK);
    text_format(done_version, sizeof done_version, "%s", version);
    done++;
}

static int setup(void **unused)
{
    (void)unused;
    record = (struct record){.version = RECORD_VERSION,
                             .uid = "u1",
                             .generation = 1,
                             .state = RECORD_FORMING,
                             .shards = 1,
                             .members = &member,
                             .member_count = 1};
    member.diskless_delay_s = -1;
    text_format(directory, sizeof directory, "/tmp/muster-record-XXXXXX");
    assert_non_null(mkdtemp(directory));
    text_format(path, sizeof path, "%s/record.json", directory);
    loop = loop_new(&err);
    assert_non_null(loop);
    copy = host_record_new(loop, path);
    done = 0;
    return 0;
}

static int teardown(void **unused)
{
    (void)unused;
    host_record_free(copy);
    loop_free(loop);
    (void)unlink(path);
    return rmdir(directory);
}

static void again(void)
{
    host_record_free(copy);
    copy = host_record_new(loop, path);
}

static int put(const char *version)
{
    return host_record_put(copy, &record, version, on_done, &done, &err);
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_what_is_put_is_there_after_a_restart(void **unused)
{
    (void)unused;
    assert_null(host_record_get(copy));
    assert_int_equal(host_record_hash(copy), 0);
    assert_int_equal(put(host_record_version(copy)), 0);
    assert_int_equal(done, 0); /* not from within */
    (void)loop_run_for(loop, 10);
    assert_int_equal(done, 1);
    assert_string_equal(done_version, host_record_version(copy));
    uint64_t hash = host_record_hash(copy);
    again();
    assert_int_equal(host_record_hash(copy), hash);
    assert_true(record_eq(host_record_get(copy), &record));
}

static void test_every_put_is_a_later_generation(void **unused)
{
    (void)unused;
    assert_int_equal(put(""), 0);
    (void)loop_run_for(loop, 10);
    assert_int_equal(put(""), E_CONFLICT); /* made against another copy */
    host_record_heard(copy, 7);
    assert_int_equal(put(done_version), 0);
    assert_int_equal(host_record_get(copy)->generation, 8);
    assert_int_equal(put(host_record_version(copy)), E_BUSY);
    (void)loop_run_for(loop, 10);
    assert_int_equal(done, 2);
}

static void test_another_ones_copy_is_kept_byte_for_byte(void **unused)
{
    (void)unused;
    /* A newer release has keys that we do not know. */
    static const char text[] = "{\"version\":1, \"uid\":\"u2\", \"mood\":\"good\",\n"
                               "\"generation\":3, \"state\":\"formed\", \"members\":[]}";
    assert_int_equal(host_record_take(copy, span_of(text), true, &err), 0);
    assert_string_equal(host_record_get(copy)->uid, "u2");
    assert_true(span_is(host_record_text(copy), text));
    again();
    assert_true(span_is(host_record_text(copy), text));
    assert_int_equal(host_record_hash(copy), text_hash(TEXT_HASH_SEED, text, strlen(text)));
    /* Once formed, only a later one of the same cluster. */
    assert_int_equal(host_record_take(copy, span_of(text), true, &err), E_CONFLICT);
    assert_int_equal(host_record_take(copy,
                                      span_of("{\"version\":1,\"uid\":\"u3\",\"generation\":9,"
                                              "\"state\":\"formed\"}"),
                                      true, &err),
                     E_CONFLICT);
    assert_non_null(strstr(err.msg, "another cluster"));
    assert_int_equal(host_record_take(copy, span_of("{}"), true, &err), E_INVALID);
    assert_true(span_is(host_record_text(copy), text));
}

static void test_a_file_that_cannot_be_read_is_a_problem_until_replaced(void **unused)
{
    (void)unused;
    write_file("{\"version\":1,");
    again();
    assert_null(host_record_get(copy));
    assert_true(host_record_problem(copy)[0] != '\0');
    assert_int_equal(host_record_take(copy,
                                      span_of("{\"version\":1,\"uid\":\"u\",\"generation\":1,"
                                              "\"state\":\"formed\"}"),
                                      false, &err),
                     0);
    assert_string_equal(host_record_problem(copy), "");
    again();
    assert_non_null(host_record_get(copy));
}

static void test_a_file_that_cannot_be_written_is_said(void **unused)
{
    (void)unused;
    host_record_free(copy);
    copy = host_record_new(loop, "/proc/none/record.json");
    assert_string_equal(host_record_problem(copy), "");
    assert_int_equal(put(""), E_SYSTEM);
    assert_non_null(strstr(err.msg, "/proc/none/record.json"));
    assert_null(host_record_get(copy));
    (void)loop_run_for(loop, 10);
    assert_int_equal(done, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_put_is_there_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_put_is_a_later_generation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_ones_copy_is_kept_byte_for_byte, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_file_that_cannot_be_read_is_a_problem_until_replaced,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_that_cannot_be_written_is_said, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
