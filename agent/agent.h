/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: everything composed, and the turn.
 *
 *   observe (callbacks only note) -> world -> plan -> execute -> publish
 *
 * agent.c composes and turns; agent_world.c makes the world; agent_act.c carries out and remembers;
 * agent_hook.c answers the hook, agent_twin.c asks who else may be its server, agent_drain.c answers
 * its preStop, agent_crash.c sees to its slots when it dies; agent_people.c hears what people order,
 * agent_publish.c tells them; agent_gossip.c asks the other agents whether they live;
 * agent_looks.c and agent_mover.c move slots.
 * agent_hosts.h is what replaces the Kubernetes API without Kubernetes.
 */
#ifndef MUSTER_AGENT_H
#define MUSTER_AGENT_H

#include "agent_hosts.h"
#include "base/arena.h"
#include "base/err.h"
#include "core/attempts.h"
#include "core/failover.h"
#include "core/gate.h"
#include "core/gate_twin.h"
#include "core/plan.h"
#include "core/readiness.h"
#include "core/rebirth.h"
#include "core/scale_see.h"
#include "core/world.h"
#include "io/event_client.h"
#include "io/executor.h"
#include "io/hook_server.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/kube_client.h"
#include "io/kube_state.h"
#include "io/lease_client.h"
#include "io/loop.h"
#include "io/mover_client.h"
#include "io/peers.h"
#include "io/record_client.h"
#include "io/whois.h"
#include "wire/config_yaml.h"
#include "wire/digest.h"
#include "wire/metrics_text.h"

/* What arrives together is judged together. */
#define AGENT_DEBOUNCE_MS 20
/* After a stall: one full period of the slowest regular poll (DESIGN 3). */
#define AGENT_SETTLE_MS WORLD_FRESH_MS
/* For as long servers are asked in a hurry after the last wish for it (core/observe.h). */
#define AGENT_HURRY_FOR_MS 1500
#define AGENT_HURRY_OWN_MS 200

/*
 * Who this agent is, from the downward API (DESIGN 8). Borrowed from the environment. Without
 * Kubernetes pod_uid is HOSTS_SELF, pod_name only names the log lines, and pod_ip may be "".
 */
struct identity {
    const char *pod_name;
    const char *pod_namespace;
    const char *pod_uid;
    const char *pod_ip;
};

/* Uids of pods that the StatefulSet was seen to control, as long as the API lists them. */
struct agent_pods {
    char (*uids)[UID_SIZE]; /* owned */
    size_t count;
};

/* What was found of a twin of what waits at the gate (core/gate_twin.h). */
struct agent_twin {
    struct node_id id; /* the claim's, */
    int64_t claim_ms;  /* and since when it waits */
    struct gate_twin found;
    bool outlived; /* the claim's, for the other agents */
};

/* Another agent's liveness, by pod uid. */
struct agent_mate {
    char uid[UID_SIZE];
    enum agent_state state;
    struct told told;
    int64_t seen_ms;
    int64_t asked_ms;
    unsigned failures;
    struct http_request *request; /* in flight; owned by the HTTP client */
    struct agent *agent;
};

/* A move that needs nothing until then. */
struct moves_done {
    struct node_id to;
    int64_t generation;
    bool cancel;
    int64_t until_ms;
};
#define MOVES_DONE_MAX 64

