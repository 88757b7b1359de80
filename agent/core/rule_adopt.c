/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster that exists without a record is taken over as it is (DESIGN 4): somebody formed it by
 * hand, restored it, or record and copies are gone.
 *
 * Its members are the servers of our pods in the largest set of servers that know each other and
 * serve slots. All others stay foreign: the record does not name them, so nobody meets them.
 */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "core/rules.h"

/* One set of servers that know each other, by the lowest pod in it. */
struct adopt_set {
    size_t pod;
    size_t count;
    const struct view *view; /* that of a member which sees most slots assigned */
    bool serves;             /* a member owns slots */
};

static bool adopt_knows(const struct view *view, const struct node_id *id)
{
    const struct view_node *n = view_find(view, id);
    return n && !(n->flags & NODE_HANDSHAKE);
}

/* Views of one hash list the same nodes, hence each other's own. */
static bool adopt_mutual(const struct server *a, const struct server *b)
{
    return a->view->hash == b->view->hash ||
           (adopt_knows(a->view, &b->id) && adopt_knows(b->view, &a->id));
}

/* By pod: the lowest pod of its set; NO_POD for one that does not answer. */
static size_t *adopt_sets(const struct planner *p)
{
    const struct world *w = p->world;
    size_t *set_of = ARENA_NEW(p->arena, size_t, w->pod_count);
    for (size_t i = 0; i < w->pod_count; i++)
        set_of[i] = world_view_fresh(w, &w->pods[i]) ? i : NO_POD;
    for (size_t i = 0; i < w->pod_count; i++) {
        for (size_t j = i + 1; set_of[i] != NO_POD && j < w->pod_count; j++) {
            if (set_of[j] == NO_POD || set_of[i] == set_of[j] ||
                !adopt_mutual(&w->pods[i].server, &w->pods[j].server))
                continue;
            size_t low = set_of[i] < set_of[j] ? set_of[i] : set_of[j];
            size_t high = set_of[i] < set_of[j] ? set_of[j] : set_of[i];
            for (size_t k = 0; k < w->pod_count; k++)
                if (set_of[k] == high)
                    set_of[k] = low;
        }
    }
    return set_of;
}

static struct adopt_set adopt_set_at(const struct planner *p, const size_t *set_of, size_t low)
{
    struct adopt_set set = {.pod = low};
    unsigned most = 0;
    for (size_t i = low; i < p->world->pod_count; i++) {
        const struct server *s = &p->world->pods[i].server;
        if (set_of[i] != low)
            continue;
        set.count++;
        set.serves |= s->view->myself->slot_count > 0;
        if (!set.view || s->slots_assigned > most) {
            set.view = s->view;
            most = s->slots_assigned;
        }
    }
    return set;
}

/* The largest set that serves; *ret_rival is another of the same size, or has count 0. */
static struct adopt_set adopt_largest(const struct planner *p, const size_t *set_of,
                                      struct adopt_set *ret_rival)
{
    struct adopt_set best = {0};
    *ret_rival = (struct adopt_set){0};
    for (size_t i = 0; i < p->world->pod_count; i++) {
        if (set_of[i] != i)
            continue;
        struct adopt_set set = adopt_set_at(p, set_of, i);
        if (!set.serves)
            continue;
        if (set.count == best.count) {
            *ret_rival = set;
        } else if (set.count > best.count) {
            best = set;
            *ret_rival = (struct adopt_set){0};
        }
    }
    return best;
}

static unsigned adopt_count(const struct view *view, size_t *ret_shards)
{
    unsigned slots = 0;
    *ret_shards = 0;
    for (size_t i = 0; i < view->node_count; i++) {
        slots += view->nodes[i].slot_count;
        *ret_shards += view->nodes[i].slot_count > 0;
    }
    return slots;
}

/*
 * A formation that nobody remembers leaves its quick settings behind: then the largest figure that
 * another member has is the one to give back.
 */
static void adopt_mend_settings(struct record_member *members, size_t count)
{
    const struct record_member *most = NULL;
    for (size_t i = 0; i < count; i++)
        if (!planner_is_quick_timeout(members[i].node_timeout_ms) &&
            (!most || members[i].node_timeout_ms > most->node_timeout_ms))
            most = &members[i];
    for (size_t i = 0; most && i < count; i++) {
        if (!planner_is_quick_timeout(members[i].node_timeout_ms))
            continue;
        members[i].node_timeout_ms = most->node_timeout_ms;
        members[i].diskless_delay_s = most->diskless_delay_s;
    }
}

