/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are: the defaults of DESIGN 8 and the files beside the socket. */
#ifndef MUSTER_HOOK_PATHS_H
#define MUSTER_HOOK_PATHS_H

#include "base/err.h"

#define PATHS_SOCKET "/run/muster/agent.sock"
#define PATHS_DATA_DIR "/data"
#define PATHS_SIZE 256

/* The file `name` in the socket's directory; E_LIMIT. */
must_check int paths_beside(const char *socket_path, const char *name, char ret_path[PATHS_SIZE],
                            struct err *err);

#endif
