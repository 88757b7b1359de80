/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate as the agent keeps it (agent_hook.c, agent_gossip.c): a server that wants to start is
 * judged in each turn of the agent beside it, by the real gate_judge(); what waits at the gates of
 * others is asked of their agents.
 */
#include <assert.h>
#include <string.h>

#include "core/election.h"
#include "core/gate.h"
#include "core/gate_part.h"
#include "hook/verdict.h"
#include "sim.h"

#define SILENT_SECONDS 30 /* hook.silentSeconds */
/* agent_gossip.c */
#define MATE_PERIOD_MS 5000
#define MATE_HURRY_MS 500
#define MATE_TIMEOUT_US MS(1500)
#define MATE_SILENT_AFTER 2

static void on_mate_told(struct sim *sim, const struct event *event);
static void on_twin_told(struct sim *sim, const struct event *event);

/* ---- what the hook finds on the volume ---- */

static size_t gate_peer_count(const struct redis *r)
{
    size_t count = 0;
    for (int i = 1; r->has_conf && i < r->node_high; i++)
        count += r->nodes[i].used && !(r->nodes[i].flags & NODE_HANDSHAKE);
    return count;
}

static bool gate_owner(const struct redis *r)
{
    return r->has_conf && r->nodes[0].flags & NODE_PRIMARY && r->nodes[0].slot_count;
}

static struct gate_claim gate_claim_of(const struct sim *sim, const struct redis *r)
{
    struct gate_claim claim = {
        .has_nodes = gate_peer_count(r) > 0,
        .owner = gate_owner(r),
        .data = redis_has_data(sim, r),
    };
    if (r->has_conf)
        redis_id_hex(r->nodes[0].id, &claim.id);
    return claim;
}

static void gate_find_primaries(const struct redis *r, struct node_id ids[TABLE_MAX],
                                struct gate_claim *claim)
{
    claim->primaries = ids;
    for (int i = 0; r->has_conf && i < r->node_high; i++)
        if (r->nodes[i].used && r->nodes[i].flags & NODE_PRIMARY)
            redis_id_hex(r->nodes[i].id, &ids[claim->primary_count++]);
}

bool gate_opens_alone(const struct sim *sim, const struct redis *r)
{
    bool data = redis_has_data(sim, r);
    struct hook_facts facts = {
        .nodes_conf = r->has_conf ? HOOK_NODES_CONF_PRESENT : HOOK_NODES_CONF_ABSENT,
        .appendonly = HOOK_TRUE,
        .aof = data ? HOOK_TRUE : HOOK_FALSE,
        .aof_complete = data ? HOOK_TRUE : HOOK_FALSE,
        .aof_keys = data ? HOOK_TRUE : HOOK_FALSE,
    };
    if (r->has_conf) {
        facts.myself.flags = r->nodes[0].flags;
        facts.myself.slot_count = gate_owner(r);
    }
    facts.part = sim->pods[r->index].part;
    char reason[HOOK_REASON_SIZE];
    return verdict_without_agent(&facts, reason);
}

/* ---- the verdict ---- */

/* hook_put_addresses(): every peer but `myself` gets its current address, or none. */
static void gate_rewrite(struct sim *sim, const struct agent *agent, struct redis *r, bool alone)
{
    if (sim->options.guards_off & GUARD_GATE)
        return;
    bool most = !alone && gate_knows_most(&agent->world);
    for (int i = 1; i < r->node_high; i++) {
        struct redis_node *n = &r->nodes[i];
        struct node_id id;
        redis_id_hex(n->id, &id);
        const struct pod *pod = n->used && !alone ? gate_address(&agent->world, &id) : NULL;
        bool failing = most && n->used && gate_is_failing(&agent->world, &id);
        int addr = pod ? sim_addr_parse(pod->ip) : failing ? ADDR_NOWHERE : 0;
        if (addr != n->addr)
            n->flags &= ~(uint32_t)(NODE_NOADDR | NODE_PFAIL | NODE_FAIL);
        n->addr = addr;
        if (!addr)
            n->flags |= NODE_NOADDR;
        if (failing)
            n->flags |= NODE_PFAIL;
    }
    redis_touch(r);
}

