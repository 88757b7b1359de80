/* SPDX-License-Identifier: Apache-2.0 */
#include "core/crash.h"

#include <stdarg.h>
#include <string.h>

#include "base/text.h"

/* Fewer primaries never agree on a failed one (FACTS 8). */
#define CRASH_VOTERS_MIN 3

/* The dead server, and what is asked of those that followed it. */
struct crash {
    const struct world *world;
    const struct facts *facts;
    const struct pod *pod;
    const struct server *last; /* its last word */
    struct crash_verdict *verdict;
    int64_t lasts_ms;
    bool by_vote;
    bool any_lag;
};

enum proof { PROOF_NONE, PROOF_OPEN, PROOF_GIVEN };

__attribute__((format(printf, 3, 4))) static void crash_say(struct crash *c, enum crash_step step,
                                                            const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    bool soon = c->lasts_ms < CRASH_HOLD_MS && (step == CRASH_WAIT || step == CRASH_ORDER);
    c->verdict->step = step;
    c->verdict->hold = soon || step == CRASH_UNDER_WAY;
    text_vformat(c->verdict->reason, sizeof c->verdict->reason, fmt, args);
    va_end(args);
}

/* ---- the dead ---- */

static size_t crash_voters(const struct view *view)
{
    size_t count = 0;
    for (size_t i = 0; i < view->node_count; i++)
        count += view->nodes[i].flags & NODE_PRIMARY && view->nodes[i].slot_count;
    return count;
}

/* Its restart would bring back nothing: what a snapshot has, or an AOF that failed once, is not known. */
static bool crash_keeps_nothing(const struct server *s)
{
    return s->aof == 0 && s->rdb_saves == 0;
}

/* It owned slots, by its last word. */
static bool crash_had_part(const struct crash *c)
{
    const struct server *s = c->last;
    return s->view && s->primary && s->view->myself->flags & NODE_PRIMARY &&
           s->view->myself->slot_count;
}

/* Somebody leads, as far as can be seen from here now. */
static bool crash_has_arbiter(const struct world *w)
{
    return w->arbiter == ARBITER_LEASE && w->leader_pod[0] && world_api_fresh(w) && !w->api_broken;
}

/* Redis has begun to elect by itself: an order beside it asks the same voters. */
static bool crash_is_elected(const struct crash *c)
{
    const struct world *w = c->world;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct server *s = &w->pods[i].server;
        const struct view_node *dead =
            world_view_fresh(w, &w->pods[i]) && s->view_ms >= w->crash.gone_ms
                ? view_find(s->view, &c->last->id)
                : NULL;
        if (dead && dead->flags & NODE_FAIL)
            return true;
    }
    return false;
}

/* Nothing can be said for it, whoever its replicas are; NULL if something can. */
static const char *crash_against(const struct crash *c)
{
    const struct server *s = c->last;
    int64_t gone_ms = c->world->crash.gone_ms;
    if (gone_ms - s->beat_ms > CRASH_SAMPLE_MS)
        return "its last word is too old to tell what it had";
    if (s->view_outdated || gone_ms - s->view_ms > CRASH_VIEW_MS)
        return "its last view is too old to tell who votes";
    if (!s->state_ok)
        return "its cluster was not in order before";
    if (!s->replid[0])
        return "it did not tell its replication id";
    if (!c->by_vote && !crash_has_arbiter(c->world))
        return "two primaries cannot elect, and nobody is seen to hold the Lease";
    if (c->by_vote && crash_is_elected(c))
        return "the others have found it failed, and elect";
    if (c->world->crash.ceded)
        return "by now others may act for it";
    if (c->lasts_ms >= CRASH_ORDER_MS)
        return "that is too long ago";
    return NULL;
}

/* ---- its replicas ---- */

static bool crash_was_online(const struct server *s, const struct pod *replica)
{
    for (size_t i = 0; i < s->online_count; i++)
        if (strcmp(s->online[i].ip, replica->ip) == 0 && s->online[i].port == replica->port)
            return true;
    return false;
}

static int64_t crash_least(const struct crash *c)
{
    return c->any_lag ? 0 : c->last->offset - c->world->handover_max_lag;
}

__attribute__((format(printf, 4, 5))) static enum proof crash_answer(enum proof proof,
                                                                     const struct pod *replica,
                                                                     char why[FAILOVER_WHY_SIZE],
                                                                     const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    text_format(why, FAILOVER_WHY_SIZE, "%s ", replica->name);
    size_t len = strlen(why);
    text_vformat(why + len, FAILOVER_WHY_SIZE - len, fmt, args);
    va_end(args);
    return proof;
}

