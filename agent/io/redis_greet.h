/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a connection is begun, as commands and replies: no connection here.
 *
 * A password is sent to nobody who has not shown what he is. With TLS the certificate did; without,
 * a PING is answered first, as Redis does it even before AUTH (-NOAUTH). So a server that wants TLS,
 * or whatever else listens at the address, never gets a password in plain text. The password of the
 * file comes first, then the one before it; a refusal makes us read the file once more.
 */
#ifndef MUSTER_IO_REDIS_GREET_H
#define MUSTER_IO_REDIS_GREET_H

#include <stdbool.h>
#include <stddef.h>

#include "io/peer.h"
#include "io/redis_auth.h"

enum greet_verdict {
    GREET_MORE = 1, /* send the next commands */
    GREET_IN,       /* the server takes our commands now */
    GREET_REFUSED,
};

struct redis_greet {
    struct redis_auth *auth; /* borrowed */
    bool proving;            /* the PING is what was sent */
    bool reread;             /* the file was read again for this server */
    size_t secret;           /* which password was sent */
};

#define GREET_COMMANDS_MAX 2

/* Looks at the password's file. `secure`: the server has shown what it is. */
void redis_greet_begin(struct redis_greet *greet, struct redis_auth *auth, bool secure);

/* What to send now; their number, 1 or 2. Words are constants or borrowed from `auth`. */
size_t redis_greet_commands(struct redis_greet *greet, struct peer_command *ret_commands);

/* Takes the replies to them. With GREET_REFUSED, *ret_why is a fixed sentence. */
enum greet_verdict redis_greet_take(struct redis_greet *greet, const struct reply *replies,
                                    size_t count, const char **ret_why);

#endif
