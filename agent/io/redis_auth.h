/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are to the servers: an ACL user (or the default user) and a password from a mounted file.
 * The file is looked at for every connection and read again when it changed, or when a server
 * refused what it said. While a rotation is under way some servers know the new password and some
 * the old one: both are kept, and tried in this order. Passwords are never formatted.
 */
#ifndef MUSTER_IO_REDIS_AUTH_H
#define MUSTER_IO_REDIS_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/limits.h"
#include "base/text.h"
#include "io/file_stamp.h"

struct peer_command;

struct redis_secret {
    char text[SECRET_MAX];
    size_t len; /* 0 = none */
};

/* The present password, and the one before it. */
#define REDIS_SECRETS 2

struct redis_auth {
    char *username;      /* "" = default; owned */
    char *password_file; /* "" = no AUTH; owned */
    struct redis_secret secrets[REDIS_SECRETS];
    struct file_stamp stamp; /* of the file as it was read */
    bool said;               /* that the file cannot be used was logged */
};

/* Copies both; NULL is "". Reads nothing yet. */
void redis_auth_init(struct redis_auth *auth, const char *username, const char *password_file);
void redis_auth_deinit(struct redis_auth *auth); /* wipes */

/*
 * Reads the file if it changed, with `force` in any case. A missing, empty or too large file keeps
 * the last password and is logged once. Trailing newlines are not part of it. True if the password
 * changed.
 */
bool redis_auth_refresh(struct redis_auth *auth, bool force);

/* How many passwords there are to try: 0 (no AUTH is to be sent), 1 or 2. */
size_t redis_auth_count(const struct redis_auth *auth);

/* The AUTH command with the nth password; borrows from `auth`. */
void redis_auth_command(const struct redis_auth *auth, size_t nth, struct peer_command *command);

#endif
