/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "core/gate.h"
#include "lib/world_build.h"

#define LIMIT_MS 30000
/* Before the others were asked what the world has of them. */
#define ASKED_MS (WORLD_BUILD_NOW_MS - 1000)

static char reason[GATE_REASON_SIZE];

static struct world_build *formed(struct arena *arena)
{
    arena_reset(arena);
    return world_build_formed(arena, 3, 6);
}

/* The pod has an address that no node had. */
static struct world_build *formed_elsewhere(struct arena *arena)
{
    struct world_build *b = formed(arena);
    text_format(b->world.my_ip, sizeof b->world.my_ip, "10.0.0.77");
    return b;
}

static enum gate_verdict judge(const struct world_build *b, struct gate_claim claim)
{
    memset(reason, 0, sizeof reason);
    enum gate_verdict verdict = gate_judge(&b->world, &claim, LIMIT_MS, reason);
    assert_true(strlen(reason) > 0);
    return verdict;
}

static void test_a_new_server_starts_at_once_where_nothing_was_formed(void **state)
{
    arena_reset(*state);
    struct world_build *b = world_build_virgin(*state, 6);
    b->world.record_presence = PRESENCE_ABSENT;
    b->world.api_seen_ms = 0;
    assert_int_equal(judge(b, (struct gate_claim){0}), GATE_GO);
    assert_string_equal(reason, "a new server, with no peers to find");
    assert_int_equal(judge(b, (struct gate_claim){.unreadable = true}), GATE_GO);
    assert_string_equal(reason, "its nodes.conf cannot be read: the server itself must judge it");
}

/* Its address may be that of a node which replicas still follow (FACTS 0.2). */
static void test_a_new_server_asks_whose_address_it_has(void **state)
{
    struct world_build *b = formed_elsewhere(*state);
    struct gate_claim claim = {.asked_ms = ASKED_MS};
    assert_int_equal(judge(b, claim), GATE_GO);
    b->pods[3].server.reach = REACH_UNKNOWN;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(reason,
                        "a new server: asking first whether its address was that of another "
                        "node (waits at most 30 s)");
    b->pods[3].server.reach = REACH_TIMEOUT; /* asked, and silent */
    assert_int_equal(judge(b, claim), GATE_GO);
    b->pods[3].server.reach = REACH_OK;
    b->pods[3].server.view_ms = 0; /* its figures only */
    assert_int_equal(judge(b, claim), GATE_WAIT);
    claim.asked_ms = WORLD_BUILD_NOW_MS - LIMIT_MS;
    assert_int_equal(judge(b, claim), GATE_GO);
    b->world.api_seen_ms = 0;
    claim.asked_ms += 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
}

/* The file of the server that runs in the agent's own pod. */
static struct gate_claim claim_of(const struct world_build *b, size_t pod)
{
    return (struct gate_claim){
        .has_nodes = true, .id = b->nodes[pod].id, .data = true, .asked_ms = b->world.now_ms};
}

static void test_a_server_with_peers_starts_with_their_current_addresses(void **state)
{
    struct world_build *b = formed_elsewhere(*state);
    assert_int_equal(judge(b, claim_of(b, 0)), GATE_GO_REWRITTEN);
    b->world.record = b->world.record_copy = NULL;
    b->world.record_presence = PRESENCE_ABSENT; /* read, and there is none */
    assert_int_equal(judge(b, claim_of(b, 0)), GATE_GO_REWRITTEN);
    b->world.record_copy = &b->record; /* deleted by hand: we remember it */
    assert_int_equal(judge(b, claim_of(b, 0)), GATE_GO_REWRITTEN);
    assert_ptr_equal(gate_address(&b->world, &b->nodes[4].id), &b->pods[4]);
    assert_int_equal(judge(b, claim_of(b, 1)), GATE_GO_ALONE);
}

/*
 * What was said before the primary ended: that a replica waits at its gate, or has no keys yet. Then
 * it got them (seen in the lab: a word from the formation opened the gate, and the data was lost).
 */
