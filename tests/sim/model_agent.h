/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's shell in the simulation: what agent.c, peers, executor, kube_state and lease_client do,
 * around the real planner, attempts, Lease and preconditions of core. Its clock runs at its own rate
 * from its own start.
 */
#ifndef MUSTER_SIM_MODEL_AGENT_H
#define MUSTER_SIM_MODEL_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/action.h"
#include "core/attempts.h"
#include "core/crash.h"
#include "core/failover.h"
#include "core/gate.h"
#include "core/gate_twin.h"
#include "core/lease.h"
#include "core/mover.h"
#include "core/place.h"
#include "core/plan.h"
#include "core/rebirth.h"
#include "core/scale_see.h"
#include "core/slot_look.h"
#include "core/takeover.h"
#include "core/world.h"
#include "model_api.h"

#define RUN_ACTIONS_MAX 32

/* The run of a plan's actions to one server (io/executor.h). */
struct agent_run {
    bool busy;
    struct action actions[RUN_ACTIONS_MAX];
    int count;
    int next;
    int64_t probe_ms; /* when the probe was asked, on the agent's clock; 0 = none yet */
    struct probe probe;
};

struct snapshot;

/* A server that the agent talks to (io/peers.h). */
struct agent_peer {
    bool used;
    char uid[UID_SIZE];
    int addr;
    uint64_t gen; /* changes when it becomes another server */
    struct server server;
    struct snapshot *snap; /* of server.view */
    bool polling;
    int64_t asked_ms;   /* of the poll in flight */
    enum reach failing; /* it will end like this; REACH_UNKNOWN: it gets through */
    int64_t due_us;     /* of the next poll */
    int64_t full_ms;    /* period of full views; 0 = never */
    bool read;          /* a full view is wanted now */
    bool full;          /* the poll in flight reads one */
    int64_t full_asked_ms;
    struct server at_view; /* what it said when its view was read */
    int64_t hurry_ms;
    int64_t hurry_until_ms;
    int64_t settings_ms; /* when the settings were read; 0 = to be read */
    struct agent_run run;
};

/* The agent beside another server (agent_gossip.c). */
struct agent_mate {
    char uid[UID_SIZE]; /* of its pod */
    uint64_t asking;    /* number of the question under way; 0 = none */
    int64_t asked_ms;
    int host; /* who was reached when it was sent; -1 = nobody */
    unsigned failures;
    enum agent_state state;
    int64_t seen_ms;
    struct told told;
};

/* Two primaries that are asked or ordered something (io/slot_link.h). */
#define LINK_SLOTS_MAX 256
enum { LINK_MOVER = 0, LINK_UNSURE, LINK_LOOKS, LINKS = LINK_LOOKS + 8 };

struct pair_link {
    bool used;
    uint64_t number; /* of the exchange under way; 0 = none */
    bool ordered;    /* in it */
    struct slot_pair pair;
    int host[2]; /* source and destination: the processes that it is connected to */
    uint64_t run[2];
    int dest_addr;
    bool refused[2]; /* it is not who was meant */
    int missing;     /* answers */
    uint16_t slots[LINK_SLOTS_MAX];
    struct slot_seen seen[LINK_SLOTS_MAX];
    size_t count;
};

/* The leader's look at slots that are to move (agent_looks.c of the agent). */
struct pair_look {
    struct scale_seen seen;
    struct slot_set slots; /* to be looked at, */
    struct slot_set looked;
    unsigned next;    /* from here on */
    int64_t until_ms; /* it was lost: not again before */
};

struct agent_links {
    struct pair_link links[LINKS];
    struct pair_look looks[LINKS - LINK_LOOKS];
    struct scale_watch watch;
};

enum mover_outcome {
    MOVER_ENDED_DONE = 1,
    MOVER_ENDED_BLOCKED,
    MOVER_ENDED_STOPPED,
    MOVER_ENDED_LOST,
    MOVER_ENDED_UNSURE,
};

struct moves_tried {
    struct node_id to;
    int64_t generation;
    bool cancel;
    int64_t until_ms;
};
#define MOVES_TRIED_MAX 64

