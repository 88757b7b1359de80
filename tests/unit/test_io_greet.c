/* SPDX-License-Identifier: Apache-2.0 */
/* How a connection is begun: who gets which password, and who gets none (FAULTS C10, G5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "io/redis_greet.h"

static char dir[] = "/tmp/muster-io-greet-XXXXXX";
static char path[64];
static char spare[64];

#define OK ((struct reply){.kind = REPLY_TEXT, .text = span_of("OK")})
#define ERROR(words) ((struct reply){.kind = REPLY_ERROR, .text = span_of(words)})
#define WRONGPASS ERROR("WRONGPASS invalid username-password pair or user is disabled.")
#define NOAUTH ERROR("NOAUTH Authentication required.")

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    text_format(path, sizeof path, "%s/password", dir);
    text_format(spare, sizeof spare, "%s/spare", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(spare);
    return rmdir(dir);
}

static void put(const char *at, const char *text)
{
    auto_close int fd = open(at, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* As the kubelet does: another file takes the name. */
static void swap(const char *text)
{
    put(spare, text);
    assert_int_equal(rename(spare, path), 0);
}

/* The words that are sent next, as one text. */
static const char *next(struct redis_greet *greet, size_t *ret_count)
{
    static char text[256];
    struct peer_command commands[GREET_COMMANDS_MAX];
    *ret_count = redis_greet_commands(greet, commands);
    text[0] = '\0';
    for (size_t i = 0; i < *ret_count; i++)
        for (size_t k = 0; k < commands[i].word_count; k++)
            text_append(text, sizeof text, "%s%.*s",
                        k   ? " "
                        : i ? "; "
                            : "",
                        (int)commands[i].words[k].len, commands[i].words[k].ptr);
    return text;
}

static enum greet_verdict take(struct redis_greet *greet, struct reply first, struct reply second,
                               size_t count, const char **ret_why)
{
    struct reply replies[] = {first, second};
    return redis_greet_take(greet, replies, count, ret_why);
}

static void test_no_password_is_sent_before_a_plain_server_showed_itself(void **state)
{
    (void)state;
    struct redis_auth auth;
    struct redis_greet greet;
    const char *why = NULL;
    size_t count;
    swap("secret\n");
    redis_auth_init(&auth, "", path);
    redis_greet_begin(&greet, &auth, false);
    assert_string_equal(next(&greet, &count), "PING");
    assert_int_equal(take(&greet, NOAUTH, OK, count, &why), GREET_MORE);
    assert_string_equal(next(&greet, &count), "AUTH secret; CLIENT SETNAME muster");
    assert_int_equal(take(&greet, OK, OK, count, &why), GREET_IN);
    /* Behind a certificate that was verified there is nothing to prove. */
    redis_greet_begin(&greet, &auth, true);
    assert_string_equal(next(&greet, &count), "AUTH secret; CLIENT SETNAME muster");
    redis_auth_deinit(&auth);
}

static void test_without_a_password_nothing_is_proved(void **state)
{
    (void)state;
    struct redis_auth auth;
    struct redis_greet greet;
    const char *why = NULL;
    size_t count;
    redis_auth_init(&auth, NULL, NULL);
    redis_greet_begin(&greet, &auth, false);
    assert_string_equal(next(&greet, &count), "CLIENT SETNAME muster");
    assert_int_equal(take(&greet, OK, OK, count, &why), GREET_IN);
    /* A name is a courtesy. */
    redis_greet_begin(&greet, &auth, false);
    (void)next(&greet, &count);
    struct reply noperm = ERROR("NOPERM this user has no permissions to run the command");
    assert_int_equal(take(&greet, noperm, OK, count, &why), GREET_IN);
    redis_greet_begin(&greet, &auth, false);
    (void)next(&greet, &count);
    assert_int_equal(take(&greet, NOAUTH, OK, count, &why), GREET_REFUSED);
    assert_string_equal(why, "the server wants a password (redis.passwordFile)");
    redis_auth_deinit(&auth);
}

