/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `muster-hook start`: the gate. It takes the lock, tells the agent what is on the volume, waits
 * for "go" while nothing listens, gives the peers in nodes.conf the addresses that it is told, and
 * becomes the server by exec, with lock and connection left open: they end when the server does.
 */
#ifndef MUSTER_HOOK_START_H
#define MUSTER_HOOK_START_H

#include <stdint.h>

struct start_options {
    const char *socket_path;
    const char *data_dir; /* NULL = not given */
    int64_t silent_seconds;
    char *const *command; /* ends with NULL; at least one word */
};

/* Returns an exit code, and only when the server could not be started. */
int start_run(const struct start_options *options);

#endif
