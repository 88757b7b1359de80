/* SPDX-License-Identifier: Apache-2.0 */
#include "core/survival.h"

#include <stdlib.h>
#include <string.h>

/* What may be lost at once. */
struct domain {
    const char *word;                         /* "node" */
    const char *in;                           /* "on node" */
    const char *(*of)(const struct pod *pod); /* its name for a pod; "" = unknown */
};

static const char *domain_node(const struct pod *pod)
{
    return pod->node;
}

static const char *domain_zone(const struct pod *pod)
{
    return pod->zone;
}

static const struct domain DOMAIN_NODE = {"node", "on node", domain_node};
static const struct domain DOMAIN_ZONE = {"zone", "in zone", domain_zone};

struct judge {
    const struct world *world;
    const struct facts *facts;
    const struct roster *roster;
    struct arena *arena;
};

struct verdict {
    enum held held;
    const char *why;
};

static const char *shard_name(const struct judge *j, const struct shard *shard)
{
    const char *more = slot_range_count(shard->first_range) < shard->slot_count ? ",..." : "";
    if (shard->primary_pod == NO_POD)
        return arena_format(j->arena, "shard %u-%u%s", shard->first_range.first,
                            shard->first_range.last, more);
    return arena_format(j->arena, "shard %u-%u%s (%s)", shard->first_range.first,
                        shard->first_range.last, more, j->world->pods[shard->primary_pod].name);
}

/* An unknown place is like none other: it is never shared. */
static bool domain_shares(const struct domain *domain, const struct pod *a, const struct pod *b)
{
    const char *name = domain->of(a);
    return name[0] && strcmp(name, domain->of(b)) == 0;
}

/* Whether the shard outlives the domain that its primary is in. */
static struct verdict judge_shard(const struct judge *j, const struct domain *domain,
                                  const struct shard *shard)
{
    if (shard->primary_pod == NO_POD) {
        if (!j->roster->complete)
            return (struct verdict){HELD_UNKNOWN, "this agent does not ask every server"};
        return (struct verdict){
            HELD_NO, arena_format(j->arena, "%s has lost its primary", shard_name(j, shard))};
    }
    const struct pod *primary = &j->world->pods[shard->primary_pod];
    size_t in_sync = 0;
    size_t kept_out = 0; /* of elections: in sync, and yet nobody who takes over */
    for (size_t i = 0; i < shard->replica_count; i++) {
        size_t pod = shard->replica_pods[i];
        if (roster_in_sync(j->world, j->facts, j->roster, pod) != HELD_YES)
            continue;
        kept_out += j->world->pods[pod].server.no_failover == 1;
        if (j->world->pods[pod].server.no_failover == 1)
            continue;
        if (!domain_shares(domain, primary, &j->world->pods[pod]))
            return (struct verdict){HELD_YES, ""};
        in_sync++;
    }
    if (!j->roster->complete)
        return (struct verdict){HELD_UNKNOWN, "this agent does not ask every server"};
    if (in_sync == 0)
        return (struct verdict){HELD_NO, arena_format(j->arena, "%s has no replica in sync%s",
                                                      shard_name(j, shard),
                                                      kept_out ? " that may be elected" : "")};
    return (struct verdict){HELD_NO,
                            arena_format(j->arena, "%s has all its copies in sync %s %s",
                                         shard_name(j, shard), domain->in, domain->of(primary))};
}

struct seat {
    const char *place; /* "" = like none other */
    size_t shard;
};

static int seat_cmp(const void *a, const void *b)
{
    const struct seat *sa = a;
    const struct seat *sb = b;
    int order = strcmp(sa->place, sb->place);
    if (order)
        return order;
    return sa->shard < sb->shard ? -1 : sa->shard > sb->shard;
}

/* Whether the primaries outside can elect, whichever domain is lost. */
static struct verdict judge_votes(const struct judge *j, const struct domain *domain)
{
    size_t shards = j->facts->shard_count;
    struct seat *seats = ARENA_NEW(j->arena, struct seat, shards);
    size_t count = 0;
    for (size_t s = 0; s < shards; s++)
        if (j->facts->shards[s].primary_pod != NO_POD)
            seats[count++] =
                (struct seat){domain->of(&j->world->pods[j->facts->shards[s].primary_pod]), s};
    if (count)
        qsort(seats, count, sizeof *seats, seat_cmp);
    size_t worst = 0;
    size_t worst_at = 0;
    for (size_t i = 0, run = 0; i < count; i++) {
        bool same = i > 0 && seats[i].place[0] && strcmp(seats[i].place, seats[i - 1].place) == 0;
        run = same ? run + 1 : 1;
        if (run > worst) {
            worst = run;
            worst_at = i;
        }
    }
    if (count - worst >= shards / 2 + 1)
        return (struct verdict){HELD_YES, ""};
    const char *place = seats[worst_at].place;
    return (struct verdict){HELD_NO,
                            arena_format(j->arena,
                                         "%s %s holds %zu of %zu primaries: without it the other "
                                         "%zu cannot vote",
                                         domain->word, place[0] ? place : "(unknown)", worst,
                                         shards, count - worst)};
}

static struct verdict judge_domain(const struct judge *j, const struct domain *domain)
{
    if (!j->facts->shard_count)
        return (struct verdict){HELD_UNKNOWN, "no shard is known"};
    struct verdict result = {HELD_YES, ""};
    for (size_t s = 0; s < j->facts->shard_count; s++) {
        struct verdict v = judge_shard(j, domain, &j->facts->shards[s]);
        if (v.held == HELD_NO)
            return v;
        if (v.held == HELD_UNKNOWN)
            result = v;
    }
    return result.held == HELD_YES ? judge_votes(j, domain) : result;
}

/* A zone that is not known may be any of those that are; NULL if there is none. */
static const struct pod *find_without_zone(const struct world *world)
{
    for (size_t i = 0; i < world->pod_count; i++)
        if (world->pods[i].node[0] && !world->pods[i].zone[0])
            return &world->pods[i];
    return NULL;
}

static unsigned count_zones(const struct judge *j)
{
    struct index zones;
    index_init(&zones, j->arena, j->world->pod_count);
    for (size_t i = 0; i < j->world->pod_count; i++)
        if (j->world->pods[i].zone[0])
            index_add(&zones, j->world->pods[i].zone, i);
    index_sort(&zones);
    unsigned count = 0;
    for (size_t i = 0; i < zones.count; i++)
        count += i == 0 || strcmp(zones.entries[i].key, zones.entries[i - 1].key) != 0;
    return count;
}

void survival_judge(const struct world *world, const struct facts *facts,
                    const struct roster *roster, struct arena *arena, struct survival *ret_survival)
{
    const struct judge j = {world, facts, roster, arena};
    unsigned zones = count_zones(&j);
    struct verdict node = judge_domain(&j, &DOMAIN_NODE);
    struct verdict zone = {HELD_NOT_APPLICABLE, "no zone is known"};
    if (zones)
        zone = judge_domain(&j, &DOMAIN_ZONE);
    const struct pod *lacks = find_without_zone(world);
    if (zone.held == HELD_YES && lacks)
        zone = (struct verdict){HELD_UNKNOWN,
                                arena_format(arena, "the zone of %s is not known", lacks->name)};
    const char *weakest = "";
    if (node.held == HELD_NO)
        weakest = node.why;
    else if (zone.held == HELD_NO)
        weakest = zone.why;
    *ret_survival = (struct survival){node.held, zone.held, node.why, zone.why, zones, weakest};
}
