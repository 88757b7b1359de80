/* SPDX-License-Identifier: Apache-2.0 */
#include "core/gate.h"

#include <string.h>

#include "base/text.h"

static bool gate_told(const struct world *world)
{
    return world->api_seen_ms && world->set.known &&
           (world->record_presence == PRESENCE_ABSENT || world->record);
}

/* The record, or what is remembered of one that was deleted. */
static const struct record *gate_record(const struct world *world)
{
    return world->record ? world->record : world->record_copy;
}

static const char *gate_teller(const struct world *world)
{
    return world->arbiter == ARBITER_HOSTS ? "the other agents" : "the Kubernetes API";
}

/* The node that is to be started empty still has a part in the cluster: nobody else has its data. */
struct gate_part {
    size_t views;                 /* of other servers that were read lately */
    size_t others;                /* pods beside the own one */
    const struct view_node *node; /* owns slots or is followed, NULL if none does */
    const struct pod *viewer;     /* that says so */
};

static bool gate_is_followed(const struct view *view, const struct node_id *id)
{
    for (size_t i = 0; i < view->node_count; i++)
        if (node_id_eq(&view->nodes[i].primary, id))
            return true;
    return false;
}

/*
 * The node that the record has for the own pod; "" = none. Where pods have no names of their own,
 * the volume says which member this is.
 */
static struct node_id gate_recorded_id(const struct world *world, const struct node_id *claimed)
{
    const struct record *record = gate_record(world);
    const struct record_member *m = !record        ? NULL
                                    : world->seats ? record_find_id(record, claimed)
                                                   : record_find_pod(record, world->my_pod);
    return m ? m->id : (struct node_id){""};
}

/*
 * The node may be the one that ran here last: by the file's id, by the record's for this pod, by our
 * address; or, when neither tells an id, because nobody answers for it.
 */
static bool gate_is_ours(const struct world *world, const struct view_node *node,
                         const struct node_id *claimed, const struct node_id *recorded)
{
    if (node_id_eq(&node->id, claimed) || node_id_eq(&node->id, recorded))
        return true;
    if (node->ip[0] && strcmp(node->ip, world->my_ip) == 0)
        return true;
    if (node_id_is_set(claimed) || node_id_is_set(recorded))
        return false;
    for (size_t i = 0; i < world->pod_count; i++)
        if (world_server_fresh(world, &world->pods[i]) &&
            node_id_eq(&world->pods[i].server.id, &node->id))
            return false;
    return true;
}

static struct gate_part gate_find_part(const struct world *world, const struct node_id *claimed)
{
    struct gate_part part = {0};
    struct node_id recorded = gate_recorded_id(world, claimed);
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        if (i == world->me)
            continue;
        part.others++;
        if (!world_view_fresh(world, pod))
            continue;
        part.views++;
        const struct view *view = pod->server.view;
        for (size_t n = 0; !part.node && n < view->node_count; n++) {
            const struct view_node *node = &view->nodes[n];
            if (!(node->flags & (NODE_MYSELF | NODE_HANDSHAKE)) &&
                gate_is_ours(world, node, claimed, &recorded) &&
                (node->slot_count || gate_is_followed(view, &node->id))) {
                part.node = node;
                part.viewer = pod;
            }
        }
    }
    return part;
}

/* An empty start needs the word of most others, and none of them against it (DESIGN 5.4). */
static enum gate_verdict gate_judge_empty(const struct world *world, const struct node_id *claimed,
                                          const char *what, char reason[GATE_REASON_SIZE])
{
    struct gate_part part = gate_find_part(world, claimed);
    if (part.node && part.node->slot_count)
        text_format(reason, GATE_REASON_SIZE,
                    "%s; node %.8s still owns %u slots in the view of %s: waiting for a replica "
                    "to be elected",
                    what, part.node->id.hex, part.node->slot_count, part.viewer->name);
    else if (part.node)
        text_format(reason, GATE_REASON_SIZE,
                    "%s; node %.8s is still followed in the view of %s: waiting", what,
                    part.node->id.hex, part.viewer->name);
    else if (part.views <= part.others / 2)
        text_format(reason, GATE_REASON_SIZE,
                    "%s; waiting for most of the %zu other servers to say that its node has no "
                    "part, %zu do",
                    what, part.others, part.views);
    else {
        text_format(reason, GATE_REASON_SIZE,
                    "%s, and no other server says that its node has a part: starting empty, the "
                    "old files are kept aside",
                    what);
        return GATE_GO_EMPTY;
    }
    return GATE_WAIT;
}

