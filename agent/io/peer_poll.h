/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server is asked, and what its replies make of struct server. No connection here: commands
 * and replies are values.
 */
#ifndef MUSTER_IO_PEER_POLL_H
#define MUSTER_IO_PEER_POLL_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "core/action.h"
#include "core/world.h"
#include "io/peer.h"

enum poll_ask {
    POLL_BEAT = 1 << 0,     /* INFO replication */
    POLL_LIGHT = 1 << 1,    /* INFO, CLUSTER MYID, CLUSTER INFO; contains the beat */
    POLL_FULL = 1 << 2,     /* CLUSTER NODES; with POLL_LIGHT only */
    POLL_SETTINGS = 1 << 3, /* CONFIG GET and INFO persistence; with POLL_LIGHT only */
    POLL_WIDE = 1 << 4,     /* INFO with all its usual sections; with POLL_LIGHT only */
};

/* The commands of a poll; returns their number. Words are constants; INFO is the first. */
size_t poll_commands(unsigned ask, struct peer_command *ret_commands);

/* What an error reply says of the server: REACH_LOADING, REACH_DENIED or REACH_ERROR. */
enum reach poll_reach_of(struct span error);

/*
 * An error reply for people. What a user may not do (NOPERM) becomes the right that is missing, as
 * ACL SETUSER wants it: "the ACL user lacks +cluster|nodes".
 */
#define POLL_REFUSAL_SIZE 200
void poll_refusal(struct span error, char dst[POLL_REFUSAL_SIZE]);

/*
 * Takes the replies to poll_commands(ask) into *server; with POLL_FULL the view goes to *view, whose
 * arrays are put into `arena`. 0, or a code with *ret_reach set to what the server is then; *server
 * and *view are then undefined. A refused CONFIG GET leaves the settings unknown, that is no failure.
 */
must_check int poll_take(unsigned ask, const struct reply *replies, size_t count,
                         struct server *server, struct view *view, struct arena *arena,
                         enum reach *ret_reach, struct err *err);

/* What is known of a server before its settings were asked; and of another process, its persistence. */
void poll_forget_settings(struct server *server);
void poll_forget_process(struct server *server);

/* Hash of what CLUSTER INFO and INFO say of the cluster, which another view would change too. */
uint64_t poll_figures(const struct server *server);

/* Hash of what a turn would decide upon: no times, offsets or byte counts. */
uint64_t poll_digest(const struct server *server);

/* The commands that re-read an action's preconditions, and what they say. */
size_t probe_commands(struct peer_command *ret_commands);
must_check int probe_take(const struct reply *replies, size_t count, struct probe *ret_probe,
                          struct err *err);

#endif
