/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our metrics in Prometheus' text format 0.0.4: muster_* of the agent and its view of the cluster,
 * and some INFO figures of the server beside it under the names that redis_exporter gives them
 * (oliver006/redis_exporter, exporter/exporter.go, metricMapGauges and metricMapCounters), so that
 * its dashboards work. A figure that is not known is left out, never 0.
 */
#ifndef MUSTER_WIRE_METRICS_TEXT_H
#define MUSTER_WIRE_METRICS_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/text.h"
#include "core/action.h"
#include "core/status.h"

#define METRICS_TEXT_MAX MIB(1)
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Pairs of verb and code that are counted one by one; the rest is counted as verb="other". */
#define METRICS_API_PAIRS 32
#define METRICS_VERB_SIZE 8

enum handover_kind { HANDOVER_PLANNED = 0, HANDOVER_DRAIN, HANDOVER_CRASH, HANDOVER_KINDS };

struct metrics_api_count {
    char verb[METRICS_VERB_SIZE]; /* get, list, watch, post, put, patch, delete */
    int code;                     /* HTTP status; 0 = no answer */
    uint64_t count;
};

/* Counted since the agent's start; zero it before use. Owned by the agent. */
struct metrics_counters {
    struct metrics_api_count api[METRICS_API_PAIRS];
    size_t api_count;
    uint64_t api_other;
    uint64_t handovers[HANDOVER_KINDS];
    uint64_t slots_moved;
    uint64_t turns;
    uint64_t actions_ok[ACTION_RECORD_PUT + 1]; /* by enum action_kind */
    uint64_t actions_failed[ACTION_RECORD_PUT + 1];
};

/* `code`: the HTTP status, or 0 when there was no answer. */
void metrics_count_api(struct metrics_counters *counters, const char *verb, int code);

struct metrics {
    const struct status *status;
    const struct metrics_counters *counters;
    const char *version; /* of muster */
    const char *commit;
    unsigned slots_to_move; /* as the leader has it */
    int64_t now_ms;
    int64_t view_ms; /* when the own server's view was asked for; 0 = never */
    /* The own server's last INFO; empty and `server_up` false when it does not answer. */
    bool server_up;
    struct span info;
};

/* Appends the whole exposition. 0, or E_LIMIT past the buffer's ceiling. */
int metrics_text_format(struct buf *out, const struct metrics *metrics);

#endif