static void test_what_was_said_before_is_no_evidence(void **state)
{
    struct world_build *b = formed(*state);
    struct gate_claim claim = claim_of(b, 0);
    claim.data = false;
    claim.asked_ms = ASKED_MS;
    size_t follower = 1;
    while (b->nodes[follower].primary || b->nodes[follower].primary_node != 0)
        follower++;
    struct pod *replica = &b->pods[follower];
    replica->server.reach = REACH_TIMEOUT;
    replica->told = (struct told){.heard_ms = ASKED_MS - 1, .gate = {.held = true}};
    replica->server.seen_ms = ASKED_MS - 500;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, " may have its data"));
    replica->told.heard_ms = ASKED_MS;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    replica->server.seen_ms = ASKED_MS + 1; /* it answered after that word */
    assert_int_equal(judge(b, claim), GATE_WAIT);

    replica->told = (struct told){0};
    replica->server.reach = REACH_OK;
    replica->server.keys = 0;
    replica->server.seen_ms = replica->server.view_ms = ASKED_MS;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    replica->server.seen_ms = replica->server.view_ms = ASKED_MS - 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
}

/* Whom it would not know at its start it would not look after (gate_awaits_peers()). */
static void test_a_server_waits_for_peers_on_their_way(void **state)
{
    struct world_build *b = formed_elsewhere(*state);
    struct gate_claim claim = claim_of(b, 0);
    b->pods[4].ip[0] = '\0';
    b->pods[4].server = (struct server){.reach = REACH_UNKNOWN};
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(reason, "muster-4 has no address yet: waiting for it (at most 30 s)");
    b->pods[5].ip[0] = '\0';
    b->pods[5].server = (struct server){.reach = REACH_UNKNOWN};
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(reason,
                        "muster-4 and others have no address yet: waiting for them (at most 30 s)");
    claim.asked_ms -= LIMIT_MS;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    claim.asked_ms += 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b->world.set.replicas = 4; /* nobody makes those two again */
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
}

/* The others have done without it for a while: it is not on its way. */
static void test_a_server_does_not_wait_for_a_failed_peer(void **state)
{
    struct world_build *b = formed_elsewhere(*state);
    struct gate_claim claim = claim_of(b, 0);
    b->pods[4].ip[0] = '\0';
    b->pods[4].server = (struct server){.reach = REACH_UNKNOWN};
    assert_int_equal(judge(b, claim), GATE_WAIT);
    world_build_lose(b, 4);
    world_build_refresh(b);
    b->pods[4].ip[0] = '\0';
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
}

/* The few would serve nothing, and be kept back as a former minority once the others come. */
static void test_a_minority_waits_longer(void **state)
{
    struct world_build *b = formed_elsewhere(*state);
    struct gate_claim claim = claim_of(b, 0);
    for (size_t i = 3; i < 6; i++) {
        b->pods[i].ip[0] = '\0';
        b->pods[i].server = (struct server){.reach = REACH_UNKNOWN};
    }
    claim.asked_ms -= (int64_t)4 * LIMIT_MS - 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(reason,
                        "only 3 of the 6 members have an address, itself included, and would serve "
                        "nothing: waiting for most of them (at most 120 s)");
    claim.asked_ms -= 1;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    claim.asked_ms = b->world.now_ms;
    b->world.pod_count = 3; /* OrderedReady makes them only once this one is ready */
    b->world.set.ordered_ready = true;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    b->world.set.ordered_ready = false;
    assert_int_equal(judge(b, claim), GATE_WAIT);
}

