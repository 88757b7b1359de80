/* SPDX-License-Identifier: Apache-2.0 */
/* What people order, judged by what is stored and by what runs, not by what an agent believes. */
#include <stdio.h>
#include <string.h>

#include "core/drain.h"
#include "core/people.h"
#include "sim.h"

/* By then an order that relies on the word of a server's agent has been sent, on clocks that drift. */
#define PLANNED_MS (DRAIN_TOGETHER_MS + 50)
/* And by then who leads next has read it, however late its watch is. */
#define UNREAD_US SECONDS(30)
/* A word that was given up may still be written for so long (a request and its deadline). */
#define WORD_US SECONDS(30)

/* This is a pause, and it has not ended by any agent's clock. */
static bool holds(const struct sim *sim, const struct record *record)
{
    int64_t latest_ms = agent_unix_ms(sim, PODS_MAX - 1);
    const struct record_pause *pause = &record->pause;
    return pause->set && (!pause->until_unix_ms || latest_ms < pause->until_unix_ms);
}

static bool is_same(const struct record_pause *a, const struct record_pause *b)
{
    return a->set == b->set && a->since_unix_ms == b->since_unix_ms &&
           a->until_unix_ms == b->until_unix_ms && strcmp(a->reason, b->reason) == 0;
}

static bool is_said(const struct sim *sim)
{
    return sim->checks.said_us && sim->now_us - sim->checks.said_us < WORD_US;
}

/* Somebody shows it as half-moved. */
static bool is_open(const struct sim *sim, unsigned slot)
{
    for (int i = 0; i < PODS_MAX; i++)
        if (redis_open_peer(&sim->redis[i], slot, true) ||
            redis_open_peer(&sim->redis[i], slot, false))
            return true;
    return false;
}

static bool has_move(const struct record *record, unsigned slot)
{
    for (size_t i = 0; i < record->move_count; i++)
        for (size_t r = 0; r < record->moves[i].range_count; r++)
            if (slot >= record->moves[i].ranges[r].first && slot <= record->moves[i].ranges[r].last)
                return true;
    return false;
}

/* What another tool has begun is entered, and so finished. */
static void check_entered(struct sim *sim, const struct record *before, const struct record *after)
{
    for (unsigned slot = 0; after->move_count && slot < SLOT_COUNT; slot++)
        if (has_move(after, slot) && !has_move(before, slot) && !is_open(sim, slot)) {
            sim_violation(sim, "PAUSE: the move of slot %u is entered", slot);
            return;
        }
}

void check_pause(struct sim *sim, const struct record *before, const struct record *after)
{
    bool formed = before && before->state == RECORD_FORMED;
    if (after->pause.set && (!before || !before->pause.set))
        sim->checks.paused_us = sim->now_us;
    if (!formed || !holds(sim, before))
        return;
    if (!is_same(&before->pause, &after->pause) && !is_said(sim))
        sim_violation(sim, "PAUSE: it is taken out of the record, and nobody has said so");
    check_entered(sim, before, after);
    if (after->state == RECORD_FORMING)
        sim_violation(sim, "PAUSE: a cluster is formed anew");
    for (size_t i = 0; i < after->member_count; i++)
        if (!record_find_pod(before, after->members[i].pod))
            sim_violation(sim, "PAUSE: %s is taken in", after->members[i].pod);
}

static void check_seen(struct sim *sim, const struct agent *agent, const char *text)
{
    int64_t sees_ms = agent->paused_ms ? agent_clock_ms(sim, agent) - agent->paused_ms : 0;
    if (sees_ms > 0)
        sim_violation(sim, "PAUSED: %s sends \"%s\" %lld ms after it was paused",
                      sim->redis[agent->index].name, text, (long long)sees_ms);
}

/* Whoever leads must have heard of it by then, or lead no more. */
static void check_stopped(struct sim *sim, const struct agent *agent, const char *text)
{
    const char *name = sim->redis[agent->index].name;
    const struct stored_record *stored = sim->api.now.record;
    int64_t stands_us = sim->now_us - sim->checks.paused_us;
    check_seen(sim, agent, text);
    if (stored && holds(sim, &stored->record) && stands_us > UNREAD_US)
        sim_violation(sim, "PAUSED: %s sends \"%s\" %lld ms after that was stored", name, text,
                      (long long)(stands_us / 1000));
}

/* Keys of it are there, and an election has closed it since. */
static bool has_gone(const struct sim *sim, const struct agent *agent, unsigned slot)
{
    for (int i = 0; i < PODS_MAX; i++) {
        struct node_id id;
        redis_id_hex(sim->redis[i].nodes[0].id, &id);
        for (int k = 0; node_id_eq(&id, &agent->moves.move.to) && k < sim->atom_count; k++)
            if (sim->atoms[k].first == slot && sim->redis[i].data[k])
                return true;
    }
    return false;
}

void check_opens(struct sim *sim, const struct agent *agent, const struct mover_order *order)
{
    for (size_t i = 0; order->step == SLOT_IMPORT && i < order->count; i++) {
        char text[64];
        text_format(text, sizeof text, "SETSLOT %u IMPORTING", order->slots[i]);
        if (!is_open(sim, order->slots[i]) && !has_gone(sim, agent, order->slots[i]))
            check_seen(sim, agent, text); /* cut off from the API nobody else tells it */
    }
}

/* Its preStop has asked before the order was planned, and its own agent could have said so. */
static bool stops(const struct sim *sim, int pod)
{
    const struct drain_model *drain = &sim->pods[pod].drain;
    const struct agent *agent = &sim->agents[pod];
    return drain->asking && !drain->goes && sim->now_us - drain->since_us > MS(PLANNED_MS) &&
           sim->redis[pod].phase == REDIS_UP && agent->alive &&
           sim->now_us >= agent->paused_until_us;
}

/* Once for each word, at the server of which it was said, of whose shard nobody stops. */
static void check_person_order(struct sim *sim, const struct agent *agent,
                               const struct action *action, const char *text)
{
    struct checks *c = &sim->checks;
    const char *name = sim->redis[agent->index].name;
    if (c->word_run[agent->index] == agent->run && c->word_ms[agent->index] == action->asked_ms)
        sim_violation(sim, "%s sends \"%s\", the second order for one word", name, text);
    c->word_run[agent->index] = agent->run;
    c->word_ms[agent->index] = action->asked_ms;
    for (int i = 0; i < sim->api.now.replicas; i++) {
        const struct redis *r = &sim->redis[i];
        struct node_id id;
        struct node_id primary;
        redis_id_hex(r->nodes[0].id, &id);
        redis_id_hex(r->nodes[0].primary, &primary);
        bool heir = node_id_eq(&id, &action->node);
        if (heir && strcmp(r->name, agent->handover.pod) != 0)
            sim_violation(sim, "%s sends \"%s\" to %s, and %s was ordered", name, text, r->name,
                          agent->handover.pod);
        if ((heir || node_id_eq(&id, &action->subject) || node_id_eq(&primary, &action->subject)) &&
            stops(sim, i))
            sim_violation(sim, "%s sends \"%s\" while %s stops", name, text, r->name);
    }
}

void check_people(struct sim *sim, const struct agent *agent, const struct action *action,
                  const char *text)
{
    if (action->placing || action->kind == ACTION_FORGET)
        check_stopped(sim, agent, text);
    if (action->asked_ms)
        check_person_order(sim, agent, action, text);
}
