/* SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "schedule.h"

#define FAILURES_SHOWN 3
#define TRACE_SHOWN 120
#define FAILURES_MAX 1024
/* A batch of this size must have reached every rule of the planner. */
#define SEEDS_REACH_ALL 500

/* A schedule: its seed, how many kinds of faults there were when it was kept, and which were asked for. */
struct seed {
    uint64_t number;
    uint64_t kinds;  /* 0 = all */
    uint64_t faults; /* as in struct options */
    bool scaling;
};

struct seeds {
    struct seed *items;
    size_t count;
};

/* What a worker hands to its parent through the pipe: the counters, then the failing seeds. */
struct outcome_head {
    struct stats stats;
    uint64_t failed;
};

static double now_seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void seeds_add(struct seeds *seeds, struct seed seed)
{
    seeds->items = xrealloc(seeds->items, seeds->count + 1, sizeof *seeds->items);
    seeds->items[seeds->count++] = seed;
}

/* "kinds N", "fault NAME", or nothing. */
static bool seed_read_rest(struct span text, struct seed *seed)
{
    struct span key;
    struct span word;
    while (span_token(&text, &key)) {
        char name[64];
        if (span_is(key, "scaling")) {
            seed->scaling = true;
            continue;
        }
        if (!span_token(&text, &word) || !TEXT_COPY(name, word))
            return false;
        size_t kind = faults_find(name);
        if (span_is(key, "fault") && kind < faults_count())
            seed->faults |= UINT64_C(1) << kind;
        else if (!span_is(key, "kinds") || !text_to_u64(word, STATS_FAULTS_MAX, &seed->kinds))
            return false;
    }
    return true;
}

static int seeds_read_file(const char *path, struct seeds *seeds)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    char line[256];
    int r = 0;
    while (fgets(line, sizeof line, file)) {
        struct seed seed = {0};
        struct span rest = span_of(line);
        struct span text;
        struct span word;
        if (!span_line(&rest, &text) || !text.len || text.ptr[0] == '#')
            continue;
        if (span_token(&text, &word) && span_is(word, "seed") && span_token(&text, &word) &&
            text_to_u64(word, UINT64_MAX, &seed.number) && seed_read_rest(text, &seed)) {
            seeds_add(seeds, seed);
        } else {
            (void)fprintf(stderr, "%s: not understood: %s", path, line);
            r = -1;
        }
    }
    (void)fclose(file);
    return r;
}

static int name_cmp(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_case(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 5 && strcmp(entry->d_name + len - 5, ".seed") == 0;
}

static int seeds_read(const char *folder, struct seeds *seeds)
{
    struct dirent **names;
    int count = scandir(folder, &names, is_case, name_cmp);
    int r = 0;
    for (int i = 0; i < count; i++) {
        char path[1024];
        text_format(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (seeds_read_file(path, seeds) < 0)
            r = -1;
        free(names[i]);
    }
    if (count >= 0)
        free(names);
    return r;
}

static void write_all(int fd, const void *bytes, size_t len)
{
    const char *p = bytes;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n <= 0)
            _exit(3);
        p += n;
        len -= (size_t)n;
    }
}

