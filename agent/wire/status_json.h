/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status as JSON (DESIGN 8): on one line, keys in a fixed order. A number or a survival that is
 * not known is null. Beside DESIGN 8's keys: "agent", who says it, "check", the promises, the numbers of
 * replicas that are wanted, and "maxMemoryBytes", 0 where there is no limit.
 */
#ifndef MUSTER_WIRE_STATUS_JSON_H
#define MUSTER_WIRE_STATUS_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/text.h"
#include "core/status.h"

/* NODES_MAX pods at 700 bytes with every name at its longest, and 16384 single slots. */
#define STATUS_JSON_MAX MIB(2)

/*
 * Appends one line without its newline, well-formed UTF-8 whatever the strings hold
 * (json_put_text()). 0, or E_LIMIT past the buffer's ceiling.
 */
int status_json_format(struct buf *out, const struct status *status);

/* Parts of the same, as `plan --json` and `check --json` print them. */
int status_json_format_plan(struct buf *out, const struct status *status);
int status_json_format_check(struct buf *out, const struct status *status);

/*
 * Reads it back into `arena`. Keys that are not known are ignored, those that are absent read as
 * unknown, "", 0 or none; a known key of a wrong type, and a text without "cluster", is E_PROTO.
 */
must_check int status_json_parse(struct span text, struct arena *arena, struct status *ret_status,
                                 struct err *err);

#endif
