/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "wire/kube_read.h"

/* core/v1 Event: validation refuses longer ones. */
#define EVENT_REASON_MAX 128
#define EVENT_MESSAGE_MAX 1024

int kube_event_format(const struct kube_event *event, struct buf *buf)
{
    char first[LEASE_TIME_SIZE];
    char last[LEASE_TIME_SIZE];
    kube_time_format(event->first_unix_ms, first);
    kube_time_format(event->last_unix_ms, last);
    assert(kube_is_label(span_of(event->namespace)) && kube_is_subdomain(span_of(event->name)));
    (void)buf_format(buf,
                     "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"namespace\":\"%s\","
                     "\"name\":\"%s\"},\"involvedObject\":{\"namespace\":\"%s\"",
                     event->namespace, event->name, event->namespace);
    json_put_field(buf, "apiVersion", event->about.api_version);
    json_put_field(buf, "kind", event->about.kind);
    json_put_field(buf, "name", event->about.name);
    if (event->about.uid[0])
        json_put_field(buf, "uid", event->about.uid);
    (void)buf_append_str(buf, "},\"reason\":");
    json_put_text(buf, event->reason, EVENT_REASON_MAX);
    (void)buf_append_str(buf, ",\"message\":");
    json_put_text(buf, event->message, EVENT_MESSAGE_MAX);
    (void)buf_format(buf,
                     ",\"type\":\"%s\",\"count\":%d,\"firstTimestamp\":\"%s\","
                     "\"lastTimestamp\":\"%s\",\"source\":{\"component\":\"muster\"}",
                     event->warning ? "Warning" : "Normal", event->count, first, last);
    json_put_field(buf, "reportingComponent", "muster");
    json_put_field(buf, "reportingInstance", event->instance);
    (void)buf_append_str(buf, "}");
    return buf->failed ? E_LIMIT : 0;
}
