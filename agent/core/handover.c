/* SPDX-License-Identifier: Apache-2.0 */
#include "core/handover.h"

#include <stdarg.h>
#include <string.h>

#include "base/text.h"
#include "core/action.h"
#include "core/failover.h"

struct question {
    const struct world *world;
    const struct facts *facts;
    struct handover_verdict *verdict;
};

__attribute__((format(printf, 3, 4))) static void
answer(const struct question *q, enum handover_step step, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    q->verdict->step = step;
    text_vformat(q->verdict->reason, sizeof q->verdict->reason, fmt, args);
    va_end(args);
}

/* By its agent's word, or ours. Who neither answers nor was heard for long has stopped. */
static bool is_stopping(const struct world *w, const struct pod *pod)
{
    bool heard =
        world_server_fresh(w, pod) || w->now_ms - pod->told.heard_ms <= WORLD_TOLD_FRESH_MS;
    bool me = w->me != NO_POD && pod == &w->pods[w->me];
    return (pod->told.leaving != LEAVING_NO && heard) || (me && w->drain.since_ms);
}

/*
 * Deleted, and nobody has begun to stop it: where no kubelet lives its pod stays so for ever, and its
 * server serves on. To be sure its agent must have said so a while after the order.
 */
static bool is_left_alone(const struct world *w, const struct pod *pod)
{
    bool me = w->me != NO_POD && pod == &w->pods[w->me];
    int64_t said_ms = me ? w->now_ms : pod->told.heard_ms;
    return failover_is_mute(w, pod) || said_ms - w->handover.asked_ms >= HANDOVER_STOP_MS;
}

/* Whoever is about to stop, anywhere: its agent may order a hand-over at any moment. */
static const struct pod *stopping(const struct world *w)
{
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        bool deleted = pod->terminating && world_server_fresh(w, pod);
        if (is_stopping(w, pod) || (deleted && !is_left_alone(w, pod)))
            return pod;
    }
    return NULL;
}

/* What stands against the replica itself; NULL if nothing does. */
static const char *heir_obstacle(const struct pod *heir)
{
    if (!heir->ready)
        return "is not ready: ask when it is";
    if (heir->server.no_failover != 0)
        return "does not take part in elections until it has its primary's data";
    if (heir->server.slot_jobs)
        return "moves slots: ask when that is done";
    return NULL;
}

/* Its pod is about to be made anew, or would be if the update went on. */
static bool is_outdated(const struct world *w, const struct pod *heir)
{
    return w->arbiter == ARBITER_LEASE && !heir->updated;
}

/* Another replica, made from the present template, that may take over now; NULL = none. */
static const struct pod *newer_heir(const struct question *q, const struct shard *shard)
{
    const struct world *w = q->world;
    char why[FAILOVER_WHY_SIZE];
    for (size_t r = 0; r < shard->replica_count; r++) {
        size_t at = shard->replica_pods[r];
        const struct pod *pod = &w->pods[at];
        if (at != q->verdict->heir && !is_outdated(w, pod) && !heir_obstacle(pod) &&
            failover_may(w, q->facts, at, shard->primary_pod, why))
            return pod;
    }
    return NULL;
}

/* An agent that fell silent cannot say that its server stays; one that is mute orders nothing. */
static const struct pod *silent_in(const struct world *w, const struct shard *shard)
{
    for (size_t r = 0; r <= shard->replica_count; r++) {
        size_t at = r ? shard->replica_pods[r - 1] : shard->primary_pod;
        if (at != w->me && w->pods[at].agent == AGENT_SILENT && !failover_is_mute(w, &w->pods[at]))
            return &w->pods[at];
    }
    return NULL;
}

/* A replica of the shard lives, as far as is known, and was not told to wait for its primary's data. */
static bool may_elect(const struct question *q, const struct shard *shard)
{
    const struct view *view = q->facts->reference;
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        size_t at = facts_pod_of(q->facts, &n->id);
        if (!node_id_eq(&n->primary, &shard->primary))
            continue;
        if (at == NO_POD ? !(n->flags & (NODE_FAIL | NODE_PFAIL | NODE_NOADDR))
                         : q->world->pods[at].server.no_failover != 1)
            return true;
    }
    return false;
}

