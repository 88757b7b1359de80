/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world: all that is known at one moment, by whom it was said and how old it is. A value, made
 * new for each turn, from which the plan follows with nothing else asked: time, randomness,
 * configuration and "who am I" are fields.
 *
 * Absence is not evidence: unknown, stale and false are told apart everywhere. Times are
 * milliseconds of one monotonic clock; 0 means never.
 */
#ifndef MUSTER_CORE_WORLD_H
#define MUSTER_CORE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attempts.h"
#include "core/ids.h"
#include "core/record.h"
#include "core/scale_pace.h"
#include "core/view.h"

#define NODE_NAME_SIZE 254  /* a Kubernetes node's name is a DNS subdomain: at most 253 */
#define ZONE_SIZE 64        /* a label's value: at most 63 */
#define REPLICAS_TOLD_MAX 8 /* of a primary's replicas so many are remembered as online */
#define NO_POD SIZE_MAX

/* An answer older than this is stale: three periods of the slowest regular poll and a margin. */
#define WORLD_FRESH_MS 3500
/* A view without a sign of change stands until it is read again in turn (core/observe.h). */
#define WORLD_STANDS_MS 65000
/* What another agent told is old after two of its slowest periods and a time-out (agent_gossip.c). */
#define WORLD_TOLD_FRESH_MS 12000
/* Without any word from the API for this long its view is stale (bookmarks come each minute). */
#define WORLD_API_FRESH_MS 90000

/* What came of asking a server directly. */
enum reach {
    REACH_UNKNOWN = 0, /* not asked yet, or no address known */
    REACH_OK,          /* answered everything that was asked */
    REACH_LOADING,     /* answers -LOADING: alive, its data not yet in memory */
    REACH_REFUSED,     /* ECONNREFUSED: nothing listens there now */
    REACH_TIMEOUT,     /* silent */
    REACH_DENIED,      /* no access: NOAUTH, WRONGPASS, NOPERM, or no TLS that can be trusted */
    REACH_ERROR,       /* answered with something that is not understood */
};

enum server_kind { SERVER_UNKNOWN = 0, SERVER_REDIS, SERVER_VALKEY };

/* Where a primary sees one of its replicas. */
struct replica_addr {
    char ip[IP_SIZE];
    uint16_t port;
};

/* What one server said of itself when it was asked directly. Valid where reach is REACH_OK. */
struct server {
    enum reach reach;
    int64_t asked_ms; /* when the question was sent whose outcome `reach` is */
    int64_t seen_ms;  /* when the last complete answer was asked for; 0 = never */
    int64_t beat_ms;  /* when its role and offset were, which is more often */

    struct node_id id;
    char run_id[RUN_ID_SIZE]; /* changes with each process */
    enum server_kind kind;
    int version; /* 70015 = 7.0.15 */
    int64_t uptime_ms;
    bool cluster_enabled;

    bool primary;             /* else replica */
    char primary_ip[IP_SIZE]; /* of a replica */
    uint16_t primary_port;
    bool link_up;         /* of a replica: connected to its primary and in sync */
    int64_t link_down_ms; /* for how long it has not been; 0 = it is, -1 = never since it started */
    int64_t offset;       /* replication offset: written (primary) or applied (replica), bytes */
    char replid[RUN_ID_SIZE]; /* names the history that the offset counts in; "" = unknown */
    struct replica_addr online[REPLICAS_TOLD_MAX]; /* of a primary: who gets its writes */
    size_t online_count;
    int64_t keys; /* in all databases */
    int64_t memory_bytes;
    int64_t memory_uncounted; /* of these what is no part of the limit: replicas' and AOF buffers */
    int64_t memory_max;       /* maxmemory, bytes; 0 = no limit, -1 = unknown */
    bool refuses_full;        /* at the limit it refuses writes: maxmemory-policy noeviction, or
                                 volatile-* while no key expires */
    bool near_limit;          /* server_nears_limit() was so at its last INFO */

    bool state_ok; /* cluster_state */
    uint32_t slots_assigned;
    uint32_t slots_ok;
    uint32_t known_nodes; /* itself included */
    uint32_t size;        /* primaries with slots */
    uint64_t current_epoch;
    uint64_t my_epoch;
    int64_t vote_requests; /* sent to others in this run: each election attempt adds some */
    uint32_t slot_jobs;    /* slot moves under way that CLUSTER NODES does not show (Redis 8.4) */

