/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of the cluster bus: sending, and clusterProcessPacket. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sim.h"

static void on_packet(struct sim *sim, const struct event *event);

static struct bus_packet *packet_new(struct sim *sim, struct redis *r, enum bus_type type,
                                     const struct redis_node *to, int gossip_max)
{
    struct redis_node *me = redis_myself(r);
    struct redis_node *owner = me->flags & NODE_REPLICA ? redis_find(r, me->primary) : me;
    if (!owner)
        owner = me;
    size_t size = sizeof(struct bus_packet) + (size_t)gossip_max * sizeof(struct bus_gossip);
    struct bus_packet *p = xcalloc(1, size);
    p->type = type;
    p->from = r->index;
    p->from_run = r->run;
    p->sender = me->id;
    p->current_epoch = r->current_epoch;
    p->config_epoch = owner->epoch;
    p->flags = me->flags & (NODE_PRIMARY | NODE_REPLICA | NODE_NOFAILOVER);
    p->primary = me->flags & NODE_REPLICA ? me->primary : 0;
    p->slots = owner->slots;
    p->announced = r->set.announce ? r->set.announce : r->addr;
    p->offset = r->repl.offset;
    p->manual = election_is_manual(sim, r);
    p->forced = p->manual || sim->now_us < r->election.forced_until_us;
    if (gossip_max)
        p->gossip_count = gossip_fill(sim, r, to, p->gossip, gossip_max);
    return p;
}

static void packet_send(struct sim *sim, struct redis *r, int peer, uint64_t peer_run,
                        struct bus_packet *p)
{
    p->to_run = peer_run;
    if (!sim_linked(sim, r->index, peer)) {
        free(p);
        return;
    }
    sim_after(sim, sim->latency_us[r->index][peer], on_packet, peer, 0, peer_run, p);
}

static int gossip_room(const struct redis *r)
{
    return r->node_high; /* every node at most once, and the suspected ones again */
}

void bus_send_ping(struct sim *sim, struct redis *r, struct redis_node *n, enum bus_type type)
{
    n->ping_us = sim->now_us;
    if (n->link.state != LINK_UP)
        return;
    struct bus_packet *p = packet_new(sim, r, type, n, gossip_room(r));
    p->link_node = (int)(n - r->nodes);
    p->link_gen = n->link.gen;
    packet_send(sim, r, n->link.peer, n->link.peer_run, p);
}

/* Any other packet, on our own link to the node. */
static void bus_send_packet(struct sim *sim, struct redis *r, const struct redis_node *n,
                            struct bus_packet *p)
{
    if (n->link.state == LINK_UP)
        packet_send(sim, r, n->link.peer, n->link.peer_run, p);
    else
        free(p);
}

void bus_send_to(struct sim *sim, struct redis *r, struct redis_node *n, enum bus_type type)
{
    int room = type == BUS_PONG ? gossip_room(r) : 0;
    bus_send_packet(sim, r, n, packet_new(sim, r, type, n, room));
}

void bus_broadcast(struct sim *sim, struct redis *r, enum bus_type type)
{
    for (int i = 1; i < r->node_high; i++)
        if (r->nodes[i].used && !(r->nodes[i].flags & NODE_HANDSHAKE))
            bus_send_to(sim, r, &r->nodes[i], type);
}

void bus_send_fail(struct sim *sim, struct redis *r, uint32_t subject)
{
    for (int i = 1; i < r->node_high; i++) {
        struct redis_node *n = &r->nodes[i];
        if (!n->used || n->flags & NODE_HANDSHAKE)
            continue;
        struct bus_packet *p = packet_new(sim, r, BUS_FAIL, n, 0);
        p->subject = subject;
        bus_send_packet(sim, r, n, p);
    }
}

void bus_send_forgotten(struct sim *sim, struct redis *r, uint32_t subject)
{
    for (int i = 1; i < r->node_high; i++) {
        struct redis_node *n = &r->nodes[i];
        if (!n->used || n->flags & NODE_HANDSHAKE || n->id == subject)
            continue;
        struct bus_packet *p = packet_new(sim, r, BUS_PONG, n, gossip_room(r));
        p->forgotten = subject;
        bus_send_packet(sim, r, n, p);
    }
}

void bus_send_update(struct sim *sim, struct redis *r, struct redis_node *to,
                     const struct redis_node *about)
{
    struct bus_packet *p = packet_new(sim, r, BUS_UPDATE, to, 0);
    p->subject = about->id;
    p->config_epoch = about->epoch;
    p->slots = about->slots;
    bus_send_packet(sim, r, to, p);
}

