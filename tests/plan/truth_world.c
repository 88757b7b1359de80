/* SPDX-License-Identifier: Apache-2.0 */
/* The world that follows from a truth: every server's view, and what follows from the view. */
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "plan/truth.h"

/* The slots of all nodes as ranges, once for all views. */
struct ranges {
    struct slot_range *all;
    size_t count;
    size_t *first; /* by node */
    unsigned *slots;
};

static struct ranges ranges_gather(const struct truth *t)
{
    struct ranges r = {
        .first = ARENA_NEW(t->arena, size_t, t->node_count + 1),
        .slots = ARENA_NEW(t->arena, unsigned, t->node_count + 1),
    };
    for (int pass = 0; pass < 2; pass++) {
        r.count = 0;
        for (size_t i = 0; i < t->node_count; i++) {
            struct slot_range range;
            unsigned from = 0;
            r.first[i] = r.count;
            while (slot_set_next(&t->nodes[i].slots, &from, &range)) {
                if (r.all)
                    r.all[r.count] = range;
                r.count++;
            }
            r.slots[i] = slot_set_count(&t->nodes[i].slots);
        }
        r.first[t->node_count] = r.count;
        if (!r.all)
            r.all = ARENA_NEW(t->arena, struct slot_range, r.count + 1);
    }
    return r;
}

static const struct truth_edit *truth_opinion(const struct truth *t, size_t viewer,
                                              const struct node_id *id)
{
    for (size_t i = 0; i < t->edit_count; i++)
        if (t->edits[i].viewer == viewer && node_id_eq(&t->edits[i].id, id))
            return &t->edits[i];
    return NULL;
}

static uint64_t truth_epoch(const struct truth *t, const struct truth_node *n)
{
    for (size_t i = 0; !n->primary && i < t->node_count; i++)
        if (node_id_eq(&t->nodes[i].id, &n->follows))
            return t->nodes[i].epoch;
    return n->epoch;
}

static struct view_node truth_seen(const struct truth *t, size_t i, size_t viewer,
                                   const struct ranges *ranges)
{
    const struct truth_node *n = &t->nodes[i];
    const struct truth_edit *edit = truth_opinion(t, viewer, &n->id);
    bool myself = n->pod == viewer;
    struct view_node v = {
        .id = n->id,
        .primary = n->follows,
        .port = TRUTH_PORT,
        .bus_port = TRUTH_PORT + 10000,
        .flags = n->primary ? NODE_PRIMARY : NODE_REPLICA,
        .connected = myself || (n->link && !(n->flags & (NODE_FAIL | NODE_PFAIL | NODE_NOADDR))),
        .epoch = truth_epoch(t, n),
        .range_first = (uint32_t)ranges->first[i],
        .range_count = (uint32_t)(ranges->first[i + 1] - ranges->first[i]),
        .slot_count = ranges->slots[i],
    };
    v.flags |= myself                        ? (uint32_t)NODE_MYSELF
               : edit && edit->changes_flags ? edit->flags
                                             : n->flags;
    if (edit && edit->changes_flags)
        v.connected = !(edit->flags & (NODE_FAIL | NODE_PFAIL | NODE_NOADDR | NODE_HANDSHAKE));
    if (edit && edit->epoch)
        v.epoch = edit->epoch;
    if (edit && edit->untold)
        v.primary = (struct node_id){""};
    if (!(v.flags & NODE_NOADDR))
        text_format(v.ip, sizeof v.ip, "%s", edit && edit->ip[0] ? edit->ip : n->ip);
    return v;
}

static const struct view *truth_view(const struct truth *t, const struct truth_node *me,
                                     const struct ranges *ranges)
{
    struct view *view = ARENA_NEW(t->arena, struct view, 1);
    size_t room = 0;
    for (size_t i = 0; i < t->node_count; i++)
        room += t->nodes[i].component == me->component;
    struct view_node *nodes = ARENA_NEW(t->arena, struct view_node, room);
    for (size_t i = 0; i < t->node_count; i++) {
        if (t->nodes[i].component != me->component)
            continue;
        const struct truth_edit *edit = truth_opinion(t, me->pod, &t->nodes[i].id);
        if (!edit || !edit->missing)
            nodes[view->node_count++] = truth_seen(t, i, me->pod, ranges);
    }
    view->ranges = ranges->all;
    view->range_count = ranges->count;
    bool ok = view_finish(view, nodes);
    assert(ok);
    (void)ok;
    return view;
}

