/* SPDX-License-Identifier: Apache-2.0 */
#include "model_api.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sim.h"

void api_init(struct sim *sim)
{
    struct api *api = &sim->api;
    *api = (struct api){.version = 1};
    for (int i = 0; i < PODS_MAX; i++)
        api->now.pods[i].node = -1;
    api_changed(sim, API_SET);
}

void api_set_uid(int number, char ret_uid[UID_SIZE])
{
    text_format(ret_uid, UID_SIZE, "set-uid-%d", number);
}

void api_deinit(struct api *api)
{
    while (api->records) {
        struct stored_record *next = api->records->next;
        free((void *)(uintptr_t)api->records->record.members);
        free((void *)(uintptr_t)api->records->record.forget);
        free((void *)(uintptr_t)api->records->record.left);
        for (size_t i = 0; i < api->records->record.move_count; i++)
            free((void *)(uintptr_t)api->records->record.moves[i].ranges);
        free((void *)(uintptr_t)api->records->record.moves);
        free(api->records);
        api->records = next;
    }
    free(api->history);
    free(api->history_us);
    *api = (struct api){0};
}

void api_changed(struct sim *sim, enum api_kind kind)
{
    struct api *api = &sim->api;
    api->version++;
    if (api->count == api->capacity) {
        api->capacity = api->capacity ? api->capacity * 2 : 64;
        api->history = xrealloc(api->history, api->capacity, sizeof *api->history);
        api->history_us = xrealloc(api->history_us, api->capacity, sizeof *api->history_us);
    }
    api->history[api->count] = api->now;
    api->history_us[api->count] = sim->now_us;
    api->count++;
    for (int i = 0; i < PODS_MAX; i++)
        if (sim->agents[i].alive)
            agent_kube_changed(sim, &sim->agents[i], kind, api->count - 1);
}

size_t api_state_at(const struct sim *sim, int64_t age_us)
{
    size_t at = sim->api.count - 1;
    while (at > 0 && sim->api.history_us[at] > sim->now_us - age_us)
        at--;
    return at;
}

static void api_stamp(struct sim *sim, struct lease *lease)
{
    text_format(lease->resource_version, sizeof lease->resource_version, "%llu",
                (unsigned long long)++sim->api.version);
}

enum api_answer api_lease(struct sim *sim, enum lease_verb verb, struct lease *lease)
{
    struct api *api = &sim->api;
    switch (verb) {
    case LEASE_IDLE:
        break;
    case LEASE_GET:
        if (!api->lease_exists)
            return API_NOT_FOUND;
        *lease = api->lease;
        return API_OK;
    case LEASE_CREATE:
        if (api->lease_exists)
            return API_CONFLICT;
        api->lease_exists = true;
        api->lease = *lease;
        api_stamp(sim, &api->lease);
        *lease = api->lease;
        return API_OK;
    case LEASE_UPDATE:
        if (!api->lease_exists)
            return API_NOT_FOUND;
        if (strcmp(api->lease.resource_version, lease->resource_version) != 0)
            return API_CONFLICT;
        if (strcmp(api->lease.holder, lease->holder) != 0)
            sim_trace(sim, "api", "the Lease goes from \"%s\" to \"%s\"", api->lease.holder,
                      lease->holder);
        api->lease = *lease;
        api_stamp(sim, &api->lease);
        *lease = api->lease;
        return API_OK;
    }
    return API_FAILED;
}

static void *api_copy(const void *items, size_t count, size_t size)
{
    void *copy = xcalloc(count ? count : 1, size);
    if (count)
        memcpy(copy, items, count * size);
    return copy;
}

static struct record_move *api_copy_moves(const struct record *record)
{
    struct record_move *moves = api_copy(record->moves, record->move_count, sizeof *moves);
    for (size_t i = 0; i < record->move_count; i++)
        moves[i].ranges = api_copy(record->moves[i].ranges, record->moves[i].range_count,
                                   sizeof *moves[i].ranges);
    return moves;
}

enum api_answer api_put_record(struct sim *sim, const struct record *record, uint64_t version,
                               const struct stored_record **ret_stored)
{
    struct api *api = &sim->api;
    uint64_t present = api->now.record ? api->now.record->version : 0;
    if (version != present)
        return API_CONFLICT;
    check_record(sim, api->now.record ? &api->now.record->record : NULL, record);
    struct stored_record *stored = xcalloc(1, sizeof *stored);
    stored->record = *record;
    stored->record.members =
        api_copy(record->members, record->member_count, sizeof *record->members);
    stored->record.forget = api_copy(record->forget, record->forget_count, sizeof *record->forget);
    stored->record.left = api_copy(record->left, record->left_count, sizeof *record->left);
    stored->record.moves = api_copy_moves(record);
    stored->version = api->version + 1;
    stored->next = api->records;
    api->records = stored;
    api->now.record = stored;
    api_changed(sim, API_RECORD);
    *ret_stored = stored;
    return API_OK;
}

void api_delete_record(struct sim *sim)
{
    if (!sim->api.now.record)
        return;
    sim->api.now.record = NULL;
    api_changed(sim, API_RECORD);
}
