/* SPDX-License-Identifier: Apache-2.0 */
#include "io/hook_client.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "io/hook_files.h"

/* A hook that holds the lock has asked by then; whoever holds it longer is a server. */
#define LOCK_POLLS_OF_A_SERVER 5

/* ---- clients ---- */

static void client_free(struct hook_client *client)
{
    struct hook_client **at = &client->server->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    client->server->client_count--;
    event_free(client->readable);
    event_free(client->writable);
    event_free(client->timer);
    (void)close(client->fd);
    hook_reader_deinit(&client->reader);
    hook_request_deinit(&client->request);
    buf_deinit(&client->out);
    free(client);
}

struct hook_client *hook_client_find(const struct hook_server *server, enum client_state state)
{
    struct hook_client *client = server->clients;
    while (client && client->state != state)
        client = client->next;
    return client;
}

static void arm(struct event *timer, int64_t delay_ms)
{
    struct timeval delay = {.tv_sec = delay_ms / 1000, .tv_usec = delay_ms % 1000 * 1000};
    (void)event_add(timer, &delay);
}

/* The hook went away, or its server died. Frees the client. */
static void client_gone(struct hook_client *client)
{
    struct hook_server *server = client->server;
    bool life_line = client->state == CLIENT_LIFE_LINE;
    client_free(client);
    if (!life_line)
        return;
    server->dead_ms = server->config.now_ms();
    hook_server_publish_ready(server, false, "the server has ended");
    server->config.on_server_gone(server->config.ctx);
}

bool hook_client_flush(struct hook_client *client)
{
    while (client->out.len) {
        ssize_t n = send(client->fd, client->out.bytes, client->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            (void)event_add(client->writable, NULL);
            return true;
        }
        if (n < 0) {
            client_gone(client);
            return false;
        }
        buf_consume(&client->out, (size_t)n);
    }
    if (client->state != CLIENT_LEAVING)
        return true;
    client_gone(client);
    return false;
}

int hook_client_say(struct hook_client *client, const struct hook_answer *answer, struct err *err)
{
    auto_buf struct buf text;
    buf_init(&text, HOOK_MESSAGE_MAX);
    int r = hook_answer_format(answer, &text, err);
    if (r < 0)
        return r;
    if (buf_append(&client->out, buf_str(&text), text.len) < 0)
        return err_set(err, E_LIMIT, "the hook does not read its answers");
    return 0;
}

void hook_client_answer(struct hook_client *client, enum hook_verdict verdict, const char *reason)
{
    struct hook_answer answer = {.verdict = verdict};
    text_format(answer.reason, sizeof answer.reason, "%s", reason);
    bool last = verdict != HOOK_WAIT;
    /* a hook that does not read gets no second "wait" on top of the first */
    if (last || !client->out.len) {
        if (hook_client_say(client, &answer, NULL) < 0) {
            client_gone(client);
            return;
        }
    }
    if (last) {
        client->state = CLIENT_LEAVING;
        arm(client->timer, HOOK_REQUEST_MS);
    } else {
        text_format(client->said, sizeof client->said, "%s", reason);
        arm(client->timer, HOOK_REPEAT_MS);
    }
    (void)hook_client_flush(client);
}

static void client_drain(struct hook_client *client)
{
    struct hook_server *server = client->server;
    char reason[HOOK_REASON_SIZE] = "";
    int64_t now_ms = server->config.now_ms();
    if (client->state != CLIENT_DRAINING)
        client->since_ms =
            now_ms > client->request.waits_ms ? now_ms - client->request.waits_ms : 1;
    client->state = CLIENT_DRAINING;
    enum hook_verdict verdict = server->config.on_drain(server->config.ctx, reason);
    assert(verdict == HOOK_OK || verdict == HOOK_WAIT || verdict == HOOK_NO);
    hook_client_answer(client, verdict, reason);
}

static void client_open(struct hook_client *client)
{
    const struct hook_server_config *config = &client->server->config;
    char reason[HOOK_REASON_SIZE] = "";
    hook_client_answer(client, config->on_open(config->ctx, reason), reason);
}

static void client_takeover(struct hook_client *client)
{
    const struct hook_server_config *config = &client->server->config;
    char reason[HOOK_REASON_SIZE] = "";
    hook_client_answer(client, config->on_takeover(config->ctx, reason), reason);
}

