/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/http_get.h"
#include "cli/show.h"
#include "io/clock.h"
#include "io/http_server.h"
#include "lib/golden.h"
#include "lib/world_build.h"
#include "wire/status_json.h"

/* Two agents on 127.0.0.1 (who is asked) and 127.0.0.2 (the leader), at one port, in a child. */

enum { ASKED, LEADER, AGENTS };

struct fixture {
    struct arena arena;
    struct facts facts;
    struct plan plan;
    struct status status;
    struct event_base *base;
    struct http_server *servers[AGENTS];
    uint16_t port;
    pid_t child;
    char *out; /* of the last run; owned */
    char *err;
};

static const char *env_values[8][2];

static const char *test_env(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(env_values) && env_values[i][0]; i++)
        if (strcmp(env_values[i][0], name) == 0)
            return env_values[i][1];
    return NULL;
}

static void set_env(const char *name, const char *value)
{
    size_t i = 0;
    while (env_values[i][0])
        i++;
    assert_true(i + 1 < ARRAY_LEN(env_values));
    env_values[i][0] = name;
    env_values[i][1] = value;
}

static struct http_server *serve_at(struct fixture *f, const char *address)
{
    const struct http_server_config config = {
        .base = f->base, .address = address, .port = f->port, .now_ms = clock_mono_ms};
    struct http_server *server = NULL;
    struct err err = {0};
    if (http_server_new(&config, &server, &err) < 0)
        fail_msg("%s", err.msg);
    return server;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    memset(env_values, 0, sizeof env_values);
    f->plan = (struct plan){.rule = "steady", .reason = "nothing to do"};
    arena_init(&f->arena, TURN_ARENA_MAX);
    f->base = event_base_new();
    assert_non_null(f->base);
    f->servers[ASKED] = serve_at(f, "127.0.0.1");
    f->port = http_server_port(f->servers[ASKED]);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->child > 0) {
        (void)kill(f->child, SIGKILL);
        (void)waitpid(f->child, NULL, 0);
    }
    for (int i = 0; i < AGENTS; i++)
        http_server_free(f->servers[i]);
    event_base_free(f->base);
    arena_deinit(&f->arena);
    free(f->out);
    free(f->err);
    free(f);
    return 0;
}

/* What the agent of `pod` says of this world; the leader's pod has the address of our leader. */
static void say(struct fixture *f, int agent, struct world_build *b)
{
    auto_buf struct buf text;
    const struct world *world = world_build_refresh(b);
    facts_gather(world, &f->arena, &f->facts);
    status_gather(world, &f->facts, &f->plan, &f->arena, &f->status);
    buf_init(&text, STATUS_JSON_MAX);
    assert_int_equal(status_json_format(&text, &f->status), 0);
    http_server_publish(f->servers[agent], HTTP_PAGE_STATUS,
                        (struct span){buf_str(&text), text.len});
}

/* From here on the pages are served. */
static void start(struct fixture *f)
{
    f->child = fork();
    assert_true(f->child >= 0);
    if (f->child > 0)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (event_reinit(f->base) == 0)
        (void)event_base_loop(f->base, 0);
    _exit(1);
}

static int run_with(struct fixture *f, bool tty, unsigned frames, const char *const *words)
{
    size_t len;
    free(f->out);
    free(f->err);
    FILE *out = open_memstream(&f->out, &len);
    FILE *err = open_memstream(&f->err, &len);
    assert_true(out && err);
    const struct cli cli = {.out = out, .err = err, .env = test_env, .tty = tty, .frames = frames};
    char *argv[16];
    int argc = 0;
    for (; words[argc]; argc++)
        argv[argc] = xstrdup(words[argc]); /* as main() gets them: not constant */
    argv[argc] = NULL;
    int code = cli_run(&cli, argc, argv);
    while (argc)
        free(argv[--argc]);
    (void)fclose(out);
    (void)fclose(err);
    return code;
}

#define RUN_AS(f, tty, frames, ...) \
    run_with((f), (tty), (frames), (const char *const[]){"muster", __VA_ARGS__, NULL})
#define RUN(f, ...) RUN_AS(f, false, 1, __VA_ARGS__)

static char *address_of(const struct fixture *f)
{
    static char address[32];
    text_format(address, sizeof address, "127.0.0.1:%u", f->port);
    return address;
}

static struct world_build *degraded(struct fixture *f)
{
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    world_build_lose(b, 5);
    b->nodes[0].open[0] = (struct open_slot){93, false, b->nodes[1].id};
    b->nodes[0].open_count = 1;
    b->pods[3].terminating = true;
    b->pods[2].agent = AGENT_SILENT;
    b->pods[4].server.offset = 1;
    return b;
}