/* nodeUpdateAddressIfNeeded: by a PING on an inbound link, or at the end of a handshake (FACTS 2). */
static void bus_update_address(struct sim *sim, struct redis *r, struct redis_node *n,
                               const struct bus_packet *p)
{
    if (n->addr == p->announced || n == redis_myself(r))
        return;
    n->addr = p->announced;
    redis_free_link(r, n);
    n->flags &= ~(uint32_t)NODE_NOADDR;
    redis_touch(r);
    redis_wake(sim, r);
    struct redis_node *me = redis_myself(r);
    if (me->flags & NODE_REPLICA && me->primary == n->id)
        repl_follow(sim, r, n->addr, r->repl.by_command);
}

static void bus_answer(struct sim *sim, struct redis *r, const struct bus_packet *ping,
                       struct redis_node *sender)
{
    struct bus_packet *p = packet_new(sim, r, BUS_PONG, sender, gossip_room(r));
    p->answer = true;
    p->link_node = ping->link_node;
    p->link_gen = ping->link_gen;
    packet_send(sim, r, ping->from, ping->from_run, p);
}

/* Someone else answers at the address of a node that we know: noaddr (FACTS 0.2). */
static void bus_mismatch(struct sim *sim, struct redis *r, struct redis_node *n)
{
    sim_trace(sim, r->name, "mismatching sender id: node is noaddr now");
    redis_free_link(r, n);
    n->addr = 0;
    n->flags |= NODE_NOADDR;
    if (r->traits->noaddr_fails) {
        n->flags = (n->flags & ~(uint32_t)NODE_PFAIL) | NODE_FAIL;
        n->fail_us = sim->now_us;
        bus_send_fail(sim, r, n->id);
    }
    r->recheck = true;
    redis_touch(r);
}

/*
 * A packet on our own link: ends a handshake, or shows that another server answers. False if the
 * link is gone and the packet with it.
 */
static bool bus_answered(struct sim *sim, struct redis *r, struct redis_node *n,
                         struct redis_node *sender, const struct bus_packet *p)
{
    if (n->flags & NODE_HANDSHAKE) {
        if (sender) {
            /* "we already know node, updating the address" (FACTS 2) */
            bus_update_address(sim, r, sender, p);
            redis_del_node(sim, r, n);
            return false;
        }
        n->id = p->sender;
        n->flags &= ~(uint32_t)(NODE_HANDSHAKE | NODE_MEET | NODE_PRIMARY | NODE_REPLICA);
        n->flags |= p->flags & (NODE_PRIMARY | NODE_REPLICA);
        redis_touch(r);
        check_node_added(sim, r, n->id);
        return true;
    }
    if (n->id == p->sender)
        return true;
    bus_mismatch(sim, r, n);
    return false;
}

static void bus_alive(struct sim *sim, struct redis *r, struct redis_node *n)
{
    n->pong_us = sim->now_us;
    n->ping_us = 0;
    if (n->flags & NODE_PFAIL) {
        n->flags &= ~(uint32_t)NODE_PFAIL;
        r->recheck = true;
        redis_touch(r);
    } else if (n->flags & NODE_FAIL) {
        /* clearNodeFailureIfNeeded */
        int64_t undo = 2 * MS(r->set.node_timeout_ms);
        if (n->flags & NODE_REPLICA || !n->slot_count || sim->now_us - n->fail_us > undo) {
            n->flags &= ~(uint32_t)NODE_FAIL;
            r->recheck = true;
            redis_touch(r);
        }
    }
}

static void bus_role(struct redis *r, struct redis_node *sender, const struct bus_packet *p)
{
    if (!p->primary) {
        redis_set_primary_flag(r, sender);
        return;
    }
    if (sender->flags & NODE_PRIMARY) {
        redis_set_owners(r, &sender->slots, NULL);
        sender->flags = (sender->flags & ~(uint32_t)NODE_PRIMARY) | NODE_REPLICA;
        slots_replaced(r, sender->id, p->primary);
        redis_touch(r);
    } else if (!(sender->flags & NODE_REPLICA)) {
        sender->flags |= NODE_REPLICA;
        redis_touch(r);
    }
    if (redis_find(r, p->primary) && sender->primary != p->primary) {
        sender->primary = p->primary;
        redis_touch(r);
    }
}

static void bus_slots(struct sim *sim, struct redis *r, struct redis_node *sender,
                      const struct bus_packet *p)
{
    struct redis_node *owner =
        sender->flags & NODE_PRIMARY ? sender : redis_find(r, sender->primary);
    if (!owner || memcmp(&owner->slots, &p->slots, sizeof p->slots) == 0)
        return;
    if (sender->flags & NODE_PRIMARY)
        slots_update_with(sim, r, sender, p->config_epoch, &p->slots);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        if (!(p->slots.words[slot / 64] & ~sender->slots.words[slot / 64])) {
            slot += 63 - slot % 64;
            continue;
        }
        if (r->owner[slot] < 0 || r->owner[slot] == sender - r->nodes ||
            !slot_set_has(&p->slots, slot) || slot_set_has(&r->unclaimed, slot))
            continue;
        const struct redis_node *newer = &r->nodes[r->owner[slot]];
        if (newer->epoch > p->config_epoch) {
            bus_send_update(sim, r, sender, newer);
            return;
        }
    }
}

