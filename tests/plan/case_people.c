/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/case_people.h"

#include "core/people.h"
#include "plan/case_words.h"

#define NOW_UNIX_MS INT64_C(1795000000000)
#define PAUSED_MS 60000

static bool people_pause(struct world *world, struct record *record, struct span words)
{
    struct record_pause *pause = &record->pause;
    struct span value;
    int64_t number;
    world->now_unix_ms = NOW_UNIX_MS;
    if (case_word(words, "unclear")) {
        record->pause_unclear = "[1]";
        return true;
    }
    *pause = (struct record_pause){.set = true, .since_unix_ms = NOW_UNIX_MS - PAUSED_MS};
    if (case_number(words, "until", &number))
        pause->until_unix_ms = NOW_UNIX_MS + number;
    else if (case_word(words, "over"))
        pause->until_unix_ms = NOW_UNIX_MS;
    else if (case_word(words, "old"))
        pause->until_unix_ms = NOW_UNIX_MS - PEOPLE_KEEP_MS;
    return !case_value(words, "reason", &value) || TEXT_COPY(pause->reason, value);
}

static bool people_person(struct world *world, struct span words)
{
    world->now_unix_ms = NOW_UNIX_MS;
    people_ask(&world->person, case_word(words, "pause") ? PERSON_PAUSE : PERSON_RESUME, "disks", 0,
               world->now_ms, NOW_UNIX_MS);
    return case_word(words, "pause") || case_word(words, "resume");
}

static bool people_failover(struct world *world, struct span words)
{
    struct handover_watch *watch = &world->handover;
    int64_t asked_ms = 200;
    int64_t ordered_ms = 0;
    struct span pod;
    if (!span_token(&words, &pod) || !TEXT_COPY(watch->pod, pod))
        return false;
    (void)case_number(words, "asked", &asked_ms);
    watch->asked_ms = world->now_ms - asked_ms;
    watch->accepted = case_word(words, "accepted");
    if (case_number(words, "ordered", &ordered_ms))
        watch->ordered_ms = world->now_ms - ordered_ms;
    return true;
}

bool case_people_read(struct world *world, struct record *record, struct span keyword,
                      struct span words, bool *ret_heard)
{
    if (span_is(keyword, "pause"))
        return people_pause(world, record, words);
    if (span_is(keyword, "person"))
        return people_person(world, words);
    if (!span_is(keyword, "failover"))
        return false;
    return *ret_heard = people_failover(world, words);
}
