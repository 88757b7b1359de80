/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include <inttypes.h>
#include <string.h>

#include "cli/table.h"
#include "core/plan.h"
#include "wire/scaling_json.h"
#include "wire/status_json.h"

void show_text(const struct show *show, enum show_colour colour, const char *text)
{
    static const char *const codes[] = {"", "\033[32m", "\033[33m", "\033[31m"};
    bool coloured = show->colour && colour != SHOW_PLAIN;
    if (coloured)
        (void)buf_append_str(show->out, codes[colour]);
    cli_put_safe(show->out, span_of(text));
    if (coloured)
        (void)buf_append_str(show->out, "\033[0m");
}

void show_line(const struct show *show, const char *label, const char *text)
{
    if (!text[0])
        return;
    (void)buf_format(show->out, "%s: ", label);
    cli_put_safe(show->out, span_of(text));
    (void)buf_append_str(show->out, "\n");
}

static const char *or_dash(const char *text)
{
    return text[0] ? text : "-";
}

/* ---- plan ---- */

void show_plan(const struct show *show, const struct cli_answer *answer)
{
    const struct status *s = &answer->status;
    show_line(show, "note", answer->note);
    show_line(show, "leader", or_dash(s->leader));
    show_line(show, "rule", or_dash(s->plan_rule));
    show_line(show, "now", or_dash(s->plan_reason));
    (void)buf_append_str(show->out, s->plan_action_count ? "actions:\n" : "actions: none\n");
    for (size_t i = 0; i < s->plan_action_count; i++) {
        (void)buf_append_str(show->out, "  ");
        cli_put_safe(show->out, span_of(s->plan_actions[i]));
        (void)buf_append_str(show->out, "\n");
    }
    (void)buf_append_str(show->out,
                         "\nThe rules, in their order; the first that speaks gives the reason:\n");
    size_t width = 0;
    for (size_t i = 0; plan_rule_name(i); i++)
        width = strlen(plan_rule_name(i)) > width ? strlen(plan_rule_name(i)) : width;
    for (size_t i = 0; plan_rule_name(i); i++) {
        bool here = strcmp(plan_rule_name(i), s->plan_rule) == 0;
        (void)buf_format(show->out, "%s %-*s  %s\n", here ? ">" : " ", (int)width,
                         plan_rule_name(i), plan_rule_purpose(i));
    }
}

/* ---- check ---- */

static const char *check_text(enum check check)
{
    switch (check) {
    case CHECK_HEALTHY:
        return "healthy";
    case CHECK_PROMISE:
        return "works, but a promise is not held";
    case CHECK_BROKEN:
        return "broken";
    case CHECK_UNKNOWN:
        break;
    }
    return "cannot tell";
}

static enum show_colour check_colour(enum check check)
{
    if (check == CHECK_HEALTHY)
        return SHOW_GOOD;
    return check == CHECK_BROKEN ? SHOW_BAD : SHOW_WARN;
}

static const char *held_text(enum held held)
{
    static const char *const texts[] = {"?    ", "NOT  ", "ok   ", "-    "};
    return texts[held];
}

static enum show_colour held_colour(enum held held)
{
    static const enum show_colour colours[] = {SHOW_WARN, SHOW_BAD, SHOW_GOOD, SHOW_PLAIN};
    return colours[held];
}

void show_check(const struct show *show, const struct cli_answer *answer)
{
    const struct status *s = &answer->status;
    show_line(show, "note", answer->note);
    show_text(show, check_colour(s->check), check_text(s->check));
    (void)buf_append_str(show->out, "\n");
    for (int i = 0; i < PROMISE_COUNT; i++) {
        const struct promise *p = &s->promises[i];
        show_text(show, held_colour(p->held), held_text(p->held));
        (void)buf_format(show->out, "%-10s %s", promise_key((enum promise_kind)i),
                         promise_text((enum promise_kind)i));
        if (p->why[0]) {
            (void)buf_append_str(show->out, ": ");
            cli_put_safe(show->out, span_of(p->why));
        }
        (void)buf_append_str(show->out, "\n");
    }
}

/* ---- JSON ---- */

/* The first character of a well-formed UTF-8 text, and its length. */
static uint32_t utf8_take(const char *text, size_t *ret_len)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    uint32_t code = p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (p[i] & 0x3fu);
    *ret_len = len;
    return code;
}

/* status_json.h's line, which is UTF-8, in ASCII: some terminals obey U+009B as they obey ESC [. */
static void put_ascii_json(const struct show *show, const struct buf *json)
{
    for (size_t i = 0; i < json->len;) {
        size_t len = 1;
        if ((unsigned char)json->bytes[i] < 0x80) {
            (void)buf_append(show->out, &json->bytes[i], 1);
        } else {
            uint32_t code = utf8_take(json->bytes + i, &len);
            if (code >= 0x10000)
                (void)buf_format(show->out, "\\u%04" PRIx32 "\\u%04" PRIx32,
                                 0xd800 + ((code - 0x10000) >> 10), 0xdc00 + (code & 0x3ff));
            else
                (void)buf_format(show->out, "\\u%04" PRIx32, code);
        }
        i += len;
    }
    (void)buf_append_str(show->out, "\n");
}

static void put_json(const struct show *show, int (*format)(struct buf *, const struct status *),
                     const struct status *status)
{
    auto_buf struct buf json;
    buf_init(&json, STATUS_JSON_MAX);
    if (format(&json, status) == 0)
        put_ascii_json(show, &json);
    else
        show->out->failed = true;
}

void show_status_json(const struct show *show, const struct cli_answer *answer)
{
    put_json(show, status_json_format, &answer->status);
}

void show_plan_json(const struct show *show, const struct cli_answer *answer)
{
    put_json(show, status_json_format_plan, &answer->status);
}

void show_check_json(const struct show *show, const struct cli_answer *answer)
{
    put_json(show, status_json_format_check, &answer->status);
}

void show_scaling_json(const struct show *show, const struct scaling *scaling)
{
    auto_buf struct buf json;
    buf_init(&json, STATUS_JSON_MAX);
    if (scaling_json_format(&json, scaling) == 0)
        put_ascii_json(show, &json);
    else
        show->out->failed = true;
}