/* One after the other: what the second one orders may follow from what the first one did. */
static void client_person(struct hook_client *client)
{
    const struct hook_server_config *config = &client->server->config;
    char reason[HOOK_REASON_SIZE] = "";
    bool orders = client->request.verb != HOOK_FAILOVER || !client->request.person.look;
    if (orders && hook_client_find(client->server, CLIENT_PERSON)) {
        hook_client_answer(client, HOOK_NO, "another order is just being looked at: say it again");
        return;
    }
    enum hook_verdict verdict = config->on_person(config->ctx, &client->request, reason);
    client->state = verdict == HOOK_VERDICT_NONE ? CLIENT_PERSON : CLIENT_LEAVING;
    if (verdict != HOOK_VERDICT_NONE)
        hook_client_answer(client, verdict, reason); /* a "wait", too, is all that is said */
}

static void client_start(struct hook_client *client)
{
    struct hook_server *server = client->server;
    struct hook_client *older = hook_client_find(server, CLIENT_AT_GATE);
    if (older)
        client_free(older);
    bool gone = server->running_by_lock;
    server->running_by_lock = false;
    server->lock_polls = 0;
    client->state = CLIENT_AT_GATE;
    client->since_ms = server->config.now_ms();
    arm(client->timer, HOOK_REPEAT_MS);
    hook_server_publish_ready(server, false, "the server waits at the gate");
    /* its successor got the lock, so the server that we knew by it is dead */
    if (gone)
        server->config.on_server_gone(server->config.ctx);
    server->config.on_start(server->config.ctx);
}

static void client_request(struct hook_client *client)
{
    struct hook_server *server = client->server;
    switch (client->request.verb) {
    case HOOK_START:
        client_start(client);
        break;
    case HOOK_DRAIN:
        client_drain(client);
        break;
    case HOOK_READY:
        hook_client_answer(client, server->ready ? HOOK_OK : HOOK_NO,
                           server->ready_reason[0] ? server->ready_reason
                                                   : "the agent has not judged yet");
        break;
    case HOOK_ALIVE:
        if (hook_client_find(server, CLIENT_AT_GATE))
            hook_client_answer(client, HOOK_OK, "the server waits at the gate");
        else if (hook_server_server_running(server))
            hook_client_answer(client, HOOK_OK, "the server runs");
        else
            hook_client_answer(client, HOOK_NO, "there is no server");
        break;
    case HOOK_OPEN:
        client_open(client);
        break;
    case HOOK_TAKEOVER:
        client_takeover(client);
        break;
    case HOOK_FAILOVER:
    case HOOK_PAUSE:
    case HOOK_RESUME:
        client_person(client);
        break;
    case HOOK_VERB_NONE:
        hook_client_answer(client, HOOK_ERROR, "this agent does not know the request");
        break;
    }
}

static void client_refuse(struct hook_client *client, const struct err *err)
{
    LOG(LOG_WARN, "hook-refused", LOG_S("msg", err->msg));
    hook_client_answer(client, HOOK_ERROR, err->msg);
}

static void client_received(struct hook_client *client, const char *bytes, size_t len)
{
    struct err err = {0};
    struct span message = {0};
    /* nothing is to be said after the request; what comes all the same is thrown away */
    if (client->state != CLIENT_ASKING)
        return;
    int r = hook_reader_feed(&client->reader, bytes, len, &err);
    if (r == 0)
        r = hook_reader_next(&client->reader, &message, &err);
    if (r > 0)
        r = hook_request_parse(message, &client->request, &err);
    else if (r == 0)
        return;
    if (r < 0)
        client_refuse(client, &err);
    else
        client_request(client);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    (void)what;
    struct hook_client *client = ctx;
    char bytes[16384];
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    if (n > 0)
        client_received(client, bytes, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        client_gone(client);
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)hook_client_flush(ctx);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct hook_client *client = ctx;
    switch (client->state) {
    case CLIENT_ASKING:
    case CLIENT_PERSON:
    case CLIENT_LEAVING:
        client_gone(client);
        break;
    case CLIENT_AT_GATE:
        hook_client_answer(client, HOOK_WAIT,
                           client->said[0] ? client->said : "the agent has not judged yet");
        break;
    case CLIENT_DRAINING:
        client_drain(client);
        break;
    case CLIENT_LIFE_LINE:
        break;
    }
}

/* ---- listening ---- */

