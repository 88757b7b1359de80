/* SPDX-License-Identifier: Apache-2.0 */
/* nodes.conf: read as the server reads it, and rewritten in nothing but the peers' addresses. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/nodes_conf.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccc"
#define VARS "vars currentEpoch 6 lastVoteEpoch 5\n"
#define ME A " 10.0.0.1:6379@16379 myself,master - 0 0 6 connected 0-5460 7000\n"

#define SAMPLES MUSTER_TESTS_DIR "/fuzz/corpus/nodes_conf"

static void read_sample(const char *name, struct buf *text)
{
    char path[512];
    text_format(path, sizeof path, "%s/%s", SAMPLES, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        assert_int_equal(buf_append(text, chunk, n), 0);
    assert_int_equal(fclose(file), 0);
}

static struct nodes_conf parsed(const char *text)
{
    struct nodes_conf conf = {0};
    struct err err = {0};
    if (nodes_conf_parse(span_of(text), &conf, &err) < 0)
        fail_msg("%s", err.msg);
    return conf;
}

static struct nodes_conf_address address(const char *id, const char *ip, uint16_t port,
                                         uint16_t bus_port)
{
    struct nodes_conf_address to = {.port = port, .bus_port = bus_port};
    TEXT_COPY(to.id.hex, span_of(id));
    TEXT_COPY(to.ip, span_of(ip));
    return to;
}

/* Checks the rewriting of `before` with one address. */
static void rewrites(const char *before, struct nodes_conf_address to, const char *after)
{
    struct err err = {0};
    auto_buf struct buf out;
    buf_init(&out, NODES_CONF_MAX);
    if (nodes_conf_rewrite(span_of(before), &to, 1, &out, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(buf_str(&out), after);
}

static void test_reads_what_matters_of_myself_and_the_peers(void **state)
{
    (void)state;
    auto_nodes_conf struct nodes_conf conf =
        parsed(B " 10.0.0.2:6380@16381,host.example,tls-port=0,shard-id=ff slave,fail? " A
                 " 0 1795226565042 6 connected\n" ME C
                 " :0@0 master,fail,noaddr - 1 2 18446744073709551615 disconnected\n" VARS);
    assert_int_equal(conf.count, 3);
    assert_int_equal(conf.current_epoch, 6);
    assert_int_equal(conf.last_vote_epoch, 5);
    assert_int_equal(conf.myself, 1);
    const struct nodes_conf_node *b = &conf.nodes[0], *a = &conf.nodes[1], *c = &conf.nodes[2];
    assert_string_equal(b->id.hex, B);
    assert_string_equal(b->primary.hex, A);
    assert_string_equal(b->ip, "10.0.0.2");
    assert_int_equal(b->port, 6380);
    assert_int_equal(b->bus_port, 16381);
    assert_int_equal(b->flags, NODE_REPLICA | NODE_PFAIL);
    assert_int_equal(a->flags, NODE_MYSELF | NODE_PRIMARY);
    assert_int_equal(a->epoch, 6);
    assert_int_equal(a->slot_count, 5462);
    assert_string_equal(a->primary.hex, "");
    assert_string_equal(c->ip, "");
    assert_int_equal(c->port, 0);
    assert_int_equal(c->flags, NODE_PRIMARY | NODE_FAIL | NODE_NOADDR);
    assert_true(c->epoch == UINT64_MAX);
}

static void test_reads_ipv6_and_the_form_without_a_bus_port(void **state)
{
    (void)state;
    auto_nodes_conf struct nodes_conf conf =
        parsed(A " fd00::7:6379@16379 myself,slave " B " 0 0 1 connected\n" B
                 " 10.0.0.2:6379 master - 0 0 1 connected\n" VARS);
    assert_string_equal(conf.nodes[0].ip, "fd00::7");
    assert_int_equal(conf.nodes[0].port, 6379);
    assert_int_equal(conf.nodes[1].bus_port, 16379);
}

static void test_accepts_what_servers_write_or_will_write(void **state)
{
    (void)state;
    static const char *const good[] = {
        /* padding of Redis before 7.0 */
        ME VARS "\n\n\n",
        /* half-done moves */
        A " 10.0.0.1:1@2 myself,master - 0 0 6 connected 1 [93->-" B "] [7000-<-" B "]\n" VARS,
        /* a flag, a variable and an auxiliary field of a later version */
        A " 10.0.0.1:1@2,h,new-field=x myself,master,shiny - 0 0 6 connected\n"
          "vars currentEpoch 1 lastVoteEpoch 0 newThing abc\n",
        /* before the first MEET */
        A " :6379@16379 myself,master - 0 0 0 connected\n" VARS,
        A " :0@0 myself,noflags - 0 0 0 connected\nvars currentEpoch 0 lastVoteEpoch 0\n",
        A " 10.0.0.1:1@2 myself,master - 0 0 0 connected 0-16383\n" VARS,
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct nodes_conf conf = parsed(good[i]);
        assert_int_equal(conf.count, 1);
        nodes_conf_deinit(&conf);
    }
}

static void test_refuses_what_is_corrupt_or_cut(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } bad[] = {
        {"", "is cut"},
        {"\n", "no vars line"},
        {ME, "no vars line"},
        {VARS, "0 lines with the flag myself"},
        {ME "vars currentEpoch 6 lastVoteEpoch 5", "last line has no end"},
        {ME "vars currentEpoch\n", "line 2: bad vars"},
        {ME "vars currentEpoch x lastVoteEpoch 5\n", "line 2: bad vars"},
        {ME "vars currentEpoch 1 lastVoteEpoch -5\n", "line 2: bad vars"},
        {ME VARS VARS, "line 3: bad vars"},
        {ME ME VARS, "twice"},
        {ME B " 10.0.0.2:1@2 myself,slave - 0 0 6 connected\n" VARS, "2 lines with"},
        {A " 10.0.0.1:1@2 myself,master - 0 0 6\n" VARS, "line 1: fewer than eight fields"},
        {A "a 10.0.0.1:1@2 myself,master - 0 0 6 connected\n" VARS, "line 1: bad id"},
        {"AAAAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 10.0.0.1:1@2 myself,master - 0 0 6 x\n" VARS,
         "bad id"},
        {A " 10.0.0.1 myself,master - 0 0 6 connected\n" VARS, "bad address"},
        {A " 10.0.0.1:x@2 myself,master - 0 0 6 connected\n" VARS, "bad address"},
        {A " 10.0.0.1:1@ myself,master - 0 0 6 connected\n" VARS, "bad address"},
        {A " 10.0.0.1:65536@2 myself,master - 0 0 6 connected\n" VARS, "bad address"},
        {A " 10.0.0.1:60000 myself,master - 0 0 6 connected\n" VARS, "bad address"},
        {A " 10.0.0.1\t:1@2 myself,master - 0 0 6 connected\n" VARS, "bad address"},
        {A " 0123456789012345678901234567890123456789012345678901234567890123456789:1@2 myself - "
           "0 0 6 connected\n" VARS,
         "bad address"},
        {A " 10.0.0.1:1@2 myself,,master - 0 0 6 connected\n" VARS, "bad flags"},
        {A " 10.0.0.1:1@2 myself,MASTER - 0 0 6 connected\n" VARS, "bad flags"},
        {A " 10.0.0.1:1@2 myself,slave " A "0 0 0 6 connected\n" VARS, "bad primary"},
        {A " 10.0.0.1:1@2 myself,master - 0 x 6 connected\n" VARS, "bad times"},
        {A " 10.0.0.1:1@2 myself,master - x 0 6 connected\n" VARS, "bad times"},
        {A " 10.0.0.1:1@2 myself,master - 0 0 -6 connected\n" VARS, "bad times or epoch"},
        {A " 10.0.0.1:1@2 myself,master - 0 0 6 connected 16384\n" VARS, "bad slots"},
        {A " 10.0.0.1:1@2 myself,master - 0 0 6 connected 5-4\n" VARS, "bad slots"},
        {A " 10.0.0.1:1@2 myself,master - 0 0 6 connected 5-\n" VARS, "bad slots"},
        {A " 10.0.0.1:1@2 myself,master - 0 0 6 connected 0-16383 7\n" VARS, "bad slots"},
        {A " 10.0.0.1:1@2 myself,master - 0 0 6 connected [93->-" B "\n" VARS, "bad slots"},
        {A " 10.0.0.1:1@2 myself,master - 0 0 6 connected [93]\n" VARS, "bad slots"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct nodes_conf conf = {.count = 77};
        struct err err = {0};
        assert_int_equal(nodes_conf_parse(span_of(bad[i].text), &conf, &err), E_INVALID);
        assert_int_equal(conf.count, 77);
        if (!strstr(err.msg, bad[i].says))
            fail_msg("%s: says \"%s\", not \"%s\"", bad[i].text, err.msg, bad[i].says);
        auto_buf struct buf out;
        buf_init(&out, NODES_CONF_MAX);
        assert_int_equal(nodes_conf_rewrite(span_of(bad[i].text), NULL, 0, &out, NULL), E_INVALID);
        assert_int_equal(out.len, 0);
    }
}

/* A cut anywhere is noticed, also where what is left would still be read by a server. */
static void test_refuses_every_prefix_of_a_real_file(void **state)
{
    (void)state;
    auto_buf struct buf text;
    buf_init(&text, NODES_CONF_MAX);
    read_sample("valkey-9-primary", &text);
    for (size_t len = 0; len < text.len; len++) {
        struct nodes_conf conf;
        assert_int_equal(nodes_conf_parse((struct span){buf_str(&text), len}, &conf, NULL),
                         E_INVALID);
    }
}

static void test_refuses_more_than_the_limits(void **state)
{
    (void)state;
    struct nodes_conf conf = {0};
    struct err err = {0};
    auto_buf struct buf text;
    buf_init(&text, NODES_CONF_MAX + 1);
    for (int i = 0; i <= NODES_MAX; i++)
        (void)buf_format(&text, "%040x 10.0.0.1:1@2 %s - 0 0 6 connected\n", (unsigned)i,
                         i ? "master" : "myself,master");
    (void)buf_append_str(&text, VARS);
    assert_int_equal(nodes_conf_parse(span_of(buf_str(&text)), &conf, &err), E_LIMIT);
    while (text.len <= NODES_CONF_MAX)
        (void)buf_append(&text, "\n", 1);
    assert_int_equal(nodes_conf_parse((struct span){text.bytes, text.len}, &conf, &err), E_LIMIT);
    assert_int_equal(conf.count, 0);
}

static void test_a_rewritten_file_may_not_grow_past_the_limit(void **state)
{
    (void)state;
    struct nodes_conf_address to = address(B, "fd00:1111:2222:3333:4444:5555:6666:7777", 6379, 1);
    auto_buf struct buf text;
    buf_init(&text, NODES_CONF_MAX);
    (void)buf_append_str(&text, ME B " 1.1.1.1:1@1 master - 0 0 1 connected\n" VARS);
    while (text.len < NODES_CONF_MAX)
        (void)buf_append(&text, "\n", 1);
    auto_buf struct buf out;
    buf_init(&out, NODES_CONF_MAX);
    struct span all = {text.bytes, text.len};
    assert_int_equal(nodes_conf_rewrite(all, &to, 1, &out, NULL), E_LIMIT);
    assert_int_equal(out.len, 0);
}

#define PEER(where, flags) \
    B " " where ",,tls-port=0,shard-id=0123 " flags "  " A " 0 17 6  connected\n"

static void test_rewrites_only_the_address_of_a_peer(void **state)
{
    (void)state;
    rewrites(PEER("10.0.0.2:6379@16379", "slave") ME VARS, address(B, "10.9.9.9", 6380, 16381),
             PEER("10.9.9.9:6380@16381", "slave") ME VARS);
    rewrites(PEER("10.0.0.2:6379@16379", "slave") ME VARS, address(B, "fd00::1", 6379, 16379),
             PEER("fd00::1:6379@16379", "slave") ME VARS);
    rewrites(PEER("fd00::1:6379@16379", "slave") ME VARS, address(B, "fd00::1", 6379, 16379),
             PEER("fd00::1:6379@16379", "slave") ME VARS);
    rewrites(PEER("10.0.0.2:6379@16379", "slave") ME VARS, address(B, "10.0.0.2", 6379, 1),
             PEER("10.0.0.2:6379@1", "slave") ME VARS);
}

static void test_never_rewrites_myself(void **state)
{
    (void)state;
    rewrites(ME VARS, address(A, "10.9.9.9", 1, 2), ME VARS);
    rewrites(ME VARS, address(C, "10.9.9.9", 1, 2), ME VARS);
}

static struct nodes_conf_address failing(const char *id)
{
    struct nodes_conf_address to = address(id, "", 0, 0);
    to.failing = true;
    return to;
}

/* What was found at the old address, failing or failed, is not true of another one, nor of none. */
static void test_an_unknown_address_becomes_noaddr_and_back(void **state)
{
    (void)state;
    const struct {
        const char *known, *unknown, *failing, *moved;
    } flags[] = {
        {PEER("10.0.0.2:1@2", "slave") ME VARS, PEER(":0@0", "slave,noaddr") ME VARS,
         PEER("127.0.0.1:1@1", "slave,fail?") ME VARS, PEER("10.0.0.9:1@2", "slave") ME VARS},
        {PEER("10.0.0.2:1@2", "slave,fail?") ME VARS, PEER(":0@0", "slave,noaddr") ME VARS,
         PEER("127.0.0.1:1@1", "slave,fail?") ME VARS, PEER("10.0.0.9:1@2", "slave") ME VARS},
        {PEER("10.0.0.2:1@2", "noflags") ME VARS, PEER(":0@0", "noaddr") ME VARS,
         PEER("127.0.0.1:1@1", "fail?") ME VARS, PEER("10.0.0.9:1@2", "noflags") ME VARS},
        {PEER("10.0.0.2:1@2", "master,fail,shiny") ME VARS,
         PEER(":0@0", "master,shiny,noaddr") ME VARS,
         PEER("127.0.0.1:1@1", "master,shiny,fail?") ME VARS,
         PEER("10.0.0.9:1@2", "master,shiny") ME VARS},
    };
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        rewrites(flags[i].known, address(B, "10.0.0.2", 1, 2), flags[i].known);
        rewrites(flags[i].known, address(B, "", 0, 0), flags[i].unknown);
        rewrites(flags[i].known, address(C, "10.0.0.3", 1, 2), flags[i].unknown);
        rewrites(flags[i].known, failing(B), flags[i].failing);
        rewrites(flags[i].unknown, address(B, "", 0, 0), flags[i].unknown);
        rewrites(flags[i].unknown, failing(B), flags[i].failing);
        rewrites(flags[i].failing, failing(B), flags[i].failing);
        rewrites(flags[i].known, address(B, "10.0.0.9", 1, 2), flags[i].moved);
        rewrites(flags[i].unknown, address(B, "10.0.0.9", 1, 2), flags[i].moved);
        rewrites(flags[i].failing, address(B, "10.0.0.9", 1, 2), flags[i].moved);
    }
}

static void test_the_same_addresses_give_the_same_bytes(void **state)
{
    (void)state;
    DIR *dir = opendir(SAMPLES);
    assert_non_null(dir);
    int samples = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strstr(entry->d_name, "redis-") && !strstr(entry->d_name, "valkey-"))
            continue;
        auto_buf struct buf text, out;
        buf_init(&text, NODES_CONF_MAX);
        buf_init(&out, NODES_CONF_MAX);
        read_sample(entry->d_name, &text);
        auto_nodes_conf struct nodes_conf conf = parsed(buf_str(&text));
        auto_free struct nodes_conf_address *to = xcalloc(conf.count, sizeof *to);
        for (size_t i = 0; i < conf.count; i++) {
            const struct nodes_conf_node *node = &conf.nodes[i];
            to[i] = address(node->id.hex, node->ip, node->port, node->bus_port);
        }
        struct span all = span_of(buf_str(&text));
        assert_int_equal(nodes_conf_rewrite(all, to, conf.count, &out, NULL), 0);
        assert_string_equal(buf_str(&out), buf_str(&text));
        samples++;
    }
    closedir(dir);
    assert_true(samples >= 18);
}

