/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are to the servers: an ACL user (or the default user) and a password from a mounted file.
 * The file is read again when a server refuses the password. The password is never formatted.
 */
#ifndef MUSTER_IO_REDIS_AUTH_H
#define MUSTER_IO_REDIS_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/text.h"

struct redis_auth {
    char *username;      /* "" = default; owned */
    char *password_file; /* "" = no AUTH; owned */
    char password[SECRET_MAX];
    size_t password_len; /* 0 = none known */
    int64_t read_ms;
};

void redis_auth_init(struct redis_auth *auth, const char *username, const char *password_file);
void redis_auth_deinit(struct redis_auth *auth); /* wipes */

/*
 * Reads the file again, at most once a second; a missing or empty file keeps the last password. A
 * trailing newline is not part of it. True if the password changed.
 */
bool redis_auth_reload(struct redis_auth *auth, int64_t now_ms);

/* True when an AUTH is to be sent. */
bool redis_auth_wanted(const struct redis_auth *auth);

#endif
