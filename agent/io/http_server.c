/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_server.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "io/endpoint.h"
#include "wire/http_head.h"
#include "wire/metrics_text.h"

/* Accepted at once, so that each connection gets its turn to be read before it may be evicted. */
#define ACCEPTS_PER_WAKE (HTTP_CLIENTS_MAX / 2)
/* Out of descriptors or memory: the connections wait in the backlog meanwhile. */
#define ACCEPT_PAUSE_MS 100
#define ANSWER_HEAD_MAX 320

/* What is served; immutable, kept by each answer that is under way. */
struct page {
    unsigned refs;
    int status;
    size_t len;
    char bytes[];
};

enum client_phase {
    CLIENT_READING = 1,
    CLIENT_WRITING,
    /* Answered: what it still sends is thrown away, for closing now could destroy the answer that it
     * has not read yet (RFC 9112, 9.6). */
    CLIENT_LINGERING,
};

struct client {
    struct http_server *server;
    uint64_t serial; /* in the order of arrival */
    int fd;
    struct event *io;
    struct event *deadline;
    enum client_phase phase;
    char in[HTTP_REQUEST_MAX];
    size_t in_len;
    char head[ANSWER_HEAD_MAX];
    size_t head_len;
    struct page *body; /* NULL for HEAD */
    size_t sent;       /* of head and body */
};

struct http_server {
    struct http_server_config config;
    int fd;
    uint16_t port;
    struct event *accept;
    struct event *resume;
    int64_t turned_ms;
    uint64_t serial;
    struct page *pages[HTTP_PAGE_COUNT];
    struct client *clients[HTTP_CLIENTS_MAX]; /* NULL where there is none; owned */
};

/* ---- Pages ---- */

static struct page *page_new(int status, struct span body)
{
    struct page *page = xcalloc(1, sizeof *page + body.len);
    page->refs = 1;
    page->status = status;
    page->len = body.len;
    if (body.len)
        memcpy(page->bytes, body.ptr, body.len);
    return page;
}

static struct page *page_keep(struct page *page)
{
    page->refs++;
    return page;
}

static void page_drop(struct page *page)
{
    if (page && --page->refs == 0)
        free(page);
}

static void server_replace(struct http_server *server, enum http_page kind, int status,
                           struct span body)
{
    const struct page *old = server->pages[kind];
    if (old && old->status == status && old->len == body.len &&
        (body.len == 0 || memcmp(old->bytes, body.ptr, body.len) == 0))
        return;
    page_drop(server->pages[kind]);
    server->pages[kind] = page_new(status, body);
}

void http_server_publish(struct http_server *server, enum http_page page, struct span body)
{
    server_replace(server, page, 200, body);
}

void http_server_publish_ready(struct http_server *server, bool ready, struct span reason)
{
    server_replace(server, HTTP_PAGE_READY, ready ? 200 : 503, reason);
}

void http_server_turned(struct http_server *server)
{
    server->turned_ms = server->config.now_ms();
}

/* ---- Clients ---- */

static void client_free(struct client *client)
{
    struct http_server *server = client->server;
    for (size_t i = 0; i < HTTP_CLIENTS_MAX; i++)
        if (server->clients[i] == client)
            server->clients[i] = NULL;
    event_free(client->io);
    event_free(client->deadline);
    (void)close(client->fd);
    page_drop(client->body);
    free(client);
}

static void client_on_deadline(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    client_free(ctx);
}

static void client_on_io(evutil_socket_t fd, short what, void *ctx);

/* Waits for reading or writing from now on. */
static void client_wait(struct client *client, short what)
{
    (void)event_del(client->io);
    int r = event_assign(client->io, client->server->config.base, client->fd,
                         (short)(what | EV_PERSIST), client_on_io, client);
    assert(r == 0);
    r = event_priority_set(client->io, client->server->config.priority);
    assert(r == 0);
    r = event_add(client->io, NULL);
    assert(r == 0);
}

