/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's side of the API: lists and watches (kube_state), the Lease, writes of the record. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sim.h"

#define RELIST_LOW_US MS(500)
#define RELIST_HIGH_US SECONDS(8)
#define BOOKMARK_US SECONDS(60)
#define BROKEN_MS 5000
#define REQUEST_TIMEOUT_US SECONDS(5)

static void on_list(struct sim *sim, const struct event *event);
static void on_watch(struct sim *sim, const struct event *event);
static void on_bookmark(struct sim *sim, const struct event *event);
static void on_lease_due(struct sim *sim, const struct event *event);
static void on_lease_arrived(struct sim *sim, const struct event *event);
static void on_lease_answer(struct sim *sim, const struct event *event);

static bool kube_reachable(const struct sim *sim, const struct agent *agent)
{
    return !sim->api.down && sim_linked(sim, agent->index, HOST_API);
}

static int64_t kube_latency(struct sim *sim)
{
    return sim_between(sim, sim->setup.api_us / 2, sim->setup.api_us * 2);
}

int64_t agent_api_seen_ms(const struct agent *agent)
{
    int64_t oldest = INT64_MAX;
    for (int kind = 0; kind < API_KINDS; kind++) {
        if (!agent->synced[kind])
            return 0;
        if (agent->seen_ms[kind] < oldest)
            oldest = agent->seen_ms[kind];
    }
    return oldest;
}

/* kube_watch_broken() */
bool agent_api_broken(struct sim *sim, const struct agent *agent)
{
    int64_t seen_ms = agent_api_seen_ms(agent);
    return agent->broken && seen_ms && agent_clock_ms(sim, agent) - seen_ms > BROKEN_MS;
}

/* ---- lists and watches ---- */

static void kube_take(struct sim *sim, struct agent *agent, enum api_kind kind, size_t index)
{
    agent->cursor[kind] = index;
    agent->synced[kind] = true;
    agent->seen_ms[kind] = agent_clock_ms(sim, agent);
    if (kind == API_RECORD) {
        agent->record = sim->api.history[index].record;
        if (agent->record)
            agent->record_copy = agent->record;
    }
    agent_wake(sim, agent);
}

static void kube_relist(struct sim *sim, struct agent *agent, int64_t delay_us)
{
    if (agent->relisting)
        return;
    agent->relisting = true;
    sim_after(sim, delay_us, on_list, agent->index, 0, agent->run, NULL);
}

void agent_kube_start(struct sim *sim, struct agent *agent)
{
    agent->missed = (1u << API_KINDS) - 1;
    kube_relist(sim, agent, kube_latency(sim));
    sim_after(sim, BOOKMARK_US, on_bookmark, agent->index, 0, agent->run, NULL);
}

/* A list of what was missed: complete, but as old as the API server that answers it. */
static void on_list(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (agent_absent(sim, event, &agent))
        return;
    agent->relisting = false;
    agent->broken = !kube_reachable(sim, agent) || sim_chance(sim, sim->api.error_permille);
    if (agent->broken) {
        kube_relist(sim, agent, sim_between(sim, RELIST_LOW_US, RELIST_HIGH_US));
        return;
    }
    bool behind = sim->now_us < sim->faults.frozen_until_us[agent->index];
    size_t index = api_state_at(sim, behind ? sim->faults.list_age_us[agent->index] : 0);
    for (int kind = 0; kind < API_KINDS; kind++)
        if (agent->synced[kind] && agent->cursor[kind] > index)
            index = agent->cursor[kind]; /* a watch goes on from where it was */
    bool first = !agent->synced[API_SET];
    for (int kind = 0; kind < API_KINDS; kind++)
        if (agent->missed & 1u << kind)
            kube_take(sim, agent, (enum api_kind)kind, index);
    agent->missed = 0;
    if (index != sim->api.count - 1) {
        /* Its API server catches up some time later. */
        agent->missed = (1u << API_KINDS) - 1;
        kube_relist(sim, agent, sim->faults.frozen_until_us[agent->index] - sim->now_us + MS(1));
    }
    if (first)
        sim_after(sim, MS(1), on_lease_due, agent->index, 0, agent->run, NULL);
}

