/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time of plan_next, facts and all, at 10, 100 and 1,000 nodes: a formed cluster that is steady
 * with eleven full views (three witnesses and eight that differed, DESIGN 3), a formation in which
 * every view was read, a cluster in which nobody reaches anybody, and one whose primaries are all in one
 * zone, by the turn that finds out what to do about it. policy.placement is warn, but where it says
 * enforce. A turn knows what the leader remembers of the one before.
 *
 * Exits 1 if a steady thousand, or a thousand with its primaries in one zone, takes more than 10 ms, or
 * if a steady thousand takes more than 20 times one of ten steady hundreds: sorting alone grows 15 times
 * (n log n). For a release build: sanitizers and -O0 say nothing about it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "core/place.h"
#include "core/plan.h"
#include "lib/world_build.h"

#define LIMIT_MS 10.0
#define GROWTH_MAX 20.0
#define WITNESSES 11
#define MEASURE_MS 400.0
#define PASSES 8
#define WORLDS_MAX 100

enum shape { STEADY, ENFORCED, FORMING, DISCONNECTED, PILED, SHAPES };

static const char *const shape_names[] = {"steady, 11 views", "steady, enforced",
                                          "forming, all views", "disconnected, all views",
                                          "primaries in one zone"};
static const size_t sizes[] = {10, 100, 1000};

static double bench_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* A view of `me` as node `i` sees it, sharing nothing but the slots. */
static const struct view *bench_view(struct arena *arena, const struct view *from, size_t me,
                                     bool cut_off)
{
    struct view *view = ARENA_NEW(arena, struct view, 1);
    struct view_node *nodes = ARENA_NEW(arena, struct view_node, from->node_count);
    struct node_id id = world_build_id(me);
    *view = *from;
    memcpy(nodes, from->nodes, from->node_count * sizeof *nodes);
    for (size_t i = 0; i < from->node_count; i++) {
        bool myself = node_id_eq(&nodes[i].id, &id);
        nodes[i].flags &= ~(uint32_t)NODE_MYSELF;
        if (myself)
            nodes[i].flags |= NODE_MYSELF;
        else if (cut_off)
            nodes[i].flags |= NODE_PFAIL;
        nodes[i].connected = myself || !cut_off;
    }
    if (!view_finish(view, nodes))
        abort();
    return view;
}

/* As many pods as `build` has, all with the cluster that server 0 lists in its view. */
static void bench_share(struct world_build *build, const struct server *first, size_t views,
                        bool cut_off)
{
    for (size_t i = 0; i < build->count; i++) {
        struct server *s = &build->pods[i].server;
        s->view = i < views ? bench_view(build->arena, first->view, i, cut_off) : NULL;
        s->view_ms = i < views ? s->seen_ms : 0;
        s->id = world_build_id(i);
        s->known_nodes = first->known_nodes;
        s->slots_assigned = s->slots_ok = SLOT_COUNT;
        s->state_ok = !cut_off;
    }
}

/*
 * The builder derives each view from the whole description, which is too much for a thousand: it
 * makes the first one, and the others are copies of it from another point of view.
 */
static struct world *bench_world(struct arena *arena, enum shape shape, size_t count)
{
    struct world_build *build = world_build_virgin(arena, count);
    size_t shards = count / 2;
    for (size_t i = 0; i < count; i++) {
        build->pods[i].server.reach = i ? REACH_UNKNOWN : REACH_OK; /* derive the first only */
        build->nodes[i].component = 0;
        build->nodes[i].epoch = i + 1;
        build->nodes[i].primary = i < shards || shape == FORMING;
        build->nodes[i].primary_node = i % shards;
        if (i < shards)
            slot_set_add(&build->nodes[i].slots, slots_of_shard((unsigned)i, (unsigned)shards));
        build->members[i] = (struct record_member){.id = world_build_id(i),
                                                   .shard = (uint16_t)(i % shards),
                                                   .primary = i < shards,
                                                   .epoch = i + 1,
                                                   .node_timeout_ms = 15000,
                                                   .diskless_delay_s = 5};
        text_format(build->members[i].pod, POD_NAME_SIZE, "%s", build->pods[i].name);
    }
    (void)world_build_refresh(build);
    for (size_t i = 0; i < count; i++) {
        struct server *s = &build->pods[i].server;
        s->reach = REACH_OK;
        s->primary = build->nodes[i].primary;
        s->keys = shape == FORMING ? 0 : 100;
        s->link_up = true;
        s->my_epoch = s->current_epoch = i + 1;
        s->node_timeout_ms = shape == FORMING ? 500 : 15000;
        s->diskless_delay_s = shape == FORMING ? 0 : 5;
    }
    bench_share(build, &build->pods[0].server,
                shape != FORMING && shape != DISCONNECTED && count > WITNESSES ? WITNESSES : count,
                shape == DISCONNECTED);
    build->record = (struct record){.version = RECORD_VERSION,
                                    .uid = WORLD_BUILD_UID,
                                    .set_uid = WORLD_BUILD_SET_UID,
                                    .generation = 1,
                                    .state = shape == FORMING ? RECORD_FORMING : RECORD_FORMED,
                                    .shards = (uint16_t)shards,
                                    .members = build->members,
                                    .member_count = count};
    /* Every primary in one zone, each replica in one of two others. */
    for (size_t i = 0; shape == PILED && i < count; i++) {
        size_t zone = i < shards ? 0 : 1 + i % 2;
        text_format(build->pods[i].node, NODE_NAME_SIZE, "node-%zu", 33 * zone + i % 33);
        text_format(build->pods[i].zone, ZONE_SIZE, "zone-%zu", zone);
    }
    build->world.placement = shape == ENFORCED || shape == PILED ? PLACE_ENFORCE : PLACE_WARN;
    build->world.record_presence = PRESENCE_PRESENT;
    build->world.record = build->world.record_copy = &build->record;
    return &build->world;
}

