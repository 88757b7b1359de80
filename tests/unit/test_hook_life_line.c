/* SPDX-License-Identifier: Apache-2.0 */
/* Does the server beside us run: by its life line, by its lock, and where the socket is. */
#include "unit/hook_fixture.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"

/* After an agent's restart: no life line, but the lock. */
static void test_a_server_without_a_life_line_is_known_by_its_lock(void **state)
{
    struct hook_fixture *f = *state;
    int fd = hook_fixture_lock(f);
    assert_true(hook_server_server_running(f->server));
    loop_run_for(f->loop, 7 * HOOK_LOCK_POLL_MS);
    assert_int_equal(f->gone, 0);
    close(fd);
    assert_false(hook_server_server_running(f->server));
    loop_run_for(f->loop, 2 * HOOK_LOCK_POLL_MS);
    assert_int_equal(f->gone, 1);
    loop_run_for(f->loop, 3 * HOOK_LOCK_POLL_MS);
    assert_int_equal(f->gone, 1);
}

/* The kernel closes the one before the other: the end of the life line is what counts. */
static void test_the_end_of_the_life_line_outweighs_the_lock(void **state)
{
    struct hook_fixture *f = *state;
    int held = hook_fixture_lock(f);
    int fd = hook_fixture_ask(f, HOOK_FIXTURE_START);
    hook_fixture_answer(f, HOOK_GO, "");
    loop_run_for(f->loop, 20);
    close(fd);
    loop_run_for(f->loop, 20);
    assert_int_equal(f->gone, 1);
    assert_false(hook_server_server_running(f->server));
    close(held);
}

static void test_a_start_proves_the_death_of_a_server_known_by_its_lock(void **state)
{
    struct hook_fixture *f = *state;
    int fd = hook_fixture_lock(f);
    loop_run_for(f->loop, 7 * HOOK_LOCK_POLL_MS);
    int start = hook_fixture_ask(f, HOOK_FIXTURE_START);
    assert_int_equal(f->gone, 1);
    assert_int_equal(f->starts, 1);
    assert_false(hook_server_server_running(f->server));
    close(start);
    close(fd);
}

static void test_a_hook_that_comes_to_the_gate_is_no_dead_server(void **state)
{
    struct hook_fixture *f = *state;
    int fd = hook_fixture_lock(f);
    loop_run_for(f->loop, 2 * HOOK_LOCK_POLL_MS);
    int start = hook_fixture_ask(f, HOOK_FIXTURE_START);
    close(fd);
    close(start);
    loop_run_for(f->loop, 3 * HOOK_LOCK_POLL_MS);
    assert_int_equal(f->gone, 0);
}

static int open_at(struct hook_fixture *f, const char *path, struct err *err)
{
    struct hook_server_config config = hook_fixture_config(f);
    struct hook_server *server = NULL;
    config.socket_path = path;
    int r = hook_server_new(&config, &server, err);
    assert_int_equal(server != NULL, r == 0);
    hook_server_free(server);
    return r;
}

static void test_the_socket_is_ours_alone_and_a_stale_one_is_replaced(void **state)
{
    struct hook_fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(f->socket_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    struct err err = {0};
    assert_int_equal(open_at(f, f->socket_path, &err), E_BUSY);
    hook_server_free(f->server);
    assert_int_equal(stat(f->socket_path, &st), -1);

    /* what a killed agent leaves */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    TEXT_COPY(address.sun_path, span_of(f->socket_path));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    hook_fixture_open(f);
    hook_fixture_hears_and_close(hook_fixture_ask(f, "muster-hook/1 ready\n\n"),
                                 "muster-agent/1 no\n");
}

static void test_a_path_that_cannot_be_used_is_told(void **state)
{
    struct hook_fixture *f = *state;
    struct err err = {0};
    char path[512];
    text_format(path, sizeof path, "%s/server.lock", f->dir);
    assert_int_equal(open_at(f, path, &err), E_INVALID);
    assert_non_null(strstr(err.msg, "is no socket"));
    text_format(path, sizeof path, "%s/none/agent.sock", f->dir);
    assert_int_equal(open_at(f, path, &err), E_SYSTEM);
    assert_non_null(strstr(err.msg, path));
    text_format(path, sizeof path, "%s/%0120d", f->dir, 0);
    assert_int_equal(open_at(f, path, &err), E_INVALID);
    text_format(path, sizeof path, "%s/%0300d", f->dir, 0);
    assert_int_equal(open_at(f, path, &err), E_INVALID);
    assert_int_equal(open_at(f, "", &err), E_INVALID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, hook_fixture_setup, hook_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_server_without_a_life_line_is_known_by_its_lock),
        TEST(test_the_end_of_the_life_line_outweighs_the_lock),
        TEST(test_a_start_proves_the_death_of_a_server_known_by_its_lock),
        TEST(test_a_hook_that_comes_to_the_gate_is_no_dead_server),
        TEST(test_the_socket_is_ours_alone_and_a_stale_one_is_replaced),
        TEST(test_a_path_that_cannot_be_used_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
