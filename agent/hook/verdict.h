/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one decision of the hook: may a server start although the agent is silent (DESIGN 5.4)? A
 * silent agent must not keep a cluster down, but a primary that comes back without its data makes
 * its replicas throw theirs away (FACTS 0.1), and no agent is there to prevent it.
 */
#ifndef MUSTER_HOOK_VERDICT_H
#define MUSTER_HOOK_VERDICT_H

#include <stdbool.h>

#include "wire/hook_proto.h"

/*
 * Virgins, replicas, primaries without slots and those that prove their data may start. `reason`
 * becomes the sentence for it in either case.
 */
bool verdict_without_agent(const struct hook_facts *facts, char reason[HOOK_REASON_SIZE]);

#endif
