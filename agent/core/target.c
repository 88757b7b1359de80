/* SPDX-License-Identifier: Apache-2.0 */
#include "core/target.h"

#include <assert.h>
#include <stdlib.h>

#include "core/index.h"

/* The search as it goes. */
struct search {
    const struct target_ask *ask;
    struct arena *arena;
    unsigned width; /* copies that each shard is to have */

    /* By pod: the first one at the same node or zone. Who is at an unknown one is alone there. */
    size_t *node;
    size_t *zone;
    unsigned *node_primaries; /* by such a first pod */
    unsigned *zone_primaries;

    struct target_shard *shards;
    size_t shard_count;
    struct target_part *parts;
    size_t *became;
    size_t *heirs;
    size_t *first; /* by shard of the target: a pod that serves it; `next`, by pod: one more */
    size_t *next;
};

/* ---- Where pods are ---- */

static size_t *search_group(const struct search *s, bool zone)
{
    size_t count = s->ask->pod_count;
    struct index names;
    size_t *first = ARENA_NEW(s->arena, size_t, count);
    index_init(&names, s->arena, count);
    for (size_t i = 0; i < count; i++) {
        const struct place *place = &s->ask->pods[i].place;
        index_add(&names, zone ? place->zone : place->node, i);
    }
    index_sort(&names);
    for (size_t i = 0; i < count; i++) {
        const struct place *place = &s->ask->pods[i].place;
        const char *name = zone ? place->zone : place->node;
        first[i] = name[0] ? index_find(&names, name) : i;
    }
    return first;
}

/* How badly the pod fits beside the shard's copies, `except` left out: 2 one node, 1 one zone. */
static unsigned search_clash(const struct search *s, size_t shard, size_t pod, size_t except)
{
    unsigned clash = 0;
    for (size_t other = s->first[shard]; other != TARGET_NONE; other = s->next[other]) {
        if (other == except || other == pod)
            continue;
        if (s->node[other] == s->node[pod])
            return 2;
        if (s->zone[other] == s->zone[pod])
            clash = 1;
    }
    return clash;
}

/* True if the pod is a better place for one more primary than the other: zones before nodes. */
static bool search_spreads(const struct search *s, size_t pod, size_t than)
{
    unsigned zone = s->zone_primaries[s->zone[pod]];
    unsigned other = s->zone_primaries[s->zone[than]];
    if (zone != other)
        return zone < other;
    return s->node_primaries[s->node[pod]] < s->node_primaries[s->node[than]];
}

/* ---- Which shards go on ---- */

struct offer {
    size_t shard;
    long cost; /* of going on, less that of ending: slots */
    unsigned kept;
    unsigned staying;
    bool primary_stays;
};

static int offer_cmp(const void *a, const void *b)
{
    const struct offer *oa = a;
    const struct offer *ob = b;
    if (oa->cost != ob->cost)
        return oa->cost < ob->cost ? -1 : 1;
    if (oa->kept != ob->kept) /* rather a copy more than slots on their way */
        return oa->kept > ob->kept ? -1 : 1;
    if (oa->staying != ob->staying)
        return oa->staying > ob->staying ? -1 : 1;
    if (oa->primary_stays != ob->primary_stays)
        return oa->primary_stays ? -1 : 1;
    return oa->shard < ob->shard ? -1 : oa->shard > ob->shard;
}

static unsigned search_slots(const struct search *s)
{
    unsigned sum = 0;
    for (size_t i = 0; i < s->ask->shard_count; i++)
        sum += s->ask->slots[i];
    return sum;
}

/* The shards of which a copy stays, cheapest first; returns their number. */
static size_t search_offers(const struct search *s, unsigned wanted, struct offer *ret_offers)
{
    const struct target_ask *ask = s->ask;
    struct offer *offers = ARENA_NEW(s->arena, struct offer, ask->shard_count);
    size_t count = 0;
    unsigned share = search_slots(s) / wanted;
    for (size_t i = 0; i < ask->pod_count; i++) {
        const struct target_pod *pod = &ask->pods[i];
        if (!s->parts[i].stays || pod->shard == TARGET_NONE)
            continue;
        offers[pod->shard].staying++;
        offers[pod->shard].primary_stays |= pod->primary;
    }
    for (size_t i = 0; i < ask->shard_count; i++) {
        if (!offers[i].staying)
            continue;
        /* Going on it gives away what it has above its share, ending everything. */
        unsigned kept = ask->slots[i] < share ? ask->slots[i] : share;
        unsigned lacks = offers[i].staying < s->width ? s->width - offers[i].staying : 0;
        offers[i].shard = i;
        offers[i].kept = kept;
        offers[i].cost = (long)lacks * (long)share - (long)kept;
        ret_offers[count++] = offers[i];
    }
    if (count)
        qsort(ret_offers, count, sizeof *ret_offers, offer_cmp);
    return count;
}

