/* SPDX-License-Identifier: Apache-2.0 */
#include "core/moves.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A shard with more slots than it is to have, or with less. */
struct party {
    size_t shard;
    unsigned slots; /* to give, or to get */
};

static int party_cmp(const void *a, const void *b)
{
    const struct party *pa = a;
    const struct party *pb = b;
    if (pa->slots != pb->slots)
        return pa->slots > pb->slots ? -1 : 1;
    return pa->shard < pb->shard ? -1 : pa->shard > pb->shard;
}

/* A maximal range of the source's. */
struct piece {
    struct slot_range range;
    bool before; /* the slot before it is the destination's */
    bool behind; /* the slot behind it is */
};

/* What closes a gap of the destination first, then what leaves the source fewer ranges. */
static int piece_cmp(const void *a, const void *b)
{
    const struct piece *pa = a;
    const struct piece *pb = b;
    int sides_a = pa->before + pa->behind;
    int sides_b = pb->before + pb->behind;
    if (sides_a != sides_b)
        return sides_a > sides_b ? -1 : 1;
    unsigned count_a = slot_range_count(pa->range);
    unsigned count_b = slot_range_count(pb->range);
    if (count_a != count_b)
        return count_a < count_b ? -1 : 1;
    return (int)pa->range.first - (int)pb->range.first;
}

static size_t moves_pieces(const struct slot_set *from, const struct slot_set *to,
                           struct piece *ret_pieces)
{
    size_t count = 0;
    unsigned at = 0;
    struct slot_range range;
    while (slot_set_next(from, &at, &range)) {
        bool before = range.first > 0 && slot_set_has(to, range.first - 1u);
        bool behind = range.last < SLOT_COUNT - 1 && slot_set_has(to, range.last + 1u);
        ret_pieces[count++] = (struct piece){range, before, behind};
    }
    return count;
}

/* `slots` of the piece, from the side where the destination is. */
static struct slot_range piece_cut(const struct piece *piece, unsigned slots)
{
    struct slot_range range = piece->range;
    if (slot_range_count(range) <= slots)
        return range;
    if (piece->before)
        range.last = (uint16_t)(range.first + slots - 1);
    else
        range.first = (uint16_t)(range.last - slots + 1);
    return range;
}

static void moves_set_ranges(const struct slot_set *set, struct arena *arena, struct move *move)
{
    unsigned at = 0;
    struct slot_range range;
    size_t count = 0;
    while (slot_set_next(set, &at, &range))
        count++;
    struct slot_range *ranges = ARENA_NEW(arena, struct slot_range, count);
    at = 0;
    for (size_t i = 0; slot_set_next(set, &at, &range); i++)
        ranges[i] = range;
    move->ranges = ranges;
    move->range_count = count;
}

/* Moves `slots` slots from one set to the other and notes which. */
static struct move moves_take(struct slot_set *from, struct slot_set *to, unsigned slots,
                              struct piece *pieces, struct arena *arena)
{
    struct move move = {.slot_count = slots};
    struct slot_set taken = {{0}};
    size_t count = moves_pieces(from, to, pieces);
    qsort(pieces, count, sizeof *pieces, piece_cmp);
    for (size_t i = 0; i < count && slots; i++) {
        struct slot_range range = piece_cut(&pieces[i], slots);
        slot_set_add(&taken, range);
        slot_set_remove(from, range);
        slot_set_add(to, range);
        slots -= slot_range_count(range);
    }
    assert(!slots);
    moves_set_ranges(&taken, arena, &move);
    return move;
}

/* The shards on one side, largest first; returns their number. */
static size_t moves_parties(const struct moves_shard *shards, const unsigned *has, size_t count,
                            bool givers, struct party *ret_parties)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned more = givers ? has[i] : shards[i].wanted;
        unsigned less = givers ? shards[i].wanted : has[i];
        if (more > less)
            ret_parties[found++] = (struct party){i, more - less};
    }
    if (found)
        qsort(ret_parties, found, sizeof *ret_parties, party_cmp);
    return found;
}

void moves_find(const struct moves_shard *shards, size_t count, struct arena *arena,
                struct moves *ret_moves)
{
    unsigned *has = ARENA_NEW(arena, unsigned, count);
    struct slot_set *sets = ARENA_NEW(arena, struct slot_set, count);
    struct party *givers = ARENA_NEW(arena, struct party, count);
    struct party *takers = ARENA_NEW(arena, struct party, count);
    struct piece *pieces = ARENA_NEW(arena, struct piece, SLOT_COUNT / 2);
    struct move *moves = ARENA_NEW(arena, struct move, count);
    struct moves found = {.moves = moves};
    for (size_t i = 0; i < count; i++) {
        sets[i] = *shards[i].slots;
        has[i] = slot_set_count(&sets[i]);
    }
    size_t giver_count = moves_parties(shards, has, count, true, givers);
    size_t taker_count = moves_parties(shards, has, count, false, takers);
    /* Both sums are equal; each step is done with a giver or a taker, the last one with both. */
    size_t taker = 0;
    for (size_t giver = 0; giver < giver_count;) {
        assert(taker < taker_count);
        struct party *g = &givers[giver];
        struct party *t = &takers[taker];
        unsigned slots = g->slots < t->slots ? g->slots : t->slots;
        struct move move = moves_take(&sets[g->shard], &sets[t->shard], slots, pieces, arena);
        move.from = g->shard;
        move.to = t->shard;
        moves[found.count++] = move;
        found.slot_count += slots;
        g->slots -= slots;
        t->slots -= slots;
        giver += !g->slots;
        taker += !t->slots;
    }
    assert(taker == taker_count);
    *ret_moves = found;
}
