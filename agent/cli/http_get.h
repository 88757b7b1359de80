/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking GET to an agent's HTTP server, with one deadline for everything.
 */
#ifndef MUSTER_CLI_HTTP_GET_H
#define MUSTER_CLI_HTTP_GET_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"
#include "io/endpoint.h"

#define HTTP_GET_MS 2000

/*
 * The body of `target` ("/status") into *ret_body, which is empty and has its ceiling. E_TIMEOUT
 * after HTTP_GET_MS, E_UNREACHABLE if there is no connection, E_LIMIT for a body above the ceiling,
 * E_PROTO for what is no HTTP/1 answer, is cut short, or has another status than 200.
 */
must_check int http_get(const struct endpoint *endpoint, const char *target, struct buf *ret_body,
                        struct err *err);

/* The part of http_get() that reads the answer: its body, or the errors above. */
must_check int http_answer_parse(struct span answer, struct span *ret_body, struct err *err);

#endif
