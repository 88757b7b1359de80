/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kube_watch.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/rng.h"
#include "io/clock.h"
#include "wire/line_split.h"

/* The API server ends a watch itself; spread, so that agents do not come back together. */
#define WATCH_MIN_S 240
#define WATCH_SPREAD_S 61
/* A watch that ends sooner than this counts as a failure, or an eager server makes a busy loop. */
#define WATCH_SHORT_MS 1000
/*
 * A list older than what was seen before is not believed: a cache behind another API server may lag.
 * After this long it is: a cluster restored from a backup really went back.
 */
#define WATCH_BACKWARDS_MS 60000
/* Objects of one page in memory. */
#define WATCH_ARENA_MAX MIB(64)
#define WATCH_PATH_MAX KIB(8)

struct kube_watch {
    struct loop *loop;
    struct kube_client *client;
    const char *what;
    const char *group;
    const char *resource;
    enum kube_kind kind;
    char *label_selector; /* owned */
    char *field_selector; /* owned */
    struct kube_store store;
    int64_t silence_ms;

    struct loop_timer *timer;     /* owned: the next try, or the silence of the watch */
    struct kube_request *request; /* in flight; the client's */
    struct arena arena;
    struct line_split lines;
    struct rng rng;
    struct loop_deferred reap;

    char next[KUBE_CONTINUE_SIZE];       /* of the list under way; "" = first page */
    char version[RESOURCE_VERSION_SIZE]; /* to watch from; "" = list first */
    char listed[RESOURCE_VERSION_SIZE];  /* the highest that was committed or seen */
    int64_t backwards_ms; /* since when lists are older than that; 0 = they are not */
    unsigned failures;
    struct err stop;    /* why on_data gave the stream up */
    struct err problem; /* why it is not live */
    bool synced;
    bool fresh;     /* it has no connection of its own yet */
    bool streaming; /* the request is a watch, else a list page */
    bool live;
    bool denied;
    bool lost_said; /* the loss was logged */
    bool freed;
    int64_t opened_ms;
    int64_t before_ms; /* seen_ms when it was opened, until it has said something; then 0 */
    int64_t seen_ms;
};

static void watch_send(struct kube_watch *watch);

static void watch_notify(const struct kube_watch *watch)
{
    if (watch->store.on_state)
        watch->store.on_state(watch->store.ctx);
}

static void watch_set_live(struct kube_watch *watch)
{
    watch->denied = false;
    watch->problem = (struct err){0};
    if (watch->live)
        return;
    watch->live = true;
    watch->lost_said = false;
    LOG(LOG_INFO, "watch_connected", LOG_ABOUT("watch"), LOG_ABOUT(watch->what),
        LOG_S("what", watch->what));
    watch_notify(watch);
}

/* Not for the regular end of a watch: that is opened again at once. */
static void watch_set_lost(struct kube_watch *watch, const struct err *err)
{
    bool changed = watch->live;
    bool denied = err->code == E_AUTH || err->code == E_NOT_FOUND;
    changed = changed || denied != watch->denied;
    watch->live = false;
    watch->denied = denied;
    watch->problem = *err;
    if (!watch->lost_said || changed) {
        watch->lost_said = true;
        LOG(LOG_WARN, "watch_lost", LOG_ABOUT("watch"), LOG_ABOUT(watch->what),
            LOG_S("what", watch->what), LOG_S("reason", err->msg));
    }
    if (changed)
        watch_notify(watch);
}

static void watch_retry(struct kube_watch *watch, const struct err *err, int64_t retry_after_ms)
{
    watch->failures++;
    watch_set_lost(watch, err);
    if (watch->freed)
        return;
    int64_t delay_ms =
        backoff_ms(&watch->rng, watch->failures, KUBE_WATCH_BACKOFF_MS, KUBE_WATCH_BACKOFF_CAP_MS);
    if (retry_after_ms > 0) /* and not all at the very moment */
        delay_ms += retry_after_ms;
    loop_timer_arm(watch->timer, delay_ms);
}

