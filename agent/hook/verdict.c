/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/verdict.h"

static const char *data_set(const struct hook_facts *facts)
{
    switch (facts->appendonly) {
    case HOOK_TRUE:
        return "an append-only file with keys";
    case HOOK_FALSE:
        return "an RDB file with keys";
    case HOOK_UNKNOWN:
        break;
    }
    return "both an RDB and an append-only file with keys (which one it loads is not known)";
}

static bool say_so(char reason[HOOK_REASON_SIZE], bool verdict, const char *sentence)
{
    text_format(reason, HOOK_REASON_SIZE, "%s", sentence);
    return verdict;
}

bool verdict_without_agent(const struct hook_facts *facts, char reason[HOOK_REASON_SIZE])
{
    bool same =
        facts->nodes_conf == HOOK_NODES_CONF_PRESENT && node_id_eq(&facts->myself.id, &facts->part);
    if (node_id_is_set(&facts->part) && !same) {
        text_format(reason, HOOK_REASON_SIZE,
                    "node %.8s ran here with slots or replicas and this is not its volume: its "
                    "replicas would copy from a stranger",
                    facts->part.hex);
        return false;
    }
    switch (facts->nodes_conf) {
    case HOOK_NODES_CONF_ABSENT:
        /* its directory was never read: there may be a file on a volume that is not mounted */
        if (facts->data_dir_error[0])
            break;
        return say_so(reason, true, "there is no nodes.conf: it starts as a new node");
    case HOOK_NODES_CONF_CORRUPT:
        text_format(reason, HOOK_REASON_SIZE, "nodes.conf is corrupt (%.150s)",
                    facts->nodes_conf_error);
        return false;
    case HOOK_NODES_CONF_UNREADABLE:
    case HOOK_NODES_CONF_UNKNOWN:
        text_format(reason, HOOK_REASON_SIZE, "nodes.conf cannot be read (%.150s)",
                    facts->nodes_conf_error);
        return false;
    case HOOK_NODES_CONF_PRESENT:
        if (facts->myself.flags & NODE_REPLICA)
            return say_so(reason, true, "it was a replica");
        if (!facts->myself.slot_count)
            return say_so(reason, true, "it owned no slots");
        if (hook_facts_prove_data(facts))
            return say_so(reason, true, "it was a primary and its data is there");
        text_format(reason, HOOK_REASON_SIZE,
                    "it was the primary of %u slots and has not %s: its replicas would lose theirs",
                    facts->myself.slot_count, data_set(facts));
        return false;
    }
    text_format(reason, HOOK_REASON_SIZE, "the data directory cannot be read (%.150s)",
                facts->data_dir_error);
    return false;
}
