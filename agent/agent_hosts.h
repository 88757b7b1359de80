/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without Kubernetes (discovery: dns, static): who the servers are follows from names, who acts from
 * core/hosts.h, and the record is a file of every agent, exchanged over HTTP. The agent has this
 * instead of kube_client, kube_state, lease_client, record_client and event_client.
 *
 * agent_hosts.c makes the world; agent_mates.c asks the other agents. All functions that take an
 * agent are for one that has agent->hosts.
 */
#ifndef MUSTER_AGENT_HOSTS_H
#define MUSTER_AGENT_HOSTS_H

#include "core/hosts.h"
#include "core/world.h"
#include "io/host_names.h"
#include "io/host_record.h"
#include "io/http_client.h"
#include "wire/digest.h"

struct agent;

/* The key of the own server among the peers; those of the others are their addresses. */
#define HOSTS_SELF "self"

/* Another agent, by the address at which it is asked. */
struct host_mate {
    char ip[IP_SIZE];
    struct digest digest;      /* the last that came */
    int64_t heard_ms;          /* when it was asked for; 0 = never */
    int64_t asked_ms;          /* the last question */
    unsigned failures;         /* in a row */
    uint64_t refused;          /* hash of its record that we do not take; 0 = none */
    struct http_request *ask;  /* in flight; the HTTP client's */
    struct http_request *copy; /* likewise: its record */
    struct agent *agent;
};

/* An entry of static.peers. */
struct host_entry {
    char name[POD_NAME_SIZE]; /* "host:port", an IPv6 address in brackets */
    const char *host;         /* the configuration's */
    uint16_t port;
};

struct hosts {
    bool dns;                     /* else static */
    size_t size;                  /* servers of the cluster */
    struct host_entry *entries;   /* static: sorted like the record's members; owned */
    struct host_names *addresses; /* owned */
    struct host_record *record;   /* owned */
    struct hosts_state state;
    struct hosts_verdict verdict; /* of this turn */
    char own_ip[IP_SIZE];         /* "" = not known yet */
    char problem[ERR_MSG_SIZE];   /* with the list; "" if none */
    uint64_t set;                 /* hash of the list; 0 while it is not sure */
    struct host_mate *mates;      /* owned */
    size_t mate_count;
};

/* Reads the record and starts reading names. */
void agent_hosts_open(struct agent *agent);
/* After the executor's end. Accepts an agent that has none. */
void agent_hosts_close(struct agent *agent);

/* What agent_observe() is with Kubernetes: everything of agent->world, and the verdict. */
void agent_hosts_observe(struct agent *agent);

/* The fence: this turn's verdict, while it is fresh. */
bool agent_hosts_may_send(const struct agent *agent);

/* What the server that waits at the gate was, by its nodes.conf; NULL if none waits or it is new. */
const struct node_id *agent_hosts_id_at_gate(const struct agent *agent, int64_t *ret_since_ms);

/* agent_mates.c: what the digest says beside the server. */
void agent_hosts_fill_digest(const struct agent *agent, struct digest *digest);

/* The page that the other agents fetch; to be called when the copy changed. */
void agent_hosts_publish_record(struct agent *agent);

/* agent_mates.c: asks the agents at these addresses, each in its rhythm. */
void agent_mates_ask(struct agent *agent);
void agent_mates_follow(struct agent *agent, const char (*addresses)[IP_SIZE], size_t count);
void agent_mates_close(struct agent *agent);
const struct host_mate *agent_mates_find(const struct hosts *hosts, const char *ip);

#endif
