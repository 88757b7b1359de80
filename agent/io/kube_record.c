/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kube_record.h"

#include <assert.h>

#include "base/limits.h"
#include "io/kube_watch.h"
#include "io/record_copy.h"

/* RECORD_TEXT_MAX bytes make at most this much of members, ids and moves. */
#define KUBE_RECORD_ARENA_MAX MIB(16)

void kube_record_init(struct kube_record *record)
{
    *record = (struct kube_record){0};
    arena_init(&record->arena, KUBE_RECORD_ARENA_MAX);
}

void kube_record_deinit(struct kube_record *record)
{
    arena_deinit(&record->arena);
}

void kube_record_forget(struct kube_record *record)
{
    kube_record_deinit(record);
    kube_record_init(record);
}

void kube_record_begin(struct kube_record *record)
{
    record->listed = false;
}

static void kube_record_keep(struct kube_record *record, const struct record *from)
{
    arena_reset(&record->arena);
    record_copy(from, &record->arena, &record->copy);
    record->ever = true;
}

void kube_record_take(struct kube_record *record, const struct kube_config_map *map)
{
    record->listed = true;
    record->presence = PRESENCE_PRESENT;
    record->readable = map->readable;
    text_format(record->version, sizeof record->version, "%s", map->meta.resource_version);
    text_format(record->problem, sizeof record->problem, "%s", map->problem);
    if (map->readable)
        kube_record_keep(record, &map->record);
}

void kube_record_commit(struct kube_record *record)
{
    if (!record->listed)
        kube_record_lose(record);
}

void kube_record_lose(struct kube_record *record)
{
    record->presence = PRESENCE_ABSENT;
    record->readable = false;
    record->version[0] = '\0';
    record->problem[0] = '\0';
}

void kube_record_written(struct kube_record *record, const struct record *written,
                         const char *version)
{
    assert(written != &record->copy);
    kube_record_keep(record, written);
    record->presence = PRESENCE_PRESENT;
    record->readable = true;
    record->problem[0] = '\0';
    text_format(record->version, sizeof record->version, "%s", version);
}

bool kube_record_is_before(const struct kube_record *record, const char *version)
{
    return kube_version_is_older(version, record->version);
}

const struct record *kube_record_present(const struct kube_record *record)
{
    return record->presence == PRESENCE_PRESENT && record->readable ? &record->copy : NULL;
}
