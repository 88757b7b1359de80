/* SPDX-License-Identifier: Apache-2.0 */
#include "core/action.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/text.h"

const char *action_kind_name(enum action_kind kind)
{
    switch (kind) {
    case ACTION_NONE:
        return "nothing";
#define X(name, text) \
    case name:        \
        return text;
        ACTION_KINDS(X)
#undef X
    }
    return "unknown";
}

const char *setting_name(enum setting setting)
{
    switch (setting) {
    case SETTING_NONE:
        break;
    case SETTING_NODE_TIMEOUT:
        return "cluster-node-timeout";
    case SETTING_DISKLESS_DELAY:
        return "repl-diskless-sync-delay";
    case SETTING_REPLICA_MIGRATION:
        return "cluster-allow-replica-migration";
    case SETTING_NO_FAILOVER:
        return "cluster-replica-no-failover";
    case SETTING_ANNOUNCE_IP:
        return "cluster-announce-ip";
    }
    return "none";
}

static const char *action_same_not(const struct action *action, const struct probe *probe)
{
    if (probe->primary)
        return "the server is no longer a replica";
    if (strcmp(probe->primary_ip, action->ip) != 0 || probe->primary_port != action->port)
        return "the server follows another primary meanwhile";
    return NULL;
}

/* CLUSTER FAILOVER is asked of whoever was judged, as long as he is what was judged. */
static const char *action_follows_not(const struct action *action, const struct probe *probe)
{
    const char *why = action_same_not(action, probe);
    if (why)
        return why;
    if (!probe->link_up)
        return "the server has lost its primary meanwhile";
    if (probe->vote_requests != action->value)
        return "the server has asked for votes meanwhile";
    return NULL;
}

/* Who takes over from a dead primary has what was judged, and gets nothing more from it. */
static const char *action_heir_not(const struct action *action, const struct probe *probe)
{
    const char *why = action_same_not(action, probe);
    if (why)
        return why;
    if (probe->link_up)
        return "the server is in sync with its primary again";
    if (strcmp(probe->replid, action->replid) != 0 || probe->offset < action->offset)
        return "the server does not have its primary's data";
    return NULL;
}

bool action_still_valid(const struct action *action, const struct probe *probe,
                        const char **ret_why)
{
    if (node_id_is_set(&action->node) && !node_id_eq(&action->node, &probe->id))
        *ret_why = "another server answers at this address now";
    else if ((action->require & REQUIRE_ALONE) && probe->known_nodes != 1)
        *ret_why = "the server has met other nodes meanwhile";
    else if ((action->require & REQUIRE_UNASSIGNED) && probe->slots_assigned != 0)
        *ret_why = "the server knows slots as assigned meanwhile";
    else if ((action->require & REQUIRE_EMPTY) && probe->keys != 0)
        *ret_why = "the server holds keys meanwhile";
    else if ((action->require & REQUIRE_PRIMARY) && !probe->primary)
        *ret_why = "the server is no longer a primary";
    else if ((action->require & REQUIRE_REPLICA) && probe->primary)
        *ret_why = "the server is no longer a replica";
    else if (action->require & REQUIRE_FOLLOWS && action_follows_not(action, probe))
        *ret_why = action_follows_not(action, probe);
    else if (action->require & REQUIRE_SAME && action_same_not(action, probe))
        *ret_why = action_same_not(action, probe);
    else if (action->require & REQUIRE_HEIR && action_heir_not(action, probe))
        *ret_why = action_heir_not(action, probe);
    else
        return true;
    return false;
}

uint64_t action_key(const struct action *action)
{
    uint64_t hash = text_hash(TEXT_HASH_SEED, &action->kind, sizeof action->kind);
    if (action->kind == ACTION_RECORD_PUT)
        return hash;
    if (action->kind == ACTION_FAILOVER) /* one at a time in a shard, whoever is to win */
        return text_hash(hash, action->subject.hex, strlen(action->subject.hex));
    hash = text_hash(hash, action->node.hex, strlen(action->node.hex));
    hash = text_hash(hash, action->subject.hex, strlen(action->subject.hex));
    hash = text_hash(hash, action->ip, strlen(action->ip));
    hash = text_hash(hash, &action->setting, sizeof action->setting);
    if (action->kind == ACTION_FORCE)
        return hash; /* whatever the time-out is by now */
    return text_hash(hash, &action->value, sizeof action->value);
}

