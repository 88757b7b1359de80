/* SPDX-License-Identifier: Apache-2.0 */
#include "core/drain.h"

#include <assert.h>
#include <stdarg.h>

#include "base/text.h"
#include "core/action.h"
#include "core/doomed.h"
#include "core/election.h"
#include "core/failover.h"

/* One pod's drain, and how long it may take. */
struct drain {
    const struct world *world;
    const struct facts *facts;
    size_t at;
    const struct pod *pod;
    const struct drain_watch *watch;
    struct drain_verdict *verdict;
    int64_t lasts_ms;
    int64_t grace_ms;
    bool liveness;            /* not the end of its pod */
    int64_t kept_ms;          /* so long for what others are to say */
    int64_t keeps_ms;         /* so long for an heir, then it keeps its slots */
    int64_t end_ms;           /* so long in any case */
    int64_t turn_ms;          /* before that it hands nothing over */
    const struct pod *before; /* whose turn is before its own; NULL = nobody's */
};

static int64_t max_ms(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool drain_goes(const struct pod *pod)
{
    return pod->terminating || pod->told.leaving != LEAVING_NO;
}

/*
 * One after the other in the order of their ordinals: whoever knows of the others counts the same. Who
 * has handed over is waited for no more, and who cannot is waited for so long only. After a vote about
 * anybody those that wait for its end go on in the same order, so that they do not go on together.
 */
static void drain_set_turn(struct drain *d)
{
    const struct world *w = d->world;
    int64_t before = 0;
    for (size_t i = 0; d->pod && i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        const struct server *s = &pod->server;
        if (i == d->at || pod->ordinal >= d->pod->ordinal || !drain_goes(pod) ||
            !world_server_fresh(w, pod) || !s->primary || !s->view || !s->view->myself->slot_count)
            continue;
        before++;
        d->before = pod;
    }
    d->turn_ms = DRAIN_TOGETHER_MS + before * DRAIN_TURN_MS;
    const struct pod *other = NULL;
    int64_t wait_ms =
        failover_wait_ms(w, d->facts, d->at, (1 + before) * FAILOVER_TURN_MS, true, &other);
    if (d->lasts_ms + wait_ms > d->turn_ms) {
        d->turn_ms = d->lasts_ms + wait_ms;
        d->before = other;
    }
    d->turn_ms = min_ms(d->turn_ms, d->keeps_ms / 2);
}

static void drain_set_limits(struct drain *d)
{
    int64_t grace_ms = d->pod && d->pod->grace_ms ? d->pod->grace_ms : DRAIN_GRACE_MS;
    d->grace_ms = grace_ms;
    d->lasts_ms = d->world->now_ms - d->watch->since_ms;
    d->liveness = d->pod && !d->pod->terminating && d->world->arbiter == ARBITER_LEASE &&
                  world_api_fresh(d->world) && !doomed_is_unclear(d->world, d->pod, d->lasts_ms);
    d->kept_ms = max_ms(grace_ms / 2, grace_ms - 10000);
    d->end_ms = max_ms(grace_ms / 2, grace_ms - DRAIN_LEFT_MS);
    d->kept_ms = d->liveness ? min_ms(d->kept_ms, DRAIN_LIVENESS_MS) : d->kept_ms;
    d->keeps_ms = d->pod && drain_is_on_disk(d->world, d->pod) ? d->kept_ms : d->end_ms;
    if (d->keeps_ms < d->end_ms && d->pod->server.aof == 0) {
        int64_t snapshot_ms = min_ms(grace_ms / 2, grace_ms - DRAIN_SNAPSHOT_MS);
        d->keeps_ms = snapshot_ms < DRAIN_SEARCH_MS ? d->end_ms : min_ms(d->keeps_ms, snapshot_ms);
    }
    drain_set_turn(d);
}

/* At the beginning, and when a decision is near: what is then to be known should not be old. */
static bool drain_hurries(const struct drain *d)
{
    int64_t keeps_ms = d->keeps_ms - d->lasts_ms;
    int64_t end_ms = d->end_ms - d->lasts_ms;
    return d->lasts_ms < DRAIN_HURRY_MS ||
           (keeps_ms > -DRAIN_LEFT_MS && keeps_ms < DRAIN_LEFT_MS) || end_ms < DRAIN_LEFT_MS;
}

/* Until the next of its limits is reached. */
static int64_t drain_again_ms(const struct drain *d)
{
    const int64_t limits_ms[] = {ACTION_FAILOVER_MS, d->turn_ms, d->keeps_ms, d->kept_ms,
                                 d->end_ms};
    int64_t again_ms = 0;
    for (size_t i = 0; i < sizeof limits_ms / sizeof limits_ms[0]; i++) {
        int64_t left_ms = limits_ms[i] - d->lasts_ms;
        if (left_ms > 0 && (!again_ms || left_ms < again_ms))
            again_ms = left_ms;
    }
    return again_ms;
}

__attribute__((format(printf, 3, 4))) static void drain_say(struct drain *d, enum drain_step step,
                                                            const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    d->verdict->step = step;
    text_vformat(d->verdict->reason, sizeof d->verdict->reason, fmt, args);
    va_end(args);
}

/* And there is time for it. */
static bool drain_keeps_data(const struct drain *d)
{
    bool snapshot = d->pod->server.aof == 0;
    return drain_is_on_disk(d->world, d->pod) &&
           (!snapshot || d->grace_ms - d->lasts_ms >= DRAIN_SNAPSHOT_LEAST_MS);
}

/* ---- the shard ---- */

/* The StatefulSet is gone, or scaled to 0: no pod of it comes back. */
static bool drain_is_the_end(const struct drain *d)
{
    const struct stateful_set *set = &d->world->set;
    return d->world->arbiter == ARBITER_LEASE && world_api_fresh(d->world) &&
           (set->absent || (set->known && !set->replicas));
}

/* The pod that last had this node, by its server's answer or by the record. */
static const struct pod *drain_pod_of(const struct drain *d, const struct node_id *id)
{
    const struct world *w = d->world;
    size_t at = facts_pod_of(d->facts, id);
    if (at == NO_POD) {
        size_t member = index_find(&d->facts->members, id->hex);
        at = member == INDEX_NONE ? NO_POD : d->facts->pod_of_member[member];
    }
    return at == NO_POD ? NULL : &w->pods[at];
}

/* No pod stays that could become a replica. */
static bool drain_all_go(const struct drain *d)
{
    assert(d->world->pods); /* its own is one of them */
    for (size_t i = 0; i < d->world->pod_count; i++)
        if (i != d->at && !drain_goes(&d->world->pods[i]))
            return false;
    return true;
}

/*
 * Every pod of the primary's shard stops, itself included: there is nobody to wait for. A primary that
 * is to have replicas and knows of none is about to be given one.
 */
static bool drain_shard_goes(const struct drain *d, const struct node_id *primary)
{
    const struct view *view = d->pod->server.view;
    size_t replicas = 0;
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        if (!node_id_eq(&n->id, primary) && !node_id_eq(&n->primary, primary))
            continue;
        const struct pod *pod = drain_pod_of(d, &n->id);
        if (pod && pod != d->pod && !drain_goes(pod))
            return false;
        if (!pod && !(d->world->record && record_forgets(d->world->record, &n->id)))
            return false; /* its pod is being made anew */
        replicas += pod && !node_id_eq(&n->id, primary);
    }
    return replicas || !d->world->replicas_per_primary || drain_all_go(d);
}

