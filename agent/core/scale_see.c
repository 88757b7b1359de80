/* SPDX-License-Identifier: Apache-2.0 */
#include "core/scale_sight.h"

#include <limits.h>
#include <string.h>

#include "core/pause.h"

/* ---- Who is what ---- */

const struct view *sight_view(const struct sight *s, size_t pod)
{
    bool heard = s->facts->belongs[pod] && world_view_fresh(s->world, &s->world->pods[pod]);
    return heard ? s->world->pods[pod].server.view : NULL;
}

static bool sight_is_expected(const struct sight *s, size_t pod)
{
    return (size_t)s->world->pods[pod].ordinal < s->facts->expected;
}

static bool sight_owns(const struct sight *s, const struct record_member *member)
{
    const struct view_node *n = view_find(s->facts->reference, &member->id);
    return n && n->slot_count;
}

/* A member that is missing though it is to stay or owns slots; NULL if there is none. */
static const struct record_member *sight_missing(const struct sight *s)
{
    const struct world *w = s->world;
    for (size_t m = 0; m < w->record->member_count; m++) {
        const struct record_member *member = &w->record->members[m];
        size_t pod = s->facts->pod_of_member[m];
        bool stays = pod != NO_POD && sight_is_expected(s, pod);
        if ((pod == NO_POD || !sight_view(s, pod)) && (stays || sight_owns(s, member)))
            return member;
    }
    for (size_t i = 0; i < s->facts->expected; i++) {
        const char *name = world_pod_by_ordinal(w, (int)i)
                               ? NULL
                               : arena_format(s->arena, "%s-%zu", w->set.name, i);
        const struct record_member *member = name ? record_find_pod(w->record, name) : NULL;
        if (member)
            return member;
    }
    return NULL;
}

static const char *sight_early(const struct sight *s)
{
    const struct world *w = s->world;
    const struct facts *f = s->facts;
    if (!w->record || w->record->state != RECORD_FORMED)
        return "the cluster is not formed";
    if (w->record->moves_unclear)
        return "the record's moves are not understood by this release of muster";
    if (w->arbiter != ARBITER_LEASE || !w->set.known || w->set.absent)
        return "the StatefulSet is not known";
    if (!f->reference || !f->reference_ours)
        return "no server's view of the cluster is known";
    return NULL;
}

/* A member that stays, whose agent carries no moves out, or was not heard: it may be of a release before. */
static const struct pod *sight_idle(const struct sight *s)
{
    const struct world *w = s->world;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct told *told = &w->pods[i].told;
        bool heard = told->heard_ms && w->now_ms - told->heard_ms <= WORLD_TOLD_FRESH_MS;
        bool carries = i == w->me ? w->moves.carries : heard && told->moves.carries;
        if (!carries && s->facts->belongs[i] && sight_is_expected(s, i))
            return &w->pods[i];
    }
    return NULL;
}

/* Why nothing may begin; what is on its way is seen to all the same. */
static const char *sight_waits(const struct sight *s)
{
    if (s->world->scaling != SCALING_AUTO)
        return "policy.scaling is off";
    if (pause_stops(s->world, WORK_SCALE))
        return "nothing new is begun before `muster resume`";
    const struct record_member *missing = sight_missing(s);
    const struct pod *idle = missing ? NULL : sight_idle(s);
    if (missing)
        return arena_format(s->arena, "%s does not answer", missing->pod);
    if (idle)
        return arena_format(s->arena, "the agent of %s does not carry moves out", idle->name);
    return NULL;
}

size_t sight_primary(const struct sight *s, const struct node_id *id)
{
    size_t pod = facts_pod_of(s->facts, id);
    const struct view_node *n = pod == NO_POD ? view_find(s->facts->reference, id) : NULL;
    if (n && n->flags & NODE_REPLICA)
        pod = facts_pod_of(s->facts, &n->primary);
    return pod == NO_POD ? NO_POD : s->follows[pod];
}

static void sight_follows(struct sight *s)
{
    for (size_t i = 0; i < s->world->pod_count; i++) {
        const struct view *view = sight_view(s, i);
        s->follows[i] = NO_POD;
        if (!view)
            continue;
        size_t of =
            view->myself->flags & NODE_PRIMARY ? i : facts_pod_of(s->facts, &view->myself->primary);
        const struct view *leads = of == NO_POD ? NULL : sight_view(s, of);
        if (leads && leads->myself->flags & NODE_PRIMARY)
            s->follows[i] = of;
    }
}

