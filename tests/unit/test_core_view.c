/* SPDX-License-Identifier: Apache-2.0 */
/* Node ids, the string index, and views. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/rng.h"
#include "core/index.h"
#include "core/view.h"
#include "lib/world_build.h"

#define NODES 5

static const char id_text[] = "07c37dfeb235213a872192d90877d0cd55635b91";

static void test_an_id_is_forty_lower_case_hex_digits(void **state)
{
    (void)state;
    struct node_id id = {"x"};
    char text[64];
    assert_true(node_id_parse(span_of(id_text), &id));
    assert_string_equal(id.hex, id_text);
    static const char bad[] = {'A', 'F', 'g', '/', ':', '`', ' ', '\0'};
    for (size_t i = 0; i < sizeof bad; i++) {
        for (size_t at = 0; at < NODE_ID_LEN; at += 13) {
            memcpy(text, id_text, sizeof id_text);
            text[at] = bad[i];
            id = (struct node_id){"kept"};
            assert_false(node_id_parse((struct span){text, NODE_ID_LEN}, &id));
            assert_string_equal(id.hex, "kept");
        }
    }
    assert_false(node_id_parse((struct span){id_text, NODE_ID_LEN - 1}, &id));
    assert_false(
        node_id_parse((struct span){"07c37dfeb235213a872192d90877d0cd55635b911", 41}, &id));
    assert_false(node_id_parse((struct span){"", 0}, &id));
}

static void test_ids_are_compared_digit_by_digit(void **state)
{
    (void)state;
    struct node_id a = {"0000000000000000000000000000000000000001"};
    struct node_id b = {"0000000000000000000000000000000000000002"};
    struct node_id none = {""};
    assert_true(node_id_is_set(&a));
    assert_false(node_id_is_set(&none));
    assert_true(node_id_eq(&a, &a));
    assert_false(node_id_eq(&a, &b));
    assert_true(node_id_cmp(&a, &b) < 0);
    assert_true(node_id_cmp(&b, &a) > 0);
    assert_true(node_id_cmp(&none, &a) < 0);
}

static void test_the_index_finds_what_was_added_and_nothing_else(void **state)
{
    struct arena *arena = *state;
    struct index index;
    static struct node_id ids[500];
    index_init(&index, arena, 500);
    assert_true(index_find(&index, "nothing") == INDEX_NONE);
    for (size_t i = 0; i < 500; i++) {
        ids[i] = world_build_id(i);
        index_add(&index, ids[i].hex, i * 3);
    }
    index_sort(&index);
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(index_find(&index, ids[i].hex), i * 3);
    assert_true(index_find(&index, world_build_id(500).hex) == INDEX_NONE);
    assert_true(index_find(&index, "") == INDEX_NONE);
    assert_true(index_find(&index, "zzzz") == INDEX_NONE);
}

static void test_of_equal_keys_the_index_gives_the_lowest_value(void **state)
{
    struct index index;
    index_init(&index, *state, 6);
    static const size_t values[] = {9, 4, 7, 4, 8, 5};
    for (size_t i = 0; i < 6; i++)
        index_add(&index, "same", values[i]);
    index_sort(&index);
    assert_int_equal(index_find(&index, "same"), 4);
}

static void test_the_index_gives_all_of_one_key(void **state)
{
    struct index index;
    size_t count = 7;
    index_init(&index, *state, 6);
    static const char *const keys[] = {"b", "a", "b", "c", "b", "a"};
    for (size_t i = 0; i < 6; i++)
        index_add(&index, keys[i], i);
    index_sort(&index);
    const struct index_entry *found = index_find_all(&index, "b", &count);
    assert_int_equal(count, 3);
    assert_int_equal(found[0].value, 0);
    assert_int_equal(found[1].value, 2);
    assert_int_equal(found[2].value, 4);
    (void)index_find_all(&index, "d", &count);
    assert_int_equal(count, 0);
}

/* Two keys of one hash are made here by hand; they are told apart by the keys themselves. */
static void test_keys_of_one_hash_are_told_apart(void **state)
{
    struct index index;
    size_t count;
    index_init(&index, *state, 4);
    index_add(&index, "wanted", 1);
    index_add(&index, "wanted", 2);
    index_add(&index, "another", 3);
    index_add(&index, "zebra", 4);
    index.entries[2].hash = index.entries[3].hash = index.entries[0].hash;
    index_sort(&index);
    assert_int_equal(index_find(&index, "wanted"), 1);
    (void)index_find_all(&index, "wanted", &count);
    assert_int_equal(count, 2);
}

