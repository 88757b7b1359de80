/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out a plan: per server the actions in their order, different servers side by side.
 *
 * Just before a run of actions to one server its preconditions are read again on the same
 * connection (struct probe); then, in the callback that has the answers, the fence is asked and the
 * command is sent. After OK follows the next; after anything else the rest for that server is
 * dropped. The executor decides nothing: the next observation does.
 */
#ifndef MUSTER_IO_EXECUTOR_H
#define MUSTER_IO_EXECUTOR_H

#include <stdbool.h>

#include "core/action.h"
#include "core/plan.h"
#include "core/world.h"
#include "io/host_record.h"
#include "io/loop.h"
#include "io/peers.h"
#include "io/record_client.h"

struct executor;

/* A probe older than this is taken again before the next action. */
#define EXECUTOR_PROBE_MS 1000

enum outcome {
    OUTCOME_NONE = 0,
    OUTCOME_OK,
    OUTCOME_SUPERSEDED, /* the precondition no longer holds, or the write lost against another */
    OUTCOME_FENCED,     /* may_send said no */
    OUTCOME_REFUSED,    /* by the server, which did nothing */
    OUTCOME_FAILED,     /* it may have been done all the same */
    OUTCOME_DROPPED, /* never sent: an earlier action to the same server ended the run, or the probe
                           of an order failed that another server can be given at once */
};

const char *outcome_name(enum outcome outcome);

struct executor_config {
    struct peers *peers;           /* borrowed for good */
    struct record_client *records; /* borrowed for good; NULL without Kubernetes */
    struct host_record *copy;      /* then this instead; borrowed for good */
    uint64_t seed;

    /* The fence, asked in the callback that sends (DESIGN 4); false with a fixed sentence. */
    bool (*may_send)(void *ctx, const struct action *action, const char **ret_why);

    /*
     * Once for each action of a plan; `pod_uid` is its target ("" for the record). `why` is a
     * sentence unless the outcome is OK; for a RECORD_PUT that is OK it is the new resourceVersion.
     * `action` is borrowed for the call, and action->record too.
     */
    void (*on_outcome)(void *ctx, const struct action *action, const char *pod_uid,
                       enum outcome outcome, const char *why);
    void *ctx;
};

/* Owned by the caller; free before peers, records and loop. */
struct executor *executor_new(struct loop *loop, const struct executor_config *config);

/*
 * What is in flight is forgotten without callbacks; what was sent stays sent. No turn of the loop may
 * come between this and record_client_free().
 */
void executor_free(struct executor *executor);

/*
 * Starts the plan's actions whose target is not busy with an earlier plan; the others are left out
 * silently, for the next turn plans them again. Everything is copied. `record_version` is the
 * ConfigMap's resourceVersion (host_record_version()) in this world, "" = it is absent. Outcomes never come from within.
 */
void executor_run(struct executor *executor, const struct plan *plan, const struct world *world,
                  const char *record_version);

/* An action of an earlier plan that means the same has no outcome yet, so the planner does not know of it. */
bool executor_is_doing(const struct executor *executor, const struct action *action);

/* Anything in flight. */
bool executor_busy(const struct executor *executor);

#endif
