/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One collection of the Kubernetes API kept up to date: list, then watch from the list's version.
 *
 * A list is read page by page into a new snapshot which replaces the old one only when it is
 * complete. The watch asks for bookmarks and for an end after 240 to 300 s; KUBE_WATCH_SILENCE_MS
 * without a byte, 410 (as a status or as an ERROR event) and anything that cannot be decoded lead to
 * a new list. A watch that ends regularly goes on from the last version seen. Failures back off with
 * jitter; Retry-After is obeyed. (kubernetes.io, "Efficient detection of changes".)
 */
#ifndef MUSTER_IO_KUBE_WATCH_H
#define MUSTER_IO_KUBE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/kube_client.h"
#include "wire/kube_json.h"

struct kube_watch;

/* kube-apiserver sends a bookmark about each minute: two missed ones and a margin. */
#define KUBE_WATCH_SILENCE_MS 130000
/*
 * Tries of what the API refused or did not answer: 0.5 s apart, then 1 s, 2 s, ... at most the cap. A
 * cluster that waits for the API is formed that much later than it could be, so the cap is short
 * (client-go's reflector goes up to 30 s). A hundred agents with four watches then make 40 to 80
 * requests a second while nothing works, spread by jitter; kube-apiserver takes 600 at once
 * (--max-requests-inflight and --max-mutating-requests-inflight), and when that is too much it says
 * so: Retry-After comes on top.
 */
#define KUBE_WATCH_BACKOFF_MS 500
#define KUBE_WATCH_BACKOFF_CAP_MS 10000
#define KUBE_WATCH_BROKEN_MS 5000

/* Where the objects go. Callbacks only store; objects are borrowed for the call. */
struct kube_store {
    void (*on_begin)(void *ctx); /* a list starts: forget an unfinished one */
    void (*on_item)(void *ctx, const struct kube_object *object);
    void (*on_commit)(void *ctx); /* the list is complete: it is the truth now */
    void (*on_event)(void *ctx, enum kube_watch_type type, const struct kube_object *object);
    void (*on_state)(void *ctx); /* live, stale or denied changed; may be NULL */
    void *ctx;
};

struct kube_watch_config {
    const char *what;     /* "pods", for logs; borrowed for good */
    const char *group;    /* "" or "apps/v1"; borrowed for good */
    const char *resource; /* "pods"; borrowed for good */
    enum kube_kind kind;
    const char *label_selector; /* "" = none; copied */
    const char *field_selector; /* likewise */
    struct kube_store store;
    uint64_t seed;
    int64_t silence_ms; /* 0 = KUBE_WATCH_SILENCE_MS */
};

/* Starts at once. Owned by the caller; free before client and loop. */
struct kube_watch *kube_watch_new(struct loop *loop, struct kube_client *client,
                                  const struct kube_watch_config *config);

/* May be called from the store's callbacks. Accepts NULL. */
void kube_watch_free(struct kube_watch *watch);

/*
 * Versions are decimal numbers that grow (KEP-5504): true if `version` is lower than `than`. One that
 * is not a number is never called older.
 */
bool kube_version_is_older(const char *version, const char *than);

/* A complete list has been stored at least once. */
bool kube_watch_synced(const struct kube_watch *watch);

/* The watch is open after a complete list. */
bool kube_watch_live(const struct kube_watch *watch);

/* The last list or watch was refused with 401, 403 or 404: the rights or the kind are missing. */
bool kube_watch_denied(const struct kube_watch *watch);

/* Why it is not live, for people; "" while it is. Valid until the next turn of the loop. */
const char *kube_watch_problem(const struct kube_watch *watch);

/*
 * It was lost, and for KUBE_WATCH_BROKEN_MS nothing was read in its place: changes since then are not
 * known.
 */
bool kube_watch_broken(const struct kube_watch *watch);

/*
 * When the API last said anything (list, event, bookmark); clock_mono_ms, 0 = never. A watch that is
 * opened counts, unless the first that it says is that it cannot go on from its version.
 */
int64_t kube_watch_seen_ms(const struct kube_watch *watch);

#endif
