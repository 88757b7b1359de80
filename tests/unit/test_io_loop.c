/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "io/clock.h"
#include "io/loop.h"
#include "unit/io_script.h"

struct tally {
    struct loop *loop;
    struct loop_timer *timer;
    struct loop_deferred first;
    struct loop_deferred second;
    int calls;
    int order[8];
    int64_t stall_ms;
};

static void note(struct tally *tally, int what)
{
    if (tally->calls < 8)
        tally->order[tally->calls] = what;
    tally->calls++;
}

static void on_timer(void *ctx)
{
    note(ctx, 1);
}

static void on_timer_free(void *ctx)
{
    struct tally *tally = ctx;
    note(tally, 1);
    loop_timer_free(tally->timer);
    tally->timer = NULL;
}

static void test_a_timer_fires_once_and_not_early(void **state)
{
    (void)state;
    struct tally tally = {.loop = loop_new(NULL)};
    tally.timer = loop_timer_new(tally.loop, on_timer, &tally);
    assert_false(loop_timer_armed(tally.timer));
    loop_timer_arm(tally.timer, 1000);
    loop_timer_arm(tally.timer, 60); /* replaces */
    assert_true(loop_timer_armed(tally.timer));
    assert_false(loop_run_for(tally.loop, 30));
    assert_int_equal(tally.calls, 0);
    (void)loop_run_for(tally.loop, 100);
    assert_int_equal(tally.calls, 1);
    assert_false(loop_timer_armed(tally.timer));
    loop_timer_arm(tally.timer, 10);
    loop_timer_disarm(tally.timer);
    (void)loop_run_for(tally.loop, 50);
    assert_int_equal(tally.calls, 1);
    loop_timer_free(tally.timer);
    loop_timer_free(NULL);
    loop_free(tally.loop);
}

static void test_a_timer_may_be_freed_in_its_callback(void **state)
{
    (void)state;
    struct tally tally = {.loop = loop_new(NULL)};
    tally.timer = loop_timer_new(tally.loop, on_timer_free, &tally);
    loop_timer_arm(tally.timer, 0);
    (void)loop_run_for(tally.loop, 20);
    assert_int_equal(tally.calls, 1);
    assert_null(tally.timer);
    loop_free(tally.loop);
}

static void on_second(void *ctx)
{
    note(ctx, 2);
}

static void on_first(void *ctx)
{
    struct tally *tally = ctx;
    note(tally, 1);
    loop_defer(tally->loop, &tally->second, on_second, tally);
    loop_defer(tally->loop, &tally->second, on_second, tally); /* twice is once */
    if (tally->calls < 3)
        loop_defer(tally->loop, &tally->first, on_first, tally); /* itself, for the next time */
}

static void test_deferred_work_comes_in_order_after_the_events(void **state)
{
    (void)state;
    struct tally tally = {.loop = loop_new(NULL)};
    loop_defer(tally.loop, &tally.first, on_first, &tally);
    assert_int_equal(tally.calls, 0); /* never from within */
    (void)loop_run_for(tally.loop, 20);
    assert_int_equal(tally.calls, 4);
    const int expected[] = {1, 2, 1, 2};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_int_equal(tally.order[i], expected[i]);
    loop_free(tally.loop);
}

static void test_deferred_work_can_be_taken_back_or_is_done_at_the_end(void **state)
{
    (void)state;
    struct tally tally = {.loop = loop_new(NULL)};
    loop_defer(tally.loop, &tally.second, on_second, &tally);
    loop_defer(tally.loop, &tally.first, on_first, &tally);
    loop_undefer(tally.loop, &tally.first);
    loop_undefer(tally.loop, &tally.first);
    (void)loop_run_for(tally.loop, 20);
    assert_int_equal(tally.calls, 1);
    loop_defer(tally.loop, &tally.second, on_second, &tally);
    loop_free(tally.loop);
    assert_int_equal(tally.calls, 2);
}

/* Stays ready whatever is done about it. */
static void on_busy(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what, (void)ctx;
}

static struct event *busy_event(struct loop *loop, int fd, int priority)
{
    struct event *event = event_new(loop_base(loop), fd, EV_WRITE | EV_PERSIST, on_busy, NULL);
    assert_non_null(event);
    assert_int_equal(event_priority_set(event, priority), 0);
    assert_int_equal(event_add(event, NULL), 0);
    return event;
}

static void on_timer_defer(void *ctx)
{
    struct tally *tally = ctx;
    loop_defer(tally->loop, &tally->second, on_second, tally);
}

