/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own words, with the settings that the agent gave. */
#ifndef MUSTER_HOOK_COMMAND_H
#define MUSTER_HOOK_COMMAND_H

#include "hook/server_conf.h"
#include "hook/start.h"
#include "wire/hook_proto.h"

/*
 * For a known server the settings are its last arguments, which win. For any other command they are
 * written to `server.conf` beside the socket, to be included by the server's configuration. The
 * array is the caller's to free; the words are borrowed from options and answer.
 */
char **command_with_settings(const struct start_options *options, const struct server_conf *conf,
                             const struct hook_answer *answer);

#endif
