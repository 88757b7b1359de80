/* SPDX-License-Identifier: Apache-2.0 */
/* What a server would load is renamed, never deleted (hook/aside.h). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "hook/aside.h"
#include "hook/file.h"

#define NOW 1700000000

static char dir[64];
static struct server_conf conf;
static struct hook_facts facts;

static int setup(void **state)
{
    (void)state;
    text_format(dir, sizeof dir, "/tmp/muster-aside-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    conf = (struct server_conf){.dbfilename = "dump.rdb",
                                .appenddirname = "appendonlydir",
                                .appendfilename = "appendonly.aof"};
    facts = (struct hook_facts){0};
    text_format(facts.data_dir, sizeof facts.data_dir, "%s", dir);
    text_format(facts.nodes_conf_file, sizeof facts.nodes_conf_file, "%s/nodes.conf", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    text_format(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static const char *at(const char *name)
{
    static char paths[4][256];
    static size_t next;
    char *path = paths[next++ % 4];
    text_format(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    struct err err = {0};
    assert_int_equal(file_replace(at(name), NULL, text, strlen(text), &err), 0);
}

static void assert_text(const char *name, const char *text)
{
    struct err err = {0};
    auto_buf struct buf found;
    buf_init(&found, 1000);
    if (file_read(at(name), &found, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(buf_str(&found), text);
}

static void test_all_that_a_server_would_load_is_renamed(void **state)
{
    (void)state;
    struct err err = {0};
    size_t count = 0;
    write_file("nodes.conf", "broken");
    write_file("dump.rdb", "data");
    write_file("users.acl", "not the server's data");
    assert_int_equal(mkdir(at("appendonlydir"), 0755), 0);
    write_file("appendonlydir/appendonly.aof.manifest", "list");
    assert_int_equal(aside_move(&conf, &facts, NOW, &count, &err), 0);
    assert_int_equal(count, 3);
    assert_text("nodes.conf.muster-aside-1700000000", "broken");
    assert_text("dump.rdb.muster-aside-1700000000", "data");
    assert_text("appendonlydir.muster-aside-1700000000/appendonly.aof.manifest", "list");
    assert_text("users.acl", "not the server's data");
    assert_int_equal(access(at("nodes.conf"), F_OK), -1);
    assert_int_equal(access(at("dump.rdb"), F_OK), -1);
    assert_int_equal(access(at("appendonlydir"), F_OK), -1);
}

static void test_what_was_set_aside_before_is_kept(void **state)
{
    (void)state;
    struct err err = {0};
    size_t count = 0;
    write_file("nodes.conf", "first");
    assert_int_equal(aside_move(&conf, &facts, NOW, &count, &err), 0);
    write_file("nodes.conf", "second");
    assert_int_equal(aside_move(&conf, &facts, NOW, &count, &err), 0);
    assert_text("nodes.conf.muster-aside-1700000000", "first");
    assert_text("nodes.conf.muster-aside-1700000001", "second");
    assert_int_equal(aside_move(&conf, &facts, NOW, &count, &err), 0);
    assert_int_equal(count, 0);
}

static void test_a_file_in_use_stays(void **state)
{
    (void)state;
    struct err err = {0};
    size_t count = 0;
    write_file("nodes.conf", "in use");
    write_file("dump.rdb", "data");
    auto_close int fd = open(at("nodes.conf"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(aside_move(&conf, &facts, NOW, &count, &err), E_BUSY);
    assert_text("nodes.conf", "in use");
    assert_text("dump.rdb", "data");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_that_a_server_would_load_is_renamed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_was_set_aside_before_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_in_use_stays, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
