/* SPDX-License-Identifier: Apache-2.0 */
/* The gate: does the node still run where it was before (FAULTS B9)? */
#include "core/gate_twin.h"
#include "core_gate.h"

#define OLD_IP "10.0.0.1"
#define SILENT_MS (GATE_TWIN_QUIET_MS + 1)

/* The pod is there again, at another address; the others still have the old one. */
static struct world_build *made_again(struct arena *arena)
{
    struct world_build *b = formed_elsewhere(arena);
    for (size_t i = 0; i < b->count; i++)
        b->pods[i].server.keys = 100;
    b->pods[0].server = (struct server){.reach = REACH_REFUSED};
    world_build_refresh(b);
    text_format(b->pods[0].ip, sizeof b->pods[0].ip, "10.0.0.77");
    return b;
}

static struct gate_claim owner_of(const struct world_build *b, struct gate_twin *twin)
{
    struct gate_claim claim = claim_of(b, 0);
    claim.owner = true;
    claim.asked_ms = ASKED_MS;
    twin->since_ms = b->world.now_ms;
    claim.twin = twin;
    return claim;
}

/* What the agent does in each turn: the address, and what was said there. */
static enum gate_verdict told(struct world_build *b, struct gate_claim *claim,
                              struct gate_twin *twin, enum twin_word word)
{
    const char *ip = gate_twin_address(&b->world, claim);
    claim->data = true;
    if (ip) {
        text_format(twin->ip, sizeof twin->ip, "%s", ip);
        twin->asked_ms = b->world.now_ms;
        gate_twin_told(twin, word);
    }
    gate_twin_judge(&b->world, twin, claim);
    return judge(b, *claim);
}

static struct view_node *seen_by(const struct world_build *b, size_t pod)
{
    const struct view_node *node = view_find(b->pods[pod].server.view, &b->nodes[0].id);
    assert_non_null(node);
    return (struct view_node *)(uintptr_t)node;
}

static void test_it_waits_while_its_node_answers_elsewhere(void **state)
{
    struct world_build *b = made_again(*state);
    struct gate_twin twin = {0};
    struct gate_claim claim = owner_of(b, &twin);
    assert_string_equal(gate_twin_address(&b->world, &claim), OLD_IP);
    assert_int_equal(told(b, &claim, &twin, TWIN_NAMED), GATE_WAIT);
    assert_non_null(strstr(reason, " still answers at " OLD_IP ", which is no pod's"));
    assert_non_null(strstr(gate_opened_how(&b->world, &claim), "beside the one that runs"));
    b->world.now_ms += 100 * LIMIT_MS; /* without a limit, and without the others' word */
    assert_string_equal(gate_twin_address(&b->world, &claim), OLD_IP);
    assert_int_equal(told(b, &claim, &twin, TWIN_NAMED), GATE_WAIT);
    claim.opened = true;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
}

static void test_an_old_address_that_is_dead_holds_nobody(void **state)
{
    static const enum twin_word words[] = {TWIN_GONE, TWIN_SILENT};
    for (size_t i = 0; i < 2; i++) {
        struct world_build *b = made_again(*state);
        struct gate_twin twin = {0};
        struct gate_claim claim = owner_of(b, &twin);
        assert_int_equal(told(b, &claim, &twin, words[i]), GATE_GO_REWRITTEN);
        assert_true(claim.data && !claim.outlived);
    }
}

/* Before its answer: as long as that may take. */
static void test_it_waits_for_the_answer(void **state)
{
    struct world_build *b = made_again(*state);
    struct gate_twin twin = {0};
    struct gate_claim claim = owner_of(b, &twin);
    assert_int_equal(told(b, &claim, &twin, TWIN_UNASKED), GATE_WAIT);
    assert_non_null(strstr(reason, "asking first whether node "));
    b->world.now_ms += 2 * GATE_TWIN_ASK_MS;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
}

/* Views are waited for only where one may come, and until most were heard. */
static void test_it_waits_for_the_views(void **state)
{
    struct world_build *b = made_again(*state);
    struct gate_twin twin = {0};
    struct gate_claim claim = owner_of(b, &twin);
    for (size_t i = 1; i < b->count; i++) /* new addresses for all: nobody listens yet */
        b->pods[i].server = (struct server){.reach = REACH_REFUSED};
    assert_null(gate_twin_address(&b->world, &claim));
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    b->pods[4].server.reach = REACH_UNKNOWN;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, "asking first whether node "));
    b->pods[4].told = (struct told){.heard_ms = b->world.now_ms, .gate = {.held = true}};
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    b->pods[4].told = (struct told){0};
    b->world.now_ms += GATE_TWIN_LOOK_MS - 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b->world.now_ms++;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);

    b = made_again(*state);
    claim = owner_of(b, &twin);
    b->pods[5].server = (struct server){.reach = REACH_UNKNOWN}; /* four of five are enough */
    assert_int_equal(told(b, &claim, &twin, TWIN_GONE), GATE_GO_REWRITTEN);
    b->world.past = (struct own_past){b->nodes[0].id, true}; /* it ran here, and has ended */
    assert_null(gate_twin_address(&b->world, &claim));
    assert_int_equal(told(b, &claim, &twin, TWIN_NAMED), GATE_GO_REWRITTEN);
}

