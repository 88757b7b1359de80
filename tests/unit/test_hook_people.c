/* SPDX-License-Identifier: Apache-2.0 */
/* What people order over the hook's socket: the words, and who is answered when. */
#include "unit/hook_fixture.h"

#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/limits.h"

static void test_an_order_is_said_as_it_is_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "muster-hook/1 failover\npod=muster-3\nlook=yes\n\n",
        "muster-hook/1 failover\npod=muster-3\n\n",
        "muster-hook/1 pause\nreason=new disks = more\nfor=1800000\n\n",
        "muster-hook/1 pause\n\n",
        "muster-hook/1 resume\n\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        auto_hook_request struct hook_request request = {0};
        auto_buf struct buf out;
        buf_init(&out, HOOK_MESSAGE_MAX);
        assert_int_equal(hook_request_parse(span_of(texts[i]), &request, NULL), 0);
        assert_int_equal(hook_request_format(&request, &out, NULL), 0);
        assert_string_equal(buf_str(&out), texts[i]);
    }
}

static void test_what_is_no_order_is_refused(void **state)
{
    (void)state;
    char text[256];
    struct err err = {0};
    struct hook_request request;
    text_format(text, sizeof text, "muster-hook/1 failover\npod=%0100d\n\n", 0);
    assert_int_equal(hook_request_parse(span_of(text), &request, &err), E_PROTO);
    text_format(text, sizeof text, "muster-hook/1 pause\nfor=-1\n\n");
    assert_int_equal(hook_request_parse(span_of(text), &request, &err), E_PROTO);
    text_format(text, sizeof text, "muster-hook/1 pause\nreason=%0150d\n\n", 7);
    assert_int_equal(hook_request_parse(span_of(text), &request, &err), 0);
    assert_int_equal(strlen(request.person.reason), RECORD_PAUSE_REASON_SIZE - 1); /* cut */
    hook_request_deinit(&request);
}

static void test_a_person_is_answered_by_a_later_turn(void **state)
{
    struct hook_fixture *f = *state;
    hook_server_answer_person(f->server, HOOK_OK, "nobody asked");
    int fd = hook_fixture_ask(f, "muster-hook/1 failover\npod=muster-3\n\n");
    assert_int_equal(f->persons, 1);
    assert_int_equal(f->person_verb, HOOK_FAILOVER);
    assert_string_equal(f->person.pod, "muster-3");
    hook_fixture_hears(fd, "", false);
    hook_server_answer_person(f->server, HOOK_OK, "begun");
    hook_fixture_hears_and_close(fd, "muster-agent/1 ok\nreason=begun\n\n");
}

static void test_one_order_after_the_other(void **state)
{
    struct hook_fixture *f = *state;
    int first = hook_fixture_ask(f, "muster-hook/1 pause\n\n");
    int second = hook_fixture_ask(f, "muster-hook/1 resume\n\n");
    assert_int_equal(f->persons, 1);
    hook_fixture_hears_and_close(second, "muster-agent/1 no\nreason=another order is just");
    hook_server_answer_person(f->server, HOOK_NO, "not written");
    hook_fixture_hears_and_close(first, "muster-agent/1 no\nreason=not written\n\n");
    second = hook_fixture_ask(f, "muster-hook/1 resume\n\n");
    assert_int_equal(f->persons, 2);
    close(second); /* who goes away waits no more */
    loop_run_for(f->loop, 20);
    first = hook_fixture_ask(f, "muster-hook/1 resume\n\n");
    assert_int_equal(f->persons, 3);
    close(first);
}

/* `muster failover POD --wait` asks four times a second: it must not hear of somebody else's order. */
static void test_who_looks_is_answered_beside_who_waits(void **state)
{
    struct hook_fixture *f = *state;
    int waits = hook_fixture_ask(f, "muster-hook/1 pause\n\n");
    f->person_says = HOOK_WAIT;
    int looks = hook_fixture_ask(f, "muster-hook/1 failover\npod=muster-3\nlook=yes\n\n");
    assert_int_equal(f->persons, 2);
    hook_fixture_hears_and_close(looks, /* "wait" is an answer, too */
                                 "muster-agent/1 wait\nreason=so says the owner\n\n");
    f->person_says = HOOK_NO;
    looks = hook_fixture_ask(f, "muster-hook/1 failover\npod=muster-3\nlook=yes\n\n");
    hook_fixture_hears_and_close(looks, "muster-agent/1 no\nreason=so says the owner\n\n");
    looks = hook_fixture_ask(f, "muster-hook/1 pause\nlook=yes\n\n"); /* is an order */
    hook_fixture_hears_and_close(looks, "muster-agent/1 no\nreason=another order is just");
    hook_server_answer_person(f->server, HOOK_OK, "paused");
    hook_fixture_hears_and_close(waits, "muster-agent/1 ok\nreason=paused\n\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_order_is_said_as_it_is_read),
        cmocka_unit_test(test_what_is_no_order_is_refused),
        cmocka_unit_test_setup_teardown(test_a_person_is_answered_by_a_later_turn,
                                        hook_fixture_setup, hook_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_one_order_after_the_other, hook_fixture_setup,
                                        hook_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_who_looks_is_answered_beside_who_waits,
                                        hook_fixture_setup, hook_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
