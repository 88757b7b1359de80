/* SPDX-License-Identifier: Apache-2.0 */
#include "core/reparent.h"

#include <string.h>

#include "base/text.h"
#include "core/failover.h"

/* Views are not looked at: some are gone by the time of reparent_may_send(). */
static bool answers(const struct world *w, const struct pod *pod)
{
    return world_server_fresh(w, pod) && w->now_ms - pod->server.seen_ms <= FAILOVER_ASKED_MS;
}

static bool follows(const struct server *replica, const struct pod *primary)
{
    return !replica->primary && replica->link_up && replica->primary_port == primary->port &&
           strcmp(replica->primary_ip, primary->ip) == 0;
}

static bool is_online(const struct server *primary, const struct pod *replica)
{
    for (size_t i = 0; i < primary->online_count; i++)
        if (primary->online[i].port == replica->port &&
            strcmp(primary->online[i].ip, replica->ip) == 0)
            return true;
    return false;
}

/* Redis elects this one as well, and nothing is lost by it. */
static bool is_spare(const struct world *w, const struct pod *replica, const struct pod *primary)
{
    const struct server *s = &replica->server;
    return answers(w, replica) && follows(s, primary) && is_online(&primary->server, replica) &&
           primary->server.offset - s->offset <= FAILOVER_LAG_NONE && s->no_failover == 0 &&
           !failover_leaves(w, replica);
}

static bool has_spare(const struct world *w, const struct pod *but, const struct pod *primary)
{
    for (size_t i = 0; i < w->pod_count; i++)
        if (&w->pods[i] != but && is_spare(w, &w->pods[i], primary))
            return true;
    return false;
}

static bool cannot_read(const struct server *copy, const struct server *to)
{
    return copy->kind != to->kind || failover_is_older(copy, to);
}

/* NULL if it may go on as what it is. */
static const char *why_not(const struct world *w, const struct pod *pod, bool primary)
{
    if (!answers(w, pod))
        return "has not answered a moment ago";
    if (failover_leaves(w, pod))
        return "is stopping";
    if (primary && !pod->server.primary)
        return "is no primary";
    if (primary && failover_in_flight(w, &pod->server.id))
        return "is being replaced";
    return NULL;
}

bool reparent_may(const struct world *world, size_t copy, size_t from, size_t to,
                  char ret_why[REPARENT_WHY_SIZE])
{
    const size_t pods[] = {copy, from, to};
    const struct pod *c = &world->pods[copy];
    const struct pod *about = c;
    const char *why = NULL;
    for (size_t i = 0; i < sizeof pods / sizeof pods[0] && !why; i++) {
        about = &world->pods[pods[i]];
        why = why_not(world, about, i > 0);
    }
    if (!why) {
        about = c;
        if (!follows(&c->server, &world->pods[from]))
            why = "is not in sync with the primary that it is to leave";
        else if (cannot_read(&c->server, &world->pods[to].server))
            why = "runs another release than the primary that it is to copy";
    }
    if (!why) {
        about = &world->pods[from];
        if (!has_spare(world, c, about))
            why = "has no other replica in sync";
        else if (about->server.min_replicas >= (int64_t)about->server.online_count)
            why = "would take no writes with a replica less (min-replicas-to-write)";
    }
    if (why)
        text_format(ret_why, REPARENT_WHY_SIZE, "%s %s", about->name, why);
    return !why;
}

static size_t pod_of(const struct world *w, const struct node_id *id)
{
    for (size_t i = 0; i < w->pod_count; i++)
        if (node_id_eq(&w->pods[i].server.id, id))
            return i;
    return NO_POD;
}

bool reparent_may_send(const struct world *world, const struct action *action)
{
    char why[REPARENT_WHY_SIZE];
    size_t copy = pod_of(world, &action->node);
    size_t to = pod_of(world, &action->subject);
    size_t from = 0;
    while (from < world->pod_count && (strcmp(world->pods[from].ip, action->ip) != 0 ||
                                       world->pods[from].port != action->port))
        from++;
    if (world->guards_off & GUARD_SPARE)
        return true;
    return copy != NO_POD && to != NO_POD && from < world->pod_count &&
           reparent_may(world, copy, from, to, why);
}
