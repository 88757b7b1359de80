/* SPDX-License-Identifier: Apache-2.0 */
/* The gossip section of packets, and what follows from it: failure reports, FAIL, new nodes. */
#include <assert.h>
#include <string.h>

#include "sim.h"

/* Reports older than 2*NT are void (CLUSTER_FAIL_REPORT_VALIDITY_MULT). */
static unsigned report_count(const struct sim *sim, const struct redis *r, struct redis_node *n)
{
    int64_t limit = 2 * MS(r->set.node_timeout_ms);
    for (int i = 0; i < n->report_count; i++)
        if (sim->now_us - n->reports[i].at_us > limit)
            n->reports[i--] = n->reports[--n->report_count];
    return (unsigned)n->report_count;
}

static void report_add(const struct sim *sim, struct redis_node *n, uint32_t by)
{
    for (int i = 0; i < n->report_count; i++) {
        if (n->reports[i].by == by) {
            n->reports[i].at_us = sim->now_us;
            return;
        }
    }
    if (n->report_count < REPORTS_MAX)
        n->reports[n->report_count++] = (struct redis_report){by, sim->now_us};
}

static void report_delete(struct redis_node *n, uint32_t by)
{
    for (int i = 0; i < n->report_count; i++)
        if (n->reports[i].by == by)
            n->reports[i--] = n->reports[--n->report_count];
}

/* markNodeAsFailingIfNeeded: a majority of slot-owning primaries, ourselves included, suspects it. */
void gossip_mark_failing(struct sim *sim, struct redis *r, struct redis_node *n)
{
    if (!(n->flags & NODE_PFAIL) || n->flags & NODE_FAIL)
        return;
    unsigned failures = report_count(sim, r, n);
    if (redis_myself(r)->flags & NODE_PRIMARY)
        failures++;
    if (failures < r->size / 2 + 1)
        return;
    n->flags = (n->flags & ~(uint32_t)NODE_PFAIL) | NODE_FAIL;
    n->fail_us = sim->now_us;
    r->recheck = true;
    redis_touch(r);
    bus_send_fail(sim, r, n->id);
}

static struct bus_gossip gossip_of(const struct redis_node *n)
{
    return (struct bus_gossip){n->id, n->addr, n->flags & ~NODE_MEET, n->pong_us};
}

static bool gossip_listed(const struct bus_gossip *list, int count, uint32_t id)
{
    for (int i = 0; i < count; i++)
        if (list[i].id == id)
            return true;
    return false;
}

/* clusterSendPing: max(3, N/10) random nodes, and every node that we suspect. */
int gossip_fill(struct sim *sim, struct redis *r, const struct redis_node *to,
                struct bus_gossip *out, int max)
{
    int fresh = (int)redis_known(r) - 2;
    int wanted = fresh / 10 < 3 ? 3 : fresh / 10;
    if (wanted > fresh)
        wanted = fresh;
    int count = 0;
    for (int tries = 0; tries < wanted * 3 && count < wanted && count < max; tries++) {
        struct redis_node *n = &r->nodes[rng_below(&sim->rng, (uint64_t)r->node_high)];
        if (!n->used || n == redis_myself(r) || n == to)
            continue;
        if (n->flags & (NODE_PFAIL | NODE_HANDSHAKE | NODE_NOADDR))
            continue;
        if (n->link.state == LINK_NONE && !n->slot_count)
            continue;
        if (!gossip_listed(out, count, n->id))
            out[count++] = gossip_of(n);
    }
    for (int i = 1; i < r->node_high && count < max; i++) {
        struct redis_node *n = &r->nodes[i];
        if (n->used && n->flags & NODE_PFAIL && !(n->flags & (NODE_HANDSHAKE | NODE_NOADDR)))
            out[count++] = gossip_of(n);
    }
    return count;
}

static void gossip_known(struct sim *sim, struct redis *r, struct redis_node *sender,
                         struct redis_node *n, const struct bus_gossip *g)
{
    bool failing = g->flags & (NODE_FAIL | NODE_PFAIL);
    if (sender->flags & NODE_PRIMARY && n != redis_myself(r)) {
        if (failing) {
            report_add(sim, n, sender->id);
            gossip_mark_failing(sim, r, n);
        } else {
            report_delete(n, sender->id);
        }
    }
    if (!failing && !n->ping_us && !report_count(sim, r, n) && g->pong_us > n->pong_us &&
        g->pong_us <= sim->now_us + MS(500))
        n->pong_us = g->pong_us;
    /* The address is taken from gossip only while we cannot reach the node and the sender can. */
    if (n->flags & (NODE_FAIL | NODE_PFAIL) && !failing && !(g->flags & NODE_NOADDR) && g->addr &&
        g->addr != n->addr && n != redis_myself(r)) {
        redis_free_link(r, n);
        n->addr = g->addr;
        n->flags &= ~(uint32_t)NODE_NOADDR;
        redis_touch(r);
        redis_wake(sim, r);
        /* On redis 7.0 replication goes on with the old address: tests/integration shows it. */
        if (r->traits->gossip_repoints && redis_myself(r)->primary == n->id)
            repl_follow(sim, r, n->addr, r->repl.by_command);
    }
}

void gossip_process(struct sim *sim, struct redis *r, struct redis_node *sender,
                    const struct bus_packet *p)
{
    int sender_index = (int)(sender - r->nodes);
    for (int i = 0; i < p->gossip_count; i++) {
        const struct bus_gossip *g = &p->gossip[i];
        struct redis_node *n = redis_find(r, g->id);
        if (n) {
            gossip_known(sim, r, &r->nodes[sender_index], n, g);
            continue;
        }
        /* A known sender's word is enough (FACTS 1); a forgotten node waits for its ban's end. */
        if (g->flags & NODE_NOADDR || !g->addr || redis_blacklisted(sim, r, g->id))
            continue;
        uint32_t kept = g->flags & (NODE_PRIMARY | NODE_REPLICA | NODE_PFAIL | NODE_FAIL);
        redis_add_node(sim, r, g->id, g->addr, kept);
        check_node_added(sim, r, g->id);
        redis_wake(sim, r);
    }
    struct redis_node *forgotten = redis_find(r, p->forgotten);
    if (forgotten && forgotten != redis_myself(r) && forgotten->id != redis_myself(r)->primary) {
        redis_command_ban(sim, r, forgotten->id);
        redis_del_node(sim, r, forgotten);
    }
}
