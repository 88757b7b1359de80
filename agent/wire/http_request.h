/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1 request (RFC 9112), as far as our own server needs it: method, path and
 * query. Headers are bounded and skipped: nothing that we serve depends on one.
 */
#ifndef MUSTER_WIRE_HTTP_REQUEST_H
#define MUSTER_WIRE_HTTP_REQUEST_H

#include <stdbool.h>

#include "base/text.h"

enum http_request_state {
    HTTP_REQUEST_PARTIAL = 0, /* no empty line yet: read on */
    HTTP_REQUEST_COMPLETE,
    HTTP_REQUEST_BAD, /* no HTTP/1.x request line: answer 400 */
};

struct http_request {
    struct span method; /* into the text given */
    struct span path;   /* without the query */
    struct span query;  /* behind the '?'; empty if none */
};

/* Reads what arrived so far. *ret_request is set when COMPLETE. */
enum http_request_state http_request_parse(struct span text, struct http_request *ret_request);

#endif
