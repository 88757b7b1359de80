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

static char reason[GATE_REASON_SIZE];

static struct world_build *formed(struct arena *arena)
{
    arena_reset(arena);
    return world_build_formed(arena, 3, 6);
}

static enum gate_verdict judge(const struct world_build *b, struct gate_claim claim)
{
    memset(reason, 0, sizeof reason);
    enum gate_verdict verdict = gate_judge(&b->world, &claim, LIMIT_MS, reason);
    assert_true(strlen(reason) > 0);
    return verdict;
}

static void test_a_new_server_starts_at_once(void **state)
{
    struct world_build *b = formed(*state);
    b->world.api_seen_ms = 0;
    assert_int_equal(judge(b, (struct gate_claim){0}), GATE_GO);
    assert_string_equal(reason, "a new server, with no peers to find");
    assert_int_equal(judge(b, (struct gate_claim){.corrupt = true}), GATE_GO);
    assert_string_equal(reason, "its nodes.conf cannot be read: the server itself must judge it");
}

static void test_a_server_with_peers_starts_with_their_current_addresses(void **state)
{
    struct world_build *b = formed(*state);
    assert_int_equal(judge(b, (struct gate_claim){.has_nodes = true}), GATE_GO_REWRITTEN);
    b->world.record = NULL;
    b->world.record_presence = PRESENCE_ABSENT; /* read, and there is none */
    assert_int_equal(judge(b, (struct gate_claim){.has_nodes = true}), GATE_GO_REWRITTEN);
}

/* Before the pods, the StatefulSet and the record were read, old addresses may be another cluster's. */
static void test_a_server_with_peers_waits_until_they_are_known(void **state)
{
    struct gate_claim claim = {.has_nodes = true, .asked_ms = WORLD_BUILD_NOW_MS};
    struct world_build *b = formed(*state);
    b->world.api_seen_ms = 0;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b = formed(*state);
    b->world.set.known = false;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b = formed(*state);
    b->world.record = NULL;
    b->world.record_presence = PRESENCE_UNKNOWN;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(
        reason, "the Kubernetes API has not told yet where its peers are (at most 30 s more)");
    b->world.record_presence = PRESENCE_PRESENT; /* there is one that cannot be read */
    assert_int_equal(judge(b, claim), GATE_WAIT);
}

static void test_a_silent_api_holds_a_server_to_the_limit_only(void **state)
{
    struct world_build *b = formed(*state);
    struct gate_claim claim = {.has_nodes = true};
    b->world.api_seen_ms = 0;
    claim.asked_ms = b->world.now_ms - LIMIT_MS + 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_string_equal(
        reason, "the Kubernetes API has not told yet where its peers are (at most 1 s more)");
    claim.asked_ms = b->world.now_ms - LIMIT_MS;
    assert_int_equal(judge(b, claim), GATE_GO);
    assert_string_equal(reason,
                        "the Kubernetes API was silent for 30 s: starting with the old addresses");
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
    b->world.record = NULL;
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
        cmocka_unit_test(test_a_new_server_starts_at_once),
        cmocka_unit_test(test_a_server_with_peers_starts_with_their_current_addresses),
        cmocka_unit_test(test_a_server_with_peers_waits_until_they_are_known),
        cmocka_unit_test(test_a_silent_api_holds_a_server_to_the_limit_only),
        cmocka_unit_test(test_the_record_knows_whose_address_a_node_has),
        cmocka_unit_test(test_a_server_that_answers_has_the_address_it_answers_at),
        cmocka_unit_test(test_a_node_of_nobody_has_no_address),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
