/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of a Redis Cluster server, as far as forming, joining and healing a cluster need it:
 * the bus (handshakes, pings, gossip, failure detection), config epochs, elections, replication,
 * restarts, addresses and the commands that the agent sends. Each rule names its section of FACTS;
 * the code that it follows is redis 7.0.15 cluster.c (valkey 9.1.2 where `struct redis_traits` says so).
 *
 * Node ids are numbers here; redis_id_hex() gives the 40 digits. Data is a version for each atom, the
 * slots whose keys are written together: the number of the last acknowledged write, 0 = no key there.
 */
#ifndef MUSTER_SIM_MODEL_REDIS_H
#define MUSTER_SIM_MODEL_REDIS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/action.h"
#include "core/world.h"

struct sim;
struct event;

#define ATOMS_MAX 64 /* whose keys are told apart */
#define TABLE_MAX 96 /* nodes that one server may know, handshakes included */
#define REPORTS_MAX 16
#define BLACKLIST_MAX 16
#define OPEN_MAX 2048 /* slots that one server may show as half-moved */
#define WRITES_MAX 8  /* moments of writing that are remembered */
#define MODEL_PORT 6379

/* Only in the model's tables: the next packet on the link is a MEET. */
#define NODE_MEET (1u << 16)

/* What differs between servers (FACTS 0.2, 0.3, 0.4, 3, 4). */
struct redis_traits {
    const char *name;
    enum server_kind kind;
    int version;
    bool noaddr_fails;       /* a mismatching id marks the node as failed, too (valkey 8.1+) */
    bool forget_spreads;     /* FORGOTTEN_NODE ping extension (redis 7.2+, valkey) */
    bool votes_wait_2nt;     /* no second vote about a primary within 2*NT (redis <= 8.0) */
    bool demotion_broadcast; /* a demoted primary says so at once (valkey 8.1+) */
    bool
        gossip_repoints; /* replication follows an address that gossip corrected (valkey 9: measured) */
    bool fast_election; /* delay min(NT/30, 500 ms) instead of 500..1000 ms (valkey 9) */
    bool open_spreads;  /* replicas know which slots are half-moved (valkey 8+) */
    bool
        drops_foreign; /* at its start keys of others' slots, which are imported else (valkey 8.1+) */
};
extern const struct redis_traits redis_traits_70;
extern const struct redis_traits redis_traits_valkey9;

enum redis_phase { REDIS_DOWN = 0, REDIS_LOADING, REDIS_UP };
enum link_state { LINK_NONE = 0, LINK_CONNECTING, LINK_UP };

/* The outbound bus connection to a node. It leads to a process, whoever that is. */
struct redis_link {
    enum link_state state;
    uint64_t gen; /* unique; a packet or answer of an earlier connection is dropped */
    int64_t since_us;
    int peer;
    uint64_t peer_run;
    unsigned tries; /* of SYN, while nothing answers */
};

/* A slot that is half-moved: migrating to a node, or imported from it (FACTS 6). */
struct redis_open {
    uint16_t slot;
    bool importing;
    uint32_t peer;
};

struct redis_report {
    uint32_t by;
    int64_t at_us;
};

/* A line of CLUSTER NODES. Entry 0 is myself. */
struct redis_node {
    bool used;
    uint32_t id;
    int addr; /* 0 = noaddr */
    uint32_t flags;
    uint32_t primary; /* id; 0 = none */
    uint64_t epoch;
    struct slot_set slots;
    unsigned slot_count;
    int64_t created_us;
    int64_t ping_us;  /* of the ping that waits for its pong; 0 = none */
    int64_t again_us; /* when it was sent again, for the network had lost it or its pong */
    int64_t pong_us;
    int64_t data_us;
    int64_t fail_us;
    int64_t voted_us;
    int64_t offset;
    struct redis_link link;
    struct redis_report reports[REPORTS_MAX];
    int report_count;
};

struct redis_settings {
    int64_t node_timeout_ms;
    int64_t diskless_delay_s;
    bool replica_migration;
    bool no_failover;
    int announce; /* address; 0 = not set */
};

#define NEVER_US (-SECONDS(1000000))

enum repl_state { REPL_NONE = 0, REPL_CONNECT, REPL_SYNC, REPL_UP };

struct redis_election {
    int64_t at_us;
    uint64_t epoch;
    unsigned votes;
    bool sent;
    int64_t forced_until_us; /* CLUSTER FAILOVER FORCE */
    int64_t manual_until_us; /* CLUSTER FAILOVER, which the primary agrees to */
    int64_t manual_offset;   /* the primary's, with its writes paused; -1 = it did not say so yet */
};

struct redis_replication {
    enum repl_state state;
    int addr;     /* of the primary, as configured: replication follows addresses, not ids */
    uint64_t gen; /* of the attempt */
    int peer;     /* the process that answered there */
    uint64_t peer_run;
    bool by_command;          /* the primary was chosen by our REPLICATE */
    int64_t down_since_us;    /* NEVER_US: it was never up in this process */
    int64_t stalled_until_us; /* nothing comes over the link that is up */
    bool retry_due;           /* an attempt is in the queue */
    uint64_t lineage;
    int64_t offset;
};