/* What CLUSTER INFO says beside the view. */
static void truth_cluster_info(struct server *s)
{
    const struct view *view = s->view;
    unsigned alive = 0;
    s->known_nodes = (uint32_t)view->node_count;
    s->slots_assigned = s->slots_ok = s->size = 0;
    s->current_epoch = 0;
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *v = &view->nodes[i];
        bool failing = v->flags & (NODE_FAIL | NODE_PFAIL);
        s->slots_assigned += v->slot_count;
        s->slots_ok += failing ? 0 : v->slot_count;
        s->size += v->slot_count > 0;
        alive += v->slot_count > 0 && !failing;
        if (v->epoch > s->current_epoch)
            s->current_epoch = v->epoch;
    }
    s->my_epoch = view->myself->epoch;
    s->state_ok = s->slots_ok == SLOT_COUNT && alive > s->size / 2;
}

static void truth_server(const struct truth *t, struct pod *pod, size_t i,
                         const struct ranges *ranges)
{
    struct server *s = &pod->server;
    const struct truth_node *me = NULL;
    for (size_t n = 0; n < t->node_count && !me; n++)
        if (t->nodes[n].pod == i)
            me = &t->nodes[n];
    if (!me) {
        *s = (struct server){.reach = REACH_UNKNOWN};
        return;
    }
    s->id = me->id;
    s->primary = me->primary;
    if (i >= t->viewers) {
        /* Its CLUSTER INFO says the same as the first server's. */
        const struct server *first = &t->world.pods[0].server;
        s->known_nodes = first->known_nodes;
        s->slots_assigned = first->slots_assigned;
        s->slots_ok = first->slots_ok;
        s->size = first->size;
        s->current_epoch = first->current_epoch;
        s->state_ok = first->state_ok;
        s->my_epoch = truth_epoch(t, me);
        s->view_ms = 0;
        return;
    }
    s->view = truth_view(t, me, ranges);
    truth_cluster_info(s);
}

struct world *truth_world(struct truth *truth)
{
    struct world *w = ARENA_NEW(truth->arena, struct world, 1);
    struct pod *pods = ARENA_NEW(truth->arena, struct pod, truth->pod_count);
    struct ranges ranges = ranges_gather(truth);
    truth->derived = pods;
    truth->world.pods = pods;
    *w = truth->world;
    w->me = NO_POD;
    for (size_t i = 0; i < truth->pod_count; i++) {
        if (!truth->listed[i])
            continue;
        struct pod *pod = &pods[w->pod_count];
        *pod = truth->pods[i];
        truth_server(truth, pod, i, &ranges);
        if (strcmp(pod->name, w->my_pod) == 0)
            w->me = w->pod_count;
        w->pod_count++;
    }
    if (!w->my_ip[0] && w->me != NO_POD)
        text_format(w->my_ip, sizeof w->my_ip, "%s", pods[w->me].ip);
    if (w->record_presence == PRESENCE_PRESENT) {
        struct record *record = ARENA_NEW(truth->arena, struct record, 1);
        struct record_member *members =
            ARENA_NEW(truth->arena, struct record_member, truth->record.member_count);
        struct node_id *forget =
            ARENA_NEW(truth->arena, struct node_id, truth->record.forget_count);
        *record = truth->record;
        if (record->member_count)
            memcpy(members, record->members, record->member_count * sizeof *members);
        if (record->forget_count)
            memcpy(forget, record->forget, record->forget_count * sizeof *forget);
        record->members = members;
        record->forget = forget;
        struct record_left *left =
            ARENA_NEW(truth->arena, struct record_left, truth->record.left_count);
        if (record->left_count)
            memcpy(left, record->left, record->left_count * sizeof *left);
        record->left = left;
        w->record = w->record_copy = record;
    }
    return w;
}