/*
 * It stays, but is about to be made anew or handed over: nothing begins that would be in its way. Who holds slots that
 * nobody can take over is not: it waits until some can, and would wait for this as long as for its slots to move.
 */
static bool sight_is_leaving(const struct sight *s, size_t pod)
{
    const struct pod *p = &s->world->pods[pod];
    bool me = pod == s->world->me;
    bool leaves =
        p->terminating || p->told.leaving != LEAVING_NO || (me && s->world->drain.since_ms);
    const struct view *view = leaves ? sight_view(s, pod) : NULL;
    bool holds = view && view->myself->flags & NODE_PRIMARY && view->myself->slot_count &&
                 s->world->replicas_per_primary && !s->synced[pod];
    return leaves && !holds && sight_is_expected(s, pod);
}

/* The agent beside it carries moves out, and has read the present ones since its server became a primary. */
static bool sight_has_read(const struct sight *s, size_t pod)
{
    const struct world *w = s->world;
    const struct told *told = &w->pods[pod].told;
    const struct moves_word *word = pod == w->me ? &w->moves : &told->moves;
    bool heard = told->heard_ms && w->now_ms - told->heard_ms <= WORLD_TOLD_FRESH_MS;
    /* Another tool's job, which the view does not show: nothing begins beside it. */
    bool busy = w->pods[pod].server.slot_jobs;
    return !busy && !sight_is_leaving(s, pod) && (heard || pod == w->me) && word->carries &&
           word->read == w->record->move_generation;
}

/* An empty primary that is introduced, and stays. */
static bool sight_is_ready(const struct sight *s, size_t pod)
{
    const struct view *view = sight_view(s, pod);
    const struct server *server = &s->world->pods[pod].server;
    const struct view_node *n = view ? view_find(s->facts->reference, &view->myself->id) : NULL;
    return n && n->flags & NODE_PRIMARY && !(n->flags & (NODE_HANDSHAKE | NODE_FAIL)) &&
           view->myself->flags & NODE_PRIMARY && !view->myself->slot_count && !server->keys &&
           !s->world->pods[pod].terminating && sight_is_expected(s, pod);
}

/* ---- Shards ---- */

static void sight_add_shard(struct sight *s, size_t pod)
{
    if (pod == NO_POD || s->shard[pod] != SCALE_NOBODY)
        return;
    s->leads[s->shard_count] = pod;
    s->full[s->shard_count] = s->world->pods[pod].server.near_limit;
    s->shard[pod] = (uint16_t)s->shard_count++;
}

/* Each primary that owns slots or is followed, and each to which slots go. */
static void sight_shards(struct sight *s)
{
    const struct world *w = s->world;
    for (size_t i = 0; i < w->pod_count; i++)
        s->shard[i] = SCALE_NOBODY;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct view *view = sight_view(s, i);
        if (s->follows[i] != NO_POD && (s->follows[i] != i || view->myself->slot_count))
            sight_add_shard(s, s->follows[i]);
        for (size_t k = 0; view && s->follows[i] == i && k < view->open_count; k++) {
            sight_add_shard(s, i);
            sight_add_shard(s, sight_primary(s, &view->open_slots[k].peer));
        }
    }
    for (size_t m = 0; m < w->record->move_count; m++) {
        sight_add_shard(s, sight_primary(s, &w->record->moves[m].from));
        sight_add_shard(s, sight_primary(s, &w->record->moves[m].to));
    }
}

/*
 * Whose primary is gone, without slots, or another would have been elected, is no newcomer: it is counted as a
 * copy where there are the fewest, and follows whom the target has for it.
 */
static void sight_orphans(struct sight *s)
{
    unsigned *copies = ARENA_NEW(s->arena, unsigned, s->shard_count);
    for (size_t i = 0; i < s->world->pod_count; i++)
        if (s->pods[i].shard != TARGET_NONE)
            copies[s->pods[i].shard]++;
    for (size_t i = 0; i < s->world->pod_count; i++) {
        const struct view *view = sight_view(s, i);
        size_t fewest = 0;
        if (!view || view->myself->flags & NODE_PRIMARY || s->follows[i] != NO_POD)
            continue;
        for (size_t shard = 1; shard < s->shard_count; shard++)
            if (copies[shard] < copies[fewest])
                fewest = shard;
        if (s->shard_count) {
            s->pods[i].shard = fewest;
            copies[fewest]++;
        }
    }
}

