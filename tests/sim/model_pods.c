/* SPDX-License-Identifier: Apache-2.0 */
/* The StatefulSet controller and the kubelet: pods are made, get addresses, run, restart and end. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

#define LEASE_LIFE_US SECONDS(15)
#define SCALE_GRACE_US SECONDS(3600)
#define HOOK_SILENT_US SECONDS(30) /* hook.silentSeconds */

static void on_scheduled(struct sim *sim, const struct event *event);
static void on_address(struct sim *sim, const struct event *event);
static void on_server_start(struct sim *sim, const struct event *event);
static void on_hook(struct sim *sim, const struct event *event);
static void on_gate_open(struct sim *sim, const struct event *event);
static void on_agent_start(struct sim *sim, const struct event *event);
static void on_removed(struct sim *sim, const struct event *event);
static void on_control(struct sim *sim, const struct event *event);

static void pods_control(struct sim *sim, int64_t delay_us)
{
    sim_after(sim, delay_us, on_control, 0, 0, 0, NULL);
}

static bool pods_may_create(const struct sim *sim, int pod)
{
    if (sim->api.now.pods[pod].exists || pod >= sim->api.now.replicas || sim->api.now.set_absent)
        return false;
    return !sim->setup.ordered_ready || pod == 0 || sim->api.now.pods[pod - 1].ready;
}

static void pods_create(struct sim *sim, int pod)
{
    struct api_pod *p = &sim->api.now.pods[pod];
    sim->pods[pod].run++;
    sim->pods[pod].part = (struct node_id){""}; /* an emptyDir is the pod's */
    *p = (struct api_pod){
        .exists = true, .node = -1, .grace_ms = sim->setup.scaling ? SCALE_GRACE_US / 1000 : 0};
    text_format(p->uid, sizeof p->uid, "%08x-0000-4000-8000-%012llu", pod,
                (unsigned long long)++sim->api.uids);
    api_changed(sim, API_PODS);
    int64_t wait = sim_between(sim, MS(20), MS(400)) + sim->pods[pod].late_us;
    sim->pods[pod].late_us = 0;
    sim_after(sim, wait, on_scheduled, pod, 0, sim->pods[pod].run, NULL);
}

static void on_control(struct sim *sim, const struct event *event)
{
    (void)event;
    for (int i = 0; i < PODS_MAX; i++)
        if (pods_may_create(sim, i))
            pods_create(sim, i);
    for (int i = sim->api.now.replicas; i < PODS_MAX; i++) {
        if (!sim->api.now.pods[i].exists || sim->api.now.pods[i].terminating)
            continue;
        if (sim->setup.scaling)
            pods_drain(sim, i, SCALE_GRACE_US);
        else
            pods_delete(sim, i, true);
    }
}

static bool pod_gone(const struct sim *sim, const struct event *event)
{
    return sim->pods[event->who].run != event->run || !sim->api.now.pods[event->who].exists;
}

static void on_scheduled(struct sim *sim, const struct event *event)
{
    if (pod_gone(sim, event))
        return;
    struct api_pod *p = &sim->api.now.pods[event->who];
    p->node = (int)sim_between(sim, 0, sim->setup.pods - 1);
    p->zone = p->node % sim->setup.zones;
    api_changed(sim, API_PODS);
    sim_after(sim, sim_between(sim, MS(100), MS(1500)), on_address, event->who, 0, event->run,
              NULL);
}

static void on_address(struct sim *sim, const struct event *event)
{
    if (pod_gone(sim, event))
        return;
    struct api_pod *p = &sim->api.now.pods[event->who];
    struct pod_model *model = &sim->pods[event->who];
    bool free = model->reuse_addr && sim_host_at(sim, model->reuse_addr) < 0;
    p->addr = free ? model->reuse_addr : sim_new_addr(sim);
    model->reuse_addr = 0;
    sim_bind_addr(sim, p->addr, event->who);
    char ip[IP_SIZE];
    sim_addr_text(p->addr, ip, sizeof ip);
    sim_trace(sim, sim->redis[event->who].name, "pod has address %s%s", ip,
              free ? " (reused)" : "");
    api_changed(sim, API_PODS);
    sim_after(sim, sim_between(sim, MS(50), MS(500)), on_agent_start, event->who, 0, event->run,
              NULL);
    sim_after(sim, sim_between(sim, MS(500), MS(1500)), on_server_start, event->who, 0, event->run,
              NULL);
}