void agent_kube_changed(struct sim *sim, struct agent *agent, enum api_kind kind, size_t index)
{
    sim_after(sim, sim->setup.api_us, on_watch, agent->index,
              (int)(index * API_KINDS + (size_t)kind), agent->run, NULL);
}

static void on_watch(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (agent_absent(sim, event, &agent))
        return;
    enum api_kind kind = (enum api_kind)(event->other % API_KINDS);
    size_t index = (size_t)event->other / API_KINDS;
    if (!agent->synced[kind])
        return;
    if (!kube_reachable(sim, agent) || sim->now_us < sim->faults.frozen_until_us[agent->index]) {
        agent->missed |= 1u << kind;
        agent->broken |= !kube_reachable(sim, agent);
        int64_t wait = sim->now_us < sim->faults.frozen_until_us[agent->index]
                           ? sim->faults.frozen_until_us[agent->index] - sim->now_us
                           : sim_between(sim, RELIST_LOW_US, RELIST_HIGH_US);
        kube_relist(sim, agent, wait);
        return;
    }
    if (!(agent->missed & 1u << kind))
        kube_take(sim, agent, kind, index);
}

static void on_bookmark(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (agent_absent(sim, event, &agent))
        return;
    bool reached = kube_reachable(sim, agent);
    for (int kind = 0; kind < API_KINDS; kind++)
        if (agent->synced[kind] && reached)
            agent->seen_ms[kind] = agent_clock_ms(sim, agent);
    if (!reached) {
        /* A watch that broke: listed again as soon as that succeeds. */
        agent->missed = (1u << API_KINDS) - 1;
        agent->broken = true;
        kube_relist(sim, agent, sim_between(sim, RELIST_LOW_US, RELIST_HIGH_US));
    }
    sim_after(sim, BOOKMARK_US, on_bookmark, agent->index, 0, agent->run, NULL);
}

/* ---- requests ---- */

struct kube_request {
    enum lease_verb verb;
    struct lease lease;
    enum api_answer answer;
};

/* Whether a request gets through to the API, and if not, after how long the agent knows. */
static bool kube_sends(struct sim *sim, struct agent *agent, int64_t *ret_delay_us)
{
    if (kube_reachable(sim, agent) && !sim_chance(sim, sim->setup.loss_permille)) {
        *ret_delay_us = kube_latency(sim);
        return true;
    }
    bool refused = sim->api.down && sim_chance(sim, 500);
    *ret_delay_us = refused ? MS(5) : REQUEST_TIMEOUT_US;
    return false;
}

/* The answer's way back, which may be lost although the request was obeyed. */
static int64_t kube_way_back(struct sim *sim, struct agent *agent, enum api_answer *answer)
{
    if (kube_reachable(sim, agent) && !sim_chance(sim, sim->setup.loss_permille))
        return kube_latency(sim);
    *answer = API_FAILED;
    return REQUEST_TIMEOUT_US;
}

bool agent_reads_record(struct sim *sim, struct agent *agent, int64_t *ret_delay_us)
{
    enum api_answer answer = API_OK;
    bool sent = kube_sends(sim, agent, ret_delay_us);
    if (sent)
        *ret_delay_us += kube_way_back(sim, agent, &answer);
    return sent && answer == API_OK && !sim_chance(sim, sim->api.error_permille);
}

/* ---- the Lease ---- */

bool agent_leads(const struct sim *sim, const struct agent *agent)
{
    return lease_may_act(&agent->lease, agent_clock_ms(sim, agent));
}

bool agent_may_act(const struct sim *sim, const struct agent *agent)
{
    if (sim->options.guards_off & GUARD_LEASE)
        return agent->lease.held_ms && !agent->lease.releasing;
    return agent_leads(sim, agent);
}