    /* Persistence, read with the settings. */
    bool aof_rewriting; /* a rewrite of the AOF runs or is about to */
    int aof;            /* appendonly: 1 yes, 0 no, -1 unknown */
    bool aof_written;   /* its last write went well */
    bool rdb_written;   /* the last snapshot went well, or there was none */
    int rdb_saves;      /* snapshots are made: 1 yes, 0 no, -1 unknown */
    int rdb_at_end;     /* SIGTERM makes one: 1 yes, 0 no, -1 unknown */

    /* Settings, read once for each process and again every few seconds; 0/-1 = unknown yet. */
    int64_t node_timeout_ms;
    int64_t diskless_delay_s;
    int64_t
        min_replicas; /* min-replicas-to-write: with less in sync it refuses writes; -1 unknown */
    int replica_migration; /* cluster-allow-replica-migration: 1 yes, 0 no, -1 unknown */
    int no_failover;       /* cluster-replica-no-failover, likewise */
    int64_t settings_ms;   /* when these were asked for; 0 = never */
    char announce_ip[IP_SIZE];

    const struct view *view; /* NULL = not read */
    int64_t view_ms;         /* when it was asked for */
    uint64_t view_hash;      /* of the last one that was read, kept longer than it; 0 = never */
    bool view_outdated;      /* CLUSTER INFO says other figures than when the view was read */
};

/* Bytes that count against maxmemory, as the server counts them. */
int64_t server_counted_memory(const struct server *server);

/*
 * It is about to refuse writes: 90 % of its limit are used, and nothing can be evicted. Once near_limit
 * is set it holds until less than 85 % are.
 */
bool server_nears_limit(const struct server *server);

#define GATE_WHY_SIZE 224

/* A server that waits at the gate of its agent: what its volume was found to hold. */
struct gate_word {
    bool held;
    struct node_id id;       /* of its nodes.conf; "" = there is none */
    bool owner;              /* which says that it owned slots */
    bool data;               /* the data set that it would load is there and holds keys */
    int64_t waits_ms;        /* for how long, when this was told */
    char why[GATE_WHY_SIZE]; /* what it waits for, for people; may be cut; "" = not told */
};

/* Whether a server is about to stop, by the word of the agent that drains it. */
enum leaving {
    LEAVING_NO = 0, /* or not told */
    LEAVING_ASKED,  /* preStop waits */
    LEAVING_GOES,   /* it was told that it may stop */
};

/* How far an agent has got with the record's moves. */
struct moves_word {
    bool carries; /* it carries them out, */
    int64_t read; /* and has read them up to this generation, since its server became a primary */
};

/*
 * What the agent beside a server told by its digest: never a reason to act, only to read, or not to
 * act. What it says of its gate is believed only until the server answers itself.
 */
struct told {
    int64_t heard_ms;   /* 0 = nothing */
    uint64_t view_hash; /* 0 = unknown */
    uint32_t open_slots;
    enum leaving leaving;
    struct moves_word moves;
    struct gate_word gate;
};

/* The server that ran beside the observing agent, as it last showed itself. */
struct own_past {
    struct node_id id; /* "" = none was seen */
    bool part;         /* it owned slots or was followed */
};

/* Whose data it has, as was seen last: who owns slots has its own (core/election.h). */
struct own_copy {
    struct node_id id; /* "" = nothing was seen */
    struct node_id of;
};

#define DRAIN_REFUSED_SIZE 128

/* What is remembered of the own server's drain from turn to turn (core/drain.h). */
struct drain_watch {
    int64_t since_ms;                 /* preStop asks since then; 0 = nobody asks */
    int64_t seen_ms;                  /* and this agent knows of it since then */
    bool owner;                       /* its server owned slots meanwhile, */
    uint64_t epoch;                   /* under this config epoch, */
    uint32_t slots;                   /* so many */
    int64_t handed_ms;                /* and was first seen as a replica then; 0 = it was not */
    int64_t tells_ms;                 /* its followers are told to wait for it since then; 0 = no */
    int64_t told_ms;                  /* it was told then that it may stop; 0 = not yet */
    bool ordering;                    /* a hand-over is on its way to the heir: no outcome yet */
    char refused[DRAIN_REFUSED_SIZE]; /* who refused the last order, and why; "" = nobody did */
};

