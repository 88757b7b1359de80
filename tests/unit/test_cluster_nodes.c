/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/cluster_nodes.h"
#include "wire_sample.h"

#define A "c48cc923b98c01f650cfc78a7eb04585597ba295"
#define B "65af16c646bf869c37c026dec1e037260e25a52e"
#define C "057378b8ec0c5839298f16b8d96d6ac07140350e"
#define MYSELF A " 10.0.0.1:6379@16379 myself,master - 0 0 1 connected"

static const char *const samples[] = {
    "cluster_nodes/redis-7.0-virgin",    "cluster_nodes/redis-7.0-handshake",
    "cluster_nodes/redis-7.0-open-slot", "cluster_nodes/redis-7.0-failed",
    "cluster_nodes/valkey-9.1-replica",  "cluster_nodes/ipv6-noaddr",
};

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, MIB(16));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static struct view parse_sample(const char *name)
{
    size_t len;
    auto_free char *text = wire_sample(name, &len);
    struct err err = {0};
    struct view view;
    if (cluster_nodes_parse((struct span){text, len}, &arena, &view, &err) < 0)
        fail_msg("%s: %s", name, err.msg);
    return view;
}

static struct view parse_text(const char *text)
{
    struct err err = {0};
    struct view view;
    if (cluster_nodes_parse(span_of(text), &arena, &view, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return view;
}

/* Refused with this code and a message that holds `part`, the output left as it was. */
static void assert_refused(struct span text, int code, const char *part)
{
    struct err err = {0};
    struct view view;
    struct view before;
    memset(&view, 0xa5, sizeof view);
    memset(&before, 0xa5, sizeof before);
    if (cluster_nodes_parse(text, &arena, &view, &err) != code || !strstr(err.msg, part))
        fail_msg("'%.*s' gives %d '%s', not %d '%s'", (int)text.len, text.ptr, err.code, err.msg,
                 code, part);
    assert_memory_equal(&view, &before, sizeof view);
    assert_int_equal(cluster_nodes_parse(text, &arena, &view, NULL), code);
}

static const struct view_node *find(const struct view *view, const char *hex)
{
    struct node_id id;
    assert_true(node_id_parse(span_of(hex), &id));
    const struct view_node *node = view_find(view, &id);
    assert_non_null(node);
    return node;
}

static void assert_same_node(const struct view *a, const struct view_node *na, const struct view *b,
                             const struct view_node *nb)
{
    assert_string_equal(na->id.hex, nb->id.hex);
    assert_string_equal(na->primary.hex, nb->primary.hex);
    assert_string_equal(na->ip, nb->ip);
    assert_int_equal(na->port, nb->port);
    assert_int_equal(na->bus_port, nb->bus_port);
    assert_int_equal(na->flags, nb->flags);
    assert_int_equal(na->connected, nb->connected);
    assert_true(na->epoch == nb->epoch);
    assert_int_equal(na->slot_count, nb->slot_count);
    assert_int_equal(na->range_count, nb->range_count);
    for (size_t i = 0; i < na->range_count; i++) {
        assert_int_equal(a->ranges[na->range_first + i].first,
                         b->ranges[nb->range_first + i].first);
        assert_int_equal(a->ranges[na->range_first + i].last, b->ranges[nb->range_first + i].last);
    }
}

static void assert_same(const struct view *a, const struct view *b)
{
    assert_int_equal(a->node_count, b->node_count);
    assert_int_equal(a->range_count, b->range_count);
    assert_int_equal(a->open_count, b->open_count);
    assert_true(a->hash == b->hash);
    assert_string_equal(a->myself->id.hex, b->myself->id.hex);
    for (size_t i = 0; i < a->node_count; i++)
        assert_same_node(a, &a->nodes[i], b, &b->nodes[i]);
    for (size_t i = 0; i < a->open_count; i++) {
        assert_int_equal(a->open_slots[i].slot, b->open_slots[i].slot);
        assert_int_equal(a->open_slots[i].importing, b->open_slots[i].importing);
        assert_string_equal(a->open_slots[i].peer.hex, b->open_slots[i].peer.hex);
    }
}

static void assert_round_trip(const struct view *view)
{
    auto_buf struct buf text;
    buf_init(&text, NODES_TEXT_MAX);
    assert_int_equal(cluster_nodes_format(view, &text), 0);
    struct view again = parse_text(buf_str(&text));
    assert_same(view, &again);
}

static void test_virgin_redis_has_no_address_and_no_slots(void **state)
{
    (void)state;
    struct view view = parse_sample("cluster_nodes/redis-7.0-virgin");
    assert_int_equal(view.node_count, 1);
    assert_ptr_equal(view.myself, &view.nodes[0]);
    assert_string_equal(view.myself->id.hex, A);
    assert_string_equal(view.myself->ip, "");
    assert_int_equal(view.myself->port, 23100);
    assert_int_equal(view.myself->bus_port, 33100);
    assert_int_equal(view.myself->flags, NODE_MYSELF | NODE_PRIMARY);
    assert_int_equal(view.myself->slot_count, 0);
    assert_true(view.myself->connected);
    assert_int_equal(view.range_count, 0);
    assert_true(view.hash == view_hash(&view));
}

static void test_handshake_has_no_role(void **state)
{
    (void)state;
    struct view view = parse_sample("cluster_nodes/redis-7.0-handshake");
    assert_int_equal(view.node_count, 2);
    const struct view_node *other = find(&view, "f09b74e56d34df344e98d41c5ec7511898310ab8");
    assert_int_equal(other->flags, NODE_HANDSHAKE);
    assert_false(other->connected);
}

static void test_real_cluster_with_an_open_slot(void **state)
{
    (void)state;
    struct view view = parse_sample("cluster_nodes/redis-7.0-open-slot");
    assert_int_equal(view.node_count, 4);
    assert_int_equal(view.range_count, 3);
    const struct view_node *replica = find(&view, C);
    assert_int_equal(replica->flags, NODE_REPLICA);
    assert_string_equal(replica->primary.hex, A);
    assert_int_equal(replica->epoch, 1);
    assert_string_equal(view.myself->id.hex, A);
    assert_int_equal(view.myself->slot_count, 5461);
    assert_int_equal(view.open_count, 1);
    assert_int_equal(view.open_slots[0].slot, 93);
    assert_false(view.open_slots[0].importing);
    assert_string_equal(view.open_slots[0].peer.hex, B);
    const struct view_node *last = find(&view, "75ac2d3d67d44486e74e057cbc4df0b615b2e3a3");
    assert_int_equal(view.ranges[last->range_first].first, 10923);
    assert_int_equal(view.ranges[last->range_first].last, 16383);
}

static void test_hostname_is_left_out_and_fail_is_seen(void **state)
{
    (void)state;
    struct view view = parse_sample("cluster_nodes/redis-7.0-failed");
    assert_string_equal(view.myself->ip, "127.0.0.1");
    const struct view_node *failed = find(&view, "75ac2d3d67d44486e74e057cbc4df0b615b2e3a3");
    assert_int_equal(failed->flags, NODE_PRIMARY | NODE_FAIL);
    assert_false(failed->connected);
}

/* Valkey 9.1 copies its primary's open slots to a replica, which then shows them of itself. */
static void test_replica_of_valkey_9_shows_open_slots(void **state)
{
    (void)state;
    struct view view = parse_sample("cluster_nodes/valkey-9.1-replica");
    assert_int_equal(view.myself->flags, NODE_MYSELF | NODE_REPLICA);
    assert_int_equal(view.open_count, 1);
}

static void test_ipv6_noaddr_and_every_flag(void **state)
{
    (void)state;
    struct view view = parse_sample("cluster_nodes/ipv6-noaddr");
    assert_string_equal(view.myself->ip, "fd00:10:244::7");
    assert_true(view.myself->epoch == UINT64_MAX);
    assert_int_equal(view.myself->range_count, 2);
    assert_int_equal(view.myself->slot_count, 5462);
    assert_int_equal(view.open_count, 2);
    assert_true(view.open_slots[0].importing);
    const struct view_node *gone = find(&view, B);
    assert_int_equal(gone->flags, NODE_PRIMARY | NODE_PFAIL | NODE_NOADDR | NODE_NOFAILOVER);
    assert_string_equal(gone->ip, "");
    assert_int_equal(gone->port, 0);
    assert_int_equal(find(&view, C)->flags, 0);
}

static void test_replica_without_a_known_primary(void **state)
{
    (void)state;
    struct view view =
        parse_text(MYSELF "\n" B " 10.0.0.2:6379@16379 slave - 0 1 0 disconnected\n");
    assert_int_equal(find(&view, B)->flags, NODE_REPLICA);
    assert_false(node_id_is_set(&find(&view, B)->primary));
}

static void test_ranges_become_maximal_and_sorted(void **state)
{
    (void)state;
    struct view scattered = parse_text(MYSELF " 7 5-6 0-1 2-2");
    struct view plain = parse_text(MYSELF " 0-2 5-7\n");
    assert_same(&scattered, &plain);
    assert_int_equal(scattered.range_count, 2);
}

static void test_last_line_needs_no_newline_and_crlf_is_taken(void **state)
{
    (void)state;
    struct view view = parse_text(MYSELF "\r\n" B " 10.0.0.2:6379@16379 master - 0 1 2 connected");
    assert_int_equal(view.node_count, 2);
}

static void test_samples_survive_a_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct view view = parse_sample(samples[i]);
        assert_round_trip(&view);
    }
}

