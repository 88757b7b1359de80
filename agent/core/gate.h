/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate (DESIGN 5.4): may the server beside us start now, and with which addresses of its peers.
 *
 * The hook tells what it found on the volume; the verdict is made here. Four questions are asked.
 *
 * Would its start cost data? A node that owns slots or is followed must not come back without what
 * it held: its replicas would throw theirs away (FACTS 0.1), also when another node answers at its
 * address (FACTS 0.2, NOTES J3). Such a server is held without a limit, until another node owns the
 * slots, nobody has the data any more, or a person opens the gate.
 *
 * Does its node still run elsewhere? The process of a pod that was deleted by force may have outlived
 * it: core/gate_twin.h.
 *
 * Is its crash being dealt with? As long as its slots are about to be handed over (core/crash.h) it waits.
 *
 * Where are its peers? A server that brings a nodes.conf is held until their addresses can be told,
 * at most until the caller's limit, or four times that while most primaries have none, and the limit
 * anew once most have one: then it starts with those that are known, or with its file unchanged when
 * nobody tells any. One whose file is corrupt, or that has left the cluster, starts from an empty
 * directory, once nobody says that its node still has a part.
 */
#ifndef MUSTER_CORE_GATE_H
#define MUSTER_CORE_GATE_H

#include <stdbool.h>

#include "core/world.h"

struct gate_twin;

/* What the hook found in the data directory of the server that wants to start. */
struct gate_claim {
    bool has_nodes;    /* a readable nodes.conf that lists peers */
    bool corrupt;      /* a nodes.conf that a server would refuse, or that is cut */
    bool unreadable;   /* one that the server's user cannot read, or that is too long */
    struct node_id id; /* its `myself`; "" without nodes.conf */
    bool owner;        /* which owned slots when it was written */
    bool data;         /* the data set that it would load is there and holds keys */
    bool outlived;     /* not what its process took that outlived its pod: then it is no proof */
    bool opened;       /* a person takes it upon himself (`muster gate open`) */
    const char
        *replacing;   /* its slots are about to be handed over: this is said; NULL = they are not */
    int64_t asked_ms; /* when the hook asked */
    int64_t few_ms;   /* gate_note_few(); 0 = never seen so */

    /* The primaries of its nodes.conf, itself included if it is one; to tell a majority by. */
    const struct node_id *primaries;
    size_t primary_count;

    const struct gate_twin *twin; /* core/gate_twin.h; NULL = nobody looks for one */
};

enum gate_verdict {
    GATE_WAIT = 1,
    GATE_GO,           /* nothing to rewrite */
    GATE_GO_REWRITTEN, /* with the addresses that gate_address() tells */
    GATE_GO_ALONE,     /* without any address of a peer */
    GATE_GO_EMPTY,     /* from an empty directory: nodes.conf and data are moved aside */
};

#define GATE_REASON_SIZE 256

/*
 * To be asked before each gate_judge(): notes in `*few_ms`, which the caller keeps as long as the
 * server waits, when it was last seen that most primaries are yet to come, and tells the claim.
 */
void gate_note_few(const struct world *world, struct gate_claim *claim, int64_t *few_ms);

/*
 * Goes by the views of the other servers and by what their agents say of their gates, which the
 * caller must read while a server waits here. `limit_ms`: how long a server that may start anyway is held at most.
 */
enum gate_verdict gate_judge(const struct world *world, const struct gate_claim *claim,
                             int64_t limit_ms, char reason[GATE_REASON_SIZE]);

/*
 * What becomes of a server that waits here when a person opens its gate, as the end of "... starts
 * it": with what a person must know beforehand.
 */
const char *gate_opened_how(const struct world *world, const struct gate_claim *claim);

/*
 * The pod whose address is the current one of this node, or NULL: then the server must not dial it
 * (`:0@0 noaddr`), since whoever answers at the old address may be another cluster's (FACTS 13, M7b).
 */
const struct pod *gate_address(const struct world *world, const struct node_id *id);

/*
 * A member without an address: where gate_knows_most(), it is failing to a server that starts now
 * (wire/nodes_conf.h), which then helps to find that it failed and notices to be in a minority. Where
 * most are missing they only come later: if those that start then held each other for failing they
 * would soon agree on it, and slots that have failed are not served for 2 x NT (FACTS 3).
 */
bool gate_is_failing(const struct world *world, const struct node_id *id);

/* Most members have an address. Looks at all of them: to be asked once for a start. */
bool gate_knows_most(const struct world *world);

#endif
