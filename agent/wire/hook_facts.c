/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/hook_proto.h"

static bool rdb_is_proven(const struct hook_facts *facts)
{
    return facts->rdb == HOOK_TRUE && facts->rdb_keys == HOOK_TRUE;
}

static bool aof_is_proven(const struct hook_facts *facts)
{
    return facts->aof == HOOK_TRUE && facts->aof_complete == HOOK_TRUE &&
           facts->aof_keys == HOOK_TRUE;
}

bool hook_facts_prove_data(const struct hook_facts *facts)
{
    switch (facts->appendonly) {
    case HOOK_TRUE:
        return aof_is_proven(facts);
    case HOOK_FALSE:
        return rdb_is_proven(facts);
    case HOOK_UNKNOWN:
        break;
    }
    return rdb_is_proven(facts) && aof_is_proven(facts);
}
