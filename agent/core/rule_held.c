/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Held primaries that take the majority with them (DESIGN 5.4). A primary that came back without
 * its data is held at its gate until another node owns its slots. Redis elects that node by the
 * votes of most primaries with slots; where too many of those are held themselves, nobody can, and
 * the leader orders CLUSTER FAILOVER TAKEOVER on the best replica, one shard at a time. What makes
 * that safe is the gate: the one who could own the slots as well is not running, by the word of its
 * agent and by the refusal of its port, and does not start before it has seen another own them.
 *
 * A primary whose volume is gone votes no more either, though nothing holds it: its pod's server is
 * another node now. Its own slots are only ever given by votes.
 *
 * Where most could elect but do not, the best replica is told to ask for the votes (FORCE). What
 * nothing holds is taken over by a person's word only.
 */
#include <string.h>

#include "core/election.h"
#include "core/rules.h"

/* Its agent holds it back, without data, and nothing listens there. */
static const struct pod *held_primary(const struct planner *p, const struct shard *shard)
{
    return election_find_held(p->world, p->facts, &shard->primary);
}

/* Its pod answers with another id, and the record says that this one is to be forgotten. */
static bool held_is_gone(const struct planner *p, const struct shard *shard)
{
    return shard->primary_pod == NO_POD && record_forgets(p->world->record, &shard->primary);
}

/* So many are known not to vote: a server that is only silent may do so where we cannot see it. */
static size_t held_count(const struct planner *p)
{
    size_t count = 0;
    for (size_t s = 0; s < p->facts->shard_count; s++)
        count += held_primary(p, &p->facts->shards[s]) || held_is_gone(p, &p->facts->shards[s]);
    return count;
}

/*
 * A follower that answers as a primary is taking the slots already, whatever views say that were read
 * before: another one must not take them from it.
 */
static bool held_is_taken(const struct planner *p, const struct shard *shard)
{
    for (size_t r = 0; r < shard->replica_count; r++)
        if (p->world->pods[shard->replica_pods[r]].server.primary)
            return true;
    return false;
}

/* The follower that has most; NO_POD with the reason said when that cannot be told. */
static size_t held_heir(struct planner *p, const struct shard *shard, const struct pod *held,
                        const char *what)
{
    const struct world *w = p->world;
    size_t heir = NO_POD;
    for (size_t r = 0; r < shard->replica_count; r++) {
        const struct pod *pod = &w->pods[shard->replica_pods[r]];
        if (!world_view_fresh(w, pod) || pod->server.view_outdated || !pod->server.keys ||
            pod->terminating || !node_id_eq(&pod->server.view->myself->primary, &shard->primary) ||
            election_is_strange(w, p->facts, shard->replica_pods[r]))
            continue;
        if (heir == NO_POD || pod->server.offset > w->pods[heir].server.offset)
            heir = shard->replica_pods[r];
    }
    if (heir == NO_POD)
        planner_say(p, "%s, and no replica that answers has any: waiting for another%s", what,
                    held ? arena_format(p->arena, ", or for `muster gate open %s`", held->name)
                         : ", or for a person to decide");
    else if (shard->replicas_known > shard->replica_count) {
        planner_say(p,
                    "%s: waiting for all its replicas, one may have more than %s; else a person "
                    "must order CLUSTER FAILOVER TAKEOVER there",
                    what, w->pods[heir].name);
        return NO_POD;
    }
    return heir;
}

/* For how long its agent has held it, as it says. */
static int64_t held_for_ms(const struct planner *p, const struct pod *pod)
{
    return p->world->now_ms - pod->told.heard_ms + pod->told.gate.waits_ms;
}

static int64_t held_node_timeout_ms(const struct planner *p)
{
    int64_t longest = 0;
    for (size_t i = 0; i < p->world->pod_count; i++)
        if (p->facts->belongs[i] && p->world->pods[i].server.node_timeout_ms > longest)
            longest = p->world->pods[i].server.node_timeout_ms;
    return longest;
}

/* No server is younger: for so long at least the one that is gone has not run. */
static int64_t held_gone_ms(const struct planner *p)
{
    int64_t youngest = INT64_MAX;
    for (size_t i = 0; i < p->world->pod_count; i++)
        if (p->facts->fresh[i] && p->world->pods[i].server.uptime_ms < youngest)
            youngest = p->world->pods[i].server.uptime_ms;
    return youngest;
}

/*
 * Most primaries answer and could elect, and did not: the replica has waited for longer than
 * cluster-replica-validity-factor lets it ask for votes, or too few have found the primary failed.
 * FORCE asks for the same votes without either question. Redis tries for 4 x NT; the rest is for
 * gossip and the clocks (DESIGN 5.3).
 */
static int64_t held_again_ms(const struct planner *p)
{
    return 4 * held_node_timeout_ms(p) + 10000;
}

static bool held_may_force(const struct planner *p, const struct pod *held, int64_t *ret_after_ms)
{
    *ret_after_ms = held_again_ms(p);
    return (held ? held_for_ms(p, held) : held_gone_ms(p)) >= *ret_after_ms;
}

