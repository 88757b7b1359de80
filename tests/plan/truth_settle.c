/* SPDX-License-Identifier: Apache-2.0 */
/* What Redis does by itself between two turns, at its shortest (FACTS 1, 3, 5). */
#include <string.h>

#include "plan/truth.h"

static int64_t settle_keys(const struct truth *t, const struct truth_node *node)
{
    return node->pod == NO_POD ? 0 : t->pods[node->pod].server.keys;
}

/* Nobody answers for the id any more, or its pod's server does not answer. */
static bool settle_is_dead(const struct truth *t, const struct truth_node *node)
{
    return node->pod == NO_POD || t->pods[node->pod].server.reach != REACH_OK;
}

static void settle_failures(struct truth *t)
{
    for (size_t i = 0; i < t->node_count; i++) {
        struct truth_node *n = &t->nodes[i];
        if (settle_is_dead(t, n))
            n->flags = NODE_FAIL;
        else
            n->flags &= ~(uint32_t)(NODE_FAIL | NODE_PFAIL | NODE_NOADDR);
    }
}

static void settle_election(struct truth *t, struct truth_node *dead)
{
    struct truth_node *best = NULL;
    uint64_t epoch = 0;
    for (size_t i = 0; i < t->node_count; i++) {
        struct truth_node *n = &t->nodes[i];
        epoch = n->epoch > epoch ? n->epoch : epoch;
        if (n->component == dead->component && !n->primary && !settle_is_dead(t, n) &&
            node_id_eq(&n->follows, &dead->id))
            best = n;
    }
    if (!best)
        return;
    best->primary = true;
    best->follows = (struct node_id){""};
    best->epoch = epoch + 1;
    best->slots = dead->slots;
    dead->slots = (struct slot_set){0};
    for (size_t i = 0; i < t->node_count; i++)
        if (!t->nodes[i].primary && node_id_eq(&t->nodes[i].follows, &dead->id))
            t->nodes[i].follows = best->id;
}

/* The loser of its last slot follows the winner, and so do its replicas. */
static bool settle_conflict(struct truth *t, struct truth_node *winner, struct truth_node *loser)
{
    if (!slot_set_intersects(&winner->slots, &loser->slots))
        return true;
    for (size_t w = 0; w < SLOT_COUNT / 64; w++)
        loser->slots.words[w] &= ~winner->slots.words[w];
    bool kept = settle_keys(t, winner) >= settle_keys(t, loser);
    if (slot_set_count(&loser->slots))
        return kept;
    for (size_t i = 0; i < t->node_count; i++) {
        struct truth_node *n = &t->nodes[i];
        if (n != loser && (n->primary || !node_id_eq(&n->follows, &loser->id)))
            continue;
        kept = kept && settle_keys(t, winner) >= settle_keys(t, n);
        n->primary = false;
        n->follows = winner->id;
    }
    return kept;
}

bool truth_settle(struct truth *truth)
{
    bool kept = true;
    settle_failures(truth);
    for (size_t i = 0; i < truth->node_count; i++)
        if (settle_is_dead(truth, &truth->nodes[i]) && slot_set_count(&truth->nodes[i].slots))
            settle_election(truth, &truth->nodes[i]);
    for (size_t i = 0; i < truth->node_count; i++)
        for (size_t j = 0; j < truth->node_count; j++)
            if (truth->nodes[i].component == truth->nodes[j].component &&
                truth->nodes[i].epoch > truth->nodes[j].epoch)
                kept = settle_conflict(truth, &truth->nodes[i], &truth->nodes[j]) && kept;
    for (size_t i = 0; i < truth->node_count; i++) {
        struct truth_node *n = &truth->nodes[i];
        if (n->primary || settle_is_dead(truth, n))
            continue;
        for (size_t j = 0; j < truth->node_count; j++)
            if (node_id_eq(&truth->nodes[j].id, &n->follows) &&
                !settle_is_dead(truth, &truth->nodes[j]))
                truth->pods[n->pod].server.keys = settle_keys(truth, &truth->nodes[j]);
    }
    return kept;
}