/* From the beginning: what we hold stays the last known until a new list is complete. */
static void watch_relist(struct kube_watch *watch, const struct err *err, int64_t retry_after_ms)
{
    watch->version[0] = '\0';
    watch->next[0] = '\0';
    watch_retry(watch, err, retry_after_ms);
}

static void watch_set_version(char *dst, const char *version)
{
    text_format(dst, RESOURCE_VERSION_SIZE, "%s", version);
}

bool kube_version_is_older(const char *version, const char *than)
{
    uint64_t a, b;
    return text_to_u64(span_of(version), UINT64_MAX, &a) &&
           text_to_u64(span_of(than), UINT64_MAX, &b) && a < b;
}

static bool watch_is_backwards(struct kube_watch *watch, const char *version, int64_t now_ms)
{
    if (!kube_version_is_older(version, watch->listed)) {
        watch->backwards_ms = 0;
        return false;
    }
    if (!watch->backwards_ms)
        watch->backwards_ms = now_ms;
    return now_ms - watch->backwards_ms < WATCH_BACKWARDS_MS;
}

static int watch_on_item(void *ctx, const struct kube_object *object, struct err *err)
{
    const struct kube_watch *watch = ctx;
    if (watch->freed) /* by the store, while it took the item before */
        return err_set(err, E_GONE, "no longer wanted");
    watch->store.on_item(watch->store.ctx, object);
    return 0;
}

/* 0 when the page was stored; the list goes on while watch->next is set. */
static int watch_take_page(struct kube_watch *watch, struct span body, struct err *err)
{
    struct kube_list list;
    if (!watch->next[0])
        watch->store.on_begin(watch->store.ctx);
    int rc = kube_list_parse(body, watch->kind, &watch->arena, watch_on_item, watch, &list, err);
    if (rc < 0)
        return rc;
    int64_t now_ms = clock_mono_ms();
    if (watch_is_backwards(watch, list.resource_version, now_ms))
        return err_set(err, E_GONE, "version %s is older than %s, which was seen before",
                       list.resource_version, watch->listed);
    text_format(watch->next, sizeof watch->next, "%s", list.next);
    if (watch->next[0])
        return 0;
    watch_set_version(watch->version, list.resource_version);
    watch_set_version(watch->listed, list.resource_version);
    watch->seen_ms = now_ms;
    watch->synced = true;
    watch->backwards_ms = 0;
    watch->store.on_commit(watch->store.ctx);
    return 0;
}

static void watch_on_page(void *ctx, const struct kube_answer *answer)
{
    struct kube_watch *watch = ctx;
    watch->request = NULL;
    struct err err = answer->err;
    if (err.code == E_OK)
        (void)watch_take_page(watch, answer->body, &err);
    arena_deinit(&watch->arena); /* a list is rare and large */
    if (err.code != E_OK) {
        (void)err_wrap(&err, "list");
        if (!watch->freed)
            watch_relist(watch, &err, answer->retry_after_ms);
    } else if (!watch->freed) {
        watch->fresh = true;
        watch_send(watch);
    }
}

static int watch_take_event(struct kube_watch *watch, const struct kube_watch_event *event,
                            struct err *err)
{
    switch (event->type) {
    case KUBE_ERROR:
        return err_set(err, event->status.code == 410 ? E_GONE : E_PROTO, "ERROR event %d: %s",
                       event->status.code, event->status.message);
    case KUBE_ADDED:
    case KUBE_MODIFIED:
    case KUBE_DELETED:
        watch->store.on_event(watch->store.ctx, event->type, &event->object);
        break;
    case KUBE_BOOKMARK:
        break;
    case KUBE_WATCH_NONE:
        return err_set(err, E_PROTO, "event without a type");
    }
    const char *version = event->object.meta.resource_version;
    watch_set_version(watch->version, version);
    if (!kube_version_is_older(version, watch->listed))
        watch_set_version(watch->listed, version);
    return 0;
}

