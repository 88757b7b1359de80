/* SPDX-License-Identifier: Apache-2.0 */
/* Commands as words, with Redis's own errors (7.0.15 clusterCommand; FACTS 1, 4, 5). */
#include <assert.h>
#include <string.h>

#include "sim.h"

#define BLACKLIST_US SECONDS(60) /* CLUSTER_BLACKLIST_TTL */

static bool word_is(const struct action_args *args, size_t i, const char *word)
{
    return i < args->count && strcmp(args->words[i], word) == 0;
}

/* The number that the word is; 2^64-1 if it is none. */
static uint64_t word_number(const char *word)
{
    uint64_t value;
    return text_to_u64(span_of(word), UINT64_MAX - 1, &value) ? value : UINT64_MAX;
}

static const char *command_config_set(struct sim *sim, struct redis *r, const char *key,
                                      const char *value)
{
    if (strcmp(key, "cluster-node-timeout") == 0) {
        r->set.node_timeout_ms = (int64_t)word_number(value);
    } else if (strcmp(key, "repl-diskless-sync-delay") == 0) {
        r->set.diskless_delay_s = (int64_t)word_number(value);
    } else if (strcmp(key, "cluster-allow-replica-migration") == 0) {
        r->set.replica_migration = strcmp(value, "yes") == 0;
    } else if (strcmp(key, "cluster-replica-no-failover") == 0) {
        r->set.no_failover = strcmp(value, "yes") == 0;
    } else if (strcmp(key, "cluster-announce-ip") == 0) {
        r->set.announce = sim_addr_parse(value);
        redis_myself(r)->addr = r->set.announce;
        redis_touch(r);
    } else {
        return "ERR Unknown option or number of arguments for CONFIG SET";
    }
    redis_wake(sim, r);
    return NULL;
}

static const char *command_set_epoch(struct redis *r, uint64_t epoch)
{
    struct redis_node *me = redis_myself(r);
    if (redis_known(r) > 1)
        return "ERR The user can assign a config epoch only when the node does not know any other "
               "node.";
    if (me->epoch)
        return "ERR Node config epoch is already non-zero";
    me->epoch = epoch;
    if (r->current_epoch < epoch)
        r->current_epoch = epoch;
    redis_touch(r);
    return NULL;
}

static const char *command_add_slots(struct sim *sim, struct redis *r, uint64_t first,
                                     uint64_t last)
{
    if (first > last || last >= SLOT_COUNT)
        return "ERR Invalid or out of range slot";
    struct slot_set slots = {{0}};
    slot_set_add(&slots, (struct slot_range){(uint16_t)first, (uint16_t)last});
    if (!sim->setup.scaling)
        sim_tell_apart(sim, (struct slot_range){(uint16_t)first, (uint16_t)last});
    for (unsigned slot = (unsigned)first; slot <= last; slot++)
        if (r->owner[slot] >= 0)
            return "ERR Slot is already busy";
    check_add_slots(sim, r, &slots);
    redis_set_owners(r, &slots, redis_myself(r));
    return NULL;
}

/* clusterStartHandshake: an address in handshake is not started again, but answers OK (FACTS 1). */
static const char *command_meet(struct sim *sim, struct redis *r, const char *ip)
{
    int addr = sim_addr_parse(ip);
    if (!addr)
        return "ERR Invalid node address specified";
    for (int i = 1; i < r->node_high; i++)
        if (r->nodes[i].used && r->nodes[i].flags & NODE_HANDSHAKE && r->nodes[i].addr == addr)
            return NULL;
    redis_add_node(sim, r, sim->next_id++, addr, NODE_HANDSHAKE | NODE_MEET);
    return NULL;
}

/* It follows a replica of that one, whose data it would be given anyway: nobody has chosen that. */
static bool is_chained(const struct sim *sim, struct redis *r, const struct redis_node *to)
{
    const struct redis_node *me = redis_myself(r);
    for (int i = 0; i < sim->redis_count && me->flags & NODE_REPLICA; i++)
        if (sim->redis[i].nodes[0].id == me->primary)
            return sim->redis[i].nodes[0].primary == to->id;
    return false;
}

