/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watch as it comes from a socket: the events do not depend on where the stream was cut, and are
 * those of its lines taken one by one. What we write ourselves (Lease, record) reads back the same.
 *
 * The first byte chooses the kind that is watched, the second the sizes of the pieces.
 */
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/rng.h"
#include "fuzz.h"
#include "wire/kube_json.h"
#include "wire/line_split.h"
#include "wire/record_json.h"

#define LINE_MAX KIB(2)
#define PIECE_MAX 64

/* A stream's events as a number: equal for equal events in equal order. */
struct stream {
    enum kube_kind kind;
    struct arena arena;
    uint64_t hash;
    size_t events;
};

static void stream_note(struct stream *stream, const char *text)
{
    stream->hash = text_hash(stream->hash, text, strlen(text) + 1);
}

static void stream_note_event(struct stream *stream, const struct kube_watch_event *event)
{
    stream->hash = text_hash(stream->hash, &event->type, sizeof event->type);
    if (event->type == KUBE_ERROR) {
        stream_note(stream, event->status.reason);
        stream_note(stream, event->status.message);
    } else {
        stream_note(stream, event->object.meta.name);
        stream_note(stream, event->object.meta.uid);
        stream_note(stream, event->object.meta.resource_version);
    }
    stream->events++;
}

/* What we send, as the API answers it: with a uid. */
static void read_again(struct stream *stream, enum kube_kind kind, const struct buf *sent,
                       struct kube_object *ret_again)
{
    static const char meta[] = "\"metadata\":{";
    auto_buf struct buf text = {.ceiling = MIB(4)};
    struct err err;
    FUZZ_REQUIRE(!sent->failed);
    const char *body = strstr(buf_str(sent), meta);
    FUZZ_REQUIRE(body);
    body += sizeof meta - 1;
    (void)buf_append(&text, sent->bytes, (size_t)(body - sent->bytes));
    (void)buf_format(&text, "\"uid\":\"u\",%s", body);
    FUZZ_REQUIRE(
        kube_object_parse(span_of(buf_str(&text)), kind, &stream->arena, ret_again, &err) == 0);
}

static void check_lease(struct stream *stream, const struct kube_lease *lease)
{
    auto_buf struct buf text = {.ceiling = MIB(1)};
    struct kube_object again;
    FUZZ_REQUIRE(kube_lease_format(lease->meta.namespace, lease->meta.name, &lease->lease,
                                   lease->acquire_time, &text) == 0);
    read_again(stream, KUBE_LEASE, &text, &again);
    const struct lease *was = &lease->lease;
    const struct lease *is = &again.lease.lease;
    FUZZ_REQUIRE(strcmp(is->holder, was->holder) == 0 && is->duration_s == was->duration_s);
    FUZZ_REQUIRE(strcmp(is->renew_time, was->renew_time) == 0);
    FUZZ_REQUIRE(strcmp(is->resource_version, was->resource_version) == 0);
    FUZZ_REQUIRE(is->transitions == was->transitions);
    FUZZ_REQUIRE(strcmp(again.lease.acquire_time, lease->acquire_time) == 0);
}

static void check_config_map(struct stream *stream, const struct kube_config_map *map)
{
    if (!map->readable) {
        FUZZ_REQUIRE(map->problem[0]);
        return;
    }
    auto_buf struct buf text = {.ceiling = MIB(4)};
    struct kube_object again;
    FUZZ_REQUIRE(kube_record_format(map->meta.namespace, map->meta.name, map->meta.resource_version,
                                    &map->record, &text) == 0);
    read_again(stream, KUBE_CONFIG_MAP, &text, &again);
    FUZZ_REQUIRE(again.config_map.readable);
    FUZZ_REQUIRE(record_eq(&map->record, &again.config_map.record));
}