/* Before the pods, the StatefulSet and the record were read, old addresses may be another cluster's. */
static void test_a_server_with_peers_waits_until_they_are_known(void **state)
{
    struct gate_claim claim = {.has_nodes = true, .asked_ms = WORLD_BUILD_NOW_MS};
    struct world_build *b = formed_elsewhere(*state);
    b->world.api_seen_ms = 0;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b = formed_elsewhere(*state);
    b->world.set.known = false;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b = formed_elsewhere(*state);
    b->world.record = NULL;
    b->world.record_presence = PRESENCE_UNKNOWN;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(
        reason, "the Kubernetes API did not tell yet where its peers are (waits at most 30 s)");
    b->world.record_presence = PRESENCE_PRESENT; /* there is one that cannot be read */
    assert_int_equal(judge(b, claim), GATE_WAIT);
}

static void test_a_silent_api_holds_a_server_to_the_limit_only(void **state)
{
    struct world_build *b = formed_elsewhere(*state);
    struct gate_claim claim = {.has_nodes = true};
    b->world.api_seen_ms = 0;
    claim.asked_ms = b->world.now_ms - LIMIT_MS + 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(
        reason, "the Kubernetes API did not tell yet where its peers are (waits at most 30 s)");
    claim.asked_ms = b->world.now_ms - LIMIT_MS;
    assert_int_equal(judge(b, claim), GATE_GO);
    assert_string_equal(
        reason, "the Kubernetes API told nothing for 30 s: starting with the old addresses");
}

static void test_the_record_knows_whose_address_a_node_has(void **state)
{
    struct world_build *b = formed(*state);
    world_build_lose(b, 4); /* silent now, but its pod's address is known */
    for (size_t i = 0; i < 6; i++)
        assert_ptr_equal(gate_address(&b->world, &b->nodes[i].id), &b->pods[i]);
}

static void test_a_server_that_answers_has_the_address_it_answers_at(void **state)
{
    struct world_build *b = formed(*state);
    b->world.record = b->world.record_copy = NULL;
    assert_ptr_equal(gate_address(&b->world, &b->nodes[4].id), &b->pods[4]);
    world_build_lose(b, 4);
    assert_null(gate_address(&b->world, &b->nodes[4].id));
}

static void test_a_node_of_nobody_has_no_address(void **state)
{
    struct world_build *b = formed(*state);
    struct node_id stranger = world_build_id(77);
    assert_null(gate_address(&b->world, &stranger));
    b->pods[4].ip[0] = '\0'; /* its pod is not scheduled yet */
    assert_null(gate_address(&b->world, &b->nodes[4].id));
    b->world.pod_count = 3; /* or not made yet */
    assert_null(gate_address(&b->world, &b->nodes[5].id));
}

/* Compose after `down` and `up`: every address is new, and with it the name, but not the volume. */
static void test_without_names_the_volume_is_the_member(void **state)
{
    struct world_build *b = formed_elsewhere(*state);
    b->world.seats = true;
    assert_int_equal(judge(b, claim_of(b, 1)), GATE_GO_REWRITTEN);
    struct gate_claim stranger = claim_of(b, 1);
    stranger.id = world_build_id(77);
    assert_int_equal(judge(b, stranger), GATE_GO_ALONE);
}

/* A volume restored from a snapshot of another pod, or of another cluster (FACTS 13, M7b). */
static void test_a_copied_volume_starts_without_addresses(void **state)
{
    struct world_build *b = formed_elsewhere(*state);
    assert_int_equal(judge(b, claim_of(b, 1)), GATE_GO_ALONE);
    assert_string_equal(reason,
                        "its volume is that of muster-1, copied or moved: it starts without "
                        "the addresses of its peers");
    struct gate_claim foreign = {.has_nodes = true, .id = world_build_id(77)};
    assert_int_equal(judge(b, foreign), GATE_GO_ALONE);
    b->world.record = b->world.record_copy = NULL;
    b->world.record_presence = PRESENCE_ABSENT; /* a clone in a namespace of its own */
    assert_int_equal(judge(b, foreign), GATE_GO_REWRITTEN);
    assert_null(gate_address(&b->world, &foreign.id));
}

static const struct gate_claim corrupt = {.corrupt = true};