/* Room for one more: the oldest that is only asking or leaving gives way. */
static bool make_room(struct hook_server *server)
{
    if (server->client_count < HOOK_CLIENTS_MAX)
        return true;
    struct hook_client *oldest = NULL;
    for (struct hook_client *client = server->clients; client; client = client->next)
        if (client->state == CLIENT_ASKING || client->state == CLIENT_LEAVING)
            oldest = client;
    if (!oldest)
        return false;
    client_free(oldest);
    return true;
}

static void client_new(struct hook_server *server, int fd)
{
    struct hook_client *client = xcalloc(1, sizeof *client);
    struct event_base *base = server->config.base;
    client->server = server;
    client->fd = fd;
    client->state = CLIENT_ASKING;
    hook_reader_init(&client->reader, HOOK_REQUESTS);
    buf_init(&client->out, 2 * HOOK_MESSAGE_MAX);
    client->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, client);
    client->writable = event_new(base, fd, EV_WRITE, on_writable, client);
    client->timer = evtimer_new(base, on_timer, client);
    if (!client->readable || !client->writable || !client->timer)
        abort(); /* out of memory, as in base/alloc.h */
    struct event *events[] = {client->readable, client->writable, client->timer};
    for (size_t i = 0; i < ARRAY_LEN(events); i++)
        (void)event_priority_set(events[i], server->config.priority);
    (void)event_add(client->readable, NULL);
    arm(client->timer, HOOK_REQUEST_MS);
    client->next = server->clients;
    server->clients = client;
    server->client_count++;
}

static void on_acceptable(evutil_socket_t fd, short what, void *ctx)
{
    (void)what;
    struct hook_server *server = ctx;
    int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0)
        return;
    if (make_room(server))
        client_new(server, client);
    else
        (void)close(client);
}

/* Looks after a server that has no life line here. */
static void on_lock_timer(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct hook_server *server = ctx;
    arm(server->lock_timer, HOOK_LOCK_POLL_MS);
    if (hook_client_find(server, CLIENT_LIFE_LINE) || hook_client_find(server, CLIENT_AT_GATE))
        return;
    if (hook_lock_is_held(server->lock_path)) {
        if (server->lock_polls < LOCK_POLLS_OF_A_SERVER)
            server->lock_polls++;
        else
            server->running_by_lock = true;
        return;
    }
    bool gone = server->running_by_lock;
    server->lock_polls = 0;
    server->running_by_lock = false;
    if (!gone)
        return;
    hook_server_publish_ready(server, false, "the server has ended");
    server->config.on_server_gone(server->config.ctx);
}

static int server_open(struct hook_server *server, struct err *err)
{
    const struct hook_server_config *config = &server->config;
    if (!hook_file_path(config->socket_path, "server.lock", server->lock_path) ||
        !hook_file_path(config->socket_path, "ready", server->ready_path))
        return err_set(err, E_INVALID, "hook.socket: the path is too long");
    int r = hook_socket_listen(config->socket_path, &server->fd, err);
    if (r == 0)
        r = hook_lock_create(server->lock_path, err);
    if (r < 0)
        return r;
    server->ready = hook_ready_read(server->ready_path) == HOOK_OK;
    server->acceptable =
        event_new(config->base, server->fd, EV_READ | EV_PERSIST, on_acceptable, server);
    server->lock_timer = evtimer_new(config->base, on_lock_timer, server);
    if (!server->acceptable || !server->lock_timer)
        abort(); /* out of memory, as in base/alloc.h */
    (void)event_priority_set(server->acceptable, config->priority);
    (void)event_priority_set(server->lock_timer, config->priority);
    (void)event_add(server->acceptable, NULL);
    arm(server->lock_timer, HOOK_LOCK_POLL_MS);
    return 0;
}

int hook_server_new(const struct hook_server_config *config, struct hook_server **ret_server,
                    struct err *err)
{
    assert(config->on_start && config->on_server_gone && config->on_drain && config->on_person &&
           config->now_ms);
    struct hook_server *server = xcalloc(1, sizeof *server);
    server->config = *config;
    server->fd = -1;
    int r = server_open(server, err);
    if (r < 0) {
        hook_server_free(server);
        return r;
    }
    *ret_server = server;
    return 0;
}

void hook_server_free(struct hook_server *server)
{
    if (!server)
        return;
    for (struct hook_client *client = server->clients, *next; client; client = next) {
        next = client->next;
        client_free(client);
    }
    if (server->acceptable)
        event_free(server->acceptable);
    if (server->lock_timer)
        event_free(server->lock_timer);
    if (server->fd >= 0) {
        (void)close(server->fd);
        (void)unlink(server->config.socket_path);
    }
    free(server);
}
