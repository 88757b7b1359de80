/* SPDX-License-Identifier: Apache-2.0 */
#include "io/function_copy.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "io/redis_link.h"

/* Without a function a dump is its version and its checksum (functionDumpCommand). */
#define DUMP_EMPTY 10

struct copy_half {
    struct function_copy *owner;
    struct redis_link *link; /* owned */
    bool told;               /* who it is, and its functions */
};

struct function_copy {
    struct slot_pair pair;
    struct copy_half source;
    struct copy_half dest;
    struct buf dump; /* the source's */
    bool bare;       /* the destination has none */
    bool restoring;
    bool ended;
    void (*on_end)(void *ctx, const char *why);
    void *ctx;
};

static void copy_end(struct function_copy *copy, const char *why)
{
    if (copy->ended)
        return;
    copy->ended = true;
    redis_link_free(TAKE(copy->source.link));
    redis_link_free(TAKE(copy->dest.link));
    copy->on_end(copy->ctx, why);
}

static void copy_refused(struct copy_half *half, const char *what, const struct reply *reply)
{
    char why[ERR_MSG_SIZE];
    bool error = reply->kind == REPLY_ERROR;
    text_format(why, sizeof why, "the %s %s: %.*s",
                half == &half->owner->source ? "source" : "destination", what,
                error && reply->text.len < ERR_MSG_SIZE ? (int)reply->text.len : 0,
                error ? reply->text.ptr : "");
    copy_end(half->owner, why);
}

static void copy_restore(struct function_copy *copy)
{
    struct span words[] = {
        span_of("FUNCTION"), span_of("RESTORE"), {buf_str(&copy->dump), copy->dump.len}};
    copy->restoring = true;
    redis_link_send_long(copy->dest.link, &(struct link_command){words, ARRAY_LEN(words)}, 1);
}

static void half_take(struct copy_half *half, const struct reply *replies)
{
    struct function_copy *copy = half->owner;
    bool source = half == &copy->source;
    struct node_id id;
    if (replies[0].kind != REPLY_TEXT || !node_id_parse(replies[0].text, &id) ||
        !node_id_eq(&id, source ? &copy->pair.source : &copy->pair.dest)) {
        copy_end(copy, source ? "the source: it is another node now"
                              : "the destination: it is another node now");
        return;
    }
    if (replies[1].kind != REPLY_TEXT) {
        copy_refused(half, "does not tell its functions", &replies[1]);
        return;
    }
    if (source)
        (void)buf_append(&copy->dump, replies[1].text.ptr, replies[1].text.len);
    else
        copy->bare = replies[1].text.len == DUMP_EMPTY;
    half->told = true;
}

static void half_on_replies(void *ctx, const struct reply *replies, size_t count)
{
    struct copy_half *half = ctx;
    struct function_copy *copy = half->owner;
    (void)count;
    if (copy->restoring) {
        if (replies[0].kind == REPLY_TEXT)
            copy_end(copy, NULL);
        else
            copy_refused(half, "does not take the source's functions", &replies[0]);
        return;
    }
    half_take(half, replies);
    if (copy->ended || !copy->source.told || !copy->dest.told)
        return;
    if (copy->bare && copy->dump.len > DUMP_EMPTY)
        copy_restore(copy);
    else
        copy_end(copy, NULL);
}

static void half_on_open(void *ctx)
{
    struct copy_half *half = ctx;
    struct span words[][2] = {{span_of("CLUSTER"), span_of("MYID")},
                              {span_of("FUNCTION"), span_of("DUMP")}};
    struct link_command commands[] = {{words[0], 2}, {words[1], 2}};
    redis_link_send_long(half->link, commands, ARRAY_LEN(commands));
}

static void half_on_lost(void *ctx, enum reach reach, const char *why)
{
    struct copy_half *half = ctx;
    char text[ERR_MSG_SIZE];
    (void)reach;
    text_format(text, sizeof text, "the %s: %s",
                half == &half->owner->source ? "source" : "destination", why);
    copy_end(half->owner, text);
}

static void half_connect(struct function_copy *copy, struct copy_half *half, struct peers *peers,
                         const struct slot_end *end)
{
    struct redis_link_config config = {
        .ip = end->ip,
        .port = end->port,
        .exchange_ms = SLOT_LINK_EXCHANGE_MS,
        .on_open = half_on_open,
        .on_replies = half_on_replies,
        .on_lost = half_on_lost,
        .ctx = half,
    };
    half->owner = copy;
    half->link = peers_open_link(peers, &config);
}

struct function_copy *function_copy_new(const struct slot_link_config *config,
                                        void (*on_end)(void *ctx, const char *why), void *ctx)
{
    struct function_copy *copy = xcalloc(1, sizeof *copy);
    copy->pair = config->pair;
    copy->on_end = on_end;
    copy->ctx = ctx;
    buf_init(&copy->dump, REDIS_REPLY_MAX);
    half_connect(copy, &copy->source, config->peers, &config->source);
    half_connect(copy, &copy->dest, config->peers, &config->dest);
    return copy;
}

void function_copy_free(struct function_copy *copy)
{
    if (!copy)
        return;
    redis_link_free(copy->source.link);
    redis_link_free(copy->dest.link);
    buf_deinit(&copy->dump);
    free(copy);
}
