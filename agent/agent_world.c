/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the world: copies what kube_state, peers and the Lease know into one value. */
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/text.h"
#include "core/election.h"
#include "core/observe.h"
#include "io/clock.h"

static bool agent_controls(const struct kube_stateful_set *set, const struct kube_pod *pod)
{
    return pod->ordinal >= 0 && strcmp(pod->controller.kind, "StatefulSet") == 0 &&
           strcmp(pod->controller.uid, set->meta.uid) == 0;
}

static bool agent_was_ours(const struct agent *agent, const char *uid)
{
    size_t i = 0;
    while (i < agent->ours.count && strcmp(agent->ours.uids[i], uid) != 0)
        i++;
    return i < agent->ours.count;
}

/* A name that the record has, and no server there that answers with another id than the record's. */
static bool agent_recorded(const struct agent *agent, const struct kube_pod *pod)
{
    const struct world *w = &agent->world;
    const struct record *record = w->record ? w->record : w->record_copy;
    const struct record_member *member = record ? record_find_pod(record, pod->meta.name) : NULL;
    const struct server *server = peers_server(agent->peers, pod->meta.uid);
    return member && (!server || !server->seen_ms || node_id_eq(&server->id, &member->id));
}

/*
 * Ours: controlled by the StatefulSet with the uid that the API gives today (DESIGN 4). A pod that
 * lost its controller, as `kubectl delete --cascade=orphan` does until a new StatefulSet adopts it,
 * goes on being ours if it was, and is in the record. Labels and a fitting name make nobody ours.
 */
static bool agent_owns(const struct agent *agent, const struct kube_stateful_set *set,
                       const struct kube_pod *pod)
{
    if (pod->controller.uid[0])
        return agent_controls(set, pod);
    return pod->ordinal >= 0 && agent_was_ours(agent, pod->meta.uid) && agent_recorded(agent, pod);
}

/* For the time when a pod of ours is an orphan: its uid stays ours, whatever it is called. */
static void agent_remember_pods(struct agent *agent, const struct kube_stateful_set *set,
                                const struct kube_pod *pods, size_t count)
{
    char(*uids)[UID_SIZE] = count ? xcalloc(count, sizeof *uids) : NULL;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (agent_controls(set, &pods[i]) || agent_was_ours(agent, pods[i].meta.uid))
            memcpy(uids[kept++], pods[i].meta.uid, sizeof *uids);
    free(agent->ours.uids);
    agent->ours = (struct agent_pods){uids, kept};
}

/* One family in a cluster: that of our own POD_IP (DESIGN 5.1). */
static void agent_put_ip(const struct agent *agent, const struct kube_pod *from, struct pod *pod)
{
    const char *ip = from->ip;
    if (ip[0] && !kube_is_same_family(ip, agent->identity.pod_ip))
        ip = from->other_ip;
    text_format(pod->ip, sizeof pod->ip, "%s", ip);
    pod->other_family = from->ip[0] && !ip[0];
}

/* The own server at the own gate, as the other agents hear of theirs. */
static void agent_put_own_gate(struct agent *agent, struct pod *me)
{
    struct digest digest = {0};
    if (agent_gate_digest(agent, &digest))
        me->told =
            (struct told){.heard_ms = agent->world.now_ms, .gate = digest_gate_word(&digest)};
}

static bool agent_is_updated(const struct agent *agent, const struct kube_pod *pod)
{
    const struct kube_stateful_set *set = kube_state_set(agent->state);
    return set && pod->revision[0] && strcmp(pod->revision, set->update_revision) == 0;
}