static const char *command_replicate(struct sim *sim, struct redis *r, const char *hex)
{
    struct redis_node *me = redis_myself(r);
    struct redis_node *n = redis_find(r, redis_id_parse(hex));
    if (!n || n->flags & NODE_HANDSHAKE)
        return "ERR Unknown node";
    if (n == me)
        return "ERR Can't replicate myself";
    if (!(n->flags & NODE_PRIMARY))
        return "ERR You can only replicate a master, not a replica.";
    if (me->flags & NODE_PRIMARY && (me->slot_count || redis_has_data(sim, r)))
        return "ERR To set a master the node must be empty and without assigned slots.";
    redis_set_primary(sim, r, n, !is_chained(sim, r, n));
    return NULL;
}

void redis_command_ban(struct sim *sim, struct redis *r, uint32_t id)
{
    int oldest = 0;
    for (int i = 1; i < BLACKLIST_MAX; i++)
        if (r->blacklist[i].until_us < r->blacklist[oldest].until_us)
            oldest = i;
    r->blacklist[oldest].id = id;
    r->blacklist[oldest].until_us = sim->now_us + BLACKLIST_US;
}

static const char *command_forget(struct sim *sim, struct redis *r, const char *hex)
{
    struct redis_node *me = redis_myself(r);
    uint32_t id = redis_id_parse(hex);
    struct redis_node *n = redis_find(r, id);
    if (!n)
        return r->traits->forget_spreads && redis_blacklisted(sim, r, id) ? NULL
                                                                          : "ERR Unknown node";
    if (n == me)
        return "ERR I tried hard but I can't forget myself...";
    if (me->flags & NODE_REPLICA && me->primary == n->id)
        return "ERR Can't forget my master!";
    check_forget(sim, r, n);
    redis_command_ban(sim, r, n->id);
    redis_del_node(sim, r, n);
    if (r->traits->forget_spreads)
        bus_send_forgotten(sim, r, id);
    return NULL;
}

/*
 * Without a vote and without the primary (FACTS 3): clusterBumpConfigEpochWithoutConsensus, then its
 * slots are taken and everybody is told.
 */
static const char *command_takeover(struct sim *sim, struct redis *r)
{
    const struct redis_node *me = redis_myself(r);
    struct redis_node *primary = redis_find(r, me->primary);
    if (me->flags & NODE_PRIMARY)
        return "ERR You should send CLUSTER FAILOVER to a replica";
    if (!primary)
        return "ERR I'm a replica but my master is unknown to me";
    check_takeover(sim, r, primary);
    uint64_t highest = r->current_epoch;
    for (int i = 0; i < r->node_high; i++)
        if (r->nodes[i].used && r->nodes[i].epoch > highest)
            highest = r->nodes[i].epoch;
    uint64_t epoch = me->epoch;
    if (!epoch || epoch != highest)
        epoch = ++r->current_epoch;
    check_forced(sim, r, primary->id);
    check_elected(sim, r, primary->id, false);
    sim->stats->takeovers++;
    sim_trace(sim, r->name, "takes over %s, epoch %llu", redis_name_of(sim, primary->id),
              (unsigned long long)epoch);
    election_take_over(sim, r, primary, epoch);
    return NULL;
}

/* An election without the question whether the primary has failed, or how old the data is (FACTS 3). */
static const char *command_force(struct sim *sim, struct redis *r)
{
    const struct redis_node *me = redis_myself(r);
    if (me->flags & NODE_PRIMARY)
        return "ERR You should send CLUSTER FAILOVER to a replica";
    struct redis_node *primary = redis_find(r, me->primary);
    if (!primary)
        return "ERR I'm a replica but my master is unknown to me";
    check_takeover(sim, r, primary);
    sim->stats->forced++;
    sim_trace(sim, r->name, "asks for the votes for %s", redis_name_of(sim, primary->id));
    r->election.forced_until_us = sim->now_us + SECONDS(5); /* CLUSTER_MF_TIMEOUT */
    return NULL;
}

static void on_writes_paused(struct sim *sim, const struct event *event);
static void on_paused_offset(struct sim *sim, const struct event *event);