static void bus_learn(struct redis *r, struct redis_node *sender, const struct bus_packet *p,
                      int64_t now_us)
{
    sender->data_us = now_us;
    if (sender->flags & NODE_HANDSHAKE)
        return;
    if (p->current_epoch > r->current_epoch)
        r->current_epoch = p->current_epoch;
    if (p->type != BUS_UPDATE && p->config_epoch > sender->epoch) {
        sender->epoch = p->config_epoch;
        redis_touch(r);
    }
    sender->offset = p->offset;
}

/* PING, PONG and MEET: identity, address, liveness, role, slots, gossip, in this order. */
static void bus_heartbeat(struct sim *sim, struct redis *r, struct redis_node *sender,
                          const struct bus_packet *p)
{
    if (p->type != BUS_PONG) {
        struct redis_node *me = redis_myself(r);
        if (!r->set.announce && (p->type == BUS_MEET || !me->addr) && me->addr != r->addr) {
            me->addr = r->addr; /* the socket's own address */
            redis_touch(r);
        }
        if (!sender && p->type == BUS_MEET) {
            redis_add_node(sim, r, sim->next_id++, p->announced, NODE_HANDSHAKE);
            redis_wake(sim, r);
        }
        bus_answer(sim, r, p, sender);
    }
    struct redis_node *link_node = p->answer ? &r->nodes[p->link_node] : NULL;
    if (link_node && !bus_answered(sim, r, link_node, sender, p))
        return;
    if (sender && p->type == BUS_PING && !(sender->flags & NODE_HANDSHAKE))
        bus_update_address(sim, r, sender, p);
    if (link_node && p->type == BUS_PONG)
        bus_alive(sim, r, link_node);
    if (!sender)
        return;
    bus_role(r, sender, p);
    bus_slots(sim, r, sender, p);
    if (redis_myself(r)->flags & sender->flags & NODE_PRIMARY &&
        p->config_epoch == redis_myself(r)->epoch)
        epoch_collision(sim, r, sender);
    gossip_process(sim, r, sender, p);
}

static void bus_process(struct sim *sim, struct redis *r, const struct bus_packet *p)
{
    struct redis_node *sender = redis_find(r, p->sender);
    if (sender)
        bus_learn(r, sender, p, sim->now_us);
    switch (p->type) {
    case BUS_PING:
    case BUS_PONG:
    case BUS_MEET:
        bus_heartbeat(sim, r, sender, p);
        return;
    case BUS_FAIL: {
        struct redis_node *n = redis_find(r, p->subject);
        if (sender && n && n != redis_myself(r) && !(n->flags & NODE_FAIL)) {
            n->flags = (n->flags & ~(uint32_t)NODE_PFAIL) | NODE_FAIL;
            n->fail_us = sim->now_us;
            r->recheck = true;
            redis_touch(r);
            redis_wake(sim, r);
        }
        return;
    }
    case BUS_AUTH_REQUEST:
        if (sender)
            election_vote(sim, r, sender, p);
        return;
    case BUS_AUTH_ACK:
        if (sender && sender->flags & NODE_PRIMARY && sender->slot_count &&
            p->current_epoch >= r->election.epoch) {
            r->election.votes++;
            redis_wake(sim, r);
        }
        return;
    case BUS_UPDATE: {
        struct redis_node *n = redis_find(r, p->subject);
        if (!sender || !n || n->epoch >= p->config_epoch)
            return;
        redis_set_primary_flag(r, n);
        n->epoch = p->config_epoch;
        redis_touch(r);
        slots_update_with(sim, r, n, p->config_epoch, &p->slots);
        return;
    }
    }
}

static void on_packet(struct sim *sim, const struct event *event)
{
    struct redis *r = &sim->redis[event->who];
    struct bus_packet *p = event->data;
    if (r->run != event->run || r->phase != REDIS_UP) {
        free(p);
        return;
    }
    if (sim->now_us < r->paused_until_us) {
        /* It waits in the socket's buffer, in its order. */
        sim_after(sim, r->paused_until_us - sim->now_us, on_packet, event->who, 0, event->run, p);
        return;
    }
    bool stale = p->answer &&
                 (!r->nodes[p->link_node].used || r->nodes[p->link_node].link.gen != p->link_gen);
    if (!stale) {
        bus_process(sim, r, p);
        if (r->recheck)
            redis_update_state(sim, r);
        if (!r->state_ok)
            redis_wake(sim, r);
    }
    free(p);
}
