/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may act without Kubernetes (DESIGN 4), as a pure step function: what the agents say to each
 * other and what the servers' views show, in; whether this agent leads, and why not, out.
 *
 * There is no Lease and no common store. Every agent keeps a copy of the record and shows hash and
 * generation of it in its digest; copies spread because whoever sees a higher generation fetches
 * it. Why that never makes two clusters of servers that could be one:
 *
 *  1. A copy is a vote. An agent holds one copy, and only ever exchanges it for one of a higher
 *     generation; a copy that says "formed" only for a later one of the same cluster. No two records
 *     of one generation replace each other.
 *  2. An intent is written only by the first of the sorted expected list, when the list has exactly
 *     its size, was read twice, and every other agent on it was just heard to expect the same list
 *     (the same hash) and to hold no record. All of its servers must be empty (rule form-wait).
 *  3. Nothing of an intent is carried out before every agent on it was heard to hold that very
 *     copy, nor while fewer than most of them are heard to hold it now, nor when any is heard to
 *     hold another. A server has one agent: for two intents to be carried out with one server in
 *     both, its agent would have to hold the one and then the other; from then on whoever carries
 *     out the first hears of it, at the latest HOSTS_HEARD_MS later, and for so long (twice) the
 *     second, whose generation is above 1, is not begun. What such a late command did is noticed:
 *     a server prepared for another part, or that knows strangers, is not used (form-servers).
 *  4. So whoever goes on with an intent goes on with the same one: its steps bear repetition, and
 *     each carries its precondition. If the first entry dies after its intent was taken, the next in
 *     the record's order finishes it; if it dies before, the intent waits for its file. Where intents
 *     of one generation compete, or a server of the intent has left the list, the first entry of a
 *     list that all agents agree on plans anew under the next generation, if its servers are empty.
 *
 * Later the leader is the first member, in the record's order, that is not passed over. A member is
 * passed over when for twice cluster-node-timeout a majority of the slot owners held it for failed
 * (Redis's own FAIL, in our server's view), or its agent was not heard. The leader must also be
 * listed as not failing by most slot owners, asked directly, and most agents must hold its record:
 * the minority side of a partition can do neither. Two agents may lead for a moment while a member
 * returns; that is harmless since all that is done is monotone (MEET of members, REPLICATE of an
 * empty node, settings), FORGET needs every server's view to agree, and two records of one
 * generation are settled by the leader writing the next. Being passed over takes time, leading does
 * not: after a common restart the members must be introduced well within cluster-node-timeout
 * (FACTS 2).
 */
#ifndef MUSTER_CORE_HOSTS_H
#define MUSTER_CORE_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "core/world.h"

/* A digest that was asked for longer ago says nothing of now. */
#define HOSTS_HEARD_MS 3500
/* While forming, an agent that was not heard for so long is passed over. */
#define HOSTS_SILENT_MS 5000
/* An intent that cannot be carried out has so long to be replaced before it is planned anew. */
#define HOSTS_DISPUTE_MS 10000
/* Twice a very short cluster-node-timeout is not longer than a digest lives. */
#define HOSTS_PASS_MIN_MS 8000

#define HOSTS_WHY_SIZE 200

/* Since when a member has been passed over. */
struct hosts_passed {
    char name[POD_NAME_SIZE];
    int64_t since_ms;
};

/* What is remembered from step to step; all zero at the start. */
struct hosts_state {
    uint64_t record;       /* the copy that `acked` is about */
    bool acked[NODES_MAX]; /* by member: its agent was heard to hold it, and nothing else since */
    int64_t acked_ms;      /* since when all have */
    int64_t disputed_ms;   /* since when the intent cannot be carried out as it is; 0 = it can */
    struct hosts_passed passed[NODES_MAX];
    size_t passed_count;
};

struct hosts_verdict {
    bool watch;        /* this agent is to lead, or nearly so: it must ask every server */
    bool leader;       /* it may act */
    bool anew;         /* leads, and the intent at hand is to be planned anew */
    bool settle;       /* leads, and the record is to be written again, one generation higher */
    size_t leader_pod; /* who leads or is to lead; NO_POD = unknown */
    char why[HOSTS_WHY_SIZE]; /* why it does not act; "" if it does */
};

/*
 * `world` must be of ARBITER_HOSTS, with words, pods, views and the own copy as its record. Call it
 * once for each world.
 */
void hosts_step(struct hosts_state *state, const struct world *world,
                struct hosts_verdict *ret_verdict);

/*
 * Whether an agent that says `mine` should fetch what one that says `theirs` holds. Records of two
 * clusters are told apart only once fetched: hosts_may_take().
 */
bool hosts_should_take(const struct host_word *mine, const struct host_word *theirs);

/*
 * Whether `theirs` may replace the own copy `mine` (NULL = none). `empty`: the own server is known
 * to hold nothing, or is not running yet. On refusal *ret_why is a fixed sentence.
 */
bool hosts_may_take(const struct record *mine, const struct record *theirs, bool empty,
                    const char **ret_why);

/* True if every expected server's agent was heard lately to hold no record. */
bool hosts_none_recorded(const struct world *world);

#endif
