/* SPDX-License-Identifier: Apache-2.0 */
#include "io/event_client.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "io/clock.h"
#include "wire/kube_json.h"

#define EVENT_REASON_SIZE 128
#define EVENT_BODY_MAX KIB(16)

struct event_note {
    bool warning;
    int64_t unix_ms;
    char reason[EVENT_REASON_SIZE];
    char *message; /* owned */
};

struct event_client {
    struct kube_client *client;
    char *pod_name; /* owned */
    char set_name[KUBE_NAME_SIZE];
    char set_uid[UID_SIZE];

    struct event_note notes[EVENT_QUEUE_MAX]; /* a ring */
    size_t first;
    size_t count;
    uint64_t serial; /* makes names unique within one millisecond */
    struct kube_request *request;
    struct loop_timer *timer; /* owned: the next may be sent */
    bool denied;
    bool failing; /* the failure was logged */

    struct loop_timer *limit; /* owned: nobody waits for the rest any longer */
    loop_fn on_finished;      /* NULL = nobody waits */
    void *finished_ctx;
};

static void event_client_drop_first(struct event_client *events)
{
    free(events->notes[events->first].message);
    events->first = (events->first + 1) % EVENT_QUEUE_MAX;
    events->count--;
}

static void event_client_on_limit(void *ctx)
{
    struct event_client *events = ctx;
    loop_fn on_finished = events->on_finished;
    events->on_finished = NULL;
    loop_timer_disarm(events->limit);
    size_t left = events->count + (events->request != NULL);
    if (on_finished && left)
        LOG(LOG_WARN, "event_lost", LOG_S("reason", "the agent ends before the API has taken it"),
            LOG_I("left", (int64_t)left));
    if (on_finished)
        on_finished(events->finished_ctx);
}

static void event_client_tell_if_idle(struct event_client *events)
{
    if (!events->request && (!events->count || !events->set_name[0]))
        event_client_on_limit(events);
}

static void event_client_on_done(void *ctx, const struct kube_answer *answer)
{
    struct event_client *events = ctx;
    events->request = NULL;
    if (answer->err.code == E_AUTH) {
        events->denied = true;
        while (events->count)
            event_client_drop_first(events);
        LOG(LOG_WARN, "events_denied", LOG_S("reason", answer->err.msg));
        event_client_tell_if_idle(events);
        return;
    }
    /* Told once while it lasts; the Event itself is lost, for it is only a convenience. */
    bool failed = answer->err.code != E_OK;
    if (failed && !events->failing)
        LOG(LOG_WARN, "event_lost", LOG_S("reason", answer->err.msg));
    events->failing = failed;
    loop_timer_arm(events->timer, EVENT_PERIOD_MS + answer->retry_after_ms);
    event_client_tell_if_idle(events);
}

static int event_client_body(struct event_client *events, const struct event_note *note,
                             struct buf *body)
{
    auto_buf struct buf name;
    buf_init(&name, KUBE_NAME_SIZE - 1);
    (void)buf_format(&name, "%s.%" PRIx64 "-%" PRIx64, events->set_name, (uint64_t)note->unix_ms,
                     events->serial++);
    struct kube_event event = {
        .namespace = kube_client_namespace(events->client),
        .name = buf_str(&name),
        .about = {"apps/v1", "StatefulSet", events->set_name, events->set_uid},
        .reason = note->reason,
        .message = note->message,
        .warning = note->warning,
        .count = 1,
        .first_unix_ms = note->unix_ms,
        .last_unix_ms = note->unix_ms,
        .instance = events->pod_name,
    };
    return kube_event_format(&event, body);
}

static void event_client_send(struct event_client *events)
{
    if (events->request || !events->count || !events->set_name[0] ||
        loop_timer_armed(events->timer))
        return;
    auto_buf struct buf body;
    auto_buf struct buf path;
    buf_init(&body, EVENT_BODY_MAX);
    buf_init(&path, KIB(2));
    kube_path(events->client, &path, "", "events", NULL);
    if (event_client_body(events, &events->notes[events->first], &body) == 0) {
        struct kube_call call = {
            .verb = KUBE_POST,
            .path = buf_str(&path),
            .body = {buf_str(&body), body.len},
            .on_done = event_client_on_done,
            .ctx = events,
        };
        events->request = kube_start(events->client, &call, NULL);
    }
    event_client_drop_first(events);
    if (!events->request)
        loop_timer_arm(events->timer, EVENT_PERIOD_MS);
}

static void event_client_on_timer(void *ctx)
{
    event_client_send(ctx);
    event_client_tell_if_idle(ctx);
}

struct event_client *event_client_new(struct loop *loop, struct kube_client *client,
                                      const char *pod_name)
{
    struct event_client *events = xcalloc(1, sizeof *events);
    events->client = client;
    events->pod_name = xstrdup(pod_name);
    /* A name that this process did not use before, nor the one before it. */
    events->serial = clock_entropy() & UINT64_C(0xffffff);
    events->timer = loop_timer_new(loop, event_client_on_timer, events);
    events->limit = loop_timer_new(loop, event_client_on_limit, events);
    return events;
}

void event_client_free(struct event_client *events)
{
    if (!events)
        return;
    kube_cancel(events->request);
    while (events->count)
        event_client_drop_first(events);
    loop_timer_free(events->timer);
    loop_timer_free(events->limit);
    free(events->pod_name);
    free(events);
}

void event_client_about(struct event_client *events, const char *set_name, const char *set_uid)
{
    text_format(events->set_name, sizeof events->set_name, "%s", set_name);
    text_format(events->set_uid, sizeof events->set_uid, "%s", set_uid);
    event_client_send(events);
}

void event_client_post(struct event_client *events, bool warning, const char *reason,
                       const char *message)
{
    if (events->denied)
        return;
    if (events->count == EVENT_QUEUE_MAX)
        event_client_drop_first(events);
    size_t at = (events->first + events->count++) % EVENT_QUEUE_MAX;
    struct event_note *note = &events->notes[at];
    *note = (struct event_note){.warning = warning, .unix_ms = clock_unix_ms()};
    text_format(note->reason, sizeof note->reason, "%s", reason);
    size_t len = strlen(message);
    note->message = xstrndup(message, len < EVENT_MESSAGE_SIZE ? len : EVENT_MESSAGE_SIZE - 1);
    event_client_send(events);
}

void event_client_finish(struct event_client *events, loop_fn on_done, void *ctx)
{
    if (events->on_finished)
        return;
    events->on_finished = on_done;
    events->finished_ctx = ctx;
    loop_timer_arm(events->limit, EVENT_FINISH_MS);
    event_client_tell_if_idle(events);
}
