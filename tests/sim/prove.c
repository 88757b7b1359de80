/* SPDX-License-Identifier: Apache-2.0 */
#include "prove.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "schedule.h"

/* The harm must show within so many schedules; and neither in that one nor in the first so many with every guard on. */
#define SEEDS_OFF 200
#define SEEDS_ON 10

static const struct proof {
    const char *what;
    uint32_t guards;
    const char *faults[3]; /* that make the harm possible */
    const char *harm;      /* the violation holds this */
} proofs[] = {
    {"without VIRGIN and RECORD a living cluster is formed again",
     GUARD_VIRGIN | GUARD_RECORD,
     {"record-and-copies-lost", "record-deleted"},
     "I1: "},
    {"without MEMBER a stranger is introduced", GUARD_MEMBER, {"foreign-volume"}, "I1: "},
    {"without RESTORE the quick settings stay",
     GUARD_RESTORE,
     {"agent-pause"},
     "cluster-node-timeout was not given back"},
    {"without FORGET's conditions a slot owner is forgotten",
     GUARD_FORGET,
     {"volume-lost", "pod-lost"},
     "I14: "},
    {"without REBIRTH one empty server has a living cluster formed again",
     GUARD_REBIRTH,
     {"pod-lost", "pod-delete"},
     "I1: a formed cluster is to be formed again"},
    {"without GATE a copied volume takes its original's place",
     GUARD_GATE,
     {"cloned-volume", "pod-delete"},
     "I8: "},
    {"without DATA a primary that comes back empty empties its replicas",
     GUARD_DATA,
     {"data-lost", "data-lost-moved"},
     "I8: "},
    {"without DATA an empty server at a primary's address empties its replicas",
     GUARD_DATA,
     {"volume-lost-in-place"},
     "I8: "},
    {"without UNSYNCED a replica is elected that has not copied anything yet",
     GUARD_UNSYNCED,
     {"unsynced-heir"},
     "I8: "},
    {"without UNSYNCED one is elected that has the data of the shard that it has left",
     GUARD_UNSYNCED,
     {"copies-crossed"},
     "which it was told to copy"},
    {"without FAILOVER a hand-over is ordered while the votes of the last one count",
     GUARD_FAILOVER,
     {"back-and-forth"},
     "I12: "},
    {"without KEPT a replica is elected that lacks what its primary has stopped with",
     GUARD_KEPT,
     {"kept-away"},
     "I8: "},
    {"without PLACE a role is moved as soon as another one is better",
     GUARD_PLACE,
     {"server-crash", "pod-drain"},
     "F6: "},
    {"without SPARE a shard is left without a replica in sync",
     GUARD_SPARE,
     {"server-crash", "pod-delete"},
     "without a replica in sync"},
    {"without PAUSE a role is moved though a person has paused Muster",
     GUARD_PAUSE,
     {"person-pauses", "server-crash"},
     "PAUSED: "},
    {"without PAUSE a newcomer is taken in though a person has paused Muster",
     GUARD_PAUSE,
     {"person-pauses", "scale-out"},
     "is taken in"},
    {"without HEIR a crashed primary's slots go to a replica that lacks its latest writes",
     GUARD_HEIR,
     {"lagging-crash"},
     "I5: "},
    {"without HEIR they go to a replica that has copied nothing yet",
     GUARD_HEIR,
     {"unsynced-crash"},
     "I5: "},
    {"without FENCE a primary is taken over that runs behind a partition",
     GUARD_FENCE,
     {"partition-halves", "partition-pod"},
     "I13: "},
    {"without FENCE a person's word has primaries taken over that are only cut off",
     GUARD_FENCE,
     {"primaries-cut-off"},
     "I13: "},
    {"without LEASE a leader that is cut off from the API acts beside the next one",
     GUARD_LEASE,
     {"partition-api", "server-crash", "volume-lost"},
     "two leaders: "},
};

static uint64_t proof_faults(const struct proof *proof)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < ARRAY_LEN(proof->faults) && proof->faults[i]; i++)
        mask |= UINT64_C(1) << faults_find(proof->faults[i]);
    return mask;
}

/* Whether the seed's schedule does this harm. */
static bool proof_try(struct sim *sim, const struct proof *proof, uint32_t guards_off,
                      uint64_t seed, char *ret_violation, size_t size)
{
    struct options options = {
        .guards_off = guards_off, .faults = proof_faults(proof), .untraced = true};
    struct stats stats = {0};
    bool harmed =
        !schedule_run(sim, seed, &options, &stats) && strstr(sim->violation, proof->harm) != NULL;
    text_format(ret_violation, size, "%s", sim->violation);
    sim_deinit(sim);
    return harmed;
}

/* The first seed, up to `last`, whose schedule does this harm; 0 if none does. */
static uint64_t proof_search(struct sim *sim, const struct proof *proof, uint32_t guards_off,
                             uint64_t last, char *ret_violation, size_t size)
{
    for (uint64_t seed = 1; seed <= last; seed++)
        if (proof_try(sim, proof, guards_off, seed, ret_violation, size))
            return seed;
    return 0;
}

static bool proof_run(struct sim *sim, const struct proof *proof)
{
    char violation[512];
    uint64_t seed = proof_search(sim, proof, proof->guards, SEEDS_OFF, violation, sizeof violation);
    if (!seed) {
        printf("NOT SHOWN  %s: no harm in %d schedules\n", proof->what, SEEDS_OFF);
        return false;
    }
    printf("shown      %s: seed %llu, %s\n", proof->what, (unsigned long long)seed, violation);
    /* The same schedules with every guard on: the guard is what makes the difference. */
    if (!proof_try(sim, proof, 0, seed, violation, sizeof violation))
        seed = proof_search(sim, proof, 0, SEEDS_ON, violation, sizeof violation);
    if (!seed)
        return true;
    printf("AND YET    with all guards on: seed %llu, %s\n", (unsigned long long)seed, violation);
    return false;
}

int prove_guards(void)
{
    struct sim *sim = xcalloc(1, sizeof *sim);
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(proofs); i++)
        ok &= proof_run(sim, &proofs[i]);
    free(sim);
    return ok ? 0 : 1;
}
