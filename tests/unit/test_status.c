/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "core/status.h"
#include "lib/world_build.h"

struct fixture {
    struct arena arena;
    struct facts facts;
    struct plan plan;
    struct status status;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.plan = {.rule = "steady", .reason = "nothing to do"}};
    arena_init(&fixture.arena, TURN_ARENA_MAX);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_deinit(&f->arena);
    return 0;
}

static const struct status *look(struct fixture *f, struct world_build *b)
{
    const struct world *world = world_build_refresh(b);
    facts_gather(world, &f->arena, &f->facts);
    status_gather(world, &f->facts, &f->plan, &f->arena, &f->status);
    return &f->status;
}

static void assert_promise(const struct status *s, enum promise_kind kind, enum held held,
                           const char *why)
{
    assert_string_equal(s->promises[kind].why, why);
    assert_int_equal(s->promises[kind].held, held);
}

/* All promises but those in `except` (a bit set) are held. */
static void assert_others_held(const struct status *s, unsigned except)
{
    for (int kind = 0; kind < PROMISE_COUNT; kind++)
        if (!(except & (1u << kind)))
            assert_promise(s, (enum promise_kind)kind, HELD_YES, "");
}

#define BIT(kind) (1u << (kind))

/* ---- A cluster that is well ---- */

static void test_formed_cluster_is_ok_and_healthy(void **state)
{
    struct fixture *f = *state;
    const struct status *s = look(f, world_build_formed(&f->arena, 3, 6));
    assert_int_equal(s->state, STATUS_OK);
    assert_int_equal(s->check, CHECK_HEALTHY);
    assert_others_held(s, 0);
    assert_string_equal(s->name, "muster");
    assert_string_equal(s->uid, WORLD_BUILD_UID);
    assert_true(s->formed);
    assert_int_equal(s->slots_covered, 16384);
    assert_int_equal(s->epoch, 3);
    assert_int_equal(s->survives_node, HELD_YES);
    assert_int_equal(s->survives_zone, HELD_YES);
    assert_string_equal(s->weakest, "");
    assert_string_equal(s->leader, "muster-0");
    assert_string_equal(s->pod, "muster-0");
    assert_true(s->is_leader);
    assert_string_equal(s->plan_rule, "steady");
    assert_string_equal(s->plan_reason, "nothing to do");
}

static void test_shards_are_in_the_order_of_their_slots(void **state)
{
    struct fixture *f = *state;
    const struct status *s = look(f, world_build_formed(&f->arena, 3, 6));
    static const struct {
        const char *slots, *primary, *replica;
        int count;
    } want[] = {{"0-5460", "muster-0", "muster-5", 5461},
                {"5461-10922", "muster-1", "muster-3", 5462},
                {"10923-16383", "muster-2", "muster-4", 5461}};
    assert_int_equal(s->shard_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(s->shards[i].slots, want[i].slots);
        assert_int_equal(s->shards[i].slot_count, want[i].count);
        assert_string_equal(s->shards[i].primary, want[i].primary);
        assert_int_equal(s->shards[i].replica_count, 1);
        assert_string_equal(s->shards[i].replicas[0], want[i].replica);
        assert_int_equal(s->shards[i].keys, 2 * want[i].count);
        assert_int_equal(s->shards[i].open_count, 0);
        assert_int_equal(s->shards[i].in_sync, 1);
    }
}

static void test_a_shard_may_have_many_ranges_and_replicas(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 1, 4);
    b->world.set.replicas = 4;
    slot_set_remove(&b->nodes[0].slots, (struct slot_range){5, 5});
    slot_set_remove(&b->nodes[0].slots, (struct slot_range){7, 16380});
    const struct status *s = look(f, b);
    assert_int_equal(s->shard_count, 1);
    assert_string_equal(s->shards[0].slots, "0-4,6,16381-16383");
    assert_int_equal(s->shards[0].replica_count, 3);
    assert_string_equal(s->shards[0].replicas[0], "muster-1");
    assert_string_equal(s->shards[0].replicas[2], "muster-3");
    assert_promise(s, PROMISE_SLOTS, HELD_NO, "9 of 16384 slots are served");
}

