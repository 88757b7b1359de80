/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config epochs: who owns a slot, collisions, automatic failover and its votes (FACTS 0.3, 3).
 * Of manual failover TAKEOVER is in model_command.c; FORCE and the one that the primary agrees to are
 * elections.
 */
#include <assert.h>

#include "sim.h"

/* cluster-replica-validity-factor (or 0: any age) and repl-ping-replica-period of the default configuration. */
#define VALIDITY_FACTOR 10
#define REPL_PING_US SECONDS(10)

/* What its owner does not claim any more stays its own until another does (owner_not_claiming_slot). */
static void slots_claimed(struct redis *r, unsigned slot, bool claimed)
{
    if (claimed)
        slot_set_remove(&r->unclaimed, slot_one(slot));
    else
        slot_set_add(&r->unclaimed, slot_one(slot));
}

static bool slots_may_take(const struct redis *r, unsigned slot, const struct redis_node *owner,
                           uint64_t epoch)
{
    return !owner || owner->epoch < epoch || slot_set_has(&r->unclaimed, slot);
}

/* clusterUpdateSlotsConfigWith: the higher epoch wins each slot; who lost all of them follows. */
void slots_update_with(struct sim *sim, struct redis *r, struct redis_node *sender, uint64_t epoch,
                       const struct slot_set *slots)
{
    struct redis_node *me = redis_myself(r);
    struct redis_node *current = me->flags & NODE_PRIMARY ? me : redis_find(r, me->primary);
    if (sender == me)
        return;
    unsigned lost = 0;
    struct slot_set dirty = {{0}};
    struct slot_set other; /* where what is said is not what is known */
    for (unsigned w = 0; w < SLOT_COUNT / 64; w++)
        other.words[w] = (slots->words[w] ^ sender->slots.words[w]) | r->unclaimed.words[w];
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        if (!other.words[slot / 64]) {
            slot += 63 - slot % 64;
            continue;
        }
        struct redis_node *owner = r->owner[slot] < 0 ? NULL : &r->nodes[r->owner[slot]];
        if (owner == sender) {
            slots_claimed(r, slot, slot_set_has(slots, slot));
            continue;
        }
        if (!slot_set_has(slots, slot) || !slots_may_take(r, slot, owner, epoch))
            continue;
        uint32_t from = redis_open_peer(r, slot, true);
        if (from && !r->traits->open_spreads)
            continue; /* to be closed by who has opened it */
        if (from && owner && from == owner->id)
            redis_set_open(r, slot, true, sender->id);
        lost += owner && owner == current;
        if (owner == me)
            slot_set_add(&dirty, slot_one(slot));
        redis_set_owner(r, slot, sender);
    }
    if (!lost)
        return;
    /* "no migration": follow only if the sender took exactly what the shard had (FACTS 5). */
    if (current->slot_count == 0 && (r->set.replica_migration || slot_set_count(slots) == lost)) {
        sim_trace(sim, r->name, "lost its last slot: becomes a replica of the new owner");
        redis_set_primary(sim, r, sender, false);
        return;
    }
    for (int k = 0; k < sim->atom_count; k++) {
        if (!slot_set_has(&dirty, sim->atoms[k].first))
            continue;
        check_dropped(sim, r, sender, k);
        r->data[k] = 0;
    }
}

/* clusterHandleConfigEpochCollision: of two primaries with one epoch the smaller id takes a new one. */
void epoch_collision(struct sim *sim, struct redis *r, struct redis_node *sender)
{
    struct redis_node *me = redis_myself(r);
    if (redis_id_cmp(sender->id, me->id) <= 0)
        return;
    r->current_epoch++;
    me->epoch = r->current_epoch;
    redis_touch(r);
    sim_trace(sim, r->name, "config epoch collision: takes epoch %llu",
              (unsigned long long)me->epoch);
}

static bool election_wanted(const struct sim *sim, struct redis *r,
                            const struct redis_node *primary)
{
    if (!primary || !(primary->flags & NODE_FAIL) || !primary->slot_count)
        return false;
    if (sim->setup.any_age)
        return true;
    int64_t nt = MS(r->set.node_timeout_ms);
    int64_t age = r->repl.state == REPL_UP ? 0 : sim->now_us - r->repl.down_since_us;
    if (age > nt)
        age -= nt;
    return age <= REPL_PING_US + nt * VALIDITY_FACTOR;
}

static unsigned election_rank(struct redis *r, uint32_t primary)
{
    unsigned rank = 0;
    for (int i = 1; i < r->node_high; i++) {
        const struct redis_node *n = &r->nodes[i];
        if (n->used && n->flags & NODE_REPLICA && n->primary == primary &&
            n->offset > r->repl.offset)
            rank++;
    }
    return rank;
}

static int64_t election_delay(struct sim *sim, struct redis *r, uint32_t primary)
{
    unsigned rank = election_rank(r, primary);
    if (r->traits->fast_election) {
        int64_t delay = r->set.node_timeout_ms / 30;
        delay = MS(delay > 500 ? 500 : delay);
        return rank ? delay + sim_between(sim, 0, delay) + rank * SECONDS(1) : 0;
    }
    return MS(500) + sim_between(sim, 0, MS(500)) + rank * SECONDS(1);
}

