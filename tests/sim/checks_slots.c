/* SPDX-License-Identifier: Apache-2.0 */
/* Slots that move: no key is lost or replaced by an older one, and in the end none is half-moved. */
#include <string.h>

#include "checks.h"
#include "sim.h"

/* Of those who claim it the one whose claim is the latest, be it running or not. */
struct redis *check_owner(struct sim *sim, unsigned slot)
{
    struct redis *owner = NULL;
    for (int i = 0; i < PODS_MAX; i++) {
        struct redis *r = &sim->redis[i];
        if (r->has_conf && r->node_high && r->nodes[0].flags & NODE_PRIMARY &&
            r->owner[slot] == 0 && (!owner || r->nodes[0].epoch > owner->nodes[0].epoch))
            owner = r;
    }
    return owner;
}

static bool has_newest(const struct sim *sim, const struct redis *r, int atom)
{
    return r->data[atom] && r->data[atom] == sim->acked[atom];
}

static bool other_has_newest(const struct sim *sim, const struct redis *r, int atom)
{
    for (int i = 0; i < PODS_MAX; i++)
        if (&sim->redis[i] != r && sim->redis[i].nodes[0].flags & NODE_PRIMARY &&
            has_newest(sim, &sim->redis[i], atom))
            return true;
    return false;
}

bool check_has_left(const struct sim *sim, const struct redis *r)
{
    struct node_id id;
    const struct stored_record *stored = sim->api.now.record;
    redis_id_hex(r->nodes[0].id, &id);
    return stored && r->phase == REDIS_DOWN && record_has_left(&stored->record, &id);
}

bool check_is_spare(struct sim *sim, const struct redis *r, int atom)
{
    return sim->setup.scaling &&
           (r->data[atom] != sim->acked[atom] || other_has_newest(sim, r, atom));
}

void check_order(struct sim *sim, const struct agent *agent, const struct mover_order *order)
{
    if (sim->checks.quiet)
        sim_violation(sim, "I10: %s sends \"%s\" for slot %u although everything is in order",
                      sim->redis[agent->index].name, slot_step_name(order->step), order->slots[0]);
    check_opens(sim, agent, order);
    if (agent_clock_ms(sim, agent) < agent->settle_until_ms)
        sim_trace(sim, sim->redis[agent->index].name, "moves on while it should only observe");
}

void check_take(struct sim *sim, const struct redis *r, unsigned slot)
{
    const struct redis *owner = sim->setup.scaling ? check_owner(sim, slot) : NULL;
    for (int k = 0; owner && owner != r && k < sim->atom_count; k++)
        if (sim->atoms[k].first == slot && has_newest(sim, owner, k) && !has_newest(sim, r, k))
            sim_violation(sim, "M6: %s takes slot %u, and %s holds write %llu of it", r->name, slot,
                          owner->name, (unsigned long long)owner->data[k]);
}

void check_restored(struct sim *sim, const struct redis *r, int atom, uint64_t version)
{
    if (sim->setup.scaling && r->data[atom] > version && has_newest(sim, r, atom))
        sim_violation(sim, "M6: write %llu of slot %u at %s is replaced by write %llu",
                      (unsigned long long)r->data[atom], sim->atoms[atom].first, r->name,
                      (unsigned long long)version);
}

void check_dropped(struct sim *sim, const struct redis *r, const struct redis_node *taker, int atom)
{
    if (sim->setup.scaling && has_newest(sim, r, atom) && !other_has_newest(sim, r, atom))
        sim_violation(sim, "M6: write %llu of slot %u is dropped by %s, for %s owns it",
                      (unsigned long long)r->data[atom], sim->atoms[atom].first, r->name,
                      redis_name_of(sim, taker->id));
}

/* What clients find from now on of a key whose latest write its heir lacks (I5), or has in an older state. */
static uint64_t found_after(struct sim *sim, struct redis *heir, bool owns, int atom)
{
    if (owns)
        return heir->data[atom];
    const struct redis *owner = check_owner(sim, sim->atoms[atom].first);
    uint64_t there = owner ? owner->data[atom] : 0;
    return there > heir->data[atom] ? there : heir->data[atom];
}

void check_elected(struct sim *sim, struct redis *heir, uint32_t old_id, bool manual)
{
    const struct redis *old = NULL;
    for (int i = 0; sim->setup.scaling && i < PODS_MAX; i++)
        if (sim->redis[i].node_high && sim->redis[i].nodes[0].id == old_id)
            old = &sim->redis[i];
    const struct redis_node *known = old ? redis_find(heir, old_id) : NULL;
    for (int k = 0; known && k < sim->atom_count; k++) {
        bool owns = slot_set_has(&known->slots, sim->atoms[k].first);
        bool lacks =
            has_newest(sim, old, k) && !has_newest(sim, heir, k) && !other_has_newest(sim, old, k);
        bool older = owns && heir->data[k] && heir->data[k] < sim->acked[k];
        if (!lacks && !older)
            continue;
        if (manual)
            sim_violation(sim, "I4: %s takes over with write %llu of slot %u, and %llu was later",
                          heir->name, (unsigned long long)heir->data[k], sim->atoms[k].first,
                          (unsigned long long)sim->acked[k]);
        sim->acked[k] = found_after(sim, heir, owns, k);
        sim->stats->lagged++;
    }
}

void check_keys(struct sim *sim)
{
    for (int k = 0; sim->setup.scaling && k < sim->atom_count; k++) {
        const struct redis *owner = check_owner(sim, sim->atoms[k].first);
        if (!owner || owner->data[k] != sim->acked[k])
            sim_violation(sim, "I4: slot %u is %s's with write %llu, and %llu was acknowledged",
                          sim->atoms[k].first, owner ? owner->name : "nobody",
                          owner ? (unsigned long long)owner->data[k] : 0ULL,
                          (unsigned long long)sim->acked[k]);
    }
}

const char *check_scaled(struct sim *sim)
{
    const struct record *record = &sim->api.now.record->record;
    unsigned wanted =
        (unsigned)sim->api.now.replicas / (1 + (unsigned)sim->setup.replicas_per_primary);
    unsigned shards = 0;
    wanted = wanted ? wanted : 1;
    if (record->move_count || record->evening)
        return "the record has slots on their way";
    for (int i = 0; i < sim->api.now.replicas; i++) {
        const struct redis *r = &sim->redis[i];
        unsigned slots = r->nodes[0].flags & NODE_PRIMARY ? r->nodes[0].slot_count : 0;
        shards += slots > 0;
        if (r->open_count)
            return "slots are half-moved";
        if (slots && (slots < SLOT_COUNT / wanted || slots > (SLOT_COUNT + wanted - 1) / wanted))
            return "the slots are not spread evenly";
    }
    return shards == wanted ? NULL : "there are not as many shards as the size makes";
}