/* The record's moves, as far as they are this agent's to carry out (agent_mover.c). */
struct agent_moves {
    struct node_id id; /* of the own server, */
    char run_id[RUN_ID_SIZE];
    int64_t since_ms; /* a primary since then; 0 = it is none */
    bool asking;      /* the API for the record's version, */
    int64_t asked_for, ask_ms;
    bool sure; /* which was at least this one after that */
    char version[RESOURCE_VERSION_SIZE];
    int64_t read;                /* the moves' generation up to which it goes by them; 0 = none */
    struct mover_client *client; /* owned; NULL = nothing moves */
    struct record_move move;     /* that it carries out, or did last */
    struct slot_range *ranges;   /* owned: of that */
    char to_pod[POD_NAME_SIZE];
    size_t turn; /* whose turn is next, by the place in the record */
    struct moves_done done[MOVES_DONE_MAX];
    size_t done_next;
    struct {
        bool on; /* an order's answer was lost: it may still be carried out, */
        struct node_id to;
        char uid[UID_SIZE];
        struct slot_link *link; /* owned: until these answer */
        bool ended;
        int64_t retry_ms;
    } unsure;
};

struct agent_looks; /* agent_looks.c */

struct agent {
    const struct config *config; /* borrowed */
    struct identity identity;

    /* Owned, in the order in which they are made; freed in the reverse order. */
    struct loop *loop;
    struct kube_client *kube;
    struct kube_state *state;
    struct lease_client *lease;
    struct record_client *records;
    struct event_client *events;
    struct hosts *hosts; /* instead of these five, without Kubernetes; NULL with it */
    struct http_client *gossip;
    struct peers *peers;
    struct whois *whois;
    struct executor *executor;
    struct hook_server *hook;
    struct http_server *http;
    struct loop_timer *turn_timer;

    /* One turn's data. */
    struct arena arena;
    struct world world;
    struct plan plan;

    /* What is remembered from turn to turn. */
    struct attempts attempts;
    struct readiness readiness;
    struct rebirth_watch rebirth;
    struct own_past past;
    struct failover_history *failovers; /* owned */
    struct drain_watch drain;
    struct own_copy copy;
    struct place_watch place;
    struct scale_pace pace;
    struct {
        bool asked;         /* that preStop asks was told */
        bool handed;        /* that the slots were handed over was told */
        int64_t ordered_ms; /* when a hand-over was accepted last; 0 = none was */
        char said[DRAIN_REASON_SIZE];
    } drain_tale;
    struct takeover_watch takeover;
    struct person_watch person;
    struct handover_watch handover;
    struct {
        bool paused;             /* as told */
        int64_t paused_ms;       /* when that was told last */
        bool ordering;           /* a failover has not ended yet, as told */
        char pod[POD_NAME_SIZE]; /* the person who waits has ordered its failover; "" = something
                                    else, or nobody waits */
    } people;
    struct crash_watch crash;
    char crash_said[CRASH_REASON_SIZE]; /* its outcome, as told; "" = it was not */
    struct metrics_counters counters;
    int64_t settle_until_ms;
    int64_t published_ms; /* when the pages were made last */
    uint64_t entropy[2];
    bool was_leader;
    bool woken;     /* a turn is due within AGENT_DEBOUNCE_MS */
    bool gate_asks; /* a server at the gate waits for what the others say */
    struct agent_twin twin;
    int64_t gate_told_ms;        /* an Event told of what waits since then; 0 = of nothing */
    int64_t gate_few_ms;         /* gate_note_few() */
    int64_t gate_opened_ms;      /* a person opened it to what waits since then; 0 = nobody */
    bool stopping;               /* SIGTERM came: leave as soon as the server is gone */
    char said[PLAN_REASON_SIZE]; /* the last sentence that was logged */
    struct {
        const char *rule; /* that speaks since then */
        int64_t since_ms;
        bool told; /* as an Event */
    } speaks;
    char gate_said[GATE_REASON_SIZE]; /* likewise of the gate */
    char problem[ERR_MSG_SIZE];       /* the last problem with the API that was logged */
    struct agent_mate *mates;         /* owned */
    size_t mate_count;
    struct agent_pods ours;
    struct agent_moves moves;
    struct agent_looks *looks; /* owned; NULL before the first */
};

/*
 * Runs until SIGTERM or SIGINT has been obeyed; returns the exit code. `config` was checked and
 * outlives the call.
 */
int agent_run(const struct config *config, const struct identity *identity);

