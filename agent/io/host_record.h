/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This agent's copy of the record, without Kubernetes: a file, replaced atomically. The text is kept
 * as it was written or fetched, byte for byte, and its hash names it: agents of two releases then
 * call one record by one name. core/hosts.h says which copies may replace which.
 */
#ifndef MUSTER_IO_HOST_RECORD_H
#define MUSTER_IO_HOST_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "core/record.h"
#include "io/loop.h"
#include "io/record_client.h"

struct host_record;

/*
 * Reads the file at `path`, copied; a missing one is no record, one that cannot be read is a problem
 * that host_record_problem() tells. Never NULL. Owned by the caller; free after the executor and
 * before the loop.
 */
struct host_record *host_record_new(struct loop *loop, const char *path);
void host_record_free(struct host_record *record);

/* NULL if there is none. All valid until the next take or put. */
const struct record *host_record_get(const struct host_record *record);
struct span host_record_text(const struct host_record *record);    /* "" if there is none */
uint64_t host_record_hash(const struct host_record *record);       /* 0 if there is none */
const char *host_record_version(const struct host_record *record); /* for the next put */
const char *host_record_problem(const struct host_record *record); /* "" if there is none */

/* Somebody holds a record of this generation: what is put next is above it. */
void host_record_heard(struct host_record *record, int64_t generation);

/*
 * Takes another agent's copy. `empty`: as hosts_may_take(). E_CONFLICT with its sentence if it may
 * not replace ours, E_INVALID if it cannot be read, E_SYSTEM if the file cannot be written.
 */
must_check int host_record_take(struct host_record *record, struct span text, bool empty,
                                struct err *err);

/*
 * Writes a record under the next generation; like record_client_put(), with the version that the
 * writer knew. E_CONFLICT if our copy is another by now. On success `on_done` comes once, not from
 * within.
 */
must_check int host_record_put(struct host_record *record, const struct record *from,
                               const char *version, record_done_fn on_done, void *ctx,
                               struct err *err);

#endif
