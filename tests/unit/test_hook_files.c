/* SPDX-License-Identifier: Apache-2.0 */
/* What muster-hook finds out about a server and its data before the start, and what follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "hook/data_files.h"
#include "hook/file.h"
#include "hook/server_conf.h"
#include "hook/verdict.h"

static char dir[64];

static int setup(void **state)
{
    (void)state;
    text_format(dir, sizeof dir, "/tmp/muster-files-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    text_format(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static void write_bytes(const char *name, const void *bytes, size_t len)
{
    char path[256];
    struct err err = {0};
    assert_int_equal(file_join(dir, name, path, sizeof path, NULL), 0);
    if (file_replace(path, NULL, bytes, len, &err) < 0)
        fail_msg("%s", err.msg);
}

static void write_file(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

/* The path of a file in the directory, in one of four places of memory. */
static char *at(const char *name)
{
    static char paths[4][256];
    static size_t next;
    char *path = paths[next++ % 4];
    text_format(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

/* The words of exec are not const, though nobody changes them. */
#define READ(conf, ...)                                     \
    struct server_conf conf;                                \
    const char *const conf##_words[] = {__VA_ARGS__, NULL}; \
    server_conf_read((char *const *)(uintptr_t)conf##_words, &(conf))

/* ---- the words of a line ---- */

static void test_words_are_those_of_the_server(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *word;
        int result;
    } cases[] = {
        {"", "", 0},
        {"   ", "", 0},
        {"a b", "a", 1},
        {"\t a\tb", "a", 1},
        {"\"a b\" c", "a b", 1},
        {"'a b'", "a b", 1},
        {"\"\"", "", 1},
        {"\"\\x41\\n\\r\\t\\b\\a\\q\\\"\\\\\"", "A\n\r\t\b\aq\"\\", 1},
        {"\"\\xZZ\"", "xZZ", 1},
        {"'it\\'s'", "it's", 1},
        {"'\\n'", "\\n", 1},
        {"pre\"fix\"", "prefix", 1},
        {"\"a\"b", "", -1},
        {"\"a", "", -1},
        {"'a", "", -1},
        {"\"\\x00\"", "", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span rest = span_of(cases[i].text);
        char word[SERVER_WORD_SIZE] = "";
        if (server_conf_word(&rest, word) != cases[i].result)
            fail_msg("%s", cases[i].text);
        if (cases[i].result > 0)
            assert_string_equal(word, cases[i].word);
    }
    char long_word[SERVER_WORD_SIZE + 1], word[SERVER_WORD_SIZE];
    memset(long_word, 'x', sizeof long_word);
    struct span rest = {long_word, SERVER_WORD_SIZE};
    assert_int_equal(server_conf_word(&rest, word), -1);
    rest.len--;
    assert_int_equal(server_conf_word(&rest, word), 1);
}

/* ---- the command ---- */

static void test_defaults_are_those_of_redis(void **state)
{
    (void)state;
    READ(conf, "/usr/bin/redis-server");
    assert_true(conf.known);
    assert_string_equal(conf.server, "redis-server");
    assert_string_equal(conf.error, "");
    assert_string_equal(conf.dir, "");
    assert_string_equal(conf.nodes_conf, "nodes.conf");
    assert_string_equal(conf.dbfilename, "dump.rdb");
    assert_string_equal(conf.appenddirname, "appendonlydir");
    assert_string_equal(conf.appendfilename, "appendonly.aof");
    assert_int_equal(conf.appendonly, HOOK_FALSE);
    assert_int_equal(conf.save, HOOK_TRUE);
    assert_int_equal(conf.cluster_enabled, HOOK_FALSE);
}

static void test_arguments_are_read_as_the_server_does(void **state)
{
    (void)state;
    READ(conf, "tini", "--", "docker-entrypoint.sh", "valkey-server", "--appendonly", "yes",
         "--SAVE", "", "--dir", "/d\"q", "--cluster-enabled yes\nappenddirname b", "--save", "60",
         "1", "--dbfilename", "a b.rdb");
    assert_string_equal(conf.server, "valkey-server");
    assert_int_equal(conf.appendonly, HOOK_TRUE);
    assert_int_equal(conf.save, HOOK_TRUE);
    assert_int_equal(conf.cluster_enabled, HOOK_TRUE);
    assert_string_equal(conf.appenddirname, "b");
    assert_string_equal(conf.dir, "/d\"q");
    assert_string_equal(conf.dbfilename, "a b.rdb");
    READ(none, "redis-server", "--save", "60", "1", "--save", "");
    assert_int_equal(none.save, HOOK_FALSE);
    READ(other, "redis-server", "--appendonly", "maybe");
    assert_int_equal(other.appendonly, HOOK_UNKNOWN);
}

static void test_arguments_win_over_the_file(void **state)
{
    (void)state;
    write_file("redis.conf", "appendonly yes\r\n  # appendonly no\ndir /one\ndir two\n"
                             "bad \"quotes\nalone\ncluster-config-file \"my nodes.conf\"\n");
    READ(conf, "redis-server", at("redis.conf"), "--appendonly", "no");
    assert_int_equal(conf.appendonly, HOOK_FALSE);
    assert_string_equal(conf.dir, "/one/two");
    assert_string_equal(conf.nodes_conf, "my nodes.conf");
    READ(implied, "/usr/local/bin/docker-entrypoint.sh", at("redis.conf"));
    assert_true(implied.known);
    assert_string_equal(implied.server, "");
    assert_int_equal(implied.appendonly, HOOK_TRUE);
    READ(options, "docker-entrypoint.sh", "--appendonly", "yes");
    assert_true(options.known);
    assert_int_equal(options.appendonly, HOOK_TRUE);
}

static void test_includes_are_followed_in_order(void **state)
{
    (void)state;
    char conf_text[512];
    text_format(conf_text, sizeof conf_text, "include %s/conf.d/*.conf\ninclude %s/none*\n", dir,
                dir);
    write_file("redis.conf", conf_text);
    assert_int_equal(mkdir(at("conf.d"), 0700), 0);
    write_file("conf.d/20-b.conf", "dbfilename second\n");
    write_file("conf.d/10-a.conf", "dbfilename first\nappendonly yes\n");
    write_file("conf.d/.hidden.conf", "dbfilename hidden\n");
    write_file("conf.d/30.confx", "dbfilename other\n");
    READ(conf, "redis-server", at("redis.conf"));
    assert_string_equal(conf.error, "");
    assert_string_equal(conf.dbfilename, "second");
    assert_int_equal(conf.appendonly, HOOK_TRUE);
}

static void test_what_cannot_be_read_makes_the_mode_unknown(void **state)
{
    (void)state;
    write_file("inner.conf", "include /x.conf\n");
    write_file("classes.conf", "include /[a-c].conf\n");
    write_file("dirs.conf", "include /e*/x.conf\n");
    char outer[256];
    text_format(outer, sizeof outer, "appendonly yes\ninclude %s\n", at("inner.conf"));
    write_file("outer.conf", outer);
    static const char *const files[] = {"missing.conf", "outer.conf", "classes.conf", "dirs.conf"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        READ(conf, "redis-server", at(files[i]));
        assert_true(conf.known);
        assert_true(conf.error[0]);
        assert_int_equal(conf.appendonly, HOOK_UNKNOWN);
        assert_int_equal(conf.save, HOOK_UNKNOWN);
        assert_int_equal(conf.cluster_enabled, HOOK_UNKNOWN);
    }
    READ(told, "redis-server", at("missing.conf"), "--appendonly", "yes");
    assert_int_equal(told.appendonly, HOOK_TRUE);
    READ(input, "redis-server", "-");
    assert_int_equal(input.appendonly, HOOK_UNKNOWN);
    assert_int_equal(setenv("VALKEY_EXTRA_FLAGS", "--appendonly yes", 1), 0);
    READ(extra, "docker-entrypoint.sh", "valkey-server", "--appendonly", "no");
    assert_int_equal(unsetenv("VALKEY_EXTRA_FLAGS"), 0);
    assert_int_equal(extra.appendonly, HOOK_UNKNOWN);
}

static void test_other_commands_are_not_known(void **state)
{
    (void)state;
    READ(shell, "sh", "-c", "redis-server");
    assert_false(shell.known);
    assert_true(shell.error[0]);
    assert_int_equal(shell.appendonly, HOOK_UNKNOWN);
    READ(bitnami, "/opt/bitnami/scripts/redis-cluster/entrypoint.sh", "/run.sh");
    assert_false(bitnami.known);
    READ(empty, "docker-entrypoint.sh");
    assert_false(empty.known);
}

/* ---- the data ---- */

#define BYTES(text) text, sizeof(text) - 1
#define AUX                 \
    "\xfa\x09redis-ver\x06" \
    "7.0.15\xfa\x0aredis-bits\xc0\x40"

static void test_an_rdb_is_judged_by_its_first_database(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        enum hook_truth keys;
    } cases[] = {
        {BYTES(""), HOOK_FALSE},
        {BYTES("REDIS0010" AUX "\xff"
               "12345678"),
         HOOK_FALSE},
        {BYTES("VALKEY080" AUX "\xff"
               "12345678"),
         HOOK_FALSE},
        {BYTES("REDIS0010" AUX "\xfe\x00"), HOOK_TRUE},
        {BYTES("REDIS0012" AUX "\xf5\x03lib\xff"
               "12345678"),
         HOOK_FALSE},
        {BYTES("REDIS0012" AUX "\xf5\x40\x03lib\xfe"), HOOK_TRUE},
        {BYTES("REDIS0012\xf5\x80\0\0\0\x03lib\xfe"), HOOK_TRUE},
        {BYTES("REDIS0012\xf5\x81\0\0\0\0\0\0\0\x03lib\xfe"), HOOK_TRUE},
        {BYTES("REDIS0012\xf5\xc3\x02\x40\x50xy\xfe"), HOOK_TRUE},
        {BYTES("REDIS0012\xfa\xc1__\xc2____\xfe"), HOOK_TRUE},
        /* the head of an append-only file, with commands behind it */
        {BYTES("REDIS0010" AUX "\xff"
               "12345678*1\r\n"),
         HOOK_TRUE},
        /* cut, or of a form that is not known */
        {BYTES("REDIS"), HOOK_UNKNOWN},
        {BYTES("NOTREDIS0"), HOOK_UNKNOWN},
        {BYTES("REDIS0010"), HOOK_UNKNOWN},
        {BYTES("REDIS0010\xfa"), HOOK_UNKNOWN},
        {BYTES("REDIS0010\xfa\x09re"), HOOK_UNKNOWN},
        {BYTES("REDIS0010\xf5\x81\xff\xff\xff\xff\xff\xff\xff\xff"), HOOK_UNKNOWN},
        {BYTES("REDIS0010\xf5\x82\x01"), HOOK_UNKNOWN},
        {BYTES("REDIS0010\xf5\xc4\x01"), HOOK_UNKNOWN},
        {BYTES("REDIS0010\xf5\x40"), HOOK_UNKNOWN},
        {BYTES("REDIS0010\xf5\x80\x01"), HOOK_UNKNOWN},
        {BYTES("REDIS0010\xf7"), HOOK_UNKNOWN},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum hook_truth keys = HOOK_UNKNOWN;
        int64_t bytes = -1;
        write_bytes("dump.rdb", cases[i].bytes, cases[i].len);
        assert_int_equal(data_files_rdb(at("dump.rdb"), &keys, &bytes, NULL), 0);
        if (keys != cases[i].keys)
            fail_msg("case %zu: %d", i, (int)keys);
        assert_int_equal(bytes, cases[i].len);
    }
    enum hook_truth keys;
    int64_t bytes;
    assert_int_equal(data_files_rdb(at("none"), &keys, &bytes, NULL), E_NOT_FOUND);
    assert_int_equal(data_files_rdb(at("dump.rdb/x"), &keys, &bytes, NULL), E_SYSTEM);
}

static struct hook_facts facts_of(void)
{
    struct hook_facts facts = {0};
    READ(conf, "redis-server");
    data_files_read(dir, &conf, &facts);
    return facts;
}

static void test_an_empty_directory(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("lost+found"), 0700), 0);
    struct hook_facts facts = facts_of();
    assert_int_equal(facts.dir_empty, HOOK_TRUE);
    assert_int_equal(facts.nodes_conf, HOOK_NODES_CONF_ABSENT);
    assert_int_equal(facts.rdb, HOOK_FALSE);
    assert_int_equal(facts.aof, HOOK_FALSE);
    assert_string_equal(facts.data_dir_error, "");
    assert_string_equal(facts.data_dir, dir);
    write_file("nodes.conf", "");
    facts = facts_of();
    assert_int_equal(facts.dir_empty, HOOK_FALSE);
    assert_int_equal(facts.nodes_conf, HOOK_NODES_CONF_ABSENT);
}