/* Whatever gets through may become part of a path, and be dialled. */
static void check_object(struct stream *stream, const struct kube_object *object)
{
    FUZZ_REQUIRE(kube_is_subdomain(span_of(object->meta.name)));
    FUZZ_REQUIRE(!object->meta.namespace[0] || kube_is_label(span_of(object->meta.namespace)));
    FUZZ_REQUIRE(object->meta.resource_version[0]);
    if (object->kind == KUBE_POD)
        FUZZ_REQUIRE(!object->pod.ip[0] || kube_is_address(span_of(object->pod.ip)));
    if (object->kind == KUBE_ENDPOINT_SLICE)
        for (size_t i = 0; i < object->endpoint_slice.endpoint_count; i++)
            FUZZ_REQUIRE(kube_is_address(span_of(object->endpoint_slice.endpoints[i].ip)));
    if (object->kind == KUBE_LEASE && object->meta.namespace[0])
        check_lease(stream, &object->lease);
    if (object->kind == KUBE_CONFIG_MAP && object->meta.namespace[0])
        check_config_map(stream, &object->config_map);
}

/* As io/kube_watch.c: the first malformed line ends the stream. */
static int stream_on_line(void *context, struct span line, struct err *err)
{
    struct stream *stream = context;
    struct kube_watch_event event;
    FUZZ_REQUIRE(line.len > 0 && line.len <= LINE_MAX && span_find(line, '\n') < 0);
    arena_reset(&stream->arena);
    int r = kube_watch_parse(line, stream->kind, &stream->arena, &event, err);
    if (r < 0)
        return r;
    FUZZ_REQUIRE(event.type >= KUBE_ADDED && event.type <= KUBE_ERROR);
    stream_note_event(stream, &event);
    if (event.type == KUBE_BOOKMARK)
        FUZZ_REQUIRE(event.object.meta.resource_version[0]);
    else if (event.type != KUBE_ERROR)
        check_object(stream, &event.object);
    return 0;
}

static void stream_init(struct stream *stream, enum kube_kind kind)
{
    *stream = (struct stream){.kind = kind, .hash = TEXT_HASH_SEED};
    arena_init(&stream->arena, MIB(16));
}

/* In pieces of 1..PIECE_MAX bytes, or of any length when `rng` is NULL. */
static int stream_feed(struct stream *stream, struct span text, struct rng *rng, bool *ret_partial)
{
    struct line_split split;
    struct err err = {0};
    int r = 0;
    line_split_init(&split, LINE_MAX);
    while (text.len && r == 0) {
        size_t len = rng ? 1 + rng_below(rng, PIECE_MAX) : text.len;
        len = len < text.len ? len : text.len;
        r = line_split_feed(&split, (struct span){text.ptr, len}, stream_on_line, stream, &err);
        text = (struct span){text.ptr + len, text.len - len};
    }
    FUZZ_REQUIRE(r == 0 || (r == (int)err.code && err.msg[0]));
    *ret_partial = r == 0 && line_split_is_partial(&split);
    line_split_deinit(&split);
    return r;
}

/* The same by the plainest code there is. */
static int stream_by_line(struct stream *stream, struct span text)
{
    struct err err;
    int r = 0;
    while (r == 0 && span_find(text, '\n') >= 0) {
        struct span line = span_until(&text, '\n');
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        if (line.len > LINE_MAX)
            return E_LIMIT;
        r = line.len ? stream_on_line(stream, line, &err) : 0;
    }
    return r == 0 && text.len > LINE_MAX + 1 ? E_LIMIT : r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    enum kube_kind kind = KUBE_POD + data[0] % KUBE_CONFIG_MAP;
    struct rng rng = {.state = data[1]};
    struct span text = fuzz_span(data + 2, size - 2);
    struct stream whole;
    struct stream pieces;
    struct stream lines;
    bool whole_partial;
    bool pieces_partial;
    stream_init(&whole, kind);
    stream_init(&pieces, kind);
    stream_init(&lines, kind);
    int r = stream_feed(&whole, text, NULL, &whole_partial);
    FUZZ_REQUIRE(stream_feed(&pieces, text, &rng, &pieces_partial) == r);
    FUZZ_REQUIRE(stream_by_line(&lines, text) == r);
    FUZZ_REQUIRE(whole_partial == pieces_partial);
    FUZZ_REQUIRE(whole.events == pieces.events && whole.hash == pieces.hash);
    FUZZ_REQUIRE(whole.events == lines.events && whole.hash == lines.hash);
    arena_deinit(&whole.arena);
    arena_deinit(&pieces.arena);
    arena_deinit(&lines.arena);
    return 0;
}
