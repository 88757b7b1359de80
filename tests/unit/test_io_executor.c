/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "io/clock.h"
#include "io/executor.h"
#include "unit/io_script.h"

enum { SERVERS = 2, NOTES_MAX = 16 };

struct note {
    enum action_kind kind;
    enum outcome outcome;
    char uid[UID_SIZE];
    char why[200];
};

struct stage {
    struct loop *loop;
    struct io_redis redis[SERVERS];
    struct peers *peers;
    struct kube_client *kube;
    struct record_client *records;
    struct executor *executor;
    struct pod pods[SERVERS];
    struct world world;
    struct note notes[NOTES_MAX];
    size_t note_count;
    int asked;       /* how often the fence was */
    int fence_after; /* it closes after so many questions */
};

static void stage_on_change(void *ctx)
{
    (void)ctx;
}

static bool stage_may_send(void *ctx, const struct action *action, const char **ret_why)
{
    struct stage *stage = ctx;
    (void)action;
    *ret_why = "because";
    return stage->asked++ < stage->fence_after;
}

static void stage_on_outcome(void *ctx, const struct action *action, const char *pod_uid,
                             enum outcome outcome, const char *why)
{
    struct stage *stage = ctx;
    assert_true(stage->note_count < NOTES_MAX);
    struct note *note = &stage->notes[stage->note_count++];
    note->kind = action->kind;
    note->outcome = outcome;
    text_format(note->uid, sizeof note->uid, "%s", pod_uid);
    text_format(note->why, sizeof note->why, "%s", why ? why : "");
}

static bool stage_is_read(void *ctx)
{
    const struct stage *stage = ctx;
    for (size_t i = 0; i < SERVERS; i++)
        if (peers_server(stage->peers, stage->pods[i].uid)->reach != REACH_OK)
            return false;
    return true;
}

static bool stage_is_idle(void *ctx)
{
    const struct stage *stage = ctx;
    return !executor_busy(stage->executor);
}

/* Peers and executor; the servers run already. */
static void stage_open(struct stage *stage)
{
    stage->loop = loop_new(NULL);
    stage->fence_after = 1000;
    struct peers_config peers = {
        .username = "", .password_file = "", .seed = 1, .on_change = stage_on_change};
    stage->peers = peers_new(stage->loop, &peers);
    struct peer_target targets[SERVERS];
    for (size_t i = 0; i < SERVERS; i++) {
        struct pod *pod = &stage->pods[i];
        text_format(pod->uid, sizeof pod->uid, "u-%zu", i);
        targets[i] = (struct peer_target){.uid = pod->uid,
                                          .ip = "127.0.0.1",
                                          .port = stage->redis[i].port,
                                          .rhythm = {.full_ms = 50}};
    }
    peers_sync(stage->peers, targets, SERVERS);
    struct executor_config config = {.peers = stage->peers,
                                     .records = stage->records,
                                     .may_send = stage_may_send,
                                     .on_outcome = stage_on_outcome,
                                     .ctx = stage};
    stage->executor = executor_new(stage->loop, &config);
    assert_true(io_run_until(stage->loop, stage_is_read, stage, 3000));
    for (size_t i = 0; i < SERVERS; i++)
        stage->pods[i].server = *peers_server(stage->peers, stage->pods[i].uid);
    stage->world = (struct world){.pods = stage->pods, .pod_count = SERVERS};
}

static void stage_start(struct stage *stage)
{
    *stage = (struct stage){0};
    for (size_t i = 0; i < SERVERS; i++)
        io_redis_start(&stage->redis[i], (const char *const[]){NULL});
    stage_open(stage);
}

static void stage_stop(struct stage *stage)
{
    executor_free(stage->executor);
    peers_free(stage->peers);
    record_client_free(stage->records);
    kube_client_free(stage->kube);
    loop_free(stage->loop);
    for (size_t i = 0; i < SERVERS; i++)
        io_redis_stop(&stage->redis[i]);
}

static struct action act(const struct stage *stage, size_t pod, enum action_kind kind,
                         uint32_t require)
{
    return (struct action){.kind = kind,
                           .authority = AUTHORITY_LEADER,
                           .pod = pod,
                           .node = stage->pods[pod].server.id,
                           .require = require};
}

