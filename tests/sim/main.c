/* SPDX-License-Identifier: Apache-2.0 */
/* muster-sim: runs schedules, prints what broke, and proves that the guards are what prevents it. */
#include <stdio.h>
#include <string.h>

#include "batch.h"
#include "prove.h"
#include "schedule.h"
#include "selftest.h"

static const char usage[] =
    "muster-sim [--seeds N] [--first S] [--jobs J] [--seed S] [--verbose] [--pods N]\n"
    "           [--fault NAME]... [--kinds K] [--scaling] [--guards-off MASK] [--cases DIR] "
    "[--list-faults] "
    "[--prove-guards]\n"
    "           [--self-test]\n"
    "  --seeds N         N schedules (1000), after the kept cases\n"
    "  --first S         from this seed on (1)\n"
    "  --jobs J          processes (2)\n"
    "  --seed S          this schedule only, with its trace\n"
    "  --verbose         the whole trace, as it happens\n"
    "  --fault NAME      only this kind of fault, or these\n"
    "  --scaling         policy.scaling: auto, and the size changes again and again\n"
    "  --kinds K         the first K kinds of faults only, as a kept seed may say\n"
    "  --guards-off MASK takes safety rules away (enum guard of core/world.h)\n"
    "  --prove-guards    without each guard some schedule must break its rule\n"
    "  --self-test       the model alone, by scripted commands\n"
    "  --figures         its figures, to be compared with real servers\n";

enum mode { MODE_BATCH, MODE_SEED, MODE_PROVE, MODE_SELF_TEST, MODE_FIGURES, MODE_LIST };

struct arguments {
    enum mode mode;
    struct batch batch;
    uint64_t seed;
};

static bool argument_number(const char *text, uint64_t *ret_value)
{
    return text && text_to_u64(span_of(text), UINT64_MAX, ret_value);
}

/* An option with a number; false if it is none of these. */
static bool argument_take(struct arguments *a, const char *name, uint64_t value)
{
    if (strcmp(name, "--seeds") == 0)
        a->batch.seeds = value;
    else if (strcmp(name, "--first") == 0)
        a->batch.first = value;
    else if (strcmp(name, "--jobs") == 0 && value > 0 && value <= BATCH_JOBS_MAX)
        a->batch.jobs = (int)value;
    else if (strcmp(name, "--pods") == 0 && value > 0 && value < PODS_MAX)
        a->batch.options.pods = (int)value;
    else if (strcmp(name, "--kinds") == 0)
        a->batch.options.kinds = (size_t)value;
    else if (strcmp(name, "--guards-off") == 0)
        a->batch.options.guards_off = (uint32_t)value;
    else if (strcmp(name, "--seed") == 0) {
        a->mode = MODE_SEED;
        a->seed = value;
    } else
        return false;
    return true;
}

static bool arguments_parse(int argc, char **argv, struct arguments *a)
{
    for (int i = 1; i < argc; i++) {
        uint64_t value;
        if (strcmp(argv[i], "--verbose") == 0) {
            a->batch.options.verbose = true;
        } else if (strcmp(argv[i], "--scaling") == 0) {
            a->batch.options.scaling = true;
        } else if (strcmp(argv[i], "--prove-guards") == 0) {
            a->mode = MODE_PROVE;
        } else if (strcmp(argv[i], "--self-test") == 0) {
            a->mode = MODE_SELF_TEST;
        } else if (strcmp(argv[i], "--figures") == 0) {
            a->mode = MODE_FIGURES;
        } else if (strcmp(argv[i], "--list-faults") == 0) {
            a->mode = MODE_LIST;
        } else if (strcmp(argv[i], "--fault") == 0 && i + 1 < argc &&
                   faults_find(argv[i + 1]) < faults_count()) {
            a->batch.options.faults |= UINT64_C(1) << faults_find(argv[++i]);
        } else if (strcmp(argv[i], "--cases") == 0 && i + 1 < argc) {
            a->batch.cases = argv[++i];
        } else if (i + 1 < argc && argument_number(argv[i + 1], &value) &&
                   argument_take(a, argv[i], value)) {
            i++;
        } else {
            return false;
        }
    }
    return true;
}

static int list_faults(void)
{
    for (size_t i = 0; i < faults_count(); i++)
        puts(faults_name(i));
    return 0;
}

int main(int argc, char **argv)
{
    struct arguments a = {
        .batch = {.seeds = 1000, .first = 1, .jobs = 2, .cases = MUSTER_TESTS_DIR "/sim/cases"}};
    if (!arguments_parse(argc, argv, &a)) {
        (void)fputs(usage, stderr);
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    switch (a.mode) {
    case MODE_BATCH:
        return batch_run(&a.batch);
    case MODE_SEED:
        return batch_run_seed(&a.batch.options, a.seed);
    case MODE_PROVE:
        return prove_guards();
    case MODE_SELF_TEST:
        return selftest_run();
    case MODE_FIGURES:
        return selftest_figures();
    case MODE_LIST:
        return list_faults();
    }
    return 2;
}
