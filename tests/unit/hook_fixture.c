/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/hook_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "io/clock.h"

static void on_start(void *ctx)
{
    ((struct hook_fixture *)ctx)->starts++;
}

static void on_server_gone(void *ctx)
{
    ((struct hook_fixture *)ctx)->gone++;
}

static enum hook_verdict on_drain(void *ctx, char reason[HOOK_REASON_SIZE])
{
    text_format(reason, HOOK_REASON_SIZE, "so says the owner");
    return ((struct hook_fixture *)ctx)->drain;
}

static enum hook_verdict on_person(void *ctx, const struct hook_request *request,
                                   char reason[HOOK_REASON_SIZE])
{
    struct hook_fixture *f = ctx;
    text_format(reason, HOOK_REASON_SIZE, "so says the owner");
    f->persons++;
    f->person_verb = request->verb;
    f->person = request->person;
    return f->person_says;
}

struct hook_server_config hook_fixture_config(struct hook_fixture *f)
{
    return (struct hook_server_config){
        .base = loop_base(f->loop),
        .socket_path = f->socket_path,
        .server_ip = "127.0.0.1",
        .server_port = 6379,
        .now_ms = clock_mono_ms,
        .on_start = on_start,
        .on_server_gone = on_server_gone,
        .on_drain = on_drain,
        .on_person = on_person,
        .ctx = f,
    };
}

void hook_fixture_open(struct hook_fixture *f)
{
    struct hook_server_config config = hook_fixture_config(f);
    struct err err = {0};
    if (hook_server_new(&config, &f->server, &err) < 0)
        fail_msg("%s", err.msg);
}

int hook_fixture_setup(void **state)
{
    static struct hook_fixture fixture;
    struct hook_fixture *f = &fixture;
    *f = (struct hook_fixture){.drain = HOOK_OK};
    text_format(f->dir, sizeof f->dir, "/tmp/muster-hook-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    text_format(f->socket_path, sizeof f->socket_path, "%s/agent.sock", f->dir);
    log_setup(LOG_ERROR, LOG_LOGFMT, NULL);
    f->loop = loop_new(NULL);
    hook_fixture_open(f);
    *state = f;
    return 0;
}

int hook_fixture_teardown(void **state)
{
    struct hook_fixture *f = *state;
    hook_server_free(f->server);
    loop_free(f->loop);
    static const char *const names[] = {"agent.sock", "server.lock", "ready"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        text_format(path, sizeof path, "%s/%s", f->dir, names[i]);
        (void)unlink(path);
    }
    /* nothing else was left behind */
    assert_int_equal(rmdir(f->dir), 0);
    return 0;
}

int hook_fixture_dial(const struct hook_fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    TEXT_COPY(address.sun_path, span_of(f->socket_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

int hook_fixture_ask(const struct hook_fixture *f, const char *text)
{
    int fd = hook_fixture_dial(f);
    say(fd, text);
    loop_run_for(f->loop, 30);
    return fd;
}

void hook_fixture_hears(int fd, const char *text, bool closed)
{
    char bytes[4096] = "";
    size_t len = 0;
    ssize_t n;
    while ((n = recv(fd, bytes + len, sizeof bytes - len - 1, 0)) > 0)
        len += (size_t)n;
    assert_int_equal(n == 0 || errno == ECONNRESET, closed);
    if (strncmp(bytes, text, strlen(text)) != 0)
        fail_msg("heard \"%s\" instead of \"%s\"", bytes, text);
}

void hook_fixture_hears_and_close(int fd, const char *text)
{
    hook_fixture_hears(fd, text, true);
    close(fd);
}

int hook_fixture_lock(const struct hook_fixture *f)
{
    char path[128];
    text_format(path, sizeof path, "%s/server.lock", f->dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

void hook_fixture_answer(struct hook_fixture *f, enum hook_verdict verdict, const char *reason)
{
    struct hook_answer a = {.verdict = verdict};
    TEXT_COPY(a.reason, span_of(reason));
    assert_int_equal(hook_server_answer_start(f->server, &a, NULL), 0);
}
