/* SPDX-License-Identifier: Apache-2.0 */
#include "io/endpoint.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

#define BACKLOG 128

bool endpoint_parse(struct span text, uint16_t port, struct endpoint *ret_endpoint)
{
    char ip[INET6_ADDRSTRLEN];
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
        text = (struct span){text.ptr + 1, text.len - 2};
    if (!TEXT_COPY(ip, text))
        return false;
    *ret_endpoint = (struct endpoint){0};
    if (inet_pton(AF_INET, ip, &v4.sin_addr) == 1) {
        memcpy(&ret_endpoint->address, &v4, sizeof v4);
        ret_endpoint->len = sizeof v4;
        return true;
    }
    if (inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1) {
        memcpy(&ret_endpoint->address, &v6, sizeof v6);
        ret_endpoint->len = sizeof v6;
        return true;
    }
    return false;
}

static bool endpoint_is_any6(const struct endpoint *endpoint)
{
    struct sockaddr_in6 v6;
    if (endpoint->address.ss_family != AF_INET6)
        return false;
    memcpy(&v6, &endpoint->address, sizeof v6);
    return IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr);
}

/* A listening socket, or -1 with errno. */
static int listen_on(const struct endpoint *endpoint)
{
    static const int on = 1;
    static const int off = 0;
    auto_close int fd =
        socket(endpoint->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return -1;
    if (endpoint_is_any6(endpoint) &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0)
        return -1;
    if (bind(fd, (const struct sockaddr *)&endpoint->address, endpoint->len) < 0)
        return -1;
    if (listen(fd, BACKLOG) < 0)
        return -1;
    return cleanup_take_fd(&fd);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    struct sockaddr_in v4;
    int r = getsockname(fd, (struct sockaddr *)&address, &len);
    assert(r == 0);
    /* The port is at the same place in both families. */
    memcpy(&v4, &address, sizeof v4);
    return ntohs(v4.sin_port);
}

int endpoint_listen(const char *address, uint16_t port, int *ret_fd, uint16_t *ret_port,
                    struct err *err)
{
    struct endpoint endpoint;
    if (!endpoint_parse(span_of(address), port, &endpoint))
        return err_set(err, E_INVALID, "%.80s is no IP address", address);
    int fd = listen_on(&endpoint);
    int reason = errno;
    bool no_v6 = fd < 0 && (reason == EAFNOSUPPORT || reason == EADDRNOTAVAIL);
    if (no_v6 && endpoint_is_any6(&endpoint) &&
        endpoint_parse(span_of("0.0.0.0"), port, &endpoint)) {
        fd = listen_on(&endpoint);
        reason = errno;
    }
    if (fd < 0)
        return err_errno(err, reason, "listen on %.80s port %u", address, port);
    *ret_fd = fd;
    *ret_port = port_of(fd);
    return 0;
}
