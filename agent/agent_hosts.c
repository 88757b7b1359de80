/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the world without Kubernetes. */
#include "agent_hosts.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "core/host_seats.h"
#include "io/clock.h"
#include "io/endpoint.h"

#define HOSTS_RECORD_FILE "record.json"
/* At most so long a server waits at the gate for peers that may never come. */
#define HOSTS_GATE_MS 5000

static void hosts_on_change(void *ctx)
{
    agent_wake(ctx);
}

/* ---- start and end ---- */

static int host_entry_cmp(const void *a, const void *b)
{
    const struct host_entry *ea = a;
    const struct host_entry *eb = b;
    return record_name_cmp(ea->name, eb->name);
}

/* The entries in order: an entry is its own name, the first forms. */
static void hosts_open_static(struct hosts *hosts, const struct config *config, const char **names)
{
    hosts->size = config->static_list.peer_count;
    hosts->entries = xcalloc(hosts->size, sizeof *hosts->entries);
    for (size_t i = 0; i < hosts->size; i++) {
        struct host_entry *entry = &hosts->entries[i];
        entry->host = config->static_list.peers[i].host;
        entry->port = config->static_list.peers[i].port;
        bool v6 = strchr(entry->host, ':') != NULL;
        text_format(entry->name, sizeof entry->name, "%s%s%s:%u", v6 ? "[" : "", entry->host,
                    v6 ? "]" : "", entry->port);
    }
    qsort(hosts->entries, hosts->size, sizeof *hosts->entries, host_entry_cmp);
    for (size_t i = 0; i < hosts->size; i++)
        names[i] = hosts->entries[i].host;
}

/* The own address as far as it was given: it tells the family too. */
static const char *hosts_given_ip(const struct agent *agent)
{
    const char *host = agent->config->redis.host;
    bool loopback = strncmp(host, "127.0.0.", 8) == 0 || strcmp(host, "::1") == 0;
    if (agent->identity.pod_ip[0])
        return agent->identity.pod_ip;
    return loopback ? "" : host;
}

static void hosts_open_record(struct agent *agent)
{
    char path[CONFIG_SOCKET_SIZE + sizeof HOSTS_RECORD_FILE];
    struct span socket = span_of(agent->config->hook.socket);
    ptrdiff_t slash = span_rfind(socket, '/'); /* an absolute path: there is one */
    text_format(path, sizeof path, "%.*s/" HOSTS_RECORD_FILE, (int)slash, socket.ptr);
    agent->hosts->record = host_record_new(agent->loop, path);
    const char *problem = host_record_problem(agent->hosts->record);
    if (problem[0])
        LOG(LOG_ERROR, "record-unreadable",
            LOG_S("msg", "the record of this host cannot be read: it is taken from another agent, "
                         "or a person must remove the file"),
            LOG_S("why", problem));
}

void agent_hosts_open(struct agent *agent)
{
    const struct config *config = agent->config;
    struct hosts *hosts = agent->hosts = xcalloc(1, sizeof *hosts);
    hosts->dns = config->discovery == DISCOVERY_DNS;
    size_t count = hosts->dns ? 1 : config->static_list.peer_count;
    const char **names = xcalloc(count, sizeof *names);
    if (hosts->dns) {
        names[0] = config->dns.name;
        hosts->size = (size_t)config->cluster.size;
    } else {
        hosts_open_static(hosts, config, names);
    }
    struct host_names_config addresses = {
        .names = names,
        .count = count,
        .wanted = hosts->dns ? hosts->size : 1,
        .server = config->dns.server,
        .prefer = hosts_given_ip(agent),
        .seed = clock_entropy(),
        .on_change = hosts_on_change,
        .ctx = agent,
    };
    hosts->addresses = host_names_new(agent->loop, &addresses);
    free(names);
    hosts_open_record(agent);
}

void agent_hosts_close(struct agent *agent)
{
    struct hosts *hosts = agent->hosts;
    if (!hosts)
        return;
    host_record_free(hosts->record);
    host_names_free(hosts->addresses);
    free(hosts->entries);
    free(TAKE(agent->hosts));
}