/* What a corrupt file was, only the other servers can tell: they must all be heard against it. */
static void test_a_corrupt_file_waits_while_its_node_has_a_part(void **state)
{
    struct world_build *b = formed(*state);
    world_build_lose(b, 0); /* the own server is down, and owned the first shard */
    world_build_refresh(b);
    assert_int_equal(judge(b, corrupt), GATE_WAIT);
    assert_non_null(strstr(reason, "its nodes.conf is corrupt; node"));
    assert_non_null(strstr(reason, "still owns 5461 slots in the view of muster-1: waiting for a "
                                   "replica to be elected"));
    b->world.api_seen_ms = 0;
    assert_int_equal(judge(b, corrupt), GATE_WAIT);
    assert_string_equal(
        reason, "its nodes.conf is corrupt, and the Kubernetes API did not tell yet what it was");
}

static void elect(struct world_build *b, size_t lost, size_t heir)
{
    b->nodes[heir].primary = true;
    b->nodes[heir].slots = b->nodes[lost].slots;
    b->nodes[heir].epoch = 9;
    b->nodes[lost].slots = (struct slot_set){0};
    world_build_refresh(b);
}

static size_t replica_of(const struct world_build *b, size_t primary)
{
    for (size_t i = 0; i < b->count; i++)
        if (!b->nodes[i].primary && b->nodes[i].primary_node == primary)
            return i;
    return b->count;
}

static void test_a_corrupt_file_is_moved_aside_once_another_owns_the_slots(void **state)
{
    struct world_build *b = formed(*state);
    world_build_lose(b, 0);
    elect(b, 0, replica_of(b, 0));
    assert_int_equal(judge(b, corrupt), GATE_GO_EMPTY);
    for (size_t i = 1; i < 4; i++)
        b->pods[i].server.view_ms = 0; /* too few to say so */
    assert_int_equal(judge(b, corrupt), GATE_WAIT);
    assert_string_equal(reason,
                        "its nodes.conf is corrupt; waiting for most of the 5 other servers "
                        "to say that its node has no part, 2 do");
}

/* Without a record the id is not known: any owner that nobody answers for may have been it. */
static void test_a_corrupt_file_without_a_record(void **state)
{
    struct world_build *b = formed(*state);
    b->world.record = b->world.record_copy = NULL;
    b->world.record_presence = PRESENCE_ABSENT;
    world_build_lose(b, 0);
    world_build_refresh(b);
    assert_int_equal(judge(b, corrupt), GATE_WAIT);
    arena_reset(*state);
    b = world_build_virgin(*state, 6); /* before anything was formed */
    world_build_refresh(b);
    b->world.record_presence = PRESENCE_ABSENT;
    b->pods[0].server.reach = REACH_REFUSED;
    assert_int_equal(judge(b, corrupt), GATE_GO_EMPTY);
}

/* The pod got a new node while this volume was away: then it starts from nothing. */
static void test_a_node_that_has_left_starts_empty(void **state)
{
    struct world_build *b = formed(*state);
    struct node_id old = world_build_id(50);
    struct gate_claim claim = {.has_nodes = true, .id = old, .asked_ms = ASKED_MS};
    b->record.forget = &old;
    b->record.forget_count = 1;
    world_build_refresh(b);
    assert_int_equal(judge(b, claim),
                     GATE_WAIT); /* of the node that it has now, which owns slots */
    b->world.me = 3;
    text_format(b->world.my_pod, sizeof b->world.my_pod, "muster-3");
    text_format(b->world.my_ip, sizeof b->world.my_ip, "%s", b->pods[3].ip);
    assert_int_equal(judge(b, claim), GATE_GO_EMPTY); /* that one was a replica */
    for (size_t i = 0; i < 6; i++)
        b->pods[i].server.view_ms = 0;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    claim.asked_ms -= LIMIT_MS; /* nobody could tell: as any volume that came back */
    assert_int_equal(judge(b, claim), GATE_GO_ALONE);
}

/* ---- data ---- */