/*
 * libevent looks for news of more urgent events before each less urgent one, and runs one iteration
 * until nothing is ready. A connection that was ready without end kept what was to free it from running.
 */
static void test_deferred_work_is_done_though_an_event_is_always_ready(void **state)
{
    (void)state;
    struct tally tally = {.loop = loop_new(NULL)};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct event *urgent = busy_event(tally.loop, fds[0], LOOP_REDIS);
    struct event *starved = busy_event(tally.loop, fds[1], LOOP_HTTP);
    tally.timer = loop_timer_new(tally.loop, on_timer_defer, &tally);
    loop_timer_arm(tally.timer, 50);
    (void)alarm(20); /* a loop that does not come back cannot be asserted */
    assert_false(loop_run_for(tally.loop, 1500));
    (void)alarm(0);
    assert_int_equal(tally.calls, 1);
    event_free(urgent);
    event_free(starved);
    loop_timer_free(tally.timer);
    loop_free(tally.loop);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void on_signal(void *ctx)
{
    struct tally *tally = ctx;
    note(tally, 3);
    loop_stop(tally->loop);
}

static void test_signals_come_through_the_loop(void **state)
{
    (void)state;
    struct tally tally = {.loop = loop_new(NULL)};
    loop_on_signal(tally.loop, SIGTERM, on_signal, &tally);
    loop_on_signal(tally.loop, SIGHUP, on_signal, &tally);
    (void)raise(SIGTERM);
    assert_true(loop_run_for(tally.loop, 1000));
    (void)raise(SIGHUP);
    assert_true(loop_run_for(tally.loop, 1000));
    assert_int_equal(tally.calls, 2);
    loop_free(tally.loop);
}

static void on_stall(void *ctx, int64_t delay_ms)
{
    struct tally *tally = ctx;
    tally->stall_ms = delay_ms;
    loop_stop(tally->loop);
}

/* Ends the child by its report: what the test asserts. */
static void child_of_stall(void)
{
    struct tally tally = {.loop = loop_new(NULL)};
    loop_on_stall(tally.loop, on_stall, &tally);
    bool told = loop_run_for(tally.loop, 6000);
    bool measured = loop_take_delay_max_ms(tally.loop) >= LOOP_STALL_MS &&
                    loop_take_delay_max_ms(tally.loop) == 0;
    loop_free(tally.loop);
    _exit(told && measured && tally.stall_ms > LOOP_STALL_MS && tally.stall_ms < 4500 ? 0 : 1);
}

static void test_a_process_that_was_stopped_is_told(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        child_of_stall();
    (void)usleep(700000);
    (void)kill(child, SIGSTOP);
    (void)usleep(2800000);
    (void)kill(child, SIGCONT);
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_an_idle_loop_is_no_stall(void **state)
{
    (void)state;
    struct tally tally = {.loop = loop_new(NULL)};
    loop_on_stall(tally.loop, on_stall, &tally);
    (void)usleep(2300000); /* before the loop runs, nothing can be late */
    assert_false(loop_run_for(tally.loop, 1200));
    assert_int_equal(tally.stall_ms, 0);
    assert_true(clock_mono_ms() - loop_turned_ms(tally.loop) < 700);
    loop_free(tally.loop);
}

static void test_clocks_agree_on_how_time_passes(void **state)
{
    (void)state;
    int64_t mono_ms = clock_mono_ms(), boot_ms = clock_boot_ms(), unix_ms = clock_unix_ms();
    (void)usleep(50000);
    assert_in_range(clock_mono_ms() - mono_ms, 49, 500);
    assert_in_range(clock_boot_ms() - boot_ms, 49, 500);
    assert_in_range(clock_unix_ms() - unix_ms, 49, 500);
    assert_true(clock_unix_ms() > INT64_C(1700000000000));
    assert_true(clock_entropy() != clock_entropy());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_timer_fires_once_and_not_early),
        cmocka_unit_test(test_a_timer_may_be_freed_in_its_callback),
        cmocka_unit_test(test_deferred_work_comes_in_order_after_the_events),
        cmocka_unit_test(test_deferred_work_can_be_taken_back_or_is_done_at_the_end),
        cmocka_unit_test(test_deferred_work_is_done_though_an_event_is_always_ready),
        cmocka_unit_test(test_signals_come_through_the_loop),
        cmocka_unit_test(test_a_process_that_was_stopped_is_told),
        cmocka_unit_test(test_an_idle_loop_is_no_stall),
        cmocka_unit_test(test_clocks_agree_on_how_time_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