int64_t action_quiet_ms(const struct action *action)
{
    switch (action->kind) {
    case ACTION_NONE:
    case ACTION_RECORD_PUT:
        /* Compare-and-swap: a repetition on an old view fails by itself. */
        return 0;
    case ACTION_CONFIG_SET:
    case ACTION_SET_CONFIG_EPOCH:
    case ACTION_ADD_SLOTS:
        /* In effect when OK is answered; the next observation shows it. */
        return 200;
    case ACTION_MEET:
        /* A handshake takes a few cron cycles of 100 ms (FACTS 1) and is given up after NT. */
    case ACTION_REPLICATE:
    case ACTION_TAKEOVER:
        return 1000;
    case ACTION_FORGET:
        return ACTION_FORGET_QUIET_MS;
    case ACTION_FORCE:
        /* OK says that it has begun; a second attempt would spoil the votes of the first (FACTS 3). */
        return action->value;
    case ACTION_FAILOVER:
        return ACTION_FAILOVER_MS;
    }
    return 0;
}

int64_t action_failed_quiet_ms(const struct action *action)
{
    return action->kind == ACTION_FAILOVER ? ACTION_FAILOVER_MS : 0;
}

static void action_word(struct action_args *args, const char *word)
{
    assert(args->count < ACTION_ARGS_MAX);
    text_format(args->words[args->count++], ACTION_ARG_SIZE, "%s", word);
}

static void action_number(struct action_args *args, uint64_t number)
{
    assert(args->count < ACTION_ARGS_MAX);
    text_format(args->words[args->count++], ACTION_ARG_SIZE, "%" PRIu64, number);
}

static void action_config_set(const struct action *action, struct action_args *args)
{
    action_word(args, "CONFIG");
    action_word(args, "SET");
    action_word(args, setting_name(action->setting));
    switch (action->setting) {
    case SETTING_NONE:
        assert(false && "a CONFIG SET without a setting");
        break;
    case SETTING_NODE_TIMEOUT:
    case SETTING_DISKLESS_DELAY:
        action_number(args, (uint64_t)action->value);
        break;
    case SETTING_REPLICA_MIGRATION:
    case SETTING_NO_FAILOVER:
        action_word(args, action->value ? "yes" : "no");
        break;
    case SETTING_ANNOUNCE_IP:
        action_word(args, action->ip);
        break;
    }
}

void action_command(const struct action *action, struct action_args *ret_args)
{
    ret_args->count = 0;
    if (action->kind == ACTION_CONFIG_SET) {
        action_config_set(action, ret_args);
        return;
    }
    action_word(ret_args, "CLUSTER");
    switch (action->kind) {
    case ACTION_NONE:
    case ACTION_CONFIG_SET:
    case ACTION_RECORD_PUT:
        assert(false && "not a command of a server");
        break;
    case ACTION_SET_CONFIG_EPOCH:
        action_word(ret_args, "SET-CONFIG-EPOCH");
        action_number(ret_args, action->epoch);
        break;
    case ACTION_ADD_SLOTS:
        action_word(ret_args, "ADDSLOTSRANGE");
        action_number(ret_args, action->slots.first);
        action_number(ret_args, action->slots.last);
        break;
    case ACTION_MEET:
        action_word(ret_args, "MEET");
        action_word(ret_args, action->ip);
        action_number(ret_args, action->port);
        if (action->bus_port && action->bus_port != action->port + 10000)
            action_number(ret_args, action->bus_port);
        break;
    case ACTION_REPLICATE:
        action_word(ret_args, "REPLICATE");
        action_word(ret_args, action->subject.hex);
        break;
    case ACTION_FORGET:
        action_word(ret_args, "FORGET");
        action_word(ret_args, action->subject.hex);
        break;
    case ACTION_TAKEOVER:
        action_word(ret_args, "FAILOVER");
        action_word(ret_args, "TAKEOVER");
        break;
    case ACTION_FORCE:
        action_word(ret_args, "FAILOVER");
        action_word(ret_args, "FORCE");
        break;
    case ACTION_FAILOVER:
        action_word(ret_args, "FAILOVER");
        break;
    }
}

static const char *action_record_text(const struct record *record)
{
    switch (record->state) {
    case RECORD_STATE_NONE:
        break;
    case RECORD_FORMING:
        return "record: forming";
    case RECORD_FORMED:
        return "record: formed";
    }
    return "record";
}

void action_format(const struct action *action, char *dst, size_t size)
{
    if (action->kind == ACTION_NONE || action->kind == ACTION_RECORD_PUT) {
        text_format(dst, size, "%s",
                    action->record ? action_record_text(action->record)
                                   : action_kind_name(action->kind));
        return;
    }
    struct action_args args;
    action_command(action, &args);
    dst[0] = '\0';
    for (size_t i = 0; i < args.count; i++)
        text_append(dst, size, "%s%s", i ? " " : "", args.words[i]);
}
