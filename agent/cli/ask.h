/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks an agent for its status, and once the leader's if that is another: only the leader asks every
 * server. What the leader cannot add, the first answer stands for, with a note that says so.
 */
#ifndef MUSTER_CLI_ASK_H
#define MUSTER_CLI_ASK_H

#include "base/arena.h"
#include "base/err.h"
#include "core/status.h"

#define CLI_PORT 8008

struct cli_answer {
    struct status status;
    const char *note; /* why it is not the leader's answer; "" if it is */
};

/*
 * Where to ask: `address` ("HOST:PORT", "HOST", "[IPv6]:PORT"; HOST is a literal IP or "localhost"),
 * else MUSTER_HTTP_ADDRESS unless that is a wildcard, else POD_IP, else 127.0.0.1; the port is
 * MUSTER_HTTP_PORT or 8008 where the address has none. E_INVALID naming what is wrong.
 */
struct cli_target {
    char host[64]; /* a literal IP without brackets */
    uint16_t port;
};
must_check int cli_target_find(const char *address, const char *(*env)(const char *),
                               struct cli_target *ret_target, struct err *err);

/* Everything in *ret_answer lives in `arena`. The error's sentence names the target. */
must_check int cli_ask(const struct cli_target *target, struct arena *arena,
                       struct cli_answer *ret_answer, struct err *err);

#endif