static struct action act_timeout(const struct stage *stage, size_t pod, int64_t value)
{
    struct action action = act(stage, pod, ACTION_CONFIG_SET, 0);
    action.setting = SETTING_NODE_TIMEOUT;
    action.value = value;
    return action;
}

static struct action act_epoch(const struct stage *stage, size_t pod, uint64_t epoch)
{
    struct action action = act(stage, pod, ACTION_SET_CONFIG_EPOCH, REQUIRE_ALONE);
    action.epoch = epoch;
    return action;
}

static struct action act_slots(const struct stage *stage, size_t pod)
{
    struct action action = act(stage, pod, ACTION_ADD_SLOTS, REQUIRE_UNASSIGNED | REQUIRE_EMPTY);
    action.slots = (struct slot_range){0, 99};
    return action;
}

static void run(struct stage *stage, struct action *actions, size_t count)
{
    struct plan plan = {.rule = "test", .actions = actions, .action_count = count};
    stage->note_count = 0;
    executor_run(stage->executor, &plan, &stage->world, "");
    assert_int_equal(stage->note_count, 0); /* never from within */
    assert_true(executor_busy(stage->executor));
    assert_true(io_run_until(stage->loop, stage_is_idle, stage, 5000));
}

static void expect(const struct stage *stage, size_t at, enum action_kind kind,
                   enum outcome outcome)
{
    assert_true(at < stage->note_count);
    const struct note *note = &stage->notes[at];
    if (note->kind != kind || note->outcome != outcome)
        fail_msg("%zu: %s of %s (%s), expected %s of %s", at, outcome_name(note->outcome),
                 action_kind_name(note->kind), note->why, outcome_name(outcome),
                 action_kind_name(kind));
}

static const struct server *seen(struct stage *stage, size_t pod)
{
    (void)loop_run_for(stage->loop, 200);
    return peers_server(stage->peers, stage->pods[pod].uid);
}

static void test_actions_are_carried_out_in_order_on_each_server(void **state)
{
    (void)state;
    struct stage stage;
    stage_start(&stage);
    struct action actions[] = {act_timeout(&stage, 0, 700), act_timeout(&stage, 1, 900),
                               act_epoch(&stage, 0, 3), act_slots(&stage, 0),
                               act(&stage, 1, ACTION_MEET, REQUIRE_ALONE)};
    text_format(actions[4].ip, sizeof actions[4].ip, "127.0.0.1");
    actions[4].port = stage.redis[0].port;
    actions[4].subject = stage.pods[0].server.id;
    run(&stage, actions, 5);
    assert_int_equal(stage.note_count, 5);
    int64_t order[SERVERS] = {0};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(stage.notes[i].outcome, OUTCOME_OK);
        order[stage.notes[i].uid[2] - '0'] =
            order[stage.notes[i].uid[2] - '0'] * 10 + (int64_t)stage.notes[i].kind;
    }
    assert_int_equal(order[0],
                     ACTION_CONFIG_SET * 100 + ACTION_SET_CONFIG_EPOCH * 10 + ACTION_ADD_SLOTS);
    assert_int_equal(order[1], ACTION_CONFIG_SET * 10 + ACTION_MEET);
    (void)loop_run_for(stage.loop, 500);
    peers_hurry(stage.peers, NULL, 20, clock_mono_ms() + 1000);
    assert_int_equal(seen(&stage, 0)->node_timeout_ms, 700);
    assert_int_equal(seen(&stage, 1)->node_timeout_ms, 900);
    assert_int_equal(seen(&stage, 0)->slots_assigned, 100);
    assert_int_equal(seen(&stage, 1)->known_nodes, 2);
    stage_stop(&stage);
}

static void test_a_precondition_that_fell_supersedes_and_drops_the_rest(void **state)
{
    (void)state;
    struct stage stage;
    stage_start(&stage);
    struct action slots[] = {act_slots(&stage, 0)};
    run(&stage, slots, 1);
    expect(&stage, 0, ACTION_ADD_SLOTS, OUTCOME_OK);

    struct action again[] = {act_slots(&stage, 0), act_timeout(&stage, 0, 800)};
    run(&stage, again, 2);
    assert_int_equal(stage.note_count, 2);
    expect(&stage, 0, ACTION_ADD_SLOTS, OUTCOME_SUPERSEDED);
    expect(&stage, 1, ACTION_CONFIG_SET, OUTCOME_DROPPED);
    assert_int_equal(stage.asked, 1); /* only the first was ever to be sent */

    struct action stranger[] = {act_timeout(&stage, 1, 800)};
    stranger[0].node = stage.pods[0].server.id; /* the server there is another node */
    run(&stage, stranger, 1);
    expect(&stage, 0, ACTION_CONFIG_SET, OUTCOME_SUPERSEDED);
    assert_int_equal(seen(&stage, 1)->node_timeout_ms, 15000);
    stage_stop(&stage);
}