/*
 * Its heir needs the votes of the same servers, and a voter votes once in an epoch. NULL if every shard's
 * primary answers and nobody holds it for failed, or nobody is left who could be elected; else of which
 * shard that is not so.
 */
static const struct shard *unserved(const struct question *q)
{
    const struct facts *f = q->facts;
    for (size_t s = 0; s < f->shard_count; s++) {
        const struct shard *shard = &f->shards[s];
        const struct view_node *n = view_find(f->reference, &shard->primary);
        bool away = shard->primary_pod == NO_POD || !f->belongs[shard->primary_pod] ||
                    (n && n->flags & (NODE_FAIL | NODE_PFAIL));
        if (away && may_elect(q, shard))
            return shard;
    }
    return NULL;
}

/* What does not pass by itself in a moment, and who may stop. */
static bool ask_shard(const struct question *q, const struct shard *shard, const struct pod *heir)
{
    const struct world *w = q->world;
    const struct pod *leaves = stopping(w);
    const struct pod *silent = silent_in(w, shard);
    const char *why = heir_obstacle(heir);
    const struct pod *newer = is_outdated(w, heir) ? newer_heir(q, shard) : NULL;
    if (leaves && is_stopping(w, leaves))
        answer(q, HANDOVER_REFUSED, "%s is stopping: ask again when its pod is back", leaves->name);
    else if (leaves)
        answer(q, HANDOVER_UNSURE, "%s is deleted, and its agent has not said yet that it stays",
               leaves->name);
    else if (silent)
        answer(q, HANDOVER_REFUSED,
               "the agent of %s is silent and cannot say whether its server stays: %s",
               silent->name,
               w->arbiter == ARBITER_LEASE ? "ask again in a moment" : "see to it first");
    else if (why)
        answer(q, HANDOVER_REFUSED, "%s %s", heir->name, why);
    else if (newer)
        answer(q, HANDOVER_REFUSED,
               "%s is not made from the StatefulSet's present template, and %s is: take that one",
               heir->name, newer->name);
    return !leaves && !silent && !why && !newer;
}

/* And what the servers say now. */
static void ask_servers(const struct question *q, const struct shard *shard)
{
    const struct world *w = q->world;
    size_t heir = q->verdict->heir;
    size_t from = shard->primary_pod;
    const struct pod *other = NULL;
    const struct shard *lost = unserved(q);
    char why[FAILOVER_WHY_SIZE];
    if (lost)
        answer(q, HANDOVER_UNSURE, "the primary of slots %u-%u %s: ask again when they are served",
               lost->first_range.first, lost->first_range.last,
               lost->primary_pod == NO_POD || !q->facts->belongs[lost->primary_pod]
                   ? "does not answer"
                   : "is held for failed");
    else if (!q->facts->reference_ours || q->facts->reference_votes <= q->facts->views / 2)
        answer(q, HANDOVER_UNSURE, "the servers do not agree on the cluster");
    else if (!failover_may(w, q->facts, heir, from, why))
        answer(q, HANDOVER_UNSURE, "not now: %s", why);
    else if (failover_wait_ms(w, q->facts, from, FAILOVER_TURN_MS, true, &other))
        answer(q, HANDOVER_UNSURE, "the slots of %s are just being handed over", other->name);
    else
        answer(q, HANDOVER_MAY, "%s is to take the %u slots of %s over%s", w->pods[heir].name,
               shard->slot_count, w->pods[from].name,
               is_outdated(w, &w->pods[heir])
                   ? " (it is of an old template, and hands over again when its pod is made anew)"
                   : "");
}

/* What was sent is not judged again, but looked for. Who is seen in no shard may be a primary by now. */
static void look_for(const struct question *q, const struct shard *shard, bool primary)
{
    const char *name = q->world->handover.pod;
    q->verdict->shard = shard;
    if (primary)
        answer(q, HANDOVER_DONE, "%s has taken its shard over", name);
    else
        answer(q, HANDOVER_SENT, "%s was told to take its shard over", name);
}

