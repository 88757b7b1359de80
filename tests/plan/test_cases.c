/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden cases: each <rule>/<story>.case in this folder is a world and what the planner makes of it
 * (the language: plan/case_read.h). Every rule of the table must have a case in which it speaks.
 *
 *     test_plan_cases [--update] [FILE...]      --update writes what the planner does now
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "plan/case_read.h"
#include "plan/case_render.h"
#include "plan/plan_check.h"

#define CASE_SIZE_MAX KIB(64)
#define RULES_MAX 64

struct run {
    struct arena arena;
    bool update;
    size_t failed;
    size_t speaks[RULES_MAX]; /* by rule: cases in which it gives the sentence */
};

static bool case_load(const char *path, struct buf *text)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    char block[4096];
    size_t got;
    while ((got = fread(block, 1, sizeof block, file)) > 0)
        (void)buf_append(text, block, got);
    (void)fclose(file);
    return text->len > 0 && !text->failed;
}

/* The first `keep` bytes stay, the rest becomes `tail`. */
static bool case_store(const char *path, const struct buf *text, size_t keep,
                       const struct buf *tail)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return false;
    bool ok = fwrite(text->bytes, 1, keep, file) == keep;
    ok = fwrite(tail->bytes, 1, tail->len, file) == tail->len && ok;
    return fclose(file) == 0 && ok;
}

/* Line by line: "-" expected, "+" planned. */
static void case_print_diff(const char *expected, const char *planned)
{
    struct span left = span_of(expected);
    struct span right = span_of(planned);
    while (left.len || right.len) {
        struct span a = {0};
        struct span b = {0};
        bool has_a = span_line(&left, &a);
        bool has_b = span_line(&right, &b);
        if (has_a && has_b && a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0) {
            (void)printf("      %.*s\n", (int)a.len, a.ptr);
            continue;
        }
        if (has_a)
            (void)printf("    - %.*s\n", (int)a.len, a.ptr);
        if (has_b)
            (void)printf("    + %.*s\n", (int)b.len, b.ptr);
    }
}

/* The world as it is when the plan, or one pod's part of it, was sent and nothing is to be seen of it yet. */
static const struct world *case_after(struct run *run, const struct world *world,
                                      const struct plan *plan, struct span by)
{
    struct world *after = ARENA_NEW(&run->arena, struct world, 1);
    struct attempts *attempts = ARENA_NEW(&run->arena, struct attempts, 1);
    *after = *world;
    after->attempts = attempts;
    for (size_t i = 0; i < plan->action_count; i++) {
        const struct action *a = &plan->actions[i];
        if (!by.len || (a->pod != NO_POD && span_is(by, world->pods[a->pod].name)))
            attempts_succeeded(attempts, action_key(a), world->now_ms, action_quiet_ms(a));
    }
    return after;
}

static const char *case_plan(struct run *run, const struct case_world *c, struct buf *rendered,
                             struct plan *ret_plan)
{
    const struct world *world = c->world;
    struct plan again;
    plan_next(world, &run->arena, ret_plan);
    if (c->tried) {
        world = case_after(run, world, ret_plan, c->tried_by);
        plan_next(world, &run->arena, ret_plan);
    }
    plan_next(world, &run->arena, &again);
    case_render(world, ret_plan, rendered);
    if (!plan_check_same(ret_plan, &again))
        return "the same world gives two plans";
    return plan_check(world, ret_plan, &run->arena);
}

/* True if the case holds. */
static bool case_run(struct run *run, const char *path)
{
    struct buf auto_buf text;
    struct buf auto_buf rendered;
    struct case_world c = {0};
    struct plan plan;
    struct err err = {0};
    buf_init(&text, CASE_SIZE_MAX);
    buf_init(&rendered, CASE_SIZE_MAX);
    arena_reset(&run->arena);
    if (!case_load(path, &text)) {
        (void)printf("FAIL %s: cannot be read\n", path);
        return false;
    }
    if (case_read((struct span){text.bytes, text.len}, &run->arena, &c, &err)) {
        (void)printf("FAIL %s: %s\n", path, err.msg);
        return false;
    }
    const char *broken = case_plan(run, &c, &rendered, &plan);
    if (broken) {
        (void)printf("FAIL %s: %s\n%s", path, broken, buf_str(&rendered));
        return false;
    }
    run->speaks[plan_check_rule(plan.rule)]++;
    if (strcmp(text.bytes + c.expect_at, buf_str(&rendered)) == 0)
        return true;
    if (run->update && case_store(path, &text, c.expect_at, &rendered)) {
        (void)printf("updated %s\n", path);
        return true;
    }
    (void)printf("FAIL %s\n", path);
    case_print_diff(text.bytes + c.expect_at, buf_str(&rendered));
    return false;
}

/* A folder bears the name of the rule that its cases are about. */
static bool case_is_filed(const char *path)
{
    char folder[256];
    text_format(folder, sizeof folder, "%s", path);
    char *file = strrchr(folder, '/');
    if (!file)
        return false;
    *file = '\0';
    const char *rule = strrchr(folder, '/');
    return plan_check_rule(rule ? rule + 1 : folder) != SIZE_MAX;
}

static bool run_all(struct run *run)
{
    glob_t found = {0};
    bool ok = true;
    if (glob(MUSTER_TESTS_DIR "/plan/*/*.case", 0, NULL, &found) != 0) {
        (void)printf("FAIL no cases in %s/plan\n", MUSTER_TESTS_DIR);
        globfree(&found);
        return false;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        ok = case_run(run, found.gl_pathv[i]) && ok;
        if (!case_is_filed(found.gl_pathv[i])) {
            (void)printf("FAIL %s: its folder is no rule's name\n", found.gl_pathv[i]);
            ok = false;
        }
    }
    for (size_t i = 0; plan_rule_name(i); i++) {
        if (run->speaks[i])
            continue;
        (void)printf("FAIL rule %s speaks in no case\n", plan_rule_name(i));
        ok = false;
    }
    (void)printf("%s: %zu cases\n", ok ? "ok" : "failed", found.gl_pathc);
    globfree(&found);
    return ok;
}

int main(int argc, char **argv)
{
    struct run run = {0};
    bool ok = true;
    int first = 1;
    if (argc > first && strcmp(argv[first], "--update") == 0) {
        run.update = true;
        first++;
    }
    arena_init(&run.arena, MIB(2048));
    if (first == argc)
        ok = run_all(&run);
    for (int i = first; i < argc; i++)
        ok = case_run(&run, argv[i]) && ok;
    arena_deinit(&run.arena);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
