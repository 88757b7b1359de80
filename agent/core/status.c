/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/pause.h"
#include "core/promises.h"
#include "core/roster.h"

const char *status_state_name(enum status_state state)
{
    switch (state) {
#define X(name, text) \
    case name:        \
        return text;
        STATUS_STATES(X)
#undef X
    }
    return "unknown";
}

static const char *server_text(struct arena *arena, const struct server *s)
{
    static const char *const kinds[] = {"", "redis", "valkey"};
    if (!s->seen_ms || s->kind == SERVER_UNKNOWN)
        return "";
    return arena_format(arena, "%s %d.%d.%d", kinds[s->kind], s->version / 10000,
                        s->version / 100 % 100, s->version % 100);
}

static int64_t status_lag(const struct world *world, const struct facts *facts,
                          const struct server *replica, size_t primary)
{
    if (primary == NO_POD || !facts->fresh[primary])
        return STATUS_NUMBER_UNKNOWN;
    /* The two were asked one after the other, so the replica may seem ahead. */
    int64_t lag = world->pods[primary].server.offset - replica->offset;
    return lag > 0 ? lag : 0;
}

/* Role, id, lag: what the pod's server says if it is fresh, else what the reference view says. */
static void status_pod_role(const struct world *world, const struct facts *facts,
                            const struct roster *roster, size_t i, struct status_pod *out)
{
    const struct server *s = &world->pods[i].server;
    const struct view_node *node = roster->node_of_pod[i];
    out->lag_bytes = STATUS_NUMBER_UNKNOWN;
    if (node)
        out->node_id = node->id.hex;
    else
        out->node_id = s->id.hex;
    if (!facts->fresh[i]) {
        if (node && (node->flags & NODE_REPLICA))
            out->role = STATUS_ROLE_REPLICA;
        else if (node && node->slot_count)
            out->role = STATUS_ROLE_PRIMARY;
        return;
    }
    if (!s->primary) {
        size_t primary = node ? facts_pod_of(facts, &node->primary) : NO_POD;
        out->role = STATUS_ROLE_REPLICA;
        out->lag_bytes = status_lag(world, facts, s, primary);
        return;
    }
    out->lag_bytes = 0;
    /* A server that knows nobody and has no slots is not part of a cluster. */
    if (!facts->virgin[i] && (s->known_nodes > 1 || s->slots_assigned))
        out->role = STATUS_ROLE_PRIMARY;
}

static void status_gather_pods(const struct world *world, const struct facts *facts,
                               const struct roster *roster, struct arena *arena,
                               struct status *status)
{
    struct status_pod *pods = ARENA_NEW(arena, struct status_pod, world->pod_count);
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        const struct server *s = &pod->server;
        const struct gate_word *word = world_gate_word(world, pod);
        pods[i] = (struct status_pod){
            .name = pod->name,
            .ordinal = pod->ordinal,
            .ip = pod->ip,
            .port = pod->port,
            .node = pod->node,
            .zone = pod->zone,
            .ready = pod->ready,
            .terminating = pod->terminating,
            .memory_bytes = facts->fresh[i] ? s->memory_bytes : STATUS_NUMBER_UNKNOWN,
            .memory_max = facts->fresh[i] ? s->memory_max : STATUS_NUMBER_UNKNOWN,
            .server = server_text(arena, s),
            .agent = pod->agent,
            .gate = word ? gate_word_text(word) : "",
            .gate_why = word ? word->why : "",
            .age_ms = s->seen_ms ? world->now_ms - s->seen_ms : STATUS_NUMBER_UNKNOWN,
        };
        status_pod_role(world, facts, roster, i, &pods[i]);
    }
    status->pods = pods;
    status->pod_count = world->pod_count;
}

/* "0-5460,5462" */
static const char *slots_text(struct arena *arena, const struct view *view,
                              const struct view_node *node)
{
    size_t size = (size_t)node->range_count * sizeof "16383-16383," + 1;
    char *text = ARENA_NEW(arena, char, size);
    size_t used = 0;
    for (uint32_t i = 0; i < node->range_count; i++) {
        struct slot_range range = view->ranges[node->range_first + i];
        char *at = text + used;
        text_format(at, size - used, "%s%u", i ? "," : "", range.first);
        if (range.last != range.first)
            text_append(at, size - used, "-%u", range.last);
        used += strlen(at);
    }
    return text;
}

