/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/world_build.h"

#include <assert.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"

#define PORT 6379
#define KEYS_PER_SLOT 2
#define OFFSET 4096

struct node_id world_build_id(size_t index)
{
    struct rng rng = {index + 1};
    struct node_id id;
    char hex[3 * 16 + 1];
    /* One by one: the order of calls within an argument list is the compiler's choice. */
    unsigned long long last = rng_next(&rng);
    unsigned long long middle = rng_next(&rng);
    unsigned long long first = rng_next(&rng);
    text_format(hex, sizeof hex, "%016llx%016llx%016llx", first, middle, last);
    bool ok = node_id_parse((struct span){hex, NODE_ID_LEN}, &id);
    assert(ok);
    (void)ok;
    return id;
}

static void build_pod(struct world_build *b, size_t i)
{
    struct pod *pod = &b->pods[i];
    char place = (char)('a' + i % 3);
    text_format(pod->name, sizeof pod->name, "muster-%zu", i);
    text_format(pod->uid, sizeof pod->uid, "%08zx-0000-4000-8000-000000000003", i);
    text_format(pod->ip, sizeof pod->ip, "10.0.%zu.%zu", (i + 1) / 256, (i + 1) % 256);
    text_format(pod->node, sizeof pod->node, "node-%c", place);
    text_format(pod->zone, sizeof pod->zone, "zone-%c", place);
    pod->ordinal = (int)i;
    pod->port = PORT;
    pod->ready = true;
    pod->agent = AGENT_OK;
    pod->agent_seen_ms = WORLD_BUILD_NOW_MS - 100;
    pod->server = (struct server){
        .reach = REACH_OK,
        .asked_ms = WORLD_BUILD_NOW_MS - 200,
        .seen_ms = WORLD_BUILD_NOW_MS - 200,
        .settings_ms = WORLD_BUILD_NOW_MS,
        .kind = SERVER_REDIS,
        .version = 70015,
        .uptime_ms = 60000,
        .cluster_enabled = true,
        .memory_bytes = 1258291,
        .node_timeout_ms = 15000,
        .diskless_delay_s = 5,
        .replica_migration = 0,
    };
    text_format(pod->server.run_id, sizeof pod->server.run_id, "%040zx", i + 0xabc);
    (void)TEXT_COPY(pod->server.announce_ip, span_of(pod->ip));
}

static void build_world(struct world_build *b)
{
    struct world *w = &b->world;
    *w = (struct world){
        .now_ms = WORLD_BUILD_NOW_MS,
        .leader = true,
        .api_seen_ms = WORLD_BUILD_NOW_MS - 500,
        .set = {.known = true,
                .name = "muster",
                .uid = WORLD_BUILD_SET_UID,
                .generation = 1,
                .replicas = (int)b->count,
                .volumes = true},
        .replicas_per_primary = 1,
        .record_presence = PRESENCE_ABSENT,
        .pods = b->pods,
        .pod_count = b->count,
        .attempts = ARENA_NEW(b->arena, struct attempts, 1),
        .entropy = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)},
    };
    (void)TEXT_COPY(w->my_pod, span_of(b->pods[0].name));
    (void)TEXT_COPY(w->my_ip, span_of(b->pods[0].ip));
    (void)TEXT_COPY(w->leader_pod, span_of(b->pods[0].name));
}

struct world_build *world_build_virgin(struct arena *arena, size_t pods)
{
    struct world_build *b = ARENA_NEW(arena, struct world_build, 1);
    b->arena = arena;
    b->count = b->views = pods;
    b->pods = ARENA_NEW(arena, struct pod, pods);
    b->nodes = ARENA_NEW(arena, struct world_build_node, pods);
    b->members = ARENA_NEW(arena, struct record_member, pods);
    for (size_t i = 0; i < pods; i++) {
        build_pod(b, i);
        b->nodes[i] = (struct world_build_node){
            .id = world_build_id(i), .component = (unsigned)i + 1, .primary = true};
    }
    build_world(b);
    (void)world_build_refresh(b);
    return b;
}

