/* SPDX-License-Identifier: Apache-2.0 */
#include "core/scale.h"

#include <assert.h>
#include <string.h>

#include "core/moves.h"

/* A shard of the target, or one of today's that ends. */
struct party {
    size_t was;    /* today's shard, or TARGET_NONE */
    uint16_t code; /* as in the arrays by slot */
    bool pinned;   /* it neither gives nor gets for now */
};

/* Slots that are under way from one to another; those of one source in a list. */
struct lane {
    uint16_t to;
    unsigned slots;
    struct lane *next;
};

struct work {
    const struct scale_ask *ask;
    struct arena *arena;
    struct scale *out;
    uint16_t *from;
    uint16_t *going;
    uint16_t *look;
    struct slot_set *cancel;
    struct slot_set *held; /* half-moved, and not to be touched yet */
    unsigned *slots;       /* by today's shard: what it will own */
    unsigned *owned;       /* likewise: what it owns now */
    struct lane **lanes;   /* likewise, of which it is the source */
    unsigned lane_count;
    unsigned *sources; /* by code: pairs that work towards it */
    size_t *leads;     /* by today's shard: its primary's pod, or TARGET_NONE */
    struct party *parties;
    struct moves_shard *shards; /* by party */
    size_t party_count;
};

static struct slot_range one(unsigned slot)
{
    return (struct slot_range){(uint16_t)slot, (uint16_t)slot};
}

static bool work_is_shard(const struct work *w, uint16_t code)
{
    return code < w->ask->target.shard_count;
}

/* The agent beside this shard's primary. */
static bool work_has_read(const struct work *w, size_t shard)
{
    return w->leads[shard] != TARGET_NONE && w->ask->read[w->leads[shard]];
}

static void work_lead(struct work *w)
{
    const struct target_ask *ask = &w->ask->target;
    for (size_t i = 0; i < ask->shard_count; i++)
        w->leads[i] = TARGET_NONE;
    for (size_t i = 0; i < ask->pod_count; i++)
        if (ask->pods[i].primary && ask->pods[i].shard != TARGET_NONE)
            w->leads[ask->pods[i].shard] = i;
}

/* ---- What is on its way ---- */

/* Where the record has it go, or who it is half-moved to; SCALE_NOBODY if it is at rest. */
static uint16_t keep_where(const struct scale_ask *ask, unsigned slot)
{
    if (ask->going[slot] != SCALE_NOBODY)
        return ask->going[slot];
    return ask->owner[slot] == SCALE_NOBODY ? SCALE_NOBODY : ask->half[slot];
}

/* Cancelled, and seen to be clean after everybody who could begin it knew that it is cancelled. */
static bool keep_is_clean(const struct work *w, unsigned slot)
{
    const struct scale_ask *ask = w->ask;
    return slot_set_has(ask->cancel, slot) && !slot_set_has(ask->open, slot) &&
           ask->clean[slot] == ask->going[slot] && work_has_read(w, ask->owner[slot]);
}

/*
 * What nobody has entered yet is entered like anything else: once both agents have read the present moves. One
 * of them may know of an earlier move of this very slot, which it would begin in the other direction.
 */
static bool keep_waits(struct work *w, unsigned slot, uint16_t to)
{
    const struct scale_ask *ask = w->ask;
    uint16_t owner = ask->owner[slot];
    if (ask->going[slot] != SCALE_NOBODY || (work_has_read(w, owner) && work_has_read(w, to)))
        return false;
    slot_set_add(w->held, one(slot));
    if (w->out->unread == TARGET_NONE)
        w->out->unread = w->leads[work_has_read(w, owner) ? to : owner];
    return true;
}

static void work_keep_slot(struct work *w, unsigned slot)
{
    const struct scale_ask *ask = w->ask;
    uint16_t to = keep_where(ask, slot);
    uint16_t owner = ask->owner[slot];
    bool open = slot_set_has(ask->open, slot);
    if (to == SCALE_NOBODY && ask->import[slot] != SCALE_NOBODY) {
        slot_set_add(w->held, one(slot));
        w->look[slot] = ask->import[slot];
        return;
    }
    if (to == SCALE_NOBODY || (to == owner && !open))
        return;
    assert(work_is_shard(w, to) && owner != SCALE_NOBODY);
    if (keep_is_clean(w, slot) || keep_waits(w, slot, to))
        return;
    /* Whoever owns it gives it, even if it had come to it otherwise meanwhile. */
    bool given = owner != to;
    if (!given && (ask->from[slot] == SCALE_NOBODY || ask->from[slot] == to))
        return; /* it has arrived, and who would close it is gone */
    w->from[slot] = given ? owner : ask->from[slot];
    w->going[slot] = to;
    if (!slot_set_has(ask->cancel, slot))
        return;
    slot_set_add(w->cancel, one(slot));
    if (given && work_has_read(w, owner))
        w->look[slot] = to;
}

