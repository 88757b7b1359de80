/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/status_json.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "wire/json_util.h"

/* ---- Writing ---- */

/* Items of an object or array: a comma before each but the first. */
struct json_list {
    struct buf *out;
    bool started;
};

static void list_next(struct json_list *list)
{
    if (list->started)
        (void)buf_append_str(list->out, ",");
    list->started = true;
}

static void list_key(struct json_list *list, const char *key)
{
    list_next(list);
    (void)buf_format(list->out, "\"%s\":", key);
}

static void put_text(struct json_list *list, const char *key, const char *text)
{
    list_key(list, key);
    json_put_text(list->out, text, SIZE_MAX);
}

static void put_number(struct json_list *list, const char *key, int64_t number)
{
    list_key(list, key);
    (void)buf_format(list->out, "%" PRId64, number);
}

static void put_known(struct json_list *list, const char *key, int64_t number)
{
    if (number != STATUS_NUMBER_UNKNOWN) {
        put_number(list, key, number);
        return;
    }
    list_key(list, key);
    (void)buf_append_str(list->out, "null");
}

static void put_bool(struct json_list *list, const char *key, bool value)
{
    list_key(list, key);
    (void)buf_append_str(list->out, value ? "true" : "false");
}

static void put_held(struct json_list *list, const char *key, enum held held)
{
    list_key(list, key);
    const char *text = "null";
    if (held == HELD_YES)
        text = "true";
    else if (held == HELD_NO)
        text = "false";
    (void)buf_append_str(list->out, text);
}

static void put_texts(struct json_list *list, const char *key, const char *const *texts,
                      size_t count)
{
    list_key(list, key);
    (void)buf_append_str(list->out, "[");
    struct json_list items = {list->out, false};
    for (size_t i = 0; i < count; i++) {
        list_next(&items);
        json_put_text(list->out, texts[i], SIZE_MAX);
    }
    (void)buf_append_str(list->out, "]");
}

static struct json_list object_begin(struct buf *out)
{
    (void)buf_append_str(out, "{");
    return (struct json_list){out, false};
}

static void object_end(struct buf *out)
{
    (void)buf_append_str(out, "}");
}

static void put_cluster(struct buf *out, const struct status *status)
{
    struct json_list o = object_begin(out);
    put_text(&o, "name", status->name);
    put_text(&o, "uid", status->uid);
    put_number(&o, "replicas", status->replicas);
    put_known(&o, "replicasPerPrimary", status->replicas_per_primary);
    put_bool(&o, "formed", status->formed);
    put_text(&o, "state", status_state_name(status->state));
    put_number(&o, "slotsCovered", status->slots_covered);
    put_number(&o, "epoch", status->epoch);
    put_held(&o, "survivesNodeLoss", status->survives_node);
    put_held(&o, "survivesZoneLoss", status->survives_zone);
    put_text(&o, "weakest", status->weakest);
    put_held(&o, "paused", status->paused);
    put_text(&o, "pauseReason", status->pause_reason);
    put_known(&o, "pausedSinceUnixMs", status->paused_since_unix_ms);
    put_known(&o, "pausedUntilUnixMs", status->paused_until_unix_ms);
    object_end(out);
}

static void put_agent(struct buf *out, const struct status *status)
{
    struct json_list o = object_begin(out);
    put_text(&o, "pod", status->pod);
    put_bool(&o, "leader", status->is_leader);
    object_end(out);
}

static void put_shard(struct buf *out, const struct status_shard *shard)
{
    struct json_list o = object_begin(out);
    put_text(&o, "slots", shard->slots);
    put_number(&o, "slotCount", shard->slot_count);
    put_known(&o, "keys", shard->keys);
    put_text(&o, "primary", shard->primary);
    put_texts(&o, "replicas", shard->replicas, shard->replica_count);
    put_texts(&o, "openSlots", shard->open_slots, shard->open_count);
    object_end(out);
}

static const char *const ROLES[] = {"none", "primary", "replica"};
static const char *const AGENTS[] = {"unknown", "ok", "silent"};
static const char *const HELDS[] = {"unknown", "no", "yes", "not applicable"};

