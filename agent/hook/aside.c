/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/aside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "hook/file.h"

#define PATH_SIZE (3 * HOOK_PATH_SIZE)
#define ASIDE_PATH_SIZE (PATH_SIZE + 64)
/* Two starts within one second, or a clock that was set back, take the next number. */
#define ASIDE_TRIES 100

/* 1 if the path was there and is now aside, 0 if nothing is there. */
static int aside_rename(const char *path, time_t now, struct err *err)
{
    char aside[ASIDE_PATH_SIZE];
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : err_errno(err, errno, "stat %s", path);
    for (int i = 0; i < ASIDE_TRIES; i++) {
        text_format(aside, sizeof aside, "%s.muster-aside-%lld", path, (long long)now + i);
        if (lstat(aside, &st) == 0)
            continue;
        if (rename(path, aside) < 0)
            return err_errno(err, errno, "rename %s to %s", path, aside);
        return 1;
    }
    return err_set(err, E_BUSY, "%s has been moved aside too often: remove old copies", path);
}

static int aside_one(const char *dir, const char *name, time_t now, size_t *count, struct err *err)
{
    char path[PATH_SIZE];
    int r = file_join(dir, name, path, sizeof path, err);
    if (r == 0)
        r = aside_rename(path, now, err);
    if (r > 0)
        (*count)++;
    return r < 0 ? r : 0;
}

int aside_move(const struct server_conf *conf, const struct hook_facts *facts, time_t now,
               size_t *ret_count, struct err *err)
{
    const char *names[] = {conf->dbfilename, conf->appenddirname, conf->appendfilename};
    size_t count = 0;
    auto_close int fd = open(facts->nodes_conf_file, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return err_set(err, E_BUSY, "another server uses %s", facts->nodes_conf_file);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        int r = names[i][0] ? aside_one(facts->data_dir, names[i], now, &count, err) : 0;
        if (r < 0)
            return r;
    }
    int r = aside_one("/", facts->nodes_conf_file, now, &count, err);
    if (r < 0)
        return r;
    *ret_count = count;
    return 0;
}