/* ---- a primary ---- */

/* It has begun to tell its followers, and may still succeed. */
static bool drain_may_tell(const struct drain *d)
{
    int64_t tells_ms = d->watch->tells_ms;
    return (!tells_ms || d->world->now_ms - tells_ms < DRAIN_TELL_MS) && d->lasts_ms < d->end_ms;
}

/* `whole`: its whole shard stops, and who is not heard has probably stopped already. */
static void drain_keep(struct drain *d, bool whole, const char *why)
{
    unsigned slots = d->pod->server.view->myself->slot_count;
    struct election_heirs heirs = {0};
    if (drain_keeps_data(d) && !(d->world->guards_off & GUARD_KEPT))
        election_look(d->world, d->facts, d->at, d->watch->since_ms, &heirs);
    if (whole)
        heirs.unheard[0] = '\0';
    const char *open = heirs.open ? heirs.open->name : heirs.unheard;
    if (open[0] && drain_may_tell(d)) {
        d->verdict->tells = d->verdict->hurry = true;
        drain_say(d, DRAIN_WAIT,
                  "%s is to stop as the primary of %u slots: %s; %s, which may lack "
                  "some of it, is first told to wait for it, for at most %d s",
                  d->pod->name, slots, why, open, DRAIN_TELL_MS / 1000);
        return;
    }
    char then[POD_NAME_SIZE + 96] = "";
    if (open[0])
        text_format(
            then, sizeof then,
            ", but %s could not be told to wait for it: if it is elected, what it lacks is lost",
            open);
    else if (heirs.told)
        text_format(then, sizeof then, ", and %s waits for it", heirs.told->name);
    d->verdict->kept = true;
    d->verdict->risks = open[0];
    drain_say(d, DRAIN_LEAVE, "%s stops as the primary of %u slots: %s%s", d->pod->name, slots, why,
              then);
}

