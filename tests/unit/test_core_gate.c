/* SPDX-License-Identifier: Apache-2.0 */
/* The gate: would a start cost data? */
#include "core_gate.h"

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
    /* Long forgotten everywhere, after its pod was scaled in. */
    struct record_left left = {"muster-3", old};
    b->record.forget_count = 0;
    b->record.left = &left;
    b->record.left_count = 1;
    assert_int_equal(judge(b, claim), GATE_GO_EMPTY);
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

/* Its slots were moved; who follows it was scaled in and is gone, and has nothing that is not elsewhere. */
static void test_a_copy_of_nothing_is_not_waited_for(void **state)
{
    struct world_build *b = killed(*state);
    struct gate_claim claim = owner_without_data(b);
    struct record_move move = {.from = b->nodes[0].id, .to = b->nodes[1].id};
    assert_int_equal(replica_of(b, 0), 5);
    b->nodes[1].slots = b->nodes[0].slots;
    b->nodes[0].slots = (struct slot_set){0};
    b->world.set.replicas = 5;
    world_build_lose(b, 5);
    world_build_refresh(b);
    b->world.pod_count = 5;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, "replicas follow node"));
    b->world.scaling = SCALING_AUTO;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    b->record.moves = &move; /* it may have keys of a slot that is half-way */
    b->record.move_count = 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    b->record.move_count = 0;
    b->world.set.replicas = 6; /* it is wanted again, and will tell */
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

/*
 * A primary comes back with its data, at the address of another that is away: that one's replica would
 * copy it. Its own part must not hide the other's, in whatever order the view lists them.
 */
static void test_its_data_is_no_proof_for_the_address_of_another(void **state)
{
    for (size_t own = 0; own < 2; own++) {
        struct world_build *b = formed(*state);
        size_t away = 1 - own;
        struct gate_claim claim = claim_of(b, own);
        claim.asked_ms = ASKED_MS;
        claim.owner = true;
        b->world.me = own;
        text_format(b->world.my_pod, sizeof b->world.my_pod, "muster-%zu", own);
        text_format(b->world.my_ip, sizeof b->world.my_ip, "%s", b->pods[away].ip);
        b->pods[own].server.reach = b->pods[away].server.reach = REACH_REFUSED;
        world_build_refresh(b);
        assert_int_equal(judge(b, claim), GATE_WAIT);
        assert_non_null(strstr(reason, "at this address another node is expected"));
        assert_non_null(strstr(gate_opened_how(&b->world, &claim), "copy its data over theirs"));
        /* It waits at another pod's gate with its data: nobody dials it here. */
        struct gate_word word = {
            .held = true, .id = b->nodes[away].id, .owner = true, .data = true};
        b->pods[away].told = (struct told){.heard_ms = ASKED_MS + 1, .gate = word};
        b->pods[away].server.seen_ms = 0;
        assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
    }
}

/* A person opens the gate of a copy: under another's id it must not reach that one's peers. */
static void test_a_copy_that_is_opened_goes_alone(void **state)
{
    struct world_build *b = formed(*state);
    struct gate_claim claim = claim_of(b, 1);
    claim.data = false;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(gate_opened_how(&b->world, &claim), "throw theirs away"));
    claim.opened = true;
    assert_int_equal(judge(b, claim), GATE_GO_ALONE);
    claim.id = b->nodes[0].id;
    assert_int_equal(judge(b, claim), GATE_GO_REWRITTEN);
}

/* Nobody is left who could tell what a corrupt file was. */
static void test_alone_with_a_corrupt_file(void **state)
{
    struct world_build *b = formed(*state);
    b->world.pod_count = 1;
    b->pods[0].server.reach = REACH_REFUSED;
    struct gate_claim claim = {.corrupt = true, .asked_ms = ASKED_MS};
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, "a person must decide"));
    assert_string_equal(gate_opened_how(&b->world, &claim), "empty, with its files kept aside");
    claim.opened = true;
    assert_int_equal(judge(b, claim), GATE_GO_EMPTY);
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
    b->world.record = b->world.record_copy = NULL; /* deleted, and the others are not listed yet */
    b->world.record_presence = PRESENCE_ABSENT;
    b->world.pod_count = 1;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    assert_non_null(strstr(reason, "a pod that is not listed yet may have it"));
    b->world.past.part = false;
    assert_int_equal(judge(b, claim), GATE_GO);
}

/* A list of before our own pod may be older than the cluster, too. */
static void test_a_list_without_the_own_pod_is_no_word(void **state)
{
    struct world_build *b = killed(*state);
    struct gate_claim claim = {.asked_ms = b->world.now_ms};
    b->world.record = b->world.record_copy = NULL;
    b->world.record_presence = PRESENCE_ABSENT;
    b->world.pod_count = 1;
    assert_int_equal(judge(b, claim), GATE_GO);
    b->world.pod_count = 0;
    b->world.me = NO_POD;
    assert_int_equal(judge(b, claim), GATE_WAIT);
    claim.asked_ms -= LIMIT_MS;
    assert_int_equal(judge(b, claim), GATE_GO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_primary_without_its_data_waits_for_its_heir),
        cmocka_unit_test(test_nobody_has_the_data_any_more),
        cmocka_unit_test(test_a_copy_of_nothing_is_not_waited_for),
        cmocka_unit_test(test_nobody_else_answers_at_the_address_of_a_primary),
        cmocka_unit_test(test_swapped_addresses),
        cmocka_unit_test(test_its_data_is_no_proof_for_the_address_of_another),
        cmocka_unit_test(test_a_copy_that_is_opened_goes_alone),
        cmocka_unit_test(test_alone_with_a_corrupt_file),
        cmocka_unit_test(test_what_had_a_part_waits_for_most_of_the_others),
        cmocka_unit_test(test_the_memory_of_what_ran_here),
        cmocka_unit_test(test_a_list_without_the_own_pod_is_no_word),
        cmocka_unit_test(test_what_was_said_before_is_no_evidence),
        cmocka_unit_test(test_a_corrupt_file_waits_while_its_node_has_a_part),
        cmocka_unit_test(test_a_corrupt_file_is_moved_aside_once_another_owns_the_slots),
        cmocka_unit_test(test_a_corrupt_file_without_a_record),
        cmocka_unit_test(test_a_node_that_has_left_starts_empty),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