static void test_pods_show_role_lag_memory_and_server(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->pods[5].server.offset = 4000;
    b->pods[4].server.offset = 5000;
    b->pods[4].server.kind = SERVER_VALKEY;
    b->pods[4].server.version = 90001;
    b->pods[4].terminating = true;
    const struct status *s = look(f, b);
    assert_int_equal(s->pod_count, 6);
    const struct status_pod *p = &s->pods[0];
    assert_string_equal(p->name, "muster-0");
    assert_int_equal(p->ordinal, 0);
    assert_string_equal(p->ip, "10.0.0.1");
    assert_int_equal(p->port, 6379);
    assert_string_equal(p->node, "node-a");
    assert_string_equal(p->zone, "zone-a");
    assert_int_equal(p->role, STATUS_ROLE_PRIMARY);
    assert_string_equal(p->node_id, world_build_id(0).hex);
    assert_true(p->ready);
    assert_false(p->terminating);
    assert_int_equal(p->lag_bytes, 0);
    assert_int_equal(p->memory_bytes, 1258291);
    assert_int_equal(p->memory_max, 0);
    assert_string_equal(p->server, "redis 7.0.15");
    assert_int_equal(p->agent, AGENT_OK);
    assert_int_equal(p->age_ms, 200);
    assert_int_equal(s->pods[5].role, STATUS_ROLE_REPLICA);
    assert_int_equal(s->pods[5].lag_bytes, 96);
    assert_int_equal(s->pods[4].lag_bytes, 0); /* asked later than its primary */
    assert_string_equal(s->pods[4].server, "valkey 9.0.1");
    assert_true(s->pods[4].terminating);
}

/* ---- Before the formation ---- */

static void test_virgin_servers_are_forming(void **state)
{
    struct fixture *f = *state;
    const struct status *s = look(f, world_build_virgin(&f->arena, 6));
    assert_int_equal(s->state, STATUS_FORMING);
    assert_int_equal(s->check, CHECK_BROKEN);
    assert_false(s->formed);
    assert_string_equal(s->uid, "");
    assert_int_equal(s->shard_count, 0);
    assert_int_equal(s->pods[3].role, STATUS_ROLE_NONE);
    assert_promise(s, PROMISE_SLOTS, HELD_NO, "0 of 16384 slots are served");
    assert_promise(s, PROMISE_MAJORITY, HELD_NO, "no primary has slots");
    assert_promise(s, PROMISE_REPLICAS, HELD_UNKNOWN, "no shard is known");
    assert_promise(s, PROMISE_NODE_LOSS, HELD_UNKNOWN, "no shard is known");
}

static void test_a_record_that_forms_is_forming_whatever_the_views_say(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->record.state = RECORD_FORMING;
    const struct status *s = look(f, b);
    assert_int_equal(s->state, STATUS_FORMING);
    assert_int_equal(s->check, CHECK_PROMISE);
    assert_promise(s, PROMISE_AGREEMENT, HELD_NO, "the formation is not finished");
}

static void test_without_record_and_answers_the_state_is_unknown(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_virgin(&f->arena, 3);
    b->world.record_presence = PRESENCE_UNKNOWN;
    assert_int_equal(look(f, b)->state, STATUS_UNKNOWN);
    b->world.record_presence = PRESENCE_ABSENT;
    for (size_t i = 0; i < 3; i++)
        b->pods[i].server.reach = REACH_TIMEOUT;
    assert_int_equal(look(f, b)->state, STATUS_UNKNOWN);
    assert_promise(&f->status, PROMISE_SLOTS, HELD_UNKNOWN, "no server answers");
    assert_promise(&f->status, PROMISE_MAJORITY, HELD_UNKNOWN, "no server answers");
    assert_promise(&f->status, PROMISE_AGREEMENT, HELD_UNKNOWN, "no server's view is known");
    assert_int_equal(f->status.check, CHECK_UNKNOWN);
}

/* A cluster that was made by hand and has no record yet is judged like any other. */
static void test_a_cluster_without_record_is_judged(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->world.record = b->world.record_copy = NULL;
    b->world.record_presence = PRESENCE_ABSENT;
    const struct status *s = look(f, b);
    assert_int_equal(s->state, STATUS_OK);
    assert_false(s->formed);
}