/* ---- What is shown ---- */

static void test_status_of_a_healthy_cluster(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, world_build_formed(&f->arena, 3, 6));
    start(f);
    assert_int_equal(RUN(f, "status", "--address", address_of(f)), CLI_OK);
    assert_string_equal(f->err, "");
    golden_assert_text("cli_status_ok.txt", f->out);
}

static void test_status_of_a_degraded_cluster(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, degraded(f));
    start(f);
    assert_int_equal(RUN(f, "status", "--address", address_of(f)), CLI_OK);
    golden_assert_text("cli_status_degraded.txt", f->out);
}

static void test_status_before_the_formation(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_virgin(&f->arena, 3);
    b->pods[2].server.reach = REACH_TIMEOUT;
    b->pods[2].server.seen_ms = 0;
    b->pods[2].ready = false;
    b->pods[2].node[0] = b->pods[2].zone[0] = '\0';
    f->plan.reason[0] = '\0';
    text_format(f->plan.reason, sizeof f->plan.reason, "waiting for muster-2 (does not answer)");
    say(f, ASKED, b);
    start(f);
    assert_int_equal(RUN(f, "status", "--address", address_of(f)), CLI_OK);
    golden_assert_text("cli_status_forming.txt", f->out);
}

static void test_check_of_a_degraded_cluster(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, degraded(f));
    start(f);
    assert_int_equal(RUN(f, "check", "--address", address_of(f)), CHECK_PROMISE);
    golden_assert_text("cli_check_degraded.txt", f->out);
}

static void test_plan_shows_reason_actions_and_rules(void **state)
{
    struct fixture *f = *state;
    struct action action = {.kind = ACTION_MEET, .ip = "10.0.0.3", .port = 6379};
    f->plan = (struct plan){
        .rule = plan_rule_name(1), .reason = "because", .actions = &action, .action_count = 1};
    say(f, ASKED, world_build_virgin(&f->arena, 3));
    start(f);
    assert_int_equal(RUN(f, "plan", "--address", address_of(f)), CLI_OK);
    char want[256];
    text_format(want, sizeof want,
                "leader: muster-0\nrule: %s\nnow: because\nactions:\n"
                "  CLUSTER MEET 10.0.0.3 6379\n\nThe rules, ",
                plan_rule_name(1));
    assert_ptr_equal(strstr(f->out, want), f->out);
    const char *last = f->out;
    for (size_t i = 0; plan_rule_name(i); i++) {
        text_format(want, sizeof want, "\n%s %s ", i == 1 ? ">" : " ", plan_rule_name(i));
        const char *at = strstr(f->out, want);
        assert_non_null(at);
        assert_true(at > last);
        assert_non_null(strstr(at, plan_rule_purpose(i)));
        last = at;
    }
}

static void test_plan_without_actions(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, world_build_formed(&f->arena, 3, 6));
    start(f);
    assert_int_equal(RUN(f, "plan", "--address", address_of(f)), CLI_OK);
    assert_non_null(strstr(f->out, "now: nothing to do\nactions: none\n"));
}

/* ---- plan --replicas ---- */

static struct world_build *with_limits(struct fixture *f, int64_t max)
{
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    for (size_t i = 0; i < 6; i++)
        b->pods[i].server.memory_max = max;
    return b;
}

static void test_plan_of_more_pods(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, with_limits(f, 0));
    start(f);
    assert_int_equal(RUN(f, "plan", "--replicas", "9", "--address", address_of(f)), CLI_OK);
    assert_string_equal(f->err, "");
    golden_assert_text("cli_plan_9.txt", f->out);
}

static void test_plan_of_fewer_pods_that_do_not_fit(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, with_limits(f, 1500000));
    start(f);
    assert_int_equal(RUN(f, "plan", "--replicas=4", "--address", address_of(f)), CLI_FAILED);
    golden_assert_text("cli_plan_4.txt", f->out);
    assert_int_equal(RUN(f, "plan", "--replicas=4", "--json", "--address", address_of(f)),
                     CLI_FAILED);
    golden_assert_text("cli_plan_4.json", f->out);
}

