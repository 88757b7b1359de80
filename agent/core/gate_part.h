/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the gate knows of the node that ran last where a server wants to start: whether it has a
 * part in the cluster, and who else may have its data.
 */
#ifndef MUSTER_CORE_GATE_PART_H
#define MUSTER_CORE_GATE_PART_H

#include "core/gate.h"

struct gate_part {
    size_t others;                /* servers beside the own one */
    size_t heard;                 /* of them: those whose view of the cluster was read since */
    const struct view_node *node; /* owns slots or is followed, NULL if none does */
    const struct pod *viewer;     /* that says so */
};

/* The record, or what is remembered of one that was deleted, or NULL. */
const struct record *gate_record(const struct world *world);

/*
 * The node that the record has for the own pod; "" = none. Where pods have no names of their own,
 * the volume says which member this is.
 */
struct node_id gate_recorded_id(const struct world *world, const struct node_id *claimed);

/* Its view is fresh and knows the cluster: a newcomer's says nothing of anybody. */
bool gate_is_viewer(const struct world *world, const struct pod *pod);

/* How many servers the cluster has beside the own one. */
size_t gate_others(const struct world *world);

/*
 * What lets a server go must have been asked since its hook asked, `since_ms`: before, the one that
 * ended here may have given its data to a replica that said until then that it had none.
 */

/*
 * The node for which a server that starts with this volume would be taken without being able to take
 * up its part: by its id unless its data is proven, by what ran beside this agent before, or by its
 * address; unless that node is proven to be elsewhere now.
 * Heard are members only: a newcomer's view says nothing of anybody's part.
 */
struct gate_part gate_find_part(const struct world *world, const struct gate_claim *claim);

/*
 * The node whose volume is to be given up: by the file's id, by the record's for this pod, by our
 * address; or, when neither tells an id, any that nobody answers for.
 */
struct gate_part gate_find_former(const struct world *world, const struct node_id *claimed,
                                  int64_t since_ms);

/*
 * Someone who may have data of the node: a follower that is not known to be empty, or a member that
 * nobody tells of. NULL when every member is known and none has any.
 */
const char *gate_find_holder(const struct world *world, const struct node_id *id, int64_t since_ms);

/*
 * Most of the others were heard, none of them gives the part's node slots, no move names it, and all that follow it
 * were scaled away: what they have is of slots that others serve.
 */
bool gate_is_spent(const struct world *world, const struct gate_part *part, int64_t since_ms);

/*
 * Everyone who could tell whose address this is was asked, and most did tell, listen to nobody yet, or
 * wait at their gates: silence and refused access tell nothing.
 */
bool gate_asked_all(const struct world *world, int64_t since_ms);

/* Members that are to come, and whose address is not known. */
struct gate_absent {
    const char *first; /* the first one's pod, NULL when there is none */
    size_t count;
    size_t all;     /* so many have no address, those included that others hold for failed... */
    size_t members; /* ...of so many that could have one, the own pod included */
};

/*
 * Whose address a server that starts now would lack. Not counted: who is held for failed by those
 * that answer, and pods that an OrderedReady set makes only after this one.
 */
struct gate_absent gate_find_absent(const struct world *world);

/* The node's pod is there, or will be without the own one being ready: it may get an address yet. */
bool gate_may_come(const struct world *world, const struct node_id *id);

#endif
