/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pods of a StatefulSet, and where they run.
 *
 * Up to KUBE_CROWD_MAX replicas every agent watches the pods. Above, only the leader does: a pod's
 * object has some 6 KB and changes six times in a restart, and all agents would be told each time.
 * The others watch their own pod and the EndpointSlices of the set's service, which tell name, uid,
 * address, node and zone of a hundred pods in one object; what they do not tell (revision, pods
 * without an address) only the leader needs, but for the owner: a pod counts once its controller was
 * told (io/kube_owners.h). Without that right, or without a service, every agent watches the pods.
 */
#ifndef MUSTER_IO_KUBE_CROWD_H
#define MUSTER_IO_KUBE_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/kube_client.h"
#include "io/loop.h"
#include "wire/kube_json.h"

#define KUBE_CROWD_MAX 50

struct kube_crowd;

struct kube_crowd_config {
    const char *own_pod; /* borrowed for good */
    uint64_t seed;
    void (*on_change)(void *ctx); /* pods, zones or what is known of them changed */
    void *ctx;
};

/* Owned by kube_state; free before client and loop. */
struct kube_crowd *kube_crowd_new(struct loop *loop, struct kube_client *client,
                                  const struct kube_crowd_config *config);
void kube_crowd_free(struct kube_crowd *crowd);

/*
 * The pods of this set from now on; NULL = of none: what was known is forgotten. Another uid,
 * selector or service starts anew, what is known stays until it is listed.
 */
void kube_crowd_follow(struct kube_crowd *crowd, const struct kube_stateful_set *set);

/* Whether this agent leads, hence needs the pods' own objects whatever their number. */
void kube_crowd_lead(struct kube_crowd *crowd, bool leading);

/* Reads nodes whose zone nothing else told; to be called now and then. */
void kube_crowd_want_zones(struct kube_crowd *crowd);

/* By name. Valid until the next turn of the loop. */
const struct kube_pod *kube_crowd_pods(const struct kube_crowd *crowd, size_t *ret_count);
const struct kube_pod *kube_crowd_find(const struct kube_crowd *crowd, const char *name);

/* See kube_state.h. */
const char *kube_crowd_zone(const struct kube_crowd *crowd, const struct kube_pod *pod);
bool kube_crowd_zone_pending(const struct kube_crowd *crowd, const struct kube_pod *pod);

/* The oldest of the last words that the list follows from; 0 while one was never complete. */
int64_t kube_crowd_seen_ms(const struct kube_crowd *crowd);

/* The watch that tells of the pods is broken, see kube_watch_broken(). */
bool kube_crowd_broken(const struct kube_crowd *crowd);

/* For people; "" = nothing. */
const char *kube_crowd_problem(const struct kube_crowd *crowd);

#endif
