/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A twin: the process of a pod that was deleted by force, which lives on where no kubelet ends it
 * (FAULTS B9). The pod of that name is made again with the same volume, or a copy of it, and two
 * servers of one node id at two addresses both take writes, of which one's are lost.
 *
 * The peers do not tell in time whether it lives: a view shows a vanished address as connected for up
 * to NT/2. So the address that most of them give for the node is asked itself, when it is no pod's:
 * the only address outside the API that is ever dialled, and without any secret. It holds the gate
 * only by what it says: the node's id; or, where it wants a password first, that it is there while
 * most views are connected to the node at that address (another server there would have been told
 * from it by the id in its pongs; clusterProcessPacket). An address that is silent from the beginning
 * holds nobody: a twin behind a partition stays unknown.
 *
 * Once a twin has ended, the volume lacks what it took since (or it is the very same one; that cannot
 * be told): as if the data were not there, so that a replica which has those writes is elected first.
 */
#ifndef MUSTER_CORE_GATE_TWIN_H
#define MUSTER_CORE_GATE_TWIN_H

#include "core/gate.h"

/* So long may the question take. */
#define GATE_TWIN_ASK_MS 500
/* Asked again while it lives. */
#define GATE_TWIN_PERIOD_MS 1000
/* So long are the peers' views waited for, where somebody may still tell one. */
#define GATE_TWIN_LOOK_MS 1000
/* One that lived is believed to have ended when it was silent for so long; at once when refused. */
#define GATE_TWIN_QUIET_MS 3000

enum twin_word {
    TWIN_UNASKED = 0, /* or its first answer is to come */
    TWIN_GONE,        /* nobody listens there, or another node does */
    TWIN_SILENT,      /* no answer in time, or none that can be understood */
    TWIN_MUTE,        /* a server that tells a stranger nothing */
    TWIN_NAMED,       /* with the node's id */
};

/* What came of asking for one volume's twin: kept by the agent, zero at first. */
struct gate_twin {
    int64_t since_ms; /* when the gate first knew whom to ask for the address; 0 = not yet */
    char ip[IP_SIZE]; /* who was asked; "" = nobody yet */
    int64_t asked_ms; /* when, last; 0 = never */
    enum twin_word word;
    int64_t lived_ms; /* when it was MUTE or NAMED last; 0 = never */
    bool named;       /* it was NAMED once */
    bool outlived;    /* it was found to live: gate_twin_judge() */
};

/*
 * Whom to ask: the address that most fresh views give for the claim's node, or where its twin lived,
 * if it is neither the own pod's nor another's. NULL when there is none: also where the node ran
 * beside this agent, whose life line tells of its end, and without claim->twin.
 */
const char *gate_twin_address(const struct world *world, const struct gate_claim *claim);

/* A twin lives. */
bool gate_twin_lives(const struct world *world, const struct gate_claim *claim);

/*
 * Puts into the claim what is known of its twin: which is kept there, and borrowed. Before
 * gate_judge(), once anything new is known.
 */
void gate_twin_judge(const struct world *world, struct gate_twin *twin, struct gate_claim *claim);

/* Waits for the end of a twin, or to know whether there is one; then with the reason. */
bool gate_holds_twin(const struct world *world, const struct gate_claim *claim,
                     char reason[GATE_REASON_SIZE]);

/* Takes what was said at the address that was asked. */
void gate_twin_told(struct gate_twin *twin, enum twin_word word);

#endif
