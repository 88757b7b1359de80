/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include <assert.h>
#include <event2/event.h>
#include <signal.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "io/clock.h"

#define LOOP_BEAT_MS 500

struct loop_signal {
    struct event *event; /* owned */
    loop_fn fn;
    void *ctx;
};

struct loop {
    struct event_base *base; /* owned */
    struct event *beat;      /* owned */
    struct loop_signal signals[LOOP_SIGNALS_MAX];
    size_t signal_count;
    struct loop_deferred *deferred; /* in order; items are their owners' */
    struct loop_deferred **deferred_end;
    bool stopped;

    int64_t turned_ms;
    int64_t beat_boot_ms; /* of the last beat, on both clocks */
    int64_t beat_unix_ms;
    int64_t delay_max_ms;
    loop_stall_fn on_stall;
    void *stall_ctx;
};

struct loop_timer {
    struct event *event; /* owned */
    loop_fn fn;
    void *ctx;
};

static struct timeval loop_timeval(int64_t ms)
{
    if (ms < 0)
        ms = 0;
    return (struct timeval){.tv_sec = (time_t)(ms / 1000),
                            .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

static void loop_on_beat(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct loop *loop = arg;
    int64_t boot_ms = clock_boot_ms();
    int64_t unix_ms = clock_unix_ms();
    int64_t passed_ms = boot_ms - loop->beat_boot_ms;
    int64_t delay_ms = passed_ms - LOOP_BEAT_MS;
    int64_t jump_ms = unix_ms - loop->beat_unix_ms - passed_ms;
    if (jump_ms < 0)
        jump_ms = -jump_ms;
    loop->beat_boot_ms = boot_ms;
    loop->beat_unix_ms = unix_ms;
    if (delay_ms > loop->delay_max_ms)
        loop->delay_max_ms = delay_ms;
    int64_t worst_ms = delay_ms > jump_ms ? delay_ms : jump_ms;
    if (worst_ms > LOOP_STALL_MS && loop->on_stall)
        loop->on_stall(loop->stall_ctx, worst_ms);
}

static struct event_base *loop_base_new(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        return NULL;
    /* One thread for ever: no locks. */
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

struct loop *loop_new(struct err *err)
{
    struct event_base *base = loop_base_new();
    if (!base || event_base_priority_init(base, LOOP_PRIORITIES) < 0) {
        if (base)
            event_base_free(base);
        (void)err_set(err, E_SYSTEM, "event loop: the system refuses");
        return NULL;
    }
    /* A peer that closes early is an error of the write, not the end of the process. */
    (void)signal(SIGPIPE, SIG_IGN);
    struct loop *loop = xcalloc(1, sizeof *loop);
    loop->base = base;
    loop->deferred_end = &loop->deferred;
    loop->turned_ms = clock_mono_ms();
    loop->beat_boot_ms = clock_boot_ms();
    loop->beat_unix_ms = clock_unix_ms();
    loop->beat = event_new(base, -1, EV_PERSIST, loop_on_beat, loop);
    assert(loop->beat);
    (void)event_priority_set(loop->beat, LOOP_HOOK);
    struct timeval period = loop_timeval(LOOP_BEAT_MS);
    (void)event_add(loop->beat, &period);
    return loop;
}

/* Runs as many items as are queued now; what they queue is for the next iteration. */
static void loop_run_deferred(struct loop *loop)
{
    size_t count = 0;
    for (const struct loop_deferred *item = loop->deferred; item; item = item->next)
        count++;
    for (; count > 0 && loop->deferred; count--) {
        struct loop_deferred *item = loop->deferred;
        loop->deferred = item->next;
        if (!loop->deferred)
            loop->deferred_end = &loop->deferred;
        item->queued = false;
        item->next = NULL;
        item->fn(item->ctx); /* the item may be gone after this */
    }
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->deferred)
        loop_run_deferred(loop);
    for (size_t i = 0; i < loop->signal_count; i++)
        event_free(loop->signals[i].event);
    event_free(loop->beat);
    event_base_free(loop->base);
    free(loop);
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

void loop_run(struct loop *loop)
{
    /* The time before the first iteration, or between two runs, is no stall. */
    loop->beat_boot_ms = clock_boot_ms();
    loop->beat_unix_ms = clock_unix_ms();
    loop->stopped = false;
    while (!loop->stopped) {
        int flags = EVLOOP_ONCE | (loop->deferred ? EVLOOP_NONBLOCK : 0);
        (void)event_base_loop(loop->base, flags);
        loop->turned_ms = clock_mono_ms();
        loop_run_deferred(loop);
    }
}

struct loop_deadline {
    struct loop *loop;
    bool passed;
};

static void loop_on_deadline(void *ctx)
{
    struct loop_deadline *deadline = ctx;
    deadline->passed = true;
    loop_stop(deadline->loop);
}

bool loop_run_for(struct loop *loop, int64_t duration_ms)
{
    struct loop_deadline deadline = {.loop = loop};
    struct loop_timer *timer = loop_timer_new(loop, loop_on_deadline, &deadline);
    loop_timer_arm(timer, duration_ms);
    loop_run(loop);
    loop_timer_free(timer);
    return !deadline.passed;
}

/*
 * libevent goes on as long as any event is ready, and a connection that is only waiting to be freed
 * may be so for ever: whoever has something to be done outside ends the iteration.
 */
static void loop_end_iteration(struct loop *loop)
{
    (void)event_base_loopbreak(loop->base);
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
    loop_end_iteration(loop);
}

static void loop_on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct loop_timer *timer = arg;
    timer->fn(timer->ctx); /* the timer may be gone after this */
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *ctx)
{
    struct loop_timer *timer = xcalloc(1, sizeof *timer);
    timer->fn = fn;
    timer->ctx = ctx;
    timer->event = event_new(loop->base, -1, 0, loop_on_timer, timer);
    assert(timer->event);
    (void)event_priority_set(timer->event, LOOP_TIMER);
    return timer;
}

void loop_timer_arm(struct loop_timer *timer, int64_t delay_ms)
{
    struct timeval delay = loop_timeval(delay_ms);
    (void)event_add(timer->event, &delay);
}

void loop_timer_disarm(struct loop_timer *timer)
{
    (void)event_del(timer->event);
}

bool loop_timer_armed(const struct loop_timer *timer)
{
    return event_pending(timer->event, EV_TIMEOUT, NULL) != 0;
}

void loop_timer_free(struct loop_timer *timer)
{
    if (!timer)
        return;
    event_free(timer->event);
    free(timer);
}

static void loop_on_signal_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct loop_signal *item = arg;
    item->fn(item->ctx);
}

void loop_on_signal(struct loop *loop, int signo, loop_fn fn, void *ctx)
{
    assert(loop->signal_count < LOOP_SIGNALS_MAX);
    struct loop_signal *item = &loop->signals[loop->signal_count++];
    *item = (struct loop_signal){.fn = fn, .ctx = ctx};
    item->event = evsignal_new(loop->base, signo, loop_on_signal_event, item);
    assert(item->event);
    (void)event_priority_set(item->event, LOOP_HOOK);
    (void)event_add(item->event, NULL);
}

void loop_defer(struct loop *loop, struct loop_deferred *item, loop_fn fn, void *ctx)
{
    if (item->queued)
        return;
    *item = (struct loop_deferred){.fn = fn, .ctx = ctx, .queued = true};
    *loop->deferred_end = item;
    loop->deferred_end = &item->next;
    loop_end_iteration(loop);
}

void loop_undefer(struct loop *loop, struct loop_deferred *item)
{
    if (!item->queued)
        return;
    struct loop_deferred **at = &loop->deferred;
    while (*at != item)
        at = &(*at)->next;
    *at = item->next;
    if (!item->next)
        loop->deferred_end = at;
    item->queued = false;
    item->next = NULL;
}

void loop_on_stall(struct loop *loop, loop_stall_fn fn, void *ctx)
{
    loop->on_stall = fn;
    loop->stall_ctx = ctx;
}

int64_t loop_take_delay_max_ms(struct loop *loop)
{
    int64_t delay_ms = loop->delay_max_ms;
    loop->delay_max_ms = 0;
    return delay_ms;
}

int64_t loop_turned_ms(const struct loop *loop)
{
    return loop->turned_ms;
}
