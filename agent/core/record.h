/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record: what is remembered of the cluster outside its servers (the ConfigMap
 * `<statefulset>-muster`; without Kubernetes a file of each agent, core/hosts.h). Written on change only, by compare-and-swap. What would hurt when two
 * leaders did it differently (the formation, what is to be forgotten) is written here first and
 * executed only from here.
 */
#ifndef MUSTER_CORE_RECORD_H
#define MUSTER_CORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ids.h"
#include "core/slots.h"

#define RECORD_VERSION 1
#define UID_SIZE 40      /* a Kubernetes uid is 36 characters */
#define POD_NAME_SIZE 64 /* a StatefulSet pod's name is a DNS label: at most 63 */
#define NO_SHARD UINT16_MAX

enum record_state {
    RECORD_STATE_NONE = 0,
    RECORD_FORMING, /* the intent below is being carried out */
    RECORD_FORMED,
};

/* A pod's node and, while forming, the part it was given and the settings it had before. */
struct record_member {
    char pod[POD_NAME_SIZE];
    struct node_id id;
    uint16_t shard;           /* index of the shard; NO_SHARD for one that joined later */
    bool primary;             /* its role at the formation; roles move later */
    uint64_t epoch;           /* config epoch to set before the first MEET */
    int64_t node_timeout_ms;  /* as read before the formation changed it; 0 = unknown */
    int64_t diskless_delay_s; /* likewise; -1 = unknown */
};

/*
 * Slots that are on their way from one primary to another: entered by the leader before anything is sent,
 * carried out by the agent beside the source and by nobody else (core/slot_move.h), taken out when the
 * destination has them or no key has gone. Where a shard has another primary meanwhile, that one is meant.
 */
struct record_move {
    struct node_id from;
    struct node_id to;
    int64_t generation; /* of the moves, when this was entered or changed last; from 1 */
    bool cancel;        /* not wanted any more: what no key of has gone yet is closed again */
    const struct slot_range *ranges; /* ascending, each maximal */
    size_t range_count;
    bool anchored;   /* `to` owned slots that stay, when this was written: */
    uint16_t anchor; /* one of them; once `to` is no node any more, whoever owns it is that shard */
};

/* A pod that was scaled in, and the node that it had: its volume starts from nothing should it come back. */
struct record_left {
    char pod[POD_NAME_SIZE];
    struct node_id id;
};

#define RECORD_PAUSE_REASON_SIZE 96

/* A person has paused Muster (core/pause.h). Times of the API's clock: agents come and go meanwhile. */
struct record_pause {
    bool set; /* else nothing below means anything, and is zero */
    int64_t since_unix_ms;
    int64_t until_unix_ms;                 /* it ends by itself then; 0 = it does not */
    char reason[RECORD_PAUSE_REASON_SIZE]; /* printable ASCII; "" = none was given */
};

/* More are neither read nor written: two for each shard that gives, and as many that are cancelled. */
#define RECORD_MOVES_MAX 4000

struct record {
    int version;            /* of the format; a reader ignores keys that it does not know */
    char uid[UID_SIZE];     /* the cluster's; never changes */
    int64_t generation;     /* +1 whenever the intent is planned anew */
    char set_uid[UID_SIZE]; /* of the StatefulSet; "" without Kubernetes */
    enum record_state state;
    uint16_t shards;                     /* at the formation */
    const struct record_member *members; /* sorted by record_name_cmp */
    size_t member_count;
    const struct node_id *forget; /* ids that their pods no longer have, to be forgotten */
    size_t forget_count;
    const struct record_left *left; /* pods that are no members any more */
    size_t left_count;
    bool evening; /* a shard came or went, and its slots are not all moved yet (core/scale.h) */
    int64_t move_generation; /* +1 with every change of the moves; 0 = there never were any */
    const struct record_move *moves; /* no slot is in two of them */
    size_t move_count;
    const char *moves_unclear; /* JSON that this release does not understand in their place: it is
                                  written again as it is, and nothing is moved; NULL = none */
    struct record_pause pause;
    /*
     * The pause as it stands there if this release does not understand all of it: written again as it is.
     * NULL = none. Without pause.set nothing of it is understood: it is a pause without a known end.
     */
    const char *pause_unclear;
};

/*
 * The order of members: shorter names first, then by their bytes. Names of one StatefulSet, which
 * differ in their number only, are then in the order of their ordinals.
 */
int record_name_cmp(const char *a, const char *b);

/* NULL if there is none. */
const struct record_member *record_find_pod(const struct record *record, const char *pod);
const struct record_member *record_find_id(const struct record *record, const struct node_id *id);
bool record_forgets(const struct record *record, const struct node_id *id);
bool record_has_left(const struct record *record, const struct node_id *id);

bool record_move_eq(const struct record_move *a, const struct record_move *b);

/* Equal in every field. */
bool record_eq(const struct record *a, const struct record *b);

#endif
