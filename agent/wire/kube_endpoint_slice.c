/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/kube_read.h"

#include <string.h>

/* For the arena's alignment. */
#define ENDPOINT_SLACK 64

static void read_target(struct json_reader *reader, const cJSON *item,
                        struct kube_endpoint *endpoint)
{
    const cJSON *target = json_get_object(reader, item, "targetRef");
    char kind[KUBE_LABEL_SIZE] = "";
    JSON_GET_TEXT(reader, target, "kind", NULL, kind);
    if (strcmp(kind, "Pod") != 0)
        return;
    JSON_GET_TEXT(reader, target, "name", kube_is_subdomain, endpoint->pod);
    JSON_GET_TEXT(reader, target, "uid", kube_is_label_value, endpoint->pod_uid);
}

static void read_endpoint(struct json_reader *reader, const cJSON *item,
                          struct kube_endpoint *endpoint)
{
    const cJSON *conditions = json_get_object(reader, item, "conditions");
    endpoint->ready = true;
    json_get_bool(reader, conditions, "ready", &endpoint->ready);
    /* `ready` is always true in a service with publishNotReadyAddresses, as the headless one is. */
    json_get_bool(reader, conditions, "serving", &endpoint->ready);
    json_get_bool(reader, conditions, "terminating", &endpoint->terminating);
    JSON_GET_TEXT(reader, item, "zone", kube_is_label_value, endpoint->zone);
    JSON_GET_TEXT(reader, item, "nodeName", kube_is_subdomain, endpoint->node);
    read_target(reader, item, endpoint);
}

/* Only the first address counts: of several all are the same endpoint (EndpointSlice API, v1). */
static void read_address(struct json_reader *reader, const cJSON *item,
                         struct kube_endpoint *endpoint)
{
    const cJSON *addresses = json_get_array(reader, item, "addresses");
    const cJSON *first = cJSON_GetArrayItem(addresses, 0);
    if (!cJSON_IsString(first) || !kube_is_address(span_of(first->valuestring)))
        json_fail(reader, E_PROTO, item, "addresses", "no address");
    else
        (void)TEXT_COPY(endpoint->ip, span_of(first->valuestring)); /* an address fits */
}

void kube_read_endpoint_slice(struct json_reader *reader, const cJSON *object,
                              struct kube_endpoint_slice *slice)
{
    kube_read_meta(reader, object, &slice->meta);
    char type[KUBE_LABEL_SIZE] = "";
    JSON_GET_TEXT(reader, object, "addressType", NULL, type);
    const cJSON *items = json_get_array(reader, object, "endpoints");
    int count = cJSON_GetArraySize(items);
    if (count > KUBE_ENDPOINTS_MAX)
        json_fail(reader, E_LIMIT, object, "endpoints", "too many");
    else if ((size_t)count * sizeof(struct kube_endpoint) + ENDPOINT_SLACK >
             arena_room(reader->arena))
        json_fail(reader, E_LIMIT, object, "endpoints", "too many in all the slices of one page");
    if (reader->result < 0 || count == 0 || strcmp(type, "FQDN") == 0)
        return; /* names are not for us */
    struct kube_endpoint *endpoints = ARENA_NEW(reader->arena, struct kube_endpoint, (size_t)count);
    const cJSON *item;
    cJSON_ArrayForEach(item, items)
    {
        read_endpoint(reader, item, &endpoints[slice->endpoint_count]);
        read_address(reader, item, &endpoints[slice->endpoint_count]);
        slice->endpoint_count++;
    }
    slice->endpoints = endpoints;
}
