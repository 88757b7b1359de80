/* SPDX-License-Identifier: Apache-2.0 */
/* Whom the token is sent to: certificates that must be refused (FAULTS A12, H7). */
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
};

static void session_on_done(void *ctx, const struct kube_answer *answer)
{
    struct session *session = ctx;
    session->done++;
    session->status = answer->status;
    session->code = answer->err.code;
}

static bool session_is_done(void *ctx)
{
    const struct session *session = ctx;
    return session->done > 0;
}

/* Two authorities, and certificates of the first: for 127.0.0.1, for another address, expired. */
static int make_certificates(void **state)
{
    (void)state;
    static const char script[] =
        "set -e; cd %s; exec >log 2>&1\n"
        "ca() { openssl req -x509 -newkey rsa:2048 -nodes -keyout $1.key -out $1.pem -days 1 "
        "-subj /CN=$1 -addext basicConstraints=critical,CA:TRUE; }\n"
        "leaf() { openssl req -newkey rsa:2048 -nodes -keyout $1.key -out $1.csr -subj /CN=$1\n"
        "printf 'subjectAltName=IP:%%s\\n' $2 >$1.ext\n"
        "openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days $3 "
        "-extfile $1.ext -out $1.pem; }\n"
        "ca ca; ca other; leaf good 127.0.0.1 1; leaf elsewhere 127.0.0.2 1; leaf expired "
        "127.0.0.1 -1\n";
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
                     key, "-www", "-quiet", option, (char *)NULL);
    _exit(127);
}

/* One request to a server with this certificate; the client trusts `ca`. */
static void ask(struct session *session, const char *ca, uint16_t port)
{
    char url[64], ca_file[64];
    text_format(url, sizeof url, "https://127.0.0.1:%u", port);
    text_format(ca_file, sizeof ca_file, "%s/%s.pem", dir, ca);
    *session = (struct session){.loop = loop_new(NULL)};
    struct kube_client_config config = {
        .api_server = url, .ca_file = ca[0] ? ca_file : "", .ns = "ns"};
    session->client = kube_client_new(session->loop, &config, NULL);
    assert_non_null(session->client);
    /* The server needs a moment to start; a refused connection is no answer to our question. */
    for (int i = 0; i < 50 && (!session->done || session->code == E_UNREACHABLE); i++) {
        struct kube_call call = {
            .verb = KUBE_GET, .path = "/", .on_done = session_on_done, .ctx = session};
        session->done = 0;
        assert_non_null(kube_start(session->client, &call, NULL));
        assert_true(io_run_until(session->loop, session_is_done, session, 5000));
        (void)loop_run_for(session->loop, 20);
    }
    assert_int_equal(io_count_threads(), 1);
    kube_client_free(session->client);
    loop_free(session->loop);
}

static void expect(const char *certificate, const char *ca, const char *option, int code)
{
    struct session session;
    uint16_t port = io_free_port();
    pid_t server = serve(certificate, port, option);
    ask(&session, ca, port);
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_of_our_authority_is_believed),
        cmocka_unit_test(test_every_other_certificate_is_refused),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
