/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pause.h"

#include <string.h>

#include "base/text.h"

/* In words that this release does not understand: no end of it is known. */
static const struct record_pause unclear = {.set = true, .reason = "by another release"};

const struct record_pause *pause_of(const struct world *world)
{
    const struct record *record = world->record ? world->record : world->record_copy;
    if (!record || (!record->pause.set && !record->pause_unclear))
        return NULL;
    const struct record_pause *pause = record->pause.set ? &record->pause : &unclear;
    /* An agent that does not know what time it is waits for the one that does. */
    bool ended =
        pause->until_unix_ms && world->now_unix_ms && world->now_unix_ms >= pause->until_unix_ms;
    return ended ? NULL : pause;
}

bool pause_is_for(enum pause_work work)
{
    static const bool stops[] = {
#define X(name, stops, text) [name] = (stops),
        PAUSE_WORKS(X)
#undef X
    };
    return work < WORK_COUNT && stops[work];
}

bool pause_stops(const struct world *world, enum pause_work work)
{
    bool wished = world->person.wish == PERSON_PAUSE; /* it is just being written */
    return pause_is_for(work) && !(world->guards_off & GUARD_PAUSE) && (wished || pause_of(world));
}

bool pause_may_send(const struct world *world, enum person_wish wish, const struct action *action)
{
    if (!action->placing && action->kind != ACTION_FORGET)
        return true;
    bool unguarded = world->guards_off & GUARD_PAUSE;
    return (unguarded || wish != PERSON_PAUSE) &&
           !pause_stops(world, action->placing ? WORK_PLACE : WORK_FORGET);
}

const char *pause_work_text(enum pause_work work)
{
    switch (work) {
#define X(name, stops, text) \
    case name:               \
        return text;
        PAUSE_WORKS(X)
#undef X
    case WORK_COUNT:
        break;
    }
    return "unknown";
}

void pause_say(const struct world *world, char ret_said[PAUSE_SAID_SIZE])
{
    const struct record_pause *pause = pause_of(world);
    ret_said[0] = '\0';
    if (pause && pause->reason[0])
        text_format(ret_said, PAUSE_SAID_SIZE, "paused by a person (%s)", pause->reason);
    else if (pause)
        text_format(ret_said, PAUSE_SAID_SIZE, "paused by a person");
}

int pause_minutes_left(const struct record_pause *pause, int64_t now_unix_ms)
{
    int64_t left_ms = pause->until_unix_ms - now_unix_ms;
    int64_t minutes = (left_ms + 59999) / 60000;
    return minutes < 1 ? 1 : minutes > INT32_MAX ? INT32_MAX : (int)minutes;
}

void pause_put_reason(struct record_pause *pause, const char *text)
{
    size_t len = 0;
    for (; text[len] && len + 1 < sizeof pause->reason; len++) {
        bool plain = text[len] >= ' ' && text[len] <= '~';
        memcpy(&pause->reason[len], plain ? &text[len] : "?", 1);
    }
    pause->reason[len] = '\0';
}