/* The own server is down; its replicas hold keys. */
static struct world_build *killed(struct arena *arena)
{
    struct world_build *b = formed(arena);
    for (size_t i = 0; i < b->count; i++)
        b->pods[i].server.keys = 100;
    world_build_lose(b, 0);
    world_build_refresh(b);
    return b;
}

static struct gate_claim owner_without_data(const struct world_build *b)
{
    struct gate_claim claim = claim_of(b, 0);
    claim.owner = true;
    claim.data = false;
    claim.asked_ms -= 100 * LIMIT_MS; /* no limit */
    return claim;
}

static void test_a_primary_without_its_data_waits_for_its_heir(void **state)
{
    struct world_build *b = killed(*state);
    struct gate_claim claim = owner_without_data(b);
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, "it comes back without its data; in the view of muster-1 node"));
    assert_non_null(strstr(reason, "owns 5461 slots, and muster-"));
    claim.data = true;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    claim.data = false;
    b->world.guards_off = GUARD_DATA;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    b->world.guards_off = 0;
    elect(b, 0, replica_of(b, 0));
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
}

static void test_nobody_has_the_data_any_more(void **state)
{
    struct world_build *b = killed(*state);
    size_t replica = replica_of(b, 0);
    struct gate_claim claim = owner_without_data(b);
    b->pods[replica].server.keys = 0; /* it says that it is empty */
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    b->pods[replica].server.view_ms = 0; /* that is not known to be the follower's word */
    assert_int_equal(judge(b, claim), GATE_WAIT);
    world_build_lose(b, replica); /* absence is not evidence */
    world_build_refresh(b);
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, b->pods[replica].name));
    b->pods[replica].told = (struct told){.heard_ms = b->world.now_ms, .gate = {.held = true}};
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN); /* its volume is gone */
    b->pods[replica].told.gate.data = true;
    assert_int_equal(judge(b, claim), GATE_WAIT);
}

/* A lost volume, or none at all, in a container that came back at once (FACTS 0.2, NOTES J3). */
static void test_nobody_else_answers_at_the_address_of_a_primary(void **state)
{
    struct world_build *b = killed(*state);
    struct gate_claim claim = {.asked_ms = WORLD_BUILD_NOW_MS - 100 * LIMIT_MS};
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, "at this address another node is expected; in the view of"));
    b->world.past = (struct own_past){b->nodes[0].id, true};
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, "it comes back without its volume; in the view of"));
    claim = claim_of(b, 3); /* another's volume */
    claim.data = claim.owner = true;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    elect(b, 0, replica_of(b, 0));
    assert_int_equal(judge(b, (struct gate_claim){0}), GATE_GO);
}

/* Two pods swapped their addresses (FAULTS B3): each waits until the other's data is known. */
static void test_swapped_addresses(void **state)
{
    struct world_build *b = killed(*state);
    world_build_lose(b, 1);
    world_build_refresh(b);
    struct gate_claim claim = claim_of(b, 0);
    claim.owner = claim.data = true;
    text_format(b->world.my_ip, sizeof b->world.my_ip, "10.0.0.2");
    text_format(b->pods[0].ip, sizeof b->pods[0].ip, "10.0.0.2");
    text_format(b->pods[1].ip, sizeof b->pods[1].ip, "10.0.0.1");
    struct gate_word word = {.held = true, .id = b->nodes[1].id, .owner = true, .data = true};
    b->pods[1].told = (struct told){.heard_ms = b->world.now_ms, .gate = word};
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    b->pods[1].told.gate.data = false;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b->pods[1].told.gate.data = true;
    b->pods[1].told.heard_ms = b->world.now_ms - WORLD_TOLD_FRESH_MS - 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b->pods[1].server.reach = REACH_OK; /* it answers there */
    b->pods[1].server.seen_ms = b->world.now_ms;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
}

