/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kube_client.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "io/clock.h"
#include "io/http_client.h"
#include "wire/kube_json.h"

#define KUBE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"
#define KUBE_URL_MAX KIB(8)
/* One object: etcd refuses what is above 1.5 MiB, and as JSON it is larger than there. */
#define KUBE_OBJECT_MAX MIB(4)
/* A bundle of a company's certificates; a cluster's own CA is one or two. */
#define KUBE_CA_MAX KIB(512)
/* A Date is of whole seconds, and on its way for a while: the clock need not follow each of them. */
#define KUBE_DATE_MS 2000
/* Files are looked at no more often than this. */
#define KUBE_STAT_MS 1000

/* A mounted file whose last good contents are kept. */
struct kube_file {
    char *path; /* owned; "" = none */
    struct buf text;
    struct timespec mtime;
    off_t size;
    int64_t read_ms; /* 0 = read at the next look */
};

struct kube_request {
    struct kube_client *client;
    struct http_request *http; /* owned by the HTTP client */
    struct kube_request *next; /* the client's list, both ways */
    struct kube_request *prev;
    enum kube_verb verb;
    char *path; /* owned; without the query, for messages */
    kube_data_fn on_data;
    kube_done_fn on_done;
    void *ctx;
};

struct kube_client {
    struct http_client *http; /* owned */
    char *base;               /* owned; "https://10.96.0.1:443" */
    char *ns;                 /* owned */
    char *bind_ip;            /* owned; may be NULL */
    bool plain;
    struct kube_file ca;
    struct kube_file token;
    int64_t looked_ms;
    int64_t unix_since_ms; /* the API's time when clock_mono_ms() was 0; 0 = no answer told it */
    struct kube_request *requests;
    struct kube_counter counters[KUBE_COUNTERS_MAX];
    size_t counter_count;
};

const char *kube_verb_name(enum kube_verb verb)
{
    switch (verb) {
    case KUBE_GET:
        return "GET";
    case KUBE_LIST:
        return "LIST";
    case KUBE_WATCH:
        return "WATCH";
    case KUBE_POST:
        return "POST";
    case KUBE_PUT:
        return "PUT";
    case KUBE_DELETE:
        return "DELETE";
    case KUBE_VERB_NONE:
        break;
    }
    return "NONE";
}

static const char *kube_method(enum kube_verb verb)
{
    return verb == KUBE_LIST || verb == KUBE_WATCH ? "GET" : kube_verb_name(verb);
}

static bool kube_is_loopback(struct span host)
{
    return span_starts(host, "127.") || span_is(host, "::1");
}

/* scheme://ADDRESS[:PORT], IPv6 in brackets. */
static int kube_check_url(const char *url, bool *ret_plain, struct err *err)
{
    struct span rest = span_of(url);
    bool plain = span_starts(rest, "http://");
    if (!plain && !span_starts(rest, "https://"))
        return err_set(err, E_INVALID, "API server '%s': must begin with https://", url);
    size_t skip = plain ? 7 : 8;
    rest = (struct span){rest.ptr + skip, rest.len - skip};
    struct span host;
    if (span_starts(rest, "[")) {
        if (span_find(rest, ']') < 0)
            return err_set(err, E_INVALID, "API server '%s': the ] is missing", url);
        rest = (struct span){rest.ptr + 1, rest.len - 1};
        host = span_until(&rest, ']');
        if (rest.len && *rest.ptr == ':')
            rest = (struct span){rest.ptr + 1, rest.len - 1};
        else if (rest.len)
            return err_set(err, E_INVALID, "API server '%s': unexpected text behind ]", url);
    } else {
        host = span_until(&rest, ':');
    }
    uint64_t port = 443;
    if (!kube_is_address(host))
        return err_set(err, E_INVALID, "API server '%s': must be a literal address", url);
    if (rest.len && (!text_to_u64(rest, UINT16_MAX, &port) || !port))
        return err_set(err, E_INVALID, "API server '%s': must be ADDRESS[:PORT]", url);
    if (plain && !kube_is_loopback(host))
        return err_set(err, E_INVALID, "API server '%s': http is for loopback only", url);
    *ret_plain = plain;
    return 0;
}

static bool kube_given(const char *text)
{
    return text && text[0];
}