static void on_agent_start(struct sim *sim, const struct event *event)
{
    const struct api_pod *p = &sim->api.now.pods[event->who];
    if (pod_gone(sim, event) || !p->addr || sim->agents[event->who].alive)
        return;
    agent_start(sim, event->who, p->uid, p->addr);
}

static void on_ready(struct sim *sim, const struct event *event)
{
    struct api_pod *p = &sim->api.now.pods[event->who];
    if (pod_gone(sim, event) || p->terminating || p->ready)
        return;
    if (sim->redis[event->who].phase != REDIS_UP) {
        sim_after(sim, SECONDS(5), on_ready, event->who, 0, event->run, NULL);
        return;
    }
    p->ready = true;
    api_changed(sim, API_PODS);
    pods_control(sim, MS(100));
}

/* Its hook asks first; the agent beside it answers in its turns (agent_gate.c). */
static void on_server_start(struct sim *sim, const struct event *event)
{
    struct gate_model *gate = &sim->pods[event->who].gate;
    struct agent *agent = &sim->agents[event->who];
    if (pod_gone(sim, event) || sim->api.now.pods[event->who].terminating ||
        sim->redis[event->who].phase != REDIS_DOWN || gate->waiting)
        return;
    *gate = (struct gate_model){.waiting = true, .asked = gate->asked + 1, .heard_us = sim->now_us};
    if (agent->alive && sim->now_us >= agent->paused_until_us)
        agent_wake(sim, agent);
    sim_after(sim, HOOK_SILENT_US, on_hook, event->who, (int)gate->asked, event->run, NULL);
}

/* A silent agent: the hook goes by its own rule. */
static void on_hook(struct sim *sim, const struct event *event)
{
    const struct gate_model *gate = &sim->pods[event->who].gate;
    if (pod_gone(sim, event) || !gate->waiting || gate->asked != (uint64_t)event->other)
        return;
    int64_t wait = gate->heard_us + HOOK_SILENT_US - sim->now_us;
    if (wait <= 0 && gate_opens_alone(sim, &sim->redis[event->who])) {
        sim_trace(sim, sim->redis[event->who].name, "gate opens: its agent is silent");
        sim->stats->hooks_alone++;
        pods_open_gate(sim, event->who);
        return;
    }
    sim_after(sim, wait > MS(500) ? wait : MS(500), on_hook, event->who, event->other, event->run,
              NULL);
}

void pods_open_gate(struct sim *sim, int pod)
{
    sim->pods[pod].gate.waiting = false;
    sim_after(sim, sim_between(sim, MS(2), MS(50)), on_gate_open, pod, 0, sim->pods[pod].run, NULL);
}

static void on_gate_open(struct sim *sim, const struct event *event)
{
    struct redis *r = &sim->redis[event->who];
    const struct api_pod *p = &sim->api.now.pods[event->who];
    if (pod_gone(sim, event) || p->terminating || r->phase != REDIS_DOWN)
        return;
    int64_t load = redis_has_data(sim, r) ? sim_between(sim, MS(20), MS(800)) : MS(20);
    redis_start(sim, r, p->addr, load);
    sim_after(sim, load + sim_between(sim, MS(200), SECONDS(5)), on_ready, event->who, 0,
              event->run, NULL);
}

void pods_init(struct sim *sim, int replicas)
{
    for (int i = 0; i < PODS_MAX; i++) {
        char name[POD_NAME_SIZE];
        text_format(name, sizeof name, SET_NAME "-%d", i);
        redis_init(sim, i, name, true);
    }
    sim->redis_count = PODS_MAX;
    sim->api.now.replicas = replicas;
    api_changed(sim, API_SET);
    pods_control(sim, MS(10));
}

void pods_delete(struct sim *sim, int pod, bool graceful)
{
    struct api_pod *p = &sim->api.now.pods[pod];
    if (!p->exists || p->terminating)
        return;
    sim_trace(sim, sim->redis[pod].name, "pod deleted%s", graceful ? "" : ", at once");
    p->terminating = true;
    p->ready = false;
    api_changed(sim, API_PODS);
    int64_t grace = graceful ? sim_between(sim, MS(100), SECONDS(3)) : MS(1);
    sim_after(sim, grace, on_removed, pod, graceful, sim->pods[pod].run, NULL);
}

