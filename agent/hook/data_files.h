/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the data directory: nodes.conf, and whether the data set that the server will load is
 * there and holds anything. An RDB file of an empty server is there too, so its first opcodes are
 * read: a primary that comes back with such a file has lost its data as surely as without.
 */
#ifndef MUSTER_HOOK_DATA_FILES_H
#define MUSTER_HOOK_DATA_FILES_H

#include "base/buf.h"
#include "hook/server_conf.h"
#include "wire/hook_proto.h"

/*
 * Fills the facts about the directory `dir` of a server with this configuration. Never fails: what
 * cannot be read is said in the facts.
 */
void data_files_read(const char *dir, const struct server_conf *conf, struct hook_facts *facts);

/*
 * Does an RDB file hold a database? FALSE if it ends behind its header and functions; UNKNOWN if it
 * is not of a known form (rdb.h of Redis 7.0 to 8.0 and Valkey 7.2 to 9.1). *ret_bytes is its size.
 * E_NOT_FOUND and E_SYSTEM leave both untouched.
 */
must_check int data_files_rdb(const char *path, enum hook_truth *ret_keys, int64_t *ret_bytes,
                              struct err *err);

#endif
