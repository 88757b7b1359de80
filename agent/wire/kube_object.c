/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/limits.h"
#include "wire/kube_read.h"

/* An item of a list has no kind of its own; anything else that says one must say the right one. */
static void check_kind(struct json_reader *reader, const cJSON *json, enum kube_kind kind,
                       const char *suffix)
{
    char found[KUBE_NAME_SIZE] = "";
    char wanted[KUBE_NAME_SIZE];
    text_format(wanted, sizeof wanted, "%s%s", kube_kind_name(kind), suffix);
    JSON_GET_TEXT(reader, json, "kind", kube_is_label_value, found);
    if (kind == KUBE_POD_METADATA && strncmp(found, "Pod", strlen("Pod")) == 0)
        text_format(wanted, sizeof wanted, "Pod%s", suffix);
    if (found[0] && strcmp(found, wanted) != 0)
        json_fail(reader, E_PROTO, json, "kind", "not the kind that was asked for");
}

static void read_object(struct json_reader *reader, const cJSON *json, enum kube_kind kind,
                        struct kube_object *object)
{
    *object = (struct kube_object){.kind = kind};
    if (!cJSON_IsObject(json)) {
        json_fail(reader, E_PROTO, NULL, kube_kind_name(kind), "not an object");
        return;
    }
    check_kind(reader, json, kind, "");
    switch (kind) {
    case KUBE_KIND_NONE:
        json_fail(reader, E_INVALID, NULL, "kind", "none was asked for");
        break;
    case KUBE_POD:
        kube_read_pod(reader, json, &object->pod);
        break;
    case KUBE_STATEFUL_SET:
        kube_read_stateful_set(reader, json, &object->stateful_set);
        break;
    case KUBE_LEASE:
        kube_read_lease(reader, json, &object->lease);
        break;
    case KUBE_ENDPOINT_SLICE:
        kube_read_endpoint_slice(reader, json, &object->endpoint_slice);
        break;
    case KUBE_NODE:
        kube_read_node(reader, json, &object->node);
        break;
    case KUBE_CONFIG_MAP:
        kube_read_config_map(reader, json, &object->config_map);
        break;
    case KUBE_POD_METADATA:
        kube_read_pod_metadata(reader, json, &object->pod);
        break;
    }
}

int kube_object_parse(struct span body, enum kube_kind kind, struct arena *arena,
                      struct kube_object *ret_object, struct err *err)
{
    auto_json cJSON *root = NULL;
    int r = json_parse(body, HTTP_BODY_MAX, &root, err);
    if (r < 0)
        return r;
    struct json_reader reader = {.err = err, .arena = arena};
    struct kube_object object;
    read_object(&reader, root, kind, &object);
    if (reader.result == 0)
        *ret_object = object;
    return reader.result;
}

/* Reads every item; gives it to `on_item` if there is one. */
static int read_items(const cJSON *items, enum kube_kind kind, struct arena *arena,
                      kube_item_fn on_item, void *context, struct err *err)
{
    size_t index = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, items)
    {
        struct json_reader reader = {.err = err, .arena = arena};
        struct kube_object object;
        read_object(&reader, item, kind, &object);
        if (reader.result < 0) {
            (void)err_wrap(err, "item %zu", index);
            return reader.result;
        }
        int r = on_item ? on_item(context, &object, err) : 0;
        if (r)
            return r;
        index++;
    }
    return 0;
}

int kube_list_parse(struct span body, enum kube_kind kind, struct arena *arena,
                    kube_item_fn on_item, void *context, struct kube_list *ret_list,
                    struct err *err)
{
    auto_json cJSON *root = NULL;
    int r = json_parse(body, HTTP_BODY_MAX, &root, err);
    if (r < 0)
        return r;
    struct json_reader reader = {.err = err, .arena = arena};
    struct kube_list list = {0};
    check_kind(&reader, root, kind, "List");
    const cJSON *meta = json_get_object(&reader, root, "metadata");
    JSON_GET_TEXT(&reader, meta, "resourceVersion", kube_is_token, list.resource_version);
    JSON_GET_TEXT(&reader, meta, "continue", kube_is_token, list.next);
    json_require(&reader, meta, "resourceVersion", list.resource_version);
    const cJSON *items = json_get_array(&reader, root, "items");
    if (reader.result < 0)
        return reader.result;
    list.count = (size_t)cJSON_GetArraySize(items);
    r = read_items(items, kind, arena, NULL, NULL, err);
    if (r == 0)
        r = read_items(items, kind, arena, on_item, context, err);
    if (r == 0)
        *ret_list = list;
    return r;
}

int kube_status_parse(struct span body, struct kube_status *ret_status, struct err *err)
{
    auto_json cJSON *root = NULL;
    int r = json_parse(body, HTTP_BODY_MAX, &root, err);
    if (r < 0)
        return r;
    struct json_reader reader = {.err = err};
    struct kube_status status = {0};
    kube_read_status(&reader, root, &status);
    if (reader.result == 0)
        *ret_status = status;
    return reader.result;
}

static enum kube_watch_type read_watch_type(struct json_reader *reader, const cJSON *root)
{
    static const struct {
        const char *name;
        enum kube_watch_type type;
    } types[] = {
        {"ADDED", KUBE_ADDED},       {"MODIFIED", KUBE_MODIFIED}, {"DELETED", KUBE_DELETED},
        {"BOOKMARK", KUBE_BOOKMARK}, {"ERROR", KUBE_ERROR},
    };
    char name[KUBE_LABEL_SIZE] = "";
    JSON_GET_TEXT(reader, root, "type", NULL, name);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(name, types[i].name) == 0)
            return types[i].type;
    json_fail(reader, E_PROTO, NULL, "type", "not a watch event");
    return KUBE_WATCH_NONE;
}

/* A bookmark's object has nothing but its kind and this. */
static void read_bookmark(struct json_reader *reader, const cJSON *json, enum kube_kind kind,
                          struct kube_object *object)
{
    object->kind = kind;
    check_kind(reader, json, kind, "");
    const cJSON *meta = json_get_object(reader, json, "metadata");
    JSON_GET_TEXT(reader, meta, "resourceVersion", kube_is_token, object->meta.resource_version);
    json_require(reader, meta, "resourceVersion", object->meta.resource_version);
}

int kube_watch_parse(struct span line, enum kube_kind kind, struct arena *arena,
                     struct kube_watch_event *ret_event, struct err *err)
{
    auto_json cJSON *root = NULL;
    int r = json_parse(line, WATCH_LINE_MAX, &root, err);
    if (r < 0)
        return r;
    struct json_reader reader = {.err = err, .arena = arena};
    struct kube_watch_event event = {.type = read_watch_type(&reader, root)};
    const cJSON *json = json_get_object(&reader, root, "object");
    if (reader.result == 0 && !json)
        json_fail(&reader, E_PROTO, NULL, "object", "missing");
    switch (event.type) {
    case KUBE_WATCH_NONE:
        break;
    case KUBE_ADDED:
    case KUBE_MODIFIED:
    case KUBE_DELETED:
        read_object(&reader, json, kind, &event.object);
        break;
    case KUBE_BOOKMARK:
        read_bookmark(&reader, json, kind, &event.object);
        break;
    case KUBE_ERROR:
        kube_read_status(&reader, json, &event.status);
        break;
    }
    if (reader.result == 0)
        *ret_event = event;
    return reader.result;
}
