/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kube_state.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/rng.h"
#include "io/kube_crowd.h"
#include "io/kube_record.h"
#include "io/kube_watch.h"

#define STATE_OBJECT_ARENA_MAX MIB(4)
/* Zones that could not be read are asked for again. */
#define STATE_IDLE_MS 30000

struct kube_state {
    struct loop *loop;
    struct kube_client *client;
    char *pod_name;  /* owned */
    bool configured; /* the set's name was given, not found */
    void (*on_change)(void *ctx);
    void *ctx;

    struct loop_timer *timer;     /* owned: next try to find the set's name; then zones */
    struct kube_request *request; /* for the own pod; the client's */
    unsigned failures;
    struct rng rng;
    struct err name_problem; /* why the set's name is not known */

    char set_name[KUBE_NAME_SIZE];
    struct kube_watch *set_watch;    /* owned; NULL while the name is unknown */
    struct kube_watch *record_watch; /* owned; likewise */
    struct kube_crowd *crowd;        /* owned */

    bool set_present;
    bool set_listed;              /* seen in the list under way */
    struct kube_stateful_set set; /* as last seen; without a uid never */

    struct kube_record record;
};

static void state_follow_set(struct kube_state *state, const char *name);
static void state_on_timer(void *ctx);

static void state_changed(struct kube_state *state)
{
    state->on_change(state->ctx);
}

/* ---- pods ---- */

/* The own pod tells whether the set we follow is still its controller. */
static void state_check_owner(struct kube_state *state)
{
    if (state->configured)
        return;
    const struct kube_pod *own = kube_crowd_find(state->crowd, state->pod_name);
    if (own && strcmp(own->controller.kind, "StatefulSet") == 0 &&
        strcmp(own->controller.name, state->set_name) != 0)
        state_follow_set(state, own->controller.name);
}

static void state_on_crowd(void *ctx)
{
    struct kube_state *state = ctx;
    state_changed(state);
    state_check_owner(state);
}

static void state_on_watch_state(void *ctx)
{
    struct kube_state *state = ctx;
    state_changed(state);
}

/* ---- StatefulSet ---- */

static void state_take_set(struct kube_state *state, const struct kube_stateful_set *set)
{
    /* The field selector names one object, but a server that ignores it must not mislead us. */
    if (strcmp(set->meta.name, state->set_name) != 0)
        return;
    state->set = *set;
    state->set_present = state->set_listed = true;
    kube_crowd_follow(state->crowd, &state->set);
}

static void state_set_begin(void *ctx)
{
    struct kube_state *state = ctx;
    state->set_listed = false;
}

static void state_set_item(void *ctx, const struct kube_object *object)
{
    state_take_set(ctx, &object->stateful_set);
}

static void state_set_commit(void *ctx)
{
    struct kube_state *state = ctx;
    state->set_present = state->set_listed;
    state_changed(state);
}

static void state_set_event(void *ctx, enum kube_watch_type type, const struct kube_object *object)
{
    struct kube_state *state = ctx;
    if (type == KUBE_DELETED)
        state->set_present = false;
    else
        state_take_set(state, &object->stateful_set);
    state_changed(state);
}

/* ---- record ---- */

static void state_take_record(struct kube_state *state, const struct kube_config_map *map)
{
    char expected[KUBE_NAME_SIZE];
    text_format(expected, sizeof expected, "%s-muster", state->set_name);
    if (strcmp(map->meta.name, expected) == 0)
        kube_record_take(&state->record, map);
}

static void state_record_begin(void *ctx)
{
    struct kube_state *state = ctx;
    kube_record_begin(&state->record);
}

static void state_record_item(void *ctx, const struct kube_object *object)
{
    state_take_record(ctx, &object->config_map);
}

static void state_record_commit(void *ctx)
{
    struct kube_state *state = ctx;
    kube_record_commit(&state->record);
    state_changed(state);
}

static void state_record_event(void *ctx, enum kube_watch_type type,
                               const struct kube_object *object)
{
    struct kube_state *state = ctx;
    if (kube_record_is_before(&state->record, object->meta.resource_version))
        return;
    if (type == KUBE_DELETED)
        kube_record_lose(&state->record);
    else
        state_take_record(state, &object->config_map);
    state_changed(state);
}

/* ---- the set's name ---- */