static void test_malformed_lines_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *message;
    } cases[] = {
        {"", "not exactly one myself"},
        {"\n", "line 1: no id"},
        {MYSELF "\n\n", "line 2: no id"},
        {"vars currentEpoch 3 lastVoteEpoch 0", "malformed id"},
        {A "0 10.0.0.1:1@2 myself,master - 0 0 1 connected", "malformed id"},
        {"C48cc923b98c01f650cfc78a7eb04585597ba295 :1@2 myself - 0 0 1 connected", "malformed id"},
        {"c48cc923b98c01f650cfc78a7eb04585597ba29 :1@2 myself - 0 0 1 connected", "malformed id"},
        {A, "no address"},
        {A " 10.0.0.1:6379 myself,master - 0 0 1 connected", "malformed address"},
        {A " 10.0.0.1@16379 myself,master - 0 0 1 connected", "malformed address"},
        {A " 10.0.0.1:65536@1 myself,master - 0 0 1 connected", "malformed address"},
        {A " 10.0.0.1:1@65536 myself,master - 0 0 1 connected", "malformed address"},
        {A " 10.0.0.1:-1@1 myself,master - 0 0 1 connected", "malformed address"},
        {A " 10.0.0.1:01@1 myself,master - 0 0 1 connected", "malformed address"},
        {A " 10.0.0.%n:1@1 myself,master - 0 0 1 connected", "malformed address"},
        {A " 1111:2222:3333:4444:5555:6666:7777:8888:9999:0:1@1 myself - 0 0 1 connected",
         "malformed address"},
        {A " :1@1", "no flags"},
        {A " :1@1 myself,primary - 0 0 1 connected", "malformed flags"},
        {A " :1@1 myself,,master - 0 0 1 connected", "malformed flags"},
        {A " :1@1 myself, - 0 0 1 connected", "malformed flags"},
        {A " :1@1 myself,myself - 0 0 1 connected", "malformed flags"},
        {A " :1@1 myself,master,slave - 0 0 1 connected", "malformed flags"},
        {A " :1@1 myself,master", "no primary"},
        {A " :1@1 myself,master " B " 0 0 1 connected", "malformed primary"},
        {A " :1@1 myself,slave " A " 0 0 1 connected", "malformed primary"},
        {A " :1@1 myself,slave xyz 0 0 1 connected", "malformed primary"},
        {A " :1@1 myself,master -", "no ping-sent"},
        {A " :1@1 myself,master - -1 0 1 connected", "malformed ping-sent"},
        {A " :1@1 myself,master - 0", "no pong-received"},
        {A " :1@1 myself,master - 0 1x 1 connected", "malformed pong-received"},
        {A " :1@1 myself,master - 0 0", "no config epoch"},
        {A " :1@1 myself,master - 0 0 18446744073709551616 connected", "malformed config epoch"},
        {A " :1@1 myself,master - 0 0 1", "no link state"},
        {A " :1@1 myself,master - 0 0 1 linked", "malformed link state"},
        {MYSELF " 16384", "malformed slots"},
        {MYSELF " -1", "malformed slots"},
        {MYSELF " 1-", "malformed slots"},
        {MYSELF " 2-1", "malformed slots"},
        {MYSELF " 1-2-3", "malformed slots"},
        {MYSELF " 0-16383 0-16383", "malformed slots"},
        {MYSELF " 1-3 3", "already assigned"},
        {MYSELF " x", "malformed slots"},
        {MYSELF " [", "malformed slots"},
        {MYSELF " [93->-" B, "malformed slots"},
        {MYSELF " [93->-" B "x]", "malformed slots"},
        {MYSELF " [93-" B "]", "malformed slots"},
        {MYSELF " [16384->-" B "]", "malformed slots"},
        {MYSELF " [93->-" B "] [93->-" B "]", "malformed slots"},
        {MYSELF "\n" B " :0@0 master - 0 0 1 connected [1->-" A "]", "line 2: malformed slots"},
        {MYSELF " 0-10\n" B " :0@0 master - 0 0 1 connected 10-20", "line 2: a slot that is"},
        {MYSELF "\n" MYSELF, "a node twice"},
        {MYSELF "\n" B " :1@1 myself,master - 0 0 1 connected", "not exactly one myself"},
        {B " :1@1 master - 0 0 1 connected", "not exactly one myself"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_refused(span_of(cases[i].line), E_PROTO, cases[i].message);
    assert_refused((struct span){MYSELF "\0", sizeof MYSELF}, E_PROTO, "malformed link state");
}

static void test_sizes_are_bounded(void **state)
{
    (void)state;
    auto_free char *bytes = xcalloc(NODES_TEXT_MAX + 1, 1);
    memset(bytes, '\n', NODES_TEXT_MAX + 1);
    assert_refused((struct span){bytes, NODES_TEXT_MAX + 1}, E_LIMIT, "longer than");
    assert_refused((struct span){bytes, NODES_TEXT_MAX}, E_LIMIT, "more than 1000 nodes");
    memset(bytes, ' ', NODES_TEXT_MAX);
    assert_refused((struct span){bytes, NODES_TEXT_MAX}, E_PROTO, "no id");
    memset(bytes, '[', NODES_TEXT_MAX);
    assert_refused((struct span){bytes, NODES_TEXT_MAX}, E_PROTO, "malformed id");
}

static void test_a_thousand_nodes_with_single_slots(void **state)
{
    (void)state;
    auto_buf struct buf text;
    buf_init(&text, NODES_TEXT_MAX);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        (void)buf_format(&text, "%040x 10.0.0.1:6379@16379 %smaster - 0 0 %u connected", i + 1,
                         i ? "" : "myself,", i);
        for (unsigned slot = i; slot < SLOT_COUNT; slot += NODES_MAX)
            (void)buf_format(&text, " %u", slot);
        (void)buf_append_str(&text, "\n");
    }
    assert_false(text.failed);
    struct view view = parse_text(buf_str(&text));
    assert_int_equal(view.node_count, NODES_MAX);
    assert_int_equal(view.range_count, SLOT_COUNT);
    assert_round_trip(&view);
}

