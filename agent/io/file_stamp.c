/* SPDX-License-Identifier: Apache-2.0 */
#include "io/file_stamp.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

int file_stamp_take(const char *path, size_t size_max, struct file_stamp *ret_stamp,
                    struct err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_set(err, E_NOT_FOUND, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, E_NOT_FOUND, "%s: not a regular file", path);
    if (st.st_size < 0 || (uint64_t)st.st_size > size_max)
        return err_set(err, E_LIMIT, "%s: larger than %zu bytes", path, size_max);
    *ret_stamp = (struct file_stamp){
        .device = (uint64_t)st.st_dev,
        .inode = (uint64_t)st.st_ino,
        .size = st.st_size,
        .changed_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
    };
    return 0;
}

bool file_stamp_eq(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed_ns == b->changed_ns;
}
