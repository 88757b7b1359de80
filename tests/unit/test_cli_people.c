/* SPDX-License-Identifier: Apache-2.0 */
/* `muster failover --wait` until its end, of an agent that answers each connection by a script. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/people.h"

struct agent {
    char dir[32];
    struct sockaddr_un address;
    pid_t pid;
};

/* Exits with 0 once all answers are given, each to a request that holds its words. */
static void agent_play(int listener, const char *const asked[], const char *const answers[])
{
    for (int i = 0; asked[i]; i++) {
        char request[512] = "";
        int fd = accept(listener, NULL, NULL);
        ssize_t len = fd < 0 ? -1 : recv(fd, request, sizeof request - 1, 0);
        if (len <= 0 || !strstr(request, asked[i]))
            _exit(1);
        if (send(fd, answers[i], strlen(answers[i]), MSG_NOSIGNAL) < 0)
            _exit(2);
        (void)close(fd);
    }
    _exit(0);
}

static void agent_start(struct agent *agent, const char *const asked[], const char *const answers[])
{
    *agent = (struct agent){.dir = "/tmp/cli-people-XXXXXX", .address.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(agent->dir));
    text_format(agent->address.sun_path, sizeof agent->address.sun_path, "%s/sock", agent->dir);
    auto_close int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *address = (const struct sockaddr *)&agent->address;
    assert_int_equal(bind(listener, address, sizeof agent->address), 0);
    assert_int_equal(listen(listener, 8), 0);
    agent->pid = fork();
    assert_true(agent->pid >= 0);
    if (agent->pid == 0)
        agent_play(listener, asked, answers);
}

static void agent_end(const struct agent *agent)
{
    int status;
    assert_int_equal(waitpid(agent->pid, &status, 0), agent->pid);
    assert_int_equal(status, 0);
    (void)unlink(agent->address.sun_path);
    (void)rmdir(agent->dir);
}

static const char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

/* `muster failover muster-3 --wait` there; its last words are `said`. */
static int failover(const struct agent *agent, char said[256])
{
    char path[sizeof agent->address.sun_path];
    char pod[] = "muster-3";
    char wait[] = "--wait";
    char option[] = "--socket";
    char *argv[] = {pod, wait, option, path};
    FILE *to = fmemopen(said, 256, "w");
    struct cli cli = {.out = to, .err = to, .env = no_env};
    text_format(path, sizeof path, "%s", agent->address.sun_path);
    assert_non_null(to);
    int r = failover_run(&cli, 4, argv);
    (void)fclose(to);
    return r;
}

#define ORDER "failover\npod=muster-3\n\n"
#define LOOK "failover\npod=muster-3\nlook=yes\n\n"
#define BEGUN "muster-agent/1 ok\nreason=begun\n\n"
#define WAITS "muster-agent/1 wait\nreason=under way\n\n"

static void test_it_waits_until_it_is_told_the_end(void **state)
{
    (void)state;
    static const char *const asked[] = {ORDER, LOOK, LOOK, NULL};
    static const char *const answers[] = {BEGUN, WAITS, "muster-agent/1 ok\nreason=done\n\n"};
    struct agent agent;
    char said[256] = "";
    agent_start(&agent, asked, answers);
    assert_int_equal(failover(&agent, said), CLI_OK);
    assert_string_equal(said, "done\n");
    agent_end(&agent);
}

static void test_it_ends_with_the_reason_when_it_is_given_up(void **state)
{
    (void)state;
    static const char *const asked[] = {ORDER, LOOK, LOOK, NULL};
    static const char *const answers[] = {BEGUN, "", /* does not answer just now */
                                          "muster-agent/1 no\nreason=given up\n\n"};
    struct agent agent;
    char said[256] = "";
    agent_start(&agent, asked, answers);
    assert_int_equal(failover(&agent, said), CLI_FAILED);
    assert_string_equal(said, "muster failover: given up\n");
    agent_end(&agent);
}

static void test_what_is_refused_is_not_looked_for(void **state)
{
    (void)state;
    static const char *const asked[] = {ORDER, NULL};
    static const char *const answers[] = {"muster-agent/1 no\nreason=not in sync\n\n"};
    struct agent agent;
    char said[256] = "";
    agent_start(&agent, asked, answers);
    assert_int_equal(failover(&agent, said), CLI_FAILED);
    assert_string_equal(said, "muster failover: not in sync\n");
    agent_end(&agent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_waits_until_it_is_told_the_end),
        cmocka_unit_test(test_it_ends_with_the_reason_when_it_is_given_up),
        cmocka_unit_test(test_what_is_refused_is_not_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
