/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/config_yaml.h"

#include <string.h>

#include "base/cleanup.h"
#include "core/record.h"

/* 512 bytes of UDP hold about so many addresses, libevent 2.1 keeps 32. */
#define CONFIG_DNS_SIZE_MAX 30

/* Every agent listens at http.port of its host, so a host has one server. */
static bool check_one_host_twice(const struct config *config)
{
    for (size_t i = 0; i < config->static_list.peer_count; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(config->static_list.peers[i].host, config->static_list.peers[k].host) == 0)
                return true;
    return false;
}

/* An entry is the name of its server everywhere: in the record, in logs, in metrics. */
static bool check_long_entry(const struct config *config)
{
    const size_t rest = sizeof "[]:65535";
    for (size_t i = 0; i < config->static_list.peer_count; i++)
        if (strlen(config->static_list.peers[i].host) + rest > POD_NAME_SIZE)
            return true;
    return false;
}

int config_check(const struct config *config, struct err *err)
{
    bool dns = config->discovery == DISCOVERY_DNS;
    bool listed = config->discovery == DISCOVERY_STATIC;
    bool kubernetes = config->discovery == DISCOVERY_KUBERNETES;
    const struct {
        bool broken;
        const char *text;
    } rules[] = {
        {dns && !config->dns.name[0], "dns.name: needed with discovery: dns"},
        {listed && !config->static_list.peer_count, "static.peers: needed with discovery: static"},
        {dns && !config->cluster.size, "cluster.size: needed with discovery: dns"},
        {dns && config->cluster.size > CONFIG_DNS_SIZE_MAX,
         "cluster.size: at most 30 with discovery: dns, for more do not fit into a DNS answer; use "
         "discovery: static"},
        {dns && config->dns.port != config->redis.port,
         "dns.port, redis.port: the port of every server and of our own must be equal"},
        {listed && config->cluster.size &&
             (size_t)config->cluster.size != config->static_list.peer_count,
         "cluster.size: with discovery: static it is the length of static.peers, or nothing"},
        {check_one_host_twice(config),
         "static.peers: a host can have one server only, for its agent listens at http.port"},
        {check_long_entry(config), "static.peers: a host's name can have at most 55 characters"},
        {kubernetes && config->cluster.size,
         "cluster.size: not with discovery: kubernetes, where the StatefulSet has it"},
        {kubernetes && config->cluster.zone[0],
         "cluster.zone: not with discovery: kubernetes, where the nodes have it"},
        {config->redis.username[0] && !config->redis.password_file[0],
         "redis.passwordFile: needed with redis.username"},
        {!config->redis.tls.cert_file[0] != !config->redis.tls.key_file[0],
         "redis.tls.certFile, redis.tls.keyFile: both or neither"},
        {config->redis.tls.enabled && !config->redis.tls.ca_file[0],
         "redis.tls.caFile: needed with redis.tls.enabled"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].broken)
            return err_set(err, E_INVALID, "%s", rules[i].text);
    return 0;
}
