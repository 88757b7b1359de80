/* SPDX-License-Identifier: Apache-2.0 */
#include "core/failover.h"

#include <stdarg.h>
#include <string.h>

#include "base/text.h"
#include "core/action.h"

/* ---- what was seen ---- */

static struct failover_past *past_find(struct failover_history *h, const struct node_id *id)
{
    for (size_t step = 0; step < h->count; step++) {
        size_t i = (h->next + step) % h->count;
        if (!node_id_eq(&h->items[i].id, id))
            continue;
        h->next = i + 1;
        return &h->items[i];
    }
    return NULL;
}

static const struct failover_past *past_of(const struct world *w, const struct node_id *id)
{
    const struct failover_history *h = w->failovers;
    for (size_t i = 0; h && i < h->count; i++)
        if (node_id_eq(&h->items[i].id, id))
            return &h->items[i];
    return NULL;
}

/* The entry for `id`; a full table gives up the node whose last sign is the oldest. */
static struct failover_past *past_enter(struct failover_history *h, const struct node_id *id)
{
    struct failover_past *oldest = &h->items[0];
    for (size_t i = 0; i < h->count; i++) {
        const struct failover_past *past = &h->items[i];
        if (past->attempt_ms + past->voted_ms < oldest->attempt_ms + oldest->voted_ms)
            oldest = &h->items[i];
    }
    if (h->count < NODES_MAX)
        oldest = &h->items[h->count++];
    *oldest = (struct failover_past){.id = *id};
    return oldest;
}

static void past_voted(struct failover_history *h, const struct node_id *primary, int64_t now_ms)
{
    struct failover_past *past = node_id_is_set(primary) ? past_find(h, primary) : NULL;
    if (!past)
        return;
    past->voted_ms = now_ms;
    past->guessed = false;
}

/*
 * INFO says "master" for a moment after each start, until the first clusterCron() tells replication
 * whom to follow; CLUSTER NODES says what nodes.conf has.
 */
static bool past_is_primary(const struct server *s)
{
    return s->primary && (!s->view || s->view->myself->flags & NODE_PRIMARY);
}

/* Whom it follows; a view may be missing, then the role says at least whether anybody. */
static struct node_id past_followed(const struct server *s, const struct failover_past *past)
{
    struct node_id nobody = {""};
    if (past_is_primary(s))
        return nobody;
    return s->view && node_id_is_set(&s->view->myself->primary) ? s->view->myself->primary
                                                                : past->follows;
}

/* Redis schedules an election as soon as the replica itself holds its primary for failed. */
static bool past_is_electing(const struct server *s)
{
    const struct view_node *primary =
        s->primary || !s->view ? NULL : view_find(s->view, &s->view->myself->primary);
    return primary && primary->flags & NODE_FAIL;
}

static void past_begin(struct failover_past *past, const struct server *s, int64_t now_ms)
{
    past->watched_ms = now_ms;
    past->attempt_ms = s->vote_requests ? now_ms : 0;
    /* A primary that asked for no votes in its run has been one since it started. */
    past->voted_ms = now_ms;
    past->guessed = true;
    if (s->primary && !s->vote_requests)
        past->voted_ms = now_ms > s->uptime_ms ? now_ms - s->uptime_ms : 0;
}

/* It is not as it was seen last: what may have happened since then, has. */
static void past_go_on(struct failover_history *h, struct failover_past *past,
                       const struct server *s, int64_t now_ms)
{
    struct node_id followed = past->follows;
    bool was_primary = past->primary;
    bool other_run = strcmp(past->run_id, s->run_id) != 0;
    bool asked = other_run ? s->vote_requests != 0 : s->vote_requests != past->vote_requests;
    bool primary = past_is_primary(s);
    if (other_run)
        past->attempt_ms = 0; /* a new process has no votes but those that it asked for */
    if (asked || (!other_run && primary && !was_primary))
        past->attempt_ms = now_ms;
    if (was_primary && (!primary || asked || other_run))
        past_voted(h, &past->id, now_ms);
    if (past->attempt_ms == now_ms)
        past_voted(h, &followed, now_ms);
}

