/* SPDX-License-Identifier: Apache-2.0 */
/* Carries the gate's verdict to the hook, and tells what the server beside us does. */
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "core/gate.h"
#include "core/gate_part.h"
#include "io/clock.h"
#include "io/hook_files.h"

/* Shorter holds are the ordinary wait for addresses. */
#define HOLD_TELL_MS 5000

static void agent_on_start(void *ctx)
{
    agent_end_drain(ctx);
    agent_wake(ctx);
}

/* Only for what waits now: the next server of this pod is judged anew. */
static enum hook_verdict agent_on_open(void *ctx, char reason[HOOK_REASON_SIZE])
{
    struct agent *agent = ctx;
    int64_t since_ms;
    if (!hook_server_waiting(agent->hook, &since_ms)) {
        text_format(reason, HOOK_REASON_SIZE, "no server waits at the gate of %s",
                    agent->identity.pod_name);
        return HOOK_NO;
    }
    text_format(reason, HOOK_REASON_SIZE, "the server of %s starts; it was held because: %.180s",
                agent->identity.pod_name, agent->gate_said);
    LOG(LOG_WARN, "gate-opened", LOG_S("msg", "a person opened the gate"),
        LOG_S("held", agent->gate_said));
    agent->gate_opened_ms = since_ms;
    agent_wake(agent);
    return HOOK_OK;
}

/* The planner judges it anew in each turn, and says what stands against it (core/takeover.h). */
static enum hook_verdict agent_on_takeover(void *ctx, char reason[HOOK_REASON_SIZE])
{
    struct agent *agent = ctx;
    const struct takeover_verdict *verdict = &agent->plan.takeover;
    char answer[TAKEOVER_ANSWER_SIZE];
    bool obeyed = takeover_answer(&agent->world, verdict, agent->plan.reason, answer);
    text_format(reason, HOOK_REASON_SIZE, "%s", answer);
    if (!obeyed)
        return HOOK_NO;
    LOG(LOG_WARN, "takeover", LOG_S("msg", "a person gives the lost primaries up"),
        LOG_S("why", verdict->reason));
    agent->takeover.asked_ms = clock_mono_ms();
    agent_wake(agent);
    return HOOK_OK;
}

struct hook_server_config agent_hook_config(struct agent *agent)
{
    return (struct hook_server_config){
        .base = loop_base(agent->loop),
        .priority = LOOP_HOOK,
        .socket_path = agent->config->hook.socket,
        .server_ip = agent->config->redis.host,
        .server_port = agent->config->redis.port,
        .now_ms = clock_mono_ms,
        .on_start = agent_on_start,
        .on_drain = agent_on_drain,
        .on_open = agent_on_open,
        .on_takeover = agent_on_takeover,
        .on_person = agent_on_person,
        .ctx = agent,
    };
}

static struct gate_claim gate_claim_of(const struct hook_facts *facts, int64_t since_ms)
{
    struct gate_claim claim = {
        .has_nodes = facts->nodes_conf == HOOK_NODES_CONF_PRESENT && facts->peer_count > 0,
        .corrupt = facts->nodes_conf == HOOK_NODES_CONF_CORRUPT,
        .unreadable = facts->nodes_conf == HOOK_NODES_CONF_UNREADABLE,
        .data = hook_facts_prove_data(facts),
        .asked_ms = since_ms,
    };
    if (facts->nodes_conf == HOOK_NODES_CONF_PRESENT) {
        claim.id = facts->myself.id;
        claim.owner = facts->myself.flags & NODE_PRIMARY && facts->myself.slot_count;
    }
    return claim;
}

static void hook_find_primaries(struct agent *agent, const struct hook_facts *facts,
                                struct gate_claim *claim)
{
    struct node_id *ids = ARENA_NEW(&agent->arena, struct node_id, facts->peer_count + 1);
    claim->primaries = ids;
    if (facts->myself.flags & NODE_PRIMARY)
        ids[claim->primary_count++] = facts->myself.id;
    for (size_t i = 0; i < facts->peer_count; i++)
        if (facts->peers[i].flags & NODE_PRIMARY)
            ids[claim->primary_count++] = facts->peers[i].id;
}