static void test_plan_that_leaves_slots_behind(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, with_limits(f, 0));
    start(f);
    assert_int_equal(RUN(f, "plan", "--replicas", "2", "--address", address_of(f)), CLI_FAILED);
    golden_assert_text("cli_plan_2.txt", f->out);
    assert_int_equal(RUN(f, "plan", "--json", "--replicas", "2", "--address", address_of(f)),
                     CLI_FAILED);
    assert_non_null(strstr(f->out, "\"unserved\":[{\"primary\":\"muster-2\",\"slots\":"
                                   "\"10923-16383\",\"slotCount\":5461}]"));
}

/* Nobody serves anything then: not what a script may take for safe. */
static void test_plan_of_no_pods(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, with_limits(f, 0));
    start(f);
    assert_int_equal(RUN(f, "plan", "--replicas", "0", "--address", address_of(f)), CLI_FAILED);
    assert_non_null(strstr(f->out, "no pod stays"));
}

static void test_plan_whose_memory_is_not_known(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, with_limits(f, -1));
    start(f);
    assert_int_equal(RUN(f, "plan", "--replicas", "4", "--address", address_of(f)), CLI_UNKNOWN);
    assert_int_equal(RUN(f, "plan", "--replicas", "4", "--json", "--address", address_of(f)),
                     CLI_UNKNOWN);
    assert_non_null(strstr(f->out, "\"fits\":null"));
    /* What is certain goes before what is not. */
    assert_int_equal(RUN(f, "plan", "--replicas", "2", "--address", address_of(f)), CLI_FAILED);
}

static void test_plan_of_another_size_where_it_cannot_be_told(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, world_build_virgin(&f->arena, 6));
    start(f);
    assert_int_equal(RUN(f, "plan", "--replicas", "4", "--address", address_of(f)), CLI_FAILED);
    assert_string_equal(f->err, "muster plan: no shard is known yet\n");
    assert_string_equal(f->out, "");
}

static void test_json_is_what_the_agent_said(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, degraded(f));
    start(f);
    auto_buf struct buf want;
    buf_init(&want, STATUS_JSON_MAX);
    (void)status_json_format(&want, &f->status);
    (void)buf_append_str(&want, "\n");
    assert_int_equal(RUN(f, "status", "--json", "--address", address_of(f)), CLI_OK);
    assert_string_equal(f->out, buf_str(&want));
    assert_int_equal(RUN(f, "plan", "--json", "--address", address_of(f)), CLI_OK);
    assert_string_equal(f->out,
                        "{\"rule\":\"steady\",\"reason\":\"nothing to do\",\"actions\":[]}\n");
    assert_int_equal(RUN(f, "check", "--json", "--address", address_of(f)), CHECK_PROMISE);
    assert_ptr_equal(strstr(f->out, "{\"result\":1,\"promises\":["), f->out);
}

static void test_check_has_four_exit_codes(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    say(f, ASKED, b);
    f->servers[LEADER] = serve_at(f, "127.0.0.2");
    world_build_lose(b, 1);
    say(f, LEADER, b);
    start(f);
    char other[32];
    text_format(other, sizeof other, "127.0.0.2:%u", f->port);
    assert_int_equal(RUN(f, "check", "--address", address_of(f)), CHECK_HEALTHY);
    assert_ptr_equal(strstr(f->out, "healthy\nok   slots      every slot is served\n"), f->out);
    assert_int_equal(RUN(f, "check", "--address", other), CHECK_BROKEN);
    assert_ptr_equal(strstr(f->out, "broken\nNOT  slots "), f->out);
    assert_int_equal(RUN(f, "check", "--address", "127.0.0.3:1"), CHECK_UNKNOWN);
    assert_string_equal(f->err, "muster check: agent at 127.0.0.3:1: Connection refused\n");
    assert_int_equal(RUN(f, "check", "--adress"), CHECK_UNKNOWN);
    assert_int_equal(RUN(f, "check", "--address", "x"), CHECK_UNKNOWN);
}

/* ---- Who is asked ---- */

static void test_the_leader_is_asked_once_more(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    (void)TEXT_COPY(b->pods[0].ip, span_of("127.0.0.2"));
    f->servers[LEADER] = serve_at(f, "127.0.0.2");
    say(f, LEADER, b);
    world_build_observe_as(b, 4);
    say(f, ASKED, b);
    start(f);
    assert_int_equal(RUN(f, "check", "--address", address_of(f)), CHECK_HEALTHY);
    assert_null(strstr(f->out, "note"));
    assert_int_equal(RUN(f, "status", "--json", "--address", address_of(f)), CLI_OK);
    assert_non_null(strstr(f->out, "\"agent\":{\"pod\":\"muster-0\",\"leader\":true}"));
    assert_string_equal(f->err, "");
}

