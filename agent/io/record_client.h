/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the record, the ConfigMap `<statefulset>-muster`, by compare-and-swap: PUT with the
 * resourceVersion that the writer knew, or POST when it knew that there was none.
 */
#ifndef MUSTER_IO_RECORD_CLIENT_H
#define MUSTER_IO_RECORD_CLIENT_H

#include <stdbool.h>

#include "base/err.h"
#include "core/record.h"
#include "io/kube_client.h"

struct record_client;

/*
 * The end of a write. err->code E_OK: written, `version` is the new resourceVersion; E_CONFLICT:
 * somebody was faster (or it exists already, or is gone); other codes: perhaps written, the watch
 * will tell. Borrowed for the call.
 */
typedef void (*record_done_fn)(void *ctx, const char *version, const struct err *err);

/* Owned by the caller; free before the client. */
struct record_client *record_client_new(struct kube_client *client);
void record_client_free(struct record_client *records);

/* The ConfigMap's name, copied; without one a put fails with E_NOT_FOUND. */
void record_client_follow(struct record_client *records, const char *name);

bool record_client_busy(const struct record_client *records);

/*
 * Asks the API, not what a watch has told so far, for the resourceVersion of now; `version` "" when there is
 * none or err->code is not E_OK. One at a time: E_BUSY. `on_done` comes once, never from within.
 */
must_check int record_client_look(struct record_client *records, record_done_fn on_done, void *ctx,
                                  struct err *err);

/*
 * Starts the write; `version` "" creates. One at a time: E_BUSY. E_LIMIT when the record is larger
 * than an object may be. On success `on_done` comes once, never from within.
 */
must_check int record_client_put(struct record_client *records, const struct record *record,
                                 const char *version, record_done_fn on_done, void *ctx,
                                 struct err *err);

#endif