void agent_keep_past(struct agent *agent, const struct own_past *past)
{
    char path[HOOK_FILE_PATH_SIZE];
    struct err err = {0};
    bool same = past->part == agent->past.part && node_id_eq(&past->id, &agent->past.id);
    agent->past = *past;
    if (same || !hook_file_path(agent->config->hook.socket, "part", path))
        return;
    if (hook_part_write(path, past->part ? &past->id : NULL, &err) < 0)
        LOG(LOG_WARN, "gate", LOG_ABOUT("part"),
            LOG_S("msg", "what the server beside has cannot be noted"), LOG_S("why", err.msg));
}

void agent_resume_past(struct agent *agent)
{
    char path[HOOK_FILE_PATH_SIZE];
    if (!hook_file_path(agent->config->hook.socket, "part", path))
        return;
    agent->past.id = hook_part_read(path);
    agent->past.part = node_id_is_set(&agent->past.id);
}

bool agent_gate_digest(const struct agent *agent, struct digest *digest)
{
    int64_t since_ms;
    const struct hook_facts *facts = hook_server_waiting(agent->hook, &since_ms);
    if (!facts || agent_hides_crash(agent))
        return false; /* nobody else acts for it meanwhile (core/crash.h) */
    struct gate_claim claim = gate_claim_of(facts, since_ms);
    claim.data = claim.data && !(agent->twin.outlived && node_id_eq(&agent->twin.id, &claim.id));
    digest->gate = DIGEST_GATE_HELD;
    digest->id = claim.id;
    digest->waits_ms = agent->world.now_ms - since_ms;
    text_format(digest->why, sizeof digest->why, "%s", agent->gate_said);
    if (claim.corrupt || claim.unreadable)
        return true; /* what it has is not known */
    if (claim.owner)
        digest->volume = claim.data ? DIGEST_VOLUME_SLOTS_DATA : DIGEST_VOLUME_SLOTS;
    else
        digest->volume = claim.data ? DIGEST_VOLUME_DATA : DIGEST_VOLUME_EMPTY;
    return true;
}

#ifdef MUSTER_TESTING
/* Shows what the rewriting of nodes.conf prevents: tests/integration/test_strangers.py. */
static bool hook_guard_is_off(void)
{
    return getenv("MUSTER_TEST_KEEP_ADDRESSES") != NULL;
}

/* And what the question for the data prevents: tests/integration/test_gate.py. */
static uint32_t hook_guards_off(void)
{
    return getenv("MUSTER_TEST_START_WITHOUT_DATA") ? GUARD_DATA : 0;
}
#else
static bool hook_guard_is_off(void)
{
    return false;
}

static uint32_t hook_guards_off(void)
{
    return 0;
}
#endif

/* The bus port is the one that the file has for the peer: the API does not tell it. */
static void hook_put_addresses(const struct agent *agent, const struct hook_facts *facts,
                               bool alone, struct hook_answer *answer)
{
    answer->rewrite = true;
    bool most = !alone && gate_knows_most(&agent->world);
    answer->addresses = xcalloc(facts->peer_count, sizeof *answer->addresses);
    for (size_t i = 0; i < facts->peer_count; i++) {
        const struct hook_peer *peer = &facts->peers[i];
        const struct pod *pod = alone ? NULL : gate_address(&agent->world, &peer->id);
        struct nodes_conf_address *address = &answer->addresses[answer->address_count++];
        address->id = peer->id;
        address->failing = !pod && most && gate_is_failing(&agent->world, &peer->id);
        if (!pod)
            continue;
        text_format(address->ip, sizeof address->ip, "%s", pod->ip);
        address->port = pod->port;
        address->bus_port = peer->bus_port ? peer->bus_port : (uint16_t)(pod->port + 10000);
    }
}

static void hook_put_settings(const struct agent *agent, struct hook_answer *answer)
{
    if (agent->world.my_ip[0]) { /* without Kubernetes it may take a moment to know it */
        struct hook_setting *ip = &answer->settings[answer->setting_count++];
        text_format(ip->name, sizeof ip->name, "cluster-announce-ip");
        text_format(ip->value, sizeof ip->value, "%s", agent->world.my_ip);
    }
    struct hook_setting *migration = &answer->settings[answer->setting_count++];
    text_format(migration->name, sizeof migration->name, "cluster-allow-replica-migration");
    text_format(migration->value, sizeof migration->value, "no");
    if (agent->world.me == NO_POD)
        return; /* without the API nobody would take the next one back */
    struct hook_setting *failover = &answer->settings[answer->setting_count++];
    text_format(failover->name, sizeof failover->name, "cluster-replica-no-failover");
    text_format(failover->value, sizeof failover->value,
                "yes"); /* until it has synced: rule_basis.c */
}