/* Microseconds until the agent's clock shows `clock_ms`. */
static int64_t lease_wait_us(const struct sim *sim, const struct agent *agent, int64_t clock_ms)
{
    int64_t wait_ms = clock_ms - agent_clock_ms(sim, agent);
    return wait_ms <= 0 ? MS(1) : MS(wait_ms) * 1000000 / (1000000 + agent->clock_ppm) + MS(1);
}

static void lease_schedule(struct sim *sim, struct agent *agent)
{
    int64_t next_ms = lease_next_ms(&agent->lease);
    if (next_ms == INT64_MAX)
        return;
    int64_t wait = lease_wait_us(sim, agent, next_ms);
    sim_after(sim, wait, on_lease_due, agent->index, 0, agent->run, NULL);
}

static void on_lease_due(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    if (agent_absent(sim, event, &agent))
        return;
    struct kube_request *request = xcalloc(1, sizeof *request);
    request->verb = lease_step(&agent->lease, agent_clock_ms(sim, agent), &request->lease);
    if (request->verb == LEASE_IDLE) {
        free(request);
        lease_schedule(sim, agent);
        return;
    }
    text_format(request->lease.renew_time, sizeof request->lease.renew_time, "%lld-%d-%u",
                (long long)sim->now_us, agent->index, agent->lease_renewals++);
    int64_t delay;
    if (kube_sends(sim, agent, &delay)) {
        sim_after(sim, delay, on_lease_arrived, agent->index, 0, agent->run, request);
        return;
    }
    request->answer = API_FAILED;
    sim_after(sim, delay, on_lease_answer, agent->index, 0, agent->run, request);
}

static void on_lease_arrived(struct sim *sim, const struct event *event)
{
    struct kube_request *request = event->data;
    bool write = request->verb != LEASE_GET;
    if (sim_chance(sim, sim->api.error_permille))
        request->answer = API_FAILED;
    else if (write && sim_chance(sim, sim->api.conflict_permille))
        request->answer = API_CONFLICT;
    else
        request->answer = api_lease(sim, request->verb, &request->lease);
    struct agent *agent = &sim->agents[event->who];
    int64_t delay = kube_way_back(sim, agent, &request->answer);
    sim_after(sim, delay, on_lease_answer, event->who, 0, event->run, request);
}

static void on_lease_answer(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    struct kube_request *request = event->data;
    if (agent_absent(sim, event, &agent)) {
        if (!agent->alive || agent->run != event->run)
            free(request);
        return;
    }
    int64_t now_ms = agent_clock_ms(sim, agent);
    bool led = lease_may_act(&agent->lease, now_ms);
    switch (request->answer) {
    case API_OK:
        lease_on_object(&agent->lease, now_ms, &request->lease);
        break;
    case API_NOT_FOUND:
        lease_on_absent(&agent->lease, now_ms);
        break;
    case API_CONFLICT:
        lease_on_conflict(&agent->lease, now_ms);
        break;
    case API_FAILED:
        lease_on_failure(&agent->lease, now_ms, 0);
        break;
    }
    free(request);
    if (led != lease_may_act(&agent->lease, now_ms)) {
        sim_trace(sim, sim->redis[agent->index].name, led ? "leads no more" : "leads");
        agent_wake(sim, agent);
    }
    lease_schedule(sim, agent);
}

/* ---- the record ---- */

#define MEMBERS_MAX (2 * PODS_MAX)
#define FORGET_MAX 64

struct record_request {
    struct action action;
    struct record record; /* copied: the plan's arena is gone when it arrives */
    struct record_member members[MEMBERS_MAX];
    struct node_id forget[FORGET_MAX];
    struct record_left left[FORGET_MAX];
    uint64_t version;
    enum api_answer answer;
    const struct stored_record *stored;
    struct slot_range *ranges; /* behind the moves */
    struct record_move moves[];
};