static void drain_wait_for_heir(struct drain *d, const char *why)
{
    char text[FAILOVER_WHY_SIZE + 96];
    if (d->lasts_ms >= d->keeps_ms) {
        text_format(text, sizeof text, "no hand-over within %d s (%s); %s",
                    (int)(d->keeps_ms / 1000), why,
                    drain_keeps_data(d)                  ? "its data is on disk"
                    : drain_is_on_disk(d->world, d->pod) ? "too little time is left for a snapshot"
                                                         : "nothing keeps its data");
        drain_keep(d, false, text);
        return;
    }
    drain_say(d, DRAIN_WAIT, "%s holds its %u slots until another can have them, at most %d s: %s",
              d->pod->name, d->pod->server.view->myself->slot_count, (int)(d->keeps_ms / 1000),
              why);
}

static void drain_judge_primary(struct drain *d)
{
    const struct server *s = &d->pod->server;
    char why[FAILOVER_WHY_SIZE];
    bool ordered = failover_in_flight(d->world, &s->id);
    bool under_way = d->watch->ordering || (ordered && !d->watch->refused[0]);
    if (under_way && d->lasts_ms < d->end_ms) {
        d->verdict->hurry = true;
        drain_say(d, DRAIN_WAIT, "%s hands its %u slots over", d->pod->name,
                  s->view->myself->slot_count);
        return;
    }
    size_t heir = failover_choose(d->world, d->facts, d->at, why);
    bool on_disk = drain_keeps_data(d);
    if (ordered && d->watch->refused[0])
        text_format(why, sizeof why, "%s", d->watch->refused);
    if (heir != NO_POD && d->lasts_ms < d->turn_ms) {
        d->verdict->hurry = true;
        drain_say(d, DRAIN_WAIT, "%s is to stop: its %u slots go to %s%s%s", d->pod->name,
                  s->view->myself->slot_count, d->world->pods[heir].name,
                  d->before ? " after those of " : " in a moment",
                  d->before ? d->before->name : "");
    } else if (heir != NO_POD && d->lasts_ms < d->end_ms) {
        d->verdict->heir = heir;
        d->verdict->hurry = true;
        drain_say(d, DRAIN_WAIT, "%s is to stop: its %u slots go to %s", d->pod->name,
                  s->view->myself->slot_count, d->world->pods[heir].name);
    } else if (drain_is_the_end(d)) {
        drain_keep(d, true,
                   on_disk ? "no pod of the StatefulSet stays; its data is on disk"
                           : "no pod of the StatefulSet stays, and nothing keeps its data");
    } else if (d->lasts_ms < d->end_ms && doomed_is_unclear(d->world, d->pod, d->lasts_ms) &&
               drain_shard_goes(d, &s->id)) {
        drain_say(d, DRAIN_WAIT,
                  "%s holds its %u slots until the API tells whether they have to move",
                  d->pod->name, s->view->myself->slot_count);
    } else if (doomed_is_emptied(d->world, d->pod) && d->lasts_ms < d->keeps_ms &&
               drain_shard_goes(d, &s->id)) {
        drain_say(d, DRAIN_WAIT, "%s holds its %u slots until they have moved, at most %d s",
                  d->pod->name, s->view->myself->slot_count, (int)(d->keeps_ms / 1000));
    } else if (on_disk && drain_shard_goes(d, &s->id)) {
        drain_keep(d, true, "its whole shard stops; its data is on disk");
    } else {
        drain_wait_for_heir(d, why);
    }
}

/* ---- a replica ---- */

struct word {
    size_t voters;
    size_t agree;             /* the heir owns slots under a later epoch, and we own none */
    const struct pod *denies; /* answers that we own slots */
};