static void agent_put_pod(struct agent *agent, const struct kube_pod *from, struct pod *pod)
{
    const struct config *config = agent->config;
    *pod = (struct pod){.ordinal = from->ordinal,
                        .port = config->redis.port,
                        .terminating = from->meta.deleting,
                        .grace_ms = from->grace_ms,
                        .updated = agent_is_updated(agent, from),
                        .ready = from->ready};
    text_format(pod->name, sizeof pod->name, "%s", from->meta.name);
    text_format(pod->uid, sizeof pod->uid, "%s", from->meta.uid);
    agent_put_ip(agent, from, pod);
    text_format(pod->node, sizeof pod->node, "%s", from->node);
    text_format(pod->zone, sizeof pod->zone, "%s", kube_state_zone(agent->state, from));
    pod->zone_pending = kube_state_zone_pending(agent->state, from);
    bool me = strcmp(pod->uid, agent->identity.pod_uid) == 0;
    pod->agent = me ? AGENT_OK : agent_mate_state(agent, pod->uid, &pod->agent_seen_ms);
    if (me) {
        pod->agent_seen_ms = agent->world.now_ms;
        agent_put_own_gate(agent, pod);
    } else {
        agent_mate_told(agent, pod->uid, &pod->told);
    }
    const struct server *server = peers_server(agent->peers, pod->uid);
    if (server)
        pod->server = *server;
}

static int agent_pod_cmp(const void *a, const void *b)
{
    const struct pod *pa = a;
    const struct pod *pb = b;
    return pa->ordinal < pb->ordinal ? -1 : pa->ordinal > pb->ordinal;
}

static void agent_put_pods(struct agent *agent, const struct kube_stateful_set *set)
{
    size_t count;
    const struct kube_pod *from = kube_state_pods(agent->state, &count);
    struct pod *pods = ARENA_NEW(&agent->arena, struct pod, count);
    struct world *w = &agent->world;
    agent_remember_pods(agent, set, from, count);
    for (size_t i = 0; i < count && w->pod_count < NODES_MAX; i++)
        if (agent_owns(agent, set, &from[i]))
            agent_put_pod(agent, &from[i], &pods[w->pod_count++]);
    if (w->pod_count)
        qsort(pods, w->pod_count, sizeof *pods, agent_pod_cmp);
    for (size_t i = 0; i < w->pod_count; i++)
        if (strcmp(pods[i].uid, agent->identity.pod_uid) == 0)
            w->me = i;
    w->pods = pods;
}

static void agent_put_set(struct agent *agent, const struct kube_stateful_set *set)
{
    struct stateful_set *to = &agent->world.set;
    text_format(to->name, sizeof to->name, "%s", kube_state_set_name(agent->state));
    to->absent = kube_state_set_absent(agent->state);
    if (!set)
        return;
    to->known = true;
    text_format(to->uid, sizeof to->uid, "%s", set->meta.uid);
    to->generation = set->meta.generation;
    to->replicas = set->replicas;
    to->volumes = set->volumes;
    to->ordered_ready = set->ordered_ready;
}

/* What runs beside us shows its part as long as it answers; what it had stays known after its end. */
static void agent_remember(struct agent *agent)
{
    struct world *w = &agent->world;
    const struct pod *me = w->me == NO_POD ? NULL : &w->pods[w->me];
    if (me && world_view_fresh(w, me)) {
        const struct view *view = me->server.view;
        struct own_past past = {me->server.id, view->myself->slot_count > 0};
        for (size_t i = 0; !past.part && i < view->node_count; i++)
            past.part = node_id_eq(&view->nodes[i].primary, &view->myself->id);
        agent_keep_past(agent, &past);
    }
    w->past = agent->past;
    election_note(&agent->copy, w);
    w->copy = agent->copy;
}

static void agent_observe_kube(struct agent *agent)
{
    arena_reset(&agent->arena);
    struct world *w = &agent->world;
    *w = (struct world){
        .now_ms = clock_mono_ms(),
        .me = NO_POD,
        .leader = lease_client_may_act(agent->lease),
        .api_seen_ms = kube_state_seen_ms(agent->state),
        .api_broken = kube_state_broken(agent->state),
        .replicas_per_primary = agent->config->cluster.replicas_per_primary,
        .tls = agent->config->redis.tls.enabled,
        .reform_lost = agent->config->policy.lost_cluster == LOST_REFORM,
        .attempts = &agent->attempts,
        .entropy = {agent->entropy[0], agent->entropy[1]},
        .record_problem = "",
    };
    w->settling = w->now_ms < agent->settle_until_ms;
    text_format(w->my_pod, sizeof w->my_pod, "%s", agent->identity.pod_name);
    text_format(w->my_ip, sizeof w->my_ip, "%s", agent->identity.pod_ip);
    struct span holder = span_of(lease_client_holder(agent->lease));
    (void)TEXT_COPY(w->leader_pod, span_until(&holder, '_'));
    w->record_presence = kube_state_record(agent->state, &w->record);
    if (w->record_presence == PRESENCE_PRESENT && !w->record)
        w->record_problem = kube_state_problem(agent->state);
    w->record_copy = kube_state_record_copy(agent->state);
    const struct kube_stateful_set *set = kube_state_set(agent->state);
    agent_put_set(agent, set);
    if (set)
        agent_put_pods(agent, set);
    w->gone_since_ms = rebirth_look(&agent->rebirth, w);
}

