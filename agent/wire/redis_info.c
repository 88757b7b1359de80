/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/redis_info.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/info_keyspace.h"
#include "wire/info_replicas.h"

enum field_type {
    FIELD_NUMBER = 1, /* min..max */
    FIELD_WORD,       /* 1 for `yes`, 0 for `no`; 0 for anything else if there is no `no` */
    FIELD_TEXT,       /* printable, without spaces, at most `max` bytes */
    FIELD_HINT,       /* likewise; anything else is as good as not told */
    FIELD_GUESS,      /* as FIELD_NUMBER, likewise */
    FIELD_VERSION,    /* 7.0.15 -> 70015 */
    FIELD_HAS,        /* 1 if `yes` is among the value's words; any word for "*" */
};

struct field {
    const char *name;
    enum field_type type;
    unsigned section;
    int64_t min;
    int64_t max;
    const char *yes;
    const char *no;
};

#define FIELDS_MAX 32

/* What was read, by index in the table of fields. */
struct field_values {
    int64_t number[FIELDS_MAX];
    struct span text[FIELDS_MAX];
    uint32_t seen;
};

enum info_field {
    F_REDIS_VERSION,
    F_VALKEY_VERSION,
    F_REDIS_MODE,
    F_SERVER_MODE,
    F_RUN_ID,
    F_UPTIME,
    F_ROLE,
    F_PRIMARY_OFFSET,
    F_REPLID,
    F_PRIMARY_HOST,
    F_PRIMARY_PORT,
    F_LINK_STATUS,
    F_LINK_DOWN,
    F_SYNCING,
    F_REPLICA_OFFSET,
    F_MEMORY,
    F_MEMORY_UNCOUNTED,
    F_MEMORY_MAX,
    F_MEMORY_POLICY,
    F_AOF,
    F_AOF_REWRITE,
    F_AOF_REWRITE_SOON,
    F_AOF_STATUS,
    F_RDB_STATUS,
    INFO_FIELDS,
};

/* A replica's offsets are -1 before its first synchronization. */
static const struct field info_fields[] = {
    [F_REDIS_VERSION] = {"redis_version", FIELD_VERSION, INFO_SERVER, 0, 0, NULL, NULL},
    [F_VALKEY_VERSION] = {"valkey_version", FIELD_VERSION, INFO_SERVER, 0, 0, NULL, NULL},
    [F_REDIS_MODE] = {"redis_mode", FIELD_WORD, INFO_SERVER, 0, 0, "cluster", NULL},
    [F_SERVER_MODE] = {"server_mode", FIELD_WORD, INFO_SERVER, 0, 0, "cluster", NULL},
    [F_RUN_ID] = {"run_id", FIELD_TEXT, INFO_SERVER, 1, RUN_ID_SIZE - 1, NULL, NULL},
    [F_UPTIME] = {"uptime_in_seconds", FIELD_NUMBER, INFO_SERVER, 0, INT64_MAX / 1000, NULL, NULL},
    [F_ROLE] = {"role", FIELD_WORD, INFO_REPLICATION, 0, 0, "master", "slave"},
    [F_PRIMARY_OFFSET] = {"master_repl_offset", FIELD_NUMBER, INFO_REPLICATION, -1, INT64_MAX, NULL,
                          NULL},
    [F_REPLID] = {"master_replid", FIELD_HINT, INFO_REPLICATION, 0, RUN_ID_SIZE - 1, NULL, NULL},
    [F_PRIMARY_HOST] = {"master_host", FIELD_TEXT, INFO_REPLICATION, 0, IP_SIZE - 1, NULL, NULL},
    [F_PRIMARY_PORT] = {"master_port", FIELD_NUMBER, INFO_REPLICATION, 0, UINT16_MAX, NULL, NULL},
    [F_LINK_STATUS] = {"master_link_status", FIELD_WORD, INFO_REPLICATION, 0, 0, "up", "down"},
    [F_LINK_DOWN] = {"master_link_down_since_seconds", FIELD_NUMBER, INFO_REPLICATION, -1,
                     INT64_MAX / 1000, NULL, NULL},
    [F_SYNCING] = {"master_sync_in_progress", FIELD_WORD, INFO_REPLICATION, 0, 0, "1", "0"},
    [F_REPLICA_OFFSET] = {"slave_repl_offset", FIELD_NUMBER, INFO_REPLICATION, -1, INT64_MAX, NULL,
                          NULL},
    [F_MEMORY] = {"used_memory", FIELD_NUMBER, INFO_MEMORY, 0, INT64_MAX, NULL, NULL},
    [F_MEMORY_UNCOUNTED] = {"mem_not_counted_for_evict", FIELD_GUESS, 0, 0, INT64_MAX, NULL, NULL},
    [F_MEMORY_MAX] = {"maxmemory", FIELD_GUESS, 0, 0, INT64_MAX, NULL, NULL},
    [F_MEMORY_POLICY] = {"maxmemory_policy", FIELD_WORD, 0, 0, 0, "noeviction", NULL},
    [F_AOF] = {"aof_enabled", FIELD_WORD, INFO_PERSISTENCE, 0, 0, "1", "0"},
    [F_AOF_REWRITE] = {"aof_rewrite_in_progress", FIELD_WORD, INFO_PERSISTENCE, 0, 0, "1", "0"},
    [F_AOF_REWRITE_SOON] = {"aof_rewrite_scheduled", FIELD_WORD, INFO_PERSISTENCE, 0, 0, "1", "0"},
    [F_AOF_STATUS] = {"aof_last_write_status", FIELD_WORD, INFO_PERSISTENCE, 0, 0, "ok", NULL},
    [F_RDB_STATUS] = {"rdb_last_bgsave_status", FIELD_WORD, INFO_PERSISTENCE, 0, 0, "ok", NULL},
};

