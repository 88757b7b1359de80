/* SPDX-License-Identifier: Apache-2.0 */
#include "core/plan.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/failover.h"
#include "core/pause.h"
#include "core/place.h"
#include "core/rules.h"

/* The safety policy, read top-down. */
static const struct rule {
    const char *name;
    const char *purpose;
    enum rule_verdict (*apply)(struct planner *p);
} rules[] = {
    {"settle", "after a stall or a clock jump, only observe for a full period", rule_settle},
    {"own-settings", "the own server announces the pod's address and does not migrate replicas",
     rule_own_settings},
    {"drain", "a server that is to stop hands its slots over first", rule_drain},
    {"crash", "the slots of a server that has ended go to a replica that has all of its data",
     rule_crash},
    {"set-absent", "without its StatefulSet the cluster is left as it is", rule_set_absent},
    {"leader", "everything below is done by the holder of the Lease only", rule_leader},
    {"api", "nothing is done on a stale view of the pods", rule_api},
    {"record", "the record is read first, and put back when it was deleted by hand", rule_record},
    {"pause", "a person's pause is written to the record, and taken out when it has ended",
     rule_pause},
    {"rebirth", "a recorded cluster that is gone is formed anew, where nothing of it can come back",
     rule_rebirth},
    {"take-over", "the cluster of an earlier StatefulSet of this name goes on in the new one",
     rule_take_over},
    {"adopt", "a cluster that exists is taken over as it is, never formed again", rule_adopt},
    {"form-wait", "a cluster is formed only when every expected server answers and holds nothing",
     rule_form_wait},
    {"form-intent",
     "the whole formation is planned once and written to the record before it begins",
     rule_form_intent},
    {"form-replan", "a member that lost its id before the cluster stood gets its part anew",
     rule_form_replan},
    {"form-servers", "each member alone: quick settings, config epoch, slots", rule_form_servers},
    {"held",
     "held primaries that nobody can or does replace: their best replicas do, one at a time",
     rule_held},
    {"drain-silent", "and so does one whose own agent is silent, by the leader", rule_drain_silent},
    {"failover", "a replica takes over because a person has ordered it, by the same checks",
     rule_failover},
    {"serving", "what is not served is said before anything else", rule_serving},
    {"members", "the record follows the pods' node ids; strangers are left alone", rule_members},
    {"meet", "members that do not know each other's address are introduced", rule_meet},
    {"follow", "a replica that asks its primary's old address is pointed to the new one",
     rule_follow},
    {"chain", "a replica of a replica is pointed to the primary", rule_chain},
    {"form-acquaint", "every member must know all the others", rule_form_acquaint},
    {"form-roles", "the replicas follow their primaries", rule_form_roles},
    {"form-verify", "every member must see the whole cluster in order", rule_form_verify},
    {"form-finish", "the settings are given back, then the record says formed", rule_form_finish},
    {"restore", "settings that a formation left behind are given back", rule_restore},
    {"strangers", "nodes that are no pod of ours are told of, and forgotten once they are dead",
     rule_strangers},
    {"forget", "ids that their pods no longer have are forgotten everywhere", rule_forget},
    {"scale", "slots follow the StatefulSet's size: what moves is entered in the record first",
     rule_scale},
    {"replicate", "an empty newcomer follows the shard that needs it most", rule_replicate},
    {"place", "roles are spread over nodes and zones, one hand-over at a time", rule_place},
    {"steady", "nothing to do", rule_steady},
};

#define RULE_COUNT (sizeof rules / sizeof rules[0])

const char *plan_rule_name(size_t index)
{
    return index < RULE_COUNT ? rules[index].name : NULL;
}

const char *plan_rule_purpose(size_t index)
{
    return index < RULE_COUNT ? rules[index].purpose : NULL;
}

__attribute__((format(printf, 2, 0))) static void planner_vsay(struct planner *p, const char *fmt,
                                                               va_list args)
{
    if (p->plan->reason[0])
        return;
    p->plan->rule = p->rule;
    text_vformat(p->plan->reason, sizeof p->plan->reason, fmt, args);
}

