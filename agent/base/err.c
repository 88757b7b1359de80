/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

const char *err_text(int code)
{
    switch ((enum err_code)code) {
    case E_OK:
        return "ok";
    case ERR_BASE:
        break;
#define X(name, text) \
    case name:        \
        return text;
        ERR_CODES(X)
#undef X
    }
    return "unknown error";
}

__attribute__((format(printf, 3, 0))) static void err_vset(struct err *err, int code,
                                                           const char *fmt, va_list args)
{
    err->code = code;
    (void)vsnprintf(err->msg, sizeof err->msg, fmt, args);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        err_vset(err, code, fmt, args);
        va_end(args);
    }
    return code;
}

int err_errno(struct err *err, int errnum, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        err_vset(err, E_SYSTEM, fmt, args);
        va_end(args);
        size_t used = strlen(err->msg);
        (void)snprintf(err->msg + used, sizeof err->msg - used, ": %s", strerror(errnum));
    }
    return E_SYSTEM;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err)
        return E_SYSTEM;
    char inner[ERR_MSG_SIZE];
    memcpy(inner, err->msg, sizeof inner);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->msg, sizeof err->msg, fmt, args);
    va_end(args);
    size_t used = strlen(err->msg);
    (void)snprintf(err->msg + used, sizeof err->msg - used, ": %s", inner);
    return err->code;
}
