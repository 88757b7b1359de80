/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kube_owners.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/rng.h"
#include "io/clock.h"
#include "io/kube_watch.h"

/* Set by the StatefulSet controller on every pod that it makes or adopts. */
#define OWNERS_NAME_LABEL "statefulset.kubernetes.io/pod-name"
#define OWNERS_ACCEPT \
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
#define OWNERS_PATH_MAX KIB(8)
#define OWNERS_ARENA_MAX MIB(16)

struct kube_owners {
    struct loop *loop;
    struct kube_client *client;
    void (*on_change)(void *ctx);
    void *ctx;
    struct rng rng;
    struct loop_timer *timer;     /* owned: the next question */
    struct kube_request *request; /* in flight; the client's */

    struct kube_pods known; /* by name: uid and controller, as told last */

    /* What is to be asked for. */
    char selector[KUBE_SELECTOR_SIZE];
    char names[KUBE_OWNERS_NAMES_MAX][KUBE_NAME_SIZE];
    size_t count;    /* of pods, those without room above included */
    size_t unknown;  /* of them: of which nothing was told yet */
    uint64_t wanted; /* hash of their uids and the set's */

    uint64_t asked;                /* `wanted` of the last question */
    char next[KUBE_CONTINUE_SIZE]; /* of the list under way; "" = first page */
    bool answered;                 /* a list was complete once */
    unsigned tries;                /* answers to `asked` that changed nothing */
    unsigned failures;
    int64_t next_ms;  /* no question before this */
    int64_t again_ms; /* nor `asked` again before this */
    struct err problem;
};

static void owners_send(struct kube_owners *owners);

/* ---- when ---- */

static void owners_schedule(struct kube_owners *owners)
{
    if (!owners->count)
        loop_timer_disarm(owners->timer);
    if (!owners->count || owners->request)
        return;
    int64_t now_ms = clock_mono_ms();
    if (!owners->next_ms) /* all agents of a set may start at the same moment */
        owners->next_ms = now_ms + (int64_t)rng_below(&owners->rng, KUBE_OWNERS_PERIOD_MS);
    if (owners->wanted != owners->asked)
        owners->tries = 0;
    int64_t due_ms = owners->next_ms;
    if (owners->tries && owners->again_ms > due_ms)
        due_ms = owners->again_ms;
    loop_timer_arm(owners->timer, due_ms > now_ms ? due_ms - now_ms : 0);
}

static void owners_fail(struct kube_owners *owners, const struct err *err, int64_t retry_after_ms)
{
    owners->problem = *err;
    owners->next[0] = '\0';
    owners->failures++;
    owners->next_ms = clock_mono_ms() + retry_after_ms +
                      backoff_ms(&owners->rng, owners->failures, KUBE_OWNERS_PERIOD_MS,
                                 KUBE_WATCH_BACKOFF_CAP_MS);
    owners_schedule(owners);
}

static void owners_finish(struct kube_owners *owners)
{
    int64_t now_ms = clock_mono_ms();
    owners->answered = true;
    owners->problem = (struct err){0};
    owners->failures = 0;
    owners->tries++;
    owners->next_ms = now_ms + KUBE_OWNERS_PERIOD_MS +
                      (int64_t)rng_below(&owners->rng, 3 * KUBE_OWNERS_PERIOD_MS);
    owners->again_ms = now_ms + backoff_ms(&owners->rng, owners->tries, KUBE_OWNERS_PERIOD_MS,
                                           KUBE_OWNERS_AGAIN_MS);
    owners->on_change(owners->ctx); /* judges again, which schedules what is left */
    owners_schedule(owners);
}

/* ---- one question ---- */

static int owners_on_item(void *ctx, const struct kube_object *object, struct err *err)
{
    struct kube_owners *owners = ctx;
    (void)err;
    kube_owners_learn(owners, &object->pod);
    return 0;
}

static void owners_on_page(void *ctx, const struct kube_answer *answer)
{
    struct kube_owners *owners = ctx;
    struct err err = answer->err;
    struct kube_list list = {0};
    struct arena arena;
    owners->request = NULL;
    arena_init(&arena, OWNERS_ARENA_MAX);
    bool taken = err.code == E_OK && kube_list_parse(answer->body, KUBE_POD_METADATA, &arena,
                                                     owners_on_item, owners, &list, &err) == 0;
    arena_deinit(&arena);
    if (!taken) {
        (void)err_wrap(&err, "owners of pods");
        owners_fail(owners, &err, answer->retry_after_ms);
        return;
    }
    memcpy(owners->next, list.next, sizeof owners->next);
    if (owners->next[0])
        owners_send(owners);
    else
        owners_finish(owners);
}

