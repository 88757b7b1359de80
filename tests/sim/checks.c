/* SPDX-License-Identifier: Apache-2.0 */
#include "checks.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

void check_is_foreign(struct sim *sim, uint32_t id)
{
    assert(sim->checks.foreign_count < FOREIGN_IDS_MAX);
    sim->checks.foreign_ids[sim->checks.foreign_count++] = id;
}

static bool is_foreign(const struct sim *sim, uint32_t id)
{
    for (int i = 0; i < sim->checks.foreign_count; i++)
        if (sim->checks.foreign_ids[i] == id)
            return true;
    return false;
}

/* Nodes.conf of a server of ours exists, whether it runs or not. */
static bool holds_conf(const struct redis *r)
{
    return r->ours && r->has_conf && r->node_high;
}

static bool is_stranger(const struct sim *sim, const struct redis *r)
{
    return !r->ours || (r->node_high && is_foreign(sim, r->nodes[0].id));
}

/* The slots that this server claims for itself. */
static const struct slot_set *claims(const struct redis *r)
{
    static const struct slot_set none;
    return r->nodes[0].flags & NODE_PRIMARY ? &r->nodes[0].slots : &none;
}

static bool claims_any(const struct redis *r)
{
    return r->nodes[0].flags & NODE_PRIMARY && r->nodes[0].slot_count;
}

static bool claims_atom(const struct sim *sim, const struct redis *r, int atom)
{
    return r->nodes[0].flags & NODE_PRIMARY && redis_owns_atom(sim, r, atom);
}

/* M4: a second one would disturb the first. */
static void check_crash_order(struct sim *sim, const struct agent *agent, const char *text)
{
    uint64_t death = sim->redis[agent->index].run;
    if (sim->checks.ordered[agent->index] == death)
        sim_violation(sim, "I5: %s sends \"%s\", the second order for one death",
                      sim->redis[agent->index].name, text);
    sim->checks.ordered[agent->index] = death;
}

void check_send(struct sim *sim, const struct agent *agent, const struct action *action)
{
    char text[128];
    action_format(action, text, sizeof text);
    const char *name = sim->redis[agent->index].name;
    if (sim->checks.quiet)
        sim_violation(sim, "I10: %s sends \"%s\" although everything is in order", name, text);
    if (agent_clock_ms(sim, agent) < agent->settle_until_ms)
        sim_violation(sim, "%s sends \"%s\" while it should only observe", name, text);
    bool replaces = action->kind == ACTION_FORCE || action->kind == ACTION_TAKEOVER;
    if (action->authority == AUTHORITY_OWN && replaces)
        check_crash_order(sim, agent, text);
    if (action->authority != AUTHORITY_LEADER)
        return;
    if (action->placing)
        check_place(sim, agent, action, text);
    check_people(sim, agent, action, text);
    if (!agent_may_act(sim, agent))
        sim_violation(sim, "%s sends \"%s\" behind the fence", name, text);
    for (int i = 0; i < PODS_MAX; i++)
        if (i != agent->index && sim->agents[i].alive &&
            sim->now_us > sim->checks.two_leaders_until_us && agent_leads(sim, &sim->agents[i]))
            sim_violation(sim, "two leaders: %s sends \"%s\" while %s may act, too", name, text,
                          sim->redis[i].name);
}

const char *check_and_command(struct sim *sim, const struct agent *agent, struct redis *r,
                              const struct action *action, const struct action_args *args)
{
    sim->checks.given_up = action->authority == AUTHORITY_LEADER && agent->takeover.asked_ms;
    if (is_stranger(sim, r) && action->authority == AUTHORITY_LEADER) {
        char text[128];
        action_format(action, text, sizeof text);
        sim_violation(sim, "I1: %s sends \"%s\" to a stranger's server at %s's address",
                      sim->redis[agent->index].name, text, r->name);
    }
    return redis_command(sim, r, args);
}