/* Where it will be: a cancelled one stays, unless keys of it went already, which is seen when it arrives. */
static uint16_t work_where(const struct work *w, unsigned slot)
{
    bool goes = w->going[slot] != SCALE_NOBODY && !slot_set_has(w->cancel, slot);
    return goes ? w->going[slot] : w->ask->owner[slot];
}

/* To a shard that ends nothing goes that can stay where it is; wanted again, it goes on. */
static void work_cancel(struct work *w)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        uint16_t to = w->going[slot];
        if (to == SCALE_NOBODY)
            continue;
        if (w->out->target.became[to] == TARGET_NONE && to != w->ask->owner[slot])
            slot_set_add(w->cancel, one(slot));
        else
            slot_set_remove(w->cancel, one(slot));
    }
}

/* ---- The target ---- */

static void work_target(struct work *w)
{
    struct target_ask ask = w->ask->target;
    memset(w->slots, 0, ask.shard_count * sizeof *w->slots);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        uint16_t shard = work_where(w, slot);
        if (shard != SCALE_NOBODY)
            w->slots[shard]++;
    }
    ask.slots = w->slots;
    ask.slack = w->ask->evening ? 0 : SCALE_SLACK;
    target_find(&ask, w->arena, &w->out->target);
}

/* ---- What begins ---- */

static void work_party(struct work *w, size_t was, size_t primary, unsigned wanted)
{
    struct party *p = &w->parties[w->party_count];
    bool founds = was == TARGET_NONE;
    *p = (struct party){
        .was = was,
        .code = (uint16_t)(founds ? w->ask->target.shard_count + primary : was),
        .pinned = founds ? !w->ask->ready[primary] : w->out->target.heirs[was] != TARGET_NONE,
    };
    if (p->pinned && !founds && w->out->handed == TARGET_NONE)
        w->out->handed = was;
    if (p->pinned && founds && w->out->unready == TARGET_NONE)
        w->out->unready = primary;
    w->shards[w->party_count++].wanted = wanted;
}

static void work_parties(struct work *w)
{
    const struct target *t = &w->out->target;
    size_t room = t->shard_count + w->ask->target.shard_count;
    w->parties = ARENA_NEW(w->arena, struct party, room);
    w->shards = ARENA_NEW(w->arena, struct moves_shard, room);
    for (size_t i = 0; i < t->shard_count; i++)
        work_party(w, t->shards[i].was, t->shards[i].primary, t->shards[i].slots);
    for (size_t i = 0; i < w->ask->target.shard_count; i++)
        if (t->became[i] == TARGET_NONE)
            work_party(w, i, TARGET_NONE, 0);
}

/* What of each party may be planned with: it is there, and neither on its way nor stuck. */
static void work_free(struct work *w)
{
    size_t room = w->ask->target.shard_count + w->ask->target.pod_count;
    size_t *party = ARENA_NEW(w->arena, size_t, room);
    struct slot_set *free = ARENA_NEW(w->arena, struct slot_set, w->party_count);
    unsigned *coming = ARENA_NEW(w->arena, unsigned, w->party_count);
    for (size_t i = 0; i < w->party_count; i++) {
        party[w->parties[i].code] = i;
        w->shards[i].slots = &free[i];
    }
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        uint16_t where = work_where(w, slot);
        if (where == SCALE_NOBODY)
            continue;
        if (w->going[slot] != SCALE_NOBODY || slot_set_has(w->ask->stuck, slot) ||
            slot_set_has(w->held, slot))
            coming[party[where]]++;
        else
            slot_set_add(&free[party[where]], one(slot));
    }
    for (size_t i = 0; i < w->party_count; i++) {
        unsigned wanted = w->shards[i].wanted;
        w->shards[i].wanted = wanted > coming[i] ? wanted - coming[i] : 0;
    }
}

/* `want` brought nearer to `has`, by `over` at most: more than it, if `over` is above 0, else less. */
static unsigned level_one(unsigned want, unsigned has, long *over)
{
    long more = (long)want - (long)has;
    long less = 0;
    if (*over > 0 && more > 0)
        less = more < *over ? more : *over;
    else if (*over < 0 && more < 0)
        less = more > *over ? more : *over;
    *over -= less;
    return (unsigned)((long)want - less);
}

/* As many are wanted as there are: who is pinned keeps what it has, and others get or give less for now. */
static void work_level(struct work *w)
{
    long over = 0;
    unsigned *has = ARENA_NEW(w->arena, unsigned, w->party_count);
    for (size_t i = 0; i < w->party_count; i++) {
        has[i] = slot_set_count(w->shards[i].slots);
        if (w->parties[i].pinned)
            w->shards[i].wanted = has[i];
        over += (long)w->shards[i].wanted - (long)has[i];
    }
    for (size_t i = 0; i < w->party_count; i++)
        w->shards[i].wanted = level_one(w->shards[i].wanted, has[i], &over);
    assert(over == 0);
}

