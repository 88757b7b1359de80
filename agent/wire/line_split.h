/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream cut into lines: the framing of a Kubernetes watch (one JSON object per line).
 * Holds at most one unfinished line of at most the given length, whatever arrives.
 */
#ifndef MUSTER_WIRE_LINE_SPLIT_H
#define MUSTER_WIRE_LINE_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"

struct line_split {
    struct buf part; /* the unfinished line */
};

/* A line without its \n or \r\n, borrowed for the call; never empty. Non-zero ends the feeding. */
typedef int (*line_fn)(void *context, struct span line, struct err *err);

/* `line_max` in bytes, without the line's end. */
void line_split_init(struct line_split *split, size_t line_max);
void line_split_deinit(struct line_split *split);

/* Forgets an unfinished line, for a new stream. */
void line_split_clear(struct line_split *split);

/*
 * Gives each line that the bytes complete to `on_line`, in order; empty lines are skipped. Returns
 * 0, what `on_line` returned, or E_LIMIT for a line that is too long. After a failure the rest of
 * the bytes is dropped and the stream must be given up; line_split_clear() starts anew.
 */
must_check int line_split_feed(struct line_split *split, struct span bytes, line_fn on_line,
                               void *context, struct err *err);

/* True when the stream ended within a line: what is left was cut off and must not be parsed. */
bool line_split_is_partial(const struct line_split *split);

#endif
