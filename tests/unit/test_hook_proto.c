/* SPDX-License-Identifier: Apache-2.0 */
/* What the hook and the agent say to each other, also across releases and from hostile mouths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/hook_proto.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define FAILING "ffffffffffffffffffffffffffffffffffffffff"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void set_id(struct node_id *id, const char *hex)
{
    assert_true(TEXT_COPY(id->hex, span_of(hex)));
}

static struct hook_request parsed_request(const char *text)
{
    struct hook_request request = {0};
    struct err err = {0};
    if (hook_request_parse(span_of(text), &request, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return request;
}

static struct hook_answer parsed_answer(const char *text)
{
    struct hook_answer answer = {0};
    struct err err = {0};
    if (hook_answer_parse(span_of(text), &answer, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return answer;
}

static const char start_text[] = "muster-hook/1 start\n"
                                 "hook-version=0.1.0\n"
                                 "pid=1\n"
                                 "server=valkey-server\n"
                                 "argv0=docker-entrypoint.sh\n"
                                 "config-error=cannot read /etc/x\n"
                                 "data-dir=/data/my dir\n"
                                 "data-dir-error=none\n"
                                 "data-dir-empty=no\n"
                                 "cluster-enabled=yes\n"
                                 "nodes-conf=present\n"
                                 "nodes-conf-file=/data/nodes.conf\n"
                                 "nodes-conf-error=line 3: bad id\n"
                                 "appendonly=yes\n"
                                 "save=no\n"
                                 "rdb=yes\n"
                                 "rdb-bytes=9223372036854775807\n"
                                 "rdb-keys=yes\n"
                                 "aof=yes\n"
                                 "aof-complete=yes\n"
                                 "aof-base-bytes=88\n"
                                 "aof-incr-bytes=12\n"
                                 "aof-keys=no\n"
                                 "myself=" A " myself,slave 18446744073709551615 0 " B "\n"
                                 "peer=" B " fd00::1 6379 16379 master,fail\n"
                                 "peer=cccccccccccccccccccccccccccccccccccccccc - 0 0 noaddr\n"
                                 "\n";

static void test_start_says_every_fact(void **state)
{
    (void)state;
    auto_hook_request struct hook_request request = parsed_request(start_text);
    const struct hook_facts *f = &request.facts;
    assert_int_equal(request.version, 1);
    assert_int_equal(request.verb, HOOK_START);
    assert_string_equal(f->hook_version, "0.1.0");
    assert_int_equal(f->pid, 1);
    assert_string_equal(f->server, "valkey-server");
    assert_string_equal(f->argv0, "docker-entrypoint.sh");
    assert_string_equal(f->config_error, "cannot read /etc/x");
    assert_string_equal(f->data_dir, "/data/my dir");
    assert_int_equal(f->dir_empty, HOOK_FALSE);
    assert_int_equal(f->cluster_enabled, HOOK_TRUE);
    assert_int_equal(f->nodes_conf, HOOK_NODES_CONF_PRESENT);
    assert_string_equal(f->nodes_conf_error, "line 3: bad id");
    assert_int_equal(f->appendonly, HOOK_TRUE);
    assert_int_equal(f->save, HOOK_FALSE);
    assert_int_equal(f->rdb, HOOK_TRUE);
    assert_true(f->rdb_bytes == INT64_MAX);
    assert_int_equal(f->aof_base_bytes, 88);
    assert_int_equal(f->aof_incr_bytes, 12);
    assert_int_equal(f->aof_keys, HOOK_FALSE);
    assert_string_equal(f->myself.id.hex, A);
    assert_int_equal(f->myself.flags, NODE_MYSELF | NODE_REPLICA);
    assert_true(f->myself.epoch == UINT64_MAX);
    assert_string_equal(f->myself.primary.hex, B);
    assert_int_equal(f->peer_count, 2);
    assert_string_equal(f->peers[0].ip, "fd00::1");
    assert_int_equal(f->peers[0].port, 6379);
    assert_int_equal(f->peers[0].bus_port, 16379);
    assert_int_equal(f->peers[0].flags, NODE_PRIMARY | NODE_FAIL);
    assert_string_equal(f->peers[1].ip, "");
    assert_int_equal(f->peers[1].flags, NODE_NOADDR);

    auto_buf struct buf again;
    buf_init(&again, HOOK_MESSAGE_MAX);
    assert_int_equal(hook_request_format(&request, &again, NULL), 0);
    assert_string_equal(buf_str(&again), start_text);
}

static const char go_text[] = "muster-agent/1 go\n"
                              "reason=nothing speaks against it\n"
                              "nodes-conf=rewrite\n"
                              "server=10.0.0.4 6379\n"
                              "set=cluster-announce-ip fd00::4\n"
                              "set=cluster-announce-port 6379\n"
                              "addr=" A " 10.0.0.7 6379 16379\n"
                              "addr=" B " noaddr\n"
                              "addr=" FAILING " fail?\n"
                              "\n";

static void test_go_says_addresses_and_settings(void **state)
{
    (void)state;
    auto_hook_answer struct hook_answer answer = parsed_answer(go_text);
    assert_int_equal(answer.verdict, HOOK_GO);
    assert_string_equal(answer.reason, "nothing speaks against it");
    assert_true(answer.rewrite);
    assert_string_equal(answer.server_ip, "10.0.0.4");
    assert_int_equal(answer.server_port, 6379);
    assert_int_equal(answer.setting_count, 2);
    assert_string_equal(answer.settings[0].name, "cluster-announce-ip");
    assert_string_equal(answer.settings[0].value, "fd00::4");
    assert_int_equal(answer.address_count, 3);
    assert_string_equal(answer.addresses[0].ip, "10.0.0.7");
    assert_int_equal(answer.addresses[0].bus_port, 16379);
    assert_string_equal(answer.addresses[1].id.hex, B);
    assert_string_equal(answer.addresses[1].ip, "");
    assert_false(answer.addresses[1].failing);
    assert_string_equal(answer.addresses[2].ip, "");
    assert_true(answer.addresses[2].failing);

    auto_buf struct buf again;
    buf_init(&again, HOOK_MESSAGE_MAX);
    assert_int_equal(hook_answer_format(&answer, &again, NULL), 0);
    assert_string_equal(buf_str(&again), go_text);
}

static void test_every_verb_and_verdict_has_its_word(void **state)
{
    (void)state;
    static const char *const verbs[] = {"unknown", "start",    "drain",    "ready", "alive",
                                        "open",    "takeover", "failover", "pause", "resume"};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        struct hook_request request = {.verb = (enum hook_verb)i};
        char line[64];
        text_format(line, sizeof line, "muster-hook/1 %s\n\n", verbs[i]);
        auto_buf struct buf out;
        buf_init(&out, HOOK_MESSAGE_MAX);
        assert_int_equal(hook_request_format(&request, &out, NULL), 0);
        assert_string_equal(buf_str(&out), line);
        auto_hook_request struct hook_request read = parsed_request(line);
        assert_int_equal(read.verb, i);
    }
    static const char *const verdicts[] = {"unknown", "wait", "go", "ok", "no", "error"};
    for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
        struct hook_answer answer = {.verdict = (enum hook_verdict)i};
        char line[64];
        text_format(line, sizeof line, "muster-agent/1 %s\n\n", verdicts[i]);
        auto_buf struct buf out;
        buf_init(&out, HOOK_MESSAGE_MAX);
        assert_int_equal(hook_answer_format(&answer, &out, NULL), 0);
        assert_string_equal(buf_str(&out), line);
        auto_hook_answer struct hook_answer read = parsed_answer(line);
        assert_int_equal(read.verdict, i);
    }
}

static void test_a_later_release_is_understood(void **state)
{
    (void)state;
    auto_hook_request struct hook_request request = parsed_request(
        "muster-hook/7 start\nnodes-conf=encrypted\nrdb=perhaps\nnew-key=a=b\npid=9\n\n");
    assert_int_equal(request.version, 7);
    assert_int_equal(request.facts.nodes_conf, HOOK_NODES_CONF_UNKNOWN);
    assert_int_equal(request.facts.rdb, HOOK_UNKNOWN);
    assert_int_equal(request.facts.pid, 9);
    auto_hook_request struct hook_request verb = parsed_request("muster-hook/2 dance\n\n");
    assert_int_equal(verb.verb, HOOK_VERB_NONE);
    auto_hook_answer struct hook_answer answer =
        parsed_answer("muster-agent/2 ponder\nnodes-conf=encrypt\nnew=\n\n");
    assert_int_equal(answer.verdict, HOOK_VERDICT_NONE);
    assert_false(answer.rewrite);
}

static void test_a_setting_that_is_not_ours_is_passed_over(void **state)
{
    (void)state;
    auto_hook_answer struct hook_answer answer =
        parsed_answer("muster-agent/1 go\nset=dir /etc\nset=cluster-announce-port 7\n"
                      "set=cluster-announce-ip-and-a-name-that-is-far-too-long 1\n\n");
    assert_int_equal(answer.setting_count, 1);
    assert_string_equal(answer.settings[0].name, "cluster-announce-port");
}

static void test_a_text_that_is_too_long_is_cut(void **state)
{
    (void)state;
    char text[1024];
    text_format(text, sizeof text, "muster-agent/1 wait\nreason=%0500d\n\n", 7);
    auto_hook_answer struct hook_answer answer = parsed_answer(text);
    assert_int_equal(strlen(answer.reason), HOOK_REASON_SIZE - 1);
    text_format(text, sizeof text, "muster-hook/1 start\nserver=%0500d\n\n", 7);
    auto_hook_request struct hook_request request = parsed_request(text);
    assert_int_equal(strlen(request.facts.server), sizeof request.facts.server - 1);
}

static void test_control_bytes_cannot_forge_a_line(void **state)
{
    (void)state;
    struct hook_answer answer = {.verdict = HOOK_WAIT,
                                 .reason = "a\nset=cluster-announce-ip 6.6.6.6\n\n\tb\x7f"};
    auto_buf struct buf out;
    buf_init(&out, HOOK_MESSAGE_MAX);
    assert_int_equal(hook_answer_format(&answer, &out, NULL), 0);
    assert_string_equal(buf_str(&out), "muster-agent/1 wait\n"
                                       "reason=a?set=cluster-announce-ip 6.6.6.6???b?\n\n");
}

static void test_refuses_what_is_not_the_protocol(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "\n\n",
        "muster-hook/1 start\n",
        "muster-hook/1 start\npid=1\n",
        "muster-hook/0 start\n\n",
        "muster-hook/x start\n\n",
        "muster-hook/99999999999 start\n\n",
        "muster-agent/1 go\n\n",
        "GET / HTTP/1.1\r\n\r\n",
        "muster-hook/1 start\r\n\r\n",
        "muster-hook/1 start\nno pair\n\n",
        "muster-hook/1 start\n=value\n\n",
        "muster-hook/1 start\npid=1\x01\n\n",
        "muster-hook/1 start\n\npid=1\n\n",
        "muster-hook/1 start\npid=-1\n\n",
        "muster-hook/1 start\npid=1x\n\n",
        "muster-hook/1 start\npid=\n\n",
        "muster-hook/1 start\nrdb-bytes=9223372036854775808\n\n",
        "muster-hook/1 start\nmyself=\n\n",
        "muster-hook/1 start\nmyself=" A "\n\n",
        "muster-hook/1 start\nmyself=" A " master\n\n",
        "muster-hook/1 start\nmyself=" A " master 1\n\n",
        "muster-hook/1 start\nmyself=" A " master 1 2\n\n",
        "muster-hook/1 start\nmyself=" A " master 1 2 x\n\n",
        "muster-hook/1 start\nmyself=- master 1 2 -\n\n",
        "muster-hook/1 start\npeer=" A "\n\n",
        "muster-hook/1 start\npeer=" A " 10.0.0.1\n\n",
        "muster-hook/1 start\npeer=" A " 10.0.0.1 65536 1 master\n\n",
        "muster-hook/1 start\npeer=" A " 10.0.0.1 1 x master\n\n",
        "muster-hook/1 start\npeer=" A " 10.0.0.1 1 2\n\n",
        "muster-hook/1 start\npeer=" A " 10.0.0.1 1 2 MASTER\n\n",
        "muster-hook/1 start\npeer=" A
        " 012345678901234567890123456789012345678901234567890123456789 1 2 master\n\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct hook_request request = {.version = 77};
        struct err err = {0};
        if (hook_request_parse(span_of(bad[i]), &request, &err) != E_PROTO)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(request.version, 77);
        assert_true(err.msg[0]);
    }
}

static void test_refuses_an_answer_that_would_harm(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "muster-agent/1 go\nset=cluster-announce-ip\n\n",
        "muster-agent/1 go\nset=cluster-announce-ip \n\n",
        "muster-agent/1 go\nset=cluster-announce-ip 1.2.3.4 --dir /etc\n\n",
        "muster-agent/1 go\nset=cluster-announce-ip \"x\"\n\n",
        "muster-agent/1 go\naddr=" A "\n\n",
        "muster-agent/1 go\naddr=x 10.0.0.1 1 2\n\n",
        "muster-agent/1 go\naddr=" A " gone\n\n",
        "muster-agent/1 go\naddr=" A " redis-0 1 2\n\n",
        "muster-agent/1 go\naddr=" A " - 1 2\n\n",
        "muster-agent/1 go\naddr=" A " 10.0.0.1\n\n",
        "muster-agent/1 go\naddr=" A " 10.0.0.1 1\n\n",
        "muster-agent/1 go\naddr=" A " 10.0.0.1 0 2\n\n",
        "muster-agent/1 go\naddr=" A " 10.0.0.1 1 0\n\n",
        "muster-agent/1 ok\nserver=10.0.0.1\n\n",
        "muster-agent/1 ok\nserver=somewhere 1\n\n",
        "muster-agent/1 ok\nserver=\n\n",
        "muster-hook/1 ok\n\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct hook_answer answer = {.version = 77};
        if (hook_answer_parse(span_of(bad[i]), &answer, NULL) != E_PROTO)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(answer.version, 77);
    }
}

static void test_only_our_settings_with_a_plain_value_are_allowed(void **state)
{
    (void)state;
    assert_true(
        hook_setting_is_allowed(&(struct hook_setting){"cluster-announce-hostname", "a.b"}));
    assert_true(
        hook_setting_is_allowed(&(struct hook_setting){"cluster-allow-replica-migration", "no"}));
    assert_false(hook_setting_is_allowed(&(struct hook_setting){"cluster-announce-ip", ""}));
    assert_false(hook_setting_is_allowed(&(struct hook_setting){"cluster-announce-ip", "a b"}));
    assert_false(hook_setting_is_allowed(&(struct hook_setting){"requirepass", "x"}));
}

static void test_too_many_of_anything_is_refused(void **state)
{
    (void)state;
    auto_buf struct buf text;
    buf_init(&text, MIB(1));
    (void)buf_append_str(&text, "muster-agent/1 go\n");
    for (int i = 0; i <= HOOK_SETTINGS_MAX; i++)
        (void)buf_append_str(&text, "set=cluster-announce-ip 10.0.0.1\n");
    (void)buf_append_str(&text, "\n");
    struct hook_answer answer;
    assert_int_equal(hook_answer_parse(span_of(buf_str(&text)), &answer, NULL), E_PROTO);

    buf_clear(&text);
    (void)buf_append_str(&text, "muster-agent/1 go\n");
    for (int i = 0; i <= NODES_MAX; i++)
        (void)buf_format(&text, "addr=%040x noaddr\n", (unsigned)i);
    (void)buf_append_str(&text, "\n");
    assert_int_equal(hook_answer_parse(span_of(buf_str(&text)), &answer, NULL), E_PROTO);

    buf_clear(&text);
    (void)buf_append_str(&text, "muster-hook/1 start\n");
    for (int i = 0; i <= NODES_MAX; i++)
        (void)buf_format(&text, "peer=%040x - 0 0 noaddr\n", (unsigned)i);
    (void)buf_append_str(&text, "\n");
    struct hook_request request;
    assert_int_equal(hook_request_parse(span_of(buf_str(&text)), &request, NULL), E_PROTO);
}

/* The largest cluster with the longest addresses still fits into a message, both ways. */
static void test_the_largest_cluster_fits(void **state)
{
    (void)state;
    auto_hook_request struct hook_request request = {.verb = HOOK_START};
    auto_hook_answer struct hook_answer answer = {.verdict = HOOK_GO, .rewrite = true};
    request.facts.peers = xcalloc(NODES_MAX, sizeof *request.facts.peers);
    answer.addresses = xcalloc(NODES_MAX, sizeof *answer.addresses);
    request.facts.peer_count = answer.address_count = NODES_MAX;
    for (size_t i = 0; i < NODES_MAX; i++) {
        char id[41];
        text_format(id, sizeof id, "%040zx", i);
        struct hook_peer *peer = &request.facts.peers[i];
        set_id(&peer->id, id);
        TEXT_COPY(peer->ip, span_of("1111:2222:3333:4444:5555:6666:7777:8888"));
        peer->port = peer->bus_port = 65535;
        peer->flags = NODE_REPLICA | NODE_PFAIL | NODE_NOFAILOVER;
        answer.addresses[i] = (struct nodes_conf_address){peer->id, "", 65535, 65535, true};
        memcpy(answer.addresses[i].ip, peer->ip, sizeof peer->ip);
    }
    auto_buf struct buf out;
    buf_init(&out, HOOK_MESSAGE_MAX);
    assert_int_equal(hook_request_format(&request, &out, NULL), 0);
    auto_hook_request struct hook_request read = parsed_request(buf_str(&out));
    assert_int_equal(read.facts.peer_count, NODES_MAX);
    buf_clear(&out);
    assert_int_equal(hook_answer_format(&answer, &out, NULL), 0);
    auto_hook_answer struct hook_answer got = parsed_answer(buf_str(&out));
    assert_int_equal(got.address_count, NODES_MAX);

    auto_buf struct buf small;
    struct err err = {0};
    buf_init(&small, 1000);
    assert_int_equal(hook_request_format(&request, &small, &err), E_LIMIT);
    buf_clear(&small);
    assert_int_equal(hook_answer_format(&answer, &small, &err), E_LIMIT);
}