static struct lane *lane_find(const struct work *w, uint16_t from, uint16_t to)
{
    struct lane *lane = w->lanes[from];
    while (lane && lane->to != to)
        lane = lane->next;
    return lane;
}

static struct lane *lane_open(struct work *w, uint16_t from, uint16_t to)
{
    struct lane *lane = ARENA_NEW(w->arena, struct lane, 1);
    *lane = (struct lane){.to = to, .next = w->lanes[from]};
    w->lanes[from] = lane;
    w->lane_count++;
    w->sources[to]++;
    return lane;
}

static void work_lanes(struct work *w)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        uint16_t owner = w->ask->owner[slot];
        if (owner != SCALE_NOBODY)
            w->owned[owner]++;
        if (w->going[slot] == SCALE_NOBODY)
            continue;
        struct lane *lane = lane_find(w, w->from[slot], w->going[slot]);
        if (!lane)
            lane = lane_open(w, w->from[slot], w->going[slot]);
        lane->slots++;
    }
}

/*
 * This pod can follow the destination's primary now: it does, or has no shard and no data, or is a copy that its
 * own shard can spare, for which there has to be something to copy. Who is to be emptied first cannot.
 */
static bool work_can_copy(const struct work *w, const struct party *dest, size_t primary,
                          size_t pod)
{
    const struct scale_ask *ask = w->ask;
    size_t today = ask->target.pods[pod].shard;
    if (today == TARGET_NONE)
        return !ask->laden[pod];
    if (today == dest->was)
        return true;
    return !ask->target.pods[pod].primary && ask->laden[primary] &&
           w->leads[today] != TARGET_NONE &&
           ask->synced[w->leads[today]] > ask->target.replicas_per_primary;
}

/* As many followers in sync as the target has copies for it, but at most those that each is to have. */
static bool work_is_copied(const struct work *w, const struct party *dest, size_t primary)
{
    const struct scale_ask *ask = w->ask;
    size_t shard = (size_t)(dest - w->parties);
    unsigned wanted = 0;
    for (size_t i = 0; i < ask->target.pod_count; i++) {
        const struct target_part *part = &w->out->target.parts[i];
        wanted += part->stays && part->shard == shard && i != primary &&
                  work_can_copy(w, dest, primary, i);
    }
    if (wanted > ask->target.replicas_per_primary)
        wanted = ask->target.replicas_per_primary;
    return ask->synced[primary] >= wanted;
}

/* What keeps this pair from beginning more, of which the first is told; false if nothing does. */
static bool work_waits(struct work *w, const struct party *from, const struct party *to)
{
    struct scale *out = w->out;
    bool full = to->was != TARGET_NONE && w->ask->full[to->was];
    size_t dest =
        to->was == TARGET_NONE ? to->code - w->ask->target.shard_count : w->leads[to->was];
    size_t pod = work_has_read(w, from->was) ? dest : w->leads[from->was];
    bool unread = pod == TARGET_NONE || !w->ask->read[pod];
    bool lone = dest != TARGET_NONE && !work_is_copied(w, to, dest);
    if (unread && out->unread == TARGET_NONE)
        out->unread = pod;
    if (full && out->full == TARGET_NONE)
        out->full = to->was;
    if (lone && out->lone == TARGET_NONE)
        out->lone = dest;
    return unread || full || lone;
}

/* A portion of one pair's slots: those that were looked at begin, the others are to be looked at. */
static void work_begin(struct work *w, const struct move *move, unsigned room)
{
    uint16_t from = w->parties[move->from].code;
    uint16_t to = w->parties[move->to].code;
    for (size_t r = 0; r < move->range_count; r++) {
        for (unsigned slot = move->ranges[r].first; slot <= move->ranges[r].last; slot++) {
            if (!room--)
                return;
            if (w->ask->clean[slot] == to && !slot_set_has(w->ask->open, slot)) {
                w->from[slot] = from;
                w->going[slot] = to;
            } else {
                w->look[slot] = to;
            }
        }
    }
}

/* How many slots may begin between these two now. */
static unsigned work_room(struct work *w, const struct party *from, const struct party *to)
{
    const struct lane *lane = lane_find(w, from->code, to->code);
    bool first = to->was == TARGET_NONE || !w->owned[to->was];
    /* Who takes slots changes its epoch, and must not be taken from meanwhile (core/slot_move.h). */
    bool turns = w->sources[from->code] || (to->was != TARGET_NONE && w->lanes[to->was]);
    if (turns ||
        (!lane && (w->lane_count == SCALE_PAIRS_MAX || w->sources[to->code] == SCALE_SOURCES_MAX)))
        return 0;
    if (first)
        return !w->sources[to->code];
    if (!lane)
        return SCALE_PORTION;
    return lane->slots <= SCALE_PORTION / 2 ? SCALE_PORTION - lane->slots : 0;
}

