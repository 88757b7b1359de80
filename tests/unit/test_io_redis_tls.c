/* SPDX-License-Identifier: Apache-2.0 */
/* Which servers are spoken to by TLS, and that no other one gets a byte of ours (FAULTS G5, H7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "io/clock.h"
#include "io/redis_link.h"
#include "unit/io_script.h"

static char dir[] = "/tmp/muster-redis-tls-XXXXXX";

struct client {
    struct loop *loop;
    struct redis_auth auth;
    struct redis_tls tls;
    struct peer_counters counters;
    struct redis_link *link;
    bool open;
    bool lost;
    enum reach reach;
    char why[192];
};

static const char *in_dir(const char *name)
{
    static char text[8][64];
    static size_t at;
    at = (at + 1) % ARRAY_LEN(text);
    text_format(text[at], sizeof text[at], "%s/%s", dir, name);
    return text[at];
}

/*
 * Authorities: ca, other. Of ca: good (127.0.0.1 and redis.lab), elsewhere, expired, weak (RSA of
 * 1024 bits), sha1. Clients show good.
 */
static int make_certificates(void **state)
{
    (void)state;
    static const char script[] =
        "set -e; cd %s; exec >log 2>&1; echo secret >password\n"
        "make=" MUSTER_TESTS_DIR "/lib/certs.sh; $make ca ca; $make ca other\n"
        "$make leaf good 127.0.0.1 IP:127.0.0.1,DNS:redis.lab 1 sha256 2048\n"
        "$make leaf elsewhere 127.0.0.1 IP:127.0.0.2,DNS:127.0.0.1 1 sha256 2048\n"
        "$make leaf expired 127.0.0.1 IP:127.0.0.1 -1 sha256 2048\n"
        "$make leaf weak 127.0.0.1 IP:127.0.0.1 1 sha256 1024\n"
        "$make leaf sha1 127.0.0.1 IP:127.0.0.1 1 sha1 2048\n";
    char command[2048];
    if (!mkdtemp(dir))
        return -1;
    text_format(command, sizeof command, script, dir);
    return system(command);
}

