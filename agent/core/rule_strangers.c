/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strangers that got in nonetheless (FAULTS C13): nodes in our servers' views that are no pod of
 * ours and not in the record, by a MEET of somebody's hand or of another cluster's.
 *
 * One that lives is only told of: forgetting a living node bans its gossip for a minute and no more
 * (FACTS 4), and what is not ours gets no commands. One that has failed everywhere, owns nothing and
 * is followed by nobody goes to the record's list and is forgotten by the conditions of rule_forget.
 */
#include <string.h>

#include "core/pause.h"
#include "core/rules.h"

/* The address of a pod of ours whose server is silent: most likely it is that one's node. */
static bool stranger_is_at_home(const struct planner *p, const struct view_node *n)
{
    for (size_t i = 0; n->ip[0] && i < p->world->pod_count; i++)
        if (strcmp(p->world->pods[i].ip, n->ip) == 0)
            return true;
    return false;
}

static bool stranger_is(const struct planner *p, const struct view_node *n)
{
    return !(n->flags & NODE_HANDSHAKE) &&
           index_find(&p->facts->members, n->id.hex) == INDEX_NONE &&
           facts_pod_of(p->facts, &n->id) == NO_POD && !record_forgets(p->world->record, &n->id) &&
           !stranger_is_at_home(p, n);
}

/* Of a server of ours: what others say of themselves is theirs. */
static bool stranger_has_view(const struct planner *p, size_t pod)
{
    return p->facts->belongs[pod] && world_view_fresh(p->world, &p->world->pods[pod]);
}

/* One more id on the list; what rule_forget then does needs the list first. */
static void stranger_list(struct planner *p, const struct node_id *id)
{
    const struct record *old = p->world->record;
    struct record *record = ARENA_NEW(p->arena, struct record, 1);
    struct node_id *forget = ARENA_NEW(p->arena, struct node_id, old->forget_count + 1);
    if (old->forget_count)
        memcpy(forget, old->forget, old->forget_count * sizeof *forget);
    forget[old->forget_count] = *id;
    *record = *old;
    record->forget = forget;
    record->forget_count++;
    (void)planner_put_record(p, record);
}

/* Tells of the stranger, or lists it; true if it was listed. */
static bool stranger_deal(struct planner *p, const struct view_node *n)
{
    const char *ip = n->ip[0] ? n->ip : "no known address";
    const char *why =
        pause_stops(p->world, WORK_FORGET) ? "not before `muster resume`" : planner_keep(p, &n->id);
    if (why) {
        planner_say(p,
                    "node %.8s (%s, %s) is in the servers' views, but is no pod of %s "
                    "and not in the record: it gets no command, and is not forgotten: %s",
                    n->id.hex, ip, planner_count(p, n->slot_count, "slot"), p->world->set.name,
                    why);
        return false;
    }
    stranger_list(p, &n->id);
    planner_say(p,
                "node %.8s (%s) is no pod of %s, not in the record, and has failed without "
                "slots or replicas: it is to be forgotten",
                n->id.hex, ip, p->world->set.name);
    return true;
}

/* In one pod's view; true if one was listed. Those of the pods before it were told of. */
static bool stranger_look(struct planner *p, size_t pod)
{
    const struct view *view = p->world->pods[pod].server.view;
    for (size_t i = 0; i < view->node_count; i++) {
        if (!stranger_is(p, &view->nodes[i]))
            continue;
        bool told = false;
        for (size_t k = 0; k < pod && !told; k++)
            told = stranger_has_view(p, k) &&
                   view_find(p->world->pods[k].server.view, &view->nodes[i].id);
        if (!told && stranger_deal(p, &view->nodes[i]))
            return true;
    }
    return false;
}

/*
 * No majority is asked for: one that comes and goes may be what the views differ by (seen on Valkey
 * 9: half of them had its primary, half had not). planner_keep() asks all of them.
 */
enum rule_verdict rule_strangers(struct planner *p)
{
    if (!planner_formed(p))
        return RULE_PASS;
    uint64_t last = 0;
    for (size_t i = 0; i < p->world->pod_count; i++) {
        if (!stranger_has_view(p, i) || p->world->pods[i].server.view->hash == last)
            continue;
        last = p->world->pods[i].server.view->hash;
        if (stranger_look(p, i))
            return RULE_STOP;
    }
    return RULE_PASS;
}
