/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/digest.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"

/* By enum value; NULL is never written. */
static const char *const ROLES[] = {NULL, "primary", "replica"};
static const char *const GATES[] = {NULL, "open", "held"};
static const char *const VOLUMES[] = {NULL, "empty", "data", "slots", "slots+data"};
static const char *const DRAINS[] = {NULL, "none", "running", "done"};
static const char *const LINKS[] = {"down", "up"};
static const char *const STATES[] = {NULL, "forming", "formed"};

#define WHY "why="

static void put_name(struct buf *out, const char *key, const char *name)
{
    if (name)
        (void)buf_format(out, " %s=%s", key, name);
}

static void put_text(struct buf *out, const char *key, const char *text)
{
    put_name(out, key, text[0] ? text : NULL);
}

static void put_known(struct buf *out, const char *key, int64_t number)
{
    if (number >= 0)
        (void)buf_format(out, " %s=%" PRId64, key, number);
}

static void put_record(struct buf *out, const struct digest *digest)
{
    if (digest->set)
        (void)buf_format(out, " set=%016" PRIx64, digest->set);
    if (digest->generation)
        (void)buf_format(out, " rec=%s.%" PRId64 ".%016" PRIx64, STATES[digest->record_state],
                         digest->generation, digest->record);
    /* Without it nothing is moved by this agent, which does no harm. */
    size_t left = out->ceiling - out->len;
    if (sizeof " moves=9223372036854775807\n" - 1 <= left)
        put_known(out, "moves", digest->moves);
    left = out->ceiling - out->len;
    if (sizeof " zone=\n" - 1 + strlen(digest->zone) <= left)
        put_text(out, "zone", digest->zone);
}

/* The rest of the line, whatever words it has: so it comes last. */
static void put_why(struct buf *out, const char *why)
{
    size_t used = sizeof " why=\n" - 1;
    size_t left = out->ceiling - out->len;
    if (!why[0] || left <= used)
        return;
    size_t len = strlen(why);
    (void)buf_append_str(out, " " WHY);
    (void)buf_append(out, why, len < left - used ? len : left - used);
}

int digest_format(struct buf *out, const struct digest *digest)
{
    (void)buf_format(out, "v=%d", DIGEST_VERSION);
    if (digest->pod)
        (void)buf_format(out, " pod=%016" PRIx64, digest->pod);
    put_text(out, "run", digest->run_id);
    put_text(out, "id", digest->id.hex);
    put_name(out, "role", ROLES[digest->role]);
    if (digest->role == DIGEST_REPLICA) {
        put_text(out, "primary", digest->primary.hex);
        put_name(out, "link", LINKS[digest->link_up]);
    }
    put_known(out, "offset", digest->offset);
    (void)buf_format(out, " epoch=%" PRIu64, digest->epoch);
    if (digest->view_hash)
        (void)buf_format(out, " view=%016" PRIx64, digest->view_hash);
    (void)buf_format(out, " open=%" PRIu32, digest->open_slots);
    put_name(out, "gate", GATES[digest->gate]);
    put_name(out, "volume", VOLUMES[digest->volume]);
    if (digest->gate == DIGEST_GATE_HELD)
        put_known(out, "waits", digest->waits_ms);
    put_name(out, "drain", DRAINS[digest->drain]);
    put_known(out, "quiet", digest->quiet_ms);
    put_known(out, "age", digest->age_ms);
    put_record(out, digest);
    if (digest->gate == DIGEST_GATE_HELD)
        put_why(out, digest->why);
    (void)buf_append_str(out, "\n");
    return out->failed ? E_LIMIT : 0;
}

uint64_t digest_pod(const char *uid)
{
    return text_hash(TEXT_HASH_SEED, uid, strlen(uid));
}

enum leaving digest_leaving(const struct digest *digest)
{
    switch (digest->drain) {
    case DIGEST_DRAIN_UNKNOWN:
    case DIGEST_DRAIN_NONE:
        break;
    case DIGEST_DRAIN_RUNNING:
        return LEAVING_ASKED;
    case DIGEST_DRAIN_DONE:
        return LEAVING_GOES;
    }
    return LEAVING_NO;
}