static void feed(struct hook_reader *reader, const char *bytes, size_t len)
{
    assert_int_equal(hook_reader_feed(reader, bytes, len, NULL), 0);
}

static void test_a_stream_is_cut_into_messages(void **state)
{
    (void)state;
    static const char stream[] = "muster-hook/1 ready\n\nmuster-hook/1 drain\na=b\n\n";
    for (size_t step = 1; step < sizeof stream; step++) {
        struct hook_reader reader;
        hook_reader_init(&reader, HOOK_REQUESTS);
        int messages = 0;
        for (size_t at = 0; at < sizeof stream - 1; at += step) {
            size_t left = sizeof stream - 1 - at;
            feed(&reader, stream + at, left < step ? left : step);
            struct span message;
            for (int r; (r = hook_reader_next(&reader, &message, NULL)) != 0;) {
                assert_int_equal(r, 1);
                assert_true(span_is(message, messages++ ? "muster-hook/1 drain\na=b\n\n"
                                                        : "muster-hook/1 ready\n\n"));
            }
        }
        assert_int_equal(messages, 2);
        assert_int_equal(reader.buf.len, 0);
        hook_reader_deinit(&reader);
    }
}

static void test_a_wrong_stream_is_refused_at_its_first_bytes(void **state)
{
    (void)state;
    struct span message;
    struct err err = {0};
    struct hook_reader reader;
    hook_reader_init(&reader, HOOK_ANSWERS);
    assert_int_equal(hook_reader_next(&reader, &message, &err), 0);
    feed(&reader, "muster-a", 8);
    assert_int_equal(hook_reader_next(&reader, &message, &err), 0);
    feed(&reader, "x", 1);
    assert_int_equal(hook_reader_next(&reader, &message, &err), E_PROTO);
    hook_reader_deinit(&reader);
}