static void agent_put_placement(struct agent *agent)
{
    static const enum placement_policy policies[] = {[PLACEMENT_ENFORCE] = PLACE_ENFORCE,
                                                     [PLACEMENT_WARN] = PLACE_WARN,
                                                     [PLACEMENT_OFF] = PLACE_OFF};
    agent->world.placement = policies[agent->config->policy.placement];
    agent->world.placement_interval_ms =
        INT64_C(1000) * agent->config->policy.placement_min_interval;
    agent->world.place = agent->place;
    agent->world.pace = agent->pace;
    agent->world.scaling =
        agent->config->policy.scaling == SCALING_POLICY_AUTO ? SCALING_AUTO : SCALING_OFF;
}

void agent_observe(struct agent *agent)
{
    if (agent->hosts)
        agent_hosts_observe(agent);
    else
        agent_observe_kube(agent);
    agent_remember(agent);
    agent_watch_drain(agent);
    agent_put_placement(agent);
    agent_watch_crash(agent);
    agent_watch_people(agent);
    agent_watch_moves(agent);
}

/*
 * Whoever is hurried is asked at that pace for a moment longer than the wish. Who does not watch has
 * set something on its own server only, and sees that with the next answers.
 */
static void agent_hurry(struct agent *agent, const struct observe_ask *asks, bool watch)
{
    int64_t until_ms = clock_mono_ms() + (watch ? AGENT_HURRY_FOR_MS : AGENT_HURRY_OWN_MS);
    for (size_t i = 0; i < agent->world.pod_count; i++) {
        bool me = i == agent->world.me;
        const char *uid = me ? agent->identity.pod_uid : agent->world.pods[i].uid;
        if (asks[i].hurry_ms)
            peers_hurry(agent->peers, uid, asks[i].hurry_ms, until_ms);
    }
}

void agent_follow_pods(struct agent *agent)
{
    const struct world *w = &agent->world;
    bool leads = agent->hosts ? agent->hosts->verdict.watch : w->leader;
    bool judges = agent->gate_asks || agent_drains(agent) || agent->plan.crash.hold;
    bool watch = leads || judges;
    /* Gate, drain and crash, and without Kubernetes every agent, judge by the views of all. */
    size_t sweep_max = agent->hosts || judges ? NODES_MAX : OBSERVE_SWEEP_MAX;
    const struct observe_ask *asks =
        observe_choose(w, &agent->plan, watch, sweep_max, &agent->arena);
    struct peer_target *targets = ARENA_NEW(&agent->arena, struct peer_target, w->pod_count + 1);
    size_t count = 0;
    bool listed = w->me != NO_POD;
    targets[count++] = (struct peer_target){
        .uid = agent->identity.pod_uid,
        .ip = agent->config->redis.host,
        .port = agent->config->redis.port,
        .rhythm = listed ? asks[w->me].rhythm : observe_own_rhythm(w->pod_count, watch),
        .read = listed && asks[w->me].read,
    };
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct pod *pod = &w->pods[i];
        if (i != w->me && asks[i].dial)
            targets[count++] =
                (struct peer_target){pod->uid, pod->ip, pod->port, asks[i].rhythm, asks[i].read};
    }
    peers_sync(agent->peers, targets, count);
    agent_hurry(agent, asks, watch);
}