static int remove_certificates(void **state)
{
    (void)state;
    char command[128];
    text_format(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* What it receives goes to DIR/heard. A level of 0 lets it show certificates that nobody should. */
static pid_t serve(const char *name, uint16_t port, const char *option)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    char accept[32], cert[64], key[64];
    text_format(accept, sizeof accept, "127.0.0.1:%u", port);
    text_format(cert, sizeof cert, "%s.pem", name);
    text_format(key, sizeof key, "%s.key", name);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int heard = open(in_dir("heard"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    (void)dup2(heard, 1), (void)dup2(null, 2);
    int silent[2]; /* an input that does not end, or the server would */
    if (pipe(silent) == 0)
        (void)dup2(silent[0], 0);
    if (chdir(dir) == 0)
        (void)execlp("openssl", "openssl", "s_server", "-accept", accept, "-cert", cert, "-key",
                     key, "-quiet", "-cipher", "ALL:@SECLEVEL=0", "-CAfile", "ca.pem", option,
                     (char *)NULL);
    _exit(127);
}

static void client_on_open(void *ctx)
{
    struct client *client = ctx;
    client->open = true;
}

static void client_on_replies(void *ctx, const struct reply *replies, size_t count)
{
    (void)ctx, (void)replies, (void)count;
    fail_msg("nothing was asked");
}

static void client_on_lost(void *ctx, enum reach reach, const char *why)
{
    struct client *client = ctx;
    client->lost = true;
    client->reach = reach;
    text_format(client->why, sizeof client->why, "%s", why);
}

static bool client_is_done(void *ctx)
{
    const struct client *client = ctx;
    return client->open || client->lost;
}

static void client_open(struct client *client, const struct redis_tls_config *tls)
{
    *client = (struct client){.loop = loop_new(NULL)};
    redis_auth_init(&client->auth, "", in_dir("password"));
    redis_tls_init(&client->tls, tls);
}

static void client_close(struct client *client)
{
    assert_int_equal(io_count_threads(), 1);
    redis_link_free(client->link);
    redis_tls_deinit(&client->tls);
    redis_auth_deinit(&client->auth);
    loop_free(client->loop);
}

/* Until the connection is let in or lost; the server may need a moment to start. */
static void client_dial(struct client *client, uint16_t port)
{
    struct redis_link_config config = {
        .ip = "127.0.0.1",
        .port = port,
        .auth = &client->auth,
        .tls = &client->tls,
        .counters = &client->counters,
        .on_open = client_on_open,
        .on_replies = client_on_replies,
        .on_lost = client_on_lost,
        .ctx = client,
    };
    for (int i = 0; i < 100; i++) {
        redis_link_free(client->link);
        client->open = client->lost = false;
        client->link = redis_link_new(client->loop, &config);
        assert_true(io_run_until(client->loop, client_is_done, client, 5000));
        if (client->reach != REACH_REFUSED)
            return;
        (void)loop_run_for(client->loop, 20);
    }
    fail_msg("nothing listens at the port");
}

static size_t heard(char *text, size_t size)
{
    auto_close int fd = open(in_dir("heard"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t got = read(fd, text, size - 1);
    assert_true(got >= 0);
    text[got] = '\0';
    return (size_t)got;
}

static const struct redis_tls_config *config_of(const char *ca, const char *name)
{
    static struct redis_tls_config config;
    config = (struct redis_tls_config){.enabled = true,
                                       .ca_file = in_dir(ca),
                                       .cert_file = in_dir("good.pem"),
                                       .key_file = in_dir("good.key"),
                                       .server_name = name};
    return &config;
}

static void end(pid_t server)
{
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
}

/* s_server never answers AUTH: that it came in is what shows that the server was believed. */
static void expect_believed(const char *name, const char *option)
{
    struct client client;
    char text[256];
    uint16_t port = io_free_port();
    pid_t server = serve("good", port, option);
    client_open(&client, config_of("ca.pem", name));
    client_dial(&client, port);
    assert_string_equal(client.why, "no answer in time");
    assert_int_equal(client.reach, REACH_TIMEOUT);
    assert_true(heard(text, sizeof text) > 0);
    assert_non_null(strstr(text, "AUTH\r\n$6\r\nsecret"));
    client_close(&client);
    end(server);
}

static void expect_refused(const char *certificate, const char *ca, const char *name,
                           const char *why)
{
    struct client client;
    char text[256];
    uint16_t port = io_free_port();
    pid_t server = serve(certificate, port, "-tls1_3");
    client_open(&client, config_of(ca, name));
    client_dial(&client, port);
    assert_true(client.lost && !client.open);
    if (!strstr(client.why, why))
        fail_msg("%s, not %s", client.why, why);
    assert_int_equal(client.reach, REACH_DENIED);
    (void)loop_run_for(client.loop, 50);
    assert_int_equal(heard(text, sizeof text), 0);
    client_close(&client);
    end(server);
}

static void test_a_server_of_our_authority_is_believed(void **state)
{
    (void)state;
    expect_believed("", "-tls1_3");
    expect_believed("redis.lab", "-tls1_2");
}

static void test_every_other_certificate_is_refused(void **state)
{
    (void)state;
    expect_refused("good", "other.pem", "", "self-signed certificate in certificate chain");
    expect_refused("other", "ca.pem", "", "self-signed certificate");
    expect_refused("elsewhere", "ca.pem", "", "redis.tls.serverName is not set");
    expect_refused("good", "ca.pem", "other.lab", "does not name redis.tls.serverName");
    expect_refused("expired", "ca.pem", "", "certificate has expired");
    expect_refused("weak", "ca.pem", "", "key too weak");
    expect_refused("sha1", "ca.pem", "", "digest algorithm too weak");
}

static void test_old_versions_of_tls_are_not_spoken(void **state)
{
    (void)state;
    struct client client;
    uint16_t port = io_free_port();
    pid_t server = serve("good", port, "-tls1_1");
    client_open(&client, config_of("ca.pem", ""));
    client_dial(&client, port);
    assert_true(client.lost);
    client_close(&client);
    end(server);
}

static void test_a_plain_server_is_given_up_in_time(void **state)
{
    (void)state;
    struct client client;
    struct io_redis redis = {0};
    io_redis_start(&redis, (const char *const[]){"--requirepass", "secret", NULL});
    client_open(&client, config_of("ca.pem", ""));
    int64_t began_ms = clock_mono_ms();
    client_dial(&client, redis.port);
    assert_true(client.lost);
    assert_non_null(strstr(client.why, "the server does not speak TLS"));
    assert_true(clock_mono_ms() - began_ms < PEER_HANDSHAKE_MS + 1000);
    client_close(&client);
    io_redis_stop(&redis);
}

static void test_a_tls_server_never_gets_a_password_in_plain(void **state)
{
    (void)state;
    struct client client;
    uint16_t port = io_free_port();
    pid_t server = serve("good", port, "-tls1_3");
    client_open(&client, NULL);
    client_dial(&client, port);
    assert_true(client.lost);
    /* by its alert, unless the connection's reset overtook that */
    assert_non_null(strstr(client.why, "TLS (redis.tls.enabled)"));
    client_close(&client);
    end(server);
}

static void test_files_that_cannot_be_used_are_named(void **state)
{
    (void)state;
    struct err err = {0};
    const struct {
        const char *ca, *cert, *key, *why;
    } cases[] = {
        {"none.pem", "good.pem", "good.key", "redis.tls.caFile: "},
        {"password", "good.pem", "good.key", "password: no certificate or crl found"},
        {"ca.pem", "password", "good.key", "password: no start line"},
        {"ca.pem", "good.pem", "password", "password: "},
        {"ca.pem", "good.pem", "other.key", "key values mismatch"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct redis_tls tls;
        struct redis_tls_config config = *config_of(cases[i].ca, "");
        config.cert_file = in_dir(cases[i].cert);
        config.key_file = in_dir(cases[i].key);
        redis_tls_init(&tls, &config);
        assert_null(redis_tls_new_end(&tls, "127.0.0.1", &err));
        if (!strstr(err.msg, cases[i].why))
            fail_msg("%s, not %s", err.msg, cases[i].why);
        redis_tls_deinit(&tls);
    }
}

static void copy(const char *from, const char *to)
{
    char command[256];
    text_format(command, sizeof command, "cp %s %s.new && mv %s.new %s", in_dir(from), in_dir(to),
                in_dir(to), in_dir(to));
    assert_int_equal(system(command), 0);
}

/* A rotation swaps one file after the other: half of it changes nothing. */
static void test_files_are_read_again_when_they_fit(void **state)
{
    (void)state;
    struct redis_tls tls;
    struct err err = {0};
    copy("good.pem", "live.pem");
    copy("good.key", "live.key");
    struct redis_tls_config config = *config_of("ca.pem", "");
    config.cert_file = in_dir("live.pem");
    config.key_file = in_dir("live.key");
    redis_tls_init(&tls, &config);
    for (int step = 0; step < 4; step++) {
        const struct ssl_ctx_st *before = tls.context;
        if (step == 2)
            copy("elsewhere.pem", "live.pem");
        if (step == 3)
            copy("elsewhere.key", "live.key");
        struct ssl_st *one = redis_tls_new_end(&tls, "127.0.0.1", &err);
        assert_non_null(one);
        redis_tls_drop(one);
        assert_true((tls.context == before) == (step == 1 || step == 2));
    }
    redis_tls_deinit(&tls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_of_our_authority_is_believed),
        cmocka_unit_test(test_every_other_certificate_is_refused),
        cmocka_unit_test(test_old_versions_of_tls_are_not_spoken),
        cmocka_unit_test(test_a_plain_server_is_given_up_in_time),
        cmocka_unit_test(test_a_tls_server_never_gets_a_password_in_plain),
        cmocka_unit_test(test_files_that_cannot_be_used_are_named),
        cmocka_unit_test(test_files_are_read_again_when_they_fit),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
