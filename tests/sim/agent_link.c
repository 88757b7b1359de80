/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two primaries that are looked at, or ordered something (io/slot_link.h), by the agent's mover or by the
 * leader before slots move (agent_looks.c of the agent). What was sent is carried out, whatever becomes of the
 * sender; a frozen server does it once it thaws.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sim.h"

#define LINK_EXCHANGE_US SECONDS(5)
#define LOOKS_RETRY_MS 1000

enum side { SIDE_SOURCE = 0, SIDE_DEST };

static void on_look(struct sim *sim, const struct event *event);
static void on_looked(struct sim *sim, const struct event *event);
static void on_order(struct sim *sim, const struct event *event);
static void on_done(struct sim *sim, const struct event *event);
static void on_given_up(struct sim *sim, const struct event *event);

/* An order on its way, and its outcome on the way back. */
struct pair_order {
    int place;
    uint64_t number;
    int host;
    uint64_t host_run;
    int dest_addr;
    struct slot_pair pair;
    struct mover_order order;
    enum mover_result results[MOVER_WINDOW];
    int64_t left[MOVER_WINDOW];
};

static struct agent_links *links_of(struct agent *agent)
{
    if (!agent->looks)
        agent->looks = xcalloc(1, sizeof *agent->looks);
    return agent->looks;
}

static struct pair_link *link_of(struct agent *agent, int place)
{
    return &links_of(agent)->links[place];
}

bool agent_link_is_busy(const struct agent *agent, int place)
{
    return agent->looks && agent->looks->links[place].number;
}

void agent_link_end(struct agent *agent, int place)
{
    struct pair_link *link = link_of(agent, place);
    link->used = false;
    link->number = 0;
}

/* Connected to whoever runs there now; in the clear whether anybody does when something is asked. */
static void link_meet(struct sim *sim, struct pair_link *link, enum side side, int addr)
{
    link->host[side] = sim_host_at(sim, addr);
    link->run[side] = link->host[side] < 0 ? 0 : sim->redis[link->host[side]].run;
}

void agent_link_begin(struct sim *sim, struct agent *agent, int place, const struct slot_pair *pair,
                      int source_addr, int dest_addr)
{
    struct pair_link *link = link_of(agent, place);
    link->used = true;
    link->number = 0;
    link->pair = *pair;
    link->dest_addr = dest_addr;
    link_meet(sim, link, SIDE_SOURCE, source_addr);
    link_meet(sim, link, SIDE_DEST, dest_addr);
}

static void link_lose(struct sim *sim, struct agent *agent, int place, const char *why);

/* The event comes again when a paused agent resumes; NULL if it is none of this exchange's any more. */
static struct pair_link *link_waits(struct sim *sim, const struct event *event, int place,
                                    struct agent **ret_agent)
{
    struct agent *agent = &sim->agents[event->who];
    *ret_agent = agent;
    if (!agent->alive || !agent->looks || agent->looks->links[place].number != event->run)
        return NULL;
    return &agent->looks->links[place];
}

static bool link_is_paused(struct sim *sim, const struct agent *agent, const struct event *event)
{
    if (sim->now_us >= agent->paused_until_us)
        return false;
    sim_after(sim, agent->paused_until_us - sim->now_us, event->fn, event->who, event->other,
              event->run, event->data);
    return true;
}

static void link_send(struct sim *sim, struct agent *agent, int place, struct pair_link *link)
{
    link->number = ++sim->next_gen;
    sim_after(sim, LINK_EXCHANGE_US, on_given_up, agent->index, place, link->number, NULL);
}

static bool link_reaches(const struct sim *sim, const struct agent *agent,
                         const struct pair_link *link, enum side side)
{
    int host = link->host[side];
    return host >= 0 && sim_linked(sim, agent->index, host) &&
           sim->redis[host].run == link->run[side] && sim->redis[host].phase == REDIS_UP;
}

/* Nothing listens there. */
static bool link_is_gone(const struct sim *sim, const struct agent *agent,
                         const struct pair_link *link, enum side side)
{
    int host = link->host[side];
    return host >= 0 && sim_linked(sim, agent->index, host) && sim->redis[host].phase == REDIS_DOWN;
}

static void on_given_up(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (link_waits(sim, event, event->other, &agent) && !link_is_paused(sim, agent, event))
        link_lose(sim, agent, event->other, "no answer in time");
}

/* ---- looks ---- */

void agent_link_look(struct sim *sim, struct agent *agent, int place, const uint16_t *slots,
                     size_t count)
{
    struct pair_link *link = link_of(agent, place);
    assert(count && count <= LINK_SLOTS_MAX);
    memcpy(link->slots, slots, count * sizeof *slots);
    link->count = count;
    link->missing = 2;
    link_send(sim, agent, place, link);
    for (int side = 0; side < 2; side++)
        if (place == LINK_UNSURE && link_is_gone(sim, agent, link, (enum side)side))
            sim_after(sim, MS(1), on_looked, agent->index, 2 * place + side, link->number, NULL);
        else if (link_reaches(sim, agent, link, (enum side)side) &&
                 !sim_chance(sim, sim->setup.loss_permille))
            sim_after(sim, sim->latency_us[agent->index][link->host[side]], on_look, agent->index,
                      2 * place + side, link->number, NULL);
}

