/* SPDX-License-Identifier: Apache-2.0 */
/* Lists and watches: pods, endpoint slices, nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/kube_json.h"
#include "wire_sample.h"

static struct arena arena;

static struct {
    struct kube_object objects[4];
    size_t count;
    size_t stop_at; /* the callback fails on this one, counted from 1 */
} got;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, MIB(32));
    memset(&got, 0, sizeof got);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static int on_item(void *context, const struct kube_object *object, struct err *err)
{
    assert_ptr_equal(context, &got);
    assert_true(got.count < ARRAY_LEN(got.objects));
    got.objects[got.count++] = *object;
    return got.count == got.stop_at ? err_set(err, E_BUSY, "enough") : 0;
}

static int parse_list(const char *text, enum kube_kind kind, struct kube_list *list,
                      struct err *err)
{
    got.count = 0;
    memset(list, 0x25, sizeof *list);
    *err = (struct err){0};
    return kube_list_parse(span_of(text), kind, &arena, on_item, &got, list, err);
}

static struct kube_list parse_list_sample(const char *name, enum kube_kind kind)
{
    size_t len;
    auto_free char *text = wire_sample(name, &len);
    struct err err;
    struct kube_list list;
    if (parse_list(text, kind, &list, &err) < 0)
        fail_msg("%s: %s", name, err.msg);
    assert_int_equal(list.count, got.count);
    return list;
}

static void test_a_page_of_pods(void **state)
{
    (void)state;
    struct kube_list list = parse_list_sample("kube_json/pod-list", KUBE_POD);
    assert_string_equal(list.resource_version, "10245");
    assert_int_equal(strncmp(list.next, "eyJ2Ijoi", 8), 0);
    assert_int_equal(got.count, 2);
    const struct kube_pod *pod = &got.objects[0].pod;
    assert_string_equal(pod->meta.name, "muster-0");
    assert_string_equal(pod->meta.namespace, "data");
    assert_string_equal(pod->meta.uid, "6f1b8f0e-1d0c-4a53-9c4e-8d1c5f2a7b30");
    assert_false(pod->meta.deleting);
    assert_int_equal(pod->ordinal, 0);
    assert_string_equal(pod->controller.kind, "StatefulSet");
    assert_string_equal(pod->controller.name, "muster");
    assert_string_equal(pod->controller.uid, "0b9d1a7e-52b5-4d3a-8d7a-3f0c7c5e1a11");
    assert_string_equal(pod->ip, "10.244.1.7");
    assert_string_equal(pod->node, "node-a.example.internal");
    assert_string_equal(pod->zone, "eu-1a");
    assert_string_equal(pod->revision, "muster-5d7c9f7b6d");
    assert_int_equal(pod->phase, KUBE_PHASE_RUNNING);
    assert_true(pod->ready);
    assert_int_equal(pod->grace_ms, 3600000); /* as it would be */
    pod = &got.objects[1].pod;
    assert_true(pod->meta.deleting);
    assert_int_equal(pod->grace_ms, 3600000); /* as it is */
    assert_int_equal(pod->phase, KUBE_PHASE_PENDING);
    assert_string_equal(pod->controller.kind, "");
    assert_string_equal(pod->node, "");
}

/* The same pods, whole and as their metadata only: a server may not know the second form. */
static void test_owners_of_pods(void **state)
{
    (void)state;
    static const char *const samples[] = {"kube_json/pod-metadata-list", "kube_json/pod-list"};
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct kube_list list = parse_list_sample(samples[i], KUBE_POD_METADATA);
        assert_string_equal(list.resource_version, "10245");
        assert_int_equal(strncmp(list.next, "eyJ2Ijoi", 8), 0);
        assert_int_equal(got.count, 2);
        const struct kube_pod *pod = &got.objects[0].pod;
        assert_string_equal(pod->meta.name, "muster-0");
        assert_string_equal(pod->meta.uid, "6f1b8f0e-1d0c-4a53-9c4e-8d1c5f2a7b30");
        assert_string_equal(pod->controller.kind, "StatefulSet");
        assert_string_equal(pod->controller.uid, "0b9d1a7e-52b5-4d3a-8d7a-3f0c7c5e1a11");
        assert_string_equal(pod->ip, "");
        assert_string_equal(got.objects[1].pod.controller.uid, "");
    }
    size_t len;
    struct err err;
    struct kube_list list;
    auto_free char *metadata = wire_sample(samples[0], &len);
    assert_int_equal(parse_list(metadata, KUBE_POD, &list, &err), E_PROTO); /* no addresses */
    auto_free char *nodes = wire_replace(metadata, "PartialObjectMetadataList", "NodeList");
    assert_int_equal(parse_list(nodes, KUBE_POD_METADATA, &list, &err), E_PROTO);
    auto_free char *templates =
        wire_replace(metadata, "PartialObjectMetadataList", "PodTemplateList");
    assert_int_equal(parse_list(templates, KUBE_POD_METADATA, &list, &err), E_PROTO);
    auto_free char *owner = wire_replace(metadata, "\"0b9d1a7e-52b5-4d3a-8d7a-3f0c7c5e1a11\"", "7");
    assert_int_equal(parse_list(owner, KUBE_POD_METADATA, &list, &err), E_PROTO);
    assert_int_equal(got.count, 0);
}

