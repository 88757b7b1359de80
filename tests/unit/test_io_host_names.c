/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses behind names: a name server in the test's own loop, that gets things wrong. */
#include "io/host_names.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "io/clock.h"

#define NXDOMAIN 3
#define SERVFAIL 2
#define TYPE_A 1
#define TYPE_AAAA 28

static struct loop *loop;
static struct loop_timer *timer;
static struct host_names *names;
static struct err err;
static int server = -1;
static char endpoint[32];
static unsigned changes;

/* What the server answers. */
static bool silent;
static unsigned char rcode;
static const char *v4[4];
static const char *v6[4];

static size_t put_answer(unsigned char *reply, size_t at, const char *address, bool six)
{
    unsigned char size = six ? 16 : 4;
    const unsigned char head[] = {0xc0, 12, 0,   six ? TYPE_AAAA : TYPE_A, 0, 1, 0, 0, 2,
                                  88,   0,  size};
    memcpy(reply + at, head, sizeof head);
    assert_int_equal(inet_pton(six ? AF_INET6 : AF_INET, address, reply + at + sizeof head), 1);
    return at + sizeof head + size;
}

static size_t answer(unsigned char *message, size_t len)
{
    size_t end = 12;
    while (message[end])
        end += message[end] + 1u;
    unsigned type = message[end + 2];
    end += 5;
    assert_true(end <= len);
    const char *const *list = type == TYPE_AAAA ? v6 : v4;
    size_t at = end;
    unsigned char count = 0;
    while (!rcode && count < 4 && list[count])
        at = put_answer(message, at, list[count++], type == TYPE_AAAA);
    message[2] = 0x84;
    message[3] = rcode;
    memset(message + 6, 0, 6);
    message[7] = count;
    return at;
}

static void on_tick(void *ctx)
{
    (void)ctx;
    unsigned char message[512];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    ssize_t got;
    while ((got = recvfrom(server, message, 200, MSG_DONTWAIT, (struct sockaddr *)&from,
                           &from_len)) > 0) {
        size_t len = answer(message, (size_t)got);
        if (!silent)
            assert_int_equal(sendto(server, message, len, 0, (struct sockaddr *)&from, from_len),
                             len);
    }
    loop_timer_arm(timer, 5);
}

static void on_change(void *ctx)
{
    (void)ctx;
    changes++;
}

static int setup(void **unused)
{
    (void)unused;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof own;
    server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server, (struct sockaddr *)&own, sizeof own), 0);
    assert_int_equal(getsockname(server, (struct sockaddr *)&own, &len), 0);
    text_format(endpoint, sizeof endpoint, "127.0.0.1:%d", ntohs(own.sin_port));
    loop = loop_new(&err);
    assert_non_null(loop);
    timer = loop_timer_new(loop, on_tick, NULL);
    loop_timer_arm(timer, 0);
    silent = false;
    rcode = 0;
    changes = 0;
    memset(v4, 0, sizeof v4);
    memset(v6, 0, sizeof v6);
    return 0;
}

static int teardown(void **unused)
{
    (void)unused;
    host_names_free(names);
    names = NULL;
    loop_timer_free(timer);
    loop_free(loop);
    return close(server);
}

static void open_names(const char *name, size_t wanted, const char *prefer)
{
    struct host_names_config config = {.names = &name,
                                       .count = 1,
                                       .wanted = wanted,
                                       .server = endpoint,
                                       .prefer = prefer,
                                       .seed = 1,
                                       .on_change = on_change};
    names = host_names_new(loop, &config);
    host_names_hurry(names, true);
}

static struct host_name get(void)
{
    return host_names_get(names, 0);
}

/* Until a condition holds; the machine may be slow. */
#define WAIT(condition)                                  \
    do {                                                 \
        int64_t end_ms = clock_mono_ms() + 20000;        \
        while (!(condition) && clock_mono_ms() < end_ms) \
            (void)loop_run_for(loop, 20);                \
        assert_true(condition);                          \
    } while (false)

static void put_v4(const char *a, const char *b, const char *c)
{
    v4[0] = a;
    v4[1] = b;
    v4[2] = c;
}

static void test_an_answer_is_sure_when_it_came_twice(void **unused)
{
    (void)unused;
    put_v4("10.0.0.10", "10.0.0.9", "10.0.0.100");
    open_names("redis.example", 3, "");
    assert_int_equal(get().count, 0);
    assert_non_null(strstr(get().problem, "redis.example: "));
    WAIT(get().count == 3);
    assert_string_equal(get().addresses[0], "10.0.0.9"); /* by their bytes */
    assert_string_equal(get().addresses[1], "10.0.0.10");
    assert_string_equal(get().problem, "");
    WAIT(get().twice);
    assert_int_equal(changes, 2);
    put_v4("10.0.0.9", "10.0.0.10", "10.0.0.11");
    WAIT(strcmp(get().addresses[2], "10.0.0.11") == 0);
    assert_int_equal(get().count, 3);
}

static void test_a_part_takes_nothing_away(void **unused)
{
    (void)unused;
    put_v4("10.0.0.1", "10.0.0.2", "10.0.0.3");
    open_names("redis", 3, "");
    WAIT(get().twice);
    put_v4("10.0.0.2", "10.0.0.4", NULL);
    WAIT(get().answered == 2);
    assert_int_equal(get().count, 4);
    put_v4("10.0.0.2", "10.0.0.3", "10.0.0.4");
    WAIT(get().answered == 3);
    assert_int_equal(get().count, 3);
}

static void assert_failure_changes_nothing(const char *words)
{
    WAIT(strstr(get().problem, words));
    assert_int_equal(get().count, 2);
    assert_false(get().twice);
    rcode = 0;
    silent = false;
    put_v4("10.0.0.1", "10.0.0.2", NULL);
    WAIT(get().twice);
    assert_string_equal(get().problem, "");
}

static void test_failures_are_said_and_change_nothing(void **unused)
{
    (void)unused;
    put_v4("10.0.0.1", "10.0.0.2", NULL);
    open_names("redis", 2, "");
    WAIT(get().twice);
    rcode = NXDOMAIN;
    assert_failure_changes_nothing("NXDOMAIN");
    rcode = SERVFAIL;
    assert_failure_changes_nothing("redis: ");
    put_v4(NULL, NULL, NULL);
    assert_failure_changes_nothing("has no address");
    silent = true;
    assert_failure_changes_nothing("no name server answers");
}

static void test_one_family_for_good(void **unused)
{
    (void)unused;
    put_v4("10.0.0.1", NULL, NULL);
    v6[0] = "fd00::1";
    open_names("redis", 1, "fd00::9"); /* our own address is an IPv6 one */
    WAIT(get().twice);
    assert_int_equal(get().count, 1);
    assert_string_equal(get().addresses[0], "fd00::1");
    host_names_free(names);
    put_v4(NULL, NULL, NULL);
    open_names("redis", 1, "");
    WAIT(get().twice); /* a name that has no other */
    assert_string_equal(get().addresses[0], "fd00::1");
}

static void test_a_literal_address_is_never_asked_for(void **unused)
{
    (void)unused;
    silent = true;
    open_names("FD00:0::0001", 1, "");
    assert_int_equal(get().count, 1);
    assert_true(get().twice);
    assert_string_equal(get().addresses[0], "fd00::1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_answer_is_sure_when_it_came_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_part_takes_nothing_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures_are_said_and_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_family_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_literal_address_is_never_asked_for, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