/* Who froze finds in its socket what it was asked meanwhile, and votes now. */
static void past_thaws(struct failover_history *h, const struct failover_past *voter,
                       int64_t now_ms)
{
    for (size_t i = 0; i < h->count; i++)
        if (h->items[i].voted_ms + ACTION_FAILOVER_MS >= voter->heard_ms && !h->items[i].guessed)
            h->items[i].voted_ms = now_ms;
}

static void past_hear(struct failover_history *h, struct failover_past *past, const struct pod *pod,
                      const struct world *world)
{
    bool answers = world_server_fresh(world, pod);
    if (!answers)
        past->silent |= pod->server.reach == REACH_TIMEOUT;
    else if (past->silent)
        past_thaws(h, past, world->now_ms);
    if (answers) {
        past->silent = false;
        past->heard_ms = world->now_ms;
    }
}

void failover_look(struct failover_history *history, const struct world *world)
{
    bool was_blind = world->now_ms - history->looked_ms > FAILOVER_BLIND_MS;
    for (size_t i = 0; was_blind && i < history->count; i++)
        history->items[i].watched_ms = world->now_ms;
    history->looked_ms = world->now_ms;
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct server *s = &world->pods[i].server;
        struct failover_past *past = past_find(history, &s->id);
        if (past)
            past_hear(history, past, &world->pods[i], world);
        if (!world_server_fresh(world, &world->pods[i]) || !node_id_is_set(&s->id))
            continue;
        if (!past) {
            past = past_enter(history, &s->id);
            past_begin(past, s, world->now_ms);
        } else {
            past_go_on(history, past, s, world->now_ms);
        }
        past->follows = past_followed(s, past);
        past->primary = past_is_primary(s);
        past->vote_requests = s->vote_requests;
        (void)TEXT_COPY(past->run_id, span_of(s->run_id));
        if (past_is_electing(s)) {
            past->attempt_ms = world->now_ms;
            past_voted(history, &past->follows, world->now_ms);
        }
    }
}

void failover_ordered(struct failover_history *history, const struct node_id *candidate,
                      const struct node_id *primary, int64_t now_ms)
{
    struct failover_past *past = past_find(history, candidate);
    if (past)
        past->attempt_ms = now_ms;
    past_voted(history, primary, now_ms);
}

/* ---- the six rules ---- */

/* A question: may pod `c` take over from pod `p`? */
struct question {
    const struct world *world;
    const struct facts *facts;
    const struct pod *c;
    const struct pod *p;
    char *why;
};

__attribute__((format(printf, 2, 3))) static bool refuse(const struct question *q, const char *fmt,
                                                         ...)
{
    va_list args;
    va_start(args, fmt);
    text_vformat(q->why, FAILOVER_WHY_SIZE, fmt, args);
    va_end(args);
    return false;
}

/* Valkey 8.1 drops old votes and the voters' pause; what a fork does is not known. */
static bool keeps_votes(const struct server *s)
{
    return s->kind != SERVER_VALKEY || s->version < 80100;
}

/* Until `ms` have passed since `since_ms`: seconds, in tens, so that logs need not count along. */
static int seconds_left(const struct world *w, int64_t since_ms, int64_t ms)
{
    return (int)((since_ms + ms - w->now_ms + 9999) / 10000) * 10;
}

/* Rule 1: no votes of an earlier election are left in the candidate. */
static bool ask_candidates_votes(const struct question *q)
{
    const struct server *s = &q->c->server;
    const struct world *w = q->world;
    if (!keeps_votes(s) || w->guards_off & GUARD_FAILOVER)
        return true;
    const struct failover_past *past = past_of(w, &s->id);
    if (past && !past->attempt_ms && !s->vote_requests)
        return true;
    if (s->node_timeout_ms <= 0)
        return refuse(q, "%s does not tell its cluster-node-timeout", q->c->name);
    int64_t wait_ms = 4 * s->node_timeout_ms;
    wait_ms = (wait_ms > 4000 ? wait_ms : 4000) + 1000;
    int64_t attempt_ms = past ? past->attempt_ms : w->now_ms;
    if (w->now_ms - attempt_ms >= wait_ms)
        return true;
    return refuse(q, "%s may have votes of an earlier election for up to %d s", q->c->name,
                  seconds_left(w, attempt_ms, wait_ms));
}

