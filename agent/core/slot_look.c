/* SPDX-License-Identifier: Apache-2.0 */
#include "core/slot_look.h"

#include <assert.h>

#include "base/text.h"
#include "core/slots.h"

static bool slot_is_of(const struct view *view, const struct view_node *node, uint16_t slot)
{
    for (uint32_t i = 0; i < node->range_count; i++) {
        struct slot_range range = view->ranges[node->range_first + i];
        if (slot >= range.first && slot <= range.last)
            return true;
    }
    return false;
}

/* By what this view knows it claims no more what the source claims: it has failed, or its epoch is the older one. */
static bool slot_is_outdone(const struct view *view, const struct view_node *node,
                            const struct slot_pair *pair)
{
    const struct view_node *source = view_find(view, &pair->source);
    return node != source &&
           (node->flags & (NODE_FAIL | NODE_NOADDR) || (source && source->epoch > node->epoch));
}

/* Whose a slot is that is imported stays as it was when that began, whoever was elected or has taken it since. */
static bool slot_is_kept_back(const struct view *view, const struct slot_pair *pair, bool at_source,
                              uint16_t slot)
{
    bool importing = false;
    for (size_t i = 0; i < view->open_count; i++)
        importing |= view->open_slots[i].slot == slot && view->open_slots[i].importing;
    if (at_source || !importing)
        return false;
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        if (slot_is_outdone(view, n, pair) && slot_is_of(view, n, slot))
            return true;
    }
    return false;
}

static enum slot_owner slot_owner_in(const struct view *view, const struct slot_pair *pair,
                                     const struct slot_set *assigned, uint16_t slot)
{
    const struct view_node *source = view_find(view, &pair->source);
    const struct view_node *dest = view_find(view, &pair->dest);
    if (source && slot_is_of(view, source, slot))
        return SLOT_OWNER_SOURCE;
    if (dest && slot_is_of(view, dest, slot))
        return SLOT_OWNER_DEST;
    return slot_set_has(assigned, slot) ? SLOT_OWNER_OTHER : SLOT_OWNER_NOBODY;
}

/* It has failed without slots, or nobody knows it: whatever it got is nobody's to give back. */
static bool slot_is_gone(const struct view_node *node)
{
    return !node || (node->flags & (NODE_FAIL | NODE_NOADDR) && !node->slot_count);
}

/*
 * Towards `peer`, or towards who follows it now and was the shard's primary before, or is gone. Whom it is imported
 * from does not matter if that is no primary any more.
 */
static enum slot_open slot_open_in(const struct view *view, const struct slot_pair *pair,
                                   bool importing, uint16_t slot)
{
    const struct node_id *peer = importing ? &pair->source : &pair->dest;
    for (size_t i = 0; i < view->open_count; i++) {
        const struct open_slot *open = &view->open_slots[i];
        if (open->slot != slot)
            continue;
        if (open->importing != importing)
            return SLOT_OPEN_OTHER;
        if (node_id_eq(&open->peer, peer))
            return SLOT_OPEN_PEER;
        const struct view_node *mate = view_find(view, &open->peer);
        bool follows =
            mate && (mate->flags & NODE_REPLICA) && (importing || node_id_eq(&mate->primary, peer));
        bool outdone = importing && mate && slot_is_outdone(view, mate, pair);
        return follows || outdone || slot_is_gone(mate) ? SLOT_OPEN_MATE : SLOT_OPEN_OTHER;
    }
    return SLOT_CLOSED;
}

void slot_look(const struct view *view, const struct slot_pair *pair, bool at_source,
               const uint16_t *slots, size_t count, struct slot_side *ret_sides)
{
    struct slot_set assigned = {{0}};
    const struct view_node *source = view_find(view, &pair->source);
    uint64_t epoch = source ? source->epoch : 0;
    bool tied = !at_source && epoch && view->myself->epoch == epoch;
    for (size_t i = 0; i < view->range_count; i++)
        slot_set_add(&assigned, view->ranges[i]);
    for (size_t i = 0; i < count; i++) {
        ret_sides[i].owner = slot_owner_in(view, pair, &assigned, slots[i]);
        if (ret_sides[i].owner == SLOT_OWNER_OTHER &&
            slot_is_kept_back(view, pair, at_source, slots[i]))
            ret_sides[i].owner = SLOT_OWNER_NOBODY;
        ret_sides[i].epoch = epoch;
        ret_sides[i].tied = tied;
        ret_sides[i].open = slot_open_in(view, pair, !at_source, slots[i]);
    }
}

static void slot_words(struct action_args *args, uint16_t slot, const char *verb, const char *id)
{
    args->count = 0;
    text_format(args->words[args->count++], ACTION_ARG_SIZE, "CLUSTER");
    text_format(args->words[args->count++], ACTION_ARG_SIZE, "SETSLOT");
    text_format(args->words[args->count++], ACTION_ARG_SIZE, "%u", slot);
    text_format(args->words[args->count++], ACTION_ARG_SIZE, "%s", verb);
    if (id)
        text_format(args->words[args->count++], ACTION_ARG_SIZE, "%s", id);
}

void slot_step_command(enum slot_step step, uint16_t slot, const struct slot_pair *pair,
                       struct action_args *ret_args, bool *ret_to_source)
{
    *ret_to_source = step == SLOT_MIGRATE || step == SLOT_GIVE || step == SLOT_CLOSE_SOURCE;
    switch (step) {
    case SLOT_WAIT:
    case SLOT_DONE:
    case SLOT_KEYS:
        assert(false && "no SETSLOT");
        break;
    case SLOT_IMPORT:
        slot_words(ret_args, slot, "IMPORTING", pair->source.hex);
        break;
    case SLOT_MIGRATE:
        slot_words(ret_args, slot, "MIGRATING", pair->dest.hex);
        break;
    case SLOT_TELL:
        slot_words(ret_args, slot, "NODE", pair->source.hex);
        break;
    case SLOT_TAKE:
    case SLOT_GIVE:
        slot_words(ret_args, slot, "NODE", pair->dest.hex);
        break;
    case SLOT_CLOSE_SOURCE:
    case SLOT_CLOSE_DEST:
        slot_words(ret_args, slot, "STABLE", NULL);
        break;
    }
}
