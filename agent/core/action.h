/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Actions: what a plan consists of. An action is one command to one server, or one write to the
 * Kubernetes API, with the preconditions that are read again from the target just before it is
 * sent. The outcome is never assumed: the next observation decides.
 */
#ifndef MUSTER_CORE_ACTION_H
#define MUSTER_CORE_ACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ids.h"
#include "core/record.h"
#include "core/slots.h"
#include "core/view.h"

#define ACTION_KINDS(X)                                    \
    X(ACTION_CONFIG_SET, "CONFIG SET")                     \
    X(ACTION_SET_CONFIG_EPOCH, "CLUSTER SET-CONFIG-EPOCH") \
    X(ACTION_ADD_SLOTS, "CLUSTER ADDSLOTSRANGE")           \
    X(ACTION_MEET, "CLUSTER MEET")                         \
    X(ACTION_REPLICATE, "CLUSTER REPLICATE")               \
    X(ACTION_FORGET, "CLUSTER FORGET")                     \
    X(ACTION_TAKEOVER, "CLUSTER FAILOVER TAKEOVER")        \
    X(ACTION_FORCE, "CLUSTER FAILOVER FORCE")              \
    X(ACTION_FAILOVER, "CLUSTER FAILOVER")                 \
    X(ACTION_RECORD_PUT, "record")

enum action_kind {
    ACTION_NONE = 0,
#define X(name, text) name,
    ACTION_KINDS(X)
#undef X
};

/* The settings that Muster owns (DESIGN 2); everything else in a server is the user's. */
enum setting {
    SETTING_NONE = 0,
    SETTING_NODE_TIMEOUT,      /* cluster-node-timeout, milliseconds; during formation only */
    SETTING_DISKLESS_DELAY,    /* repl-diskless-sync-delay, seconds; during formation only */
    SETTING_REPLICA_MIGRATION, /* cluster-allow-replica-migration, 0 or 1 */
    SETTING_NO_FAILOVER,       /* cluster-replica-no-failover, 0 or 1 */
    SETTING_ANNOUNCE_IP,       /* cluster-announce-ip: `ip` of the action */
};

/* Whose word allows the action: the agent beside the server, or the holder of the Lease. */
enum authority { AUTHORITY_OWN = 1, AUTHORITY_LEADER };

/* What must be true of the target when it is asked again, beside `node`. */
enum require {
    REQUIRE_ALONE = 1 << 0,      /* knows no other node */
    REQUIRE_UNASSIGNED = 1 << 1, /* knows no slot as assigned */
    REQUIRE_EMPTY = 1 << 2,      /* holds no key */
    REQUIRE_PRIMARY = 1 << 3,
    REQUIRE_REPLICA = 1 << 4,
    REQUIRE_FOLLOWS =
        1 << 5, /* a replica in sync of `ip` and `port` that sent `value` vote requests */
    REQUIRE_HEIR = 1 << 6, /* a replica that has lost `ip` and `port`, with `offset` of `replid` */
    REQUIRE_SAME = 1 << 7, /* a replica of `ip` and `port`, in sync or not */
};

struct action {
    enum action_kind kind;
    enum authority authority;
    size_t pod; /* index in world.pods of the server that gets the command; NO_POD for the API */
    struct node_id node; /* precondition: the id that the server must answer with */
    uint32_t require;    /* of enum require */

    struct node_id
        subject;      /* REPLICATE, TAKEOVER, FORCE, FAILOVER: the primary; FORGET, MEET: the other;
                    of a CONFIG_SET for a REPLICATE: as there */
    char ip[IP_SIZE]; /* MEET, SETTING_ANNOUNCE_IP; FOLLOWS, SAME, HEIR: the primary's */
    uint16_t port;    /* MEET; FOLLOWS, SAME, HEIR: the primary's */
    uint16_t bus_port;       /* MEET; 0 = not known: 10000 above the port */
    struct slot_range slots; /* ADD_SLOTS */
    uint64_t epoch;          /* SET_CONFIG_EPOCH */
    enum setting setting;    /* CONFIG_SET */
    int64_t value;           /* CONFIG_SET; FORCE: not again for so many ms; FOLLOWS: what
                                    the server's vote_requests were when it was judged */
    bool placing;            /* FAILOVER, REPLICATE and the CONFIG_SET before it: roles are
                                    spread (core/place.h) */
    int64_t asked_ms;        /* FAILOVER: a person has asked for it then (core/handover.h);
                                    0 = nobody did */
    int64_t planned_ms;      /* what others said then it relies on (core/place.h); 0 = on nothing */
    int64_t offset;          /* REQUIRE_HEIR: at least so much... */
    char replid[RUN_ID_SIZE];    /* ...of this history */
    const struct record *record; /* RECORD_PUT: what to write; lives as long as the plan */
};

/* What the target answers when it is asked again just before the send. */
struct probe {
    struct node_id id;
    bool primary;
    bool link_up;             /* of a replica */
    char primary_ip[IP_SIZE]; /* likewise */
    uint16_t primary_port;
    int64_t offset;
    char replid[RUN_ID_SIZE];
    int64_t vote_requests;
    uint32_t known_nodes;
    uint32_t slots_assigned;
    int64_t keys;
};

/*
 * True if the action may still be sent to a server that answers `probe`; otherwise *ret_why is a
 * fixed sentence. A mismatch is "superseded", not a failure.
 */
bool action_still_valid(const struct action *action, const struct probe *probe,
                        const char **ret_why);

/*
 * Two actions with the same key are the same attempt (kind, target id, subject and values); the
 * key of a RECORD_PUT is one for all, and that of a FAILOVER one for all candidates of a primary.
 */
uint64_t action_key(const struct action *action);

/* By then every view that is still fresh was asked for after it (core/rule_join.c). */
#define ACTION_FORGET_QUIET_MS 4000

/*
 * A manual failover pauses the primary's writes for at most 5 s (CLUSTER_MF_TIMEOUT, Redis 7.0.15;
 * Valkey's cluster-manual-failover-timeout is 5000 by default); within this no second one is begun.
 */
#define ACTION_FAILOVER_MS 6000

/* How long the effect of a success may take to be seen, so that it is not repeated meanwhile. */
int64_t action_quiet_ms(const struct action *action);

/*
 * For how long a failure is not tried again at the least, whatever the backoff says: the server may
 * have begun with it although its answer was lost.
 */
int64_t action_failed_quiet_ms(const struct action *action);

/* The name of the command, and of a setting as CONFIG SET wants it. Never NULL. */
const char *action_kind_name(enum action_kind kind);
const char *setting_name(enum setting setting);

/* "CLUSTER MEET 10.0.0.3 6379", as sent: for commands, logs, tests and events. Cut at `size`. */
void action_format(const struct action *action, char *dst, size_t size);

/*
 * The command's words, for the wire: at most ACTION_ARGS_MAX, each a string within `args`.
 * Returns their number. Not for RECORD_PUT.
 */
#define ACTION_ARGS_MAX 5
#define ACTION_ARG_SIZE 64
struct action_args {
    char words[ACTION_ARGS_MAX][ACTION_ARG_SIZE];
    size_t count;
};
void action_command(const struct action *action, struct action_args *ret_args);

#endif
