/* SPDX-License-Identifier: Apache-2.0 */
/* Whose data the own server has: as was seen, not as was ordered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/election.h"

static struct pod pod;
static struct world world;
static struct view_node nodes[3]; /* by id: the two primaries and the own server */
static struct view view;
static struct own_copy copy;

static int setup(void **state)
{
    (void)state;
    nodes[0] = (struct view_node){.id = {"aa"}, .ip = "10.0.0.1", .port = 6379};
    nodes[1] = (struct view_node){.id = {"bb"}, .ip = "10.0.0.2", .port = 6379};
    nodes[2] = (struct view_node){.id = {"cc"}, .primary = {"aa"}};
    view = (struct view){.nodes = nodes, .node_count = 3, .myself = &nodes[2]};
    pod = (struct pod){.server = {.reach = REACH_OK,
                                  .seen_ms = 1000,
                                  .view = &view,
                                  .view_ms = 1000,
                                  .id = {"cc"},
                                  .link_up = true,
                                  .primary_ip = "10.0.0.1",
                                  .primary_port = 6379}};
    world = (struct world){.now_ms = 1000, .pods = &pod, .pod_count = 1};
    copy = (struct own_copy){{""}, {""}};
    election_note(&copy, &world);
    return 0;
}

static void test_a_replica_in_sync_has_its_primarys(void **state)
{
    (void)state;
    assert_string_equal(copy.id.hex, "cc");
    assert_string_equal(copy.of.hex, "aa");
}

/* It is told to copy another one: of that it has nothing until it is in sync. */
static void test_what_is_to_be_copied_is_not_there_yet(void **state)
{
    (void)state;
    nodes[2].primary = (struct node_id){"bb"}; /* the view was read later than the role */
    election_note(&copy, &world);
    assert_string_equal(copy.of.hex, "aa");
    text_format(pod.server.primary_ip, sizeof pod.server.primary_ip, "10.0.0.2");
    pod.server.link_up = false;
    election_note(&copy, &world);
    assert_string_equal(copy.of.hex, "aa");
    pod.server.link_up = true;
    election_note(&copy, &world);
    assert_string_equal(copy.of.hex, "bb");
}

static void test_a_primary_with_slots_has_its_own(void **state)
{
    (void)state;
    pod.server.primary = true;
    election_note(&copy, &world);
    assert_string_equal(copy.of.hex, "aa"); /* it owns none */
    nodes[2].slot_count = 1;
    election_note(&copy, &world);
    assert_string_equal(copy.of.hex, "cc");
}

static void test_another_server_has_nothing(void **state)
{
    (void)state;
    pod.server.id = (struct node_id){"dd"};
    pod.server.link_up = false;
    election_note(&copy, &world);
    assert_string_equal(copy.id.hex, "dd");
    assert_string_equal(copy.of.hex, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_replica_in_sync_has_its_primarys, setup),
        cmocka_unit_test_setup(test_what_is_to_be_copied_is_not_there_yet, setup),
        cmocka_unit_test_setup(test_a_primary_with_slots_has_its_own, setup),
        cmocka_unit_test_setup(test_another_server_has_nothing, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