void check_add_slots(struct sim *sim, const struct redis *r, const struct slot_set *slots)
{
    for (int i = 0; i < sim->redis_count; i++) {
        const struct redis *other = &sim->redis[i];
        if (other == r || !holds_conf(other) || is_stranger(sim, other) ||
            !slot_set_intersects(claims(other), slots))
            continue;
        sim_violation(sim, "I1: slots are added on %s that %s%s owns already", r->name, other->name,
                      other->phase == REDIS_DOWN ? ", stopped with its volume," : "");
    }
}

void check_forget(struct sim *sim, const struct redis *r, const struct redis_node *n)
{
    for (int i = 0; i < sim->redis_count; i++) {
        struct redis *other = &sim->redis[i];
        if (!holds_conf(other) || is_stranger(sim, other) || check_has_left(sim, other))
            continue;
        if (other->nodes[0].id == n->id)
            sim_violation(sim, "I14: %s forgets the living node of %s", r->name, other->name);
        if (other->phase == REDIS_DOWN)
            continue;
        const struct redis_node *seen = redis_find(other, n->id);
        if (seen && seen->slot_count)
            sim_violation(sim, "I14: %s forgets a node that owns slots in the view of %s", r->name,
                          other->name);
        if (other->nodes[0].primary == n->id)
            sim_violation(sim, "I14: %s forgets the primary of %s", r->name, other->name);
    }
}

void check_node_added(struct sim *sim, const struct redis *r, uint32_t id)
{
    uint32_t by_hand = sim->checks.met_by_hand;
    if (by_hand && (id == by_hand || r->nodes[0].id == by_hand))
        return;
    bool here = is_stranger(sim, r);
    if (here == is_foreign(sim, id))
        return;
    sim_violation(sim, "I1: %s has met a node of another cluster, %s", r->name,
                  redis_name_of(sim, id));
}

/* Of a shard that it has left, or its new primary has never had: and others have it. */
static bool is_kept_elsewhere(const struct sim *sim, const struct redis *r,
                              const struct redis *primary, int atom)
{
    bool kept = false;
    for (int i = 0; i < sim->redis_count; i++)
        kept |=
            &sim->redis[i] != r && sim->redis[i].ours && sim->redis[i].data[atom] >= r->data[atom];
    return kept && !claims_atom(sim, primary, atom);
}

void check_full_sync(struct sim *sim, const struct redis *r, const struct redis *primary)
{
    if (r->ours && !primary->ours)
        sim_violation(sim, "I8: %s takes the data of %s, which is none of ours", r->name,
                      primary->name);
    for (int k = 0; k < sim->atom_count; k++) {
        if (!r->data[k] || primary->data[k] || is_kept_elsewhere(sim, r, primary, k) ||
            check_is_spare(sim, r, k))
            continue;
        sim->stats->wipes++;
        if (r->repl.by_command)
            sim_violation(sim, "I8: our REPLICATE replaced the data of %s by the empty %s", r->name,
                          primary->name);
        else if (!primary->emptied) /* written to a minority only, while another was elected */
            sim_trace(sim, r->name, "data replaced by the empty %s", primary->name);
        else
            sim_violation(sim, "I8: the data of %s was replaced by the empty %s, by Redis itself",
                          r->name, primary->name);
        return;
    }
}

void check_takeover(struct sim *sim, const struct redis *r, const struct redis_node *primary)
{
    for (int i = 0; i < sim->redis_count; i++) {
        const struct redis *other = &sim->redis[i];
        if (other != r && other->ours && other->phase != REDIS_DOWN &&
            other->nodes[0].id == primary->id) /* a copy of its volume, elsewhere, is not it */
            sim_violation(sim, "I13: %s takes over %s, which runs", r->name, other->name);
    }
}