void planner_say(struct planner *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    planner_vsay(p, fmt, args);
    va_end(args);
}

enum rule_verdict planner_wait(struct planner *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    planner_vsay(p, fmt, args);
    va_end(args);
    return RULE_STOP;
}

void planner_note(struct planner *p, const char *fmt, ...)
{
    char note[PLAN_REASON_SIZE];
    va_list args;
    va_start(args, fmt);
    text_vformat(note, sizeof note, fmt, args);
    va_end(args);
    p->note = arena_format(p->arena, "%s; %s", p->note ? p->note : "", note);
}

bool planner_is_free(const struct planner *p, size_t pod)
{
    return !p->claims[pod] || p->claims[pod] == p->rule_number;
}

bool planner_add(struct planner *p, struct action action)
{
    if (p->plan->action_count == PLAN_ACTIONS_MAX ||
        !attempts_may(p->world->attempts, action_key(&action), p->world->now_ms))
        return false;
    if (action.pod != NO_POD) {
        if (!planner_is_free(p, action.pod))
            return false;
        p->claims[action.pod] = p->rule_number;
    }
    if (!p->plan->actions) /* most turns have none, and the arena zeroes what it gives */
        p->plan->actions = ARENA_NEW(p->arena, struct action, PLAN_ACTIONS_MAX);
    p->plan->actions[p->plan->action_count++] = action;
    return true;
}

bool planner_put_record(struct planner *p, const struct record *record)
{
    for (size_t i = 0; i < p->plan->action_count; i++)
        if (p->plan->actions[i].kind == ACTION_RECORD_PUT)
            return false;
    return planner_add(p, (struct action){
                              .kind = ACTION_RECORD_PUT,
                              .authority = AUTHORITY_LEADER,
                              .pod = NO_POD,
                              .record = record,
                          });
}

struct action planner_action(const struct planner *p, enum action_kind kind, size_t pod,
                             enum authority authority)
{
    return (struct action){
        .kind = kind,
        .authority = authority,
        .pod = pod,
        .node = p->world->pods[pod].server.id,
    };
}

struct action planner_failover(const struct planner *p, const struct pod *from, size_t heir,
                               enum authority authority)
{
    struct action a = planner_action(p, ACTION_FAILOVER, heir, authority);
    a.require = REQUIRE_FOLLOWS;
    a.subject = from->server.id;
    a.port = from->port;
    a.value = p->world->pods[heir].server.vote_requests;
    text_format(a.ip, sizeof a.ip, "%s", from->ip);
    return a;
}

static size_t planner_put_pods(const struct shard *shard, size_t *pods)
{
    pods[0] = shard->primary_pod;
    for (size_t r = 0; r < shard->replica_count; r++)
        pods[1 + r] = shard->replica_pods[r];
    return 1 + shard->replica_count;
}

const char *planner_unheard(struct planner *p, const struct shard *shard, const struct shard *other,
                            int64_t since_ms)
{
    const struct world *w = p->world;
    size_t most = shard->replica_count + (other ? other->replica_count : 0) + 2;
    size_t *pods = ARENA_NEW(p->arena, size_t, most);
    size_t count = planner_put_pods(shard, pods);
    const char *why = NULL;
    if (other)
        count += planner_put_pods(other, pods + count);
    for (size_t i = 0; i < count; i++) {
        const struct pod *pod = &w->pods[pods[i]];
        bool heard = since_ms && pod->told.heard_ms >= since_ms &&
                     w->now_ms - pod->told.heard_ms <= PLACE_WORD_MS;
        if (pods[i] != w->me && !heard && !failover_is_mute(w, pod))
            why = why ? why : arena_format(p->arena, "%s is asked whether it stays", pod->name);
    }
    p->plan->stay.pods = pods;
    p->plan->stay.pod_count = count;
    return why;
}

