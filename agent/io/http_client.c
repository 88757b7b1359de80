/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_client.h"

#include <assert.h>
#include <curl/curl.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "io/http_turns.h"

/* Connections that are kept; curl counts those in use too: four watches, and some for requests. */
#define HTTP_KEPT_MAX 8
/* Before curl 7.87 it has no name. */
#ifndef CURL_WRITEFUNC_ERROR
#define CURL_WRITEFUNC_ERROR 0xFFFFFFFF
#endif

/* Of the body of an error answer to a stream. */
#define HTTP_ERROR_BODY_MAX KIB(64)

struct http_request {
    struct http_client *client;
    struct http_request *next; /* the client's list, both ways */
    struct http_request *prev;
    CURL *easy;                 /* owned */
    struct curl_slist *headers; /* owned */
    struct buf sent;            /* the request's body: curl reads it while it sends */
    struct buf body;            /* of the response */
    char problem[CURL_ERROR_SIZE];
    CURLcode result;
    bool stopped;   /* on_data said no */
    bool cancelled; /* no callbacks any more */
    bool opened;    /* on_data was told of the status */
    bool added;     /* curl has it */
    http_data_fn on_data;
    http_done_fn on_done;
    void *ctx;
    struct http_turn turn;      /* of a call in turn, */
    struct loop_deferred begin; /* of any other */
    struct loop_deferred reap;
};

struct http_client {
    struct loop *loop;
    CURLM *multi;             /* owned */
    CURLSH *sessions;         /* owned: of TLS, for another connection to the same server */
    struct loop_timer *timer; /* owned: curl's own timeouts */
    struct http_turns turns;
    struct http_request *requests;
    size_t request_count;
};

/* One of them bears the token. */
static void http_free_headers(struct curl_slist *headers)
{
    for (struct curl_slist *line = headers; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(headers);
}

static void http_request_free(struct http_request *request)
{
    struct http_client *client = request->client;
    if (request->added)
        (void)curl_multi_remove_handle(client->multi, request->easy);
    curl_easy_cleanup(request->easy);
    http_free_headers(request->headers);
    buf_deinit(&request->sent);
    buf_deinit(&request->body);
    http_turn_end(&client->turns, &request->turn);
    loop_undefer(client->loop, &request->begin);
    loop_undefer(client->loop, &request->reap);
    if (request->prev)
        request->prev->next = request->next;
    else
        client->requests = request->next;
    if (request->next)
        request->next->prev = request->prev;
    client->request_count--;
    free(request);
}

/* What curl says, as one of our codes. */
static int http_code_of(const struct http_request *request)
{
    switch (request->result) {
    case CURLE_OK:
        return E_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return E_TIMEOUT;
    case CURLE_FILESIZE_EXCEEDED:
        return E_LIMIT;
    case CURLE_WRITE_ERROR:
        return request->body.failed ? E_LIMIT : E_PROTO;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return E_AUTH;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return E_PROTO;
    default: /* some ninety others, all of them a transfer that did not come about */
        return E_UNREACHABLE;
    }
}

static int64_t http_date_of(const struct http_request *request)
{
    struct curl_header *date;
    if (curl_easy_header(request->easy, "Date", 0, CURLH_HEADER, -1, &date) != CURLHE_OK)
        return 0;
    time_t unix_s = curl_getdate(date->value, NULL);
    return unix_s > 0 ? (int64_t)unix_s * 1000 : 0;
}

static void http_response_of(const struct http_request *request, struct http_response *ret_response)
{
    struct http_response response = {.body = {buf_str(&request->body), request->body.len}};
    long status = 0;
    curl_off_t retry_after_s = 0;
    (void)curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(request->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    if (retry_after_s > 0)
        response.retry_after_ms = (retry_after_s < 3600 ? (int64_t)retry_after_s : 3600) * 1000;
    response.date_unix_ms = http_date_of(request);
    int code = http_code_of(request);
    if (code == E_OK)
        response.status = (int)status;
    else if (request->stopped)
        (void)err_set(&response.err, E_PROTO, "given up by the receiver");
    else if (code == E_LIMIT)
        (void)err_set(&response.err, code, "body larger than %zu bytes", request->body.ceiling);
    else
        (void)err_set(&response.err, code, "%s",
                      request->problem[0] ? request->problem : curl_easy_strerror(request->result));
    *ret_response = response;
}

/* Outside of curl: here the handle may go, and the callback may do what it likes. */
static void http_on_reap(void *ctx)
{
    struct http_request *request = ctx;
    if (!request->cancelled) {
        struct http_response response;
        http_response_of(request, &response);
        request->on_done(request->ctx, &response);
    }
    http_request_free(request);
}

static void http_collect_done(struct http_client *client)
{
    int left;
    for (CURLMsg *msg; (msg = curl_multi_info_read(client->multi, &left));) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        struct http_request *request = NULL;
        (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&request);
        request->result = msg->data.result;
        http_turn_end(&client->turns, &request->turn);
        loop_defer(client->loop, &request->reap, http_on_reap, request);
    }
}

static void http_on_socket_event(evutil_socket_t fd, short what, void *arg)
{
    struct http_client *client = arg;
    int running;
    int action = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    (void)curl_multi_socket_action(client->multi, fd, action, &running);
    http_collect_done(client);
}

static void http_on_timer(void *ctx)
{
    struct http_client *client = ctx;
    int running;
    (void)curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    http_collect_done(client);
}

static int http_curl_wants_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    struct http_client *client = arg;
    if (timeout_ms < 0)
        loop_timer_disarm(client->timer);
    else
        loop_timer_arm(client->timer, timeout_ms);
    return 0;
}

