/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/record_json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "wire/json_util.h"
#include "wire/kube_json.h"

static const char *record_state_name(enum record_state state)
{
    switch (state) {
    case RECORD_STATE_NONE:
        break;
    case RECORD_FORMING:
        return "forming";
    case RECORD_FORMED:
        return "formed";
    }
    return "";
}

static bool is_uid(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '-'))
            return false;
    }
    return true;
}

static bool is_node_id(struct span text)
{
    struct node_id id;
    return node_id_parse(text, &id);
}

static enum record_state read_state(struct json_reader *reader, const cJSON *root)
{
    char name[KUBE_LABEL_SIZE] = "";
    JSON_GET_TEXT(reader, root, "state", NULL, name);
    for (enum record_state state = RECORD_FORMING; state <= RECORD_FORMED; state++)
        if (strcmp(name, record_state_name(state)) == 0)
            return state;
    json_fail(reader, E_INVALID, NULL, "state", "neither forming nor formed");
    return RECORD_STATE_NONE;
}

/* First of all: nothing else of another version means what it means here. */
static void read_version(struct json_reader *reader, const cJSON *root, struct record *record)
{
    int64_t version = 0;
    json_get_int(reader, root, "version", 1, INT32_MAX, &version);
    record->version = (int)version;
    if (reader->result == 0 && version != RECORD_VERSION)
        reader->result = err_set(reader->err, E_INVALID,
                                 "version %d, but this release of muster reads version %d only",
                                 record->version, RECORD_VERSION);
}

static void read_member(struct json_reader *reader, const cJSON *item, uint16_t shards,
                        struct record_member *member)
{
    int64_t shard = NO_SHARD;
    int64_t epoch = 0;
    member->diskless_delay_s = -1;
    JSON_GET_TEXT(reader, item, "pod", text_is_plain, member->pod);
    JSON_GET_TEXT(reader, item, "id", is_node_id, member->id.hex);
    json_get_int(reader, item, "shard", 0, shards - 1, &shard);
    json_get_bool(reader, item, "primary", &member->primary);
    json_get_int(reader, item, "epoch", 0, JSON_INT_MAX, &epoch);
    json_get_int(reader, item, "nodeTimeoutMs", 0, JSON_INT_MAX, &member->node_timeout_ms);
    json_get_int(reader, item, "disklessDelayS", -1, JSON_INT_MAX, &member->diskless_delay_s);
    json_require(reader, item, "pod", member->pod);
    json_require(reader, item, "id", member->id.hex);
    member->shard = (uint16_t)shard;
    member->epoch = (uint64_t)epoch;
    if (member->primary && member->shard == NO_SHARD)
        json_fail(reader, E_INVALID, NULL, member->pod, "primary of no shard");
}

/* The array `key`, or NULL for none; its length is checked. */
static const cJSON *read_array(struct json_reader *reader, const cJSON *root, const char *key,
                               int max)
{
    const cJSON *items = json_get_array(reader, root, key);
    if (cJSON_GetArraySize(items) > max)
        json_fail(reader, E_LIMIT, NULL, key, "too many");
    return reader->result < 0 ? NULL : items;
}

static int member_cmp(const void *a, const void *b)
{
    const struct record_member *ma = a;
    const struct record_member *mb = b;
    return record_name_cmp(ma->pod, mb->pod);
}

static void read_members(struct json_reader *reader, const cJSON *root, struct record *record)
{
    const cJSON *items = read_array(reader, root, "members", NODES_MAX);
    size_t count = (size_t)cJSON_GetArraySize(items);
    struct record_member *members = ARENA_NEW(reader->arena, struct record_member, count);
    const cJSON *item;
    cJSON_ArrayForEach(item, items)
    {
        read_member(reader, item, record->shards, &members[record->member_count++]);
    }
    if (count)
        qsort(members, count, sizeof *members, member_cmp);
    record->members = members;
}

