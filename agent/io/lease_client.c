/* SPDX-License-Identifier: Apache-2.0 */
#include "io/lease_client.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "core/lease.h"
#include "io/clock.h"
#include "wire/kube_json.h"

#define LEASE_GROUP "coordination.k8s.io/v1"
#define LEASE_OBJECT_MAX KIB(64)
#define LEASE_ARENA_MAX MIB(1)
/* How often the fence and the holder's expiry are looked at without any answer. */
#define LEASE_LOOK_MS 1000
#define LEASE_RELEASE_MS 2000
/* One conflict is a race, and two may be; this many are worth a line. */
#define LEASE_CONFLICTS_SAID 3

struct lease_client {
    struct loop *loop;
    struct kube_client *client;
    char *pod_name; /* owned */
    int duration_s;
    uint64_t seed;
    void (*on_change)(void *ctx);
    void *ctx;

    char name[KUBE_NAME_SIZE]; /* "" = idle */
    struct lease_state state;
    enum lease_verb verb; /* of the request in flight */
    struct kube_request *request;
    struct loop_timer *timer;           /* owned: the next step */
    char acquire_time[LEASE_TIME_SIZE]; /* as read or as last written */

    bool said_may_act; /* what on_change was last called for */
    char said_holder[LEASE_HOLDER_SIZE];
    struct err said_problem; /* the failure that was last logged */

    bool releasing;
    struct loop_timer *release_timer; /* owned; NULL unless releasing */
    loop_fn on_released;
    void *on_released_ctx;
};

static void lease_client_step(struct lease_client *lease);

static void lease_client_compare(struct lease_client *lease)
{
    bool may_act = lease_client_may_act(lease);
    const char *holder = lease_client_holder(lease);
    if (may_act == lease->said_may_act && strcmp(holder, lease->said_holder) == 0)
        return;
    lease->said_may_act = may_act;
    text_format(lease->said_holder, sizeof lease->said_holder, "%s", holder);
    lease->on_change(lease->ctx);
}

static void lease_client_schedule(struct lease_client *lease)
{
    int64_t wait_ms = LEASE_LOOK_MS;
    if (!lease->request) {
        int64_t next_ms = lease_next_ms(&lease->state) - clock_boot_ms();
        if (next_ms < wait_ms)
            wait_ms = next_ms;
    }
    loop_timer_arm(lease->timer, wait_ms);
}

static void lease_client_released(struct lease_client *lease)
{
    loop_fn on_released = lease->on_released;
    lease->on_released = NULL;
    loop_timer_disarm(lease->timer);
    if (lease->release_timer)
        loop_timer_disarm(lease->release_timer);
    if (on_released)
        on_released(lease->on_released_ctx);
}

/* Said once for each kind of failure; the holder's changes are the agent's to tell. */
static void lease_client_log(struct lease_client *lease, const struct err *err)
{
    bool same = lease->said_problem.code == err->code;
    lease->said_problem = *err;
    if (same)
        return;
    if (err->code == E_OK)
        LOG(LOG_INFO, "lease_reachable", LOG_ABOUT("lease"), LOG_S("lease", lease->name));
    else
        LOG(LOG_WARN, "lease_failing", LOG_ABOUT("lease"), LOG_S("lease", lease->name),
            LOG_S("reason", err->msg));
}

static int lease_client_take(struct lease_client *lease, struct span body, struct err *err)
{
    struct arena arena;
    struct kube_object object;
    arena_init(&arena, LEASE_ARENA_MAX);
    int rc = kube_object_parse(body, KUBE_LEASE, &arena, &object, err);
    arena_deinit(&arena);
    if (rc < 0)
        return rc;
    memcpy(lease->acquire_time, object.lease.acquire_time, sizeof lease->acquire_time);
    lease_on_object(&lease->state, clock_boot_ms(), &object.lease.lease);
    return 0;
}

static void lease_client_on_done(void *ctx, const struct kube_answer *answer)
{
    struct lease_client *lease = ctx;
    int64_t boot_ms = clock_boot_ms();
    struct err err = answer->err;
    lease->request = NULL;
    if (err.code == E_OK && lease_client_take(lease, answer->body, &err) == 0) {
        if (!lease->state.conflicts) /* else it can be read, but not written */
            lease_client_log(lease, &err);
    } else if (err.code == E_NOT_FOUND) {
        lease_on_absent(&lease->state, boot_ms);
    } else if (err.code == E_CONFLICT) {
        lease_on_conflict(&lease->state, boot_ms);
        if (lease->state.conflicts >= LEASE_CONFLICTS_SAID)
            lease_client_log(lease, &err);
    } else {
        lease_on_failure(&lease->state, boot_ms, answer->retry_after_ms);
        lease_client_log(lease, &err);
    }
    lease_client_compare(lease);
    lease_client_step(lease);
}

