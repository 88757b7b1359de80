/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which slots go where next: from the target (core/target.h), what is on its way already (the record's
 * moves), and what was seen of the slots that are to go next. The whole way is found anew each time, so
 * only what begins now is entered: a portion for each pair of shards, of slots that were looked at and found
 * closed on both sides, and without keys at their destination. An entry is thus written ahead: whatever is
 * seen of an entered slot later came of its move. It goes on to where it was going, or is cancelled where its
 * destination is to end; nothing of it is dropped before it has arrived or was seen to be clean.
 *
 * Both agents must have read what is entered now: the one at the source carries moves out, and the one at the
 * destination must not know of an earlier one of the same slot, which it would begin when it owns it.
 *
 * Nobody gets more before its copies are in sync, or data that had two copies would have one; and who owns
 * nothing yet gets a single slot first: Redis elects nobody for a primary without slots, so that its replica
 * would have the keys of a whole portion and never serve them.
 *
 * A shard whose primary leaves while a copy of it stays is handed over first, which is instant; until then it
 * neither gives nor gets. A slot that its owner migrates to another of our shards is entered, whoever began
 * it; one that is only imported, once there was seen to be no key of it there. Else old keys would win.
 */
#ifndef MUSTER_CORE_SCALE_H
#define MUSTER_CORE_SCALE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "core/slots.h"
#include "core/target.h"

#define SCALE_NOBODY UINT16_MAX
/* Slots on their way between two shards, at most; more are entered when half of them have arrived. */
#define SCALE_PORTION 256
/* Pairs that work side by side, at most; and of those that share a destination: each blocks it at times. */
#define SCALE_PAIRS_MAX 64
#define SCALE_SOURCES_MAX 4
/*
 * What was shared out by hand stays so until a shard comes or goes: target_ask.slack, percent. Who has less than
 * a tenth of its share has just come, be it that another tool gave it a slot first.
 */
#define SCALE_SLACK 90

/*
 * Arrays by slot have SLOT_COUNT places: of today's shards, or SCALE_NOBODY. In `clean` it may also be a
 * pod that is no shard yet: `target.shard_count` + its index in `target.pods`.
 */
struct scale_ask {
    struct target_ask target; /* its `slots` and `slack` are set here */
    bool settles;             /* nothing begins: what is on its way is only seen to, */
    bool ends;                /* and cancelled, where no key has gone yet */
    bool evening;      /* by the record: a shard came or went, and its slots are not all moved */
    const bool *ready; /* by pod: an empty primary, which may become a shard's */
    const bool *read;  /* by pod: the agent beside it has read the present moves, and did so since
                                 its server became a primary */
    const bool *full;  /* by shard: its primary has no memory left for more */
    const unsigned *synced; /* by pod: its followers that are in sync, and stay */
    const bool *laden;      /* by pod: its server holds keys */
    const uint16_t *owner;  /* whose it is; nobody's are left alone, and must not be on their way */
    const uint16_t *from;   /* where the record, or who shows it half-moved, has it come from, */
    const uint16_t *going;  /* where the record has it on its way to, */
    const uint16_t *half;   /* and who it is half-moved to, if the record does not know of it */
    const uint16_t
        *import; /* or who shows it as importing while its owner does not migrate it: a server does
                               so by itself where it finds old keys at its start (FACTS 6) */
    const uint16_t
        *clean; /* looked at because scale_next() asked for it with this very record: closed
                                 and without keys there, and closed at its owner */
    const struct slot_set *open;   /* shown as half-moved by anyone */
    const struct slot_set *cancel; /* of `going`: cancelled by the record */
    const struct slot_set
        *stuck; /* not to be begun: half-moved in no direction of ours, or old keys there */
};

struct scale {
    struct target target;
    const uint16_t *from;  /* as the record is to have it: from where... */
    const uint16_t *going; /* ...to where */
    const uint16_t *look;  /* what is to be looked at before it can be entered, or be dropped as
                              cancelled; SCALE_NOBODY = not */
    const struct slot_set *cancel; /* of `going`: to be cancelled */
    bool evening;                  /* as the record is to have it */
    bool changed;   /* it is to be written now: what has arrived is taken out with others */
    unsigned slots; /* on their way or still to go */
    size_t handed;  /* today's shard that is handed over before its slots move, or TARGET_NONE */
    size_t unread;  /* pod whose agent is waited for, or TARGET_NONE */
    size_t unready; /* pod that is to be a new shard's primary and is no empty one, likewise */
    size_t
        lone; /* pod that has to have its copies in sync before more goes to it, or TARGET_NONE */
    size_t full; /* today's shard to which nothing more is begun, or TARGET_NONE */
};

/* Everything in *ret_scale lives in `arena`. Without pods that stay nothing is entered or cancelled. */
void scale_next(const struct scale_ask *ask, struct arena *arena, struct scale *ret_scale);

#endif
