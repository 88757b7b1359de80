/* SPDX-License-Identifier: Apache-2.0 */
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
#include "io/clock.h"
#include "io/kube_state.h"
#include "unit/io_script.h"

/* What the scripted API server is told to do, in shared->stage. */
enum {
    NO_SLICES = 1 << 0,  /* 403 for EndpointSlices */
    NO_NODES = 1 << 1,   /* 403 for nodes */
    NO_RECORD = 1 << 2,  /* the ConfigMap is absent */
    BAD_RECORD = 1 << 3, /* it is there and cannot be read */
    ORPHAN = 1 << 4,     /* the own pod has no controller */
    REBORN = 1 << 5,     /* the set was deleted and created again: another uid */
    LARGE = 1 << 6,      /* it has 60 replicas */
    WHOLE_PODS = 1 << 7, /* metadata only is a form that it does not know */
    NO_OWNERS = 1 << 8,  /* 403 for lists by a label */
    GONE = 1 << 9,       /* the set is deleted, its pods are not */
    OTHER = 1 << 10,     /* the pods turn out to be another set's */
};

struct session {
    struct loop *loop;
    struct io_script script;
    struct kube_client *client;
    struct kube_state *state;
    int changes;
    const char *wanted_zone;
};

static void session_on_change(void *ctx)
{
    struct session *session = ctx;
    session->changes++;
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

static void serve_api(int fd, struct io_shared *shared, int nth)
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

/* ---- the session ---- */

static void session_open(struct session *session, const char *stateful_set, int stage)
{
    *session = (struct session){.loop = loop_new(NULL)};
    io_script_start(&session->script, serve_api);
    session->script.shared->stage = stage;
    char url[64];
    text_format(url, sizeof url, "http://127.0.0.1:%u", session->script.port);
    struct kube_client_config config = {.api_server = url, .ns = "ns"};
    session->client = kube_client_new(session->loop, &config, NULL);
    assert_non_null(session->client);
    struct kube_state_config state = {.pod_name = "db-0",
                                      .stateful_set = stateful_set,
                                      .seed = 1,
                                      .on_change = session_on_change,
                                      .ctx = session};
    session->state = kube_state_new(session->loop, session->client, &state);
}

static void session_close(struct session *session)
{
    assert_int_equal(io_count_threads(), 1);
    kube_state_free(session->state);
    kube_client_free(session->client);
    loop_free(session->loop);
    io_script_stop(&session->script);
}

static bool is_complete(void *ctx)
{
    const struct session *session = ctx;
    return kube_state_seen_ms(session->state) > 0;
}

static const char *zone_of(const struct session *session, const char *pod)
{
    const struct kube_pod *found = kube_state_find_pod(session->state, pod);
    return found ? kube_state_zone(session->state, found) : "no such pod";
}

static bool has_node_zone(void *ctx)
{
    const struct session *session = ctx;
    return strcmp(zone_of(session, "db-2"), session->wanted_zone) == 0;
}

static void expect_zone(struct session *session, const char *zone)
{
    session->wanted_zone = zone;
    if (!io_run_until(session->loop, has_node_zone, session, 3000))
        fail_msg("the zone of db-2 is '%s', not '%s'", zone_of(session, "db-2"), zone);
}

static bool has_four_watches(void *ctx)
{
    const struct session *session = ctx;
    return io_count_lines(session->script.shared, "watch=true") == 4;
}

static void test_everything_is_found_from_the_own_pod(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "", 0);
    assert_string_equal(kube_state_set_name(session.state), "");
    assert_null(kube_state_set(session.state));
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    assert_true(session.changes > 0);
    const struct kube_stateful_set *set = kube_state_set(session.state);
    assert_non_null(set);
    assert_string_equal(kube_state_set_name(session.state), "db");
    assert_string_equal(set->meta.uid, "set-1");
    assert_int_equal(set->replicas, 3);
    size_t count;
    const struct kube_pod *pods = kube_state_pods(session.state, &count);
    assert_int_equal(count, 3);
    assert_string_equal(pods[2].meta.name, "db-2");
    assert_string_equal(pods[2].ip, "10.0.0.3");

    const struct record *record;
    assert_int_equal(kube_state_record(session.state, &record), PRESENCE_PRESENT);
    assert_non_null(record);
    assert_int_equal(record->generation, 4);
    assert_int_equal(record->member_count, 1);
    assert_string_equal(kube_state_record_version(session.state), "7");
    assert_string_equal(kube_state_problem(session.state), "");

    /* By the label, by the endpoint, by the node. */
    expect_zone(&session, "node-zone");
    assert_string_equal(zone_of(&session, "db-0"), "label-zone");
    assert_string_equal(zone_of(&session, "db-1"), "slice-zone");
    const struct io_shared *shared = session.script.shared;
    assert_true(io_run_until(session.loop, has_four_watches, &session, 2000));
    assert_int_equal(io_count_lines(shared, "labelSelector=app%3Ddb&"), 2); /* list and watch */
    assert_int_equal(io_count_lines(shared, "fieldSelector=metadata.name%3Ddb&"), 2);
    assert_int_equal(io_count_lines(shared, "fieldSelector=metadata.name%3Ddb-muster&"), 2);
    assert_int_equal(io_count_lines(shared, "kubernetes.io%2Fservice-name%3Ddb-all&"), 2);
    assert_int_equal(io_count_lines(shared, "/nodes/"), 1); /* only where it was needed */
    session_close(&session);
}