/* "app=db,statefulset.kubernetes.io/pod-name in (db-3,db-7)" */
static void owners_select(const struct kube_owners *owners, struct buf *selector)
{
    (void)buf_append_str(selector, owners->selector);
    if (owners->count > KUBE_OWNERS_NAMES_MAX)
        return;
    (void)buf_format(selector, "%s" OWNERS_NAME_LABEL " in (", selector->len ? "," : "");
    for (size_t i = 0; i < owners->count; i++)
        (void)buf_format(selector, "%s%s", i ? "," : "", owners->names[i]);
    (void)buf_append_str(selector, ")");
}

static void owners_send(struct kube_owners *owners)
{
    auto_buf struct buf path;
    auto_buf struct buf selector;
    char limit[16];
    buf_init(&path, OWNERS_PATH_MAX);
    buf_init(&selector, OWNERS_PATH_MAX);
    owners_select(owners, &selector);
    kube_path(owners->client, &path, "", "pods", NULL);
    kube_path_query(&path, "labelSelector", buf_str(&selector));
    text_format(limit, sizeof limit, "%d", KUBE_PAGE_SIZE);
    kube_path_query(&path, "limit", limit);
    if (owners->next[0])
        kube_path_query(&path, "continue", owners->next);
    else
        kube_path_query(&path, "resourceVersion", "0"); /* not allowed with `continue` */
    struct kube_call call = {.verb = KUBE_LIST,
                             .path = buf_str(&path),
                             .accept = OWNERS_ACCEPT,
                             .on_done = owners_on_page,
                             .ctx = owners};
    struct err err = {0};
    owners->request = kube_start(owners->client, &call, &err);
    if (!owners->request)
        owners_fail(owners, &err, 0);
}

static void owners_on_timer(void *ctx)
{
    struct kube_owners *owners = ctx;
    owners->asked = owners->wanted;
    owners->next[0] = '\0';
    owners_send(owners);
}

/* ---- interface ---- */

struct kube_owners *kube_owners_new(struct loop *loop, struct kube_client *client, uint64_t seed,
                                    void (*on_change)(void *ctx), void *ctx)
{
    struct kube_owners *owners = xcalloc(1, sizeof *owners);
    owners->loop = loop;
    owners->client = client;
    owners->rng.state = seed;
    owners->on_change = on_change;
    owners->ctx = ctx;
    owners->timer = loop_timer_new(loop, owners_on_timer, owners);
    return owners;
}

void kube_owners_free(struct kube_owners *owners)
{
    if (!owners)
        return;
    kube_cancel(owners->request);
    loop_timer_free(owners->timer);
    kube_pods_deinit(&owners->known);
    free(owners);
}

void kube_owners_learn(struct kube_owners *owners, const struct kube_pod *pod)
{
    kube_pods_put(&owners->known, pod);
}

static void owners_want(struct kube_owners *owners, const struct kube_pod *pod)
{
    if (owners->count < KUBE_OWNERS_NAMES_MAX)
        memcpy(owners->names[owners->count], pod->meta.name, sizeof owners->names[0]);
    owners->count++;
    owners->wanted = text_hash(owners->wanted, pod->meta.uid, strlen(pod->meta.uid) + 1);
}

void kube_owners_judge(struct kube_owners *owners, const struct kube_stateful_set *set,
                       struct kube_pods *pods)
{
    if (owners->known.overflow)
        kube_pods_deinit(&owners->known); /* names of long ago: begin anew */
    memcpy(owners->selector, set->selector, sizeof owners->selector);
    owners->count = owners->unknown = 0;
    owners->wanted = text_hash(TEXT_HASH_SEED, set->meta.uid, strlen(set->meta.uid));
    for (size_t i = 0; i < pods->count;) {
        struct kube_pod *pod = &pods->items[i];
        const struct kube_pod *known = kube_pods_find(&owners->known, pod->meta.name);
        if (known && strcmp(known->meta.uid, pod->meta.uid) == 0) {
            pod->controller = known->controller;
            if (strcmp(pod->controller.uid, set->meta.uid) != 0)
                owners_want(owners, pod);
            i++;
            continue;
        }
        owners_want(owners, pod);
        owners->unknown++;
        kube_pods_remove(pods, pod->meta.name);
    }
    owners_schedule(owners);
}

bool kube_owners_pending(const struct kube_owners *owners)
{
    return owners->unknown && !owners->answered;
}

const char *kube_owners_problem(const struct kube_owners *owners)
{
    return owners->unknown ? owners->problem.msg : "";
}