static void test_a_directory_that_is_not_there(void **state)
{
    (void)state;
    assert_int_equal(rmdir(dir), 0);
    struct hook_facts facts = facts_of();
    assert_int_equal(facts.dir_empty, HOOK_UNKNOWN);
    assert_true(facts.data_dir_error[0]);
}

static void test_things_that_cannot_be_read(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("nodes.conf"), 0700), 0);
    write_file("appendonlydir", "a file");
    struct hook_facts facts = facts_of();
    assert_int_equal(facts.nodes_conf, HOOK_NODES_CONF_UNREADABLE);
    assert_true(facts.nodes_conf_error[0]);
    assert_true(facts.data_dir_error[0]);
    assert_int_equal(facts.aof, HOOK_UNKNOWN);
}

static void write_aof(const char *manifest, const char *base, const char *incr)
{
    (void)mkdir(at("appendonlydir"), 0700); /* it may be there from the case before */
    write_file("appendonlydir/appendonly.aof.manifest", manifest);
    if (base)
        write_file("appendonlydir/appendonly.aof.1.base.rdb", base);
    if (incr)
        write_file("appendonlydir/appendonly.aof.1.incr.aof", incr);
}

#define MANIFEST                                                      \
    "file appendonly.aof.1.base.rdb seq 1 type b\n"                   \
    "file \"appendonly.aof.1.incr.aof\" seq 1 type i startoffset 0\n" \
    "file gone seq 0 type h\n"