enum cluster_field {
    C_STATE,
    C_SLOTS_ASSIGNED,
    C_SLOTS_OK,
    C_KNOWN_NODES,
    C_SIZE,
    C_CURRENT_EPOCH,
    C_MY_EPOCH,
    CLUSTER_FIELDS_NEEDED,
    C_VOTE_REQUESTS = CLUSTER_FIELDS_NEEDED,
    C_SLOT_JOBS,
    CLUSTER_FIELDS,
};

static const struct field cluster_fields[] = {
    [C_STATE] = {"cluster_state", FIELD_WORD, 0, 0, 0, "ok", "fail"},
    [C_SLOTS_ASSIGNED] = {"cluster_slots_assigned", FIELD_NUMBER, 0, 0, SLOT_COUNT, NULL, NULL},
    [C_SLOTS_OK] = {"cluster_slots_ok", FIELD_NUMBER, 0, 0, SLOT_COUNT, NULL, NULL},
    [C_KNOWN_NODES] = {"cluster_known_nodes", FIELD_NUMBER, 0, 1, UINT32_MAX, NULL, NULL},
    [C_SIZE] = {"cluster_size", FIELD_NUMBER, 0, 0, SLOT_COUNT, NULL, NULL},
    [C_CURRENT_EPOCH] = {"cluster_current_epoch", FIELD_NUMBER, 0, 0, INT64_MAX, NULL, NULL},
    [C_MY_EPOCH] = {"cluster_my_epoch", FIELD_NUMBER, 0, 0, INT64_MAX, NULL, NULL},
    [C_VOTE_REQUESTS] = {"cluster_stats_messages_auth-req_sent", FIELD_NUMBER, 0, 0, INT64_MAX,
                         NULL, NULL},
    [C_SLOT_JOBS] = {"cluster_slot_migration_active_tasks", FIELD_NUMBER, 0, 0, UINT32_MAX, NULL,
                     NULL},
};

enum setting_field {
    S_NODE_TIMEOUT,
    S_DISKLESS_DELAY,
    S_MIN_REPLICAS,
    S_REPLICA_MIGRATION,
    S_NO_FAILOVER,
    S_ANNOUNCE_IP,
    S_SAVE,
    S_ON_SIGTERM,
};

static const struct field setting_fields[] = {
    [S_NODE_TIMEOUT] = {"cluster-node-timeout", FIELD_NUMBER, 0, 1, INT64_MAX, NULL, NULL},
    [S_DISKLESS_DELAY] = {"repl-diskless-sync-delay", FIELD_NUMBER, 0, 0, INT32_MAX, NULL, NULL},
    [S_MIN_REPLICAS] = {"min-replicas-to-write", FIELD_NUMBER, 0, 0, INT32_MAX, NULL, NULL},
    [S_REPLICA_MIGRATION] = {"cluster-allow-replica-migration", FIELD_WORD, 0, 0, 0, "yes", "no"},
    [S_NO_FAILOVER] = {"cluster-replica-no-failover", FIELD_WORD, 0, 0, 0, "yes", "no"},
    [S_ANNOUNCE_IP] = {"cluster-announce-ip", FIELD_TEXT, 0, 0, IP_SIZE - 1, NULL, NULL},
    [S_SAVE] = {"save", FIELD_HAS, 0, 0, 0, "*", NULL},
    [S_ON_SIGTERM] = {"shutdown-on-sigterm", FIELD_HAS, 0, 0, 0, "nosave", NULL},
};