/* A page with one malformed item has no effect at all. */
static void test_a_malformed_page_gives_no_item(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *by;
        int code;
        const char *message;
    } cases[] = {
        {"\"PodList\"", "\"NodeList\"", E_PROTO, "kind: not the kind"},
        {"\"metadata\":{\"resourceVersion\":\"10245\"", "\"metadata\":{\"x\":\"1\"", E_PROTO,
         "metadata.resourceVersion: missing"},
        {"\"continue\":\"", "\"continue\":\"&limit=0 ", E_PROTO, "metadata.continue: malformed"},
        {"\"items\":[", "\"items\":5,\"x\":[", E_PROTO, "items: not an array"},
        {"\"items\":[", "\"items\":[5,", E_PROTO, "item 0: Pod: not an object"},
        {"\"name\":\"muster-1\"", "\"name\":\"Muster-1\"", E_PROTO, "item 1: metadata.name"},
        {"\"kind\":\"StatefulSet\"", "\"kind\":{}", E_PROTO, "item 0: kind: not a string"},
        {"\"controller\":true", "\"controller\":\"true\"", E_PROTO,
         "controller: not true or false"},
        {"\"uid\":\"0b9d1a7e-52b5-4d3a-8d7a-3f0c7c5e1a11\",\"controller\":true",
         "\"controller\":true", E_PROTO, "item 0: uid: missing"},
        {"\"ownerReferences\":[", "\"ownerReferences\":5,\"x\":[", E_PROTO, "not an array"},
        {"\"podIP\":\"10.244.1.7\"", "\"podIP\":\"evil.example\"", E_PROTO, "status.podIP"},
        {"\"nodeName\":\"node-a", "\"nodeName\":\"Node a", E_PROTO, "spec.nodeName: malformed"},
        {"\"eu-1a\"", "\"eu\\n1a\"", E_PROTO, "labels.topology.kubernetes.io/zone: malformed"},
        {"\"phase\":\"Running\"", "\"phase\":1", E_PROTO, "status.phase: not a string"},
        {"\"conditions\":[", "\"conditions\":{},\"x\":[", E_PROTO, "status.conditions"},
        {"\"type\":\"Ready\"", "\"type\":1", E_PROTO, "type: not a string"},
        {"\"labels\":{", "\"labels\":[],\"x\":{", E_PROTO, "metadata.labels: not an object"},
        {"\"status\":{\"phase\":\"Pending\"}", "\"status\":7", E_PROTO, "item 1: status"},
    };
    size_t len;
    auto_free char *sample = wire_sample("kube_json/pod-list", &len);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_free char *text = wire_replace(sample, cases[i].what, cases[i].by);
        struct err err;
        struct kube_list list;
        struct kube_list before;
        memset(&before, 0x25, sizeof before);
        if (parse_list(text, KUBE_POD, &list, &err) != cases[i].code ||
            !strstr(err.msg, cases[i].message))
            fail_msg("%s: %d '%s'", cases[i].message, err.code, err.msg);
        assert_int_equal(got.count, 0);
        assert_memory_equal(&list, &before, sizeof list);
    }
}