struct voters {
    size_t all;
    size_t answer;
    size_t know;                /* the candidate as a replica of the primary */
    size_t reached;             /* by the candidate, and it by them, over the bus */
    int64_t node_timeout_ms;    /* the largest of those that answer; 0 = one does not tell */
    bool pause;                 /* one of them keeps to the pause between two votes */
    const struct pod *importer; /* has a half-moved slot with the primary */
};

/*
 * A request for a vote goes over the candidate's own link, the vote over the voter's, and is dropped
 * where there is none (FACTS 0.6): each lives as far as its owner knows.
 */
static bool reaches(const struct view *view, const struct node_id *other)
{
    const struct view_node *n = view_find(view, other);
    return n && n->connected && !(n->flags & (NODE_PFAIL | NODE_FAIL));
}

static void count_voter(const struct question *q, const struct pod *pod, struct voters *v)
{
    const struct server *s = &pod->server;
    const struct view_node *c = view_find(s->view, &q->c->server.id);
    bool told = v->answer == 0 || v->node_timeout_ms;
    v->answer++;
    v->know += c && c->flags & NODE_REPLICA && node_id_eq(&c->primary, &q->p->server.id);
    v->reached += reaches(q->c->server.view, &s->id) && reaches(s->view, &q->c->server.id);
    v->pause |= keeps_votes(s);
    if (!told || s->node_timeout_ms <= 0)
        v->node_timeout_ms = 0;
    else if (s->node_timeout_ms > v->node_timeout_ms)
        v->node_timeout_ms = s->node_timeout_ms;
    for (size_t i = 0; i < s->view->open_count; i++)
        if (node_id_eq(&s->view->open_slots[i].peer, &q->p->server.id))
            v->importer = pod;
}

/* Who votes is in the primary's own view: the owners of slots, itself included. */
static struct voters count_voters(const struct question *q)
{
    const struct view *view = q->p->server.view;
    struct voters v = {0};
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        if (!(n->flags & NODE_PRIMARY) || !n->slot_count)
            continue;
        v.all++;
        size_t at = facts_pod_of(q->facts, &n->id);
        const struct pod *pod = at == NO_POD ? NULL : &q->world->pods[at];
        if (pod && world_view_fresh(q->world, pod) &&
            q->world->now_ms - pod->server.view_ms <= FAILOVER_ASKED_MS)
            count_voter(q, pod, &v);
    }
    return v;
}

/* Rules 3 and 6: most owners of slots answer now, know whom they would vote for, and hear it. */
static bool ask_majority(const struct question *q, const struct voters *v)
{
    if (v->answer <= v->all / 2)
        return refuse(q, "%s: only %zu of %zu primaries answer, too few to vote", q->c->name,
                      v->answer, v->all);
    if (v->know <= v->all / 2)
        return refuse(q, "%s is known as a replica of %s to %zu of %zu primaries only", q->c->name,
                      q->p->name, v->know, v->all);
    if (v->reached <= v->all / 2)
        return refuse(q, "%s has cluster bus links with %zu of %zu primaries only", q->c->name,
                      v->reached, v->all);
    return true;
}

/* Rule 2: the voters give a vote about this primary again. */
static bool ask_voters_pause(const struct question *q, const struct voters *v)
{
    const struct world *w = q->world;
    if (!v->pause || w->guards_off & GUARD_FAILOVER)
        return true;
    if (!v->node_timeout_ms)
        return refuse(q, "%s: a primary does not tell its cluster-node-timeout", q->c->name);
    const struct failover_past *past = past_of(w, &q->p->server.id);
    int64_t wait_ms = 2 * v->node_timeout_ms + 1000;
    int64_t voted_ms = past ? past->voted_ms : w->now_ms;
    if (w->now_ms - voted_ms >= wait_ms)
        return true;
    return refuse(q, "%s: the others may give no second vote about %s for up to %d s", q->c->name,
                  q->p->name, seconds_left(w, voted_ms, wait_ms));
}

