/* SPDX-License-Identifier: Apache-2.0 */
/* Slots that move between two real servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "io/mover_client.h"
#include "unit/io_script.h"

#define KEYS 400
#define LIMIT_MS 60000
#define TRIES 5
#define ANSWER_SIZE 65536

enum { SOURCE = 0, DEST, SERVERS };

struct stage {
    struct loop *loop;
    struct peers *peers;
    struct io_redis redis[SERVERS];
    struct slot_pair pair;
    struct mover_client *client;
    bool functions;
    int64_t big_bytes;
    char answer[ANSWER_SIZE];
};

static void on_nothing(void *ctx)
{
    (void)ctx;
}

/* One command, one answer: its first line or, of a bulk string, what follows it. */
static const char *ask(struct stage *stage, size_t server, const char *command)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(stage->redis[server].port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    auto_close int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    io_send(fd, command);
    io_send(fd, "\r\nQUIT\r\n");
    size_t len = 0;
    ssize_t got;
    while (len < ANSWER_SIZE - 1 &&
           (got = read(fd, stage->answer + len, ANSWER_SIZE - 1 - len)) > 0)
        len += (size_t)got;
    stage->answer[len] = '\0';
    char *text = stage->answer;
    if (*text == '$')
        text = strchr(text, '\n') + 1;
    return text;
}

static struct node_id id_of(struct stage *stage, size_t server)
{
    struct node_id id;
    const char *text = ask(stage, server, "CLUSTER MYID");
    assert_true(node_id_parse((struct span){text, sizeof id.hex - 1}, &id));
    return id;
}

static bool knows_all(void *ctx)
{
    struct stage *stage = ctx;
    for (size_t i = 0; i < SERVERS; i++)
        if (!strstr(ask(stage, i, "CLUSTER INFO"), "cluster_state:ok") ||
            !strstr(stage->answer, "cluster_known_nodes:2"))
            return false;
    return true;
}

/* All slots and keys are the source's. */
static int setup(void **state)
{
    /* with replica migration who gives its last slot away becomes a replica */
    static const char *const options[] = {"--cluster-enabled",
                                          "yes",
                                          "--cluster-node-timeout",
                                          "500",
                                          "--cluster-allow-replica-migration",
                                          "no",
                                          NULL};
    struct stage *stage = calloc(1, sizeof *stage);
    char command[128];
    stage->loop = loop_new(NULL);
    struct peers_config peers = {
        .username = "", .password_file = "", .seed = 1, .on_change = on_nothing, .ctx = stage};
    stage->peers = peers_new(stage->loop, &peers);
    for (size_t i = 0; i < SERVERS; i++)
        io_redis_start(&stage->redis[i], options);
    (void)ask(stage, SOURCE, "CLUSTER ADDSLOTSRANGE 0 16383");
    text_format(command, sizeof command, "CLUSTER MEET 127.0.0.1 %u", stage->redis[DEST].port);
    (void)ask(stage, SOURCE, command);
    assert_true(io_run_until(stage->loop, knows_all, stage, LIMIT_MS));
    stage->pair.source = id_of(stage, SOURCE);
    stage->pair.dest = id_of(stage, DEST);
    for (int i = 0; i < KEYS; i++) {
        text_format(command, sizeof command, "SET key:%d value:%d", i, i);
        assert_memory_equal(ask(stage, SOURCE, command), "+OK", 3);
    }
    *state = stage;
    return 0;
}

static int teardown(void **state)
{
    struct stage *stage = *state;
    mover_client_free(stage->client);
    peers_free(stage->peers);
    loop_free(stage->loop);
    for (size_t i = 0; i < SERVERS; i++)
        io_redis_stop(&stage->redis[i]);
    free(stage);
    return 0;
}

static void begin(struct stage *stage, unsigned first, unsigned last)
{
    struct slot_range range = {(uint16_t)first, (uint16_t)last};
    struct mover_client_config config = {
        .link = {.peers = stage->peers,
                 .pair = stage->pair,
                 .source = {"127.0.0.1", stage->redis[SOURCE].port},
                 .dest = {"127.0.0.1", stage->redis[DEST].port},
                 .migrate_port = stage->redis[DEST].port,
                 .big_bytes = stage->big_bytes},
        .ranges = &range,
        .range_count = 1,
        .functions = stage->functions,
        .on_end = on_nothing,
    };
    mover_client_free(stage->client);
    stage->client = mover_client_new(stage->loop, &config);
}

