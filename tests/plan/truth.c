/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/truth.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "lib/world_build.h"

static void truth_pod(struct truth *t, size_t i)
{
    struct pod *pod = &t->pods[i];
    char place = (char)('a' + i % 3);
    text_format(pod->name, sizeof pod->name, "muster-%zu", i);
    text_format(pod->uid, sizeof pod->uid, "%08zx-0000-4000-8000-000000000003", i);
    text_format(pod->ip, sizeof pod->ip, "10.0.%zu.%zu", (i + 1) / 256, (i + 1) % 256);
    text_format(pod->node, sizeof pod->node, "node-%c", place);
    text_format(pod->zone, sizeof pod->zone, "zone-%c", place);
    pod->ordinal = (int)i;
    pod->port = TRUTH_PORT;
    pod->ready = true;
    pod->updated = true;
    pod->agent = AGENT_OK;
    pod->agent_seen_ms = TRUTH_NOW_MS;
    pod->server = (struct server){
        .reach = REACH_OK,
        .asked_ms = TRUTH_NOW_MS - 200,
        .seen_ms = TRUTH_NOW_MS - 200,
        .settings_ms = TRUTH_NOW_MS,
        .view_ms = TRUTH_NOW_MS - 200,
        .kind = SERVER_REDIS,
        .version = 70015,
        .uptime_ms = 60000,
        .cluster_enabled = true,
        .node_timeout_ms = TRUTH_NODE_TIMEOUT_MS,
        .diskless_delay_s = TRUTH_DISKLESS_DELAY_S,
        .replica_migration = 0,
        .link_up = true,
    };
    text_format(pod->server.announce_ip, sizeof pod->server.announce_ip, "%s", pod->ip);
    t->listed[i] = true;
}

static void truth_start_world(struct truth *t)
{
    t->world = (struct world){
        .now_ms = TRUTH_NOW_MS,
        .leader = true,
        .leader_pod = "muster-0",
        .my_pod = "muster-0",
        .api_seen_ms = TRUTH_NOW_MS - 500,
        .set = {.known = true,
                .name = "muster",
                .uid = TRUTH_SET_UID,
                .generation = 1,
                .replicas = (int)t->pod_count,
                .volumes = true},
        .replicas_per_primary = 1,
        .record_presence = PRESENCE_ABSENT,
        .attempts = t->attempts,
        .entropy = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)},
    };
}

/* Shard of pod `i`: the primaries come first; round r of the replicas is shifted by r + 1. */
static size_t truth_shard(size_t i, size_t shards)
{
    assert(shards > 0);
    return i < shards ? i : (i + i / shards) % shards;
}

static void truth_intent(struct truth *t, size_t shards, enum record_state state)
{
    t->record = (struct record){
        .version = RECORD_VERSION,
        .uid = TRUTH_CLUSTER_UID,
        .generation = 1,
        .set_uid = TRUTH_SET_UID,
        .state = state,
        .shards = (uint16_t)shards,
        .members = t->members,
        .member_count = t->pod_count,
        .forget = t->forget,
    };
    for (size_t i = 0; i < t->pod_count; i++) {
        t->members[i] = (struct record_member){
            .id = world_build_id(i),
            .shard = (uint16_t)truth_shard(i, shards),
            .primary = i < shards,
            .epoch = i + 1,
            .node_timeout_ms = TRUTH_NODE_TIMEOUT_MS,
            .diskless_delay_s = TRUTH_DISKLESS_DELAY_S,
        };
        text_format(t->members[i].pod, sizeof t->members[i].pod, "%s", t->pods[i].name);
    }
    t->world.record_presence = PRESENCE_PRESENT;
}

