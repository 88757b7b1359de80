/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kube_crowd.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "io/kube_owners.h"
#include "io/kube_pods.h"
#include "io/kube_watch.h"
#include "io/kube_zones.h"

struct kube_crowd {
    struct loop *loop;
    struct kube_client *client;
    const char *own_pod;
    struct rng rng;
    void (*on_change)(void *ctx);
    void *ctx;

    bool leading;
    struct kube_stateful_set set; /* the one that is followed */
    bool followed;
    bool watches_all;           /* what `watch` is of: all pods, or the own one */
    struct kube_watch *watch;   /* owned; NULL while no set is followed */
    struct kube_zones *zones;   /* owned */
    struct kube_owners *owners; /* owned */
    int max;                    /* KUBE_CROWD_MAX */

    struct kube_pods pods;   /* as the watch told them */
    struct kube_pods staged; /* the list under way */
    bool lists_all;          /* `pods` is of a list of all pods */
    struct kube_pods told;   /* else: the own pod, the others by their endpoints */
};

static void crowd_watch(struct kube_crowd *crowd);

static const struct kube_pods *crowd_table(const struct kube_crowd *crowd)
{
    return crowd->lists_all ? &crowd->pods : &crowd->told;
}

/* From the slices where there are too many pods for a list, as far as their owners are known. */
static void crowd_tell(struct kube_crowd *crowd)
{
    kube_pods_deinit(&crowd->told);
    if (!crowd->lists_all && crowd->followed && crowd->set.replicas > crowd->max)
        kube_zones_pods(crowd->zones, &crowd->set, &crowd->told);
    const struct kube_pod *own = kube_pods_find(&crowd->pods, crowd->own_pod);
    if (own)
        kube_owners_learn(crowd->owners, own);
    kube_owners_judge(crowd->owners, &crowd->set, &crowd->told);
    if (own)
        kube_pods_put(&crowd->told, own);
}

static void crowd_changed(struct kube_crowd *crowd)
{
    crowd_tell(crowd);
    kube_crowd_want_zones(crowd);
    crowd->on_change(crowd->ctx);
}

/* ---- the store of the watch ---- */

static void crowd_on_begin(void *ctx)
{
    struct kube_crowd *crowd = ctx;
    kube_pods_deinit(&crowd->staged);
}

static void crowd_on_item(void *ctx, const struct kube_object *object)
{
    struct kube_crowd *crowd = ctx;
    kube_pods_put(&crowd->staged, &object->pod);
}

static void crowd_on_commit(void *ctx)
{
    struct kube_crowd *crowd = ctx;
    if (crowd->lists_all && !crowd->watches_all) /* it led: what it saw is not to be asked */
        for (size_t i = 0; i < crowd->pods.count; i++)
            kube_owners_learn(crowd->owners, &crowd->pods.items[i]);
    kube_pods_deinit(&crowd->pods);
    crowd->pods = crowd->staged;
    crowd->staged = (struct kube_pods){0};
    crowd->lists_all = crowd->watches_all;
    crowd_changed(crowd);
}

static void crowd_on_event(void *ctx, enum kube_watch_type type, const struct kube_object *object)
{
    struct kube_crowd *crowd = ctx;
    if (type == KUBE_DELETED)
        kube_pods_remove(&crowd->pods, object->meta.name);
    else
        kube_pods_put(&crowd->pods, &object->pod);
    crowd_changed(crowd);
}

static void crowd_on_state(void *ctx)
{
    struct kube_crowd *crowd = ctx;
    crowd->on_change(crowd->ctx);
}

/* Slices came, or are refused: then the pods themselves must be watched. */
static void crowd_on_zones(void *ctx)
{
    struct kube_crowd *crowd = ctx;
    crowd_watch(crowd);
    crowd_changed(crowd);
}

/* ---- what to watch ---- */

static bool crowd_wants_all(const struct kube_crowd *crowd)
{
    return crowd->leading || crowd->set.replicas <= crowd->max || !kube_zones_tells(crowd->zones);
}

static void crowd_watch(struct kube_crowd *crowd)
{
    bool all = crowd_wants_all(crowd);
    if (!crowd->followed || (crowd->watch && crowd->watches_all == all))
        return;
    char own[sizeof "metadata.name=" + KUBE_NAME_SIZE];
    text_format(own, sizeof own, "metadata.name=%s", crowd->own_pod);
    kube_watch_free(crowd->watch);
    struct kube_watch_config config = {
        .what = "pods",
        .group = "",
        .resource = "pods",
        .kind = KUBE_POD,
        .label_selector = all ? crowd->set.selector : "",
        .field_selector = all ? "" : own,
        .store = {crowd_on_begin, crowd_on_item, crowd_on_commit, crowd_on_event, crowd_on_state,
                  crowd},
        .seed = rng_next(&crowd->rng),
    };
    crowd->watches_all = all;
    crowd->watch = kube_watch_new(crowd->loop, crowd->client, &config);
}