/* How many more shards the pods are enough for. */
static size_t search_room(const struct search *s, size_t go_on, size_t staying)
{
    assert(s->width);
    if (!go_on && staying < s->width)
        return 1;
    size_t needed = go_on * s->width;
    return staying > needed ? (staying - needed) / s->width : 0;
}

static void search_choose_shards(struct search *s, size_t staying)
{
    const struct target_ask *ask = s->ask;
    unsigned wanted = placement_shards(ask->replicas, ask->replicas_per_primary);
    if (!wanted)
        wanted = 1;
    struct offer *offers = ARENA_NEW(s->arena, struct offer, ask->shard_count);
    size_t go_on = search_offers(s, wanted, offers);
    if (go_on > wanted)
        go_on = wanted;
    size_t room = search_room(s, go_on, staying);
    size_t more = wanted - go_on < room ? wanted - go_on : room;
    if (!go_on && !more)
        more =
            1; /* who stays is too few for a whole shard, and none of an old one: a primary alone */

    bool *chosen = ARENA_NEW(s->arena, bool, ask->shard_count);
    for (size_t i = 0; i < go_on; i++)
        chosen[offers[i].shard] = true;
    s->shards = ARENA_NEW(s->arena, struct target_shard, go_on + more);
    for (size_t i = 0; i < ask->shard_count; i++) {
        s->became[i] = chosen[i] ? s->shard_count : TARGET_NONE;
        if (chosen[i])
            s->shards[s->shard_count++] = (struct target_shard){.was = i, .primary = TARGET_NONE};
    }
    for (size_t i = 0; i < more; i++)
        s->shards[s->shard_count++] =
            (struct target_shard){.was = TARGET_NONE, .primary = TARGET_NONE};
}

/* ---- How many slots each has ---- */

struct holding {
    size_t shard;
    unsigned slots;
};

static int holding_cmp(const void *a, const void *b)
{
    const struct holding *ha = a;
    const struct holding *hb = b;
    if (ha->slots != hb->slots)
        return ha->slots > hb->slots ? -1 : 1;
    return ha->shard < hb->shard ? -1 : ha->shard > hb->shard;
}

static unsigned search_today(const struct search *s, size_t shard)
{
    return s->shards[shard].was == TARGET_NONE ? 0 : s->ask->slots[s->shards[shard].was];
}

/* No shard comes or goes, and none lacks much of its share. */
static bool search_is_even(const struct search *s, unsigned sum)
{
    assert(s->ask->slack <= 100);
    if (s->shard_count != s->ask->shard_count)
        return false;
    for (size_t i = 0; i < s->shard_count; i++) {
        unsigned long slots = search_today(s, i) * s->shard_count * 100;
        if (!slots || slots < (unsigned long)sum * (100 - s->ask->slack))
            return false;
    }
    return true;
}

/* As even as whole numbers allow: what remains is for those that have the most. */
static void search_share(struct search *s)
{
    assert(s->shard_count);
    unsigned sum = search_slots(s);
    unsigned share = sum / (unsigned)s->shard_count;
    size_t rest = sum % (unsigned)s->shard_count;
    bool even = s->ask->slack && search_is_even(s, sum);
    struct holding *holdings = ARENA_NEW(s->arena, struct holding, s->shard_count);
    for (size_t i = 0; i < s->shard_count; i++)
        holdings[i] = (struct holding){i, search_today(s, i)};
    qsort(holdings, s->shard_count, sizeof *holdings, holding_cmp);
    for (size_t i = 0; i < s->shard_count; i++)
        s->shards[holdings[i].shard].slots = even ? holdings[i].slots : share + (i < rest);
}

/* ---- Who serves what ---- */

static void search_serve(struct search *s, size_t shard, size_t pod, bool fills)
{
    s->next[pod] = s->first[shard];
    s->first[shard] = pod;
    s->shards[shard].copies++;
    s->parts[pod].shard = shard;
    s->parts[pod].fills = fills;
}

static void search_release(struct search *s, size_t pod)
{
    size_t shard = s->parts[pod].shard;
    size_t *at = &s->first[shard];
    while (*at != pod)
        at = &s->next[*at];
    *at = s->next[pod];
    s->shards[shard].copies--;
    s->parts[pod].shard = TARGET_NONE;
}

static void search_lead(struct search *s, size_t shard, size_t pod)
{
    s->shards[shard].primary = pod;
    s->parts[pod].primary = true;
    s->node_primaries[s->node[pod]]++;
    s->zone_primaries[s->zone[pod]]++;
}