static void test_what_had_a_part_waits_for_most_of_the_others(void **state)
{
    struct world_build *b = killed(*state);
    struct gate_claim claim = owner_without_data(b);
    for (size_t i = 1; i < b->count; i++)
        world_build_lose(b, i);
    world_build_refresh(b);
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, "owned slots here and its data is gone, and muster-1 may have "
                                   "it: waiting for most of the 5 other servers"));
    for (size_t i = 1; i < b->count; i++) /* all of them lost their data */
        b->pods[i].told = (struct told){.heard_ms = b->world.now_ms,
                                        .gate = {.held = true, .id = b->nodes[i].id}};
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    b->world.api_seen_ms = 0;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, "the Kubernetes API must tell first who else has it"));
    claim.opened = true;
    assert_int_equal(judge(b, claim), GATE_GO);
    b->world.api_seen_ms = b->world.now_ms;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    claim.corrupt = true;
    assert_int_equal(judge(b, claim), GATE_GO_EMPTY);
    assert_string_equal(reason, "a person opened the gate");
}

/* What is remembered of the server beside us, while nobody else can be asked. */
static void test_the_memory_of_what_ran_here(void **state)
{
    struct world_build *b = killed(*state);
    struct gate_claim claim = {.asked_ms = WORLD_BUILD_NOW_MS - 100 * LIMIT_MS};
    for (size_t i = 1; i < b->count; i++)
        world_build_lose(b, i);
    world_build_refresh(b);
    assert_int_equal(judge(b, claim), GATE_GO);
    b->world.past = (struct own_past){b->nodes[0].id, true};
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b->world.record = b->world.record_copy = NULL; /* deleted, and the pods are not listed yet */
    b->world.record_presence = PRESENCE_ABSENT;
    b->world.pod_count = 0;
    b->world.me = NO_POD;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, "a pod that is not listed yet may have it"));
    b->world.past.part = false;
    assert_int_equal(judge(b, claim), GATE_GO);
}

static int setup(void **state)
{
    static struct arena arena;
    arena_init(&arena, MIB(8));
    *state = &arena;
    return 0;
}

static int teardown(void **state)
{
    arena_deinit(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_server_starts_at_once_where_nothing_was_formed),
        cmocka_unit_test(test_a_new_server_asks_whose_address_it_has),
        cmocka_unit_test(test_a_primary_without_its_data_waits_for_its_heir),
        cmocka_unit_test(test_nobody_has_the_data_any_more),
        cmocka_unit_test(test_nobody_else_answers_at_the_address_of_a_primary),
        cmocka_unit_test(test_swapped_addresses),
        cmocka_unit_test(test_what_had_a_part_waits_for_most_of_the_others),
        cmocka_unit_test(test_the_memory_of_what_ran_here),
        cmocka_unit_test(test_a_server_with_peers_starts_with_their_current_addresses),
        cmocka_unit_test(test_a_server_with_peers_waits_until_they_are_known),
        cmocka_unit_test(test_what_was_said_before_is_no_evidence),
        cmocka_unit_test(test_a_server_waits_for_peers_on_their_way),
        cmocka_unit_test(test_a_server_does_not_wait_for_a_failed_peer),
        cmocka_unit_test(test_a_minority_waits_longer),
        cmocka_unit_test(test_a_silent_api_holds_a_server_to_the_limit_only),
        cmocka_unit_test(test_the_record_knows_whose_address_a_node_has),
        cmocka_unit_test(test_a_server_that_answers_has_the_address_it_answers_at),
        cmocka_unit_test(test_a_node_of_nobody_has_no_address),
        cmocka_unit_test(test_without_names_the_volume_is_the_member),
        cmocka_unit_test(test_a_copied_volume_starts_without_addresses),
        cmocka_unit_test(test_a_corrupt_file_waits_while_its_node_has_a_part),
        cmocka_unit_test(test_a_corrupt_file_is_moved_aside_once_another_owns_the_slots),
        cmocka_unit_test(test_a_corrupt_file_without_a_record),
        cmocka_unit_test(test_a_node_that_has_left_starts_empty),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
