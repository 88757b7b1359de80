/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots follow the StatefulSet's size (DESIGN 5.7, policy.scaling): what moves is entered in the record, where
 * the agents beside the sources find it, and who comes or is left over gets the part that the target has for it.
 */
#include "core/observe.h"
#include "core/pause.h"
#include "core/rules.h"

bool planner_is_named(const struct planner *p, const struct node_id *id)
{
    const struct record *record = p->world->record;
    for (size_t i = 0; record && i < record->move_count; i++)
        if (node_id_eq(&record->moves[i].from, id) || node_id_eq(&record->moves[i].to, id))
            return true;
    return false;
}

bool planner_is_moving(const struct planner *p, const struct node_id *id)
{
    const struct world *w = p->world;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct view *view = p->facts->fresh[i] ? w->pods[i].server.view : NULL;
        for (size_t k = 0; view && k < view->open_count; k++)
            if (node_id_eq(&view->open_slots[k].peer, id))
                return true;
    }
    return planner_is_named(p, id);
}

static const char *scale_slots(struct planner *p, const struct scale *scale)
{
    return planner_count(p, scale->slots, "slot");
}

/* For how long, at today's pace; "" if that is not known. */
static const char *scale_lasts(struct planner *p)
{
    int64_t seconds = scale_pace_seconds(&p->world->pace, p->world->now_ms);
    return seconds ? arena_format(p->arena, ", about %d s", (int)seconds) : "";
}

/* What it waits for, of which the first is said; "" if for nothing but the movers. */
static const char *scale_waits(struct planner *p, const struct scale *scale)
{
    const struct pod *pods = p->world->pods;
    const struct scale_sight *sight = p->sight;
    if (sight->odd)
        return arena_format(p->arena, "; %s: left as it is", sight->odd);
    if (scale->handed != TARGET_NONE)
        return arena_format(p->arena, "; %s hands over to %s first",
                            pods[sight->leads[scale->handed]].name,
                            pods[scale->target.heirs[scale->handed]].name);
    if (scale->unready != TARGET_NONE && !pods[scale->unready].server.primary)
        return arena_format(
            p->arena,
            "; %s would be the primary of a new shard, but is a replica: it can be when "
            "its pod and volume are made anew",
            pods[scale->unready].name);
    if (scale->unread != TARGET_NONE)
        return arena_format(p->arena, "; %s is waited for", pods[scale->unread].name);
    if (scale->lone != TARGET_NONE)
        return arena_format(p->arena, "; %s has to have its replicas in sync first",
                            pods[scale->lone].name);
    if (scale->full != TARGET_NONE)
        return arena_format(p->arena, "; %s has no memory left for more",
                            pods[sight->leads[scale->full]].name);
    return "";
}

/* The record as it is to be, and what the movers do next by it. */
static enum rule_verdict scale_write(struct planner *p, const struct scale *scale)
{
    const struct record *record = scale_record(p->world, p->sight, scale, p->arena);
    if (!record)
        return planner_wait(p, "more moves of slots than %d are under way: none is entered",
                            RECORD_MOVES_MAX);
    (void)planner_put_record(p, record);
    if (p->sight->waits)
        planner_say(p,
                    "slots are on their way, and wait: %s; entering in the record how far they are",
                    p->sight->waits);
    else if (!scale->slots)
        planner_say(p, "every slot is where it is to be: taking the moves out of the record");
    else
        planner_say(p, "%s still to move, for %s: entering in the record what moves next",
                    scale_slots(p, scale), planner_count(p, scale->target.shard_count, "shard"));
    return RULE_STOP;
}

/*
 * Slots are to be moved, or a primary without any waits for its part. In a large cluster only then every view
 * is read that this needs.
 */
static bool scale_has_work(const struct planner *p)
{
    const struct world *w = p->world;
    size_t shards = p->facts->expected / (1 + (size_t)w->replicas_per_primary);
    if (w->record->move_count || w->record->evening || shards != p->facts->shard_count)
        return true;
    for (size_t i = 0; i < w->pod_count; i++)
        if (p->facts->fresh[i] && w->pods[i].server.primary && w->pods[i].server.view &&
            !w->pods[i].server.view->myself->slot_count)
            return true;
    return false;
}

/* Said by who has nothing on its way: what will be begun once it may. */
static void scale_note_paused(struct planner *p)
{
    size_t shards = p->facts->expected / (1 + (size_t)p->world->replicas_per_primary);
    if (!shards)
        shards = 1;
    if (pause_stops(p->world, WORK_SCALE) && shards != p->facts->shard_count)
        planner_note(p, "the pods are for %s, and there are %zu: not before `muster resume`",
                     planner_count(p, shards, "shard"), p->facts->shard_count);
}

enum rule_verdict rule_scale(struct planner *p)
{
    const struct world *w = p->world;
    const char *why;
    if (!planner_formed(p))
        return RULE_PASS;
    bool going = w->record->move_count || w->record->evening;
    if (w->scaling != SCALING_AUTO && !going)
        return RULE_PASS;
    if (w->pod_count > OBSERVE_SWEEP_MAX && !scale_has_work(p))
        return RULE_PASS;
    struct scale_sight *sight = ARENA_NEW(p->arena, struct scale_sight, 1);
    struct scale *scale = ARENA_NEW(p->arena, struct scale, 1);
    if (!scale_see(w, p->facts, p->arena, sight, &why)) {
        (void)planner_sees_all(p);
        if (going)
            planner_say(p, "slots are on their way, and wait: %s", why);
        return RULE_PASS;
    }
    scale_next(&sight->ask, p->arena, scale);
    if (sight->waits)
        (void)planner_sees_all(p);
    else
        p->scale = scale;
    p->sight = sight;
    p->plan->scale.slots = scale->slots;
    if (scale->changed || sight->outdated)
        return scale_write(p, scale);
    p->plan->scale.looks = scale_looks(w, sight, scale, p->arena, &p->plan->scale.look_count);
    if (sight->waits && going)
        planner_say(p, "slots are on their way, and wait: %s", sight->waits);
    else if (scale->slots)
        planner_say(p, "%s still to move, for %s%s%s", scale_slots(p, scale),
                    planner_count(p, scale->target.shard_count, "shard"), scale_lasts(p),
                    scale_waits(p, scale));
    else if (sight->odd)
        planner_say(p, "%s: left as it is", sight->odd);
    else
        scale_note_paused(p);
    return RULE_PASS;
}