struct gate_word digest_gate_word(const struct digest *digest)
{
    enum digest_volume volume = digest->volume;
    bool held = digest->gate == DIGEST_GATE_HELD && volume != DIGEST_VOLUME_UNKNOWN;
    if (!held)
        return (struct gate_word){0};
    struct gate_word word = {
        .held = true,
        .id = digest->id,
        .owner = volume == DIGEST_VOLUME_SLOTS || volume == DIGEST_VOLUME_SLOTS_DATA,
        .data = volume == DIGEST_VOLUME_DATA || volume == DIGEST_VOLUME_SLOTS_DATA,
        .waits_ms = digest->waits_ms > 0 ? digest->waits_ms : 0,
    };
    (void)TEXT_COPY(word.why, span_of(digest->why));
    return word;
}

static bool read_name(struct span value, const char *const *names, unsigned count,
                      unsigned *ret_index)
{
    for (unsigned i = 0; i < count; i++) {
        if (!names[i] || !span_is(value, names[i]))
            continue;
        *ret_index = i;
        return true;
    }
    /* A newer agent may have more words; what they mean is unknown. */
    *ret_index = 0;
    return text_is_plain(value) && value.len > 0;
}

static bool read_role(struct span value, struct digest *d)
{
    unsigned role;
    bool ok = read_name(value, ROLES, ARRAY_LEN(ROLES), &role);
    d->role = (enum digest_role)role;
    return ok;
}

static bool read_gate(struct span value, struct digest *d)
{
    unsigned gate;
    bool ok = read_name(value, GATES, ARRAY_LEN(GATES), &gate);
    d->gate = (enum digest_gate)gate;
    return ok;
}

static bool read_volume(struct span value, struct digest *d)
{
    unsigned volume;
    bool ok = read_name(value, VOLUMES, ARRAY_LEN(VOLUMES), &volume);
    d->volume = (enum digest_volume)volume;
    return ok;
}

static bool read_drain(struct span value, struct digest *d)
{
    unsigned drain;
    bool ok = read_name(value, DRAINS, ARRAY_LEN(DRAINS), &drain);
    d->drain = (enum digest_drain)drain;
    return ok;
}

static bool read_link(struct span value, struct digest *d)
{
    unsigned link;
    bool ok = read_name(value, LINKS, ARRAY_LEN(LINKS), &link);
    d->link_up = link == 1;
    return ok;
}

/* Exactly 16 lower-case hex digits, not all of them 0. */
static bool read_hash(struct span value, uint64_t *ret_hash)
{
    uint64_t hash = 0;
    if (value.len != 16)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else
            return false;
        hash = hash << 4 | digit;
    }
    *ret_hash = hash;
    return hash != 0;
}

static bool read_pod(struct span value, struct digest *d)
{
    return read_hash(value, &d->pod);
}

static bool read_run(struct span value, struct digest *d)
{
    return value.len == RUN_ID_SIZE - 1 && text_is_plain(value) && TEXT_COPY(d->run_id, value);
}

static bool read_id(struct span value, struct digest *d)
{
    return node_id_parse(value, &d->id);
}

static bool read_primary(struct span value, struct digest *d)
{
    return node_id_parse(value, &d->primary);
}

static bool read_offset(struct span value, struct digest *d)
{
    return text_to_i64(value, 0, INT64_MAX, &d->offset);
}

static bool read_epoch(struct span value, struct digest *d)
{
    return text_to_u64(value, UINT64_MAX, &d->epoch);
}

static bool read_view(struct span value, struct digest *d)
{
    return read_hash(value, &d->view_hash);
}

static bool read_open(struct span value, struct digest *d)
{
    uint64_t open;
    if (!text_to_u64(value, SLOT_COUNT, &open))
        return false;
    d->open_slots = (uint32_t)open;
    return true;
}

static bool read_quiet(struct span value, struct digest *d)
{
    return text_to_i64(value, 0, INT64_MAX, &d->quiet_ms);
}

static bool read_moves(struct span value, struct digest *d)
{
    return text_to_i64(value, 0, INT64_MAX, &d->moves);
}

static bool read_waits(struct span value, struct digest *d)
{
    return text_to_i64(value, 0, INT64_MAX / 2, &d->waits_ms);
}