static void gate_obey(struct sim *sim, const struct agent *agent, enum gate_verdict verdict)
{
    struct redis *r = &sim->redis[agent->index];
    switch (verdict) {
    case GATE_WAIT:
        return;
    case GATE_GO:
        break;
    case GATE_GO_REWRITTEN:
        gate_rewrite(sim, agent, r, false);
        break;
    case GATE_GO_ALONE:
        gate_rewrite(sim, agent, r, true);
        break;
    case GATE_GO_EMPTY:
        redis_lose_volume(sim, r); /* moved aside */
        break;
    }
    pods_open_gate(sim, agent->index);
}

/* Who may still run where the others saw the node last: io/whois.h. */
static void twin_ask(struct sim *sim, struct agent *agent, const char *ip)
{
    struct gate_twin *twin = &agent->twin;
    int64_t now_ms = agent->world.now_ms;
    if (strcmp(ip, twin->ip) != 0) {
        *twin = (struct gate_twin){.since_ms = twin->since_ms, .outlived = twin->outlived};
        text_format(twin->ip, sizeof twin->ip, "%s", ip);
    } else if (agent->twin_asking || now_ms - twin->asked_ms < GATE_TWIN_PERIOD_MS) {
        return;
    }
    int addr = sim_addr_parse(ip);
    bool silent =
        agent_reach(sim, agent, addr) == REACH_TIMEOUT || sim_chance(sim, sim->setup.loss_permille);
    int64_t wait = MS(GATE_TWIN_ASK_MS);
    if (!silent)
        wait =
            2 * sim->latency_us[agent->index][sim_host_at(sim, addr)] + sim_between(sim, 200, 2000);
    twin->asked_ms = now_ms;
    agent->twin_asking = true;
    int number = (int)(++agent->twin_questions % 1000000);
    sim_after(sim, wait, on_twin_told, agent->index, 2 * number + silent, agent->run, NULL);
}

static void on_twin_told(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (agent_absent(sim, event, &agent))
        return;
    struct gate_twin *twin = &agent->twin;
    if (!agent->twin_asking || agent->twin_questions % 1000000 != (uint64_t)(event->other / 2))
        return;
    agent->twin_asking = false;
    int addr = sim_addr_parse(twin->ip);
    enum reach reach = event->other % 2 ? REACH_TIMEOUT : agent_reach(sim, agent, addr);
    enum twin_word word = TWIN_SILENT;
    if (reach == REACH_OK) {
        struct node_id id;
        redis_id_hex(redis_myself(&sim->redis[sim_host_at(sim, addr)])->id, &id);
        const struct redis *own = &sim->redis[agent->index];
        struct node_id claimed = gate_claim_of(sim, own).id;
        word = node_id_eq(&id, &claimed) ? TWIN_NAMED : TWIN_GONE;
    } else if (reach == REACH_REFUSED) {
        word = TWIN_GONE;
    } else if (reach == REACH_LOADING) {
        word = TWIN_MUTE;
    }
    gate_twin_told(twin, word);
    agent_wake(sim, agent);
}

static void agent_look_for_twin(struct sim *sim, struct agent *agent, struct gate_claim *claim)
{
    if (!agent->twin.since_ms && agent->world.api_seen_ms)
        agent->twin.since_ms = agent->world.now_ms;
    claim->twin = &agent->twin;
    const char *ip = gate_twin_address(&agent->world, claim);
    if (ip)
        twin_ask(sim, agent, ip);
    gate_twin_judge(&agent->world, &agent->twin, claim);
}

static void twin_forget(struct agent *agent)
{
    agent->twin = (struct gate_twin){0};
    agent->twin_asking = false;
}