/* policy.placement: whether roles are moved, or only told which should be. */
enum placement_policy { PLACE_OFF = 0, PLACE_WARN, PLACE_ENFORCE };

/* policy.scaling: whether slots follow the StatefulSet's size. */
enum scaling_policy { SCALING_OFF = 0, SCALING_AUTO };

/* What placement found for one arrangement of pods and roles (core/rule_place.c). */
struct place_found {
    uint64_t look;      /* what it was found for; 0 = nothing was */
    size_t moves;       /* to the best that can be reached; of the first of them: */
    size_t pod;         /* who is to take over, by its index then, */
    bool reparents;     /* or is to copy another shard */
    size_t shard;       /* which, likewise */
    bool more;          /* it is half a change, whose next move follows without an interval, */
    bool uneven;        /* as it does where a shard lacks a copy that another has too many */
    const char *goal;   /* and what for */
    unsigned same_node; /* copies that share a node with another one of their shard, */
    size_t together;    /* such a replica, if there is another node; or NO_POD */
    bool node_over;     /* and a node that holds too much, whatever is moved */
};

/* What the leader remembers of placement from turn to turn (core/place.h). */
struct place_watch {
    struct place_found found;
    uint64_t seen;    /* pods, processes and roles */
    int64_t quiet_ms; /* since then that is so and nothing is in the way; 0 = something is */
    int64_t
        wanted_ms; /* since then the agents beside are asked whether it may be; 0 = they are not */
    int64_t hurry_ms; /* everybody was last begun to be asked in a hurry then; 0 = not lately */
    int64_t moved_ms; /* the last move was ordered then, or this agent began to lead; 0 = never */
    struct node_id from; /* whom it was to relieve; "" = that was seen */
    struct node_id copy; /* or who was to copy `to`; "" = it does */
    struct node_id to;
    unsigned fruitless; /* moves in a row that came to nothing */
    unsigned half;      /* moves of one change so far; 0 = none is half done */
};

/* What may be done for a primary whose process ended (policy.crashHandover). */
enum crash_policy { CRASH_OFF = 0, CRASH_AUTO, CRASH_ALWAYS };

/* What is remembered of the end of the own server's process (core/crash.h). */
struct crash_watch {
    int64_t
        gone_ms; /* it ended then without having been asked to; 0 = it did not, or starts again */
    int64_t ordered_ms;  /* its hand-over was ordered then, once for this end; 0 = not yet */
    struct node_id heir; /* whom it was ordered at */
    bool refused;        /* who would not do it */
    bool ceded; /* the others were told that it waits at its gate: the leader may act for it */
};

/* Most primaries are lost, as the leader has seen it (core/takeover.h). */
struct takeover_watch {
    int64_t lost_since_ms; /* 0 = they are not */
    int64_t part_since_ms; /* likewise, any of them */
    int64_t judged_ms;     /* when it was seen last that one is */
    int64_t asked_ms;      /* when a person ordered that others take over; 0 = nobody did */
};

/* What a person has ordered that is written to the record, until it is answered (core/people.h). */
enum person_wish { PERSON_NONE = 0, PERSON_PAUSE, PERSON_RESUME };

struct person_watch {
    enum person_wish wish;
    int64_t asked_ms;
    struct record_pause pause; /* PERSON_PAUSE: what is to be in the record */
};

#define HANDOVER_SAID_SIZE 256
/* Who waits for the end of his own asks for it a moment later, and others may have ordered meanwhile. */
#define HANDOVER_ENDS_MAX 4

struct handover_end {
    char pod[POD_NAME_SIZE]; /* "" = none */
    bool won;                /* by what was ordered, or it had been so already */
    char said[HANDOVER_SAID_SIZE];
};

/* A hand-over that a person has ordered (`muster failover`), and what came of it (core/handover.h). */
struct handover_watch {
    char pod[POD_NAME_SIZE];       /* that is to become its shard's primary; "" = nobody asks */
    int64_t asked_ms;              /* since then; who stays must say so later than that */
    bool accepted;                 /* nothing stood against it when it was looked at */
    int64_t ordered_ms;            /* it was sent then, or may have been; 0 = not yet */
    char said[HANDOVER_SAID_SIZE]; /* what is to be done, and what it waits for */
    struct handover_end ended[HANDOVER_ENDS_MAX]; /* the last ones, newest first */
};

