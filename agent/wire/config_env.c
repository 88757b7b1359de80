/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/cleanup.h"
#include "wire/config_table.h"

/* True if `text` holds `part`, followed by its end or by '_'. */
static bool has_part(const char *text, const char *part)
{
    for (const char *hit = strstr(text, part); hit; hit = strstr(hit + 1, part)) {
        char next = hit[strlen(part)];
        if (next == '\0' || next == '_')
            return true;
    }
    return false;
}

/* NAME_PORT_6379_TCP[_PROTO|_PORT|_ADDR] */
static bool has_port_part(const char *name)
{
    for (const char *hit = strstr(name, "_PORT_"); hit; hit = strstr(hit + 1, "_PORT_")) {
        const char *digits = hit + strlen("_PORT_");
        size_t len = strspn(digits, "0123456789");
        if (len && (has_part(digits + len, "_TCP") || has_part(digits + len, "_UDP") ||
                    has_part(digits + len, "_SCTP")))
            return true;
    }
    return false;
}

/*
 * The kubelet gives each container variables named after every Service of its namespace (kubelet,
 * envvars.FromServices; enableServiceLinks is true by default). A Service "muster-redis" makes
 * MUSTER_REDIS_PORT=tcp://10.0.0.1:6379: not ours, whatever key has that name.
 */
static bool is_service_link(const char *name, const char *value)
{
    size_t len = strlen(name);
    bool is_port = len > 5 && strcmp(name + len - 5, "_PORT") == 0;
    return (is_port && strstr(value, "://")) || has_part(name, "_SERVICE_HOST") ||
           has_part(name, "_SERVICE_PORT") || has_port_part(name);
}

static const struct config_key *find_variable(const char *name)
{
    for (size_t i = 0; i < config_key_count; i++) {
        char variable[CONFIG_KEY_SIZE];
        config_variable(&config_keys[i], variable);
        if (config_keys[i].type != CONFIG_SECTION && strcmp(variable, name) == 0)
            return &config_keys[i];
    }
    return NULL;
}

static int refuse_value(const struct config_key *key, const char *name, struct span value,
                        struct err *err)
{
    char shown[CONFIG_SHOWN_SIZE];
    char allowed[CONFIG_ALLOWED_SIZE];
    config_show(value, shown);
    config_allowed(key, allowed);
    return err_set(err, E_INVALID, "%s: %s: %s", name, shown, allowed);
}

/* A list is written with commas and replaces the file's. */
static int set_peers(const struct config_key *key, const char *name, struct span list,
                     struct config *config, struct err *err)
{
    config_clear_peers(config);
    while (list.len) {
        struct span peer = span_until(&list, ',');
        if (!config_set(key, peer, config))
            return refuse_value(key, name, peer, err);
    }
    return 0;
}

static int set_variable(const char *name, const char *value, struct config *config, struct err *err)
{
    if (is_service_link(name, value) || strncmp(name, "MUSTER_TEST_", 12) == 0)
        return 0;
    const struct config_key *key = find_variable(name);
    char shown[CONFIG_SHOWN_SIZE];
    config_show(span_of(name), shown);
    if (!key) /* its value may be a secret in the wrong place: not shown */
        return err_set(err, E_INVALID, "%s: unknown variable", shown);
    if (key->type == CONFIG_PEERS)
        return set_peers(key, name, span_of(value), config, err);
    if (!config_set(key, span_of(value), config))
        return refuse_value(key, name, span_of(value), err);
    return 0;
}

int config_parse_environment(char *const *environment, struct config *config, struct err *err)
{
    for (; environment && *environment; environment++) {
        const char *equals = strchr(*environment, '=');
        if (!equals || strncmp(*environment, "MUSTER_", 7) != 0)
            continue;
        char name[256];
        struct span text = {*environment, (size_t)(equals - *environment)};
        if (!TEXT_COPY(name, text))
            return err_set(err, E_INVALID, "%.40s...: unknown variable", *environment);
        int r = set_variable(name, equals + 1, config, err);
        if (r < 0)
            return r;
    }
    return 0;
}
