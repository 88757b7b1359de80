/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLUSTER NODES text <-> view.
 *
 * One line per node, the same from Redis 7.0 to 8.0 and Valkey 7.2 to 9.1 (cluster.c,
 * clusterGenNodeDescription):
 *
 *   <id> <ip>:<port>@<bus-port>[,<hostname>] <flags> <primary-id|-> <ping-sent> <pong-received>
 *        <config-epoch> <connected|disconnected> [<slot>|<first>-<last>]... [[<slot>->-<id>]|[<slot>-<-<id>]]...
 *
 * The ip is empty for a node without an address (":0@0") and for myself before the first MEET; it
 * may be IPv6, so the port begins at the last ':' before the '@'. Everything behind a ',' in the
 * address is ignored (hostname, and what later servers may add).
 */
#ifndef MUSTER_WIRE_CLUSTER_NODES_H
#define MUSTER_WIRE_CLUSTER_NODES_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"
#include "core/view.h"

/*
 * The whole text or nothing: a malformed line, a slot that two nodes claim, a repeated id, no or two
 * `myself`, a replica of itself or a "vars" line (which only nodes.conf has) reject it with E_PROTO
 * and the number of the line. E_LIMIT above NODES_TEXT_MAX bytes or NODES_MAX nodes. The view's
 * arrays live in `arena`; its hash is set.
 */
must_check int cluster_nodes_parse(struct span text, struct arena *arena, struct view *ret_view,
                                   struct err *err);

/*
 * The text that a server with this view would answer, with 0 as ping and pong times; parsing it
 * gives the same view. 0, or E_LIMIT when the buffer is full.
 */
must_check int cluster_nodes_format(const struct view *view, struct buf *buf);

#endif