/* Who is no member, or does not answer, has no part for now: as if it were about to leave. */
static void sight_pods(struct sight *s)
{
    const struct world *w = s->world;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        bool heard = sight_view(s, i) != NULL;
        size_t lead = s->follows[i];
        uint16_t shard = lead == NO_POD ? SCALE_NOBODY : s->shard[lead];
        s->pods[i] = (struct target_pod){
            .ordinal = heard ? pod->ordinal : INT_MAX,
            .place = {pod->node, pod->zone},
            .shard = shard == SCALE_NOBODY ? TARGET_NONE : shard,
            .primary = shard != SCALE_NOBODY && lead == i,
        };
        s->ready[i] = sight_is_ready(s, i);
        s->laden[i] = pod->server.keys > 0;
        if (heard && lead != i && lead != NO_POD && pod->server.link_up && !pod->terminating &&
            pod->told.leaving == LEAVING_NO)
            s->synced[lead]++;
    }
    for (size_t i = 0; i < w->pod_count; i++)
        s->read[i] = sight_has_read(s, i);
    sight_orphans(s);
}

static void sight_init(struct sight *s)
{
    size_t count = s->world->pod_count;
    uint16_t **const by_slot[] = {&s->owner, &s->from, &s->going, &s->half, &s->import, &s->clean};
    struct slot_set **const sets[] = {&s->open, &s->cancel, &s->stuck, &s->away};
    s->pods = ARENA_NEW(s->arena, struct target_pod, count);
    s->follows = ARENA_NEW(s->arena, size_t, count);
    s->ready = ARENA_NEW(s->arena, bool, count);
    s->read = ARENA_NEW(s->arena, bool, count);
    s->synced = ARENA_NEW(s->arena, unsigned, count);
    s->laden = ARENA_NEW(s->arena, bool, count);
    s->full = ARENA_NEW(s->arena, bool, count);
    s->leads = ARENA_NEW(s->arena, size_t, count);
    s->kept = ARENA_NEW(s->arena, bool, s->world->record->move_count);
    s->shard = ARENA_NEW(s->arena, uint16_t, count);
    for (size_t i = 0; i < sizeof by_slot / sizeof by_slot[0]; i++) {
        *by_slot[i] = ARENA_NEW(s->arena, uint16_t, SLOT_COUNT);
        memset(*by_slot[i], 0xff, SLOT_COUNT * sizeof **by_slot[i]); /* SCALE_NOBODY */
    }
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        *sets[i] = ARENA_NEW(s->arena, struct slot_set, 1);
}

bool scale_see(const struct world *world, const struct facts *facts, struct arena *arena,
               struct scale_sight *ret_sight, const char **ret_why)
{
    struct sight s = {.world = world, .facts = facts, .arena = arena};
    const char *why = sight_early(&s);
    if (!why) {
        sight_init(&s);
        s.waits = sight_waits(&s);
        sight_follows(&s);
        sight_shards(&s);
        sight_pods(&s);
        sight_moves(&s);
        why = sight_owners(&s);
    }
    *ret_why = why ? why : "";
    if (why)
        return false;
    sight_open(&s);
    sight_looked(&s);
    *ret_sight = (struct scale_sight){
        .ask = {.target = {.replicas = (unsigned)facts->expected,
                           .replicas_per_primary = (unsigned)world->replicas_per_primary,
                           .pods = s.pods,
                           .pod_count = world->pod_count,
                           .shard_count = s.shard_count},
                .settles = s.waits != NULL,
                .ends = world->scaling != SCALING_AUTO,
                .evening = world->record->evening,
                .ready = s.ready,
                .read = s.read,
                .full = s.full,
                .synced = s.synced,
                .laden = s.laden,
                .owner = s.owner,
                .from = s.from,
                .going = s.going,
                .half = s.half,
                .import = s.import,
                .clean = s.clean,
                .open = s.open,
                .cancel = s.cancel,
                .stuck = s.stuck},
        .leads = s.leads,
        .waits = s.waits,
        .kept = s.kept,
        .outdated = s.outdated,
        .odd = s.odd,
    };
    return true;
}