static void work_plan(struct work *w)
{
    struct moves found;
    work_parties(w);
    work_free(w);
    work_level(w);
    work_lanes(w);
    moves_find(w->shards, w->party_count, w->arena, &found);
    for (size_t i = 0; i < found.count; i++) {
        const struct move *move = &found.moves[i];
        const struct party *from = &w->parties[move->from];
        const struct party *to = &w->parties[move->to];
        unsigned room = work_room(w, from, to);
        if (!room || work_waits(w, from, to))
            continue;
        if (!lane_find(w, from->code, to->code))
            (void)lane_open(w, from->code, to->code);
        work_begin(w, move, room);
    }
}

/* ---- The record ---- */

/*
 * Whether the record is to be written: at once when anything is entered, cancelled or dropped as clean, or
 * comes from another shard than it did; what has arrived is no hurry, and taken out when half a portion of a
 * shard's has, or nothing more comes to it.
 */
static bool work_changes(const struct work *w)
{
    const struct scale_ask *ask = w->ask;
    size_t shards = ask->target.shard_count;
    unsigned *arrived = ARENA_NEW(w->arena, unsigned, shards);
    unsigned *coming = ARENA_NEW(w->arena, unsigned, shards);
    if (memcmp(w->cancel, ask->cancel, sizeof *w->cancel) != 0)
        return true;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        uint16_t to = w->going[slot];
        uint16_t was = ask->going[slot];
        if (to == was && to != SCALE_NOBODY && w->from[slot] == ask->from[slot])
            coming[to]++;
        else if (to == SCALE_NOBODY && was != SCALE_NOBODY && was == ask->owner[slot])
            arrived[was]++;
        else if (to != SCALE_NOBODY || was != SCALE_NOBODY)
            return true;
    }
    for (size_t i = 0; i < shards; i++)
        if (arrived[i] && (arrived[i] >= SCALE_PORTION / 2 || !coming[i]))
            return true;
    return ask->evening && !w->out->evening;
}

/* What has not begun stays where it is, and nothing is evened out any more. */
static void work_end(struct work *w)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (w->going[slot] != SCALE_NOBODY && w->going[slot] != w->ask->owner[slot])
            slot_set_add(w->cancel, one(slot));
}

static void work_all(struct work *w)
{
    struct scale *scale = w->out;
    work_target(w);
    if (!scale->target.shard_count) {
        scale->evening = w->ask->evening;
        return;
    }
    work_cancel(w);
    scale->slots += scale->target.moved;
    if (scale->target.moved)
        work_plan(w);
    /* A shard comes or goes, or did and not all is moved yet; else what was shared out stays so. */
    scale->evening = scale->slots && (w->ask->evening || scale->target.moved);
}

void scale_next(const struct scale_ask *ask, struct arena *arena, struct scale *ret_scale)
{
    struct scale scale = {.handed = TARGET_NONE,
                          .unread = TARGET_NONE,
                          .unready = TARGET_NONE,
                          .lone = TARGET_NONE,
                          .full = TARGET_NONE};
    struct work w = {
        .ask = ask,
        .arena = arena,
        .out = &scale,
        .from = ARENA_NEW(arena, uint16_t, SLOT_COUNT),
        .going = ARENA_NEW(arena, uint16_t, SLOT_COUNT),
        .look = ARENA_NEW(arena, uint16_t, SLOT_COUNT),
        .cancel = ARENA_NEW(arena, struct slot_set, 1),
        .held = ARENA_NEW(arena, struct slot_set, 1),
        .slots = ARENA_NEW(arena, unsigned, ask->target.shard_count),
        .owned = ARENA_NEW(arena, unsigned, ask->target.shard_count),
        .lanes = ARENA_NEW(arena, struct lane *, ask->target.shard_count),
        .sources = ARENA_NEW(arena, unsigned, ask->target.shard_count + ask->target.pod_count),
        .leads = ARENA_NEW(arena, size_t, ask->target.shard_count),
    };
    work_lead(&w);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        w.from[slot] = w.going[slot] = w.look[slot] = SCALE_NOBODY;
        work_keep_slot(&w, slot);
        scale.slots += w.going[slot] != SCALE_NOBODY;
    }
    scale.evening = ask->evening && !ask->ends;
    if (ask->ends)
        work_end(&w);
    else if (!ask->settles)
        work_all(&w);
    scale.from = w.from;
    scale.going = w.going;
    scale.look = w.look;
    scale.cancel = w.cancel;
    scale.changed = work_changes(&w);
    *ret_scale = scale;
}