static bool owners_were_asked(void *ctx)
{
    const struct session *session = ctx;
    return io_count_lines(session->script.shared, "resourceVersion=0") > 0;
}

static void test_of_a_large_set_only_the_leader_watches_the_pods(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "", LARGE);
    const struct io_shared *shared = session.script.shared;
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    assert_true(io_run_until(session.loop, has_four_watches, &session, 2000));
    assert_int_equal(io_count_lines(shared, "labelSelector=app%3Ddb&"), 0);
    size_t count;
    const struct kube_pod *pods = kube_state_pods(session.state, &count);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) { /* the own one by itself, the others by their endpoints */
        assert_int_equal(pods[i].ordinal, i);
        assert_string_equal(pods[i].controller.uid, i < 3 ? "set-1" : "");
    }
    assert_string_equal(pods[1].meta.uid, "pod-1");
    assert_string_equal(pods[1].ip, "10.0.0.2");
    assert_string_equal(pods[1].node, "node-1");
    assert_string_equal(zone_of(&session, "db-0"), "label-zone");
    assert_string_equal(zone_of(&session, "db-1"), "slice-zone");

    kube_state_lead(session.state, true);
    assert_int_equal(kube_state_seen_ms(session.state), 0); /* the pods were not listed yet */
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    assert_true(io_count_lines(shared, "labelSelector=app%3Ddb&") > 0);
    session_close(&session);
}

/* Asked for by name, and of a server that does not know metadata only as well. */
static void test_an_endpoint_counts_once_its_owner_is_known(void **state)
{
    (void)state;
    static const int forms[] = {LARGE, LARGE | WHOLE_PODS};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct session session;
        size_t count;
        session_open(&session, "", forms[i] | NO_OWNERS);
        struct io_shared *shared = session.script.shared;
        assert_true(io_run_until(session.loop, has_four_watches, &session, 3000));
        assert_true(io_run_until(session.loop, owners_were_asked, &session, 3000));
        (void)loop_run_for(session.loop, 100);
        (void)kube_state_pods(session.state, &count);
        assert_int_equal(count, 1); /* the own one */
        assert_false(is_complete(&session));
        assert_non_null(strstr(kube_state_problem(session.state), "owners of pods: LIST "));
        assert_true(io_count_lines(shared, "labelSelector=app%3Ddb%2Cstatefulset.kubernetes.io%2F"
                                           "pod-name%20in%20%28db-1%2Cdb-2%2Cdb-3%29&") > 0);

        shared->stage = forms[i];
        assert_true(io_run_until(session.loop, is_complete, &session, 5000));
        const struct kube_pod *pods = kube_state_pods(session.state, &count);
        assert_int_equal(count, 4);
        assert_string_equal(pods[2].controller.uid, "set-1");
        assert_string_equal(pods[3].controller.uid, "");
        assert_string_equal(kube_state_problem(session.state), "");
        session_close(&session);
    }
}

