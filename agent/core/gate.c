/* SPDX-License-Identifier: Apache-2.0 */
#include "core/gate.h"

#include <string.h>

#include "base/text.h"
#include "core/gate_part.h"
#include "core/gate_twin.h"

/* Times the limit: how long a server waits that would be one of few. */
#define GATE_MINORITY_LIMITS 4

/* A list of pods without our own is an old one, of before it. */
static bool gate_told(const struct world *world)
{
    return world->api_seen_ms && world->set.known &&
           (world->me != NO_POD || world->arbiter != ARBITER_LEASE) &&
           (world->record_presence == PRESENCE_ABSENT || world->record);
}

static const char *gate_teller(const struct world *world)
{
    return world->arbiter == ARBITER_HOSTS ? "the other agents" : "the Kubernetes API";
}

/* ---- would the start cost data? ---- */

static const char *gate_whose(const struct world *world, const struct view_node *node,
                              const struct gate_claim *claim)
{
    if (node_id_eq(&node->id, &claim->id))
        return claim->outlived ? "its process outlived its pod and took what this volume may lack"
                               : "it comes back without its data";
    return node_id_eq(&node->id, &world->past.id) ? "it comes back without its volume"
                                                  : "at this address another node is expected";
}

/* Somebody's view gives the node a part that this server cannot take up. */
static bool gate_holds_for_part(const struct world *world, const struct gate_claim *claim,
                                const struct gate_part *part, char reason[GATE_REASON_SIZE])
{
    const char *holder = gate_find_holder(world, &part->node->id, claim->asked_ms);
    if (!holder || gate_is_spent(world, part, claim->asked_ms))
        return false;
    const char *whose = gate_whose(world, part->node, claim);
    if (part->node->slot_count)
        text_format(reason, GATE_REASON_SIZE,
                    "%s; in the view of %s node %.8s owns %u slots, and %s may have its data: "
                    "waiting until another node owns them",
                    whose, part->viewer->name, part->node->id.hex, part->node->slot_count, holder);
    else
        text_format(reason, GATE_REASON_SIZE,
                    "%s; in the view of %s replicas follow node %.8s, and %s may have its data: "
                    "waiting until they follow another",
                    whose, part->viewer->name, part->node->id.hex, holder);
    return true;
}

/* What ran here last had a part, as its volume or our memory says, and the others are not heard. */
static bool gate_holds_unheard(const struct world *world, const struct node_id *lost,
                               const struct gate_claim *claim, const struct gate_part *part,
                               char reason[GATE_REASON_SIZE])
{
    const char *state =
        claim->outlived ? "this volume may lack its last writes" : "its data is gone";
    if (!gate_told(world)) {
        text_format(reason, GATE_REASON_SIZE,
                    "node %.8s owned slots here and %s: %s must tell first who else "
                    "has it",
                    lost->hex, state, gate_teller(world));
        return true;
    }
    const char *holder = gate_find_holder(world, lost, claim->asked_ms);
    if (!holder || part->heard > part->others / 2)
        return false;
    text_format(reason, GATE_REASON_SIZE,
                "node %.8s owned slots here and %s, and %s may have it: waiting for "
                "most of the %zu other servers to say who owns the slots, %zu do",
                lost->hex, state, holder, part->others, part->heard);
    return true;
}

/* The server would be empty where data was; NULL if not. */
static const struct node_id *gate_lost(const struct world *world, const struct gate_claim *claim)
{
    bool same = node_id_eq(&world->past.id, &claim->id);
    if (world->past.part && !(same && claim->data))
        return &world->past.id;
    return claim->owner && !claim->data ? &claim->id : NULL;
}

static bool gate_holds_data(const struct world *world, const struct gate_claim *claim,
                            char reason[GATE_REASON_SIZE])
{
    if (world->guards_off & GUARD_DATA)
        return false;
    struct gate_part part = gate_find_part(world, claim);
    if (part.node)
        return gate_holds_for_part(world, claim, &part, reason);
    const struct node_id *lost = gate_lost(world, claim);
    return lost && gate_holds_unheard(world, lost, claim, &part, reason);
}

/* ---- a start from nothing ---- */

