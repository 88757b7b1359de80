/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record's moves carried out beside their source, and how far they were read (agent_mover.c of the agent,
 * io/mover_client.h); the servers are reached as io/slot_link.h does (agent_link.c).
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "core/pause.h"
#include "sim.h"

/* agent_mover.c */
#define MOVES_RETRY_MS 500
#define MOVES_AGAIN_MS 5000
#define MOVES_ASK_MS 500

static void on_version(struct sim *sim, const struct event *event);

/* ---- what was read ---- */

static const struct pod *moves_me(const struct agent *agent)
{
    const struct world *w = &agent->world;
    const struct pod *me = w->me == NO_POD ? NULL : &w->pods[w->me];
    return me && world_view_fresh(w, me) && me->server.primary &&
                   me->server.view->myself->flags & NODE_PRIMARY
               ? me
               : NULL;
}

/* `event->data` is the record's version when the API answered. */
static void on_version(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    uint64_t *version = event->data;
    if (agent_absent(sim, event, &agent)) {
        if (!agent->alive || agent->run != event->run)
            free(version);
        return;
    }
    struct agent_moves *m = &agent->moves;
    m->asking = false;
    if (version && m->asked_for == m->since_ms) {
        m->sure = true;
        m->version = *version;
        agent_wake(sim, agent);
    }
    free(version);
}

static void moves_ask_version(struct sim *sim, struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    int64_t delay_us;
    if (m->sure || m->asking || agent->world.now_ms < m->ask_ms)
        return;
    m->ask_ms = agent->world.now_ms + MOVES_ASK_MS;
    m->asked_for = m->since_ms;
    m->asking = true;
    uint64_t *version = NULL;
    if (agent_reads_record(sim, agent, &delay_us)) {
        version = xcalloc(1, sizeof *version);
        *version = sim->api.now.record ? sim->api.now.record->version : 0;
    }
    sim_after(sim, delay_us, on_version, agent->index, 0, agent->run, version);
}

/* Since when the own server is a primary: of this process, under this id. */
static void moves_follow_role(struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    const struct pod *me = moves_me(agent);
    const struct world *w = &agent->world;
    if (!me) {
        if (w->me == NO_POD || !w->pods[w->me].server.primary)
            m->since_ms = m->read = 0;
        return;
    }
    if (m->since_ms && node_id_eq(&m->id, &me->server.id) &&
        strcmp(m->run_id, me->server.run_id) == 0)
        return;
    m->id = me->server.id;
    text_format(m->run_id, sizeof m->run_id, "%s", me->server.run_id);
    m->since_ms = w->now_ms;
    m->read = 0;
    m->sure = false;
    m->ask_ms = 0;
}

/* The record as it may be acted on; NULL while it may not. */
static const struct record *moves_record(const struct agent *agent)
{
    const struct agent_moves *m = &agent->moves;
    const struct record *record = agent->world.record;
    if (!m->since_ms || !m->sure || !record || record->state != RECORD_FORMED ||
        agent->record->version < m->version)
        return NULL;
    return record;
}

static bool moves_is_named(const struct record *record, const struct record_move *move)
{
    for (size_t i = 0; i < record->move_count; i++)
        if (record_move_eq(&record->moves[i], move))
            return true;
    return false;
}

static void moves_end(struct sim *sim, struct agent *agent, enum mover_outcome end)
{
    struct agent_moves *m = &agent->moves;
    int64_t now_ms = agent_clock_ms(sim, agent);
    m->busy = false;
    agent_link_end(agent, LINK_MOVER);
    sim->stats->slots_moved += m->mover.slots_done;
    if (end == MOVER_ENDED_UNSURE) {
        m->unsure = true;
        m->unsure_to = m->move.to;
        memcpy(m->unsure_uid, m->uid, sizeof m->unsure_uid);
    }
    if (end != MOVER_ENDED_STOPPED) {
        struct moves_tried *tried = &m->tried[m->tried_next++ % MOVES_TRIED_MAX];
        int64_t wait_ms = end == MOVER_ENDED_DONE ? MOVES_AGAIN_MS : MOVES_RETRY_MS;
        *tried =
            (struct moves_tried){m->move.to, m->move.generation, m->move.cancel, now_ms + wait_ms};
    }
    agent_wake(sim, agent);
}