bool planner_sees_all(struct planner *p)
{
    if (p->facts->unread)
        p->plan->wants_views = true;
    return !p->facts->unread;
}

const char *planner_count(struct planner *p, size_t count, const char *noun)
{
    return arena_format(p->arena, "%zu %s%s", count, noun, count == 1 ? "" : "s");
}

const char *planner_twins(struct planner *p)
{
    const struct index *ids = &p->facts->ids;
    for (size_t i = 1; i < ids->count; i++)
        if (strcmp(ids->entries[i - 1].key, ids->entries[i].key) == 0)
            return arena_format(p->arena,
                                "%s and %s answer with the same node id (a copied volume?)",
                                p->world->pods[ids->entries[i - 1].value].name,
                                p->world->pods[ids->entries[i].value].name);
    return NULL;
}

struct record_member planner_member(const struct pod *pod)
{
    struct record_member m = {
        .id = pod->server.id,
        .shard = NO_SHARD,
        .node_timeout_ms = pod->server.node_timeout_ms,
        .diskless_delay_s = pod->server.diskless_delay_s,
    };
    text_format(m.pod, sizeof m.pod, "%s", pod->name);
    return m;
}

struct action planner_meet(const struct planner *p, const struct pod *from, const struct pod *to)
{
    struct action a =
        planner_action(p, ACTION_MEET, (size_t)(from - p->world->pods), AUTHORITY_LEADER);
    a.subject = to->server.id;
    a.port = to->port;
    /* what the server itself says: cluster-port, or a client port that is not the bus's own */
    a.bus_port = to->server.view && to->server.view->myself ? to->server.view->myself->bus_port : 0;
    text_format(a.ip, sizeof a.ip, "%s", to->ip);
    return a;
}

static const char *planner_reach_text(const struct world *w, const struct pod *pod)
{
    const struct gate_word *word = world_gate_word(w, pod);
    if (word)
        return gate_word_text(word);
    switch (pod->server.reach) {
    case REACH_UNKNOWN:
        return "its server was not asked yet";
    case REACH_OK:
        return w->now_ms - pod->server.seen_ms > WORLD_FRESH_MS ? "its last answer is too old"
                                                                : "answers";
    case REACH_LOADING:
        return "its server is loading data";
    case REACH_REFUSED:
        return "its server does not listen yet";
    case REACH_TIMEOUT:
        return "its server does not answer";
    case REACH_DENIED:
        return "no access to its server: the log of its agent says why";
    case REACH_ERROR:
        return "its server's answer is not understood";
    }
    return "unknown";
}

/* Why a pod without an address that we can use has none. */
static const char *planner_no_address(const struct planner *p, const struct pod *pod)
{
    if (!pod->other_family)
        return "no address yet";
    return strchr(p->world->my_ip, ':') ? "has no IPv6 address, and this cluster speaks IPv6 only"
                                        : "has no IPv4 address, and this cluster speaks IPv4 only";
}

const char *planner_missing(struct planner *p, int ordinal)
{
    const struct pod *pod = world_pod_by_ordinal(p->world, ordinal);
    if (!pod)
        return arena_format(p->arena, "%s-%d (no such pod yet)", p->world->set.name, ordinal);
    const char *why = !pod->node[0] ? "not scheduled yet"
                      : !pod->ip[0] ? planner_no_address(p, pod)
                                    : planner_reach_text(p->world, pod);
    return arena_format(p->arena, "%s (%s)", pod->name, why);
}

bool planner_formed(const struct planner *p)
{
    return p->world->record && p->world->record->state == RECORD_FORMED;
}

static const struct {
    size_t members_max;
    int64_t node_timeout_ms;
} quick_timeouts[] = {{50, 500}, {60, 1990}, {SIZE_MAX, 4990}};

int64_t planner_quick_timeout_ms(size_t members, bool tls)
{
    size_t i = tls ? 1 : 0;
    while (members > quick_timeouts[i].members_max)
        i++;
    return quick_timeouts[i].node_timeout_ms;
}

