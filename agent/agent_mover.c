/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out the moves that the record names the own server as the source of, one after the other; and
 * says in the digest how far it has read them. That word is what the leader waits for before it enters
 * more (core/scale.h), so it is given only
 *
 *   - while the own server is a primary, by a record that is at least as new as what the API said after
 *     it became one: what a watch had told until then may name it from an earlier time, and
 *   - when everything that was ordered by an older record is answered. A server that was frozen carries
 *     out later what it was sent: until who lost its answer has had another one, it is not known.
 */
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "core/pause.h"
#include "io/clock.h"
#include "io/kube_watch.h"

/* What is blocked, or whose server does not answer, is tried again after so long. */
#define MOVES_RETRY_MS 500
/* What was done and still is in the record is looked at again: a failover may have opened it. */
#define MOVES_AGAIN_MS 5000
#define MOVES_ASK_MS 500

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

static void moves_on_version(void *ctx, const char *version, const struct err *err)
{
    struct agent *agent = ctx;
    struct agent_moves *m = &agent->moves;
    m->asking = false;
    if (err->code != E_OK || m->asked_for != m->since_ms)
        return; /* asked again by the next turn */
    m->sure = true;
    text_format(m->version, sizeof m->version, "%s", version);
    agent_wake(agent);
}

static void moves_ask_version(struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    struct err err = {0};
    if (m->sure || m->asking || agent->world.now_ms < m->ask_ms)
        return;
    m->ask_ms = agent->world.now_ms + MOVES_ASK_MS;
    m->asked_for = m->since_ms;
    m->asking = record_client_look(agent->records, moves_on_version, agent, &err) == 0;
}

/* Since when the own server is a primary: of this process, under this id. */
static void moves_follow_role(struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    const struct pod *me = moves_me(agent);
    if (!me) {
        /* Not heard for a moment is no other role. */
        const struct world *w = &agent->world;
        if (w->me != NO_POD && w->pods[w->me].server.primary)
            return;
        m->since_ms = m->read = 0;
        return;
    }
    bool same = m->since_ms && node_id_eq(&m->id, &me->server.id) &&
                strcmp(m->run_id, me->server.run_id) == 0;
    if (same)
        return;
    m->id = me->server.id;
    text_format(m->run_id, sizeof m->run_id, "%s", me->server.run_id);
    m->since_ms = agent->world.now_ms;
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
        record->moves_unclear ||
        kube_version_is_older(kube_state_record_version(agent->state), m->version))
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

static void moves_read(struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    const struct record *record = moves_record(agent);
    if (m->client && (!record || !moves_is_named(record, &m->move)))
        mover_client_stop(m->client);
    else if (record && !m->unsure.link && !m->unsure.on)
        m->read = record->move_generation;
    if (m->client)
        mover_client_pause(m->client, pause_stops(&agent->world, WORK_SCALE));
}

void agent_watch_moves(struct agent *agent)
{
    struct world *w = &agent->world;
    struct agent_moves *m = &agent->moves;
    const struct record *record = w->record;
    bool wanted = w->scaling == SCALING_AUTO ||
                  (record && (record->move_count || record->evening || m->client));
    w->scale = agent_looked(agent);
    if (agent->hosts || !wanted)
        return;
    moves_follow_role(agent);
    if (m->since_ms)
        moves_ask_version(agent);
    moves_read(agent);
    w->moves = (struct moves_word){true, m->read};
}

/* ---- carrying out ---- */

static void moves_on_end(void *ctx)
{
    agent_wake(ctx);
}

/* Where the destination answers, by the own server's view, which is whom MIGRATE goes to; false if unclear. */
static bool moves_find_dest(const struct agent *agent, const struct node_id *to,
                            const struct pod **ret_pod, const struct view_node **ret_node)
{
    const struct world *w = &agent->world;
    const struct pod *me = moves_me(agent);
    const struct record_member *member = record_find_id(w->record, to);
    const struct pod *pod = member ? world_pod_by_name(w, member->pod) : NULL;
    const struct view_node *node = me ? view_find(me->server.view, to) : NULL;
    const uint32_t unfit = NODE_FAIL | NODE_PFAIL | NODE_NOADDR | NODE_HANDSHAKE;
    if (!pod || !node || !(node->flags & NODE_PRIMARY) || node->flags & unfit ||
        strcmp(node->ip, pod->ip) != 0)
        return false;
    *ret_pod = pod;
    *ret_node = node;
    return true;
}