_Static_assert(ARRAY_LEN(info_fields) == INFO_FIELDS && INFO_FIELDS <= FIELDS_MAX, "a bit each");
_Static_assert(ARRAY_LEN(cluster_fields) == CLUSTER_FIELDS, "a row each");

/* A pre-release may carry a suffix: "8.0.0-rc1". */
static bool version_parse(struct span text, int64_t *ret_version)
{
    uint64_t major;
    uint64_t minor;
    uint64_t patch;
    struct span rest = span_until(&text, '-');
    if (!text_to_u64(span_until(&rest, '.'), 999, &major) ||
        !text_to_u64(span_until(&rest, '.'), 255, &minor) || !text_to_u64(rest, 255, &patch))
        return false;
    *ret_version = (int64_t)(major * 10000 + minor * 100 + patch);
    return true;
}

static bool field_has(struct span value, const char *wanted)
{
    struct span word;
    while (span_token(&value, &word))
        if (wanted[0] == '*' || span_is(word, wanted))
            return true;
    return false;
}

static bool field_parse(const struct field *field, struct span value, int64_t *ret_number)
{
    switch (field->type) {
    case FIELD_NUMBER:
    case FIELD_GUESS:
        return text_to_i64(value, field->min, field->max, ret_number);
    case FIELD_WORD:
        *ret_number = span_is(value, field->yes);
        return *ret_number || !field->no || span_is(value, field->no);
    case FIELD_TEXT:
    case FIELD_HINT:
        return (int64_t)value.len >= field->min && (int64_t)value.len <= field->max &&
               text_is_plain(value);
    case FIELD_VERSION:
        return version_parse(value, ret_number);
    case FIELD_HAS:
        *ret_number = field_has(value, field->yes);
        return true;
    }
    return false;
}

static const struct field *field_find(const struct field *fields, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (span_is(name, fields[i].name))
            return &fields[i];
    return NULL;
}

static int fields_put(const struct field *fields, size_t count, struct span name, struct span value,
                      struct field_values *values, struct err *err)
{
    const struct field *field = field_find(fields, count, name);
    if (!field)
        return 0;
    size_t i = (size_t)(field - fields);
    if (values->seen & (1u << i))
        return err_set(err, E_PROTO, "%s: said twice", field->name);
    bool sound = field_parse(field, value, &values->number[i]);
    if (!sound && (field->type == FIELD_HINT || field->type == FIELD_GUESS))
        return 0;
    if (!sound)
        return err_set(err, E_PROTO, "%s: malformed value", field->name);
    values->text[i] = value;
    values->seen |= 1u << i;
    return 0;
}

static bool fields_seen(const struct field_values *values, size_t i)
{
    return values->seen & (1u << i);
}

/* The first field of those listed that was not seen, as an error. */
static int fields_require(const struct field *fields, const struct field_values *values,
                          const size_t *indexes, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (!fields_seen(values, indexes[i]))
            return err_set(err, E_PROTO, "no %s", fields[indexes[i]].name);
    return 0;
}

static int info_take_server(const struct field_values *values, struct server *server,
                            struct err *err)
{
    static const size_t needed[] = {F_REDIS_VERSION, F_RUN_ID, F_UPTIME};
    int r = fields_require(info_fields, values, needed, ARRAY_LEN(needed), err);
    if (r < 0)
        return r;
    if (!fields_seen(values, F_REDIS_MODE) && !fields_seen(values, F_SERVER_MODE))
        return err_set(err, E_PROTO, "neither redis_mode nor server_mode");
    bool valkey = fields_seen(values, F_VALKEY_VERSION);
    server->kind = valkey ? SERVER_VALKEY : SERVER_REDIS;
    server->version = (int)values->number[valkey ? F_VALKEY_VERSION : F_REDIS_VERSION];
    server->cluster_enabled = values->number[F_REDIS_MODE] || values->number[F_SERVER_MODE];
    server->uptime_ms = values->number[F_UPTIME] * 1000;
    (void)TEXT_COPY(server->run_id, values->text[F_RUN_ID]); /* its length was checked */
    return 0;
}

