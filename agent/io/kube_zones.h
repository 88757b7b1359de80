/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zones of pods that carry no zone label: from the EndpointSlices of the set's service, else from
 * the pods' nodes. Both rights are optional: without them a zone is unknown ("").
 */
#ifndef MUSTER_IO_KUBE_ZONES_H
#define MUSTER_IO_KUBE_ZONES_H

#include <stdbool.h>
#include <stdint.h>

#include "io/kube_client.h"
#include "io/kube_pods.h"
#include "io/loop.h"
#include "wire/kube_json.h"

struct kube_zones;

/* A node that could not be read is tried again after this time. */
#define KUBE_ZONES_RETRY_MS 30000

/* Owned by kube_state; free before client and loop. `on_change`: an answer may be another now. */
struct kube_zones *kube_zones_new(struct loop *loop, struct kube_client *client, uint64_t seed,
                                  void (*on_change)(void *ctx), void *ctx);
void kube_zones_free(struct kube_zones *zones);

/* The service whose slices to read; the same name again is nothing, "" none. Copied. */
void kube_zones_follow(struct kube_zones *zones, const char *service_name);

/* The zone of the pod's endpoint, else of its node as far as read; "" = unknown. */
const char *kube_zones_find(const struct kube_zones *zones, const struct kube_pod *pod);

/* The zone is not known, but may be told within a moment: a source has not answered yet. */
bool kube_zones_pending(const struct kube_zones *zones, const struct kube_pod *pod);

/* The slices are watched, and nothing refused them. */
bool kube_zones_tells(const struct kube_zones *zones);

/* When the slices last said anything; 0 while they were never complete. */
int64_t kube_zones_seen_ms(const struct kube_zones *zones);

/*
 * Puts the pods that have an endpoint and a name of the set's into the table, as far as endpoints
 * tell: name, uid, addresses, node, zone, ready and terminating. Not whose they are: a slice has what
 * carries the service's labels (io/kube_owners.h).
 */
void kube_zones_pods(const struct kube_zones *zones, const struct kube_stateful_set *set,
                     struct kube_pods *pods);

/* Reads the node, once the slices turned out not to say the zone of a pod on it. */
void kube_zones_want(struct kube_zones *zones, const struct kube_pod *pod);

#endif