/* ---- which of the addresses is ours ---- */

/* An address of this machine can be bound; on a machine with several servers that tells nothing. */
static bool hosts_is_local(const char *ip)
{
    struct endpoint endpoint;
    if (!endpoint_parse(span_of(ip), 0, &endpoint))
        return false;
    auto_close int fd = socket(endpoint.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, (const struct sockaddr *)&endpoint.address, endpoint.len) == 0;
}

/* Its agent says of its server what our server says of itself. */
static bool hosts_is_ourselves(const struct agent *agent, const char *ip)
{
    const struct server *own = peers_server(agent->peers, HOSTS_SELF);
    const struct host_mate *mate = agent_mates_find(agent->hosts, ip);
    return own && own->run_id[0] && mate && strcmp(mate->digest.run_id, own->run_id) == 0;
}

static void hosts_find_own(struct agent *agent, const struct host_place *places, size_t count)
{
    struct hosts *hosts = agent->hosts;
    const char *given = hosts_given_ip(agent);
    const char *found = NULL;
    size_t local = 0;
    if (hosts->own_ip[0])
        return;
    if (given[0]) {
        text_format(hosts->own_ip, sizeof hosts->own_ip, "%s", given);
        return;
    }
    for (size_t i = 0; i < count && !found; i++)
        if (places[i].ip[0] && hosts_is_ourselves(agent, places[i].ip))
            found = places[i].ip;
    for (size_t i = 0; i < count && !found; i++)
        local += places[i].ip[0] && hosts_is_local(places[i].ip);
    for (size_t i = 0; i < count && !found && local == 1; i++)
        if (places[i].ip[0] && hosts_is_local(places[i].ip))
            found = places[i].ip;
    if (!found)
        return;
    text_format(hosts->own_ip, sizeof hosts->own_ip, "%s", found);
    LOG(LOG_INFO, "own-address", LOG_S("ip", found));
}

/* ---- the list ---- */

static const char *hosts_uid(const struct hosts *hosts, const char *ip)
{
    return strcmp(ip, hosts->own_ip) == 0 ? HOSTS_SELF : ip;
}

const struct node_id *agent_hosts_id_at_gate(const struct agent *agent, int64_t *ret_since_ms)
{
    const struct hook_facts *facts = hook_server_waiting(agent->hook, ret_since_ms);
    return facts && facts->nodes_conf == HOOK_NODES_CONF_PRESENT ? &facts->myself.id : NULL;
}

/* What answered there last, be it to us or to the agent beside it. */
static struct node_id hosts_id_at(const struct agent *agent, const char *ip)
{
    const struct server *server = peers_server(agent->peers, hosts_uid(agent->hosts, ip));
    const struct host_mate *mate = agent_mates_find(agent->hosts, ip);
    if (server && node_id_is_set(&server->id))
        return server->id;
    int64_t since_ms;
    const struct node_id *gate = agent_hosts_id_at_gate(agent, &since_ms);
    if (gate && strcmp(ip, agent->hosts->own_ip) == 0)
        return *gate;
    return mate ? mate->digest.id : (struct node_id){{0}};
}

static struct host_place hosts_place(const struct agent *agent, const char *ip)
{
    struct host_place place = {.id = hosts_id_at(agent, ip)};
    text_format(place.ip, sizeof place.ip, "%s", ip);
    return place;
}

/* The addresses of dns.name, and our own, which exists whatever the name says. */
static struct host_place *hosts_dns_places(struct agent *agent, size_t *ret_count)
{
    struct hosts *hosts = agent->hosts;
    struct host_name name = host_names_get(hosts->addresses, 0);
    struct host_place *places = ARENA_NEW(&agent->arena, struct host_place, name.count + 1);
    size_t count = 0;
    bool listed = false;
    for (size_t i = 0; i < name.count && i < NODES_MAX; i++) {
        places[count++] = hosts_place(agent, name.addresses[i]);
        listed |= strcmp(name.addresses[i], hosts->own_ip) == 0;
    }
    hosts_find_own(agent, places, count);
    if (!listed && hosts->own_ip[0] && host_record_get(hosts->record))
        places[count++] = hosts_place(agent, hosts->own_ip);
    *ret_count = count;
    return places;
}