/* A hold that is more than a moment is told with its end, also where `kubectl describe` shows it. */
static void hook_post_hold(struct agent *agent, const struct gate_claim *claim, bool held,
                           const char *reason)
{
    int64_t since_ms = claim->asked_ms;
    char message[2 * GATE_REASON_SIZE];
    bool told = agent->gate_told_ms == since_ms;
    if (held ? told || agent->world.now_ms - since_ms < HOLD_TELL_MS : !told)
        return;
    if (held)
        text_format(message, sizeof message,
                    "%s is held back before its start: %s; `muster gate open %s` starts it %s",
                    agent->identity.pod_name, reason, agent->identity.pod_name,
                    gate_opened_how(&agent->world, claim));
    else
        text_format(message, sizeof message, "%s starts after %d s at its gate: %s",
                    agent->identity.pod_name, (int)((agent->world.now_ms - since_ms) / 1000),
                    reason);
    agent->gate_told_ms = held ? since_ms : 0;
    if (held)
        LOG(LOG_WARN, "held", LOG_ABOUT("gate"), LOG_S("msg", message));
    if (agent->events)
        event_client_post(agent->events, held, held ? "ServerHeld" : "ServerStarts", message);
}

/* Who is expected here stays known when those who said so are not heard any more. */
static void hook_remember_part(struct agent *agent, const struct gate_claim *claim)
{
    struct gate_part part = gate_find_part(&agent->world, claim);
    if (part.node)
        agent_keep_past(agent, &(struct own_past){part.node->id, true});
}

void agent_answer_hook(struct agent *agent)
{
    int64_t since_ms;
    const struct hook_facts *facts = hook_server_waiting(agent->hook, &since_ms);
    agent->gate_asks = false;
    if (!facts)
        return;
    struct gate_claim claim = gate_claim_of(facts, since_ms);
    hook_find_primaries(agent, facts, &claim);
    agent_look_for_twin(agent, &claim);
    gate_note_few(&agent->world, &claim, &agent->gate_few_ms);
    claim.opened = agent->gate_opened_ms && agent->gate_opened_ms == since_ms;
    claim.replacing = agent->plan.crash.hold ? agent->plan.crash.reason : NULL;
    auto_hook_answer struct hook_answer answer = {0};
    char reason[GATE_REASON_SIZE];
    int64_t limit_ms = (int64_t)agent->config->hook.silent_seconds * 1000;
    agent->world.guards_off |= hook_guards_off();
    enum gate_verdict verdict = gate_judge(&agent->world, &claim, limit_ms, reason);
    answer.verdict = verdict == GATE_WAIT ? HOOK_WAIT : HOOK_GO;
    text_format(answer.reason, sizeof answer.reason, "%s", reason);
    if (verdict != GATE_WAIT)
        hook_put_settings(agent, &answer);
    if ((verdict == GATE_GO_REWRITTEN || verdict == GATE_GO_ALONE) && !hook_guard_is_off())
        hook_put_addresses(agent, facts, verdict == GATE_GO_ALONE, &answer);
    answer.aside = verdict == GATE_GO_EMPTY;
    agent->gate_asks = verdict == GATE_WAIT;
    if (agent->gate_asks)
        hook_remember_part(agent, &claim);
    struct err err = {0};
    if (hook_server_answer_start(agent->hook, &answer, &err) < 0) {
        LOG(LOG_WARN, "gate", LOG_ABOUT("gate"), LOG_S("msg", "the hook could not be answered"),
            LOG_S("why", err.msg));
        return;
    }
    hook_post_hold(agent, &claim, verdict == GATE_WAIT, reason);
    if (verdict != GATE_WAIT || strcmp(agent->gate_said, reason) != 0)
        LOG(LOG_INFO, "gate", LOG_ABOUT("gate"),
            LOG_S("verdict", verdict == GATE_WAIT ? "wait" : "go"), LOG_S("msg", reason),
            LOG_S("node", claim.id.hex));
    text_format(agent->gate_said, sizeof agent->gate_said, "%s", reason);
    if (verdict != GATE_WAIT) {
        agent_forget_twin(agent);
        agent_end_crash(agent);
    }
}
