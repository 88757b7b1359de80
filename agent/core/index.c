/* SPDX-License-Identifier: Apache-2.0 */
#include "core/index.h"

#include <stdlib.h>
#include <string.h>

void index_init(struct index *index, struct arena *arena, size_t capacity)
{
    *index = (struct index){.entries = ARENA_NEW(arena, struct index_entry, capacity)};
}

void index_add(struct index *index, const char *key, size_t value)
{
    index->entries[index->count++] = (struct index_entry){key, value};
}

static int index_entry_cmp(const void *a, const void *b)
{
    const struct index_entry *ea = a;
    const struct index_entry *eb = b;
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

size_t index_find(const struct index *index, const char *key)
{
    size_t low = 0;
    size_t high = index->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(index->entries[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == index->count || strcmp(index->entries[low].key, key) != 0)
        return INDEX_NONE;
    return index->entries[low].value;
}
