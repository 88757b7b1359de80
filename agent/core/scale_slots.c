/* SPDX-License-Identifier: Apache-2.0 */
/* Whose slots are whose, which are on their way, and what was seen of those that are to go next. */
#include "core/scale_sight.h"

static struct slot_range one(unsigned slot)
{
    return (struct slot_range){(uint16_t)slot, (uint16_t)slot};
}

static uint64_t sight_epoch(const struct sight *s, uint16_t shard)
{
    return sight_view(s, s->leads[shard])->myself->epoch;
}

/*
 * The pod of the primary that a move goes to now. A node that is gone for good, as one is whose pod came back
 * without its volume, was replaced by who owns its anchor; whoever is the last to claim that.
 */
static size_t sight_dest(const struct sight *s, const struct record_move *move)
{
    size_t to = sight_primary(s, &move->to);
    uint64_t epoch = 0;
    /* Who answers, and is no primary's yet, is waited for. */
    if (to != NO_POD || !move->anchored || facts_pod_of(s->facts, &move->to) != NO_POD)
        return to;
    for (size_t i = 0; i < s->shard_count; i++) {
        const struct view *view = sight_view(s, s->leads[i]);
        const struct view_node *me = view->myself;
        for (uint32_t r = 0; r < me->range_count; r++) {
            struct slot_range range = view->ranges[me->range_first + r];
            if (move->anchor < range.first || move->anchor > range.last || me->epoch < epoch)
                continue;
            to = s->leads[i];
            epoch = me->epoch;
        }
    }
    return to;
}

/* This move cannot be judged now: it stays in the record as it is. */
static void sight_keep(struct sight *s, size_t m)
{
    const struct record_move *move = &s->world->record->moves[m];
    s->kept[m] = true;
    for (size_t r = 0; r < move->range_count; r++) {
        slot_set_add(s->away, move->ranges[r]);
        slot_set_remove(s->cancel, move->ranges[r]);
        for (unsigned slot = move->ranges[r].first; slot <= move->ranges[r].last; slot++)
            s->from[slot] = s->going[slot] = SCALE_NOBODY;
    }
}

void sight_moves(struct sight *s)
{
    const struct record *record = s->world->record;
    for (size_t m = 0; m < record->move_count; m++) {
        const struct record_move *move = &record->moves[m];
        size_t from = sight_primary(s, &move->from);
        size_t to = sight_dest(s, move);
        if (to == NO_POD) {
            sight_keep(s, m);
            if (!s->waits)
                s->waits = arena_format(
                    s->arena, "node %.8s, to which slots from %u are on their way, does not answer",
                    move->to.hex, move->ranges[0].first);
            continue;
        }
        s->outdated |= from == NO_POD ||
                       !node_id_eq(&move->from, &s->world->pods[from].server.id) ||
                       !node_id_eq(&move->to, &s->world->pods[to].server.id);
        for (size_t r = 0; r < move->range_count; r++) {
            for (unsigned slot = move->ranges[r].first; slot <= move->ranges[r].last; slot++) {
                s->from[slot] = from == NO_POD ? SCALE_NOBODY : s->shard[from];
                s->going[slot] = s->shard[to];
            }
            if (move->cancel)
                slot_set_add(s->cancel, move->ranges[r]);
        }
    }
}

/*
 * Two claim it: its destination has taken it, and the source does not know yet; or one of the views is of before
 * an earlier move. Who took it last has the higher epoch, by which the servers decide, too (FACTS 6).
 */
static bool sight_claim(struct sight *s, unsigned slot, uint16_t shard)
{
    uint16_t other = s->owner[slot];
    if (other == SCALE_NOBODY || sight_epoch(s, shard) > sight_epoch(s, other))
        s->owner[slot] = shard;
    return other == SCALE_NOBODY || s->going[slot] == shard || s->going[slot] == other;
}

/* While somebody does not answer: moves of slots that nobody claims. */
static void sight_unclaimed(struct sight *s)
{
    const struct record *record = s->world->record;
    for (size_t m = 0; m < record->move_count; m++) {
        const struct record_move *move = &record->moves[m];
        bool claimed = true;
        for (size_t r = 0; r < move->range_count; r++)
            for (unsigned slot = move->ranges[r].first; slot <= move->ranges[r].last; slot++)
                claimed &= s->owner[slot] != SCALE_NOBODY;
        if (!claimed)
            sight_keep(s, m);
    }
}

const char *sight_owners(struct sight *s)
{
    for (size_t i = 0; i < s->shard_count; i++) {
        const struct view *view = sight_view(s, s->leads[i]);
        for (uint32_t r = 0; r < view->myself->range_count; r++) {
            struct slot_range range = view->ranges[view->myself->range_first + r];
            for (unsigned slot = range.first; slot <= range.last; slot++)
                if (!sight_claim(s, slot, (uint16_t)i))
                    return arena_format(s->arena, "two primaries claim slot %u", slot);
        }
    }
    if (s->waits)
        sight_unclaimed(s);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        /* Whose view is the older one does not say yet that it has taken it. */
        if (s->owner[slot] == SCALE_NOBODY && s->going[slot] != SCALE_NOBODY)
            s->owner[slot] = s->from[slot] == SCALE_NOBODY ? s->going[slot] : s->from[slot];
        if (s->owner[slot] == SCALE_NOBODY && !s->waits)
            return arena_format(s->arena, "nobody claims slot %u", slot);
    }
    return NULL;
}

