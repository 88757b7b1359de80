/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "io/http_turns.h"

#define ASKERS 5

struct fixture {
    struct loop *loop;
    struct http_turns turns;
    struct asker {
        struct fixture *f;
        struct http_turn turn;
        char name;
    } askers[ASKERS];
    char order[2 * ASKERS + 1]; /* the names of those whose turn came */
};

static void asker_on_turn(void *ctx)
{
    struct asker *asker = ctx;
    size_t len = strlen(asker->f->order);
    assert_true(len + 1 < sizeof asker->f->order);
    asker->f->order[len] = asker->name;
}

static void fixture_open(struct fixture *f)
{
    *f = (struct fixture){.loop = loop_new(NULL)};
    http_turns_init(&f->turns, f->loop);
    for (size_t i = 0; i < ASKERS; i++)
        f->askers[i] = (struct asker){.f = f, .name = (char)('a' + i)};
}

static void fixture_close(struct fixture *f)
{
    for (size_t i = ASKERS; i-- > 0;)
        http_turn_end(&f->turns, &f->askers[i].turn);
    for (size_t i = 0; i < ASKERS; i++)
        http_turn_end(&f->turns, &f->askers[i].turn);
    http_turns_deinit(&f->turns);
    loop_free(f->loop);
}

static void ask(struct fixture *f, size_t i, bool stream)
{
    struct asker *asker = &f->askers[i];
    size_t before = strlen(f->order);
    http_turn_ask(&f->turns, &asker->turn, stream, asker_on_turn, asker);
    assert_int_equal(strlen(f->order), before); /* never from within */
}

static void expect_after(struct fixture *f, int64_t ms, const char *order)
{
    (void)loop_run_for(f->loop, ms);
    assert_string_equal(f->order, order);
}

static void test_one_follows_the_other(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    ask(&f, 0, false);
    ask(&f, 1, false);
    ask(&f, 2, false);
    expect_after(&f, 20, "a");
    http_turn_end(&f.turns, &f.askers[0].turn);
    http_turn_end(&f.turns, &f.askers[0].turn); /* as much as once */
    expect_after(&f, 20, "ab");
    http_turn_end(&f.turns, &f.askers[1].turn);
    expect_after(&f, 20, "abc");
    http_turn_end(&f.turns, &f.askers[2].turn);
    ask(&f, 3, false); /* nobody is before it */
    expect_after(&f, 20, "abcd");
    fixture_close(&f);
}

static void test_streams_come_last_and_hold_nobody_up(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    ask(&f, 0, false);
    ask(&f, 1, true);
    ask(&f, 2, true);
    ask(&f, 3, false);
    http_turn_end(&f.turns, &f.askers[0].turn);
    expect_after(&f, 20, "d"); /* a ended before it had begun */
    http_turn_end(&f.turns, &f.askers[3].turn);
    expect_after(&f, 20, "db");
    ask(&f, 4, false); /* beside the stream that is being opened, before the one that waits */
    expect_after(&f, 20, "dbe");
    http_turn_end(&f.turns, &f.askers[1].turn);
    expect_after(&f, 20, "dbe"); /* c waits for e too */
    http_turn_end(&f.turns, &f.askers[4].turn);
    expect_after(&f, 20, "dbec");
    fixture_close(&f);
}

static void test_what_hangs_is_passed(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    ask(&f, 0, false);
    ask(&f, 1, false);
    ask(&f, 2, false);
    expect_after(&f, HTTP_TURN_MS / 2, "a");
    expect_after(&f, HTTP_TURN_MS, "ab");
    expect_after(&f, HTTP_TURN_MS, "abc");
    fixture_close(&f);
}

static void test_who_gives_up_waits_no_more(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    ask(&f, 0, false);
    ask(&f, 1, false);
    ask(&f, 2, true);
    http_turn_end(&f.turns, &f.askers[1].turn);
    http_turn_end(&f.turns, &f.askers[0].turn);
    expect_after(&f, 20, "c");
    ask(&f, 3, true);
    ask(&f, 4, false);
    http_turn_end(&f.turns, &f.askers[2].turn);
    expect_after(&f, 20, "ce");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_follows_the_other),
        cmocka_unit_test(test_streams_come_last_and_hold_nobody_up),
        cmocka_unit_test(test_what_hangs_is_passed),
        cmocka_unit_test(test_who_gives_up_waits_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
