/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status: what one agent knows of the cluster, for people and scripts (DESIGN 8, `status
 * --json`), and the promises that `check` judges. Computed once per turn from the world, its facts
 * and the plan; the CLI gets the same struct back from the JSON.
 *
 * Every agent can tell slots, epoch and roles from its own server; lag, memory and survival need an
 * agent that asks every server, which is the leader. What an agent cannot tell is unknown, not false.
 */
#ifndef MUSTER_CORE_STATUS_H
#define MUSTER_CORE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "core/facts.h"
#include "core/plan.h"
#include "core/survival.h"
#include "core/world.h"

#define STATUS_STATES(X)                                                                          \
    X(STATUS_UNKNOWN, "unknown")   /* no server of the cluster can be asked */                    \
    X(STATUS_FORMING, "forming")   /* not formed yet */                                           \
    X(STATUS_OK, "ok")             /* all there */                                                \
    X(STATUS_DEGRADED, "degraded") /* serves every slot, but something is missing or half-done */ \
    X(STATUS_DOWN, "down")         /* a slot is not served, or a majority of primaries is lost */

enum status_state {
#define X(name, text) name,
    STATUS_STATES(X)
#undef X
};

#define STATUS_NUMBER_UNKNOWN (-1)

enum status_role { STATUS_ROLE_NONE = 0, STATUS_ROLE_PRIMARY, STATUS_ROLE_REPLICA };

struct status_shard {
    const char *slots; /* "0-5460,5462"; "" if it has none */
    int64_t slot_count;
    int64_t keys;                /* of its primary, or STATUS_NUMBER_UNKNOWN */
    const char *primary;         /* pod; "" if the primary is on no pod that is known */
    const char *const *replicas; /* pods */
    size_t replica_count;
    const char *const *open_slots; /* "93 migrating to pod", "77 importing from pod" */
    size_t open_count;
    int64_t in_sync; /* replicas in sync, or STATUS_NUMBER_UNKNOWN; a metric, not in the JSON */
};

struct status_pod {
    const char *name;
    int64_t ordinal;
    const char *ip; /* "" without an address */
    int64_t port;
    const char *node; /* "" = not scheduled */
    const char *zone; /* "" = unknown */
    enum status_role role;
    const char *node_id; /* "" = unknown */
    bool ready;
    bool terminating;
    int64_t lag_bytes;    /* behind its primary; 0 for a primary; or STATUS_NUMBER_UNKNOWN */
    int64_t memory_bytes; /* or STATUS_NUMBER_UNKNOWN */
    int64_t memory_max;   /* maxmemory; 0 = no limit; or STATUS_NUMBER_UNKNOWN */
    const char *server;   /* "redis 7.0.15"; "" = unknown */
    enum agent_state agent;
    const char *gate;     /* "" = it does not wait at its gate, as far as is known; else how */
    const char *gate_why; /* what it waits for there; "" = nothing, or unknown */
    int64_t age_ms;       /* since its server's last complete answer, or STATUS_NUMBER_UNKNOWN */
};

/* What `check` asks for; the order is the order of importance. */
#define STATUS_PROMISES(X)                                                                   \
    X(PROMISE_SLOTS, "slots", "every slot is served")                                        \
    X(PROMISE_MAJORITY, "majority", "a majority of the primaries is up")                     \
    X(PROMISE_SERVERS, "servers", "every pod's server answers")                              \
    X(PROMISE_REPLICAS, "replicas", "every shard has its replicas in sync")                  \
    X(PROMISE_AGREEMENT, "agreement", "all servers see the same cluster")                    \
    X(PROMISE_MOVES, "moves", "no slot is half-moved")                                       \
    X(PROMISE_MEMORY, "memory", "no primary is near a maxmemory at which it refuses writes") \
    X(PROMISE_DISK, "disk", "every server writes what it keeps to its disk")                 \
    X(PROMISE_NODE_LOSS, "node-loss", "the loss of any one node is survived")                \
    X(PROMISE_ZONE_LOSS, "zone-loss", "the loss of any one zone is survived")                \
    X(PROMISE_LEADER, "leader", "one agent leads")                                           \
    X(PROMISE_AGENTS, "agents", "every pod's agent answers")                                 \
    X(PROMISE_API, "api", "the Kubernetes API answers")                                      \
    X(PROMISE_PAUSE, "pause", "nobody has paused Muster")

enum promise_kind {
#define X(name, key, text) name,
    STATUS_PROMISES(X)
#undef X
        PROMISE_COUNT,
};

struct promise {
    enum held held;
    const char *why; /* a sentence unless it is held; "" otherwise */
};

/* Exit codes of `check` (DESIGN 8). */
enum check {
    CHECK_HEALTHY = 0,
    CHECK_PROMISE = 1, /* works, but a promise is not held */
    CHECK_BROKEN = 2,  /* a slot is not served, or the majority of primaries is lost */
    CHECK_UNKNOWN = 3, /* cannot tell */
};

struct status {
    const char *pod; /* of the agent that says all this */
    bool is_leader;

    const char *name;             /* the StatefulSet's */
    const char *uid;              /* the cluster's; "" before it is formed */
    int64_t replicas;             /* pods that there are to be */
    int64_t replicas_per_primary; /* or STATUS_NUMBER_UNKNOWN: an agent that does not say */
    bool formed;
    enum status_state state;
    int64_t slots_covered;
    int64_t epoch;
    enum held survives_node;
    enum held survives_zone;
    const char *weakest;          /* one sentence; "" when nothing is weak */
    const char *leader;           /* pod; "" = nobody known */
    enum held paused;             /* by a person (core/pause.h) */
    const char *pause_reason;     /* "" = none was given */
    int64_t paused_since_unix_ms; /* or STATUS_NUMBER_UNKNOWN */
    int64_t
        paused_until_unix_ms; /* it ends by itself then; or STATUS_NUMBER_UNKNOWN: it does not */

    const char *plan_rule;
    const char *plan_reason;
    const char *const *plan_actions;
    size_t plan_action_count;

    const struct status_shard *shards;
    size_t shard_count;
    const struct status_pod *pods; /* by ordinal */
    size_t pod_count;

    struct promise promises[PROMISE_COUNT];
    enum check check;
};

/* Everything in *ret_status lives in `arena` or is borrowed from the world and the plan. */
void status_gather(const struct world *world, const struct facts *facts, const struct plan *plan,
                   struct arena *arena, struct status *ret_status);

/* What follows from the promises alone. */
enum check status_check(const struct promise promises[PROMISE_COUNT]);

/* "ok", "degraded", ...; "slots", ...; "every slot is served". Never NULL. */
const char *status_state_name(enum status_state state);
const char *promise_key(enum promise_kind kind);
const char *promise_text(enum promise_kind kind);

#endif
