/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of the Kubernetes API (pods, one StatefulSet, Lease, record ConfigMap; resourceVersions,
 * compare-and-swap, watches with delay, staleness and loss) and of what stands behind it: the
 * StatefulSet controller and the kubelet.
 */
#ifndef MUSTER_SIM_MODEL_API_H
#define MUSTER_SIM_MODEL_API_H

#include <stdbool.h>
#include <stdint.h>

#include "core/lease.h"
#include "core/record.h"
#include "core/world.h"

struct sim;
struct event;
struct agent;

#define PODS_MAX 12
#define SET_NAME "muster"

/* A record as stored; lives as long as the simulation, so that whoever read it may keep it. */
struct stored_record {
    struct stored_record *next;
    struct record record;
    uint64_t version;
};

struct api_pod {
    bool exists;
    char uid[UID_SIZE];
    int addr; /* 0 = none yet */
    int node; /* -1 = not scheduled */
    int zone;
    bool terminating;
    int64_t grace_ms;
    bool ready;
};

/* All that is watched, at one moment. */
struct api_state {
    struct api_pod pods[PODS_MAX];
    int replicas;
    int set_uid;                        /* +1 for each StatefulSet of this name */
    bool set_absent;                    /* deleted, its pods left running */
    const struct stored_record *record; /* NULL = absent */
};

enum api_kind { API_PODS = 0, API_SET, API_RECORD, API_KINDS };

struct api {
    struct api_state now;
    struct api_state *history; /* one entry for each change; watchers point into it */
    int64_t *history_us;
    size_t count;
    size_t capacity;
    uint64_t version; /* the next resourceVersion */
    uint64_t uids;

    bool down;
    unsigned error_permille;    /* of requests: 500 or 429 */
    unsigned conflict_permille; /* of writes: 409 */

    bool lease_exists;
    struct lease lease;
    struct stored_record *records; /* owned */
};

void api_init(struct sim *sim);
void api_set_uid(int number, char ret_uid[UID_SIZE]); /* of api_state.set_uid, as text */
void api_deinit(struct api *api);

/* What is in `now` of this kind has changed: remembered, and told to the watchers. */
void api_changed(struct sim *sim, enum api_kind kind);

/* Index into the history of the newest state that is at least `age_us` old. */
size_t api_state_at(const struct sim *sim, int64_t age_us);

enum api_answer { API_OK = 0, API_NOT_FOUND, API_CONFLICT, API_FAILED };

/* One request as the server sees it. */
enum api_answer api_lease(struct sim *sim, enum lease_verb verb, struct lease *lease);
enum api_answer api_put_record(struct sim *sim, const struct record *record, uint64_t version,
                               const struct stored_record **ret_stored);
void api_delete_record(struct sim *sim);

/*
 * A pod of the set and what runs in it: its server is redis[i], its agent is agents[i]. The kubelet
 * starts agent and server, restarts them, and keeps the address until the pod is gone.
 */
struct gate_model { /* a server's hook that asks whether it may start (agent/hook/start.c) */
    bool waiting;
    uint64_t asked;   /* +1 for each server that came to the gate */
    int64_t heard_us; /* when its agent last answered, or since when it did not */
    bool opened;      /* a person told its agent to let it go */
};

struct drain_model { /* a pod's preStop (agent/hook/probe.c) */
    bool asking;
    bool goes;  /* it was told that its server may stop */
    bool risks; /* and that who lacks some of its data may be elected */
    int64_t since_us;
};

struct pod_model {
    uint64_t run; /* +1 for each pod of this name */
    bool wanted_late;
    int64_t late_us;     /* the next pod of this name stays pending so much longer */
    int reuse_addr;      /* the next pod of this name gets this address; 0 = a fresh one */
    struct node_id part; /* the file of io/hook_files.h; "" = none */
    bool lose_volume;
    bool lose_data; /* with this pod, but not its nodes.conf */
    struct gate_model gate;
    struct drain_model drain;
};

void pods_init(struct sim *sim, int replicas);
void pods_delete(struct sim *sim, int pod, bool graceful);
void pods_drain(struct sim *sim, int pod, int64_t grace_us); /* deleted, with its preStop */
void pods_let_go(struct sim *sim, int pod);                  /* preStop ends: SIGTERM */
void pods_scale(struct sim *sim, int replicas);
void pods_crash_server(struct sim *sim, int pod);
void pods_crash_agent(struct sim *sim, int pod);
void pods_open_gate(struct sim *sim, int pod); /* the server that waits there starts */
bool pods_all_running(const struct sim *sim);

#endif