static void test_without_the_leader_the_own_answer_stands(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    (void)TEXT_COPY(b->pods[0].ip, span_of("127.0.0.2"));
    world_build_observe_as(b, 4);
    say(f, ASKED, b);
    start(f);
    char note[200];
    text_format(note, sizeof note,
                "muster-0 leads but cannot be asked (agent at 127.0.0.2:%u: Connection refused); "
                "this is what muster-4 alone knows\n",
                f->port);
    assert_int_equal(RUN(f, "status", "--address", address_of(f)), CLI_OK);
    assert_ptr_equal(strstr(f->out, "note: "), f->out);
    assert_ptr_equal(strstr(f->out, note), f->out + 6);
    assert_non_null(strstr(f->out, "survives the loss of any one node: unknown"));
    /* In JSON the note would break the line: it goes beside. */
    assert_int_equal(RUN(f, "check", "--json", "--address", address_of(f)), CHECK_UNKNOWN);
    assert_ptr_equal(strstr(f->out, "{\"result\":3,"), f->out);
    assert_ptr_equal(strstr(f->err, "muster check: muster-0 leads but"), f->err);
}

static void test_every_reason_not_to_follow_is_noted(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    (void)TEXT_COPY(b->pods[1].ip, span_of("127.0.0.2"));
    f->servers[LEADER] = serve_at(f, "127.0.0.2");
    world_build_observe_as(b, 1);
    say(f, LEADER, b);
    world_build_observe_as(b, 4);
    (void)TEXT_COPY(b->world.leader_pod, span_of("muster-1"));
    say(f, ASKED, b);
    start(f);
    assert_int_equal(RUN(f, "plan", "--address", address_of(f)), CLI_OK);
    assert_ptr_equal(strstr(f->out, "note: the lead is changing; this is what muster-1 alone"),
                     f->out);
    (void)teardown(state);
    (void)setup(state);
    f = *state;
    b = world_build_formed(&f->arena, 3, 6);
    world_build_observe_as(b, 4);
    b->world.leader_pod[0] = '\0';
    say(f, ASKED, b);
    start(f);
    assert_int_equal(RUN(f, "plan", "--address", address_of(f)), CLI_OK);
    assert_ptr_equal(strstr(f->out, "note: no agent leads; this is what muster-4 alone knows\n"),
                     f->out);
    (void)teardown(state);
    (void)setup(state);
    f = *state;
    b = world_build_formed(&f->arena, 3, 6);
    world_build_observe_as(b, 4);
    (void)TEXT_COPY(b->world.leader_pod, span_of("muster-9"));
    say(f, ASKED, b);
    start(f);
    assert_int_equal(RUN(f, "plan", "--address", address_of(f)), CLI_OK);
    assert_ptr_equal(strstr(f->out, "note: the address of muster-9, which leads, is not known;"),
                     f->out);
}

