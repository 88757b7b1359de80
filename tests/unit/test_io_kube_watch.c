/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/rng.h"
#include "io/clock.h"
#include "io/kube_watch.h"
#include "unit/io_pods.h"
#include "unit/io_script.h"

#define NAMES_SIZE 256

struct session {
    struct loop *loop;
    struct io_script script;
    struct kube_client *client;
    struct kube_watch *watch;
    char now[NAMES_SIZE];    /* names of the table: "db-0 db-1 " */
    char staged[NAMES_SIZE]; /* of the list under way */
    int begins;
    int commits;
    int states;
    const char *wanted;
    bool free_on_event;
};

static void on_begin(void *ctx)
{
    struct session *session = ctx;
    session->begins++;
    session->staged[0] = '\0';
}

static void on_item(void *ctx, const struct kube_object *object)
{
    struct session *session = ctx;
    text_append(session->staged, NAMES_SIZE, "%s ", object->meta.name);
}

static void on_commit(void *ctx)
{
    struct session *session = ctx;
    session->commits++;
    memcpy(session->now, session->staged, NAMES_SIZE);
}

static void on_event(void *ctx, enum kube_watch_type type, const struct kube_object *object)
{
    struct session *session = ctx;
    char word[NAMES_SIZE];
    text_format(word, sizeof word, "%s ", object->meta.name);
    char *found = strstr(session->now, word);
    if (type == KUBE_DELETED && found)
        memmove(found, found + strlen(word), strlen(found + strlen(word)) + 1);
    else if (type != KUBE_DELETED && !found)
        text_append(session->now, NAMES_SIZE, "%s", word);
    if (session->free_on_event) {
        kube_watch_free(session->watch);
        session->watch = NULL;
    }
}

static void on_state(void *ctx)
{
    struct session *session = ctx;
    session->states++;
}

static void session_open(struct session *session, io_serve_fn serve, int64_t silence_ms)
{
    *session = (struct session){.loop = loop_new(NULL)};
    io_script_start(&session->script, serve);
    char url[64];
    text_format(url, sizeof url, "http://127.0.0.1:%u", session->script.port);
    struct kube_client_config config = {.api_server = url, .ns = "ns"};
    session->client = kube_client_new(session->loop, &config, NULL);
    assert_non_null(session->client);
    struct kube_watch_config watch = {
        .what = "pods",
        .group = "",
        .resource = "pods",
        .kind = KUBE_POD,
        .label_selector = "app=db",
        .store = {on_begin, on_item, on_commit, on_event, on_state, session},
        .seed = 1,
        .silence_ms = silence_ms,
    };
    session->watch = kube_watch_new(session->loop, session->client, &watch);
}

static void session_close(struct session *session)
{
    kube_watch_free(session->watch);
    kube_client_free(session->client);
    loop_free(session->loop);
    io_script_stop(&session->script);
}

static bool holds_now(void *ctx)
{
    const struct session *session = ctx;
    return strcmp(session->now, session->wanted) == 0;
}

static void expect(struct session *session, const char *names)
{
    session->wanted = names;
    if (!io_run_until(session->loop, holds_now, session, 5000))
        fail_msg("the table is '%s', not '%s'", session->now, names);
}

static int lists(const struct session *session)
{
    return io_count_lines(session->script.shared, "limit=");
}

static int watches(const struct session *session)
{
    return io_count_lines(session->script.shared, "watch=true");
}

static bool holds_live(void *ctx)
{
    const struct session *session = ctx;
    return kube_watch_live(session->watch);
}

/* ---- what the scripted API server says ---- */

#define GONE                                                                                     \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"too old\"," \
    "\"reason\":\"Expired\",\"code\":410}"

static bool is_watch(const struct io_shared *shared, int at)
{
    return strstr(shared->lines[at], "watch=true") != NULL;
}

static bool has(const struct io_shared *shared, int at, const char *text)
{
    return strstr(shared->lines[at], text) != NULL;
}

/* ---- promises ---- */