/* Has it what the dead one had? */
static enum proof crash_ask_data(const struct crash *c, const struct pod *replica,
                                 char why[FAILOVER_WHY_SIZE])
{
    const struct server *r = &replica->server;
    if (r->primary || !node_id_eq(&r->view->myself->primary, &c->last->id) ||
        strcmp(r->primary_ip, c->pod->ip) != 0 || r->primary_port != c->pod->port)
        return crash_answer(PROOF_NONE, replica, why, "follows another");
    if (r->link_up)
        return crash_answer(PROOF_OPEN, replica, why, "still reads what was sent to it");
    if (c->world->guards_off & GUARD_HEIR)
        return PROOF_GIVEN;
    if (!crash_was_online(c->last, replica))
        return crash_answer(PROOF_NONE, replica, why, "was not in sync");
    if (strcmp(r->replid, c->last->replid) != 0)
        return crash_answer(PROOF_NONE, replica, why, "has not synced with it");
    if (c->any_lag && c->last->keys > 0 && r->keys <= 0)
        return crash_answer(PROOF_NONE, replica, why, "has no data");
    if (r->offset < crash_least(c))
        return crash_answer(PROOF_NONE, replica, why, "lacks %lld bytes of its latest writes",
                            (long long)(c->last->offset - r->offset));
    return PROOF_GIVEN;
}

static enum proof crash_ask(const struct crash *c, size_t at, char why[FAILOVER_WHY_SIZE])
{
    const struct world *w = c->world;
    const struct pod *replica = &w->pods[at];
    int64_t gone_ms = w->crash.gone_ms;
    if (!world_view_fresh(w, replica) || replica->server.beat_ms < gone_ms ||
        replica->server.view_ms < gone_ms)
        return crash_answer(PROOF_OPEN, replica, why, "has not answered since");
    enum proof proof = crash_ask_data(c, replica, why);
    size_t dead = (size_t)(c->pod - w->pods);
    if (proof == PROOF_GIVEN && !failover_may_replace(w, c->facts, at, dead, c->by_vote, why))
        return PROOF_OPEN;
    return proof;
}

struct heirs {
    size_t best;                 /* of those that gave the proof; NO_POD = none */
    bool open;                   /* another may give it yet */
    char why[FAILOVER_WHY_SIZE]; /* against the one that came nearest */
};

/* What one has more is what is not lost; where that is the same, where it runs. */
static bool crash_is_better(const struct crash *c, size_t a, size_t b)
{
    const struct world *w = c->world;
    const struct pod *pods = w->pods;
    if (pods[a].server.offset != pods[b].server.offset)
        return pods[a].server.offset > pods[b].server.offset;
    return failover_count_beside(w, c->facts, c->pod, &pods[a]) <
           failover_count_beside(w, c->facts, c->pod, &pods[b]);
}

static void crash_weigh(const struct crash *c, size_t at, struct heirs *heirs)
{
    char why[FAILOVER_WHY_SIZE] = "";
    enum proof proof = crash_ask(c, at, why);
    if (proof == PROOF_GIVEN) {
        if (heirs->best == NO_POD || crash_is_better(c, at, heirs->best))
            heirs->best = at;
        return;
    }
    if (!heirs->why[0] || (proof == PROOF_OPEN && !heirs->open))
        memcpy(heirs->why, why, sizeof why);
    heirs->open |= proof == PROOF_OPEN;
}

/* Whoever followed it, by its own last view. */
static struct heirs crash_heirs(const struct crash *c)
{
    const struct view *view = c->last->view;
    struct heirs heirs = {.best = NO_POD};
    bool any = false;
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        if (!node_id_eq(&n->primary, &c->last->id))
            continue;
        size_t at = facts_pod_of(c->facts, &n->id);
        any = true;
        if (at != NO_POD) {
            crash_weigh(c, at, &heirs);
            continue;
        }
        heirs.open |= !(n->flags & (NODE_FAIL | NODE_NOADDR));
        if (!heirs.why[0])
            text_format(heirs.why, sizeof heirs.why, "its replica %.8s does not answer", n->id.hex);
    }
    if (!any)
        text_format(heirs.why, sizeof heirs.why, "it has no replica");
    return heirs;
}

