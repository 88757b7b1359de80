/* SPDX-License-Identifier: Apache-2.0 */
/* What core/scale.h answers, by the ids of the servers. */
#include <string.h>

#include "core/scale_see.h"

size_t scale_pod(const struct scale_sight *sight, uint16_t code)
{
    size_t shards = sight->ask.target.shard_count;
    return code < shards ? sight->leads[code] : code - shards;
}

/* Slots that go from one to another, be they cancelled or not; those of one source in a list. */
struct pair {
    uint16_t from;
    uint16_t to;
    bool cancel;
    struct slot_set slots;
    struct pair *next;
};

struct pairs {
    struct arena *arena;
    struct pair **first; /* by code of the source */
    size_t count;
};

/* The set of this pair; NULL if there would be more pairs than `max`. */
static struct slot_set *pairs_set(struct pairs *pairs, uint16_t from, uint16_t to, bool cancel,
                                  size_t max)
{
    struct pair **at = &pairs->first[from];
    while (*at && ((*at)->to != to || (*at)->cancel != cancel))
        at = &(*at)->next;
    if (!*at && pairs->count == max)
        return NULL;
    if (!*at) {
        *at = ARENA_NEW(pairs->arena, struct pair, 1);
        (*at)->from = from;
        (*at)->to = to;
        (*at)->cancel = cancel;
        pairs->count++;
    }
    return &(*at)->slots;
}

static void put_ranges(const struct slot_set *slots, struct arena *arena, struct record_move *move)
{
    struct slot_range range;
    size_t count = 0;
    for (unsigned at = 0; slot_set_next(slots, &at, &range);)
        count++;
    struct slot_range *ranges = ARENA_NEW(arena, struct slot_range, count);
    unsigned at = 0;
    for (size_t i = 0; i < count; i++)
        (void)slot_set_next(slots, &at, &ranges[i]);
    move->ranges = ranges;
    move->range_count = count;
}

/* The last slot that the destination owns and keeps, as far as the record goes. */
static void put_anchor(const struct scale_sight *sight, const struct scale *scale, uint16_t to,
                       struct record_move *move)
{
    for (unsigned slot = SLOT_COUNT; slot-- > 0 && !move->anchored;) {
        move->anchored = sight->ask.owner[slot] == to && scale->going[slot] == SCALE_NOBODY;
        move->anchor = move->anchored ? (uint16_t)slot : 0;
    }
}

/* It is still that destination's, and stays there. */
static bool is_anchor(const struct scale_sight *sight, const struct scale *scale, uint16_t to,
                      const struct record_move *move)
{
    return move->anchored && sight->ask.owner[move->anchor] == to &&
           scale->going[move->anchor] == SCALE_NOBODY;
}

static struct record_move put_move(const struct world *world, const struct scale_sight *sight,
                                   const struct scale *scale, const struct pair *pair,
                                   struct arena *arena)
{
    struct record_move move = {
        .from = world->pods[scale_pod(sight, pair->from)].server.id,
        .to = world->pods[scale_pod(sight, pair->to)].server.id,
        .generation = world->record->move_generation + 1,
        .cancel = pair->cancel,
    };
    put_anchor(sight, scale, pair->to, &move);
    put_ranges(&pair->slots, arena, &move);
    for (size_t i = 0; i < world->record->move_count; i++) {
        const struct record_move *old = &world->record->moves[i];
        struct record_move same = move;
        same.generation = old->generation;
        if (is_anchor(sight, scale, pair->to, old)) {
            same.anchored = true;
            same.anchor = old->anchor;
        }
        if (record_move_eq(old, &same))
            return same;
    }
    return move;
}

const struct record *scale_record(const struct world *world, const struct scale_sight *sight,
                                  const struct scale *scale, struct arena *arena)
{
    size_t shards = sight->ask.target.shard_count;
    struct pairs pairs = {arena, ARENA_NEW(arena, struct pair *, shards), 0};
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        if (scale->going[slot] == SCALE_NOBODY)
            continue;
        struct slot_set *set = pairs_set(&pairs, scale->from[slot], scale->going[slot],
                                         slot_set_has(scale->cancel, slot), RECORD_MOVES_MAX);
        if (!set)
            return NULL;
        slot_set_add(set, (struct slot_range){(uint16_t)slot, (uint16_t)slot});
    }
    size_t kept = world->record->move_count;
    struct record_move *moves = ARENA_NEW(arena, struct record_move, pairs.count + kept);
    struct record *record = ARENA_NEW(arena, struct record, 1);
    *record = *world->record;
    record->moves = moves;
    record->move_count = 0;
    record->move_generation++;
    record->evening = scale->evening;
    for (size_t i = 0; i < shards; i++)
        for (const struct pair *pair = pairs.first[i]; pair; pair = pair->next)
            moves[record->move_count++] = put_move(world, sight, scale, pair, arena);
    for (size_t i = 0; i < kept; i++)
        if (sight->kept[i])
            moves[record->move_count++] = world->record->moves[i];
    return record->move_count <= RECORD_MOVES_MAX ? record : NULL;
}

const struct scale_look *scale_looks(const struct world *world, const struct scale_sight *sight,
                                     const struct scale *scale, struct arena *arena,
                                     size_t *ret_count)
{
    size_t shards = sight->ask.target.shard_count;
    struct pairs pairs = {arena, ARENA_NEW(arena, struct pair *, shards), 0};
    struct scale_look *looks = ARENA_NEW(arena, struct scale_look, SCALE_PAIRS_MAX);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        if (scale->look[slot] == SCALE_NOBODY)
            continue;
        struct slot_set *set =
            pairs_set(&pairs, sight->ask.owner[slot], scale->look[slot], false, SCALE_PAIRS_MAX);
        if (set)
            slot_set_add(set, (struct slot_range){(uint16_t)slot, (uint16_t)slot});
    }
    *ret_count = 0;
    for (size_t i = 0; i < shards; i++) {
        for (const struct pair *pair = pairs.first[i]; pair; pair = pair->next) {
            size_t from = scale_pod(sight, pair->from);
            size_t to = scale_pod(sight, pair->to);
            looks[(*ret_count)++] = (struct scale_look){
                .from_pod = from,
                .to_pod = to,
                .from = world->pods[from].server.id,
                .to = world->pods[to].server.id,
                .generation = world->record->move_generation,
                .slots = &pair->slots,
            };
        }
    }
    return looks;
}