void pods_drain(struct sim *sim, int pod, int64_t grace_us)
{
    struct api_pod *p = &sim->api.now.pods[pod];
    if (!p->exists || p->terminating)
        return;
    sim_trace(sim, sim->redis[pod].name, "pod deleted, with %lld s for its drain",
              (long long)(grace_us / SECONDS(1)));
    p->terminating = true;
    p->ready = false;
    p->grace_ms = grace_us / 1000;
    sim->pods[pod].drain = (struct drain_model){.asking = true, .since_us = sim->now_us};
    api_changed(sim, API_PODS);
    struct agent *agent = &sim->agents[pod];
    if (agent->alive && sim->now_us >= agent->paused_until_us)
        agent_wake(sim, agent);
    sim_after(sim, grace_us, on_removed, pod, 1, sim->pods[pod].run, NULL);
}

void pods_let_go(struct sim *sim, int pod)
{
    sim->pods[pod].drain.asking = false;
    sim->pods[pod].drain.goes = true;
    sim_after(sim, sim_between(sim, MS(5), MS(100)), on_removed, pod, 1, sim->pods[pod].run, NULL);
}

static void on_removed(struct sim *sim, const struct event *event)
{
    if (pod_gone(sim, event))
        return;
    struct api_pod *p = &sim->api.now.pods[event->who];
    struct redis *r = &sim->redis[event->who];
    struct drain_model *drain = &sim->pods[event->who].drain;
    if ((drain->asking || drain->goes) && redis_running(sim, r))
        repl_drain(sim, r);
    if (drain->goes && !drain->risks && sim->setup.volumes && r->phase == REDIS_UP)
        check_stops(sim, r);
    *drain = (struct drain_model){0};
    bool reset = event->other || sim_chance(sim, 500);
    redis_stop(sim, r, reset);
    r->addr = 0;
    sim->pods[event->who].gate.waiting = false;
    agent_stop(sim, &sim->agents[event->who]);
    if (p->addr) {
        sim->host_of_addr[p->addr] = 0;
        faults_addr_released(sim, p->addr);
    }
    if (!sim->setup.volumes || sim->pods[event->who].lose_volume)
        redis_lose_volume(sim, r);
    if (sim->pods[event->who].lose_data)
        redis_lose_data(sim, r);
    sim->pods[event->who].lose_volume = false;
    sim->pods[event->who].lose_data = false;
    faults_volume_swapped(sim, event->who);
    *p = (struct api_pod){.node = -1};
    api_changed(sim, API_PODS);
    pods_control(sim, sim_between(sim, MS(50), SECONDS(1)));
}

void pods_scale(struct sim *sim, int replicas)
{
    sim->api.now.replicas = replicas;
    sim_trace(sim, "api", "StatefulSet scaled to %d", replicas);
    api_changed(sim, API_SET);
    pods_control(sim, MS(100));
}

void pods_crash_server(struct sim *sim, int pod)
{
    if (sim->redis[pod].phase == REDIS_DOWN)
        return;
    redis_stop(sim, &sim->redis[pod], true);
    sim_after(sim, sim_between(sim, MS(300), SECONDS(20)), on_server_start, pod, 0,
              sim->pods[pod].run, NULL);
}

void pods_crash_agent(struct sim *sim, int pod)
{
    if (!sim->agents[pod].alive)
        return;
    sim_trace(sim, sim->redis[pod].name, "agent crashes");
    agent_stop(sim, &sim->agents[pod]);
    int64_t back = sim_chance(sim, 300) ? sim_between(sim, LEASE_LIFE_US, 3 * LEASE_LIFE_US)
                                        : sim_between(sim, MS(300), SECONDS(5));
    sim_after(sim, back, on_agent_start, pod, 0, sim->pods[pod].run, NULL);
}

bool pods_all_running(const struct sim *sim)
{
    for (int i = 0; i < PODS_MAX; i++) {
        bool wanted = i < sim->api.now.replicas;
        const struct api_pod *p = &sim->api.now.pods[i];
        if (p->exists != wanted)
            return false;
        if (wanted && (p->terminating || !redis_running(sim, &sim->redis[i]) ||
                       !sim->agents[i].alive || sim->now_us < sim->agents[i].paused_until_us))
            return false;
    }
    return true;
}