/* Something was noted: a turn soon. */
void agent_wake(struct agent *agent);

/* agent_world.c: the world of this moment into agent->world, in the arena. */
void agent_observe(struct agent *agent);
/* The servers to be asked follow from the pods and from whether we lead. */
void agent_follow_pods(struct agent *agent);

/* agent_act.c */
void agent_execute(struct agent *agent);
bool agent_may_send(void *ctx, const struct action *action, const char **ret_why);
void agent_on_outcome(void *ctx, const struct action *action, const char *pod_uid,
                      enum outcome outcome, const char *why);

/* agent_hook.c: the gate's verdict for the hook, made anew in each turn while a server waits. */
struct hook_server_config agent_hook_config(struct agent *agent);
void agent_answer_hook(struct agent *agent);
/* What the server beside us is: kept beside the socket for our successor and for the hook. */
void agent_keep_past(struct agent *agent, const struct own_past *past);
void agent_resume_past(struct agent *agent);
/* What waits at the gate, for the other agents; false if nothing does. */
bool agent_gate_digest(const struct agent *agent, struct digest *digest);

/* agent_twin.c: puts into the claim what is known of its twin, and asks for it when that is due. */
void agent_open_twin(struct agent *agent, const struct redis_tls_config *tls);
void agent_look_for_twin(struct agent *agent, struct gate_claim *claim);
void agent_forget_twin(struct agent *agent); /* once the server may start */

/* agent_drain.c: what preStop is told, and what people see of it. */
enum hook_verdict agent_on_drain(void *ctx, char reason[HOOK_REASON_SIZE]);
void agent_watch_drain(struct agent *agent);
void agent_answer_drain(struct agent *agent);
/* preStop asks, and was not told yet that the server may stop. */
bool agent_drains(const struct agent *agent);
/* The server beside has ended, or another one waits at the gate. */
void agent_end_drain(struct agent *agent);

/* agent_crash.c: the end of the server beside us, and what becomes of its slots. */
void agent_note_crash(struct agent *agent); /* before agent_end_drain() */
void agent_watch_crash(struct agent *agent);
void agent_answer_crash(struct agent *agent);
void agent_end_crash(struct agent *agent); /* it may start again */
/* crash_may_send() */
bool agent_may_replace(struct agent *agent, const struct action *action);
/* What waits at the gate is not told to the others yet: crash_hides(). */
bool agent_hides_crash(const struct agent *agent);

/* agent_people.c: what people order, and the answers of a later turn. */
enum hook_verdict agent_on_person(void *ctx, const struct hook_request *request,
                                  char said[HOOK_REASON_SIZE]);
void agent_watch_people(struct agent *agent);
/* handover_may_send(), in the callback that sends. */
bool agent_may_order(struct agent *agent, const struct action *action);
void agent_answer_people(struct agent *agent);
void agent_publish_pause(struct agent *agent); /* loudly */

/* agent_mover.c: the record's moves of slots, where the own server is their source. */
void agent_watch_moves(struct agent *agent); /* into the world */
void agent_move_slots(struct agent *agent);
void agent_end_moves(struct agent *agent);

/* agent_looks.c: what the leader's plan wants to be looked at before slots move. */
void agent_look_at_slots(struct agent *agent);
const struct scale_watch *agent_looked(const struct agent *agent); /* or NULL */
void agent_end_looks(struct agent *agent);

/* agent_publish.c: log, status, metrics, digest, readiness. */
void agent_publish(struct agent *agent);

/* agent_gossip.c: the leader asks the others' digests, which tell that they live. */
void agent_ask_mates(struct agent *agent);
void agent_forget_mates(struct agent *agent);
enum agent_state agent_mate_state(const struct agent *agent, const char *uid, int64_t *ret_seen_ms);
void agent_mate_told(const struct agent *agent, const char *uid, struct told *ret_told);

#endif