static void test_an_aof_is_what_its_manifest_names(void **state)
{
    (void)state;
    write_aof(MANIFEST,
              "REDIS0010\xff"
              "12345678",
              "");
    struct hook_facts facts = facts_of();
    assert_int_equal(facts.aof, HOOK_TRUE);
    assert_int_equal(facts.aof_complete, HOOK_TRUE);
    assert_int_equal(facts.aof_keys, HOOK_FALSE);
    assert_int_equal(facts.aof_base_bytes, 18);
    write_aof(MANIFEST, NULL, "*1\r\n");
    facts = facts_of();
    assert_int_equal(facts.aof_keys, HOOK_TRUE);
    assert_int_equal(facts.aof_incr_bytes, 4);
    write_aof(MANIFEST, "REDIS0010\xfe", "");
    facts = facts_of();
    assert_int_equal(facts.aof_keys, HOOK_TRUE);
    write_aof(MANIFEST "file other seq 2 type i\n", NULL, NULL);
    facts = facts_of();
    assert_int_equal(facts.aof_complete, HOOK_FALSE);
    static const char *const broken[] = {"file x\n", "seq 1 type b\n", "file\n",
                                         "file appendonly.aof.9.base.rdb seq 1 type b\n"};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        write_aof(broken[i], NULL, NULL);
        facts = facts_of();
        assert_int_equal(facts.aof, HOOK_TRUE);
        assert_int_equal(facts.aof_complete, HOOK_FALSE);
    }
}

