/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/state_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"

static void fixture_on_change(void *ctx)
{
    struct state_fixture *fixture = ctx;
    fixture->changes++;
}

/* ---- the API server ---- */

static void add_pod(struct buf *out, int ordinal, const char *set_uid, const char *zone)
{
    (void)buf_format(out,
                     "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"db-%d\","
                     "\"namespace\":\"ns\",\"uid\":\"pod-%d\",\"resourceVersion\":\"10\",",
                     ordinal, ordinal);
    if (zone[0])
        (void)buf_format(out, "\"labels\":{\"topology.kubernetes.io/zone\":\"%s\"},", zone);
    if (set_uid[0])
        (void)buf_format(out,
                         "\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":"
                         "\"StatefulSet\",\"name\":\"%s\",\"uid\":\"%s\",\"controller\":true}],",
                         strcmp(set_uid, "other") == 0 ? set_uid : "db", set_uid);
    (void)buf_format(out,
                     "\"annotations\":{}},\"spec\":{\"nodeName\":\"node-%d\"},\"status\":{"
                     "\"phase\":\"Running\",\"podIP\":\"10.0.0.%d\",\"conditions\":[{\"type\":"
                     "\"Ready\",\"status\":\"True\"}]}}",
                     ordinal, ordinal + 1);
}

static void add_set(struct buf *out, const char *uid, int replicas)
{
    (void)buf_format(out,
                     "{\"kind\":\"StatefulSet\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":"
                     "\"db\",\"namespace\":\"ns\",\"uid\":\"%s\",\"resourceVersion\":\"10\","
                     "\"generation\":3},\"spec\":{\"replicas\":%d,\"serviceName\":\"db-all\","
                     "\"selector\":{\"matchLabels\":{\"app\":\"db\"}},\"podManagementPolicy\":"
                     "\"Parallel\",\"template\":{}},\"status\":{\"currentRevision\":\"db-1\","
                     "\"updateRevision\":\"db-1\"}}",
                     uid, replicas);
}

static void add_record(struct buf *out, bool readable)
{
    (void)buf_append_str(out,
                         "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
                         "\"db-muster\",\"namespace\":\"ns\",\"uid\":\"cm-1\","
                         "\"resourceVersion\":\"7\"},\"data\":{\"record.json\":");
    if (!readable) {
        (void)buf_append_str(out, "\"{\"}}");
        return;
    }
    struct record_member member = {.pod = "db-0", .diskless_delay_s = -1};
    memset(member.id.hex, 'a', NODE_ID_LEN);
    struct record record = {.version = RECORD_VERSION,
                            .uid = "e1c7e2a8-0001-4000-8000-000000000001",
                            .generation = 4,
                            .set_uid = "set-1",
                            .state = RECORD_FORMED,
                            .shards = 1,
                            .members = &member,
                            .member_count = 1};
    /* The formatter gives a whole ConfigMap: take its data. */
    auto_buf struct buf map;
    buf_init(&map, KIB(64));
    assert_int_equal(kube_record_format("ns", "db-muster", "7", &record, &map), 0);
    const char *data = strstr(buf_str(&map), "\"record.json\":");
    assert_non_null(data);
    (void)buf_append_str(out, data + strlen("\"record.json\":"));
}

static void add_slice(struct buf *out)
{
    (void)buf_append_str(
        out, "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{"
             "\"name\":\"db-all-x\",\"namespace\":\"ns\",\"uid\":\"es-1\",\"resourceVersion\":"
             "\"10\"},\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.0.0.2\"],"
             "\"zone\":\"slice-zone\",\"nodeName\":\"node-1\",\"targetRef\":{\"kind\":\"Pod\","
             "\"name\":\"db-1\",\"uid\":\"pod-1\"}},{\"addresses\":[\"10.0.0.3\"],\"nodeName\":"
             "\"node-2\",\"targetRef\":{\"kind\":\"Pod\",\"name\":\"db-2\",\"uid\":\"pod-2\"}},"
             "{\"addresses\":[\"10.0.0.4\"],\"nodeName\":\"node-2\",\"targetRef\":{\"kind\":"
             "\"Pod\",\"name\":\"db-3\",\"uid\":\"pod-3\"}}],\"ports\":[]}");
}

static void answer_items(int fd, const char *kind, const struct buf *items)
{
    auto_buf struct buf body;
    buf_init(&body, KIB(64));
    (void)buf_format(&body,
                     "{\"kind\":\"%sList\",\"apiVersion\":\"v1\",\"metadata\":{"
                     "\"resourceVersion\":\"10\"},\"items\":[%s]}",
                     kind, buf_str(items));
    io_http_answer(fd, 200, "", buf_str(&body));
}

/* Of the four pods in the slice, which names no owners, db-3 has none. */
static void answer_owners(int fd, int stage)
{
    auto_buf struct buf items;
    buf_init(&items, KIB(64));
    for (int i = 1; i < 4; i++) {
        (void)buf_append_str(&items, i > 1 ? "," : "");
        if (stage & WHOLE_PODS) {
            add_pod(&items, i, i < 3 ? "set-1" : "", "");
            continue;
        }
        (void)buf_format(&items,
                         "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\","
                         "\"metadata\":{\"name\":\"db-%d\",\"uid\":\"pod-%d\",\"namespace\":"
                         "\"ns\",\"resourceVersion\":\"10\"",
                         i, i);
        if (i < 3)
            (void)buf_append_str(&items,
                                 ",\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":"
                                 "\"StatefulSet\",\"name\":\"db\",\"uid\":\"set-1\","
                                 "\"controller\":true}]");
        (void)buf_append_str(&items, "}}");
    }
    answer_items(fd, stage & WHOLE_PODS ? "Pod" : "PartialObjectMetadata", &items);
}