/* Drops whoever has been answered, else the oldest, when there is no place left. */
static size_t server_place(struct http_server *server)
{
    size_t oldest = 0;
    for (size_t i = 0; i < HTTP_CLIENTS_MAX; i++) {
        const struct client *client = server->clients[i];
        if (!client)
            return i;
        const struct client *victim = server->clients[oldest];
        bool answered = client->phase == CLIENT_LINGERING;
        bool victim_answered = victim->phase == CLIENT_LINGERING;
        if (answered != victim_answered ? answered : client->serial < victim->serial)
            oldest = i;
    }
    client_free(server->clients[oldest]);
    return oldest;
}

static void client_new(struct http_server *server, int fd)
{
    const struct timeval life = {.tv_sec = HTTP_CLIENT_SECONDS};
    size_t place = server_place(server);
    struct client *client = xcalloc(1, sizeof *client);
    client->server = server;
    client->serial = server->serial++;
    client->fd = fd;
    client->phase = CLIENT_READING;
    client->io = event_new(server->config.base, fd, EV_READ, client_on_io, client);
    client->deadline = event_new(server->config.base, -1, 0, client_on_deadline, client);
    assert(client->io && client->deadline);
    int r = event_priority_set(client->deadline, server->config.priority);
    assert(r == 0);
    r = event_add(client->deadline, &life);
    assert(r == 0);
    client_wait(client, EV_READ);
    server->clients[place] = client;
}

/* ---- Answers ---- */

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    default:
        return "Service Unavailable";
    }
}

/* Sends what is left of head and body; true when all of it is on its way. */
static bool client_send(struct client *client, bool *ret_failed)
{
    size_t body_len = client->body ? client->body->len : 0;
    size_t head_sent = client->sent < client->head_len ? client->sent : client->head_len;
    size_t body_sent = client->sent - head_sent;
    struct iovec parts[2] = {
        {client->head + head_sent, client->head_len - head_sent},
        {client->body ? client->body->bytes + body_sent : NULL, body_len - body_sent}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_LEN(parts)};
    ssize_t n = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    *ret_failed = n < 0 && errno != EAGAIN && errno != EINTR;
    if (n > 0)
        client->sent += (size_t)n;
    return client->sent == client->head_len + body_len;
}

/* Goes on with the answer; may free the client. */
static void client_write(struct client *client)
{
    bool failed;
    bool done = client_send(client, &failed);
    if (failed) {
        client_free(client);
    } else if (done) {
        client->phase = CLIENT_LINGERING;
        (void)shutdown(client->fd, SHUT_WR); /* it may have left; the next read tells */
        client_wait(client, EV_READ);
    } else if (client->phase != CLIENT_WRITING) {
        client->phase = CLIENT_WRITING;
        client_wait(client, EV_WRITE);
    }
}

/* Begins the answer; takes the page. May free the client. */
static void client_answer(struct client *client, struct page *page, const char *type, bool body)
{
    text_format(client->head, sizeof client->head,
                "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n%s"
                "Connection: close\r\n\r\n",
                page->status, status_text(page->status), type, page->len,
                page->status == 405 ? "Allow: GET, HEAD\r\n" : "");
    client->head_len = strlen(client->head);
    if (body)
        client->body = page;
    else
        page_drop(page);
    client_write(client);
}

static struct page *page_of_text(int status, const char *text)
{
    return page_new(status, span_of(text));
}

static struct page *server_live(const struct http_server *server)
{
    int64_t age_ms = server->config.now_ms() - server->turned_ms;
    char text[64] = "ok\n";
    bool live = age_ms <= HTTP_LIVE_MS;
    if (!live)
        text_format(text, sizeof text, "no turn for %" PRId64 " ms\n", age_ms);
    return page_of_text(live ? 200 : 503, text);
}

static struct page *server_page(const struct http_server *server, enum http_page kind)
{
    return server->pages[kind] ? page_keep(server->pages[kind])
                               : page_of_text(503, "not known yet\n");
}

