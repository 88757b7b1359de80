/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/text.h"

/* Lines of different kinds that may alternate without defeating the suppression of repeats. */
#define LOG_RECENT 16

struct log_recent {
    uint64_t hash;
    int64_t printed_ms;
    int64_t repeats;
};

static struct {
    enum log_level level;
    enum log_format format;
    const char *pod;
    int64_t (*unix_ms)(void);
    struct log_recent recent[LOG_RECENT];
    size_t recent_next;
} log_state = {.level = LOG_INFO, .format = LOG_LOGFMT};

void log_setup(enum log_level level, enum log_format format, const char *pod)
{
    log_state.level = level;
    log_state.format = format;
    log_state.pod = pod;
}

void log_set_clock(int64_t (*unix_ms)(void))
{
    log_state.unix_ms = unix_ms;
}

bool log_enabled(enum log_level level)
{
    return level <= log_state.level;
}

static const char *log_level_name(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARN:
        return "warn";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        return "debug";
    }
    return "unknown";
}

/* As JSON escapes a code point; what is not UTF-8 is told as U+FFFD. */
static void log_put_escaped(struct buf *out, unsigned code)
{
    if (code >= 0x10000) {
        code -= 0x10000;
        (void)buf_format(out, "\\u%04x", 0xd800 + (code >> 10));
        code = 0xdc00 + (code & 0x3ff);
    }
    (void)buf_format(out, "\\u%04x", code);
}

/*
 * Quotes and escapes: a value can neither end the line nor open a new key. Only printable ASCII stays
 * as it is: beyond it are a terminal's control characters, and letters that change the direction.
 */
static void log_put_quoted(struct buf *out, const char *text)
{
    struct span rest = span_of(text);
    (void)buf_append_str(out, "\"");
    while (rest.len) {
        unsigned code = 0xfffd;
        size_t len = text_utf8(rest, &code);
        if (code == '"' || code == '\\')
            (void)buf_format(out, "\\%c", (int)code);
        else if (code == '\n')
            (void)buf_append_str(out, "\\n");
        else if (code >= ' ' && code <= '~')
            (void)buf_append(out, rest.ptr, 1);
        else
            log_put_escaped(out, code);
        len = len ? len : 1;
        rest = (struct span){rest.ptr + len, rest.len - len};
    }
    (void)buf_append_str(out, "\"");
}

static void log_put_key(struct buf *out, const char *key)
{
    if (log_state.format == LOG_JSON)
        (void)buf_format(out, "%s\"%s\":", out->len ? "," : "{", key);
    else
        (void)buf_format(out, "%s%s=", out->len ? " " : "", key);
}

static void log_put_text(struct buf *out, const char *key, const char *text)
{
    struct span span = span_of(text);
    log_put_key(out, key);
    if (log_state.format == LOG_LOGFMT && span.len && text_is_plain(span) &&
        span_find(span, '=') < 0)
        (void)buf_append_str(out, text);
    else
        log_put_quoted(out, text);
}

static void log_put_number(struct buf *out, const char *key, int64_t number)
{
    log_put_key(out, key);
    (void)buf_format(out, "%" PRId64, number);
}

/* Civil date of a day number since 1970-01-01, after Howard Hinnant's "chrono-compatible" paper. */
static void log_put_time(struct buf *out, int64_t unix_ms)
{
    int64_t seconds = unix_ms / 1000;
    int64_t z = seconds / 86400 + 719468;
    int64_t era = z / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int64_t day = doy - (153 * mp + 2) / 5 + 1;
    int64_t month = mp < 10 ? mp + 3 : mp - 9;
    int64_t year = yoe + era * 400 + (month <= 2 ? 1 : 0);
    int64_t s = seconds % 86400;
    char stamp[64];
    (void)snprintf(stamp, sizeof stamp,
                   "%04" PRId64 "-%02" PRId64 "-%02" PRId64 "T%02" PRId64 ":%02" PRId64
                   ":%02" PRId64 ".%03" PRId64 "Z",
                   year, month, day, s / 3600, s / 60 % 60, s % 60, unix_ms % 1000);
    log_put_text(out, "ts", stamp);
}

void log_format_line(struct buf *out, int64_t unix_ms, enum log_level level, const char *event,
                     const struct log_field *fields)
{
    log_put_time(out, unix_ms);
    log_put_text(out, "level", log_level_name(level));
    if (log_state.pod)
        log_put_text(out, "pod", log_state.pod);
    log_put_text(out, "event", event);
    for (const struct log_field *f = fields; f->key; f++) {
        if (f->text)
            log_put_text(out, f->key, f->text);
        else
            log_put_number(out, f->key, f->number);
    }
    (void)buf_append_str(out, log_state.format == LOG_JSON ? "}\n" : "\n");
}

static uint64_t log_hash(const char *event, const struct log_field *fields)
{
    uint64_t hash = text_hash(TEXT_HASH_SEED, event, strlen(event));
    for (const struct log_field *f = fields; f->key; f++) {
        hash = text_hash(hash, f->key, strlen(f->key));
        if (f->text)
            hash = text_hash(hash, f->text, strlen(f->text));
        else
            hash = text_hash(hash, &f->number, sizeof f->number);
    }
    return hash;
}

/* True if the line is to be printed; *ret_repeats is how often it was held back since the last. */
static bool log_admit(uint64_t hash, int64_t now_ms, int64_t *ret_repeats)
{
    for (size_t i = 0; i < LOG_RECENT; i++) {
        struct log_recent *r = &log_state.recent[i];
        if (r->hash != hash)
            continue;
        if (now_ms - r->printed_ms < LOG_REPEAT_MS && now_ms >= r->printed_ms) {
            r->repeats++;
            return false;
        }
        *ret_repeats = r->repeats;
        *r = (struct log_recent){hash, now_ms, 0};
        return true;
    }
    log_state.recent[log_state.recent_next] = (struct log_recent){hash, now_ms, 0};
    log_state.recent_next = (log_state.recent_next + 1) % LOG_RECENT;
    *ret_repeats = 0;
    return true;
}

void log_event(enum log_level level, const char *event, const struct log_field *fields)
{
    if (!log_enabled(level))
        return;
    int64_t now_ms = log_state.unix_ms ? log_state.unix_ms() : 0;
    int64_t repeats;
    if (!log_admit(log_hash(event, fields), now_ms, &repeats))
        return;
    struct log_field all[32];
    size_t count = 0;
    for (const struct log_field *f = fields; f->key && count < ARRAY_LEN(all) - 2; f++)
        all[count++] = *f;
    if (repeats)
        all[count++] = LOG_I("repeats", repeats);
    all[count] = (struct log_field){0};
    auto_buf struct buf line;
    buf_init(&line, KIB(16));
    log_format_line(&line, now_ms, level, event, all);
    (void)fwrite(buf_str(&line), 1, line.len, stderr);
}
