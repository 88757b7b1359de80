/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/kube_read.h"

#include <string.h>

/* matchLabels {"a":"b","c":"d"} -> "a=b,c=d", the labelSelector of a list request. */
static void read_selector(struct json_reader *reader, const cJSON *spec, char *dst, size_t size)
{
    const cJSON *selector = json_get_object(reader, spec, "selector");
    const cJSON *labels = json_get_object(reader, selector, "matchLabels");
    const cJSON *label;
    auto_buf struct buf text = {.ceiling = size - 1};
    cJSON_ArrayForEach(label, labels)
    {
        char value[KUBE_LABEL_SIZE] = "";
        JSON_GET_TEXT(reader, labels, label->string, kube_is_label_value, value);
        if (!kube_is_token(span_of(label->string)))
            json_fail(reader, E_PROTO, selector, "matchLabels", "malformed key");
        const char *comma = text.len ? "," : "";
        if (reader->result < 0 || buf_format(&text, "%s%s=%s", comma, label->string, value) < 0)
            break;
    }
    if (text.failed)
        json_fail(reader, E_LIMIT, selector, "matchLabels", "too long");
    else if (reader->result == 0)
        memcpy(dst, buf_str(&text), text.len + 1);
}

void kube_read_stateful_set(struct json_reader *reader, const cJSON *object,
                            struct kube_stateful_set *set)
{
    kube_read_meta(reader, object, &set->meta);
    const cJSON *spec = json_get_object(reader, object, "spec");
    const cJSON *status = json_get_object(reader, object, "status");
    int64_t replicas = 1;
    char policy[KUBE_LABEL_SIZE] = "";
    json_get_int(reader, spec, "replicas", 0, INT32_MAX, &replicas);
    JSON_GET_TEXT(reader, spec, "serviceName", kube_is_subdomain, set->service_name);
    JSON_GET_TEXT(reader, spec, "podManagementPolicy", NULL, policy);
    read_selector(reader, spec, set->selector, sizeof set->selector);
    JSON_GET_TEXT(reader, status, "currentRevision", kube_is_subdomain, set->current_revision);
    JSON_GET_TEXT(reader, status, "updateRevision", kube_is_subdomain, set->update_revision);
    const cJSON *claims = json_get_array(reader, spec, "volumeClaimTemplates");
    set->replicas = (int)replicas;
    set->volumes = cJSON_GetArraySize(claims) > 0;
    set->ordered_ready = strcmp(policy, "Parallel") != 0;
}
