/* SPDX-License-Identifier: Apache-2.0 */
#include "core/scaling.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "core/index.h"

/* The question as it is worked on. */
struct study {
    const struct status *status;
    struct arena *arena;
    struct scaling *out;
    struct target_ask ask;
    struct target target;
    const char **names; /* by pod of the ask; those behind the status's are not there yet */
    const struct slot_set *sets; /* by today's shard */
    size_t *primaries;           /* by today's shard: pod of the status */
};

static int study_shards(struct study *y, struct target_pod *pods, struct err *err)
{
    const struct status *s = y->status;
    struct slot_set *sets = ARENA_NEW(y->arena, struct slot_set, s->shard_count);
    unsigned *slots = ARENA_NEW(y->arena, unsigned, s->shard_count);
    struct index names;
    y->primaries = ARENA_NEW(y->arena, size_t, s->shard_count);
    index_init(&names, y->arena, s->pod_count);
    for (size_t i = 0; i < s->pod_count; i++)
        index_add(&names, s->pods[i].name, i);
    index_sort(&names);
    for (size_t i = 0; i < s->shard_count; i++) {
        const struct status_shard *shard = &s->shards[i];
        size_t primary = index_find(&names, shard->primary);
        if (shard->slots[0] && !slot_set_parse(span_of(shard->slots), &sets[i]))
            return err_set(err, E_INVALID, "the slots %.80s are not understood", shard->slots);
        if (primary == INDEX_NONE)
            return err_set(err, E_INVALID, "the primary of the slots %.80s is on no known pod",
                           shard->slots);
        slots[i] = slot_set_count(&sets[i]);
        y->primaries[i] = primary;
        pods[primary].shard = i;
        pods[primary].primary = true;
        for (size_t k = 0; k < shard->replica_count; k++) {
            size_t replica = index_find(&names, shard->replicas[k]);
            if (replica != INDEX_NONE)
                pods[replica].shard = i;
        }
    }
    y->sets = sets;
    y->ask.slots = slots;
    y->ask.shard_count = s->shard_count;
    return 0;
}

/* The status's pods, and behind them those that are still to come, at unknown places. */
static struct target_pod *study_pods(struct study *y, unsigned replicas)
{
    const struct status *s = y->status;
    size_t room = s->pod_count + replicas;
    struct target_pod *pods = ARENA_NEW(y->arena, struct target_pod, room);
    bool *there = ARENA_NEW(y->arena, bool, replicas);
    y->names = ARENA_NEW(y->arena, const char *, room);
    for (size_t i = 0; i < s->pod_count; i++) {
        const struct status_pod *pod = &s->pods[i];
        int ordinal = pod->ordinal < INT32_MAX ? (int)pod->ordinal : INT32_MAX;
        pods[i] = (struct target_pod){ordinal, {pod->node, pod->zone}, TARGET_NONE, false};
        y->names[i] = pod->name;
        if (ordinal < (int)replicas)
            there[ordinal] = true;
    }
    size_t count = s->pod_count;
    for (unsigned i = 0; i < replicas; i++) {
        if (there[i])
            continue;
        pods[count] = (struct target_pod){(int)i, {"", ""}, TARGET_NONE, false};
        y->names[count++] = arena_format(y->arena, "%s-%u", s->name, i);
    }
    y->ask.pods = pods;
    y->ask.pod_count = count;
    return pods;
}

/* `part` of `whole` of an amount; unknown stays unknown. */
static int64_t study_part(int64_t amount, unsigned part, unsigned whole)
{
    if (amount < 0 || !whole)
        return amount < 0 ? STATUS_NUMBER_UNKNOWN : 0;
    return amount / whole * part + amount % whole * part / whole;
}

static void study_add(int64_t *sum, int64_t amount)
{
    *sum = *sum < 0 || amount < 0 ? STATUS_NUMBER_UNKNOWN : *sum + amount;
}

/* ---- moves ---- */

/*
 * The shards that the moves are between: those of the target, then today's that end. `ret_today`:
 * the shard of today, TARGET_NONE for a new one.
 */
static size_t study_parties(struct study *y, struct moves_shard *shards, size_t *ret_today)
{
    static const struct slot_set nothing;
    const struct target *t = &y->target;
    size_t count = 0;
    for (size_t i = 0; i < t->shard_count; i++) {
        ret_today[count] = t->shards[i].was;
        shards[count++] = (struct moves_shard){
            t->shards[i].was == TARGET_NONE ? &nothing : &y->sets[t->shards[i].was],
            t->shards[i].slots};
    }
    for (size_t i = 0; i < y->ask.shard_count; i++) {
        if (t->became[i] != TARGET_NONE)
            continue;
        ret_today[count] = i;
        shards[count++] = (struct moves_shard){&y->sets[i], 0};
    }
    return count;
}