/* The record of what is in `nodes` now. */
static void build_record(struct world_build *b, size_t shards)
{
    b->record = (struct record){.version = RECORD_VERSION,
                                .uid = WORLD_BUILD_UID,
                                .generation = 1,
                                .set_uid = WORLD_BUILD_SET_UID,
                                .state = RECORD_FORMED,
                                .shards = (uint16_t)shards,
                                .members = b->members,
                                .member_count = b->count};
    for (size_t i = 0; i < b->count; i++) {
        const struct world_build_node *n = &b->nodes[i];
        struct record_member *m = &b->members[i];
        *m = (struct record_member){.id = n->id,
                                    .shard = (uint16_t)(n->primary ? i : n->primary_node),
                                    .primary = n->primary,
                                    .epoch = n->epoch,
                                    .node_timeout_ms = 15000,
                                    .diskless_delay_s = 5};
        (void)TEXT_COPY(m->pod, span_of(b->pods[i].name));
    }
    b->world.record_presence = PRESENCE_PRESENT;
    b->world.record = b->world.record_copy = &b->record;
}

/* The shard for replica `i`: one of those with fewest replicas, elsewhere than itself if possible. */
static size_t choose_shard(const struct world_build *b, size_t i, size_t shards)
{
    size_t wave = (i - shards) / shards;
    size_t choice = SIZE_MAX;
    for (size_t k = 0; k < shards; k++) {
        size_t s = (i + k) % shards;
        size_t replicas = 0;
        for (size_t other = shards; other < i; other++)
            replicas += b->nodes[other].primary_node == s;
        if (replicas > wave)
            continue;
        if (strcmp(b->pods[s].node, b->pods[i].node) != 0)
            return s;
        if (choice == SIZE_MAX)
            choice = s;
    }
    return choice;
}

struct world_build *world_build_formed(struct arena *arena, size_t shards, size_t pods)
{
    assert(shards > 0 && shards <= pods);
    struct world_build *b = world_build_virgin(arena, pods);
    for (size_t i = 0; i < pods; i++) {
        struct world_build_node *n = &b->nodes[i];
        n->component = 0;
        n->primary = i < shards;
        if (n->primary)
            slot_set_add(&n->slots, slots_of_shard((unsigned)i, (unsigned)shards));
        else
            n->primary_node = choose_shard(b, i, shards);
        n->epoch = (n->primary ? i : n->primary_node) + 1;
    }
    build_record(b, shards);
    (void)world_build_refresh(b);
    return b;
}

void world_build_lose(struct world_build *build, size_t pod)
{
    assert(pod < build->count);
    struct server *s = &build->pods[pod].server;
    s->reach = REACH_REFUSED;
    s->seen_ms = build->world.now_ms - 60000;
    s->view_ms = s->seen_ms;
    build->pods[pod].ready = false;
    build->nodes[pod].flags |= NODE_FAIL;
}

void world_build_observe_as(struct world_build *build, size_t pod)
{
    assert(pod < build->count);
    build->world.leader = false;
    build->world.me = pod;
    (void)TEXT_COPY(build->world.my_pod, span_of(build->pods[pod].name));
    (void)TEXT_COPY(build->world.my_ip, span_of(build->pods[pod].ip));
    for (size_t i = 0; i < build->count; i++) {
        if (i == pod)
            continue;
        build->pods[i].server = (struct server){.reach = REACH_UNKNOWN};
        build->pods[i].agent = AGENT_UNKNOWN;
        build->pods[i].agent_seen_ms = 0;
    }
}

/* Appends the ranges of a node's slots to the view's. */
static void view_add_slots(struct view_node *vn, const struct slot_set *slots,
                           struct slot_range *ranges, size_t *count)
{
    struct slot_range range;
    unsigned from = 0;
    vn->range_first = (uint32_t)*count;
    while (slot_set_next(slots, &from, &range))
        ranges[(*count)++] = range;
    vn->range_count = (uint32_t)(*count - vn->range_first);
    vn->slot_count = slot_set_count(slots);
}

static void count_component(const struct world_build *b, unsigned component, size_t *ret_nodes,
                            size_t *ret_ranges)
{
    *ret_nodes = *ret_ranges = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct slot_range range;
        unsigned from = 0;
        if (b->nodes[i].component != component)
            continue;
        ++*ret_nodes;
        while (slot_set_next(&b->nodes[i].slots, &from, &range))
            ++*ret_ranges;
    }
}

