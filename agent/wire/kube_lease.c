/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/kube_read.h"

#include <inttypes.h>
#include <string.h>

void kube_read_lease(struct json_reader *reader, const cJSON *object, struct kube_lease *lease)
{
    kube_read_meta(reader, object, &lease->meta);
    const cJSON *spec = json_get_object(reader, object, "spec");
    int64_t duration_s = 0;
    JSON_GET_TEXT(reader, spec, "holderIdentity", text_is_plain, lease->lease.holder);
    json_get_int(reader, spec, "leaseDurationSeconds", 0, INT32_MAX, &duration_s);
    json_get_int(reader, spec, "leaseTransitions", 0, INT32_MAX, &lease->lease.transitions);
    JSON_GET_TEXT(reader, spec, "renewTime", text_is_plain, lease->lease.renew_time);
    JSON_GET_TEXT(reader, spec, "acquireTime", text_is_plain, lease->acquire_time);
    lease->lease.duration_s = (int)duration_s;
    memcpy(lease->lease.resource_version, lease->meta.resource_version,
           sizeof lease->lease.resource_version);
}

int kube_lease_format(const char *namespace, const char *name, const struct lease *lease,
                      const char *acquire_time, struct buf *buf)
{
    kube_put_head(buf, "coordination.k8s.io/v1", KUBE_LEASE, namespace, name,
                  lease->resource_version);
    (void)buf_format(buf, ",\"spec\":{\"leaseDurationSeconds\":%d,\"leaseTransitions\":%" PRId64,
                     lease->duration_s, lease->transitions);
    if (lease->holder[0])
        json_put_field(buf, "holderIdentity", lease->holder);
    if (acquire_time[0])
        json_put_field(buf, "acquireTime", acquire_time);
    if (lease->renew_time[0])
        json_put_field(buf, "renewTime", lease->renew_time);
    (void)buf_append_str(buf, "}}");
    return buf->failed ? E_LIMIT : 0;
}