/* The address: configured, or what the kubelet puts into every container's environment. */
static int kube_find_server(struct kube_client *client, const char *configured, struct err *err)
{
    if (kube_given(configured)) {
        client->base = xstrdup(configured);
        return kube_check_url(client->base, &client->plain, err);
    }
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    if (!kube_given(host))
        return err_set(err, E_INVALID,
                       "API server: neither kubernetes.apiServer nor "
                       "KUBERNETES_SERVICE_HOST is set");
    auto_buf struct buf url;
    buf_init(&url, KUBE_URL_MAX);
    bool v6 = span_find(span_of(host), ':') >= 0;
    (void)buf_format(&url, v6 ? "https://[%s]:%s" : "https://%s:%s", host,
                     kube_given(port) ? port : "443");
    client->base = xstrdup(buf_str(&url));
    return kube_check_url(client->base, &client->plain, err);
}

/* It may be the token. */
static void kube_wipe(struct buf *text)
{
    if (text->bytes)
        explicit_bzero(text->bytes, text->len);
    buf_deinit(text);
}

/* Up to `size` bytes; how many there were, 0 on an error. */
static size_t kube_read_whole(int fd, char *bytes, size_t size)
{
    size_t len = 0;
    ssize_t got = 1;
    while (len < size && got != 0) {
        got = read(fd, bytes + len, size - len);
        if (got < 0 && errno != EINTR)
            return 0;
        len += got > 0 ? (size_t)got : 0;
    }
    return len;
}

/* E_NOT_FOUND when the file cannot be read or is empty; `text` is replaced on success only. */
static int kube_read_file(const char *path, struct buf *text, struct err *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would hold us up */
    if (fd < 0)
        return err_set(err, E_NOT_FOUND, "cannot open %s", path);
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || (uintmax_t)st.st_size > text->ceiling)
        return err_set(err, E_NOT_FOUND, "%s is empty, too large or unreadable", path);
    size_t size = (size_t)st.st_size;
    char *bytes = xcalloc(1, size + 1); /* all at once: what grows leaves copies behind */
    size_t len = kube_read_whole(fd, bytes, size + 1);
    if (len > size)
        len = 0; /* it is being written */
    while (len && (bytes[len - 1] == '\n' || bytes[len - 1] == '\r'))
        bytes[--len] = '\0';
    if (len) {
        kube_wipe(text);
        (void)buf_append(text, bytes, len);
    }
    explicit_bzero(bytes, size + 1);
    free(bytes);
    return len ? 0 : err_set(err, E_NOT_FOUND, "%s is empty, changing or unreadable", path);
}

/* Reads the file when it changed, when it was not read for a minute, or when told to. */
static void kube_file_look(struct kube_file *file, int64_t now_ms)
{
    struct stat st;
    if (!file->path[0] || stat(file->path, &st) < 0)
        return;
    bool same = st.st_size == file->size && st.st_mtim.tv_sec == file->mtime.tv_sec &&
                st.st_mtim.tv_nsec == file->mtime.tv_nsec;
    if (same && file->read_ms && now_ms - file->read_ms < KUBE_FILES_PERIOD_MS)
        return;
    if (kube_read_file(file->path, &file->text, NULL) < 0)
        return; /* a rotation half done: the last good contents stay, and it is tried again */
    file->size = st.st_size;
    file->mtime = st.st_mtim;
    file->read_ms = now_ms;
}

static void kube_look_at_files(struct kube_client *client)
{
    int64_t now_ms = clock_mono_ms();
    if (client->looked_ms && now_ms - client->looked_ms < KUBE_STAT_MS)
        return;
    client->looked_ms = now_ms;
    kube_file_look(&client->ca, now_ms);
    kube_file_look(&client->token, now_ms);
}

static int kube_find_namespace(struct kube_client *client, const char *configured, struct err *err)
{
    if (kube_given(configured)) {
        client->ns = xstrdup(configured);
    } else {
        auto_buf struct buf text;
        buf_init(&text, KUBE_LABEL_SIZE);
        if (kube_read_file(KUBE_ACCOUNT_DIR "/namespace", &text, err) < 0)
            return err_wrap(err, "namespace");
        client->ns = xstrdup(buf_str(&text));
    }
    if (!kube_is_label(span_of(client->ns)))
        return err_set(err, E_INVALID, "namespace '%s': must be a DNS label", client->ns);
    return 0;
}