static void test_fields_that_do_not_fit(void **state)
{
    (void)state;
    auto_free char *name = xcalloc(300, 1);
    memset(name, 'n', 299);
    static const char *const whats[] = {
        "node-a.example.internal",
        "eu-1a",
        "10.244.1.7\",\"podIPs",
        "muster-5d7c9f7b6d",
    };
    size_t len;
    auto_free char *sample = wire_sample("kube_json/pod-list", &len);
    for (size_t i = 0; i < ARRAY_LEN(whats); i++) {
        char by[400];
        text_format(by, sizeof by, "%s%s", name, strchr(whats[i], '"') ? "\",\"podIPs" : "");
        auto_free char *text = wire_replace(sample, whats[i], by);
        struct err err;
        struct kube_list list;
        assert_int_equal(parse_list(text, KUBE_POD, &list, &err), E_LIMIT);
        assert_non_null(strstr(err.msg, "too long"));
    }
}

static void test_the_reader_may_stop(void **state)
{
    (void)state;
    size_t len;
    auto_free char *text = wire_sample("kube_json/pod-list", &len);
    struct err err;
    struct kube_list list;
    got.stop_at = 1;
    assert_int_equal(parse_list(text, KUBE_POD, &list, &err), E_BUSY);
    assert_string_equal(err.msg, "enough");
    assert_int_equal(got.count, 1);
    assert_int_equal(parse_list("[]", KUBE_POD, &list, &err), E_PROTO);
}

static void test_an_empty_page(void **state)
{
    (void)state;
    struct err err;
    struct kube_list list;
    const char *text = "{\"metadata\":{\"resourceVersion\":\"0\"},\"items\":null}";
    assert_int_equal(parse_list(text, KUBE_POD, &list, &err), 0);
    assert_int_equal(list.count, 0);
    assert_string_equal(list.next, "");
}

static void test_endpoint_slices(void **state)
{
    (void)state;
    (void)parse_list_sample("kube_json/endpoint-slice-list", KUBE_ENDPOINT_SLICE);
    assert_int_equal(got.count, 3);
    const struct kube_endpoint_slice *slice = &got.objects[0].endpoint_slice;
    assert_int_equal(slice->endpoint_count, 4);
    const struct kube_endpoint *endpoint = &slice->endpoints[0];
    assert_string_equal(endpoint->ip, "10.244.1.7");
    assert_string_equal(endpoint->zone, "eu-1a");
    assert_string_equal(endpoint->node, "node-a.example.internal");
    assert_string_equal(endpoint->pod, "muster-0");
    assert_string_equal(endpoint->pod_uid, "6f1b8f0e-1d0c-4a53-9c4e-8d1c5f2a7b30");
    assert_true(endpoint->ready);
    assert_false(endpoint->terminating);
    endpoint = &slice->endpoints[1];
    assert_false(endpoint->ready);
    assert_true(endpoint->terminating);
    assert_string_equal(slice->endpoints[2].pod, "");
    assert_true(slice->endpoints[2].ready);
    assert_true(slice->endpoints[3].ready);
    /* Names are not for us, and a slice may be empty. */
    assert_int_equal(got.objects[1].endpoint_slice.endpoint_count, 0);
    assert_int_equal(got.objects[2].endpoint_slice.endpoint_count, 0);
}

static void test_malformed_endpoint_slices(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *by;
        const char *message;
    } cases[] = {
        {"\"addresses\":[\"10.244.1.7\"]", "\"addresses\":[]", "addresses: no address"},
        {"\"addresses\":[\"10.244.1.7\"]", "\"addresses\":[\"x.example\"]",
         "addresses: no address"},
        {"\"addresses\":[\"10.244.1.7\"]", "\"addresses\":[7]", "addresses: no address"},
        {"\"addresses\":[\"10.244.1.7\"]", "\"addresses\":7", "addresses: not an array"},
        {"\"ready\":true", "\"ready\":\"true\"", "conditions.ready"},
        {"\"kind\":\"Pod\"", "\"kind\":7", "targetRef.kind"},
        {"\"name\":\"muster-0\"", "\"name\":\"/etc\"", "targetRef.name: malformed"},
    };
    size_t len;
    auto_free char *sample = wire_sample("kube_json/endpoint-slice-list", &len);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_free char *text = wire_replace(sample, cases[i].what, cases[i].by);
        struct err err;
        struct kube_list list;
        assert_int_equal(parse_list(text, KUBE_ENDPOINT_SLICE, &list, &err), E_PROTO);
        if (!strstr(err.msg, cases[i].message))
            fail_msg("%s: %s", cases[i].message, err.msg);
    }
}

