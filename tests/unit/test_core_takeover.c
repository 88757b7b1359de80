/* SPDX-License-Identifier: Apache-2.0 */
/* What a person is told who gives lost primaries up, and what is remembered. The checks are in plan/held/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/takeover.h"

#define T0 INT64_C(1000000)

static char answer[TAKEOVER_ANSWER_SIZE];

static bool ask(const struct world *world, const struct takeover_verdict *verdict)
{
    return takeover_answer(world, verdict, "the record cannot be read", answer);
}

static void test_a_person_is_told_the_truth(void **state)
{
    (void)state;
    struct world world = {.arbiter = ARBITER_LEASE, .leader_pod = "muster-2"};
    struct takeover_verdict verdict = {.heir = NO_POD};
    assert_false(ask(&world, &verdict));
    assert_string_equal(answer,
                        "muster-2 leads: kubectl exec muster-2 -c agent -- muster takeover --yes");
    world.leader = true;
    assert_false(ask(&world, &verdict)); /* no rule has looked */
    assert_string_equal(answer,
                        "whether primaries are lost was not judged yet: the record cannot be read");
    verdict.judged = true;
    assert_false(ask(&world, &verdict));
    assert_string_equal(answer, "most primaries answer: Redis elects where it has to");
    verdict.part = true; /* for a moment only: nothing stands against it yet */
    assert_false(ask(&world, &verdict));
    assert_string_equal(answer, "most primaries answer: Redis elects where it has to");
    verdict.lost = true;
    text_format(verdict.reason, sizeof verdict.reason, "muster-1 is there");
    assert_false(ask(&world, &verdict));
    assert_string_equal(answer, "muster-1 is there");
    verdict.heir = 4;
    text_format(verdict.reason, sizeof verdict.reason, "muster-4 can take over");
    assert_true(ask(&world, &verdict));
    assert_string_equal(answer, "muster-4 can take over: ordered, and what else is lost after it");
    verdict.judged = false;
    world.arbiter = ARBITER_HOSTS;
    assert_false(ask(&world, &verdict));
    assert_non_null(strstr(answer, "without Kubernetes"));
}

static void test_what_was_not_judged_changes_nothing(void **state)
{
    (void)state;
    struct takeover_watch watch = {0};
    struct takeover_verdict lost = {.judged = true, .part = true, .lost = true};
    struct takeover_verdict unknown = {0};
    struct takeover_verdict found = {.judged = true};
    takeover_note(&watch, &lost, T0);
    takeover_note(&watch, &unknown, T0 + 1000);
    takeover_note(&watch, &lost, T0 + 2000);
    assert_int_equal(watch.lost_since_ms, T0);
    takeover_note(&watch, &lost, T0 + 2001 + TAKEOVER_BLIND_MS); /* who knows what was between */
    assert_int_equal(watch.lost_since_ms, T0 + 2001 + TAKEOVER_BLIND_MS);
    watch.asked_ms = T0 + 20000;
    takeover_note(&watch, &found, T0 + 20000);
    assert_int_equal(watch.lost_since_ms, 0);
    assert_int_equal(watch.asked_ms, 0);
}

static void test_a_majority_that_is_back_does_not_end_the_rest(void **state)
{
    (void)state;
    struct takeover_watch watch = {0};
    struct takeover_verdict lost = {.judged = true, .part = true, .lost = true};
    struct takeover_verdict part = {.judged = true, .part = true};
    takeover_note(&watch, &lost, T0);
    watch.asked_ms = T0 + 1000;
    takeover_note(&watch, &part, T0 + 2000);
    assert_int_equal(watch.lost_since_ms, 0);
    assert_int_equal(watch.part_since_ms, T0);
    assert_int_equal(watch.asked_ms, T0 + 1000);
    takeover_note(&watch, &lost, T0 + 3000);
    assert_int_equal(watch.lost_since_ms, T0 + 3000);
    assert_int_equal(watch.part_since_ms, T0);
}

static void test_a_word_is_old_after_a_minute(void **state)
{
    (void)state;
    struct takeover_watch watch = {.asked_ms = T0};
    struct takeover_verdict unknown = {0};
    takeover_note(&watch, &unknown, T0 + TAKEOVER_WORD_MS - 1);
    assert_int_equal(watch.asked_ms, T0);
    takeover_note(&watch, &unknown, T0 + TAKEOVER_WORD_MS);
    assert_int_equal(watch.asked_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_person_is_told_the_truth),
        cmocka_unit_test(test_what_was_not_judged_changes_nothing),
        cmocka_unit_test(test_a_majority_that_is_back_does_not_end_the_rest),
        cmocka_unit_test(test_a_word_is_old_after_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