static int http_curl_wants_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *data)
{
    (void)easy;
    struct http_client *client = arg;
    struct event *event = data;
    if (event)
        event_free(event);
    event = NULL;
    if (what != CURL_POLL_REMOVE) {
        short flags = (short)(EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) |
                              (what & CURL_POLL_OUT ? EV_WRITE : 0));
        event = event_new(loop_base(client->loop), fd, flags, http_on_socket_event, client);
        assert(event);
        (void)event_priority_set(event, LOOP_API);
        (void)event_add(event, NULL);
    }
    (void)curl_multi_assign(client->multi, fd, event);
    return 0;
}

static bool http_is_success(const struct http_request *request)
{
    long status = 0;
    (void)curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300;
}

static size_t http_curl_has_data(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_request *request = arg;
    size_t len = size * count;
    if (request->cancelled)
        return CURL_WRITEFUNC_ERROR;
    if (request->on_data && http_is_success(request)) {
        request->stopped = !request->on_data(request->ctx, (struct span){bytes, len});
        return request->stopped ? CURL_WRITEFUNC_ERROR : len;
    }
    return buf_append(&request->body, bytes, len) < 0 ? CURL_WRITEFUNC_ERROR : len;
}

/* The empty line behind the headers: a stream is open though nothing may come for a minute. */
static size_t http_curl_has_header(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_request *request = arg;
    size_t len = size * count;
    if (request->cancelled)
        return CURL_WRITEFUNC_ERROR;
    if (request->on_data && !request->opened && len <= 2 && bytes[0] == '\r' &&
        http_is_success(request)) {
        request->opened = true;
        http_turn_end(&request->client->turns, &request->turn);
        request->stopped = !request->on_data(request->ctx, (struct span){"", 0});
        return request->stopped ? CURL_WRITEFUNC_ERROR : len;
    }
    return len;
}

struct http_client *http_client_new(struct loop *loop, struct err *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        (void)err_set(err, E_SYSTEM, "libcurl does not start");
        return NULL;
    }
    struct http_client *client = xcalloc(1, sizeof *client);
    client->loop = loop;
    client->timer = loop_timer_new(loop, http_on_timer, client);
    client->multi = curl_multi_init();
    assert(client->multi);
    (void)curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, http_curl_wants_socket);
    (void)curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    (void)curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, http_curl_wants_timer);
    (void)curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    (void)curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)HTTP_KEPT_MAX);
    client->sessions = curl_share_init();
    assert(client->sessions);
    (void)curl_share_setopt(client->sessions, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    http_turns_init(&client->turns, loop);
    return client;
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    for (struct http_request *request = client->requests, *next; request; request = next) {
        next = request->next;
        http_request_free(request);
    }
    (void)curl_multi_cleanup(client->multi);
    (void)curl_share_cleanup(client->sessions);
    http_turns_deinit(&client->turns);
    loop_timer_free(client->timer);
    free(client);
    curl_global_cleanup();
}

static void http_add_header(struct http_request *request, const char *line)
{
    struct curl_slist *headers = curl_slist_append(request->headers, line);
    assert(headers);
    request->headers = headers;
}

static void http_set_headers(struct http_request *request, const struct http_call *call)
{
    char accept[256];
    text_format(accept, sizeof accept, "Accept: %s",
                call->accept ? call->accept : "application/json");
    http_add_header(request, accept);
    if (call->body.len)
        http_add_header(request, "Content-Type: application/json");
    http_add_header(request, "Expect:"); /* no round trip before a small body */
    if (call->bearer) {
        auto_buf struct buf line;
        buf_init(&line, SECRET_MAX + 64);
        (void)buf_format(&line, "Authorization: Bearer %s", call->bearer);
        http_add_header(request, buf_str(&line));
        explicit_bzero(line.bytes, line.len);
    }
    (void)curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers);
}

static void http_set_tls(CURL *easy, const struct http_call *call)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, call->plain ? "http,https" : "https");
#else
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
                           call->plain ? (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)
                                       : (long)CURLPROTO_HTTPS);
