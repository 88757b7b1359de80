/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots that are half-moved (FACTS 6): SETSLOT and MIGRATE, whom clients are sent to meanwhile, and what
 * restarts, elections and FORGET make of the open state. The commands of one exchange are carried out in one go.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sim.h"

static void on_restore(struct sim *sim, const struct event *event);

/* ---- the open state ---- */

static int open_find(const struct redis *r, unsigned slot, bool importing)
{
    for (int i = 0; i < r->open_count; i++)
        if (r->open[i].slot == slot && r->open[i].importing == importing)
            return i;
    return -1;
}

uint32_t redis_open_peer(const struct redis *r, unsigned slot, bool importing)
{
    int i = open_find(r, slot, importing);
    return i < 0 ? 0 : r->open[i].peer;
}

void redis_set_open(struct redis *r, unsigned slot, bool importing, uint32_t peer)
{
    int i = open_find(r, slot, importing);
    redis_touch(r);
    if (i >= 0 && peer) {
        r->open[i].peer = peer;
    } else if (i >= 0) {
        r->open[i] = r->open[--r->open_count];
    } else if (peer) {
        assert(r->open_count < OPEN_MAX);
        r->open[r->open_count++] = (struct redis_open){(uint16_t)slot, importing, peer};
    }
}

/* clusterDelNode */
void slots_node_deleted(struct redis *r, uint32_t id)
{
    for (int i = 0; i < r->open_count; i++)
        if (r->open[i].peer == id)
            r->open[i--] = r->open[--r->open_count];
}

void slots_replaced(struct redis *r, uint32_t old, uint32_t heir)
{
    for (int i = 0; r->traits->open_spreads && i < r->open_count; i++)
        if (r->open[i].peer == old && redis_find(r, heir))
            r->open[i].peer = heir;
}

void slots_copy_open(struct sim *sim, const struct redis *primary, struct redis *replica)
{
    (void)sim;
    if (!replica->traits->open_spreads)
        return;
    memcpy(replica->open, primary->open, (size_t)primary->open_count * sizeof *primary->open);
    replica->open_count = primary->open_count;
    redis_touch(replica);
}

/* To its replicas: what is open, and that its last keys are gone. */
static void slots_spread(struct sim *sim, const struct redis *r)
{
    for (int i = 0; i < sim->redis_count; i++) {
        struct redis *replica = &sim->redis[i];
        if (replica->phase != REDIS_UP || replica->repl.state != REPL_UP ||
            replica->repl.peer != r->index || replica->repl.peer_run != r->run)
            continue;
        slots_copy_open(sim, r, replica);
        replica->bulk = slots_bulk(sim, r);
    }
}

bool slots_bulk(const struct sim *sim, const struct redis *r)
{
    if (!sim->setup.scaling || !r->node_high)
        return false;
    return r->nodes[0].flags & NODE_PRIMARY ? r->nodes[0].slot_count && !r->emptied : r->bulk;
}

int64_t slots_keys(const struct sim *sim, const struct redis *r, unsigned slot)
{
    int64_t keys = 0;
    for (int k = 0; k < sim->atom_count; k++)
        keys += sim->atoms[k].first <= slot && slot <= sim->atoms[k].last && r->data[k];
    return keys;
}

/* A slot that nobody owns is claimed; one of another's is imported, or its keys are dropped. */
static void check_slot(struct redis *r, int atom, unsigned slot)
{
    int8_t owner = r->owner[slot];
    if (owner < 0)
        redis_set_owner(r, slot, redis_myself(r));
    if (owner <= 0 || redis_open_peer(r, slot, true))
        return;
    if (r->traits->drops_foreign)
        r->data[atom] = 0;
    else
        redis_set_open(r, slot, true, r->nodes[owner].id);
}

/* verifyClusterConfigWithData */
void slots_check_data(struct sim *sim, struct redis *r)
{
    if (!(redis_myself(r)->flags & NODE_PRIMARY))
        return;
    for (int k = 0; k < sim->atom_count; k++)
        for (unsigned slot = sim->atoms[k].first; r->data[k] && slot <= sim->atoms[k].last; slot++)
            check_slot(r, k, slot);
}

/* ---- SETSLOT ---- */

/* clusterBumpConfigEpochWithoutConsensus */
static void slots_bump_epoch(struct redis *r)
{
    uint64_t highest = r->current_epoch;
    struct redis_node *me = redis_myself(r);
    for (int i = 0; i < r->node_high; i++)
        if (r->nodes[i].used && r->nodes[i].epoch > highest)
            highest = r->nodes[i].epoch;
    if (!me->epoch || me->epoch != highest)
        me->epoch = ++r->current_epoch;
}

static const char *slots_assign(struct sim *sim, struct redis *r, unsigned slot,
                                struct redis_node *n)
{
    struct redis_node *me = redis_myself(r);
    bool mine = r->owner[slot] == 0;
    int64_t keys = slots_keys(sim, r, slot);
    if (mine && n != me && keys)
        return "ERR Can't assign hashslot to a different node while I still hold keys for this "
               "hash slot.";
    if (n == me)
        check_take(sim, r, slot);
    if (!keys)
        redis_set_open(r, slot, false, 0);
    redis_set_owner(r, slot, n);
    if (mine && n != me && !me->slot_count && r->set.replica_migration)
        redis_set_primary(sim, r, n, false);
    if (n == me && redis_open_peer(r, slot, true)) {
        slots_bump_epoch(r);
        redis_set_open(r, slot, true, 0);
        r->took = true;
        r->emptied = false; /* whoever has slots has keys */
    }
    return NULL;
}

