/* SPDX-License-Identifier: Apache-2.0 */
/* What people order, from the word to the answer. What a plan makes of it is in plan/pause/ and plan/failover/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/text.h"
#include "core/action.h"
#include "core/handover.h"
#include "core/pause.h"
#include "core/people.h"

#define T0 INT64_C(1000000)
#define UNIX0 INT64_C(1795000000000)

static char said[PEOPLE_SAID_SIZE];

static struct record record;

static struct world paused_world(int64_t until_unix_ms)
{
    record = (struct record){.version = RECORD_VERSION, .state = RECORD_FORMED};
    record.pause = (struct record_pause){.set = true,
                                         .since_unix_ms = UNIX0 - 1000,
                                         .until_unix_ms = until_unix_ms,
                                         .reason = "disks"};
    return (struct world){.now_ms = T0,
                          .now_unix_ms = UNIX0,
                          .leader = true,
                          .my_pod = "muster-0",
                          .leader_pod = "muster-0",
                          .api_seen_ms = T0,
                          .set = {.known = true},
                          .record = &record};
}

static void test_a_pause_ends_by_itself(void **state)
{
    (void)state;
    struct world w = paused_world(UNIX0 + 1);
    assert_non_null(pause_of(&w));
    assert_true(pause_stops(&w, WORK_PLACE));
    w.now_unix_ms = UNIX0 + 1;
    assert_null(pause_of(&w));
    assert_false(pause_stops(&w, WORK_PLACE));
    w.now_unix_ms = 0; /* what time it is is not known */
    assert_non_null(pause_of(&w));
    w = paused_world(0);
    w.now_unix_ms = INT64_MAX;
    assert_non_null(pause_of(&w));
}

static void test_a_pause_is_known_without_the_record_too(void **state)
{
    (void)state;
    struct world w = paused_world(0);
    w.record = NULL;
    assert_null(pause_of(&w));
    w.record_copy = &record;
    assert_non_null(pause_of(&w));
}

static void test_what_keeps_the_cluster_alive_is_never_stopped(void **state)
{
    (void)state;
    struct world w = paused_world(0);
    static const enum pause_work stopped[] = {WORK_PLACE, WORK_JOIN, WORK_SCALE, WORK_FORGET,
                                              WORK_REFORM};
    for (enum pause_work work = 0; work < WORK_COUNT; work++) {
        bool stops = false;
        for (size_t i = 0; i < sizeof stopped / sizeof stopped[0]; i++)
            stops = stops || stopped[i] == work;
        assert_int_equal(pause_stops(&w, work), stops);
        assert_string_not_equal(pause_work_text(work), "unknown");
    }
}

/* The person is told that nothing else is done, and begins his own work. */
static void test_what_was_planned_before_a_pause_is_not_sent(void **state)
{
    (void)state;
    struct world w = paused_world(0);
    struct action stopped[] = {{.kind = ACTION_FORGET},
                               {.kind = ACTION_FAILOVER, .placing = true},
                               {.kind = ACTION_REPLICATE, .placing = true}};
    struct action goes_on[] = {{.kind = ACTION_REPLICATE}, {.kind = ACTION_FAILOVER}};
    for (size_t i = 0; i < sizeof stopped / sizeof stopped[0]; i++)
        assert_false(pause_may_send(&w, PERSON_NONE, &stopped[i]));
    for (size_t i = 0; i < sizeof goes_on / sizeof goes_on[0]; i++)
        assert_true(pause_may_send(&w, PERSON_PAUSE, &goes_on[i]));
    record.pause = (struct record_pause){0};
    assert_true(pause_may_send(&w, PERSON_NONE, &stopped[0]));
    assert_false(pause_may_send(&w, PERSON_PAUSE, &stopped[0])); /* it is just being written */
}

