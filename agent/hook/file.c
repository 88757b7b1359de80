/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "wire/hook_proto.h"

int64_t file_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int file_read(const char *path, struct buf *out, struct err *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, E_NOT_FOUND, "%s is not there", path);
    if (fd < 0)
        return err_errno(err, errno, "open %s", path);
    char chunk[4096];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, errno, "read %s", path);
        if (n == 0)
            return 0;
        if (buf_append(out, chunk, (size_t)n) < 0)
            return err_set(err, E_LIMIT, "%s is longer than %zu bytes", path, out->ceiling);
    }
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Syncs the directory that holds `path`, so that the rename survives a power cut. */
static int sync_dir_of(const char *path, struct err *err)
{
    char dir[HOOK_PATH_SIZE + 16];
    struct span span = span_of(path);
    ptrdiff_t slash = span_rfind(span, '/');
    text_format(dir, sizeof dir, "%.*s", slash < 0 ? 1 : (int)(slash + 1), slash < 0 ? "." : path);
    auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* EINVAL: a file system that syncs no directories */
    if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
        return err_errno(err, errno, "sync %s", dir);
    return 0;
}

static int fill(int fd, const struct stat *like, const void *bytes, size_t len)
{
    if (like && fchown(fd, like->st_uid, like->st_gid) < 0 && errno != EPERM)
        return -1;
    if (fchmod(fd, like ? like->st_mode & 07777 : 0644) < 0)
        return -1;
    if (write_all(fd, bytes, len) < 0)
        return -1;
    return fsync(fd);
}

int file_replace(const char *path, const struct stat *like, const void *bytes, size_t len,
                 struct err *err)
{
    char made[HOOK_PATH_SIZE + 16];
    text_format(made, sizeof made, "%s.muster-new", path);
    /* what an interrupted hook left there is of no use */
    auto_close int fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "create %s", made);
    if (fill(fd, like, bytes, len) < 0) {
        int r = err_errno(err, errno, "write %s", made);
        (void)unlink(made);
        return r;
    }
    if (rename(made, path) < 0) {
        int r = err_errno(err, errno, "rename %s to %s", made, path);
        (void)unlink(made);
        return r;
    }
    return sync_dir_of(path, err);
}

int file_join(const char *dir, const char *name, char *ret_path, size_t size, struct err *err)
{
    const char *slash = name[0] == '/' || !dir[0] ? "" : "/";
    int n = snprintf(ret_path, size, "%s%s%s", slash[0] ? dir : "", slash, name);
    if (n < 0 || (size_t)n >= size)
        return err_set(err, E_LIMIT, "the path of %s is longer than %zu bytes", name, size - 1);
    return 0;
}