#endif
    (void)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    /* No SHA-1 signatures, no RSA below 2048 bits, whatever the system's openssl.cnf allows. */
    (void)curl_easy_setopt(easy, CURLOPT_SSL_CIPHER_LIST, "DEFAULT:@SECLEVEL=2");
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (call->ca_pem.len) {
        /* Not a file name: curl 7.87 and later would keep what it read for a day. */
        struct curl_blob blob = {.len = call->ca_pem.len, .flags = CURL_BLOB_COPY};
        blob.data = (void *)(uintptr_t)call->ca_pem.ptr; /* copied: never written through */
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
        /* Else whoever is in the system's folder, by which libcurl is built, is trusted beside it. */
        (void)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
}

/*
 * A connection that is cut without a word is given up after HTTP_SILENCE_MS: by keepalive when we
 * only listen, as a watch does (the system's own nine probes would take minutes), by the time-out when
 * what we sent is not acknowledged, for then no probes are sent.
 */
static int http_curl_has_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    static const int probes = 3;
    static const unsigned unacknowledged_ms = HTTP_SILENCE_MS;
    (void)arg;
    (void)purpose;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms,
                     sizeof unacknowledged_ms);
    return CURL_SOCKOPT_OK;
}

static void http_set_transport(CURL *easy, const struct http_call *call)
{
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    (void)curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)call->fresh);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 20L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 5L);
    (void)curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, http_curl_has_socket);
    (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "muster");
    if (call->bind_ip && call->bind_ip[0]) {
        auto_buf struct buf source;
        buf_init(&source, 128);
        (void)buf_format(&source, "host!%s", call->bind_ip);
        (void)curl_easy_setopt(easy, CURLOPT_INTERFACE, buf_str(&source));
    }
}

static void http_set_callbacks(struct http_request *request)
{
    CURL *easy = request->easy;
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->problem);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, http_curl_has_data);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
    if (request->on_data) {
        (void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, http_curl_has_header);
        (void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, request);
    }
}

/* Method, URL and body. False if curl refuses the URL. */
static bool http_set_message(struct http_request *request, const struct http_call *call)
{
    CURL *easy = request->easy;
    if (call->body.len) {
        (void)buf_append(&request->sent, call->body.ptr, call->body.len);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->sent.len);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->sent.bytes);
    }
    (void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
    return curl_easy_setopt(easy, CURLOPT_URL, call->url) == CURLE_OK;
}

/* Outside of curl, which refuses to be called from its own callbacks. */
static void http_on_begin(void *ctx)
{
    struct http_request *request = ctx;
    struct http_client *client = request->client;
    if (request->cancelled)
        return;
    request->added = curl_multi_add_handle(client->multi, request->easy) == CURLM_OK;
    if (!request->added) {
        request->result = CURLE_FAILED_INIT;
        loop_defer(client->loop, &request->reap, http_on_reap, request);
    }
}

struct http_request *http_start(struct http_client *client, const struct http_call *call,
                                struct err *err)
{
    if (client->request_count >= HTTP_REQUESTS_MAX) {
        (void)err_set(err, E_LIMIT, "%d requests are in flight", HTTP_REQUESTS_MAX);
        return NULL;
    }
    struct http_request *request = xcalloc(1, sizeof *request);
    request->client = client;
    request->on_data = call->on_data;
    request->on_done = call->on_done;
    request->ctx = call->ctx;
    request->easy = curl_easy_init();
    assert(request->easy);
    buf_init(&request->sent, HTTP_BODY_MAX);
    buf_init(&request->body, call->on_data ? HTTP_ERROR_BODY_MAX : call->body_max);
    request->next = client->requests;
    if (request->next)
        request->next->prev = request;
    client->requests = request;
    client->request_count++;

    (void)curl_easy_setopt(request->easy, CURLOPT_SHARE, client->sessions);
    http_set_headers(request, call);
    http_set_tls(request->easy, call);
    http_set_transport(request->easy, call);
    http_set_callbacks(request);
    if (!call->on_data) /* what announces its size is refused before a byte of it is kept */
        (void)curl_easy_setopt(request->easy, CURLOPT_MAXFILESIZE_LARGE,
                               (curl_off_t)call->body_max);
    if (!http_set_message(request, call)) {
        http_request_free(request);
        (void)err_set(err, E_INVALID, "libcurl refuses the URL");
        return NULL;
    }
    if (call->in_turn)
        http_turn_ask(&client->turns, &request->turn, call->on_data != NULL, http_on_begin,
                      request);
    else
        loop_defer(client->loop, &request->begin, http_on_begin, request);
    return request;
}

void http_cancel(struct http_request *request)
{
    if (!request || request->cancelled)
        return;
    request->cancelled = true;
    loop_defer(request->client->loop, &request->reap, http_on_reap, request);
}