struct snapshot; /* model_observe.c */

/* What it had before it wrote in this moment. */
struct redis_wrote {
    int64_t at_us;
    int64_t offset;
};

struct redis {
    int index;
    char name[POD_NAME_SIZE];
    bool ours;
    const struct redis_traits *traits;
    struct redis_settings configured; /* of its configuration file */

    enum redis_phase phase;
    uint64_t run; /* +1 for each start and end of the process */
    char run_id[RUN_ID_SIZE];
    int64_t up_us;
    int64_t paused_until_us;
    int64_t writes_paused_until_us; /* for a manual failover */
    int64_t vote_requests;          /* sent in this run, by node */
    int addr;                       /* of its host; 0 = none */
    struct redis_settings set;

    /* nodes.conf and the data set: survive the process while the volume does. */
    bool has_conf;
    struct redis_node nodes[TABLE_MAX];
    int node_high;             /* entries in use are below */
    int8_t owner[SLOT_COUNT];  /* index of its node; -1 = nobody */
    struct slot_set unclaimed; /* whose owner says no more that they are its */
    struct redis_open open[OPEN_MAX];
    int open_count;
    uint64_t current_epoch;
    uint64_t vote_epoch;
    uint64_t data[ATOMS_MAX];
    bool emptied; /* lost it all, and has copied nobody's since */
    bool bulk;    /* a replica of who has keys beside those that are followed (slots_bulk()) */
    bool took;    /* slots, in the exchange that is carried out: everybody is to hear of it */

    bool state_ok;
    int64_t minority_us;
    unsigned size;
    int64_t random_ping_us;
    int64_t cron_at_us; /* the cron that is in the queue; 0 = none */
    bool recheck;       /* clusterUpdateState is due */
    struct {
        uint32_t id;
        int64_t until_us;
    } blacklist[BLACKLIST_MAX];
    struct redis_election election;
    struct redis_replication repl;
    struct redis_wrote wrote[WRITES_MAX]; /* the latest first */
    int64_t died_us;                      /* its last process ended then */

    struct snapshot *snap; /* of the present view, or NULL */
};

/* model_table.c: ids, the node table, slot ownership. */
void redis_id_hex(uint32_t id, struct node_id *ret_id);
const char *redis_name_of(const struct sim *sim, uint32_t id); /* of the server, for the trace */
uint32_t redis_id_parse(const char *hex);                      /* 0 if it is none of ours */
int redis_id_cmp(uint32_t a, uint32_t b);                      /* as the hex digits compare */
struct redis_node *redis_myself(struct redis *r);
struct redis_node *redis_find(struct redis *r, uint32_t id);
struct redis_node *redis_add_node(struct sim *sim, struct redis *r, uint32_t id, int addr,
                                  uint32_t flags);
void redis_del_node(struct sim *sim, struct redis *r, struct redis_node *n);
void redis_free_link(struct redis *r, struct redis_node *n);
void redis_set_owner(struct redis *r, unsigned slot, struct redis_node *n); /* n NULL: nobody */
void redis_set_owners(struct redis *r, const struct slot_set *slots, struct redis_node *n);
bool redis_owns_atom(const struct sim *sim, const struct redis *r, int atom); /* all of its slots */
unsigned redis_known(const struct redis *r);
unsigned redis_slots_assigned(const struct redis *r);
bool redis_has_data(const struct sim *sim, const struct redis *r);
void redis_touch(struct redis *r); /* something that a view shows has changed */
void redis_set_primary_flag(struct redis *r, struct redis_node *n);
bool redis_blacklisted(const struct sim *sim, const struct redis *r, uint32_t id);

/* model_slots.c: slots that are half-moved, and their keys. */
uint32_t redis_open_peer(const struct redis *r, unsigned slot, bool importing); /* 0 = it is not */
void redis_set_open(struct redis *r, unsigned slot, bool importing, uint32_t peer); /* 0: closed */
void slots_node_deleted(struct redis *r, uint32_t id);
void slots_replaced(struct redis *r, uint32_t old, uint32_t heir); /* as primary of its shard */
void slots_copy_open(struct sim *sim, const struct redis *primary, struct redis *replica);
void slots_check_data(struct sim *sim, struct redis *r); /* at its start */
/* Slots that are scaled hold more keys than the few that are followed. */
bool slots_bulk(const struct sim *sim, const struct redis *r);
int64_t slots_keys(const struct sim *sim, const struct redis *r, unsigned slot);
/* As redis_command(): CLUSTER SETSLOT; `hex` NULL for STABLE. The caller ends with slots_tell(). */
const char *slots_setslot(struct sim *sim, struct redis *r, unsigned slot, const char *verb,
                          const char *hex);
void slots_tell(struct sim *sim, struct redis *r); /* who took slots tells everybody */
/* MIGRATE REPLACE of at most `max` keys of the slot to who is at the address. */
const char *slots_migrate(struct sim *sim, struct redis *r, unsigned slot, unsigned max, int addr);
/* Who would carry out a client's command for this key; NULL = nobody now. */
struct redis *slots_serving(struct sim *sim, struct redis *r, int atom);