static struct slot_link_config moves_link(const struct agent *agent, const struct node_id *to,
                                          const struct pod *pod, uint16_t migrate_port)
{
    return (struct slot_link_config){
        .peers = agent->peers,
        .pair = {agent->moves.id, *to},
        .source = {agent->config->redis.host, agent->config->redis.port},
        .dest = {pod->ip, pod->port},
        .migrate_port = migrate_port,
    };
}

static void moves_keep(struct agent_moves *m, const struct record_move *move)
{
    free(TAKE(m->ranges));
    m->ranges = xcalloc(move->range_count, sizeof *m->ranges);
    memcpy(m->ranges, move->ranges, move->range_count * sizeof *m->ranges);
    m->move = *move;
    m->move.ranges = m->ranges;
}

static bool moves_begin(struct agent *agent, const struct record_move *move)
{
    struct agent_moves *m = &agent->moves;
    const struct pod *pod;
    const struct view_node *node;
    if (!moves_find_dest(agent, &move->to, &pod, &node))
        return false;
    moves_keep(m, move);
    text_format(m->to_pod, sizeof m->to_pod, "%s", pod->name);
    text_format(m->unsure.uid, sizeof m->unsure.uid, "%s", pod->uid);
    struct mover_client_config config = {
        .link = moves_link(agent, &move->to, pod, node->port),
        .ranges = m->ranges,
        .range_count = move->range_count,
        .cancel = move->cancel,
        .functions = !move->cancel && !node->slot_count,
        .on_end = moves_on_end,
        .ctx = agent,
    };
    if (!move->cancel)
        config.link.big_bytes = agent->config->policy.big_key_bytes;
    config.paused = pause_stops(&agent->world, WORK_SCALE);
    config.functions &= !config.paused;
    m->client = mover_client_new(agent->loop, &config);
    return true;
}

static struct moves_done *moves_find_done(struct agent_moves *m, const struct record_move *move)
{
    for (size_t i = 0; i < MOVES_DONE_MAX; i++)
        if (node_id_eq(&m->done[i].to, &move->to) && m->done[i].cancel == move->cancel &&
            m->done[i].generation == move->generation)
            return &m->done[i];
    return NULL;
}

static void moves_note_done(struct agent_moves *m, int64_t until_ms)
{
    struct moves_done *done = moves_find_done(m, &m->move);
    if (!done)
        done = &m->done[m->done_next++ % MOVES_DONE_MAX];
    *done = (struct moves_done){m->move.to, m->move.generation, m->move.cancel, until_ms};
}

static void moves_tell(const struct agent *agent, enum mover_end end,
                       const struct mover_report *report)
{
    const struct agent_moves *m = &agent->moves;
    bool well = end == MOVER_END_DONE || end == MOVER_END_STOPPED || end == MOVER_END_PAUSED;
    int64_t took_ms = clock_mono_ms() - report->began_ms;
    if (well && !report->slots_done)
        return;
    LOG(well ? LOG_INFO : LOG_WARN, well ? "moved" : "move-waits", LOG_ABOUT("move"),
        LOG_S("msg", well ? m->move.cancel ? "slots were closed again" : "slots were moved"
                     : report->why[0] ? report->why
                                      : "a server does not answer"),
        LOG_S("to", m->to_pod), LOG_I("slots", report->slots_done), LOG_I("of", report->slots),
        LOG_I("keys", (int64_t)report->keys_moved), LOG_I("took_ms", took_ms),
        LOG_I("longest_ms", report->longest_ms));
}

