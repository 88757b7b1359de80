/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the Kubernetes API says: our StatefulSet, its pods, where they run, and the record.
 *
 *   own pod (GET) -> controller StatefulSet's name, unless configured
 *   StatefulSet   by metadata.name      -> selector, serviceName, uid
 *   pods          by the set's selector
 *                 (in a large set by the leader only, see io/kube_crowd.h)
 *   EndpointSlices by kubernetes.io/service-name: zones; without the right to read them the zones
 *                 stay unknown where the pods' label does not give them
 *   ConfigMap     <statefulset>-muster by metadata.name: the record
 *
 * When the set's uid, selector or service changes, what hangs on it starts anew.
 */
#ifndef MUSTER_IO_KUBE_STATE_H
#define MUSTER_IO_KUBE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/record.h"
#include "core/world.h"
#include "io/kube_client.h"
#include "io/loop.h"
#include "wire/kube_json.h"

struct kube_state;

struct kube_state_config {
    const char *pod_name;     /* own; copied */
    const char *stateful_set; /* "" = the own pod's controller; copied */
    uint64_t seed;
    void (*on_change)(void *ctx); /* something below changed; only to be noted */
    void *ctx;
};

/* Starts at once. Owned by the caller; free before client and loop. */
struct kube_state *kube_state_new(struct loop *loop, struct kube_client *client,
                                  const struct kube_state_config *config);
void kube_state_free(struct kube_state *state);

/* Whether this agent leads: in a large set only the leader watches the pods (io/kube_crowd.h). */
void kube_state_lead(struct kube_state *state, bool leading);

/*
 * The set as the API last told it, also after it was deleted: its pods may outlive it. NULL while it
 * was never seen.
 */
const struct kube_stateful_set *kube_state_set(const struct kube_state *state);

/* The API says that there is no set of that name now. */
bool kube_state_set_absent(const struct kube_state *state);

/* The set's name as soon as it is known, "" before: names of Lease and record follow from it. */
const char *kube_state_set_name(const struct kube_state *state);

/*
 * The pods of the last complete knowledge, by name, ours and others that match the selector (see
 * kube_pod.controller). Valid until the next turn of the loop.
 */
const struct kube_pod *kube_state_pods(const struct kube_state *state, size_t *ret_count);

/* NULL if unknown. */
const struct kube_pod *kube_state_find_pod(const struct kube_state *state, const char *name);

/* The pod's zone by its label, else by its endpoint; "" = unknown. */
const char *kube_state_zone(const struct kube_state *state, const struct kube_pod *pod);

/* kube_zones_pending() for a pod without a label. */
bool kube_state_zone_pending(const struct kube_state *state, const struct kube_pod *pod);

/*
 * The record. PRESENT with `*ret_record` NULL: it is there and cannot be read (see
 * kube_state_problem). The record is valid until the next turn of the loop.
 */
enum presence kube_state_record(const struct kube_state *state, const struct record **ret_record);

/* The last record that could be read, also after it was deleted; NULL = none yet. */
const struct record *kube_state_record_copy(const struct kube_state *state);

/* The ConfigMap's resourceVersion for the next write; "" when it is absent: create. */
const char *kube_state_record_version(const struct kube_state *state);

/*
 * Takes the answer to a successful write before the watch brings it, so that the next write is made
 * against it. `version` must be newer than what is known, which the caller knows as it just wrote.
 */
void kube_state_record_written(struct kube_state *state, const struct record *record,
                               const char *version);

/*
 * The oldest of the last words on StatefulSet, pods and record (clock_mono_ms); 0 while any of them
 * was never complete.
 */
int64_t kube_state_seen_ms(const struct kube_state *state);

/* One of the watches of these is broken, see kube_watch_broken(). */
bool kube_state_broken(const struct kube_state *state);

/* What is missing or refused, for people: "pods: HTTP 403: ..."; "" = nothing. */
const char *kube_state_problem(const struct kube_state *state);

#endif