static void read_forget(struct json_reader *reader, const cJSON *root, struct record *record)
{
    const cJSON *items = read_array(reader, root, "forget", NODES_MAX);
    size_t count = (size_t)cJSON_GetArraySize(items);
    struct node_id *ids = ARENA_NEW(reader->arena, struct node_id, count);
    const cJSON *item;
    cJSON_ArrayForEach(item, items)
    {
        if (!cJSON_IsString(item) ||
            !node_id_parse(span_of(item->valuestring), &ids[record->forget_count++]))
            json_fail(reader, E_PROTO, NULL, "forget", "not a node id");
    }
    record->forget = ids;
}

/* "0-99,200" into the arena; what is taken already by another move is refused. */
static void read_ranges(struct json_reader *reader, const char *text, struct slot_set *taken,
                        struct record_move *move)
{
    struct slot_set set = {{0}};
    struct slot_range range;
    if (!slot_set_parse(span_of(text), &set)) {
        json_fail(reader, E_PROTO, NULL, "moves", "slots are not ascending ranges");
        return;
    }
    if (slot_set_intersects(taken, &set))
        json_fail(reader, E_INVALID, NULL, "moves", "a slot twice");
    size_t count = 0;
    for (unsigned at = 0; slot_set_next(&set, &at, &range); count++)
        slot_set_add(taken, range);
    struct slot_range *ranges = ARENA_NEW(reader->arena, struct slot_range, count);
    unsigned at = 0;
    for (size_t i = 0; i < count; i++)
        (void)slot_set_next(&set, &at, &ranges[i]);
    move->ranges = ranges;
    move->range_count = count;
}

static void read_move(struct json_reader *reader, const cJSON *item, struct slot_set *taken,
                      struct record_move *move)
{
    const cJSON *slots = cJSON_GetObjectItemCaseSensitive(item, "slots");
    JSON_GET_TEXT(reader, item, "from", is_node_id, move->from.hex);
    JSON_GET_TEXT(reader, item, "to", is_node_id, move->to.hex);
    json_get_int(reader, item, "generation", 1, JSON_INT_MAX, &move->generation);
    json_get_bool(reader, item, "cancel", &move->cancel);
    int64_t anchor = -1;
    json_get_int(reader, item, "anchor", 0, SLOT_COUNT - 1, &anchor);
    move->anchored = anchor >= 0;
    move->anchor = move->anchored ? (uint16_t)anchor : 0;
    json_require(reader, item, "from", move->from.hex);
    json_require(reader, item, "to", move->to.hex);
    if (node_id_eq(&move->from, &move->to))
        json_fail(reader, E_INVALID, NULL, "moves", "from a node to itself");
    if (!move->generation)
        json_fail(reader, E_PROTO, NULL, "moves", "no generation");
    if (!cJSON_IsString(slots))
        json_fail(reader, E_PROTO, NULL, "moves", "no slots");
    if (reader->result == 0)
        read_ranges(reader, slots->valuestring, taken, move);
}

static void read_known_moves(struct json_reader *reader, const cJSON *root, struct record *record)
{
    const cJSON *items = read_array(reader, root, "moves", RECORD_MOVES_MAX);
    size_t count = (size_t)cJSON_GetArraySize(items);
    struct record_move *moves = ARENA_NEW(reader->arena, struct record_move, count);
    struct slot_set taken = {{0}};
    const cJSON *item;
    cJSON_ArrayForEach(item, items)
    {
        read_move(reader, item, &taken, &moves[record->move_count]);
        if (moves[record->move_count++].generation > record->move_generation)
            json_fail(reader, E_INVALID, NULL, "moves", "of a generation that is to come");
    }
    record->moves = moves;
}

/* What this release does not understand, to be written again as it is. */
static const char *read_unclear(struct json_reader *reader, const cJSON *item)
{
    char *text = cJSON_PrintUnformatted(item);
    if (!text)
        abort(); /* out of memory */
    const char *copy = arena_format(reader->arena, "%s", text);
    cJSON_free(text);
    return copy;
}