static void sight_say_odd(struct sight *s, unsigned slot, size_t pod, const char *what)
{
    slot_set_add(s->stuck, one(slot));
    if (!s->odd)
        s->odd = arena_format(s->arena, "slot %u of %s is half-moved %s", slot,
                              s->world->pods[pod].name, what);
}

static void sight_open_slot(struct sight *s, size_t pod, const struct open_slot *open)
{
    unsigned slot = open->slot;
    size_t peer_pod = sight_primary(s, &open->peer);
    uint16_t self = s->shard[pod];
    uint16_t peer = peer_pod == NO_POD ? SCALE_NOBODY : s->shard[peer_pod];
    uint16_t from = open->importing ? peer : self;
    uint16_t to = open->importing ? self : peer;
    uint16_t going = s->going[slot] != SCALE_NOBODY ? s->going[slot] : s->half[slot];
    slot_set_add(s->open, one(slot));
    if (slot_set_has(s->away, slot) || s->owner[slot] == SCALE_NOBODY)
        return;
    bool gone = peer == SCALE_NOBODY || (peer == self && peer_pod != NO_POD &&
                                         !node_id_eq(&open->peer, &s->world->pods[pod].server.id));
    if (gone && s->going[slot] != SCALE_NOBODY)
        return; /* its move goes on without who is gone, or follows now (core/slot_look.h) */
    if (peer == SCALE_NOBODY || (peer == self && !open->importing))
        sight_say_odd(s, slot, pod, "with a node that is no shard's of ours");
    else if (going != SCALE_NOBODY && going != to)
        sight_say_odd(s, slot, pod, "in another direction than elsewhere");
    else if (s->owner[slot] != from && s->owner[slot] != to && !open->importing)
        sight_say_odd(s, slot, pod, "and owned by neither side");
    else if (s->going[slot] == SCALE_NOBODY && (!open->importing || s->owner[slot] == to)) {
        s->half[slot] = to;
        s->from[slot] = from;
    } else if (s->going[slot] == SCALE_NOBODY) {
        s->import[slot] = to;
    }
}

void sight_open(struct sight *s)
{
    for (size_t i = 0; i < s->shard_count; i++) {
        const struct view *view = sight_view(s, s->leads[i]);
        for (size_t k = 0; k < view->open_count; k++)
            sight_open_slot(s, s->leads[i], &view->open_slots[k]);
    }
    /* What is odd is nobody's to enter, whichever side was looked at first. */
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (slot_set_has(s->stuck, slot) && s->going[slot] == SCALE_NOBODY)
            s->half[slot] = s->from[slot] = s->import[slot] = SCALE_NOBODY;
        else if (s->half[slot] != SCALE_NOBODY)
            s->import[slot] = SCALE_NOBODY;
}

/* The code of who was looked at: a shard, or a pod that is none yet. */
static uint16_t sight_code(const struct sight *s, size_t pod)
{
    if (s->shard[pod] != SCALE_NOBODY)
        return s->shard[pod];
    return (uint16_t)(s->shard_count + pod);
}

/* Of a slot that is at rest at its owner. */
static void sight_looked_at(struct sight *s, const struct scale_seen *seen, unsigned slot,
                            size_t to)
{
    int64_t now_ms = s->world->now_ms;
    uint16_t code = sight_code(s, to);
    bool fresh = now_ms - seen->asked_ms <= WORLD_FRESH_MS;
    if (slot_set_has(&seen->clean, slot) && fresh) {
        s->clean[slot] = code;
    } else if (slot_set_has(&seen->bare, slot) && fresh && s->import[slot] == code) {
        s->half[slot] = code;
        s->from[slot] = s->owner[slot];
        s->import[slot] = SCALE_NOBODY;
    } else if (slot_set_has(&seen->keys, slot) && now_ms - seen->keys_ms <= SCALE_KEYS_MS &&
               s->going[slot] == SCALE_NOBODY) {
        slot_set_add(s->stuck, one(slot));
        if (s->import[slot] == code)
            sight_say_odd(s, slot, to, "and holds keys of it that its owner did not send");
        s->import[slot] = SCALE_NOBODY;
    }
}

/* What was seen with these very moves in the record, of who owns it now. */
void sight_looked(struct sight *s)
{
    const struct world *w = s->world;
    for (size_t i = 0; w->scale && i < w->scale->count; i++) {
        const struct scale_seen *seen = &w->scale->seen[i];
        size_t from = facts_pod_of(s->facts, &seen->from);
        size_t to = facts_pod_of(s->facts, &seen->to);
        if (seen->generation != w->record->move_generation || from == NO_POD || to == NO_POD)
            continue;
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
            if (s->shard[from] != SCALE_NOBODY && s->owner[slot] == s->shard[from])
                sight_looked_at(s, seen, slot, to);
    }
}
