/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a primary's volume, started where nobody of the cluster looks after it. */
#include <string.h>

#include "fault_kinds.h"

/* Its own agent's gate, in a namespace where nobody has heard of these nodes. */
static void clone_pass_gate(struct sim *sim, struct redis *clone)
{
    char reason[GATE_REASON_SIZE];
    struct gate_claim claim = {.has_nodes = true};
    struct pod own = {.name = SET_NAME "-0"};
    struct world world = {.now_ms = 1000,
                          .api_seen_ms = 1000,
                          .pods = &own,
                          .pod_count = 1,
                          .set = {.known = true, .replicas = 1},
                          .record_presence = PRESENCE_ABSENT};
    redis_id_hex(clone->nodes[0].id, &claim.id);
    if (sim->options.guards_off & GUARD_GATE ||
        gate_judge(&world, &claim, 0, reason) != GATE_GO_REWRITTEN)
        return;
    for (int i = 1; i < clone->node_high; i++) {
        struct redis_node *n = &clone->nodes[i];
        struct node_id id;
        redis_id_hex(n->id, &id);
        if (n->used && !gate_address(&world, &id)) {
            n->addr = 0;
            n->flags |= NODE_NOADDR;
        }
    }
}

/* Some server's table has it, whoever it was. */
static bool addr_is_dialled(const struct sim *sim, int addr)
{
    for (int k = 0; k < sim->redis_count; k++)
        for (int n = 0; sim->redis[k].phase != REDIS_DOWN && n < sim->redis[k].node_high; n++)
            if (sim->redis[k].nodes[n].used && sim->redis[k].nodes[n].addr == addr)
                return true;
    return false;
}

/* A snapshot of a primary's nodes.conf, without its data, is started elsewhere (FACTS 13, M7b). */
bool fault_cloned_volume(struct sim *sim)
{
    const struct redis *from = &sim->redis[fault_any_pod(sim)];
    int addr = fault_free_addr(sim);
    if (!check_healthy(sim) || !addr || sim->faults.foreign == FOREIGN_MAX ||
        !from->nodes[0].slot_count)
        return false;
    /* Who dials it tells the clone where he is, and it answers as the one whose copy it is. */
    if (addr_is_dialled(sim, addr))
        return false;
    int index = PODS_MAX + sim->faults.foreign++;
    redis_init(sim, index, "clone", false);
    if (index >= sim->redis_count)
        sim->redis_count = index + 1;
    struct redis *clone = &sim->redis[index];
    clone->has_conf = true;
    clone->node_high = from->node_high;
    clone->current_epoch = from->current_epoch;
    memcpy(clone->nodes, from->nodes, sizeof clone->nodes);
    memcpy(clone->owner, from->owner, sizeof clone->owner);
    clone_pass_gate(sim, clone);
    sim_bind_addr(sim, addr, index);
    redis_start(sim, clone, addr, MS(20));
    sim->faults.hold_us = sim->now_us + SECONDS(30);
    fault_lasts(sim, SECONDS(10));
    return true;
}