/* clusterFailoverReplaceYourMaster, under the epoch that was won or taken. */
void election_take_over(struct sim *sim, struct redis *r, struct redis_node *old, uint64_t epoch)
{
    struct redis_node *me = redis_myself(r);
    if (me->epoch < epoch)
        me->epoch = epoch;
    struct slot_set slots = old->slots;
    check_heir(sim, r, &slots);
    check_copied(sim, r, old->id);
    redis_set_primary_flag(r, me);
    repl_unset(sim, r);
    redis_set_owners(r, &slots, me);
    redis_touch(r);
    redis_update_state(sim, r);
    bus_broadcast(sim, r, BUS_PONG);
}

/* The primary holds its writes back, and the replica has all of them. */
bool election_is_manual(const struct sim *sim, const struct redis *r)
{
    const struct redis_election *e = &r->election;
    return sim->now_us < e->manual_until_us && e->manual_offset >= 0 && r->repl.state == REPL_UP &&
           r->repl.offset >= e->manual_offset;
}

static void election_win(struct sim *sim, struct redis *r, struct redis_node *old)
{
    uint64_t epoch = r->election.epoch;
    sim->stats->elections++;
    check_elected(sim, r, old->id, election_is_manual(sim, r));
    if (election_is_manual(sim, r)) {
        sim->stats->handovers++;
        check_handover(sim, r, old, epoch);
    }
    if (sim->now_us < r->election.forced_until_us)
        check_forced(sim, r, old->id);
    r->election.forced_until_us = r->election.manual_until_us = 0;
    if (!r->traits->votes_wait_2nt) /* clusterFailoverReplaceYourPrimary, valkey 8.1 (FACTS 0.3) */
        r->election = (struct redis_election){0};
    sim_trace(sim, r->name, "won the election, epoch %llu", (unsigned long long)epoch);
    election_take_over(sim, r, old, epoch);
}

/* clusterHandleSlaveFailover. */
void election_step(struct sim *sim, struct redis *r)
{
    struct redis_node *me = redis_myself(r);
    struct redis_election *e = &r->election;
    if (!(me->flags & NODE_REPLICA))
        return;
    struct redis_node *primary = redis_find(r, me->primary);
    bool forced = election_is_manual(sim, r) || sim->now_us < e->forced_until_us;
    if (r->set.no_failover && !forced)
        return;
    if (forced ? !primary || !primary->slot_count : !election_wanted(sim, r, primary))
        return;
    int64_t timeout = 2 * MS(r->set.node_timeout_ms);
    if (timeout < SECONDS(2))
        timeout = SECONDS(2);
    int64_t age = sim->now_us - e->at_us;
    if (!e->at_us || age > 2 * timeout) {
        int64_t delay = forced ? 0 : election_delay(sim, r, primary->id);
        *e = (struct redis_election){.at_us = sim->now_us + delay,
                                     .forced_until_us = e->forced_until_us,
                                     .manual_until_us = e->manual_until_us,
                                     .manual_offset = e->manual_offset};
        return;
    }
    if (sim->now_us < e->at_us || age > timeout)
        return;
    if (!e->sent) {
        r->current_epoch++;
        e->epoch = r->current_epoch;
        e->sent = true;
        r->vote_requests += redis_known(r) - 1;
        bus_broadcast(sim, r, BUS_AUTH_REQUEST);
        return;
    }
    if (e->votes >= r->size / 2 + 1)
        election_win(sim, r, primary);
}

/* clusterSendFailoverAuthIfNeeded: who asks with older data or slots gets no vote. */
void election_vote(struct sim *sim, struct redis *r, struct redis_node *sender,
                   const struct bus_packet *p)
{
    struct redis_node *me = redis_myself(r);
    if (!(me->flags & NODE_PRIMARY) || !me->slot_count)
        return;
    if (p->current_epoch < r->current_epoch || r->vote_epoch == r->current_epoch)
        return;
    struct redis_node *primary =
        sender->flags & NODE_REPLICA ? redis_find(r, sender->primary) : NULL;
    if (!primary || !(primary->flags & NODE_FAIL || p->forced))
        return;
    int64_t wait = 2 * MS(r->set.node_timeout_ms);
    if (r->traits->votes_wait_2nt && primary->voted_us && sim->now_us - primary->voted_us < wait) {
        if (p->manual)
            check_second_vote(sim, r, sender, primary);
        return;
    }
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (r->owner[slot] >= 0 && r->nodes[r->owner[slot]].epoch > p->config_epoch &&
            slot_set_has(&p->slots, slot) && !slot_set_has(&r->unclaimed, slot))
            return;
    r->vote_epoch = r->current_epoch;
    primary->voted_us = sim->now_us;
    bus_send_to(sim, r, sender, BUS_AUTH_ACK);
}