static int watch_on_line(void *ctx, struct span line, struct err *err)
{
    struct kube_watch *watch = ctx;
    if (watch->freed) /* by the store, while it took the line before */
        return err_set(err, E_GONE, "no longer wanted");
    struct kube_watch_event event;
    arena_reset(&watch->arena);
    int rc = kube_watch_parse(line, watch->kind, &watch->arena, &event, err);
    if (rc == 0)
        rc = watch_take_event(watch, &event, err);
    if (rc == 0) {
        watch->failures = 0;
        watch->before_ms = 0;
    }
    return rc;
}

/*
 * A restarted API server opens the watch, and then says that it does not know the version: what has
 * changed since the last watch was lost, however long ago, is not known.
 */
static bool watch_on_data(void *ctx, struct span bytes)
{
    struct kube_watch *watch = ctx;
    int64_t now_ms = clock_mono_ms();
    loop_timer_arm(watch->timer, watch->silence_ms);
    if (bytes.len == 0) {
        watch->before_ms = watch->seen_ms;
        watch->opened_ms = watch->seen_ms = now_ms;
        watch_set_live(watch);
        return true;
    }
    watch->seen_ms = now_ms;
    if (line_split_feed(&watch->lines, bytes, watch_on_line, watch, &watch->stop) == 0)
        return true;
    if (watch->before_ms)
        watch->seen_ms = watch->before_ms;
    return false;
}

/*
 * Given up by ourselves: what was received is not to be trusted, list again. Refused or gone: list
 * again. Ended by the server or the network: go on from the last version that was seen.
 */
static void watch_on_end(void *ctx, const struct kube_answer *answer)
{
    struct kube_watch *watch = ctx;
    watch->request = NULL;
    loop_timer_disarm(watch->timer);
    arena_deinit(&watch->arena);
    if (watch->stop.code != E_OK) {
        (void)err_wrap(&watch->stop, "watch");
        watch_relist(watch, &watch->stop, 0);
        return;
    }
    struct err err = answer->err;
    if (watch->opened_ms && clock_mono_ms() - watch->opened_ms >= WATCH_SHORT_MS) {
        watch->failures = 0;
        if (err.code == E_OK) {
            watch_send(watch);
            return;
        }
    }
    if (err.code == E_OK)
        (void)err_set(&err, E_UNREACHABLE, "the watch ended at once");
    bool answered = answer->status != 0 && answer->status / 100 != 5 && answer->status != 429;
    if (answered)
        watch_relist(watch, &err, answer->retry_after_ms);
    else
        watch_retry(watch, &err, answer->retry_after_ms);
}

static void watch_path(const struct kube_watch *watch, struct buf *path)
{
    buf_init(path, WATCH_PATH_MAX);
    kube_path(watch->client, path, watch->group, watch->resource, NULL);
    if (watch->label_selector[0])
        kube_path_query(path, "labelSelector", watch->label_selector);
    if (watch->field_selector[0])
        kube_path_query(path, "fieldSelector", watch->field_selector);
}

static void watch_send_list(struct kube_watch *watch)
{
    auto_buf struct buf path;
    char limit[16];
    watch_path(watch, &path);
    text_format(limit, sizeof limit, "%d", KUBE_PAGE_SIZE);
    kube_path_query(&path, "limit", limit);
    if (watch->next[0])
        kube_path_query(&path, "continue", watch->next);
    struct kube_call call = {
        .verb = KUBE_LIST, .path = buf_str(&path), .on_done = watch_on_page, .ctx = watch};
    struct err err = {0};
    watch->request = kube_start(watch->client, &call, &err);
    if (!watch->request)
        watch_relist(watch, &err, 0);
}

static void watch_send_watch(struct kube_watch *watch)
{
    auto_buf struct buf path;
    char seconds[16];
    watch_path(watch, &path);
    text_format(seconds, sizeof seconds, "%d",
                WATCH_MIN_S + (int)rng_below(&watch->rng, WATCH_SPREAD_S));
    kube_path_query(&path, "watch", "true");
    kube_path_query(&path, "allowWatchBookmarks", "true");
    kube_path_query(&path, "resourceVersion", watch->version);
    kube_path_query(&path, "timeoutSeconds", seconds);
    struct kube_call call = {.verb = KUBE_WATCH,
                             .path = buf_str(&path),
                             .fresh = watch->fresh,
                             .on_data = watch_on_data,
                             .on_done = watch_on_end,
                             .ctx = watch};
    struct err err = {0};
    line_split_clear(&watch->lines);
    watch->stop = (struct err){0};
    watch->fresh = false;
    watch->opened_ms = 0;
    watch->request = kube_start(watch->client, &call, &err);
    if (watch->request)
        loop_timer_arm(watch->timer, watch->silence_ms);
    else
        watch_retry(watch, &err, 0);
}

