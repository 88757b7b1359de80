/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What muster-hook and the agent say to each other over the Unix socket.
 *
 * A message is text: a first line, lines "key=value", an empty line.
 *
 *   muster-hook/1 start                          muster-agent/1 go
 *   data-dir=/data                               nodes-conf=rewrite
 *   nodes-conf=present                           addr=<id> 10.0.0.7 6379 16379
 *   myself=<id> master 3 5461 -                  addr=<id> noaddr
 *   peer=<id> 10.0.0.5 6379 16379 slave          addr=<id> fail?
 *   ...                                          set=cluster-announce-ip 10.0.0.4
 *
 * "muster-hook/1 drain" may say waits=<milliseconds that preStop has run>.
 *
 * nodes-conf=aside instead has nodes.conf and the data moved aside, for a start from nothing.
 *
 * What people order: "failover" says pod=<name>, with look=yes only what became of the last such order;
 * "pause" may say reason=<text> and for=<milliseconds>; "resume" nothing.
 *
 * Requests are start, drain, ready, alive, open, takeover, failover, pause and resume; verdicts are wait,
 * go, ok, no and error. The number is the version that the writer speaks. Two releases may meet during
 * an upgrade: a reader ignores keys that it does not know, takes an unknown verb or verdict as
 * HOOK_VERB_NONE or HOOK_VERDICT_NONE, and an unknown word in a value as unknown. Values hold no control
 * bytes; the writer turns them into '?'.
 *
 * `start` keeps its connection: after "wait" the agent repeats it (a silent agent is a stopped
 * one), after "go" the connection is the life line, left open across exec, on which nothing is
 * said any more. The others get one answer, drain also "wait" before it; with look=yes "wait" is one,
 * too. Pure: no socket here.
 */
#ifndef MUSTER_WIRE_HOOK_PROTO_H
#define MUSTER_WIRE_HOOK_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"
#include "core/ids.h"
#include "core/record.h"
#include "core/view.h"
#include "wire/nodes_conf.h"

#define HOOK_PROTO_VERSION 1
#define HOOK_REASON_SIZE 256
#define HOOK_PATH_SIZE 512
#define HOOK_SETTINGS_MAX 16

enum hook_verb {
    HOOK_VERB_NONE = 0,
    HOOK_START,
    HOOK_DRAIN,
    HOOK_READY,
    HOOK_ALIVE,
    HOOK_OPEN,     /* `muster gate open`: a person lets start what waits at the gate */
    HOOK_TAKEOVER, /* `muster takeover`: a person gives up primaries that are lost */
    HOOK_FAILOVER, /* `muster failover POD`, */
    HOOK_PAUSE,    /* `muster pause` */
    HOOK_RESUME,   /* and `muster resume`: answered by a turn of the agent */
};

enum hook_verdict {
    HOOK_VERDICT_NONE = 0,
    HOOK_WAIT,  /* start, drain: not yet, for this reason */
    HOOK_GO,    /* start: do what the answer says, then run the server */
    HOOK_OK,    /* drain: the server may stop; ready, alive: yes */
    HOOK_NO,    /* ready, alive: no, for this reason */
    HOOK_ERROR, /* the request was not understood */
};

enum hook_truth { HOOK_UNKNOWN = 0, HOOK_FALSE, HOOK_TRUE };

enum hook_nodes_conf {
    HOOK_NODES_CONF_UNKNOWN = 0,
    HOOK_NODES_CONF_ABSENT, /* or empty, which a server takes for absent: it will make a new id */
    HOOK_NODES_CONF_PRESENT,
    HOOK_NODES_CONF_CORRUPT,    /* a server would refuse it, or it is cut */
    HOOK_NODES_CONF_UNREADABLE, /* there, but not to be read by the server's user */
};

/* A peer as nodes.conf has it. */
struct hook_peer {
    struct node_id id;
    char ip[IP_SIZE]; /* "" = noaddr */
    uint16_t port;
    uint16_t bus_port;
    uint32_t flags; /* of enum node_flag */
};

/*
 * What the hook found in the server's container before the start: which data the server will load
 * (by its arguments and its configuration file, defaults of Redis 7.0) and whether it is there.
 * Sizes in bytes, 0 = none.
 */
struct hook_facts {
    char hook_version[32];
    int64_t pid;
    char server[32]; /* "redis-server" or "valkey-server" where COMMAND shows it, else "" */
    char argv0[HOOK_PATH_SIZE];
    char config_error[HOOK_REASON_SIZE]; /* why the configuration is not (all) known; "" = it is */
    char data_dir[HOOK_PATH_SIZE];
    char data_dir_error[HOOK_REASON_SIZE]; /* why it could not be read; "" = it could */
    enum hook_truth dir_empty;
    enum hook_truth cluster_enabled;