static void test_a_refused_command_drops_the_rest_of_that_server_only(void **state)
{
    (void)state;
    struct stage stage;
    stage_start(&stage);
    struct action actions[] = {act_epoch(&stage, 0, 3), act_epoch(&stage, 0, 4),
                               act_timeout(&stage, 0, 800), act_timeout(&stage, 1, 800)};
    run(&stage, actions, 4);
    assert_int_equal(stage.note_count, 4);
    int seen_of[OUTCOME_DROPPED + 1] = {0};
    for (size_t i = 0; i < 4; i++) {
        seen_of[stage.notes[i].outcome]++;
        if (stage.notes[i].outcome == OUTCOME_REFUSED)
            assert_non_null(strstr(stage.notes[i].why, "ERR"));
    }
    assert_int_equal(seen_of[OUTCOME_OK], 2);
    assert_int_equal(seen_of[OUTCOME_REFUSED], 1);
    assert_int_equal(seen_of[OUTCOME_DROPPED], 1);
    assert_int_equal(seen(&stage, 0)->node_timeout_ms, 15000);
    stage_stop(&stage);
}

static void test_the_fence_is_asked_before_each_send(void **state)
{
    (void)state;
    struct stage stage;
    stage_start(&stage);
    stage.fence_after = 1;
    struct action actions[] = {act_timeout(&stage, 0, 700), act_timeout(&stage, 0, 800),
                               act_timeout(&stage, 0, 900)};
    run(&stage, actions, 3);
    expect(&stage, 0, ACTION_CONFIG_SET, OUTCOME_OK);
    expect(&stage, 1, ACTION_CONFIG_SET, OUTCOME_FENCED);
    assert_string_equal(stage.notes[1].why, "because");
    expect(&stage, 2, ACTION_CONFIG_SET, OUTCOME_DROPPED);
    peers_hurry(stage.peers, NULL, 20, clock_mono_ms() + 1000);
    assert_int_equal(seen(&stage, 0)->node_timeout_ms, 700);
    stage_stop(&stage);
}

static void test_a_busy_server_is_left_to_its_earlier_plan(void **state)
{
    (void)state;
    struct stage stage;
    stage_start(&stage);
    struct action first[] = {act_timeout(&stage, 0, 700)};
    struct action second[] = {act_timeout(&stage, 0, 800), act_timeout(&stage, 1, 900)};
    struct plan plan = {.rule = "test", .actions = first, .action_count = 1};
    executor_run(stage.executor, &plan, &stage.world, "");
    run(&stage, second, 2);
    assert_int_equal(stage.note_count, 2); /* 700 on the one, 900 on the other */
    peers_hurry(stage.peers, NULL, 20, clock_mono_ms() + 1000);
    assert_int_equal(seen(&stage, 0)->node_timeout_ms, 700);
    assert_int_equal(seen(&stage, 1)->node_timeout_ms, 900);
    stage_stop(&stage);
}

static void test_the_same_is_not_begun_again_at_another_server(void **state)
{
    (void)state;
    struct stage stage;
    stage_start(&stage);
    struct action two[] = {act(&stage, 0, ACTION_FAILOVER, 0), act(&stage, 1, ACTION_FAILOVER, 0)};
    two[0].subject = two[1].subject = (struct node_id){"of the shard's primary"};
    struct plan plan = {.rule = "test", .actions = two, .action_count = 1};
    executor_run(stage.executor, &plan, &stage.world, "");
    assert_true(executor_is_doing(stage.executor, &two[1]));
    run(&stage, &two[1], 1);
    assert_true(stage.note_count == 1 && strcmp(stage.notes[0].uid, "u-0") == 0);
    stage_stop(&stage);
}

