/* SPDX-License-Identifier: Apache-2.0 */
/* Asks whether the node of the server at the gate still runs where it was before (FAULTS B9). */
#include <string.h>

#include "agent.h"
#include "base/text.h"
#include "wire/kube_json.h"

static enum twin_word twin_word_of(const struct agent *agent, enum reach reach,
                                   const struct node_id *id)
{
    switch (reach) {
    case REACH_OK:
        return node_id_eq(id, &agent->twin.id) ? TWIN_NAMED : TWIN_GONE;
    case REACH_REFUSED:
        return TWIN_GONE;
    case REACH_DENIED:
    case REACH_LOADING:
        return TWIN_MUTE;
    case REACH_UNKNOWN:
    case REACH_TIMEOUT:
    case REACH_ERROR:
        break;
    }
    return TWIN_SILENT;
}

static void twin_on_told(void *ctx, enum reach reach, const struct node_id *id)
{
    struct agent *agent = ctx;
    gate_twin_told(&agent->twin.found, twin_word_of(agent, reach, id));
    agent_wake(agent);
}

void agent_open_twin(struct agent *agent, const struct redis_tls_config *tls)
{
    struct whois_config config = {
        .tls = tls, .limit_ms = GATE_TWIN_ASK_MS, .on_told = twin_on_told, .ctx = agent};
    agent->whois = whois_new(agent->loop, &config);
}

/* The gate asks the others once it knows them: from the turn on in which it first does. */
static void twin_begin(struct agent *agent, const struct gate_claim *claim)
{
    struct agent_twin *twin = &agent->twin;
    if (!node_id_eq(&twin->id, &claim->id)) {
        whois_stop(agent->whois);
        *twin = (struct agent_twin){.id = claim->id};
    }
    if (twin->claim_ms != claim->asked_ms)
        twin->found.since_ms = 0;
    twin->claim_ms = claim->asked_ms;
    if (!twin->found.since_ms && agent->world.api_seen_ms)
        twin->found.since_ms = agent->world.now_ms;
}

static void twin_ask(struct agent *agent, const char *ip)
{
    struct gate_twin *found = &agent->twin.found;
    int64_t now_ms = agent->world.now_ms;
    if (strcmp(ip, found->ip) != 0) {
        *found = (struct gate_twin){.since_ms = found->since_ms, .outlived = found->outlived};
        text_format(found->ip, sizeof found->ip, "%s", ip);
    } else if (whois_is_asking(agent->whois) || now_ms - found->asked_ms < GATE_TWIN_PERIOD_MS) {
        return;
    }
    found->asked_ms = now_ms;
    whois_ask(agent->whois, found->ip, agent->config->redis.port);
}

void agent_look_for_twin(struct agent *agent, struct gate_claim *claim)
{
    twin_begin(agent, claim);
    claim->twin = &agent->twin.found;
    const char *ip = gate_twin_address(&agent->world, claim);
    if (ip && kube_is_address(span_of(ip)))
        twin_ask(agent, ip);
    gate_twin_judge(&agent->world, &agent->twin.found, claim);
    agent->twin.outlived = claim->outlived;
}

void agent_forget_twin(struct agent *agent)
{
    whois_stop(agent->whois);
    agent->twin = (struct agent_twin){0};
}