/* From known to unknown and back again, on the real files: nothing but addresses and noaddr. */
static void test_a_real_file_survives_the_loss_of_all_addresses(void **state)
{
    (void)state;
    static const char *const names[] = {"redis-7.0-replica", "redis-7.0-ipv6-primary",
                                        "redis-8.0-primary", "valkey-8.1-fail", "valkey-9-primary"};
    for (size_t n = 0; n < ARRAY_LEN(names); n++) {
        auto_buf struct buf text, lost, back;
        buf_init(&text, NODES_CONF_MAX);
        buf_init(&lost, NODES_CONF_MAX);
        buf_init(&back, NODES_CONF_MAX);
        read_sample(names[n], &text);
        auto_nodes_conf struct nodes_conf conf = parsed(buf_str(&text));
        assert_int_equal(nodes_conf_rewrite(span_of(buf_str(&text)), NULL, 0, &lost, NULL), 0);
        auto_nodes_conf struct nodes_conf without = parsed(buf_str(&lost));
        assert_int_equal(without.count, conf.count);
        auto_free struct nodes_conf_address *to = xcalloc(conf.count, sizeof *to);
        bool failing = false; /* which was said of the old address */
        for (size_t i = 0; i < conf.count; i++) {
            const struct nodes_conf_node *was = &conf.nodes[i], *is = &without.nodes[i];
            to[i] = address(was->id.hex, was->ip, was->port, was->bus_port);
            if (i == conf.myself) {
                assert_string_equal(is->ip, was->ip);
                continue;
            }
            assert_string_equal(is->ip, "");
            failing = failing || (was->ip[0] && was->flags & (NODE_FAIL | NODE_PFAIL));
            uint32_t old = was->ip[0] ? NODE_FAIL | NODE_PFAIL : 0;
            assert_int_equal(is->flags, (was->flags & ~old) | NODE_NOADDR);
            assert_int_equal(is->slot_count, was->slot_count);
        }
        struct span all = span_of(buf_str(&lost));
        assert_int_equal(nodes_conf_rewrite(all, to, conf.count, &back, NULL), 0);
        assert_int_equal(strcmp(buf_str(&back), buf_str(&text)) == 0, !failing);
    }
}

