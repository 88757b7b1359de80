/* SPDX-License-Identifier: Apache-2.0 */
/* Whom the token is sent to: certificates that must be refused (FAULTS A12, H7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "io/clock.h"
#include "io/kube_client.h"
#include "unit/io_script.h"

static char dir[] = "/tmp/muster-io-tls-XXXXXX";

struct session {
    struct loop *loop;
    struct kube_client *client;
    int done;
    int status;
    int code;
    bool resumed; /* the server says that it knew the TLS session */
};

static void session_on_done(void *ctx, const struct kube_answer *answer)
{
    struct session *session = ctx;
    session->done++;
    session->status = answer->status;
    session->code = answer->err.code;
    auto_buf struct buf page;
    buf_init(&page, KIB(64));
    (void)buf_append(&page, answer->body.ptr, answer->body.len);
    session->resumed = strstr(buf_str(&page), "\nReused, ") != NULL;
}

static bool session_is_done(void *ctx)
{
    const struct session *session = ctx;
    return session->done > 0;
}

/*
 * Two authorities, and certificates of the first: for 127.0.0.1, for another address, expired, weak
 * (RSA of 1024 bits), signed by SHA-1. The system's openssl.cnf would allow the last two: a program
 * that refuses them does so by itself.
 */
static int make_certificates(void **state)
{
    (void)state;
    static const char script[] =
        "set -e; cd %s; exec >log 2>&1\n"
        "make=" MUSTER_TESTS_DIR "/lib/certs.sh; $make ca ca; $make ca other\n"
        "$make leaf good good IP:127.0.0.1 1 sha256 2048\n"
        "$make leaf elsewhere elsewhere IP:127.0.0.2 1 sha256 2048\n"
        "$make leaf expired expired IP:127.0.0.1 -1 sha256 2048\n"
        "$make leaf weak weak IP:127.0.0.1 1 sha256 1024\n"
        "$make leaf sha1 sha1 IP:127.0.0.1 1 sha1 2048\n"
        "printf 'openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\n"
        "CipherString=DEFAULT:@SECLEVEL=0\n' >lax.cnf\n";
    char command[2048], lax[64];
    if (!mkdtemp(dir))
        return -1;
    text_format(command, sizeof command, script, dir);
    text_format(lax, sizeof lax, "%s/lax.cnf", dir);
    int rc = system(command);
    return rc ? rc : setenv("OPENSSL_CONF", lax, 1);
}