/* Who stays keeps its shard, if that goes on, and its role, unless the primary leaves. */
static void search_keep(struct search *s)
{
    const struct target_ask *ask = s->ask;
    for (size_t i = 0; i < ask->pod_count; i++) {
        size_t was = ask->pods[i].shard;
        if (!s->parts[i].stays || was == TARGET_NONE || s->became[was] == TARGET_NONE)
            continue;
        search_serve(s, s->became[was], i, false);
        if (ask->pods[i].primary)
            search_lead(s, s->became[was], i);
    }
    for (size_t shard = 0; shard < s->shard_count; shard++) {
        struct target_shard *t = &s->shards[shard];
        if (t->was == TARGET_NONE || t->primary != TARGET_NONE)
            continue;
        size_t heir = s->first[shard];
        for (size_t pod = s->next[heir]; pod != TARGET_NONE; pod = s->next[pod])
            if (!search_spreads(s, heir, pod)) /* of equals the lowest ordinal, which comes last */
                heir = pod;
        t->handed = true;
        s->heirs[t->was] = heir;
        search_lead(s, shard, heir);
    }
}

/* A shard that ends: whoever stays of it takes it over, if its primary leaves; its slots move from there. */
static void search_end(struct search *s)
{
    const struct target_ask *ask = s->ask;
    bool *stays = ARENA_NEW(s->arena, bool, ask->shard_count);
    for (size_t i = 0; i < ask->pod_count; i++)
        if (ask->pods[i].shard != TARGET_NONE && ask->pods[i].primary)
            stays[ask->pods[i].shard] = s->parts[i].stays;
    for (size_t i = 0; i < ask->pod_count; i++) {
        size_t was = ask->pods[i].shard;
        if (was != TARGET_NONE && s->parts[i].stays && s->became[was] == TARGET_NONE &&
            !stays[was] && s->heirs[was] == TARGET_NONE)
            s->heirs[was] = i;
    }
}

static bool search_is_free(const struct search *s, size_t pod)
{
    return s->parts[pod].stays && s->parts[pod].shard == TARGET_NONE;
}

/* A replica that its shard can do without, of the shard that has the most; it becomes free. */
static size_t search_spare(struct search *s)
{
    size_t shard = 0;
    for (size_t i = 1; i < s->shard_count; i++)
        if (s->shards[i].copies > s->shards[shard].copies)
            shard = i;
    struct target_shard *t = &s->shards[shard];
    if (t->copies <= s->width)
        return TARGET_NONE;
    size_t worst = TARGET_NONE;
    for (size_t pod = s->first[shard]; pod != TARGET_NONE; pod = s->next[pod])
        if (pod != t->primary && (worst == TARGET_NONE || search_clash(s, shard, pod, pod) >
                                                              search_clash(s, shard, worst, worst)))
            worst = pod;
    search_release(s, worst);
    return worst;
}

/* A new shard's primary: rather one that holds nothing, then where the fewest primaries are. */
static size_t search_founder(struct search *s)
{
    size_t best = TARGET_NONE;
    for (size_t i = 0; i < s->ask->pod_count; i++) {
        if (!search_is_free(s, i))
            continue;
        bool empty = s->ask->pods[i].shard == TARGET_NONE;
        bool best_empty = best != TARGET_NONE && s->ask->pods[best].shard == TARGET_NONE;
        if (best == TARGET_NONE || (empty && !best_empty) ||
            (empty == best_empty && search_spreads(s, i, best)))
            best = i;
    }
    return best == TARGET_NONE ? search_spare(s) : best;
}

static size_t search_mate(struct search *s, size_t shard)
{
    size_t best = TARGET_NONE;
    unsigned best_clash = 3;
    for (size_t i = 0; i < s->ask->pod_count && best_clash; i++) {
        unsigned clash = search_is_free(s, i) ? search_clash(s, shard, i, TARGET_NONE) : 3;
        if (clash < best_clash) {
            best = i;
            best_clash = clash;
        }
    }
    return best == TARGET_NONE ? search_spare(s) : best;
}

/* Each shard gets the copies that it lacks; those that have fewest are first. */
static void search_fill(struct search *s)
{
    for (unsigned copies = 0; copies < s->width; copies++) {
        for (size_t shard = 0; shard < s->shard_count; shard++) {
            if (s->shards[shard].copies != copies)
                continue;
            bool founds = s->shards[shard].primary == TARGET_NONE;
            size_t pod = founds ? search_founder(s) : search_mate(s, shard);
            if (pod == TARGET_NONE)
                return;
            search_serve(s, shard, pod, true);
            if (founds)
                search_lead(s, shard, pod);
        }
    }
}

