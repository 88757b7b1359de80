/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Held primaries that take the majority with them (DESIGN 5.4). A primary that came back without
 * its data is held at its gate until another node owns its slots. Redis elects that node by the
 * votes of most primaries with slots; where too many of those are held themselves, nobody can, and
 * the leader orders CLUSTER FAILOVER TAKEOVER on the best replica, one shard at a time. What makes
 * that safe is the gate: the one who could own the slots as well is not running, by the word of its
 * agent and by the refusal of its port, and does not start before it has seen another own them.
 *
 * Where most could elect but do not, the best replica is told to ask for the votes (FORCE).
 */
#include <string.h>

#include "core/rules.h"

/* Its agent holds it back, without data, and nothing listens there. */
static const struct pod *held_primary(const struct planner *p, const struct shard *shard)
{
    const struct world *w = p->world;
    size_t member = index_find(&p->facts->members, shard->primary.hex);
    size_t at = member == INDEX_NONE ? NO_POD : p->facts->pod_of_member[member];
    if (at == NO_POD)
        return NULL;
    const struct pod *pod = &w->pods[at];
    const struct gate_word *word = world_gate_word(w, pod);
    bool refused =
        pod->server.reach == REACH_REFUSED && w->now_ms - pod->server.asked_ms <= WORLD_FRESH_MS;
    return word && !word->data && refused ? pod : NULL;
}

/* So many are known not to vote: a server that is only silent may do so where we cannot see it. */
static size_t held_count(const struct planner *p)
{
    size_t count = 0;
    for (size_t s = 0; s < p->facts->shard_count; s++)
        count += held_primary(p, &p->facts->shards[s]) != NULL;
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
static size_t held_heir(struct planner *p, const struct shard *shard, const struct pod *held)
{
    const struct world *w = p->world;
    size_t heir = NO_POD;
    for (size_t r = 0; r < shard->replica_count; r++) {
        const struct pod *pod = &w->pods[shard->replica_pods[r]];
        if (!world_view_fresh(w, pod) || pod->server.view_outdated || !pod->server.keys ||
            pod->terminating || !node_id_eq(&pod->server.view->myself->primary, &shard->primary))
            continue;
        if (heir == NO_POD || pod->server.offset > w->pods[heir].server.offset)
            heir = shard->replica_pods[r];
    }
    if (heir == NO_POD)
        planner_say(p,
                    "%s is held without its data, and no replica that answers has any: waiting for "
                    "another, or for `muster gate open %s`",
                    held->name, held->name);
    else if (shard->replicas_known > shard->replica_count) {
        planner_say(p,
                    "%s is held without its data: waiting for all its replicas, one may have "
                    "more than %s; else a person must order CLUSTER FAILOVER TAKEOVER there",
                    held->name, w->pods[heir].name);
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

/*
 * Most primaries answer and could elect, and did not: the replica has waited for longer than
 * cluster-replica-validity-factor lets it ask for votes, or too few have found the primary failed.
 * FORCE asks for the same votes without either question. Redis tries for 4 x NT; the rest is for
 * gossip and the clocks (DESIGN 5.3).
 */
static bool held_may_force(const struct planner *p, const struct pod *held, int64_t *ret_after_ms)
{
    *ret_after_ms = 4 * held_node_timeout_ms(p) + 10000;
    return held_for_ms(p, held) >= *ret_after_ms;
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

/* True when this turn's one act for a held primary was found. */
static bool held_replace(struct planner *p, const struct shard *shard, bool by_vote)
{
    const struct pod *held = held_primary(p, shard);
    int64_t again_ms = 0;
    if (!held || (by_vote && !held_may_force(p, held, &again_ms)))
        return false;
    if (held_is_taken(p, shard)) {
        planner_say(p, "the slots of %s are being taken over", held->name);
        return true;
    }
    size_t heir = held_heir(p, shard, held);
    if (heir == NO_POD)
        return false;
    struct action a =
        planner_action(p, by_vote ? ACTION_FORCE : ACTION_TAKEOVER, heir, AUTHORITY_LEADER);
    a.require = REQUIRE_REPLICA;
    a.subject = shard->primary;
    a.value = again_ms;
    (void)planner_add(p, a);
    if (by_vote)
        planner_say(p,
                    "%s is held without its data for %d s and nobody was elected: %s asks for the "
                    "votes for its %u slots",
                    held->name, (int)(held_for_ms(p, held) / 1000), p->world->pods[heir].name,
                    shard->slot_count);
    else
        planner_say(p,
                    "%s is held without its data and no majority can elect: %s takes over its "
                    "%u slots",
                    held->name, p->world->pods[heir].name, shard->slot_count);
    return true;
}

enum rule_verdict rule_held(struct planner *p)
{
    const struct facts *f = p->facts;
    if (!planner_formed(p) || p->world->arbiter != ARBITER_LEASE || !f->reference_ours)
        return RULE_PASS;
    size_t held_all = held_count(p);
    bool can_elect = f->shard_count - held_all > f->shard_count / 2;
    if (!held_all || (can_elect && held_voters(p) <= f->shard_count / 2))
        return RULE_PASS;
    for (size_t s = 0; s < f->shard_count; s++)
        if (held_replace(p, &f->shards[s], can_elect))
            break; /* one at a time */
    return RULE_PASS;
}
