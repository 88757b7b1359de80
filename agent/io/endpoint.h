/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Literal IPs with a port, of the HTTP server and of those who ask it. Nothing here resolves names.
 */
#ifndef MUSTER_IO_ENDPOINT_H
#define MUSTER_IO_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/text.h"

struct endpoint {
    struct sockaddr_storage address;
    socklen_t len;
};

/* An IPv4 or IPv6 address, the latter with or without brackets. False if it is none. */
bool endpoint_parse(struct span text, uint16_t port, struct endpoint *ret_endpoint);

/*
 * Listens without blocking. "::" also serves IPv4, and is 0.0.0.0 on a host that has no IPv6.
 * `port` 0 is any free one; *ret_port is the real one. The caller owns *ret_fd. E_INVALID if the
 * address is no IP, E_SYSTEM if it cannot be bound.
 */
must_check int endpoint_listen(const char *address, uint16_t port, int *ret_fd, uint16_t *ret_port,
                               struct err *err);

#endif