static void truth_advance(struct truth *t, size_t i, size_t shards, enum truth_stage stage)
{
    struct truth_node *n = &t->nodes[i];
    struct server *s = &t->pods[i].server;
    if (stage >= TRUTH_PREPARED) {
        n->epoch = i + 1;
        if (i < shards)
            slot_set_add(&n->slots, slots_of_shard((unsigned)i, (unsigned)shards));
        if (stage < TRUTH_RESTORED) {
            s->node_timeout_ms = 500;
            s->diskless_delay_s = 0;
        }
    }
    if (stage >= TRUTH_MET)
        n->component = 0;
    if (stage >= TRUTH_PLACED && i >= shards) {
        n->primary = false;
        n->follows = t->nodes[truth_shard(i, shards)].id;
    }
    if (stage == TRUTH_FORMED)
        s->keys = TRUTH_KEYS;
}

struct truth *truth_new(struct arena *arena, size_t pods, size_t shards, enum truth_stage stage)
{
    assert(shards > 0 && shards <= pods);
    struct truth *t = ARENA_NEW(arena, struct truth, 1);
    t->arena = arena;
    t->pod_count = pods;
    t->viewers = pods;
    t->pods = ARENA_NEW(arena, struct pod, pods);
    t->listed = ARENA_NEW(arena, bool, pods);
    t->nodes = ARENA_NEW(arena, struct truth_node, 2 * pods + 2);
    t->edits = ARENA_NEW(arena, struct truth_edit, TRUTH_EDITS_MAX);
    t->members = ARENA_NEW(arena, struct record_member, 2 * pods + 2);
    t->forget = ARENA_NEW(arena, struct node_id, 2 * pods + 2);
    t->left = ARENA_NEW(arena, struct record_left, 2 * pods + 2);
    t->attempts = ARENA_NEW(arena, struct attempts, 1);
    truth_start_world(t);
    for (size_t i = 0; i < pods; i++) {
        truth_pod(t, i);
        truth_node(t, world_build_id(i))->pod = i;
        text_format(t->nodes[i].ip, IP_SIZE, "%s", t->pods[i].ip);
    }
    for (size_t i = 0; i < pods; i++)
        truth_advance(t, i, shards, stage);
    if (stage != TRUTH_VIRGIN)
        truth_intent(t, shards, stage == TRUTH_FORMED ? RECORD_FORMED : RECORD_FORMING);
    return t;
}

struct truth_node *truth_node(struct truth *truth, struct node_id id)
{
    for (size_t i = 0; i < truth->node_count; i++)
        if (node_id_eq(&truth->nodes[i].id, &id))
            return &truth->nodes[i];
    assert(truth->node_count < 2 * truth->pod_count + 2);
    size_t i = truth->node_count++;
    truth->nodes[i] = (struct truth_node){
        .id = id, .pod = NO_POD, .component = (unsigned)i + 1, .primary = true, .link = true};
    return &truth->nodes[i];
}

struct truth_node *truth_node_of(struct truth *truth, size_t pod)
{
    for (size_t i = 0; i < truth->node_count; i++)
        if (truth->nodes[i].pod == pod)
            return &truth->nodes[i];
    return NULL;
}

void truth_renew(struct truth *truth, size_t pod, struct node_id id)
{
    struct truth_node *old = truth_node_of(truth, pod);
    if (old)
        old->pod = NO_POD;
    struct truth_node *fresh = truth_node(truth, id);
    fresh->pod = pod;
    text_format(fresh->ip, sizeof fresh->ip, "%s", truth->pods[pod].ip);
    truth->pods[pod].server.keys = 0;
}

struct truth_edit *truth_edit(struct truth *truth, size_t viewer, struct node_id id)
{
    for (size_t i = 0; i < truth->edit_count; i++)
        if (truth->edits[i].viewer == viewer && node_id_eq(&truth->edits[i].id, &id))
            return &truth->edits[i];
    assert(truth->edit_count < TRUTH_EDITS_MAX);
    struct truth_edit *edit = &truth->edits[truth->edit_count++];
    *edit = (struct truth_edit){.viewer = viewer, .id = id};
    return edit;
}
