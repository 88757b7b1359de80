/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invariants of FAULTS 4, as far as forming and joining can break them. Each is checked where it
 * could be broken: at a send, at a command's arrival, at a write of the record, at a full sync.
 *
 *   I1   no second cluster: slots are added only where no server of ours, running or stopped with its
 *        volume, claims them; the record's uid never changes; no stranger enters a node table
 *        a cluster that is gone is formed again only where no volume could bring it back, or by word
 *   I2   hence no slot has two owners by our doing
 *   I3   at the end every slot has one owner in every view
 *   I5   who is ordered to take over from a primary that died lacks no byte that was written before its
 *        last moment (CRASH_SAMPLE_MS); and there is one order for each death
 *   I8   no data is replaced by nothing, by our REPLICATE or by Redis itself; nobody copies a stranger's
 *        data; what a replica had when its primary came back without it is there in the end; nobody
 *        takes over who lacks what a primary had that was told to stop, unless that is lost
 *   I9   implied: agents crash, pause and restart at any event
 *   I10  converged within a limit after the last fault, and nothing is sent after that
 *   I13  TAKEOVER and FORCE only of a primary that does not run
 *   I14  only what FACTS 4 allows is forgotten
 *   PAUSE  nothing is sent that a person's pause stops; and a person's word is one order
 *   F6   roles are moved one at a time, not more often than allowed, and not while a pod stops; none of it
 *        leaves a shard without a replica in sync
 *   M6   while slots move: nobody takes a slot whose latest write is elsewhere, none is replaced by an
 *        older one or dropped; in the end each slot's owner has what was acknowledged (I4; what an
 *        election loses, as Redis replicates, excepted), and none is half-moved
 *   F6   roles are moved one at a time, not more often than allowed, and not while a pod stops
 *   and  two agents never may act at once, unless the Lease was deleted by hand; nothing is sent while settling; a record is only ever
 *        replaced by its successor; the formation's settings are given back
 */
#ifndef MUSTER_SIM_CHECKS_H
#define MUSTER_SIM_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/action.h"
#include "core/mover.h"
#include "core/record.h"
#include "model_api.h"
#include "model_redis.h"

struct sim;
struct agent;

#define FOREIGN_IDS_MAX 32

struct checks {
    char record_uid[UID_SIZE]; /* of the first record; "" = none yet */
    uint32_t foreign_ids[FOREIGN_IDS_MAX];
    int foreign_count;
    uint32_t met_by_hand;     /* a stranger that a person has introduced; 0 = none */
    uint64_t kept[ATOMS_MAX]; /* writes that replicas had when their primary lost its data */
    uint64_t
        stopped[ATOMS_MAX]; /* that a primary had when it was told to stop; 0 = none, or lost */
    uint64_t
        ordered[PODS_MAX]; /* redis.run: the death of its server that its agent gave an order for */
    int64_t placed_us;     /* a role was moved last then; 0 = never */
    bool given_up;         /* what is being executed was ordered by a person, who gives a disk up */
    bool quiet;            /* nothing may be sent any more (I10) */
    int64_t paused_us;     /* a person's pause was stored last then */
    int64_t said_us;       /* a person paused or resumed last then; 0 = never */
    int64_t word_ms[PODS_MAX];   /* the word that an agent's last order of a person's obeyed, */
    uint64_t word_run[PODS_MAX]; /* by the agent of this run */
    /* A Lease deleted by hand makes two leaders, until the first one's renewal fails: harmlessness is
     * what then must hold (DESIGN 4), and all the other checks. */
    int64_t two_leaders_until_us;
};

/* From now on a node with this id is a stranger. */
void check_is_foreign(struct sim *sim, uint32_t id);

void check_send(struct sim *sim, const struct agent *agent, const struct action *action);
const char *check_and_command(struct sim *sim, const struct agent *agent, struct redis *r,
                              const struct action *action, const struct action_args *args);
void check_add_slots(struct sim *sim, const struct redis *r, const struct slot_set *slots);
void check_forget(struct sim *sim, const struct redis *r, const struct redis_node *n);
void check_takeover(struct sim *sim, const struct redis *r, const struct redis_node *primary);
void check_node_added(struct sim *sim, const struct redis *r, uint32_t id);
void check_full_sync(struct sim *sim, const struct redis *r, const struct redis *primary);
/* A hand-over is won under an epoch that is later than the primary's, or it is reverted (FACTS 0.3). */
void check_handover(struct sim *sim, const struct redis *r, const struct redis_node *old,
                    uint64_t epoch);

/* It was ordered while a voter gives no second vote: writes are paused for 5 s and nothing is won. */
void check_second_vote(struct sim *sim, const struct redis *voter,
                       const struct redis_node *candidate, const struct redis_node *primary);

/* Who was ordered to take over without its primary's word has what the dead one's disk has. */
void check_forced(struct sim *sim, const struct redis *r, uint32_t primary);

void check_keep_copies(struct sim *sim, const struct redis *primary); /* it loses its data now */
void check_stops(struct sim *sim, const struct redis *primary);       /* told to, with its data */
void check_loses(struct sim *sim, const struct redis *r);             /* what it has, now */
void check_heir(struct sim *sim, const struct redis *r, const struct slot_set *slots);
void check_record(struct sim *sim, const struct record *before, const struct record *after);

/* Who takes over has copied its primary, if we have told it to. */
void check_copied(struct sim *sim, const struct redis *r, uint32_t primary);

/* checks_place.c: what is sent to move roles; NULL, or what they lack, by the truth. */
void check_place(struct sim *sim, const struct agent *agent, const struct action *action,
                 const char *text);
const char *check_arrangement(struct sim *sim);

/* checks_people.c: what is sent, and written, though a person has paused; and one order for each word. */
void check_people(struct sim *sim, const struct agent *agent, const struct action *action,
                  const char *text);
void check_pause(struct sim *sim, const struct record *before, const struct record *after);
/* While slots move (checks_slots.c): */
struct redis *check_owner(struct sim *sim, unsigned slot); /* by the latest claim; or NULL */
bool check_has_left(const struct sim *sim,
                    const struct redis *r); /* scaled in, only its volume is left */
bool check_is_spare(struct sim *sim, const struct redis *r,
                    int atom); /* a copy of another shard's */
void check_order(struct sim *sim, const struct agent *agent, const struct mover_order *order);

/* While a person has paused Muster no slot is opened, but what is half-moved is finished. */
void check_opens(struct sim *sim, const struct agent *agent, const struct mover_order *order);
void check_take(struct sim *sim, const struct redis *r, unsigned slot);
void check_restored(struct sim *sim, const struct redis *r, int atom, uint64_t version);
void check_dropped(struct sim *sim, const struct redis *r, const struct redis_node *taker,
                   int atom);
/* Who was elected in place of `old` may lack its last writes (I5), unless it was handed over (I4). */
void check_elected(struct sim *sim, struct redis *heir, uint32_t old, bool manual);
void check_keys(struct sim *sim);          /* in the end */
const char *check_scaled(struct sim *sim); /* part of check_converged() */

/* Every server of ours up, in sync and content: faults that lose data wait for it. */
bool check_healthy(struct sim *sim);

/* In the end, when check_converged() is content: nothing is gone that was kept. */
void check_kept(struct sim *sim);

/* NULL if the cluster is as it should be in the end; else what is missing, in a static buffer. */
const char *check_converged(struct sim *sim);

#endif