/* Its ConfigMap was deleted: the copy still says who it is. */
static void test_the_copy_of_a_deleted_record_counts(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->world.record = NULL;
    b->world.record_presence = PRESENCE_ABSENT;
    const struct status *s = look(f, b);
    assert_true(s->formed);
    assert_string_equal(s->uid, WORLD_BUILD_UID);
}

/* ---- Something is missing ---- */

static void test_a_lost_replica_degrades(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_lose(b, 5);
    const struct status *s = look(f, b);
    assert_int_equal(s->state, STATUS_DEGRADED);
    assert_int_equal(s->check, CHECK_PROMISE);
    assert_promise(s, PROMISE_SERVERS, HELD_NO, "1 of 6 are missing: muster-5 refuses connections");
    assert_promise(s, PROMISE_REPLICAS, HELD_NO, "shard 0-5460 of muster-0 has 0 of 1 in sync");
    assert_promise(s, PROMISE_NODE_LOSS, HELD_NO, "shard 0-5460 (muster-0) has no replica in sync");
    assert_string_equal(s->weakest, "shard 0-5460 (muster-0) has no replica in sync");
    assert_others_held(s, BIT(PROMISE_SERVERS) | BIT(PROMISE_REPLICAS) | BIT(PROMISE_NODE_LOSS) |
                              BIT(PROMISE_ZONE_LOSS));
    /* It is shown where it was, with what was last known. */
    assert_string_equal(s->shards[0].replicas[0], "muster-5");
    assert_int_equal(s->shards[0].in_sync, 0);
    assert_int_equal(s->pods[5].role, STATUS_ROLE_REPLICA);
    assert_int_equal(s->pods[5].lag_bytes, STATUS_NUMBER_UNKNOWN);
    assert_int_equal(s->pods[5].memory_bytes, STATUS_NUMBER_UNKNOWN);
    assert_int_equal(s->pods[5].memory_max, STATUS_NUMBER_UNKNOWN);
    assert_int_equal(s->pods[5].age_ms, 60000);
    assert_string_equal(s->pods[5].server, "redis 7.0.15");
}

static void test_a_replica_out_of_sync_degrades(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    const struct world *w = world_build_refresh(b);
    b->pods[3].server.link_up = false;
    facts_gather(w, &f->arena, &f->facts);
    status_gather(w, &f->facts, &f->plan, &f->arena, &f->status);
    assert_int_equal(f->status.state, STATUS_DEGRADED);
    assert_promise(&f->status, PROMISE_SERVERS, HELD_YES, "");
    assert_promise(&f->status, PROMISE_REPLICAS, HELD_NO,
                   "shard 5461-10922 of muster-1 has 0 of 1 in sync");
}

static void test_a_failed_primary_is_down(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_lose(b, 1);
    const struct status *s = look(f, b);
    assert_int_equal(s->state, STATUS_DOWN);
    assert_int_equal(s->check, CHECK_BROKEN);
    assert_promise(s, PROMISE_SLOTS, HELD_NO, "10922 of 16384 slots are served");
    assert_promise(s, PROMISE_MAJORITY, HELD_YES, "");
    assert_promise(s, PROMISE_REPLICAS, HELD_NO,
                   "shard 5461-10922 of a lost primary has 0 of 1 in sync");
    assert_promise(s, PROMISE_NODE_LOSS, HELD_NO, "shard 5461-10922 has lost its primary");
    assert_string_equal(s->shards[1].primary, "muster-1");
    assert_int_equal(s->shards[1].keys, STATUS_NUMBER_UNKNOWN);
    assert_int_equal(s->pods[1].role, STATUS_ROLE_PRIMARY);
}

static void test_two_of_three_primaries_gone_is_a_lost_majority(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    /* Killed just now: nobody has them as failing yet, but their ports are closed. */
    world_build_lose(b, 0);
    world_build_lose(b, 1);
    b->nodes[0].flags = b->nodes[1].flags = 0;
    const struct status *s = look(f, b);
    assert_int_equal(s->state, STATUS_DOWN);
    assert_promise(s, PROMISE_MAJORITY, HELD_NO, "1 of 3 primaries are up, 2 are needed");
}

