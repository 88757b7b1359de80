/* SPDX-License-Identifier: Apache-2.0 */
/* One question over the hook's socket to the agent beside, for the commands that order something. */
#ifndef MUSTER_CLI_HOOK_ASK_H
#define MUSTER_CLI_HOOK_ASK_H

#include "cli/cli.h"
#include "wire/hook_proto.h"

/* `path` NULL: MUSTER_HOOK_SOCKET, or the default. E_TIMEOUT without an answer within 5 s. */
must_check int hook_ask(const struct cli *cli, const char *path, const struct hook_request *request,
                        struct hook_answer *ret_answer, struct err *err);

/* Asks, and tells the person the answer: CLI_OK only for HOOK_OK. */
int hook_tell(const struct cli *cli, const char *command, const char *path,
              const struct hook_request *request);

#endif