static size_t held_voters(const struct planner *p)
{
    size_t count = 0;
    for (size_t s = 0; s < p->facts->shard_count; s++) {
        size_t pod = p->facts->shards[s].primary_pod;
        count += pod != NO_POD && p->facts->belongs[pod];
    }
    return count;
}

/* "muster-0 is held without its data", of a primary that does not vote. */
static const char *held_what(struct planner *p, const struct shard *shard, const struct pod *held)
{
    return held ? arena_format(p->arena, "%s is held without its data", held->name)
                : arena_format(p->arena, "node %.8s is gone with its volume", shard->primary.hex);
}

/* What no gate holds is given by votes only, and where somebody may have a copy. */
static bool held_concerns(const struct planner *p, const struct shard *shard,
                          const struct pod *held, bool by_vote)
{
    return held || (by_vote && held_is_gone(p, shard) && shard->replica_count);
}

/* Who was told to wait for the data that is gone need not wait any more. */
static void held_allow(struct planner *p, const struct shard *shard)
{
    for (size_t r = 0; r < shard->replica_count; r++) {
        size_t at = shard->replica_pods[r];
        if (p->world->pods[at].server.no_failover != 1 || !election_allows(p->world, p->facts, at))
            continue;
        struct action a = planner_action(p, ACTION_CONFIG_SET, at, AUTHORITY_LEADER);
        a.setting = SETTING_NO_FAILOVER;
        (void)planner_add(p, a);
    }
}

/* Whoever was elected meanwhile, it follows: a vote on top of that would be against one that lives. */
static void held_order(struct planner *p, enum action_kind kind, size_t heir,
                       const struct node_id *subject, int64_t value)
{
    const struct server *s = &p->world->pods[heir].server;
    struct action a = planner_action(p, kind, heir, AUTHORITY_LEADER);
    a.require = REQUIRE_REPLICA | REQUIRE_SAME;
    text_format(a.ip, sizeof a.ip, "%s", s->primary_ip);
    a.port = s->primary_port;
    a.subject = *subject;
    a.value = value;
    (void)planner_add(p, a);
}

/* True when this turn's one act for a primary that does not vote was found. */
static bool held_replace(struct planner *p, const struct shard *shard, bool by_vote)
{
    const struct pod *held = held_primary(p, shard);
    int64_t again_ms = 0;
    if (!held_concerns(p, shard, held, by_vote) || (by_vote && !held_may_force(p, held, &again_ms)))
        return false;
    const char *what = held_what(p, shard, held);
    if (held_is_taken(p, shard)) {
        planner_say(p, "%s: its slots are being taken over", what);
        return true;
    }
    size_t heir = held_heir(p, shard, held, what);
    if (heir == NO_POD)
        return false;
    held_order(p, by_vote ? ACTION_FORCE : ACTION_TAKEOVER, heir, &shard->primary, again_ms);
    const char *name = p->world->pods[heir].name;
    int64_t lasts_ms = held ? held_for_ms(p, held) : held_gone_ms(p);
    if (by_vote)
        planner_say(p, "%s for %d s and nobody was elected: %s asks for the votes for its %u slots",
                    what, (int)(lasts_ms / 1000), name, shard->slot_count);
    else
        planner_say(p, "%s and no majority can elect: %s takes over its %u slots", what, name,
                    shard->slot_count);
    return true;
}

/* What a person has ordered, and what one may (core/takeover.h). True if that is this turn's one act. */
static bool held_obey(struct planner *p)
{
    struct takeover_verdict *verdict = &p->plan->takeover;
    takeover_judge(p->world, p->facts, verdict);
    if (!p->world->takeover.asked_ms || !verdict->part)
        return false;
    bool sees_all = planner_sees_all(p);
    p->plan->wants_views = true;
    if (verdict->heir == NO_POD)
        return false;
    if (!sees_all) { /* above OBSERVE_SWEEP_MAX servers one that hears a lost primary may not be read */
        planner_say(p, "a person has ordered a takeover: waiting for the views of all servers");
        return true;
    }
    held_order(p, verdict->lost ? ACTION_TAKEOVER : ACTION_FORCE, verdict->heir, &verdict->primary,
               verdict->lost ? 0 : held_again_ms(p));
    planner_say(p, "a person has ordered it, and %s", verdict->reason);
    return true;
}

enum rule_verdict rule_held(struct planner *p)
{
    const struct facts *f = p->facts;
    if (!planner_formed(p) || p->world->arbiter != ARBITER_LEASE || !f->reference_ours)
        return RULE_PASS;
    if (held_obey(p))
        return RULE_PASS;
    size_t held_all = held_count(p);
    bool can_elect = f->shard_count - held_all > f->shard_count / 2;
    if (!held_all || (can_elect && held_voters(p) <= f->shard_count / 2))
        return RULE_PASS;
    for (size_t s = 0; can_elect && s < f->shard_count; s++)
        if (held_primary(p, &f->shards[s]))
            held_allow(p, &f->shards[s]);
    for (size_t s = 0; s < f->shard_count; s++)
        if (held_replace(p, &f->shards[s], can_elect))
            break; /* one at a time */
    return RULE_PASS;
}