void handover_judge(const struct world *world, const struct facts *facts,
                    struct handover_verdict *ret_verdict)
{
    const struct handover_watch *watch = &world->handover;
    struct question q = {world, facts, ret_verdict};
    *ret_verdict = (struct handover_verdict){.heir = NO_POD, .from = NO_POD};
    if (!watch->pod[0])
        return;
    const struct pod *heir = world_pod_by_name(world, watch->pod);
    size_t at = heir ? (size_t)(heir - world->pods) : NO_POD;
    const struct shard *shard = heir ? facts_shard_of(facts, at) : NULL;
    bool primary = shard && shard->primary_pod == at;
    ret_verdict->heir = at;
    if (watch->ordered_ms)
        look_for(&q, shard, primary);
    else if (!heir)
        answer(&q, HANDOVER_REFUSED, "%s is no pod of %s: `muster status` lists them", watch->pod,
               world->set.name);
    else if (primary)
        answer(&q, HANDOVER_DONE, "%s is its shard's primary already", heir->name);
    else if (!facts->belongs[at])
        answer(&q, HANDOVER_UNSURE, "%s does not answer: ask when it is in sync", heir->name);
    else if (!shard)
        answer(&q, HANDOVER_UNSURE, "%s is no replica of a shard: `muster status` shows its role",
               heir->name);
    else if (shard->primary_pod == NO_POD || !facts->belongs[shard->primary_pod])
        answer(&q, HANDOVER_UNSURE,
               "the primary of %s does not answer: Redis elects where it is lost", heir->name);
    else if (ask_shard(&q, shard, heir)) {
        ret_verdict->from = shard->primary_pod;
        ret_verdict->shard = shard;
        ask_servers(&q, shard);
    }
}

bool handover_ask(struct handover_watch *watch, const char *pod, int64_t now_ms,
                  char ret_said[HANDOVER_SAID_SIZE])
{
    if (watch->pod[0] && strcmp(watch->pod, pod) != 0) {
        text_format(ret_said, HANDOVER_SAID_SIZE,
                    "%s is just taking its shard over: one after the other", watch->pod);
        return false;
    }
    if (watch->pod[0])
        return true;
    watch->asked_ms = now_ms;
    text_format(watch->pod, sizeof watch->pod, "%s", pod);
    return true;
}

/* Nobody's order any more; what came of it stays to be asked for. */
__attribute__((format(printf, 3, 4))) static void end(struct handover_watch *watch, bool won,
                                                      const char *fmt, ...)
{
    struct handover_watch after = {.ended = {{.won = won}}};
    va_list args;
    va_start(args, fmt);
    text_vformat(after.ended[0].said, sizeof after.ended[0].said, fmt, args);
    va_end(args);
    memcpy(after.ended[0].pod, watch->pod, sizeof after.ended[0].pod);
    memcpy(&after.ended[1], watch->ended, sizeof after.ended - sizeof after.ended[0]);
    *watch = after;
}

/* Nobody has accepted it, and the person who waits for that is told why. */
static void note_unsure(struct handover_watch *watch, int64_t for_ms, const char *why)
{
    if (!watch->accepted && for_ms >= HANDOVER_LOOK_MS)
        end(watch, false, "%s", why);
    else if (watch->accepted && for_ms >= HANDOVER_WORD_MS)
        end(watch, false, "nothing was ordered in %d s: %s", HANDOVER_WORD_MS / 1000, why);
    else if (watch->accepted)
        text_format(watch->said, sizeof watch->said, "%s is to take its shard over; it waits: %s",
                    watch->pod, why);
}