/* An empty start needs the word of most others, and none of them against it (DESIGN 5.4). */
static enum gate_verdict gate_judge_empty(const struct world *world, const struct node_id *claimed,
                                          int64_t since_ms, const char *what,
                                          char reason[GATE_REASON_SIZE])
{
    struct gate_part part = gate_find_former(world, claimed, since_ms);
    if (part.node && part.node->slot_count)
        text_format(reason, GATE_REASON_SIZE,
                    "%s; node %.8s still owns %u slots in the view of %s: waiting for a replica "
                    "to be elected",
                    what, part.node->id.hex, part.node->slot_count, part.viewer->name);
    else if (part.node)
        text_format(reason, GATE_REASON_SIZE,
                    "%s; node %.8s is still followed in the view of %s: waiting", what,
                    part.node->id.hex, part.viewer->name);
    else if (!part.others)
        text_format(reason, GATE_REASON_SIZE,
                    "%s, and there is no other server that could tell whether its node has a part: "
                    "a person must decide",
                    what);
    else if (part.heard <= part.others / 2)
        text_format(reason, GATE_REASON_SIZE,
                    "%s; waiting for most of the %zu other servers to say that its node has no "
                    "part, %zu do",
                    what, part.others, part.heard);
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
static enum gate_verdict gate_judge_corrupt(const struct world *world, int64_t since_ms,
                                            char reason[GATE_REASON_SIZE])
{
    const char *what = "its nodes.conf is corrupt";
    if (!gate_told(world)) {
        text_format(reason, GATE_REASON_SIZE, "%s, and %s did not tell yet what it was", what,
                    gate_teller(world));
        return GATE_WAIT;
    }
    return gate_judge_empty(world, &(struct node_id){""}, since_ms, what, reason);
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
    if (world->record_presence == PRESENCE_PRESENT && !world->record)
        text_format(
            reason, GATE_REASON_SIZE,
            "the record, which tells where its peers are, cannot be read: %s (waits at most "
            "%d s)",
            world->record_problem, (int)(limit_ms / 1000));
    else
        text_format(reason, GATE_REASON_SIZE,
                    "%s did not tell yet where its peers are (waits at most %d s)",
                    gate_teller(world), (int)(limit_ms / 1000));
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

static enum gate_verdict gate_open_by_hand(const struct world *world,
                                           const struct gate_claim *claim,
                                           char reason[GATE_REASON_SIZE])
{
    text_format(reason, GATE_REASON_SIZE, "a person opened the gate");
    if (claim->corrupt)
        return GATE_GO_EMPTY;
    if (!claim->has_nodes || !gate_told(world))
        return GATE_GO;
    struct node_id recorded = gate_recorded_id(world, &claim->id);
    bool another = gate_record(world) && !node_id_eq(&recorded, &claim->id);
    return another ? GATE_GO_ALONE : GATE_GO_REWRITTEN;
}

/* Without a volume that tells what it was: only its address can be mistaken for another's. */
static enum gate_verdict gate_judge_new(const struct world *world, const struct gate_claim *claim,
                                        int64_t limit_ms, char reason[GATE_REASON_SIZE])
{
    const char *what = claim->unreadable
                           ? "its nodes.conf cannot be read: the server itself must judge it"
                           : "a new server, with no peers to find";
    /* Without Kubernetes a record that is not there may be one that was lost with the container. */
    bool told = gate_told(world);
    bool first = told && world->arbiter == ARBITER_LEASE &&
                 world->record_presence == PRESENCE_ABSENT && !gate_record(world);
    bool asked = told && gate_asked_all(world, claim->asked_ms);
    if (first || asked || world->now_ms - claim->asked_ms >= limit_ms) {
        text_format(reason, GATE_REASON_SIZE, "%s", what);
        return GATE_GO;
    }
    text_format(reason, GATE_REASON_SIZE,
                "a new server: asking first whether its address was that of another node "
                "(waits at most %d s)",
                (int)(limit_ms / 1000));
    return GATE_WAIT;
}

/* Most primaries are to come: those that are there would serve nothing. */
static bool gate_is_minority(const struct world *world, const struct gate_claim *claim,
                             size_t *ret_known)
{
    size_t known = 0;
    size_t coming = 0;
    for (size_t i = 0; i < claim->primary_count; i++) {
        const struct node_id *id = &claim->primaries[i];
        if (node_id_eq(id, &claim->id) || gate_address(world, id))
            known++;
        else
            coming += gate_may_come(world, id);
    }
    *ret_known = known;
    for (size_t i = 0; i < world->pod_count; i++)
        if (i != world->me && world_server_fresh(world, &world->pods[i]) &&
            world->pods[i].server.state_ok)
            return false; /* most are there */
    return known <= claim->primary_count / 2 && known + coming > claim->primary_count / 2;
}

void gate_note_few(const struct world *world, struct gate_claim *claim, int64_t *few_ms)
{
    size_t known;
    if (gate_told(world) && gate_is_minority(world, claim, &known))
        *few_ms = world->now_ms;
    claim->few_ms = *few_ms;
}

/*
 * A peer whose address is not known is noaddr to this server, which neither looks after it nor votes
 * for its heir. So it waits for peers that are on their way, and longer while most primaries are: the
 * few would serve nothing, and having been a minority keeps a server back for another 5 s
 * (CLUSTER_MAX_REJOIN_DELAY). Those that come late come one after another: the wait for the rest
 * begins when most are there. Else most would start at that moment, all with the rest for failing.
 */
static bool gate_awaits_peers(const struct world *world, const struct gate_claim *claim,
                              int64_t limit_ms, char reason[GATE_REASON_SIZE])
{
    size_t known;
    if (gate_is_minority(world, claim, &known)) {
        text_format(
            reason, GATE_REASON_SIZE,
            "only %zu of the %zu primaries have an address, and would serve nothing: waiting "
            "for most of them (at most %d s)",
            known, claim->primary_count, (int)(GATE_MINORITY_LIMITS * limit_ms / 1000));
        return world->now_ms - claim->asked_ms < GATE_MINORITY_LIMITS * limit_ms;
    }
    struct gate_absent absent = gate_find_absent(world);
    bool were_few = claim->few_ms > claim->asked_ms;
    if (!absent.count || world->now_ms - (were_few ? claim->few_ms : claim->asked_ms) >= limit_ms)
        return false;
    text_format(reason, GATE_REASON_SIZE,
                absent.count == 1
                    ? "%s has no address yet: waiting for it (at most %d s%s)"
                    : "%s and others have no address yet: waiting for them (at most %d s%s)",
                absent.first, (int)(limit_ms / 1000), were_few ? " more" : "");
    return true;
}

enum gate_verdict gate_judge(const struct world *world, const struct gate_claim *claim,
                             int64_t limit_ms, char reason[GATE_REASON_SIZE])
{
    if (claim->opened)
        return gate_open_by_hand(world, claim, reason);
    if (claim->replacing) {
        text_format(reason, GATE_REASON_SIZE, "%s", claim->replacing);
        return GATE_WAIT;
    }
    if (claim->corrupt)
        return gate_judge_corrupt(world, claim->asked_ms, reason);
    if (gate_holds_data(world, claim, reason))
        return GATE_WAIT;
    if (!claim->has_nodes)
        return gate_judge_new(world, claim, limit_ms, reason);
    if (!gate_told(world))
        return gate_judge_untold(world, claim, limit_ms, reason);
    const struct record *record = gate_record(world);
    struct node_id recorded = gate_recorded_id(world, &claim->id);
    if (!record || node_id_eq(&recorded, &claim->id)) {
        if (gate_holds_twin(world, claim, reason) ||
            (record && gate_awaits_peers(world, claim, limit_ms, reason)))
            return GATE_WAIT;
        text_format(reason, GATE_REASON_SIZE, "the current addresses of its peers are known");
        return GATE_GO_REWRITTEN;
    }
    if (record_forgets(record, &claim->id) || record_has_left(record, &claim->id)) {
        enum gate_verdict verdict =
            gate_judge_empty(world, &claim->id, claim->asked_ms,
                             "its volume is that of a node which has left the cluster", reason);
        /* Its data is needed yet, or that cannot be told in time: as any volume that came back. */
        if (verdict == GATE_GO_EMPTY || world->now_ms - claim->asked_ms < limit_ms)
            return verdict;
    }
    return gate_judge_other(record, claim, reason);
}

const char *gate_opened_how(const struct world *world, const struct gate_claim *claim)
{
    if (claim->corrupt)
        return "empty, with its files kept aside";
    if (claim->outlived)
        return "with the data of its volume, and the replicas of its node copy that over theirs";
    if (!claim->data)
        return "without data, and the replicas of its node throw theirs away";
    if (gate_twin_lives(world, claim))
        return "beside the one that runs, and what either of them then takes may be lost";
    return gate_find_part(world, claim).node ? "as it is, and the replicas of the node that is "
                                               "expected here copy its data over theirs"
                                             : "as it is";
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

bool gate_knows_most(const struct world *world)
{
    struct gate_absent absent = gate_find_absent(world);
    return absent.all < absent.members - absent.all;
}

bool gate_is_failing(const struct world *world, const struct node_id *id)
{
    const struct record *record = gate_record(world);
    return record && record_find_id(record, id) && !gate_address(world, id);
}
