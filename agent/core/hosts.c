/* SPDX-License-Identifier: Apache-2.0 */
#include "core/hosts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/text.h"

/* cluster-node-timeout while it was not read yet: Redis's default. */
#define HOSTS_NODE_TIMEOUT_MS 15000

__attribute__((format(printf, 2, 3))) static void hosts_say(struct hosts_verdict *verdict,
                                                            const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    text_vformat(verdict->why, sizeof verdict->why, fmt, args);
    va_end(args);
}

static bool hosts_heard(const struct world *w, size_t pod)
{
    int64_t heard_ms = w->pods[pod].word.heard_ms;
    return pod == w->me || (heard_ms && w->now_ms - heard_ms <= HOSTS_HEARD_MS);
}

static const struct host_word *hosts_mine(const struct world *w)
{
    return &w->pods[w->me].word;
}

static size_t hosts_pod_of(const struct world *w, size_t member)
{
    const struct pod *pod = world_pod_by_name(w, w->record->members[member].pod);
    return pod ? (size_t)(pod - w->pods) : NO_POD;
}

bool hosts_should_take(const struct host_word *mine, const struct host_word *theirs)
{
    if (theirs->generation <= mine->generation)
        return false;
    return mine->state != RECORD_FORMED || theirs->state == RECORD_FORMED;
}

bool hosts_may_take(const struct record *mine, const struct record *theirs, bool empty,
                    const char **ret_why)
{
    bool same = mine && strcmp(mine->uid, theirs->uid) == 0;
    *ret_why = NULL;
    if (mine && theirs->generation <= mine->generation)
        *ret_why = "it is not newer than ours";
    else if (mine && mine->state == RECORD_FORMED && !same)
        *ret_why = "it is of another cluster than ours";
    else if (mine && mine->state == RECORD_FORMED && theirs->state != RECORD_FORMED)
        *ret_why = "our cluster is formed already";
    else if (mine && !same && !empty)
        *ret_why = "our server was already prepared for another one";
    return !*ret_why;
}

bool hosts_none_recorded(const struct world *w)
{
    size_t expected = 0;
    for (size_t i = 0; i < w->pod_count; i++) {
        if (w->pods[i].ordinal >= w->set.replicas)
            continue;
        expected++;
        if (!hosts_heard(w, i) || w->pods[i].word.generation)
            return false;
    }
    return w->me != NO_POD && expected == (size_t)w->set.replicas && hosts_mine(w)->set;
}

/* Every agent on the list was heard to expect this very list. False: the verdict says who was not. */
static bool hosts_agree(const struct world *w, struct hosts_verdict *verdict)
{
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        if (pod->ordinal >= w->set.replicas)
            continue;
        if (!hosts_heard(w, i)) {
            hosts_say(verdict, "forming needs all %d agents: the one of %s at %s does not answer",
                      w->set.replicas, pod->name, pod->ip[0] ? pod->ip : "no known address");
            return false;
        }
        if (pod->word.set != hosts_mine(w)->set) {
            hosts_say(verdict,
                      "the agent of %s expects other servers than this one: every agent must be "
                      "given and see the same list, cluster.size and cluster.replicasPerPrimary",
                      pod->name);
            return false;
        }
    }
    return true;
}

static void hosts_unformed(const struct world *w, struct hosts_verdict *verdict)
{
    for (size_t i = 0; i < w->pod_count; i++) {
        if (i == w->me || !hosts_heard(w, i) || !w->pods[i].word.generation)
            continue;
        hosts_say(verdict, "taking the record from the agent of %s", w->pods[i].name);
        return;
    }
    if (!hosts_mine(w)->set) {
        hosts_say(verdict, "%s", w->hosts_problem);
        return;
    }
    verdict->leader_pod = 0;
    if (w->me != 0) {
        hosts_say(verdict, "following %s, which is the first of %d servers and forms the cluster",
                  w->pods[0].name, w->set.replicas);
        return;
    }
    verdict->watch = true;
    verdict->leader = hosts_agree(w, verdict);
}

/* ---- who is passed over ---- */

static int64_t hosts_passed_since(const struct hosts_state *state, const char *name)
{
    for (size_t i = 0; i < state->passed_count; i++)
        if (strcmp(state->passed[i].name, name) == 0)
            return state->passed[i].since_ms;
    return 0;
}

/* Our server's view of a member; NULL if there is none or it does not list it. */
static const struct view_node *hosts_seen(const struct world *w, const struct node_id *id)
{
    const struct pod *me = &w->pods[w->me];
    return world_view_fresh(w, me) ? view_find(me->server.view, id) : NULL;
}

