/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/hook_ask.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/limits.h"

#define ASK_SOCKET "/run/muster/agent.sock"
#define ASK_TIMEOUT_S 5

static int ask_connect(const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = ASK_TIMEOUT_S};
    if (!TEXT_COPY(address.sun_path, span_of(path)))
        return err_set(err, E_INVALID, "--socket %s is longer than %zu bytes", path,
                       sizeof address.sun_path - 1);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
        return err_errno(err, errno, "socket");
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return err_errno(err, errno, "no agent answers on %s", path);
    return cleanup_take_fd(&fd);
}

/* One request, one answer. */
static int ask_at(const char *path, const struct hook_request *request,
                  struct hook_answer *ret_answer, struct err *err)
{
    auto_close int fd = ask_connect(path, err);
    if (fd < 0)
        return fd;
    auto_buf struct buf text;
    buf_init(&text, HOOK_MESSAGE_MAX);
    int r = hook_request_format(request, &text, err);
    if (r < 0)
        return r;
    if (send(fd, buf_str(&text), text.len, MSG_NOSIGNAL) != (ssize_t)text.len)
        return err_errno(err, errno, "the agent takes no request");
    struct hook_reader reader;
    struct span message;
    hook_reader_init(&reader, HOOK_ANSWERS);
    while ((r = hook_reader_next(&reader, &message, err)) == 0) {
        char bytes[1024];
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0) {
            r = err_set(err, E_TIMEOUT, "the agent gave no answer");
            break;
        }
        r = hook_reader_feed(&reader, bytes, (size_t)n, err);
        if (r < 0)
            break;
    }
    if (r > 0)
        r = hook_answer_parse(message, ret_answer, err);
    hook_reader_deinit(&reader);
    return r;
}

int hook_ask(const struct cli *cli, const char *path, const struct hook_request *request,
             struct hook_answer *ret_answer, struct err *err)
{
    const char *set = cli->env("MUSTER_HOOK_SOCKET");
    return ask_at(path ? path : set && set[0] ? set : ASK_SOCKET, request, ret_answer, err);
}

int hook_tell(const struct cli *cli, const char *command, const char *path,
              const struct hook_request *request)
{
    auto_hook_answer struct hook_answer answer = {0};
    struct err err = {0};
    if (hook_ask(cli, path, request, &answer, &err) < 0) {
        (void)fprintf(cli->err, "muster %s: %s\n", command, err.msg);
        return CLI_FAILED;
    }
    bool done = answer.verdict == HOOK_OK;
    if (!done)
        (void)fprintf(cli->err, "muster %s: ", command);
    (void)fprintf(done ? cli->out : cli->err, "%s\n", answer.reason);
    return done ? CLI_OK : CLI_FAILED;
}