static void serve_pages(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        if (has(shared, at, "continue=c%2F2")) {
            while (shared->stage < 1)
                (void)usleep(2000);
            io_answer_list(fd, 10, "", "db-2", NULL);
        } else if (!is_watch(shared, at)) {
            io_answer_list(fd, 10, "c/2", "db-0", "db-1");
        } else {
            io_http_open(fd);
            io_send_event(fd, "ADDED", "db-3", 11);
            io_send_event(fd, "MODIFIED", "db-3", 12);
            io_send_event(fd, "DELETED", "db-0", 13);
            io_hold(fd);
        }
    }
}

static void test_a_list_replaces_only_when_its_last_page_is_here(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_pages, 0);
    (void)loop_run_for(session.loop, 200);
    assert_string_equal(session.staged, "db-0 db-1 ");
    assert_string_equal(session.now, "");
    assert_false(kube_watch_synced(session.watch));
    assert_int_equal(kube_watch_seen_ms(session.watch), 0);
    session.script.shared->stage = 1;
    expect(&session, "db-1 db-2 db-3 ");
    assert_true(kube_watch_synced(session.watch) && kube_watch_live(session.watch));
    assert_int_equal(session.begins, 1);
    assert_int_equal(session.commits, 1);
    assert_int_equal(session.states, 1);
    const struct io_shared *shared = session.script.shared;
    assert_string_equal(shared->lines[0],
                        "GET /api/v1/namespaces/ns/pods?labelSelector=app%3Ddb&limit=100 HTTP/1.1");
    assert_true(has(shared, 2, "labelSelector=app%3Ddb") && has(shared, 2, "watch=true"));
    assert_true(has(shared, 2, "allowWatchBookmarks=true"));
    assert_true(has(shared, 2, "resourceVersion=10"));
    uint64_t seconds = 0;
    const char *limit = strstr(shared->lines[2], "timeoutSeconds=");
    assert_non_null(limit);
    assert_true(text_to_u64((struct span){limit + strlen("timeoutSeconds="), 3}, 999, &seconds));
    assert_in_range(seconds, 240, 300);
    session_close(&session);
}

static void serve_bookmarks(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        if (!is_watch(shared, at)) {
            io_answer_list(fd, 10, "", "db-0", NULL);
        } else if (has(shared, at, "resourceVersion=10&")) {
            io_http_open(fd);
            io_send_bookmark(fd, 77);
            (void)usleep(1100000);
            io_http_chunk(fd, ""); /* the regular end, and the connection stays */
        } else {
            io_http_open(fd);
            io_send_event(fd, "ADDED", "db-1", 78);
            io_hold(fd);
        }
    }
}

static void test_a_watch_that_ends_goes_on_from_its_bookmark(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_bookmarks, 0);
    expect(&session, "db-0 db-1 ");
    assert_int_equal(lists(&session), 1);
    assert_int_equal(io_count_lines(session.script.shared, "resourceVersion=77&"), 1);
    assert_int_equal(session.states, 1); /* the regular end is no loss */
    session_close(&session);
}

/* FAULTS A1: 410 as a status, as an event, and on a continuation. */
static void serve_gone(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        if (has(shared, at, "continue=")) {
            io_http_answer(fd, 410, "", GONE);
        } else if (is_watch(shared, at)) {
            int stage = atomic_fetch_add(&shared->stage, 1);
            if (stage == 0) {
                io_http_answer(fd, 410, "", GONE);
                continue;
            }
            io_http_open(fd);
            if (stage == 1)
                io_http_chunk(fd, "{\"type\":\"ERROR\",\"object\":" GONE "}\n");
            io_hold(fd);
        } else {
            int count = io_count_lines(shared, "limit=");
            static const char *const names[] = {"db-a", "db-b", "db-x", "db-d"};
            const char *name = names[count < 4 ? count - 1 : 3];
            io_answer_list(fd, 10 + count, count == 3 ? "next" : "", name, NULL);
        }
    }
}

