/* SPDX-License-Identifier: Apache-2.0 */
#include "core/gate_twin.h"

#include <string.h>

#include "base/text.h"
#include "core/gate_part.h"

/* What the fresh views of the other members say of the claim's node. */
struct twin_views {
    size_t heard;
    const char *ip; /* where most of them have it; NULL = nowhere */
    bool connected; /* and most are connected to it there */
};

static const struct view_node *twin_node(const struct world *world, size_t pod,
                                         const struct gate_claim *claim)
{
    const struct view_node *node = view_find(world->pods[pod].server.view, &claim->id);
    return node && node->ip[0] && !(node->flags & (NODE_HANDSHAKE | NODE_NOADDR)) ? node : NULL;
}

static bool twin_is_heard(const struct world *world, size_t pod)
{
    return pod != world->me && gate_is_viewer(world, &world->pods[pod]);
}

static struct twin_views twin_find_views(const struct world *world, const struct gate_claim *claim)
{
    struct twin_views views = {0};
    const char *leader = NULL; /* whoever has a majority is left over (Boyer and Moore) */
    size_t lead = 0;
    for (size_t i = 0; i < world->pod_count; i++) {
        if (!twin_is_heard(world, i))
            continue;
        const struct view_node *node = twin_node(world, i, claim);
        const char *ip = node ? node->ip : "";
        views.heard++;
        if (!lead)
            leader = ip;
        lead = strcmp(leader, ip) == 0 ? lead + 1 : lead - 1;
    }
    size_t there = 0;
    size_t connected = 0;
    for (size_t i = 0; leader && leader[0] && i < world->pod_count; i++) {
        const struct view_node *node = twin_is_heard(world, i) ? twin_node(world, i, claim) : NULL;
        if (!node || strcmp(node->ip, leader) != 0)
            continue;
        there++;
        connected += node->connected && !(node->flags & (NODE_PFAIL | NODE_FAIL));
    }
    views.ip = there > views.heard / 2 ? leader : NULL;
    views.connected = views.ip && connected > views.heard / 2;
    return views;
}

static bool twin_is_pods(const struct world *world, const char *ip)
{
    if (strcmp(ip, world->my_ip) == 0)
        return true;
    for (size_t i = 0; i < world->pod_count; i++)
        if (strcmp(ip, world->pods[i].ip) == 0)
            return true;
    return false;
}

/* What ran beside this agent has ended. Without an own address none can be called another's. */
static bool twin_may_be(const struct world *world, const struct gate_claim *claim)
{
    return claim->twin && node_id_is_set(&claim->id) && world->my_ip[0] &&
           !node_id_eq(&world->past.id, &claim->id);
}

static const char *twin_address(const struct world *world, const struct gate_claim *claim,
                                const struct twin_views *views)
{
    const char *ip = views->ip;
    if (!ip && claim->twin->lived_ms)
        ip = claim->twin->ip;
    return ip && !twin_is_pods(world, ip) ? ip : NULL;
}

const char *gate_twin_address(const struct world *world, const struct gate_claim *claim)
{
    if (!twin_may_be(world, claim))
        return NULL;
    struct twin_views views = twin_find_views(world, claim);
    return twin_address(world, claim, &views);
}

static bool twin_lives(const struct world *world, const struct gate_twin *twin,
                       const struct twin_views *views)
{
    bool silent = twin->word == TWIN_SILENT && twin->lived_ms &&
                  world->now_ms - twin->lived_ms < GATE_TWIN_QUIET_MS;
    if (twin->word != TWIN_NAMED && twin->word != TWIN_MUTE && !silent)
        return false;
    return twin->named || views->connected;
}

/* Somebody may still give a view, and too few did to tell where most see the node. */
static bool twin_is_looked_for(const struct world *world, const struct gate_claim *claim,
                               const struct twin_views *views)
{
    const struct gate_twin *twin = claim->twin;
    if (!twin->since_ms || world->now_ms - twin->since_ms >= GATE_TWIN_LOOK_MS ||
        views->heard > gate_others(world) / 2)
        return false;
    for (size_t i = 0; i < world->pod_count; i++) {
        const struct pod *pod = &world->pods[i];
        bool answers = pod->server.reach == REACH_OK && !world_view_fresh(world, pod);
        if (i != world->me && pod->ip[0] && !world_gate_word(world, pod) &&
            (pod->server.reach == REACH_UNKNOWN || answers))
            return true;
    }
    return false;
}

/* The outcome comes within GATE_TWIN_ASK_MS; the rest is for the turn. */
static bool twin_is_asked(const struct world *world, const struct gate_twin *twin)
{
    return twin->asked_ms && twin->word == TWIN_UNASKED &&
           world->now_ms - twin->asked_ms < 2 * GATE_TWIN_ASK_MS;
}

/* The address that counts now, once it was asked, and what the views say of it. */
static bool twin_is_there(const struct world *world, const struct gate_claim *claim,
                          struct twin_views *ret_views)
{
    *ret_views = twin_find_views(world, claim);
    const char *ip = twin_address(world, claim, ret_views);
    return ip && strcmp(ip, claim->twin->ip) == 0;
}

bool gate_twin_lives(const struct world *world, const struct gate_claim *claim)
{
    struct twin_views views;
    return twin_may_be(world, claim) && twin_is_there(world, claim, &views) &&
           twin_lives(world, claim->twin, &views);
}

void gate_twin_judge(const struct world *world, struct gate_twin *twin, struct gate_claim *claim)
{
    claim->twin = twin;
    bool lives = gate_twin_lives(world, claim);
    twin->outlived = twin->outlived || lives;
    claim->outlived = twin->outlived && !lives;
    claim->data = claim->data && !claim->outlived;
}

bool gate_holds_twin(const struct world *world, const struct gate_claim *claim,
                     char reason[GATE_REASON_SIZE])
{
    if (!twin_may_be(world, claim))
        return false;
    struct twin_views views;
    bool there = twin_is_there(world, claim, &views);
    const struct gate_twin *twin = claim->twin;
    if (there && twin_lives(world, twin, &views))
        text_format(reason, GATE_REASON_SIZE,
                    twin->named ? "node %.8s still answers at %s, which is no pod's: its process "
                                  "outlived a pod deleted by force, and writes to one of the two "
                                  "would be lost: waiting until that process ends"
                                : "most servers are connected to node %.8s at %s, which is no "
                                  "pod's, and a server that wants a password answers there: "
                                  "waiting until it ends or they lose it",
                    claim->id.hex, twin->ip);
    else if ((there && twin_is_asked(world, twin)) || twin_is_looked_for(world, claim, &views))
        text_format(reason, GATE_REASON_SIZE,
                    "asking first whether node %.8s still runs where the others saw it last "
                    "(waits at most %d ms)",
                    claim->id.hex, GATE_TWIN_LOOK_MS + GATE_TWIN_ASK_MS);
    else
        return false;
    return true;
}

void gate_twin_told(struct gate_twin *twin, enum twin_word word)
{
    twin->word = word;
    if (word == TWIN_MUTE || word == TWIN_NAMED)
        twin->lived_ms = twin->asked_ms;
    twin->named = word == TWIN_NAMED || (twin->named && word != TWIN_GONE);
}