static void test_silence_alone_loses_no_majority(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_lose(b, 1);
    world_build_lose(b, 2);
    b->nodes[1].flags = b->nodes[2].flags = 0;
    b->pods[1].server.reach = b->pods[2].server.reach = REACH_TIMEOUT;
    assert_promise(look(f, b), PROMISE_MAJORITY, HELD_YES, "");
    /* The others' suspicion does. */
    b->nodes[1].flags = b->nodes[2].flags = NODE_PFAIL;
    assert_promise(look(f, b), PROMISE_MAJORITY, HELD_NO, "1 of 3 primaries are up, 2 are needed");
}

static void test_servers_that_say_fail_serve_nothing(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    const struct world *w = world_build_refresh(b);
    for (size_t i = 0; i < 6; i++)
        b->pods[i].server.state_ok = false;
    facts_gather(w, &f->arena, &f->facts);
    status_gather(w, &f->facts, &f->plan, &f->arena, &f->status);
    assert_int_equal(f->status.check, CHECK_BROKEN);
    assert_promise(&f->status, PROMISE_SLOTS, HELD_NO,
                   "every server that answers says cluster_state:fail");
}

/* What one server refuses is not served to its clients, whatever the others say. */
static void test_one_server_that_says_fail_is_no_healthy_cluster(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    const struct world *w = world_build_refresh(b);
    b->pods[2].server.state_ok = false;
    facts_gather(w, &f->arena, &f->facts);
    status_gather(w, &f->facts, &f->plan, &f->arena, &f->status);
    assert_int_equal(f->status.check, CHECK_PROMISE);
    assert_int_equal(f->status.state, STATUS_DEGRADED);
    assert_promise(&f->status, PROMISE_AGREEMENT, HELD_NO, "muster-2 says cluster_state:fail");
    assert_others_held(&f->status, BIT(PROMISE_AGREEMENT));
}

static void test_when_all_refuse_the_cluster_is_down(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    for (size_t i = 0; i < 6; i++)
        world_build_lose(b, i);
    const struct status *s = look(f, b);
    assert_int_equal(s->state, STATUS_DOWN);
    assert_int_equal(s->check, CHECK_BROKEN);
    assert_promise(s, PROMISE_SLOTS, HELD_NO, "no server is running");
    assert_promise(s, PROMISE_MAJORITY, HELD_NO, "no server is running");
    /* One that is silent may be running. */
    b->pods[3].server.reach = REACH_TIMEOUT;
    assert_int_equal(look(f, b)->state, STATUS_UNKNOWN);
    assert_int_equal(f->status.check, CHECK_UNKNOWN);
}

