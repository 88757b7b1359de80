/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/paths.h"

#include <stdio.h>

#include "base/text.h"

int paths_beside(const char *socket_path, const char *name, char ret_path[PATHS_SIZE],
                 struct err *err)
{
    ptrdiff_t slash = span_rfind(span_of(socket_path), '/');
    int n = snprintf(ret_path, PATHS_SIZE, "%.*s%s", (int)(slash + 1), socket_path, name);
    if (n >= PATHS_SIZE)
        return err_set(err, E_LIMIT, "--socket %.80s...: the path is too long", socket_path);
    return 0;
}
