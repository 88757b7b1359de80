/* SPDX-License-Identifier: Apache-2.0 */
#include "selftest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "sim.h"

static struct sim *sim;
static struct stats stats;
static unsigned failures;

/* ---- a bench of servers, without pods or agents ---- */

static void bench_start(int servers, const struct redis_traits *traits, int64_t node_timeout_ms)
{
    struct options options = {0};
    sim_init(sim, 1, &options, &stats);
    sim->setup = (struct setup){.pods = servers,
                                .traits = traits,
                                .announce_by_hook = true,
                                .node_timeout_ms = node_timeout_ms,
                                .diskless_delay_s = 5,
                                .zones = 1,
                                .lan_us = 200,
                                .api_us = MS(5)};
    for (int a = 0; a < HOSTS; a++)
        for (int b = 0; b < HOSTS; b++)
            sim->latency_us[a][b] = 200;
    for (int i = 0; i < servers; i++) {
        char name[16];
        text_format(name, sizeof name, "s%d", i);
        redis_init(sim, i, name, true);
        sim->redis_count = i + 1;
        int addr = sim_new_addr(sim);
        sim_bind_addr(sim, addr, i);
        redis_start(sim, &sim->redis[i], addr, MS(10));
    }
    sim_run(sim, SECONDS(3)); /* past the writable delay */
}