static void test_an_endless_message_is_refused(void **state)
{
    (void)state;
    char chunk[4096];
    memset(chunk, 'x', sizeof chunk);
    struct span message;
    struct err err = {0};
    struct hook_reader reader;
    hook_reader_init(&reader, HOOK_ANSWERS);
    feed(&reader, "muster-agent/1 wait\nreason=", 27);
    size_t fed = 27;
    while (fed + sizeof chunk <= HOOK_MESSAGE_MAX) {
        feed(&reader, chunk, sizeof chunk);
        fed += sizeof chunk;
        assert_int_equal(hook_reader_next(&reader, &message, &err), 0);
    }
    assert_int_equal(hook_reader_feed(&reader, chunk, sizeof chunk, &err), E_LIMIT);
    hook_reader_deinit(&reader);
}

static void test_aside_is_another_word_than_rewrite(void **state)
{
    (void)state;
    auto_hook_answer struct hook_answer answer = {.verdict = HOOK_GO, .aside = true};
    auto_hook_answer struct hook_answer read = {0};
    auto_buf struct buf text;
    struct err err = {0};
    buf_init(&text, HOOK_MESSAGE_MAX);
    assert_int_equal(hook_answer_format(&answer, &text, &err), 0);
    assert_non_null(strstr(buf_str(&text), "\nnodes-conf=aside\n"));
    assert_int_equal(hook_answer_parse((struct span){buf_str(&text), text.len}, &read, &err), 0);
    assert_true(read.aside);
    assert_false(read.rewrite);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aside_is_another_word_than_rewrite),
        cmocka_unit_test(test_start_says_every_fact),
        cmocka_unit_test(test_go_says_addresses_and_settings),
        cmocka_unit_test(test_every_verb_and_verdict_has_its_word),
        cmocka_unit_test(test_a_later_release_is_understood),
        cmocka_unit_test(test_a_setting_that_is_not_ours_is_passed_over),
        cmocka_unit_test(test_a_text_that_is_too_long_is_cut),
        cmocka_unit_test(test_control_bytes_cannot_forge_a_line),
        cmocka_unit_test(test_refuses_what_is_not_the_protocol),
        cmocka_unit_test(test_refuses_an_answer_that_would_harm),
        cmocka_unit_test(test_only_our_settings_with_a_plain_value_are_allowed),
        cmocka_unit_test(test_too_many_of_anything_is_refused),
        cmocka_unit_test(test_the_largest_cluster_fits),
        cmocka_unit_test(test_a_stream_is_cut_into_messages),
        cmocka_unit_test(test_a_wrong_stream_is_refused_at_its_first_bytes),
        cmocka_unit_test(test_an_endless_message_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