/* What moves, and into `ret_memory`, by shard of the target, what each holds then. */
static void study_moves(struct study *y, int64_t *ret_memory)
{
    const struct target *t = &y->target;
    size_t room = t->shard_count + y->ask.shard_count;
    struct moves_shard *shards = ARENA_NEW(y->arena, struct moves_shard, room);
    size_t *today = ARENA_NEW(y->arena, size_t, room);
    size_t count = study_parties(y, shards, today);
    struct moves moves;
    moves_find(shards, count, y->arena, &moves);
    struct scaling_move *out = ARENA_NEW(y->arena, struct scaling_move, moves.count);
    for (size_t i = 0; i < moves.count; i++) {
        const struct move *move = &moves.moves[i];
        size_t was = today[move->from];
        assert(was != TARGET_NONE && move->to < t->shard_count);
        const struct status_pod *source = &y->status->pods[y->primaries[was]];
        unsigned whole = y->ask.slots[was];
        out[i] = (struct scaling_move){
            .from = move->from < t->shard_count ? y->names[t->shards[move->from].primary]
                                                : source->name,
            .to = y->names[t->shards[move->to].primary],
            .move = move,
            .keys = study_part(y->status->shards[was].keys, move->slot_count, whole),
            .bytes = study_part(source->memory_bytes, move->slot_count, whole),
        };
        study_add(&ret_memory[move->to], out[i].bytes);
        if (move->from < t->shard_count && out[i].bytes >= 0 && ret_memory[move->from] >= 0)
            ret_memory[move->from] -= out[i].bytes;
        study_add(&y->out->keys, out[i].keys);
        study_add(&y->out->bytes, out[i].bytes);
    }
    y->out->moves = out;
    y->out->move_count = moves.count;
    y->out->slots = moves.slot_count;
}

/* ---- shards, hand-overs, copies ---- */

/* What the shards hold before anything moves. */
static int64_t *study_memory(const struct study *y)
{
    const struct target *t = &y->target;
    int64_t *memory = ARENA_NEW(y->arena, int64_t, t->shard_count);
    for (size_t i = 0; i < t->shard_count; i++) {
        size_t was = t->shards[i].was;
        size_t pod = t->shards[i].primary;
        if (was != TARGET_NONE)
            memory[i] = y->status->pods[y->primaries[was]].memory_bytes;
        else if (pod < y->status->pod_count && y->ask.pods[pod].shard == TARGET_NONE)
            memory[i] = y->status->pods[pod].memory_bytes; /* of an empty server */
    }
    return memory;
}

/* A pod that does not exist yet gets the lowest limit that any has; 0 only if none has one. */
static int64_t study_limit(const struct study *y, size_t pod)
{
    const struct status *s = y->status;
    if (pod < s->pod_count)
        return s->pods[pod].memory_max;
    int64_t limit = STATUS_NUMBER_UNKNOWN;
    for (size_t i = 0; i < s->pod_count; i++) {
        int64_t max = s->pods[i].memory_max;
        if (max > 0 ? limit <= 0 || max < limit : max == 0 && limit < 0)
            limit = max;
    }
    return limit;
}

static enum held study_fits(const struct scaling_shard *shard)
{
    if (!shard->memory_max)
        return HELD_YES;
    if (shard->memory_max < 0 || shard->memory_bytes < 0)
        return HELD_UNKNOWN;
    return shard->memory_bytes <= shard->memory_max ? HELD_YES : HELD_NO;
}

static void study_results(struct study *y, const int64_t *memory)
{
    const struct target *t = &y->target;
    struct scaling *out = y->out;
    struct scaling_shard *shards = ARENA_NEW(y->arena, struct scaling_shard, t->shard_count);
    struct scaling_hand_over *overs = ARENA_NEW(y->arena, struct scaling_hand_over, t->shard_count);
    out->fits = HELD_YES;
    for (size_t i = 0; i < t->shard_count; i++) {
        const struct target_shard *shard = &t->shards[i];
        shards[i] = (struct scaling_shard){
            .primary = y->names[shard->primary],
            .slots = shard->slots,
            .replicas = shard->copies - 1,
            .memory_bytes = memory[i],
            .memory_max = study_limit(y, shard->primary),
        };
        shards[i].fits = study_fits(&shards[i]);
        if (shards[i].fits == HELD_NO || (shards[i].fits == HELD_UNKNOWN && out->fits != HELD_NO))
            out->fits = shards[i].fits;
        if (shard->handed)
            overs[out->hand_over_count++] = (struct scaling_hand_over){
                y->names[y->primaries[shard->was]], shards[i].primary, y->ask.slots[shard->was]};
    }
    out->shards = shards;
    out->shard_count = t->shard_count;
    out->hand_overs = overs;
}

