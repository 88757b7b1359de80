/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/config_value.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"

bool config_is_path(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < ' ' || text.ptr[i] > '~')
            return false;
    return span_starts(text, "/");
}

bool config_is_plain(struct span text)
{
    return text_is_plain(text);
}

static struct span span_skip(struct span text, size_t len)
{
    return (struct span){text.ptr + len, text.len - len};
}

bool config_copy_address(struct span text, char *dst, size_t size)
{
    bool bracketed = text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']';
    struct span address = bracketed ? (struct span){text.ptr + 1, text.len - 2} : text;
    if (bracketed && span_find(address, ':') < 0)
        return false;
    return kube_is_address(address) && text_copy(dst, size, address);
}

/* HOST:PORT or HOST, IPv6 in brackets; *port stays as it is when there is none. */
static bool split_host_port(struct span text, struct span *ret_host, uint16_t *port)
{
    ptrdiff_t bracket = span_rfind(text, ']');
    ptrdiff_t colon = span_rfind(text, ':');
    if (colon <= bracket) {
        *ret_host = text;
        return true;
    }
    uint64_t number;
    if (!text_to_u64(span_skip(text, (size_t)colon + 1), UINT16_MAX, &number) || number == 0)
        return false;
    *ret_host = (struct span){text.ptr, (size_t)colon};
    *port = (uint16_t)number;
    return true;
}

bool config_is_api_server(struct span text)
{
    static const char secure[] = "https://";
    static const char open[] = "http://";
    bool is_secure = span_starts(text, secure);
    if (!is_secure && !span_starts(text, open))
        return false;
    struct span host;
    uint16_t port = 0;
    char address[CONFIG_NAME_SIZE];
    text = span_skip(text, is_secure ? sizeof secure - 1 : sizeof open - 1);
    if (!split_host_port(text, &host, &port) || !config_copy_address(host, address, sizeof address))
        return false;
    bool loopback = strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
    return is_secure || loopback;
}

bool config_is_endpoint(struct span text)
{
    struct span host;
    uint16_t port = 0;
    char address[CONFIG_NAME_SIZE];
    return split_host_port(text, &host, &port) &&
           config_copy_address(host, address, sizeof address);
}

bool config_add_peer(struct span text, struct config *config)
{
    struct config_peer peer = {0};
    struct span host;
    if (!split_host_port(text, &host, &peer.port) || peer.port == 0 ||
        peer.port > CONFIG_SERVER_PORT_MAX || config->static_list.peer_count == NODES_MAX)
        return false;
    if (!config_copy_address(host, peer.host, sizeof peer.host) &&
        (!kube_is_subdomain(host) || !TEXT_COPY(peer.host, host)))
        return false;
    size_t count = config->static_list.peer_count;
    for (size_t i = 0; i < count; i++) {
        const struct config_peer *other = &config->static_list.peers[i];
        if (other->port == peer.port && strcmp(other->host, peer.host) == 0)
            return false;
    }
    config->static_list.peers =
        xrealloc(config->static_list.peers, count + 1, sizeof *config->static_list.peers);
    config->static_list.peers[count] = peer;
    config->static_list.peer_count = count + 1;
    return true;
}
