/* SPDX-License-Identifier: Apache-2.0 */
/* A table of pods sorted by name, as a list and the events after it fill it. */
#ifndef MUSTER_IO_KUBE_PODS_H
#define MUSTER_IO_KUBE_PODS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/limits.h"
#include "wire/kube_json.h"

/* A rolling update and strangers with our labels included; more are left out. */
#define KUBE_PODS_MAX (2 * NODES_MAX)

struct kube_pods {
    struct kube_pod *items; /* owned */
    size_t count;
    size_t cap;
    bool overflow; /* one was left out */
};

/* Frees the items; the table stays usable. Accepts a zeroed struct. */
void kube_pods_deinit(struct kube_pods *pods);

/* Adds the pod or replaces the one of that name. */
void kube_pods_put(struct kube_pods *pods, const struct kube_pod *pod);

/* Nothing happens if it is not there. */
void kube_pods_remove(struct kube_pods *pods, const char *name);

/* NULL if it is not there. Valid until the next change. */
const struct kube_pod *kube_pods_find(const struct kube_pods *pods, const char *name);

#endif