static void put_pod(struct buf *out, const struct status_pod *pod)
{
    struct json_list o = object_begin(out);
    put_text(&o, "name", pod->name);
    put_number(&o, "ordinal", pod->ordinal);
    put_text(&o, "ip", pod->ip);
    put_number(&o, "port", pod->port);
    put_text(&o, "node", pod->node);
    put_text(&o, "zone", pod->zone);
    put_text(&o, "role", ROLES[pod->role]);
    put_text(&o, "nodeId", pod->node_id);
    put_bool(&o, "ready", pod->ready);
    put_bool(&o, "terminating", pod->terminating);
    put_known(&o, "lagBytes", pod->lag_bytes);
    put_known(&o, "memoryBytes", pod->memory_bytes);
    put_known(&o, "maxMemoryBytes", pod->memory_max);
    put_text(&o, "server", pod->server);
    put_text(&o, "agent", AGENTS[pod->agent]);
    put_text(&o, "gate", pod->gate);
    put_text(&o, "gateWhy", pod->gate_why);
    put_known(&o, "ageMs", pod->age_ms);
    object_end(out);
}

static int format_result(const struct buf *out)
{
    return out->failed ? E_LIMIT : 0;
}

int status_json_format_plan(struct buf *out, const struct status *status)
{
    struct json_list o = object_begin(out);
    put_text(&o, "rule", status->plan_rule);
    put_text(&o, "reason", status->plan_reason);
    put_texts(&o, "actions", status->plan_actions, status->plan_action_count);
    object_end(out);
    return format_result(out);
}

int status_json_format_check(struct buf *out, const struct status *status)
{
    struct json_list o = object_begin(out);
    put_number(&o, "result", status->check);
    list_key(&o, "promises");
    (void)buf_append_str(out, "[");
    struct json_list items = {out, false};
    for (int kind = 0; kind < PROMISE_COUNT; kind++) {
        list_next(&items);
        struct json_list p = object_begin(out);
        put_text(&p, "name", promise_key((enum promise_kind)kind));
        put_text(&p, "held", HELDS[status->promises[kind].held]);
        put_text(&p, "why", status->promises[kind].why);
        object_end(out);
    }
    (void)buf_append_str(out, "]");
    object_end(out);
    return format_result(out);
}

int status_json_format(struct buf *out, const struct status *status)
{
    struct json_list o = object_begin(out);
    list_key(&o, "cluster");
    put_cluster(out, status);
    put_text(&o, "leader", status->leader);
    list_key(&o, "plan");
    (void)status_json_format_plan(out, status);
    list_key(&o, "shards");
    (void)buf_append_str(out, "[");
    struct json_list shards = {out, false};
    for (size_t i = 0; i < status->shard_count; i++) {
        list_next(&shards);
        put_shard(out, &status->shards[i]);
    }
    (void)buf_append_str(out, "]");
    list_key(&o, "pods");
    (void)buf_append_str(out, "[");
    struct json_list pods = {out, false};
    for (size_t i = 0; i < status->pod_count; i++) {
        list_next(&pods);
        put_pod(out, &status->pods[i]);
    }
    (void)buf_append_str(out, "]");
    list_key(&o, "agent");
    put_agent(out, status);
    list_key(&o, "check");
    (void)status_json_format_check(out, status);
    object_end(out);
    return format_result(out);
}

/* ---- Reading ---- */

static const char *get_text(struct json_reader *r, const cJSON *parent, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(parent, key);
    if (!item || cJSON_IsNull(item))
        return "";
    if (!cJSON_IsString(item)) {
        json_fail(r, E_PROTO, parent, key, "not a string");
        return "";
    }
    return arena_format(r->arena, "%s", item->valuestring);
}

static int64_t get_known(struct json_reader *r, const cJSON *parent, const char *key)
{
    int64_t value = STATUS_NUMBER_UNKNOWN;
    json_get_int(r, parent, key, 0, JSON_INT_MAX, &value);
    return value;
}

static int64_t get_number(struct json_reader *r, const cJSON *parent, const char *key)
{
    int64_t value = 0;
    json_get_int(r, parent, key, 0, JSON_INT_MAX, &value);
    return value;
}