static void link_see(struct sim *sim, struct pair_link *link, struct redis *r, enum side side)
{
    struct slot_side sides[LINK_SLOTS_MAX] = {0};
    struct snapshot *snap;
    const struct view *view = snapshot_take(r, &snap);
    slot_look(view, &link->pair, side == SIDE_SOURCE, link->slots, link->count, sides);
    snapshot_release(snap);
    for (size_t i = 0; i < link->count; i++) {
        sides[i].keys = slots_keys(sim, r, link->slots[i]);
        if (side == SIDE_SOURCE)
            link->seen[i].source = sides[i];
        else
            link->seen[i].dest = sides[i];
    }
}

/* The question has arrived at one of the two. */
static void on_look(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    struct pair_link *link = link_waits(sim, event, event->other / 2, &agent);
    enum side side = (enum side)(event->other % 2);
    if (!link)
        return;
    struct redis *r = &sim->redis[link->host[side]];
    if (r->run != link->run[side] || r->phase != REDIS_UP)
        return;
    if (sim->now_us < r->paused_until_us) {
        sim_after(sim, r->paused_until_us - sim->now_us, on_look, event->who, event->other,
                  event->run, NULL);
        return;
    }
    struct node_id id;
    redis_id_hex(redis_myself(r)->id, &id);
    bool same = node_id_eq(&id, side == SIDE_SOURCE ? &link->pair.source : &link->pair.dest);
    link->refused[side] = !same || !(redis_myself(r)->flags & NODE_PRIMARY);
    link_see(sim, link, r, side);
    if (sim_linked(sim, event->who, r->index))
        sim_after(sim, sim->latency_us[event->who][r->index], on_looked, event->who, event->other,
                  event->run, NULL);
}

static void on_looked(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    int place = event->other / 2;
    struct pair_link *link = link_waits(sim, event, place, &agent);
    if (!link || link_is_paused(sim, agent, event))
        return;
    if (link->refused[event->other % 2] && place != LINK_UNSURE) {
        link_lose(sim, agent, place, "it is another node now, or no primary any more");
        return;
    }
    if (--link->missing)
        return;
    link->number = 0;
    if (place == LINK_MOVER)
        agent_moves_seen(sim, agent, link->seen);
    else if (place == LINK_UNSURE)
        agent_moves_sure(sim, agent, true);
    else
        agent_looks_seen(sim, agent, place);
}

/* ---- orders ---- */

void agent_link_order(struct sim *sim, struct agent *agent, int place,
                      const struct mover_order *order)
{
    struct pair_link *link = link_of(agent, place);
    struct action_args args;
    bool to_source = true;
    if (order->step != SLOT_KEYS)
        slot_step_command(order->step, order->slots[0], &link->pair, &args, &to_source);
    enum side side = to_source ? SIDE_SOURCE : SIDE_DEST;
    check_order(sim, agent, order);
    link_send(sim, agent, place, link);
    link->ordered = true;
    struct pair_order *x = xcalloc(1, sizeof *x);
    *x = (struct pair_order){.place = place,
                             .number = link->number,
                             .host = link->host[side],
                             .host_run = link->run[side],
                             .dest_addr = link->dest_addr,
                             .pair = link->pair,
                             .order = *order};
    if (link_reaches(sim, agent, link, side) && !sim_chance(sim, sim->setup.loss_permille))
        sim_after(sim, sim->latency_us[agent->index][x->host], on_order, agent->index, 0,
                  link->number, x);
    else
        free(x);
    faults_on_send(sim, agent);
}

static const char *order_slot(struct sim *sim, struct redis *r, struct pair_order *x, size_t i)
{
    struct action_args args;
    bool to_source;
    const struct mover_order *order = &x->order;
    if (order->step == SLOT_KEYS)
        return slots_migrate(sim, r, order->slots[i], order->keys[i], x->dest_addr);
    slot_step_command(order->step, order->slots[i], &x->pair, &args, &to_source);
    return slots_setslot(sim, r, order->slots[i], args.words[3],
                         args.count > 4 ? args.words[4] : NULL);
}

static void order_carry_out(struct sim *sim, const struct agent *agent, struct redis *r,
                            struct pair_order *x)
{
    const struct mover_order *order = &x->order;
    const char *error = NULL;
    for (size_t i = 0; i < order->count; i++) {
        bool goes = order->step != SLOT_KEYS || !error; /* a MIGRATE that failed is the last one */
        const char *now = goes ? order_slot(sim, r, x, i) : NULL;
        error = now ? now : error;
        x->results[i] = now ? MOVER_REFUSED : MOVER_OK;
        x->left[i] = slots_keys(sim, r, order->slots[i]);
        sim->commands++;
    }
    slots_tell(sim, r);
    sim_trace(sim, sim->redis[agent->index].name, "%s %zu slots from %u at %s -> %s",
              slot_step_name(order->step), order->count, order->slots[0], r->name,
              error ? error : "OK");
}

