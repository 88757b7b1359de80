/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that come first: may anything be done at all, and by whom. */
#include <string.h>

#include "base/text.h"
#include "core/election.h"
#include "core/rules.h"

/* More than a copy can be behind. */
#define BASIS_GENERATIONS 1000

enum rule_verdict rule_settle(struct planner *p)
{
    if (p->world->settling)
        return planner_wait(p, "observing for a full period after a stall before acting again");
    return RULE_PASS;
}

/* What it was started with, or told when its primary stopped, is taken back. */
static void basis_allow_failover(struct planner *p, const struct server *s)
{
    if (s->no_failover != 1 || !election_allows(p->world, p->facts, p->world->me))
        return;
    struct action a = planner_action(p, ACTION_CONFIG_SET, p->world->me, AUTHORITY_OWN);
    a.setting = SETTING_NO_FAILOVER;
    if (!s->primary) { /* who is told to copy another shard meanwhile is not ready for that one */
        a.require = REQUIRE_SAME;
        text_format(a.ip, sizeof a.ip, "%s", s->primary_ip);
        a.port = s->primary_port;
    }
    (void)planner_add(p, a); /* at every start: what others say matters more */
}

enum rule_verdict rule_own_settings(struct planner *p)
{
    const struct world *w = p->world;
    if (w->me == NO_POD || !p->facts->fresh[w->me])
        return RULE_PASS;
    const struct server *s = &w->pods[w->me].server;
    bool known = s->node_timeout_ms > 0; /* settings are read together */
    if (known && w->my_ip[0] && strcmp(s->announce_ip, w->my_ip) != 0) {
        struct action a = planner_action(p, ACTION_CONFIG_SET, w->me, AUTHORITY_OWN);
        a.setting = SETTING_ANNOUNCE_IP;
        text_format(a.ip, sizeof a.ip, "%s", w->my_ip);
        if (planner_add(p, a))
            planner_say(p, "announcing %s instead of %s", w->my_ip,
                        s->announce_ip[0] ? s->announce_ip : "no address");
    }
    if (s->replica_migration == 1) {
        /* Else Redis moves replicas between shards against us, and turns an emptied primary into a
         * replica of the receiver with its data flushed (FACTS 5). */
        struct action a = planner_action(p, ACTION_CONFIG_SET, w->me, AUTHORITY_OWN);
        a.setting = SETTING_REPLICA_MIGRATION;
        if (planner_add(p, a))
            planner_say(p, "switching cluster-allow-replica-migration off: replicas are placed by "
                           "Muster");
    }
    basis_allow_failover(p, s);
    return RULE_PASS;
}

/*
 * Deleted, perhaps with --cascade=orphan to be created again: then its pods live on, and the new one
 * adopts them. Nobody can say meanwhile how many there should be.
 */
enum rule_verdict rule_set_absent(struct planner *p)
{
    const struct world *w = p->world;
    if (!w->set.absent)
        return RULE_PASS;
    return planner_wait(p,
                        "the StatefulSet %s does not exist: its pods are left as they are until it "
                        "is created again and adopts them",
                        w->set.name);
}

enum rule_verdict rule_leader(struct planner *p)
{
    const struct world *w = p->world;
    if (w->leader)
        return RULE_PASS;
    if (w->arbiter == ARBITER_HOSTS)
        return planner_wait(p, "%s", w->leader_why);
    if (!w->leader_pod[0])
        return planner_wait(p, "no leader yet: nobody holds the Lease");
    if (strcmp(w->leader_pod, w->my_pod) == 0)
        return planner_wait(p, "holds the Lease but could not renew it in time: not acting");
    return planner_wait(p, "following %s, which leads", w->leader_pod);
}

enum rule_verdict rule_api(struct planner *p)
{
    const struct world *w = p->world;
    if (w->arbiter == ARBITER_HOSTS)
        return RULE_PASS; /* there is none */
    if (!w->api_seen_ms || !w->set.known)
        return planner_wait(p, "waiting for the first complete word of the Kubernetes API");
    if (!world_api_fresh(w))
        return planner_wait(p, "the Kubernetes API has been silent for %d s: nothing is changed",
                            (int)((w->now_ms - w->api_seen_ms) / 1000));
    /* A Lease that is renewed again says nothing of what has gone and come meanwhile. */
    if (w->api_broken)
        return planner_wait(p, "what the Kubernetes API says has not been read again yet since its "
                               "watch broke: nothing is changed");
    return RULE_PASS;
}