/* model_process.c: the life of a process. */
void redis_init(struct sim *sim, int index, const char *name, bool ours);
void redis_start(struct sim *sim, struct redis *r, int addr, int64_t load_us);
void redis_stop(struct sim *sim, struct redis *r, bool reset_peers);
void redis_lose_volume(struct sim *sim, struct redis *r);
void redis_lose_data(struct sim *sim, struct redis *r); /* its nodes.conf stays */
void redis_pause(struct sim *sim, struct redis *r, int64_t for_us);
bool redis_running(const struct sim *sim, const struct redis *r); /* up and not paused */

/* model_cron.c: what clusterCron does. */
void redis_wake(struct sim *sim, struct redis *r); /* the next 100 ms tick must run */
void redis_update_state(struct sim *sim, struct redis *r);

/* model_bus.c, model_gossip.c */
enum bus_type {
    BUS_PING,
    BUS_PONG,
    BUS_MEET,
    BUS_FAIL,
    BUS_AUTH_REQUEST,
    BUS_AUTH_ACK,
    BUS_UPDATE
};

struct bus_gossip {
    uint32_t id;
    int addr;
    uint32_t flags;
    int64_t pong_us;
};

struct bus_packet {
    enum bus_type type;
    int from;
    uint64_t from_run;
    uint64_t to_run;
    bool answer; /* came back on the receiver's own outbound link */
    int link_node;
    uint64_t link_gen;

    uint32_t sender;
    uint64_t current_epoch;
    uint64_t config_epoch;
    uint32_t flags;
    uint32_t primary;
    struct slot_set slots;
    int announced; /* address in the header, else the source's */
    int64_t offset;
    bool forced;        /* AUTH_REQUEST: of a primary that may not be failed */
    bool manual;        /* and that agreed */
    uint32_t subject;   /* FAIL, UPDATE */
    uint32_t forgotten; /* FORGOTTEN_NODE extension */
    int gossip_count;
    struct bus_gossip gossip[];
};

void bus_send_ping(struct sim *sim, struct redis *r, struct redis_node *n, enum bus_type type);
void bus_send_fail(struct sim *sim, struct redis *r, uint32_t subject);
void bus_send_update(struct sim *sim, struct redis *r, struct redis_node *to,
                     const struct redis_node *about);
void bus_send_forgotten(struct sim *sim, struct redis *r, uint32_t subject);
void bus_broadcast(struct sim *sim, struct redis *r, enum bus_type type);
void bus_send_to(struct sim *sim, struct redis *r, struct redis_node *n, enum bus_type type);
int gossip_fill(struct sim *sim, struct redis *r, const struct redis_node *to,
                struct bus_gossip *out, int max);
void gossip_process(struct sim *sim, struct redis *r, struct redis_node *sender,
                    const struct bus_packet *p);
void gossip_mark_failing(struct sim *sim, struct redis *r, struct redis_node *n);

/* model_election.c */
void election_step(struct sim *sim, struct redis *r);
void election_vote(struct sim *sim, struct redis *r, struct redis_node *sender,
                   const struct bus_packet *p);
bool election_is_manual(const struct sim *sim, const struct redis *r);
void election_take_over(struct sim *sim, struct redis *r, struct redis_node *old, uint64_t epoch);
void slots_update_with(struct sim *sim, struct redis *r, struct redis_node *sender, uint64_t epoch,
                       const struct slot_set *slots);
void epoch_collision(struct sim *sim, struct redis *r, struct redis_node *sender);

/* model_replication.c */
void repl_follow(struct sim *sim, struct redis *r, int addr, bool by_command);
void repl_unset(struct sim *sim, struct redis *r);
void repl_lost(struct sim *sim, int peer, uint64_t peer_run);
void repl_stall(struct sim *sim, struct redis *r, int64_t for_us);
void repl_drain(struct sim *sim, struct redis *r); /* replicas get what they lack, as at SIGTERM */
/* Before a write: what it had so far. */
void repl_note_write(struct sim *sim, struct redis *r);
void repl_write(struct sim *sim, struct redis *r, int atom, uint64_t version);
void redis_set_primary(struct sim *sim, struct redis *r, struct redis_node *n, bool by_command);

/*
 * model_command.c: one command, as words. Returns NULL for +OK, else Redis's error, a fixed text or
 * one in a static buffer. The server must be running.
 */
const char *redis_command(struct sim *sim, struct redis *r, const struct action_args *args);
void redis_command_ban(struct sim *sim, struct redis *r, uint32_t id); /* the blacklist of FORGET */

/* model_observe.c: what INFO, CLUSTER INFO, CLUSTER NODES and CONFIG GET answer. */
void redis_observe(struct sim *sim, struct redis *r, struct server *ret_server);
void redis_observe_settings(const struct redis *r, struct server *ret_server);
void redis_probe(const struct sim *sim, struct redis *r, struct probe *ret_probe);
const struct view *snapshot_take(struct redis *r, struct snapshot **ret_ref);
void snapshot_release(struct snapshot *snap); /* NULL is fine */

#endif