struct failover_history; /* core/failover.h */
struct scale_watch;      /* core/scale_see.h */

enum agent_state { AGENT_UNKNOWN = 0, AGENT_OK, AGENT_SILENT };

/* Who says who may act: the Lease, or without Kubernetes the rule of core/hosts.h. */
enum arbiter { ARBITER_LEASE = 0, ARBITER_HOSTS };

/* Without Kubernetes: what the agent beside a server said of itself by its digest. */
struct host_word {
    int64_t heard_ms;   /* when it was asked; 0 = never */
    struct node_id id;  /* its server's; "" = unknown */
    uint64_t set;       /* hash of the list that it expects; 0 = not sure of it yet */
    int64_t generation; /* of the record that it holds; 0 = none */
    uint64_t record;    /* hash of that record */
    enum record_state state;
};

/* A pod of ours: controlled by the StatefulSet with the uid that the API gives today. */
struct pod {
    char name[POD_NAME_SIZE];
    int ordinal;
    char uid[UID_SIZE];
    char ip[IP_SIZE];          /* "" = no address yet */
    bool other_family;         /* then: it has one, but none of the family of my_ip */
    uint16_t port;             /* client port of its server */
    char node[NODE_NAME_SIZE]; /* "" = not scheduled */
    char zone[ZONE_SIZE];      /* "" = unknown */
    bool zone_pending;         /* unknown, and a source that may tell it has not answered yet */
    bool terminating;
    int64_t grace_ms; /* from its deletion to SIGKILL, as it would be or is; 0 = unknown */
    bool updated;     /* made from the StatefulSet's present template */
    bool ready;
    enum agent_state agent;
    int64_t agent_seen_ms;
    struct host_word word; /* without Kubernetes */
    struct told told;
    struct server server;
};

struct stateful_set {
    bool known;  /* what follows was told once */
    bool absent; /* the API says that there is none of this name now; the rest is what it was */
    char name[POD_NAME_SIZE];
    char uid[UID_SIZE];
    int64_t generation;
    int replicas;       /* spec.replicas */
    bool volumes;       /* has volumeClaimTemplates */
    bool ordered_ready; /* podManagementPolicy */
};

enum presence { PRESENCE_UNKNOWN = 0, PRESENCE_ABSENT, PRESENCE_PRESENT };

/*
 * Switches that take one safety rule away, to show in the simulator that the rule is what prevents
 * the harm. Always 0 outside tests.
 */
enum guard {
    GUARD_VIRGIN = 1 << 0,   /* form only from servers that hold nothing */
    GUARD_RECORD = 1 << 1,   /* form only when the record is known to be absent */
    GUARD_MEMBER = 1 << 2,   /* meet only what is in the record */
    GUARD_RESTORE = 1 << 3,  /* give back the settings that the formation changed */
    GUARD_FORGET = 1 << 4,   /* FACTS 4's conditions for FORGET */
    GUARD_REBIRTH = 1 << 5,  /* a recorded cluster is gone only when every server is virgin */
    GUARD_GATE = 1 << 6,     /* a server starts with the addresses that the gate tells */
    GUARD_DATA = 1 << 7,     /* what had a part does not start without its data */
    GUARD_UNSYNCED = 1 << 8, /* who starts, or is to copy another shard, is not elected */
    GUARD_FAILOVER = 1 << 9, /* no hand-over on the votes of an earlier election */
    GUARD_KEPT = 1 << 10,    /* who lacks data of a primary that keeps its slots is not elected */
    GUARD_PLACE = 1 << 11,   /* roles are moved by the rules of a hand-over, in a quiet cluster */
    GUARD_HEIR = 1 << 12,    /* a crashed primary's slots go to who has its data */
    GUARD_FENCE = 1 << 13,   /* TAKEOVER of a primary that is held or gone, not of a silent one */
    GUARD_LEASE = 1 << 14,   /* a leader sends nothing once its Lease may be another's */
    GUARD_PAUSE = 1 << 15,   /* a person's pause stops what it stops */
    GUARD_SPARE = 1 << 16,   /* a replica leaves a shard that has another one in sync */
};

