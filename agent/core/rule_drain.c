/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers that are to stop (DESIGN 5.5): who orders the hand-over. It is the agent beside the primary,
 * by itself, since it works without Lease and API too; the leader only when that agent is silent for
 * longer than an order of its could still be under way.
 */
#include "base/text.h"
#include "core/election.h"
#include "core/failover.h"
#include "core/rules.h"

static bool drain_order(struct planner *p, size_t primary, size_t heir, enum authority authority)
{
    return planner_add(p, planner_failover(p, &p->world->pods[primary], heir, authority));
}

/*
 * Those followers that lack some of the primary's data do not take part in elections until they have
 * it, so that it may be away for as long as its pod needs.
 */
static bool drain_tell(struct planner *p, size_t primary, int64_t since_ms,
                       enum authority authority)
{
    bool told = false;
    for (size_t i = 0; i < p->world->pod_count; i++) {
        if (!election_is_open(p->world, p->facts, i, primary, since_ms))
            continue;
        struct action a = planner_action(p, ACTION_CONFIG_SET, i, authority);
        a.require = REQUIRE_REPLICA;
        a.setting = SETTING_NO_FAILOVER;
        a.value = 1;
        told |= planner_add(p, a);
    }
    return told;
}

enum rule_verdict rule_drain(struct planner *p)
{
    const struct world *w = p->world;
    struct drain_verdict *verdict = &p->plan->drain;
    drain_judge(w, p->facts, w->me, &w->drain, verdict);
    if (verdict->step == DRAIN_NONE)
        return RULE_PASS;
    p->plan->wants_views |= verdict->hurry;
    if (verdict->heir != NO_POD)
        (void)drain_order(p, w->me, verdict->heir, AUTHORITY_OWN);
    if (verdict->tells)
        (void)drain_tell(p, w->me, w->drain.since_ms, AUTHORITY_OWN);
    planner_say(p, "%s", verdict->reason);
    return RULE_PASS;
}

/*
 * Whether it stops, and when, is its hook's to say: what can be done is done now. `before`: whose slots
 * are handed over in this moment, NULL = nobody's. Returns whose are then.
 */
static const struct pod *drain_orphan(struct planner *p, const struct shard *shard,
                                      const struct pod *before)
{
    const struct world *w = p->world;
    size_t at = shard->primary_pod;
    const char *name = w->pods[at].name;
    char why[FAILOVER_WHY_SIZE];
    size_t heir = failover_choose(w, p->facts, at, why);
    if (!before)
        (void)failover_wait_ms(w, p->facts, at, FAILOVER_TURN_MS, true, &before);
    if (heir != NO_POD && before) {
        planner_say(
            p, "%s is to stop and its agent is silent: its %u slots go to %s after those of %s",
            name, shard->slot_count, w->pods[heir].name, before->name);
        return before;
    }
    if (heir != NO_POD && drain_order(p, at, heir, AUTHORITY_LEADER)) {
        planner_say(p, "%s is to stop and its agent is silent: its %u slots go to %s", name,
                    shard->slot_count, w->pods[heir].name);
        return &w->pods[at];
    }
    bool keeps =
        heir == NO_POD && drain_is_on_disk(w, &w->pods[at]) && !(w->guards_off & GUARD_KEPT);
    bool told = keeps && drain_tell(p, at, 0, AUTHORITY_LEADER);
    planner_say(p, "%s is to stop and its agent is silent: %s%s", name, why,
                told ? "; who lacks some of its data is told to wait for it" : "");
    return before;
}

enum rule_verdict rule_drain_silent(struct planner *p)
{
    const struct world *w = p->world;
    const struct pod *handed = NULL;
    for (size_t s = 0; s < p->facts->shard_count; s++) {
        size_t at = p->facts->shards[s].primary_pod;
        if (at == NO_POD || at == w->me || !w->pods[at].terminating ||
            !failover_is_mute(w, &w->pods[at]) || !world_view_fresh(w, &w->pods[at]))
            continue;
        handed = drain_orphan(p, &p->facts->shards[s], handed);
    }
    return RULE_PASS;
}
