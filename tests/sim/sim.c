/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"

void sim_init(struct sim *sim, uint64_t seed, const struct options *options, struct stats *stats)
{
    memset(sim, 0, sizeof *sim); /* as a compound literal it would need a stack of its size */
    sim->seed = seed;
    sim->options = *options;
    sim->stats = stats;
    sim->rng.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    sim->atoms[0] = (struct slot_range){0, SLOT_COUNT - 1};
    sim->atom_count = 1;
    sim->addr_count = 1;
    sim->next_id = 1;
    sim->trace = options->untraced ? NULL : xcalloc(TRACE_LINES, TRACE_WIDTH);
    arena_init(&sim->turn_arena, TURN_ARENA_MAX);
}

void sim_deinit(struct sim *sim)
{
    queue_deinit(&sim->queue);
    for (int i = 0; i < sim->redis_count; i++)
        snapshot_release(sim->redis[i].snap);
    for (int i = 0; i < PODS_MAX; i++)
        agent_forget(sim, &sim->agents[i]);
    api_deinit(&sim->api);
    arena_deinit(&sim->turn_arena);
    free(sim->trace);
    sim->trace = NULL;
}

void sim_after(struct sim *sim, int64_t delay_us, event_fn fn, int who, int other, uint64_t run,
               void *data)
{
    assert(delay_us >= 0);
    queue_push(&sim->queue, (struct event){.at_us = sim->now_us + delay_us,
                                           .fn = fn,
                                           .who = who,
                                           .other = other,
                                           .run = run,
                                           .data = data});
}

void sim_run(struct sim *sim, int64_t until_us)
{
    while (sim->queue.count && sim->queue.heap[0].at_us <= until_us && !sim->violation[0]) {
        struct event event = queue_pop(&sim->queue);
        assert(event.at_us >= sim->now_us);
        sim->now_us = event.at_us;
        event.fn(sim, &event);
    }
    if (!sim->violation[0])
        sim->now_us = until_us;
}

bool sim_linked(const struct sim *sim, int a, int b)
{
    return !sim->cut[a][b] && !sim->cut[b][a];
}

int64_t sim_between(struct sim *sim, int64_t low, int64_t high)
{
    assert(low <= high);
    return low + (int64_t)rng_below(&sim->rng, (uint64_t)(high - low) + 1);
}

bool sim_chance(struct sim *sim, unsigned permille)
{
    return rng_below(&sim->rng, 1000) < permille;
}

int sim_new_addr(struct sim *sim)
{
    assert(sim->addr_count < ADDR_NOWHERE);
    return sim->addr_count++;
}

void sim_bind_addr(struct sim *sim, int addr, int host)
{
    sim->host_of_addr[addr] = host + 1;
}

int sim_host_at(const struct sim *sim, int addr)
{
    return sim->host_of_addr[addr] - 1;
}

void sim_addr_text(int addr, char *dst, size_t size)
{
    static char texts[ADDR_MAX][ADDR_TEXT_SIZE]; /* asked for in each turn, and always the same */
    assert(size >= ADDR_TEXT_SIZE);
    (void)size;
    char *text = texts[addr];
    if (addr && !text[0])
        text_format(text, ADDR_TEXT_SIZE, "10.1.%d.%d", addr / 250, addr % 250 + 1);
    memcpy(dst, text, ADDR_TEXT_SIZE);
}

int sim_addr_parse(const char *ip)
{
    struct span rest = span_of(ip);
    uint64_t high;
    uint64_t low;
    if (!span_starts(rest, "10.1."))
        return 0;
    rest = (struct span){rest.ptr + 5, rest.len - 5};
    struct span first = span_until(&rest, '.');
    if (!text_to_u64(first, ADDR_MAX / 250, &high) || !text_to_u64(rest, 250, &low) || !low)
        return 0;
    int addr = (int)(high * 250 + low - 1);
    return addr < ADDR_MAX ? addr : 0;
}

/* The atom that holds `first` is cut in two before it, in everything that counts by atoms. */
static void sim_split_before(struct sim *sim, unsigned first)
{
    for (int k = 0; k < sim->atom_count; k++) {
        if (sim->atoms[k].first >= first || sim->atoms[k].last < first)
            continue;
        assert(sim->atom_count < ATOMS_MAX);
        int fresh = sim->atom_count++;
        sim->atoms[fresh] = (struct slot_range){(uint16_t)first, sim->atoms[k].last};
        sim->atoms[k].last = (uint16_t)(first - 1);
        sim->acked[fresh] = sim->acked[k];
        for (int i = 0; i < sim->redis_count; i++) {
            struct redis *r = &sim->redis[i];
            r->data[fresh] = r->data[k];
        }
        return;
    }
}

void sim_tell_apart(struct sim *sim, struct slot_range range)
{
    if (range.first > 0)
        sim_split_before(sim, range.first);
    if (range.last < SLOT_COUNT - 1)
        sim_split_before(sim, range.last + 1u);
}

void sim_trace(struct sim *sim, const char *who, const char *fmt, ...)
{
    if (!sim->trace)
        return;
    char *line = sim->trace + (sim->trace_count++ % TRACE_LINES) * TRACE_WIDTH;
    int64_t ms = sim->now_us / 1000;
    int len = snprintf(line, TRACE_WIDTH, "[%4lld.%03lld] %-10s ", (long long)(ms / 1000),
                       (long long)(ms % 1000), who);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line + len, (size_t)(TRACE_WIDTH - len), fmt, args);
    va_end(args);
    if (sim->options.verbose)
        puts(line);
}

void sim_print_trace(const struct sim *sim, uint64_t last)
{
    uint64_t kept = sim->trace_count < TRACE_LINES ? sim->trace_count : TRACE_LINES;
    if (last > kept)
        last = kept;
    for (uint64_t i = sim->trace_count - last; i < sim->trace_count; i++)
        puts(sim->trace + (i % TRACE_LINES) * TRACE_WIDTH);
}

void sim_violation(struct sim *sim, const char *fmt, ...)
{
    if (sim->violation[0])
        return;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(sim->violation, sizeof sim->violation, fmt, args);
    va_end(args);
    sim_trace(sim, "VIOLATION", "%s", sim->violation);
}
