/* SPDX-License-Identifier: Apache-2.0 */
/* What the owner of a hook server asks and says. */
#include <assert.h>
#include <event2/event.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "io/hook_client.h"

/* The kernel closes a dead server's connection and its lock one after the other. */
#define LOCK_GRACE_MS 1000

const struct hook_facts *hook_server_waiting(const struct hook_server *server,
                                             int64_t *ret_since_ms)
{
    const struct hook_client *client = hook_client_find(server, CLIENT_AT_GATE);
    if (!client)
        return NULL;
    if (ret_since_ms)
        *ret_since_ms = client->since_ms;
    return &client->request.facts;
}

int hook_server_answer_start(struct hook_server *server, const struct hook_answer *answer,
                             struct err *err)
{
    assert(answer->verdict == HOOK_WAIT || answer->verdict == HOOK_GO);
    struct hook_client *client = hook_client_find(server, CLIENT_AT_GATE);
    if (!client)
        return err_set(err, E_NOT_FOUND, "no server waits at the gate");
    if (answer->verdict == HOOK_WAIT) {
        if (strcmp(client->said, answer->reason) != 0)
            hook_client_answer(client, HOOK_WAIT, answer->reason);
        return 0;
    }
    int r = hook_client_say(client, answer, err);
    if (r < 0)
        return r;
    (void)event_del(client->timer);
    client->state = CLIENT_LIFE_LINE;
    (void)hook_client_flush(client);
    return 0;
}

bool hook_server_draining(const struct hook_server *server, int64_t *ret_since_ms)
{
    bool found = false;
    for (const struct hook_client *client = server->clients; client; client = client->next) {
        if (client->state != CLIENT_DRAINING)
            continue;
        if (!found || client->since_ms < *ret_since_ms)
            *ret_since_ms = client->since_ms;
        found = true;
    }
    return found;
}

void hook_server_answer_drain(struct hook_server *server, enum hook_verdict verdict,
                              const char *reason)
{
    assert(verdict == HOOK_OK || verdict == HOOK_WAIT);
    for (struct hook_client *client = server->clients, *next; client; client = next) {
        next = client->next; /* the answer may free this one, and no other */
        if (client->state == CLIENT_DRAINING &&
            (verdict == HOOK_OK || strcmp(client->said, reason) != 0))
            hook_client_answer(client, verdict, reason);
    }
}

void hook_server_answer_person(struct hook_server *server, enum hook_verdict verdict,
                               const char *reason)
{
    assert(verdict == HOOK_OK || verdict == HOOK_NO);
    struct hook_client *client = hook_client_find(server, CLIENT_PERSON);
    if (client)
        hook_client_answer(client, verdict, reason);
}

bool hook_server_server_running(const struct hook_server *server)
{
    if (hook_client_find(server, CLIENT_LIFE_LINE))
        return true;
    if (server->dead_ms && server->config.now_ms() - server->dead_ms < LOCK_GRACE_MS)
        return false;
    return !hook_client_find(server, CLIENT_AT_GATE) && hook_lock_is_held(server->lock_path);
}

void hook_server_publish_ready(struct hook_server *server, bool ready, const char *reason)
{
    if (server->ready_known && server->ready == ready && strcmp(server->ready_reason, reason) == 0)
        return;
    server->ready_known = true;
    server->ready = ready;
    text_format(server->ready_reason, sizeof server->ready_reason, "%s", reason);
    struct hook_answer answer = {.verdict = ready ? HOOK_OK : HOOK_NO,
                                 .server_port = server->config.server_port};
    memcpy(answer.reason, server->ready_reason, sizeof answer.reason);
    text_format(answer.server_ip, sizeof answer.server_ip, "%s", server->config.server_ip);
    struct err err = {0};
    if (hook_ready_write(server->ready_path, &answer, &err) < 0)
        LOG(LOG_WARN, "hook-ready-file", LOG_S("msg", err.msg));
}

bool hook_server_last_ready(const struct hook_server *server)
{
    return server->ready;
}