/* A file that no server would take does not tell which node it was. */
static enum gate_verdict gate_judge_corrupt(const struct world *world,
                                            char reason[GATE_REASON_SIZE])
{
    const char *what = "its nodes.conf is corrupt";
    if (!gate_told(world)) {
        text_format(reason, GATE_REASON_SIZE, "%s, and %s did not tell yet what it was", what,
                    gate_teller(world));
        return GATE_WAIT;
    }
    return gate_judge_empty(world, &(struct node_id){""}, what, reason);
}

static enum gate_verdict gate_judge_untold(const struct world *world,
                                           const struct gate_claim *claim, int64_t limit_ms,
                                           char reason[GATE_REASON_SIZE])
{
    int64_t waited_ms = world->now_ms - claim->asked_ms;
    if (waited_ms >= limit_ms) {
        text_format(reason, GATE_REASON_SIZE,
                    "%s told nothing for %d s: starting with the old addresses", gate_teller(world),
                    (int)(waited_ms / 1000));
        return GATE_GO;
    }
    text_format(reason, GATE_REASON_SIZE,
                "%s did not tell yet where its peers are (waits at most %d s)", gate_teller(world),
                (int)(limit_ms / 1000));
    return GATE_WAIT;
}

/*
 * A volume that the record does not have for this pod: a copy, or one that moved. Under another's
 * id it must not tell that one's peers where it is; who it is, is decided once it answers.
 */
static enum gate_verdict gate_judge_other(const struct record *record,
                                          const struct gate_claim *claim,
                                          char reason[GATE_REASON_SIZE])
{
    const struct record_member *m = record_find_id(record, &claim->id);
    if (m)
        text_format(reason, GATE_REASON_SIZE,
                    "its volume is that of %s, copied or moved: it starts without the addresses "
                    "of its peers",
                    m->pod);
    else
        text_format(reason, GATE_REASON_SIZE,
                    "the record does not know its node %.8s: it starts without the addresses of "
                    "its peers",
                    claim->id.hex);
    return GATE_GO_ALONE;
}

enum gate_verdict gate_judge(const struct world *world, const struct gate_claim *claim,
                             int64_t limit_ms, char reason[GATE_REASON_SIZE])
{
    if (claim->corrupt)
        return gate_judge_corrupt(world, reason);
    if (!claim->has_nodes) {
        text_format(reason, GATE_REASON_SIZE, "%s",
                    claim->unreadable
                        ? "its nodes.conf cannot be read: the server itself must judge it"
                        : "a new server, with no peers to find");
        return GATE_GO;
    }
    if (!gate_told(world))
        return gate_judge_untold(world, claim, limit_ms, reason);
    const struct record *record = gate_record(world);
    struct node_id recorded = gate_recorded_id(world, &claim->id);
    if (!record || node_id_eq(&recorded, &claim->id)) {
        text_format(reason, GATE_REASON_SIZE, "the current addresses of its peers are known");
        return GATE_GO_REWRITTEN;
    }
    if (record_forgets(record, &claim->id)) {
        enum gate_verdict verdict = gate_judge_empty(
            world, &claim->id, "its volume is that of a node which has left the cluster", reason);
        /* Its data is needed yet, or that cannot be told in time: as any volume that came back. */
        if (verdict == GATE_GO_EMPTY || world->now_ms - claim->asked_ms < limit_ms)
            return verdict;
    }
    return gate_judge_other(record, claim, reason);
}

const struct pod *gate_address(const struct world *world, const struct node_id *id)
{
    const struct record *record = gate_record(world);
    const struct record_member *member = record ? record_find_id(record, id) : NULL;
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