void agent_answer_gate(struct sim *sim, struct agent *agent)
{
    struct gate_model *gate = &sim->pods[agent->index].gate;
    agent->gate_asks = false;
    if (!gate->waiting)
        return;
    if (agent->gate_asked != gate->asked) {
        agent->gate_asked = gate->asked;
        agent->gate_asked_ms = agent_clock_ms(sim, agent);
        agent->gate_said[0] = '\0';
        twin_forget(agent);
    }
    struct gate_claim claim = gate_claim_of(sim, &sim->redis[agent->index]);
    struct node_id primaries[TABLE_MAX];
    gate_find_primaries(&sim->redis[agent->index], primaries, &claim);
    claim.asked_ms = agent->gate_asked_ms;
    claim.opened = gate->opened;
    claim.replacing = agent->crash_verdict.hold ? agent->crash_verdict.reason : NULL;
    agent_look_for_twin(sim, agent, &claim);
    gate_note_few(&agent->world, &claim, &agent->gate_few_ms);
    char reason[GATE_REASON_SIZE];
    enum gate_verdict verdict = gate_judge(&agent->world, &claim, SILENT_SECONDS * 1000, reason);
    gate->heard_us = sim->now_us;
    agent->gate_asks = verdict == GATE_WAIT;
    struct gate_part part = gate_find_part(&agent->world, &claim);
    if (agent->gate_asks && part.node) {
        agent->past = (struct own_past){part.node->id, true};
        sim->pods[agent->index].part = part.node->id;
    }
    sim->stats->verdicts[verdict]++;
    if (strcmp(agent->gate_said, reason) != 0)
        sim_trace(sim, sim->redis[agent->index].name, "gate %s: %s",
                  verdict == GATE_WAIT ? "waits" : "opens", reason);
    text_format(agent->gate_said, sizeof agent->gate_said, "%s", reason);
    gate_obey(sim, agent, verdict);
    if (verdict == GATE_WAIT)
        return;
    twin_forget(agent);
    agent->crash = (struct crash_watch){0};
}

/* agent_remember(): what ran beside us stays known after its end. */
void agent_remember(struct sim *sim, struct agent *agent)
{
    struct world *w = &agent->world;
    const struct pod *me = w->me == NO_POD ? NULL : &w->pods[w->me];
    if (me && world_view_fresh(w, me)) {
        const struct view *view = me->server.view;
        agent->past = (struct own_past){me->server.id, view->myself->slot_count > 0};
        for (size_t i = 0; !agent->past.part && i < view->node_count; i++)
            agent->past.part = node_id_eq(&view->nodes[i].primary, &view->myself->id);
    }
    struct node_id *part = &sim->pods[agent->index].part;
    if (me && world_view_fresh(w, me))
        *part = agent->past.part ? agent->past.id : (struct node_id){""};
    else if (!node_id_is_set(&agent->past.id) && node_id_is_set(part))
        agent->past = (struct own_past){*part, true}; /* as an agent does that begins */
    w->past = agent->past;
    election_note(&agent->copy, w);
    w->copy = agent->copy;
}

/* ---- what waits at the gates of others ---- */

static struct gate_word gate_word_of(const struct sim *sim, int pod)
{
    if (!sim->pods[pod].gate.waiting || agent_hides_crash(sim, &sim->agents[pod]))
        return (struct gate_word){0};
    struct gate_claim claim = gate_claim_of(sim, &sim->redis[pod]);
    const struct agent *mate = &sim->agents[pod];
    return (struct gate_word){.held = true,
                              .id = claim.id,
                              .owner = claim.owner,
                              .data = claim.data,
                              .waits_ms = agent_clock_ms(sim, mate) - mate->gate_asked_ms};
}

struct told agent_told_of(const struct sim *sim, const struct agent *agent, int pod,
                          const char *uid)
{
    if (pod == agent->index)
        return (struct told){.heard_ms = agent_clock_ms(sim, agent),
                             .moves = agent->world.moves,
                             .gate = gate_word_of(sim, pod)};
    const struct agent_mate *mate = &agent->mates[pod];
    return strcmp(mate->uid, uid) == 0 ? mate->told : (struct told){0};
}

