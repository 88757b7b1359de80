/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: one YAML file, every key also as an environment variable, which wins.
 *
 * The keys, their types, ranges and defaults are one table (config_table.c); config_describe()
 * prints it. The variable of `kubernetes.apiServer` is MUSTER_KUBERNETES_APISERVER.
 */
#ifndef MUSTER_WIRE_CONFIG_YAML_H
#define MUSTER_WIRE_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/text.h"

#define CONFIG_PATH_SIZE 256
#define CONFIG_SOCKET_SIZE 108 /* sun_path of Linux */
#define CONFIG_HOST_SIZE 254   /* a DNS name, or an address */
#define CONFIG_NAME_SIZE 64    /* an RFC 1123 label */

enum config_discovery { DISCOVERY_KUBERNETES = 1, DISCOVERY_DNS, DISCOVERY_STATIC };
enum config_handover { HANDOVER_AUTO = 1, HANDOVER_ALWAYS, HANDOVER_OFF };
enum config_lost { LOST_WAIT = 1, LOST_REFORM };
enum config_scaling { SCALING_POLICY_OFF = 1, SCALING_POLICY_AUTO };
enum config_placement { PLACEMENT_ENFORCE = 1, PLACEMENT_WARN, PLACEMENT_OFF };

struct config_peer {
    char host[CONFIG_HOST_SIZE]; /* an IPv6 address without its brackets */
    uint16_t port;
};

/* An empty string means: not given, take it from the surroundings where that is possible. */
struct config {
    enum config_discovery discovery;
    struct {
        char api_server[CONFIG_PATH_SIZE]; /* https://ADDRESS[:PORT]; http only for loopback */
        char ca_file[CONFIG_PATH_SIZE];
        char token_file[CONFIG_PATH_SIZE];
        char namespace[CONFIG_NAME_SIZE];
        char stateful_set[CONFIG_NAME_SIZE];
        int lease_seconds;
    } kubernetes;
    struct {
        char name[CONFIG_HOST_SIZE];
        uint16_t port;
        char server[CONFIG_NAME_SIZE]; /* ADDRESS[:PORT] instead of resolv.conf's name servers */
    } dns;
    struct {
        struct config_peer *peers; /* owned */
        size_t peer_count;
    } static_list;
    struct {
        int replicas_per_primary;
        int size;
        char zone[CONFIG_NAME_SIZE];
    } cluster;
    struct {
        char host[CONFIG_NAME_SIZE]; /* a literal address, without brackets */
        uint16_t port;
        char username[CONFIG_NAME_SIZE];
        char password_file[CONFIG_PATH_SIZE];
        struct {
            bool enabled;
            char ca_file[CONFIG_PATH_SIZE];
            char cert_file[CONFIG_PATH_SIZE];
            char key_file[CONFIG_PATH_SIZE];
            char server_name[CONFIG_HOST_SIZE];
        } tls;
    } redis;
    struct {
        char address[CONFIG_NAME_SIZE]; /* a literal address, without brackets: "::" */
        uint16_t port;
    } http;
    struct {
        char socket[CONFIG_SOCKET_SIZE];
        int silent_seconds;
    } hook;
    struct {
        enum log_level level;
        enum log_format format;
    } log;
    struct {
        enum config_handover crash_handover;
        int64_t big_key_bytes;    /* of a key whose slot is not moved; 0 = every slot is */
        int64_t handover_max_lag; /* bytes */
        enum config_lost lost_cluster;
        enum config_placement placement;
        int placement_min_interval; /* seconds */
        enum config_scaling scaling;
    } policy;
};

/*
 * Defaults, then the file's text, then the environment ("NAME=value" strings ended by NULL; NULL for
 * none). An empty text is an empty file. `file` is its name for messages.
 *
 * E_INVALID "FILE:LINE: KEY: VALUE: what is allowed", or "VARIABLE: VALUE: what is allowed", for an
 * unknown or repeated key, a wrong type, a value out of range, an unknown MUSTER_ variable, and for
 * what this subset of YAML leaves out: anchors, aliases, tags, merge keys, more than one document.
 * Input that is not UTF-8 or holds a NUL is refused. E_LIMIT above CONFIG_TEXT_MAX.
 *
 * Not looked at: MUSTER_TEST_*, and the variables that the kubelet makes of a Service called
 * "muster..." in the same namespace (MUSTER_SERVICE_HOST, MUSTER_REDIS_PORT=tcp://10.0.0.1:6379).
 *
 * Call config_deinit() after success.
 */
must_check int config_parse(struct span yaml, const char *file, char *const *environment,
                            struct config *ret_config, struct err *err);

/* Frees what the configuration owns. */
void config_deinit(struct config *config);

/*
 * The rules between keys, and what this release does not do yet ("not supported in this release
 * yet: ..."): E_INVALID naming the keys.
 */
must_check int config_check(const struct config *config, struct err *err);

/* All keys with variable, default and what is allowed, one per line. 0, or E_LIMIT. */
must_check int config_describe(struct buf *buf);

#endif
