/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record <-> JSON, as kept in data["record.json"] of the ConfigMap:
 *
 *   {"version":1,"uid":"...","generation":1,"setUid":"...","state":"forming|formed","shards":3,
 *    "members":[{"pod":"muster-0","id":"<40 hex>","shard":0,"primary":true,"epoch":1,
 *                "nodeTimeoutMs":15000,"disklessDelayS":5}],
 *    "forget":["<40 hex>"],
 *    "movesGeneration":7,
 *    "evening":true,
 *    "moves":[{"from":"<40 hex>","to":"<40 hex>","generation":7,"cancel":true,"anchor":300,
 *              "slots":"0-99,200"}]}
 *
 * Of a member, "shard", "primary", "epoch", "nodeTimeoutMs" and "disklessDelayS" are left out when
 * they say nothing (NO_SHARD, false, 0, 0, -1); so are "movesGeneration" of 0, "moves" of none,
 * "cancel" and "evening" of false, and "anchor" where there is none. One member per line, so that people can read it.
 * Agents of two releases work side by side during an upgrade: a reader ignores keys that it does
 * not know and refuses a version that it cannot read.
 */
#ifndef MUSTER_WIRE_RECORD_JSON_H
#define MUSTER_WIRE_RECORD_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"
#include "core/record.h"

/*
 * E_INVALID for what no reader of this version may act on: malformed JSON or fields, another
 * version, a pod or id that appears twice, two primaries of one shard, a member that is to be
 * forgotten, a "movesGeneration" that is no number. E_LIMIT above RECORD_TEXT_MAX bytes or NODES_MAX
 * members or forgotten ids. Moves that cannot be (a slot in two of them, more than RECORD_MOVES_MAX,
 * ...) are no error: `moves_unclear`. Members are sorted by record_name_cmp(). A "pod" is printable
 * ASCII without spaces, quotes and backslashes: without Kubernetes it may be "host:port". The arrays
 * live in `arena`.
 */
must_check int record_parse(struct span text, struct arena *arena, struct record *ret_record,
                            struct err *err);

/*
 * Parsing the text gives an equal record. 0, or E_LIMIT when the buffer is full or no reader would
 * take so many members, ids or moves. Requires a state other than RECORD_STATE_NONE and version
 * RECORD_VERSION.
 */
must_check int record_format(const struct record *record, struct buf *buf);

#endif