/* "; 5 of 6 servers answer, missing muster-4 (no address yet)", or "". */
static const char *basis_missing(struct planner *p)
{
    const struct facts *f = p->facts;
    if (f->first_missing_ordinal < 0)
        return "";
    return arena_format(p->arena, "; %zu of %zu servers answer, missing %s", f->expected_fresh,
                        f->expected, planner_missing(p, f->first_missing_ordinal));
}

/* The ConfigMap, or without Kubernetes this agent's file. */
static const char *basis_record_name(struct planner *p)
{
    if (p->world->arbiter == ARBITER_HOSTS)
        return "of this host";
    return arena_format(p->arena, "%s-muster", p->world->set.name);
}

/*
 * Ours may be some generations of moves old: their numbers are not used twice, or an agent that read the other
 * moves of that number would be taken for one that has read these.
 */
static const struct record *basis_put_back(const struct planner *p)
{
    struct record *record = ARENA_NEW(p->arena, struct record, 1);
    *record = *p->world->record_copy;
    if (record->move_generation)
        record->move_generation += BASIS_GENERATIONS;
    return record;
}

enum rule_verdict rule_record(struct planner *p)
{
    const struct world *w = p->world;
    switch (w->record_presence) {
    case PRESENCE_UNKNOWN:
        if (w->guards_off & GUARD_RECORD)
            return RULE_PASS;
        return planner_wait(p, "waiting for the record %s to be read", basis_record_name(p));
    case PRESENCE_ABSENT:
        if (!w->record_copy || (w->guards_off & GUARD_RECORD))
            return RULE_PASS;
        (void)planner_put_record(p, basis_put_back(p));
        return planner_wait(p, "the record %s-muster was deleted: putting it back from our copy",
                            w->set.name);
    case PRESENCE_PRESENT:
        break;
    }
    if (!w->record)
        return planner_wait(p, "the record %s cannot be read (%s): nothing is changed",
                            basis_record_name(p),
                            w->record_problem ? w->record_problem : "unknown");
    if (w->record_disputed) {
        (void)planner_put_record(p, w->record); /* which makes it the next generation */
        return planner_wait(p, "the agents hold different records of one generation: writing ours "
                               "again as the next");
    }
    return RULE_PASS;
}

/* Slots whose owner lost its volume and that nobody who answers has a copy of. */
static unsigned basis_lost_slots(const struct planner *p)
{
    unsigned lost = 0;
    for (size_t s = 0; s < p->facts->shard_count; s++) {
        const struct shard *shard = &p->facts->shards[s];
        if (!shard->replica_count && record_forgets(p->world->record, &shard->primary))
            lost += shard->slot_count;
    }
    return lost;
}

/* Half of the primaries and more are gone for good, so that nobody can be elected (FACTS 7). */
static bool basis_lost_majority(const struct planner *p)
{
    size_t gone = 0;
    for (size_t s = 0; s < p->facts->shard_count; s++)
        gone += record_forgets(p->world->record, &p->facts->shards[s].primary);
    return gone && gone >= p->facts->shard_count - p->facts->shard_count / 2;
}

/* Views that were not read are not disagreement. */
static bool basis_agreed(const struct facts *f)
{
    return f->reference_ours && f->reference_votes > f->views / 2;
}

