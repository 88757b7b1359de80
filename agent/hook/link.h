/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hook's connection to the agent. Each call has a deadline on file_now_ms(); none blocks
 * longer, whatever the agent does. `err` is never NULL here.
 */
#ifndef MUSTER_HOOK_LINK_H
#define MUSTER_HOOK_LINK_H

#include <stdint.h>

#include "wire/hook_proto.h"

#define LINK_NONE ((struct link){.fd = -1})

struct link {
    int fd; /* -1 = not connected; close-on-exec */
    struct hook_reader reader;
};

/*
 * Connects and sends the request. E_UNREACHABLE if no agent listens, E_TIMEOUT, E_GONE, E_LIMIT;
 * the link is closed then.
 */
must_check int link_ask(struct link *link, const char *socket_path,
                        const struct hook_request *request, int64_t deadline_ms, struct err *err);

/*
 * The next answer. E_TIMEOUT leaves the link as it is; E_GONE (the agent closed it), E_PROTO and
 * E_LIMIT (not an answer of this protocol) and E_SYSTEM close it.
 */
must_check int link_hear(struct link *link, int64_t deadline_ms, struct hook_answer *ret_answer,
                         struct err *err);

void link_close(struct link *link);

#endif