/* By entry; ip "" where the name has no address yet. */
static struct host_place *hosts_static_places(struct agent *agent, size_t *ret_count)
{
    struct hosts *hosts = agent->hosts;
    struct host_place *places = ARENA_NEW(&agent->arena, struct host_place, hosts->size);
    for (size_t i = 0; i < hosts->size; i++) {
        struct host_name name = host_names_get(hosts->addresses, i);
        if (name.count)
            places[i] = hosts_place(agent, name.addresses[0]);
        else
            text_format(hosts->problem, sizeof hosts->problem, "%s", name.problem);
        for (size_t k = 0; k < i && places[i].ip[0]; k++) {
            if (strcmp(places[k].ip, places[i].ip) != 0)
                continue;
            text_format(hosts->problem, sizeof hosts->problem,
                        "static.peers: %s and %s have one address, %s", hosts->entries[k].name,
                        hosts->entries[i].name, places[i].ip);
            places[i].ip[0] = '\0';
        }
    }
    hosts_find_own(agent, places, hosts->size);
    *ret_count = hosts->size;
    return places;
}

/* ---- is the list sure enough to form by? ---- */

static uint64_t hosts_hash_text(uint64_t hash, const char *text)
{
    return text_hash(hash, text, strlen(text) + 1);
}

static void hosts_judge_dns(struct agent *agent)
{
    struct hosts *hosts = agent->hosts;
    struct host_name name = host_names_get(hosts->addresses, 0);
    const char *dns = agent->config->dns.name;
    bool own = false;
    for (size_t i = 0; i < name.count; i++)
        own |= strcmp(name.addresses[i], hosts->own_ip) == 0;
    if (name.problem[0])
        text_format(hosts->problem, sizeof hosts->problem, "dns.name: %s", name.problem);
    else if (name.answered != hosts->size || name.count != hosts->size)
        text_format(hosts->problem, sizeof hosts->problem,
                    "forming needs exactly cluster.size %zu servers: %s has %zu address%s",
                    hosts->size, dns, name.answered, name.answered == 1 ? "" : "es");
    else if (!own)
        text_format(hosts->problem, sizeof hosts->problem,
                    hosts->own_ip[0] ? "%s does not have our own address %s"
                                     : "%s: which of its addresses is ours is not known%s",
                    dns, hosts->own_ip);
    else if (!name.twice)
        text_format(hosts->problem, sizeof hosts->problem,
                    "reading the addresses of %s a second time", dns);
}

/* The hash of what the cluster is to consist of; 0 while that is not sure. */
static uint64_t hosts_set(struct agent *agent)
{
    struct hosts *hosts = agent->hosts;
    int width = agent->config->cluster.replicas_per_primary;
    uint64_t hash = text_hash(TEXT_HASH_SEED, &width, sizeof width);
    struct host_name name = host_names_get(hosts->addresses, 0);
    if (hosts->dns)
        hosts_judge_dns(agent);
    if (hosts->dns && hosts->problem[0])
        return 0;
    for (size_t i = 0; i < hosts->size; i++)
        hash = hosts_hash_text(hash, hosts->dns ? name.addresses[i] : hosts->entries[i].name);
    return hash ? hash : 1;
}

/* ---- pods ---- */

static struct host_word hosts_own_word(const struct agent *agent, const struct pod *pod)
{
    const struct hosts *hosts = agent->hosts;
    const struct host_record *record = hosts->record;
    const struct record *own = host_record_get(record);
    struct host_word word = {
        .heard_ms = agent->world.now_ms,
        .id = pod->server.id,
        .set = hosts->set,
        .record = host_record_hash(record),
    };
    if (own) {
        word.generation = own->generation;
        word.state = own->state;
    }
    return word;
}

static struct host_word hosts_word_of(const struct host_mate *mate)
{
    struct host_word word = {
        .heard_ms = mate->heard_ms,
        .id = mate->digest.id,
        .set = mate->digest.set,
    };
    if (mate->digest.record && mate->digest.record != mate->refused) {
        word.generation = mate->digest.generation;
        word.record = mate->digest.record;
        word.state = mate->digest.record_state;
    }
    return word;
}

