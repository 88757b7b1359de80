/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/metrics_info.h"

#include "base/cleanup.h"

enum info_value {
    INFO_NUMBER = 1, /* as it is */
    INFO_STATUS,     /* ok = 1, err = 0 */
};

/* Names and kinds as redis_exporter has them (exporter/exporter.go); the help is ours. */
static const struct info_metric {
    const char *field;
    const char *name;
    const char *type;
    enum info_value value;
    const char *help;
} METRICS[] = {
    {"uptime_in_seconds", "redis_uptime_in_seconds", "gauge", INFO_NUMBER,
     "Time since the server's start."},
    {"connected_clients", "redis_connected_clients", "gauge", INFO_NUMBER, "Client connections."},
    {"blocked_clients", "redis_blocked_clients", "gauge", INFO_NUMBER,
     "Clients that wait in a blocking command."},
    {"used_memory", "redis_memory_used_bytes", "gauge", INFO_NUMBER, "Memory allocated."},
    {"used_memory_rss", "redis_memory_used_rss_bytes", "gauge", INFO_NUMBER, "Resident memory."},
    {"maxmemory", "redis_memory_max_bytes", "gauge", INFO_NUMBER, "maxmemory; 0 = no limit."},
    {"mem_fragmentation_ratio", "redis_mem_fragmentation_ratio", "gauge", INFO_NUMBER,
     "Resident over allocated memory."},
    {"loading", "redis_loading_dump_file", "gauge", INFO_NUMBER, "1 while data is being loaded."},
    {"rdb_changes_since_last_save", "redis_rdb_changes_since_last_save", "gauge", INFO_NUMBER,
     "Changes since the last RDB."},
    {"rdb_bgsave_in_progress", "redis_rdb_bgsave_in_progress", "gauge", INFO_NUMBER,
     "1 while an RDB is being written."},
    {"rdb_last_bgsave_status", "redis_rdb_last_bgsave_status", "gauge", INFO_STATUS,
     "1 if the last RDB was written well."},
    {"aof_enabled", "redis_aof_enabled", "gauge", INFO_NUMBER, "1 if the AOF is on."},
    {"aof_rewrite_in_progress", "redis_aof_rewrite_in_progress", "gauge", INFO_NUMBER,
     "1 while the AOF is being rewritten."},
    {"aof_last_write_status", "redis_aof_last_write_status", "gauge", INFO_STATUS,
     "1 if the AOF was last written well."},
    {"total_connections_received", "redis_connections_received_total", "counter", INFO_NUMBER,
     "Connections accepted."},
    {"total_commands_processed", "redis_commands_processed_total", "counter", INFO_NUMBER,
     "Commands processed."},
    {"rejected_connections", "redis_rejected_connections_total", "counter", INFO_NUMBER,
     "Connections refused because of maxclients."},
    {"total_net_input_bytes", "redis_net_input_bytes_total", "counter", INFO_NUMBER,
     "Bytes read from the network."},
    {"total_net_output_bytes", "redis_net_output_bytes_total", "counter", INFO_NUMBER,
     "Bytes written to the network."},
    {"expired_keys", "redis_expired_keys_total", "counter", INFO_NUMBER, "Keys expired."},
    {"evicted_keys", "redis_evicted_keys_total", "counter", INFO_NUMBER, "Keys evicted."},
    {"keyspace_hits", "redis_keyspace_hits_total", "counter", INFO_NUMBER, "Lookups that hit."},
    {"keyspace_misses", "redis_keyspace_misses_total", "counter", INFO_NUMBER,
     "Lookups that missed."},
    {"used_cpu_sys", "redis_cpu_sys_seconds_total", "counter", INFO_NUMBER, "System CPU time."},
    {"used_cpu_user", "redis_cpu_user_seconds_total", "counter", INFO_NUMBER, "User CPU time."},
    {"connected_slaves", "redis_connected_slaves", "gauge", INFO_NUMBER, "Replicas connected."},
    {"master_repl_offset", "redis_master_repl_offset", "gauge", INFO_NUMBER, "Replication offset."},
};

/* The value of `field` where it comes first; false if there is none. */
static bool info_find(struct span info, const char *field, struct span *ret_value)
{
    struct span line;
    while (span_line(&info, &line)) {
        if (span_find(line, ':') < 0)
            continue;
        struct span key = span_until(&line, ':');
        if (!span_is(key, field))
            continue;
        *ret_value = line;
        return true;
    }
    return false;
}

