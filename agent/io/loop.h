/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one event loop of the one thread: libevent's event_base with timers, signals, deferred work
 * and a heartbeat that notices when the process did not run.
 *
 * Callbacks only record and tell their owner; the decision is made once per turn by the agent.
 * Nothing is freed in its own callback: it is marked and handed to loop_defer().
 */
#ifndef MUSTER_IO_LOOP_H
#define MUSTER_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct event_base;
struct loop;
struct loop_timer;

typedef void (*loop_fn)(void *ctx);

/* Who is served first when several events are ready (priorities of libevent). */
enum loop_priority { LOOP_HOOK = 0, LOOP_TIMER, LOOP_REDIS, LOOP_API, LOOP_HTTP, LOOP_PRIORITIES };

/* The process was not running (stopped, suspended, starved) or the wall clock jumped this much. */
#define LOOP_STALL_MS 2000

/* NULL with `err` set if the system refuses. SIGPIPE is ignored from here on. */
struct loop *loop_new(struct err *err);

/* Timers, signals and other events must have been freed before; deferred work is run. */
void loop_free(struct loop *loop);

/* For modules that own events: hook server, HTTP server, curl, hiredis. Borrowed. */
struct event_base *loop_base(struct loop *loop);

/* Runs until loop_stop(). */
void loop_run(struct loop *loop);

/* Runs until loop_stop() or for this long; true if it was stopped. For tests and the CLI. */
bool loop_run_for(struct loop *loop, int64_t duration_ms);

/* Leaves loop_run() after the current iteration. */
void loop_stop(struct loop *loop);

/* A timer that is not armed. Owned by the caller; frees before the loop. */
struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *ctx);

/* Fires once after `delay_ms` (0 = in this iteration or the next); replaces an earlier arming. */
void loop_timer_arm(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_disarm(struct loop_timer *timer);
bool loop_timer_armed(const struct loop_timer *timer);

/* Accepts NULL. May be called in the timer's own callback. */
void loop_timer_free(struct loop_timer *timer);

/*
 * Calls `fn` in the loop for each arrival of the signal; one callback per signal number, at most
 * LOOP_SIGNALS_MAX numbers.
 */
#define LOOP_SIGNALS_MAX 8
void loop_on_signal(struct loop *loop, int signo, loop_fn fn, void *ctx);

/*
 * Work for outside of all callbacks, usually the freeing of an object that is marked dead: done as
 * soon as the callback that asks has returned, before any other event. The item is embedded in that
 * object; queueing it twice is the same as once.
 */
struct loop_deferred {
    struct loop_deferred *next;
    loop_fn fn;
    void *ctx;
    bool queued;
};
void loop_defer(struct loop *loop, struct loop_deferred *item, loop_fn fn, void *ctx);

/* Forgets queued work whose object is freed by other means. */
void loop_undefer(struct loop *loop, struct loop_deferred *item);

/*
 * After a stall of more than LOOP_STALL_MS, measured on CLOCK_BOOTTIME, or a jump of the wall clock
 * against it: what was observed before must not be acted on (DESIGN 3).
 */
typedef void (*loop_stall_fn)(void *ctx, int64_t delay_ms);
void loop_on_stall(struct loop *loop, loop_stall_fn fn, void *ctx);

/* The latest that the heartbeat came since the last call, in milliseconds; reading resets it. */
int64_t loop_take_delay_max_ms(struct loop *loop);

/* When the loop last turned (clock_mono_ms), for /livez. */
int64_t loop_turned_ms(const struct loop *loop);

#endif