/* A view of NODES nodes in a scattered order; the second is myself. */
struct sample {
    struct view view;
    struct view_node nodes[NODES];
    struct slot_range ranges[NODES];
};

static void sample_make(struct sample *s)
{
    *s = (struct sample){0};
    for (size_t i = 0; i < NODES; i++) {
        s->ranges[i] = slots_of_shard((unsigned)i, NODES);
        s->nodes[i] = (struct view_node){
            .id = world_build_id((i * 3) % NODES),
            .port = 6379,
            .bus_port = 16379,
            .ip = "10.0.0.1",
            .flags = NODE_PRIMARY | (i == 1 ? (uint32_t)NODE_MYSELF : 0),
            .connected = true,
            .epoch = i + 1,
            .range_first = (uint32_t)i,
            .range_count = 1,
            .slot_count = slot_range_count(s->ranges[i]),
        };
    }
    s->view.ranges = s->ranges;
    s->view.range_count = NODES;
    s->view.node_count = NODES;
}

static void test_a_finished_view_is_sorted_and_knows_itself(void **state)
{
    (void)state;
    struct sample s;
    sample_make(&s);
    struct node_id myself = s.nodes[1].id;
    assert_true(view_finish(&s.view, s.nodes));
    for (size_t i = 1; i < NODES; i++)
        assert_true(node_id_cmp(&s.view.nodes[i - 1].id, &s.view.nodes[i].id) < 0);
    assert_true(node_id_eq(&s.view.myself->id, &myself));
    assert_true(s.view.hash == view_hash(&s.view));
    for (size_t i = 0; i < NODES; i++) {
        struct node_id id = world_build_id(i);
        const struct view_node *found = view_find(&s.view, &id);
        assert_non_null(found);
        assert_true(node_id_eq(&found->id, &id));
    }
    struct node_id stranger = world_build_id(NODES);
    struct node_id none = {""};
    assert_null(view_find(&s.view, &stranger));
    assert_null(view_find(&s.view, &none));
}

static void test_servers_agree_on_a_dead_node_without_slots_whatever_they_knew_of_it(void **state)
{
    (void)state;
    struct sample s;
    sample_make(&s);
    assert_true(view_finish(&s.view, s.nodes));
    struct view_node *n = &s.nodes[2];
    uint64_t lives = s.view.hash;
    n->epoch += 7;
    assert_true(view_hash(&s.view) != lives);
    n->flags = NODE_REPLICA | NODE_FAIL;
    uint64_t dead = view_hash(&s.view);
    n->primary = s.nodes[0].id;
    assert_true(view_hash(&s.view) != dead); /* it owns slots: whose they are matters */
    n->range_count = 0;
    dead = view_hash(&s.view);
    n->epoch = 0;
    n->primary = (struct node_id){""};
    assert_true(view_hash(&s.view) == dead);
    n->flags = NODE_REPLICA;
    assert_true(view_hash(&s.view) != dead);
}

static void test_a_view_without_exactly_one_myself_is_refused(void **state)
{
    (void)state;
    struct sample s;
    struct view empty = {0};
    sample_make(&s);
    s.nodes[1].flags = NODE_PRIMARY;
    assert_false(view_finish(&s.view, s.nodes));
    sample_make(&s);
    s.nodes[4].flags |= NODE_MYSELF;
    assert_false(view_finish(&s.view, s.nodes));
    assert_false(view_finish(&empty, s.nodes));
}