/* Digits, at most one point between digits, a sign: copied as text, so that nothing is rounded. */
static bool is_decimal(struct span value)
{
    size_t digits = 0;
    size_t points = 0;
    size_t start = value.len && value.ptr[0] == '-' ? 1 : 0;
    for (size_t i = start; i < value.len; i++) {
        char c = value.ptr[i];
        if (c >= '0' && c <= '9')
            digits++;
        else if (c == '.' && digits && i + 1 < value.len)
            points++;
        else
            return false;
    }
    return digits > 0 && points <= 1 && value.len <= 32;
}

static void put_figure(struct buf *out, const struct info_metric *metric, struct span info)
{
    struct span value;
    if (!info_find(info, metric->field, &value))
        return;
    if (metric->value == INFO_STATUS) {
        if (!span_is(value, "ok") && !span_is(value, "err"))
            return;
        value = span_of(span_is(value, "ok") ? "1" : "0");
    }
    if (!is_decimal(value))
        return;
    metrics_put_family(out, metric->name, metric->type, metric->help);
    (void)buf_format(out, "%s %.*s\n", metric->name, (int)value.len, value.ptr);
}

/* The value of `key` in "keys=12,expires=0,avg_ttl=0". */
static bool pair_find(struct span list, const char *key, struct span *ret_value)
{
    while (list.len) {
        struct span pair = span_until(&list, ',');
        struct span name = span_until(&pair, '=');
        if (!span_is(name, key) || !is_decimal(pair))
            continue;
        *ret_value = pair;
        return true;
    }
    return false;
}

static bool is_db(struct span key)
{
    uint64_t number;
    return span_starts(key, "db") &&
           text_to_u64((struct span){key.ptr + 2, key.len - 2}, UINT32_MAX, &number);
}

/* "db0:keys=12,expires=0,avg_ttl=0" */
static void put_databases(struct buf *out, const char *name, const char *field, const char *help,
                          struct span info)
{
    struct span line;
    struct span value;
    bool started = false;
    while (span_line(&info, &line)) {
        struct span key = span_until(&line, ':');
        if (!is_db(key) || !pair_find(line, field, &value))
            continue;
        if (!started)
            metrics_put_family(out, name, "gauge", help);
        started = true;
        (void)buf_format(out, "%s{db=\"%.*s\"} %.*s\n", name, (int)key.len, key.ptr, (int)value.len,
                         value.ptr);
    }
}

static void put_label_of(struct buf *out, const char *label, struct span info, const char *field)
{
    struct span value = {"", 0};
    (void)info_find(info, field, &value);
    (void)buf_format(out, "%s=\"", label);
    metrics_put_label(out, value);
    (void)buf_append_str(out, "\"");
}

static void put_link(struct buf *out, struct span info)
{
    static const char *const name = "redis_master_link_up";
    struct span link;
    if (!info_find(info, "master_link_status", &link))
        return;
    metrics_put_family(out, name, "gauge", "1 if the replica is connected to its primary.");
    (void)buf_format(out, "%s{", name);
    put_label_of(out, "master_host", info, "master_host");
    (void)buf_append_str(out, ",");
    put_label_of(out, "master_port", info, "master_port");
    (void)buf_format(out, "} %d\n", span_is(link, "up"));
}

static void put_instance(struct buf *out, struct span info)
{
    static const char *const name = "redis_instance_info";
    struct span mode;
    metrics_put_family(out, name, "gauge", "What the server is.");
    (void)buf_format(out, "%s{", name);
    put_label_of(out, "role", info, "role");
    (void)buf_append_str(out, ",");
    put_label_of(out, "redis_version", info, "redis_version");
    (void)buf_append_str(out, ",");
    /* Valkey says server_mode (8.0 on). */
    put_label_of(out, "redis_mode", info,
                 info_find(info, "redis_mode", &mode) ? "redis_mode" : "server_mode");
    (void)buf_append_str(out, ",");
    put_label_of(out, "os", info, "os");
    if (info_find(info, "valkey_version", &mode)) {
        (void)buf_append_str(out, ",");
        put_label_of(out, "valkey_version", info, "valkey_version");
    }
    (void)buf_append_str(out, "} 1\n");
}

void metrics_put_info(struct buf *out, struct span info)
{
    put_instance(out, info);
    for (size_t i = 0; i < ARRAY_LEN(METRICS); i++)
        put_figure(out, &METRICS[i], info);
    put_databases(out, "redis_db_keys", "keys", "Keys by database.", info);
    put_databases(out, "redis_db_keys_expiring", "expires", "Keys with an expiry by database.",
                  info);
    put_link(out, info);
}