/* ---- the verdict ---- */

/* A former follower that shows slots as its own; its role alone is none to go by (failover.c). */
static const struct pod *crash_heir_of(const struct crash *c)
{
    const struct world *w = c->world;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        const struct view_node *n = view_find(c->last->view, &pod->server.id);
        if (!n || !node_id_eq(&n->primary, &c->last->id) || !world_view_fresh(w, pod) ||
            pod->server.view_ms < w->crash.gone_ms)
            continue;
        const struct view_node *now = pod->server.view->myself;
        if (now->flags & NODE_PRIMARY && now->slot_count)
            return pod;
    }
    return NULL;
}

static void crash_judge_ordered(struct crash *c)
{
    const struct world *w = c->world;
    size_t at = facts_pod_of(c->facts, &w->crash.heir);
    const char *name = at == NO_POD ? w->crash.heir.hex : w->pods[at].name;
    int64_t since_ms = w->now_ms - w->crash.ordered_ms;
    if (w->crash.refused)
        crash_say(c, CRASH_LEFT,
                  "the server of %s has ended, and %s refused to take its %u slots over: this is "
                  "not tried again",
                  c->pod->name, name, c->last->view->myself->slot_count);
    else if (since_ms < CRASH_WIN_MS)
        crash_say(c, CRASH_UNDER_WAY, "the server of %s has ended: %s takes its %u slots over",
                  c->pod->name, name, c->last->view->myself->slot_count);
    else
        crash_say(
            c, CRASH_LEFT,
            "the server of %s has ended, and %s did not win its %u slots within %d s: this is "
            "not tried again",
            c->pod->name, name, c->last->view->myself->slot_count, CRASH_WIN_MS / 1000);
}

/*
 * Primaries that ended at the same moment hand over in the order of their ordinals: a voter votes once in an
 * epoch (FAILOVER_TURN_MS). Whether one before us has ended is waited for as long as for heirs.
 */
static const struct pod *crash_before(const struct crash *c)
{
    const struct world *w = c->world;
    const struct view *view = c->last->view;
    const struct pod *before = NULL;
    int64_t turn_ms = 0;
    bool unknown = false;
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        const struct record_member *m = facts_member(w, c->facts, &n->id);
        const struct pod *pod = m ? world_pod_by_name(w, m->pod) : NULL;
        if (!pod || !pod->ip[0] || pod->ordinal >= c->pod->ordinal || !(n->flags & NODE_PRIMARY) ||
            !n->slot_count)
            continue;
        bool asked = pod->server.asked_ms >= w->crash.gone_ms;
        if (asked && pod->server.reach != REACH_REFUSED)
            continue;
        unknown |= !asked;
        turn_ms += asked ? FAILOVER_TURN_MS : 0;
        before = pod;
    }
    if (unknown && turn_ms < CRASH_GATHER_MS)
        turn_ms = CRASH_GATHER_MS;
    if (turn_ms > CRASH_HOLD_MS - CRASH_GATHER_MS)
        turn_ms = CRASH_HOLD_MS - CRASH_GATHER_MS; /* or its own restart would come first */
    return c->lasts_ms < turn_ms ? before : NULL;
}

/* Whose slots go first; NULL = nobody's. */
static const struct pod *crash_other(const struct crash *c)
{
    const struct pod *other = c->by_vote ? crash_before(c) : NULL;
    if (c->by_vote && !other)
        (void)failover_wait_ms(c->world, c->facts, c->world->me, FAILOVER_TURN_MS, false, &other);
    return other;
}

static void crash_judge_heirs(struct crash *c)
{
    unsigned slots = c->last->view->myself->slot_count;
    const char *name = c->pod->name;
    struct heirs heirs = crash_heirs(c);
    bool gather = heirs.open && c->lasts_ms < CRASH_GATHER_MS;
    const struct pod *other = crash_other(c);
    if (heirs.best != NO_POD && !gather && other) {
        crash_say(c, CRASH_WAIT,
                  "the server of %s has ended: its %u slots go to %s after those of %s", name,
                  slots, c->world->pods[heirs.best].name, other->name);
    } else if (heirs.best != NO_POD && !gather) {
        c->verdict->heir = heirs.best;
        c->verdict->takeover = !c->by_vote;
        c->verdict->least = crash_least(c);
        crash_say(c, CRASH_ORDER, "the server of %s has ended: its %u slots go to %s", name, slots,
                  c->world->pods[heirs.best].name);
    } else if (heirs.best != NO_POD || (heirs.open && c->lasts_ms < CRASH_HOLD_MS)) {
        crash_say(c, CRASH_WAIT, "the server of %s has ended: who can have its %u slots? %s", name,
                  slots, heirs.why);
    } else {
        crash_say(c, CRASH_LEFT,
                  "the server of %s has ended, and nobody can have its %u slots at once: %s", name,
                  slots, heirs.why);
    }
}