static void test_a_view_that_lists_an_id_twice_is_refused(void **state)
{
    (void)state;
    struct sample s;
    sample_make(&s);
    s.nodes[3].id = s.nodes[0].id;
    assert_false(view_finish(&s.view, s.nodes));
}

static uint64_t hash_with(void (*change)(struct sample *))
{
    struct sample s;
    sample_make(&s);
    change(&s);
    assert_true(view_finish(&s.view, s.nodes));
    return s.view.hash;
}

static void change_nothing(struct sample *s)
{
    (void)s;
}

static void change_order(struct sample *s)
{
    struct view_node first = s->nodes[0];
    s->nodes[0] = s->nodes[4];
    s->nodes[4] = first;
}

static void change_viewer(struct sample *s)
{
    s->nodes[1].flags &= ~(uint32_t)NODE_MYSELF;
    s->nodes[3].flags |= NODE_MYSELF;
}

static void change_own_business(struct sample *s)
{
    s->nodes[2].connected = false;
    s->nodes[2].flags |= NODE_PFAIL | NODE_NOFAILOVER;
    s->nodes[2].port = 7000;
    s->nodes[2].ip[0] = '\0';
}

static void change_id(struct sample *s)
{
    s->nodes[0].id = world_build_id(77);
}

static void change_role(struct sample *s)
{
    s->nodes[0].flags = NODE_REPLICA;
}

static void change_primary(struct sample *s)
{
    s->nodes[0].primary = s->nodes[1].id;
}

static void change_epoch(struct sample *s)
{
    s->nodes[0].epoch = 99;
}

static void change_slots(struct sample *s)
{
    s->ranges[0].last--;
}

static void change_no_slots(struct sample *s)
{
    s->nodes[0].range_count = 0;
}

static void change_fail(struct sample *s)
{
    s->nodes[0].flags |= NODE_FAIL;
}

static void change_noaddr(struct sample *s)
{
    s->nodes[0].flags |= NODE_NOADDR;
}

static void change_handshake(struct sample *s)
{
    s->nodes[0].flags |= NODE_HANDSHAKE;
}

static void test_servers_that_agree_have_one_hash(void **state)
{
    (void)state;
    uint64_t hash = hash_with(change_nothing);
    assert_true(hash_with(change_order) == hash);
    assert_true(hash_with(change_viewer) == hash);
    assert_true(hash_with(change_own_business) == hash);
}

static void test_every_disagreement_changes_the_hash(void **state)
{
    (void)state;
    static void (*const changes[])(struct sample *) = {
        change_nothing, change_id,       change_role, change_primary, change_epoch,
        change_slots,   change_no_slots, change_fail, change_noaddr,  change_handshake,
    };
    uint64_t hashes[sizeof changes / sizeof changes[0]];
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        hashes[i] = hash_with(changes[i]);
        for (size_t j = 0; j < i; j++)
            assert_true(hashes[i] != hashes[j]);
    }
}

static int setup(void **state)
{
    static struct arena arena;
    arena_init(&arena, MIB(8));
    *state = &arena;
    return 0;
}

static int teardown(void **state)
{
    arena_deinit(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_id_is_forty_lower_case_hex_digits),
        cmocka_unit_test(test_ids_are_compared_digit_by_digit),
        cmocka_unit_test(test_the_index_finds_what_was_added_and_nothing_else),
        cmocka_unit_test(test_of_equal_keys_the_index_gives_the_lowest_value),
        cmocka_unit_test(test_the_index_gives_all_of_one_key),
        cmocka_unit_test(test_keys_of_one_hash_are_told_apart),
        cmocka_unit_test(test_a_finished_view_is_sorted_and_knows_itself),
        cmocka_unit_test(test_servers_agree_on_a_dead_node_without_slots_whatever_they_knew_of_it),
        cmocka_unit_test(test_a_view_without_exactly_one_myself_is_refused),
        cmocka_unit_test(test_a_view_that_lists_an_id_twice_is_refused),
        cmocka_unit_test(test_servers_that_agree_have_one_hash),
        cmocka_unit_test(test_every_disagreement_changes_the_hash),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