static void test_each_reason_of_absence_is_said(void **state)
{
    static const struct {
        enum reach reach;
        const char *why;
    } cases[] = {
        {REACH_LOADING, "1 of 6 are missing: muster-4 is loading its data"},
        {REACH_REFUSED, "1 of 6 are missing: muster-4 refuses connections"},
        {REACH_TIMEOUT, "1 of 6 are missing: muster-4 does not answer"},
        {REACH_DENIED, "1 of 6 are missing: muster-4 denies access"},
        {REACH_ERROR, "1 of 6 are missing: muster-4 answers something that is not understood"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world_build *b = world_build_formed(&f->arena, 3, 6);
        b->pods[4].server.reach = cases[i].reach;
        assert_promise(look(f, b), PROMISE_SERVERS, HELD_NO, cases[i].why);
    }
}

static void test_a_pod_that_is_not_there_is_missing(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->world.set.replicas = 8;
    assert_promise(look(f, b), PROMISE_SERVERS, HELD_NO, "2 of 8 are missing: muster-6 has no pod");
    b->world.set.replicas = 6;
    b->pods[2].ip[0] = '\0';
    b->pods[2].server.reach = REACH_TIMEOUT;
    assert_promise(look(f, b), PROMISE_SERVERS, HELD_NO,
                   "1 of 6 are missing: muster-2 has no address yet");
    b->world.set.known = false;
    assert_promise(look(f, b), PROMISE_SERVERS, HELD_UNKNOWN, "the StatefulSet is not known");
}

static void test_views_that_differ_are_counted(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->nodes[5].component = 9; /* has forgotten everybody */
    const struct status *s = look(f, b);
    assert_promise(s, PROMISE_AGREEMENT, HELD_NO, "1 of 6 views differ from the most common one");
    assert_int_equal(s->state, STATUS_DEGRADED);
}

static void test_an_open_slot_is_a_move_half_done(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->nodes[0].open[0] = (struct open_slot){93, false, b->nodes[1].id};
    b->nodes[0].open[1] = (struct open_slot){7000, true, b->nodes[1].id};
    b->nodes[0].open[2] = (struct open_slot){7001, true, world_build_id(99)};
    b->nodes[0].open_count = 3;
    const struct status *s = look(f, b);
    assert_promise(s, PROMISE_MOVES, HELD_NO, "slot 93 is open on muster-0");
    assert_int_equal(s->state, STATUS_DEGRADED);
    assert_int_equal(s->shards[0].open_count, 3);
    assert_string_equal(s->shards[0].open_slots[0], "93 migrating to muster-1");
    assert_string_equal(s->shards[0].open_slots[1], "7000 importing from muster-1");
    assert_non_null(strstr(s->shards[0].open_slots[2], world_build_id(99).hex));
}

static void test_a_primary_that_will_refuse_writes_is_told_of_before(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    struct server *server = &b->pods[1].server;
    server->memory_bytes = 899;
    server->memory_max = 1000;
    server->refuses_full = true;
    assert_others_held(look(f, b), 0);
    server->memory_bytes = 900;
    const struct status *s = look(f, b);
    assert_promise(s, PROMISE_MEMORY, HELD_NO,
                   "muster-1 uses 900 of at most 1000 bytes and evicts nothing");
    assert_others_held(s, 1u << PROMISE_MEMORY);
    assert_int_equal(s->state, STATUS_OK);
    assert_int_equal(s->check, CHECK_PROMISE);
    /* Buffers of replicas and of the AOF do not count; a little less does not end it. */
    server->memory_uncounted = 1;
    assert_others_held(look(f, b), 0);
    server->near_limit = true;
    s = look(f, b);
    assert_promise(s, PROMISE_MEMORY, HELD_NO,
                   "muster-1 uses 899 of at most 1000 bytes and evicts nothing");
    server->near_limit = false;
    server->memory_uncounted = 0;
    /* A cache is full as a rule, and a replica's limit is not asked. */
    server->refuses_full = false;
    assert_others_held(look(f, b), 0);
    b->pods[3].server.memory_max = 10;
    b->pods[3].server.refuses_full = true;
    assert_others_held(look(f, b), 0);
    server->refuses_full = true;
    server->memory_max = 0;
    assert_others_held(look(f, b), 0);
    /* A limit that is not told may be any. */
    server->memory_max = -1;
    s = look(f, b);
    assert_promise(s, PROMISE_MEMORY, HELD_UNKNOWN, "muster-1 does not say its maxmemory");
    assert_int_equal(s->check, CHECK_UNKNOWN);
}

static void test_a_server_that_cannot_write_is_told_of(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    struct server *server = &b->pods[4].server;
    server->aof = server->rdb_saves = 1;
    server->aof_written = server->rdb_written = true;
    assert_others_held(look(f, b), 0);
    server->aof_written = false;
    const struct status *s = look(f, b);
    assert_promise(s, PROMISE_DISK, HELD_NO,
                   "the last write of muster-4 to its AOF failed: is its disk full?");
    assert_others_held(s, BIT(PROMISE_DISK));
    assert_int_equal(s->check, CHECK_PROMISE);
    /* Of what a server does not keep nothing is asked. */
    server->aof = 0;
    assert_others_held(look(f, b), 0);
    server->rdb_written = false;
    assert_promise(look(f, b), PROMISE_DISK, HELD_NO,
                   "the last snapshot of muster-4 failed: is its disk full?");
    server->rdb_saves = 0;
    assert_others_held(look(f, b), 0);
    server->rdb_saves = -1;
    assert_promise(look(f, b), PROMISE_DISK, HELD_UNKNOWN,
                   "muster-4 does not say what it writes to its disk");
}

static void test_leader_agents_and_api_are_promises(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->world.leader_pod[0] = '\0';
    b->pods[2].agent = AGENT_SILENT;
    const struct status *s = look(f, b);
    assert_promise(s, PROMISE_LEADER, HELD_NO, "no agent holds the Lease");
    assert_promise(s, PROMISE_AGENTS, HELD_NO, "the agent of muster-2 is silent");
    assert_int_equal(s->state, STATUS_OK); /* the data path has all it needs */
    assert_int_equal(s->check, CHECK_PROMISE);
    b->world.api_seen_ms -= 100000;
    s = look(f, b);
    assert_promise(s, PROMISE_LEADER, HELD_UNKNOWN, "the Lease cannot be read");
    assert_promise(s, PROMISE_API, HELD_NO, "it was heard 100 s ago");
    b->world.api_seen_ms = 0;
    assert_promise(look(f, b), PROMISE_API, HELD_NO,
                   "it has not answered since this agent's start");
}

/* ---- Single failures that would not be survived ---- */

static void test_copies_on_one_node_are_the_weakest_spot(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    (void)TEXT_COPY(b->pods[5].node, span_of("node-a"));
    const struct status *s = look(f, b);
    assert_int_equal(s->survives_node, HELD_NO);
    assert_int_equal(s->survives_zone, HELD_YES);
    assert_string_equal(s->weakest,
                        "shard 0-5460 (muster-0) has all its copies in sync on node node-a");
    assert_int_equal(s->state, STATUS_OK);
    assert_int_equal(s->check, CHECK_PROMISE);
    assert_others_held(s, BIT(PROMISE_NODE_LOSS));
}

static void test_copies_in_one_zone_are_named_after_nodes(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    (void)TEXT_COPY(b->pods[4].zone, span_of("zone-c"));
    const struct status *s = look(f, b);
    assert_int_equal(s->survives_node, HELD_YES);
    assert_int_equal(s->survives_zone, HELD_NO);
    assert_string_equal(s->weakest,
                        "shard 10923-16383 (muster-2) has all its copies in sync in zone zone-c");
}

static void test_a_second_replica_elsewhere_saves_the_shard(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 9);
    for (size_t i = 3; i < 9; i++)
        if (b->nodes[i].primary_node == 0) {
            (void)TEXT_COPY(b->pods[i].node, span_of("node-a"));
            break;
        }
    assert_int_equal(look(f, b)->survives_node, HELD_YES);
}