bool failover_leaves(const struct world *w, const struct pod *pod)
{
    bool me = w->me != NO_POD && pod == &w->pods[w->me];
    return pod->terminating || pod->told.leaving != LEAVING_NO || (me && w->drain.since_ms);
}

bool failover_is_mute(const struct world *world, const struct pod *pod)
{
    return world->arbiter == ARBITER_LEASE && world_api_fresh(world) &&
           pod->agent == AGENT_SILENT && world->now_ms - pod->agent_seen_ms > ACTION_FAILOVER_MS;
}

/* Rule 4, of the pods: nobody says that it goes. */
static bool ask_goes_not(const struct question *q)
{
    const struct world *w = q->world;
    if (failover_leaves(w, q->c))
        return refuse(q, "%s is stopping itself", q->c->name);
    if (w->set.known && !w->seats && q->c->ordinal >= w->set.replicas)
        return refuse(q, "%s is above the StatefulSet's size", q->c->name);
    return true;
}

/* And it stays, by the API's word and by its agent's. */
static bool ask_stays(const struct question *q)
{
    const struct world *w = q->world;
    const struct pod *c = q->c;
    if (!ask_goes_not(q))
        return false;
    if (c->agent == AGENT_SILENT && world_api_fresh(w))
        return true;
    int64_t since_ms = w->drain.since_ms ? w->drain.since_ms : w->now_ms - WORLD_TOLD_FRESH_MS;
    if (c->told.heard_ms < since_ms && c - w->pods != (ptrdiff_t)w->me)
        return refuse(q, "%s: its agent did not say yet that it stays", c->name);
    return true;
}

/* Rule 4, of the data: nothing is lost by the change, and nobody follows who could not. */
static bool ask_synced(const struct question *q)
{
    const struct server *c = &q->c->server;
    const struct server *p = &q->p->server;
    if (!world_view_fresh(q->world, q->c))
        return refuse(q, "%s does not answer", q->c->name);
    if (c->primary || !node_id_eq(&c->view->myself->primary, &p->id))
        return refuse(q, "%s is no replica of %s", q->c->name, q->p->name);
    if (strcmp(c->primary_ip, q->p->ip) != 0 || c->primary_port != q->p->port)
        return refuse(q, "%s copies from another address than %s's", q->c->name, q->p->name);
    if (!c->link_up)
        return refuse(q, "%s is not in sync", q->c->name);
    if (p->offset - c->offset > FAILOVER_LAG_MAX)
        return refuse(q, "%s lacks more than %d MiB of the latest writes", q->c->name,
                      (int)(FAILOVER_LAG_MAX >> 20));
    return true;
}

bool failover_is_older(const struct server *a, const struct server *than)
{
    if (a->kind != than->kind)
        return a->kind == SERVER_REDIS; /* Redis reads nothing of Valkey's */
    return a->version / 100 < than->version / 100;
}

/* Rule 4, of the versions: no server can load the data of a newer one. */
static bool ask_versions(const struct question *q)
{
    const struct world *w = q->world;
    if (failover_is_older(&q->c->server, &q->p->server))
        return refuse(q, "%s runs an older version than %s and cannot read its data", q->c->name,
                      q->p->name);
    if (failover_is_older(&q->p->server, &q->c->server) && !failover_leaves(w, q->p))
        return refuse(q, "%s runs a newer version than %s, which could not follow it", q->c->name,
                      q->p->name);
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *other = &w->pods[i];
        const struct server *s = &other->server;
        if (other == q->c || other == q->p || failover_leaves(w, other) ||
            !world_server_fresh(w, other) || s->primary || !s->view ||
            !node_id_eq(&s->view->myself->primary, &q->p->server.id))
            continue;
        if (failover_is_older(s, &q->c->server))
            return refuse(q, "%s runs a newer version than %s, which could not follow it",
                          q->c->name, other->name);
    }
    return true;
}

