/* SPDX-License-Identifier: Apache-2.0 */
#include "core/slots.h"

#include <assert.h>

/* The bits of `range` that fall into word `w`, which it touches. */
static uint64_t slot_word_mask(struct slot_range range, unsigned w)
{
    unsigned low = range.first > w * 64 ? range.first - w * 64 : 0;
    unsigned high = range.last < w * 64 + 63 ? range.last - w * 64 : 63;
    uint64_t upto_high = high == 63 ? UINT64_MAX : (UINT64_C(1) << (high + 1)) - 1;
    return upto_high & ~((UINT64_C(1) << low) - 1);
}

void slot_set_add(struct slot_set *set, struct slot_range range)
{
    assert(range.first <= range.last && range.last < SLOT_COUNT);
    for (unsigned w = range.first / 64; w <= range.last / 64u; w++)
        set->words[w] |= slot_word_mask(range, w);
}

void slot_set_remove(struct slot_set *set, struct slot_range range)
{
    assert(range.first <= range.last && range.last < SLOT_COUNT);
    for (unsigned w = range.first / 64; w <= range.last / 64u; w++)
        set->words[w] &= ~slot_word_mask(range, w);
}

bool slot_set_has(const struct slot_set *set, unsigned slot)
{
    assert(slot < SLOT_COUNT);
    return set->words[slot / 64] >> (slot % 64) & 1;
}

unsigned slot_set_count(const struct slot_set *set)
{
    unsigned count = 0;
    for (unsigned w = 0; w < SLOT_COUNT / 64; w++)
        count += (unsigned)__builtin_popcountll(set->words[w]);
    return count;
}

bool slot_set_intersects(const struct slot_set *a, const struct slot_set *b)
{
    for (unsigned w = 0; w < SLOT_COUNT / 64; w++)
        if (a->words[w] & b->words[w])
            return true;
    return false;
}

/* The first slot at or after `from` that is in the set (or not in it), or SLOT_COUNT. */
static unsigned slot_set_seek(const struct slot_set *set, unsigned from, bool in)
{
    while (from < SLOT_COUNT) {
        uint64_t word = in ? set->words[from / 64] : ~set->words[from / 64];
        word >>= from % 64;
        if (word)
            return from + (unsigned)__builtin_ctzll(word);
        from = (from / 64 + 1) * 64;
    }
    return SLOT_COUNT;
}

bool slot_set_next(const struct slot_set *set, unsigned *from, struct slot_range *ret_range)
{
    unsigned first = slot_set_seek(set, *from, true);
    unsigned end = slot_set_seek(set, first, false);
    *from = end;
    if (first == SLOT_COUNT)
        return false;
    *ret_range = (struct slot_range){(uint16_t)first, (uint16_t)(end - 1)};
    return true;
}

bool slot_set_parse(struct span text, struct slot_set *set)
{
    struct slot_set parsed = *set;
    uint64_t next = 0;
    bool more;
    do {
        more = span_find(text, ',') >= 0;
        struct span last = span_until(&text, ',');
        bool single = span_find(last, '-') < 0;
        struct span first = span_until(&last, '-');
        uint64_t from;
        uint64_t to;
        if (!text_to_u64(first, SLOT_COUNT - 1, &from) || from < next)
            return false;
        to = from;
        if (!single && (!text_to_u64(last, SLOT_COUNT - 1, &to) || to <= from))
            return false;
        slot_set_add(&parsed, (struct slot_range){(uint16_t)from, (uint16_t)to});
        next = to + 1;
    } while (more);
    *set = parsed;
    return true;
}

/* SLOT_COUNT * index / shards, rounded half up, in integers. */
static unsigned slot_cut(unsigned index, unsigned shards)
{
    return (2 * SLOT_COUNT * index + shards) / (2 * shards);
}

struct slot_range slots_of_shard(unsigned index, unsigned shards)
{
    assert(shards > 0 && shards <= SLOT_COUNT && index < shards);
    return (struct slot_range){(uint16_t)slot_cut(index, shards),
                               (uint16_t)(slot_cut(index + 1, shards) - 1)};
}
