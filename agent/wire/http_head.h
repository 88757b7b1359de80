/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1 request (RFC 9112), as far as our own server needs it: method, path and
 * query. Headers are bounded and skipped: nothing that we serve depends on one.
 */
#ifndef MUSTER_WIRE_HTTP_HEAD_H
#define MUSTER_WIRE_HTTP_HEAD_H

#include <stdbool.h>

#include "base/text.h"

enum http_head_state {
    HTTP_HEAD_PARTIAL = 0, /* no empty line yet: read on */
    HTTP_HEAD_COMPLETE,
    HTTP_HEAD_BAD, /* no HTTP/1.x request line: answer 400 */
};

struct http_head {
    struct span method; /* into the text given */
    struct span path;   /* without the query */
    struct span query;  /* behind the '?'; empty if none */
};

/* Reads what arrived so far. *ret_head is set when COMPLETE. */
enum http_head_state http_head_parse(struct span text, struct http_head *ret_head);

#endif
