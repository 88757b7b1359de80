/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kube_zones.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "io/clock.h"
#include "io/kube_watch.h"

#define ZONES_SERVICE_LABEL "kubernetes.io/service-name"
#define ZONES_SLICES_MAX 64
#define ZONES_NODE_ARENA_MAX MIB(4)

/* What of an endpoint is kept. */
struct zones_entry {
    char pod_uid[UID_SIZE];
    char zone[ZONE_SIZE]; /* "" = its node has none */
    char pod[KUBE_NAME_SIZE];
    char ip[IP_SIZE];
    char node[NODE_NAME_SIZE];
    bool ready;
    bool terminating;
};

struct zones_slice {
    char name[KUBE_NAME_SIZE];
    struct zones_entry *entries; /* owned */
    size_t count;
};

struct zones_slices {
    struct zones_slice items[ZONES_SLICES_MAX];
    size_t count;
};

struct zones_node {
    char name[NODE_NAME_SIZE];
    char zone[ZONE_SIZE];
    bool known;
    int64_t retry_ms;
};

struct kube_zones {
    struct loop *loop;
    struct kube_client *client;
    uint64_t seed;
    void (*on_change)(void *ctx);
    void *ctx;

    char service[KUBE_NAME_SIZE];
    struct kube_watch *watch; /* owned; NULL while no service is known */
    struct zones_slices slices;
    struct zones_slices staged; /* the list under way */

    struct zones_node *nodes; /* owned; at most NODES_MAX */
    size_t node_count;
    size_t node_cap;
    size_t node_asked;            /* index of the one in flight */
    struct kube_request *request; /* in flight; the client's */
    bool nodes_denied;
};

static void zones_slices_clear(struct zones_slices *slices)
{
    for (size_t i = 0; i < slices->count; i++)
        free(slices->items[i].entries);
    slices->count = 0;
}

static void zones_slices_remove(struct zones_slices *slices, const char *name)
{
    for (size_t i = 0; i < slices->count; i++) {
        if (strcmp(slices->items[i].name, name) == 0) {
            free(slices->items[i].entries);
            slices->items[i] = slices->items[--slices->count];
            return;
        }
    }
}

static void zones_slices_put(struct zones_slices *slices, const struct kube_endpoint_slice *slice)
{
    zones_slices_remove(slices, slice->meta.name);
    if (slices->count == ZONES_SLICES_MAX)
        return; /* 64 slices hold 6,400 endpoints */
    struct zones_slice *item = &slices->items[slices->count++];
    *item = (struct zones_slice){.entries = xcalloc(slice->endpoint_count, sizeof *item->entries)};
    memcpy(item->name, slice->meta.name, sizeof item->name);
    for (size_t i = 0; i < slice->endpoint_count; i++) {
        const struct kube_endpoint *endpoint = &slice->endpoints[i];
        if (!endpoint->pod_uid[0])
            continue;
        struct zones_entry *entry = &item->entries[item->count++];
        memcpy(entry->pod_uid, endpoint->pod_uid, sizeof entry->pod_uid);
        memcpy(entry->zone, endpoint->zone, sizeof entry->zone);
        memcpy(entry->pod, endpoint->pod, sizeof entry->pod);
        memcpy(entry->ip, endpoint->ip, sizeof entry->ip);
        memcpy(entry->node, endpoint->node, sizeof entry->node);
        entry->ready = endpoint->ready;
        entry->terminating = endpoint->terminating;
    }
}

static void zones_on_begin(void *ctx)
{
    struct kube_zones *zones = ctx;
    zones_slices_clear(&zones->staged);
}

static void zones_on_item(void *ctx, const struct kube_object *object)
{
    struct kube_zones *zones = ctx;
    zones_slices_put(&zones->staged, &object->endpoint_slice);
}

static void zones_on_commit(void *ctx)
{
    struct kube_zones *zones = ctx;
    zones_slices_clear(&zones->slices);
    zones->slices = zones->staged;
    zones->staged.count = 0; /* its entries moved */
    zones->on_change(zones->ctx);
}

static void zones_on_event(void *ctx, enum kube_watch_type type, const struct kube_object *object)
{
    struct kube_zones *zones = ctx;
    if (type == KUBE_DELETED)
        zones_slices_remove(&zones->slices, object->meta.name);
    else
        zones_slices_put(&zones->slices, &object->endpoint_slice);
    zones->on_change(zones->ctx);
}