/* DESIGN 5.10: nobody is dialled because one server says so, and no pod as a stranger. */
static void test_whose_address_is_asked(void **state)
{
    struct world_build *b = made_again(*state);
    struct gate_twin twin = {0};
    struct gate_claim claim = owner_of(b, &twin);
    text_format(seen_by(b, 1)->ip, IP_SIZE, "192.0.2.1"); /* one of five */
    assert_string_equal(gate_twin_address(&b->world, &claim), OLD_IP);
    text_format(seen_by(b, 2)->ip, IP_SIZE, "192.0.2.2");
    text_format(seen_by(b, 3)->ip, IP_SIZE, "192.0.2.2"); /* most say the same of none */
    assert_null(gate_twin_address(&b->world, &claim));
    b = made_again(*state);
    text_format(b->pods[3].ip, sizeof b->pods[3].ip, OLD_IP); /* another pod has it now */
    assert_null(gate_twin_address(&b->world, &claim));
    b = made_again(*state);
    text_format(b->world.my_ip, sizeof b->world.my_ip, OLD_IP); /* the same as before */
    assert_null(gate_twin_address(&b->world, &claim));
    b = made_again(*state);
    for (size_t i = 1; i < 4; i++)
        seen_by(b, i)->flags |= NODE_NOADDR;
    assert_null(gate_twin_address(&b->world, &claim));
    claim.twin = NULL;
    b = made_again(*state);
    assert_null(gate_twin_address(&b->world, &claim));
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
}

/* A server with a password tells a stranger nothing: then most must be connected to the node there. */
static void test_one_that_tells_nothing_needs_the_views(void **state)
{
    struct world_build *b = made_again(*state);
    struct gate_twin twin = {0};
    struct gate_claim claim = owner_of(b, &twin);
    for (size_t i = 1; i < b->count; i++)
        seen_by(b, i)->connected = true;
    assert_int_equal(told(b, &claim, &twin, TWIN_MUTE), GATE_WAIT);
    assert_non_null(strstr(reason, "most servers are connected to node "));
    seen_by(b, 1)->flags |= NODE_PFAIL;
    seen_by(b, 2)->connected = false;
    assert_int_equal(judge(b, claim), GATE_WAIT); /* three of five */
    seen_by(b, 3)->flags |= NODE_FAIL;
    twin = (struct gate_twin){.since_ms = twin.since_ms};
    assert_int_equal(told(b, &claim, &twin, TWIN_MUTE), GATE_GO_REWRITTEN);
    assert_false(claim.outlived);
}

/* It took writes: a replica that has them comes first, whatever is on the volume. */
static void test_after_its_end_a_replica_is_elected(void **state)
{
    struct world_build *b = made_again(*state);
    struct gate_twin twin = {0};
    struct gate_claim claim = owner_of(b, &twin);
    assert_int_equal(told(b, &claim, &twin, TWIN_NAMED), GATE_WAIT);
    assert_true(claim.data);
    assert_int_equal(told(b, &claim, &twin, TWIN_SILENT), GATE_WAIT); /* one lost packet */
    assert_non_null(strstr(reason, " still answers at "));
    assert_int_equal(told(b, &claim, &twin, TWIN_GONE), GATE_WAIT);
    assert_false(claim.data);
    assert_non_null(strstr(reason, "its process outlived its pod and took what this volume may "
                                   "lack; in the view of muster-1 node"));
    assert_non_null(strstr(gate_opened_how(&b->world, &claim), "copy that over theirs"));
    size_t heir = 3;
    while (b->nodes[heir].primary_node != 0)
        heir++;
    b->nodes[heir].primary = true;
    b->nodes[heir].epoch = 9;
    b->nodes[heir].slots = b->nodes[0].slots;
    b->nodes[0].slots = (struct slot_set){0};
    world_build_refresh(b);
    assert_int_equal(told(b, &claim, &twin, TWIN_GONE), GATE_GO_REWRITTEN);
}

/* Its silence is its end only after a while; a refusal is it at once. */
static void test_silence_after_it_lived(void **state)
{
    struct world_build *b = made_again(*state);
    struct gate_twin twin = {0};
    struct gate_claim claim = owner_of(b, &twin);
    assert_int_equal(told(b, &claim, &twin, TWIN_NAMED), GATE_WAIT);
    b->world.now_ms += SILENT_MS;
    assert_int_equal(told(b, &claim, &twin, TWIN_SILENT), GATE_WAIT);
    assert_true(claim.outlived);
    assert_null(strstr(reason, " still answers at "));
    assert_int_equal(told(b, &claim, &twin, TWIN_NAMED), GATE_WAIT); /* there it is again */
    assert_non_null(strstr(reason, " still answers at "));
    assert_true(claim.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_waits_while_its_node_answers_elsewhere),
        cmocka_unit_test(test_an_old_address_that_is_dead_holds_nobody),
        cmocka_unit_test(test_it_waits_for_the_answer),
        cmocka_unit_test(test_it_waits_for_the_views),
        cmocka_unit_test(test_whose_address_is_asked),
        cmocka_unit_test(test_one_that_tells_nothing_needs_the_views),
        cmocka_unit_test(test_after_its_end_a_replica_is_elected),
        cmocka_unit_test(test_silence_after_it_lived),
    };
    return cmocka_run_group_tests_name("core_gate_twin", tests, setup, teardown);
}