/* Worlds of one size that are planned in turn: so that the processor's cache is as small for all sizes. */
struct worlds {
    struct arena arena;
    struct world *items[WORLDS_MAX];
    size_t count;
    struct plan plan; /* of the last of them */
    double best_ms;
};

static void bench_make(struct worlds *w, enum shape shape, size_t size)
{
    *w = (struct worlds){.best_ms = 1e9};
    arena_init(&w->arena, MIB(1024));
    w->count = shape == FORMING || shape == DISCONNECTED ? 1 : sizes[ARRAY_LEN(sizes) - 1] / size;
    for (size_t i = 0; i < w->count; i++)
        w->items[i] = bench_world(&w->arena, shape, size);
}

/* `anew`: each plan is the first one that sees its cluster. */
static void bench_plan(struct worlds *w, bool anew)
{
    struct arena turn;
    arena_init(&turn, TURN_ARENA_MAX);
    double end = bench_now_ms() + MEASURE_MS / PASSES;
    do {
        double start = bench_now_ms();
        for (size_t i = 0; i < w->count; i++) {
            arena_reset(&turn);
            plan_next(w->items[i], &turn, &w->plan);
            if (!anew)
                place_note(&w->items[i]->place, w->items[i], &w->plan);
        }
        double took = (bench_now_ms() - start) / (double)w->count;
        w->best_ms = took < w->best_ms ? took : w->best_ms;
    } while (bench_now_ms() < end);
    w->plan.actions = NULL; /* they die with the arena */
    arena_deinit(&turn);
}

/*
 * The best of some rounds, so that a busy machine does not count; the sizes in turn, so that each has
 * its part of the moments in which it is not: else their proportion says nothing.
 */
static void bench_shape(enum shape shape, double *ret_ms)
{
    static struct worlds worlds[ARRAY_LEN(sizes)];
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        bench_make(&worlds[i], shape, sizes[i]);
    for (size_t pass = 0; pass < PASSES; pass++)
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
            bench_plan(&worlds[i], shape == PILED);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        ret_ms[i] = worlds[i].best_ms;
        (void)printf("%-24s %6zu %10.3f %8zu  %s\n", shape_names[shape], sizes[i], ret_ms[i],
                     worlds[i].plan.action_count, worlds[i].plan.rule);
        arena_deinit(&worlds[i].arena);
    }
}

/* True if it is too slow. growth_max = 0: whatever a hundred nodes take. */
static bool bench_judge(const char *name, const double *ms, double growth_max)
{
    double growth = ms[2] / ms[1];
    bool slow = ms[2] > LIMIT_MS || (growth_max > 0 && growth > growth_max);
    (void)printf("%s: %.3f ms of at most %.0f, %.1f times a hundred", name, ms[2], LIMIT_MS,
                 growth);
    if (growth_max > 0)
        (void)printf(" of at most %.0f", growth_max);
    (void)printf("%s\n", slow ? ": TOO SLOW" : "");
    return slow;
}

int main(void)
{
    double ms[SHAPES][ARRAY_LEN(sizes)];
    (void)printf("%-24s %6s %10s %8s  %s\n", "plan_next", "nodes", "ms", "actions", "rule");
    for (enum shape shape = STEADY; shape < SHAPES; shape++)
        bench_shape(shape, ms[shape]);
    bool slow = bench_judge("a steady thousand", ms[STEADY], GROWTH_MAX);
    slow |= bench_judge("a steady thousand, enforced", ms[ENFORCED], GROWTH_MAX);
    slow |= bench_judge("a thousand with its primaries in one zone", ms[PILED], 0);
    return slow ? EXIT_FAILURE : EXIT_SUCCESS;
}
