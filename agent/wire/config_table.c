/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/config_table.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/config_value.h"

_Static_assert(sizeof(enum config_discovery) == sizeof(int) &&
                   sizeof(enum log_level) == sizeof(int),
               "a word is stored as an int");

static const char *const discovery_words[] = {"kubernetes", "dns", "static", NULL};
static const char *const handover_words[] = {"auto", "always", "off", NULL};
static const char *const lost_words[] = {"wait", "reform", NULL};
static const char *const scaling_words[] = {"off", "auto", NULL};
static const char *const placement_words[] = {"enforce", "warn", "off", NULL};
static const char *const level_words[] = {"error", "warn", "info", "debug", NULL};
static const char *const format_words[] = {"logfmt", "json", NULL};

#define FIELD(member) \
    .offset = offsetof(struct config, member), .size = sizeof(((struct config *)0)->member)
#define SECTION(key)                                                              \
    {                                                                             \
        .name = (key), .type = CONFIG_SECTION, .allowed = "a mapping of its keys" \
    }
#define TEXT(key, member, valid, text)                                                          \
    {                                                                                           \
        .name = (key), .type = CONFIG_TEXT, FIELD(member), .is_valid = (valid), .fallback = "", \
        .allowed = (text)                                                                       \
    }
#define PATH(key, member) \
    TEXT(key, member, config_is_path, "an absolute path of at most 255 bytes, or nothing")
#define ADDRESS(key, member, text)                                                \
    {                                                                             \
        .name = (key), .type = CONFIG_ADDRESS, FIELD(member), .fallback = (text), \
        .allowed = "a literal IPv4 or IPv6 address"                               \
    }
#define PORT(key, member, high, text)                                               \
    {                                                                               \
        .name = (key), .type = CONFIG_PORT, FIELD(member), .min = 1, .max = (high), \
        .fallback = (text)                                                          \
    }
#define INT(key, member, low, high, text)                                              \
    {                                                                                  \
        .name = (key), .type = CONFIG_INT, FIELD(member), .min = (low), .max = (high), \
        .fallback = (text)                                                             \
    }
#define WORD(key, member, list, text)                                                          \
    {                                                                                          \
        .name = (key), .type = CONFIG_WORD, FIELD(member), .words = (list), .fallback = (text) \
    }

const struct config_key config_keys[] = {
    WORD("discovery", discovery, discovery_words, "kubernetes"),
    SECTION("kubernetes"),
    TEXT("kubernetes.apiServer", kubernetes.api_server, config_is_api_server,
         "https://ADDRESS[:PORT] with a literal address (http for loopback only), or nothing: "
         "the cluster's own"),
    PATH("kubernetes.caFile", kubernetes.ca_file),
    PATH("kubernetes.tokenFile", kubernetes.token_file),
    TEXT("kubernetes.namespace", kubernetes.namespace, kube_is_label,
         "a namespace's name, or nothing: the pod's own"),
    TEXT("kubernetes.statefulSet", kubernetes.stateful_set, kube_is_label,
         "a StatefulSet's name, or nothing: the pod's owner"),
    INT("kubernetes.leaseSeconds", kubernetes.lease_seconds, 2, 300, "15"),
    SECTION("dns"),
    TEXT("dns.name", dns.name, kube_is_subdomain, "a DNS name, or nothing"),
    PORT("dns.port", dns.port, CONFIG_SERVER_PORT_MAX, "6379"),
    TEXT("dns.server", dns.server, config_is_endpoint,
         "ADDRESS or ADDRESS:PORT of a name server (IPv6 in brackets), or nothing: those of "
         "/etc/resolv.conf"),
    SECTION("static"),
    {.name = "static.peers",
     .type = CONFIG_PEERS,
     .fallback = "",
     .allowed = "a list of host:port (ports to 55535) without repeats, at most 1000"},
    SECTION("cluster"),
    INT("cluster.replicasPerPrimary", cluster.replicas_per_primary, 0, 10, "1"),
    INT("cluster.size", cluster.size, 0, NODES_MAX, "0"),
    TEXT("cluster.zone", cluster.zone, config_is_plain, "a zone's name of at most 63 characters"),
    SECTION("redis"),
    ADDRESS("redis.host", redis.host, "127.0.0.1"),
    PORT("redis.port", redis.port, CONFIG_SERVER_PORT_MAX, "6379"),
    TEXT("redis.username", redis.username, config_is_plain,
         "an ACL user of at most 63 characters without spaces, or nothing: the default user"),
    PATH("redis.passwordFile", redis.password_file),
    SECTION("redis.tls"),
    {.name = "redis.tls.enabled",
     .type = CONFIG_BOOL,
     FIELD(redis.tls.enabled),
     .fallback = "false"},
    PATH("redis.tls.caFile", redis.tls.ca_file),
    PATH("redis.tls.certFile", redis.tls.cert_file),
    PATH("redis.tls.keyFile", redis.tls.key_file),
    TEXT("redis.tls.serverName", redis.tls.server_name, kube_is_subdomain,
         "the DNS name in the servers' certificates, or nothing: their address"),
    SECTION("http"),
    ADDRESS("http.address", http.address, "[::]"),
    PORT("http.port", http.port, UINT16_MAX, "8008"),
    SECTION("hook"),
    {.name = "hook.socket",
     .type = CONFIG_TEXT,
     FIELD(hook.socket),
     .is_valid = config_is_path,
     .min = 1,
     .fallback = "/run/muster/agent.sock",
     .allowed = "an absolute path of at most 107 bytes"},
    INT("hook.silentSeconds", hook.silent_seconds, 1, 3600, "30"),
    SECTION("log"),
    WORD("log.level", log.level, level_words, "info"),
    WORD("log.format", log.format, format_words, "logfmt"),
    SECTION("policy"),
    {.name = "policy.bigKeyBytes",
     .type = CONFIG_INT64,
     FIELD(policy.big_key_bytes),
     .max = INT64_C(1) << 40,
     .fallback = "1048576"},
    WORD("policy.crashHandover", policy.crash_handover, handover_words, "auto"),
    {.name = "policy.handoverMaxLag",
     .type = CONFIG_INT64,
     FIELD(policy.handover_max_lag),
     .max = INT64_C(1) << 40,
     .fallback = "0"},
    WORD("policy.lostCluster", policy.lost_cluster, lost_words, "wait"),
    WORD("policy.placement", policy.placement, placement_words, "enforce"),
    INT("policy.placementMinInterval", policy.placement_min_interval, 0, 86400, "600"),
    WORD("policy.scaling", policy.scaling, scaling_words, "off"),
};