static void test_refuses_an_address_that_is_none(void **state)
{
    (void)state;
    const struct nodes_conf_address bad[] = {
        address(B, "redis-0", 6379, 16379),   address(B, "10.0.0.1 x", 6379, 16379),
        address(B, "10.0.0.1\n", 6379, 1),    address(B, "[::1]", 6379, 16379),
        address(B, "10.0.0.2", 0, 16379),     address(B, "10.0.0.2", 6379, 0),
        address(B, "10.0.0.256", 6379, 1637),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_buf struct buf out;
        buf_init(&out, NODES_CONF_MAX);
        assert_int_equal(nodes_conf_rewrite(span_of(ME VARS), &bad[i], 1, &out, NULL), E_INVALID);
        assert_int_equal(out.len, 0);
    }
}

static void test_flags_have_the_servers_names(void **state)
{
    (void)state;
    char text[NODES_CONF_FLAGS_SIZE];
    uint32_t flags;
    nodes_conf_format_flags(0, text);
    assert_string_equal(text, "noflags");
    for (uint32_t all = 1; all < 1u << 8; all++) {
        nodes_conf_format_flags(all, text);
        assert_true(nodes_conf_parse_flags(span_of(text), &flags));
        assert_int_equal(flags, all);
    }
    assert_true(nodes_conf_parse_flags(span_of("noflags"), &flags));
    assert_int_equal(flags, 0);
    assert_false(nodes_conf_parse_flags(span_of(""), &flags));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_matters_of_myself_and_the_peers),
        cmocka_unit_test(test_reads_ipv6_and_the_form_without_a_bus_port),
        cmocka_unit_test(test_accepts_what_servers_write_or_will_write),
        cmocka_unit_test(test_refuses_what_is_corrupt_or_cut),
        cmocka_unit_test(test_refuses_every_prefix_of_a_real_file),
        cmocka_unit_test(test_refuses_more_than_the_limits),
        cmocka_unit_test(test_a_rewritten_file_may_not_grow_past_the_limit),
        cmocka_unit_test(test_rewrites_only_the_address_of_a_peer),
        cmocka_unit_test(test_never_rewrites_myself),
        cmocka_unit_test(test_an_unknown_address_becomes_noaddr_and_back),
        cmocka_unit_test(test_the_same_addresses_give_the_same_bytes),
        cmocka_unit_test(test_a_real_file_survives_the_loss_of_all_addresses),
        cmocka_unit_test(test_refuses_an_address_that_is_none),
        cmocka_unit_test(test_flags_have_the_servers_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
