/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between core/slot_move.h and the servers: what two primaries' views say of slots that move from the
 * one to the other, and a step as the command that carries it out.
 */
#ifndef MUSTER_CORE_SLOT_LOOK_H
#define MUSTER_CORE_SLOT_LOOK_H

#include <stddef.h>
#include <stdint.h>

#include "core/action.h"
#include "core/slot_move.h"
#include "core/view.h"

/* The two primaries, as they answer now. */
struct slot_pair {
    struct node_id source;
    struct node_id dest;
};

/*
 * By slot: whose it is, the source's epoch, and how it is open in the view of the source (`at_source`) or of the
 * destination, which must be its own (view->myself). `keys` are left alone: a view does not say them.
 */
void slot_look(const struct view *view, const struct slot_pair *pair, bool at_source,
               const uint16_t *slots, size_t count, struct slot_side *ret_sides);

/*
 * "CLUSTER SETSLOT 5 IMPORTING <id>" and whether it goes to the source. For every step but SLOT_WAIT,
 * SLOT_DONE and SLOT_KEYS, which are no such commands (asserted).
 */
void slot_step_command(enum slot_step step, uint16_t slot, const struct slot_pair *pair,
                       struct action_args *ret_args, bool *ret_to_source);

#endif