static bool mate_reached(const struct sim *sim, const struct agent *agent, int host)
{
    if (host < 0 || host >= PODS_MAX || !sim_linked(sim, agent->index, host))
        return false;
    const struct agent *mate = &sim->agents[host];
    return mate->alive && sim->now_us >= mate->paused_until_us;
}

static void mate_ask(struct sim *sim, struct agent *agent, int ordinal, int addr)
{
    struct agent_mate *mate = &agent->mates[ordinal];
    mate->asking = ++agent->mate_questions;
    mate->asked_ms = agent_clock_ms(sim, agent);
    mate->host = sim_host_at(sim, addr);
    if (!mate_reached(sim, agent, mate->host) || sim_chance(sim, sim->setup.loss_permille))
        mate->host = -1;
    int64_t wait = MATE_TIMEOUT_US;
    if (mate->host >= 0)
        wait = 2 * sim->latency_us[agent->index][mate->host] + sim_between(sim, 200, 2000);
    int id = (int)(mate->asking % 1000000) * PODS_MAX + ordinal;
    sim_after(sim, wait, on_mate_told, agent->index, id, agent->run, NULL);
}

static void on_mate_told(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (agent_absent(sim, event, &agent))
        return;
    struct agent_mate *mate = &agent->mates[event->other % PODS_MAX];
    if (!mate->asking || mate->asking % 1000000 != (uint64_t)(event->other / PODS_MAX))
        return;
    mate->asking = 0;
    if (!mate_reached(sim, agent, mate->host)) {
        if (++mate->failures >= MATE_SILENT_AFTER) {
            mate->state = AGENT_SILENT;
            mate->told = (struct told){0};
        }
        return;
    }
    struct told before = mate->told;
    mate->failures = 0;
    mate->state = AGENT_OK;
    mate->seen_ms = agent_clock_ms(sim, agent);
    mate->told = (struct told){.heard_ms = mate->asked_ms,
                               .leaving = agent_leaving(&sim->agents[mate->host]),
                               .moves = sim->agents[mate->host].world.moves,
                               .gate = gate_word_of(sim, mate->host)};
    /* The agent has a turn after each answer; one after the same word finds nothing new. */
    const struct gate_word *now = &mate->told.gate;
    if (before.gate.held != now->held || before.gate.data != now->data ||
        !node_id_eq(&before.gate.id, &now->id) || before.leaving != mate->told.leaving ||
        before.moves.read != mate->told.moves.read || agent_drains(agent) ||
        agent->place.wanted_ms || agent->handover.pod[0])
        agent_wake(sim, agent);
}

void agent_ask_mates(struct sim *sim, struct agent *agent, const struct plan *plan)
{
    const struct world *w = &agent->world;
    bool judges = agent->gate_asks || agent_drains(agent);
    if (!w->leader && !judges) {
        if (agent->mate_questions)
            memset(agent->mates, 0, sizeof agent->mates);
        return;
    }
    for (size_t i = 0; i < w->pod_count; i++)
        judges = judges || w->pods[i].terminating;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        struct agent_mate *mate = &agent->mates[pod->ordinal];
        if (i == w->me || !pod->ip[0])
            continue;
        if (strcmp(mate->uid, pod->uid) != 0) {
            *mate = (struct agent_mate){0};
            text_format(mate->uid, sizeof mate->uid, "%s", pod->uid);
        }
        bool hurry =
            judges || mate->state != AGENT_OK || agent->hurries || plan_asks_whether_stays(plan, i);
        int64_t period_ms = hurry ? MATE_HURRY_MS : MATE_PERIOD_MS;
        if (!mate->asking && (!mate->asked_ms || w->now_ms - mate->asked_ms >= period_ms))
            mate_ask(sim, agent, pod->ordinal, sim_addr_parse(pod->ip));
    }
}
