/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of the Kubernetes API <-> structs: exactly the fields that Muster uses.
 *
 * Documents are JSON (RFC 8259) as kube-apiserver sends them; unknown fields are ignored. A field
 * that is used and malformed rejects the document with E_PROTO, one that does not fit its array with
 * E_LIMIT; both name the field. Nesting deeper than JSON_DEPTH_MAX is E_LIMIT before anything is
 * built. Names that may become part of a path are checked against the API's own rules here (RFC
 * 1123 labels and subdomains), addresses are literal IPs: nothing else gets through.
 */
#ifndef MUSTER_WIRE_KUBE_JSON_H
#define MUSTER_WIRE_KUBE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"
#include "core/lease.h"
#include "core/record.h"
#include "core/world.h"

#define KUBE_NAME_SIZE 254 /* an RFC 1123 subdomain is at most 253 characters */
#define KUBE_LABEL_SIZE 64 /* an RFC 1123 label, and a label's value: at most 63 */
#define KUBE_SELECTOR_SIZE 1024
#define KUBE_CONTINUE_SIZE 1024
#define KUBE_ENDPOINTS_MAX 1000 /* of one EndpointSlice, by the API's validation */

#define KUBE_RECORD_KEY "record.json" /* in the ConfigMap's data */

/* True for [a-z0-9]([-a-z0-9]*[a-z0-9])? of at most 63 characters: pods of a set, namespaces. */
bool kube_is_label(struct span text);
/* True for labels joined by dots, at most 253 characters: every other name. */
bool kube_is_subdomain(struct span text);
/* True for a literal IPv4 or IPv6 address without a zone. */
bool kube_is_address(struct span text);
/* True if both addresses are IPv4, or both IPv6. */
bool kube_is_same_family(const char *address, const char *other);

/* The number behind the last '-' of a StatefulSet's pod name, or -1. */
int kube_pod_ordinal(const char *pod_name);

/*
 * RFC 3339 in UTC with microseconds, as MicroTime wants it, and with seconds, as Time wants it.
 * `dst` has LEASE_TIME_SIZE bytes. Years 1970 to 9999.
 */
void kube_time_format_micro(int64_t unix_ms, char *dst);
void kube_time_format(int64_t unix_ms, char *dst);

struct kube_meta {
    char name[KUBE_NAME_SIZE];
    char namespace[KUBE_LABEL_SIZE]; /* "" for nodes */
    char uid[UID_SIZE];
    char
        resource_version[RESOURCE_VERSION_SIZE]; /* opaque, of [-A-Za-z0-9._~:=+/]: to be encoded */
    int64_t generation;                          /* 0 where the kind has none */
    bool deleting;                               /* has a deletionTimestamp */
};

/* The owner reference with controller: true. */
struct kube_owner {
    char kind[KUBE_LABEL_SIZE]; /* "" = none */
    char name[KUBE_NAME_SIZE];
    char uid[UID_SIZE];
};

enum kube_phase {
    KUBE_PHASE_UNKNOWN = 0,
    KUBE_PHASE_PENDING,
    KUBE_PHASE_RUNNING,
    KUBE_PHASE_SUCCEEDED,
    KUBE_PHASE_FAILED,
};

struct kube_pod {
    struct kube_meta meta;
    int ordinal; /* -1 if the name does not end in one */
    struct kube_owner controller;
    char ip[IP_SIZE];               /* "" = none yet */
    char other_ip[IP_SIZE];         /* of the other family where the pod has both, or "" */
    char node[NODE_NAME_SIZE];      /* "" = not scheduled */
    char zone[ZONE_SIZE];           /* label topology.kubernetes.io/zone, or "" */
    char revision[KUBE_LABEL_SIZE]; /* label controller-revision-hash, or "" */
    enum kube_phase phase;
    bool ready;       /* condition Ready is True */
    int64_t grace_ms; /* from its deletion to SIGKILL, as it is or would be; 0 = not told */
};

struct kube_stateful_set {
    struct kube_meta meta;
    int replicas; /* spec.replicas; the API's default is 1 */
    char service_name[KUBE_NAME_SIZE];
    /*
     * matchLabels as a labelSelector: "a=b,c=d". matchExpressions are left out, which lists more:
     * pods are told apart by their controller.
     */
    char selector[KUBE_SELECTOR_SIZE];
    bool volumes;       /* has volumeClaimTemplates */
    bool ordered_ready; /* podManagementPolicy is not Parallel */
    char current_revision[KUBE_NAME_SIZE];
    char update_revision[KUBE_NAME_SIZE];
};

struct kube_lease {
    struct kube_meta meta;
    struct lease lease; /* its resource_version is the object's */
    char acquire_time[LEASE_TIME_SIZE];
};

struct kube_endpoint {
    char ip[IP_SIZE];
    char zone[ZONE_SIZE];
    char node[NODE_NAME_SIZE];
    char pod[KUBE_NAME_SIZE]; /* targetRef of kind Pod; "" if there is none */
    char pod_uid[UID_SIZE];
    bool ready; /* the pod is; true if the API does not say */
    bool terminating;
};

struct kube_endpoint_slice {
    struct kube_meta meta;
    const struct kube_endpoint *endpoints; /* in the arena; one per endpoint */
    size_t endpoint_count;
};