static void state_watch_named(struct kube_state *state)
{
    char field[sizeof "metadata.name=" + KUBE_NAME_SIZE];
    text_format(field, sizeof field, "metadata.name=%s", state->set_name);
    struct kube_watch_config set = {
        .what = "statefulset",
        .group = "apps/v1",
        .resource = "statefulsets",
        .kind = KUBE_STATEFUL_SET,
        .field_selector = field,
        .store = {state_set_begin, state_set_item, state_set_commit, state_set_event,
                  state_on_watch_state, state},
        .seed = rng_next(&state->rng),
    };
    state->set_watch = kube_watch_new(state->loop, state->client, &set);

    text_format(field, sizeof field, "metadata.name=%s-muster", state->set_name);
    struct kube_watch_config record = {
        .what = "record",
        .group = "",
        .resource = "configmaps",
        .kind = KUBE_CONFIG_MAP,
        .field_selector = field,
        .store = {state_record_begin, state_record_item, state_record_commit, state_record_event,
                  state_on_watch_state, state},
        .seed = rng_next(&state->rng),
    };
    state->record_watch = kube_watch_new(state->loop, state->client, &record);
}

/* Everything that hangs on the name starts anew; nothing known under the old one is kept. */
static void state_follow_set(struct kube_state *state, const char *name)
{
    text_format(state->set_name, sizeof state->set_name, "%s", name); /* it may be a pod's */
    kube_watch_free(state->set_watch);
    kube_watch_free(state->record_watch);
    state->set_watch = state->record_watch = NULL;
    kube_crowd_follow(state->crowd, NULL);
    state->set_present = false;
    state->set = (struct kube_stateful_set){0};
    kube_record_forget(&state->record);
    LOG(LOG_INFO, "statefulset_found", LOG_ABOUT("statefulset"), LOG_S("name", state->set_name));
    state_watch_named(state);
    loop_timer_arm(state->timer, STATE_IDLE_MS);
    state_changed(state);
}

static int state_take_own_pod(struct kube_state *state, struct span body, struct err *err)
{
    struct arena arena;
    struct kube_object object;
    arena_init(&arena, STATE_OBJECT_ARENA_MAX);
    int rc = kube_object_parse(body, KUBE_POD, &arena, &object, err);
    arena_deinit(&arena);
    if (rc < 0)
        return rc;
    const struct kube_owner *owner = &object.pod.controller;
    if (strcmp(owner->kind, "StatefulSet") != 0)
        return err_set(err, E_INVALID, "pod %s is controlled by %s, not by a StatefulSet%s",
                       state->pod_name, owner->kind[0] ? owner->kind : "nothing",
                       owner->kind[0] ? "" : ": waiting for one to adopt it");
    state_follow_set(state, owner->name);
    return 0;
}

static void state_find_set_later(struct kube_state *state, const struct err *err,
                                 int64_t retry_after_ms)
{
    if (strcmp(state->name_problem.msg, err->msg) != 0)
        LOG(LOG_WARN, "statefulset_unknown", LOG_ABOUT("statefulset"), LOG_S("reason", err->msg));
    state->name_problem = *err;
    state->failures++;
    int64_t delay_ms =
        backoff_ms(&state->rng, state->failures, KUBE_WATCH_BACKOFF_MS, KUBE_WATCH_BACKOFF_CAP_MS);
    loop_timer_arm(state->timer, delay_ms + retry_after_ms);
}

static void state_on_own_pod(void *ctx, const struct kube_answer *answer)
{
    struct kube_state *state = ctx;
    struct err err = answer->err;
    state->request = NULL;
    if (err.code == E_OK)
        (void)state_take_own_pod(state, answer->body, &err);
    if (err.code != E_OK)
        state_find_set_later(state, &err, answer->retry_after_ms);
    else
        state->name_problem = (struct err){0};
}

static void state_find_set(struct kube_state *state)
{
    auto_buf struct buf path;
    buf_init(&path, KIB(2));
    kube_path(state->client, &path, "", "pods", state->pod_name);
    struct kube_call call = {
        .verb = KUBE_GET, .path = buf_str(&path), .on_done = state_on_own_pod, .ctx = state};
    struct err err = {0};
    state->request = kube_start(state->client, &call, &err);
    if (!state->request)
        state_find_set_later(state, &err, 0);
}

static void state_on_timer(void *ctx)
{
    struct kube_state *state = ctx;
    if (!state->set_name[0]) {
        state_find_set(state);
        return;
    }
    kube_crowd_want_zones(state->crowd);
    loop_timer_arm(state->timer, STATE_IDLE_MS);
}

