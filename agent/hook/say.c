/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define MSG_SIZE 1024
#define LINE_MAX_BYTES 4096

static void append_quoted(struct buf *line, const char *text)
{
    (void)buf_append(line, "\"", 1);
    for (; *text; text++) {
        char c = *text;
        if (c == '"' || c == '\\')
            (void)buf_append(line, "\\", 1);
        else if ((unsigned char)c < ' ' || c == 0x7f)
            c = '?';
        (void)buf_append(line, &c, 1);
    }
    (void)buf_append(line, "\"", 1);
}

__attribute__((format(printf, 3, 0))) static void say(const char *level, const char *event,
                                                      const char *fmt, va_list args)
{
    char msg[MSG_SIZE];
    struct timespec now;
    struct tm utc;
    (void)vsnprintf(msg, sizeof msg, fmt, args);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    auto_buf struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    /* strftime() would make the program a tenth larger */
    (void)buf_format(&line, "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     (int)(now.tv_nsec / 1000000));
    (void)buf_format(&line, " level=%s program=muster-hook event=%s msg=", level, event);
    append_quoted(&line, msg);
    (void)buf_append(&line, "\n", 1);
    /* a log that cannot be written must not keep a server from starting */
    ssize_t n = write(STDERR_FILENO, buf_str(&line), line.len);
    (void)n;
}

void say_info(const char *event, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say("info", event, fmt, args);
    va_end(args);
}

void say_warn(const char *event, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say("warn", event, fmt, args);
    va_end(args);
}

void say_error(const char *event, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say("error", event, fmt, args);
    va_end(args);
}
