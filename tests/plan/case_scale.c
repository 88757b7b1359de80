/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/case_scale.h"

#include <string.h>

#include "plan/case_words.h"

static bool scale_set(struct span words, const char *key, struct slot_set *set)
{
    struct span value;
    return !case_value(words, key, &value) || slot_set_parse(value, set);
}

static bool scale_ids(struct span *words, struct node_id *ret_from, struct node_id *ret_to)
{
    struct span from;
    struct span to;
    return span_token(words, &from) && span_token(words, &to) && case_id(from, ret_from) &&
           case_id(to, ret_to);
}

static bool scale_move(struct case_scale *scale, struct record *record, struct span words,
                       struct arena *arena)
{
    struct slot_set set = {{0}};
    struct slot_range range;
    struct record_move *move = &scale->moves[record->move_count];
    size_t count = 0;
    if (record->move_count == CASE_SCALE_MAX || !scale_ids(&words, &move->from, &move->to) ||
        !scale_set(words, "slots", &set))
        return false;
    struct slot_range *ranges = ARENA_NEW(arena, struct slot_range, SLOT_COUNT / 2);
    for (unsigned at = 0; slot_set_next(&set, &at, &range);)
        ranges[count++] = range;
    move->generation = record->move_generation;
    move->cancel = case_word(words, "cancel");
    int64_t anchor = -1;
    (void)case_number(words, "anchor", &anchor);
    move->anchored = anchor >= 0;
    move->anchor = move->anchored ? (uint16_t)anchor : 0;
    move->ranges = ranges;
    move->range_count = count;
    record->moves = scale->moves;
    record->move_count++;
    return count > 0;
}

static bool scale_left(struct record *record, struct span words, struct arena *arena)
{
    struct record_left *left = ARENA_NEW(arena, struct record_left, record->left_count + 1);
    struct record_left *one = &left[record->left_count];
    struct span pod;
    struct span id;
    if (record->left_count)
        memcpy(left, record->left, record->left_count * sizeof *left);
    if (!span_token(&words, &pod) || !span_token(&words, &id) || !case_id(id, &one->id))
        return false;
    record->left = left;
    record->left_count++;
    return TEXT_COPY(one->pod, pod);
}

static bool scale_looked(struct case_scale *scale, const struct world *world,
                         const struct record *record, struct span words)
{
    struct scale_seen *seen = &scale->watch.seen[scale->watch.count++];
    int64_t age_ms = 200;
    (void)case_number(words, "age", &age_ms);
    seen->generation = record->move_generation;
    seen->asked_ms = seen->keys_ms = world->now_ms - age_ms;
    return scale_ids(&words, &seen->from, &seen->to) && scale_set(words, "clean", &seen->clean) &&
           scale_set(words, "bare", &seen->bare) && scale_set(words, "keys", &seen->keys);
}

bool case_scale_read(struct case_scale *scale, struct span keyword, struct span words,
                     struct world *world, struct record *record, struct arena *arena)
{
    int64_t number = 0;
    if (span_is(keyword, "scaling")) {
        (void)case_number(words, "generation", &number);
        world->scaling = case_word(words, "auto") ? SCALING_AUTO : SCALING_OFF;
        record->move_generation = number;
        record->evening = case_word(words, "evening");
        scale->idle = case_word(words, "idle");
        record->moves_unclear = case_word(words, "unclear") ? "[1]" : NULL;
        return true;
    }
    if (span_is(keyword, "left"))
        return scale_left(record, words, arena);
    if (span_is(keyword, "move"))
        return scale_move(scale, record, words, arena);
    if (span_is(keyword, "looked"))
        return scale_looked(scale, world, record, words);
    if (span_is(keyword, "unread") && scale->unread_count < CASE_SCALE_MAX) {
        scale->unread[scale->unread_count++] = words;
        return true;
    }
    if (span_is(keyword, "open") && scale->open_count < CASE_SCALE_MAX) {
        scale->open[scale->open_count++] = words;
        return true;
    }
    return false;
}

static bool scale_open(struct span words, struct pod *pod, struct arena *arena)
{
    struct span how;
    struct span slot;
    struct span peer;
    uint64_t number;
    const struct view *old = pod->server.view;
    if (!old || !span_token(&words, &how) || !span_token(&words, &slot) ||
        !span_token(&words, &peer) || !text_to_u64(slot, SLOT_COUNT - 1, &number))
        return false;
    struct view *view = ARENA_NEW(arena, struct view, 1);
    struct open_slot *open = ARENA_NEW(arena, struct open_slot, old->open_count + 1);
    *view = *old;
    if (old->open_count)
        memcpy(open, old->open_slots, old->open_count * sizeof *open);
    struct open_slot *one = &open[view->open_count++];
    one->slot = (uint16_t)number;
    one->importing = span_is(how, "importing");
    view->open_slots = open;
    pod->server.view = view;
    return case_id(peer, &one->peer);
}

static bool scale_is_unread(const struct case_scale *scale, const struct pod *pod)
{
    for (size_t i = 0; i < scale->unread_count; i++)
        if (span_is(scale->unread[i], pod->name))
            return true;
    return false;
}

bool case_scale_finish(struct case_scale *scale, struct world *world, struct pod *pods,
                       struct arena *arena)
{
    bool off = world->scaling == SCALING_OFF;
    int64_t generation = world->record ? world->record->move_generation : 0;
    world->scale = &scale->watch;
    for (size_t i = 0; i < world->pod_count; i++) {
        struct moves_word word = {!scale->idle, generation - scale_is_unread(scale, &pods[i])};
        if (!off && i == world->me)
            world->moves = word;
        if (!off) {
            pods[i].told.moves = word;
            pods[i].told.heard_ms = pods[i].told.heard_ms ? pods[i].told.heard_ms : world->now_ms;
        }
        for (size_t k = 0; k < scale->open_count; k++) {
            struct span words = scale->open[k];
            struct span name;
            if (span_token(&words, &name) && span_is(name, pods[i].name) &&
                !scale_open(words, &pods[i], arena))
                return false;
        }
    }
    return true;
}