static struct word drain_ask_voters(const struct drain *d)
{
    const struct view *view = d->pod->server.view;
    const struct node_id *heir = &view->myself->primary;
    struct word word = {0};
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        if (!(n->flags & NODE_PRIMARY) || !n->slot_count)
            continue;
        word.voters++;
        size_t at = facts_pod_of(d->facts, &n->id);
        const struct pod *pod = at == NO_POD ? NULL : &d->world->pods[at];
        if (!pod || !world_view_fresh(d->world, pod))
            continue;
        const struct view_node *now = view_find(pod->server.view, heir);
        const struct view_node *me = view_find(pod->server.view, &view->myself->id);
        if (me && me->slot_count)
            word.denies = pod;
        else if (now && now->flags & NODE_PRIMARY && now->slot_count &&
                 now->epoch > d->watch->epoch)
            word.agree++;
    }
    return word;
}

static void drain_judge_former(struct drain *d)
{
    const struct server *s = &d->pod->server;
    const struct pod *heir = drain_pod_of(d, &s->view->myself->primary);
    const char *name = heir ? heir->name : "another node";
    struct word word = drain_ask_voters(d);
    bool resyncs = !s->link_up && d->world->now_ms - d->watch->handed_ms < DRAIN_RESYNC_MS;
    bool late = d->lasts_ms >= d->end_ms;
    d->verdict->hurry = true;
    if (word.agree <= word.voters / 2 && !late)
        drain_say(d, DRAIN_WAIT, "%s handed over to %s: %zu of %zu primaries know of it so far",
                  d->pod->name, name, word.agree, word.voters);
    else if (resyncs && !late)
        drain_say(d, DRAIN_WAIT, "%s handed over to %s and is about to follow it", d->pod->name,
                  name);
    else
        drain_say(d, DRAIN_LEAVE, "%s handed its %u slots over to %s", d->pod->name,
                  d->watch->slots, name);
}

/* Another replica of the same primary that stops too, and goes first. */
static const struct pod *drain_first(const struct drain *d, const struct node_id *primary)
{
    const struct world *w = d->world;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        if (i != d->at && pod->ordinal < d->pod->ordinal && drain_goes(pod) &&
            world_server_fresh(w, pod) && !pod->server.primary && pod->server.view &&
            node_id_eq(&pod->server.view->myself->primary, primary))
            return pod;
    }
    return NULL;
}

/*
 * Its primary stops too, and may have ordered this replica to take over before it heard that it stops
 * as well: an agent that was not heard since may just be doing so.
 */
static bool drain_may_be_heir(const struct drain *d, const struct pod *primary)
{
    if (!primary || !world_server_fresh(d->world, primary) || d->lasts_ms >= ACTION_FAILOVER_MS)
        return false;
    if (primary->told.heard_ms >= d->watch->since_ms)
        return primary->told.leaving == LEAVING_ASKED;
    return primary->agent != AGENT_SILENT ||
           primary->terminating; /* then the leader may order it */
}

/*
 * Its primary goes for good too, and still has keys: until they have moved this is their only copy, which is
 * elected should the primary die. By the own view: a primary that is dead does not tell.
 */
static bool drain_is_copy(const struct drain *d, const struct pod *primary)
{
    const struct view_node *of =
        view_find(d->pod->server.view, &d->pod->server.view->myself->primary);
    bool bare = primary && world_server_fresh(d->world, primary) && !primary->server.keys;
    return of && of->slot_count && !bare && doomed_is_emptied(d->world, d->pod) &&
           (!primary || doomed_is_emptied(d->world, primary));
}

static void drain_judge_replica(struct drain *d)
{
    const struct view_node *me = d->pod->server.view->myself;
    const struct pod *primary = drain_pod_of(d, &me->primary);
    struct word word = drain_ask_voters(d);
    bool late = d->lasts_ms >= d->kept_ms;
    const struct pod *first = drain_first(d, &me->primary);
    if (word.denies && !late)
        drain_say(d, DRAIN_WAIT, "%s is a replica, but %s still knows it as the owner of slots",
                  d->pod->name, word.denies->name);
    else if (drain_may_be_heir(d, primary) && !late)
        drain_say(d, DRAIN_WAIT, "%s waits for a word whether its primary %s hands over to it",
                  d->pod->name, primary->name);
    else if (drain_is_copy(d, primary) && !late)
        drain_say(d, DRAIN_WAIT, "%s keeps its copy until the slots of %s have moved, at most %d s",
                  d->pod->name, primary ? primary->name : "its primary", (int)(d->kept_ms / 1000));
    else if (first && !drain_is_the_end(d) && !drain_shard_goes(d, &me->primary) && !late)
        drain_say(d, DRAIN_WAIT, "%s lets %s of its shard stop first", d->pod->name, first->name);
    else
        drain_say(d, DRAIN_LEAVE, "%s stops as a replica%s%s", d->pod->name, primary ? " of " : "",
                  primary ? primary->name : "");
}

