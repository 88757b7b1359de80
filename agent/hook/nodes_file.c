/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/nodes_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "hook/file.h"

#define COPY_MARK ".muster-"
#define COPY_PATH_SIZE (HOOK_PATH_SIZE + 64)

/* A copy of `name` has the mark and a number behind it; *ret_time is the number. */
static bool is_copy(const char *entry, struct span name, uint64_t *ret_time)
{
    struct span rest = span_of(entry);
    if (rest.len <= name.len || memcmp(rest.ptr, name.ptr, name.len) != 0)
        return false;
    rest = (struct span){rest.ptr + name.len, rest.len - name.len};
    if (!span_starts(rest, COPY_MARK))
        return false;
    size_t mark = strlen(COPY_MARK);
    return text_to_u64((struct span){rest.ptr + mark, rest.len - mark}, INT64_MAX, ret_time);
}

struct copies {
    size_t count;
    uint64_t oldest;
    uint64_t newest;
};

static struct copies find_copies(const char *path)
{
    struct copies copies = {0};
    struct span name = span_of(path);
    ptrdiff_t slash = span_rfind(name, '/');
    char dir_path[HOOK_PATH_SIZE];
    text_format(dir_path, sizeof dir_path, "%.*s", (int)(slash + 1), path);
    name = (struct span){name.ptr + slash + 1, name.len - (size_t)slash - 1};
    DIR *dir = opendir(dir_path[0] ? dir_path : ".");
    if (!dir)
        return copies;
    uint64_t time;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!is_copy(entry->d_name, name, &time))
            continue;
        if (!copies.count || time < copies.oldest)
            copies.oldest = time;
        if (time > copies.newest)
            copies.newest = time;
        copies.count++;
    }
    (void)closedir(dir);
    return copies;
}

static void copy_path(const char *path, uint64_t time, char ret_path[COPY_PATH_SIZE])
{
    text_format(ret_path, COPY_PATH_SIZE, "%s" COPY_MARK "%llu", path, (unsigned long long)time);
}

/* Its number is above all others', also when two starts come within a second or the clock is set. */
static int keep_copy(const char *path, const struct stat *like, const struct buf *text, time_t now,
                     struct err *err)
{
    char copy[COPY_PATH_SIZE];
    struct copies copies = find_copies(path);
    uint64_t time = now > 0 ? (uint64_t)now : 0;
    copy_path(path, copies.newest < time ? time : copies.newest + 1, copy);
    return file_replace(copy, like, buf_str(text), text->len, err);
}

/* What cannot be removed does no harm. */
static void remove_old_copies(const char *path)
{
    char copy[COPY_PATH_SIZE];
    for (;;) {
        struct copies copies = find_copies(path);
        copy_path(path, copies.oldest, copy);
        if (copies.count <= NODES_FILE_COPIES || unlink(copy) < 0)
            return;
    }
}

int nodes_file_rewrite(const char *path, const struct hook_answer *answer, time_t now,
                       bool *ret_changed, struct err *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, errno, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return err_set(err, E_BUSY, "another server uses %s", path);
    auto_buf struct buf before, after;
    buf_init(&before, NODES_CONF_MAX);
    buf_init(&after, NODES_CONF_MAX);
    int r = file_read(path, &before, err);
    if (r < 0)
        return r;
    struct span text = {buf_str(&before), before.len};
    r = nodes_conf_rewrite(text, answer->addresses, answer->address_count, &after, err);
    if (r < 0)
        return err_wrap(err, "%s", path);
    bool changed = !(after.len == before.len && memcmp(after.bytes, before.bytes, after.len) == 0);
    if (changed) {
        r = keep_copy(path, &st, &before, now, err);
        if (r == 0)
            r = file_replace(path, &st, buf_str(&after), after.len, err);
        if (r < 0)
            return r;
        remove_old_copies(path);
    }
    *ret_changed = changed;
    return 0;
}
