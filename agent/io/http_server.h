/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's own HTTP server: /livez, /readyz, /metrics, /status, /status?digest and /record, for
 * GET and HEAD, one request per connection. It computes nothing: it serves what was published last.
 *
 * Bounded against clients of any kind (FAULTS H9): at most HTTP_CLIENTS_MAX connections, of which
 * the oldest gives way to a new one, so that a probe is served while others dawdle; each lives
 * HTTP_CLIENT_SECONDS at most, whatever it does; a request has at most HTTP_REQUEST_MAX bytes.
 * Written on plain events: evhttp (libevent 2.1.12) cannot be handed an accepted socket, does not
 * say when a connection ends, and times out on inactivity only.
 */
#ifndef MUSTER_IO_HTTP_SERVER_H
#define MUSTER_IO_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"

struct event_base;
struct http_server;

enum http_page {
    HTTP_PAGE_READY = 0, /* /readyz: the verdict's sentence */
    HTTP_PAGE_METRICS,
    HTTP_PAGE_STATUS,
    HTTP_PAGE_DIGEST,
    HTTP_PAGE_RECORD, /* /record: this agent's copy, for the others; without Kubernetes only */
    HTTP_PAGE_COUNT,
};

/* The loop turned within this time, or /livez answers 503. */
#define HTTP_LIVE_MS 10000

struct http_server_config {
    struct event_base *base; /* outlives the server */
    int priority;            /* of its events in the base; must be one that the base has */
    const char *address;     /* a literal IP, with or without brackets; "::" also serves IPv4 */
    uint16_t port;           /* 0 = any free one */
    int64_t (*now_ms)(void); /* a monotonic clock */
};

/*
 * Listens at once. "::" falls back to 0.0.0.0 where the host has no IPv6. E_INVALID for an address
 * that is no IP, E_SYSTEM (with address and port in the sentence) if it cannot be bound.
 */
must_check int http_server_new(const struct http_server_config *config,
                               struct http_server **ret_server, struct err *err);

/* Closes every connection. Accepts NULL. */
void http_server_free(struct http_server *server);

/* The bound port. */
uint16_t http_server_port(const struct http_server *server);

/*
 * Replaces a page; `body` is copied. Answers that are under way keep the page that they started
 * with. A page that was never published answers 503.
 */
void http_server_publish(struct http_server *server, enum http_page page, struct span body);

/* Replaces /readyz: 200 or 503, with the reason as its body. */
void http_server_publish_ready(struct http_server *server, bool ready, struct span reason);

/* To be called once per turn; until the first call /livez answers from the server's birth. */
void http_server_turned(struct http_server *server);

/* Open connections now: at most HTTP_CLIENTS_MAX. */
unsigned http_server_clients(const struct http_server *server);

#endif