/* The mover has ended: what it says is noted, and the next one may begin. */
static void moves_end(struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    enum mover_end end;
    if (!m->client || !mover_client_ended(m->client, &end))
        return;
    struct mover_report report = mover_client_report(m->client);
    moves_tell(agent, end, &report);
    mover_client_free(TAKE(m->client));
    if (!m->move.cancel)
        agent->counters.slots_moved += report.slots_done;
    int64_t now_ms = agent->world.now_ms;
    if (end == MOVER_END_UNSURE) {
        m->unsure.on = true;
        m->unsure.to = m->move.to;
    }
    if (end == MOVER_END_DONE || end == MOVER_END_PAUSED)
        moves_note_done(m, now_ms + MOVES_AGAIN_MS);
    else if (end != MOVER_END_STOPPED)
        moves_note_done(m, now_ms + MOVES_RETRY_MS);
    agent_wake(agent); /* the next one, and the word of what was read */
}

/* ---- an order whose answer was lost ---- */

static void unsure_on_seen(void *ctx, const struct slot_seen *seen)
{
    struct agent *agent = ctx;
    (void)seen;
    agent->moves.unsure.on = false;
    agent->moves.unsure.ended = true;
    agent_wake(agent);
}

static void unsure_on_lost(void *ctx, bool ordered, const char *why)
{
    struct agent *agent = ctx;
    (void)ordered, (void)why;
    if (slot_link_was_answered(agent->moves.unsure.link))
        agent->moves.unsure.on = false;
    agent->moves.unsure.ended = true;
    agent->moves.unsure.retry_ms = clock_mono_ms() + MOVES_RETRY_MS;
    agent_wake(agent);
}

/* The destination's pod; NULL if it is gone, or not known now (*ret_gone). */
static const struct pod *unsure_find(const struct agent *agent, bool *ret_gone)
{
    const struct world *w = &agent->world;
    for (size_t i = 0; i < w->pod_count; i++)
        if (strcmp(w->pods[i].uid, agent->moves.unsure.uid) == 0)
            return &w->pods[i];
    *ret_gone = world_api_fresh(w);
    return NULL;
}

/*
 * Both servers are asked anything at all until they answer, on connections that came after the lost one; whatever
 * they are now: a destination may have failed over.
 */
static void moves_make_sure(struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    bool gone = false;
    if (m->unsure.link && m->unsure.ended)
        slot_link_free(TAKE(m->unsure.link));
    const struct pod *pod = m->unsure.on ? unsure_find(agent, &gone) : NULL;
    if (gone)
        m->unsure.on = false;
    if (!m->unsure.on || m->unsure.link || agent->world.now_ms < m->unsure.retry_ms ||
        !m->since_ms || !pod || !pod->ip[0])
        return;
    struct slot_link_config config = moves_link(agent, &m->unsure.to, pod, pod->port);
    config.on_seen = unsure_on_seen;
    config.on_lost = unsure_on_lost;
    config.ctx = agent;
    m->unsure.ended = false;
    m->unsure.link = slot_link_new(agent->loop, &config);
    slot_link_look(m->unsure.link, (const uint16_t[]){0}, 1);
}

/* ---- the turn ---- */

/* The next of the own server's moves behind the last one that is not to be left alone for now. */
static const struct record_move *moves_next(struct agent *agent, const struct record *record)
{
    struct agent_moves *m = &agent->moves;
    for (size_t i = 0; i < record->move_count; i++) {
        size_t at = (m->turn + i) % record->move_count;
        const struct record_move *move = &record->moves[at];
        const struct moves_done *done = moves_find_done(m, move);
        if (!node_id_eq(&move->from, &m->id) || (done && agent->world.now_ms < done->until_ms))
            continue;
        m->turn = at + 1;
        return move;
    }
    return NULL;
}

void agent_move_slots(struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    if (agent->hosts)
        return;
    moves_end(agent);
    moves_make_sure(agent);
    const struct record *record = agent->world.moves.carries ? moves_record(agent) : NULL;
    if (!record || m->client || agent->world.settling || !moves_me(agent) ||
        m->read != record->move_generation)
        return;
    const struct record_move *move = moves_next(agent, record);
    if (move && !moves_begin(agent, move)) {
        moves_keep(m, move);
        moves_note_done(m, agent->world.now_ms + MOVES_RETRY_MS);
    }
}

void agent_end_moves(struct agent *agent)
{
    struct agent_moves *m = &agent->moves;
    mover_client_free(TAKE(m->client));
    slot_link_free(TAKE(m->unsure.link));
    free(TAKE(m->ranges));
}