struct kube_node {
    struct kube_meta meta;
    char zone[ZONE_SIZE];
};

/*
 * The ConfigMap that should hold the record. One whose record cannot be read is still there: the
 * record is present, not absent, and `problem` says what is wrong with it.
 */
struct kube_config_map {
    struct kube_meta meta;
    bool readable;
    struct record record;       /* if readable; its arrays are in the arena */
    char problem[ERR_MSG_SIZE]; /* if not */
};

enum kube_kind {
    KUBE_KIND_NONE = 0,
    KUBE_POD,
    KUBE_STATEFUL_SET,
    KUBE_LEASE,
    KUBE_ENDPOINT_SLICE,
    KUBE_NODE,
    KUBE_CONFIG_MAP,
    /*
     * A pod of which name, uid and controller matter only, asked for as PartialObjectMetadata; a
     * server that does not know that form answers whole Pods, which are taken as well.
     */
    KUBE_POD_METADATA,
};

struct kube_object {
    enum kube_kind kind;
    union {
        struct kube_meta meta; /* the first member of each of the others */
        struct kube_pod pod;
        struct kube_stateful_set stateful_set;
        struct kube_lease lease;
        struct kube_endpoint_slice endpoint_slice;
        struct kube_node node;
        struct kube_config_map config_map;
    };
};

/* "Pod", "StatefulSet", ...: the kind as the API writes it. Never NULL. */
const char *kube_kind_name(enum kube_kind kind);

/*
 * One object: the answer to GET, POST or PUT. E_PROTO if the document is of another kind. What does
 * not fit in the struct lives in `arena`.
 */
must_check int kube_object_parse(struct span body, enum kube_kind kind, struct arena *arena,
                                 struct kube_object *ret_object, struct err *err);

/* Borrowed for the call. A non-zero result ends the list and becomes the result of the parse. */
typedef int (*kube_item_fn)(void *context, const struct kube_object *object, struct err *err);

struct kube_list {
    char resource_version[RESOURCE_VERSION_SIZE]; /* where to watch from */
    char next[KUBE_CONTINUE_SIZE]; /* metadata.continue, likewise opaque; "" = the last page */
    size_t count;                  /* items of this page */
};

/*
 * One page of a list: all items are checked before the first is given to `on_item`, so that a
 * malformed page has no effect.
 */
must_check int kube_list_parse(struct span body, enum kube_kind kind, struct arena *arena,
                               kube_item_fn on_item, void *context, struct kube_list *ret_list,
                               struct err *err);

/* metav1.Status, the body of an error answer and of a watch's ERROR event. */
struct kube_status {
    int code;                     /* HTTP status; 0 = not said */
    char reason[KUBE_LABEL_SIZE]; /* "Conflict", "Expired"; "" = not said */
    char message[ERR_MSG_SIZE];   /* for people, cut to fit */
    int retry_after_s;            /* details.retryAfterSeconds; 0 = not said */
};

must_check int kube_status_parse(struct span body, struct kube_status *ret_status, struct err *err);

enum kube_watch_type {
    KUBE_WATCH_NONE = 0,
    KUBE_ADDED,
    KUBE_MODIFIED,
    KUBE_DELETED,
    KUBE_BOOKMARK, /* only object.meta.resource_version is set */
    KUBE_ERROR,    /* `status` is set; 410 means: list again */
};

struct kube_watch_event {
    enum kube_watch_type type;
    struct kube_object object; /* zeroed for KUBE_ERROR */
    struct kube_status status; /* zeroed for the others */
};

/* One line of a watch: {"type":"ADDED","object":{...}}. */
must_check int kube_watch_parse(struct span line, enum kube_kind kind, struct arena *arena,
                                struct kube_watch_event *ret_event, struct err *err);

/*
 * The bodies that we send. Each returns 0, or E_LIMIT when the buffer is full. Namespaces and names
 * must satisfy kube_is_label and kube_is_subdomain (asserted).
 */

/*
 * For POST (resource_version of the lease "") and PUT. `renew_time` of the lease and `acquire_time`
 * are MicroTimes; "" leaves one out. An empty holder releases the lease.
 */
must_check int kube_lease_format(const char *namespace, const char *name, const struct lease *lease,
                                 const char *acquire_time, struct buf *buf);

/* The record's ConfigMap, for POST (`resource_version` "") and PUT. */
must_check int kube_record_format(const char *namespace, const char *name,
                                  const char *resource_version, const struct record *record,
                                  struct buf *buf);

/* What an Event is about. */
struct kube_reference {
    const char *api_version; /* "v1", "apps/v1" */
    const char *kind;
    const char *name;
    const char *uid; /* "" = unknown */
};

struct kube_event {
    const char *namespace;
    const char *name; /* unique: "<pod>.<hex time>" by custom */
    struct kube_reference about;
    const char *reason;  /* CamelCase, at most 128 characters */
    const char *message; /* at most 1024 bytes by the API; cut here */
    bool warning;        /* else Normal */
    int count;
    int64_t first_unix_ms;
    int64_t last_unix_ms;
    const char *instance; /* the reporting pod */
};

/* core/v1 Event, for POST; reportingComponent "muster". */
must_check int kube_event_format(const struct kube_event *event, struct buf *buf);

#endif