const size_t config_key_count = ARRAY_LEN(config_keys);

_Static_assert(ARRAY_LEN(config_keys) <= CONFIG_KEYS_MAX, "a bit each");

const struct config_key *config_find(const char *name)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (strcmp(config_keys[i].name, name) == 0)
            return &config_keys[i];
    return NULL;
}

void config_variable(const struct config_key *key, char *dst)
{
    text_format(dst, CONFIG_KEY_SIZE, "MUSTER_%s", key->name);
    for (char *p = dst; *p; p++) {
        if (*p == '.')
            *p = '_';
        else if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
    }
}

void config_allowed(const struct config_key *key, char *dst)
{
    if (key->allowed) {
        text_format(dst, CONFIG_ALLOWED_SIZE, "%s", key->allowed);
    } else if (key->type == CONFIG_BOOL) {
        text_format(dst, CONFIG_ALLOWED_SIZE, "true or false");
    } else if (key->type == CONFIG_WORD) {
        text_format(dst, CONFIG_ALLOWED_SIZE, "one of");
        for (const char *const *word = key->words; *word; word++)
            text_append(dst, CONFIG_ALLOWED_SIZE, "%s %s", word == key->words ? "" : ",", *word);
    } else {
        text_format(dst, CONFIG_ALLOWED_SIZE,
                    "a whole number from %" PRId64 " to %" PRId64 ", without quotes", key->min,
                    key->max);
    }
}

bool config_is_plain_type(enum config_type type)
{
    return type == CONFIG_PORT || type == CONFIG_INT || type == CONFIG_INT64 || type == CONFIG_BOOL;
}

static bool set_text(const struct config_key *key, struct span value, void *field)
{
    bool valid = value.len ? key->is_valid(value) : key->min == 0;
    return valid && text_copy(field, key->size, value);
}

static bool set_number(const struct config_key *key, struct span value, void *field)
{
    int64_t number;
    if (!text_to_i64(value, key->min, key->max, &number))
        return false;
    if (key->type == CONFIG_PORT)
        *(uint16_t *)field = (uint16_t)number;
    else if (key->type == CONFIG_INT)
        *(int *)field = (int)number;
    else
        *(int64_t *)field = number;
    return true;
}

static bool set_bool(struct span value, bool *field)
{
    bool on = span_is(value, "true");
    if (!on && !span_is(value, "false"))
        return false;
    *field = on;
    return true;
}

static bool set_word(const struct config_key *key, struct span value, int *field)
{
    for (int i = 0; key->words[i]; i++) {
        if (span_is(value, key->words[i])) {
            *field = i + 1;
            return true;
        }
    }
    return false;
}

bool config_set(const struct config_key *key, struct span value, struct config *config)
{
    void *field = (char *)config + key->offset;
    switch (key->type) {
    case CONFIG_SECTION:
        break;
    case CONFIG_TEXT:
        return set_text(key, value, field);
    case CONFIG_ADDRESS:
        return config_copy_address(value, field, key->size);
    case CONFIG_PORT:
    case CONFIG_INT:
    case CONFIG_INT64:
        return set_number(key, value, field);
    case CONFIG_BOOL:
        return set_bool(value, field);
    case CONFIG_WORD:
        return set_word(key, value, field);
    case CONFIG_PEERS:
        return config_add_peer(value, config);
    }
    return false;
}

void config_show(struct span value, char *dst)
{
    size_t len = value.len < CONFIG_SHOWN_SIZE - 1 ? value.len : CONFIG_SHOWN_SIZE - 1;
    for (size_t i = 0; i < len; i++) {
        char c = value.ptr[i];
        if (c < ' ' || c > '~')
            c = '?';
        dst[i] = c;
    }
    dst[len] = '\0';
}

int config_describe(struct buf *buf)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->type == CONFIG_SECTION)
            continue;
        char variable[CONFIG_KEY_SIZE];
        char allowed[CONFIG_ALLOWED_SIZE];
        config_variable(key, variable);
        config_allowed(key, allowed);
        (void)buf_format(buf, "%-29s %-36s default %-24s %s\n", key->name, variable,
                         *key->fallback ? key->fallback : "\"\"", allowed);
    }
    return buf->failed ? E_LIMIT : 0;
}
