/* SPDX-License-Identifier: Apache-2.0 */
#include "core/gate.h"

#include <string.h>

#include "base/text.h"

enum gate_verdict gate_judge(const struct world *world, const struct gate_claim *claim,
                             int64_t limit_ms, char reason[GATE_REASON_SIZE])
{
    if (!claim->has_nodes) {
        text_format(reason, GATE_REASON_SIZE, "%s",
                    claim->corrupt
                        ? "its nodes.conf cannot be read: the server itself must judge it"
                        : "a new server, with no peers to find");
        return GATE_GO;
    }
    bool told = world->api_seen_ms && world->set.known &&
                (world->record_presence == PRESENCE_ABSENT || world->record);
    if (told) {
        text_format(reason, GATE_REASON_SIZE, "the current addresses of its peers are known");
        return GATE_GO_REWRITTEN;
    }
    int64_t waited_ms = world->now_ms - claim->asked_ms;
    if (waited_ms < limit_ms) {
        text_format(reason, GATE_REASON_SIZE,
                    "the Kubernetes API has not told yet where its peers are (at most %d s more)",
                    (int)((limit_ms - waited_ms + 999) / 1000));
        return GATE_WAIT;
    }
    text_format(reason, GATE_REASON_SIZE,
                "the Kubernetes API was silent for %d s: starting with the old addresses",
                (int)(waited_ms / 1000));
    return GATE_GO;
}

const struct pod *gate_address(const struct world *world, const struct node_id *id)
{
    const struct record_member *member = world->record ? record_find_id(world->record, id) : NULL;
    const struct pod *pod = member ? world_pod_by_name(world, member->pod) : NULL;
    bool another = pod && world_server_fresh(world, pod) && !node_id_eq(&pod->server.id, id);
    if (pod && pod->ip[0] && !another)
        return pod;
    for (size_t i = 0; i < world->pod_count; i++)
        if (world->pods[i].ip[0] && world_server_fresh(world, &world->pods[i]) &&
            node_id_eq(&world->pods[i].server.id, id))
            return &world->pods[i];
    return NULL;
}
