/* SPDX-License-Identifier: Apache-2.0 */
/* Small files: read whole, replaced in one step. Blocking: a hung volume stalls the hook alone. */
#ifndef MUSTER_HOOK_FILE_H
#define MUSTER_HOOK_FILE_H

#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"

/* CLOCK_MONOTONIC in milliseconds. */
int64_t file_now_ms(void);

/*
 * Appends the file's bytes to `out`, at most its ceiling. E_NOT_FOUND, E_LIMIT, or E_SYSTEM with
 * path and reason.
 */
must_check int file_read(const char *path, struct buf *out, struct err *err);

/*
 * Replaces `path` by these bytes: written beside it, synced, renamed, the directory synced. With
 * `like`, owner and mode are that file's; another user's file becomes ours where only root could
 * keep its owner. Without, the mode is 0644.
 */
must_check int file_replace(const char *path, const struct stat *like, const void *bytes,
                            size_t len, struct err *err);

/* dir/name, or name where it is absolute. E_LIMIT if it does not fit. */
must_check int file_join(const char *dir, const char *name, char *ret_path, size_t size,
                         struct err *err);

#endif