static void answer_list(int fd, const char *line, int stage)
{
    auto_buf struct buf items;
    buf_init(&items, KIB(64));
    const char *uid = stage & REBORN ? "set-2" : stage & OTHER ? "other" : "set-1";
    if (strstr(line, "/statefulsets?")) {
        add_set(&items, uid, stage & LARGE ? 60 : 3);
        answer_items(fd, "StatefulSet", &items);
    } else if (strstr(line, "/pods?") && strstr(line, "resourceVersion=0")) {
        answer_owners(fd, stage);
    } else if (strstr(line, "/pods?")) {
        int count = strstr(line, "fieldSelector") ? 1 : 3;
        for (int i = 0; i < count; i++) {
            add_pod(&items, i, uid, i == 0 ? "label-zone" : "");
            (void)buf_append_str(&items, i < count - 1 ? "," : "");
        }
        answer_items(fd, "Pod", &items);
    } else if (strstr(line, "/endpointslices?")) {
        add_slice(&items);
        answer_items(fd, "EndpointSlice", &items);
    } else {
        if (!(stage & NO_RECORD))
            add_record(&items, !(stage & BAD_RECORD));
        answer_items(fd, "ConfigMap", &items);
    }
}

static bool is_denied(const char *line, int stage)
{
    return ((stage & NO_SLICES) && strstr(line, "/endpointslices")) ||
           ((stage & NO_OWNERS) && strstr(line, "resourceVersion=0")) ||
           ((stage & NO_NODES) && strstr(line, "/nodes/"));
}

/* Waits for the end of the record or the rebirth of the set, and says so on the open watch. */
static void serve_watch(int fd, const char *line, struct io_shared *shared)
{
    int before = shared->stage;
    io_http_open(fd);
    while (shared->stage == before)
        (void)usleep(2000);
    auto_buf struct buf event;
    buf_init(&event, KIB(64));
    int stage = shared->stage;
    if ((stage & GONE) && strstr(line, "/statefulsets?")) {
        (void)buf_append_str(&event, "{\"type\":\"DELETED\",\"object\":");
        add_set(&event, "set-1", 3);
    } else if ((stage & REBORN) && strstr(line, "/statefulsets?")) {
        (void)buf_append_str(&event, "{\"type\":\"MODIFIED\",\"object\":");
        add_set(&event, "set-2", 3);
    } else if ((stage & NO_RECORD) && strstr(line, "/configmaps?")) {
        (void)buf_append_str(&event, "{\"type\":\"DELETED\",\"object\":");
        add_record(&event, true);
    }
    if (event.len) {
        (void)buf_append_str(&event, "}\n");
        io_http_chunk(fd, buf_str(&event));
    }
    io_hold(fd);
}

void state_fixture_serve(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        const char *line = shared->lines[at];
        int stage = shared->stage;
        auto_buf struct buf body;
        buf_init(&body, KIB(64));
        if (is_denied(line, stage)) {
            io_http_answer(fd, 403, "", "{\"kind\":\"Status\",\"message\":\"no\",\"code\":403}");
        } else if (strstr(line, "watch=true")) {
            serve_watch(fd, line, shared);
        } else if (strstr(line, "/pods/db-0 ")) {
            add_pod(&body, 0, stage & ORPHAN ? "" : "set-1", "label-zone");
            io_http_answer(fd, 200, "", buf_str(&body));
        } else if (strstr(line, "/nodes/")) {
            (void)buf_append_str(
                &body, "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"node-2\","
                       "\"uid\":\"n\",\"resourceVersion\":\"1\",\"labels\":{"
                       "\"topology.kubernetes.io/zone\":\"node-zone\"}}}");
            io_http_answer(fd, 200, "", buf_str(&body));
        } else {
            answer_list(fd, line, stage);
        }
    }
}

/* ---- the fixture ---- */

void state_fixture_open(struct state_fixture *fixture, const char *stateful_set, int stage)
{
    *fixture = (struct state_fixture){.loop = loop_new(NULL)};
    io_script_start(&fixture->script, state_fixture_serve);
    fixture->script.shared->stage = stage;
    char url[64];
    text_format(url, sizeof url, "http://127.0.0.1:%u", fixture->script.port);
    struct kube_client_config config = {.api_server = url, .ns = "ns"};
    fixture->client = kube_client_new(fixture->loop, &config, NULL);
    assert_non_null(fixture->client);
    struct kube_state_config state = {.pod_name = "db-0",
                                      .stateful_set = stateful_set,
                                      .seed = 1,
                                      .on_change = fixture_on_change,
                                      .ctx = fixture};
    fixture->state = kube_state_new(fixture->loop, fixture->client, &state);
}

void state_fixture_close(struct state_fixture *fixture)
{
    assert_int_equal(io_count_threads(), 1);
    kube_state_free(fixture->state);
    kube_client_free(fixture->client);
    loop_free(fixture->loop);
    io_script_stop(&fixture->script);
}

bool state_fixture_is_complete(void *ctx)
{
    const struct state_fixture *fixture = ctx;
    return kube_state_seen_ms(fixture->state) > 0;
}

const char *state_fixture_zone(const struct state_fixture *fixture, const char *pod)
{
    const struct kube_pod *found = kube_state_find_pod(fixture->state, pod);
    return found ? kube_state_zone(fixture->state, found) : "no such pod";
}

bool state_fixture_has_four_watches(void *ctx)
{
    const struct state_fixture *fixture = ctx;
    return io_count_lines(fixture->script.shared, "watch=true") == 4;
}