/* The table in agent/README.md is this one. */
static void test_people_can_read_what_is_stopped(void **state)
{
    (void)state;
    static char text[KIB(128)];
    FILE *file = fopen(MUSTER_TESTS_DIR "/../agent/README.md", "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    (void)fclose(file);
    for (enum pause_work work = 0; work < WORK_COUNT; work++) {
        char line[160];
        text_format(line, sizeof line, "\n| %s | %s |\n", pause_work_text(work),
                    pause_is_for(work) ? "**stopped**" : "goes on");
        if (!strstr(text, line))
            fail_msg("agent/README.md does not say: %s", line);
    }
}

static void test_a_reason_is_plain_text(void **state)
{
    (void)state;
    struct record_pause pause;
    char longest[200];
    pause_put_reason(&pause, "a\nb\x1b[1m\xc3\xa4");
    assert_string_equal(pause.reason, "a?b?[1m??");
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    pause_put_reason(&pause, longest);
    assert_int_equal(strlen(pause.reason), RECORD_PAUSE_REASON_SIZE - 1);
}

static void test_only_who_leads_is_told(void **state)
{
    (void)state;
    struct world w = paused_world(0);
    assert_true(people_may_order(&w, "pause", false, said));
    w.leader = false;
    assert_false(people_may_order(&w, "pause", false, said));
    assert_string_equal(said,
                        "this agent holds the Lease but could not renew it in time: try again");
    text_format(w.leader_pod, sizeof w.leader_pod, "muster-2");
    assert_false(people_may_order(&w, "failover muster-3", false, said));
    assert_string_equal(
        said, "muster-2 leads: kubectl exec muster-2 -c agent -- muster failover muster-3");
    assert_false(people_may_order(&w, "pause", true, said)); /* without its end it is another one */
    assert_string_equal(said, "muster-2 leads: kubectl exec muster-2 -c agent -- muster pause ... "
                              "(and the rest of what you said)");
    w.arbiter = ARBITER_HOSTS;
    assert_false(people_may_order(&w, "resume", false, said));
    assert_string_equal(said, "muster-2 leads: run `muster resume` there");
    w.leader_pod[0] = '\0';
    assert_false(people_may_order(&w, "resume", false, said));
    assert_string_equal(said, "nobody leads just now: try again");
}

static void test_a_pause_is_done_once_it_is_in_the_record(void **state)
{
    (void)state;
    struct world w = paused_world(0);
    struct record_pause wanted;
    record.pause = (struct record_pause){0};
    people_ask(&w.person, PERSON_PAUSE, "disks", 90000, T0, UNIX0);
    assert_int_equal(people_judge(&w, "", said), PEOPLE_WAIT);
    assert_true(people_wanted_pause(&w, &wanted));
    assert_int_equal(wanted.until_unix_ms, UNIX0 + 90000);
    record.pause = wanted;
    assert_int_equal(people_judge(&w, "", said), PEOPLE_DONE);
    assert_non_null(strstr(said, "it ends by itself in 2 min, or by `muster resume`"));
    people_ask(&w.person, PERSON_RESUME, "", 0, T0, UNIX0);
    assert_int_equal(people_judge(&w, "", said), PEOPLE_WAIT);
    record.pause = (struct record_pause){0};
    assert_int_equal(people_judge(&w, "", said), PEOPLE_DONE);
    assert_string_equal(said, "not paused: Muster goes on with everything");
}

/* A write on its way may pause what the record shows as not paused. */
static void test_nothing_is_done_while_the_record_is_being_written(void **state)
{
    (void)state;
    struct world w = paused_world(0);
    record.pause = (struct record_pause){0};
    people_ask(&w.person, PERSON_RESUME, "", 0, T0, UNIX0);
    w.record_writing = true;
    assert_int_equal(people_judge(&w, "", said), PEOPLE_WAIT);
    w.now_ms = T0 + PEOPLE_PATIENCE_MS;
    assert_int_equal(people_judge(&w, "", said), PEOPLE_REFUSED);
    assert_non_null(strstr(said, "has no answer after 4 s and may still come to pass"));
    people_ask(&w.person, PERSON_PAUSE, "", 0, T0, UNIX0);
    assert_int_equal(people_judge(&w, "", said), PEOPLE_REFUSED);
    assert_non_null(strstr(said, "may still come to pass"));
    w.record_writing = false;
    assert_int_equal(people_judge(&w, "no access", said), PEOPLE_REFUSED);
    assert_string_equal(said, "the record was not written in 4 s: no access");
}

/* A pause that was written by who led before may not have been told of yet. */
static void test_what_a_silent_watch_shows_is_no_answer(void **state)
{
    (void)state;
    struct world w = paused_world(0);
    record.pause = (struct record_pause){0};
    people_ask(&w.person, PERSON_RESUME, "", 0, T0, UNIX0);
    w.api_broken = true;
    assert_int_equal(people_judge(&w, "", said), PEOPLE_WAIT);
    w.now_ms = T0 + PEOPLE_PATIENCE_MS;
    assert_int_equal(people_judge(&w, "", said), PEOPLE_REFUSED);
    assert_string_equal(said,
                        "what the record says is not known, since the Kubernetes API does not "
                        "tell of changes: say it again once it does");
    w.api_broken = false;
    w.now_ms = T0 + WORLD_API_FRESH_MS + 1;
    assert_int_equal(people_judge(&w, "", said), PEOPLE_REFUSED);
    w.api_seen_ms = w.now_ms;
    assert_int_equal(people_judge(&w, "", said), PEOPLE_DONE);
}

/* One host's own file is not the record yet. */
static void test_without_kubernetes_most_hosts_must_have_it(void **state)
{
    (void)state;
    struct world w = paused_world(0);
    w.arbiter = ARBITER_HOSTS;
    people_ask(&w.person, PERSON_PAUSE, "disks", 0, T0, UNIX0);
    w.leader = false;
    assert_int_equal(people_judge(&w, "", said), PEOPLE_WAIT);
    w.now_ms = T0 + PEOPLE_PATIENCE_MS;
    assert_int_equal(people_judge(&w, "", said), PEOPLE_REFUSED);
    assert_non_null(strstr(said, "it is written here, and after 4 s most hosts do not have it"));
    w.leader = true;
    assert_int_equal(people_judge(&w, "", said), PEOPLE_DONE);
}

/* Clocks differ: what one takes for the end must not be taken from the others. */
static void test_a_pause_that_has_ended_stays_in_the_record_for_a_while(void **state)
{
    (void)state;
    struct world w = paused_world(UNIX0);
    struct record_pause wanted = {.set = true};
    assert_null(pause_of(&w));
    w.now_unix_ms = UNIX0 + PEOPLE_KEEP_MS - 1;
    assert_false(people_wanted_pause(&w, &wanted));
    w.now_unix_ms = UNIX0 + PEOPLE_KEEP_MS;
    assert_true(people_wanted_pause(&w, &wanted));
    assert_false(wanted.set);
}

static void test_an_end_is_never_told_as_less_than_a_minute(void **state)
{
    (void)state;
    struct record_pause pause = {.set = true, .until_unix_ms = UNIX0};
    assert_int_equal(pause_minutes_left(&pause, UNIX0 - 60001), 2);
    assert_int_equal(pause_minutes_left(&pause, UNIX0 - 1), 1);
    assert_int_equal(pause_minutes_left(&pause, UNIX0 + 120000), 1);
}

static void test_a_record_that_is_not_written_is_told(void **state)
{
    (void)state;
    struct world w = paused_world(0);
    record.pause = (struct record_pause){0};
    people_ask(&w.person, PERSON_PAUSE, "", 0, T0, UNIX0);
    w.now_ms = T0 + PEOPLE_PATIENCE_MS;
    assert_int_equal(people_judge(&w, "the API is silent", said), PEOPLE_REFUSED);
    assert_string_equal(said, "the record was not written in 4 s: the API is silent");
    record.state = RECORD_FORMING;
    assert_int_equal(people_judge(&w, "", said), PEOPLE_REFUSED);
    assert_string_equal(said, "the cluster is being formed: there is nothing to pause yet");
    w.record = NULL;
    w.record_presence = PRESENCE_ABSENT;
    w.now_ms = T0; /* at once */
    assert_int_equal(people_judge(&w, "", said), PEOPLE_REFUSED);
    assert_string_equal(said, "there is no cluster yet, and so no pause");
}

/* "paused" again: another end, the same beginning. */
static void test_a_second_pause_changes_the_first(void **state)
{
    (void)state;
    struct world w = paused_world(0);
    struct record_pause wanted;
    people_ask(&w.person, PERSON_PAUSE, "more disks", 60000, T0, UNIX0);
    assert_true(people_wanted_pause(&w, &wanted));
    assert_int_equal(wanted.since_unix_ms, UNIX0 - 1000);
    assert_int_equal(wanted.until_unix_ms, UNIX0 + 60000);
    assert_string_equal(wanted.reason, "more disks");
}

/* ---- a failover ---- */

static struct handover_verdict verdict(enum handover_step step, const char *reason)
{
    static const struct shard shard = {.primary_pod = 1};
    struct handover_verdict v = {.step = step, .heir = 3, .from = 1};
    v.shard = step == HANDOVER_NONE ? NULL : &shard;
    text_format(v.reason, sizeof v.reason, "%s", reason);
    return v;
}

static void note(struct handover_watch *watch, enum handover_step step, int64_t now_ms)
{
    struct world w = paused_world(0);
    struct handover_verdict v = verdict(step, "muster-3 is to take 5 slots over");
    w.now_ms = now_ms;
    handover_note(watch, &w, &v, "the plan's sentence");
}

static enum handover_answer first(const struct handover_watch *watch)
{
    return handover_first_answer(watch, "muster-3", said);
}

static enum handover_answer last(const struct handover_watch *watch)
{
    return handover_last_answer(watch, "muster-3", said);
}

static void test_an_order_is_begun_won_and_remembered(void **state)
{
    (void)state;
    struct handover_watch watch = {0};
    struct action sent = {.kind = ACTION_FAILOVER, .asked_ms = T0};
    assert_int_equal(last(&watch), HANDOVER_ANSWER_NO); /* nobody has ordered it */
    assert_true(handover_ask(&watch, "muster-3", T0, said));
    assert_int_equal(first(&watch), HANDOVER_ANSWER_WAITS);
    note(&watch, HANDOVER_UNSURE, T0 + 10);
    assert_int_equal(first(&watch), HANDOVER_ANSWER_WAITS);
    note(&watch, HANDOVER_MAY, T0 + 100);
    assert_int_equal(first(&watch), HANDOVER_ANSWER_YES);
    assert_non_null(strstr(said, "5 slots over: begun; the log of this agent says what"));
    assert_true(handover_may_send(&watch, &sent, T0 + 200));
    assert_false(handover_may_send(&watch, &sent, T0 + 210)); /* once for each word */
    assert_int_equal(last(&watch), HANDOVER_ANSWER_WAITS);
    assert_true(handover_ask(&watch, "muster-3", T0 + 300, said)); /* is no second order */
    assert_int_equal(watch.ordered_ms, T0 + 200);
    assert_int_equal(first(&watch), HANDOVER_ANSWER_YES);
    assert_false(handover_ask(&watch, "muster-4", T0 + 300, said));
    assert_string_equal(said, "muster-3 is just taking its shard over: one after the other");
    note(&watch, HANDOVER_DONE, T0 + 500);
    assert_string_equal(watch.pod, "");
    assert_int_equal(last(&watch), HANDOVER_ANSWER_YES);
    assert_int_equal(handover_last_answer(&watch, "muster-4", said), HANDOVER_ANSWER_NO);
}

static void test_what_stands_against_it_is_said_at_once_or_after_a_look(void **state)
{
    (void)state;
    struct handover_watch watch = {0};
    assert_true(handover_ask(&watch, "muster-3", T0, said));
    note(&watch, HANDOVER_REFUSED, T0 + 1);
    assert_int_equal(first(&watch), HANDOVER_ANSWER_NO);
    assert_string_equal(said, "muster-3 is to take 5 slots over");
    assert_true(handover_ask(&watch, "muster-3", T0, said));
    note(&watch, HANDOVER_UNSURE, T0 + HANDOVER_LOOK_MS - 1);
    assert_int_equal(first(&watch), HANDOVER_ANSWER_WAITS);
    note(&watch, HANDOVER_UNSURE, T0 + HANDOVER_LOOK_MS);
    assert_int_equal(first(&watch), HANDOVER_ANSWER_NO);
}

static void test_a_word_does_not_wait_for_ever(void **state)
{
    (void)state;
    struct handover_watch watch = {0};
    assert_true(handover_ask(&watch, "muster-3", T0, said));
    note(&watch, HANDOVER_MAY, T0 + HANDOVER_WORD_MS - 1);
    assert_int_equal(first(&watch), HANDOVER_ANSWER_YES);
    note(&watch, HANDOVER_MAY, T0 + HANDOVER_WORD_MS);
    assert_int_equal(last(&watch), HANDOVER_ANSWER_NO);
    assert_string_equal(said, "nothing was ordered in 10 s: the plan's sentence");
}

static void test_an_order_that_won_nothing_is_told(void **state)
{
    (void)state;
    struct handover_watch watch = {0};
    struct action sent = {.kind = ACTION_FAILOVER, .asked_ms = T0};
    assert_true(handover_ask(&watch, "muster-3", T0, said));
    note(&watch, HANDOVER_MAY, T0);
    assert_true(handover_may_send(&watch, &sent, T0));
    note(&watch, HANDOVER_SENT, T0 + HANDOVER_WON_MS - 1);
    assert_int_equal(last(&watch), HANDOVER_ANSWER_WAITS);
    note(&watch, HANDOVER_SENT, T0 + HANDOVER_WON_MS);
    assert_int_equal(last(&watch), HANDOVER_ANSWER_NO);
    assert_string_equal(said,
                        "muster-3 was told to take its shard over and did not: its log says why");
    assert_true(handover_ask(&watch, "muster-3", T0, said));
    handover_refused(&watch, &sent, "ERR you should");
    assert_int_equal(last(&watch), HANDOVER_ANSWER_NO);
    assert_string_equal(said, "muster-3 refuses: ERR you should");
    assert_false(handover_may_send(&watch, &sent, T0)); /* of an order that is over */
    assert_int_equal(watch.ordered_ms, 0);
}

/* A rule above has the last word, or the server does not answer: it may have won all the same. */
static void test_what_came_of_an_order_may_not_be_known(void **state)
{
    (void)state;
    struct handover_watch watch = {0};
    struct action sent = {.kind = ACTION_FAILOVER, .asked_ms = T0};
    assert_true(handover_ask(&watch, "muster-3", T0, said));
    note(&watch, HANDOVER_MAY, T0);
    assert_true(handover_may_send(&watch, &sent, T0));
    note(&watch, HANDOVER_NONE, T0 + HANDOVER_WON_MS);
    assert_int_equal(last(&watch), HANDOVER_ANSWER_NO);
    assert_string_equal(said, "muster-3 was told to take its shard over, and whether it did is not "
                              "known: `muster status` shows its role");
}

/* What waits for a slow server when its word is over is not sent, nor booked for the next one. */
static void test_an_order_that_was_given_up_is_never_sent(void **state)
{
    (void)state;
    struct handover_watch watch = {0};
    struct action late = {.kind = ACTION_FAILOVER, .asked_ms = T0};
    assert_true(handover_ask(&watch, "muster-3", T0, said));
    note(&watch, HANDOVER_MAY, T0);
    note(&watch, HANDOVER_MAY, T0 + HANDOVER_WORD_MS);
    assert_int_equal(last(&watch), HANDOVER_ANSWER_NO);
    assert_true(handover_ask(&watch, "muster-4", T0 + HANDOVER_WORD_MS + 1, said));
    assert_false(handover_may_send(&watch, &late, T0 + HANDOVER_WORD_MS + 2));
    handover_refused(&watch, &late, "ERR");
    assert_int_equal(watch.ordered_ms, 0);
    assert_string_equal(watch.pod, "muster-4");
    assert_int_equal(last(&watch),
                     HANDOVER_ANSWER_NO); /* is still told, whatever was asked since */
}

/* A rule above comes first: who is told so must not find it done later. */
static void test_an_order_that_no_rule_looks_at_is_refused_while_somebody_listens(void **state)
{
    (void)state;
    struct handover_watch watch = {0};
    assert_true(handover_ask(&watch, "muster-3", T0, said));
    note(&watch, HANDOVER_NONE, T0 + HANDOVER_LOOK_MS - 1);
    assert_int_equal(first(&watch), HANDOVER_ANSWER_WAITS);
    note(&watch, HANDOVER_NONE, T0 + HANDOVER_LOOK_MS);
    assert_int_equal(first(&watch), HANDOVER_ANSWER_NO);
    assert_string_equal(said, "other things come first: the plan's sentence");
    assert_true(handover_ask(&watch, "muster-3", T0, said));
    note(&watch, HANDOVER_MAY, T0);
    note(&watch, HANDOVER_NONE, T0 + HANDOVER_LOOK_MS); /* begun: it waits */
    assert_int_equal(last(&watch), HANDOVER_ANSWER_WAITS);
    assert_string_equal(said, "muster-3 is to take its shard over; it waits: other things come "
                              "first: the plan's sentence");
}

static void test_who_ceases_to_lead_gives_it_up(void **state)
{
    (void)state;
    struct handover_watch watch = {0};
    struct world w = paused_world(0);
    struct handover_verdict v = verdict(HANDOVER_NONE, "");
    assert_true(handover_ask(&watch, "muster-3", T0, said));
    w.leader = false; /* late with its renewal */
    handover_note(&watch, &w, &v, "");
    assert_int_equal(last(&watch), HANDOVER_ANSWER_WAITS);
    w.leader_pod[0] = '\0'; /* nobody leads: without Kubernetes after each write of the record */
    handover_note(&watch, &w, &v, "");
    assert_int_equal(last(&watch), HANDOVER_ANSWER_WAITS);
    text_format(w.leader_pod, sizeof w.leader_pod, "muster-2");
    handover_note(&watch, &w, &v, "");
    assert_int_equal(last(&watch), HANDOVER_ANSWER_NO);
    assert_string_equal(said, "muster-0 does not lead any more: nothing was ordered");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pause_ends_by_itself),
        cmocka_unit_test(test_a_pause_is_known_without_the_record_too),
        cmocka_unit_test(test_what_keeps_the_cluster_alive_is_never_stopped),
        cmocka_unit_test(test_what_was_planned_before_a_pause_is_not_sent),
        cmocka_unit_test(test_people_can_read_what_is_stopped),
        cmocka_unit_test(test_a_reason_is_plain_text),
        cmocka_unit_test(test_only_who_leads_is_told),
        cmocka_unit_test(test_a_pause_is_done_once_it_is_in_the_record),
        cmocka_unit_test(test_nothing_is_done_while_the_record_is_being_written),
        cmocka_unit_test(test_what_a_silent_watch_shows_is_no_answer),
        cmocka_unit_test(test_without_kubernetes_most_hosts_must_have_it),
        cmocka_unit_test(test_a_pause_that_has_ended_stays_in_the_record_for_a_while),
        cmocka_unit_test(test_an_end_is_never_told_as_less_than_a_minute),
        cmocka_unit_test(test_a_record_that_is_not_written_is_told),
        cmocka_unit_test(test_a_second_pause_changes_the_first),
        cmocka_unit_test(test_an_order_is_begun_won_and_remembered),
        cmocka_unit_test(test_what_stands_against_it_is_said_at_once_or_after_a_look),
        cmocka_unit_test(test_a_word_does_not_wait_for_ever),
        cmocka_unit_test(test_an_order_that_won_nothing_is_told),
        cmocka_unit_test(test_what_came_of_an_order_may_not_be_known),
        cmocka_unit_test(test_an_order_that_was_given_up_is_never_sent),
        cmocka_unit_test(test_an_order_that_no_rule_looks_at_is_refused_while_somebody_listens),
        cmocka_unit_test(test_who_ceases_to_lead_gives_it_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