static void moves_read(struct sim *sim, struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    const struct record *record = moves_record(agent);
    if (m->busy && (!record || !moves_is_named(record, &m->move))) {
        m->stopping = true;
        if (!agent_link_is_busy(agent, LINK_MOVER))
            moves_end(sim, agent, MOVER_ENDED_STOPPED);
    } else if (record && !agent_link_is_busy(agent, LINK_UNSURE) && !m->unsure) {
        m->read = record->move_generation;
    }
    mover_pause(&m->mover, pause_stops(&agent->world, WORK_SCALE));
}

void agent_watch_moves(struct sim *sim, struct agent *agent)
{
    struct world *w = &agent->world;
    struct agent_moves *m = &agent->moves;
    w->scaling = sim->setup.scaling ? SCALING_AUTO : SCALING_OFF;
    w->scale = agent->looks ? &agent->looks->watch : NULL;
    if (!sim->setup.scaling)
        return;
    moves_follow_role(agent);
    if (m->since_ms)
        moves_ask_version(sim, agent);
    moves_read(sim, agent);
    w->moves = (struct moves_word){true, m->read};
}

/* ---- carrying out ---- */

static bool moves_find_dest(const struct agent *agent, const struct node_id *to,
                            const struct pod **ret_pod)
{
    const struct world *w = &agent->world;
    const struct pod *me = moves_me(agent);
    const struct record_member *member = record_find_id(w->record, to);
    const struct pod *pod = member ? world_pod_by_name(w, member->pod) : NULL;
    const struct view_node *node = me ? view_find(me->server.view, to) : NULL;
    const uint32_t unfit = NODE_FAIL | NODE_PFAIL | NODE_NOADDR | NODE_HANDSHAKE;
    *ret_pod = pod;
    return pod && node && node->flags & NODE_PRIMARY && !(node->flags & unfit) &&
           strcmp(node->ip, pod->ip) == 0;
}

static void moves_step(struct sim *sim, struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    if (m->stopping) {
        moves_end(sim, agent, MOVER_ENDED_STOPPED);
        return;
    }
    mover_next(&m->mover, &m->order);
    switch (m->order.kind) {
    case MOVER_LOOK:
        agent_link_look(sim, agent, LINK_MOVER, m->order.slots, m->order.count);
        break;
    case MOVER_STEP:
        agent_link_order(sim, agent, LINK_MOVER, &m->order);
        break;
    case MOVER_DONE:
    case MOVER_PAUSED:
        moves_end(sim, agent, MOVER_ENDED_DONE);
        break;
    case MOVER_BLOCKED:
        sim_trace(sim, sim->redis[agent->index].name, "move waits: slot %u: %s", m->order.slots[0],
                  m->order.why);
        moves_end(sim, agent, MOVER_ENDED_BLOCKED);
        break;
    }
}

void agent_moves_seen(struct sim *sim, struct agent *agent, const struct slot_seen *seen)
{
    mover_saw(&agent->moves.mover, &agent->moves.order, seen);
    moves_step(sim, agent);
}

void agent_moves_did(struct sim *sim, struct agent *agent, const enum mover_result *results,
                     const int64_t *left)
{
    struct agent_moves *m = &agent->moves;
    mover_did(&m->mover, &m->order, results, m->order.step == SLOT_KEYS ? left : NULL, 1);
    moves_step(sim, agent);
}

void agent_moves_lost(struct sim *sim, struct agent *agent, bool ordered, const char *why)
{
    sim_trace(sim, sim->redis[agent->index].name, "move is given up for now: %s", why);
    moves_end(sim, agent, ordered ? MOVER_ENDED_UNSURE : MOVER_ENDED_LOST);
}

