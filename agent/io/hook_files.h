/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hook's socket, and the two files beside it that outlive an agent: `server.lock`, held by the
 * gate and then by the server itself, and `ready`, the last verdict on readiness.
 */
#ifndef MUSTER_IO_HOOK_FILES_H
#define MUSTER_IO_HOOK_FILES_H

#include <stdbool.h>

#include "base/err.h"
#include "wire/hook_proto.h"

#define HOOK_FILE_PATH_SIZE 256

/*
 * Listens, without blocking, mode 0660. E_INVALID for a path too long or taken by something else;
 * a socket on which nobody listens any more is replaced, one on which somebody does is E_BUSY.
 */
must_check int hook_socket_listen(const char *path, int *ret_fd, struct err *err);

/* The path of the file `name` in the socket's directory; false if it is too long. */
bool hook_file_path(const char *socket_path, const char *name, char ret_path[HOOK_FILE_PATH_SIZE]);

/*
 * Makes the lock file if there is none, 0660 so that the server's user may lock it as well; the
 * hook's mount may be read-only.
 */
must_check int hook_lock_create(const char *path, struct err *err);

/* Somebody holds the lock. False also when the file cannot be opened: then nobody can. */
bool hook_lock_is_held(const char *path);

/* Replaces the file by this answer in one step; anybody may read it. */
must_check int hook_ready_write(const char *path, const struct hook_answer *answer,
                                struct err *err);

/*
 * The file `part`: the id of the server beside us as long as it owns slots or is followed, NULL when it
 * does not. It outlives container and agent, but not the pod, and with it the address: so the gate
 * of a restarted agent knows what must not come back empty, and so does a hook whose agent is silent.
 */
must_check int hook_part_write(const char *path, const struct node_id *id, struct err *err);

/* "" when there is no such file, or none that can be read. */
struct node_id hook_part_read(const char *path);

/* The verdict in the file, HOOK_VERDICT_NONE when there is none that can be read. */
enum hook_verdict hook_ready_read(const char *path);

#endif
