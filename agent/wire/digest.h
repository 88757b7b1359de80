/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest: what an agent says of its own server in at most DIGEST_TEXT_MAX bytes, so that the
 * leader need not read every full view (DESIGN 3). A digest only triggers reads; it never justifies
 * an action.
 *
 * One line of key=value separated by single spaces, "v=1" first. A reader ignores keys that it does
 * not know and versions above its own; a newer version only adds keys. A key that is absent reads as
 * unknown. Times are durations, since two machines share no clock.
 */
#ifndef MUSTER_WIRE_DIGEST_H
#define MUSTER_WIRE_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"
#include "core/ids.h"
#include "core/world.h"

#define DIGEST_VERSION 1
#define DIGEST_TEXT_MAX 400

enum digest_role { DIGEST_ROLE_UNKNOWN = 0, DIGEST_PRIMARY, DIGEST_REPLICA };
enum digest_gate { DIGEST_GATE_UNKNOWN = 0, DIGEST_GATE_OPEN, DIGEST_GATE_HELD };
/* What the server that is held at the gate has on its volume. */
enum digest_volume {
    DIGEST_VOLUME_UNKNOWN = 0,
    DIGEST_VOLUME_EMPTY, /* no data, and its nodes.conf, if there is one, names no slots of its own */
    DIGEST_VOLUME_DATA,      /* the data set that it would load, with keys */
    DIGEST_VOLUME_SLOTS,     /* a nodes.conf that says it owned slots, but no data */
    DIGEST_VOLUME_SLOTS_DATA /* both */
};
enum digest_drain {
    DIGEST_DRAIN_UNKNOWN = 0,
    DIGEST_DRAIN_NONE,
    DIGEST_DRAIN_RUNNING,
    DIGEST_DRAIN_DONE
};

struct digest {
    uint64_t pod;             /* digest_pod() of the pod that it speaks for; 0 = not told */
    char run_id[RUN_ID_SIZE]; /* "" = unknown */
    struct node_id id;        /* of a server at the gate: its nodes.conf's; "" = unknown or none */
    enum digest_role role;
    struct node_id primary; /* of a replica */
    bool link_up;           /* of a replica */
    int64_t offset;         /* replication offset, bytes; -1 = unknown */
    uint64_t epoch;         /* current epoch */
    uint64_t view_hash;     /* view_hash(); 0 = no view */
    uint32_t open_slots;    /* half-done slot moves it shows of itself */
    enum digest_gate gate;
    enum digest_volume volume; /* of a server that is held */
    int64_t waits_ms;          /* for how long it is; -1 = unknown */
    char why[GATE_WHY_SIZE];   /* what it waits for; cut to the room that the line has left */
    enum digest_drain drain;
    int64_t moves;    /* it carries the record's moves out, and has read them up to this generation;
                         -1 = no, as this release, or not told: the line would be too long */
    int64_t quiet_ms; /* for how long the server made no election attempt; -1 = unknown */
    int64_t age_ms;   /* of the server's answer that all this is from; -1 = never */

    /* Without Kubernetes (core/hosts.h). */
    uint64_t set;                   /* hash of the list of servers that it expects; 0 = unsure */
    enum record_state record_state; /* of the record that it holds */
    int64_t generation;             /* of that record; 0 = it holds none */
    uint64_t record;                /* hash of that record's text */
    char zone[ZONE_SIZE];           /* "" = unknown; left out when the line would be too long */
};

/* Appends the line with its newline. 0, or E_LIMIT past the buffer's ceiling. */
int digest_format(struct buf *out, const struct digest *digest);

/* By which an agent is known for that of the pod it was asked as: metadata.uid, in short. */
uint64_t digest_pod(const char *uid);

/* What it says of a server at the agent's gate. */
struct gate_word digest_gate_word(const struct digest *digest);

/* What it says of its server's drain. */
enum leaving digest_leaving(const struct digest *digest);

/* E_LIMIT above DIGEST_TEXT_MAX; E_PROTO for a malformed line, value, or a key that comes twice. */
must_check int digest_parse(struct span text, struct digest *ret_digest, struct err *err);

#endif
