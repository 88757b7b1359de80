/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/case_drain.h"

#include <string.h>

#include "core/failover.h"
#include "core/place.h"
#include "plan/case_words.h"

#define WATCHED_MS 600000

bool case_drain_read(struct case_drain *drain, struct world *world, struct span words)
{
    struct drain_watch *watch = &world->drain;
    int64_t number = 0;
    drain->used = true;
    (void)case_number(words, "since", &number);
    watch->since_ms = world->now_ms - number;
    if (case_number(words, "epoch", &number)) {
        watch->owner = true;
        watch->epoch = (uint64_t)number;
    }
    if (case_number(words, "slots", &number))
        watch->slots = (uint32_t)number;
    if (case_number(words, "handed", &number))
        watch->handed_ms = world->now_ms - number;
    if (case_number(words, "tells", &number))
        watch->tells_ms = world->now_ms - number;
    watch->ordering = case_word(words, "ordering");
    if (case_word(words, "told"))
        watch->told_ms = world->now_ms - 1;
    return true;
}

bool case_drain_past(struct case_drain *drain, struct span keyword, struct span words)
{
    drain->used = true;
    if (span_is(keyword, "watched"))
        return text_to_i64(words, 1, INT32_MAX, &drain->watched_ms);
    if (drain->past_count == CASE_DRAIN_PASTS_MAX)
        return false;
    drain->pasts[drain->past_count++] = words;
    return true;
}

bool case_drain_place(struct case_drain *drain, struct world *world, struct span words)
{
    int64_t interval_ms = 600000;
    int64_t moved_ms = INT64_C(3600000);
    int64_t quiet_ms = INT64_C(3600000);
    int64_t wanted_ms = 200;
    int64_t hurry_ms = 200;
    int64_t fruitless = 0;
    int64_t half = 0;
    struct span policy;
    if (!span_token(&words, &policy))
        return false;
    drain->used = true;
    (void)case_number(words, "interval", &interval_ms);
    (void)case_number(words, "moved", &moved_ms);
    (void)case_number(words, "quiet", &quiet_ms);
    (void)case_number(words, "wanted", &wanted_ms);
    (void)case_number(words, "hurry", &hurry_ms);
    (void)case_number(words, "fruitless", &fruitless);
    (void)case_number(words, "half", &half);
    world->placement = span_is(policy, "enforce") ? PLACE_ENFORCE : PLACE_WARN;
    world->placement_interval_ms = interval_ms;
    world->place = (struct place_watch){.moved_ms = world->now_ms - moved_ms,
                                        .quiet_ms = world->now_ms - quiet_ms,
                                        .wanted_ms = wanted_ms ? world->now_ms - wanted_ms : 0,
                                        .hurry_ms = hurry_ms ? world->now_ms - hurry_ms : 0,
                                        .fruitless = (unsigned)fruitless,
                                        .half = (unsigned)half};
    return span_is(policy, "enforce") || span_is(policy, "warn");
}

void case_drain_pod(struct pod *pod, int64_t now_ms, struct span words)
{
    char word[8] = "";
    case_copy(words, "leaving", word, sizeof word);
    if (word[0])
        pod->told =
            (struct told){.heard_ms = now_ms,
                          .leaving = strcmp(word, "goes") == 0 ? LEAVING_GOES : LEAVING_ASKED};
    int64_t heard_ms;
    if (case_word(words, "unheard"))
        pod->told.heard_ms = 1;
    if (case_number(words, "heard", &heard_ms))
        pod->told.heard_ms = now_ms - heard_ms;
    word[0] = '\0';
    case_copy(words, "agent", word, sizeof word);
    if (word[0]) {
        pod->agent = AGENT_SILENT;
        int64_t seen_ms = 7000;
        (void)case_number(words, "seen", &seen_ms);
        pod->agent_seen_ms = now_ms - seen_ms;
    }
    (void)case_number(words, "grace", &pod->grace_ms);
    pod->updated = !case_word(words, "outdated");
}

static const struct pod *drain_primary(const struct world *world, const struct node_id *id)
{
    for (size_t i = 0; i < world->pod_count; i++)
        if (node_id_eq(&world->pods[i].server.id, id))
            return &world->pods[i];
    return NULL;
}

/* Replication runs at the primary's address, unless the case says otherwise. */
static void drain_fill_addresses(const struct world *world, struct pod *pods)
{
    for (size_t i = 0; i < world->pod_count; i++) {
        struct server *s = &pods[i].server;
        const struct pod *primary =
            s->primary || !s->view ? NULL : drain_primary(world, &s->view->myself->primary);
        if (!primary || s->primary_ip[0])
            continue;
        text_format(s->primary_ip, sizeof s->primary_ip, "%s", primary->ip);
        s->primary_port = primary->port;
    }
}

/* A primary lists who is in sync with it, unless the case says otherwise. */
static void drain_fill_online(const struct world *world, struct pod *pods)
{
    for (size_t i = 0; i < world->pod_count; i++) {
        struct server *s = &pods[i].server;
        bool none = !s->primary || s->online[0].ip[0];
        for (size_t k = 0; !none && k < world->pod_count; k++) {
            const struct server *r = &world->pods[k].server;
            if (r->primary || !r->link_up || strcmp(r->primary_ip, pods[i].ip) != 0 ||
                s->online_count == REPLICAS_TOLD_MAX)
                continue;
            struct replica_addr *addr = &s->online[s->online_count++];
            text_format(addr->ip, sizeof addr->ip, "%s", pods[k].ip);
            addr->port = pods[k].port;
        }
    }
}

/* And agents were heard. */
static void drain_fill_words(const struct world *world, struct pod *pods)
{
    for (size_t i = 0; i < world->pod_count; i++)
        if (!pods[i].told.heard_ms && pods[i].agent == AGENT_OK)
            pods[i].told.heard_ms = world->now_ms;
}

static bool drain_put_past(const struct world *world, struct failover_history *history,
                           struct span words)
{
    struct span name;
    int64_t ago;
    if (!span_token(&words, &name))
        return false;
    for (size_t i = 0; i < world->pod_count; i++) {
        if (!span_is(name, world->pods[i].name))
            continue;
        struct failover_past *past = &history->items[i];
        if (case_number(words, "first", &ago))
            past->watched_ms = world->now_ms - ago;
        if (case_number(words, "attempt", &ago))
            past->attempt_ms = world->now_ms - ago;
        if (case_number(words, "voted", &ago))
            past->voted_ms = world->now_ms - ago;
        return true;
    }
    return false;
}

bool case_drain_finish(const struct case_drain *drain, struct world *world, struct pod *pods,
                       struct arena *arena)
{
    drain_fill_addresses(world, pods);
    if (!drain->used)
        return true;
    drain_fill_words(world, pods);
    drain_fill_online(world, pods);
    int64_t seen_ms = world->now_ms - (drain->watched_ms ? drain->watched_ms : WATCHED_MS);
    struct failover_history *history = ARENA_NEW(arena, struct failover_history, 1);
    for (size_t i = 0; i < world->pod_count; i++)
        history->items[history->count++] = (struct failover_past){
            .id = world->pods[i].server.id, .watched_ms = seen_ms, .voted_ms = seen_ms};
    world->failovers = history;
    struct facts facts;
    facts_gather(world, arena, &facts);
    if (facts.reference)
        world->place.seen = place_seen(world, &facts);
    for (size_t i = 0; i < drain->past_count; i++)
        if (!drain_put_past(world, history, drain->pasts[i]))
            return false;
    return true;
}
