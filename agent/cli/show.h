/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands print, from an answer. Plain text of printable ASCII and line breaks, with
 * colours only if asked for.
 */
#ifndef MUSTER_CLI_SHOW_H
#define MUSTER_CLI_SHOW_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "cli/ask.h"
#include "core/scaling.h"

/* A screen full, or a thousand pods' JSON. */
#define SHOW_TEXT_MAX (2 * STATUS_JSON_MAX)

enum show_colour { SHOW_PLAIN = 0, SHOW_GOOD, SHOW_WARN, SHOW_BAD };

struct show {
    struct buf *out; /* `failed` tells afterwards that it was too much */
    struct arena *arena;
    bool colour; /* the output is a terminal, and NO_COLOR (no-color.org) is not set */
};

/* Text in a colour, made safe as in cli/table.h. */
void show_text(const struct show *show, enum show_colour colour, const char *text);

/* "<label>: <text>", left out if the text is empty. */
void show_line(const struct show *show, const char *label, const char *text);

void show_status(const struct show *show, const struct cli_answer *answer);
void show_plan(const struct show *show, const struct cli_answer *answer);
void show_check(const struct show *show, const struct cli_answer *answer);
void show_scaling(const struct show *show, const char *note, const struct scaling *scaling);

/* As one line of JSON; the strings' characters beyond ASCII are escaped. */
void show_status_json(const struct show *show, const struct cli_answer *answer);
void show_plan_json(const struct show *show, const struct cli_answer *answer);
void show_check_json(const struct show *show, const struct cli_answer *answer);
void show_scaling_json(const struct show *show, const struct scaling *scaling);

#endif