static void test_an_endpoint_slice_is_bounded(void **state)
{
    (void)state;
    for (int count = KUBE_ENDPOINTS_MAX; count <= KUBE_ENDPOINTS_MAX + 1; count++) {
        auto_buf struct buf text;
        buf_init(&text, KIB(64));
        (void)buf_append_str(&text,
                             "{\"metadata\":{\"name\":\"s\",\"uid\":\"u\",\"resourceVersion\":"
                             "\"1\"},\"endpoints\":[");
        for (int i = 0; i < count; i++)
            (void)buf_format(&text, "%s{\"addresses\":[\"10.0.%d.%d\"]}", i ? "," : "", i / 256,
                             i % 256);
        (void)buf_append_str(&text, "]}");
        struct err err = {0};
        struct kube_object object;
        int r =
            kube_object_parse(span_of(buf_str(&text)), KUBE_ENDPOINT_SLICE, &arena, &object, &err);
        assert_int_equal(r, count == KUBE_ENDPOINTS_MAX ? 0 : E_LIMIT);
    }
}

/* Each slice is within its limit, but all of a page would not fit into the memory for a page. */
static void test_a_page_of_slices_is_bounded_as_a_whole(void **state)
{
    (void)state;
    auto_buf struct buf text;
    struct kube_list list;
    struct err err = {0};
    arena_init(&arena, KIB(256));
    buf_init(&text, MIB(1));
    (void)buf_append_str(&text, "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[");
    for (int slice = 0; slice < 10; slice++) {
        (void)buf_format(&text,
                         "%s{\"metadata\":{\"name\":\"s%d\",\"uid\":\"u\","
                         "\"resourceVersion\":\"1\"},\"addressType\":\"IPv4\",\"endpoints\":[",
                         slice ? "," : "", slice);
        for (int i = 0; i < 100; i++)
            (void)buf_append_str(&text, i ? ",{\"addresses\":[\"10.0.0.1\"]}"
                                          : "{\"addresses\":[\"10.0.0.1\"]}");
        (void)buf_append_str(&text, "]}");
    }
    (void)buf_append_str(&text, "]}");
    assert_int_equal(kube_list_parse(span_of(buf_str(&text)), KUBE_ENDPOINT_SLICE, &arena, NULL,
                                     NULL, &list, &err),
                     E_LIMIT);
    assert_non_null(strstr(err.msg, "too many in all the slices of one page"));
}

static void test_nodes_have_zones(void **state)
{
    (void)state;
    (void)parse_list_sample("kube_json/node-list", KUBE_NODE);
    assert_int_equal(got.count, 2);
    assert_string_equal(got.objects[0].meta.name, "node-a.example.internal");
    assert_string_equal(got.objects[0].node.zone, "eu-1a");
    assert_string_equal(got.objects[1].node.zone, "");
}

static int parse_watch(const char *text, struct kube_watch_event *event, struct err *err)
{
    memset(event, 0x25, sizeof *event);
    *err = (struct err){0};
    return kube_watch_parse(span_of(text), KUBE_POD, &arena, event, err);
}

static void test_watch_events(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        enum kube_watch_type expected;
    } types[] = {
        {"\"ADDED\"", KUBE_ADDED}, {"\"MODIFIED\"", KUBE_MODIFIED}, {"\"DELETED\"", KUBE_DELETED}};
    size_t len;
    auto_free char *sample = wire_sample("kube_json/pod-added", &len);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        auto_free char *text = wire_replace(sample, "\"ADDED\"", types[i].type);
        struct err err;
        struct kube_watch_event event;
        assert_int_equal(parse_watch(text, &event, &err), 0);
        assert_int_equal(event.type, types[i].expected);
        assert_int_equal(event.object.kind, KUBE_POD);
        assert_string_equal(event.object.pod.meta.name, "muster-2");
        assert_string_equal(event.object.pod.ip, "fd00:10:244:1::9");
        assert_false(event.object.pod.ready);
        assert_int_equal(event.status.code, 0);
    }
}