static void assert_target(const char *address, const char *host, unsigned port)
{
    struct cli_target target;
    struct err err = {0};
    if (cli_target_find(address, test_env, &target, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(target.host, host);
    assert_int_equal(target.port, port);
}

static void test_where_to_ask(void **state)
{
    (void)state;
    assert_target(NULL, "127.0.0.1", 8008);
    assert_target("10.0.0.1", "10.0.0.1", 8008);
    assert_target("10.0.0.1:9", "10.0.0.1", 9);
    assert_target("localhost:9", "127.0.0.1", 9);
    assert_target("fd00::1", "fd00::1", 8008);
    assert_target("[fd00::1]", "fd00::1", 8008);
    assert_target("[fd00::1]:9", "fd00::1", 9);
    set_env("POD_IP", "10.0.0.7");
    set_env("MUSTER_HTTP_PORT", "80");
    assert_target(NULL, "10.0.0.7", 80);
    assert_target("10.0.0.1", "10.0.0.1", 80);
    set_env("MUSTER_HTTP_ADDRESS", "[::]");
    assert_target(NULL, "10.0.0.7", 80);
    env_values[2][1] = "10.0.0.8";
    assert_target(NULL, "10.0.0.8", 80);
    env_values[2][1] = "";
    assert_target(NULL, "10.0.0.7", 80);
}

static void test_where_nobody_can_be_asked(void **state)
{
    static const char *const addresses[] = {"",       ":80",           "10.0.0.1:", "10.0.0.1:0",
                                            "host:1", "10.0.0.1:x",    "[::1",      "[]:1",
                                            "::1]",   "10.0.0.1:65536"};
    (void)state;
    struct cli_target target;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        err = (struct err){0};
        assert_int_equal(cli_target_find(addresses[i], test_env, &target, &err), E_INVALID);
        assert_ptr_equal(strstr(err.msg, "--address: "), err.msg);
    }
    set_env("POD_IP", "nowhere");
    assert_int_equal(cli_target_find(NULL, test_env, &target, &err), E_INVALID);
    assert_ptr_equal(strstr(err.msg, "POD_IP: nowhere"), err.msg);
    set_env("MUSTER_HTTP_PORT", "0");
    assert_int_equal(cli_target_find(NULL, test_env, &target, &err), E_INVALID);
    assert_string_equal(err.msg, "MUSTER_HTTP_PORT: 0 is no port");
}

/* ---- Answers that are none ---- */

static void test_answers_are_taken_strictly(void **state)
{
    static const struct {
        const char *answer;
        int code;
        const char *body; /* or the message */
    } cases[] = {
        {"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\n\r\nok", 0, "ok"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: y\r\n\r\n", 0, ""},
        {"HTTP/1.0 503 No\r\nContent-Length: 5\r\n\r\nlater", E_PROTO, "HTTP 503: later"},
        {"", E_PROTO, "what answers is no HTTP server"},
        {"+PONG\r\n", E_PROTO, "what answers is no HTTP server"},
        {"HTTP/1.1 abc\r\n\r\n", E_PROTO, "what answers is no HTTP server"},
        {"HTTP/1.1 200 OK\r\n", E_PROTO, "the answer is cut short"},
        {"HTTP/1.1 200 OK\r\n\r\nok", E_PROTO, "the answer is cut short"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", E_PROTO, "the answer is cut short"},
        {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok", E_PROTO,
         "the answer has no valid length"},
        {"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", E_PROTO, "the answer has no valid length"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span body = {"", 0};
        struct err err = {0};
        assert_int_equal(http_answer_parse(span_of(cases[i].answer), &body, &err), cases[i].code);
        if (cases[i].code == 0)
            assert_true(span_is(body, cases[i].body));
        else
            assert_string_equal(err.msg, cases[i].body);
    }
}

static void test_an_agent_without_status_is_an_error(void **state)
{
    struct fixture *f = *state;
    start(f);
    char want[128];
    text_format(want, sizeof want,
                "muster status: agent at 127.0.0.1:%u: HTTP 503: not known yet\n", f->port);
    assert_int_equal(RUN(f, "status", "--address", address_of(f)), CLI_FAILED);
    assert_string_equal(f->err, want);
    assert_string_equal(f->out, "");
}

/* It accepts and says nothing: nobody runs the loop. */
static void test_a_silent_agent_is_given_up_in_time(void **state)
{
    struct fixture *f = *state;
    int64_t start_ms = clock_mono_ms();
    assert_int_equal(RUN(f, "check", "--address", address_of(f)), CHECK_UNKNOWN);
    int64_t took_ms = clock_mono_ms() - start_ms;
    assert_true(took_ms >= HTTP_GET_MS - 10 && took_ms < HTTP_GET_MS + 1000);
    assert_non_null(strstr(f->err, "no answer within 2000 ms"));
}

static void test_an_answer_beyond_the_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    size_t len = STATUS_JSON_MAX + KIB(8);
    auto_free char *big = xcalloc(len, 1);
    memset(big, ' ', len);
    http_server_publish(f->servers[ASKED], HTTP_PAGE_STATUS, (struct span){big, len});
    start(f);
    assert_int_equal(RUN(f, "status", "--address", address_of(f)), CLI_FAILED);
    assert_non_null(strstr(f->err, "the answer is longer than"));
}

/* ---- The terminal ---- */

/* FAULTS H4: names and sentences with escapes, newlines, C1 controls. */
static void test_no_string_reaches_the_terminal_raw(void **state)
{
    static const char evil[] = "\033]0;x\007\r\n\x9b"
                               "2J\xc2\x9b"
                               "2J\xe2\x80\xae\x7f";
    static const char *const verbs[] = {"status", "plan", "check"};
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    text_format(b->world.set.name, sizeof b->world.set.name, "%s", evil);
    text_format(b->world.leader_pod, sizeof b->world.leader_pod, "%s", evil);
    text_format(b->record.uid, sizeof b->record.uid, "%s", evil);
    text_format(f->plan.reason, sizeof f->plan.reason, "%s", evil);
    f->plan.rule = evil;
    for (size_t i = 0; i < 6; i++) {
        text_format(b->pods[i].name, sizeof b->pods[i].name, "%s%zu", evil, i);
        text_format(b->pods[i].node, sizeof b->pods[i].node, "%s", evil);
        text_format(b->pods[i].zone, sizeof b->pods[i].zone, "%s", evil);
        b->pods[i].agent = AGENT_SILENT;
    }
    say(f, ASKED, b);
    start(f);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        for (int json = 0; json < 2; json++) {
            (void)RUN(f, verbs[i], "--address", address_of(f), json ? "--json" : "--watch");
            assert_true(strlen(f->out) > 100);
            for (const char *c = f->out; *c; c++)
                assert_true(*c == '\n' || (*c >= ' ' && *c <= '~'));
            if (json)
                assert_ptr_equal(strchr(f->out, '\n'), f->out + strlen(f->out) - 1);
        }
    assert_int_equal(RUN(f, "status", "--json", "--address", address_of(f)), CLI_OK);
    assert_non_null(strstr(f->out, "\\u001b]0;x\\u0007\\u000d\\n?2J\\u009b2J\\u202e\\u007f"));
}

static void test_json_escapes_every_character_beyond_ascii(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_virgin(&f->arena, 1);
    text_format(f->plan.reason, sizeof f->plan.reason, "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
    say(f, ASKED, b);
    start(f);
    assert_int_equal(RUN(f, "plan", "--json", "--address", address_of(f)), CLI_OK);
    assert_non_null(strstr(f->out, "\"reason\":\"a\\u00e9\\u20ac\\ud83d\\ude00z\""));
}

static void test_colours_are_for_terminals_only(void **state)
{
    static const struct {
        const char *term, *no_colour;
        bool tty, colour;
    } cases[] = {{"xterm", NULL, true, true}, {"xterm", "", true, true},
                 {"xterm", "1", true, false}, {"dumb", NULL, true, false},
                 {NULL, NULL, true, false},   {"xterm", NULL, false, false}};
    struct fixture *f = *state;
    say(f, ASKED, degraded(f));
    start(f);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        memset(env_values, 0, sizeof env_values);
        if (cases[i].term)
            set_env("TERM", cases[i].term);
        if (cases[i].no_colour)
            set_env("NO_COLOR", cases[i].no_colour);
        (void)RUN_AS(f, cases[i].tty, 1, "status", "--address", address_of(f));
        assert_int_equal(strstr(f->out, "\033[33mdegraded\033[0m") != NULL, cases[i].colour);
        (void)RUN_AS(f, cases[i].tty, 1, "check", "--address", address_of(f));
        assert_int_equal(strstr(f->out, "\033[31mNOT  \033[0m") != NULL, cases[i].colour);
        assert_int_equal(strchr(f->out, '\033') != NULL, cases[i].colour);
    }
}

static void test_watch_redraws_a_terminal_and_appends_elsewhere(void **state)
{
    struct fixture *f = *state;
    say(f, ASKED, world_build_formed(&f->arena, 3, 6));
    start(f);
    int64_t start_ms = clock_mono_ms();
    assert_int_equal(RUN_AS(f, true, 2, "check", "--watch", "--address", address_of(f)), 0);
    assert_true(clock_mono_ms() - start_ms >= 1000);
    assert_ptr_equal(strstr(f->out, "\033[2J\033[Hhealthy\033[K\n"), f->out);
    assert_non_null(strstr(f->out, "\033[J\033[Hhealthy\033[K\n"));
    assert_int_equal(RUN_AS(f, false, 2, "check", "--watch", "--address", address_of(f)), 0);
    assert_ptr_equal(strstr(f->out, "healthy\n"), f->out);
    assert_non_null(strstr(f->out, "\n\nhealthy\n"));
    assert_null(strchr(f->out, '\033'));
    assert_int_equal(RUN_AS(f, true, 2, "check", "--watch", "--json", "--address=127.0.0.1"),
                     CHECK_UNKNOWN);
    assert_string_equal(f->out, "");
}

/* Long names keep the part that tells them apart, and the line its columns. */
static void test_long_names_are_cut(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 1, 2);
    for (unsigned slot = 0; slot < 100; slot += 2)
        slot_set_remove(&b->nodes[0].slots, (struct slot_range){(uint16_t)slot, (uint16_t)slot});
    for (size_t i = 0; i < 2; i++) {
        text_format(b->pods[i].name, sizeof b->pods[i].name,
                    "a-release-with-a-very-long-name-muster-%zu", i);
        text_format(b->pods[i].node, sizeof b->pods[i].node,
                    "gke-production-default-pool-1234abcd-%zu", i);
        text_format(b->pods[i].zone, sizeof b->pods[i].zone, "northamerica-northeast1-a");
        (void)TEXT_COPY(b->members[i].pod, span_of(b->pods[i].name));
    }
    say(f, ASKED, b);
    start(f);
    assert_int_equal(RUN(f, "status", "--address", address_of(f)), CLI_OK);
    golden_assert_text("cli_status_long.txt", f->out);
}

static void test_a_primary_on_no_pod_is_shown(void **state)
{
    struct fixture *f = *state;
    struct world_build *b = world_build_formed(&f->arena, 3, 6);
    b->world.pods = b->pods + 1;
    b->world.pod_count = 5;
    say(f, ASKED, b);
    start(f);
    assert_int_equal(RUN(f, "status", "--address", address_of(f)), CLI_OK);
    assert_non_null(strstr(f->out, "on no known pod\n"));
}

/* ---- Usage ---- */

static void test_help_and_version(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "--help"), CLI_OK);
    assert_ptr_equal(strstr(f->out, "usage: muster COMMAND"), f->out);
    assert_non_null(strstr(f->out, "  agent    "));
    assert_int_equal(RUN(f, "help", "check"), CLI_OK);
    assert_ptr_equal(strstr(f->out, "usage: muster check"), f->out);
    assert_int_equal(RUN(f, "status", "--help"), CLI_OK);
    assert_ptr_equal(strstr(f->out, "usage: muster status"), f->out);
    assert_int_equal(RUN(f, "version"), CLI_OK);
    assert_ptr_equal(strstr(f->out, "muster "), f->out);
    assert_int_equal(RUN(f, "--version", "--json"), CLI_OK);
    assert_ptr_equal(strstr(f->out, "{\"version\":\""), f->out);
    assert_int_equal(RUN(f, "version", "--help"), CLI_OK);
    assert_ptr_equal(strstr(f->out, "usage: muster COMMAND"), f->out);
}

