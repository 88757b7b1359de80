/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event on stderr, key=value (logfmt) or JSON, made for `kubectl logs -f`:
 *
 *   ts=2026-11-21T10:15:02.123Z level=info pod=muster-0 event=formed msg="..." nodes=6
 *
 * Only agent.c, main.c and the connection owners of io log; base, core and wire return values.
 * Values are quoted and escaped, so no input can forge a line.
 *
 * A line (event and values) that is said again within LOG_REPEAT_MS is left out and counted: the next
 * one carries repeats=N. Lines that tell a state name their topic by LOG_ABOUT: such a line is left
 * out only if it was the last one of its topic, so what stands there is what holds. A state that
 * comes and goes without end is printed LOG_RETURNS_MAX times a minute; then the line is held, and
 * printed once the minute is over if it still holds.
 */
#ifndef MUSTER_BASE_LOG_H
#define MUSTER_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR = 1, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_LOGFMT = 1, LOG_JSON };

#define LOG_REPEAT_MS 60000
#define LOG_RETURNS_MAX 5

struct log_field {
    const char *key;
    const char *text; /* used when not NULL */
    int64_t number;   /* else this */
};

#define LOG_S(key, text) ((struct log_field){(key), (text), 0})
#define LOG_I(key, number) ((struct log_field){(key), NULL, (number)})
/* Is not printed; several together are one topic: LOG_ABOUT("server"), LOG_ABOUT(ip). */
#define LOG_ABOUT(text) ((struct log_field){"", (text), 0})

/* `pod` (borrowed for the process's life, may be NULL) is put on each line. */
void log_setup(enum log_level level, enum log_format format, const char *pod);

/* Wall-clock milliseconds since 1970, read by the caller's clock; base reads no clock. */
void log_set_clock(int64_t (*unix_ms)(void));

bool log_enabled(enum log_level level);

/* `fields` end with one whose key is NULL; use the macro, which needs at least one field. */
void log_event(enum log_level level, const char *event, const struct log_field *fields);

#define LOG(level, event, ...)                                                         \
    do {                                                                               \
        if (log_enabled(level))                                                        \
            log_event((level), (event), (const struct log_field[]){__VA_ARGS__, {0}}); \
    } while (0)

/* Prints what was held and still holds; to be called now and then. */
void log_tick(void);

/* The formatter behind log_event, for tests: one line with its newline into `out`. */
struct buf;
void log_format_line(struct buf *out, int64_t unix_ms, enum log_level level, const char *event,
                     const struct log_field *fields);

#endif
