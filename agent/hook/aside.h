/* SPDX-License-Identifier: Apache-2.0 */
/* What a server would load is moved aside, so that it starts empty. Nothing is deleted. */
#ifndef MUSTER_HOOK_ASIDE_H
#define MUSTER_HOOK_ASIDE_H

#include <stddef.h>
#include <time.h>

#include "hook/server_conf.h"
#include "wire/hook_proto.h"

/*
 * Renames nodes.conf, the RDB file and the append-only files of this server in its data directory
 * to `<name>.muster-aside-<unix seconds>`; *ret_count is how many were there. nodes.conf goes last,
 * so that what was cut short is done again. E_BUSY if another server holds nodes.conf.
 */
must_check int aside_move(const struct server_conf *conf, const struct hook_facts *facts,
                          time_t now, size_t *ret_count, struct err *err);

#endif