static void test_wrong_use_is_told(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "stats\033"), CLI_USAGE);
    assert_ptr_equal(strstr(f->err, "muster stats\\x1b: there is no such command\nusage: "),
                     f->err);
    assert_string_equal(f->out, "");
    const char *const words[] = {"muster", NULL};
    assert_int_equal(run_with(f, false, 1, words), CLI_USAGE);
    assert_ptr_equal(strstr(f->err, "usage: muster COMMAND"), f->err);
    assert_int_equal(RUN(f, "status", "--jsn"), CLI_USAGE);
    assert_string_equal(f->err, "muster status: --jsn is not understood\n"
                                "usage: muster status --help\n");
    assert_int_equal(RUN(f, "status", "--address"), CLI_USAGE);
    assert_ptr_equal(strstr(f->err, "muster status: --address wants a HOST:PORT"), f->err);
    assert_int_equal(RUN(f, "plan", "--address", "nowhere"), CLI_USAGE);
    static const char *const numbers[] = {"", "-1", "1001", "six"};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        assert_int_equal(RUN(f, "plan", "--replicas", numbers[i]), CLI_USAGE);
        assert_non_null(strstr(f->err, "--replicas wants a number from 0 to 1000"));
    }
    assert_int_equal(RUN(f, "plan", "--replicas"), CLI_USAGE);
    assert_int_equal(RUN(f, "status", "--replicas", "4"), CLI_USAGE);
    assert_non_null(strstr(f->err, "--replicas is for plan only"));
}

