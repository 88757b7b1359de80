/* SPDX-License-Identifier: Apache-2.0 */
#include "core/promises.h"

#include "core/pause.h"

#define ASKS_FEW "this agent does not ask every server"

struct judge {
    const struct world *world;
    const struct facts *facts;
    const struct roster *roster;
    const struct survival *survival;
    struct arena *arena;
};

const char *promise_key(enum promise_kind kind)
{
    switch (kind) {
#define X(name, key, text) \
    case name:             \
        return key;
        STATUS_PROMISES(X)
#undef X
    case PROMISE_COUNT:
        break;
    }
    return "unknown";
}

const char *promise_text(enum promise_kind kind)
{
    switch (kind) {
#define X(name, key, text) \
    case name:             \
        return text;
        STATUS_PROMISES(X)
#undef X
    case PROMISE_COUNT:
        break;
    }
    return "unknown";
}

static struct promise held(void)
{
    return (struct promise){HELD_YES, ""};
}

static struct promise unknown(const char *why)
{
    return (struct promise){HELD_UNKNOWN, why};
}

static struct promise broken(const char *why)
{
    return (struct promise){HELD_NO, why};
}

/* Nothing listens on any pod that should have a server: evidence, where silence is none. */
static bool all_refuse(const struct judge *j)
{
    for (size_t i = 0; i < j->world->pod_count; i++)
        if (j->world->pods[i].server.reach != REACH_REFUSED)
            return false;
    return j->world->pod_count > 0 && j->roster->complete;
}

static struct promise judge_slots(const struct judge *j)
{
    if (!j->facts->reference)
        return all_refuse(j) ? broken("no server is running") : unknown("no server answers");
    if (j->facts->slots_covered != SLOT_COUNT)
        return broken(arena_format(j->arena, "%u of %u slots are served", j->facts->slots_covered,
                                   SLOT_COUNT));
    /* A cluster is served by those who say so: a server in a minority refuses every command. */
    for (size_t i = 0; i < j->world->pod_count; i++)
        if (j->facts->fresh[i] && j->world->pods[i].server.state_ok)
            return held();
    return broken("every server that answers says cluster_state:fail");
}

/* Whether the primary may take part in votes, as far as is known. */
static bool primary_votes(const struct judge *j, size_t node)
{
    if (j->facts->reference->nodes[node].flags & (NODE_FAIL | NODE_PFAIL))
        return false;
    /* Silence is left to the servers' own judgement (their flags); a closed port is known here. */
    size_t pod = j->roster->pod_of_node[node];
    return pod == NO_POD || j->roster->up[pod] != HELD_NO ||
           j->world->pods[pod].server.reach != REACH_REFUSED;
}

static struct promise judge_majority(const struct judge *j)
{
    const struct view *view = j->facts->reference;
    if (!view)
        return all_refuse(j) ? broken("no server is running") : unknown("no server answers");
    size_t size = 0;
    size_t voting = 0;
    for (size_t i = 0; i < view->node_count; i++) {
        if (!view->nodes[i].slot_count)
            continue;
        size++;
        voting += primary_votes(j, i);
    }
    if (!size)
        return broken("no primary has slots");
    if (voting > size / 2)
        return held();
    return broken(arena_format(j->arena, "%zu of %zu primaries are up, %zu are needed", voting,
                               size, size / 2 + 1));
}

static const char *why_absent(const struct judge *j, const struct pod *pod)
{
    if (!pod)
        return "has no pod";
    if (!pod->ip[0])
        return "has no address yet";
    const struct view_node *node = j->roster->node_of_pod[pod - j->world->pods];
    bool asked = pod->server.reach != REACH_UNKNOWN && pod->server.reach != REACH_OK;
    if (!asked && node && (node->flags & NODE_FAIL))
        return "has failed, say the others";
    switch (pod->server.reach) {
    case REACH_UNKNOWN:
        return "was not asked";
    case REACH_OK:
        return "did not answer lately";
    case REACH_LOADING:
        return "is loading its data";
    case REACH_REFUSED:
        return "refuses connections";
    case REACH_TIMEOUT:
        return "does not answer";
    case REACH_DENIED:
        return "denies access";
    case REACH_ERROR:
        return "answers something that is not understood";
    }
    return "is in an unknown state";
}

static struct promise judge_servers(const struct judge *j)
{
    const struct world *w = j->world;
    size_t lost = 0;
    const char *why = NULL;
    if (!w->set.known)
        return unknown("the StatefulSet is not known");
    for (size_t ordinal = 0; ordinal < j->facts->expected; ordinal++) {
        const struct pod *pod = world_pod_by_ordinal(w, (int)ordinal);
        if (pod && j->roster->up[pod - w->pods] != HELD_NO)
            continue;
        if (!lost++)
            why = arena_format(j->arena, "%s-%zu %s", w->set.name, ordinal, why_absent(j, pod));
    }
    if (lost)
        return broken(
            arena_format(j->arena, "%zu of %zu are missing: %s", lost, j->facts->expected, why));
    return j->roster->complete ? held() : unknown(ASKS_FEW);
}