static void test_a_stranger_is_asked_for_ever_more_seldom(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "", LARGE);
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    (void)loop_run_for(session.loop, 4000);
    const struct io_shared *shared = session.script.shared;
    int asked = io_count_lines(shared, "pod-name%20in%20%28db-3%29&");
    if (asked < 1 || asked > 3)
        fail_msg("asked for db-3 %d times in 4 s", asked);
    assert_int_equal(io_count_lines(shared, "resourceVersion=0"), asked + 1);
    session_close(&session);
}

static void test_without_slices_every_agent_watches_the_pods(void **state)
{
    (void)state;
    struct session session;
    size_t count;
    session_open(&session, "", LARGE | NO_SLICES);
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    (void)kube_state_pods(session.state, &count);
    assert_int_equal(count, 3);
    assert_true(io_count_lines(session.script.shared, "labelSelector=app%3Ddb&") > 0);
    session_close(&session);
}

static void test_a_configured_name_needs_no_own_pod(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "db", ORPHAN);
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    assert_int_equal(io_count_lines(session.script.shared, "/pods/db-0"), 0);
    session_close(&session);
}

static void test_a_pod_without_a_set_says_so(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "", ORPHAN);
    (void)loop_run_for(session.loop, 700);
    assert_string_equal(kube_state_set_name(session.state), "");
    assert_non_null(strstr(kube_state_problem(session.state), "not by a StatefulSet"));
    session.script.shared->stage = 0; /* and goes on looking */
    assert_true(io_run_until(session.loop, is_complete, &session, 5000));
    session_close(&session);
}

/* FAULTS A11: neither right is necessary. */
static void test_without_the_rights_zones_stay_unknown(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "", NO_SLICES | NO_NODES);
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    (void)loop_run_for(session.loop, 500);
    assert_string_equal(zone_of(&session, "db-0"), "label-zone");
    assert_string_equal(zone_of(&session, "db-1"), "");
    assert_string_equal(zone_of(&session, "db-2"), "");
    assert_string_equal(kube_state_problem(session.state), "");
    assert_int_equal(io_count_lines(session.script.shared, "/nodes/"), 1); /* once and for all */
    session_close(&session);
}

static bool record_is_absent(void *ctx)
{
    const struct session *session = ctx;
    const struct record *record;
    return kube_state_record(session->state, &record) == PRESENCE_ABSENT && !record;
}

static void test_a_deleted_record_leaves_a_copy(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "", 0);
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    (void)loop_run_for(session.loop, 200);
    session.script.shared->stage = NO_RECORD;
    assert_true(io_run_until(session.loop, record_is_absent, &session, 3000));
    assert_string_equal(kube_state_record_version(session.state), ""); /* to be created */
    assert_non_null(kube_state_record_copy(session.state));
    assert_int_equal(kube_state_record_copy(session.state)->generation, 4);

    struct record written = *kube_state_record_copy(session.state);
    written.generation = 5;
    written.members = NULL;
    written.member_count = 0;
    kube_state_record_written(session.state, &written, "99");
    const struct record *record;
    assert_int_equal(kube_state_record(session.state, &record), PRESENCE_PRESENT);
    assert_int_equal(record->generation, 5);
    assert_string_equal(kube_state_record_version(session.state), "99");
    session_close(&session);
}