/* What cannot be taken back is not done by the command's name alone. */
static void test_a_takeover_wants_to_be_confirmed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "takeover"), CLI_USAGE);
    assert_ptr_equal(strstr(f->err, "usage: muster takeover --yes"), f->err);
    assert_int_equal(RUN(f, "takeover", "--now"), CLI_USAGE);
    assert_string_equal(f->err, "muster takeover: what is '--now'?\n");
    assert_int_equal(RUN(f, "help", "takeover"), CLI_OK);
    assert_ptr_equal(strstr(f->out, "usage: muster takeover --yes"), f->out);
    assert_int_equal(RUN(f, "takeover", "--yes", "--socket", "/nowhere/agent.sock"), CLI_FAILED);
    assert_non_null(strstr(f->err, "muster takeover: no agent answers on /nowhere/agent.sock"));
}

static void test_who_orders_a_failover_says_of_which_pod(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "failover"), CLI_USAGE);
    assert_ptr_equal(strstr(f->err, "usage: muster failover POD"), f->err);
    assert_int_equal(RUN(f, "failover", "muster-3", "--force"), CLI_USAGE);
    assert_string_equal(f->err, "muster failover: what is '--force'?\n");
    assert_int_equal(RUN(f, "failover", "muster-3", "muster-4"), CLI_USAGE);
    assert_int_equal(RUN(f, "failover", "--help"), CLI_OK);
    assert_ptr_equal(strstr(f->out, "usage: muster failover POD"), f->out);
    assert_int_equal(RUN(f, "help", "failover"), CLI_OK);
    assert_int_equal(RUN(f, "failover", "muster-3", "--wait", "--socket", "/nowhere/agent.sock"),
                     CLI_FAILED);
    assert_non_null(strstr(f->err, "muster failover: no agent answers on /nowhere/agent.sock"));
}

