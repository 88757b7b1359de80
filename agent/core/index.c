/* SPDX-License-Identifier: Apache-2.0 */
#include "core/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void index_init(struct index *index, struct arena *arena, size_t capacity)
{
    *index = (struct index){.entries = ARENA_NEW(arena, struct index_entry, capacity)};
}

static uint64_t index_hash(const char *key)
{
    return text_hash(TEXT_HASH_SEED, key, strlen(key));
}

void index_add(struct index *index, const char *key, size_t value)
{
    index->entries[index->count++] = (struct index_entry){index_hash(key), key, value};
}

static int index_entry_cmp(const void *a, const void *b)
{
    const struct index_entry *ea = a;
    const struct index_entry *eb = b;
    if (ea->hash != eb->hash)
        return ea->hash < eb->hash ? -1 : 1;
    int order = strcmp(ea->key, eb->key);
    if (order)
        return order;
    return ea->value < eb->value ? -1 : ea->value > eb->value;
}

void index_sort(struct index *index)
{
    if (index->count)
        qsort(index->entries, index->count, sizeof *index->entries, index_entry_cmp);
}

const struct index_entry *index_find_all(const struct index *index, const char *key,
                                         size_t *ret_count)
{
    uint64_t hash = index_hash(key);
    size_t low = 0;
    size_t high = index->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (index->entries[mid].hash < hash)
            low = mid + 1;
        else
            high = mid;
    }
    while (low < index->count && index->entries[low].hash == hash &&
           strcmp(index->entries[low].key, key) != 0)
        low++; /* another key of the same hash */
    size_t count = 0;
    while (low + count < index->count && index->entries[low + count].hash == hash &&
           strcmp(index->entries[low + count].key, key) == 0)
        count++;
    *ret_count = count;
    return index->entries + low;
}

size_t index_find(const struct index *index, const char *key)
{
    size_t count;
    const struct index_entry *entry = index_find_all(index, key, &count);
    return count ? entry->value : INDEX_NONE;
}
