/* SPDX-License-Identifier: Apache-2.0 */
/* nodes.conf on the volume: given new addresses, with a copy of what it was. */
#ifndef MUSTER_HOOK_NODES_FILE_H
#define MUSTER_HOOK_NODES_FILE_H

#include <stdbool.h>
#include <time.h>

#include "wire/hook_proto.h"

/* Copies of our own that are kept; older ones are removed. */
#define NODES_FILE_COPIES 2

/*
 * Rewrites the peers' addresses in the file `path` as the answer says. Before, the file is copied
 * to `<path>.muster-<unix seconds>`, also with its owner and mode. *ret_changed is false if nothing
 * was to be changed; then nothing was written. E_BUSY if another server holds the file
 * (clusterLockConfig).
 */
must_check int nodes_file_rewrite(const char *path, const struct hook_answer *answer, time_t now,
                                  bool *ret_changed, struct err *err);

#endif