static void test_a_pause_has_an_end_that_is_a_time(void **state)
{
    struct fixture *f = *state;
    static const char *const times[] = {"", "30", "m", "0m", "-1s", "31d", "1y", "1.5h"};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        assert_int_equal(RUN(f, "pause", "--for", times[i]), CLI_USAGE);
        assert_string_equal(f->err, "muster pause: what is '--for'? Once, a time: 90s, 30m, 12h or "
                                    "7d, at most 30d\n");
    }
    char longer[RECORD_PAUSE_REASON_SIZE + 1] = "";
    memset(longer, 'x', sizeof longer - 1);
    assert_int_equal(RUN(f, "pause", "--reason", longer), CLI_USAGE);
    assert_string_equal(f->err,
                        "muster pause: what is '--reason'? Once, a text of at most 95 bytes\n");
    assert_int_equal(RUN(f, "pause", "--for", "1m", "--for", "2m"), CLI_USAGE);
    static const char *const good[] = {"90s", "30m", "12h", "30d"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(RUN(f, "pause", "--for", good[i], "--reason", "new disks", "--socket",
                             "/nowhere/agent.sock"),
                         CLI_FAILED);
    assert_non_null(strstr(f->err, "muster pause: no agent answers on /nowhere/agent.sock"));
    assert_int_equal(RUN(f, "pause", "--help"), CLI_OK);
    assert_non_null(strstr(f->out, "  stopped  moving roles over nodes and zones\n"));
    assert_non_null(strstr(f->out, "  goes on  handing over before a stop\n"));
    assert_int_equal(RUN(f, "resume", "now"), CLI_USAGE);
    assert_int_equal(RUN(f, "resume", "--socket", "/nowhere/agent.sock"), CLI_FAILED);
    assert_int_equal(RUN(f, "help", "resume"), CLI_OK);
    assert_ptr_equal(strstr(f->out, "usage: muster resume"), f->out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_status_of_a_healthy_cluster),
        TEST(test_status_of_a_degraded_cluster),
        TEST(test_status_before_the_formation),
        TEST(test_check_of_a_degraded_cluster),
        TEST(test_plan_shows_reason_actions_and_rules),
        TEST(test_plan_without_actions),
        TEST(test_plan_of_more_pods),
        TEST(test_plan_of_fewer_pods_that_do_not_fit),
        TEST(test_plan_that_leaves_slots_behind),
        TEST(test_plan_of_no_pods),
        TEST(test_plan_whose_memory_is_not_known),
        TEST(test_plan_of_another_size_where_it_cannot_be_told),
        TEST(test_json_is_what_the_agent_said),
        TEST(test_check_has_four_exit_codes),
        TEST(test_the_leader_is_asked_once_more),
        TEST(test_without_the_leader_the_own_answer_stands),
        TEST(test_every_reason_not_to_follow_is_noted),
        TEST(test_where_to_ask),
        TEST(test_where_nobody_can_be_asked),
        TEST(test_answers_are_taken_strictly),
        TEST(test_an_agent_without_status_is_an_error),
        TEST(test_a_silent_agent_is_given_up_in_time),
        TEST(test_an_answer_beyond_the_limit_is_refused),
        TEST(test_no_string_reaches_the_terminal_raw),
        TEST(test_json_escapes_every_character_beyond_ascii),
        TEST(test_colours_are_for_terminals_only),
        TEST(test_watch_redraws_a_terminal_and_appends_elsewhere),
        TEST(test_long_names_are_cut),
        TEST(test_a_primary_on_no_pod_is_shown),
        TEST(test_help_and_version),
        TEST(test_wrong_use_is_told),
        TEST(test_a_takeover_wants_to_be_confirmed),
        TEST(test_who_orders_a_failover_says_of_which_pod),
        TEST(test_a_pause_has_an_end_that_is_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