static void test_the_single_aof_of_redis_6_counts(void **state)
{
    (void)state;
    write_file("appendonly.aof", "*2\r\n$6\r\nSELECT\r\n");
    struct hook_facts facts = facts_of();
    assert_int_equal(facts.aof, HOOK_TRUE);
    assert_int_equal(facts.aof_complete, HOOK_TRUE);
    assert_int_equal(facts.aof_keys, HOOK_TRUE);
    write_file("appendonly.aof", "");
    facts = facts_of();
    assert_int_equal(facts.aof_keys, HOOK_FALSE);
}

/* FAULTS C8: the file is cut to nothing, and the server would take the slots of its keys. */
static void test_a_nodes_conf_without_a_byte_beside_keys_is_corrupt(void **state)
{
    (void)state;
    write_file("nodes.conf", "");
    write_file("appendonly.aof", "*2\r\n$6\r\nSELECT\r\n");
    struct hook_facts facts = facts_of();
    assert_int_equal(facts.nodes_conf, HOOK_NODES_CONF_CORRUPT);
    assert_string_equal(facts.nodes_conf_error, "it has no byte, but there are keys beside it");
    write_file("appendonly.aof", ""); /* as a server leaves it that never took a key */
    assert_int_equal(facts_of().nodes_conf, HOOK_NODES_CONF_ABSENT);
    assert_int_equal(unlink(at("nodes.conf")), 0);
    write_file("appendonly.aof", "*2\r\n$6\r\nSELECT\r\n"); /* keys that somebody restored */
    assert_int_equal(facts_of().nodes_conf, HOOK_NODES_CONF_ABSENT);
}

/* ---- the verdict without an agent ---- */