static void study_copies(struct study *y)
{
    const struct target *t = &y->target;
    struct scaling_copy *copies = ARENA_NEW(y->arena, struct scaling_copy, y->ask.pod_count);
    assert(t->parts || !y->ask.pod_count);
    for (size_t i = 0; i < y->ask.pod_count; i++)
        if (t->parts[i].fills && !t->parts[i].primary)
            copies[y->out->copy_count++] =
                (struct scaling_copy){y->names[i], y->names[t->shards[t->parts[i].shard].primary]};
    y->out->copies = copies;
}

static void study_unserved(struct study *y)
{
    const struct target *t = &y->target;
    size_t count = y->ask.shard_count;
    unsigned *staying = ARENA_NEW(y->arena, unsigned, count);
    struct scaling_unserved *unserved = ARENA_NEW(y->arena, struct scaling_unserved, count);
    for (size_t i = 0; i < y->ask.pod_count; i++)
        if (t->parts[i].stays && y->ask.pods[i].shard != TARGET_NONE)
            staying[y->ask.pods[i].shard]++;
    for (size_t i = 0; i < count; i++)
        if (!staying[i] && y->ask.slots[i])
            unserved[y->out->unserved_count++] = (struct scaling_unserved){
                y->status->shards[i].slots, y->ask.slots[i], y->names[y->primaries[i]]};
    y->out->unserved = unserved;
}

/* ---- warnings ---- */

static void study_warn(struct study *y, const char *text)
{
    assert(y->out->warning_count < SCALING_WARNINGS_MAX);
    y->out->warnings[y->out->warning_count++] = text;
}

static const struct scaling_shard *study_fullest(const struct scaling *s)
{
    for (size_t i = 0; i < s->shard_count; i++)
        if (s->shards[i].fits == HELD_NO)
            return &s->shards[i];
    return NULL;
}

static void study_warnings(struct study *y)
{
    const struct scaling *s = y->out;
    const struct scaling_shard *full = study_fullest(s);
    if (!s->pods_then) {
        study_warn(y, "no pod stays: nothing moves, and what is not on the volumes is lost");
        return;
    }
    if (s->unserved_count)
        study_warn(y,
                   arena_format(y->arena,
                                "all pods that hold the slots %.80s%s leave: unless they are "
                                "moved first, nobody serves them until the pods are back",
                                s->unserved[0].slots, s->unserved_count > 1 ? " and others" : ""));
    if (full)
        study_warn(y, arena_format(y->arena,
                                   "%s would hold about %" PRId64 " bytes of at most %" PRId64
                                   ": what does not fit is not to be moved",
                                   full->primary, full->memory_bytes, full->memory_max));
    if (s->shard_count < 3)
        study_warn(y, "fewer than three primaries: when one fails, the others are no majority that "
                      "could elect its replica");
    if (s->pods_then < 1 + s->replicas_per_primary)
        study_warn(y, "fewer pods than one shard with its replicas needs");
}

int scaling_find(const struct status *status, unsigned replicas, struct arena *arena,
                 struct scaling *ret_scaling, struct err *err)
{
    struct scaling scaling = {
        .pods_now = status->replicas,
        .pods_then = replicas,
        .replicas_per_primary = status->replicas_per_primary,
        .shards_now = status->shard_count,
    };
    struct study y = {.status = status, .arena = arena, .out = &scaling};
    if (status->replicas_per_primary < 0)
        return err_set(err, E_INVALID, "the agent does not say how many replicas a primary has");
    if (status->replicas_per_primary >= NODES_MAX || replicas > NODES_MAX)
        return err_set(err, E_INVALID, "more than %d pods", NODES_MAX);
    if (!status->shard_count)
        return err_set(err, E_INVALID, "no shard is known yet");
    y.ask.replicas = replicas;
    y.ask.replicas_per_primary = (unsigned)status->replicas_per_primary;
    int r = study_shards(&y, study_pods(&y, replicas), err);
    if (r < 0)
        return r;
    target_find(&y.ask, arena, &y.target);
    int64_t *memory = study_memory(&y);
    if (y.target.shard_count)
        study_moves(&y, memory);
    study_results(&y, memory);
    study_copies(&y);
    study_unserved(&y);
    study_warnings(&y);
    *ret_scaling = scaling;
    return 0;
}