static void test_a_rotation_is_tried_both_ways(void **state)
{
    (void)state;
    struct redis_auth auth;
    struct redis_greet greet;
    const char *why = NULL;
    size_t count;
    swap("old");
    redis_auth_init(&auth, "muster", path);
    redis_greet_begin(&greet, &auth, true);
    assert_string_equal(next(&greet, &count), "AUTH muster old; CLIENT SETNAME muster");
    /* The server knew of the new one first: the file is read again at its refusal. */
    swap("new");
    assert_int_equal(take(&greet, WRONGPASS, NOAUTH, count, &why), GREET_MORE);
    assert_string_equal(next(&greet, &count), "AUTH muster new; CLIENT SETNAME muster");
    assert_int_equal(take(&greet, OK, OK, count, &why), GREET_IN);
    /* Another server still has the old one. */
    redis_greet_begin(&greet, &auth, true);
    assert_string_equal(next(&greet, &count), "AUTH muster new; CLIENT SETNAME muster");
    assert_int_equal(take(&greet, WRONGPASS, NOAUTH, count, &why), GREET_MORE);
    assert_string_equal(next(&greet, &count), "AUTH muster old; CLIENT SETNAME muster");
    assert_int_equal(take(&greet, OK, OK, count, &why), GREET_IN);
    /* And a third one neither: said, without end of trying. */
    redis_greet_begin(&greet, &auth, true);
    (void)next(&greet, &count);
    assert_int_equal(take(&greet, WRONGPASS, NOAUTH, count, &why), GREET_MORE);
    (void)next(&greet, &count);
    assert_int_equal(take(&greet, WRONGPASS, NOAUTH, count, &why), GREET_REFUSED);
    assert_string_equal(
        why, "the server refuses the password of redis.passwordFile, and the one before it");
    redis_auth_deinit(&auth);
}

static void test_a_server_without_a_password_lets_us_in(void **state)
{
    (void)state;
    struct redis_auth auth;
    struct redis_greet greet;
    const char *why = NULL;
    size_t count;
    swap("early");
    redis_auth_init(&auth, "", path);
    redis_greet_begin(&greet, &auth, true);
    (void)next(&greet, &count);
    struct reply none = ERROR("ERR AUTH <password> called without any password configured for the "
                              "default user. Are you sure your configuration is correct?");
    assert_int_equal(take(&greet, none, OK, count, &why), GREET_IN);
    redis_auth_deinit(&auth);
}

static void test_the_file_is_read_again_when_it_changed_and_kept_when_it_is_bad(void **state)
{
    (void)state;
    struct redis_auth auth;
    static char huge[SECRET_MAX + 2];
    memset(huge, 'x', SECRET_MAX + 1);
    (void)unlink(path);
    redis_auth_init(&auth, "", path);
    assert_false(redis_auth_refresh(&auth, false));
    assert_int_equal(redis_auth_count(&auth), 0);
    swap("first\r\n");
    assert_true(redis_auth_refresh(&auth, false));
    assert_int_equal(auth.secrets[0].len, 5);
    assert_false(redis_auth_refresh(&auth, false));
    swap("other"); /* another inode */
    assert_true(redis_auth_refresh(&auth, false));
    swap("other"); /* the same contents are no other password */
    assert_false(redis_auth_refresh(&auth, false));
    assert_int_equal(redis_auth_count(&auth), 2);
    for (size_t i = 0; i < 3; i++) {
        swap(i == 0 ? "" : i == 1 ? "\n" : huge);
        assert_false(redis_auth_refresh(&auth, true));
    }
    (void)unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0); /* reading it would block for ever */
    assert_false(redis_auth_refresh(&auth, true));
    assert_memory_equal(auth.secrets[0].text, "other", 5);
    assert_memory_equal(auth.secrets[1].text, "first", 5);
    redis_auth_deinit(&auth);
    static const struct redis_secret blank;
    assert_memory_equal(&auth.secrets[0], &blank, sizeof blank); /* wiped */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_password_is_sent_before_a_plain_server_showed_itself),
        cmocka_unit_test(test_without_a_password_nothing_is_proved),
        cmocka_unit_test(test_a_rotation_is_tried_both_ways),
        cmocka_unit_test(test_a_server_without_a_password_lets_us_in),
        cmocka_unit_test(test_the_file_is_read_again_when_it_changed_and_kept_when_it_is_bad),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