static const char *bench_do(int server, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static const char *bench_do(int server, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct action_args words = {.count = 0};
    struct span rest = span_of(text);
    struct span word;
    while (words.count < ACTION_ARGS_MAX && span_token(&rest, &word))
        (void)text_copy(words.words[words.count++], ACTION_ARG_SIZE, word);
    const char *error = redis_command(sim, &sim->redis[server], &words);
    sim->violation[0] = '\0'; /* here it is the model that is judged */
    return error;
}

static void bench_meet(int from, int to)
{
    char ip[IP_SIZE];
    sim_addr_text(sim->redis[to].addr, ip, sizeof ip);
    (void)bench_do(from, "CLUSTER MEET %s 6379", ip);
}

static const char *bench_replicate(int replica, int primary)
{
    struct node_id id;
    redis_id_hex(sim->redis[primary].nodes[0].id, &id);
    return bench_do(replica, "CLUSTER REPLICATE %s", id.hex);
}

/* Restarts the server at a new address, nodes.conf kept. */
static void bench_readdress(int server)
{
    struct redis *r = &sim->redis[server];
    sim->host_of_addr[r->addr] = 0;
    redis_stop(sim, r, true);
    int addr = sim_new_addr(sim);
    sim_bind_addr(sim, addr, server);
    redis_start(sim, r, addr, MS(10));
}

static bool knows_all(void)
{
    for (int i = 0; i < sim->redis_count; i++) {
        for (int k = 0; k < sim->redis_count; k++) {
            const struct redis_node *n = redis_find(&sim->redis[i], sim->redis[k].nodes[0].id);
            if (!n || n->flags & NODE_HANDSHAKE)
                return false;
        }
    }
    return true;
}

static bool all_ok(void)
{
    for (int i = 0; i < sim->redis_count; i++)
        if (sim->redis[i].phase == REDIS_UP && !sim->redis[i].state_ok)
            return false;
    return true;
}

static bool all_linked(void)
{
    for (int i = 0; i < sim->redis_count; i++) {
        struct redis *r = &sim->redis[i];
        bool replica = r->nodes[0].flags & NODE_REPLICA;
        if (replica && r->repl.state != REPL_UP)
            return false;
        for (int k = 0; k < r->node_high; k++)
            if (k && r->nodes[k].used && r->nodes[k].link.state != LINK_UP)
                return false;
    }
    return all_ok() && knows_all();
}

static bool replica_took_over(void)
{
    return sim->redis[3].nodes[0].flags & NODE_PRIMARY && sim->redis[3].nodes[0].slot_count;
}

/* Milliseconds until it is so, looked at each 10 ms; the limit if it never is. */
static int64_t bench_wait(bool (*so)(void), int64_t limit_ms)
{
    int64_t start = sim->now_us;
    while (!so() && sim->now_us - start < MS(limit_ms))
        sim_run(sim, sim->now_us + MS(10));
    return (sim->now_us - start) / 1000;
}

static void expect(const char *fact, int64_t ms, int64_t low_ms, int64_t high_ms)
{
    bool ok = ms >= low_ms && ms <= high_ms;
    failures += !ok;
    printf("%-7s %-72s %6lld ms (%lld..%lld)\n", ok ? "ok" : "FAILED", fact, (long long)ms,
           (long long)low_ms, (long long)high_ms);
}

static void expect_true(const char *fact, bool ok)
{
    failures += !ok;
    printf("%-7s %s\n", ok ? "ok" : "FAILED", fact);
}

static bool holds(const char *text, const char *part)
{
    return text && strstr(text, part);
}

/* ---- the facts ---- */

static void bench_slots(int primaries)
{
    for (int i = 0; i < primaries; i++) {
        struct slot_range range = slots_of_shard((unsigned)i, (unsigned)primaries);
        (void)bench_do(i, "CLUSTER SET-CONFIG-EPOCH %d", i + 1);
        (void)bench_do(i, "CLUSTER ADDSLOTSRANGE %u %u", range.first, range.last);
    }
}

static void bench_all_pairs(void)
{
    for (int i = 0; i < sim->redis_count; i++)
        for (int k = 0; k < i; k++)
            bench_meet(i, k);
}

/* Three primaries, three replicas, everything in order. */
static void bench_form(const struct redis_traits *traits, int64_t node_timeout_ms)
{
    bench_start(6, traits, node_timeout_ms);
    for (int i = 0; i < 6; i++) {
        sim->redis[i].configured.diskless_delay_s = 0;
        (void)bench_do(i, "CONFIG SET repl-diskless-sync-delay 0");
    }
    bench_slots(3);
    bench_all_pairs();
    (void)bench_wait(knows_all, 5000);
    for (int i = 3; i < 6; i++)
        (void)bench_replicate(i, i - 3);
    (void)bench_wait(all_linked, 20000);
    sim_run(sim, sim->now_us + SECONDS(5));
}

static void test_formation_quick(void)
{
    bench_start(6, &redis_traits_70, 15000);
    for (int i = 0; i < 6; i++) {
        (void)bench_do(i, "CONFIG SET cluster-node-timeout 500");
        (void)bench_do(i, "CONFIG SET repl-diskless-sync-delay 0");
    }
    bench_slots(3);
    int64_t start = sim->now_us;
    bench_all_pairs();
    expect("FACTS 1: all-pairs MEET, NT 500, all known (0.21 s)", bench_wait(knows_all, 5000), 50,
           450);
    for (int i = 3; i < 6; i++)
        (void)bench_replicate(i, i - 3);
    (void)bench_wait(all_ok, 10000);
    expect("FACTS 1: state ok everywhere (0.51 s)", (sim->now_us - start) / 1000, 400, 800);
    (void)bench_wait(all_linked, 10000);
    expect("FACTS 1: and every replica in sync (0.51 s)", (sim->now_us - start) / 1000, 400, 1100);
    sim_deinit(sim);
}

static void test_formation_slow(void)
{
    bench_start(6, &redis_traits_70, 15000);
    bench_slots(3);
    for (int i = 1; i < 6; i++)
        bench_meet(0, i);
    int64_t start = sim->now_us;
    expect("FACTS 1: star MEET, default NT, all known (1.0 s)", bench_wait(knows_all, 30000), 100,
           4000);
    for (int i = 3; i < 6; i++)
        (void)bench_replicate(i, i - 3);
    (void)bench_wait(all_ok, 30000);
    expect("FACTS 1: default NT, state ok everywhere (5.05 s)", (sim->now_us - start) / 1000, 4800,
           6000);
    sim_deinit(sim);
}

static void test_errors(void)
{
    bench_start(3, &redis_traits_70, 15000);
    expect_true("REPLICATE before the handshake: Unknown node",
                holds(bench_replicate(1, 0), "Unknown node"));
    (void)bench_do(0, "CLUSTER SET-CONFIG-EPOCH 1");
    expect_true("SET-CONFIG-EPOCH twice: already non-zero",
                holds(bench_do(0, "CLUSTER SET-CONFIG-EPOCH 2"), "non-zero"));
    (void)bench_do(0, "CLUSTER ADDSLOTSRANGE 0 99");
    expect_true("ADDSLOTSRANGE of an owned slot: busy",
                holds(bench_do(0, "CLUSTER ADDSLOTSRANGE 50 150"), "busy"));
    bench_all_pairs();
    (void)bench_wait(knows_all, 5000);
    expect_true("M9: SET-CONFIG-EPOCH after MEET: only when alone",
                holds(bench_do(1, "CLUSTER SET-CONFIG-EPOCH 2"), "does not know any other"));
    expect_true("REPLICATE of a primary with slots: must be empty",
                holds(bench_replicate(0, 1), "must be empty"));
    expect_true("MEET of something that is no address",
                holds(bench_do(0, "CLUSTER MEET example 6379"), "Invalid node address"));
    expect_true("MEET where nothing listens answers OK",
                bench_do(0, "CLUSTER MEET 10.1.1.9 6379") == NULL);
    sim_run(sim, sim->now_us + SECONDS(14));
    expect_true("its handshake is still there before NT", redis_known(&sim->redis[0]) == 4);
    sim_run(sim, sim->now_us + SECONDS(2));
    expect_true("and given up after NT", redis_known(&sim->redis[0]) == 3);
    sim_deinit(sim);
}

static bool others_have_address(void)
{
    for (int i = 1; i < sim->redis_count; i++) {
        const struct redis_node *n = redis_find(&sim->redis[i], sim->redis[0].nodes[0].id);
        if (!n || n->addr != sim->redis[0].addr)
            return false;
    }
    return true;
}

static void test_addresses(void)
{
    bench_form(&redis_traits_70, 15000);
    bench_readdress(0);
    expect("FACTS 2: one new address, seen by all (0.06-0.10 s)",
           bench_wait(others_have_address, 5000), 10, 350);
    expect("FACTS 2: and its state ok (1.9 s)", bench_wait(all_linked, 10000), 1000, 3000);
    sim_deinit(sim);

    bench_form(&redis_traits_70, 15000);
    for (int i = 0; i < 6; i++)
        bench_readdress(i);
    expect("FACTS 2: all addresses new: no self-heal", bench_wait(all_linked, 12000), 12000, 12001);
    bench_all_pairs();
    expect("FACTS 2: all-pairs MEET heals it, ids kept (0.2-0.6 s)", bench_wait(all_linked, 10000),
           100, 3000);
    sim_deinit(sim);
}

static void test_failover(const struct redis_traits *traits, int64_t nt_ms, const char *fact,
                          int64_t low, int64_t high)
{
    bench_form(traits, nt_ms);
    redis_stop(sim, &sim->redis[0], true);
    expect(fact, bench_wait(replica_took_over, 60000), low, high);
    redis_start(sim, &sim->redis[0], sim->redis[0].addr, MS(10));
    sim_run(sim, sim->now_us + SECONDS(10));
    expect_true("FACTS 7: the old primary comes back as its replica",
                sim->redis[0].nodes[0].primary == sim->redis[3].nodes[0].id);
    sim_deinit(sim);
}

static bool first_knows_last(void)
{
    return redis_find(&sim->redis[0], sim->redis[5].nodes[0].id) != NULL;
}

static void test_forget(void)
{
    struct node_id id;
    bench_form(&redis_traits_70, 15000);
    redis_id_hex(sim->redis[5].nodes[0].id, &id);
    (void)bench_do(0, "CLUSTER FORGET %s", id.hex);
    expect_true("FACTS 4: forgotten at once", !first_knows_last());
    expect("FACTS 4: gossip brings it back after its ban of 60 s (7.0, told to one only)",
           bench_wait(first_knows_last, 120000), 59000, 75000);
    redis_id_hex(sim->redis[2].nodes[0].id, &id);
    expect_true("FACTS 4: not its own primary",
                holds(bench_do(5, "CLUSTER FORGET %s", id.hex), "Can't forget my master"));
    sim_deinit(sim);
}

/* FACTS 0.2: another node answers at the address of a primary. */
static const struct redis_node *bench_stranger(const struct redis_traits *traits)
{
    bench_form(traits, 15000);
    struct redis *r = &sim->redis[0];
    uint32_t old = r->nodes[0].id;
    redis_stop(sim, r, true);
    redis_lose_volume(sim, r);
    redis_start(sim, r, r->addr, MS(10));
    sim_run(sim, sim->now_us + SECONDS(2));
    return redis_find(&sim->redis[1], old);
}

static void test_same_address(const struct redis_traits *traits)
{
    const struct redis_node *n = bench_stranger(traits);
    expect_true("FACTS 0.2: a new id at the address: the old one is noaddr",
                n && n->flags & NODE_NOADDR);
    expect_true(traits->noaddr_fails ? "FACTS 0.2: and failed, too (valkey)"
                                     : "FACTS 0.2: but not failed (redis)",
                n && !(n->flags & NODE_FAIL) == !traits->noaddr_fails);
    sim_deinit(sim);
}

static void test_epochs(void)
{
    bench_start(2, &redis_traits_70, 15000);
    for (int i = 0; i < 2; i++) {
        (void)bench_do(i, "CLUSTER SET-CONFIG-EPOCH 7");
        (void)bench_do(i, "CLUSTER ADDSLOTSRANGE %d %d", i * 8192, i * 8192 + 8191);
    }
    bench_meet(0, 1);
    sim_run(sim, sim->now_us + SECONDS(5));
    expect_true("C15: an epoch collision is resolved",
                sim->redis[0].nodes[0].epoch != sim->redis[1].nodes[0].epoch);
    sim_deinit(sim);
}

static void test_restart(void)
{
    bench_form(&redis_traits_70, 15000);
    struct redis *r = &sim->redis[1];
    uint32_t id = r->nodes[0].id;
    struct slot_set slots = r->nodes[0].slots;
    (void)bench_do(1, "CONFIG SET cluster-node-timeout 9000");
    redis_stop(sim, r, true);
    redis_start(sim, r, r->addr, MS(10));
    sim_run(sim, sim->now_us + MS(1000));
    expect_true("FACTS 1: a primary just started is not ok for 2 s", !r->state_ok);
    expect("FACTS 2: then it is, under its id", bench_wait(all_linked, 10000), 500, 2500);
    expect_true("nodes.conf keeps id and slots",
                r->nodes[0].id == id && memcmp(&r->nodes[0].slots, &slots, sizeof slots) == 0);
    expect_true("CONFIG SET does not survive", r->set.node_timeout_ms == 15000);
    sim_deinit(sim);
}

static bool others_see_heir(void)
{
    return redis_find(&sim->redis[2], sim->redis[3].nodes[0].id)->slot_count;
}

static void test_takeover(void)
{
    bench_form(&redis_traits_70, 15000);
    redis_stop(sim, &sim->redis[0], true);
    redis_stop(sim, &sim->redis[1], true);
    expect_true("FACTS 3: TAKEOVER asks nobody", !bench_do(3, "CLUSTER FAILOVER TAKEOVER"));
    expect("FACTS 3: the others see it at once", bench_wait(others_see_heir, 5000), 0, 100);
    sim_deinit(sim);
}

static void test_empty_restart(void)
{
    bench_form(&redis_traits_70, 15000);
    repl_write(sim, &sim->redis[0], 0, 1);
    sim_run(sim, sim->now_us + MS(10));
    redis_stop(sim, &sim->redis[0], true);
    redis_lose_data(sim, &sim->redis[0]);
    redis_start(sim, &sim->redis[0], sim->redis[0].addr, MS(10));
    sim_run(sim, sim->now_us + SECONDS(10));
    expect_true("FACTS 0.1: a primary back without its data empties its replica",
                !redis_has_data(sim, &sim->redis[3]) && holds(sim->violation, "I8: "));
    sim_deinit(sim);
}

/* ---- figures to be compared with real servers (tests/integration/test_model_vs_real.py) ---- */

static void figure(const char *server, const char *name, int64_t value)
{
    printf("%s %s %lld\n", server, name, (long long)value);
}

static void figures_formation(const char *server, const struct redis_traits *traits)
{
    bench_start(6, traits, 15000);
    for (int i = 0; i < 6; i++) {
        (void)bench_do(i, "CONFIG SET cluster-node-timeout 500");
        (void)bench_do(i, "CONFIG SET repl-diskless-sync-delay 0");
    }
    bench_slots(3);
    int64_t start = sim->now_us;
    bench_all_pairs();
    figure(server, "all-pairs-known-ms", bench_wait(knows_all, 20000));
    for (int i = 3; i < 6; i++)
        (void)bench_replicate(i, i - 3);
    (void)bench_wait(all_linked, 20000);
    figure(server, "formed-ms", (sim->now_us - start) / 1000);
    sim_deinit(sim);
}

static void figures_addresses(const char *server, const struct redis_traits *traits)
{
    bench_form(traits, 2000);
    bench_readdress(0);
    figure(server, "one-new-address-seen-ms", bench_wait(others_have_address, 20000));
    (void)bench_wait(all_linked, 20000);
    for (int i = 0; i < 6; i++)
        bench_readdress(i);
    sim_run(sim, sim->now_us + MS(1000));
    bench_all_pairs();
    figure(server, "all-new-addresses-healed-ms", bench_wait(all_linked, 20000));
    sim_deinit(sim);
}

static void figures_failover(const char *server, const struct redis_traits *traits)
{
    bench_form(traits, 2000);
    redis_stop(sim, &sim->redis[0], true);
    figure(server, "failover-at-2000-ms", bench_wait(replica_took_over, 60000));
    sim_deinit(sim);
}

/* 0 = nothing, 1 = noaddr, 2 = noaddr and failed. */
static void figures_same_address(const char *server, const struct redis_traits *traits)
{
    const struct redis_node *n = bench_stranger(traits);
    bool noaddr = n && n->flags & NODE_NOADDR;
    figure(server, "new-id-at-address", noaddr + (noaddr && n->flags & NODE_FAIL));
    sim_deinit(sim);
}

int selftest_figures(void)
{
    static const struct {
        const char *server;
        const struct redis_traits *traits;
    } servers[] = {{"redis-7.0", &redis_traits_70}, {"valkey-9", &redis_traits_valkey9}};
    sim = xcalloc(1, sizeof *sim);
    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        figures_formation(servers[i].server, servers[i].traits);
        figures_addresses(servers[i].server, servers[i].traits);
        figures_failover(servers[i].server, servers[i].traits);
        figures_same_address(servers[i].server, servers[i].traits);
    }
    free(sim);
    return 0;
}

int selftest_run(void)
{
    sim = xcalloc(1, sizeof *sim);
    test_formation_quick();
    test_formation_slow();
    test_errors();
    test_addresses();
    test_failover(&redis_traits_70, 15000, "FACTS 3: automatic failover at NT 15 s (19-23 s)",
                  15500, 24000);
    test_failover(&redis_traits_70, 2000, "FAULTS 0: automatic failover at NT 2 s (4.3 s)", 2300,
                  5000);
    test_failover(&redis_traits_valkey9, 2000, "FACTS 3: on valkey 9", 2000, 4500);
    test_forget();
    test_same_address(&redis_traits_70);
    test_same_address(&redis_traits_valkey9);
    test_epochs();
    test_restart();
    test_takeover();
    test_empty_restart();
    free(sim);
    printf("%u facts failed\n", failures);
    return failures ? 1 : 0;
}