/*
 * What is wrong with moves stops the moves and nothing else: membership goes on, and a release that
 * understands them finds them as they were.
 */
static void read_moves(struct json_reader *reader, const cJSON *root, struct record *record)
{
    struct err err = {0};
    struct json_reader moves = {.err = &err, .arena = reader->arena};
    json_get_int(reader, root, "movesGeneration", 0, JSON_INT_MAX, &record->move_generation);
    json_get_bool(reader, root, "evening", &record->evening);
    if (reader->result < 0)
        return;
    read_known_moves(&moves, root, record);
    if (moves.result == 0)
        return;
    record->moves_unclear = read_unclear(reader, cJSON_GetObjectItemCaseSensitive(root, "moves"));
    record->moves = NULL;
    record->move_count = 0;
}

static bool is_reason(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < ' ' || text.ptr[i] > '~')
            return false;
    return true;
}

static bool is_all_of_a_pause(const cJSON *object)
{
    static const char *const keys[] = {"reason", "sinceUnixMs", "untilUnixMs"};
    int known = 0;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        known += cJSON_GetObjectItemCaseSensitive(object, keys[i]) != NULL;
    return known == cJSON_GetArraySize(object);
}

/* A pause in words that this release does not understand is one: a person's, or a later release's. */
static void read_pause(struct json_reader *reader, const cJSON *root, struct record *record)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, "pause");
    struct record_pause pause = {.set = true};
    struct err err = {0};
    struct json_reader inner = {.err = &err, .arena = reader->arena};
    if (reader->result < 0 || !item || cJSON_IsNull(item))
        return;
    /* As it will be written: cJSON does not write every number as it was. */
    const char *text = read_unclear(reader, item);
    auto_json cJSON *written = cJSON_Parse(text);
    if (!cJSON_IsObject(written))
        json_fail(&inner, E_PROTO, NULL, "pause", "not an object");
    json_get_int(&inner, written, "sinceUnixMs", 1, JSON_INT_MAX, &pause.since_unix_ms);
    json_get_int(&inner, written, "untilUnixMs", 1, JSON_INT_MAX, &pause.until_unix_ms);
    JSON_GET_TEXT(&inner, written, "reason", is_reason, pause.reason);
    if (inner.result == 0)
        record->pause = pause;
    if (inner.result < 0 || !is_all_of_a_pause(written))
        record->pause_unclear = text;
}

static int id_cmp(const void *a, const void *b)
{
    return node_id_cmp(a, b);
}

/* No id is in it twice, be it as a member or as one to be forgotten. */
static void check_ids(struct json_reader *reader, const struct record *record)
{
    size_t count = record->member_count + record->forget_count;
    struct node_id *ids = ARENA_NEW(reader->arena, struct node_id, count);
    for (size_t i = 0; i < count; i++)
        ids[i] = i < record->member_count ? record->members[i].id
                                          : record->forget[i - record->member_count];
    if (count)
        qsort(ids, count, sizeof *ids, id_cmp);
    for (size_t i = 1; i < count; i++)
        if (node_id_eq(&ids[i - 1], &ids[i]))
            json_fail(reader, E_INVALID, NULL, ids[i].hex, "node id twice");
}

/* No pod twice, and no two primaries of one shard: each would be given the same slots. */
static void check_members(struct json_reader *reader, const struct record *record)
{
    bool *taken = ARENA_NEW(reader->arena, bool, record->shards);
    for (size_t i = 0; i < record->member_count; i++) {
        const struct record_member *member = &record->members[i];
        if (i && strcmp(member[-1].pod, member->pod) == 0)
            json_fail(reader, E_INVALID, NULL, member->pod, "pod twice");
        if (!member->primary || reader->result < 0)
            continue;
        if (taken[member->shard])
            json_fail(reader, E_INVALID, NULL, member->pod, "second primary of its shard");
        taken[member->shard] = true;
    }
}

