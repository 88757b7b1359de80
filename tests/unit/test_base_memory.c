/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation, arena, buffers, cleanups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdalign.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/limits.h"

/* True if `act` ends its process by abort(). */
static bool aborts(void (*act)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(STDERR_FILENO);
        act();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_alloc_copies(void **state)
{
    (void)state;
    auto_free char *copy = xstrdup("abc");
    assert_string_equal(copy, "abc");
    auto_free char *part = xstrndup("abcdef", 3);
    assert_string_equal(part, "abc");
    auto_free char *zeroed = xcalloc(3, 2);
    assert_memory_equal(zeroed, "\0\0\0\0\0\0", 6);
    auto_free char *none = xcalloc(0, 8);
    assert_non_null(none);
    auto_free char *grown = xrealloc(NULL, 2, 2);
    memcpy(grown, "abc", 4);
    grown = xrealloc(grown, 100, 2);
    assert_string_equal(grown, "abc");
    grown = xrealloc(grown, 0, 2);
    assert_non_null(grown);
}

static void overflow_realloc(void)
{
    free(xrealloc(NULL, SIZE_MAX, 2));
}

static void test_alloc_aborts_on_overflow(void **state)
{
    (void)state;
    assert_true(aborts(overflow_realloc));
}

static void test_arena_gives_zeroed_aligned_memory(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, MIB(1));
    for (size_t turn = 0; turn < 3; turn++) {
        unsigned char *last = NULL;
        for (size_t size = 0; size < 3000; size += 7) {
            unsigned char *p = ARENA_NEW(&arena, unsigned char, size);
            assert_ptr_not_equal(p, last);
            assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xee, size);
            if (size)
                last = p;
        }
        assert_true(arena.used_total > 600000);
        arena_reset(&arena);
        assert_int_equal(arena.used_total, 0);
    }
    assert_string_equal(arena_format(&arena, "%s-%d", "abc", 7), "abc-7");
    arena_deinit(&arena);
    assert_null(arena.blocks);
    assert_non_null(ARENA_NEW(&arena, int, 1));
    arena_deinit(&arena);
}

static void test_a_steady_turn_allocates_nothing(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, MIB(1));
    const struct arena_block *kept = NULL;
    for (size_t turn = 0; turn < 8; turn++) {
        for (size_t i = 0; i < 100; i++)
            (void)ARENA_NEW(&arena, char, 1000);
        if (turn >= 4)
            assert_ptr_equal(arena.blocks, kept);
        kept = arena.blocks;
        arena_reset(&arena);
        assert_ptr_equal(arena.blocks, kept);
    }
    arena_deinit(&arena);
}

static void exceed_arena(void)
{
    struct arena arena;
    arena_init(&arena, 1000);
    (void)ARENA_NEW(&arena, char, 900);
    (void)ARENA_NEW(&arena, char, 101);
}

static void overflow_arena(void)
{
    struct arena arena;
    arena_init(&arena, SIZE_MAX);
    (void)ARENA_NEW(&arena, uint64_t, SIZE_MAX / 4);
}

static void test_arena_aborts_past_its_ceiling(void **state)
{
    (void)state;
    assert_true(aborts(exceed_arena));
    assert_true(aborts(overflow_arena));
    struct arena arena;
    arena_init(&arena, 1024);
    assert_non_null(ARENA_NEW(&arena, char, 1024));
    arena_deinit(&arena);
}

static void test_buf_appends(void **state)
{
    (void)state;
    auto_buf struct buf buf;
    buf_init(&buf, 1000);
    assert_string_equal(buf_str(&buf), "");
    assert_int_equal(buf_append(&buf, NULL, 0), 0);
    assert_int_equal(buf_append(&buf, "a\0b", 3), 0);
    assert_int_equal(buf_append_str(&buf, "cd"), 0);
    assert_int_equal(buf_format(&buf, "-%d-%s", 12, "e"), 0);
    assert_int_equal(buf.len, 10);
    assert_memory_equal(buf.bytes, "a\0bcd-12-e", 11);
    buf_consume(&buf, 2);
    assert_string_equal(buf_str(&buf), "bcd-12-e");
    buf_consume(&buf, 0);
    buf_consume(&buf, 100);
    assert_string_equal(buf_str(&buf), "");
    assert_int_equal(buf.len, 0);
    buf_consume(&buf, 1);
    for (int i = 0; i < 200; i++)
        assert_int_equal(buf_append_str(&buf, "12345"), 0);
    assert_int_equal(buf.len, 1000);
}

static void test_buf_keeps_what_it_had_at_its_ceiling(void **state)
{
    (void)state;
    auto_buf struct buf buf;
    buf_init(&buf, 5);
    assert_int_equal(buf_append_str(&buf, "12345"), 0);
    assert_int_equal(buf_append_str(&buf, ""), 0);
    assert_int_equal(buf_append_str(&buf, "6"), E_LIMIT);
    assert_string_equal(buf_str(&buf), "12345");
    assert_true(buf.failed);
    /* From then on everything fails, so that nothing is left out in the middle. */
    buf_consume(&buf, 3);
    assert_int_equal(buf_append_str(&buf, "6"), E_LIMIT);
    assert_int_equal(buf_format(&buf, "%d", 6), E_LIMIT);
    assert_string_equal(buf_str(&buf), "45");
    buf_clear(&buf);
    assert_false(buf.failed);
    assert_string_equal(buf_str(&buf), "");
    assert_int_equal(buf_format(&buf, "%s", "123456"), E_LIMIT);
    buf_deinit(&buf);
    assert_int_equal(buf_append_str(&buf, "12345"), 0);
    buf_clear(&buf);
    assert_int_equal(buf_append(&buf, "x", SIZE_MAX), E_LIMIT);
    struct buf zeroed = {0};
    buf_deinit(&zeroed);
    buf_clear(&zeroed);
}

static void test_cleanups(void **state)
{
    (void)state;
    int fd;
    {
        auto_close int scoped = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(scoped >= 0);
        fd = scoped;
        auto_close int none = -1;
        (void)none;
    }
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    char *moved;
    {
        auto_free char *owned = xstrdup("x");
        moved = TAKE(owned);
        assert_null(owned);
    }
    assert_string_equal(moved, "x");
    free(moved);
    assert_int_equal(ARRAY_LEN(((int[]){1, 2, 3})), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_copies),
        cmocka_unit_test(test_alloc_aborts_on_overflow),
        cmocka_unit_test(test_arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(test_a_steady_turn_allocates_nothing),
        cmocka_unit_test(test_arena_aborts_past_its_ceiling),
        cmocka_unit_test(test_buf_appends),
        cmocka_unit_test(test_buf_keeps_what_it_had_at_its_ceiling),
        cmocka_unit_test(test_cleanups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
