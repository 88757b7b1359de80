/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Kubernetes API: the input as a stream of watch lines, a list, an object, a Status and a
 * record. The kind is the first that the text names; Pods are read for their metadata too.
 */
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "fuzz.h"
#include "wire/kube_json.h"
#include "wire/line_split.h"
#include "wire/record_json.h"

static enum kube_kind kind_of(struct span text)
{
    const char *metadata = kube_kind_name(KUBE_POD_METADATA); /* names its owner's kind as well */
    if (text.len && memmem(text.ptr, text.len, metadata, strlen(metadata)))
        return KUBE_POD_METADATA;
    for (enum kube_kind kind = KUBE_POD; kind <= KUBE_CONFIG_MAP; kind++) {
        const char *name = kube_kind_name(kind);
        if (text.len && memmem(text.ptr, text.len, name, strlen(name)))
            return kind;
    }
    return KUBE_POD;
}

struct context {
    enum kube_kind kind;
    struct arena arena;
    size_t items;
};

/* Whatever gets through may be part of a path and be dialled. */
static void check_object(const struct kube_object *object)
{
    FUZZ_REQUIRE(kube_is_subdomain(span_of(object->meta.name)));
    FUZZ_REQUIRE(!object->meta.namespace[0] || kube_is_label(span_of(object->meta.namespace)));
    FUZZ_REQUIRE(object->meta.resource_version[0]);
    if (object->kind == KUBE_POD_METADATA)
        FUZZ_REQUIRE(!object->pod.ip[0] && object->pod.ordinal >= -1);
    if (object->kind == KUBE_POD)
        FUZZ_REQUIRE(!object->pod.ip[0] || kube_is_address(span_of(object->pod.ip)));
    if (object->kind == KUBE_ENDPOINT_SLICE)
        for (size_t i = 0; i < object->endpoint_slice.endpoint_count; i++)
            FUZZ_REQUIRE(kube_is_address(span_of(object->endpoint_slice.endpoints[i].ip)));
}

static int on_item(void *data, const struct kube_object *object, struct err *err)
{
    struct context *context = data;
    (void)err;
    FUZZ_REQUIRE(object->kind == context->kind);
    check_object(object);
    context->items++;
    return 0;
}

static int on_line(void *data, struct span line, struct err *err)
{
    struct context *context = data;
    struct kube_watch_event event;
    FUZZ_REQUIRE(line.len > 0 && span_find(line, '\n') < 0);
    arena_reset(&context->arena);
    if (kube_watch_parse(line, context->kind, &context->arena, &event, err) < 0)
        return 0;
    FUZZ_REQUIRE(event.type != KUBE_WATCH_NONE);
    if (event.type != KUBE_BOOKMARK && event.type != KUBE_ERROR)
        check_object(&event.object);
    return 0;
}

/* In pieces of 7 bytes, so that lines are joined as they are from a socket. */
static void check_lines(struct context *context, struct span text)
{
    struct line_split split;
    struct err err;
    line_split_init(&split, KIB(4));
    for (struct span rest = text; rest.len;) {
        size_t len = rest.len < 7 ? rest.len : 7;
        if (line_split_feed(&split, (struct span){rest.ptr, len}, on_line, context, &err) < 0)
            break;
        rest = (struct span){rest.ptr + len, rest.len - len};
    }
    line_split_deinit(&split);
}

static void check_record(struct context *context, struct span text)
{
    struct record record;
    struct record again;
    struct err err;
    auto_buf struct buf out = {.ceiling = MIB(2)};
    if (record_parse(text, &context->arena, &record, &err) < 0)
        return;
    FUZZ_REQUIRE(record_format(&record, &out) == 0);
    FUZZ_REQUIRE(record_parse(span_of(buf_str(&out)), &context->arena, &again, &err) == 0);
    FUZZ_REQUIRE(record_eq(&record, &again));
}

static void check_documents(struct context *context, struct span text)
{
    struct kube_object object;
    struct kube_list list;
    struct err err;
    context->items = 0;
    if (kube_list_parse(text, context->kind, &context->arena, on_item, context, &list, &err) == 0)
        FUZZ_REQUIRE(list.count == context->items && list.resource_version[0]);
    else
        FUZZ_REQUIRE(context->items == 0);
    if (kube_object_parse(text, context->kind, &context->arena, &object, &err) == 0)
        check_object(&object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_span(data, size);
    struct context context = {.kind = kind_of(text)};
    struct kube_status status;
    struct err err;
    arena_init(&context.arena, MIB(64));
    check_lines(&context, text);
    check_documents(&context, text);
    if (context.kind == KUBE_POD) {
        context.kind = KUBE_POD_METADATA;
        check_documents(&context, text);
    }
    if (kube_status_parse(text, &status, &err) == 0)
        FUZZ_REQUIRE(status.code >= 0 && status.retry_after_s >= 0);
    check_record(&context, text);
    arena_deinit(&context.arena);
    return 0;
}