static void test_absent_and_unreadable_records_are_told_apart(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "", NO_RECORD);
    const struct record *record;
    assert_int_equal(kube_state_record(session.state, &record), PRESENCE_UNKNOWN);
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    assert_true(record_is_absent(&session));
    assert_null(kube_state_record_copy(session.state));
    session_close(&session);

    session_open(&session, "", BAD_RECORD);
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    assert_int_equal(kube_state_record(session.state, &record), PRESENCE_PRESENT);
    assert_null(record);
    assert_string_equal(kube_state_record_version(session.state), "7");
    assert_true(strlen(kube_state_problem(session.state)) > 0);
    session_close(&session);
}

static bool has_second_pods(void *ctx)
{
    const struct session *session = ctx;
    const struct kube_pod *pod = kube_state_find_pod(session->state, "db-1");
    return pod && strcmp(pod->controller.uid, "set-2") == 0;
}

static void test_a_set_that_was_created_again_has_its_pods_read_anew(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "", 0);
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    (void)loop_run_for(session.loop, 200);
    session.script.shared->stage = REBORN;
    assert_true(io_run_until(session.loop, has_second_pods, &session, 3000));
    assert_string_equal(kube_state_set(session.state)->meta.uid, "set-2");
    session_close(&session);
}

static bool follows_other(void *ctx)
{
    const struct session *session = ctx;
    return strcmp(kube_state_set_name(session->state), "other") == 0;
}

static void test_the_own_pod_leads_to_another_set(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "", OTHER);
    assert_true(io_run_until(session.loop, follows_other, &session, 3000));
    assert_null(kube_state_set(session.state)); /* the API has none of that name */
    session_close(&session);
}

static bool set_is_absent(void *ctx)
{
    const struct session *session = ctx;
    return kube_state_set_absent(session->state);
}

static void test_a_deleted_set_leaves_what_it_was(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "", 0);
    assert_false(kube_state_set_absent(session.state)); /* nothing was told yet */
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    assert_true(io_run_until(session.loop, has_four_watches, &session, 2000));
    assert_false(kube_state_set_absent(session.state));
    session.script.shared->stage = GONE;
    assert_true(io_run_until(session.loop, set_is_absent, &session, 3000));
    assert_string_equal(kube_state_set(session.state)->meta.uid, "set-1");
    assert_string_equal(kube_state_set_name(session.state), "db");
    size_t count;
    (void)kube_state_pods(session.state, &count);
    assert_int_equal(count, 3);
    session_close(&session);
}

static void test_an_api_that_is_gone_keeps_what_was_known(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, "", 0);
    assert_true(io_run_until(session.loop, is_complete, &session, 3000));
    (void)loop_run_for(session.loop, 100);
    io_script_stop(&session.script);
    int64_t seen_ms = kube_state_seen_ms(session.state);
    (void)loop_run_for(session.loop, 700);
    size_t count;
    (void)kube_state_pods(session.state, &count);
    assert_int_equal(count, 3);
    assert_int_equal(kube_state_seen_ms(session.state), seen_ms); /* and its age shows */
    assert_true(strlen(kube_state_problem(session.state)) > 0);
    io_script_start(&session.script, serve_api);
    session_close(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_is_found_from_the_own_pod),
        cmocka_unit_test(test_of_a_large_set_only_the_leader_watches_the_pods),
        cmocka_unit_test(test_an_endpoint_counts_once_its_owner_is_known),
        cmocka_unit_test(test_a_stranger_is_asked_for_ever_more_seldom),
        cmocka_unit_test(test_without_slices_every_agent_watches_the_pods),
        cmocka_unit_test(test_a_configured_name_needs_no_own_pod),
        cmocka_unit_test(test_a_pod_without_a_set_says_so),
        cmocka_unit_test(test_without_the_rights_zones_stay_unknown),
        cmocka_unit_test(test_a_deleted_record_leaves_a_copy),
        cmocka_unit_test(test_absent_and_unreadable_records_are_told_apart),
        cmocka_unit_test(test_a_set_that_was_created_again_has_its_pods_read_anew),
        cmocka_unit_test(test_the_own_pod_leads_to_another_set),
        cmocka_unit_test(test_a_deleted_set_leaves_what_it_was),
        cmocka_unit_test(test_an_api_that_is_gone_keeps_what_was_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