static void hosts_put_pod(struct agent *agent, const struct host_place *place, struct pod *pod)
{
    const struct hosts *hosts = agent->hosts;
    bool me = place->ip[0] && strcmp(place->ip, hosts->own_ip) == 0;
    const char *uid = place->ip[0] ? hosts_uid(hosts, place->ip) : pod->name;
    const struct host_mate *mate = me ? NULL : agent_mates_find(hosts, place->ip);
    text_format(pod->uid, sizeof pod->uid, "%s", uid);
    text_format(pod->ip, sizeof pod->ip, "%s", place->ip);
    text_format(pod->node, sizeof pod->node, "%s", place->ip[0] ? place->ip : pod->name);
    const struct server *server = place->ip[0] ? peers_server(agent->peers, uid) : NULL;
    if (server)
        pod->server = *server;
    if (me) {
        pod->agent = AGENT_OK;
        pod->agent_seen_ms = agent->world.now_ms;
        pod->ready = agent->readiness.ready;
        pod->word = hosts_own_word(agent, pod);
        text_format(pod->zone, sizeof pod->zone, "%s", agent->config->cluster.zone);
    } else if (mate) {
        pod->word = hosts_word_of(mate);
        pod->told = (struct told){.heard_ms = mate->heard_ms,
                                  .leaving = digest_leaving(&mate->digest),
                                  .gate = digest_gate_word(&mate->digest)};
        pod->agent = mate->failures > 1 ? AGENT_SILENT : mate->heard_ms ? AGENT_OK : AGENT_UNKNOWN;
        pod->agent_seen_ms = mate->heard_ms;
        pod->ready = pod->agent == AGENT_OK && mate->digest.run_id[0];
        text_format(pod->zone, sizeof pod->zone, "%s", mate->digest.zone);
    }
}

static int hosts_pod_cmp(const void *a, const void *b)
{
    const struct pod *pa = a;
    const struct pod *pb = b;
    return pa->ordinal < pb->ordinal ? -1 : pa->ordinal > pb->ordinal;
}

static void hosts_put_pods(struct agent *agent, const struct host_place *places, size_t count)
{
    const struct hosts *hosts = agent->hosts;
    struct world *w = &agent->world;
    struct pod *pods = ARENA_NEW(&agent->arena, struct pod, count);
    int *seats = ARENA_NEW(&agent->arena, int, count);
    if (hosts->dns)
        host_seats(w->record, hosts->size, places, count, &agent->arena, seats);
    for (size_t i = 0; i < count; i++) {
        struct pod *pod = &pods[i];
        pod->ordinal = hosts->dns ? seats[i] : (int)i;
        pod->port = hosts->dns ? agent->config->dns.port : hosts->entries[i].port;
        if (!hosts->dns)
            text_format(pod->name, sizeof pod->name, "%s", hosts->entries[i].name);
        else if (pod->ordinal < (int)hosts->size)
            host_seat_name(pod->ordinal, pod->name);
        else
            text_format(pod->name, sizeof pod->name, "%s", places[i].ip);
        hosts_put_pod(agent, &places[i], pod);
    }
    if (count)
        qsort(pods, count, sizeof *pods, hosts_pod_cmp);
    for (size_t i = 0; i < count; i++)
        if (strcmp(pods[i].uid, HOSTS_SELF) == 0)
            w->me = i;
    w->pods = pods;
    w->pod_count = count;
}

/* Whoever may be another agent is asked: all but ourselves. */
static void hosts_follow(struct agent *agent, const struct host_place *places, size_t count)
{
    const struct hosts *hosts = agent->hosts;
    char(*addresses)[IP_SIZE] = arena_alloc(&agent->arena, count + 1, sizeof *addresses);
    size_t others = 0;
    for (size_t i = 0; i < count; i++)
        if (places[i].ip[0] && strcmp(places[i].ip, hosts->own_ip) != 0)
            memcpy(addresses[others++], places[i].ip, IP_SIZE);
    agent_mates_follow(agent, (const char(*)[IP_SIZE])addresses, others);
}