static bool read_all(int fd, void *bytes, size_t len)
{
    char *p = bytes;
    while (len) {
        ssize_t n = read(fd, p, len);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static struct options seed_options(const struct options *options, struct seed seed)
{
    struct options with = *options;
    if (seed.kinds)
        with.kinds = (size_t)seed.kinds;
    if (seed.faults)
        with.faults = seed.faults;
    with.scaling = seed.scaling;
    return with;
}

/* The worker runs each jobs-th seed. */
static void worker_run(const struct batch *batch, const struct seeds *seeds, int job, int fd)
{
    struct outcome_head head = {.failed = 0};
    static struct seed failed[FAILURES_MAX];
    struct sim *sim = xcalloc(1, sizeof *sim);
    for (size_t i = (size_t)job; i < seeds->count; i += (size_t)batch->jobs) {
        struct options options = seed_options(&batch->options, seeds->items[i]);
        options.untraced = !options.verbose;
        if (!schedule_run(sim, seeds->items[i].number, &options, &head.stats) &&
            head.failed < FAILURES_MAX)
            failed[head.failed++] = seeds->items[i];
        sim_deinit(sim);
    }
    free(sim);
    write_all(fd, &head, sizeof head);
    write_all(fd, failed, head.failed * sizeof *failed);
}

static int worker_start(const struct batch *batch, const struct seeds *seeds, int job,
                        pid_t *ret_pid)
{
    int fds[2];
    if (pipe(fds) < 0)
        return -1;
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        return -1;
    if (pid == 0) {
        (void)close(fds[0]);
        worker_run(batch, seeds, job, fds[1]);
        free(seeds->items);
        exit(0);
    }
    (void)close(fds[1]);
    *ret_pid = pid;
    return fds[0];
}

/* The pipe is empty and the process has ended well. */
static bool worker_collect(int fd, pid_t pid, struct stats *sum, struct seeds *failed)
{
    struct outcome_head head;
    bool ok = read_all(fd, &head, sizeof head);
    if (ok)
        stats_add(sum, &head.stats);
    for (uint64_t i = 0; ok && i < head.failed; i++) {
        struct seed seed;
        ok = read_all(fd, &seed, sizeof seed);
        if (ok)
            seeds_add(failed, seed);
    }
    (void)close(fd);
    int status;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0 && ok;
}

int batch_run_seed(const struct options *options, uint64_t seed)
{
    struct stats stats = {0};
    struct sim *sim = xcalloc(1, sizeof *sim);
    bool ok = schedule_run(sim, seed, options, &stats);
    if (!options->verbose)
        sim_print_trace(sim, ok ? TRACE_LINES : TRACE_SHOWN);
    printf("seed %llu: %s\n", (unsigned long long)seed, ok ? "ok" : sim->violation);
    sim_deinit(sim);
    free(sim);
    return ok ? 0 : 1;
}

static int seed_cmp(const void *a, const void *b)
{
    const struct seed *x = a;
    const struct seed *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

static void batch_show(const struct batch *batch, struct seeds *failed)
{
    if (failed->count)
        qsort(failed->items, failed->count, sizeof *failed->items, seed_cmp);
    for (size_t i = 0; i < failed->count; i++) {
        if (i < FAILURES_SHOWN) {
            struct options options = seed_options(&batch->options, failed->items[i]);
            printf("---- seed %llu\n", (unsigned long long)failed->items[i].number);
            (void)batch_run_seed(&options, failed->items[i].number);
        } else {
            printf("seed %llu failed, too\n", (unsigned long long)failed->items[i].number);
        }
    }
}

int batch_run(const struct batch *batch)
{
    struct seeds seeds = {0};
    struct seeds failed = {0};
    struct stats sum = {0};
    bool sound = seeds_read(batch->cases, &seeds) == 0;
    for (uint64_t i = 0; i < batch->seeds; i++)
        seeds_add(&seeds,
                  (struct seed){.number = batch->first + i, .scaling = batch->options.scaling});
    double start = now_seconds();
    int fds[BATCH_JOBS_MAX];
    pid_t pids[BATCH_JOBS_MAX];
    for (int job = 0; job < batch->jobs; job++)
        fds[job] = worker_start(batch, &seeds, job, &pids[job]);
    for (int job = 0; job < batch->jobs; job++)
        if (fds[job] < 0 || !worker_collect(fds[job], pids[job], &sum, &failed))
            sound = false;
    double took = now_seconds() - start;
    batch_show(batch, &failed);
    stats_print(&sum, took);
    const char *unreached = NULL;
    if (batch->seeds >= SEEDS_REACH_ALL)
        unreached = stats_unreached_rule(&sum, batch->options.scaling);
    if (unreached)
        printf("rule %s was never reached\n", unreached);
    if (!sound)
        printf("a worker crashed or a case could not be read\n");
    free(seeds.items);
    bool ok = sound && !failed.count && !unreached;
    free(failed.items);
    return ok ? 0 : 1;
}