static void zones_on_state(void *ctx)
{
    struct kube_zones *zones = ctx;
    zones->on_change(zones->ctx);
}

struct kube_zones *kube_zones_new(struct loop *loop, struct kube_client *client, uint64_t seed,
                                  void (*on_change)(void *ctx), void *ctx)
{
    struct kube_zones *zones = xcalloc(1, sizeof *zones);
    zones->loop = loop;
    zones->client = client;
    zones->seed = seed;
    zones->on_change = on_change;
    zones->ctx = ctx;
    return zones;
}

void kube_zones_free(struct kube_zones *zones)
{
    if (!zones)
        return;
    kube_cancel(zones->request);
    kube_watch_free(zones->watch);
    zones_slices_clear(&zones->slices);
    zones_slices_clear(&zones->staged);
    free(zones->nodes);
    free(zones);
}

void kube_zones_follow(struct kube_zones *zones, const char *service_name)
{
    if (strcmp(zones->service, service_name) == 0)
        return;
    text_format(zones->service, sizeof zones->service, "%s", service_name);
    kube_watch_free(zones->watch);
    zones->watch = NULL;
    zones_slices_clear(&zones->slices);
    if (!service_name[0])
        return;
    char selector[sizeof ZONES_SERVICE_LABEL + KUBE_NAME_SIZE];
    text_format(selector, sizeof selector, ZONES_SERVICE_LABEL "=%s", service_name);
    struct kube_watch_config config = {
        .what = "endpointslices",
        .group = "discovery.k8s.io/v1",
        .resource = "endpointslices",
        .kind = KUBE_ENDPOINT_SLICE,
        .label_selector = selector,
        .store = {zones_on_begin, zones_on_item, zones_on_commit, zones_on_event, zones_on_state,
                  zones},
        .seed = zones->seed,
    };
    zones->watch = kube_watch_new(zones->loop, zones->client, &config);
}

static struct zones_node *zones_find_node(const struct kube_zones *zones, const char *name)
{
    for (size_t i = 0; i < zones->node_count; i++)
        if (strcmp(zones->nodes[i].name, name) == 0)
            return &zones->nodes[i];
    return NULL;
}

static const struct zones_entry *zones_find_entry(const struct kube_zones *zones, const char *uid)
{
    for (size_t i = 0; i < zones->slices.count; i++) {
        const struct zones_slice *slice = &zones->slices.items[i];
        for (size_t j = 0; j < slice->count; j++)
            if (strcmp(slice->entries[j].pod_uid, uid) == 0)
                return &slice->entries[j];
    }
    return NULL;
}

const char *kube_zones_find(const struct kube_zones *zones, const struct kube_pod *pod)
{
    const struct zones_entry *entry = zones_find_entry(zones, pod->meta.uid);
    if (entry && entry->zone[0])
        return entry->zone;
    const struct zones_node *node = pod->node[0] ? zones_find_node(zones, pod->node) : NULL;
    return node ? node->zone : "";
}

/* The slices may still tell of this pod: its endpoint comes a moment after its address. */
static bool zones_slices_pending(const struct kube_zones *zones, const struct kube_pod *pod)
{
    return zones->watch && !kube_watch_denied(zones->watch) &&
           !zones_find_entry(zones, pod->meta.uid);
}

bool kube_zones_pending(const struct kube_zones *zones, const struct kube_pod *pod)
{
    if (kube_zones_find(zones, pod)[0])
        return false;
    if (zones_slices_pending(zones, pod))
        return true;
    const struct zones_node *node = pod->node[0] ? zones_find_node(zones, pod->node) : NULL;
    return !zones->nodes_denied && (!node || (!node->known && !node->retry_ms));
}

static void zones_take_node(struct kube_zones *zones, struct zones_node *node, struct span body)
{
    struct arena arena;
    struct kube_object object;
    arena_init(&arena, ZONES_NODE_ARENA_MAX);
    if (kube_object_parse(body, KUBE_NODE, &arena, &object, NULL) == 0) {
        memcpy(node->zone, object.node.zone, sizeof node->zone);
        node->known = node->zone[0]; /* its label may come later than the node */
        zones->on_change(zones->ctx);
    }
    arena_deinit(&arena);
}