static const char *pod_name(const struct world *world, size_t pod)
{
    return pod == NO_POD ? "" : world->pods[pod].name;
}

static void status_open_slots(const struct world *world, const struct facts *facts, size_t pod,
                              struct arena *arena, struct status_shard *out)
{
    if (pod == NO_POD || !facts->fresh[pod] || !world->pods[pod].server.view)
        return;
    const struct view *view = world->pods[pod].server.view;
    const char **open = ARENA_NEW(arena, const char *, view->open_count);
    for (size_t i = 0; i < view->open_count; i++) {
        const struct open_slot *slot = &view->open_slots[i];
        size_t peer = facts_pod_of(facts, &slot->peer);
        open[i] = arena_format(arena, "%u %s %s", slot->slot,
                               slot->importing ? "importing from" : "migrating to",
                               peer == NO_POD ? slot->peer.hex : world->pods[peer].name);
    }
    out->open_slots = open;
    out->open_count = view->open_count;
}

/* One entry for each node with slots: its place among the shards. */
struct shard_place {
    unsigned first_slot;
    size_t node;
};

static int shard_place_cmp(const void *a, const void *b)
{
    const struct shard_place *pa = a;
    const struct shard_place *pb = b;
    return (int)pa->first_slot - (int)pb->first_slot;
}

/* The replicas of a shard are those of the view, also while they do not answer. */
static void status_shard_replicas(const struct world *world, const struct facts *facts,
                                  const struct roster *roster, const struct index *replicas,
                                  const char *primary_id, struct arena *arena,
                                  struct status_shard *out)
{
    size_t count;
    const struct index_entry *entries = index_find_all(replicas, primary_id, &count);
    const char **names = ARENA_NEW(arena, const char *, count);
    int64_t unknown = 0;
    for (size_t i = 0; i < count; i++) {
        size_t pod = entries[i].value;
        enum held in_sync = roster_in_sync(world, facts, roster, pod);
        names[i] = pod_name(world, pod);
        out->in_sync += in_sync == HELD_YES;
        unknown += in_sync == HELD_UNKNOWN;
    }
    if (unknown)
        out->in_sync = STATUS_NUMBER_UNKNOWN;
    out->replicas = names;
    out->replica_count = count;
}

/* Primary's id -> pod of a replica; of equal keys in the order of the pods. */
static struct index gather_replicas(const struct facts *facts, const struct roster *roster,
                                    struct arena *arena)
{
    const struct view *view = facts->reference;
    struct index replicas;
    index_init(&replicas, arena, view->node_count);
    for (size_t i = 0; i < view->node_count; i++)
        if ((view->nodes[i].flags & NODE_REPLICA) && roster->pod_of_node[i] != NO_POD)
            index_add(&replicas, view->nodes[i].primary.hex, roster->pod_of_node[i]);
    index_sort(&replicas);
    return replicas;
}

static void status_gather_shards(const struct world *world, const struct facts *facts,
                                 const struct roster *roster, struct arena *arena,
                                 struct status *status)
{
    const struct view *view = facts->reference;
    if (!view)
        return;
    struct shard_place *places = ARENA_NEW(arena, struct shard_place, view->node_count);
    size_t count = 0;
    for (size_t i = 0; i < view->node_count; i++)
        if (view->nodes[i].slot_count)
            places[count++] =
                (struct shard_place){view->ranges[view->nodes[i].range_first].first, i};
    if (count)
        qsort(places, count, sizeof *places, shard_place_cmp);

    const struct index replicas = gather_replicas(facts, roster, arena);
    struct status_shard *shards = ARENA_NEW(arena, struct status_shard, count);
    for (size_t i = 0; i < count; i++) {
        const struct view_node *node = &view->nodes[places[i].node];
        size_t pod = roster->pod_of_node[places[i].node];
        bool fresh = pod != NO_POD && facts->fresh[pod];
        shards[i] = (struct status_shard){
            .slots = slots_text(arena, view, node),
            .slot_count = node->slot_count,
            .keys = fresh ? world->pods[pod].server.keys : STATUS_NUMBER_UNKNOWN,
            .primary = pod_name(world, pod),
        };
        status_open_slots(world, facts, pod, arena, &shards[i]);
        status_shard_replicas(world, facts, roster, &replicas, node->id.hex, arena, &shards[i]);
    }
    status->shards = shards;
    status->shard_count = count;
}