static void test_gone_means_a_new_list_wherever_it_is_said(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_gone, 0);
    /* db-a, 410 -> db-b, ERROR event -> first page of db-x, 410 on the second -> db-d */
    expect(&session, "db-d ");
    assert_int_equal(session.commits, 3); /* db-x was never the truth */
    assert_true(io_run_until(session.loop, holds_live, &session, 2000));
    session_close(&session);
}

/* FAULTS A1: as after a restart of the API server, which opens every watch and then does not know its version. */
static void serve_gone_after_a_loss(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        if (!is_watch(shared, at)) {
            while (shared->stage == 2)
                (void)usleep(2000);
            io_answer_list(fd, 10, "", "db-0", NULL);
            continue;
        }
        int stage = atomic_fetch_add(&shared->stage, 1);
        io_http_open(fd);
        if (stage == 0)
            return;
        if (stage == 1)
            io_http_chunk(fd, "{\"type\":\"ERROR\",\"object\":" GONE "}\n");
        io_hold(fd);
    }
}

static bool holds_lost(void *ctx)
{
    const struct session *session = ctx;
    return session->states == 2; /* live, and no more */
}

static bool holds_listed(void *ctx)
{
    return lists(ctx) == 2;
}

static void test_a_watch_that_is_refused_once_open_has_said_nothing(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_gone_after_a_loss, 0);
    assert_true(io_run_until(session.loop, holds_lost, &session, 2000));
    int64_t heard_ms = kube_watch_seen_ms(session.watch);
    assert_true(io_run_until(session.loop, holds_listed, &session, 5000));
    assert_int_equal(watches(&session), 2);
    assert_int_equal(kube_watch_seen_ms(session.watch), heard_ms);
    session.script.shared->stage = 3;
    assert_true(io_run_until(session.loop, holds_live, &session, 2000));
    assert_true(kube_watch_seen_ms(session.watch) > heard_ms);
    session_close(&session);
}

/* FAULTS A6: cut within a chunk and within a line; and a line that is no JSON. */
static void serve_cuts(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        if (!is_watch(shared, at)) {
            io_answer_list(fd, shared->stage ? 20 : 10, "", "db-0", NULL);
            continue;
        }
        int stage = atomic_fetch_add(&shared->stage, 1);
        io_http_open(fd);
        if (stage == 0) {
            io_send_event(fd, "ADDED", "db-1", 11);
            io_send(fd, "40\r\n{\"type\":\"DELETED\",\"object\":{\"kind\"");
            return;
        }
        if (stage == 1) { /* the line is whole in chunks, but cut by the end of the stream */
            io_http_chunk(fd, "{\"type\":\"DELETED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{");
            return;
        }
        if (stage > 2)
            (void)usleep(200000); /* so that the list alone can be seen */
        io_send_event(fd, "ADDED", "db-2", 12 + 10 * (stage > 2));
        if (stage == 2)
            io_http_chunk(fd, "{\"type\":\"DELETED\",\"object\":{\"kind\":\n");
        io_hold(fd);
    }
}

static void test_half_an_object_is_never_believed(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_cuts, 0);
    expect(&session, "db-0 db-1 db-2 ");
    assert_int_equal(lists(&session), 1); /* cut off: the same versions can be watched again */
    assert_int_equal(io_count_lines(session.script.shared, "resourceVersion=11&"), 2);
    expect(&session, "db-0 "); /* not understood: list again */
    assert_int_equal(lists(&session), 2);
    expect(&session, "db-0 db-2 ");
    session_close(&session);
}

/* FAULTS A5 */
static void serve_busy(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        if (is_watch(shared, at)) {
            io_http_open(fd);
            io_hold(fd);
        } else if (atomic_fetch_add(&shared->stage, 1) == 0) {
            io_http_answer(fd, 429, "Retry-After: 1\r\n", "");
        } else {
            io_answer_list(fd, 10, "", "db-0", NULL);
        }
    }
}