static int info_take_replication(const struct field_values *values, struct server *server,
                                 struct err *err)
{
    static const size_t needed[] = {F_ROLE,          F_PRIMARY_OFFSET, F_PRIMARY_HOST,
                                    F_PRIMARY_PORT,  F_LINK_STATUS,    F_SYNCING,
                                    F_REPLICA_OFFSET};
    bool primary = fields_seen(values, F_ROLE) && values->number[F_ROLE];
    int r = fields_require(info_fields, values, needed, primary ? 2 : ARRAY_LEN(needed), err);
    if (r < 0)
        return r;
    server->primary = primary;
    server->primary_ip[0] = '\0';
    server->primary_port = 0;
    server->link_up = false;
    server->link_down_ms = 0;
    server->offset = values->number[F_PRIMARY_OFFSET];
    server->replid[0] = '\0';
    if (fields_seen(values, F_REPLID))
        (void)TEXT_COPY(server->replid, values->text[F_REPLID]); /* its length was checked */
    if (primary)
        return 0;
    (void)TEXT_COPY(server->primary_ip, values->text[F_PRIMARY_HOST]); /* likewise */
    server->primary_port = (uint16_t)values->number[F_PRIMARY_PORT];
    server->link_up = values->number[F_LINK_STATUS] && !values->number[F_SYNCING];
    if (fields_seen(values, F_LINK_DOWN)) /* only of one that is down */
        server->link_down_ms =
            values->number[F_LINK_DOWN] < 0 ? -1 : values->number[F_LINK_DOWN] * 1000;
    server->offset = values->number[F_REPLICA_OFFSET];
    return 0;
}

static int info_take_persistence(const struct field_values *values, struct server *server,
                                 struct err *err)
{
    static const size_t needed[] = {F_AOF, F_AOF_REWRITE, F_AOF_REWRITE_SOON, F_AOF_STATUS,
                                    F_RDB_STATUS};
    int r = fields_require(info_fields, values, needed, ARRAY_LEN(needed), err);
    if (r < 0)
        return r;
    server->aof = (int)values->number[F_AOF];
    server->aof_rewriting = values->number[F_AOF_REWRITE] || values->number[F_AOF_REWRITE_SOON];
    server->aof_written = values->number[F_AOF_STATUS];
    server->rdb_written = values->number[F_RDB_STATUS];
    return 0;
}

/* Splits "name:value" lines; a comment or an empty line has no name. */
static int info_split(struct span line, struct span *ret_name, struct span *ret_value,
                      struct err *err)
{
    *ret_name = (struct span){line.ptr, 0};
    *ret_value = line;
    if (!line.len || line.ptr[0] == '#')
        return 0;
    if (span_find(line, ':') <= 0)
        return err_set(err, E_PROTO, "a line without a name");
    *ret_name = span_until(ret_value, ':');
    return 0;
}

static int info_read(struct span info, struct field_values *values, unsigned *found,
                     struct keyspace *keyspace, struct err *err)
{
    struct span line;
    while (span_line(&info, &line)) {
        struct span name;
        struct span value;
        int r = info_split(line, &name, &value, err);
        if (r < 0)
            return r;
        if (span_is(line, "# Keyspace"))
            *found |= INFO_KEYSPACE;
        r = fields_put(info_fields, INFO_FIELDS, name, value, values, err);
        if (r == 0 && (*found & INFO_KEYSPACE))
            r = info_keyspace_parse(name, value, keyspace, err);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < INFO_FIELDS; i++)
        if (fields_seen(values, i))
            *found |= info_fields[i].section;
    return 0;
}

static void info_take_memory(const struct field_values *values, bool none_expires,
                             struct server *server)
{
    server->memory_bytes = values->number[F_MEMORY];
    server->memory_uncounted = values->number[F_MEMORY_UNCOUNTED];
    server->memory_max = fields_seen(values, F_MEMORY_MAX) ? values->number[F_MEMORY_MAX] : -1;
    server->refuses_full = values->number[F_MEMORY_POLICY] ||
                           (none_expires && fields_seen(values, F_MEMORY_POLICY) &&
                            span_starts(values->text[F_MEMORY_POLICY], "volatile-"));
    server->near_limit = server_nears_limit(server);
}

static int info_parse(struct span info, unsigned required, struct server *server, struct err *err)
{
    struct field_values values = {0};
    unsigned found = 0;
    struct keyspace keyspace = {0};
    if (info.len > INFO_TEXT_MAX)
        return err_set(err, E_LIMIT, "longer than %zu bytes", INFO_TEXT_MAX);
    int r = info_read(info, &values, &found, &keyspace, err);
    if (r < 0)
        return r;
    unsigned wanted = found | required;
    if (wanted & INFO_SERVER)
        r = info_take_server(&values, server, err);
    if (r == 0 && (wanted & INFO_REPLICATION))
        r = info_take_replication(&values, server, err);
    if (r == 0 && (wanted & INFO_PERSISTENCE))
        r = info_take_persistence(&values, server, err);
    if (r == 0 && (wanted & INFO_REPLICATION))
        info_replicas_parse(info, server);
    if (r < 0)
        return r;
    if (required & ~found & INFO_KEYSPACE)
        return err_set(err, E_PROTO, "no section Keyspace");
    if (found & INFO_KEYSPACE)
        server->keys = keyspace.keys;
    if (required & ~found & INFO_MEMORY)
        return err_set(err, E_PROTO, "no used_memory");
    if (found & INFO_MEMORY)
        info_take_memory(&values, (found & INFO_KEYSPACE) && !keyspace.expiring, server);
    return 0;
}

