/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a mounted file changed. A Secret's update swaps a symbolic link, so another inode appears
 * at the path; a file rewritten in place shows by its time or size.
 */
#ifndef MUSTER_IO_FILE_STAMP_H
#define MUSTER_IO_FILE_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Zeroed: of no file. */
struct file_stamp {
    uint64_t device;
    uint64_t inode;
    int64_t size; /* bytes */
    int64_t changed_ns;
};

/*
 * E_NOT_FOUND if there is no such regular file (a FIFO would block its reader), E_LIMIT if it is
 * larger than `size_max` bytes, each with the path in `err`; *ret_stamp is then untouched.
 */
must_check int file_stamp_take(const char *path, size_t size_max, struct file_stamp *ret_stamp,
                               struct err *err);

bool file_stamp_eq(const struct file_stamp *a, const struct file_stamp *b);

#endif