/* ---- the verdict ---- */

/* An agent that was restarted meanwhile: it is told its pod's grace, and asks its server, in a moment. */
static bool drain_is_new(const struct drain *d)
{
    bool late = d->pod && d->pod->grace_ms && d->lasts_ms >= d->end_ms;
    return !late && d->world->now_ms - d->watch->seen_ms < DRAIN_NEW_MS;
}

/* Without an answer nothing is known, but that its time runs out. */
static void drain_judge_silent(struct drain *d)
{
    const char *name = d->pod ? d->pod->name : d->world->my_pod;
    const struct server *s = d->pod ? &d->pod->server : NULL;
    if (s && s->reach == REACH_REFUSED && s->asked_ms >= d->watch->since_ms)
        drain_say(d, DRAIN_LEAVE, "the server of %s has ended", name);
    else if (s && s->reach == REACH_LOADING && s->asked_ms >= d->watch->since_ms)
        drain_say(d, DRAIN_LEAVE, "%s is loading its data and serves nothing", name);
    else if (d->lasts_ms < d->kept_ms || drain_is_new(d))
        drain_say(d, DRAIN_WAIT, "%s: what its server owns is not known yet", name);
    else {
        d->verdict->risks = true;
        drain_say(d, DRAIN_LEAVE, "%s stops: for %d s its server did not tell what it owns", name,
                  (int)(d->lasts_ms / 1000));
    }
}

/*
 * Its server's role and slots, asked since preStop does: what was read before may be of another time,
 * and the role is read more often than the view.
 */
static bool drain_is_known(const struct drain *d)
{
    const struct server *s = d->pod ? &d->pod->server : NULL;
    return s && world_view_fresh(d->world, d->pod) && s->view_ms >= d->watch->since_ms &&
           !s->view_outdated && s->primary == !!(s->view->myself->flags & NODE_PRIMARY);
}

/* A rewrite begins with a full synchronization: with that of who was told to follow another one a moment ago. */
static bool drain_may_rewrite(const struct drain *d)
{
    const struct server *s = &d->pod->server;
    return s->aof == 1 && !s->primary && d->lasts_ms < d->end_ms &&
           (s->settings_ms < d->watch->since_ms ||
            d->world->now_ms - s->settings_ms > DRAIN_REWRITE_MS);
}

void drain_judge(const struct world *world, const struct facts *facts, size_t at,
                 const struct drain_watch *watch, struct drain_verdict *ret_verdict)
{
    struct drain d = {.world = world,
                      .facts = facts,
                      .at = at,
                      .pod = at == NO_POD ? NULL : &world->pods[at],
                      .watch = watch,
                      .verdict = ret_verdict};
    *ret_verdict = (struct drain_verdict){.heir = NO_POD};
    if (!watch->since_ms)
        return;
    if (watch->told_ms) {
        drain_say(&d, DRAIN_LEAVE, "%s was told that it may stop", world->my_pod);
        return;
    }
    drain_set_limits(&d);
    ret_verdict->hurry = drain_hurries(&d);
    ret_verdict->again_ms = drain_again_ms(&d);
    if (!drain_is_known(&d)) {
        drain_judge_silent(&d);
        return;
    }
    const struct server *s = &d.pod->server;
    if (s->primary && s->view->myself->slot_count)
        drain_judge_primary(&d);
    else if (watch->owner && !s->primary)
        drain_judge_former(&d);
    else if (!s->primary)
        drain_judge_replica(&d);
    else
        drain_say(&d, DRAIN_LEAVE, "%s owns no slots", d.pod->name);
    if (ret_verdict->step == DRAIN_LEAVE && !ret_verdict->kept && doomed_is_named(world, d.pod) &&
        d.lasts_ms < d.end_ms)
        drain_say(&d, DRAIN_WAIT, "%s may stop once no slots are on their way to or from it",
                  d.pod->name);
    if (ret_verdict->step == DRAIN_LEAVE && s->aof_rewriting && d.lasts_ms < d.end_ms)
        drain_say(&d, DRAIN_WAIT, "%s may stop once its AOF is rewritten", d.pod->name);
    else if (ret_verdict->step == DRAIN_LEAVE && drain_may_rewrite(&d)) {
        ret_verdict->hurry = true;
        drain_say(&d, DRAIN_WAIT, "%s may stop once it tells whether its AOF is being rewritten",
                  d.pod->name);
    }
}
