/* SPDX-License-Identifier: Apache-2.0 */
#include "core/people.h"

#include <string.h>

#include "base/text.h"
#include "core/pause.h"

/* "paused" again is the same pause, with another end. */
static void wanted_pause(const struct world *w, struct record_pause *ret_pause)
{
    const struct record_pause *now = pause_of(w);
    *ret_pause = w->person.pause;
    if (now && now->since_unix_ms)
        ret_pause->since_unix_ms = now->since_unix_ms;
}

/* It ended by its own time, and so long ago that no clock sees it differently. */
static bool is_old(const struct world *w)
{
    const struct record_pause *pause = &w->record->pause;
    return pause->set && pause->until_unix_ms &&
           w->now_unix_ms - pause->until_unix_ms >= PEOPLE_KEEP_MS;
}

bool people_wanted_pause(const struct world *world, struct record_pause *ret_pause)
{
    const struct record *record = world->record;
    if (!record)
        return false;
    if (world->person.wish == PERSON_PAUSE && record->state == RECORD_FORMED)
        wanted_pause(world, ret_pause);
    else if (world->person.wish == PERSON_RESUME || is_old(world))
        *ret_pause = (struct record_pause){0};
    else
        return false;
    return true;
}

void people_ask(struct person_watch *watch, enum person_wish wish, const char *reason,
                int64_t for_ms, int64_t now_ms, int64_t now_unix_ms)
{
    *watch = (struct person_watch){.wish = wish, .asked_ms = now_ms};
    if (wish != PERSON_PAUSE)
        return;
    watch->pause.set = true;
    watch->pause.since_unix_ms = now_unix_ms;
    watch->pause.until_unix_ms = for_ms ? now_unix_ms + for_ms : 0;
    pause_put_reason(&watch->pause, reason);
}

bool people_may_order(const struct world *world, const char *command, bool more,
                      char ret_said[PEOPLE_SAID_SIZE])
{
    const char *leader = world->leader_pod;
    const char *rest = more ? " ... (and the rest of what you said)" : "";
    if (world->leader)
        return true;
    if (!leader[0])
        text_format(ret_said, PEOPLE_SAID_SIZE, "nobody leads just now: try again");
    else if (strcmp(leader, world->my_pod) == 0)
        text_format(ret_said, PEOPLE_SAID_SIZE,
                    "this agent holds the Lease but could not renew it in time: try again");
    else if (world->arbiter == ARBITER_LEASE)
        text_format(ret_said, PEOPLE_SAID_SIZE, "%s leads: kubectl exec %s -c agent -- muster %s%s",
                    leader, leader, command, rest);
    else
        text_format(ret_said, PEOPLE_SAID_SIZE, "%s leads: run `muster %s%s` there", leader,
                    command, rest);
    return false;
}

static bool is_written(const struct world *w)
{
    struct record_pause wanted;
    struct record_pause now = w->record->pause;
    if (!people_wanted_pause(w, &wanted) || w->record->pause_unclear)
        return false;
    return now.set == wanted.set && now.until_unix_ms == wanted.until_unix_ms &&
           strcmp(now.reason, wanted.reason) == 0;
}

/*
 * Whether what is known of the record is what holds: a write that has no outcome may change it, a watch that
 * is silent may not have told of the last one, and without Kubernetes it is one host's own file, until most
 * have it (core/hosts.h: then one leads again).
 */
static bool is_settled(const struct world *w)
{
    if (w->record_writing)
        return false;
    return w->arbiter == ARBITER_HOSTS ? w->leader : world_api_fresh(w) && !w->api_broken;
}

static void say_late(const struct world *w, const char *plan, char ret_said[PEOPLE_SAID_SIZE])
{
    int seconds = PEOPLE_PATIENCE_MS / 1000;
    if (w->record_writing)
        text_format(ret_said, PEOPLE_SAID_SIZE,
                    "a write of the record has no answer after %d s and may still come to pass: "
                    "`muster check` says what holds, then say it again",
                    seconds);
    else if (w->arbiter == ARBITER_LEASE && (!world_api_fresh(w) || w->api_broken))
        text_format(ret_said, PEOPLE_SAID_SIZE,
                    "what the record says is not known, since the Kubernetes API does not tell of "
                    "changes: say it again once it does");
    else if (w->record && is_written(w))
        text_format(ret_said, PEOPLE_SAID_SIZE,
                    "it is written here, and after %d s most hosts do not have it: "
                    "`muster check` says what holds",
                    seconds);
    else
        text_format(ret_said, PEOPLE_SAID_SIZE, "the record was not written in %d s: %.200s",
                    seconds, plan);
}

static void say_done(const struct world *w, char ret_said[PEOPLE_SAID_SIZE])
{
    const struct record_pause *pause = &w->person.pause;
    if (w->person.wish == PERSON_RESUME) {
        text_format(ret_said, PEOPLE_SAID_SIZE, "not paused: Muster goes on with everything");
        return;
    }
    text_format(
        ret_said, PEOPLE_SAID_SIZE,
        "paused: drains, crash hand-overs, gates, addresses and lost copies are seen to, and "
        "nothing else");
    if (pause->until_unix_ms)
        text_append(ret_said, PEOPLE_SAID_SIZE,
                    "; it ends by itself in %d min, or by `muster resume`",
                    pause_minutes_left(pause, w->now_unix_ms));
    else
        text_append(ret_said, PEOPLE_SAID_SIZE, "; it has no end: `muster resume`");
}

enum people_answer people_judge(const struct world *world, const char *said,
                                char ret_said[PEOPLE_SAID_SIZE])
{
    const struct record *record = world->record;
    if (world->record_presence == PRESENCE_ABSENT && !world->record_copy) {
        text_format(ret_said, PEOPLE_SAID_SIZE, "there is no cluster yet, and so no pause");
        return PEOPLE_REFUSED;
    }
    if (record && record->state == RECORD_FORMING && world->person.wish == PERSON_PAUSE) {
        text_format(ret_said, PEOPLE_SAID_SIZE,
                    "the cluster is being formed: there is nothing to pause yet");
        return PEOPLE_REFUSED;
    }
    if (record && is_written(world) && is_settled(world)) {
        say_done(world, ret_said);
        return PEOPLE_DONE;
    }
    if (world->now_ms - world->person.asked_ms < PEOPLE_PATIENCE_MS)
        return PEOPLE_WAIT;
    say_late(world, said, ret_said);
    return PEOPLE_REFUSED;
}
