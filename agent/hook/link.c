/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/link.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "hook/file.h"

/* Waits for the socket; E_TIMEOUT at the deadline. */
static int wait_for(int fd, short events, int64_t deadline_ms, struct err *err)
{
    for (;;) {
        int64_t left = deadline_ms - file_now_ms();
        struct pollfd poll_fd = {.fd = fd, .events = events};
        int n = poll(&poll_fd, 1, left > 0 ? (int)left : 0);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_errno(err, errno, "poll");
        if (n == 0)
            return err_set(err, E_TIMEOUT, "the agent is silent");
    }
}

static int link_open(struct link *link, const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!TEXT_COPY(address.sun_path, span_of(path)))
        return err_set(err, E_INVALID, "--socket %s is longer than %zu bytes", path,
                       sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, errno, "socket");
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        (void)err_errno(err, errno, "no agent answers on %s", path);
        err->code = E_UNREACHABLE;
        (void)close(fd);
        return E_UNREACHABLE;
    }
    link->fd = fd;
    hook_reader_init(&link->reader, HOOK_ANSWERS);
    return 0;
}

static int send_all(int fd, const char *bytes, size_t len, int64_t deadline_ms, struct err *err)
{
    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n >= 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            int r = wait_for(fd, POLLOUT, deadline_ms, err);
            if (r < 0)
                return r;
        } else if (errno != EINTR) {
            return err_set(err, E_GONE, "the agent closed the connection");
        }
    }
    return 0;
}

int link_ask(struct link *link, const char *socket_path, const struct hook_request *request,
             int64_t deadline_ms, struct err *err)
{
    auto_buf struct buf text;
    buf_init(&text, HOOK_MESSAGE_MAX);
    int r = hook_request_format(request, &text, err);
    if (r == 0)
        r = link_open(link, socket_path, err);
    if (r < 0)
        return r;
    r = send_all(link->fd, buf_str(&text), text.len, deadline_ms, err);
    if (r < 0)
        link_close(link);
    return r;
}

/* Bytes into the reader; E_TIMEOUT when none came. */
static int receive(struct link *link, int64_t deadline_ms, struct err *err)
{
    char bytes[4096];
    int r = wait_for(link->fd, POLLIN, deadline_ms, err);
    if (r < 0)
        return r;
    ssize_t n = recv(link->fd, bytes, sizeof bytes, 0);
    if (n > 0)
        return hook_reader_feed(&link->reader, bytes, (size_t)n, err);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    return err_set(err, E_GONE, "the agent closed the connection");
}

int link_hear(struct link *link, int64_t deadline_ms, struct hook_answer *ret_answer,
              struct err *err)
{
    struct span message;
    int r;
    while ((r = hook_reader_next(&link->reader, &message, err)) == 0) {
        r = receive(link, deadline_ms, err);
        if (r < 0)
            break;
    }
    if (r > 0)
        r = hook_answer_parse(message, ret_answer, err);
    if (r < 0 && r != E_TIMEOUT)
        link_close(link);
    return r;
}

void link_close(struct link *link)
{
    if (link->fd < 0)
        return;
    (void)close(link->fd);
    hook_reader_deinit(&link->reader);
    link->fd = -1;
}
