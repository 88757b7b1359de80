/* SPDX-License-Identifier: Apache-2.0 */
/* CLUSTER NODES: what is understood survives a round trip. */
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "fuzz.h"
#include "wire/cluster_nodes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct view view;
    struct err err;
    auto_buf struct buf text = {.ceiling = 2 * NODES_TEXT_MAX};
    arena_init(&arena, MIB(16));
    if (cluster_nodes_parse(fuzz_span(data, size), &arena, &view, &err) == 0) {
        struct view again;
        FUZZ_REQUIRE(view.myself && view.hash == view_hash(&view));
        FUZZ_REQUIRE(cluster_nodes_format(&view, &text) == 0);
        FUZZ_REQUIRE(cluster_nodes_parse(span_of(buf_str(&text)), &arena, &again, &err) == 0);
        FUZZ_REQUIRE(again.hash == view.hash && again.node_count == view.node_count &&
                     again.range_count == view.range_count && again.open_count == view.open_count);
        for (size_t i = 0; i < view.node_count; i++)
            FUZZ_REQUIRE(strcmp(again.nodes[i].ip, view.nodes[i].ip) == 0 &&
                         again.nodes[i].port == view.nodes[i].port &&
                         again.nodes[i].flags == view.nodes[i].flags &&
                         again.nodes[i].slot_count == view.nodes[i].slot_count);
    }
    arena_deinit(&arena);
    return 0;
}
