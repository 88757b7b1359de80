/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hook's voice: one line of key=value on stderr, which is the server container's log, in the
 * form of the agent's lines:
 *
 *   ts=2026-11-21T10:15:02.123Z level=info program=muster-hook event=waiting msg="..."
 */
#ifndef MUSTER_HOOK_SAY_H
#define MUSTER_HOOK_SAY_H

#include "base/err.h"

/* `msg` is quoted and cut at 1 KiB, so nothing that was read can forge a line. */
void say_info(const char *event, const char *fmt, ...) format_like(2, 3);
void say_warn(const char *event, const char *fmt, ...) format_like(2, 3);
void say_error(const char *event, const char *fmt, ...) format_like(2, 3);

#endif