/* MFSTART is heard from those that the primary knows as its replicas (FACTS 3). */
static bool is_known_replica(struct redis *primary, struct redis *r)
{
    const struct redis_node *n = redis_find(primary, redis_myself(r)->id);
    return n && n->flags & NODE_REPLICA && n->primary == redis_myself(primary)->id;
}

/* It has arrived: the primary holds its writes back and says how far it has come. */
static void on_writes_paused(struct sim *sim, const struct event *event)
{
    struct redis *primary = &sim->redis[event->other];
    struct redis *r = &sim->redis[event->who];
    if (r->run != event->run || !redis_running(sim, primary) ||
        !redis_myself(primary)->slot_count || !sim_linked(sim, event->who, event->other) ||
        !is_known_replica(primary, r))
        return;
    primary->writes_paused_until_us = sim->now_us + SECONDS(5);
    sim_after(sim, sim->latency_us[event->other][event->who], on_paused_offset, event->who,
              event->other, event->run, NULL);
}

static void on_paused_offset(struct sim *sim, const struct event *event)
{
    struct redis *r = &sim->redis[event->who];
    if (r->run != event->run || sim->now_us >= r->election.manual_until_us)
        return;
    r->election.manual_offset = sim->redis[event->other].repl.offset;
    redis_wake(sim, r);
}

/* Both sides agree: the primary's writes wait for the end of the election, or 5 s (FACTS 3). */
static const char *command_failover(struct sim *sim, struct redis *r)
{
    const struct redis_node *me = redis_myself(r);
    if (me->flags & NODE_PRIMARY)
        return "ERR You should send CLUSTER FAILOVER to a replica";
    const struct redis_node *primary = redis_find(r, me->primary);
    if (!primary)
        return "ERR I'm a replica but my master is unknown to me";
    if (primary->flags & NODE_FAIL || primary->link.state != LINK_UP)
        return "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE";
    if (!r->traits->votes_wait_2nt) /* valkey 8.1 begins anew (FACTS 0.3) */
        r->election = (struct redis_election){0};
    r->election.manual_until_us = sim->now_us + SECONDS(5);
    r->election.manual_offset = -1;
    int host = primary->link.peer;
    sim_after(sim, sim->latency_us[r->index][host], on_writes_paused, r->index, host, r->run, NULL);
    return NULL;
}

static const char *command_cluster(struct sim *sim, struct redis *r, const struct action_args *args)
{
    if (word_is(args, 1, "MEET") && args->count >= 4)
        return command_meet(sim, r, args->words[2]);
    if (word_is(args, 1, "SET-CONFIG-EPOCH") && args->count == 3)
        return command_set_epoch(r, word_number(args->words[2]));
    if (word_is(args, 1, "ADDSLOTSRANGE") && args->count == 4)
        return command_add_slots(sim, r, word_number(args->words[2]), word_number(args->words[3]));
    if (word_is(args, 1, "REPLICATE") && args->count == 3)
        return command_replicate(sim, r, args->words[2]);
    if (word_is(args, 1, "FORGET") && args->count == 3)
        return command_forget(sim, r, args->words[2]);
    if (word_is(args, 1, "FAILOVER") && word_is(args, 2, "TAKEOVER") && args->count == 3)
        return command_takeover(sim, r);
    if (word_is(args, 1, "FAILOVER") && word_is(args, 2, "FORCE") && args->count == 3)
        return command_force(sim, r);
    if (word_is(args, 1, "FAILOVER") && args->count == 2)
        return command_failover(sim, r);
    return "ERR unknown subcommand or wrong number of arguments";
}

const char *redis_command(struct sim *sim, struct redis *r, const struct action_args *args)
{
    assert(redis_running(sim, r) && args->count >= 2);
    const char *error;
    if (word_is(args, 0, "CONFIG") && word_is(args, 1, "SET") && args->count == 4)
        error = command_config_set(sim, r, args->words[2], args->words[3]);
    else if (word_is(args, 0, "CLUSTER"))
        error = command_cluster(sim, r, args);
    else
        error = "ERR unknown command";
    if (r->recheck)
        redis_update_state(sim, r);
    redis_wake(sim, r);
    return error;
}