/* ---- interface ---- */

struct kube_state *kube_state_new(struct loop *loop, struct kube_client *client,
                                  const struct kube_state_config *config)
{
    struct kube_state *state = xcalloc(1, sizeof *state);
    state->loop = loop;
    state->client = client;
    state->pod_name = xstrdup(config->pod_name);
    state->configured = config->stateful_set && config->stateful_set[0];
    state->rng.state = config->seed;
    state->on_change = config->on_change;
    state->ctx = config->ctx;
    state->timer = loop_timer_new(loop, state_on_timer, state);
    struct kube_crowd_config crowd = {.own_pod = state->pod_name,
                                      .seed = rng_next(&state->rng),
                                      .on_change = state_on_crowd,
                                      .ctx = state};
    state->crowd = kube_crowd_new(loop, client, &crowd);
    kube_record_init(&state->record);
    if (state->configured)
        state_follow_set(state, config->stateful_set);
    else
        state_find_set(state);
    return state;
}

void kube_state_free(struct kube_state *state)
{
    if (!state)
        return;
    kube_cancel(state->request);
    kube_watch_free(state->set_watch);
    kube_watch_free(state->record_watch);
    kube_crowd_free(state->crowd);
    loop_timer_free(state->timer);
    kube_record_deinit(&state->record);
    free(state->pod_name);
    free(state);
}

void kube_state_lead(struct kube_state *state, bool leading)
{
    kube_crowd_lead(state->crowd, leading);
}

const struct kube_stateful_set *kube_state_set(const struct kube_state *state)
{
    return state->set.meta.uid[0] ? &state->set : NULL;
}

bool kube_state_set_absent(const struct kube_state *state)
{
    return state->set_watch && kube_watch_synced(state->set_watch) && !state->set_present;
}

const char *kube_state_set_name(const struct kube_state *state)
{
    return state->set_name;
}

const struct kube_pod *kube_state_pods(const struct kube_state *state, size_t *ret_count)
{
    return kube_crowd_pods(state->crowd, ret_count);
}

const struct kube_pod *kube_state_find_pod(const struct kube_state *state, const char *name)
{
    return kube_crowd_find(state->crowd, name);
}

const char *kube_state_zone(const struct kube_state *state, const struct kube_pod *pod)
{
    return kube_crowd_zone(state->crowd, pod);
}

bool kube_state_zone_pending(const struct kube_state *state, const struct kube_pod *pod)
{
    return kube_crowd_zone_pending(state->crowd, pod);
}

enum presence kube_state_record(const struct kube_state *state, const struct record **ret_record)
{
    *ret_record = kube_record_present(&state->record);
    return state->record.presence;
}

const struct record *kube_state_record_copy(const struct kube_state *state)
{
    return state->record.ever ? &state->record.copy : NULL;
}

const char *kube_state_record_version(const struct kube_state *state)
{
    return state->record.version;
}

void kube_state_record_written(struct kube_state *state, const struct record *record,
                               const char *version)
{
    kube_record_written(&state->record, record, version);
}

int64_t kube_state_seen_ms(const struct kube_state *state)
{
    const struct kube_watch *needed[] = {state->set_watch, state->record_watch};
    int64_t oldest_ms = kube_crowd_seen_ms(state->crowd);
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (!needed[i] || !kube_watch_synced(needed[i]))
            return 0;
        int64_t seen_ms = kube_watch_seen_ms(needed[i]);
        if (seen_ms < oldest_ms)
            oldest_ms = seen_ms;
    }
    return oldest_ms;
}

bool kube_state_broken(const struct kube_state *state)
{
    const struct kube_watch *needed[] = {state->set_watch, state->record_watch};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (needed[i] && kube_watch_broken(needed[i]))
            return true;
    return kube_crowd_broken(state->crowd);
}

static const char *state_watch_problem(const struct kube_state *state)
{
    const struct kube_watch *needed[] = {state->set_watch, state->record_watch};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (needed[i] && kube_watch_problem(needed[i])[0])
            return kube_watch_problem(needed[i]);
    return kube_crowd_problem(state->crowd);
}

const char *kube_state_problem(const struct kube_state *state)
{
    if (!state->set_name[0])
        return state->name_problem.msg;
    const char *problem = state_watch_problem(state);
    if (problem[0])
        return problem;
    return state->record.problem;
}