void check_handover(struct sim *sim, const struct redis *r, const struct redis_node *old,
                    uint64_t epoch)
{
    if (epoch <= old->epoch)
        sim_violation(sim, "I4: %s takes over from %s on the votes of an earlier election", r->name,
                      redis_name_of(sim, old->id));
}

void check_second_vote(struct sim *sim, const struct redis *voter,
                       const struct redis_node *candidate, const struct redis_node *primary)
{
    sim_violation(sim, "I12: %s is asked for a second vote about %s, by %s, within 2 x NT",
                  voter->name, redis_name_of(sim, primary->id), redis_name_of(sim, candidate->id));
}

/* CRASH_SAMPLE_MS, by a clock that may be wrong by a tenth. */
#define LAST_MOMENT_US MS(1200)

/* What its last word had at the least, which may be as old as that. */
static int64_t last_word(const struct redis *dead)
{
    int64_t offset = dead->repl.offset;
    for (int i = 0; i < WRITES_MAX; i++)
        if (dead->wrote[i].at_us >= dead->died_us - LAST_MOMENT_US &&
            dead->wrote[i].offset < offset)
            offset = dead->wrote[i].offset;
    return offset;
}

void check_forced(struct sim *sim, const struct redis *r, uint32_t primary)
{
    if (sim->checks.given_up)
        return;
    for (int i = 0; i < sim->redis_count; i++) {
        const struct redis *dead = &sim->redis[i];
        if (dead == r || !holds_conf(dead) || dead->nodes[0].id != primary ||
            !redis_has_data(sim, dead))
            continue;
        if (dead->repl.lineage != r->repl.lineage || r->repl.offset < last_word(dead))
            sim_violation(
                sim, "I5: %s is ordered to take over from %s and lacks what it has on its disk",
                r->name, dead->name);
    }
}

void check_keep_copies(struct sim *sim, const struct redis *primary)
{
    for (int k = 0; k < sim->atom_count; k++) {
        if (!claims_atom(sim, primary, k))
            continue;
        sim->checks.kept[k] = 0;
        for (int i = 0; i < sim->api.now.replicas; i++) {
            const struct redis *r = &sim->redis[i];
            if (r->nodes[0].primary == primary->nodes[0].id && r->repl.state == REPL_UP &&
                r->data[k] > sim->checks.kept[k])
                sim->checks.kept[k] = r->data[k];
        }
    }
}

void check_stops(struct sim *sim, const struct redis *primary)
{
    for (int k = 0; k < sim->atom_count; k++)
        if (claims_atom(sim, primary, k))
            sim->checks.stopped[k] = primary->data[k];
}

void check_loses(struct sim *sim, const struct redis *r)
{
    for (int k = 0; k < sim->atom_count; k++)
        if (r->data[k] >= sim->checks.stopped[k])
            sim->checks.stopped[k] = 0;
}

void check_heir(struct sim *sim, const struct redis *r, const struct slot_set *slots)
{
    /* Any age, by a setting of the user's, is also that of one which has never heard the primary. */
    if (sim->setup.any_age && r->repl.down_since_us == NEVER_US)
        return;
    for (int k = 0; k < sim->atom_count; k++)
        if (slot_set_has(slots, sim->atoms[k].first) && r->data[k] < sim->checks.stopped[k])
            sim_violation(sim,
                          "I8: %s takes over slots %d-%d with write %llu, and its primary has "
                          "stopped with write %llu on its disk",
                          r->name, sim->atoms[k].first, sim->atoms[k].last,
                          (unsigned long long)r->data[k],
                          (unsigned long long)sim->checks.stopped[k]);
}

void check_kept(struct sim *sim)
{
    for (int i = 0; i < sim->api.now.replicas; i++) {
        const struct redis *r = &sim->redis[i];
        for (int k = 0; k < sim->atom_count; k++) {
            if (!claims_atom(sim, r, k) || r->data[k] >= sim->checks.kept[k])
                continue;
            sim_violation(sim,
                          "I8: %s has write %llu to slots %d-%d, and a replica had write %llu "
                          "when its primary lost its data",
                          r->name, (unsigned long long)r->data[k], sim->atoms[k].first,
                          sim->atoms[k].last, (unsigned long long)sim->checks.kept[k]);
            return;
        }
    }
}