bool planner_is_quick_timeout(int64_t node_timeout_ms)
{
    for (size_t i = 0; i < sizeof quick_timeouts / sizeof quick_timeouts[0]; i++)
        if (quick_timeouts[i].node_timeout_ms == node_timeout_ms)
            return true;
    return false;
}

bool planner_belongs(const struct planner *p, size_t pod)
{
    return p->world->guards_off & GUARD_MEMBER ? p->facts->fresh[pod] : p->facts->belongs[pod];
}

bool planner_forming(const struct planner *p)
{
    return p->world->record && p->world->record->state == RECORD_FORMING;
}

const struct view_node *planner_owner(const struct view *view, struct slot_range range)
{
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        for (uint32_t r = 0; r < n->range_count; r++) {
            const struct slot_range *owned = &view->ranges[n->range_first + r];
            if (owned->first <= range.first && range.first <= owned->last)
                return n;
        }
    }
    return NULL;
}

/* FACTS 1: all pairs know each other in 0.2 s; a star alone takes up to a second. */
#define MEET_ALL_PAIRS_MAX 50

bool planner_meets(size_t i, size_t j, size_t count)
{
    if (i == j)
        return false;
    if (count <= MEET_ALL_PAIRS_MAX)
        return i < j;
    return i == 0 || j == (i + 1) % count || j == (i + 2) % count;
}

bool planner_partner(size_t i, size_t k, size_t count, size_t *ret_j)
{
    if (count <= MEET_ALL_PAIRS_MAX || i == 0) {
        *ret_j = k < i ? k : k + 1;
        return *ret_j < count;
    }
    const size_t steps[] = {count - 2, count - 1, 1, 2};
    size_t partners[1 + sizeof steps / sizeof steps[0]] = {0};
    size_t known = 1;
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++)
        if ((i + steps[s]) % count != 0)
            partners[known++] = (i + steps[s]) % count;
    if (k >= known)
        return false;
    *ret_j = partners[k];
    return true;
}

int64_t plan_again_ms(const struct plan *plan)
{
    int64_t again_ms = plan->drain.again_ms;
    if (plan->crash.hold)
        return PLAN_CRASH_TICK_MS;
    if (plan->scale.slots && (!again_ms || again_ms > PLAN_MOVES_TICK_MS))
        return PLAN_MOVES_TICK_MS;
    return again_ms && again_ms < PLAN_TICK_MS ? again_ms : PLAN_TICK_MS;
}

/* Loudly: whatever else is to be said, by each agent. */
static void plan_say_paused(const struct world *world, struct plan *plan)
{
    char said[PAUSE_SAID_SIZE];
    char reason[PLAN_REASON_SIZE];
    pause_say(world, said);
    if (!said[0])
        return;
    text_format(reason, sizeof reason, "%s: %s", said, plan->reason);
    text_format(plan->reason, sizeof plan->reason, "%s", reason);
}

bool plan_asks_whether_stays(const struct plan *plan, size_t pod)
{
    for (size_t i = 0; i < plan->stay.pod_count; i++)
        if (plan->stay.pods[i] == pod)
            return true;
    return false;
}

void plan_next(const struct world *world, struct arena *arena, struct plan *ret_plan)
{
    struct facts facts;
    facts_gather(world, arena, &facts);
    *ret_plan = (struct plan){.rule = "none",
                              .drain.heir = NO_POD,
                              .crash.heir = NO_POD,
                              .takeover.heir = NO_POD,
                              .handover.heir = NO_POD,
                              .handover.from = NO_POD};
    struct planner planner = {
        .world = world,
        .facts = &facts,
        .arena = arena,
        .plan = ret_plan,
        .claims = ARENA_NEW(arena, size_t, world->pod_count),
    };
    for (size_t i = 0; i < RULE_COUNT; i++) {
        planner.rule = rules[i].name;
        planner.rule_number = i + 1;
        if (rules[i].apply(&planner) == RULE_STOP)
            break;
    }
    plan_say_paused(world, ret_plan);
}