/* agent_mover.c of the agent */
struct agent_moves {
    struct node_id id;
    char run_id[RUN_ID_SIZE];
    int64_t since_ms;
    bool asking, sure;
    int64_t asked_for, ask_ms;
    uint64_t version; /* of the record, which was at least this one then */
    int64_t read;
    bool busy, stopping;
    struct record_move move;
    char uid[UID_SIZE]; /* of its destination's pod */
    struct mover mover;
    struct mover_order order;
    size_t turn;
    struct moves_tried tried[MOVES_TRIED_MAX];
    size_t tried_next;
    bool unsure; /* an order's answer was lost */
    struct node_id unsure_to;
    char unsure_uid[UID_SIZE];
    int64_t unsure_ms;
};

struct agent {
    int index; /* its pod */
    bool alive;
    uint64_t run; /* +1 for each start and end */
    char pod_uid[UID_SIZE];
    int addr;
    int64_t paused_until_us;
    int64_t clock_offset_ms;
    int clock_ppm;

    /* What the watches brought: indexes into the API's history. */
    size_t cursor[API_KINDS];
    bool synced[API_KINDS];
    int64_t seen_ms[API_KINDS];
    bool broken;     /* the API was not reached: nothing tells of changes */
    unsigned missed; /* kinds whose events were lost: a new list is due */
    bool relisting;
    bool set_seen;                      /* the StatefulSet was there once */
    const struct stored_record *record; /* NULL = absent, when synced */
    const struct stored_record *record_copy;
    bool record_busy;

    struct lease_state lease;
    unsigned lease_renewals;

    struct agent_peer peers[PODS_MAX];
    struct attempts attempts;
    struct rebirth_watch rebirth;
    struct pod pods[PODS_MAX];
    struct world world;
    uint64_t entropy[2];
    int64_t settle_until_ms;
    int64_t turn_us; /* of the turn in the queue */
    struct own_past past;
    struct failover_history failovers;
    struct drain_watch drain;
    struct own_copy copy;
    struct place_watch place;
    struct person_watch person;
    struct handover_watch handover;
    int64_t paused_ms; /* since then it sees a person's pause; 0 = it sees none */
    struct crash_watch crash;
    struct crash_verdict crash_verdict; /* of the last plan */
    struct takeover_watch takeover;
    struct takeover_verdict takeover_verdict; /* likewise */
    uint64_t gate_asked; /* the server that waits at the gate since gate_asked_ms */
    int64_t gate_asked_ms;
    int64_t gate_few_ms;
    bool gate_asks; /* the gate needs to know more: all views, all agents' words */
    char gate_said[GATE_REASON_SIZE];
    struct gate_twin twin; /* agent_twin.c */
    uint64_t twin_questions;
    bool twin_asking;
    struct agent_mate mates[PODS_MAX];
    uint64_t mate_questions;
    struct agent_moves moves;
    struct agent_links *looks; /* owned; NULL before the first */
    bool hurries;              /* slots move, by its last plan */
    const char *rule;          /* of the last plan */
    char reason[PLAN_REASON_SIZE];
    bool idle; /* the last plan had no actions */
};

void agent_start(struct sim *sim, int pod, const char *pod_uid, int addr);
void agent_stop(struct sim *sim, struct agent *agent);
void agent_pause(struct sim *sim, struct agent *agent, int64_t for_us);
void agent_forget(struct sim *sim, struct agent *agent); /* frees what it holds */

/* The agent's own clock, milliseconds. */
int64_t agent_clock_ms(const struct sim *sim, const struct agent *agent);

/* True if the event's agent is gone; if it is paused, the event comes again when it resumes. */
bool agent_absent(struct sim *sim, const struct event *event, struct agent **ret_agent);

/* agent_turn.c */
void agent_wake(struct sim *sim, struct agent *agent);