struct kube_client *kube_client_new(struct loop *loop, const struct kube_client_config *config,
                                    struct err *err)
{
    struct kube_client *client = xcalloc(1, sizeof *client);
    /* The service account belongs to the cluster that the surroundings name, to no other. */
    bool inside = !kube_given(config->api_server);
    const char *ca_file = kube_given(config->ca_file) ? config->ca_file
                          : inside                    ? KUBE_ACCOUNT_DIR "/ca.crt"
                                                      : "";
    const char *token_file = kube_given(config->token_file) ? config->token_file
                             : inside                       ? KUBE_ACCOUNT_DIR "/token"
                                                            : "";
    client->ca.path = xstrdup(ca_file);
    client->token.path = xstrdup(token_file);
    client->bind_ip = kube_given(config->bind_ip) ? xstrdup(config->bind_ip) : NULL;
    buf_init(&client->ca.text, KUBE_CA_MAX);
    buf_init(&client->token.text, SECRET_MAX);
    if (kube_find_server(client, config->api_server, err) < 0 ||
        kube_find_namespace(client, config->ns, err) < 0) {
        kube_client_free(client);
        return NULL;
    }
    client->http = http_client_new(loop, err);
    if (!client->http) {
        kube_client_free(client);
        return NULL;
    }
    return client;
}

static void kube_request_free(struct kube_request *request)
{
    if (request->prev)
        request->prev->next = request->next;
    else
        request->client->requests = request->next;
    if (request->next)
        request->next->prev = request->prev;
    free(request->path);
    free(request);
}

void kube_client_free(struct kube_client *client)
{
    if (!client)
        return;
    http_client_free(client->http);
    for (struct kube_request *request = client->requests, *next; request; request = next) {
        next = request->next;
        kube_request_free(request);
    }
    kube_wipe(&client->ca.text);
    kube_wipe(&client->token.text);
    free(client->ca.path);
    free(client->token.path);
    free(client->base);
    free(client->ns);
    free(client->bind_ip);
    free(client);
}

const char *kube_client_namespace(const struct kube_client *client)
{
    return client->ns;
}

int64_t kube_client_unix_ms(const struct kube_client *client)
{
    return client->unix_since_ms ? client->unix_since_ms + clock_mono_ms() : clock_unix_ms();
}

static void kube_note_date(struct kube_client *client, int64_t date_unix_ms)
{
    int64_t off_ms = date_unix_ms + 500 - kube_client_unix_ms(client);
    if (!client->unix_since_ms || off_ms > KUBE_DATE_MS || off_ms < -KUBE_DATE_MS)
        client->unix_since_ms = date_unix_ms + 500 - clock_mono_ms();
}

static void kube_count(struct kube_client *client, enum kube_verb verb, int code)
{
    size_t i = 0;
    while (i < client->counter_count &&
           (client->counters[i].verb != verb || client->counters[i].code != code))
        i++;
    if (i == client->counter_count) {
        if (i == KUBE_COUNTERS_MAX)
            return; /* a server that invents statuses is not worth more room */
        client->counters[client->counter_count++] = (struct kube_counter){verb, code, 0};
    }
    client->counters[i].count++;
}

static int kube_code_of(int status)
{
    if (status >= 200 && status < 300)
        return E_OK;
    switch (status) {
    case 401:
    case 403:
        return E_AUTH;
    case 404:
        return E_NOT_FOUND;
    case 409:
        return E_CONFLICT;
    case 410:
        return E_GONE;
    case 429:
        return E_BUSY;
    default:
        return status >= 500 ? E_UNREACHABLE : E_PROTO;
    }
}

static void kube_explain(const struct kube_request *request, const struct http_response *response,
                         struct kube_answer *answer)
{
    struct kube_status status = {0};
    if (kube_status_parse(response->body, &status, NULL) < 0)
        status = (struct kube_status){0}; /* a proxy's page says nothing that we need */
    if (!answer->retry_after_ms && status.retry_after_s > 0)
        answer->retry_after_ms = (int64_t)status.retry_after_s * 1000;
    (void)err_set(&answer->err, kube_code_of(response->status), "%s %s: HTTP %d%s%s",
                  kube_verb_name(request->verb), request->path, response->status,
                  status.message[0] ? ": " : "", status.message);
}

