/* SPDX-License-Identifier: Apache-2.0 */
#include "io/executor.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "core/lease.h"
#include "io/clock.h"
#include "io/peer_poll.h"
#include "io/record_copy.h"

#define EXECUTOR_RECORD_ARENA_MAX MIB(16)

/* The actions of one plan to one target, in order. */
struct exec_lane {
    struct executor *executor;
    struct exec_lane *next; /* the executor's list */
    char uid[UID_SIZE];     /* of the target's pod; "" = the record */
    size_t pod;             /* its index in the plan's world: to sort the plan's actions */
    struct action *actions; /* owned */
    size_t count;
    size_t cap;
    size_t at; /* the action whose turn it is */
    struct probe probe;
    int64_t probed_ms;  /* 0 = not yet */
    bool sent;          /* the exchange in flight is the action itself, else a probe */
    struct arena arena; /* of the record to write */
    struct record record;
    char version[RESOURCE_VERSION_SIZE]; /* to write it against */
    bool done;
    struct loop_deferred later; /* the start, then the end */
};

struct executor {
    struct loop *loop;
    struct executor_config config;
    struct exec_lane *lanes; /* owned */
#ifdef MUSTER_TESTING
    int64_t sends;
    int64_t exit_after; /* 0 = never */
#endif
};

const char *outcome_name(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_OK:
        return "ok";
    case OUTCOME_SUPERSEDED:
        return "superseded";
    case OUTCOME_FENCED:
        return "fenced";
    case OUTCOME_REFUSED:
        return "refused";
    case OUTCOME_FAILED:
        return "failed";
    case OUTCOME_DROPPED:
        return "dropped";
    case OUTCOME_NONE:
        break;
    }
    return "none";
}

#ifdef MUSTER_TESTING
static void executor_read_test_switch(struct executor *executor)
{
    const char *text = getenv("MUSTER_TEST_EXIT_AFTER");
    uint64_t count = 0;
    if (text && text_to_u64(span_of(text), UINT32_MAX, &count))
        executor->exit_after = (int64_t)count;
}