static void test_a_bookmark_has_only_a_version(void **state)
{
    (void)state;
    size_t len;
    auto_free char *text = wire_sample("kube_json/bookmark", &len);
    struct err err;
    struct kube_watch_event event;
    assert_int_equal(parse_watch(text, &event, &err), 0);
    assert_int_equal(event.type, KUBE_BOOKMARK);
    assert_int_equal(event.object.kind, KUBE_POD);
    assert_string_equal(event.object.meta.resource_version, "12746");
    assert_string_equal(event.object.meta.name, "");
    auto_free char *without = wire_replace(text, "resourceVersion", "version");
    assert_int_equal(parse_watch(without, &event, &err), E_PROTO);
    assert_string_equal(err.msg, "metadata.resourceVersion: missing");
}

static void test_an_error_event_has_a_status(void **state)
{
    (void)state;
    size_t len;
    auto_free char *text = wire_sample("kube_json/expired", &len);
    struct err err;
    struct kube_watch_event event;
    assert_int_equal(parse_watch(text, &event, &err), 0);
    assert_int_equal(event.type, KUBE_ERROR);
    assert_int_equal(event.object.kind, KUBE_KIND_NONE);
    assert_int_equal(event.status.code, 410);
    assert_string_equal(event.status.reason, "Expired");
}

static void test_malformed_watch_events(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"", E_PROTO},
        {"{}", E_PROTO},
        {"{\"type\":\"ADDED\"}", E_PROTO},
        {"{\"type\":\"added\",\"object\":{}}", E_PROTO},
        {"{\"type\":5,\"object\":{}}", E_PROTO},
        {"{\"type\":\"ADDED\",\"object\":[]}", E_PROTO},
        {"{\"type\":\"ADDED\",\"object\":{}}", E_PROTO},
        {"{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Node\",\"metadata\":{\"resourceVersion\":"
         "\"1\"}}}",
         E_PROTO},
        {"{\"type\":\"ERROR\",\"object\":{\"code\":\"410\"}}", E_PROTO},
        {"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Node\"}}", E_PROTO},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err;
        struct kube_watch_event event;
        struct kube_watch_event before;
        memset(&before, 0x25, sizeof before);
        if (parse_watch(cases[i].text, &event, &err) != cases[i].code || !err.msg[0])
            fail_msg("%s: %d '%s'", cases[i].text, err.code, err.msg);
        assert_memory_equal(&event, &before, sizeof event);
    }
    auto_free char *bytes = xcalloc(WATCH_LINE_MAX + 1, 1);
    struct err err;
    struct kube_watch_event event;
    assert_int_equal(
        kube_watch_parse((struct span){bytes, WATCH_LINE_MAX + 1}, KUBE_POD, &arena, &event, &err),
        E_LIMIT);
}

static void test_every_mutation_of_a_watch_event(void **state)
{
    (void)state;
    size_t len;
    auto_free char *sample = wire_sample("kube_json/pod-added", &len);
    auto_free char *mutated = xcalloc(len + 2, 1);
    size_t refused = 0;
    for (size_t at = 0; at < len; at++) {
        for (unsigned kind = 0; kind < WIRE_MUTATIONS; kind++) {
            size_t size = wire_mutate((struct span){sample, len}, at, kind, mutated);
            struct span text = wire_exact((struct span){mutated, size});
            struct err err = {0};
            struct kube_watch_event event = {0};
            arena_reset(&arena);
            if (kube_watch_parse(text, KUBE_POD, &arena, &event, &err) < 0) {
                assert_string_not_equal(err.msg, "");
                assert_int_equal(event.type, KUBE_WATCH_NONE);
                refused++;
            } else {
                assert_true(kube_is_subdomain(span_of(event.object.meta.name)));
                assert_true(!event.object.pod.ip[0] ||
                            kube_is_address(span_of(event.object.pod.ip)));
            }
            free((void *)(uintptr_t)text.ptr);
        }
    }
    assert_in_range(refused, len * 3, len * WIRE_MUTATIONS - len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_page_of_pods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_owners_of_pods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_malformed_page_gives_no_item, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fields_that_do_not_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_reader_may_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_empty_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_endpoint_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_endpoint_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_endpoint_slice_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_page_of_slices_is_bounded_as_a_whole, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_nodes_have_zones, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_bookmark_has_only_a_version, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_error_event_has_a_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_watch_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_mutation_of_a_watch_event, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
