/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/case_render.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/scale_see.h"
#include "lib/world_build.h"

#define RENDER_IDS 1200
#define ID_SHORT 8

/* The number of the id that begins with these digits, or -1. */
static int render_id(const char *hex, size_t len)
{
    static struct node_id ids[RENDER_IDS];
    if (!ids[0].hex[0])
        for (size_t i = 0; i < RENDER_IDS; i++)
            ids[i] = world_build_id(i);
    for (size_t i = 0; i < RENDER_IDS; i++)
        if (memcmp(ids[i].hex, hex, len) == 0)
            return (int)i;
    return -1;
}

/* Appends the text with the ids in it as "@N". */
static void render_text(struct buf *out, const char *text)
{
    while (*text) {
        size_t len = 0;
        while (isxdigit((unsigned char)text[len]))
            len++;
        int id = len == NODE_ID_LEN || len == ID_SHORT ? render_id(text, len) : -1;
        if (id >= 0)
            (void)buf_format(out, "@%d%s", id, len == ID_SHORT ? ".." : "");
        else
            (void)buf_append(out, text, len ? len : 1);
        text += len ? len : 1;
    }
}

static void render_requirements(struct buf *out, uint32_t require)
{
    static const struct {
        enum require bit;
        const char *name;
    } names[] = {
        {REQUIRE_ALONE, "alone"},     {REQUIRE_UNASSIGNED, "unassigned"},
        {REQUIRE_EMPTY, "empty"},     {REQUIRE_PRIMARY, "primary"},
        {REQUIRE_REPLICA, "replica"}, {REQUIRE_FOLLOWS, "follows"},
        {REQUIRE_HEIR, "heir"},       {REQUIRE_SAME, "same"},
    };
    const char *sep = " (if ";
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!(require & names[i].bit))
            continue;
        (void)buf_format(out, "%s%s", sep, names[i].name);
        sep = ", ";
    }
    if (require)
        (void)buf_append_str(out, ")");
}

static void render_member(struct buf *out, const struct record_member *m)
{
    (void)buf_format(out, "  %s ", m->pod);
    render_text(out, m->id.hex);
    if (m->shard == NO_SHARD)
        (void)buf_append_str(out, " joined later");
    else
        (void)buf_format(out, " shard %u %s, epoch %" PRIu64, m->shard,
                         m->primary ? "primary" : "replica", m->epoch);
    (void)buf_format(out, ", timeout %" PRId64 ", delay %" PRId64 "\n", m->node_timeout_ms,
                     m->diskless_delay_s);
}

static bool render_same(const struct record_member *a, const struct record_member *b)
{
    return node_id_eq(&a->id, &b->id) && a->shard == b->shard && a->primary == b->primary &&
           a->epoch == b->epoch && a->node_timeout_ms == b->node_timeout_ms &&
           a->diskless_delay_s == b->diskless_delay_s;
}

static void render_slots(struct buf *out, const struct slot_set *slots)
{
    struct slot_range range;
    const char *sep = "";
    for (unsigned at = 0; slot_set_next(slots, &at, &range); sep = ",") {
        (void)buf_format(out, "%s%u", sep, range.first);
        if (range.last != range.first)
            (void)buf_format(out, "-%u", range.last);
    }
}

static void render_move(struct buf *out, const struct record_move *move)
{
    struct slot_set slots = {{0}};
    for (size_t i = 0; i < move->range_count; i++)
        slot_set_add(&slots, move->ranges[i]);
    (void)buf_append_str(out, move->cancel ? "  cancel " : "  move ");
    render_text(out, move->from.hex);
    (void)buf_append_str(out, " to ");
    render_text(out, move->to.hex);
    (void)buf_append_str(out, " slots ");
    render_slots(out, &slots);
    (void)buf_format(out, " since %" PRId64, move->generation);
    if (move->anchored)
        (void)buf_format(out, ", anchor %u", move->anchor);
    (void)buf_append_str(out, "\n");
}