static int remove_certificates(void **state)
{
    (void)state;
    char command[128];
    text_format(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

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
    auto_close int null = open("/dev/null", O_RDWR);
    (void)dup2(null, 0), (void)dup2(null, 1), (void)dup2(null, 2);
    if (chdir(dir) == 0)
        (void)execlp("openssl", "openssl", "s_server", "-accept", accept, "-cert", cert, "-key",
                     key, "-www", "-quiet", "-cipher", "ALL:@SECLEVEL=0", option, (char *)NULL);
    _exit(127);
}

/* The client trusts `ca`. */
static void session_open(struct session *session, const char *ca, uint16_t port)
{
    char url[64], ca_file[64];
    text_format(url, sizeof url, "https://127.0.0.1:%u", port);
    text_format(ca_file, sizeof ca_file, "%s/%s.pem", dir, ca);
    *session = (struct session){.loop = loop_new(NULL)};
    struct kube_client_config config = {
        .api_server = url, .ca_file = ca[0] ? ca_file : "", .ns = "ns"};
    session->client = kube_client_new(session->loop, &config, NULL);
    assert_non_null(session->client);
}

static void session_close(struct session *session)
{
    assert_int_equal(io_count_threads(), 1);
    kube_client_free(session->client);
    loop_free(session->loop);
}

/* One request, on a connection of its own: such a server closes it. */
static void ask(struct session *session)
{
    session->done = 0;
    /* The server needs a moment to start; a refused connection is no answer to our question. */
    for (int i = 0; i < 50 && (!session->done || session->code == E_UNREACHABLE); i++) {
        struct kube_call call = {
            .verb = KUBE_GET, .path = "/", .on_done = session_on_done, .ctx = session};
        session->done = 0;
        assert_non_null(kube_start(session->client, &call, NULL));
        assert_true(io_run_until(session->loop, session_is_done, session, 5000));
        (void)loop_run_for(session->loop, 20);
    }
}

static void expect(const char *certificate, const char *ca, const char *option, int code)
{
    struct session session;
    uint16_t port = io_free_port();
    pid_t server = serve(certificate, port, option);
    session_open(&session, ca, port);
    ask(&session);
    session_close(&session);
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
    assert_int_equal(session.code, code);
    assert_int_equal(session.status, code == E_OK ? 200 : 0);
}

static void test_a_server_of_our_authority_is_believed(void **state)
{
    (void)state;
    expect("good", "ca", "-tls1_3", E_OK);
    expect("good", "ca", "-tls1_2", E_OK);
}

static void test_every_other_certificate_is_refused(void **state)
{
    (void)state;
    expect("good", "other", "-tls1_3", E_AUTH);   /* another authority */
    expect("good", "", "-tls1_3", E_AUTH);        /* not the system's either */
    expect("other", "ca", "-tls1_3", E_AUTH);     /* self-signed */
    expect("elsewhere", "ca", "-tls1_3", E_AUTH); /* for another address */
    expect("expired", "ca", "-tls1_3", E_AUTH);
    expect("weak", "ca", "-tls1_3", E_AUTH);
    expect("sha1", "ca", "-tls1_3", E_AUTH);
}

/*
 * With an authority of our own the system's are not trusted beside it. Here the system trusts `ca`, in
 * a mount namespace of this process; the last test, for there is no way back.
 */
static void test_the_systems_authorities_are_not_trusted_beside_ours(void **state)
{
    (void)state;
    char command[256];
    if (unshare(CLONE_NEWNS) != 0)
        skip(); /* without root */
    text_format(command, sizeof command,
                "cd %s && mkdir system && cp ca.pem system && openssl rehash system", dir);
    assert_int_equal(system(command), 0);
    text_format(command, sizeof command, "%s/system", dir);
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount(command, "/etc/ssl/certs", NULL, MS_BIND, NULL), 0);
    expect("good", "other", "-tls1_3", E_AUTH);
    expect("good", "ca", "-tls1_3", E_OK);
    assert_int_equal(umount2("/etc/ssl/certs", MNT_DETACH), 0);
}

/* A handshake with certificates is the dearest of all that a request costs. */
static void resume(const char *option)
{
    struct session session;
    char command[256];
    uint16_t port = io_free_port();
    text_format(command, sizeof command, "cd %s && cp ca.pem trusted.pem", dir);
    assert_int_equal(system(command), 0);
    pid_t server = serve("good", port, option);
    session_open(&session, "trusted", port);
    ask(&session);
    assert_int_equal(session.status, 200);
    assert_false(session.resumed);
    ask(&session);
    assert_int_equal(session.status, 200);
    assert_true(session.resumed);
    /* Whom is not trusted any more is not believed for what he once was. */
    text_format(command, sizeof command, "cd %s && sleep 1.1 && cp other.pem trusted.pem", dir);
    assert_int_equal(system(command), 0);
    ask(&session);
    assert_int_equal(session.code, E_AUTH);
    session_close(&session);
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
}

static void test_a_session_is_taken_up_as_long_as_its_authority_is_trusted(void **state)
{
    (void)state;
    resume("-tls1_3");
    resume("-tls1_2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_of_our_authority_is_believed),
        cmocka_unit_test(test_every_other_certificate_is_refused),
        cmocka_unit_test(test_a_session_is_taken_up_as_long_as_its_authority_is_trusted),
        cmocka_unit_test(test_the_systems_authorities_are_not_trusted_beside_ours),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