static void test_a_silent_server_fails_within_its_deadline(void **state)
{
    (void)state;
    struct stage stage;
    stage_start(&stage);
    (void)kill(stage.redis[0].pid, SIGSTOP);
    int64_t start_ms = clock_mono_ms();
    struct action actions[] = {act_timeout(&stage, 0, 700), act_timeout(&stage, 0, 800)};
    run(&stage, actions, 2);
    assert_true(clock_mono_ms() - start_ms < 2 * PEER_EXCHANGE_MS + 500);
    expect(&stage, 0, ACTION_CONFIG_SET, OUTCOME_FAILED);
    expect(&stage, 1, ACTION_CONFIG_SET, OUTCOME_DROPPED);
    assert_int_equal(stage.asked, 0); /* no answer to the probe: nothing may be sent */
    stage_stop(&stage);
}

/* It is not under way, and another candidate need not wait for its end. */
static void test_an_order_that_was_not_sent_has_not_failed(void **state)
{
    (void)state;
    struct stage stage;
    stage_start(&stage);
    (void)kill(stage.redis[0].pid, SIGSTOP);
    struct action order[] = {act(&stage, 0, ACTION_FAILOVER, 0)};
    run(&stage, order, 1);
    expect(&stage, 0, ACTION_FAILOVER, OUTCOME_DROPPED);
    assert_int_equal(stage.asked, 0);
    stage_stop(&stage);
}

static void test_a_target_that_vanishes_fails_and_frees_nothing_twice(void **state)
{
    (void)state;
    struct stage stage;
    stage_start(&stage);
    (void)kill(stage.redis[0].pid, SIGSTOP);
    struct action actions[] = {act_timeout(&stage, 0, 700)};
    struct plan plan = {.rule = "test", .actions = actions, .action_count = 1};
    executor_run(stage.executor, &plan, &stage.world, "");
    (void)loop_run_for(stage.loop, 50);
    peers_sync(stage.peers, NULL, 0);
    assert_true(io_run_until(stage.loop, stage_is_idle, &stage, 1000));
    expect(&stage, 0, ACTION_CONFIG_SET, OUTCOME_FAILED);
    /* And one that is given up with the executor itself. */
    stage_stop(&stage);
}

static void test_what_is_in_flight_may_be_forgotten(void **state)
{
    (void)state;
    struct stage stage;
    stage_start(&stage);
    (void)kill(stage.redis[0].pid, SIGSTOP);
    struct action actions[] = {act_timeout(&stage, 0, 700), act_timeout(&stage, 1, 700)};
    struct plan plan = {.rule = "test", .actions = actions, .action_count = 2};
    executor_run(stage.executor, &plan, &stage.world, "");
    (void)loop_run_for(stage.loop, 50);
    executor_free(stage.executor);
    stage.executor = NULL;
    (void)loop_run_for(stage.loop, PEER_EXCHANGE_MS + 200);
    assert_int_equal(stage.note_count, 1); /* of the server that answered */
    stage_stop(&stage);
}

/* ---- the record ---- */

static void serve_record(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    static char body[65536];
    for (int at; (at = io_http_read(fd, shared, body, sizeof body)) >= 0;) {
        const char *line = shared->lines[at];
        bool create = strncmp(line, "POST", 4) == 0;
        if (!create && !strstr(body, "\"resourceVersion\":\"7\"")) {
            io_http_answer(fd, 409, "",
                           "{\"kind\":\"Status\",\"message\":\"modified\",\"code\":409}");
            continue;
        }
        io_http_answer(fd, create ? 201 : 200, "",
                       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
                       "\"db-muster\",\"namespace\":\"ns\",\"uid\":\"c-1\",\"resourceVersion\":"
                       "\"8\"},\"data\":{}}");
    }
}

static void put_record(struct stage *stage, const char *version)
{
    struct record_member member = {.pod = "db-0", .diskless_delay_s = -1};
    struct record record = {.version = RECORD_VERSION,
                            .uid = "e1c7e2a8-0001-4000-8000-000000000001",
                            .generation = 1,
                            .state = RECORD_FORMING,
                            .shards = 1,
                            .members = &member,
                            .member_count = 1};
    memset(member.id.hex, 'a', NODE_ID_LEN);
    struct action action = {
        .kind = ACTION_RECORD_PUT, .authority = AUTHORITY_LEADER, .pod = NO_POD, .record = &record};
    struct plan plan = {.rule = "test", .actions = &action, .action_count = 1};
    stage->note_count = 0;
    executor_run(stage->executor, &plan, &stage->world, version);
    record = (struct record){0}; /* it was copied */
    assert_true(io_run_until(stage->loop, stage_is_idle, stage, 3000));
    assert_int_equal(stage->note_count, 1);
}