static struct view_node node_as_seen(const struct world_build *b, size_t i, bool myself)
{
    const struct world_build_node *n = &b->nodes[i];
    struct view_node vn = {.id = n->id, .port = PORT, .bus_port = PORT + 10000, .epoch = n->epoch};
    vn.flags = n->primary ? NODE_PRIMARY : NODE_REPLICA;
    vn.flags |= myself ? NODE_MYSELF : n->flags;
    vn.connected = myself || !(n->flags & (NODE_FAIL | NODE_PFAIL));
    if (!n->primary)
        vn.primary = b->nodes[n->primary_node].id;
    if (!(vn.flags & NODE_NOADDR))
        (void)TEXT_COPY(vn.ip, span_of(b->pods[i].ip));
    return vn;
}

static const struct view *build_view(const struct world_build *b, size_t me)
{
    unsigned component = b->nodes[me].component;
    size_t node_count;
    size_t range_count;
    count_component(b, component, &node_count, &range_count);
    struct view *view = ARENA_NEW(b->arena, struct view, 1);
    struct view_node *nodes = ARENA_NEW(b->arena, struct view_node, node_count);
    struct slot_range *ranges = ARENA_NEW(b->arena, struct slot_range, range_count);
    for (size_t i = 0; i < b->count; i++) {
        if (b->nodes[i].component != component)
            continue;
        struct view_node *vn = &nodes[view->node_count++];
        *vn = node_as_seen(b, i, i == me);
        view_add_slots(vn, &b->nodes[i].slots, ranges, &view->range_count);
    }
    view->ranges = ranges;
    view->open_slots = b->nodes[me].open;
    view->open_count = b->nodes[me].open_count;
    bool ok = view_finish(view, nodes);
    assert(ok);
    (void)ok;
    return view;
}

/* What CLUSTER INFO says, of the nodes that this server knows. */
static void build_cluster_info(const struct world_build *b, size_t me, const unsigned *slot_counts)
{
    struct server *s = &b->pods[me].server;
    s->known_nodes = s->slots_assigned = s->slots_ok = s->size = 0;
    s->current_epoch = 0;
    unsigned alive = 0;
    for (size_t i = 0; i < b->count; i++) {
        const struct world_build_node *n = &b->nodes[i];
        bool failing = i != me && (n->flags & (NODE_FAIL | NODE_PFAIL));
        if (n->component != b->nodes[me].component)
            continue;
        s->known_nodes++;
        s->slots_assigned += slot_counts[i];
        s->slots_ok += failing ? 0 : slot_counts[i];
        s->size += slot_counts[i] > 0;
        alive += slot_counts[i] > 0 && !failing;
        if (n->epoch > s->current_epoch)
            s->current_epoch = n->epoch;
    }
    s->my_epoch = b->nodes[me].epoch;
    s->state_ok = s->slots_ok == SLOT_COUNT && alive > s->size / 2;
}

static void build_replica(struct world_build *b, size_t me, const unsigned *slot_counts)
{
    const struct world_build_node *primary = &b->nodes[b->nodes[me].primary_node];
    struct server *s = &b->pods[me].server;
    s->keys = KEYS_PER_SLOT * (int64_t)slot_counts[b->nodes[me].primary_node];
    s->link_up = !(primary->flags & NODE_FAIL);
    s->primary_port = PORT;
    (void)TEXT_COPY(s->primary_ip, span_of(b->pods[b->nodes[me].primary_node].ip));
}

const struct world *world_build_refresh(struct world_build *build)
{
    unsigned *slot_counts = ARENA_NEW(build->arena, unsigned, build->count);
    for (size_t i = 0; i < build->count; i++)
        slot_counts[i] = slot_set_count(&build->nodes[i].slots);
    for (size_t i = 0; i < build->count; i++) {
        const struct world_build_node *node = &build->nodes[i];
        struct server *s = &build->pods[i].server;
        if (s->reach != REACH_OK)
            continue;
        s->id = node->id;
        s->primary = node->primary;
        s->view = i < build->views ? build_view(build, i) : NULL;
        s->view_ms = s->view ? s->seen_ms : 0;
        s->keys = KEYS_PER_SLOT * (int64_t)slot_counts[i];
        build_cluster_info(build, i, slot_counts);
        if (!node->primary)
            build_replica(build, i, slot_counts);
        if (s->keys && !s->offset)
            s->offset = OFFSET;
    }
    return &build->world;
}
