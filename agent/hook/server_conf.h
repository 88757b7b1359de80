/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server that COMMAND starts will load, learned as the server itself would: from its
 * configuration file (the first argument), the files that it includes, and its arguments, of which
 * the last wins; defaults as in redis.conf of 7.0.
 */
#ifndef MUSTER_HOOK_SERVER_CONF_H
#define MUSTER_HOOK_SERVER_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "wire/hook_proto.h"

#define SERVER_WORD_SIZE HOOK_PATH_SIZE

struct server_conf {
    char server[32]; /* "redis-server" or "valkey-server", "" if COMMAND does not show which */
    bool known;      /* COMMAND ends with the arguments of such a server */
    char error[HOOK_REASON_SIZE]; /* why something may have been missed; "" = nothing was */
    char dir[SERVER_WORD_SIZE];   /* "" = the working directory */
    char nodes_conf[SERVER_WORD_SIZE];
    char dbfilename[SERVER_WORD_SIZE];
    char appenddirname[SERVER_WORD_SIZE];
    char appendfilename[SERVER_WORD_SIZE];
    enum hook_truth cluster_enabled;
    enum hook_truth appendonly;
    enum hook_truth save;
};

/*
 * `argv` ends with NULL. A known server is argv[0], a word behind wrappers such as tini, gosu or
 * docker-entrypoint.sh, or implied by the latter (which puts the server before arguments that
 * begin with '-' or end with ".conf"). Of an unknown command nothing is known but the defaults of
 * names, with `error` set. Never fails: what cannot be read makes the truths unknown.
 */
void server_conf_read(char *const *argv, struct server_conf *ret_conf);

/*
 * The next word of a line as sdssplitargs() (sds.c of Redis) reads it: quotes, \n, \xff. 1 with
 * the word, 0 at the end of the line, -1 for unbalanced quotes or a word that does not fit.
 */
int server_conf_word(struct span *rest, char ret_word[SERVER_WORD_SIZE]);

#endif