/* Held for failed by the majority, as Redis has it; or its agent cannot act for it. */
static bool hosts_is_out(const struct world *w, size_t member)
{
    size_t pod = hosts_pod_of(w, member);
    const struct node_id *id = &w->record->members[member].id;
    if (pod == w->me)
        return false;
    if (pod == NO_POD || !hosts_heard(w, pod))
        return true;
    if (w->record->state != RECORD_FORMED)
        return false;
    const struct node_id *says = &w->pods[pod].word.id;
    const struct view_node *n = hosts_seen(w, id);
    return (node_id_is_set(says) && !node_id_eq(says, id)) ||
           (n && n->flags & (NODE_FAIL | NODE_NOADDR));
}

/* The first member that was not passed over for long enough; its index, or NO_POD. */
static size_t hosts_first(struct hosts_state *state, const struct world *w, int64_t limit_ms)
{
    struct hosts_passed now[NODES_MAX];
    size_t count = 0;
    size_t first = NO_POD;
    for (size_t i = 0; i < w->record->member_count && i < NODES_MAX; i++) {
        const char *name = w->record->members[i].pod;
        if (!hosts_is_out(w, i)) {
            first = first == NO_POD ? i : first;
            continue;
        }
        struct hosts_passed *passed = &now[count++];
        int64_t since_ms = hosts_passed_since(state, name);
        text_format(passed->name, sizeof passed->name, "%s", name);
        passed->since_ms = since_ms ? since_ms : w->now_ms;
        if (w->now_ms - passed->since_ms < limit_ms && first == NO_POD)
            first = i;
    }
    if (count)
        memcpy(state->passed, now, count * sizeof *now);
    state->passed_count = count;
    return first;
}

/* Whether this agent's member is the first; else the verdict says who is. */
static bool hosts_is_first(struct hosts_state *state, const struct world *w, int64_t limit_ms,
                           struct hosts_verdict *verdict)
{
    size_t first = hosts_first(state, w, limit_ms);
    if (first == NO_POD) {
        hosts_say(verdict, "no member of the record answers");
        return false;
    }
    const char *name = w->record->members[first].pod;
    verdict->leader_pod = hosts_pod_of(w, first);
    if (verdict->leader_pod == w->me)
        return verdict->watch = true;
    if (hosts_passed_since(state, name))
        hosts_say(verdict, "following %s, which is not well: passed over after %d s of that", name,
                  (int)(limit_ms / 1000));
    else
        hosts_say(verdict, "following %s, which leads", name);
    return false;
}

/* ---- copies ---- */

static void hosts_follow_copy(struct hosts_state *state, const struct world *w)
{
    if (state->record == hosts_mine(w)->record)
        return;
    state->record = hosts_mine(w)->record;
    memset(state->acked, 0, sizeof state->acked);
    state->acked_ms = 0;
}

/* How the agents of the members stand to the own copy. */
struct hosts_copies {
    size_t holding;          /* so many are heard to hold it now */
    const struct pod *newer; /* one that is heard to hold a later one */
    bool rival;              /* one is heard to hold another of the same generation */
    bool left;               /* a member is not on the list any more */
};

static struct hosts_copies hosts_compare(struct hosts_state *state, const struct world *w)
{
    struct hosts_copies copies = {0};
    for (size_t i = 0; i < w->record->member_count && i < NODES_MAX; i++) {
        size_t pod = hosts_pod_of(w, i);
        copies.left |= pod == NO_POD;
        if (pod == NO_POD || !hosts_heard(w, pod))
            continue;
        const struct host_word *word = &w->pods[pod].word;
        state->acked[i] = word->record == state->record;
        copies.holding += state->acked[i];
        if (state->acked[i])
            continue;
        if (hosts_should_take(hosts_mine(w), word))
            copies.newer = &w->pods[pod];
        else if (word->generation >= hosts_mine(w)->generation)
            copies.rival = true;
    }
    if (!copies.rival && !copies.left)
        state->disputed_ms = 0;
    else if (!state->disputed_ms)
        state->disputed_ms = w->now_ms;
    return copies;
}

/* The first member that was never heard to hold the own copy; NULL if there is none. */
static const struct record_member *hosts_unacked(struct hosts_state *state, const struct world *w)
{
    for (size_t i = 0; i < w->record->member_count && i < NODES_MAX; i++) {
        if (!state->acked[i]) {
            state->acked_ms = 0;
            return &w->record->members[i];
        }
    }
    if (!state->acked_ms)
        state->acked_ms = w->now_ms;
    return NULL;
}

static bool hosts_is_behind(const struct hosts_copies *copies, struct hosts_verdict *verdict)
{
    if (copies->newer)
        hosts_say(verdict, "taking a newer record from the agent of %s", copies->newer->name);
    return copies->newer;
}

/* An intent that cannot be carried out: the first of an agreed list plans anew. */
static void hosts_dispute(const struct hosts_state *state, const struct world *w,
                          const struct hosts_copies *copies, struct hosts_verdict *verdict)
{
    bool formed = false;
    for (size_t i = 0; i < w->pod_count; i++)
        formed |= hosts_heard(w, i) && w->pods[i].word.state == RECORD_FORMED;
    hosts_say(verdict, "forming: %s: nothing is carried out",
              copies->rival ? "the agents hold different plans"
                            : "a server of the plan is not on the list of servers any more");
    if (formed || w->me != 0 || !hosts_mine(w)->set)
        return;
    verdict->watch = true;
    if (w->now_ms - state->disputed_ms >= HOSTS_DISPUTE_MS && hosts_agree(w, verdict)) {
        verdict->leader = verdict->anew = true;
        verdict->why[0] = '\0';
    }
}

