/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan does to a truth: each command as a server of Redis 7.0 would take it (FACTS 1, 4, 5). */
#include <string.h>

#include "base/text.h"
#include "plan/truth.h"

static bool apply_config_set(struct server *s, const struct action *a)
{
    switch (a->setting) {
    case SETTING_NONE:
        return false;
    case SETTING_NODE_TIMEOUT:
        s->node_timeout_ms = a->value;
        return true;
    case SETTING_DISKLESS_DELAY:
        s->diskless_delay_s = a->value;
        return true;
    case SETTING_REPLICA_MIGRATION:
        s->replica_migration = (int)a->value;
        return true;
    case SETTING_NO_FAILOVER:
        s->no_failover = (int)a->value;
        return true;
    case SETTING_ANNOUNCE_IP:
        text_format(s->announce_ip, sizeof s->announce_ip, "%s", a->ip);
        return true;
    }
    return false;
}

/* The address answers with its id; both sides, and through gossip all others, know it from then on. */
static bool apply_meet(struct truth *t, struct truth_node *from, const struct action *a)
{
    for (size_t i = 0; i < t->pod_count; i++) {
        struct truth_node *to = truth_node_of(t, i);
        if (strcmp(t->pods[i].ip, a->ip) != 0 || !to || t->pods[i].server.reach != REACH_OK)
            continue;
        unsigned gone = to->component;
        for (size_t n = 0; n < t->node_count; n++)
            if (t->nodes[n].component == gone)
                t->nodes[n].component = from->component;
        to->flags = 0;
        to->link = true;
        text_format(to->ip, sizeof to->ip, "%s", a->ip);
        for (size_t e = 0; e < t->edit_count; e++)
            if (node_id_eq(&t->edits[e].id, &to->id))
                t->edits[e--] = t->edits[--t->edit_count];
        return true;
    }
    return true; /* answered OK even if nothing listens there */
}

static bool apply_replicate(struct truth *t, struct truth_node *node, const struct action *a)
{
    struct truth_node *to = NULL;
    for (size_t i = 0; i < t->node_count; i++)
        if (node_id_eq(&t->nodes[i].id, &a->subject) && t->nodes[i].component == node->component)
            to = &t->nodes[i];
    struct server *s = &t->pods[node->pod].server;
    if (!to || to == node || !to->primary ||
        (node->primary && (slot_set_count(&node->slots) || s->keys)))
        return false;
    node->primary = false;
    node->follows = a->subject;
    return true;
}

static bool apply_forget(struct truth *t, struct truth_node *node, const struct action *a)
{
    if (node_id_eq(&node->id, &a->subject) || node_id_eq(&node->follows, &a->subject))
        return false;
    truth_edit(t, node->pod, a->subject)->missing = true;
    size_t known = 0;
    for (size_t i = 0; i < t->node_count; i++) {
        const struct truth_node *viewer = &t->nodes[i];
        if (viewer->pod != NO_POD && viewer->component == node->component)
            known += !truth_edit(t, viewer->pod, a->subject)->missing;
    }
    if (!known)
        truth_node(t, a->subject)->component = UINT32_MAX;
    return true;
}

/* Without votes: it has the slots under an epoch of its own making (FACTS 3). */
static bool apply_takeover(struct truth *t, struct truth_node *node)
{
    struct truth_node *old = node->primary ? NULL : truth_node(t, node->follows);
    if (!old)
        return false;
    for (size_t i = 0; i < t->node_count; i++) {
        if (t->nodes[i].epoch >= node->epoch)
            node->epoch = t->nodes[i].epoch + 1;
        if (&t->nodes[i] != node && node_id_eq(&t->nodes[i].follows, &old->id))
            t->nodes[i].follows = node->id;
    }
    node->primary = true;
    node->follows = (struct node_id){""};
    node->slots = old->slots;
    old->slots = (struct slot_set){0};
    return true;
}

static bool apply_record(struct truth *t, const struct record *record)
{
    struct record_member *members = t->members;
    struct node_id *forget = t->forget;
    if (record->member_count > 2 * t->pod_count || record->forget_count > 2 * t->pod_count ||
        record->left_count > 2 * t->pod_count)
        return false;
    t->record = *record;
    t->record.members = members;
    t->record.forget = forget;
    t->record.left = t->left;
    if (record->left_count)
        memmove(t->left, record->left, record->left_count * sizeof *record->left);
    if (record->member_count)
        memmove(members, record->members, record->member_count * sizeof *members);
    if (record->forget_count)
        memmove(forget, record->forget, record->forget_count * sizeof *forget);
    t->world.record_presence = PRESENCE_PRESENT;
    return true;
}

bool truth_apply(struct truth *truth, const struct world *world, const struct action *action)
{
    if (action->kind == ACTION_RECORD_PUT)
        return apply_record(truth, action->record);
    size_t pod = (size_t)world->pods[action->pod].ordinal;
    struct truth_node *node = truth_node_of(truth, pod);
    struct server *s = &truth->pods[pod].server;
    if (!node || s->reach != REACH_OK || !node_id_eq(&node->id, &action->node))
        return false;
    bool alone = world->pods[action->pod].server.known_nodes == 1;
    switch (action->kind) {
    case ACTION_NONE:
    case ACTION_RECORD_PUT:
        return false;
    case ACTION_CONFIG_SET:
        return apply_config_set(s, action);
    case ACTION_SET_CONFIG_EPOCH:
        if (!alone || node->epoch)
            return false;
        node->epoch = action->epoch;
        return true;
    case ACTION_ADD_SLOTS:
        if (world->pods[action->pod].server.slots_assigned)
            return false;
        slot_set_add(&node->slots, action->slots);
        return true;
    case ACTION_MEET:
        return apply_meet(truth, node, action);
    case ACTION_REPLICATE:
        return apply_replicate(truth, node, action);
    case ACTION_FORGET:
        return apply_forget(truth, node, action);
    case ACTION_TAKEOVER:
    case ACTION_FORCE:
    case ACTION_FAILOVER:
        return apply_takeover(truth, node);
    }
    return false;
}