static void client_route(struct client *client, const struct http_head *head)
{
    static const char *const plain = "text/plain; charset=utf-8";
    const struct http_server *server = client->server;
    bool body = !span_is(head->method, "HEAD");
    if (body && !span_is(head->method, "GET"))
        client_answer(client, page_of_text(405, "GET and HEAD only\n"), plain, body);
    else if (span_is(head->path, "/livez"))
        client_answer(client, server_live(server), plain, body);
    else if (span_is(head->path, "/readyz"))
        client_answer(client, server_page(server, HTTP_PAGE_READY), plain, body);
    else if (span_is(head->path, "/metrics"))
        client_answer(client, server_page(server, HTTP_PAGE_METRICS), METRICS_CONTENT_TYPE, body);
    else if (span_is(head->path, "/status") && span_is(head->query, "digest"))
        client_answer(client, server_page(server, HTTP_PAGE_DIGEST), plain, body);
    else if (span_is(head->path, "/status"))
        client_answer(client, server_page(server, HTTP_PAGE_STATUS), "application/json", body);
    else if (span_is(head->path, "/record"))
        client_answer(client, server_page(server, HTTP_PAGE_RECORD), "application/json", body);
    else
        client_answer(client, page_of_text(404, "/livez /readyz /metrics /status\n"), plain, body);
}

/* ---- Reading ---- */

static void client_read(struct client *client)
{
    static const char *const plain = "text/plain; charset=utf-8";
    if (client->phase == CLIENT_LINGERING)
        client->in_len = 0;
    ssize_t n = recv(client->fd, client->in + client->in_len, sizeof client->in - client->in_len,
                     MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_free(client);
        return;
    }
    if (client->phase == CLIENT_LINGERING)
        return;
    client->in_len += (size_t)n;
    struct http_head head;
    switch (http_head_parse((struct span){client->in, client->in_len}, &head)) {
    case HTTP_HEAD_COMPLETE:
        client_route(client, &head);
        break;
    case HTTP_HEAD_BAD:
        client_answer(client, page_of_text(400, "not an HTTP/1 request\n"), plain, true);
        break;
    case HTTP_HEAD_PARTIAL:
        if (client->in_len == sizeof client->in)
            client_answer(client, page_of_text(431, "the request is too large\n"), plain, true);
        break;
    }
}

static void client_on_io(evutil_socket_t fd, short what, void *ctx)
{
    struct client *client = ctx;
    (void)fd;
    (void)what;
    if (client->phase == CLIENT_WRITING)
        client_write(client);
    else
        client_read(client);
}

/* ---- Accepting ---- */

static void server_on_resume(evutil_socket_t fd, short what, void *ctx)
{
    struct http_server *server = ctx;
    (void)fd;
    (void)what;
    int r = event_add(server->accept, NULL);
    assert(r == 0);
}

static void server_on_accept(evutil_socket_t fd, short what, void *ctx)
{
    const struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
    struct http_server *server = ctx;
    (void)what;
    for (int i = 0; i < ACCEPTS_PER_WAKE; i++) {
        int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0) {
            client_new(server, client);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN) {
            (void)event_del(server->accept);
            (void)event_add(server->resume, &pause);
        }
        return;
    }
}

int http_server_new(const struct http_server_config *config, struct http_server **ret_server,
                    struct err *err)
{
    int fd;
    uint16_t port;
    int result = endpoint_listen(config->address, config->port, &fd, &port, err);
    if (result < 0)
        return err_wrap(err, "HTTP server");
    struct http_server *server = xcalloc(1, sizeof *server);
    server->config = *config;
    server->config.address = NULL; /* the caller's; not needed any more */
    server->fd = fd;
    server->port = port;
    server->turned_ms = config->now_ms();
    server->accept = event_new(config->base, fd, EV_READ | EV_PERSIST, server_on_accept, server);
    server->resume = event_new(config->base, -1, 0, server_on_resume, server);
    assert(server->accept && server->resume);
    int r = event_priority_set(server->accept, config->priority);
    assert(r == 0);
    r = event_priority_set(server->resume, config->priority);
    assert(r == 0);
    r = event_add(server->accept, NULL);
    assert(r == 0);
    *ret_server = server;
    return 0;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    for (size_t i = 0; i < HTTP_CLIENTS_MAX; i++)
        if (server->clients[i])
            client_free(server->clients[i]);
    event_free(server->accept);
    event_free(server->resume);
    (void)close(server->fd);
    for (size_t i = 0; i < HTTP_PAGE_COUNT; i++)
        page_drop(server->pages[i]);
    free(server);
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

unsigned http_server_clients(const struct http_server *server)
{
    unsigned count = 0;
    for (size_t i = 0; i < HTTP_CLIENTS_MAX; i++)
        count += server->clients[i] != NULL;
    return count;
}
