/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nodes.conf: the file in which a cluster server keeps its own id and what it knows of the others.
 *
 * Read to learn what the server to be started believes, and rewritten in one respect only: the
 * `ip:port@cport` of the peers, so that a restarted server never dials an address that belongs to
 * somebody else by now. Everything else is kept to the byte: an invented shard-id, for one, makes
 * replicas look like empty primaries (valkey#2811), and the auxiliary fields differ by version.
 *
 * A line, as written by clusterGenNodeDescription() (Redis 7.0, 8.0, Valkey 8.1, 9.1):
 *
 *   <id> <ip>:<port>@<cport>[,<host>[,<key>=<value>]...]
 *        <flags> <primary|-> <ping> <pong> <epoch> <link> [<slots>]...
 *
 * and at the end `vars currentEpoch <n> lastVoteEpoch <n>`. IPv6 addresses stand without brackets.
 * Pure: no file is touched here.
 */
#ifndef MUSTER_WIRE_NODES_CONF_H
#define MUSTER_WIRE_NODES_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"
#include "core/ids.h"
#include "core/view.h"

struct nodes_conf_node {
    struct node_id id;
    struct node_id primary; /* of a replica; "" otherwise */
    char ip[IP_SIZE];       /* "" when the server does not know it */
    uint16_t port;
    uint16_t bus_port;
    uint32_t flags; /* of enum node_flag; unknown flags are not in it */
    uint64_t epoch;
    uint32_t slot_count;
};

struct nodes_conf {
    struct nodes_conf_node *nodes; /* in the file's order; owned */
    size_t count;
    size_t myself; /* index */
    uint64_t current_epoch;
    uint64_t last_vote_epoch;
};

/* Where a peer is now; ip "" = not known. */
struct nodes_conf_address {
    struct node_id id;
    char ip[IP_SIZE];
    uint16_t port;
    uint16_t bus_port;
    bool failing; /* it has none, and is known not to be reached: ip and ports are not looked at */
};

/*
 * Where nobody listens: a failing peer is "127.0.0.1:1@1 ...,fail?". Redis neither looks after a
 * "noaddr" nor tells others of it, so that nobody who has it so helps to find that it has failed;
 * with an address, any, it does both. "fail?" keeps others from taking over this one
 * (clusterProcessGossipSection), and has it replaced by what they know.
 */
#define NODES_CONF_NOWHERE "127.0.0.1"

/*
 * Reads the whole file. E_INVALID with the line's number if it is corrupt or cut: a line that the
 * server itself would refuse, no or two `myself`, an id twice, no `vars` line, or a last line
 * without its end (the server writes `vars` last, so a cut file lacks it). E_LIMIT above
 * NODES_CONF_MAX bytes or NODES_MAX nodes. Flags and auxiliary fields of later versions are
 * accepted. An empty file is the caller's: to the server it means "no file".
 */
must_check int nodes_conf_parse(struct span text, struct nodes_conf *ret_conf, struct err *err);

/* Accepts a zeroed struct. */
void nodes_conf_deinit(struct nodes_conf *conf);

#define auto_nodes_conf __attribute__((cleanup(nodes_conf_deinit)))

/*
 * Appends to `out` the file with the address of every peer but `myself` replaced: by the one given,
 * by NODES_CONF_NOWHERE for one that is failing, or by ":0@0" and the flag "noaddr" when none is given
 * or its ip is "". At another address than the file's a peer is flagged as failing only as it is said
 * here. The same addresses give the same bytes. Fails like nodes_conf_parse(), with nothing appended;
 * E_INVALID also for an address that is not one.
 */
must_check int nodes_conf_rewrite(struct span text, const struct nodes_conf_address *addresses,
                                  size_t count, struct buf *out, struct err *err);

/* The server's names of the flags, "master,fail?"; "noflags" for 0. */
#define NODES_CONF_FLAGS_SIZE 80
void nodes_conf_format_flags(uint32_t flags, char ret_text[NODES_CONF_FLAGS_SIZE]);

/* The reverse; names that are not known are passed over. False if it is not a list of names. */
bool nodes_conf_parse_flags(struct span text, uint32_t *ret_flags);

/* 40 lower-case hex digits. */
bool nodes_conf_parse_id(struct span text, struct node_id *ret_id);

/* An IPv4 or IPv6 literal. */
bool nodes_conf_is_ip(const char *text);

#endif
