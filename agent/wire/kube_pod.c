/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/kube_read.h"

#include <string.h>

static void read_controller(struct json_reader *reader, const cJSON *meta,
                            struct kube_owner *controller)
{
    const cJSON *owner;
    cJSON_ArrayForEach(owner, json_get_array(reader, meta, "ownerReferences"))
    {
        bool is_controller = false;
        json_get_bool(reader, owner, "controller", &is_controller);
        if (!is_controller)
            continue;
        JSON_GET_TEXT(reader, owner, "kind", kube_is_label_value, controller->kind);
        JSON_GET_TEXT(reader, owner, "name", kube_is_subdomain, controller->name);
        JSON_GET_TEXT(reader, owner, "uid", kube_is_label_value, controller->uid);
        json_require(reader, owner, "uid", controller->uid);
        return; /* the API allows one */
    }
}

static enum kube_phase read_phase(struct json_reader *reader, const cJSON *status)
{
    static const struct {
        const char *name;
        enum kube_phase phase;
    } phases[] = {
        {"Pending", KUBE_PHASE_PENDING},
        {"Running", KUBE_PHASE_RUNNING},
        {"Succeeded", KUBE_PHASE_SUCCEEDED},
        {"Failed", KUBE_PHASE_FAILED},
    };
    char name[KUBE_LABEL_SIZE] = "";
    JSON_GET_TEXT(reader, status, "phase", NULL, name);
    for (size_t i = 0; i < ARRAY_LEN(phases); i++)
        if (strcmp(name, phases[i].name) == 0)
            return phases[i].phase;
    return KUBE_PHASE_UNKNOWN;
}

static bool read_ready(struct json_reader *reader, const cJSON *status)
{
    const cJSON *condition;
    cJSON_ArrayForEach(condition, json_get_array(reader, status, "conditions"))
    {
        char type[KUBE_SELECTOR_SIZE] = ""; /* a qualified name, by custom of any length */
        char value[KUBE_LABEL_SIZE] = "";
        JSON_GET_TEXT(reader, condition, "type", NULL, type);
        JSON_GET_TEXT(reader, condition, "status", NULL, value);
        if (strcmp(type, "Ready") == 0)
            return strcmp(value, "True") == 0;
    }
    return false;
}

/* podIPs repeats podIP and holds at most one address of each family (core/v1, PodIP). */
static void read_other_ip(struct json_reader *reader, const cJSON *status, struct kube_pod *pod)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, json_get_array(reader, status, "podIPs"))
    {
        char ip[IP_SIZE] = "";
        JSON_GET_TEXT(reader, item, "ip", kube_is_address, ip);
        if (ip[0] && !kube_is_same_family(ip, pod->ip))
            text_format(pod->other_ip, sizeof pod->other_ip, "%s", ip);
    }
}

/* A deletion may be given another period than the pod's own (`kubectl delete --grace-period`). */
static int64_t read_grace_ms(struct json_reader *reader, const cJSON *meta, const cJSON *spec)
{
    int64_t grace_s = 0;
    json_get_int(reader, spec, "terminationGracePeriodSeconds", 0, INT32_MAX, &grace_s);
    json_get_int(reader, meta, "deletionGracePeriodSeconds", 0, INT32_MAX, &grace_s);
    return grace_s * 1000;
}

void kube_read_pod_metadata(struct json_reader *reader, const cJSON *object, struct kube_pod *pod)
{
    kube_read_meta(reader, object, &pod->meta);
    pod->ordinal = kube_pod_ordinal(pod->meta.name);
    read_controller(reader, json_get_object(reader, object, "metadata"), &pod->controller);
}

void kube_read_pod(struct json_reader *reader, const cJSON *object, struct kube_pod *pod)
{
    kube_read_pod_metadata(reader, object, pod);
    const cJSON *meta = json_get_object(reader, object, "metadata");
    const cJSON *labels = json_get_object(reader, meta, "labels");
    const cJSON *spec = json_get_object(reader, object, "spec");
    const cJSON *status = json_get_object(reader, object, "status");
    JSON_GET_TEXT(reader, status, "podIP", kube_is_address, pod->ip);
    if (pod->ip[0])
        read_other_ip(reader, status, pod);
    JSON_GET_TEXT(reader, spec, "nodeName", kube_is_subdomain, pod->node);
    kube_read_zone(reader, object, pod->zone, sizeof pod->zone);
    JSON_GET_TEXT(reader, labels, "controller-revision-hash", kube_is_label_value, pod->revision);
    pod->phase = read_phase(reader, status);
    pod->ready = read_ready(reader, status);
    pod->grace_ms = read_grace_ms(reader, meta, spec);
}