static void on_order(struct sim *sim, const struct event *event)
{
    struct pair_order *x = event->data;
    struct redis *r = &sim->redis[x->host];
    struct agent *agent = &sim->agents[event->who];
    if (r->run != x->host_run || r->phase != REDIS_UP) {
        free(x);
        return;
    }
    if (sim->now_us < r->paused_until_us) {
        sim_after(sim, r->paused_until_us - sim->now_us, on_order, event->who, 0, event->run, x);
        return;
    }
    order_carry_out(sim, agent, r, x);
    if (!sim_linked(sim, event->who, r->index) || sim_chance(sim, sim->setup.loss_permille))
        free(x);
    else
        sim_after(sim, sim->latency_us[event->who][r->index], on_done, event->who, 0, event->run,
                  x);
}

static void on_done(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    struct pair_order *x = event->data;
    struct pair_link *link = link_waits(sim, event, x->place, &agent);
    if (link && link_is_paused(sim, agent, event))
        return;
    if (link) {
        link->number = 0;
        link->ordered = false;
        agent_moves_did(sim, agent, x->results, x->left);
    }
    free(x);
}

/* ---- the leader's looks ---- */

static void looks_next(struct sim *sim, struct agent *agent, int place)
{
    struct pair_look *look = &links_of(agent)->looks[place - LINK_LOOKS];
    uint16_t slots[LINK_SLOTS_MAX];
    size_t count = 0;
    for (; look->next < SLOT_COUNT && count < LINK_SLOTS_MAX; look->next++)
        if (slot_set_has(&look->slots, look->next))
            slots[count++] = (uint16_t)look->next;
    if (count) {
        agent_link_look(sim, agent, place, slots, count);
        return;
    }
    scale_note(&links_of(agent)->watch, &look->seen, &look->looked);
    agent_link_end(agent, place);
    agent_wake(sim, agent);
}

void agent_looks_seen(struct sim *sim, struct agent *agent, int place)
{
    const struct pair_link *link = link_of(agent, place);
    struct pair_look *look = &links_of(agent)->looks[place - LINK_LOOKS];
    for (size_t i = 0; i < link->count; i++) {
        const struct slot_side *from = &link->seen[i].source;
        const struct slot_side *to = &link->seen[i].dest;
        slot_set_add(&look->looked, slot_one(link->slots[i]));
        bool agrees = to->owner == SLOT_OWNER_SOURCE ||
                      (to->owner == SLOT_OWNER_NOBODY && to->open != SLOT_CLOSED);
        if (from->owner != SLOT_OWNER_SOURCE || !agrees || from->open != SLOT_CLOSED ||
            to->open == SLOT_OPEN_OTHER)
            continue;
        slot_set_add(to->keys                  ? &look->seen.keys
                     : to->open == SLOT_CLOSED ? &look->seen.clean
                                               : &look->seen.bare,
                     slot_one(link->slots[i]));
    }
    looks_next(sim, agent, place);
}

static void looks_begin(struct sim *sim, struct agent *agent, int place,
                        const struct scale_look *ask)
{
    const struct world *w = &agent->world;
    struct pair_look *look = &links_of(agent)->looks[place - LINK_LOOKS];
    *look = (struct pair_look){.seen = {.from = ask->from,
                                        .to = ask->to,
                                        .generation = ask->generation,
                                        .asked_ms = agent_clock_ms(sim, agent)},
                               .slots = *ask->slots};
    agent_link_begin(sim, agent, place, &(struct slot_pair){ask->from, ask->to},
                     sim_addr_parse(w->pods[ask->from_pod].ip),
                     sim_addr_parse(w->pods[ask->to_pod].ip));
    looks_next(sim, agent, place);
}

void agent_look_at_slots(struct sim *sim, struct agent *agent, const struct plan *plan)
{
    for (size_t k = 0; k < plan->scale.look_count; k++) {
        const struct scale_look *ask = &plan->scale.looks[k];
        struct agent_links *links = links_of(agent);
        int place = -1;
        bool busy = false;
        for (int i = LINK_LOOKS; i < LINKS; i++) {
            const struct pair_look *look = &links->looks[i - LINK_LOOKS];
            bool used = links->links[i].used || look->until_ms > agent->world.now_ms;
            busy |= used && node_id_eq(&look->seen.from, &ask->from) &&
                    node_id_eq(&look->seen.to, &ask->to);
            if (!used && place < 0)
                place = i;
        }
        if (!busy && place >= 0)
            looks_begin(sim, agent, place, ask);
    }
}

static void link_lose(struct sim *sim, struct agent *agent, int place, const char *why)
{
    struct pair_link *link = link_of(agent, place);
    bool ordered = link->ordered;
    link->ordered = false;
    agent_link_end(agent, place);
    if (place == LINK_MOVER)
        agent_moves_lost(sim, agent, ordered, why);
    else if (place == LINK_UNSURE)
        agent_moves_sure(sim, agent, false);
    else
        agent->looks->looks[place - LINK_LOOKS].until_ms =
            agent_clock_ms(sim, agent) + LOOKS_RETRY_MS;
}

void agent_end_links(struct agent *agent)
{
    free(agent->looks);
    agent->looks = NULL;
}