static struct promise judge_replicas(const struct judge *j)
{
    const struct world *w = j->world;
    if (!j->facts->shard_count)
        return unknown("no shard is known");
    if (!j->roster->complete)
        return unknown(ASKS_FEW);
    for (size_t s = 0; s < j->facts->shard_count; s++) {
        const struct shard *shard = &j->facts->shards[s];
        int in_sync = 0;
        for (size_t i = 0; i < shard->replica_count; i++)
            in_sync += roster_in_sync(w, j->facts, j->roster, shard->replica_pods[i]) == HELD_YES;
        if (in_sync >= w->replicas_per_primary)
            continue;
        return broken(arena_format(j->arena, "shard %u-%u of %s has %d of %d in sync",
                                   shard->first_range.first, shard->first_range.last,
                                   shard->primary_pod == NO_POD ? "a lost primary"
                                                                : w->pods[shard->primary_pod].name,
                                   in_sync, w->replicas_per_primary));
    }
    return held();
}

/* A server may refuse what the others serve, as a primary does for two seconds after its start. */
static const struct pod *find_refusing(const struct judge *j)
{
    for (size_t i = 0; i < j->world->pod_count; i++)
        if (j->facts->fresh[i] && !j->world->pods[i].server.state_ok)
            return &j->world->pods[i];
    return NULL;
}

static struct promise judge_agreement(const struct judge *j)
{
    const struct pod *refusing = find_refusing(j);
    if (!j->facts->views)
        return unknown("no server's view is known");
    if (j->facts->reference_votes < j->facts->views)
        return broken(arena_format(j->arena, "%zu of %zu views differ from the most common one",
                                   j->facts->views - j->facts->reference_votes, j->facts->views));
    if (refusing)
        return broken(arena_format(j->arena, "%s says cluster_state:fail", refusing->name));
    if (j->world->record && j->world->record->state == RECORD_FORMING)
        return broken("the formation is not finished");
    return j->roster->complete ? held() : unknown(ASKS_FEW);
}

static struct promise judge_moves(const struct judge *j)
{
    for (size_t i = 0; i < j->world->pod_count; i++) {
        const struct pod *pod = &j->world->pods[i];
        if (!j->facts->fresh[i] || !pod->server.view || !pod->server.view->open_count)
            continue;
        return broken(arena_format(j->arena, "slot %u is open on %s",
                                   pod->server.view->open_slots[0].slot, pod->name));
    }
    return j->roster->complete ? held() : unknown(ASKS_FEW);
}

static struct promise judge_memory(const struct judge *j)
{
    const char *missing = NULL;
    for (size_t s = 0; s < j->facts->shard_count; s++) {
        size_t pod = j->facts->shards[s].primary_pod;
        if (pod == NO_POD) {
            missing = j->roster->complete ? "a primary does not answer" : ASKS_FEW;
            continue;
        }
        const struct server *server = &j->world->pods[pod].server;
        if (server_nears_limit(server))
            return broken(
                arena_format(j->arena, "%s uses %lld of at most %lld bytes and evicts nothing",
                             j->world->pods[pod].name, (long long)server_counted_memory(server),
                             (long long)server->memory_max));
        if (!missing && server->refuses_full && server->memory_max < 0)
            missing =
                arena_format(j->arena, "%s does not say its maxmemory", j->world->pods[pod].name);
    }
    if (!j->facts->shard_count)
        return unknown("no shard is known");
    return missing ? unknown(missing) : held();
}

/* Who cannot write refuses its clients' writes as a rule (MISCONF), and loses them else. */
static struct promise judge_disk(const struct judge *j)
{
    const struct pod *missing = NULL;
    for (size_t i = 0; i < j->world->pod_count; i++) {
        const struct pod *pod = &j->world->pods[i];
        const struct server *server = &pod->server;
        if (!j->facts->fresh[i])
            continue;
        if (server->aof == 1 && !server->aof_written)
            return broken(arena_format(
                j->arena, "the last write of %s to its AOF failed: is its disk full?", pod->name));
        if (server->rdb_saves == 1 && !server->rdb_written)
            return broken(arena_format(
                j->arena, "the last snapshot of %s failed: is its disk full?", pod->name));
        if (server->aof < 0 || server->rdb_saves < 0)
            missing = pod;
    }
    if (!j->roster->complete)
        return unknown(ASKS_FEW);
    return missing ? unknown(arena_format(j->arena, "%s does not say what it writes to its disk",
                                          missing->name))
                   : held();
}

