/* SPDX-License-Identifier: Apache-2.0 */
#include "core/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Flags that healthy servers agree on; `myself` and pfail are each server's own. */
#define VIEW_HASH_FLAGS (NODE_PRIMARY | NODE_REPLICA | NODE_FAIL | NODE_NOADDR | NODE_HANDSHAKE)

/*
 * Nobody tells of its primary and epoch any more: who learned of it by gossip has neither, for as
 * long as it is dead (clusterProcessGossipSection, Redis 7.0 to Valkey 9.1).
 */
static bool view_is_dead(const struct view_node *n)
{
    return n->flags & (NODE_FAIL | NODE_NOADDR) && !n->range_count;
}

const struct view_node *view_find(const struct view *view, const struct node_id *id)
{
    size_t low = 0;
    size_t high = view->node_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = node_id_cmp(&view->nodes[mid].id, id);
        if (order == 0)
            return &view->nodes[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

uint64_t view_hash(const struct view *view)
{
    uint64_t hash = TEXT_HASH_SEED;
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *n = &view->nodes[i];
        uint32_t flags = n->flags & VIEW_HASH_FLAGS;
        hash = text_hash(hash, n->id.hex, NODE_ID_LEN);
        hash = text_hash(hash, &flags, sizeof flags);
        if (view_is_dead(n))
            continue;
        hash = text_hash(hash, n->primary.hex, strlen(n->primary.hex));
        hash = text_hash(hash, &n->epoch, sizeof n->epoch);
        if (n->range_count) /* a view without any has no array either */
            hash = text_hash(hash, view->ranges + n->range_first,
                             n->range_count * sizeof *view->ranges);
    }
    return hash;
}

static int view_node_cmp(const void *a, const void *b)
{
    const struct view_node *na = a;
    const struct view_node *nb = b;
    return node_id_cmp(&na->id, &nb->id);
}

bool view_finish(struct view *view, struct view_node *nodes)
{
    if (view->node_count)
        qsort(nodes, view->node_count, sizeof *nodes, view_node_cmp);
    const struct view_node *myself = NULL;
    for (size_t i = 0; i < view->node_count; i++) {
        if (i && node_id_eq(&nodes[i - 1].id, &nodes[i].id))
            return false;
        if (!(nodes[i].flags & NODE_MYSELF))
            continue;
        if (myself)
            return false;
        myself = &nodes[i];
    }
    if (!myself)
        return false;
    view->nodes = nodes;
    view->myself = myself;
    view->hash = view_hash(view);
    return true;
}