static void test_the_record_is_written_by_compare_and_swap(void **state)
{
    (void)state;
    struct stage stage = {.loop = loop_new(NULL), .fence_after = 1000};
    struct io_script script;
    io_script_start(&script, serve_record);
    char url[64];
    text_format(url, sizeof url, "http://127.0.0.1:%u", script.port);
    struct kube_client_config kube = {.api_server = url, .ns = "ns"};
    struct err err = {0};
    stage.kube = kube_client_new(stage.loop, &kube, &err);
    assert_non_null(stage.kube);
    stage.records = record_client_new(stage.kube);
    struct peers_config peers = {.on_change = stage_on_change};
    stage.peers = peers_new(stage.loop, &peers);
    struct executor_config config = {.peers = stage.peers,
                                     .records = stage.records,
                                     .may_send = stage_may_send,
                                     .on_outcome = stage_on_outcome,
                                     .ctx = &stage};
    stage.executor = executor_new(stage.loop, &config);

    put_record(&stage, "");
    expect(&stage, 0, ACTION_RECORD_PUT, OUTCOME_FAILED); /* no name yet */
    record_client_follow(stage.records, "db-muster");
    put_record(&stage, "");
    expect(&stage, 0, ACTION_RECORD_PUT, OUTCOME_OK);
    assert_string_equal(stage.notes[0].why, "8");
    put_record(&stage, "7");
    expect(&stage, 0, ACTION_RECORD_PUT, OUTCOME_OK);
    put_record(&stage, "6");
    expect(&stage, 0, ACTION_RECORD_PUT, OUTCOME_SUPERSEDED);
    stage.fence_after = 0;
    put_record(&stage, "7");
    expect(&stage, 0, ACTION_RECORD_PUT, OUTCOME_FENCED);
    assert_int_equal(script.shared->requests, 3);
    assert_int_equal(io_count_lines(script.shared, "POST /api/v1/namespaces/ns/configmaps HTTP"),
                     1);
    assert_int_equal(
        io_count_lines(script.shared, "PUT /api/v1/namespaces/ns/configmaps/db-muster "), 2);
    stage_stop(&stage);
    io_script_stop(&script);
}

/* The switch that kills the leader at a chosen step: after the bytes have left. */
static void test_the_process_ends_after_the_chosen_send(void **state)
{
    (void)state;
#ifdef MUSTER_TESTING
    struct stage stage;
    stage_start(&stage);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)setenv("MUSTER_TEST_EXIT_AFTER", "2", 1);
        stage_open(&stage); /* the loop of before belongs to the parent */
        struct action actions[] = {act_timeout(&stage, 0, 700), act_epoch(&stage, 0, 5),
                                   act_timeout(&stage, 0, 900)};
        run(&stage, actions, 3);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 137);
    peers_hurry(stage.peers, NULL, 20, clock_mono_ms() + 1000);
    assert_int_equal(seen(&stage, 0)->node_timeout_ms, 700);
    assert_int_equal(seen(&stage, 0)->my_epoch, 5);
    stage_stop(&stage);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_actions_are_carried_out_in_order_on_each_server),
        cmocka_unit_test(test_a_precondition_that_fell_supersedes_and_drops_the_rest),
        cmocka_unit_test(test_a_refused_command_drops_the_rest_of_that_server_only),
        cmocka_unit_test(test_the_fence_is_asked_before_each_send),
        cmocka_unit_test(test_a_busy_server_is_left_to_its_earlier_plan),
        cmocka_unit_test(test_the_same_is_not_begun_again_at_another_server),
        cmocka_unit_test(test_a_silent_server_fails_within_its_deadline),
        cmocka_unit_test(test_an_order_that_was_not_sent_has_not_failed),
        cmocka_unit_test(test_a_target_that_vanishes_fails_and_frees_nothing_twice),
        cmocka_unit_test(test_what_is_in_flight_may_be_forgotten),
        cmocka_unit_test(test_the_record_is_written_by_compare_and_swap),
        cmocka_unit_test(test_the_process_ends_after_the_chosen_send),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