static void test_retry_after_is_obeyed(void **state)
{
    (void)state;
    struct session session;
    int64_t start_ms = clock_mono_ms();
    session_open(&session, serve_busy, 0);
    expect(&session, "db-0 ");
    assert_in_range(clock_mono_ms() - start_ms, 1000, 2200);
    assert_int_equal(lists(&session), 2);
    session_close(&session);
}

static void serve_silence(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        if (is_watch(shared, at)) {
            io_http_open(fd);
            for (int i = 0; i < 5 && shared->stage == 0; i++) {
                io_send_bookmark(fd, 11 + i);
                (void)usleep(200000);
            }
            shared->stage = 1;
            io_hold(fd);
        } else {
            io_answer_list(fd, 20, "", shared->stage ? "db-1" : "db-0", NULL);
        }
    }
}

/* FAULTS A3: the connection is open, but nothing comes any more. */
static void test_a_silent_watch_is_given_up(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_silence, 500);
    expect(&session, "db-0 ");
    (void)loop_run_for(session.loop, 800);
    assert_int_equal(lists(&session), 1); /* bookmarks are words enough */
    assert_true(kube_watch_live(session.watch));
    expect(&session, "db-1 ");
    assert_int_equal(lists(&session), 2);
    assert_true(session.states >= 2); /* live, lost */
    session_close(&session);
}

/* FAULTS A2: a list from the past is not the truth. */
/* Stage 1: its watch ends in an error, and so does all else; stage 2: well again. */
static void serve_an_outage(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        if (shared->stage == 1) {
            io_http_answer(fd, 500, "", "{}");
        } else if (!is_watch(shared, at)) {
            io_answer_list(fd, 10 + 10 * shared->stage, "", "db-0", NULL);
        } else if (shared->stage == 2) {
            io_http_open(fd);
            io_hold(fd);
        } else {
            io_http_open(fd);
            io_send_bookmark(fd, 11);
            while (shared->stage == 0)
                (void)usleep(2000);
            io_http_chunk(fd, "{\"type\":\"ERROR\",\"object\":" GONE "}\n");
        }
    }
}

/* What has gone and come during an outage is known only when it is listed again (seed 3300). */
static void test_a_watch_is_broken_until_it_is_listed_again(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_an_outage, 0);
    expect(&session, "db-0 ");
    assert_true(io_run_until(session.loop, holds_live, &session, 1000));
    (void)loop_run_for(session.loop, KUBE_WATCH_BROKEN_MS + 200);
    assert_false(kube_watch_broken(session.watch)); /* silent, but open */
    session.script.shared->stage = 1;
    (void)loop_run_for(session.loop, 1000);
    assert_false(kube_watch_live(session.watch));
    (void)loop_run_for(session.loop, KUBE_WATCH_BROKEN_MS);
    assert_true(kube_watch_broken(session.watch));
    session.script.shared->stage = 2;
    assert_true(io_run_until(session.loop, holds_live, &session, 15000));
    assert_false(kube_watch_broken(session.watch));
    session_close(&session);
}

static void serve_past(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        if (is_watch(shared, at)) {
            if (atomic_fetch_add(&shared->stage, 1) == 0) {
                io_http_open(fd);
                io_send_event(fd, "ADDED", "db-1", 500);
                io_http_chunk(fd, "{\"type\":\"ERROR\",\"object\":" GONE "}\n");
            } else {
                io_http_open(fd);
            }
            io_hold(fd);
        } else {
            int count = io_count_lines(shared, "limit=");
            if (count == 1 || count == 2) /* 100 is older than 500 */
                io_answer_list(fd, 100, "", "db-0", NULL);
            else
                io_answer_list(fd, 501, "", "db-2", NULL);
        }
    }
}

static void test_a_list_from_the_past_is_refused(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_past, 0);
    expect(&session, "db-0 db-1 ");
    expect(&session, "db-2 ");
    assert_int_equal(session.commits, 2);
    assert_int_equal(lists(&session), 3);
    session_close(&session);
}