/* ---- the world ---- */

static void hosts_put_record(struct agent *agent)
{
    struct world *w = &agent->world;
    const struct host_record *record = agent->hosts->record;
    w->record = host_record_get(record);
    w->record_problem = host_record_problem(record);
    if (w->record || w->record_problem[0])
        w->record_presence = PRESENCE_PRESENT;
}

static void hosts_judge(struct agent *agent)
{
    struct hosts *hosts = agent->hosts;
    struct world *w = &agent->world;
    hosts_step(&hosts->state, w, &hosts->verdict);
    if (hosts->verdict.anew)
        w->record = NULL;
    if (hosts->verdict.anew || (!w->record && !w->record_problem[0] && hosts_none_recorded(w)))
        w->record_presence = PRESENCE_ABSENT;
    w->leader = hosts->verdict.leader;
    w->leader_why = hosts->verdict.why;
    w->record_disputed = hosts->verdict.settle;
    if (hosts->verdict.leader_pod != NO_POD)
        text_format(w->leader_pod, sizeof w->leader_pod, "%s",
                    w->pods[hosts->verdict.leader_pod].name);
}

/*
 * A server that waits at the gate is told where its peers are once they were heard, be they at their
 * own gates; those that never come must not hold it for long.
 */
static void hosts_judge_gate(struct agent *agent)
{
    struct world *w = &agent->world;
    int64_t since_ms;
    const struct node_id *own = agent_hosts_id_at_gate(agent, &since_ms);
    if (!own)
        return;
    const struct record_member *member = w->record ? record_find_id(w->record, own) : NULL;
    if (member) /* also before our address is known: the volume tells */
        text_format(w->my_pod, sizeof w->my_pod, "%s", member->pod);
    size_t heard = w->me != NO_POD;
    for (size_t i = 0; i < w->pod_count; i++)
        heard += i != w->me && node_id_is_set(&w->pods[i].word.id);
    if (heard < agent->hosts->size && w->now_ms - since_ms < HOSTS_GATE_MS)
        w->api_seen_ms = 0;
}

void agent_hosts_observe(struct agent *agent)
{
    struct hosts *hosts = agent->hosts;
    struct world *w = &agent->world;
    size_t count;
    arena_reset(&agent->arena);
    *w = (struct world){
        .now_ms = clock_mono_ms(),
        .me = NO_POD,
        .arbiter = ARBITER_HOSTS,
        .seats = hosts->dns,
        .replicas_per_primary = agent->config->cluster.replicas_per_primary,
        .tls = agent->config->redis.tls.enabled,
        .reform_lost = agent->config->policy.lost_cluster == LOST_REFORM,
        .attempts = &agent->attempts,
        .entropy = {agent->entropy[0], agent->entropy[1]},
        .hosts_problem = hosts->problem,
        .set = {.known = true, .replicas = (int)hosts->size, .volumes = true},
    };
    w->api_seen_ms = w->now_ms;
    w->settling = w->now_ms < agent->settle_until_ms;
    text_format(w->set.name, sizeof w->set.name, "%s", hosts->dns ? "node" : "static");
    hosts->problem[0] = '\0';
    hosts_put_record(agent);
    const struct host_place *places =
        hosts->dns ? hosts_dns_places(agent, &count) : hosts_static_places(agent, &count);
    text_format(w->my_ip, sizeof w->my_ip, "%s", hosts->own_ip);
    hosts->set = hosts_set(agent);
    hosts_follow(agent, places, count);
    hosts_put_pods(agent, places, count);
    if (w->me != NO_POD)
        text_format(w->my_pod, sizeof w->my_pod, "%s", w->pods[w->me].name);
    hosts_judge(agent);
    hosts_judge_gate(agent);
    w->gone_since_ms = rebirth_look(&agent->rebirth, w);
    host_names_hurry(hosts->addresses, !w->record);
}

bool agent_hosts_may_send(const struct agent *agent)
{
    return agent->hosts->verdict.leader && clock_mono_ms() - agent->world.now_ms <= HOSTS_HEARD_MS;
}
