/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rules of the planner share. Only plan.c and the rule files include this.
 *
 * A rule looks at world and facts, says at most one sentence and adds actions. It answers whether
 * the rules below it may still act in this turn.
 */
#ifndef MUSTER_CORE_RULES_H
#define MUSTER_CORE_RULES_H

#include "core/facts.h"
#include "core/plan.h"
#include "core/scale_see.h"

enum rule_verdict {
    RULE_PASS, /* go on with the next rule */
    RULE_STOP, /* nothing below may act now */
};

struct planner {
    const struct world *world;
    const struct facts *facts;
    struct arena *arena;
    struct plan *plan;
    const char *rule;   /* the one that is running */
    size_t rule_number; /* from 1 */
    const char *lost; /* the recorded cluster, when it is gone and is to be formed anew; or NULL */
    const struct scale *scale;       /* which roles scaling wants; NULL = not known, or it is off */
    const struct scale_sight *sight; /* of what it came */
    const char *note;                /* what the sentence of a steady cluster ends with; or NULL */
    size_t *claims; /* by pod: number of the rule that acts on its server in this turn; 0 none */
};

/* The turn's sentence; the first rule that speaks gives it. Always answers RULE_STOP. */
enum rule_verdict planner_wait(struct planner *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void planner_say(struct planner *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What the sentence of a steady cluster ends with: "; " and this, behind what ended it so far. */
void planner_note(struct planner *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* No earlier rule acts on this pod's server in this turn. */
bool planner_is_free(const struct planner *p, size_t pod);

/*
 * Adds an action unless its server is claimed by an earlier rule, it was tried lately, or the plan
 * is full. True if it was added.
 */
bool planner_add(struct planner *p, struct action action);

/*
 * The same for a write of the record, one in each plan; the record must live in the planner's arena.
 */
bool planner_put_record(struct planner *p, const struct record *record);

/* An action on the server of this pod, sent only if it still answers with the id it has now. */
struct action planner_action(const struct planner *p, enum action_kind kind, size_t pod,
                             enum authority authority);

/* CLUSTER FAILOVER at the server of pod `heir`, as long as it follows that of `from`. */
struct action planner_failover(const struct planner *p, const struct pod *from, size_t heir,
                               enum authority authority);

/*
 * An agent orders hand-overs for its own server as soon as that is to stop, which nobody else may know
 * yet: each of the shard's, and of the other one's (NULL = none), must have been asked since `since_ms` (0 = not yet), and have said a moment
 * ago that it stays, unless it is mute (core/failover.h). NULL if so, else who is asked. The plan says that they are.
 */
const char *planner_unheard(struct planner *p, const struct shard *shard, const struct shard *other,
                            int64_t since_ms);

/*
 * Every server that answers was asked for its view lately. If not, the plan says that it wants them
 * all: what is not read is no agreement.
 */
bool planner_sees_all(struct planner *p);

/* "1 server", "2 servers". */
const char *planner_count(struct planner *p, size_t count, const char *noun);

/*
 * cluster-node-timeout while `members` are being formed: pings go out every NT/2 and the rejoin delay
 * is clamp(NT, 500, 5000) (FACTS 1). All pairs ping, so a hundred at 500 ms exchange 80,000 messages
 * a second, which keeps two cores from anything else, and the servers take each other for dead. Over
 * TLS it is the handshakes: a link that is not up within NT/2 is dropped and begun again, which a
 * busy machine never gets out of (seen with 7 servers at 500 ms on two cores under load). No round
 * figures: what a formation left behind is told from what a user has set by its value.
 */
int64_t planner_quick_timeout_ms(size_t members, bool tls);
bool planner_is_quick_timeout(int64_t node_timeout_ms);

/* The record holds an intent that is being carried out; or says that the cluster stands. */
bool planner_forming(const struct planner *p);
bool planner_formed(const struct planner *p);

/* The pod answers with the id that the record has for it. */
bool planner_belongs(const struct planner *p, size_t pod);

/* The owner of the range's first slot as this view has it, or NULL: elections move roles. */
const struct view_node *planner_owner(const struct view *view, struct slot_range range);

/* "a-0 and a-1 answer with the same node id (a copied volume?)", or NULL. */
const char *planner_twins(struct planner *p);

/* The entry of a pod that joins: its server's id and settings as they are. */
struct record_member planner_member(const struct pod *pod);

/*
 * FACTS 4's conditions for FORGET. Kubernetes' part (no pod has the id any more) is what put it on
 * the record's list. NULL if it may be forgotten, else why not.
 */
const char *planner_keep(struct planner *p, const struct node_id *id);

/*
 * policy.scaling: the pod of this member is above the size and gone for good, and nothing hangs on its node.
 * And what the record remembers of those: planner_put_left() sets it, once the members are set.
 */
bool planner_has_left(struct planner *p, size_t member);
void planner_put_left(struct planner *p, struct record *record);

/* A move of slots in the record names this node, */
bool planner_is_named(const struct planner *p, const struct node_id *id);
/* or a half-moved slot does: its role is left alone. */
bool planner_is_moving(const struct planner *p, const struct node_id *id);

/* MEET sent to the server of `from`, of the server that answers at `to`. */
struct action planner_meet(const struct planner *p, const struct pod *from, const struct pod *to);

/* "muster-4 (no address yet)": why the expected pod with this ordinal is not counted as fresh. */
const char *planner_missing(struct planner *p, int ordinal);

/*
 * Whether member `i` should be made to MEET member `j` of `count` (FACTS 1): all pairs up to 50,
 * above that a ring of two neighbours and a star around the first.
 */
bool planner_meets(size_t i, size_t j, size_t count);

/*
 * The k-th member that is introduced to member `i` or to which `i` is, so that nobody asks all pairs
 * of a large cluster; false behind the last.
 */
bool planner_partner(size_t i, size_t k, size_t count, size_t *ret_j);

/* The rules, in the order of the table in plan.c. */
enum rule_verdict rule_settle(struct planner *p);
enum rule_verdict rule_own_settings(struct planner *p);
enum rule_verdict rule_drain(struct planner *p);
enum rule_verdict rule_crash(struct planner *p);
enum rule_verdict rule_set_absent(struct planner *p);
enum rule_verdict rule_leader(struct planner *p);
enum rule_verdict rule_api(struct planner *p);
enum rule_verdict rule_record(struct planner *p);
enum rule_verdict rule_rebirth(struct planner *p);
enum rule_verdict rule_take_over(struct planner *p);
enum rule_verdict rule_adopt(struct planner *p);
enum rule_verdict rule_pause(struct planner *p);
enum rule_verdict rule_form_wait(struct planner *p);
enum rule_verdict rule_form_intent(struct planner *p);
enum rule_verdict rule_form_replan(struct planner *p);
enum rule_verdict rule_form_servers(struct planner *p);
enum rule_verdict rule_form_acquaint(struct planner *p);
enum rule_verdict rule_form_roles(struct planner *p);
enum rule_verdict rule_form_verify(struct planner *p);
enum rule_verdict rule_form_finish(struct planner *p);
enum rule_verdict rule_restore(struct planner *p);
enum rule_verdict rule_serving(struct planner *p);
enum rule_verdict rule_held(struct planner *p);
enum rule_verdict rule_drain_silent(struct planner *p);
enum rule_verdict rule_failover(struct planner *p);
enum rule_verdict rule_members(struct planner *p);
enum rule_verdict rule_meet(struct planner *p);
enum rule_verdict rule_strangers(struct planner *p);
enum rule_verdict rule_forget(struct planner *p);
enum rule_verdict rule_scale(struct planner *p);
enum rule_verdict rule_replicate(struct planner *p);
enum rule_verdict rule_follow(struct planner *p);
enum rule_verdict rule_chain(struct planner *p);
enum rule_verdict rule_place(struct planner *p);
enum rule_verdict rule_steady(struct planner *p);

#endif