static bool has_ended(void *ctx)
{
    enum mover_end end;
    return mover_client_ended(((struct stage *)ctx)->client, &end);
}

static enum mover_end wait_for(struct stage *stage)
{
    enum mover_end end;
    assert_true(io_run_until(stage->loop, has_ended, stage, LIMIT_MS));
    assert_true(mover_client_ended(stage->client, &end));
    return end;
}

/* As the agent does: what is blocked for now is tried again. */
static void move(struct stage *stage, unsigned first, unsigned last)
{
    enum mover_end end = MOVER_END_BLOCKED;
    for (int i = 0; i < TRIES && end != MOVER_END_DONE; i++) {
        begin(stage, first, last);
        end = wait_for(stage);
        if (end != MOVER_END_DONE)
            print_message("again: %s\n", mover_client_report(stage->client).why);
    }
    assert_int_equal(end, MOVER_END_DONE);
}

static long keys_at(struct stage *stage, size_t server)
{
    int64_t keys = -1;
    struct span rest = span_of(ask(stage, server, "DBSIZE") + 1);
    assert_true(text_to_i64(span_until(&rest, '\r'), 0, INT64_MAX, &keys));
    return (long)keys;
}

static bool is_open(struct stage *stage)
{
    return strchr(ask(stage, SOURCE, "CLUSTER NODES"), '[') ||
           strchr(ask(stage, DEST, "CLUSTER NODES"), '[');
}

static void test_all_keys_go_with_their_slots(void **state)
{
    struct stage *stage = *state;
    move(stage, 0, SLOT_COUNT - 1);
    assert_int_equal(keys_at(stage, SOURCE), 0);
    assert_int_equal(keys_at(stage, DEST), KEYS);
    assert_memory_equal(ask(stage, DEST, "GET key:7"), "value:7", 7);
    assert_false(is_open(stage));
}

static const char library[] =
    "*4\r\n$8\r\nFUNCTION\r\n$4\r\nLOAD\r\n$7\r\nREPLACE\r\n$82\r\n"
    "#!lua name=lib\nredis.register_function('seven', function(keys, args) return 7 end)";

/* Which of the two knows the library's function, in a slot of its own. */
static bool knows_seven(struct stage *stage, size_t server)
{
    return memcmp(ask(stage, server, "FCALL seven 0"), ":7", 2) == 0;
}

static void test_functions_come_before_the_first_slot(void **state)
{
    struct stage *stage = *state;
    assert_memory_equal(ask(stage, SOURCE, library), "lib", 3);
    move(stage, 0, 9);
    assert_false(knows_seven(stage, DEST));
    stage->functions = true;
    move(stage, 10, 19);
    assert_true(knows_seven(stage, DEST));
    assert_memory_equal(ask(stage, SOURCE, "FUNCTION FLUSH"), "+OK", 3);
    move(stage, 20, 29); /* what it has it keeps */
    assert_true(knows_seven(stage, DEST));
}

/* As by an ACL: its clients would find their keys, and not what they call. */
static void test_no_slot_goes_without_functions(void **state)
{
    struct stage *stage = *state;
    assert_memory_equal(ask(stage, SOURCE, library), "lib", 3);
    assert_memory_equal(ask(stage, DEST, "ACL SETUSER default -function|restore"), "+OK", 3);
    stage->functions = true;
    begin(stage, 0, 9);
    assert_int_equal(wait_for(stage), MOVER_END_BLOCKED);
    assert_non_null(strstr(mover_client_report(stage->client).why,
                           "the destination does not take the source's functions: NOPERM"));
    assert_false(is_open(stage));
    assert_memory_equal(ask(stage, SOURCE, "FUNCTION FLUSH"), "+OK", 3);
    move(stage, 0, 9);
}

/* {a} is in slot 15495, {b} in 3300. */
static void write_big(struct stage *stage, const char *key, int bytes)
{
    char command[128];
    text_format(command, sizeof command, "SETRANGE %s %d x", key, bytes - 1);
    assert_int_equal(*ask(stage, SOURCE, command), ':');
}

