/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/http_head.h"

/* Whether the empty line that ends the head is there. A bare LF counts as a line's end (RFC 9112, 2.2). */
static bool head_ends(struct span text)
{
    bool empty = false; /* the line that begins here has no byte yet */
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\n') {
            if (empty)
                return true;
            empty = true;
        } else if (c != '\r') {
            empty = false;
        }
    }
    return false;
}

/* "HTTP/1.0" and "HTTP/1.1", and what a later minor version would be. */
static bool is_http_1(struct span version)
{
    return version.len == 8 && span_starts(version, "HTTP/1.") && version.ptr[7] >= '0' &&
           version.ptr[7] <= '9';
}

static bool is_method(struct span method)
{
    for (size_t i = 0; i < method.len; i++)
        if (method.ptr[i] < 'A' || method.ptr[i] > 'Z')
            return false;
    return method.len > 0;
}

static bool is_target(struct span target)
{
    for (size_t i = 0; i < target.len; i++)
        if (target.ptr[i] <= ' ' || target.ptr[i] > '~')
            return false;
    return target.len > 0 && target.ptr[0] == '/';
}

enum http_head_state http_head_parse(struct span text, struct http_head *ret_head)
{
    struct span rest = text;
    struct span line;
    /* One empty line before the request line is to be ignored (RFC 9112, 2.2). */
    if (span_starts(rest, "\r\n"))
        rest = (struct span){rest.ptr + 2, rest.len - 2};
    if (!head_ends(rest))
        return HTTP_HEAD_PARTIAL;
    (void)span_line(&rest, &line);
    struct span method = span_until(&line, ' ');
    struct span target = span_until(&line, ' ');
    if (!is_method(method) || !is_target(target) || !is_http_1(line))
        return HTTP_HEAD_BAD;
    struct span path = span_until(&target, '?');
    *ret_head = (struct http_head){method, path, target};
    return HTTP_HEAD_COMPLETE;
}