static void test_a_node_with_most_primaries_takes_the_vote_with_it(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    (void)TEXT_COPY(b->pods[1].node, span_of("node-a"));
    (void)TEXT_COPY(b->pods[3].node, span_of("node-d"));
    const struct status *s = look(f, b);
    assert_int_equal(s->survives_node, HELD_NO);
    assert_string_equal(s->weakest,
                        "node node-a holds 2 of 3 primaries: without it the other 1 cannot vote");
}

/* Half is not enough: 2 of 4 primaries cannot elect, 3 are needed. */
static void test_half_of_the_primaries_on_one_node_is_too_many(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 4, 8);
    const struct status *s = look(f, b);
    assert_string_equal(b->pods[0].node, b->pods[3].node);
    assert_int_equal(s->survives_node, HELD_NO);
    assert_string_equal(s->weakest,
                        "node node-a holds 2 of 4 primaries: without it the other 2 cannot vote");
}

static void test_one_or_two_primaries_survive_no_loss(void **state)
{
    struct fixture *f = *state;
    for (size_t shards = 1; shards <= 2; shards++)
        assert_int_equal(look(f, world_build_formed(&f->arena, shards, 6))->survives_node, HELD_NO);
}

/* Where Kubernetes does not say the node, no two pods are taken to share it. */
static void test_unknown_places_are_not_shared(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    for (size_t i = 0; i < 6; i++)
        b->pods[i].node[0] = b->pods[i].zone[0] = '\0';
    const struct status *s = look(f, b);
    assert_int_equal(s->survives_node, HELD_YES);
    assert_int_equal(s->survives_zone, HELD_NOT_APPLICABLE);
    assert_promise(s, PROMISE_ZONE_LOSS, HELD_NOT_APPLICABLE, "no zone is known");
    assert_int_equal(s->check, CHECK_HEALTHY);
}

static void test_a_zone_that_is_not_known_may_be_any_of_the_others(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->pods[4].zone[0] = '\0';
    const struct status *s = look(f, b);
    assert_int_equal(s->survives_node, HELD_YES);
    assert_int_equal(s->survives_zone, HELD_UNKNOWN);
    assert_promise(s, PROMISE_ZONE_LOSS, HELD_UNKNOWN, "the zone of muster-4 is not known");
}

