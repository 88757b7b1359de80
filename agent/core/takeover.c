/* SPDX-License-Identifier: Apache-2.0 */
#include "core/takeover.h"

#include <stdarg.h>

#include "base/text.h"
#include "core/election.h"

struct takeover {
    const struct world *world;
    const struct facts *facts;
    struct takeover_verdict *verdict;
    const struct shard *shard; /* the one that is looked at */
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct takeover *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    text_vformat(t->verdict->reason, sizeof t->verdict->reason, fmt, args);
    va_end(args);
    return false;
}

static bool shard_votes(const struct facts *facts, const struct shard *shard)
{
    return shard->primary_pod != NO_POD && facts->belongs[shard->primary_pod];
}

/* Nothing of its pod, which the record tells, can be the lost primary. */
static bool ask_pod(struct takeover *t)
{
    const struct node_id *lost = &t->shard->primary;
    const struct record_member *m = facts_member(t->world, t->facts, lost);
    const struct pod *pod = m ? world_pod_by_name(t->world, m->pod) : NULL;
    if (!m && !(t->world->record && record_forgets(t->world->record, lost)))
        return refuse(t, "the record does not tell which pod ran node %.8s", lost->hex);
    if (!pod || !pod->ip[0] || world_gate_word(t->world, pod))
        return true;
    if (t->world->guards_off & GUARD_FENCE)
        return true;
    bool another = world_server_fresh(t->world, pod) && !node_id_eq(&pod->server.id, lost);
    if (another)
        return true;
    return refuse(t,
                  "%s is there and may run behind a partition: delete it once its node is known to "
                  "be off, and its slots can be taken over",
                  pod->name);
}

/* A follower that answers as a primary is taking the slots, whatever views say that were read before. */
static bool ask_taken(struct takeover *t)
{
    for (size_t r = 0; r < t->shard->replica_count; r++) {
        const struct pod *pod = &t->world->pods[t->shard->replica_pods[r]];
        if (pod->server.primary)
            return refuse(t, "the slots of node %.8s are being taken over by %s",
                          t->shard->primary.hex, pod->name);
    }
    return true;
}

/* Everybody whose view was read holds it for failing. */
static bool ask_views(struct takeover *t)
{
    const struct world *w = t->world;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        const struct view_node *n =
            world_view_fresh(w, pod) ? view_find(pod->server.view, &t->shard->primary) : NULL;
        if (n && (n->connected || !(n->flags & (NODE_PFAIL | NODE_FAIL | NODE_NOADDR))))
            return refuse(t, "%s is not sure that node %.8s is lost", pod->name,
                          t->shard->primary.hex);
    }
    return true;
}

/* The replica that has most of those that are known, which all must say what they have. */
static bool ask_heir(struct takeover *t)
{
    const struct world *w = t->world;
    size_t heir = NO_POD;
    for (size_t r = 0; r < t->shard->replica_count; r++) {
        size_t at = t->shard->replica_pods[r];
        const struct server *s = &w->pods[at].server;
        if (!world_view_fresh(w, &w->pods[at]) || s->view_outdated || !s->keys ||
            w->pods[at].terminating || !node_id_eq(&s->view->myself->primary, &t->shard->primary) ||
            election_is_strange(w, t->facts, at))
            continue;
        if (heir == NO_POD || s->offset > w->pods[heir].server.offset)
            heir = at;
    }
    if (heir == NO_POD)
        return refuse(t, "no replica of node %.8s that answers has any data",
                      t->shard->primary.hex);
    if (t->shard->replicas_known > t->shard->replica_count)
        return refuse(t, "a replica of node %.8s does not answer, and may have more than %s",
                      t->shard->primary.hex, w->pods[heir].name);
    t->verdict->heir = heir;
    t->verdict->primary = t->shard->primary;
    text_format(t->verdict->reason, sizeof t->verdict->reason,
                t->verdict->lost
                    ? "most primaries are lost: %s can take over the %u slots of node %.8s"
                    : "nobody was elected: %s can ask for the votes for the %u slots of node %.8s",
                w->pods[heir].name, t->shard->slot_count, t->shard->primary.hex);
    return true;
}

static size_t takeover_voters(const struct facts *facts)
{
    size_t count = 0;
    for (size_t s = 0; s < facts->shard_count; s++)
        count += shard_votes(facts, &facts->shards[s]);
    return count;
}

/* Since when it has been so without a break; 0 = not. */
static int64_t takeover_since_ms(const struct takeover_watch *watch, int64_t since_ms,
                                 int64_t now_ms)
{
    return now_ms - watch->judged_ms > TAKEOVER_BLIND_MS ? 0 : since_ms;
}