static void watch_send(struct kube_watch *watch)
{
    watch->streaming = watch->version[0] != '\0';
    if (watch->streaming)
        watch_send_watch(watch);
    else
        watch_send_list(watch);
}

/* Either the time for the next try, or a watch that has been silent for too long. */
static void watch_on_timer(void *ctx)
{
    struct kube_watch *watch = ctx;
    if (!watch->request) {
        watch_send(watch);
        return;
    }
    struct err err = {0};
    (void)err_set(&err, E_TIMEOUT, "watch: nothing for %lld ms", (long long)watch->silence_ms);
    kube_cancel(watch->request);
    watch->request = NULL;
    watch_relist(watch, &err, 0);
}

/* KUBE_WATCH_SILENCE_MS is longer than a test that waits for its end. */
static int64_t watch_silence_ms(const struct kube_watch_config *config)
{
    uint64_t ms = KUBE_WATCH_SILENCE_MS;
#ifdef MUSTER_TESTING
    const char *text = getenv("MUSTER_TEST_WATCH_SILENCE_MS");
    if (text)
        (void)text_to_u64(span_of(text), UINT32_MAX, &ms);
#endif
    return config->silence_ms ? config->silence_ms : (int64_t)ms;
}

struct kube_watch *kube_watch_new(struct loop *loop, struct kube_client *client,
                                  const struct kube_watch_config *config)
{
    struct kube_watch *watch = xcalloc(1, sizeof *watch);
    watch->loop = loop;
    watch->client = client;
    watch->what = config->what;
    watch->group = config->group;
    watch->resource = config->resource;
    watch->kind = config->kind;
    watch->label_selector = xstrdup(config->label_selector ? config->label_selector : "");
    watch->field_selector = xstrdup(config->field_selector ? config->field_selector : "");
    watch->store = config->store;
    watch->silence_ms = watch_silence_ms(config);
    watch->rng.state = config->seed;
    watch->timer = loop_timer_new(loop, watch_on_timer, watch);
    arena_init(&watch->arena, WATCH_ARENA_MAX);
    line_split_init(&watch->lines, WATCH_LINE_MAX);
    watch_send(watch);
    return watch;
}

static void watch_on_reap(void *ctx)
{
    struct kube_watch *watch = ctx;
    arena_deinit(&watch->arena);
    line_split_deinit(&watch->lines);
    free(watch->label_selector);
    free(watch->field_selector);
    free(watch);
}

void kube_watch_free(struct kube_watch *watch)
{
    if (!watch)
        return;
    assert(!watch->freed);
    watch->freed = true;
    kube_cancel(watch->request);
    watch->request = NULL;
    loop_timer_free(watch->timer);
    watch->timer = NULL;
    loop_defer(watch->loop, &watch->reap, watch_on_reap, watch);
}

bool kube_watch_synced(const struct kube_watch *watch)
{
    return watch->synced;
}

bool kube_watch_live(const struct kube_watch *watch)
{
    return watch->live;
}

bool kube_watch_denied(const struct kube_watch *watch)
{
    return watch->denied;
}

const char *kube_watch_problem(const struct kube_watch *watch)
{
    return watch->problem.msg;
}

bool kube_watch_broken(const struct kube_watch *watch)
{
    return watch->synced && !watch->live && watch->problem.code &&
           clock_mono_ms() - watch->seen_ms > KUBE_WATCH_BROKEN_MS;
}

int64_t kube_watch_seen_ms(const struct kube_watch *watch)
{
    return watch->seen_ms;
}
