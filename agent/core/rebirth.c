/* SPDX-License-Identifier: Apache-2.0 */
#include "core/rebirth.h"

#include <string.h>

#include "base/text.h"

/*
 * A formation that was never finished is planned anew by form-replan, which knows more; only under
 * another StatefulSet nobody would.
 */
bool rebirth_concerns(const struct world *world)
{
    const struct record *record = world->record;
    return record && world->set.known && !world->set.absent &&
           (record->state == RECORD_FORMED || strcmp(record->set_uid, world->set.uid) != 0);
}

bool rebirth_is_gone(const struct world *world)
{
    if (!rebirth_concerns(world) || !world_api_fresh(world) || world->set.replicas <= 0)
        return false;
    int present = 0;
    size_t virgin = 0;
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        if (pod->terminating || !world_server_fresh(world, pod))
            return false;
        present += pod->ordinal < world->set.replicas;
        virgin += world_server_virgin(world, pod);
    }
    if (world->guards_off & GUARD_REBIRTH)
        return present == world->set.replicas && virgin > 0;
    return present == world->set.replicas && virgin == world->pod_count;
}

static uint64_t rebirth_hash(uint64_t hash, const char *text)
{
    return text_hash(hash, text, strlen(text) + 1);
}

int64_t rebirth_look(struct rebirth_watch *watch, const struct world *world)
{
    if (!rebirth_is_gone(world)) {
        *watch = (struct rebirth_watch){0};
        return 0;
    }
    uint64_t seen = rebirth_hash(TEXT_HASH_SEED, world->record->uid);
    seen = text_hash(seen, &world->record->generation, sizeof world->record->generation);
    seen = rebirth_hash(seen, world->set.uid);
    for (size_t i = 0; i < world->pod_count; i++) {
        seen = rebirth_hash(seen, world->pods[i].uid);
        seen = rebirth_hash(seen, world->pods[i].server.id.hex);
        seen = rebirth_hash(seen, world->pods[i].server.run_id);
    }
    if (!watch->since_ms || watch->seen != seen)
        *watch = (struct rebirth_watch){seen, world->now_ms};
    return watch->since_ms;
}
