/* SPDX-License-Identifier: Apache-2.0 */
/* What a server answers when it is asked: the values that the agent's parsers would make of it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sim.h"

/* A view that several agents hold; it never changes after it was made. */
struct snapshot {
    unsigned refs;
    struct view view;
    struct slot_range *ranges; /* behind the nodes */
    struct open_slot *open;    /* behind these */
    struct view_node nodes[];
};

void snapshot_release(struct snapshot *snap)
{
    if (snap && --snap->refs == 0)
        free(snap);
}

static size_t snapshot_count_ranges(const struct redis_node *n)
{
    struct slot_range range;
    size_t count = 0;
    for (unsigned at = 0; n->slot_count && slot_set_next(&n->slots, &at, &range);)
        count++;
    return count;
}

static void snapshot_ranges(const struct redis_node *n, struct snapshot *snap,
                            struct view_node *node)
{
    struct slot_range range;
    node->range_first = (uint32_t)snap->view.range_count;
    node->slot_count = n->slot_count;
    for (unsigned at = 0; n->slot_count && slot_set_next(&n->slots, &at, &range);)
        snap->ranges[snap->view.range_count++] = range;
    node->range_count = (uint32_t)snap->view.range_count - node->range_first;
}

static void snapshot_node(struct redis *r, const struct redis_node *n, struct snapshot *snap,
                          struct view_node *out)
{
    redis_id_hex(n->id, &out->id);
    redis_id_hex(n->primary, &out->primary);
    sim_addr_text(n->addr, out->ip, sizeof out->ip);
    out->port = n->addr ? MODEL_PORT : 0;
    out->bus_port = n->addr ? MODEL_PORT + 10000 : 0;
    out->flags = n->flags & ~NODE_MEET;
    out->connected = n == redis_myself(r) || n->link.state == LINK_UP;
    const struct redis_node *owner = n->primary ? redis_find(r, n->primary) : n;
    out->epoch = owner ? owner->epoch : n->epoch;
    snapshot_ranges(n, snap, out);
}

static int open_cmp(const void *a, const void *b)
{
    return ((const struct open_slot *)a)->slot - ((const struct open_slot *)b)->slot;
}

/* Of one that both migrates and is imported CLUSTER NODES shows the former. */
static void snapshot_open(const struct redis *r, struct snapshot *snap)
{
    struct view *view = &snap->view;
    for (int i = 0; i < r->open_count; i++) {
        const struct redis_open *open = &r->open[i];
        struct open_slot *out = &snap->open[view->open_count];
        if (open->importing && redis_open_peer(r, open->slot, false))
            continue;
        *out = (struct open_slot){.slot = open->slot, .importing = open->importing};
        redis_id_hex(open->peer, &out->peer);
        view->open_count++;
    }
    if (view->open_count)
        qsort(snap->open, view->open_count, sizeof *snap->open, open_cmp);
    view->open_slots = snap->open;
}

const struct view *snapshot_take(struct redis *r, struct snapshot **ret_ref)
{
    if (!r->snap) {
        unsigned known = redis_known(r);
        size_t ranges = 0;
        for (int i = 0; i < r->node_high; i++)
            ranges += r->nodes[i].used ? snapshot_count_ranges(&r->nodes[i]) : 0;
        struct snapshot *snap =
            xcalloc(1, sizeof *snap + known * sizeof *snap->nodes + ranges * sizeof *snap->ranges +
                           (size_t)r->open_count * sizeof *snap->open);
        snap->refs = 1;
        snap->ranges = (struct slot_range *)(void *)(snap->nodes + known);
        snap->open = (struct open_slot *)(void *)(snap->ranges + ranges);
        snap->view.ranges = snap->ranges;
        for (int i = 0; i < r->node_high; i++)
            if (r->nodes[i].used)
                snapshot_node(r, &r->nodes[i], snap, &snap->nodes[snap->view.node_count++]);
        snapshot_open(r, snap);
        bool sound = view_finish(&snap->view, snap->nodes);
        assert(sound);
        (void)sound;
        r->snap = snap;
    }
    r->snap->refs++;
    *ret_ref = r->snap;
    return &r->snap->view;
}

static int64_t observe_keys(const struct sim *sim, const struct redis *r)
{
    int64_t keys = slots_bulk(sim, r);
    for (int k = 0; k < sim->atom_count; k++)
        keys += r->data[k] != 0;
    return keys;
}

