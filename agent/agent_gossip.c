/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leader asks the other agents for their digests, and so does an agent whose server waits at the
 * gate or is to stop. A digest only tells that its agent lives, what is worth reading, and what waits at its own
 * gate; it never justifies an action by itself.
 */
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "core/place.h"
#include "io/clock.h"
#include "wire/digest.h"

#define MATE_PERIOD_MS 5000
/* While a server waits for what the others say; and of those that are not heard, which may be
 * starting: until each was heard once, `check` cannot tell. */
#define MATE_HURRY_MS 500
/* In the first moment of a drain, and for so long: who else is to stop (core/drain.h)? */
#define MATE_DRAIN_MS 50
#define MATE_DRAIN_FOR_MS 400
/* While slots move: what was read makes room for what is entered next. */
#define MATE_MOVES_MS 100
#define MATE_TIMEOUT_MS 1500
/* One lost answer is not silence. */
#define MATE_SILENT_AFTER 2

static struct agent_mate *mate_find(const struct agent *agent, const char *uid)
{
    for (size_t i = 0; i < agent->mate_count; i++)
        if (strcmp(agent->mates[i].uid, uid) == 0)
            return &agent->mates[i];
    return NULL;
}

enum agent_state agent_mate_state(const struct agent *agent, const char *uid, int64_t *ret_seen_ms)
{
    const struct agent_mate *mate = mate_find(agent, uid);
    *ret_seen_ms = mate ? mate->seen_ms : 0;
    return mate ? mate->state : AGENT_UNKNOWN;
}

void agent_mate_told(const struct agent *agent, const char *uid, struct told *ret_told)
{
    const struct agent_mate *mate = mate_find(agent, uid);
    *ret_told = mate ? mate->told : (struct told){0};
}

/*
 * What a list tells of a pod may be older than its end, and its address that of another pod by now, whose
 * agent, of another cluster, does not speak for it. An agent of a release before this one does not say.
 */
static bool mate_spoke(const struct agent_mate *mate, const struct http_response *response,
                       struct digest *ret_digest)
{
    struct err err = {0};
    return response->err.code == E_OK && response->status == 200 &&
           digest_parse(response->body, ret_digest, &err) == 0 &&
           (!ret_digest->pod || ret_digest->pod == digest_pod(mate->uid));
}

static void mate_on_done(void *ctx, const struct http_response *response)
{
    struct agent_mate *mate = ctx;
    struct digest digest;
    mate->request = NULL;
    if (mate_spoke(mate, response, &digest)) {
        mate->failures = 0;
        mate->state = AGENT_OK;
        mate->seen_ms = clock_mono_ms();
        /* What it says is of when its server was asked, but not of later than we asked it. */
        mate->told = (struct told){.heard_ms = mate->asked_ms,
                                   .view_hash = digest.view_hash,
                                   .open_slots = digest.open_slots,
                                   .leaving = digest_leaving(&digest),
                                   .moves = {digest.moves >= 0, digest.moves},
                                   .gate = digest_gate_word(&digest)};
        agent_wake(mate->agent);
    } else if (++mate->failures >= MATE_SILENT_AFTER) {
        mate->state = AGENT_SILENT;
        mate->told = (struct told){0};
    }
}

static void mate_ask(struct agent *agent, struct agent_mate *mate, const struct pod *pod)
{
    char url[128];
    bool v6 = strchr(pod->ip, ':') != NULL;
    text_format(url, sizeof url, "http://%s%s%s:%d/status?digest", v6 ? "[" : "", pod->ip,
                v6 ? "]" : "", agent->config->http.port);
    struct http_call call = {
        .method = "GET",
        .url = url,
        .plain = true,
        .body_max = DIGEST_TEXT_MAX,
        .timeout_ms = MATE_TIMEOUT_MS,
        .on_done = mate_on_done,
        .ctx = mate,
    };
    struct err err = {0};
    mate->asked_ms = agent->world.now_ms;
    mate->request = http_start(agent->gossip, &call, &err);
}

/* One entry for each other pod; requests of pods that are gone are cancelled. */
static void mates_follow(struct agent *agent)
{
    const struct world *w = &agent->world;
    bool same = agent->mate_count + (w->me == NO_POD ? 0 : 1) == w->pod_count;
    for (size_t i = 0; same && i < w->pod_count; i++)
        same = i == w->me || mate_find(agent, w->pods[i].uid);
    if (same)
        return;
    /* The requests hold pointers into the old table. */
    for (size_t i = 0; i < agent->mate_count; i++)
        http_cancel(TAKE(agent->mates[i].request));
    struct agent_mate *mates = xcalloc(w->pod_count, sizeof *mates);
    size_t count = 0;
    for (size_t i = 0; i < w->pod_count; i++) {
        if (i == w->me)
            continue;
        const struct agent_mate *old = mate_find(agent, w->pods[i].uid);
        if (old)
            mates[count] = *old;
        text_format(mates[count].uid, sizeof mates[count].uid, "%s", w->pods[i].uid);
        mates[count++].agent = agent;
    }
    free(agent->mates);
    agent->mates = mates;
    agent->mate_count = count;
}

/* Somebody's slots may be about to go to whoever says that he stays. */
static bool mates_are_leaving(const struct agent *agent)
{
    const struct world *w = &agent->world;
    for (size_t i = 0; i < w->pod_count; i++)
        if (w->pods[i].terminating)
            return true;
    return false;
}

static int64_t mate_period_ms(const struct agent *agent, bool hurry)
{
    if (agent_drains(agent) && agent->world.now_ms - agent->drain.since_ms < MATE_DRAIN_FOR_MS)
        return MATE_DRAIN_MS;
    if (agent->plan.scale.slots)
        return MATE_MOVES_MS;
    return hurry ? MATE_HURRY_MS : MATE_PERIOD_MS;
}

static bool mate_is_due(const struct agent *agent, const struct agent_mate *mate, bool hurry)
{
    int64_t period_ms = mate_period_ms(agent, hurry || mate->state != AGENT_OK);
    return !mate->request && (!mate->asked_ms || agent->world.now_ms - mate->asked_ms >= period_ms);
}

void agent_ask_mates(struct agent *agent)
{
    const struct world *w = &agent->world;
    if (agent->hosts) {
        agent_mates_ask(agent);
        return;
    }
    bool judges = agent->gate_asks || agent_drains(agent);
    if (!w->leader && !judges) {
        agent_forget_mates(agent);
        return;
    }
    mates_follow(agent);
    bool hurry = judges || mates_are_leaving(agent);
    for (size_t i = 0; i < w->pod_count; i++) {
        struct agent_mate *mate = mate_find(agent, w->pods[i].uid);
        bool wanted = hurry || plan_asks_whether_stays(&agent->plan, i);
        if (mate && w->pods[i].ip[0] && mate_is_due(agent, mate, wanted))
            mate_ask(agent, mate, &w->pods[i]);
    }
}

void agent_forget_mates(struct agent *agent)
{
    for (size_t i = 0; i < agent->mate_count; i++)
        http_cancel(TAKE(agent->mates[i].request));
    free(TAKE(agent->mates));
    agent->mate_count = 0;
}
