/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/config_yaml.h"

#include "base/cleanup.h"

int config_check(const struct config *config, struct err *err)
{
    bool kubernetes = config->discovery == DISCOVERY_KUBERNETES;
    const struct {
        bool broken;
        const char *text;
    } rules[] = {
        {config->discovery == DISCOVERY_DNS && !config->dns.name[0],
         "dns.name: needed with discovery: dns"},
        {config->discovery == DISCOVERY_STATIC && !config->static_list.peer_count,
         "static.peers: needed with discovery: static"},
        {config->discovery == DISCOVERY_DNS && !config->cluster.size,
         "cluster.size: needed with discovery: dns"},
        {kubernetes && config->cluster.size,
         "cluster.size: not with discovery: kubernetes, where the StatefulSet has it"},
        {kubernetes && config->cluster.zone[0],
         "cluster.zone: not with discovery: kubernetes, where the nodes have it"},
        {config->redis.username[0] && !config->redis.password_file[0],
         "redis.passwordFile: needed with redis.username"},
        {!config->redis.tls.cert_file[0] != !config->redis.tls.key_file[0],
         "redis.tls.certFile, redis.tls.keyFile: both or neither"},
        {!kubernetes, "not supported in this release yet: discovery: dns and static"},
        {config->redis.tls.enabled && !config->redis.tls.ca_file[0],
         "redis.tls.caFile: needed with redis.tls.enabled"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].broken)
            return err_set(err, E_INVALID, "%s", rules[i].text);
    return 0;
}
