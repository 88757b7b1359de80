/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A primary whose process ended (DESIGN 5.6): its best replica takes over at once, by the order of the agent
 * beside the dead one. It needs neither Lease nor API.
 */
#include "base/text.h"
#include "core/crash.h"
#include "core/rules.h"

static void crash_order(struct planner *p, const struct crash_verdict *verdict)
{
    const struct pod *dead = &p->world->pods[p->world->me];
    enum action_kind kind = verdict->takeover ? ACTION_TAKEOVER : ACTION_FORCE;
    struct action a = planner_action(p, kind, verdict->heir, AUTHORITY_OWN);
    a.subject = dead->server.id;
    a.port = dead->port;
    text_format(a.ip, sizeof a.ip, "%s", dead->ip);
    if (kind == ACTION_FORCE)
        a.value = CRASH_WINDOW_MS; /* once for each death */
    a.require = REQUIRE_REPLICA;
    if (!(p->world->guards_off & GUARD_HEIR)) {
        a.require = REQUIRE_HEIR;
        a.offset = verdict->least;
        text_format(a.replid, sizeof a.replid, "%s", dead->server.replid);
    }
    (void)planner_add(p, a);
}

enum rule_verdict rule_crash(struct planner *p)
{
    struct crash_verdict *verdict = &p->plan->crash;
    crash_judge(p->world, p->facts, verdict);
    if (verdict->step == CRASH_NONE)
        return RULE_PASS;
    p->plan->wants_views |= verdict->hold;
    if (verdict->step == CRASH_ORDER)
        crash_order(p, verdict);
    planner_say(p, "%s", verdict->reason);
    return RULE_PASS;
}
