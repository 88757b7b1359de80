/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/info_replicas.h"

/* "slave" and a number. */
static bool replica_is_name(struct span name)
{
    uint64_t number;
    if (!span_starts(name, "slave"))
        return false;
    return text_to_u64((struct span){name.ptr + 5, name.len - 5}, INT32_MAX, &number);
}

static bool replica_parse(struct span words, struct replica_addr *ret_addr)
{
    struct span ip = {0};
    uint64_t port = 0;
    bool online = false;
    while (words.len) {
        struct span value = span_until(&words, ',');
        struct span key = span_until(&value, '=');
        if (span_is(key, "ip"))
            ip = value;
        else if (span_is(key, "port") && !text_to_u64(value, UINT16_MAX, &port))
            return false;
        else if (span_is(key, "state"))
            online = span_is(value, "online");
    }
    ret_addr->port = (uint16_t)port;
    return online && port && ip.len && text_is_plain(ip) && TEXT_COPY(ret_addr->ip, ip);
}

void info_replicas_parse(struct span info, struct server *server)
{
    struct span line;
    server->online_count = 0;
    while (server->primary && server->online_count < REPLICAS_TOLD_MAX && span_line(&info, &line)) {
        struct span name = span_until(&line, ':');
        struct replica_addr addr;
        if (replica_is_name(name) && replica_parse(line, &addr))
            server->online[server->online_count++] = addr;
    }
}
