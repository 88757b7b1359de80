/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/metrics_text.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "wire/metrics_info.h"

void metrics_put_label(struct buf *out, struct span value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c == '\\' || c == '"')
            (void)buf_format(out, "\\%c", c);
        else if (c == '\n')
            (void)buf_append_str(out, "\\n");
        else if (c < ' ' || c > '~')
            (void)buf_append_str(out, "?"); /* a label must be UTF-8; none of ours needs more */
        else
            (void)buf_append(out, &c, 1);
    }
}

void metrics_put_family(struct buf *out, const char *name, const char *type, const char *help)
{
    (void)buf_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_gauge(struct buf *out, const char *name, const char *help, int64_t value)
{
    metrics_put_family(out, name, "gauge", help);
    (void)buf_format(out, "%s %" PRId64 "\n", name, value);
}

static void put_counter(struct buf *out, const char *name, const char *help, uint64_t value)
{
    metrics_put_family(out, name, "counter", help);
    (void)buf_format(out, "%s %" PRIu64 "\n", name, value);
}

static void put_held(struct buf *out, const char *name, const char *help, enum held held)
{
    if (held == HELD_YES || held == HELD_NO)
        put_gauge(out, name, help, held == HELD_YES);
}

void metrics_count_api(struct metrics_counters *counters, const char *verb, int code)
{
    for (size_t i = 0; i < counters->api_count; i++) {
        if (counters->api[i].code != code || strcmp(counters->api[i].verb, verb) != 0)
            continue;
        counters->api[i].count++;
        return;
    }
    struct metrics_api_count *fresh = &counters->api[counters->api_count];
    if (counters->api_count == METRICS_API_PAIRS || !TEXT_COPY(fresh->verb, span_of(verb))) {
        counters->api_other++;
        return;
    }
    fresh->code = code;
    fresh->count = 1;
    counters->api_count++;
}

static void put_build(struct buf *out, const struct metrics *m)
{
    metrics_put_family(out, "muster_build_info", "gauge", "Version and commit of this agent.");
    (void)buf_append_str(out, "muster_build_info{version=\"");
    metrics_put_label(out, span_of(m->version));
    (void)buf_append_str(out, "\",commit=\"");
    metrics_put_label(out, span_of(m->commit));
    (void)buf_append_str(out, "\"} 1\n");
}

static void put_state(struct buf *out, enum status_state state)
{
    static const char *const name = "muster_cluster_state";
    metrics_put_family(out, name, "gauge", "1 for the state that the cluster is in, else 0.");
#define X(value, text) (void)buf_format(out, "%s{state=\"%s\"} %d\n", name, text, state == (value));
    STATUS_STATES(X)
#undef X
}

static void put_promises(struct buf *out, const struct status *status)
{
    static const char *const name = "muster_promise_held";
    metrics_put_family(out, name, "gauge",
                       "1 if the promise is held, 0 if not; absent while that is not known.");
    for (int kind = 0; kind < PROMISE_COUNT; kind++) {
        enum held held = status->promises[kind].held;
        if (held == HELD_YES || held == HELD_NO)
            (void)buf_format(out, "%s{promise=\"%s\"} %d\n", name,
                             promise_key((enum promise_kind)kind), held == HELD_YES);
    }
}

static void put_shards(struct buf *out, const struct status *status)
{
    static const char *const name = "muster_shard_replicas_in_sync";
    metrics_put_family(out, name, "gauge",
                       "Replicas in sync with the shard's primary; known to the leader only.");
    for (size_t i = 0; i < status->shard_count; i++) {
        const struct status_shard *shard = &status->shards[i];
        if (shard->in_sync == STATUS_NUMBER_UNKNOWN || !shard->primary[0])
            continue;
        (void)buf_format(out, "%s{primary=\"", name);
        metrics_put_label(out, span_of(shard->primary));
        (void)buf_format(out, "\"} %" PRId64 "\n", shard->in_sync);
    }
}

static void put_cluster(struct buf *out, const struct metrics *m)
{
    const struct status *status = m->status;
    put_state(out, status->state);
    if (status->promises[PROMISE_SLOTS].held != HELD_UNKNOWN)
        put_gauge(out, "muster_slots_covered", "Slots served by a primary that is not failing.",
                  status->slots_covered);
    put_held(out, "muster_survives_node_loss",
             "1 if the loss of any one node would lose no slot and no majority.",
             status->survives_node);
    put_held(out, "muster_survives_zone_loss",
             "1 if the loss of any one zone would lose no slot and no majority.",
             status->survives_zone);
    put_held(out, "muster_paused", "1 while a person has paused Muster.", status->paused);
    put_promises(out, status);
    put_shards(out, status);
    put_gauge(out, "muster_is_leader", "1 if this agent holds the Lease.", status->is_leader);
    if (!m->view_ms)
        return;
    int64_t age_ms = m->now_ms - m->view_ms;
    metrics_put_family(out, "muster_view_age_seconds", "gauge",
                       "Age of the own server's view of the cluster.");
    (void)buf_format(out, "muster_view_age_seconds %" PRId64 ".%03" PRId64 "\n", age_ms / 1000,
                     age_ms % 1000);
}

static void put_api(struct buf *out, const struct metrics_counters *counters)
{
    static const char *const name = "muster_api_requests_total";
    metrics_put_family(out, name, "counter",
                       "Requests to the Kubernetes API by verb and HTTP status.");
    for (size_t i = 0; i < counters->api_count; i++) {
        const struct metrics_api_count *c = &counters->api[i];
        (void)buf_format(out, "%s{verb=\"", name);
        metrics_put_label(out, span_of(c->verb));
        if (c->code)
            (void)buf_format(out, "\",code=\"%d\"} %" PRIu64 "\n", c->code, c->count);
        else
            (void)buf_format(out, "\",code=\"none\"} %" PRIu64 "\n", c->count);
    }
    if (counters->api_other)
        (void)buf_format(out, "%s{verb=\"other\",code=\"other\"} %" PRIu64 "\n", name,
                         counters->api_other);
}

static void put_actions(struct buf *out, const struct metrics_counters *counters)
{
    static const char *const name = "muster_actions_total";
    metrics_put_family(out, name, "counter", "What was carried out, by command and result.");
    for (int kind = ACTION_NONE + 1; kind <= ACTION_RECORD_PUT; kind++) {
        const char *command = action_kind_name((enum action_kind)kind);
        if (counters->actions_ok[kind])
            (void)buf_format(out, "%s{command=\"%s\",result=\"ok\"} %" PRIu64 "\n", name, command,
                             counters->actions_ok[kind]);
        if (counters->actions_failed[kind])
            (void)buf_format(out, "%s{command=\"%s\",result=\"failed\"} %" PRIu64 "\n", name,
                             command, counters->actions_failed[kind]);
    }
}

static void put_counters(struct buf *out, const struct metrics_counters *counters)
{
    static const char *const kinds[] = {"planned", "drain", "crash"};
    static const char *const handovers = "muster_handovers_total";
    metrics_put_family(out, handovers, "counter", "Primary roles handed over, by occasion.");
    for (int kind = 0; kind < HANDOVER_KINDS; kind++)
        (void)buf_format(out, "%s{kind=\"%s\"} %" PRIu64 "\n", handovers, kinds[kind],
                         counters->handovers[kind]);
    put_counter(out, "muster_slots_moved_total", "Slots moved to another shard.",
                counters->slots_moved);
    put_counter(out, "muster_turns_total", "Turns of this agent: observe, plan, act.",
                counters->turns);
    put_actions(out, counters);
    put_api(out, counters);
}

int metrics_text_format(struct buf *out, const struct metrics *metrics)
{
    put_build(out, metrics);
    put_cluster(out, metrics);
    if (metrics->status->is_leader)
        put_gauge(out, "muster_slots_to_move", "Slots on their way to another shard, or to go.",
                  metrics->slots_to_move);
    put_counters(out, metrics->counters);
    put_gauge(out, "redis_up", "1 if the server beside this agent answers.", metrics->server_up);
    if (metrics->server_up)
        metrics_put_info(out, metrics->info);
    return out->failed ? E_LIMIT : 0;
}
