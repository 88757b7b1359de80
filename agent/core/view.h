/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view: what one server says of the whole cluster (its CLUSTER NODES).
 *
 * Views are values that live in the arena they were parsed into. Nodes are sorted by id, so two
 * views are compared by one merge and a node is found by bisection.
 */
#ifndef MUSTER_CORE_VIEW_H
#define MUSTER_CORE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ids.h"
#include "core/slots.h"

/* INET6_ADDRSTRLEN, without pulling a network header into the core. */
#define IP_SIZE 46

/* CLUSTER NODES flags (cluster.c, redisNodeFlags; same names up to Redis 8.0 and Valkey 9.1). */
enum node_flag {
    NODE_MYSELF = 1 << 0,
    NODE_PRIMARY = 1 << 1, /* "master" on the wire */
    NODE_REPLICA = 1 << 2, /* "slave" on the wire */
    NODE_PFAIL = 1 << 3,   /* "fail?" */
    NODE_FAIL = 1 << 4,
    NODE_HANDSHAKE = 1 << 5,
    NODE_NOADDR = 1 << 6,
    NODE_NOFAILOVER = 1 << 7,
};

struct view_node {
    struct node_id id;
    struct node_id primary; /* of a replica; "" otherwise */
    char ip[IP_SIZE];       /* "" when noaddr, or for myself before the first MEET */
    uint16_t port;
    uint16_t bus_port;
    uint32_t flags;       /* of enum node_flag */
    bool connected;       /* link-state of the cluster bus; true for myself */
    uint64_t epoch;       /* config epoch; a replica shows its primary's */
    uint32_t range_first; /* into view.ranges */
    uint32_t range_count;
    uint32_t slot_count;
};

/* A half-done classic slot move, shown by a server of itself only: [93->-id] or [77-<-id]. */
struct open_slot {
    uint16_t slot;
    bool importing; /* else migrating */
    struct node_id peer;
};

struct view {
    const struct view_node *nodes; /* sorted by id, without duplicates */
    size_t node_count;
    const struct view_node *myself; /* one of nodes; never NULL in a parsed view */
    const struct slot_range *ranges;
    size_t range_count;
    const struct open_slot *open_slots;
    size_t open_count;
    uint64_t hash; /* view_hash() */
};

/* NULL if the view does not list the id. */
const struct view_node *view_find(const struct view *view, const struct node_id *id);

/*
 * Hash of what servers that agree say alike: id, role, primary, config epoch, slots and the flags
 * fail, noaddr and handshake of each node; of one that failed and has no slots, id and flags only.
 * No times, links or addresses.
 */
uint64_t view_hash(const struct view *view);

/* Sorts `nodes` in place and finds myself; false on a duplicate id or not exactly one myself. */
bool view_finish(struct view *view, struct view_node *nodes);

#endif