/* Most are lost: none may be one that is only cut off, for with it the whole side would be. */
static void takeover_judge_most(struct takeover *t)
{
    for (size_t s = 0; s < t->facts->shard_count; s++) {
        t->shard = &t->facts->shards[s];
        if (!shard_votes(t->facts, t->shard) && !(ask_taken(t) && ask_pod(t) && ask_views(t)))
            return;
    }
    for (size_t s = 0; s < t->facts->shard_count && t->verdict->heir == NO_POD; s++) {
        t->shard = &t->facts->shards[s];
        if (!shard_votes(t->facts, t->shard))
            (void)ask_heir(t);
    }
}

/* Most answer, and vote: each that is lost is judged for itself. */
static void takeover_judge_rest(struct takeover *t)
{
    for (size_t s = 0; s < t->facts->shard_count && t->verdict->heir == NO_POD; s++) {
        t->shard = &t->facts->shards[s];
        if (!shard_votes(t->facts, t->shard) && ask_taken(t) && ask_pod(t) && ask_views(t))
            (void)ask_heir(t);
    }
}

void takeover_judge(const struct world *world, const struct facts *facts,
                    struct takeover_verdict *ret_verdict)
{
    *ret_verdict = (struct takeover_verdict){.judged = facts->shard_count > 0, .heir = NO_POD};
    struct takeover t = {.world = world, .facts = facts, .verdict = ret_verdict};
    size_t votes = takeover_voters(facts);
    ret_verdict->part = votes < facts->shard_count;
    ret_verdict->lost = ret_verdict->part && votes <= facts->shard_count / 2;
    if (!ret_verdict->part)
        return;
    const struct takeover_watch *watch = &world->takeover;
    int64_t since_ms = takeover_since_ms(
        watch, ret_verdict->lost ? watch->lost_since_ms : watch->part_since_ms, world->now_ms);
    bool early = !since_ms || world->now_ms - since_ms < TAKEOVER_STUCK_MS;
    if (early && ret_verdict->lost)
        (void)refuse(&t, "%zu of %zu primaries answer, for %d s: too early to call them lost",
                     votes, facts->shard_count,
                     since_ms ? (int)((world->now_ms - since_ms) / 1000) : 0);
    else if (ret_verdict->lost && !early)
        takeover_judge_most(&t);
    else if (!early)
        takeover_judge_rest(&t);
}

bool takeover_answer(const struct world *world, const struct takeover_verdict *verdict,
                     const char *said, char ret_answer[TAKEOVER_ANSWER_SIZE])
{
    const char *leader = world->leader_pod;
    bool obeyed = world->leader && verdict->judged && verdict->heir != NO_POD;
    if (!world->leader)
        text_format(ret_answer, TAKEOVER_ANSWER_SIZE,
                    "%s leads: kubectl exec %s -c agent -- muster takeover --yes",
                    leader[0] ? leader : "nobody", leader[0] ? leader : "LEADER");
    else if (!verdict->judged && world->arbiter != ARBITER_LEASE)
        text_format(
            ret_answer, TAKEOVER_ANSWER_SIZE,
            "without Kubernetes nobody can tell whether a lost primary still runs: a person must "
            "order CLUSTER FAILOVER TAKEOVER at one replica of each");
    else if (!verdict->judged)
        text_format(ret_answer, TAKEOVER_ANSWER_SIZE,
                    "whether primaries are lost was not judged yet: %s", said);
    else if (!verdict->reason[0])
        text_format(ret_answer, TAKEOVER_ANSWER_SIZE,
                    "most primaries answer: Redis elects where it has to");
    else
        text_format(ret_answer, TAKEOVER_ANSWER_SIZE, "%s%s", verdict->reason,
                    obeyed ? ": ordered, and what else is lost after it" : "");
    return obeyed;
}

void takeover_note(struct takeover_watch *watch, const struct takeover_verdict *verdict,
                   int64_t now_ms)
{
    if (verdict->judged && verdict->part) {
        int64_t part_ms = takeover_since_ms(watch, watch->part_since_ms, now_ms);
        int64_t lost_ms = takeover_since_ms(watch, watch->lost_since_ms, now_ms);
        watch->part_since_ms = part_ms ? part_ms : now_ms;
        watch->lost_since_ms = !verdict->lost ? 0 : lost_ms ? lost_ms : now_ms;
        watch->judged_ms = now_ms;
    } else if (verdict->judged) {
        *watch = (struct takeover_watch){0};
    }
    if (watch->asked_ms && now_ms - watch->asked_ms >= TAKEOVER_WORD_MS)
        watch->asked_ms = 0;
}