/* What is not known yet and must be before anything is decided; or NULL. */
static const char *adopt_unknown(struct planner *p)
{
    const struct world *w = p->world;
    if (p->facts->first_missing_ordinal >= 0)
        return arena_format(p->arena, "all %zu servers, missing %s", p->facts->expected,
                            planner_missing(p, p->facts->first_missing_ordinal));
    for (size_t i = 0; i < w->pod_count; i++) {
        if (!p->facts->fresh[i])
            continue;
        if (!world_view_fresh(w, &w->pods[i])) {
            p->plan->wants_views = true;
            return arena_format(p->arena, "the view of %s", w->pods[i].name);
        }
        if (!w->pods[i].server.node_timeout_ms)
            return arena_format(p->arena, "the settings of %s", w->pods[i].name);
    }
    return NULL;
}

static struct record *adopt_record(const struct planner *p, const size_t *set_of,
                                   const struct adopt_set *set, size_t shards)
{
    const struct world *w = p->world;
    struct record_member *members = ARENA_NEW(p->arena, struct record_member, set->count);
    size_t count = 0;
    for (size_t i = 0; i < w->pod_count; i++)
        if (set_of[i] == set->pod)
            members[count++] = planner_member(&w->pods[i]);
    adopt_mend_settings(members, count);
    struct record *record = ARENA_NEW(p->arena, struct record, 1);
    *record = (struct record){
        .version = RECORD_VERSION,
        .generation = 1,
        .state = RECORD_FORMED,
        .shards = (uint16_t)shards,
        .members = members,
        .member_count = count,
    };
    text_format(record->uid, sizeof record->uid, "%016" PRIx64 "%016" PRIx64, w->entropy[0],
                w->entropy[1]);
    text_format(record->set_uid, sizeof record->set_uid, "%s", w->set.uid);
    return record;
}

/* "; muster-4 and 1 more are not part of it", or "". */
static const char *adopt_foreign(struct planner *p, const size_t *set_of,
                                 const struct adopt_set *set)
{
    size_t others = 0;
    const struct pod *first = NULL;
    for (size_t i = 0; i < p->world->pod_count; i++) {
        if (set_of[i] == set->pod)
            continue;
        first = first ? first : &p->world->pods[i];
        others++;
    }
    if (others < 2)
        return first ? arena_format(p->arena, "; %s is not part of it", first->name) : "";
    return arena_format(p->arena, "; %s and %zu more are not part of it", first->name, others - 1);
}

enum rule_verdict rule_adopt(struct planner *p)
{
    const struct world *w = p->world;
    if (w->record_presence != PRESENCE_ABSENT || w->guards_off & (GUARD_RECORD | GUARD_VIRGIN))
        return RULE_PASS;
    size_t shards;
    struct adopt_set rival;
    size_t *set_of = adopt_sets(p);
    struct adopt_set set = adopt_largest(p, set_of, &rival);
    if (!set.count || adopt_count(set.view, &shards) != SLOT_COUNT)
        return RULE_PASS; /* no whole cluster: form-wait says what is the matter */
    const char *unknown = adopt_unknown(p);
    if (unknown)
        return planner_wait(p, "a cluster exists and has no record: adopting it needs %s", unknown);
    const char *twins = planner_twins(p);
    if (twins)
        return planner_wait(p, "a cluster exists and has no record, but %s: not adopting it",
                            twins);
    if (rival.count)
        return planner_wait(p,
                            "there is no record, and the servers belong to different clusters of "
                            "the same size (%s each: those of %s and of %s): a person must empty "
                            "one of them",
                            planner_count(p, set.count, "server"), w->pods[set.pod].name,
                            w->pods[rival.pod].name);
    struct record *record = adopt_record(p, set_of, &set, shards);
    (void)planner_put_record(p, record);
    return planner_wait(p, "adopting the cluster that exists: %s, %s%s",
                        planner_count(p, set.count, "server"), planner_count(p, shards, "shard"),
                        adopt_foreign(p, set_of, &set));
}