/* Left-over pods are further replicas. */
static void search_add_rest(struct search *s)
{
    for (size_t i = 0; i < s->ask->pod_count; i++) {
        if (!search_is_free(s, i))
            continue;
        size_t best = 0;
        unsigned best_clash = search_clash(s, 0, i, TARGET_NONE);
        for (size_t shard = 1; shard < s->shard_count; shard++) {
            if (s->shards[shard].copies > s->shards[best].copies)
                continue;
            unsigned clash = search_clash(s, shard, i, TARGET_NONE);
            if (s->shards[shard].copies < s->shards[best].copies || clash < best_clash) {
                best = shard;
                best_clash = clash;
            }
        }
        search_serve(s, best, i, true);
    }
}

/* Two pods that have to copy their data anyway change places where both fit better together. */
static void search_repair(struct search *s, const size_t *fillers, size_t count)
{
    for (size_t a = 0; a < count; a++) {
        for (size_t b = 0; b < count; b++) {
            size_t pa = fillers[a];
            size_t pb = fillers[b];
            size_t sa = s->parts[pa].shard;
            size_t sb = s->parts[pb].shard;
            unsigned now = search_clash(s, sa, pa, pa);
            if (!now)
                break;
            if (sa == sb)
                continue;
            now += search_clash(s, sb, pb, pb);
            if (search_clash(s, sa, pb, pa) + search_clash(s, sb, pa, pb) >= now)
                continue;
            search_release(s, pa);
            search_release(s, pb);
            search_serve(s, sa, pb, true);
            search_serve(s, sb, pa, true);
        }
    }
}

/* A spare that came back to where it was has its copy. */
static void search_settle(struct search *s, struct target *target)
{
    size_t *fillers = ARENA_NEW(s->arena, size_t, s->ask->pod_count);
    size_t count = 0;
    for (size_t i = 0; i < s->ask->pod_count; i++)
        if (s->parts[i].fills && !s->parts[i].primary)
            fillers[count++] = i;
    search_repair(s, fillers, count);
    for (size_t i = 0; i < s->ask->pod_count; i++) {
        size_t shard = s->parts[i].shard;
        size_t was = s->ask->pods[i].shard;
        if (s->parts[i].fills && shard != TARGET_NONE && was != TARGET_NONE &&
            s->became[was] == shard)
            s->parts[i].fills = false;
        target->fills += s->parts[i].fills;
    }
}

static unsigned search_moved(const struct search *s)
{
    unsigned moved = search_slots(s);
    for (size_t i = 0; i < s->shard_count; i++) {
        unsigned today = search_today(s, i);
        moved -= today < s->shards[i].slots ? today : s->shards[i].slots;
    }
    return moved;
}

void target_find(const struct target_ask *ask, struct arena *arena, struct target *ret_target)
{
    size_t count = ask->pod_count;
    struct search s = {.ask = ask, .arena = arena, .width = 1 + ask->replicas_per_primary};
    struct target target = {0};
    size_t staying = 0;
    s.parts = ARENA_NEW(arena, struct target_part, count);
    s.became = ARENA_NEW(arena, size_t, ask->shard_count);
    s.heirs = ARENA_NEW(arena, size_t, ask->shard_count);
    for (size_t i = 0; i < ask->shard_count; i++)
        s.became[i] = s.heirs[i] = TARGET_NONE;
    for (size_t i = 0; i < count; i++) {
        assert(ask->pods[i].shard == TARGET_NONE || ask->pods[i].shard < ask->shard_count);
        s.parts[i].stays = ask->pods[i].ordinal < (int)ask->replicas;
        s.parts[i].shard = TARGET_NONE;
        staying += s.parts[i].stays;
    }
    if (staying) {
        s.node = search_group(&s, false);
        s.zone = search_group(&s, true);
        s.node_primaries = ARENA_NEW(arena, unsigned, count);
        s.zone_primaries = ARENA_NEW(arena, unsigned, count);
        search_choose_shards(&s, staying);
        search_share(&s);
        s.first = ARENA_NEW(arena, size_t, s.shard_count);
        s.next = ARENA_NEW(arena, size_t, count);
        for (size_t i = 0; i < s.shard_count; i++)
            s.first[i] = TARGET_NONE;
        search_keep(&s);
        search_end(&s);
        search_fill(&s);
        search_add_rest(&s);
        search_settle(&s, &target);
        target.moved = search_moved(&s);
    }
    target.shards = s.shards;
    target.shard_count = s.shard_count;
    target.parts = s.parts;
    target.became = s.became;
    target.heirs = s.heirs;
    *ret_target = target;
}
