/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leader's looks at slots that are to move next (core/scale_see.h): are they closed at both primaries, and
 * is there no old key of them where they are to go?
 */
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "io/clock.h"

/* At a time; the next pair follows in the turn in which one of them has ended. */
#define LOOKS_MAX 8
/* A pair that could not be looked at is left alone for as long. */
#define LOOKS_RETRY_MS 1000

struct look {
    struct agent *agent;
    struct slot_link *link; /* owned; NULL = this place is free */
    struct scale_seen seen;
    struct slot_set slots; /* to be looked at, */
    struct slot_set looked;
    unsigned next; /* from here on */
    uint16_t chunk[SLOT_LINK_SLOTS_MAX];
    size_t chunk_count;
    int64_t until_ms; /* it has ended, and its place is kept until then; 0 = it is under way */
};

struct agent_looks {
    struct scale_watch watch;
    struct look looks[LOOKS_MAX];
};

static void look_end(struct look *look, int64_t keep_ms)
{
    look->until_ms = clock_mono_ms() + keep_ms;
    agent_wake(look->agent);
}

static void look_next(struct look *look)
{
    look->chunk_count = 0;
    for (; look->next < SLOT_COUNT && look->chunk_count < SLOT_LINK_SLOTS_MAX; look->next++)
        if (slot_set_has(&look->slots, look->next))
            look->chunk[look->chunk_count++] = (uint16_t)look->next;
    if (look->chunk_count) {
        slot_link_look(look->link, look->chunk, look->chunk_count);
        return;
    }
    scale_note(&look->agent->looks->watch, &look->seen, &look->looked);
    look_end(look, 0);
}

static void look_on_seen(void *ctx, const struct slot_seen *seen)
{
    struct look *look = ctx;
    for (size_t i = 0; i < look->chunk_count; i++) {
        struct slot_range one = {look->chunk[i], look->chunk[i]};
        const struct slot_side *from = &seen[i].source;
        const struct slot_side *to = &seen[i].dest;
        slot_set_add(&look->looked, one);
        bool agrees = to->owner == SLOT_OWNER_SOURCE ||
                      (to->owner == SLOT_OWNER_NOBODY && to->open != SLOT_CLOSED);
        if (from->owner != SLOT_OWNER_SOURCE || !agrees || from->open != SLOT_CLOSED ||
            to->open == SLOT_OPEN_OTHER)
            continue;
        slot_set_add(to->keys                  ? &look->seen.keys
                     : to->open == SLOT_CLOSED ? &look->seen.clean
                                               : &look->seen.bare,
                     one);
    }
    look_next(look);
}

static void look_on_lost(void *ctx, bool ordered, const char *why)
{
    struct look *look = ctx;
    (void)ordered;
    LOG(LOG_INFO, "look-failed", LOG_ABOUT("look"),
        LOG_S("msg", "slots that are to move could not be looked at"), LOG_S("why", why));
    look_end(look, LOOKS_RETRY_MS);
}

static void look_begin(struct agent *agent, struct look *look, const struct scale_look *ask)
{
    const struct pod *from = &agent->world.pods[ask->from_pod];
    const struct pod *to = &agent->world.pods[ask->to_pod];
    *look = (struct look){
        .agent = agent,
        .seen = {.from = ask->from, .to = ask->to, .generation = ask->generation},
        .slots = *ask->slots,
    };
    struct slot_link_config config = {
        .peers = agent->peers,
        .pair = {ask->from, ask->to},
        .source = {from->ip, from->port},
        .dest = {to->ip, to->port},
        .on_seen = look_on_seen,
        .on_lost = look_on_lost,
        .ctx = look,
    };
    look->seen.asked_ms = clock_mono_ms();
    look->link = slot_link_new(agent->loop, &config);
    look_next(look);
}

static bool look_is_at(const struct look *look, const struct scale_look *ask)
{
    return look->link && node_id_eq(&look->seen.from, &ask->from) &&
           node_id_eq(&look->seen.to, &ask->to);
}

/* Begins it, unless it is under way or no place is free. */
static void look_ask(struct agent *agent, struct agent_looks *looks, const struct scale_look *ask)
{
    struct look *place = NULL;
    for (size_t i = 0; i < LOOKS_MAX; i++) {
        struct look *look = &looks->looks[i];
        if (look_is_at(look, ask))
            return;
        if (!look->link && !place)
            place = look;
    }
    if (place)
        look_begin(agent, place, ask);
}

void agent_look_at_slots(struct agent *agent)
{
    const struct plan *plan = &agent->plan;
    if (!agent->looks && plan->scale.look_count)
        agent->looks = xcalloc(1, sizeof *agent->looks);
    struct agent_looks *looks = agent->looks;
    for (size_t i = 0; looks && i < LOOKS_MAX; i++) {
        struct look *look = &looks->looks[i];
        if (look->link && look->until_ms && agent->world.now_ms >= look->until_ms)
            slot_link_free(TAKE(look->link));
    }
    for (size_t k = 0; looks && k < plan->scale.look_count; k++)
        look_ask(agent, looks, &plan->scale.looks[k]);
}

const struct scale_watch *agent_looked(const struct agent *agent)
{
    return agent->looks ? &agent->looks->watch : NULL;
}

void agent_end_looks(struct agent *agent)
{
    for (size_t i = 0; agent->looks && i < LOOKS_MAX; i++)
        slot_link_free(TAKE(agent->looks->looks[i].link));
    free(TAKE(agent->looks));
}