static void status_gather_plan(const struct plan *plan, struct arena *arena, struct status *status)
{
    const char **actions = ARENA_NEW(arena, const char *, plan->action_count);
    for (size_t i = 0; i < plan->action_count; i++) {
        char text[128];
        action_format(&plan->actions[i], text, sizeof text);
        actions[i] = arena_format(arena, "%s", text);
    }
    status->plan_rule = plan->rule;
    status->plan_reason = plan->reason;
    status->plan_actions = actions;
    status->plan_action_count = plan->action_count;
}

static int64_t highest_epoch(const struct world *world, const struct facts *facts)
{
    uint64_t epoch = 0;
    for (size_t i = 0; i < world->pod_count; i++)
        if (facts->fresh[i] && world->pods[i].server.current_epoch > epoch)
            epoch = world->pods[i].server.current_epoch;
    return epoch > INT64_MAX ? INT64_MAX : (int64_t)epoch;
}

/* What stands above the tables; the promises are judged already. */
static void status_gather_cluster(const struct world *world, const struct facts *facts,
                                  const struct survival *survival, struct status *status)
{
    const struct record *record = world->record ? world->record : world->record_copy;
    status->pod = world->my_pod;
    status->is_leader = world->leader;
    status->name = world->set.name;
    status->uid = record ? record->uid : "";
    status->replicas = world->set.known ? world->set.replicas : (int64_t)world->pod_count;
    status->replicas_per_primary = world->replicas_per_primary;
    status->formed = record && record->state == RECORD_FORMED;
    status->slots_covered = facts->slots_covered;
    status->epoch = highest_epoch(world, facts);
    status->survives_node = survival->node;
    status->survives_zone = survival->zone;
    status->weakest = survival->weakest;
    status->leader = world->leader_pod;
}

static void status_gather_pause(const struct world *world, struct status *status)
{
    const struct record_pause *pause = pause_of(world);
    bool since = pause && pause->since_unix_ms;
    bool until = pause && pause->until_unix_ms;
    bool unread = world->record_presence == PRESENCE_UNKNOWN && !world->record_copy;
    status->paused = pause ? HELD_YES : unread ? HELD_UNKNOWN : HELD_NO;
    status->pause_reason = pause ? pause->reason : "";
    status->paused_since_unix_ms = since ? pause->since_unix_ms : STATUS_NUMBER_UNKNOWN;
    status->paused_until_unix_ms = until ? pause->until_unix_ms : STATUS_NUMBER_UNKNOWN;
}

static enum status_state status_judge(const struct world *world, const struct facts *facts,
                                      const struct status *status)
{
    const struct record *record = world->record ? world->record : world->record_copy;
    const struct promise *p = status->promises;
    if (record && record->state == RECORD_FORMING)
        return STATUS_FORMING;
    if (!status->formed && !facts->shard_count) {
        bool told = facts->reference && world->record_presence != PRESENCE_UNKNOWN;
        return told ? STATUS_FORMING : STATUS_UNKNOWN;
    }
    if (p[PROMISE_SLOTS].held == HELD_NO || p[PROMISE_MAJORITY].held == HELD_NO)
        return STATUS_DOWN;
    if (p[PROMISE_SLOTS].held != HELD_YES || p[PROMISE_MAJORITY].held != HELD_YES)
        return STATUS_UNKNOWN;
    for (int kind = PROMISE_SERVERS; kind <= PROMISE_MOVES; kind++)
        if (p[kind].held == HELD_NO)
            return STATUS_DEGRADED;
    return STATUS_OK;
}

void status_gather(const struct world *world, const struct facts *facts, const struct plan *plan,
                   struct arena *arena, struct status *ret_status)
{
    struct roster roster;
    struct survival survival;
    *ret_status = (struct status){0};
    roster_gather(world, facts, arena, &roster);
    survival_judge(world, facts, &roster, arena, &survival);
    status_gather_cluster(world, facts, &survival, ret_status);
    status_gather_pause(world, ret_status);
    status_gather_plan(plan, arena, ret_status);
    status_gather_pods(world, facts, &roster, arena, ret_status);
    status_gather_shards(world, facts, &roster, arena, ret_status);
    promises_judge(world, facts, &roster, &survival, arena, ret_status->promises);
    ret_status->check = status_check(ret_status->promises);
    ret_status->state = status_judge(world, facts, ret_status);
}