/* Of several agents with the switch only the first dies: the one that makes the file. */
static bool executor_is_first(void)
{
    const char *mark = getenv("MUSTER_TEST_EXIT_MARK");
    if (!mark)
        return true;
    auto_close int fd = open(mark, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    return fd >= 0;
}

/* Dies as if killed, right after the chosen state-changing send. */
static void executor_count_send(struct executor *executor, struct peer *peer)
{
    if (++executor->sends != executor->exit_after || !executor_is_first())
        return;
    if (peer)
        peer_flush(peer);
    _exit(137);
}
#else
static void executor_read_test_switch(const struct executor *executor)
{
    (void)executor;
}

static void executor_count_send(const struct executor *executor, const struct peer *peer)
{
    (void)executor, (void)peer;
}
#endif

static void lane_free(struct exec_lane *lane)
{
    struct exec_lane **at = &lane->executor->lanes;
    while (*at != lane)
        at = &(*at)->next;
    *at = lane->next;
    loop_undefer(lane->executor->loop, &lane->later);
    arena_deinit(&lane->arena);
    free(lane->actions);
    free(lane);
}

static void lane_on_end(void *ctx)
{
    lane_free(ctx);
}

static void lane_report(struct exec_lane *lane, enum outcome outcome, const char *why)
{
    const struct executor_config *config = &lane->executor->config;
    const struct action *action = &lane->actions[lane->at++];
    config->on_outcome(config->ctx, action, lane->uid, outcome, why);
}

static void lane_finish(struct exec_lane *lane)
{
    lane->done = true;
    loop_defer(lane->executor->loop, &lane->later, lane_on_end, lane);
}

/* This action came to nothing, and what was to follow it is not tried. */
static void lane_stop(struct exec_lane *lane, enum outcome outcome, const char *why)
{
    lane_report(lane, outcome, why);
    while (lane->at < lane->count)
        lane_report(lane, OUTCOME_DROPPED, "an earlier action to the same server was not done");
    lane_finish(lane);
}

/* What was not sent has not begun: nobody need wait for its end, as for that of an order that was. */
static enum outcome lane_failure(const struct exec_lane *lane)
{
    bool may_run = lane->sent || !action_failed_quiet_ms(&lane->actions[lane->at]);
    return may_run ? OUTCOME_FAILED : OUTCOME_DROPPED;
}

static void lane_on_replies(void *ctx, const struct reply *replies, size_t count,
                            const struct err *err);

static struct peer *lane_send(struct exec_lane *lane, struct peer_exchange *exchange)
{
    struct err err = {0};
    struct peer *peer = peers_find(lane->executor->config.peers, lane->uid);
    exchange->on_replies = lane_on_replies;
    exchange->ctx = lane;
    if (peer && peer_send(peer, exchange, &err) == 0)
        return peer;
    lane_stop(lane, lane_failure(lane), peer ? err.msg : "no longer a target");
    return NULL;
}

static void lane_send_probe(struct exec_lane *lane)
{
    struct peer_exchange exchange = {0};
    exchange.command_count = probe_commands(exchange.commands);
    lane->sent = false;
    lane->probed_ms = clock_mono_ms();
    (void)lane_send(lane, &exchange);
}

static void lane_send_action(struct exec_lane *lane, const struct action *action)
{
    struct action_args args;
    struct peer_exchange exchange = {.command_count = 1};
    struct peer_command *command = &exchange.commands[0];
    action_command(action, &args);
    assert(args.count <= PEER_WORDS_MAX);
    for (size_t i = 0; i < args.count; i++)
        command->words[command->word_count++] = span_of(args.words[i]);
    lane->sent = true;
    struct peer *peer = lane_send(lane, &exchange);
    if (peer)
        executor_count_send(lane->executor, peer);
}

/* Precondition and fence, then the command: all in one callback. */
static void lane_step(struct exec_lane *lane)
{
    const struct executor_config *config = &lane->executor->config;
    if (lane->at == lane->count) {
        lane_finish(lane);
        return;
    }
    if (!lane->probed_ms || clock_mono_ms() - lane->probed_ms > EXECUTOR_PROBE_MS) {
        lane_send_probe(lane);
        return;
    }
    const struct action *action = &lane->actions[lane->at];
    const char *why = NULL;
    if (!action_still_valid(action, &lane->probe, &why))
        lane_stop(lane, OUTCOME_SUPERSEDED, why);
    else if (!config->may_send(config->ctx, action, &why))
        lane_stop(lane, OUTCOME_FENCED, why);
    else
        lane_send_action(lane, action);
}

static void lane_take_result(struct exec_lane *lane, const struct reply *reply)
{
    if (reply->kind == REPLY_TEXT) {
        lane_report(lane, OUTCOME_OK, NULL);
        lane_step(lane);
        return;
    }
    char why[POLL_REFUSAL_SIZE] = "unexpected kind of reply";
    if (reply->kind == REPLY_ERROR)
        poll_refusal(reply->text, why);
    lane_stop(lane, reply->kind == REPLY_ERROR ? OUTCOME_REFUSED : OUTCOME_FAILED, why);
}

static void lane_on_replies(void *ctx, const struct reply *replies, size_t count,
                            const struct err *err)
{
    struct exec_lane *lane = ctx;
    if (lane->done)
        return;
    if (err->code != E_OK) {
        lane_stop(lane, lane_failure(lane), err->msg);
        return;
    }
    if (lane->sent) {
        lane_take_result(lane, &replies[0]);
        return;
    }
    struct err why = {0};
    if (probe_take(replies, count, &lane->probe, &why) < 0)
        lane_stop(lane, lane_failure(lane), why.msg);
    else
        lane_step(lane);
}

/* ---- the record ---- */

static void lane_on_record(void *ctx, const char *version, const struct err *err)
{
    struct exec_lane *lane = ctx;
    executor_count_send(lane->executor, NULL);
    if (err->code == E_OK) {
        lane_report(lane, OUTCOME_OK, version);
        lane_finish(lane);
    } else {
        lane_stop(lane, err->code == E_CONFLICT ? OUTCOME_SUPERSEDED : OUTCOME_FAILED, err->msg);
    }
}

static void lane_put_record(struct exec_lane *lane)
{
    const struct executor_config *config = &lane->executor->config;
    const struct action *action = &lane->actions[lane->at];
    const char *why = NULL;
    struct err err = {0};
    if (!config->may_send(config->ctx, action, &why)) {
        lane_stop(lane, OUTCOME_FENCED, why);
        return;
    }
    int r = config->copy ? host_record_put(config->copy, action->record, lane->version,
                                           lane_on_record, lane, &err)
                         : record_client_put(config->records, action->record, lane->version,
                                             lane_on_record, lane, &err);
    if (r < 0)
        lane_stop(lane, r == E_CONFLICT ? OUTCOME_SUPERSEDED : OUTCOME_FAILED, err.msg);
}

static void lane_on_start(void *ctx)
{
    struct exec_lane *lane = ctx;
    if (lane->uid[0])
        lane_step(lane);
    else
        lane_put_record(lane);
}

/* ---- a plan, sorted into lanes ---- */

static struct exec_lane *executor_find_lane(const struct executor *executor, const char *uid)
{
    struct exec_lane *lane = executor->lanes;
    while (lane && strcmp(lane->uid, uid) != 0)
        lane = lane->next;
    return lane;
}

static bool lanes_have(const struct exec_lane *earlier, const struct action *action)
{
    uint64_t key = action_key(action);
    for (const struct exec_lane *lane = earlier; lane; lane = lane->next)
        for (size_t i = lane->at; i < lane->count; i++)
            if (action_key(&lane->actions[i]) == key)
                return true;
    return false;
}

static struct exec_lane *executor_open_lane(struct executor *executor, const char *uid, size_t pod)
{
    struct exec_lane *lane = xcalloc(1, sizeof *lane);
    lane->executor = executor;
    lane->pod = pod;
    text_format(lane->uid, sizeof lane->uid, "%s", uid);
    arena_init(&lane->arena, EXECUTOR_RECORD_ARENA_MAX);
    lane->next = executor->lanes;
    executor->lanes = lane;
    loop_defer(executor->loop, &lane->later, lane_on_start, lane);
    return lane;
}

static void lane_add(struct exec_lane *lane, const struct action *action)
{
    if (lane->count == lane->cap) {
        lane->cap = lane->cap ? lane->cap * 2 : 4;
        lane->actions = xrealloc(lane->actions, lane->cap, sizeof *lane->actions);
    }
    struct action *copy = &lane->actions[lane->count++];
    *copy = *action;
    copy->record = NULL;
    if (action->kind == ACTION_RECORD_PUT) {
        record_copy(action->record, &lane->arena, &lane->record);
        copy->record = &lane->record;
    }
}

struct executor *executor_new(struct loop *loop, const struct executor_config *config)
{
    struct executor *executor = xcalloc(1, sizeof *executor);
    executor->loop = loop;
    executor->config = *config;
    executor_read_test_switch(executor);
    return executor;
}

void executor_free(struct executor *executor)
{
    if (!executor)
        return;
    for (struct exec_lane *lane = executor->lanes, *next; lane; lane = next) {
        next = lane->next;
        struct peer *peer = lane->uid[0] ? peers_find(executor->config.peers, lane->uid) : NULL;
        if (peer)
            peer_forget(peer, lane);
        lane_free(lane);
    }
    free(executor);
}

void executor_run(struct executor *executor, const struct plan *plan, const struct world *world,
                  const char *record_version)
{
    struct exec_lane *earlier = executor->lanes; /* new ones are put before them */
    for (size_t i = 0; i < plan->action_count; i++) {
        const struct action *action = &plan->actions[i];
        bool record = action->kind == ACTION_RECORD_PUT;
        assert(record == (action->pod == NO_POD));
        assert(!record || executor->config.records || executor->config.copy);
        assert(record || action->pod < world->pod_count);
        const char *uid = record ? "" : world->pods[action->pod].uid;
        struct exec_lane *lane = executor->lanes;
        while (lane != earlier && lane->pod != action->pod)
            lane = lane->next;
        if (lanes_have(earlier, action))
            continue;
        if (lane == earlier) {
            if (executor_find_lane(executor, uid))
                continue; /* busy with an earlier plan */
            lane = executor_open_lane(executor, uid, action->pod);
            text_format(lane->version, sizeof lane->version, "%s", record_version);
        }
        lane_add(lane, action);
    }
}

bool executor_is_doing(const struct executor *executor, const struct action *action)
{
    return lanes_have(executor->lanes, action);
}

bool executor_busy(const struct executor *executor)
{
    return executor->lanes != NULL;
}