struct world {
    int64_t now_ms;
    int64_t now_unix_ms; /* of the API's clock, for what outlives agents; 0 = unknown */
    bool settling;       /* after a stall or a clock jump: observe a full period before acting */

    size_t me; /* index of the own pod, NO_POD while it is not in the API's list */
    char my_pod[POD_NAME_SIZE];
    char my_ip[IP_SIZE];

    enum arbiter arbiter;
    bool
        seats; /* pods are named after the record's ids (core/host_seats.h), not the other way round */
    bool leader;                    /* holds the Lease, and the fence of DESIGN 4 is open */
    char leader_pod[POD_NAME_SIZE]; /* "" = nobody known */
    const char *leader_why;         /* without a Lease: why we do not lead; never NULL then */
    const char *hosts_problem;      /* without Kubernetes: what is wrong with the list; or "" */
    bool record_disputed;           /* another record of the same generation is about */

    int64_t api_seen_ms; /* last word of the API on pods and StatefulSet; 0 = never complete */
    bool api_broken;     /* it has ceased to tell of changes, and was not listed again since */
    struct stateful_set set;
    int replicas_per_primary;
    bool tls; /* the servers speak TLS, among themselves too */

    enum presence record_presence;
    const struct record *record;      /* when PRESENT; NULL if it cannot be read */
    const char *record_problem;       /* then why; "" otherwise */
    bool record_writing;              /* a write of ours has no outcome yet */
    const struct record *record_copy; /* the last one seen, also after it was deleted; or NULL */

    bool reform_lost;      /* policy.lostCluster: reform */
    int64_t gone_since_ms; /* as core/rebirth.h has seen it; 0 = the recorded cluster is not gone */

    const struct pod *pods; /* sorted by ordinal, only ours */
    size_t pod_count;
    struct own_past past;
    struct own_copy copy;
    struct drain_watch drain; /* of the own server */
    struct crash_watch crash; /* likewise */
    struct takeover_watch takeover;
    struct person_watch person;
    struct handover_watch handover;
    enum crash_policy crash_policy;
    int64_t handover_max_lag; /* bytes that who takes over from a crashed primary may lack */
    const struct failover_history *failovers; /* NULL = nothing was seen */

    enum placement_policy placement;
    int64_t placement_interval_ms; /* between two moves */
    struct place_watch place;

    enum scaling_policy scaling;
    struct moves_word moves;         /* of the own agent */
    struct scale_pace pace;          /* of the leader's moves */
    const struct scale_watch *scale; /* core/scale_see.h; NULL = nothing was looked at */

    const struct attempts *attempts; /* what was tried lately; never NULL */
    uint64_t entropy[2];             /* for a new uid */
    uint32_t guards_off;             /* of enum guard */
};

/* The pod with this ordinal or name, or NULL. */
const struct pod *world_pod_by_ordinal(const struct world *world, int ordinal);
const struct pod *world_pod_by_name(const struct world *world, const char *name);

/* Its server answered everything that was asked of it within WORLD_FRESH_MS. */
bool world_server_fresh(const struct world *world, const struct pod *pod);

/* And its view of the cluster was read as lately; views are read from some servers only. */
bool world_view_fresh(const struct world *world, const struct pod *pod);

/*
 * Its view was read once and nothing says that the server says anything else now. Enough to tell
 * what most servers say; whoever acts on a server's view needs a fresh one.
 */
bool world_view_stands(const struct world *world, const struct pod *pod);

/* "waits at its gate without its data": one of few, for sentences and tables. */
const char *gate_word_text(const struct gate_word *word);

/* What the pod's agent said lately of a server that it holds at its gate; NULL if it holds none. */
const struct gate_word *world_gate_word(const struct world *world, const struct pod *pod);

/* The API's word is complete and not older than WORLD_API_FRESH_MS. */
bool world_api_fresh(const struct world *world);

/*
 * Virgin: fresh, knows only itself, owns no slots, holds no keys in any database. Its data set was
 * loaded before it answered, so no RDB or AOF can be left to load.
 */
bool world_server_virgin(const struct world *world, const struct pod *pod);

#endif