/* As an agent leaves its server until that is in sync, and one that died before that for ever. */
static void test_who_is_kept_out_of_elections_saves_no_shard(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->pods[4].server.no_failover = 1;
    const struct status *s = look(f, b);
    assert_int_equal(s->survives_node, HELD_NO);
    assert_string_equal(s->weakest,
                        "shard 10923-16383 (muster-2) has no replica in sync that may be elected");
}

static void test_one_zone_is_no_broken_promise(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    for (size_t i = 0; i < 6; i++)
        (void)TEXT_COPY(b->pods[i].zone, span_of("zone-a"));
    const struct status *s = look(f, b);
    assert_int_equal(s->survives_zone, HELD_NO);
    assert_promise(s, PROMISE_ZONE_LOSS, HELD_NOT_APPLICABLE, "all pods are in one zone");
    assert_int_equal(s->check, CHECK_HEALTHY);
}

/* ---- What an agent that does not lead can tell ---- */

static void test_a_follower_knows_slots_but_not_survival(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_observe_as(b, 4);
    const struct status *s = look(f, b);
    assert_int_equal(s->state, STATUS_OK);
    assert_int_equal(s->check, CHECK_UNKNOWN);
    assert_false(s->is_leader);
    assert_string_equal(s->pod, "muster-4");
    assert_string_equal(s->leader, "muster-0");
    assert_int_equal(s->slots_covered, 16384);
    assert_int_equal(s->survives_node, HELD_UNKNOWN);
    assert_int_equal(s->survives_zone, HELD_UNKNOWN);
    assert_string_equal(s->weakest, "");
    static const enum promise_kind unknown[] = {
        PROMISE_SERVERS,   PROMISE_REPLICAS,  PROMISE_AGREEMENT, PROMISE_MOVES,
        PROMISE_NODE_LOSS, PROMISE_ZONE_LOSS, PROMISE_MEMORY,    PROMISE_DISK};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        assert_promise(s, unknown[i], HELD_UNKNOWN, "this agent does not ask every server");
    assert_promise(s, PROMISE_AGENTS, HELD_UNKNOWN, "this agent does not ask every agent");
    /* Who is who comes from the record. */
    assert_string_equal(s->shards[0].primary, "muster-0");
    assert_string_equal(s->shards[0].replicas[0], "muster-5");
    assert_int_equal(s->shards[0].in_sync, STATUS_NUMBER_UNKNOWN);
    assert_int_equal(s->pods[0].role, STATUS_ROLE_PRIMARY);
    assert_int_equal(s->pods[0].age_ms, STATUS_NUMBER_UNKNOWN);
    assert_string_equal(s->pods[0].node_id, world_build_id(0).hex);
    assert_string_equal(s->pods[0].server, "");
}

static void test_without_record_addresses_tell_who_is_who(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_observe_as(b, 4);
    b->world.record = b->world.record_copy = NULL;
    const struct status *s = look(f, b);
    assert_string_equal(s->shards[1].primary, "muster-1");
    assert_string_equal(s->pods[3].node_id, world_build_id(3).hex);
}

static void test_a_follower_believes_that_a_node_failed(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_observe_as(b, 4);
    b->nodes[5].flags = NODE_FAIL;
    const struct status *s = look(f, b);
    assert_int_equal(s->state, STATUS_DEGRADED);
    assert_promise(s, PROMISE_SERVERS, HELD_NO,
                   "1 of 6 are missing: muster-5 has failed, say the others");
}

/* A pod that came back with a new id is not its old node, which nobody has any more. */
static void test_a_dead_id_is_on_no_pod(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->nodes[5].flags = NODE_FAIL;
    struct world *w = &b->world;
    (void)world_build_refresh(b);
    b->pods[5].server.id = world_build_id(50); /* what it says of itself now */
    facts_gather(w, &f->arena, &f->facts);
    status_gather(w, &f->facts, &f->plan, &f->arena, &f->status);
    assert_int_equal(f->status.shards[0].replica_count, 0);
    assert_string_equal(f->status.pods[5].node_id, world_build_id(50).hex);
}