static void on_record_answer(struct sim *sim, const struct event *event)
{
    struct agent *agent;
    struct record_request *request = event->data;
    if (agent_absent(sim, event, &agent)) {
        if (!agent->alive || agent->run != event->run)
            free(request);
        return;
    }
    uint64_t key = action_key(&request->action);
    int64_t now_ms = agent_clock_ms(sim, agent);
    agent->record_busy = false;
    if (request->answer == API_OK) {
        attempts_succeeded(&agent->attempts, key, now_ms, action_quiet_ms(&request->action));
        agent->record = agent->record_copy = request->stored;
    } else if (request->answer != API_CONFLICT) {
        (void)attempts_failed(&agent->attempts, key, now_ms, 0);
    }
    free(request);
    agent_wake(sim, agent);
}

static void on_record_arrived(struct sim *sim, const struct event *event)
{
    struct record_request *request = event->data;
    struct agent *agent = &sim->agents[event->who];
    if (sim_chance(sim, sim->api.error_permille))
        request->answer = API_FAILED;
    else if (sim_chance(sim, sim->api.conflict_permille))
        request->answer = API_CONFLICT;
    else
        request->answer = api_put_record(sim, &request->record, request->version, &request->stored);
    const char *word = request->answer == API_OK         ? "OK"
                       : request->answer == API_CONFLICT ? "409 Conflict"
                                                         : "failed";
    sim_trace(sim, sim->redis[event->who].name,
              "put record (%s, generation %lld, %zu members, %zu "
              "to forget) -> %s",
              request->record.state == RECORD_FORMED ? "formed" : "forming",
              (long long)request->record.generation, request->record.member_count,
              request->record.forget_count, word);
    int64_t delay = kube_way_back(sim, agent, &request->answer);
    sim_after(sim, delay, on_record_answer, event->who, 0, event->run, request);
}

static size_t record_count_ranges(const struct record *record)
{
    size_t count = 0;
    for (size_t i = 0; i < record->move_count; i++)
        count += record->moves[i].range_count;
    return count;
}

static struct record_request *record_request_new(const struct record *record)
{
    size_t moves = record->move_count;
    struct record_request *request =
        xcalloc(1, sizeof *request + moves * sizeof *request->moves +
                       record_count_ranges(record) * sizeof *request->ranges);
    request->ranges = (struct slot_range *)(void *)(request->moves + moves);
    return request;
}

static void record_copy_moves(struct record_request *request, const struct record *record)
{
    struct slot_range *ranges = request->ranges;
    for (size_t i = 0; i < record->move_count; i++) {
        request->moves[i] = record->moves[i];
        memcpy(ranges, record->moves[i].ranges, record->moves[i].range_count * sizeof *ranges);
        request->moves[i].ranges = ranges;
        ranges += record->moves[i].range_count;
    }
    request->record.moves = request->moves;
}

static void record_copy_items(struct record_request *request, const struct record *record)
{
    assert(record->member_count <= MEMBERS_MAX && record->forget_count <= FORGET_MAX);
    request->record = *record;
    request->record.members = request->members;
    request->record.forget = request->forget;
    if (record->member_count)
        memcpy(request->members, record->members, record->member_count * sizeof *record->members);
    if (record->forget_count)
        memcpy(request->forget, record->forget, record->forget_count * sizeof *record->forget);
    assert(record->left_count <= FORGET_MAX);
    request->record.left = request->left;
    if (record->left_count)
        memcpy(request->left, record->left, record->left_count * sizeof *record->left);
    record_copy_moves(request, record);
}

void agent_put_record(struct sim *sim, struct agent *agent, const struct action *action)
{
    if (agent->record_busy)
        return;
    if (!agent_may_act(sim, agent))
        return;
    check_send(sim, agent, action);
    struct record_request *request = record_request_new(action->record);
    request->action = *action;
    record_copy_items(request, action->record);
    request->version = agent->record ? agent->record->version : 0;
    agent->record_busy = true;
    int64_t delay;
    if (kube_sends(sim, agent, &delay)) {
        sim_after(sim, delay, on_record_arrived, agent->index, 0, agent->run, request);
        faults_on_send(sim, agent);
        return;
    }
    request->answer = API_FAILED;
    sim_after(sim, delay, on_record_answer, agent->index, 0, agent->run, request);
}