/* One key stops its own slot only, and only before it is opened. */
static void test_a_big_key_stays(void **state)
{
    struct stage *stage = *state;
    char key[16];
    write_big(stage, "{a}big", 100000);
    for (int i = 0; i < 600; i++) { /* more than are weighed in one exchange */
        text_format(key, sizeof key, "{b}%d", i);
        write_big(stage, key, 3000);
    }
    stage->big_bytes = 50000;
    begin(stage, 0, SLOT_COUNT - 1);
    assert_int_equal(wait_for(stage), MOVER_END_BLOCKED);
    struct mover_report report = mover_client_report(stage->client);
    assert_int_equal(report.slots_done, SLOT_COUNT - 1);
    assert_non_null(strstr(report.why, "slot 15495: a key of the slot is too big to be moved"));
    assert_non_null(strstr(report.why, ": {a}big has 1"));
    assert_in_range(keys_at(stage, SOURCE), 1, 2); /* whoever else is in its slot */
    assert_int_equal(keys_at(stage, SOURCE) + keys_at(stage, DEST), KEYS + 601);
    assert_false(is_open(stage));
    stage->big_bytes = 0;
    move(stage, 0, SLOT_COUNT - 1);
    assert_int_equal(keys_at(stage, SOURCE), 0);
}

/* The right is missing: what it costs is not known, and nothing is left. */
static void test_who_does_not_tell_sizes_is_moved(void **state)
{
    struct stage *stage = *state;
    write_big(stage, "{a}big", 100000);
    assert_memory_equal(ask(stage, SOURCE, "ACL SETUSER default -memory|usage"), "+OK", 3);
    stage->big_bytes = 50000;
    move(stage, 15000, SLOT_COUNT - 1);
}

static bool has_moved_some(void *ctx)
{
    return mover_client_report(((struct stage *)ctx)->client).keys_moved > 0;
}

/* Stopped between two orders, also in the middle of a window: the next one goes on from there. */
static void test_what_is_stopped_goes_on(void **state)
{
    struct stage *stage = *state;
    begin(stage, 0, SLOT_COUNT - 1);
    assert_true(io_run_until(stage->loop, has_moved_some, stage, LIMIT_MS));
    mover_client_stop(stage->client);
    assert_int_equal(wait_for(stage), MOVER_END_STOPPED);
    long moved = keys_at(stage, DEST);
    assert_in_range(moved, 1, KEYS - 1);
    assert_int_equal(keys_at(stage, SOURCE), KEYS - moved);
    move(stage, 0, SLOT_COUNT - 1);
    assert_int_equal(keys_at(stage, DEST), KEYS);
    assert_false(is_open(stage));
}

static void test_another_node_gets_nothing(void **state)
{
    struct stage *stage = *state;
    stage->pair.dest.hex[0] = stage->pair.dest.hex[0] == 'a' ? 'b' : 'a';
    begin(stage, 0, 99);
    assert_int_equal(wait_for(stage), MOVER_END_LOST);
    assert_string_equal(mover_client_report(stage->client).why,
                        "the destination: it is another node now");
    assert_int_equal(keys_at(stage, DEST), 0);
    assert_false(is_open(stage));
}

/* It is lost, or what was ordered last is: the source keeps what has not arrived. */
static void test_a_destination_that_dies_ends_it(void **state)
{
    struct stage *stage = *state;
    begin(stage, 0, SLOT_COUNT - 1);
    assert_true(io_run_until(stage->loop, has_moved_some, stage, LIMIT_MS));
    long moved = keys_at(stage, DEST);
    io_redis_stop(&stage->redis[DEST]);
    enum mover_end end = wait_for(stage);
    assert_true(end == MOVER_END_LOST || end == MOVER_END_UNSURE || end == MOVER_END_BLOCKED);
    assert_true(mover_client_report(stage->client).why[0]);
    assert_in_range(keys_at(stage, SOURCE), 1, KEYS - moved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_keys_go_with_their_slots, setup, teardown),
        cmocka_unit_test_setup_teardown(test_functions_come_before_the_first_slot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_slot_goes_without_functions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_big_key_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_does_not_tell_sizes_is_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_stopped_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_node_gets_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_destination_that_dies_ends_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
