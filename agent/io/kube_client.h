/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Kubernetes API as one agent sees it: where it is, who we are, and requests with errors mapped.
 *
 * In a cluster: https://KUBERNETES_SERVICE_HOST:KUBERNETES_SERVICE_PORT, and token, CA and namespace
 * from /var/run/secrets/kubernetes.io/serviceaccount. Token and CA are read again each minute and
 * after a 401; a missing or empty file (a rotation half done) keeps the last good contents. The
 * token is sent to the one address only: there are no redirects.
 */
#ifndef MUSTER_IO_KUBE_CLIENT_H
#define MUSTER_IO_KUBE_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"
#include "io/loop.h"

struct kube_client;
struct kube_request;

#define KUBE_REQUEST_MS 10000
#define KUBE_FILES_PERIOD_MS 60000

enum kube_verb {
    KUBE_VERB_NONE = 0,
    KUBE_GET,
    KUBE_LIST,
    KUBE_WATCH,
    KUBE_POST,
    KUBE_PUT,
    KUBE_DELETE,
};

/* "GET", "LIST", ...: for metrics. */
const char *kube_verb_name(enum kube_verb verb);

/* Empty strings: from the surroundings, see above. Copied. */
struct kube_client_config {
    const char *api_server; /* https://ADDRESS[:PORT]; http:// for a loopback address only */
    const char *ca_file;
    const char *token_file;
    const char *ns;
    const char *bind_ip; /* source address, or NULL */
};

/*
 * E_INVALID when the address is not a literal one or when neither configuration nor surroundings
 * give address and namespace. Missing files are no error here.
 */
struct kube_client *kube_client_new(struct loop *loop, const struct kube_client_config *config,
                                    struct err *err);

/* Cancels what is in flight, without callbacks. Accepts NULL. */
void kube_client_free(struct kube_client *client);

const char *kube_client_namespace(const struct kube_client *client);

/*
 * What time it is to the API server, by the Date of its answers and our monotonic clock since, to a few
 * seconds: the same to all agents, whatever their machines' clocks say. Ours before the first answer.
 */
int64_t kube_client_unix_ms(const struct kube_client *client);

/*
 * The end of a request. err.code: E_OK for 2xx; 401 and 403 E_AUTH, 404 E_NOT_FOUND, 409 E_CONFLICT,
 * 410 E_GONE, 429 E_BUSY, 5xx E_UNREACHABLE, other E_PROTO; without a response what the transport
 * says. The message carries the method, the path's last parts, the status and Status.message.
 */
struct kube_answer {
    int status; /* 0 = none */
    int64_t retry_after_ms;
    struct span body; /* borrowed for the call */
    struct err err;
};

typedef void (*kube_done_fn)(void *ctx, const struct kube_answer *answer);
typedef bool (*kube_data_fn)(void *ctx, struct span bytes);

struct kube_call {
    enum kube_verb verb;
    const char *path;     /* absolute, with an escaped query; copied */
    const char *accept;   /* NULL = application/json; copied */
    struct span body;     /* copied */
    int64_t timeout_ms;   /* 0 = KUBE_REQUEST_MS; for KUBE_WATCH none */
    bool fresh;           /* on a new connection, see http_client.h */
    kube_data_fn on_data; /* KUBE_WATCH only; see http_client.h */
    kube_done_fn on_done; /* once, unless cancelled; never from within kube_start() */
    void *ctx;
};

/* Owned by the client; valid until on_done returned or kube_cancel(). NULL with `err` set: E_LIMIT. */
struct kube_request *kube_start(struct kube_client *client, const struct kube_call *call,
                                struct err *err);

/* No callback comes after this. Accepts NULL. */
void kube_cancel(struct kube_request *request);

/*
 * "/api/v1/namespaces/NS/<resource>[/name]" of the client's namespace into `path`: `group` is "" for
 * the core group, else like "apps/v1".
 */
void kube_path(const struct kube_client *client, struct buf *path, const char *group,
               const char *resource, const char *name);

/* Appends "?key=value" or "&key=value", the value escaped for a query (RFC 3986, 2.3). */
void kube_path_query(struct buf *path, const char *key, const char *value);

/* Requests finished, by verb and HTTP status (0: no response), for muster_api_requests_total. */
struct kube_counter {
    enum kube_verb verb;
    int code;
    uint64_t count;
};
#define KUBE_COUNTERS_MAX 64
const struct kube_counter *kube_client_counters(const struct kube_client *client,
                                                size_t *ret_count);

#endif