static void observe_replid(const struct redis *r, char replid[RUN_ID_SIZE])
{
    replid[0] = '\0';
    if (r->repl.lineage)
        text_format(replid, RUN_ID_SIZE, "%040llu", (unsigned long long)r->repl.lineage);
}

static void observe_online(const struct sim *sim, const struct redis *r, struct server *s)
{
    s->online_count = 0;
    for (int i = 0; s->primary && i < sim->redis_count && s->online_count < REPLICAS_TOLD_MAX;
         i++) {
        const struct redis *other = &sim->redis[i];
        if (other->phase == REDIS_DOWN || other->repl.state != REPL_UP ||
            other->repl.peer != r->index || other->repl.peer_run != r->run)
            continue;
        struct replica_addr *addr = &s->online[s->online_count++];
        addr->port = MODEL_PORT;
        sim_addr_text(other->addr, addr->ip, sizeof addr->ip);
    }
}

static void observe_cluster_info(struct redis *r, struct server *s)
{
    s->state_ok = r->state_ok;
    s->slots_assigned = redis_slots_assigned(r);
    s->slots_ok = 0;
    for (int i = 0; i < r->node_high; i++)
        if (r->nodes[i].used && !(r->nodes[i].flags & (NODE_FAIL | NODE_PFAIL)))
            s->slots_ok += r->nodes[i].slot_count;
    s->known_nodes = redis_known(r);
    s->size = r->size;
    s->current_epoch = r->current_epoch;
    const struct redis_node *me = redis_myself(r);
    const struct redis_node *primary = me->primary ? redis_find(r, me->primary) : NULL;
    s->my_epoch = primary ? primary->epoch : me->epoch;
}

void redis_observe(struct sim *sim, struct redis *r, struct server *ret_server)
{
    struct server *s = ret_server;
    redis_id_hex(redis_myself(r)->id, &s->id);
    memcpy(s->run_id, r->run_id, sizeof s->run_id);
    s->kind = r->traits->kind;
    s->version = r->traits->version;
    s->uptime_ms = (sim->now_us - r->up_us) / 1000;
    s->cluster_enabled = true;
    s->primary = redis_myself(r)->flags & NODE_PRIMARY;
    sim_addr_text(r->repl.addr, s->primary_ip, sizeof s->primary_ip);
    s->primary_port = r->repl.addr ? MODEL_PORT : 0;
    s->link_up = r->repl.state == REPL_UP;
    bool never = r->repl.down_since_us == NEVER_US;
    s->link_down_ms = s->link_up || s->primary ? 0 : (sim->now_us - r->repl.down_since_us) / 1000;
    if (s->link_down_ms && never)
        s->link_down_ms = -1;
    s->offset = r->repl.offset;
    observe_replid(r, s->replid);
    observe_online(sim, r, s);
    s->keys = observe_keys(sim, r);
    s->memory_bytes = 1 << 20;
    s->vote_requests = r->vote_requests;
    observe_cluster_info(r, s);
}

void redis_observe_settings(const struct redis *r, struct server *ret_server)
{
    ret_server->node_timeout_ms = r->set.node_timeout_ms;
    ret_server->diskless_delay_s = r->set.diskless_delay_s;
    ret_server->replica_migration = r->set.replica_migration;
    ret_server->no_failover = r->set.no_failover;
    ret_server->aof = 1; /* what is acknowledged is on the volume */
    ret_server->aof_written = true;
    sim_addr_text(r->set.announce, ret_server->announce_ip, sizeof ret_server->announce_ip);
}

void redis_probe(const struct sim *sim, struct redis *r, struct probe *ret_probe)
{
    redis_id_hex(redis_myself(r)->id, &ret_probe->id);
    ret_probe->primary = redis_myself(r)->flags & NODE_PRIMARY;
    ret_probe->link_up = r->repl.state == REPL_UP;
    char ip[ADDR_TEXT_SIZE];
    sim_addr_text(r->repl.addr, ip, sizeof ip);
    text_format(ret_probe->primary_ip, sizeof ret_probe->primary_ip, "%s", ip);
    ret_probe->primary_port = r->repl.addr ? MODEL_PORT : 0;
    ret_probe->offset = r->repl.offset;
    observe_replid(r, ret_probe->replid);
    ret_probe->vote_requests = r->vote_requests;
    ret_probe->known_nodes = redis_known(r);
    ret_probe->slots_assigned = redis_slots_assigned(r);
    ret_probe->keys = observe_keys(sim, r);
}