void kube_crowd_follow(struct kube_crowd *crowd, const struct kube_stateful_set *set)
{
    if (!set) {
        kube_watch_free(crowd->watch);
        crowd->watch = NULL;
        crowd->followed = false;
        crowd->lists_all = false;
        kube_pods_deinit(&crowd->pods);
        kube_pods_deinit(&crowd->staged);
        kube_pods_deinit(&crowd->told);
        kube_zones_follow(crowd->zones, "");
        kube_owners_judge(crowd->owners, &crowd->set, &crowd->told);
        return;
    }
    bool same = crowd->followed && strcmp(crowd->set.meta.uid, set->meta.uid) == 0 &&
                strcmp(crowd->set.selector, set->selector) == 0;
    crowd->set = *set;
    crowd->followed = true;
    if (!same) {
        kube_watch_free(crowd->watch);
        crowd->watch = NULL;
    }
    kube_zones_follow(crowd->zones, set->service_name);
    crowd_watch(crowd);
}

void kube_crowd_lead(struct kube_crowd *crowd, bool leading)
{
    if (crowd->leading == leading)
        return;
    crowd->leading = leading;
    crowd_watch(crowd);
}

/* One node at a time: each answer is a change, which comes back here. */
void kube_crowd_want_zones(struct kube_crowd *crowd)
{
    const struct kube_pods *pods = crowd_table(crowd);
    for (size_t i = 0; i < pods->count; i++)
        if (!kube_crowd_zone(crowd, &pods->items[i])[0])
            kube_zones_want(crowd->zones, &pods->items[i]);
}

/* ---- interface ---- */

static void crowd_on_owners(void *ctx)
{
    struct kube_crowd *crowd = ctx;
    crowd_changed(crowd);
}

/* A lab of fifty pods is too much for a test. */
static int crowd_max(void)
{
    uint64_t max = KUBE_CROWD_MAX;
#ifdef MUSTER_TESTING
    const char *text = getenv("MUSTER_TEST_CROWD_MAX");
    if (text)
        (void)text_to_u64(span_of(text), KUBE_CROWD_MAX, &max);
#endif
    return (int)max;
}

struct kube_crowd *kube_crowd_new(struct loop *loop, struct kube_client *client,
                                  const struct kube_crowd_config *config)
{
    struct kube_crowd *crowd = xcalloc(1, sizeof *crowd);
    crowd->loop = loop;
    crowd->client = client;
    crowd->own_pod = config->own_pod;
    crowd->rng.state = config->seed;
    crowd->on_change = config->on_change;
    crowd->ctx = config->ctx;
    crowd->max = crowd_max();
    crowd->zones = kube_zones_new(loop, client, rng_next(&crowd->rng), crowd_on_zones, crowd);
    crowd->owners = kube_owners_new(loop, client, rng_next(&crowd->rng), crowd_on_owners, crowd);
    return crowd;
}

void kube_crowd_free(struct kube_crowd *crowd)
{
    if (!crowd)
        return;
    kube_watch_free(crowd->watch);
    kube_zones_free(crowd->zones);
    kube_owners_free(crowd->owners);
    kube_pods_deinit(&crowd->pods);
    kube_pods_deinit(&crowd->staged);
    kube_pods_deinit(&crowd->told);
    free(crowd);
}

const struct kube_pod *kube_crowd_pods(const struct kube_crowd *crowd, size_t *ret_count)
{
    *ret_count = crowd_table(crowd)->count;
    return crowd_table(crowd)->items;
}

const struct kube_pod *kube_crowd_find(const struct kube_crowd *crowd, const char *name)
{
    return kube_pods_find(crowd_table(crowd), name);
}

const char *kube_crowd_zone(const struct kube_crowd *crowd, const struct kube_pod *pod)
{
    return pod->zone[0] ? pod->zone : kube_zones_find(crowd->zones, pod);
}

bool kube_crowd_zone_pending(const struct kube_crowd *crowd, const struct kube_pod *pod)
{
    return !pod->zone[0] && kube_zones_pending(crowd->zones, pod);
}

int64_t kube_crowd_seen_ms(const struct kube_crowd *crowd)
{
    if (!crowd->watch || !kube_watch_synced(crowd->watch) || kube_owners_pending(crowd->owners))
        return 0;
    int64_t seen_ms = kube_watch_seen_ms(crowd->watch);
    int64_t zones_ms = crowd->watches_all ? INT64_MAX : kube_zones_seen_ms(crowd->zones);
    return seen_ms < zones_ms ? seen_ms : zones_ms;
}

bool kube_crowd_broken(const struct kube_crowd *crowd)
{
    return crowd->watch && kube_watch_broken(crowd->watch);
}

const char *kube_crowd_problem(const struct kube_crowd *crowd)
{
    if (crowd->watch && kube_watch_problem(crowd->watch)[0])
        return kube_watch_problem(crowd->watch);
    if (kube_owners_problem(crowd->owners)[0])
        return kube_owners_problem(crowd->owners);
    if (crowd->pods.overflow)
        return "more pods match the StatefulSet's selector than Muster handles";
    return "";
}