/* agent_kube.c: watches, Lease, record. */
void agent_kube_start(struct sim *sim, struct agent *agent);
void agent_kube_changed(struct sim *sim, struct agent *agent, enum api_kind kind, size_t index);
void agent_put_record(struct sim *sim, struct agent *agent, const struct action *action);
/* Whether a GET of the record gets through, and when its outcome is known. */
bool agent_reads_record(struct sim *sim, struct agent *agent, int64_t *ret_delay_us);
bool agent_leads(const struct sim *sim, const struct agent *agent);
/* As it believes: without GUARD_LEASE for as long as it has heard of no other leader. */
bool agent_may_act(const struct sim *sim, const struct agent *agent);
int64_t agent_api_seen_ms(const struct agent *agent);
bool agent_api_broken(struct sim *sim, const struct agent *agent);

/* agent_peers.c: which servers are asked, and when. */
void agent_peer_broke(struct sim *sim, struct agent *agent, int pod); /* asked again at once */
void agent_peers_follow(struct sim *sim, struct agent *agent, const struct plan *plan);
void agent_peer_drop(struct agent_peer *peer);
/* What a question to the address would come to now. */
enum reach agent_reach(const struct sim *sim, const struct agent *agent, int addr);

/* agent_gate.c: the gate, and the other agents. */
void agent_remember(struct sim *sim, struct agent *agent);
void agent_answer_gate(struct sim *sim, struct agent *agent);
void agent_ask_mates(struct sim *sim, struct agent *agent, const struct plan *plan);
struct told agent_told_of(const struct sim *sim, const struct agent *agent, int pod,
                          const char *uid);
bool gate_opens_alone(const struct sim *sim, const struct redis *r); /* the hook's own rule */

/* agent_drain.c: preStop, as agent_drain.c of the agent carries it. */
void agent_watch_drain(struct sim *sim, struct agent *agent);
void agent_answer_drain(struct sim *sim, struct agent *agent, const struct plan *plan);
bool agent_drains(const struct agent *agent);
enum leaving agent_leaving(const struct agent *agent);

/* agent_crash.c: the end of the server beside, as agent_crash.c of the agent sees to it. */
void agent_server_gone(struct sim *sim, struct agent *agent);
void agent_watch_crash(struct sim *sim, struct agent *agent);
void agent_answer_crash(struct sim *sim, struct agent *agent, const struct plan *plan);
bool agent_may_replace(struct sim *sim, struct agent *agent, const struct action *action);
bool agent_hides_crash(const struct sim *sim, const struct agent *agent);

/* agent_people.c: what people order. */
int64_t agent_unix_ms(const struct sim *sim, int index);
void agent_watch_people(struct sim *sim, struct agent *agent);
void agent_note_people(struct sim *sim, struct agent *agent, const struct plan *plan);
bool agent_may_order(struct sim *sim, struct agent *agent, const struct action *action);
bool agent_is_told(struct agent *agent);
/* agent_mover.c: the record's moves. */
void agent_watch_moves(struct sim *sim, struct agent *agent);
void agent_move_slots(struct sim *sim, struct agent *agent);
void agent_moves_seen(struct sim *sim, struct agent *agent, const struct slot_seen *seen);
void agent_moves_did(struct sim *sim, struct agent *agent, const enum mover_result *results,
                     const int64_t *left);
void agent_moves_lost(struct sim *sim, struct agent *agent, bool ordered, const char *why);
void agent_moves_sure(struct sim *sim, struct agent *agent, bool answered);

/* agent_link.c: what asks and orders two primaries. `place` is LINK_MOVER, ... */
void agent_link_begin(struct sim *sim, struct agent *agent, int place, const struct slot_pair *pair,
                      int source_addr, int dest_addr);
void agent_link_end(struct agent *agent, int place);
bool agent_link_is_busy(const struct agent *agent, int place);
void agent_link_look(struct sim *sim, struct agent *agent, int place, const uint16_t *slots,
                     size_t count);
void agent_link_order(struct sim *sim, struct agent *agent, int place,
                      const struct mover_order *order);
void agent_look_at_slots(struct sim *sim, struct agent *agent, const struct plan *plan);
void agent_looks_seen(struct sim *sim, struct agent *agent, int place);
void agent_end_links(struct agent *agent);

/* agent_exec.c */
void agent_execute(struct sim *sim, struct agent *agent, const struct plan *plan);

#endif
