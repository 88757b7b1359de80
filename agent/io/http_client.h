/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests in the loop: libcurl's multi interface driven by libevent.
 *
 * HTTP/1.1 with kept-alive connections, https only (plain http by an explicit flag, for loopback),
 * TLS 1.2 or newer with the peer verified, no redirects, no proxies, no name resolution: the host of
 * the URL is a literal address. Every request has a ceiling for what it may receive and, except for
 * a stream, an absolute deadline. A second connection to a server takes up the TLS session of the
 * first, as long as the same certificates are trusted.
 */
#ifndef MUSTER_IO_HTTP_CLIENT_H
#define MUSTER_IO_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "io/loop.h"

struct http_client;
struct http_request;

#define HTTP_REQUESTS_MAX 64
/* A connection that is not established within this time is given up. */
#define HTTP_CONNECT_MS 3000
/* So is one whose other end does not acknowledge any more (keepalive 20 s, then three times 5 s). */
#define HTTP_SILENCE_MS 35000

/* What came of a request; everything is borrowed for the call. */
struct http_response {
    int status;             /* 0 = no complete response */
    int64_t retry_after_ms; /* from Retry-After; 0 = none */
    int64_t date_unix_ms;   /* from Date, whole seconds; 0 = none */
    struct span body;       /* of a stream: only when the status is not 2xx */
    struct err err;         /* E_OK if a response came to its end, whatever its status */
};

typedef void (*http_done_fn)(void *ctx, const struct http_response *response);

/*
 * Bytes of a 2xx response as they come, first none (the status is known, the stream is open); false
 * gives the request up (its end is E_PROTO). Only to store: nothing of curl may be freed in it.
 */
typedef bool (*http_data_fn)(void *ctx, struct span bytes);

/* A request; strings and body are copied. */
struct http_call {
    const char *method; /* "GET", "POST", "PUT", "DELETE" */
    const char *url;
    const char *bearer;   /* token, or NULL */
    const char *accept;   /* media types; NULL = application/json */
    struct span ca_pem;   /* certificates to trust; empty = the system's */
    bool plain;           /* allow http:// */
    const char *bind_ip;  /* literal source address, or NULL */
    struct span body;     /* JSON; empty = none */
    size_t body_max;      /* ceiling of the response's body; E_LIMIT beyond */
    int64_t timeout_ms;   /* for the whole exchange; 0 = none (stream) */
    bool fresh;           /* on a new connection: the one that is kept goes on serving the others */
    bool in_turn;         /* behind what else was asked in turn, see http_turns.h */
    http_data_fn on_data; /* NULL = collect the body */
    http_done_fn on_done; /* exactly once, unless cancelled; never from within http_start() */
    void *ctx;
};

/* NULL with `err` set when libcurl cannot start. */
struct http_client *http_client_new(struct loop *loop, struct err *err);

/* Cancels what is in flight, without callbacks. Accepts NULL. */
void http_client_free(struct http_client *client);

/*
 * The request is owned by the client; the pointer is valid until `on_done` returned or until it was
 * cancelled. NULL with E_LIMIT above HTTP_REQUESTS_MAX, or E_INVALID if curl refuses the call.
 */
struct http_request *http_start(struct http_client *client, const struct http_call *call,
                                struct err *err);

/* No callback comes after this. May be called from the request's own callbacks. Accepts NULL. */
void http_cancel(struct http_request *request);

#endif