/* Rule 5: nothing else is under way in the shard. */
static bool ask_quiet(const struct question *q)
{
    const struct world *w = q->world;
    const struct server *p = &q->p->server;
    const struct failover_past *past = past_of(w, &p->id);
    if (p->view->open_count || p->slot_jobs)
        return refuse(q, "%s has a half-moved slot", q->p->name);
    if (failover_in_flight(w, &p->id))
        return refuse(q, "%s is being replaced", q->p->name);
    if (!past || w->now_ms - past->watched_ms < ACTION_FAILOVER_MS)
        return refuse(q, "%s is watched for too short a time to tell whether it is being replaced",
                      q->p->name);
    return true;
}

/*
 * Who is asked to pause its writes does so for those that it knows as its replicas, and does not answer others
 * (MFSTART, clusterProcessPacket of Redis 7.0 to Valkey 9.1): nothing would happen for 5 s. A former
 * primary is known to be one only by its next PING, up to a second later.
 */
static bool ask_known(const struct question *q)
{
    const struct view_node *n = view_find(q->p->server.view, &q->c->server.id);
    if (n && n->flags & NODE_REPLICA && node_id_eq(&n->primary, &q->p->server.id))
        return true;
    return refuse(q, "%s does not know yet that %s is its replica", q->p->name, q->c->name);
}

bool failover_in_flight(const struct world *world, const struct node_id *primary)
{
    struct action ordered = {.kind = ACTION_FAILOVER, .subject = *primary};
    return !attempts_may(world->attempts, action_key(&ordered), world->now_ms);
}

int64_t failover_wait_ms(const struct world *world, const struct facts *facts, size_t primary,
                         int64_t quiet_ms, bool guesses, const struct pod **ret_other)
{
    const struct failover_history *h = world->failovers;
    int64_t wait_ms = 0;
    for (size_t i = 0; h && i < h->count; i++) {
        const struct failover_past *past = &h->items[i];
        bool counts = past->voted_ms && (guesses || !past->guessed);
        int64_t left_ms = counts ? past->voted_ms + quiet_ms - world->now_ms : 0;
        size_t at = left_ms > wait_ms ? facts_pod_of(facts, &past->id) : NO_POD;
        if (at == NO_POD || at == primary)
            continue;
        wait_ms = left_ms;
        *ret_other = &world->pods[at];
    }
    return wait_ms;
}

bool failover_may(const struct world *world, const struct facts *facts, size_t candidate,
                  size_t primary, char ret_why[FAILOVER_WHY_SIZE])
{
    struct question q = {world, facts, &world->pods[candidate], &world->pods[primary], ret_why};
    ret_why[0] = '\0';
    if (!world_view_fresh(world, q.p) || !q.p->server.primary)
        return refuse(&q, "%s does not answer as a primary", q.p->name);
    if (!ask_quiet(&q) || !ask_stays(&q) || !ask_synced(&q) || !ask_versions(&q) || !ask_known(&q))
        return false;
    struct voters voters = count_voters(&q);
    if (voters.importer)
        return refuse(&q, "%s has a half-moved slot of %s", voters.importer->name, q.p->name);
    return ask_majority(&q, &voters) && ask_candidates_votes(&q) && ask_voters_pause(&q, &voters);
}

bool failover_may_replace(const struct world *world, const struct facts *facts, size_t candidate,
                          size_t dead, bool by_vote, char ret_why[FAILOVER_WHY_SIZE])
{
    struct question q = {world, facts, &world->pods[candidate], &world->pods[dead], ret_why};
    ret_why[0] = '\0';
    if (!ask_quiet(&q) || !ask_goes_not(&q) || !ask_versions(&q))
        return false;
    struct voters voters = count_voters(&q);
    if (voters.importer)
        return refuse(&q, "%s has a half-moved slot of %s", voters.importer->name, q.p->name);
    return !by_vote ||
           (ask_majority(&q, &voters) && ask_candidates_votes(&q) && ask_voters_pause(&q, &voters));
}