static void render_record(struct buf *out, const struct record *old, const struct record *record)
{
    (void)buf_format(out, "record < %s, generation %" PRId64 ", %u shards, %zu members\n",
                     record->state == RECORD_FORMING  ? "forming"
                     : record->state == RECORD_FORMED ? "formed"
                                                      : "no state",
                     record->generation, record->shards, record->member_count);
    if (old && strcmp(old->uid, record->uid) != 0)
        (void)buf_format(out, "  cluster uid %s instead of %s\n", record->uid, old->uid);
    if (old && strcmp(old->set_uid, record->set_uid) != 0)
        (void)buf_format(out, "  set uid %s instead of %s\n", record->set_uid, old->set_uid);
    size_t shown = 0;
    for (size_t i = 0; i < record->member_count; i++) {
        const struct record_member *m = &record->members[i];
        const struct record_member *before = old ? record_find_pod(old, m->pod) : NULL;
        if (before && render_same(before, m))
            continue;
        if (shown++ < RENDER_ACTIONS_MAX)
            render_member(out, m);
    }
    if (shown > RENDER_ACTIONS_MAX)
        (void)buf_format(out, "  and %zu more members\n", shown - RENDER_ACTIONS_MAX);
    for (size_t i = 0; old && i < old->member_count; i++)
        if (!record_find_pod(record, old->members[i].pod))
            (void)buf_format(out, "  %s is no member any more\n", old->members[i].pod);
    for (size_t i = 0; i < record->forget_count; i++) {
        (void)buf_append_str(out, "  forget ");
        render_text(out, record->forget[i].hex);
        (void)buf_append_str(out, "\n");
    }
    for (size_t i = 0; i < record->left_count; i++) {
        (void)buf_format(out, "  left %s ", record->left[i].pod);
        render_text(out, record->left[i].id.hex);
        (void)buf_append_str(out, "\n");
    }
    if (old && old->move_generation != record->move_generation)
        (void)buf_format(out, "  moves %" PRId64 "%s\n", record->move_generation,
                         record->evening ? ", evening out" : "");
    for (size_t i = 0; i < record->move_count; i++)
        render_move(out, &record->moves[i]);
    if (record->pause.set)
        (void)buf_format(out, "  paused (%s)\n", record->pause.reason);
    if (record->pause_unclear)
        (void)buf_format(out, "  paused, as %s says\n", record->pause_unclear);
}

/* What is to be looked at, as "muster-0 ? slots 0-99 at muster-6". */
static void render_looks(struct buf *out, const struct world *world, const struct plan *plan)
{
    for (size_t i = 0; i < plan->scale.look_count && i < RENDER_ACTIONS_MAX; i++) {
        const struct scale_look *look = &plan->scale.looks[i];
        (void)buf_format(out, "%s ? slots ", world->pods[look->from_pod].name);
        render_slots(out, look->slots);
        (void)buf_format(out, " at %s\n", world->pods[look->to_pod].name);
    }
}

static void render_action(struct buf *out, const struct world *world, const struct action *action)
{
    char command[256];
    if (action->kind == ACTION_RECORD_PUT) {
        render_record(out, world->record, action->record);
        return;
    }
    action_format(action, command, sizeof command);
    (void)buf_format(out, "%s < ", world->pods[action->pod].name);
    render_text(out, command);
    render_requirements(out, action->require);
    (void)buf_append_str(out, "\n");
}

static void render_counts(struct buf *out, const struct plan *plan)
{
    for (enum action_kind kind = ACTION_NONE; kind <= ACTION_RECORD_PUT; kind++) {
        size_t count = 0;
        for (size_t i = 0; i < plan->action_count; i++)
            count += plan->actions[i].kind == kind;
        if (count)
            (void)buf_format(out, "%zu x %s\n", count, action_kind_name(kind));
    }
}

void case_render(const struct world *world, const struct plan *plan, struct buf *ret_text)
{
    (void)buf_format(ret_text, "rule %s\nsays ", plan->rule);
    render_text(ret_text, plan->reason);
    (void)buf_append_str(ret_text, "\n");
    if (plan->action_count > RENDER_ACTIONS_MAX) {
        render_counts(ret_text, plan);
        return;
    }
    for (size_t i = 0; i < plan->action_count; i++)
        render_action(ret_text, world, &plan->actions[i]);
    render_looks(ret_text, world, plan);
}