static const char *slots_set(struct sim *sim, struct redis *r, unsigned slot, const char *verb,
                             struct redis_node *n)
{
    bool mine = r->owner[slot] == 0;
    if (strcmp(verb, "STABLE") == 0) {
        redis_set_open(r, slot, false, 0);
        redis_set_open(r, slot, true, 0);
        return NULL;
    }
    if (!n || n->flags & NODE_HANDSHAKE)
        return "ERR I don't know about node";
    if (n->flags & NODE_REPLICA)
        return "ERR Target node is not a master";
    if (strcmp(verb, "NODE") == 0)
        return slots_assign(sim, r, slot, n);
    bool importing = strcmp(verb, "IMPORTING") == 0;
    if (importing == mine)
        return mine ? "ERR I'm already the owner of hash slot"
                    : "ERR I'm not the owner of hash slot";
    redis_set_open(r, slot, importing, n->id);
    return NULL;
}

const char *slots_setslot(struct sim *sim, struct redis *r, unsigned slot, const char *verb,
                          const char *hex)
{
    assert(redis_running(sim, r));
    if (redis_myself(r)->flags & NODE_REPLICA)
        return "ERR Please use SETSLOT only with masters.";
    return slots_set(sim, r, slot, verb, hex ? redis_find(r, redis_id_parse(hex)) : NULL);
}

void slots_tell(struct sim *sim, struct redis *r)
{
    slots_spread(sim, r);
    if (r->recheck)
        redis_update_state(sim, r);
    if (r->took)
        bus_broadcast(sim, r, BUS_PONG);
    r->took = false;
    redis_wake(sim, r);
}

/* ---- keys ---- */

struct restore {
    int atom;
    uint64_t version;
};

static bool slots_accepts(const struct redis *r, unsigned slot)
{
    return r->nodes[0].flags & NODE_PRIMARY && r->state_ok &&
           (r->owner[slot] == 0 || redis_open_peer(r, slot, true));
}

/* The source has given up waiting, and the frozen destination finds the key in its socket. */
static void on_restore(struct sim *sim, const struct event *event)
{
    struct redis *r = &sim->redis[event->who];
    struct restore *restore = event->data;
    if (r->run == event->run && redis_running(sim, r) &&
        slots_accepts(r, sim->atoms[restore->atom].first)) {
        check_restored(sim, r, restore->atom, restore->version);
        repl_write(sim, r, restore->atom, restore->version);
    }
    free(restore);
}

static const char *migrate_key(struct sim *sim, struct redis *r, struct redis *dest, int atom)
{
    uint64_t version = r->data[atom];
    if (sim->now_us < dest->paused_until_us) {
        struct restore *late = xcalloc(1, sizeof *late);
        *late = (struct restore){atom, version};
        sim_after(sim, dest->paused_until_us - sim->now_us, on_restore, dest->index, 0, dest->run,
                  late);
        return "IOERR error or timeout reading to target instance";
    }
    if (!slots_accepts(dest, sim->atoms[atom].first))
        return "ERR Target instance replied with error: MOVED";
    check_restored(sim, dest, atom, version);
    repl_write(sim, dest, atom, version);
    if (sim_chance(sim, sim->setup.loss_permille))
        return "IOERR error or timeout reading to target instance";
    repl_write(sim, r, atom, 0);
    return NULL;
}

const char *slots_migrate(struct sim *sim, struct redis *r, unsigned slot, unsigned max, int addr)
{
    int host = sim_host_at(sim, addr);
    struct redis *dest = host < 0 ? NULL : &sim->redis[host];
    if (!r->state_ok)
        return "CLUSTERDOWN The cluster is down";
    if (r->owner[slot] != 0 && !redis_open_peer(r, slot, true))
        return "MOVED";
    for (int k = 0; k < sim->atom_count && max; k++) {
        if (sim->atoms[k].first != slot || !r->data[k])
            continue;
        bool reached =
            dest && dest != r && dest->phase == REDIS_UP && sim_linked(sim, r->index, host);
        if (!reached || sim->now_us < r->writes_paused_until_us ||
            sim->now_us < dest->writes_paused_until_us)
            return "IOERR error or timeout connecting to the client";
        const char *error = migrate_key(sim, r, dest, k);
        if (error)
            return error;
        max--;
    }
    return NULL;
}

struct redis *slots_serving(struct sim *sim, struct redis *r, int atom)
{
    unsigned slot = sim->atoms[atom].first;
    uint32_t to = redis_open_peer(r, slot, false);
    if (!redis_running(sim, r) || !r->state_ok || r->owner[slot] != 0 ||
        sim->now_us < r->writes_paused_until_us)
        return NULL;
    if (!to || r->data[atom])
        return r;
    const struct redis_node *n = redis_find(r, to); /* ASK */
    int host = n ? sim_host_at(sim, n->addr) : -1;
    struct redis *dest = host < 0 ? NULL : &sim->redis[host];
    bool serves = dest && redis_running(sim, dest) && slots_accepts(dest, slot) &&
                  sim->now_us >= dest->writes_paused_until_us;
    return serves ? dest : NULL;
}