static void test_format_fails_when_the_buffer_is_full(void **state)
{
    (void)state;
    struct view view = parse_sample("cluster_nodes/redis-7.0-virgin");
    auto_buf struct buf text;
    buf_init(&text, 60);
    assert_int_equal(cluster_nodes_format(&view, &text), E_LIMIT);
}

/* Whatever happens to one byte: refused as a whole, or understood so that it survives a round trip. */
static void test_every_mutation_of_a_sample(void **state)
{
    (void)state;
    size_t len;
    auto_free char *sample = wire_sample("cluster_nodes/redis-7.0-open-slot", &len);
    auto_free char *mutated = xcalloc(len + 2, 1);
    size_t refused = 0;
    for (size_t at = 0; at < len; at++) {
        for (unsigned kind = 0; kind < WIRE_MUTATIONS; kind++) {
            size_t size = wire_mutate((struct span){sample, len}, at, kind, mutated);
            struct span text = wire_exact((struct span){mutated, size});
            struct err err = {0};
            struct view view;
            arena_reset(&arena);
            if (cluster_nodes_parse(text, &arena, &view, &err) == 0) {
                assert_round_trip(&view);
            } else {
                assert_string_not_equal(err.msg, "");
                refused++;
            }
            free((void *)(uintptr_t)text.ptr);
        }
    }
    assert_in_range(refused, len * WIRE_MUTATIONS / 2, len * WIRE_MUTATIONS - len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_virgin_redis_has_no_address_and_no_slots),
        cmocka_unit_test(test_handshake_has_no_role),
        cmocka_unit_test(test_real_cluster_with_an_open_slot),
        cmocka_unit_test(test_hostname_is_left_out_and_fail_is_seen),
        cmocka_unit_test(test_replica_of_valkey_9_shows_open_slots),
        cmocka_unit_test(test_ipv6_noaddr_and_every_flag),
        cmocka_unit_test(test_replica_without_a_known_primary),
        cmocka_unit_test(test_ranges_become_maximal_and_sorted),
        cmocka_unit_test(test_last_line_needs_no_newline_and_crlf_is_taken),
        cmocka_unit_test(test_samples_survive_a_round_trip),
        cmocka_unit_test(test_malformed_lines_are_refused),
        cmocka_unit_test(test_sizes_are_bounded),
        cmocka_unit_test(test_a_thousand_nodes_with_single_slots),
        cmocka_unit_test(test_format_fails_when_the_buffer_is_full),
        cmocka_unit_test(test_every_mutation_of_a_sample),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
