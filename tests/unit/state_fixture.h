/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted API server with the StatefulSet db, its pods and its record, and a kube_state on it. */
#ifndef MUSTER_TESTS_UNIT_STATE_FIXTURE_H
#define MUSTER_TESTS_UNIT_STATE_FIXTURE_H

#include <stdbool.h>

#include "io/kube_state.h"
#include "unit/io_script.h"

/* What the scripted API server is told to do, in shared->stage. */
enum state_stage {
    NO_SLICES = 1 << 0,  /* 403 for EndpointSlices */
    NO_NODES = 1 << 1,   /* 403 for nodes */
    NO_RECORD = 1 << 2,  /* the ConfigMap is absent */
    BAD_RECORD = 1 << 3, /* it is there and cannot be read */
    ORPHAN = 1 << 4,     /* the own pod has no controller */
    REBORN = 1 << 5,     /* the set was deleted and created again: another uid */
    LARGE = 1 << 6,      /* it has 60 replicas */
    WHOLE_PODS = 1 << 7, /* metadata only is a form that it does not know */
    NO_OWNERS = 1 << 8,  /* 403 for lists by a label */
    GONE = 1 << 9,       /* the set is deleted, its pods are not */
    OTHER = 1 << 10,     /* the pods turn out to be another set's */
};

struct state_fixture {
    struct loop *loop;
    struct io_script script;
    struct kube_client *client;
    struct kube_state *state;
    int changes;
    const char *wanted_zone;
};

/* `stateful_set`: as configured, or "". The state begins with nothing known. */
void state_fixture_open(struct state_fixture *fixture, const char *stateful_set, int stage);
void state_fixture_close(struct state_fixture *fixture);

/* The server itself, for one that was stopped. */
void state_fixture_serve(int fd, struct io_shared *shared, int nth);

/* For io_run_until(), with the fixture. */
bool state_fixture_is_complete(void *ctx);
bool state_fixture_has_four_watches(void *ctx);

/* Of a pod; "no such pod". */
const char *state_fixture_zone(const struct state_fixture *fixture, const char *pod);

#endif