static void zones_on_node(void *ctx, const struct kube_answer *answer)
{
    struct kube_zones *zones = ctx;
    struct zones_node *node = &zones->nodes[zones->node_asked];
    zones->request = NULL;
    node->retry_ms = clock_mono_ms() + KUBE_ZONES_RETRY_MS;
    if (answer->err.code == E_OK) {
        zones_take_node(zones, node, answer->body);
    } else if (answer->err.code == E_AUTH) {
        zones->nodes_denied = true;
        LOG(LOG_INFO, "zones_unknown",
            LOG_S("msg", "neither the pods' label nor their endpoints carry a zone, and nodes "
                         "cannot be read: zones stay unknown"),
            LOG_S("reason", answer->err.msg));
    }
}

static struct zones_node *zones_add_node(struct kube_zones *zones, const char *name)
{
    if (zones->node_count == NODES_MAX)
        return NULL;
    if (zones->node_count == zones->node_cap) {
        zones->node_cap = zones->node_cap ? zones->node_cap * 2 : 8;
        zones->nodes = xrealloc(zones->nodes, zones->node_cap, sizeof *zones->nodes);
    }
    struct zones_node *node = &zones->nodes[zones->node_count++];
    *node = (struct zones_node){0};
    text_format(node->name, sizeof node->name, "%s", name);
    return node;
}

void kube_zones_want(struct kube_zones *zones, const struct kube_pod *pod)
{
    if (zones->nodes_denied || zones->request || !pod->node[0])
        return;
    /* While the slices may still say it, no node is read: that right is seldom given. */
    if (zones_slices_pending(zones, pod))
        return;
    struct zones_node *node = zones_find_node(zones, pod->node);
    if (!node)
        node = zones_add_node(zones, pod->node);
    if (!node || node->known || clock_mono_ms() < node->retry_ms)
        return;
    char path[sizeof "/api/v1/nodes/" + NODE_NAME_SIZE];
    text_format(path, sizeof path, "/api/v1/nodes/%s", node->name);
    struct kube_call call = {
        .verb = KUBE_GET, .path = path, .on_done = zones_on_node, .ctx = zones};
    zones->node_asked = (size_t)(node - zones->nodes);
    zones->request = kube_start(zones->client, &call, NULL);
}

bool kube_zones_tells(const struct kube_zones *zones)
{
    return zones->watch && !kube_watch_denied(zones->watch);
}

int64_t kube_zones_seen_ms(const struct kube_zones *zones)
{
    return zones->watch && kube_watch_synced(zones->watch) ? kube_watch_seen_ms(zones->watch) : 0;
}

static void zones_put_pod(const struct zones_entry *entry, const struct kube_stateful_set *set,
                          struct kube_pods *pods)
{
    size_t length = strlen(set->meta.name);
    int ordinal = kube_pod_ordinal(entry->pod);
    if (ordinal < 0 || strncmp(entry->pod, set->meta.name, length) != 0 ||
        strrchr(entry->pod, '-') != entry->pod + length)
        return;
    struct kube_pod pod = {.ordinal = ordinal, .phase = KUBE_PHASE_RUNNING, .ready = entry->ready};
    memcpy(pod.meta.name, entry->pod, sizeof pod.meta.name);
    memcpy(pod.meta.uid, entry->pod_uid, sizeof pod.meta.uid);
    pod.meta.deleting = entry->terminating;
    memcpy(pod.ip, entry->ip, sizeof pod.ip);
    memcpy(pod.node, entry->node, sizeof pod.node);
    memcpy(pod.zone, entry->zone, sizeof pod.zone);
    /* A pod with two families has a slice for each. */
    const struct kube_pod *other = kube_pods_find(pods, pod.meta.name);
    if (other && strcmp(other->meta.uid, pod.meta.uid) == 0)
        memcpy(pod.other_ip, other->ip, sizeof pod.other_ip);
    kube_pods_put(pods, &pod);
}

void kube_zones_pods(const struct kube_zones *zones, const struct kube_stateful_set *set,
                     struct kube_pods *pods)
{
    for (size_t i = 0; i < zones->slices.count; i++)
        for (size_t j = 0; j < zones->slices.items[i].count; j++)
            zones_put_pod(&zones->slices.items[i].entries[j], set, pods);
}
