/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/text.h"

/* Of so many lines it is remembered when they were said last; the longest unsaid one goes first. */
#define LOG_SAID_MAX 128
#define LOG_LINE_MAX KIB(16)

struct log_said {
    uint64_t line;      /* hash */
    uint64_t topic;     /* likewise; the line's own if it has none */
    uint64_t order;     /* of the last time it was said; 0 = free */
    int64_t printed_ms; /* when it was printed last */
    int64_t repeats;    /* how often it was left out since */
    int64_t since_ms;   /* `returns` counts from then */
    unsigned returns;   /* how often it was printed again because the state had come back */
    char *held;         /* owned; a return too many */
};

static struct {
    enum log_level level;
    enum log_format format;
    const char *pod;
    int64_t (*unix_ms)(void);
    struct log_said said[LOG_SAID_MAX];
    uint64_t order;
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
        if (!f->key[0])
            continue; /* LOG_ABOUT */
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

/* 0 = of none. */
static uint64_t log_topic(const struct log_field *fields)
{
    uint64_t hash = 0;
    for (const struct log_field *f = fields; f->key; f++)
        if (!f->key[0])
            hash = text_hash(hash ? hash : TEXT_HASH_SEED, f->text, strlen(f->text) + 1);
    return hash;
}

static bool log_is_within(int64_t since_ms, int64_t now_ms)
{
    return now_ms >= since_ms && now_ms - since_ms < LOG_REPEAT_MS;
}

/* No other line of its topic was said later: what it tells holds. */
static bool log_holds(const struct log_said *said)
{
    for (size_t i = 0; i < LOG_SAID_MAX; i++)
        if (log_state.said[i].topic == said->topic && log_state.said[i].order > said->order)
            return false;
    return true;
}

static void log_print(const char *line, size_t len)
{
    (void)fwrite(line, 1, len, stderr);
}

/* The held line is printed if it holds, else forgotten. */
static void log_let_go(struct log_said *said, int64_t now_ms)
{
    if (said->held && log_holds(said)) {
        log_print(said->held, strlen(said->held));
        said->printed_ms = said->since_ms = now_ms;
        said->repeats = 0;
        said->returns = 0;
    }
    free(said->held);
    said->held = NULL;
}

static struct log_said *log_find(uint64_t line, uint64_t topic)
{
    struct log_said *said = log_state.said;
    while (said < log_state.said + LOG_SAID_MAX &&
           (!said->order || said->line != line || said->topic != topic))
        said++;
    return said < log_state.said + LOG_SAID_MAX ? said : NULL;
}

/* An entry for a line that was not said lately. */
static struct log_said *log_add(uint64_t line, uint64_t topic, int64_t now_ms)
{
    struct log_said *said = log_state.said;
    for (size_t i = 1; i < LOG_SAID_MAX; i++)
        if (log_state.said[i].order < said->order)
            said = &log_state.said[i];
    log_let_go(said, now_ms);
    *said = (struct log_said){
        .line = line, .topic = topic, .since_ms = now_ms, .printed_ms = now_ms - LOG_REPEAT_MS};
    return said;
}

enum log_verdict { LOG_PRINT = 1, LOG_HOLD, LOG_LEAVE_OUT };

static enum log_verdict log_judge(struct log_said *said, int64_t now_ms)
{
    bool holds = log_holds(said);
    said->order = ++log_state.order;
    if (!log_is_within(said->printed_ms, now_ms))
        return LOG_PRINT;
    if (holds)
        return LOG_LEAVE_OUT;
    if (!log_is_within(said->since_ms, now_ms)) {
        said->since_ms = now_ms;
        said->returns = 0;
    }
    return said->returns++ < LOG_RETURNS_MAX ? LOG_PRINT : LOG_HOLD;
}

static void log_say(struct log_said *said, enum log_verdict verdict, const char *line, size_t len,
                    int64_t now_ms)
{
    free(said->held);
    said->held = NULL;
    if (verdict == LOG_HOLD) {
        said->held = xstrndup(line, len);
        said->repeats++;
        return;
    }
    log_print(line, len);
    said->printed_ms = now_ms;
    said->repeats = 0;
}

static int64_t log_now_ms(void)
{
    return log_state.unix_ms ? log_state.unix_ms() : 0;
}

void log_tick(void)
{
    int64_t now_ms = log_now_ms();
    for (size_t i = 0; i < LOG_SAID_MAX; i++)
        if (log_state.said[i].held && !log_is_within(log_state.said[i].since_ms, now_ms))
            log_let_go(&log_state.said[i], now_ms);
}

void log_event(enum log_level level, const char *event, const struct log_field *fields)
{
    if (!log_enabled(level))
        return;
    log_tick();
    int64_t now_ms = log_now_ms();
    uint64_t hash = log_hash(event, fields);
    uint64_t topic = log_topic(fields);
    topic = topic ? topic : hash;
    struct log_said *said = log_find(hash, topic);
    if (!said)
        said = log_add(hash, topic, now_ms);
    enum log_verdict verdict = log_judge(said, now_ms);
    if (verdict == LOG_LEAVE_OUT) {
        said->repeats++;
        return;
    }
    struct log_field all[32];
    size_t count = 0;
    for (const struct log_field *f = fields; f->key && count < ARRAY_LEN(all) - 2; f++)
        all[count++] = *f;
    if (said->repeats)
        all[count++] = LOG_I("repeats", said->repeats);
    all[count] = (struct log_field){0};
    auto_buf struct buf line;
    buf_init(&line, LOG_LINE_MAX);
    log_format_line(&line, now_ms, level, event, all);
    log_say(said, verdict, buf_str(&line), line.len, now_ms);
}
