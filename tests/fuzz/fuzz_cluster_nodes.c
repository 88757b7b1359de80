/* SPDX-License-Identifier: Apache-2.0 */
/* CLUSTER NODES: what is understood is sound, and survives a round trip whole. */
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "fuzz.h"
#include "wire/cluster_nodes.h"

static bool same_node(const struct view_node *a, const struct view_node *b)
{
    return node_id_eq(&a->id, &b->id) && node_id_eq(&a->primary, &b->primary) &&
           strcmp(a->ip, b->ip) == 0 && a->port == b->port && a->bus_port == b->bus_port &&
           a->flags == b->flags && a->connected == b->connected && a->epoch == b->epoch &&
           a->range_count == b->range_count && a->slot_count == b->slot_count;
}

/* Their places in the views may differ: nodes are sorted, ranges are as they came. */
static bool same_ranges(const struct view *a, const struct view_node *node_a, const struct view *b,
                        const struct view_node *node_b)
{
    for (uint32_t i = 0; i < node_a->range_count; i++) {
        const struct slot_range *range_a = &a->ranges[node_a->range_first + i];
        const struct slot_range *range_b = &b->ranges[node_b->range_first + i];
        if (range_a->first != range_b->first || range_a->last != range_b->last)
            return false;
    }
    return true;
}

static void require_same(const struct view *a, const struct view *b)
{
    FUZZ_REQUIRE(a->hash == b->hash && a->node_count == b->node_count);
    FUZZ_REQUIRE(a->range_count == b->range_count && a->open_count == b->open_count);
    for (size_t i = 0; i < a->node_count; i++)
        FUZZ_REQUIRE(same_node(&a->nodes[i], &b->nodes[i]) &&
                     same_ranges(a, &a->nodes[i], b, &b->nodes[i]));
    for (size_t i = 0; i < a->open_count; i++)
        FUZZ_REQUIRE(a->open_slots[i].slot == b->open_slots[i].slot &&
                     a->open_slots[i].importing == b->open_slots[i].importing &&
                     node_id_eq(&a->open_slots[i].peer, &b->open_slots[i].peer));
}

/* Sorted, one myself, every slot at most once. */
static void require_sound(const struct view *view)
{
    uint32_t slots = 0;
    FUZZ_REQUIRE(view->node_count && view->node_count <= NODES_MAX);
    FUZZ_REQUIRE(view->myself && view->myself->flags & NODE_MYSELF);
    FUZZ_REQUIRE(view->hash == view_hash(view));
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *node = &view->nodes[i];
        FUZZ_REQUIRE(!(node->flags & NODE_MYSELF) == (node != view->myself));
        FUZZ_REQUIRE(i == 0 || strcmp(view->nodes[i - 1].id.hex, node->id.hex) < 0);
        FUZZ_REQUIRE(node->range_first + node->range_count <= view->range_count);
        slots += node->slot_count;
    }
    FUZZ_REQUIRE(slots <= SLOT_COUNT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct view view;
    struct err err;
    auto_buf struct buf text = {.ceiling = 2 * NODES_TEXT_MAX};
    arena_init(&arena, MIB(16));
    if (cluster_nodes_parse(fuzz_span(data, size), &arena, &view, &err) == 0) {
        struct view again;
        require_sound(&view);
        FUZZ_REQUIRE(cluster_nodes_format(&view, &text) == 0);
        FUZZ_REQUIRE(cluster_nodes_parse(span_of(buf_str(&text)), &arena, &again, &err) == 0);
        require_same(&view, &again);
    }
    arena_deinit(&arena);
    return 0;
}
