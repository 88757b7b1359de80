/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which replicas Redis may elect by itself: cluster-replica-no-failover, of which this file says what
 * it is to be. It is "yes"
 *
 *   from each start (agent_hook.c) until a replica has all that its primary has: an empty server would
 *   win as well, and every key would be lost (valkey #4425);
 *   from the moment in which a replica is to copy another shard until it does: what it has is the data
 *   of the one that it leaves, and its offset counts in that one's history (core/rule_place.c);
 *   for who lacks some of the data of a primary that stops as the owner of its slots, its data on
 *   disk: with the pod away for longer than cluster-node-timeout he would be elected, and what was
 *   acknowledged would be lost (FAULTS B15).
 *
 * It is "no" for who owns slots, who has all that its primary has, and whose primary's data is gone
 * for good. Between the two it stays what it is: Redis remembers it, so that agents need not, and a
 * server that ends starts with "yes". Only elections by Redis ask for it: CLUSTER FAILOVER in each of
 * its forms does not (FACTS 3), so a person may always decide otherwise.
 */
#ifndef MUSTER_CORE_ELECTION_H
#define MUSTER_CORE_ELECTION_H

#include <stdbool.h>
#include <stddef.h>

#include "core/facts.h"
#include "core/world.h"

/* What the own server has a copy of, before each plan. */
void election_note(struct own_copy *copy, const struct world *world);

/* The pod's server is to take part in elections again, should it not do so now. */
bool election_allows(const struct world *world, const struct facts *facts, size_t at);

/*
 * The pod's server was just told to copy another shard (core/rule_place.c), and has the data of the one
 * that it left: by its history, or by what was seen of the own one, it is no heir of its primary.
 */
bool election_is_strange(const struct world *world, const struct facts *facts, size_t at);

/*
 * What becomes of the followers of a primary that stops and keeps its slots. Pods are borrowed from
 * the world.
 */
struct election_heirs {
    const struct pod *open; /* one that lacks some of its data and may be elected; NULL = none */
    const struct pod *told; /* one that lacks some, and waits for it; NULL = none */
    char unheard
        [POD_NAME_SIZE]; /* one that may run, and lack some, and does not answer; "" = none */
};
void election_look(const struct world *world, const struct facts *facts, size_t primary,
                   int64_t since_ms, struct election_heirs *ret_heirs);

/*
 * The pod's server follows the primary, lacks some of its data and is not known to be told so; what it
 * was set to before `since_ms` may have been taken back.
 */
bool election_is_open(const struct world *world, const struct facts *facts, size_t at,
                      size_t primary, int64_t since_ms);

/*
 * The pod of a member that its agent holds back without its data, and where nothing listens; NULL if
 * it is not so.
 */
const struct pod *election_find_held(const struct world *world, const struct facts *facts,
                                     const struct node_id *id);

#endif
