/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every ceiling of the program, each with its reason. Reaching one is E_LIMIT, never a crash.
 */
#ifndef MUSTER_BASE_LIMITS_H
#define MUSTER_BASE_LIMITS_H

#define KIB(n) ((size_t)(n)*1024)
#define MIB(n) ((size_t)(n)*1024 * 1024)

/* The Redis Cluster specification's own limit of nodes. */
#define NODES_MAX 1000

/* A CLUSTER NODES line: 40 id, address, 255 hostname, flags, numbers, and slots as single numbers. */
#define NODES_TEXT_MAX MIB(2)
/* INFO of the sections that we ask for; a server with 1000 replicas stays below. */
#define INFO_TEXT_MAX KIB(256)
/* One reply of a server, whatever it is. */
#define REDIS_REPLY_MAX MIB(4)
/* nodes.conf lines of NODES_MAX nodes with auxiliary fields. */
#define NODES_CONF_MAX MIB(2)

/* One watch event is one object; etcd refuses objects above 1.5 MiB. */
#define WATCH_LINE_MAX MIB(2)
/* A list page of KUBE_PAGE_SIZE pods at about 12 KiB each, with room. */
#define HTTP_BODY_MAX MIB(16)
#define KUBE_PAGE_SIZE 100
#define JSON_DEPTH_MAX 64

/* The record is a ConfigMap: etcd's object limit less metadata. */
#define RECORD_TEXT_MAX KIB(1000)

/* A hook message: one line of at most 120 bytes for each node and the facts beside. */
#define HOOK_MESSAGE_MAX KIB(256)
#define HOOK_CLIENTS_MAX 16

/* Our own HTTP server: small requests, few clients, a short time. */
#define HTTP_CLIENTS_MAX 16
#define HTTP_REQUEST_MAX KIB(4)
#define HTTP_CLIENT_SECONDS 2

#define CONFIG_TEXT_MAX KIB(64)
#define SECRET_MAX 4096
/* A mounted certificate, chain or bundle: a Secret is at most 1 MiB. */
#define TLS_FILE_MAX MIB(1)

/* One turn's data at NODES_MAX nodes with full views from every witness. */
#define TURN_ARENA_MAX MIB(64)

#endif