static void judge(struct hook_facts facts, bool may, const char *says)
{
    char reason[HOOK_REASON_SIZE] = "";
    assert_int_equal(verdict_without_agent(&facts, reason), may);
    if (!strstr(reason, says))
        fail_msg("says \"%s\", not \"%s\"", reason, says);
}

static void test_only_those_that_cannot_harm_start_alone(void **state)
{
    (void)state;
    struct hook_facts f = {.nodes_conf = HOOK_NODES_CONF_ABSENT};
    judge(f, true, "new node");
    (void)TEXT_COPY(f.part.hex, span_of("0123456789abcdef0123456789abcdef01234567"));
    judge(f, false, "node 01234567 ran here with slots or replicas and this is not its volume");
    f.part = (struct node_id){""};
    text_format(f.data_dir_error, sizeof f.data_dir_error, "Input/output error");
    judge(f, false, "Input/output error");
    f = (struct hook_facts){.nodes_conf = HOOK_NODES_CONF_CORRUPT, .nodes_conf_error = "cut"};
    judge(f, false, "corrupt (cut)");
    f.nodes_conf = HOOK_NODES_CONF_UNREADABLE;
    judge(f, false, "cannot be read (cut)");
    f.nodes_conf = HOOK_NODES_CONF_UNKNOWN;
    judge(f, false, "cannot be read");

    f = (struct hook_facts){.nodes_conf = HOOK_NODES_CONF_PRESENT};
    f.myself.flags = NODE_MYSELF | NODE_REPLICA;
    judge(f, true, "was a replica");
    f.myself.flags = NODE_MYSELF | NODE_PRIMARY;
    judge(f, true, "owned no slots");
    f.myself.slot_count = 5461;
    f.appendonly = HOOK_FALSE;
    judge(f, false, "primary of 5461 slots and has not an RDB file with keys");
}

static void test_data_is_proven_in_the_mode_that_will_be_loaded(void **state)
{
    (void)state;
    static const enum hook_truth N = HOOK_FALSE, Y = HOOK_TRUE, U = HOOK_UNKNOWN;
    const struct {
        enum hook_truth appendonly, rdb, rdb_keys, aof, complete, aof_keys;
        bool proven;
    } cases[] = {
        {N, Y, Y, N, U, U, true},  {N, Y, N, Y, Y, Y, false}, {N, N, U, Y, Y, Y, false},
        {N, Y, U, N, U, U, false}, {N, U, U, N, U, U, false}, {Y, N, U, Y, Y, Y, true},
        {Y, Y, Y, N, U, U, false}, {Y, Y, Y, Y, N, Y, false}, {Y, Y, Y, Y, Y, N, false},
        {Y, Y, Y, Y, Y, U, false}, {U, Y, Y, Y, Y, Y, true},  {U, Y, Y, N, U, U, false},
        {U, N, U, Y, Y, Y, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hook_facts facts = {.nodes_conf = HOOK_NODES_CONF_PRESENT,
                                   .appendonly = cases[i].appendonly,
                                   .rdb = cases[i].rdb,
                                   .rdb_keys = cases[i].rdb_keys,
                                   .aof = cases[i].aof,
                                   .aof_complete = cases[i].complete,
                                   .aof_keys = cases[i].aof_keys};
        facts.myself.flags = NODE_PRIMARY;
        facts.myself.slot_count = 1;
        if (hook_facts_prove_data(&facts) != cases[i].proven)
            fail_msg("case %zu", i);
        judge(facts, cases[i].proven, cases[i].proven ? "its data is there" : "has not");
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_words_are_those_of_the_server),
        TEST(test_defaults_are_those_of_redis),
        TEST(test_arguments_are_read_as_the_server_does),
        TEST(test_arguments_win_over_the_file),
        TEST(test_includes_are_followed_in_order),
        TEST(test_what_cannot_be_read_makes_the_mode_unknown),
        TEST(test_other_commands_are_not_known),
        TEST(test_an_rdb_is_judged_by_its_first_database),
        TEST(test_an_empty_directory),
        TEST(test_a_directory_that_is_not_there),
        TEST(test_things_that_cannot_be_read),
        TEST(test_an_aof_is_what_its_manifest_names),
        TEST(test_the_single_aof_of_redis_6_counts),
        TEST(test_a_nodes_conf_without_a_byte_beside_keys_is_corrupt),
        TEST(test_only_those_that_cannot_harm_start_alone),
        TEST(test_data_is_proven_in_the_mode_that_will_be_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
