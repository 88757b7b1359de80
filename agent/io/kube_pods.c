/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kube_pods.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

void kube_pods_deinit(struct kube_pods *pods)
{
    free(pods->items);
    *pods = (struct kube_pods){0};
}

/* Where the name is, or where it would be. */
static size_t kube_pods_place(const struct kube_pods *pods, const char *name, bool *ret_found)
{
    size_t low = 0, high = pods->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(pods->items[mid].meta.name, name);
        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_found = false;
    return low;
}

void kube_pods_put(struct kube_pods *pods, const struct kube_pod *pod)
{
    bool found;
    size_t at = kube_pods_place(pods, pod->meta.name, &found);
    if (!found) {
        if (pods->count == KUBE_PODS_MAX) {
            pods->overflow = true;
            return;
        }
        if (pods->count == pods->cap) {
            pods->cap = pods->cap ? pods->cap * 2 : 8;
            pods->items = xrealloc(pods->items, pods->cap, sizeof *pods->items);
        }
        memmove(&pods->items[at + 1], &pods->items[at], (pods->count - at) * sizeof *pods->items);
        pods->count++;
    }
    pods->items[at] = *pod;
}

void kube_pods_remove(struct kube_pods *pods, const char *name)
{
    bool found;
    size_t at = kube_pods_place(pods, name, &found);
    if (!found)
        return;
    pods->count--;
    memmove(&pods->items[at], &pods->items[at + 1], (pods->count - at) * sizeof *pods->items);
}

const struct kube_pod *kube_pods_find(const struct kube_pods *pods, const char *name)
{
    bool found;
    size_t at = kube_pods_place(pods, name, &found);
    return found ? &pods->items[at] : NULL;
}
