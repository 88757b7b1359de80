/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who controls a pod that was only seen in an EndpointSlice, which names no owner: a slice lists
 * whatever carries the service's labels.
 *
 * Asked for by lists of metadata only (PartialObjectMetadataList, as client-go's metadata client
 * does), from the API server's cache (resourceVersion=0): a few pods by their names, many by the
 * set's selector. So a start costs each agent one list or two, and a pod that is made anew costs
 * each one request for one pod. The answer for a uid is remembered, and asked for again, ever more
 * seldom, while it is not the StatefulSet of today: that one may adopt a pod without a controller,
 * and a cache may lag.
 */
#ifndef MUSTER_IO_KUBE_OWNERS_H
#define MUSTER_IO_KUBE_OWNERS_H

#include <stdbool.h>
#include <stdint.h>

#include "io/kube_client.h"
#include "io/kube_pods.h"
#include "io/loop.h"
#include "wire/kube_json.h"

struct kube_owners;

/* Requests are this far apart, and up to four times as far by chance; the first comes sooner. */
#define KUBE_OWNERS_PERIOD_MS 1000
/* Upper limit of the time between two questions about pods that are not the set's. */
#define KUBE_OWNERS_AGAIN_MS 60000
/* More pods than this are asked for by the set's selector, not by their names. */
#define KUBE_OWNERS_NAMES_MAX 8

/* Owned by kube_crowd; free before client and loop. `on_change`: a pod's controller was told. */
struct kube_owners *kube_owners_new(struct loop *loop, struct kube_client *client, uint64_t seed,
                                    void (*on_change)(void *ctx), void *ctx);
void kube_owners_free(struct kube_owners *owners);

/*
 * Fills in the controller of each pod of the table as it was told for the pod's uid, takes out the
 * pods of which nothing was told yet, and asks for what is missing. `set`: whose pods they should be.
 * What is known of pods that are not in the table is forgotten; an empty one ends the questions.
 */
void kube_owners_judge(struct kube_owners *owners, const struct kube_stateful_set *set,
                       struct kube_pods *pods);

/* A pod that was seen itself, for the time when it is in a slice only. */
void kube_owners_learn(struct kube_owners *owners, const struct kube_pod *pod);

/* Of some pod of the last table nothing was ever told, and no question was answered since the start. */
bool kube_owners_pending(const struct kube_owners *owners);

/* Why pods are left out, for people; "" = nothing. */
const char *kube_owners_problem(const struct kube_owners *owners);

#endif
