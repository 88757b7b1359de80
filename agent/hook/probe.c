/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "hook/file.h"
#include "hook/link.h"
#include "hook/paths.h"
#include "hook/say.h"

/* Together below two seconds, the timeoutSeconds of the chart's probe. */
#define READY_ASK_MS 1300
#define READY_DIAL_MS 400
#define DRAIN_RETRY_MS 200
#define SAY_AGAIN_MS 10000

/* ---- ready ---- */

static int ask_once(const char *socket_path, enum hook_verb verb, int64_t timeout_ms,
                    struct hook_answer *ret_answer, struct err *err)
{
    struct link link = LINK_NONE;
    struct hook_request request = {.verb = verb};
    int64_t deadline = file_now_ms() + timeout_ms;
    int r = link_ask(&link, socket_path, &request, deadline, err);
    if (r == 0)
        r = link_hear(&link, deadline, ret_answer, err);
    link_close(&link);
    return r;
}

/* Something accepts there: a server that hangs with a full backlog does not. */
static int dial(const char *ip, uint16_t port, struct err *err)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
    socklen_t len = sizeof *v4;
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
    } else if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        len = sizeof *v6;
    } else {
        return err_set(err, E_INVALID, "%s is no address", ip);
    }
    auto_close int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, errno, "socket");
    if (connect(fd, (struct sockaddr *)&address, len) == 0)
        return 0;
    int error = errno;
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    socklen_t error_len = sizeof error;
    if (error == EINPROGRESS) {
        if (poll(&poll_fd, 1, READY_DIAL_MS) != 1)
            error = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len) < 0)
            error = errno;
    }
    return error ? err_errno(err, error, "connect to %s port %u", ip, port) : 0;
}

static int last_verdict(const char *socket_path, struct hook_answer *ret_answer, struct err *err)
{
    char path[PATHS_SIZE];
    auto_buf struct buf text;
    buf_init(&text, KIB(4));
    int r = paths_beside(socket_path, "ready", path, err);
    if (r == 0)
        r = file_read(path, &text, err);
    if (r == 0)
        r = hook_answer_parse((struct span){buf_str(&text), text.len}, ret_answer, err);
    return r;
}

int probe_ready(const char *socket_path)
{
    auto_hook_answer struct hook_answer answer = {0};
    struct err err = {0}, silence = {0};
    if (ask_once(socket_path, HOOK_READY, READY_ASK_MS, &answer, &silence) == 0) {
        if (answer.verdict == HOOK_OK)
            return 0;
        say_info("not-ready", "%s", answer.reason);
        return 1;
    }
    auto_hook_answer struct hook_answer last = {0};
    if (last_verdict(socket_path, &last, &err) < 0) {
        say_info("not-ready", "%s; and there is no earlier verdict: %s", silence.msg, err.msg);
        return 1;
    }
    if (last.verdict != HOOK_OK) {
        say_info("not-ready", "%s; its last verdict was: %s", silence.msg, last.reason);
        return 1;
    }
    if (last.server_ip[0] && dial(last.server_ip, last.server_port, &err) < 0) {
        say_info("not-ready", "%s; it was ready, but: %s", silence.msg, err.msg);
        return 1;
    }
    return 0;
}

/* ---- alive ---- */

int probe_alive(const char *socket_path)
{
    char path[PATHS_SIZE];
    struct err err = {0};
    if (paths_beside(socket_path, "server.lock", path, &err) < 0) {
        say_error("not-alive", "%s", err.msg);
        return 1;
    }
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        say_info("not-alive", "cannot open %s: %s", path, strerror(errno));
        return 1;
    }
    /* shared, so that two probes at once do not take each other for the server */
    if (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return 0;
    say_info("not-alive", "nobody holds %s: neither server nor gate runs", path);
    return 1;
}

/* ---- agent ---- */

int probe_agent(const char *socket_path)
{
    auto_hook_answer struct hook_answer answer = {0};
    struct err err = {0};
    if (ask_once(socket_path, HOOK_ALIVE, READY_ASK_MS, &answer, &err) == 0)
        return 0;
    say_info("no-agent", "%s", err.msg);
    return 1;
}

/* ---- drain ---- */

struct drain {
    struct link link;
    int64_t heard_ms;
    int64_t said_ms;
    char said[HOOK_REASON_SIZE];
};

static void say_draining(struct drain *drain, const char *reason)
{
    int64_t now = file_now_ms();
    if (strcmp(drain->said, reason) == 0 && now - drain->said_ms < SAY_AGAIN_MS)
        return;
    text_format(drain->said, sizeof drain->said, "%s", reason);
    drain->said_ms = now;
    say_info("draining", "%s", reason);
}

/* The exit code that an answer means, -1 = not yet. */
static int drain_code(struct drain *drain, const struct hook_answer *answer)
{
    drain->heard_ms = file_now_ms();
    if (answer->verdict == HOOK_OK) {
        say_info("drained", "the server may stop: %s", answer->reason);
        return 0;
    }
    if (answer->verdict == HOOK_WAIT) {
        say_draining(drain, answer->reason);
        return -1;
    }
    say_warn("not-drained", "the agent says: %s; the server stops all the same", answer->reason);
    return 1;
}

int probe_drain(const char *socket_path, int64_t silent_seconds)
{
    int64_t begun_ms = file_now_ms();
    struct drain drain = {.link = LINK_NONE, .heard_ms = begun_ms};
    struct hook_request request = {.verb = HOOK_DRAIN};
    int code = -1;
    while (code < 0) {
        struct err err = {0};
        auto_hook_answer struct hook_answer answer = {0};
        int64_t deadline = file_now_ms() + DRAIN_RETRY_MS;
        int r = 0;
        request.waits_ms = file_now_ms() - begun_ms;
        if (drain.link.fd < 0)
            r = link_ask(&drain.link, socket_path, &request, deadline, &err);
        if (r == 0)
            r = link_hear(&drain.link, deadline, &answer, &err);
        if (r == 0) {
            code = drain_code(&drain, &answer);
            continue;
        }
        if (file_now_ms() - drain.heard_ms >= silent_seconds * 1000) {
            say_warn("not-drained",
                     "the agent was silent for %lld s (%s): the server stops without a hand-over",
                     (long long)silent_seconds, err.msg);
            code = 0;
        } else if (r != E_TIMEOUT) {
            (void)nanosleep(&(struct timespec){.tv_nsec = DRAIN_RETRY_MS * 1000000L}, NULL);
        }
    }
    link_close(&drain.link);
    return code;
}