int redis_info_parse(struct span info, unsigned required, struct server *ret_server,
                     struct err *err)
{
    struct server server = *ret_server;
    int r = info_parse(info, required, &server, err);
    if (r < 0) {
        (void)err_wrap(err, "INFO");
        return r;
    }
    *ret_server = server;
    return 0;
}

static int cluster_info_read(struct span info, struct field_values *values, struct err *err)
{
    if (info.len > INFO_TEXT_MAX)
        return err_set(err, E_LIMIT, "longer than %zu bytes", INFO_TEXT_MAX);
    struct span line;
    while (span_line(&info, &line)) {
        struct span name;
        struct span value;
        int r = info_split(line, &name, &value, err);
        if (r == 0)
            r = fields_put(cluster_fields, CLUSTER_FIELDS, name, value, values, err);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < CLUSTER_FIELDS_NEEDED; i++)
        if (!fields_seen(values, i))
            return err_set(err, E_PROTO, "no %s", cluster_fields[i].name);
    return 0;
}

int cluster_info_parse(struct span info, struct server *ret_server, struct err *err)
{
    struct field_values values = {0};
    int r = cluster_info_read(info, &values, err);
    if (r < 0) {
        (void)err_wrap(err, "CLUSTER INFO");
        return r;
    }
    ret_server->state_ok = values.number[C_STATE];
    ret_server->slots_assigned = (uint32_t)values.number[C_SLOTS_ASSIGNED];
    ret_server->slots_ok = (uint32_t)values.number[C_SLOTS_OK];
    ret_server->known_nodes = (uint32_t)values.number[C_KNOWN_NODES];
    ret_server->size = (uint32_t)values.number[C_SIZE];
    ret_server->current_epoch = (uint64_t)values.number[C_CURRENT_EPOCH];
    ret_server->my_epoch = (uint64_t)values.number[C_MY_EPOCH];
    ret_server->vote_requests = values.number[C_VOTE_REQUESTS];
    ret_server->slot_jobs = (uint32_t)values.number[C_SLOT_JOBS];
    return 0;
}

int server_setting_parse(struct span key, struct span value, struct server *ret_server,
                         struct err *err)
{
    const struct field *field = field_find(setting_fields, ARRAY_LEN(setting_fields), key);
    if (!field)
        return 0;
    int64_t number = 0;
    if (!field_parse(field, value, &number))
        return err_set(err, E_PROTO, "CONFIG GET: %s: malformed value", field->name);
    switch ((enum setting_field)(field - setting_fields)) {
    case S_NODE_TIMEOUT:
        ret_server->node_timeout_ms = number;
        break;
    case S_DISKLESS_DELAY:
        ret_server->diskless_delay_s = number;
        break;
    case S_MIN_REPLICAS:
        ret_server->min_replicas = number;
        break;
    case S_REPLICA_MIGRATION:
        ret_server->replica_migration = (int)number;
        break;
    case S_NO_FAILOVER:
        ret_server->no_failover = (int)number;
        break;
    case S_ANNOUNCE_IP:
        (void)TEXT_COPY(ret_server->announce_ip, value); /* its length was checked */
        break;
    case S_SAVE: /* nobody is asked for one without the other */
        ret_server->rdb_saves = (int)number;
        if (ret_server->rdb_at_end != 0)
            ret_server->rdb_at_end = (int)number;
        break;
    case S_ON_SIGTERM:
        if (number)
            ret_server->rdb_at_end = 0;
        break;
    }
    return 0;
}

int server_id_parse(struct span reply, struct server *ret_server, struct err *err)
{
    if (!node_id_parse(reply, &ret_server->id))
        return err_set(err, E_PROTO, "CLUSTER MYID: not an id");
    return 0;
}

void server_version_format(const struct server *server, char *dst, size_t size)
{
    const char *kind = server->kind == SERVER_REDIS    ? "redis"
                       : server->kind == SERVER_VALKEY ? "valkey"
                                                       : "unknown";
    text_format(dst, size, "%s %d.%d.%d", kind, server->version / 10000,
                server->version / 100 % 100, server->version % 100);
}
