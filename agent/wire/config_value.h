/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a configuration value must look like. Internal to config_*.c.
 */
#ifndef MUSTER_WIRE_CONFIG_VALUE_H
#define MUSTER_WIRE_CONFIG_VALUE_H

#include "wire/config_yaml.h"
#include "wire/kube_json.h"

/* An absolute path of printable characters. */
bool config_is_path(struct span text);

/* Printable ASCII without spaces, quotes and backslashes. */
bool config_is_plain(struct span text);

/*
 * https://ADDRESS[:PORT], IPv6 in brackets; http:// for a loopback address, as `kubectl proxy` has
 * it: the token goes nowhere else unencrypted. A name would need a resolver, which blocks.
 */
bool config_is_api_server(struct span text);

/* A literal address, IPv6 in brackets, and perhaps a port behind a colon. */
bool config_is_endpoint(struct span text);

/* A literal address, IPv6 also in brackets, copied without them. False, dst untouched, if not. */
bool config_copy_address(struct span text, char *dst, size_t size);

/*
 * A server's cluster bus listens at its port + 10000 (CLUSTER_PORT_INCR, cluster.h of Redis 7.0), and
 * CLUSTER MEET without a bus port, as we send it, dials that.
 */
#define CONFIG_SERVER_PORT_MAX (65535 - 10000)

/* Appends "host:port"; false if it is malformed, repeated or one too many. */
bool config_add_peer(struct span text, struct config *config);

#endif