static void hosts_forming(struct hosts_state *state, const struct world *w,
                          struct hosts_verdict *verdict)
{
    struct hosts_copies copies = hosts_compare(state, w);
    const struct record_member *unacked = hosts_unacked(state, w);
    if (copies.rival || copies.left) {
        hosts_dispute(state, w, &copies, verdict);
        return;
    }
    if (!hosts_is_first(state, w, HOSTS_SILENT_MS, verdict) || hosts_is_behind(&copies, verdict))
        return;
    int64_t stood_ms = w->now_ms - state->acked_ms;
    if (unacked)
        hosts_say(verdict, "forming: waiting for the agent of %s to take the plan", unacked->pod);
    else if (copies.holding <= w->record->member_count / 2)
        hosts_say(verdict, "forming: only %zu of %zu agents answer", copies.holding,
                  w->record->member_count);
    else if (w->record->generation > 1 && stood_ms < (int64_t)2 * HOSTS_HEARD_MS)
        hosts_say(verdict,
                  "forming: generation %" PRId64 " begins when the one before is surely "
                  "given up",
                  w->record->generation);
    else
        verdict->leader = true;
}

/*
 * Whether it lists the node as well. One that does not know the node's address cannot tell: Valkey
 * (8.1.1) then calls it failed, which every node of a cluster is after a restart at new addresses.
 */
static bool hosts_is_listed(const struct view *view, const struct node_id *id)
{
    const struct view_node *n = view_find(view, id);
    return n && (!(n->flags & NODE_FAIL) || n->flags & NODE_NOADDR);
}

/* More than half of the slot owners, asked directly, list our node as not failing. */
static bool hosts_is_backed(const struct world *w, struct hosts_verdict *verdict)
{
    const struct pod *me = &w->pods[w->me];
    if (!world_view_fresh(w, me)) {
        hosts_say(verdict, "to lead, but the server beside does not answer");
        return false;
    }
    size_t owners = 0;
    for (size_t i = 0; i < me->server.view->node_count; i++) {
        const struct view_node *n = &me->server.view->nodes[i];
        owners += (n->flags & NODE_PRIMARY) && n->slot_count;
    }
    if (!owners) {
        hosts_say(verdict, "to lead, but this server knows of no slots: if every server is empty, "
                           "remove record.json on every host to form anew");
        return false;
    }
    size_t backing = 0;
    for (size_t i = 0; i < w->pod_count; i++) {
        if (!world_view_fresh(w, &w->pods[i]))
            continue;
        const struct view *view = w->pods[i].server.view;
        backing += view->myself->slot_count && hosts_is_listed(view, &me->server.id);
    }
    if (backing > owners / 2)
        return true;
    hosts_say(verdict,
              "to lead, but only %zu of %zu slot owners answer and list this server as well",
              backing, owners);
    return false;
}

static void hosts_formed(struct hosts_state *state, const struct world *w,
                         struct hosts_verdict *verdict)
{
    int64_t timeout_ms = w->pods[w->me].server.node_timeout_ms;
    int64_t limit_ms = 2 * (timeout_ms > 0 ? timeout_ms : HOSTS_NODE_TIMEOUT_MS);
    struct hosts_copies copies = hosts_compare(state, w);
    if (limit_ms < HOSTS_PASS_MIN_MS)
        limit_ms = HOSTS_PASS_MIN_MS;
    if (!hosts_is_first(state, w, limit_ms, verdict) || hosts_is_behind(&copies, verdict) ||
        !hosts_is_backed(w, verdict))
        return;
    verdict->settle = copies.rival;
    verdict->leader = copies.rival || copies.holding > w->record->member_count / 2;
    if (!verdict->leader)
        hosts_say(verdict,
                  "to lead, but only %zu of %zu agents hold the record of generation %" PRId64,
                  copies.holding, w->record->member_count, w->record->generation);
}

void hosts_step(struct hosts_state *state, const struct world *world,
                struct hosts_verdict *ret_verdict)
{
    *ret_verdict = (struct hosts_verdict){.leader_pod = NO_POD};
    if (world->me == NO_POD) {
        hosts_say(ret_verdict, "%s",
                  world->hosts_problem[0]
                      ? world->hosts_problem
                      : "which of the expected servers is ours is not known: set POD_IP");
        return;
    }
    hosts_follow_copy(state, world);
    if (!world->record)
        hosts_unformed(world, ret_verdict);
    else if (world->record->state == RECORD_FORMING)
        hosts_forming(state, world, ret_verdict);
    else
        hosts_formed(state, world, ret_verdict);
}