static bool moves_begin(struct sim *sim, struct agent *agent, const struct record_move *move)
{
    struct agent_moves *m = &agent->moves;
    const struct pod *pod;
    m->move = *move; /* stored records stay */
    if (!moves_find_dest(agent, &move->to, &pod))
        return false;
    memcpy(m->uid, pod->uid, sizeof m->uid);
    mover_init(&m->mover, &(struct mover_config){.ranges = move->ranges,
                                                 .range_count = move->range_count,
                                                 .budget_ms = MOVER_BUDGET_MS,
                                                 .cancel = move->cancel});
    mover_pause(&m->mover, pause_stops(&agent->world, WORK_SCALE));
    m->busy = true;
    m->stopping = false;
    agent_link_begin(sim, agent, LINK_MOVER, &(struct slot_pair){m->id, move->to}, agent->addr,
                     sim_addr_parse(pod->ip));
    moves_step(sim, agent);
    return true;
}

static const struct moves_tried *moves_find_tried(const struct agent_moves *m,
                                                  const struct record_move *move)
{
    const struct moves_tried *latest = NULL;
    for (size_t i = 0; i < MOVES_TRIED_MAX; i++) {
        const struct moves_tried *t = &m->tried[i];
        if (node_id_eq(&t->to, &move->to) && t->cancel == move->cancel &&
            t->generation == move->generation && (!latest || t->until_ms > latest->until_ms))
            latest = t;
    }
    return latest;
}

/* ---- an order whose answer was lost ---- */

void agent_moves_sure(struct sim *sim, struct agent *agent, bool answered)
{
    agent_link_end(agent, LINK_UNSURE);
    if (answered)
        agent->moves.unsure = false;
    else
        agent->moves.unsure_ms = agent_clock_ms(sim, agent) + MOVES_RETRY_MS;
    agent_wake(sim, agent);
}

static void moves_make_sure(struct sim *sim, struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    const struct world *w = &agent->world;
    const struct pod *pod = NULL;
    for (size_t i = 0; i < w->pod_count; i++)
        if (strcmp(w->pods[i].uid, m->unsure_uid) == 0)
            pod = &w->pods[i];
    if (!pod && world_api_fresh(w))
        m->unsure = false;
    if (!m->unsure || agent_link_is_busy(agent, LINK_UNSURE) || w->now_ms < m->unsure_ms ||
        !m->since_ms || !pod || !pod->ip[0])
        return;
    agent_link_begin(sim, agent, LINK_UNSURE, &(struct slot_pair){m->id, m->unsure_to}, agent->addr,
                     sim_addr_parse(pod->ip));
    agent_link_look(sim, agent, LINK_UNSURE, (const uint16_t[]){0}, 1);
}

/* ---- the turn ---- */

void agent_move_slots(struct sim *sim, struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    if (!sim->setup.scaling)
        return;
    moves_make_sure(sim, agent);
    const struct record *record = moves_record(agent);
    if (!record || m->busy || agent->world.settling || !moves_me(agent) ||
        m->read != record->move_generation)
        return;
    for (size_t i = 0; i < record->move_count; i++) {
        size_t at = (m->turn + i) % record->move_count;
        const struct record_move *move = &record->moves[at];
        const struct moves_tried *tried = moves_find_tried(m, move);
        if (!node_id_eq(&move->from, &m->id) || (tried && agent->world.now_ms < tried->until_ms))
            continue;
        m->turn = at + 1;
        if (!moves_begin(sim, agent, move)) {
            struct moves_tried *next = &m->tried[m->tried_next++ % MOVES_TRIED_MAX];
            *next = (struct moves_tried){move->to, move->generation, move->cancel,
                                         agent->world.now_ms + MOVES_RETRY_MS};
        }
        return;
    }
}