static bool get_bool(struct json_reader *r, const cJSON *parent, const char *key)
{
    bool value = false;
    json_get_bool(r, parent, key, &value);
    return value;
}

static enum held get_held(struct json_reader *r, const cJSON *parent, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(parent, key);
    if (!item || cJSON_IsNull(item))
        return HELD_UNKNOWN;
    return get_bool(r, parent, key) ? HELD_YES : HELD_NO;
}

/* The index of the text among `names`, 0 (unknown) if it is none: a newer agent may say more. */
static unsigned get_name(struct json_reader *r, const cJSON *parent, const char *key,
                         const char *const *names, unsigned count)
{
    const char *text = get_text(r, parent, key);
    for (unsigned i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    return 0;
}

/* An array of at most `max` items, more than which no agent can have written; NULL if there is none. */
static const cJSON *get_array(struct json_reader *r, const cJSON *parent, const char *key,
                              size_t max, size_t *ret_size)
{
    const cJSON *array = json_get_array(r, parent, key);
    *ret_size = array ? (size_t)cJSON_GetArraySize(array) : 0;
    if (*ret_size <= max)
        return array;
    json_fail(r, E_LIMIT, parent, key, "too many");
    *ret_size = 0;
    return NULL;
}

static const char *const *get_texts(struct json_reader *r, const cJSON *parent, const char *key,
                                    size_t *ret_count)
{
    size_t capacity;
    const cJSON *array = get_array(r, parent, key, SLOT_COUNT, &capacity);
    const char **texts = ARENA_NEW(r->arena, const char *, capacity);
    size_t count = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, array)
    {
        if (!cJSON_IsString(item)) {
            json_fail(r, E_PROTO, parent, key, "not an array of strings");
            break;
        }
        texts[count++] = arena_format(r->arena, "%s", item->valuestring);
    }
    *ret_count = count;
    return texts;
}

static void read_cluster(struct json_reader *r, const cJSON *root, struct status *status)
{
    static const char *const states[] = {
#define X(name, text) text,
        STATUS_STATES(X)
#undef X
    };
    const cJSON *o = json_get_object(r, root, "cluster");
    if (!o)
        json_fail(r, E_PROTO, root, "cluster", "missing");
    status->name = get_text(r, o, "name");
    status->uid = get_text(r, o, "uid");
    status->replicas = get_number(r, o, "replicas");
    status->replicas_per_primary = get_known(r, o, "replicasPerPrimary");
    status->formed = get_bool(r, o, "formed");
    status->state = (enum status_state)get_name(r, o, "state", states, ARRAY_LEN(states));
    status->slots_covered = get_number(r, o, "slotsCovered");
    status->epoch = get_number(r, o, "epoch");
    status->survives_node = get_held(r, o, "survivesNodeLoss");
    status->survives_zone = get_held(r, o, "survivesZoneLoss");
    status->weakest = get_text(r, o, "weakest");
    status->paused = get_held(r, o, "paused");
    status->pause_reason = get_text(r, o, "pauseReason");
    status->paused_since_unix_ms = get_known(r, o, "pausedSinceUnixMs");
    status->paused_until_unix_ms = get_known(r, o, "pausedUntilUnixMs");
}

static void read_plan(struct json_reader *r, const cJSON *root, struct status *status)
{
    const cJSON *o = json_get_object(r, root, "plan");
    status->plan_rule = get_text(r, o, "rule");
    status->plan_reason = get_text(r, o, "reason");
    status->plan_actions = get_texts(r, o, "actions", &status->plan_action_count);
}