static int lease_client_body(struct lease_client *lease, struct lease *object, struct buf *body)
{
    kube_time_format_micro(clock_unix_ms(), object->renew_time);
    const struct lease_state *state = &lease->state;
    bool renewed =
        state->known && !state->absent && strcmp(state->seen.holder, object->holder) == 0;
    if (!renewed || !lease->acquire_time[0])
        memcpy(lease->acquire_time, object->renew_time, sizeof lease->acquire_time);
    return kube_lease_format(kube_client_namespace(lease->client), lease->name, object,
                             lease->acquire_time, body);
}

static void lease_client_send(struct lease_client *lease, enum lease_verb verb,
                              struct lease *object)
{
    auto_buf struct buf path;
    auto_buf struct buf body;
    struct err err = {0};
    buf_init(&path, KIB(2));
    buf_init(&body, LEASE_OBJECT_MAX);
    kube_path(lease->client, &path, LEASE_GROUP, "leases",
              verb == LEASE_CREATE ? NULL : lease->name);
    if (verb == LEASE_CREATE)
        object->resource_version[0] = '\0';
    int rc = verb == LEASE_GET ? 0 : lease_client_body(lease, object, &body);
    struct kube_call call = {
        .verb = verb == LEASE_GET      ? KUBE_GET
                : verb == LEASE_CREATE ? KUBE_POST
                                       : KUBE_PUT,
        .path = buf_str(&path),
        .body = {buf_str(&body), body.len},
        /* An answer that comes after the next renewal was due is of no use. */
        .timeout_ms = (int64_t)lease->duration_s * 1000 / 3,
        .on_done = lease_client_on_done,
        .ctx = lease,
    };
    if (rc == 0)
        lease->request = kube_start(lease->client, &call, &err);
    else
        (void)err_set(&err, rc, "the Lease is too large");
    if (!lease->request) {
        lease_on_failure(&lease->state, clock_boot_ms(), 0);
        lease_client_log(lease, &err);
    }
}

static void lease_client_step(struct lease_client *lease)
{
    if (!lease->name[0] || lease->request)
        return;
    struct lease object = {0};
    enum lease_verb verb = lease_step(&lease->state, clock_boot_ms(), &object);
    if (verb != LEASE_IDLE) {
        lease_client_send(lease, verb, &object);
    } else if (lease->releasing) {
        lease_client_released(lease);
        return;
    }
    lease_client_schedule(lease);
}

static void lease_client_on_timer(void *ctx)
{
    struct lease_client *lease = ctx;
    lease_client_compare(lease);
    lease_client_step(lease);
    if (lease->request)
        lease_client_schedule(lease);
}

struct lease_client *lease_client_new(struct loop *loop, struct kube_client *client,
                                      const struct lease_client_config *config)
{
    struct lease_client *lease = xcalloc(1, sizeof *lease);
    lease->loop = loop;
    lease->client = client;
    lease->pod_name = xstrdup(config->pod_name);
    lease->duration_s = config->duration_s;
    lease->seed = config->seed;
    lease->on_change = config->on_change;
    lease->ctx = config->ctx;
    lease->timer = loop_timer_new(loop, lease_client_on_timer, lease);
    lease_init(&lease->state, lease->pod_name, lease->duration_s, lease->seed);
    return lease;
}

void lease_client_free(struct lease_client *lease)
{
    if (!lease)
        return;
    kube_cancel(lease->request);
    loop_timer_free(lease->timer);
    loop_timer_free(lease->release_timer);
    free(lease->pod_name);
    free(lease);
}

void lease_client_follow(struct lease_client *lease, const char *name)
{
    if (strcmp(lease->name, name) == 0)
        return;
    kube_cancel(lease->request);
    lease->request = NULL;
    text_format(lease->name, sizeof lease->name, "%s", name);
    size_t crowd = lease->state.crowd;
    lease_init(&lease->state, lease->pod_name, lease->duration_s, lease->seed);
    lease_set_crowd(&lease->state, crowd);
    lease->acquire_time[0] = '\0';
    if (name[0])
        loop_timer_arm(lease->timer, 0);
    else
        loop_timer_disarm(lease->timer);
}

void lease_client_set_crowd(struct lease_client *lease, size_t count)
{
    lease_set_crowd(&lease->state, count);
}

bool lease_client_may_act(const struct lease_client *lease)
{
    return lease->name[0] && lease_may_act(&lease->state, clock_boot_ms());
}

const char *lease_client_holder(const struct lease_client *lease)
{
    return lease->name[0] ? lease_holder(&lease->state, clock_boot_ms()) : "";
}

static void lease_client_on_release_timeout(void *ctx)
{
    lease_client_released(ctx);
}

void lease_client_release(struct lease_client *lease, loop_fn on_done, void *ctx)
{
    if (lease->releasing)
        return;
    lease->releasing = true;
    lease->on_released = on_done;
    lease->on_released_ctx = ctx;
    lease_release(&lease->state);
    lease->release_timer = loop_timer_new(lease->loop, lease_client_on_release_timeout, lease);
    loop_timer_arm(lease->release_timer, lease->name[0] ? LEASE_RELEASE_MS : 0);
    if (lease->name[0])
        loop_timer_arm(lease->timer, 0);
}