    enum hook_nodes_conf nodes_conf;
    char nodes_conf_file[HOOK_PATH_SIZE];    /* the whole path */
    char nodes_conf_error[HOOK_REASON_SIZE]; /* what is wrong with a corrupt or unreadable one */
    struct nodes_conf_node myself;           /* when present; its address is not sent */
    struct hook_peer *peers;                 /* owned */
    size_t peer_count;

    enum hook_truth appendonly;
    enum hook_truth save; /* snapshots are configured; a server loads its RDB also without */
    enum hook_truth rdb;  /* the file is there */
    int64_t rdb_bytes;
    enum hook_truth rdb_keys;     /* it holds a database, not only a header */
    enum hook_truth aof;          /* the manifest, or the single file of Redis 6, is there */
    enum hook_truth aof_complete; /* so is every file that the manifest names */
    int64_t aof_base_bytes;
    int64_t aof_incr_bytes;
    enum hook_truth aof_keys;

    /* Not sent: what the agent noted beside its socket of the server that ran here last (io/hook_files.h). */
    struct node_id part; /* it owned slots or was followed; "" = nothing is noted */
};

/* What a person says with an order. */
struct hook_person {
    char pod[POD_NAME_SIZE];               /* failover: who is to become its shard's primary */
    bool look;                             /* likewise: what became of it, nothing is ordered */
    char reason[RECORD_PAUSE_REASON_SIZE]; /* pause: why; "" = not told */
    int64_t for_ms;                        /* likewise: until its end; 0 = until "resume" */
};

struct hook_request {
    int version;
    enum hook_verb verb;
    struct hook_facts facts; /* of start */
    int64_t waits_ms; /* of drain: since when preStop runs, for an agent that was restarted */
    struct hook_person person; /* of failover and pause */
};

struct hook_setting {
    char name[40];
    char value[256];
};

struct hook_answer {
    int version;
    enum hook_verdict verdict;
    char reason[HOOK_REASON_SIZE]; /* a sentence; "" for none */
    bool rewrite; /* go: give the peers in nodes.conf these addresses; else leave it as it is */
    bool aside;   /* go: move nodes.conf and data aside, and start empty; never with `rewrite` */
    struct nodes_conf_address *addresses; /* owned; a peer not named gets none */
    size_t address_count;
    struct hook_setting
        settings[HOOK_SETTINGS_MAX]; /* go: server settings, see hook_setting_is_allowed() */
    size_t setting_count;
    char server_ip[IP_SIZE]; /* in the file of the last verdict: where the server listens */
    uint16_t server_port;
};

/*
 * The data set that the server will load is there and holds keys. Where the persistence mode is not
 * known, both the RDB and the AOF must be.
 */
bool hook_facts_prove_data(const struct hook_facts *facts);

/* Both accept a zeroed struct. */
void hook_request_deinit(struct hook_request *request);
void hook_answer_deinit(struct hook_answer *answer);
void hook_facts_deinit(struct hook_facts *facts);

#define auto_hook_request __attribute__((cleanup(hook_request_deinit)))
#define auto_hook_answer __attribute__((cleanup(hook_answer_deinit)))

/*
 * Appends the message; give `out` the ceiling HOOK_MESSAGE_MAX. E_LIMIT if it does not fit, with
 * `out` unusable.
 */
must_check int hook_request_format(const struct hook_request *request, struct buf *out,
                                   struct err *err);
must_check int hook_answer_format(const struct hook_answer *answer, struct buf *out,
                                  struct err *err);

/* Reads one message as hook_reader_next() gives it. E_PROTO with the offending line's key. */
must_check int hook_request_parse(struct span message, struct hook_request *ret_request,
                                  struct err *err);
must_check int hook_answer_parse(struct span message, struct hook_answer *ret_answer,
                                 struct err *err);

/*
 * The settings that an agent may give a server at its start: those that Muster owns (DESIGN 2) and
 * nothing else, with a value of plain characters. A reader passes over others.
 */
bool hook_setting_is_allowed(const struct hook_setting *setting);

/* Cuts a stream of bytes into messages. */
struct hook_reader {
    struct buf buf;
    size_t taken;      /* length of the message given last, to be dropped */
    size_t scanned;    /* no end of message starts before this */
    const char *magic; /* what a message must begin with */
};

/* What is to be read: the agent reads requests, the hook answers. */
enum hook_direction { HOOK_REQUESTS = 1, HOOK_ANSWERS };

void hook_reader_init(struct hook_reader *reader, enum hook_direction direction);
void hook_reader_deinit(struct hook_reader *reader);

/* Adds received bytes; E_LIMIT when more than HOOK_MESSAGE_MAX of them wait for an end. */
must_check int hook_reader_feed(struct hook_reader *reader, const void *bytes, size_t len,
                                struct err *err);

/*
 * 1 with the next whole message, borrowed until the next call; 0 when bytes are missing; E_PROTO
 * when what came is not of this protocol, as soon as that shows.
 */
must_check int hook_reader_next(struct hook_reader *reader, struct span *ret_message,
                                struct err *err);

#endif