static void kube_on_done(void *ctx, const struct http_response *response)
{
    struct kube_request *request = ctx;
    struct kube_client *client = request->client;
    struct kube_answer answer = {.status = response->status,
                                 .retry_after_ms = response->retry_after_ms,
                                 .body = response->body,
                                 .err = response->err};
    kube_count(client, request->verb, response->status);
    if (response->date_unix_ms && request->verb != KUBE_WATCH) /* which began minutes ago */
        kube_note_date(client, response->date_unix_ms);
    if (answer.err.code != E_OK)
        (void)err_wrap(&answer.err, "%s %s", kube_verb_name(request->verb), request->path);
    else if (kube_code_of(response->status) != E_OK)
        kube_explain(request, response, &answer);
    if (response->status == 401 || answer.err.code == E_AUTH) {
        /* Perhaps rotated a moment ago: the next request looks, whatever the files' times say. */
        client->token.read_ms = client->ca.read_ms = 0;
        client->looked_ms = 0;
    }
    kube_done_fn on_done = request->on_done;
    void *on_done_ctx = request->ctx;
    request->http = NULL; /* a kube_cancel() from within must not reach it */
    on_done(on_done_ctx, &answer);
    kube_request_free(request);
}

static bool kube_on_data(void *ctx, struct span bytes)
{
    const struct kube_request *request = ctx;
    return request->on_data(request->ctx, bytes); /* the request may be cancelled after this */
}

struct kube_request *kube_start(struct kube_client *client, const struct kube_call *call,
                                struct err *err)
{
    assert(call->verb != KUBE_VERB_NONE && call->path[0] == '/');
    assert((call->verb == KUBE_WATCH) == (call->on_data != NULL));
    kube_look_at_files(client);
    auto_buf struct buf url;
    buf_init(&url, KUBE_URL_MAX);
    if (buf_format(&url, "%s%s", client->base, call->path) < 0) {
        (void)err_set(err, E_LIMIT, "URL longer than %zu bytes", KUBE_URL_MAX);
        return NULL;
    }
    struct kube_request *request = xcalloc(1, sizeof *request);
    struct span query = span_of(call->path);
    struct span path = span_until(&query, '?');
    request->client = client;
    request->verb = call->verb;
    request->path = xstrndup(path.ptr, path.len);
    request->on_data = call->on_data;
    request->on_done = call->on_done;
    request->ctx = call->ctx;
    request->next = client->requests;
    if (request->next)
        request->next->prev = request;
    client->requests = request;

    int64_t timeout_ms = call->timeout_ms ? call->timeout_ms : KUBE_REQUEST_MS;
    struct http_call http = {
        .method = kube_method(call->verb),
        .url = buf_str(&url),
        .bearer = client->token.text.len ? buf_str(&client->token.text) : NULL,
        .accept = call->accept,
        .ca_pem = {buf_str(&client->ca.text), client->ca.text.len},
        .plain = client->plain,
        .bind_ip = client->bind_ip,
        .body = call->body,
        .body_max = call->verb == KUBE_LIST ? HTTP_BODY_MAX : KUBE_OBJECT_MAX,
        .timeout_ms = call->verb == KUBE_WATCH ? call->timeout_ms : timeout_ms,
        .fresh = call->fresh,
        .in_turn = true,
        .on_data = call->on_data ? kube_on_data : NULL,
        .on_done = kube_on_done,
        .ctx = request,
    };
    request->http = http_start(client->http, &http, err);
    if (!request->http) {
        kube_request_free(request);
        return NULL;
    }
    return request;
}

void kube_cancel(struct kube_request *request)
{
    if (!request || !request->http)
        return;
    http_cancel(request->http);
    kube_request_free(request);
}

void kube_path(const struct kube_client *client, struct buf *path, const char *group,
               const char *resource, const char *name)
{
    buf_clear(path);
    if (group[0])
        (void)buf_format(path, "/apis/%s", group);
    else
        (void)buf_append_str(path, "/api/v1");
    (void)buf_format(path, "/namespaces/%s/%s", client->ns, resource);
    if (name && name[0])
        (void)buf_format(path, "/%s", name);
}

void kube_path_query(struct buf *path, const char *key, const char *value)
{
    bool first = span_find((struct span){buf_str(path), path->len}, '?') < 0;
    (void)buf_format(path, "%c%s=", first ? '?' : '&', key);
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || *p == '-' || *p == '.' || *p == '_' || *p == '~';
        (void)buf_format(path, plain ? "%c" : "%%%02X", *p);
    }
}

const struct kube_counter *kube_client_counters(const struct kube_client *client, size_t *ret_count)
{
    *ret_count = client->counter_count;
    return client->counters;
}