static void note_waiting(struct handover_watch *watch, const struct handover_verdict *verdict,
                         int64_t for_ms, const char *said)
{
    char why[HANDOVER_SAID_SIZE];
    switch (verdict->step) {
    case HANDOVER_SENT:
        break;
    case HANDOVER_NONE:
        text_format(why, sizeof why, "other things come first: %.180s", said);
        note_unsure(watch, for_ms, why);
        break;
    case HANDOVER_UNSURE:
        note_unsure(watch, for_ms, verdict->reason);
        break;
    case HANDOVER_DONE:
        end(watch, true, "%s", verdict->reason);
        break;
    case HANDOVER_REFUSED:
        end(watch, false, "%s", verdict->reason);
        break;
    case HANDOVER_MAY:
        watch->accepted = true;
        text_format(watch->said, sizeof watch->said, "%s", verdict->reason);
        if (for_ms >= HANDOVER_WORD_MS)
            end(watch, false, "nothing was ordered in %d s: %.200s", HANDOVER_WORD_MS / 1000, said);
        break;
    }
}

void handover_note(struct handover_watch *watch, const struct world *world,
                   const struct handover_verdict *verdict, const char *said)
{
    /* A leader without Kubernetes is nobody for a moment after each write of the record. */
    const char *leader = world->leader_pod;
    bool leads = world->leader || !leader[0] || strcmp(leader, world->my_pod) == 0;
    if (!watch->pod[0])
        return;
    if (!leads)
        end(watch, false, "%s does not lead any more%s", world->my_pod,
            watch->ordered_ms ? ": `muster status` shows what came of it"
                              : ": nothing was ordered");
    else if (!watch->ordered_ms)
        note_waiting(watch, verdict, world->now_ms - watch->asked_ms, said);
    else if (verdict->step == HANDOVER_DONE)
        end(watch, true, "%s", verdict->reason);
    else if (world->now_ms - watch->ordered_ms >= HANDOVER_WON_MS)
        end(watch, false,
            verdict->shard ? "%s was told to take its shard over and did not: its log says why"
                           : "%s was told to take its shard over, and whether it did is not known: "
                             "`muster status` shows its role",
            watch->pod);
}

static bool is_this(const struct handover_watch *watch, const struct action *action)
{
    return watch->pod[0] && action->asked_ms == watch->asked_ms;
}

bool handover_may_send(struct handover_watch *watch, const struct action *action, int64_t now_ms)
{
    if (!is_this(watch, action) || watch->ordered_ms)
        return false;
    watch->ordered_ms = now_ms;
    return true;
}

void handover_refused(struct handover_watch *watch, const struct action *action, const char *why)
{
    if (is_this(watch, action))
        end(watch, false, "%s refuses: %s", watch->pod, why);
}

enum handover_answer handover_first_answer(const struct handover_watch *watch, const char *pod,
                                           char ret_said[HANDOVER_SAID_SIZE])
{
    if (strcmp(watch->pod, pod) != 0)
        return handover_last_answer(watch, pod, ret_said);
    if (!watch->accepted && !watch->ordered_ms)
        return HANDOVER_ANSWER_WAITS;
    text_format(ret_said, HANDOVER_SAID_SIZE,
                "%s: begun; the log of this agent says what comes of it", watch->said);
    return HANDOVER_ANSWER_YES;
}

enum handover_answer handover_last_answer(const struct handover_watch *watch, const char *pod,
                                          char ret_said[HANDOVER_SAID_SIZE])
{
    if (strcmp(watch->pod, pod) == 0) {
        text_format(ret_said, HANDOVER_SAID_SIZE, "%s", watch->said);
        return HANDOVER_ANSWER_WAITS;
    }
    for (size_t i = 0; i < HANDOVER_ENDS_MAX; i++) {
        const struct handover_end *ended = &watch->ended[i];
        if (strcmp(ended->pod, pod) != 0)
            continue;
        text_format(ret_said, HANDOVER_SAID_SIZE, "%s", ended->said);
        return ended->won ? HANDOVER_ANSWER_YES : HANDOVER_ANSWER_NO;
    }
    text_format(ret_said, HANDOVER_SAID_SIZE, "nobody has ordered it, as far as this agent knows");
    return HANDOVER_ANSWER_NO;
}