void check_record(struct sim *sim, const struct record *before, const struct record *after)
{
    struct checks *c = &sim->checks;
    char set_uid[UID_SIZE]; /* another StatefulSet's pods: formed anew (DESIGN 5.2) */
    api_set_uid(sim->api.now.set_uid, set_uid);
    bool lives = false;
    for (int i = 0; i < sim->redis_count; i++)
        lives |= holds_conf(&sim->redis[i]) && !is_stranger(sim, &sim->redis[i]) &&
                 claims_any(&sim->redis[i]);
    /* Without any copy a cluster that lives is adopted under a new uid (DESIGN 4). */
    bool adopts = !before && after->state == RECORD_FORMED;
    if (c->record_uid[0] && strcmp(c->record_uid, after->uid) != 0 && lives && !adopts)
        sim_violation(sim, "I1: the record's uid changes from %.8s to %.8s while the cluster lives",
                      c->record_uid, after->uid);
    if (before && before->generation > after->generation)
        sim_violation(sim, "the record's generation goes back from %lld to %lld",
                      (long long)before->generation, (long long)after->generation);
    if (before && before->state == RECORD_FORMED && after->state == RECORD_FORMING && lives)
        sim_violation(sim, "I1: a formed cluster is to be formed again");
    if (before && before->state == RECORD_FORMED && after->state == RECORD_FORMING &&
        sim->setup.volumes && !sim->setup.reform_lost && strcmp(before->set_uid, set_uid) == 0)
        sim_violation(sim, "I1: lost volumes are given up and nobody has said so");
    check_pause(sim, before, after);
    text_format(c->record_uid, sizeof c->record_uid, "%s", after->uid);
}

bool check_healthy(struct sim *sim)
{
    const struct stored_record *stored = sim->api.now.record;
    if (!pods_all_running(sim) || !stored || stored->record.state != RECORD_FORMED)
        return false;
    for (int i = 0; i < sim->api.now.replicas; i++) {
        const struct redis *r = &sim->redis[i];
        bool replica = r->nodes[0].flags & NODE_REPLICA;
        if (!r->state_ok || (replica && r->repl.state != REPL_UP))
            return false;
    }
    return true;
}

/* ---- the end ---- */

static char missing[256];

static const char *lacks_server(struct sim *sim, int pod)
{
    struct redis *r = &sim->redis[pod];
    unsigned expected = (unsigned)sim->api.now.replicas;
    const struct redis_node *me = redis_myself(r);
    if (!r->state_ok)
        return "cluster_state is fail";
    if (redis_slots_assigned(r) != SLOT_COUNT)
        return "slots are not assigned";
    if (redis_known(r) != expected)
        return "it does not know exactly the set's nodes";
    const struct redis_node *primary = me->primary ? redis_find(r, me->primary) : NULL;
    if (primary && !(primary->flags & NODE_PRIMARY))
        return "it follows a replica";
    if (primary && r->repl.addr != primary->addr)
        return "it replicates from an address that its primary has no more";
    if (me->flags & NODE_REPLICA && r->repl.state != REPL_UP)
        return "its replication link is down";
    if (me->flags & NODE_PRIMARY && !me->slot_count)
        return "it is a primary without slots";
    if (r->set.node_timeout_ms != r->configured.node_timeout_ms)
        return "cluster-node-timeout was not given back";
    if (r->set.diskless_delay_s != r->configured.diskless_delay_s)
        return "repl-diskless-sync-delay was not given back";
    if (r->set.replica_migration)
        return "cluster-allow-replica-migration is on";
    if (r->set.no_failover)
        return "cluster-replica-no-failover was not taken back";
    if (r->set.announce != r->addr)
        return "it announces a wrong address";
    return NULL;
}