/* FAULTS A11 */
static void serve_denied(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    while (io_http_read(fd, shared, NULL, 0) >= 0)
        io_http_answer(fd, 403, "",
                       "{\"kind\":\"Status\",\"message\":\"pods is forbidden\",\"code\":403}");
}

static bool holds_denied(void *ctx)
{
    const struct session *session = ctx;
    return kube_watch_denied(session->watch);
}

static void test_missing_rights_are_told_and_retried_slowly(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_denied, 0);
    assert_true(io_run_until(session.loop, holds_denied, &session, 1000));
    assert_non_null(strstr(kube_watch_problem(session.watch), "pods is forbidden"));
    (void)loop_run_for(session.loop, 1500);
    assert_int_equal(session.states, 1);
    assert_in_range(lists(&session), 2, 4);
    session_close(&session);
}

/* FAULTS A6: a server that accepts every watch and breaks it must not be stormed. */
static void serve_breaker(int fd, struct io_shared *shared, int nth)
{
    (void)nth;
    for (int at; (at = io_http_read(fd, shared, NULL, 0)) >= 0;) {
        if (!is_watch(shared, at)) {
            io_answer_list(fd, 10, "", "db-0", NULL);
            continue;
        }
        io_http_open(fd);
        if (shared->stage == 1)
            io_http_chunk(fd, "nonsense\n");
        io_http_chunk(fd, "");
    }
}

static void test_a_server_that_ends_every_watch_is_not_stormed(void **state)
{
    (void)state;
    for (int nonsense = 0; nonsense < 2; nonsense++) {
        struct session session;
        session_open(&session, serve_breaker, 0);
        session.script.shared->stage = nonsense;
        (void)loop_run_for(session.loop, 1500);
        assert_in_range(watches(&session), 2, 5);
        session_close(&session);
    }
}

/* Whatever happened before: who waits for the API to form a cluster waits so much longer at most. */
static void test_tries_are_at_most_ten_seconds_apart(void **state)
{
    (void)state;
    struct rng rng = {.state = 7};
    int64_t least_ms = INT64_MAX;
    for (unsigned failures = 1; failures < 1000; failures++) {
        int64_t delay_ms =
            backoff_ms(&rng, failures, KUBE_WATCH_BACKOFF_MS, KUBE_WATCH_BACKOFF_CAP_MS);
        assert_true(delay_ms <= 10000);
        if (failures > 10 && delay_ms < least_ms)
            least_ms = delay_ms;
    }
    assert_true(least_ms >= 5000); /* 400 watches of a hundred agents: 80 requests a second */
}

static void test_a_watch_may_be_freed_by_its_own_store(void **state)
{
    (void)state;
    struct session session;
    session_open(&session, serve_pages, 0);
    session.script.shared->stage = 1;
    session.free_on_event = true;
    expect(&session, "db-0 db-1 db-2 db-3 "); /* the first event, and none after it */
    (void)loop_run_for(session.loop, 200);
    assert_string_equal(session.now, "db-0 db-1 db-2 db-3 ");
    session_close(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_replaces_only_when_its_last_page_is_here),
        cmocka_unit_test(test_a_watch_that_ends_goes_on_from_its_bookmark),
        cmocka_unit_test(test_gone_means_a_new_list_wherever_it_is_said),
        cmocka_unit_test(test_a_watch_that_is_refused_once_open_has_said_nothing),
        cmocka_unit_test(test_half_an_object_is_never_believed),
        cmocka_unit_test(test_retry_after_is_obeyed),
        cmocka_unit_test(test_a_silent_watch_is_given_up),
        cmocka_unit_test(test_a_watch_is_broken_until_it_is_listed_again),
        cmocka_unit_test(test_a_list_from_the_past_is_refused),
        cmocka_unit_test(test_missing_rights_are_told_and_retried_slowly),
        cmocka_unit_test(test_a_server_that_ends_every_watch_is_not_stormed),
        cmocka_unit_test(test_tries_are_at_most_ten_seconds_apart),
        cmocka_unit_test(test_a_watch_may_be_freed_by_its_own_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
