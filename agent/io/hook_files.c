/* SPDX-License-Identifier: Apache-2.0 */
#include "io/hook_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/limits.h"

#define SOCKET_MODE 0660
#define BACKLOG 16
#define LOCK_MODE 0660
#define READY_MODE 0644
#define READY_MAX 4096

bool hook_file_path(const char *socket_path, const char *name, char ret_path[HOOK_FILE_PATH_SIZE])
{
    struct span dir = span_of(socket_path);
    ptrdiff_t slash = span_rfind(dir, '/');
    int n = snprintf(ret_path, HOOK_FILE_PATH_SIZE, "%.*s%s", (int)(slash + 1), dir.ptr, name);
    return n < HOOK_FILE_PATH_SIZE;
}

int hook_lock_create(const char *path, struct err *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, LOCK_MODE);
    if (fd < 0)
        return err_errno(err, errno, "open %s", path);
    /* whoever comes first makes it, under a umask, and gives it its mode */
    if (fchmod(fd, LOCK_MODE) < 0 && errno != EPERM)
        return err_errno(err, errno, "chmod %s", path);
    return 0;
}

bool hook_lock_is_held(const char *path)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    /* shared, so that two who look do not take each other for the server */
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* In one step; anybody may read it. */
static int file_replace(const char *path, const struct buf *text, struct err *err)
{
    char made[HOOK_FILE_PATH_SIZE + 8];
    text_format(made, sizeof made, "%s.new", path);
    auto_close int fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, READY_MODE);
    if (fd < 0)
        return err_errno(err, errno, "open %s", made);
    ssize_t n = write(fd, text->bytes, text->len);
    if (n != (ssize_t)text->len)
        return err_errno(err, n < 0 ? errno : ENOSPC, "write %s", made);
    if (fchmod(fd, READY_MODE) < 0)
        return err_errno(err, errno, "chmod %s", made);
    if (rename(made, path) < 0)
        return err_errno(err, errno, "rename %s", made);
    return 0;
}

int hook_ready_write(const char *path, const struct hook_answer *answer, struct err *err)
{
    auto_buf struct buf text;
    buf_init(&text, READY_MAX);
    int r = hook_answer_format(answer, &text, err);
    return r < 0 ? r : file_replace(path, &text, err);
}

int hook_part_write(const char *path, const struct node_id *id, struct err *err)
{
    if (!id)
        return unlink(path) == 0 || errno == ENOENT ? 0 : err_errno(err, errno, "remove %s", path);
    auto_buf struct buf text;
    buf_init(&text, READY_MAX);
    (void)buf_format(&text, "%s\n", id->hex);
    return file_replace(path, &text, err);
}

struct node_id hook_part_read(const char *path)
{
    char text[sizeof(struct node_id) + 1];
    struct node_id id = {""};
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
    struct span rest = {text, n > 0 ? (size_t)n : 0};
    struct span line;
    if (!span_line(&rest, &line) || !node_id_parse(line, &id))
        return (struct node_id){""};
    return id;
}

enum hook_verdict hook_ready_read(const char *path)
{
    char text[READY_MAX];
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    auto_hook_answer struct hook_answer answer = {0};
    if (n < 0 || hook_answer_parse((struct span){text, (size_t)n}, &answer, NULL) < 0)
        return HOOK_VERDICT_NONE;
    return answer.verdict;
}

static int make_address(const char *path, struct sockaddr_un *ret_address, struct err *err)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (!path[0] || !TEXT_COPY(ret_address->sun_path, span_of(path)))
        return err_set(err, E_INVALID, "hook.socket: \"%s\" is not a path of 1 to %zu bytes", path,
                       sizeof ret_address->sun_path - 1);
    return 0;
}

/* A previous agent's socket, on which nobody listens any more, is in the way. */
static int remove_stale(const struct sockaddr_un *address, struct err *err)
{
    struct stat st;
    if (lstat(address->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(err, errno, "%s", address->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, E_INVALID, "%s is there and is no socket", address->sun_path);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, errno, "socket");
    int r = connect(fd, (const struct sockaddr *)address, sizeof *address);
    if (r == 0 || errno != ECONNREFUSED)
        return err_set(err, E_BUSY, "another agent answers on %s", address->sun_path);
    if (unlink(address->sun_path) < 0)
        return err_errno(err, errno, "remove %s", address->sun_path);
    return 0;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address, struct err *err)
{
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        return err_errno(err, errno, "bind %s", address->sun_path);
    if (chmod(address->sun_path, SOCKET_MODE) < 0 || listen(fd, BACKLOG) < 0)
        return err_errno(err, errno, "listen on %s", address->sun_path);
    return 0;
}

int hook_socket_listen(const char *path, int *ret_fd, struct err *err)
{
    struct sockaddr_un address;
    int r = make_address(path, &address, err);
    if (r == 0)
        r = remove_stale(&address, err);
    if (r < 0)
        return r;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, errno, "socket");
    r = bind_and_listen(fd, &address, err);
    if (r < 0)
        (void)close(fd);
    else
        *ret_fd = fd;
    return r;
}
