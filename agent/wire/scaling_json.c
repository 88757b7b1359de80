/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/scaling_json.h"

#include <inttypes.h>

#include "base/err.h"
#include "wire/json_util.h"

static const char *comma(size_t index)
{
    return index ? "," : "";
}

/* {"<key>":"<text>", the first field of an object in a list. */
static void put_first(struct buf *out, size_t index, const char *key, const char *text)
{
    (void)buf_format(out, "%s{\"%s\":", comma(index), key);
    json_put_text(out, text, SIZE_MAX);
}

static void put_number(struct buf *out, const char *key, int64_t number)
{
    if (number == STATUS_NUMBER_UNKNOWN)
        (void)buf_format(out, ",\"%s\":null", key);
    else
        (void)buf_format(out, ",\"%s\":%" PRId64, key, number);
}

static void put_held(struct buf *out, const char *key, enum held held)
{
    const char *text = "null";
    if (held == HELD_YES)
        text = "true";
    else if (held == HELD_NO)
        text = "false";
    (void)buf_format(out, ",\"%s\":%s", key, text);
}

static void put_ranges(struct buf *out, const struct move *move)
{
    (void)buf_append_str(out, ",\"ranges\":\"");
    for (size_t i = 0; i < move->range_count; i++) {
        struct slot_range range = move->ranges[i];
        (void)buf_format(out, "%s%u", comma(i), range.first);
        if (range.last != range.first)
            (void)buf_format(out, "-%u", range.last);
    }
    (void)buf_append_str(out, "\"");
}

static void put_hand_overs(struct buf *out, const struct scaling *s)
{
    for (size_t i = 0; i < s->hand_over_count; i++) {
        put_first(out, i, "from", s->hand_overs[i].from);
        json_put_field(out, "to", s->hand_overs[i].to);
        put_number(out, "slots", s->hand_overs[i].slots);
        (void)buf_append_str(out, "}");
    }
}

static void put_moves(struct buf *out, const struct scaling *s)
{
    for (size_t i = 0; i < s->move_count; i++) {
        const struct scaling_move *move = &s->moves[i];
        put_first(out, i, "from", move->from);
        json_put_field(out, "to", move->to);
        put_number(out, "slots", move->move->slot_count);
        put_ranges(out, move->move);
        put_number(out, "keys", move->keys);
        put_number(out, "bytes", move->bytes);
        (void)buf_append_str(out, "}");
    }
}

static void put_copies(struct buf *out, const struct scaling *s)
{
    for (size_t i = 0; i < s->copy_count; i++) {
        put_first(out, i, "pod", s->copies[i].pod);
        json_put_field(out, "primary", s->copies[i].primary);
        (void)buf_append_str(out, "}");
    }
}

static void put_primaries(struct buf *out, const struct scaling *s)
{
    for (size_t i = 0; i < s->shard_count; i++) {
        const struct scaling_shard *shard = &s->shards[i];
        put_first(out, i, "pod", shard->primary);
        put_number(out, "slots", shard->slots);
        put_number(out, "replicas", shard->replicas);
        put_number(out, "memoryBytes", shard->memory_bytes);
        put_number(out, "maxMemoryBytes", shard->memory_max);
        put_held(out, "fits", shard->fits);
        (void)buf_append_str(out, "}");
    }
}

static void put_unserved(struct buf *out, const struct scaling *s)
{
    for (size_t i = 0; i < s->unserved_count; i++) {
        put_first(out, i, "primary", s->unserved[i].primary);
        json_put_field(out, "slots", s->unserved[i].slots);
        put_number(out, "slotCount", s->unserved[i].slot_count);
        (void)buf_append_str(out, "}");
    }
}

static void put_warnings(struct buf *out, const struct scaling *s)
{
    for (size_t i = 0; i < s->warning_count; i++) {
        (void)buf_append_str(out, comma(i));
        json_put_text(out, s->warnings[i], SIZE_MAX);
    }
}

static void put_list(struct buf *out, const char *key, const struct scaling *s,
                     void (*put)(struct buf *, const struct scaling *))
{
    (void)buf_format(out, ",\"%s\":[", key);
    put(out, s);
    (void)buf_append_str(out, "]");
}

int scaling_json_format(struct buf *out, const struct scaling *s)
{
    (void)buf_format(out, "{\"pods\":{\"now\":%" PRId64 ",\"then\":%" PRId64 "}", s->pods_now,
                     s->pods_then);
    (void)buf_format(out, ",\"shards\":{\"now\":%zu,\"then\":%zu}", s->shards_now, s->shard_count);
    put_number(out, "replicasPerPrimary", s->replicas_per_primary);
    put_number(out, "slots", s->slots);
    put_number(out, "keys", s->keys);
    put_number(out, "bytes", s->bytes);
    put_held(out, "fits", s->fits);
    put_list(out, "handOvers", s, put_hand_overs);
    put_list(out, "moves", s, put_moves);
    put_list(out, "copies", s, put_copies);
    put_list(out, "primaries", s, put_primaries);
    put_list(out, "unserved", s, put_unserved);
    put_list(out, "warnings", s, put_warnings);
    (void)buf_append_str(out, "}");
    return out->failed ? E_LIMIT : 0;
}