/* What `r` has wrong about the server of another pod. */
static const char *lacks_view(struct redis *r, struct redis *other)
{
    const struct redis_node *n = redis_find(r, redis_myself(other)->id);
    const struct redis_node *truth = redis_myself(other);
    if (!n)
        return "does not know";
    if (n == redis_myself(r))
        return NULL;
    if (n->flags & (NODE_PFAIL | NODE_FAIL | NODE_HANDSHAKE | NODE_NOADDR))
        return "has a bad flag for";
    if (n->addr != other->addr || n->link.state != LINK_UP)
        return "has no link to";
    if (memcmp(&n->slots, claims(other), sizeof n->slots) != 0)
        return "is wrong about the slots of";
    if ((n->flags ^ truth->flags) & (NODE_PRIMARY | NODE_REPLICA) || n->primary != truth->primary)
        return "is wrong about the role of";
    return NULL;
}

static const char *lacks_record(struct sim *sim)
{
    const struct stored_record *stored = sim->api.now.record;
    if (!stored || stored->record.state != RECORD_FORMED)
        return "the record does not say formed";
    if (stored->record.forget_count)
        return "the record still lists ids to forget";
    char set_uid[UID_SIZE];
    api_set_uid(sim->api.now.set_uid, set_uid);
    if (strcmp(stored->record.set_uid, set_uid) != 0)
        return "the record belongs to an earlier StatefulSet";
    for (int i = 0; i < sim->api.now.replicas; i++) {
        struct node_id id;
        redis_id_hex(sim->redis[i].nodes[0].id, &id);
        const struct record_member *m = record_find_pod(&stored->record, sim->redis[i].name);
        if (!m || !node_id_eq(&m->id, &id))
            return "the record does not have the id of every pod";
    }
    return NULL;
}

/* Every shard has the replicas that the number of pods allows. */
static const char *lacks_replicas(struct sim *sim)
{
    unsigned pods = (unsigned)sim->api.now.replicas;
    int copies[PODS_MAX] = {0};
    unsigned shards = 0;
    for (unsigned i = 0; i < pods; i++)
        shards += claims_any(&sim->redis[i]);
    for (unsigned i = 0; i < pods; i++)
        for (unsigned j = 0; j < pods; j++)
            copies[i] += sim->redis[j].nodes[0].primary == sim->redis[i].nodes[0].id;
    if (!shards)
        return "nobody owns slots";
    for (unsigned i = 0; i < pods; i++)
        if (claims_any(&sim->redis[i]) && (unsigned)copies[i] < (pods - shards) / shards &&
            pods == (unsigned)sim->setup.pods)
            return "a shard lacks a replica while another has more";
    return NULL;
}

const char *check_converged(struct sim *sim)
{
    if (!pods_all_running(sim))
        return "not all pods run";
    const char *what = lacks_record(sim);
    if (what)
        return what;
    for (int i = 0; i < sim->api.now.replicas; i++) {
        what = lacks_server(sim, i);
        if (what) {
            text_format(missing, sizeof missing, "%s: %s", sim->redis[i].name, what);
            return missing;
        }
        if (!sim->agents[i].idle)
            return "an agent still has something to do";
        for (int j = 0; j < sim->api.now.replicas; j++) {
            what = lacks_view(&sim->redis[i], &sim->redis[j]);
            if (what) {
                text_format(missing, sizeof missing, "%s %s %s", sim->redis[i].name, what,
                            sim->redis[j].name);
                return missing;
            }
        }
    }
    what = sim->faults.uneven ? NULL : lacks_replicas(sim);
    if (!what && sim->setup.scaling)
        what = check_scaled(sim);
    return !what && sim->setup.placement ? check_arrangement(sim) : what;
}