static struct promise judge_node_loss(const struct judge *j)
{
    return (struct promise){j->survival->node, j->survival->node_why};
}

static struct promise judge_zone_loss(const struct judge *j)
{
    if (j->survival->zones == 1)
        return (struct promise){HELD_NOT_APPLICABLE, "all pods are in one zone"};
    return (struct promise){j->survival->zone, j->survival->zone_why};
}

static struct promise judge_leader(const struct judge *j)
{
    if (j->world->leader_pod[0])
        return held();
    if (j->world->arbiter == ARBITER_HOSTS)
        return broken(j->world->leader_why);
    return world_api_fresh(j->world) ? broken("no agent holds the Lease")
                                     : unknown("the Lease cannot be read");
}

static struct promise judge_agents(const struct judge *j)
{
    bool all_known = true;
    for (size_t i = 0; i < j->world->pod_count; i++) {
        const struct pod *pod = &j->world->pods[i];
        if (pod->agent == AGENT_SILENT)
            return broken(arena_format(j->arena, "the agent of %s is silent", pod->name));
        if (pod->agent == AGENT_UNKNOWN)
            all_known = false;
    }
    return all_known ? held() : unknown("this agent does not ask every agent");
}

static struct promise judge_api(const struct judge *j)
{
    if (j->world->arbiter == ARBITER_HOSTS)
        return (struct promise){HELD_NOT_APPLICABLE, "without Kubernetes"};
    if (world_api_fresh(j->world))
        return held();
    if (!j->world->api_seen_ms)
        return broken("it has not answered since this agent's start");
    return broken(arena_format(j->arena, "it was heard %lld s ago",
                               (long long)(j->world->now_ms - j->world->api_seen_ms) / 1000));
}

static struct promise judge_pause(const struct judge *j)
{
    const struct world *w = j->world;
    const struct record_pause *pause = pause_of(w);
    char said[PAUSE_SAID_SIZE];
    if (!pause)
        return w->record_presence == PRESENCE_UNKNOWN && !w->record_copy
                   ? unknown("the record was not read yet")
                   : held();
    pause_say(w, said);
    if (!pause->until_unix_ms)
        return broken(arena_format(j->arena, "%s; it has no end: `muster resume`", said));
    return broken(arena_format(j->arena, "%s; it ends by itself in %d min, or by `muster resume`",
                               said, pause_minutes_left(pause, w->now_unix_ms)));
}

void promises_judge(const struct world *world, const struct facts *facts,
                    const struct roster *roster, const struct survival *survival,
                    struct arena *arena, struct promise ret_promises[PROMISE_COUNT])
{
    static struct promise (*const judges[PROMISE_COUNT])(const struct judge *) = {
        [PROMISE_SLOTS] = judge_slots,
        [PROMISE_MAJORITY] = judge_majority,
        [PROMISE_SERVERS] = judge_servers,
        [PROMISE_REPLICAS] = judge_replicas,
        [PROMISE_AGREEMENT] = judge_agreement,
        [PROMISE_MOVES] = judge_moves,
        [PROMISE_MEMORY] = judge_memory,
        [PROMISE_DISK] = judge_disk,
        [PROMISE_NODE_LOSS] = judge_node_loss,
        [PROMISE_ZONE_LOSS] = judge_zone_loss,
        [PROMISE_LEADER] = judge_leader,
        [PROMISE_AGENTS] = judge_agents,
        [PROMISE_API] = judge_api,
        [PROMISE_PAUSE] = judge_pause,
    };
    const struct judge j = {world, facts, roster, survival, arena};
    for (int kind = 0; kind < PROMISE_COUNT; kind++)
        ret_promises[kind] = judges[kind](&j);
}

enum check status_check(const struct promise promises[PROMISE_COUNT])
{
    enum held slots = promises[PROMISE_SLOTS].held;
    enum held majority = promises[PROMISE_MAJORITY].held;
    if (slots == HELD_NO || majority == HELD_NO)
        return CHECK_BROKEN;
    if (slots == HELD_UNKNOWN || majority == HELD_UNKNOWN)
        return CHECK_UNKNOWN;
    bool unknown_left = false;
    for (int kind = 0; kind < PROMISE_COUNT; kind++) {
        if (promises[kind].held == HELD_NO)
            return CHECK_PROMISE;
        if (promises[kind].held == HELD_UNKNOWN)
            unknown_left = true;
    }
    return unknown_left ? CHECK_UNKNOWN : CHECK_HEALTHY;
}
