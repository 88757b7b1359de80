/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/kube_read.h"

void kube_read_meta(struct json_reader *reader, const cJSON *object, struct kube_meta *meta)
{
    const cJSON *from = json_get_object(reader, object, "metadata");
    JSON_GET_TEXT(reader, from, "name", kube_is_subdomain, meta->name);
    JSON_GET_TEXT(reader, from, "namespace", kube_is_label, meta->namespace);
    JSON_GET_TEXT(reader, from, "uid", kube_is_label_value, meta->uid);
    JSON_GET_TEXT(reader, from, "resourceVersion", kube_is_token, meta->resource_version);
    json_get_int(reader, from, "generation", 0, JSON_INT_MAX, &meta->generation);
    char deleted[LEASE_TIME_SIZE] = "";
    JSON_GET_TEXT(reader, from, "deletionTimestamp", NULL, deleted);
    meta->deleting = deleted[0] != '\0';
    json_require(reader, from, "name", meta->name);
    json_require(reader, from, "uid", meta->uid);
    json_require(reader, from, "resourceVersion", meta->resource_version);
}

void kube_read_zone(struct json_reader *reader, const cJSON *object, char *dst, size_t size)
{
    const cJSON *meta = json_get_object(reader, object, "metadata");
    const cJSON *labels = json_get_object(reader, meta, "labels");
    json_get_text(reader, labels, "topology.kubernetes.io/zone", kube_is_label_value, dst, size);
}

void kube_read_node(struct json_reader *reader, const cJSON *object, struct kube_node *node)
{
    kube_read_meta(reader, object, &node->meta);
    kube_read_zone(reader, object, node->zone, sizeof node->zone);
}

/* For people: what does not fit is cut, not refused. */
static void read_message(struct json_reader *reader, const cJSON *object, char *dst, size_t size)
{
    const cJSON *message = cJSON_GetObjectItemCaseSensitive(object, "message");
    if (cJSON_IsString(message))
        text_format(dst, size, "%s", message->valuestring);
    else if (message && !cJSON_IsNull(message))
        json_fail(reader, E_PROTO, object, "message", "not a string");
}

void kube_read_status(struct json_reader *reader, const cJSON *object, struct kube_status *status)
{
    int64_t code = 0;
    int64_t retry_after_s = 0;
    json_get_int(reader, object, "code", 0, 999, &code);
    JSON_GET_TEXT(reader, object, "reason", kube_is_label_value, status->reason);
    read_message(reader, object, status->message, sizeof status->message);
    const cJSON *details = json_get_object(reader, object, "details");
    json_get_int(reader, details, "retryAfterSeconds", 0, INT32_MAX, &retry_after_s);
    status->code = (int)code;
    status->retry_after_s = (int)retry_after_s;
}