/* A replica that Redis does not elect, though its primary is away: what it waits for; NULL = none. */
static const char *basis_heir_waits(struct planner *p)
{
    const struct facts *f = p->facts;
    for (size_t s = 0; s < f->shard_count; s++) {
        const struct shard *shard = &f->shards[s];
        const struct record_member *m = facts_member(p->world, f, &shard->primary);
        const struct pod *heir = NULL;
        bool open =
            shard->primary_pod != NO_POD || !m || election_find_held(p->world, f, &shard->primary);
        for (size_t r = 0; r < shard->replica_count; r++) {
            const struct pod *pod = &p->world->pods[shard->replica_pods[r]];
            open |= pod->server.no_failover != 1;
            heir = pod->server.keys > 0 ? pod : heir;
        }
        if (heir && !open)
            return arena_format(p->arena,
                                "%s may lack writes that %s has on its disk, and waits for it "
                                "(CLUSTER FAILOVER FORCE at %s would give them up)",
                                heir->name, m->pod, heir->name);
    }
    return NULL;
}

static void basis_say_uncovered(struct planner *p)
{
    const char *waits = basis_heir_waits(p);
    if (!waits && p->plan->takeover.lost)
        waits = "too few primaries answer for an election: waiting for their pods (muster "
                "takeover, by a person, gives up what is lost for good)";
    planner_say(p, "%u of %u slots are not served: %s%s", SLOT_COUNT - p->facts->slots_covered,
                SLOT_COUNT, waits ? waits : "waiting for Redis's own election or for their pod",
                basis_missing(p));
}

/* What an operator must know first, whatever else is being done. */
enum rule_verdict rule_serving(struct planner *p)
{
    const struct facts *f = p->facts;
    if (planner_forming(p) || !p->world->record || !basis_agreed(f))
        return RULE_PASS;
    bool all_answer = f->first_missing_ordinal < 0; /* a missing one may own them */
    unsigned lost = basis_lost_slots(p);
    if (all_answer && lost)
        planner_say(p,
                    "%u of %u slots were lost with the volumes of their primary and its replicas: "
                    "a person must decide",
                    lost, SLOT_COUNT);
    else if (all_answer && f->slots_assigned < SLOT_COUNT)
        planner_say(p,
                    "%u of %u slots belong to no node: a person must assign them (CLUSTER "
                    "ADDSLOTSRANGE)",
                    SLOT_COUNT - f->slots_assigned, SLOT_COUNT);
    else if (all_answer && f->slots_covered < SLOT_COUNT && basis_lost_majority(p))
        planner_say(p,
                    "%u of %u slots are not served, and too few primaries are left to elect their "
                    "replicas: muster takeover, by a person, lets these take over from what is "
                    "lost for good",
                    SLOT_COUNT - f->slots_covered, SLOT_COUNT);
    else if (f->slots_covered < SLOT_COUNT)
        basis_say_uncovered(p);
    return RULE_PASS;
}

/* Of owners whom nobody has found failed yet, and who do not answer us. */
static unsigned basis_slots_silent(const struct facts *f)
{
    unsigned slots = 0;
    for (size_t s = 0; s < f->shard_count; s++)
        if (f->shards[s].primary_pod == NO_POD || !f->fresh[f->shards[s].primary_pod])
            slots += f->shards[s].slot_count;
    return slots;
}

enum rule_verdict rule_steady(struct planner *p)
{
    const struct facts *f = p->facts;
    const char *missing = basis_missing(p);
    const char *shards = planner_count(p, f->shard_count, "shard");
    if (!f->reference)
        return planner_wait(p, "no server's view of the cluster can be read%s", missing);
    if (!basis_agreed(f))
        return planner_wait(p, "the servers do not agree on the cluster: %zu of %zu share a view%s",
                            f->reference_votes, f->views, missing);
    if (f->open_pod != NO_POD)
        return planner_wait(p, "slot %u of %s is half-moved: left as it is%s",
                            p->world->pods[f->open_pod].server.view->open_slots[0].slot,
                            p->world->pods[f->open_pod].name, missing);
    unsigned silent = basis_slots_silent(f);
    if (missing[0] && silent)
        return planner_wait(p, "the owners of %u of %u slots do not answer%s", silent, SLOT_COUNT,
                            missing);
    if (missing[0])
        return planner_wait(p, "every slot is served by %s%s", shards, missing);
    return planner_wait(p, "nothing to do: %s, every slot is served by %s%s",
                        f->expected_fresh == 1
                            ? "1 server answers"
                            : arena_format(p->arena, "%zu servers answer", f->expected_fresh),
                        shards, p->note ? p->note : "");
}
