/* SPDX-License-Identifier: Apache-2.0 */
/* The gate: where are the peers of a server that starts? */
#include "core_gate.h"

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
    b->pods[1].server.reach = b->pods[2].server.reach = REACH_DENIED; /* as most are: who tells? */
    b->pods[1].server.seen_ms = b->pods[2].server.seen_ms = 0;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b->pods[1].server.reach = b->pods[2].server.reach = REACH_REFUSED;
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

static void take_address(struct pod *pod)
{
    pod->ip[0] = '\0';
    pod->server = (struct server){.reach = REACH_UNKNOWN};
}

/* Whom it would not know at its start it would not look after (gate_awaits_peers()). */
static void test_a_server_waits_for_peers_on_their_way(void **state)
{
    struct world_build *b = formed_elsewhere(*state);
    struct gate_claim claim = claim_of(b, 0);
    take_address(&b->pods[4]);
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(reason, "muster-4 has no address yet: waiting for it (at most 30 s)");
    take_address(&b->pods[5]);
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(reason,
                        "muster-4 and others have no address yet: waiting for them (at most 30 s)");
    claim.asked_ms -= LIMIT_MS;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    assert_true(gate_knows_most(&b->world));
    assert_true(gate_is_failing(&b->world, &b->nodes[5].id));
    assert_false(gate_is_failing(&b->world, &b->nodes[3].id)); /* has one */
    struct node_id nobody = world_build_id(50);
    assert_false(gate_is_failing(&b->world, &nobody));
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
    take_address(&b->pods[4]);
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
    struct node_id primaries[3];
    for (size_t i = 0; i < 3; i++)
        primaries[i] = b->nodes[i].id;
    claim.primaries = primaries;
    claim.primary_count = 3;
    for (size_t i = 1; i < 5; i++) {
        take_address(&b->pods[i]);
    }
    b->pods[5].server.state_ok = false;
    claim.asked_ms -= (int64_t)4 * LIMIT_MS - 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(
        reason, "only 1 of the 3 primaries have an address, and would serve nothing: waiting "
                "for most of them (at most 120 s)");
    claim.asked_ms -= 1;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    assert_false(gate_knows_most(&b->world)); /* they only come later, and are not failing */
    claim.asked_ms = b->world.now_ms - LIMIT_MS;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b->pods[5].server.state_ok = true; /* most are there, whatever addresses we know */
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    b->pods[5].server.state_ok = false;
    claim.primary_count = 1; /* its own shard is all there is: it serves alone */
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    claim.primary_count = 3;
    b->world.pod_count = 1; /* OrderedReady makes the others only once this one is ready */
    b->world.set.ordered_ready = true;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    b->world.set.ordered_ready = false;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b->world.set.replicas = 1; /* nobody makes them */
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
}

/*
 * Addresses come one after another. Who has waited for most of them waits for the rest as well: else
 * most servers start at that moment, all with the rest for failing, and agree on it at once.
 */
static void test_a_minority_that_ends_waits_for_the_rest(void **state)
{
    struct world_build *b = formed_elsewhere(*state);
    struct gate_claim claim = claim_of(b, 0);
    struct node_id primaries[3];
    for (size_t i = 0; i < 3; i++)
        primaries[i] = b->nodes[i].id;
    claim.primaries = primaries;
    claim.primary_count = 3;
    for (size_t i = 1; i < 6; i++)
        take_address(&b->pods[i]);
    int64_t few_ms = 0;
    claim.asked_ms -= (int64_t)2 * LIMIT_MS;
    gate_note_few(&b->world, &claim, &few_ms);
    assert_int_equal(few_ms, b->world.now_ms);
    assert_int_equal(judge(b, claim), GATE_WAIT);
    text_format(b->pods[1].ip, sizeof b->pods[1].ip, "10.0.0.88"); /* two of three */
    b->world.now_ms += 1000;
    gate_note_few(&b->world, &claim, &few_ms);
    assert_int_equal(few_ms, b->world.now_ms - 1000);
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(
        reason, "muster-2 and others have no address yet: waiting for them (at most 30 s more)");
    b->world.now_ms += LIMIT_MS - 1000;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    b->world.now_ms -= 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    claim.asked_ms = b->world.now_ms - LIMIT_MS; /* another server, which never was one of few */
    few_ms = claim.asked_ms - 1;
    gate_note_few(&b->world, &claim, &few_ms);
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
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
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_server_starts_at_once_where_nothing_was_formed),
        cmocka_unit_test(test_a_new_server_asks_whose_address_it_has),
        cmocka_unit_test(test_a_server_with_peers_starts_with_their_current_addresses),
        cmocka_unit_test(test_a_server_with_peers_waits_until_they_are_known),
        cmocka_unit_test(test_a_server_waits_for_peers_on_their_way),
        cmocka_unit_test(test_a_server_does_not_wait_for_a_failed_peer),
        cmocka_unit_test(test_a_minority_waits_longer),
        cmocka_unit_test(test_a_minority_that_ends_waits_for_the_rest),
        cmocka_unit_test(test_a_silent_api_holds_a_server_to_the_limit_only),
        cmocka_unit_test(test_the_record_knows_whose_address_a_node_has),
        cmocka_unit_test(test_a_server_that_answers_has_the_address_it_answers_at),
        cmocka_unit_test(test_a_node_of_nobody_has_no_address),
        cmocka_unit_test(test_without_names_the_volume_is_the_member),
        cmocka_unit_test(test_a_copied_volume_starts_without_addresses),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
