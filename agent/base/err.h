/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors as values.
 *
 * A fallible function returns 0 or one of the negative codes below, takes `struct err *err` last,
 * and leaves its outputs untouched when it fails. The message is built in a fixed buffer on the
 * caller's stack, so failing never allocates; context is put in front as the error rises:
 * "watch pods: list: HTTP 403: pods is forbidden".
 */
#ifndef MUSTER_BASE_ERR_H
#define MUSTER_BASE_ERR_H

#define ERR_CODES(X)                \
    X(E_INVALID, "invalid input")   \
    X(E_LIMIT, "limit exceeded")    \
    X(E_PROTO, "protocol error")    \
    X(E_TIMEOUT, "timed out")       \
    X(E_UNREACHABLE, "unreachable") \
    X(E_AUTH, "not authorised")     \
    X(E_NOT_FOUND, "not found")     \
    X(E_CONFLICT, "conflict")       \
    X(E_GONE, "gone")               \
    X(E_BUSY, "busy")               \
    X(E_SYSTEM, "system error")

/* Codes are negative so that `< 0` means failure; 0 is success. */
enum err_code {
    E_OK = 0,
    ERR_BASE = -12, /* one below the first code; the table counts up from here */
#define X(name, text) name,
    ERR_CODES(X)
#undef X
};

#define ERR_MSG_SIZE 256

struct err {
    int code; /* an enum err_code, E_OK while unset */
    char msg[ERR_MSG_SIZE];
};

#define must_check __attribute__((warn_unused_result))
#define format_like(fmt, args) __attribute__((format(printf, fmt, args)))

/* Fixed text of a code: "timed out". Never NULL. */
const char *err_text(int code);

/*
 * Sets code and message and returns the code, so that a failing line reads
 * `return err_set(err, E_LIMIT, "line longer than %d bytes", max);`. `err` may be NULL.
 */
int err_set(struct err *err, int code, const char *fmt, ...) format_like(3, 4);

/* E_SYSTEM with errno's text behind the message. Call it on the line after the failing call. */
int err_errno(struct err *err, int errnum, const char *fmt, ...) format_like(3, 4);

/* Puts "<context>: " in front of the message and returns the code that is already set. */
int err_wrap(struct err *err, const char *fmt, ...) format_like(2, 3);

#endif