/* While this process did not run, nothing is known to be lost. */
static void test_after_a_stall_nothing_is_said_to_be_missing(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->pods[5].server.reach = REACH_TIMEOUT;
    b->world.settling = true;
    assert_promise(look(f, b), PROMISE_SERVERS, HELD_UNKNOWN,
                   "this agent does not ask every server");
}

/* ---- Names ---- */

static void test_every_name_is_given(void **state)
{
    (void)state;
    assert_string_equal(status_state_name(STATUS_DOWN), "down");
    /* NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): that is the point */
    assert_string_equal(status_state_name((enum status_state)99), "unknown");
    assert_string_equal(promise_key(PROMISE_NODE_LOSS), "node-loss");
    assert_string_equal(promise_key(PROMISE_COUNT), "unknown");
    assert_string_equal(promise_text(PROMISE_API), "the Kubernetes API answers");
    assert_string_equal(promise_text(PROMISE_COUNT), "unknown");
}

static void test_the_plan_is_shown_with_its_commands(void **state)
{
    struct fixture *f = *state;
    struct action actions[] = {{.kind = ACTION_MEET, .ip = "10.0.0.3", .port = 6379}};
    f->plan =
        (struct plan){.rule = "form", .reason = "meeting", .actions = actions, .action_count = 1};
    const struct status *s = look(f, world_build_virgin(&f->arena, 3));
    assert_int_equal(s->plan_action_count, 1);
    assert_string_equal(s->plan_actions[0], "CLUSTER MEET 10.0.0.3 6379");
    assert_string_equal(s->plan_rule, "form");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_formed_cluster_is_ok_and_healthy),
        TEST(test_shards_are_in_the_order_of_their_slots),
        TEST(test_a_shard_may_have_many_ranges_and_replicas),
        TEST(test_pods_show_role_lag_memory_and_server),
        TEST(test_virgin_servers_are_forming),
        TEST(test_a_record_that_forms_is_forming_whatever_the_views_say),
        TEST(test_without_record_and_answers_the_state_is_unknown),
        TEST(test_a_cluster_without_record_is_judged),
        TEST(test_the_copy_of_a_deleted_record_counts),
        TEST(test_a_lost_replica_degrades),
        TEST(test_a_replica_out_of_sync_degrades),
        TEST(test_a_failed_primary_is_down),
        TEST(test_two_of_three_primaries_gone_is_a_lost_majority),
        TEST(test_silence_alone_loses_no_majority),
        TEST(test_servers_that_say_fail_serve_nothing),
        TEST(test_one_server_that_says_fail_is_no_healthy_cluster),
        TEST(test_when_all_refuse_the_cluster_is_down),
        TEST(test_each_reason_of_absence_is_said),
        TEST(test_a_pod_that_is_not_there_is_missing),
        TEST(test_views_that_differ_are_counted),
        TEST(test_an_open_slot_is_a_move_half_done),
        TEST(test_a_primary_that_will_refuse_writes_is_told_of_before),
        TEST(test_a_server_that_cannot_write_is_told_of),
        TEST(test_leader_agents_and_api_are_promises),
        TEST(test_copies_on_one_node_are_the_weakest_spot),
        TEST(test_copies_in_one_zone_are_named_after_nodes),
        TEST(test_a_second_replica_elsewhere_saves_the_shard),
        TEST(test_a_node_with_most_primaries_takes_the_vote_with_it),
        TEST(test_half_of_the_primaries_on_one_node_is_too_many),
        TEST(test_one_or_two_primaries_survive_no_loss),
        TEST(test_unknown_places_are_not_shared),
        TEST(test_a_zone_that_is_not_known_may_be_any_of_the_others),
        TEST(test_who_is_kept_out_of_elections_saves_no_shard),
        TEST(test_one_zone_is_no_broken_promise),
        TEST(test_a_follower_knows_slots_but_not_survival),
        TEST(test_without_record_addresses_tell_who_is_who),
        TEST(test_a_follower_believes_that_a_node_failed),
        TEST(test_a_dead_id_is_on_no_pod),
        TEST(test_after_a_stall_nothing_is_said_to_be_missing),
        TEST(test_every_name_is_given),
        TEST(test_the_plan_is_shown_with_its_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