static bool read_age(struct span value, struct digest *d)
{
    return text_to_i64(value, 0, INT64_MAX, &d->age_ms);
}

static bool read_set(struct span value, struct digest *d)
{
    return read_hash(value, &d->set);
}

/* STATE.GENERATION.HASH; a state that a newer agent has is no record that we could read. */
static bool read_record(struct span value, struct digest *d)
{
    unsigned state;
    int64_t generation;
    uint64_t hash;
    struct span name = span_until(&value, '.');
    if (!read_name(name, STATES, ARRAY_LEN(STATES), &state) ||
        !text_to_i64(span_until(&value, '.'), 1, INT64_MAX, &generation) ||
        !read_hash(value, &hash))
        return false;
    d->record_state = (enum record_state)state;
    d->generation = state ? generation : 0;
    d->record = state ? hash : 0;
    return true;
}

static bool read_zone(struct span value, struct digest *d)
{
    return value.len && text_is_plain(value) && TEXT_COPY(d->zone, value);
}

static const struct {
    const char *key;
    bool (*read)(struct span value, struct digest *digest);
} FIELDS[] = {
    {"run", read_run},         {"id", read_id},         {"role", read_role},
    {"primary", read_primary}, {"link", read_link},     {"offset", read_offset},
    {"epoch", read_epoch},     {"view", read_view},     {"open", read_open},
    {"gate", read_gate},       {"drain", read_drain},   {"quiet", read_quiet},
    {"age", read_age},         {"set", read_set},       {"rec", read_record},
    {"zone", read_zone},       {"volume", read_volume}, {"waits", read_waits},
    {"moves", read_moves},     {"pod", read_pod},
};

static int read_field(struct span word, struct digest *d, uint32_t *seen, struct err *err)
{
    if (span_find(word, '=') <= 0)
        return err_set(err, E_PROTO, "digest: a word that is no key=value");
    struct span key = span_until(&word, '=');
    for (unsigned i = 0; i < ARRAY_LEN(FIELDS); i++) {
        if (!span_is(key, FIELDS[i].key))
            continue;
        if (*seen & (1u << i))
            return err_set(err, E_PROTO, "digest: %s comes twice", FIELDS[i].key);
        *seen |= 1u << i;
        if (!FIELDS[i].read(word, d))
            return err_set(err, E_PROTO, "digest: %s is malformed", FIELDS[i].key);
        return 0;
    }
    return 0;
}

/* "v=<number>", of any version from 1 on. */
static bool read_version(struct span word)
{
    uint64_t version;
    return span_starts(word, "v=") &&
           text_to_u64((struct span){word.ptr + 2, word.len - 2}, UINT32_MAX, &version) &&
           version >= 1;
}

/* A sentence to the end of the line; cut where it is too long. */
static bool read_why(struct span why, struct digest *d)
{
    for (size_t i = 0; i < why.len; i++)
        if ((unsigned char)why.ptr[i] < ' ' || why.ptr[i] == 0x7f)
            return false;
    text_format(d->why, sizeof d->why, "%.*s", (int)why.len, why.ptr);
    return why.len > 0;
}

int digest_parse(struct span text, struct digest *ret_digest, struct err *err)
{
    if (text.len > DIGEST_TEXT_MAX)
        return err_set(err, E_LIMIT, "digest: longer than %d bytes", DIGEST_TEXT_MAX);
    struct span line;
    struct span word;
    uint32_t seen = 0;
    struct digest digest = {
        .offset = -1, .waits_ms = -1, .moves = -1, .quiet_ms = -1, .age_ms = -1};
    if (!span_line(&text, &line) || text.len)
        return err_set(err, E_PROTO, "digest: not one line");
    if (!span_token(&line, &word) || !read_version(word))
        return err_set(err, E_PROTO, "digest: no version");
    while (span_token(&line, &word)) {
        if (span_starts(word, WHY)) {
            const char *why = word.ptr + sizeof WHY - 1;
            if (!read_why((struct span){why, (size_t)(line.ptr + line.len - why)}, &digest))
                return err_set(err, E_PROTO, "digest: why is malformed");
            break;
        }
        int result = read_field(word, &digest, &seen, err);
        if (result < 0)
            return result;
    }
    *ret_digest = digest;
    return 0;
}