/* The port is asked again as soon as the life line ends. */
static bool crash_is_certain(const struct crash *c)
{
    return c->last->reach == REACH_REFUSED && c->last->asked_ms >= c->world->crash.gone_ms;
}

void crash_judge(const struct world *world, const struct facts *facts,
                 struct crash_verdict *ret_verdict)
{
    *ret_verdict = (struct crash_verdict){.heir = NO_POD};
    const struct crash_watch *watch = &world->crash;
    if (!watch->gone_ms || world->crash_policy == CRASH_OFF || world->me == NO_POD)
        return;
    if (world->drain.since_ms)
        return; /* who was to stop has been seen to (core/drain.h) */
    const struct pod *pod = &world->pods[world->me];
    struct crash c = {.world = world,
                      .facts = facts,
                      .pod = pod,
                      .last = &pod->server,
                      .verdict = ret_verdict,
                      .lasts_ms = world->now_ms - watch->gone_ms};
    if (c.lasts_ms >= CRASH_WINDOW_MS || c.last->beat_ms >= watch->gone_ms || !crash_had_part(&c))
        return;
    c.by_vote = crash_voters(c.last->view) >= CRASH_VOTERS_MIN;
    c.any_lag = world->crash_policy == CRASH_ALWAYS || crash_keeps_nothing(c.last);
    const struct pod *heir = crash_heir_of(&c);
    const char *against = crash_against(&c);
    if (heir)
        crash_say(&c, CRASH_DONE, "the server of %s has ended, and %s has its %u slots", pod->name,
                  heir->name, c.last->view->myself->slot_count);
    else if (watch->ordered_ms)
        crash_judge_ordered(&c);
    else if (against)
        crash_say(&c, CRASH_LEFT, "the server of %s has ended, which is left to its restart: %s",
                  pod->name, against);
    else if (!crash_is_certain(&c))
        crash_say(&c, c.lasts_ms < CRASH_HOLD_MS ? CRASH_WAIT : CRASH_LEFT,
                  "the server of %s has ended: asking its port whether nothing listens there",
                  pod->name);
    else
        crash_judge_heirs(&c);
}

/* ---- what is remembered ---- */

void crash_begin(struct crash_watch *watch, bool drains, int64_t now_ms)
{
    *watch = (struct crash_watch){.gone_ms = drains ? 0 : now_ms};
}

void crash_look(struct crash_watch *watch, const struct world *world)
{
    const struct server *own = world->me == NO_POD ? NULL : &world->pods[world->me].server;
    if (own && watch->gone_ms && own->beat_ms >= watch->gone_ms)
        *watch = (struct crash_watch){0};
}

static bool crash_is_order(const struct action *action)
{
    return action->authority == AUTHORITY_OWN &&
           (action->kind == ACTION_FORCE || action->kind == ACTION_TAKEOVER);
}

bool crash_may_send(struct crash_watch *watch, bool drains, struct failover_history *failovers,
                    const struct action *action, int64_t now_ms)
{
    if (!crash_is_order(action))
        return true;
    if (!watch->gone_ms || watch->ordered_ms || watch->ceded || drains ||
        now_ms - watch->gone_ms >= CRASH_ORDER_MS)
        return false;
    watch->ordered_ms = now_ms;
    watch->heir = action->node;
    failover_ordered(failovers, &action->node, &action->subject, now_ms);
    return true;
}

void crash_note_refused(struct crash_watch *watch, const struct action *action)
{
    watch->refused |=
        crash_is_order(action) && watch->ordered_ms && node_id_eq(&watch->heir, &action->node);
}

void crash_note(struct crash_watch *watch, const struct crash_verdict *verdict, bool waits)
{
    watch->ceded |= watch->gone_ms && waits && !verdict->hold;
}

bool crash_hides(const struct crash_watch *watch, enum crash_policy policy)
{
    return policy != CRASH_OFF && watch->gone_ms && !watch->ceded;
}