static void read_left(struct json_reader *reader, const cJSON *root, struct record *record)
{
    const cJSON *items = read_array(reader, root, "left", NODES_MAX);
    size_t count = (size_t)cJSON_GetArraySize(items);
    struct record_left *left = ARENA_NEW(reader->arena, struct record_left, count);
    const cJSON *item;
    cJSON_ArrayForEach(item, items)
    {
        struct record_left *one = &left[record->left_count++];
        JSON_GET_TEXT(reader, item, "pod", text_is_plain, one->pod);
        JSON_GET_TEXT(reader, item, "id", is_node_id, one->id.hex);
        json_require(reader, item, "pod", one->pod);
        json_require(reader, item, "id", one->id.hex);
    }
    record->left = left;
}

static void read_record(struct json_reader *reader, const cJSON *root, struct record *record)
{
    int64_t shards = 0;
    read_version(reader, root, record);
    JSON_GET_TEXT(reader, root, "uid", is_uid, record->uid);
    json_require(reader, root, "uid", record->uid);
    json_get_int(reader, root, "generation", 0, JSON_INT_MAX, &record->generation);
    JSON_GET_TEXT(reader, root, "setUid", is_uid, record->set_uid);
    record->state = read_state(reader, root);
    json_get_int(reader, root, "shards", 0, NODES_MAX, &shards);
    record->shards = (uint16_t)shards;
    read_members(reader, root, record);
    read_forget(reader, root, record);
    read_left(reader, root, record);
    read_moves(reader, root, record);
    read_pause(reader, root, record);
    if (reader->result < 0)
        return;
    check_ids(reader, record);
    check_members(reader, record);
}

int record_parse(struct span text, struct arena *arena, struct record *ret_record, struct err *err)
{
    auto_json cJSON *root = NULL;
    int r = json_parse(text, RECORD_TEXT_MAX, &root, err);
    if (r == 0) {
        struct json_reader reader = {.err = err, .arena = arena};
        struct record record = {0};
        read_record(&reader, root, &record);
        r = reader.result;
        if (r == 0)
            *ret_record = record;
    }
    if (r < 0)
        (void)err_wrap(err, "record");
    return r;
}

static void format_member(const struct record_member *member, struct buf *buf)
{
    (void)buf_append_str(buf, "{\"pod\":");
    json_put_text(buf, member->pod, sizeof member->pod);
    json_put_field(buf, "id", member->id.hex);
    if (member->shard != NO_SHARD)
        (void)buf_format(buf, ",\"shard\":%u", member->shard);
    if (member->primary)
        (void)buf_append_str(buf, ",\"primary\":true");
    if (member->epoch)
        (void)buf_format(buf, ",\"epoch\":%" PRIu64, member->epoch);
    if (member->node_timeout_ms)
        (void)buf_format(buf, ",\"nodeTimeoutMs\":%" PRId64, member->node_timeout_ms);
    if (member->diskless_delay_s != -1)
        (void)buf_format(buf, ",\"disklessDelayS\":%" PRId64, member->diskless_delay_s);
    (void)buf_append_str(buf, "}");
}

static void format_move(const struct record_move *move, struct buf *buf)
{
    (void)buf_format(buf, "{\"from\":\"%s\",\"to\":\"%s\"", move->from.hex, move->to.hex);
    (void)buf_format(buf, ",\"generation\":%" PRId64, move->generation);
    if (move->cancel)
        (void)buf_append_str(buf, ",\"cancel\":true");
    if (move->anchored)
        (void)buf_format(buf, ",\"anchor\":%u", move->anchor);
    (void)buf_append_str(buf, ",\"slots\":\"");
    for (size_t i = 0; i < move->range_count; i++) {
        struct slot_range range = move->ranges[i];
        (void)buf_format(buf, "%s%u", i ? "," : "", range.first);
        if (range.last != range.first)
            (void)buf_format(buf, "-%u", range.last);
    }
    (void)buf_append_str(buf, "\"}");
}