static void read_shards(struct json_reader *r, const cJSON *root, struct status *status)
{
    size_t capacity;
    const cJSON *array = get_array(r, root, "shards", NODES_MAX, &capacity);
    struct status_shard *shards = ARENA_NEW(r->arena, struct status_shard, capacity);
    size_t count = 0;
    const cJSON *o;
    cJSON_ArrayForEach(o, array)
    {
        struct status_shard *shard = &shards[count++];
        shard->slots = get_text(r, o, "slots");
        shard->slot_count = get_number(r, o, "slotCount");
        shard->keys = get_known(r, o, "keys");
        shard->primary = get_text(r, o, "primary");
        shard->replicas = get_texts(r, o, "replicas", &shard->replica_count);
        shard->open_slots = get_texts(r, o, "openSlots", &shard->open_count);
        shard->in_sync = STATUS_NUMBER_UNKNOWN;
    }
    status->shards = shards;
    status->shard_count = count;
}

static void read_pod(struct json_reader *r, const cJSON *o, struct status_pod *pod)
{
    pod->name = get_text(r, o, "name");
    pod->ordinal = get_number(r, o, "ordinal");
    pod->ip = get_text(r, o, "ip");
    pod->port = get_number(r, o, "port");
    pod->node = get_text(r, o, "node");
    pod->zone = get_text(r, o, "zone");
    pod->role = (enum status_role)get_name(r, o, "role", ROLES, ARRAY_LEN(ROLES));
    pod->node_id = get_text(r, o, "nodeId");
    pod->ready = get_bool(r, o, "ready");
    pod->terminating = get_bool(r, o, "terminating");
    pod->lag_bytes = get_known(r, o, "lagBytes");
    pod->memory_bytes = get_known(r, o, "memoryBytes");
    pod->memory_max = get_known(r, o, "maxMemoryBytes");
    pod->server = get_text(r, o, "server");
    pod->agent = (enum agent_state)get_name(r, o, "agent", AGENTS, ARRAY_LEN(AGENTS));
    pod->gate = get_text(r, o, "gate");
    pod->gate_why = get_text(r, o, "gateWhy");
    pod->age_ms = get_known(r, o, "ageMs");
}

static void read_pods(struct json_reader *r, const cJSON *root, struct status *status)
{
    size_t capacity;
    const cJSON *array = get_array(r, root, "pods", NODES_MAX, &capacity);
    struct status_pod *pods = ARENA_NEW(r->arena, struct status_pod, capacity);
    size_t count = 0;
    const cJSON *o;
    cJSON_ArrayForEach(o, array) read_pod(r, o, &pods[count++]);
    status->pods = pods;
    status->pod_count = count;
}

static void read_check(struct json_reader *r, const cJSON *root, struct status *status)
{
    const cJSON *check = json_get_object(r, root, "check");
    int64_t result = CHECK_UNKNOWN;
    json_get_int(r, check, "result", CHECK_HEALTHY, CHECK_UNKNOWN, &result);
    status->check = (enum check)result;
    for (int kind = 0; kind < PROMISE_COUNT; kind++)
        status->promises[kind] = (struct promise){HELD_UNKNOWN, "this agent does not say"};
    const cJSON *o;
    cJSON_ArrayForEach(o, json_get_array(r, check, "promises"))
    {
        const char *name = get_text(r, o, "name");
        for (int kind = 0; kind < PROMISE_COUNT; kind++)
            if (strcmp(name, promise_key((enum promise_kind)kind)) == 0)
                status->promises[kind] =
                    (struct promise){(enum held)get_name(r, o, "held", HELDS, ARRAY_LEN(HELDS)),
                                     get_text(r, o, "why")};
    }
}

int status_json_parse(struct span text, struct arena *arena, struct status *ret_status,
                      struct err *err)
{
    auto_json cJSON *root = NULL;
    int result = json_parse(text, STATUS_JSON_MAX, &root, err);
    if (result < 0)
        return err_wrap(err, "status");
    struct json_reader r = {.err = err, .arena = arena};
    struct status status = {0};
    read_cluster(&r, root, &status);
    status.leader = get_text(&r, root, "leader");
    read_plan(&r, root, &status);
    read_shards(&r, root, &status);
    read_pods(&r, root, &status);
    const cJSON *agent = json_get_object(&r, root, "agent");
    status.pod = get_text(&r, agent, "pod");
    status.is_leader = get_bool(&r, agent, "leader");
    read_check(&r, root, &status);
    if (r.result < 0)
        return err_wrap(err, "status");
    *ret_status = status;
    return 0;
}
