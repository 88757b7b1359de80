/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

/* An odd constant and its inverse modulo 2^32: spreads ids evenly, and back. */
#define ID_FACTOR UINT32_C(2654435769)
#define ID_INVERSE UINT32_C(340573321)
#define IDS_KEPT 8192 /* a schedule has hundreds */

static void id_write(uint32_t id, struct node_id *ret_id)
{
    struct rng rng = {id};
    uint64_t a = rng_next(&rng);
    uint64_t b = rng_next(&rng);
    (void)snprintf(ret_id->hex, sizeof ret_id->hex, "%08" PRIx32 "%016" PRIx64 "%016" PRIx64,
                   id * ID_FACTOR, a, b);
}

/* Asked for in each view: those of one schedule are written once. */
void redis_id_hex(uint32_t id, struct node_id *ret_id)
{
    static struct node_id written[IDS_KEPT];
    if (!id)
        *ret_id = (struct node_id){{0}};
    else if (id >= IDS_KEPT)
        id_write(id, ret_id);
    else {
        if (!written[id].hex[0])
            id_write(id, &written[id]);
        *ret_id = written[id];
    }
}

uint32_t redis_id_parse(const char *hex)
{
    uint32_t spread = 0;
    for (int i = 0; i < 8 && hex[i]; i++) {
        unsigned digit = hex[i] <= '9' ? (unsigned)(hex[i] - '0') : (unsigned)(hex[i] - 'a') + 10;
        spread = spread << 4 | (digit & 15);
    }
    uint32_t id = spread * ID_INVERSE;
    struct node_id again;
    redis_id_hex(id, &again);
    return strcmp(again.hex, hex) == 0 ? id : 0;
}

int redis_id_cmp(uint32_t a, uint32_t b)
{
    uint32_t x = a * ID_FACTOR;
    uint32_t y = b * ID_FACTOR;
    return x < y ? -1 : x > y;
}

const char *redis_name_of(const struct sim *sim, uint32_t id)
{
    static char text[POD_NAME_SIZE + 16];
    struct node_id hex;
    redis_id_hex(id, &hex);
    const char *name = "nobody";
    for (int i = 0; i < sim->redis_count; i++)
        if (sim->redis[i].node_high && sim->redis[i].nodes[0].id == id)
            name = sim->redis[i].name;
    text_format(text, sizeof text, "%.8s (%s)", hex.hex, name);
    return text;
}

struct redis_node *redis_myself(struct redis *r)
{
    return &r->nodes[0];
}

struct redis_node *redis_find(struct redis *r, uint32_t id)
{
    if (!id)
        return NULL;
    for (int i = 0; i < r->node_high; i++)
        if (r->nodes[i].used && r->nodes[i].id == id)
            return &r->nodes[i];
    return NULL;
}

void redis_touch(struct redis *r)
{
    snapshot_release(r->snap);
    r->snap = NULL;
}

struct redis_node *redis_add_node(struct sim *sim, struct redis *r, uint32_t id, int addr,
                                  uint32_t flags)
{
    int i = 0;
    while (i < r->node_high && r->nodes[i].used)
        i++;
    assert(i < TABLE_MAX);
    if (i == r->node_high)
        r->node_high++;
    r->nodes[i] = (struct redis_node){
        .used = true, .id = id, .addr = addr, .flags = flags, .created_us = sim->now_us};
    redis_touch(r);
    return &r->nodes[i];
}

void redis_free_link(struct redis *r, struct redis_node *n)
{
    if (n->link.state == LINK_NONE)
        return;
    if (n->link.state == LINK_UP)
        redis_touch(r);
    n->link = (struct redis_link){0};
}

/* clusterDelNode: unbinds its slots, forgets its failure reports, orphans its replicas (FACTS 4). */
void redis_del_node(struct sim *sim, struct redis *r, struct redis_node *n)
{
    assert(n != redis_myself(r));
    (void)sim;
    redis_set_owners(r, &n->slots, NULL);
    slots_node_deleted(r, n->id);
    for (int i = 0; i < r->node_high; i++) {
        struct redis_node *other = &r->nodes[i];
        if (!other->used)
            continue;
        if (other->primary == n->id)
            other->primary = 0;
        for (int j = 0; j < other->report_count; j++)
            if (other->reports[j].by == n->id)
                other->reports[j--] = other->reports[--other->report_count];
    }
    redis_free_link(r, n);
    n->used = false;
    while (r->node_high > 1 && !r->nodes[r->node_high - 1].used)
        r->node_high--;
    r->recheck = true;
    redis_touch(r);
}

void redis_set_owner(struct redis *r, unsigned slot, struct redis_node *n)
{
    struct redis_node *before = r->owner[slot] < 0 ? NULL : &r->nodes[r->owner[slot]];
    r->recheck = true;
    redis_touch(r);
    if (before == n)
        return;
    if (before) {
        slot_set_remove(&before->slots, slot_one(slot));
        before->slot_count--;
    }
    r->owner[slot] = (int8_t)(n ? n - r->nodes : -1);
    slot_set_remove(&r->unclaimed, slot_one(slot));
    if (n) {
        slot_set_add(&n->slots, slot_one(slot));
        n->slot_count++;
    }
}

void redis_set_owners(struct redis *r, const struct slot_set *slots, struct redis_node *n)
{
    struct slot_set all = *slots; /* it may be a node's, which is changed meanwhile */
    struct slot_range range;
    for (unsigned at = 0; slot_set_next(&all, &at, &range);)
        for (unsigned slot = range.first; slot <= range.last; slot++)
            redis_set_owner(r, slot, n);
}

bool redis_owns_atom(const struct sim *sim, const struct redis *r, int atom)
{
    return slot_set_has(&r->nodes[0].slots, sim->atoms[atom].first);
}

unsigned redis_known(const struct redis *r)
{
    unsigned known = 0;
    for (int i = 0; i < r->node_high; i++)
        known += r->nodes[i].used;
    return known;
}

unsigned redis_slots_assigned(const struct redis *r)
{
    unsigned slots = 0;
    for (int i = 0; i < r->node_high; i++)
        slots += r->nodes[i].used ? r->nodes[i].slot_count : 0;
    return slots;
}

bool redis_has_data(const struct sim *sim, const struct redis *r)
{
    for (int k = 0; k < sim->atom_count; k++)
        if (r->data[k])
            return true;
    return slots_bulk(sim, r);
}

/* clusterSetNodeAsMaster. */
void redis_set_primary_flag(struct redis *r, struct redis_node *n)
{
    if (n->flags & NODE_PRIMARY)
        return;
    n->flags = (n->flags & ~(uint32_t)NODE_REPLICA) | NODE_PRIMARY;
    n->primary = 0;
    r->recheck = true;
    redis_touch(r);
}

bool redis_blacklisted(const struct sim *sim, const struct redis *r, uint32_t id)
{
    for (int i = 0; i < BLACKLIST_MAX; i++)
        if (r->blacklist[i].id == id && r->blacklist[i].until_us > sim->now_us)
            return true;
    return false;
}
