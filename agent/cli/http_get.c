/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/http_get.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "io/clock.h"

/* Room for the answer's head beside the body. */
#define ANSWER_HEAD_MAX KIB(4)

/* Waits until the socket is ready for `events`. */
static int wait_for(int fd, short events, int64_t until_ms, struct err *err)
{
    for (;;) {
        int64_t left_ms = until_ms - clock_mono_ms();
        struct pollfd poll_fd = {.fd = fd, .events = events};
        int ready = left_ms > 0 ? poll(&poll_fd, 1, (int)left_ms) : 0;
        if (ready > 0)
            return 0;
        if (ready == 0)
            return err_set(err, E_TIMEOUT, "no answer within %d ms", HTTP_GET_MS);
        if (errno != EINTR)
            return err_errno(err, errno, "poll");
    }
}

static int dial(const struct endpoint *endpoint, int64_t until_ms, int *ret_fd, struct err *err)
{
    auto_close int fd =
        socket(endpoint->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, errno, "socket");
    int failure = 0;
    if (connect(fd, (const struct sockaddr *)&endpoint->address, endpoint->len) < 0)
        failure = errno;
    if (failure == EINPROGRESS) {
        socklen_t len = sizeof failure;
        int r = wait_for(fd, POLLOUT, until_ms, err);
        if (r < 0)
            return r;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0)
            failure = errno;
    }
    if (failure)
        return err_set(err, E_UNREACHABLE, "%s", strerror(failure));
    *ret_fd = cleanup_take_fd(&fd);
    return 0;
}

static int send_request(int fd, const char *target, struct err *err)
{
    char request[256];
    text_format(request, sizeof request,
                "GET %s HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n\r\n", target);
    /* It fits into any socket's empty buffer. */
    ssize_t n = send(fd, request, strlen(request), MSG_NOSIGNAL);
    if (n < 0 || (size_t)n != strlen(request))
        return err_errno(err, errno, "send");
    return 0;
}

static int read_answer(int fd, int64_t until_ms, struct buf *answer, struct err *err)
{
    char chunk[16384];
    for (;;) {
        int r = wait_for(fd, POLLIN, until_ms, err);
        if (r < 0)
            return r;
        ssize_t n = recv(fd, chunk, sizeof chunk, 0);
        if (n == 0)
            return 0;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n < 0)
            return err_errno(err, errno, "receive");
        if (buf_append(answer, chunk, (size_t)n) < 0)
            return err_set(err, E_LIMIT, "the answer is longer than %zu bytes", answer->ceiling);
    }
}

/* "Content-Length: 12", case aside; *ret_length is untouched if the line is another header. */
static bool read_length(struct span line, uint64_t *ret_length)
{
    static const char name[] = "content-length";
    struct span key = span_until(&line, ':');
    if (key.len != sizeof name - 1 || strncasecmp(key.ptr, name, key.len) != 0)
        return true;
    struct span value;
    return span_token(&line, &value) && text_to_u64(value, SIZE_MAX / 2, ret_length);
}

int http_answer_parse(struct span answer, struct span *ret_body, struct err *err)
{
    struct span line;
    uint64_t status;
    uint64_t length = UINT64_MAX;
    if (!span_line(&answer, &line) || !span_starts(line, "HTTP/1."))
        return err_set(err, E_PROTO, "what answers is no HTTP server");
    (void)span_until(&line, ' ');
    if (!text_to_u64(span_until(&line, ' '), 599, &status))
        return err_set(err, E_PROTO, "what answers is no HTTP server");
    do {
        if (!span_line(&answer, &line))
            return err_set(err, E_PROTO, "the answer is cut short");
        if (!read_length(line, &length))
            return err_set(err, E_PROTO, "the answer has no valid length");
    } while (line.len);
    if (length == UINT64_MAX || answer.len < length)
        return err_set(err, E_PROTO, "the answer is cut short");
    if (status != 200) {
        struct span reason = {answer.ptr, (size_t)length};
        (void)span_line(&reason, &line);
        return err_set(err, E_PROTO, "HTTP %u: %.*s", (unsigned)status, (int)line.len, line.ptr);
    }
    *ret_body = (struct span){answer.ptr, (size_t)length};
    return 0;
}

int http_get(const struct endpoint *endpoint, const char *target, struct buf *ret_body,
             struct err *err)
{
    int64_t until_ms = clock_mono_ms() + HTTP_GET_MS;
    auto_close int fd = -1;
    auto_buf struct buf answer;
    struct span body = {0};
    buf_init(&answer, ret_body->ceiling + ANSWER_HEAD_MAX);
    int r = dial(endpoint, until_ms, &fd, err);
    if (r < 0)
        return r;
    r = send_request(fd, target, err);
    if (r < 0)
        return r;
    r = read_answer(fd, until_ms, &answer, err);
    if (r < 0)
        return r;
    r = http_answer_parse((struct span){buf_str(&answer), answer.len}, &body, err);
    if (r < 0)
        return r;
    if (buf_append(ret_body, body.ptr, body.len) < 0)
        return err_set(err, E_LIMIT, "the answer is longer than %zu bytes", ret_body->ceiling);
    return 0;
}