static void format_left(const struct record *record, struct buf *buf)
{
    for (size_t i = 0; i < record->left_count; i++) {
        (void)buf_append_str(buf, i ? ",\n" : ",\n\"left\":[\n");
        (void)buf_append_str(buf, "{\"pod\":");
        json_put_text(buf, record->left[i].pod, sizeof record->left[i].pod);
        json_put_field(buf, "id", record->left[i].id.hex);
        (void)buf_append_str(buf, "}");
    }
    if (record->left_count)
        (void)buf_append_str(buf, "]");
}

/* Nothing where there never were any: then the text is the same for every release. */
static void format_moves(const struct record *record, struct buf *buf)
{
    if (record->move_generation)
        (void)buf_format(buf, ",\n\"movesGeneration\":%" PRId64, record->move_generation);
    if (record->evening)
        (void)buf_append_str(buf, ",\n\"evening\":true");
    if (record->moves_unclear)
        (void)buf_format(buf, ",\n\"moves\":%s", record->moves_unclear);
    if (!record->move_count)
        return;
    (void)buf_append_str(buf, ",\n\"moves\":[");
    for (size_t i = 0; i < record->move_count; i++) {
        (void)buf_append_str(buf, i ? ",\n" : "\n");
        format_move(&record->moves[i], buf);
    }
    (void)buf_append_str(buf, "]");
}

static void format_pause(const struct record *record, struct buf *buf)
{
    const struct record_pause *pause = &record->pause;
    if (record->pause_unclear)
        (void)buf_format(buf, ",\n\"pause\":%s", record->pause_unclear);
    if (!pause->set || record->pause_unclear)
        return;
    (void)buf_append_str(buf, ",\n\"pause\":{\"reason\":");
    json_put_text(buf, pause->reason, sizeof pause->reason);
    if (pause->since_unix_ms)
        (void)buf_format(buf, ",\"sinceUnixMs\":%" PRId64, pause->since_unix_ms);
    if (pause->until_unix_ms)
        (void)buf_format(buf, ",\"untilUnixMs\":%" PRId64, pause->until_unix_ms);
    (void)buf_append_str(buf, "}");
}

int record_format(const struct record *record, struct buf *buf)
{
    assert(record->version == RECORD_VERSION && record->state != RECORD_STATE_NONE);
    if (record->member_count > NODES_MAX || record->forget_count > NODES_MAX ||
        record->left_count > NODES_MAX || record->move_count > RECORD_MOVES_MAX)
        return E_LIMIT; /* nobody would read it */
    (void)buf_format(buf, "{\"version\":%d", record->version);
    json_put_field(buf, "uid", record->uid);
    (void)buf_format(buf, ",\"generation\":%" PRId64, record->generation);
    json_put_field(buf, "setUid", record->set_uid);
    json_put_field(buf, "state", record_state_name(record->state));
    (void)buf_format(buf, ",\"shards\":%u,\n\"members\":[", record->shards);
    for (size_t i = 0; i < record->member_count; i++) {
        (void)buf_append_str(buf, i ? ",\n" : "\n");
        format_member(&record->members[i], buf);
    }
    (void)buf_append_str(buf, "],\n\"forget\":[");
    for (size_t i = 0; i < record->forget_count; i++)
        (void)buf_format(buf, "%s\"%s\"", i ? ",\n" : "\n", record->forget[i].hex);
    (void)buf_append_str(buf, "]");
    format_left(record, buf);
    format_moves(record, buf);
    format_pause(record, buf);
    (void)buf_append_str(buf, "}\n");
    return buf->failed ? E_LIMIT : 0;
}
