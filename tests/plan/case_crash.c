/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/case_crash.h"

#include "plan/case_words.h"

#define OFFSET 5000
#define AOF_YES 1

bool case_crash_read(struct world *world, struct span words)
{
    struct crash_watch *watch = &world->crash;
    struct span value = {0};
    int64_t number = 0;
    if (!case_number(words, "gone", &number))
        return false;
    watch->gone_ms = world->now_ms - number;
    if (case_number(words, "ordered", &number))
        watch->ordered_ms = world->now_ms - number;
    if (case_value(words, "heir", &value) && !case_id(value, &watch->heir))
        return false;
    watch->ceded = case_word(words, "ceded");
    watch->refused = case_word(words, "refused");
    (void)case_number(words, "max-lag", &world->handover_max_lag);
    world->crash_policy = CRASH_AUTO;
    if (case_value(words, "policy", &value))
        world->crash_policy = span_is(value, "off")      ? CRASH_OFF
                              : span_is(value, "always") ? CRASH_ALWAYS
                                                         : CRASH_AUTO;
    return true;
}

bool case_takeover_read(struct world *world, struct span words)
{
    int64_t number = 0;
    if (case_number(words, "lost", &number))
        world->takeover.lost_since_ms = world->now_ms - number;
    if (case_number(words, "part", &number))
        world->takeover.part_since_ms = world->now_ms - number;
    world->takeover.judged_ms = world->now_ms - 1000;
    if (case_word(words, "asked"))
        world->takeover.asked_ms = world->now_ms - 1000;
    return true;
}

static void crash_dies(const struct world *world, struct server *s)
{
    s->seen_ms = s->beat_ms = s->view_ms = world->crash.gone_ms - 100;
    s->reach = REACH_REFUSED;
    s->asked_ms = world->now_ms - 5;
}

/* A follower of the dead: what it had read when the stream ended. */
static void crash_follows(const struct pod *dead, struct pod *pod, struct server *last)
{
    struct server *s = &pod->server;
    text_format(s->primary_ip, sizeof s->primary_ip, "%s", dead->ip);
    s->primary_port = dead->port;
    s->link_up = false;
    struct replica_addr *addr = &last->online[last->online_count++];
    text_format(addr->ip, sizeof addr->ip, "%s", pod->ip);
    addr->port = pod->port;
}

void case_crash_begin(const struct world *world, struct pod *pods)
{
    if (!world->crash.gone_ms || world->me == NO_POD)
        return;
    struct pod *dead = &pods[world->me];
    for (size_t i = 0; i < world->pod_count; i++) {
        struct server *s = &pods[i].server;
        s->offset = OFFSET;
        s->aof = AOF_YES;
        s->aof_written = true;
        s->seen_ms = s->beat_ms = s->view_ms = s->asked_ms = world->now_ms - 10;
        text_format(s->replid, sizeof s->replid, "history");
        if (s->view && node_id_eq(&s->view->myself->primary, &dead->server.id))
            crash_follows(dead, &pods[i], &dead->server);
    }
    crash_dies(world, &dead->server);
}
