/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis_link.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"

/* hiredis's adapter leaves its events at the middle priority. */
_Static_assert(LOOP_PRIORITIES / 2 == LOOP_REDIS, "Redis must be the middle priority");

struct redis_link {
    struct loop *loop;
    struct redis_link_config config; /* addresses are not kept */
    redisAsyncContext *ac;           /* NULL once hiredis has let go of it */
    redisContextFuncs funcs;         /* hiredis's own, with a bounded read */
    ssize_t (*read_inner)(struct redisContext *, char *, size_t);
    redisReplyObjectFunctions guard; /* hiredis's own, within bounds */
    const redisReplyObjectFunctions *build;
    struct loop_timer *deadline; /* owned: of connecting, or of the exchange */

    redisReply *replies[PEER_COMMANDS_MAX]; /* owned: of the exchange in flight */
    size_t expected;
    size_t got;
    bool open;
    bool lost;  /* on_lost is due, or was told */
    bool freed; /* no callbacks any more */
    enum reach lost_reach;
    char lost_why[128];
    struct loop_deferred reap;
};

static void link_drop_replies(struct redis_link *link)
{
    for (size_t i = 0; i < link->got; i++)
        freeReplyObject(link->replies[i]);
    link->got = link->expected = 0;
}

static void link_on_reap(void *ctx)
{
    struct redis_link *link = ctx;
    if (link->ac) {
        redisAsyncContext *ac = link->ac;
        link->ac = NULL; /* first: it calls back */
        redisAsyncFree(ac);
    }
    loop_timer_disarm(link->deadline);
    link_drop_replies(link);
    if (!link->freed) {
        link->config.on_lost(link->config.ctx, link->lost_reach, link->lost_why);
        return;
    }
    loop_timer_free(link->deadline);
    free(link);
}

/* The end: told and cleared away outside of hiredis. */
static void link_lose(struct redis_link *link, enum reach reach, const char *why)
{
    if (link->lost)
        return;
    link->lost = true;
    link->open = false;
    link->lost_reach = reach;
    text_format(link->lost_why, sizeof link->lost_why, "%s", why);
    loop_defer(link->loop, &link->reap, link_on_reap, link);
}

/* ---- what hiredis builds replies with, within bounds ---- */

/* A reply of its own must have been asked for; one within an array was counted with the array. */
static bool link_may_build(const redisReadTask *task)
{
    const struct redis_link *link = task->privdata;
    return !link->lost && (task->parent || link->got < link->expected);
}

static void *link_build_string(const redisReadTask *task, char *text, size_t len)
{
    const struct redis_link *link = task->privdata;
    return link_may_build(task) ? link->build->createString(task, text, len) : NULL;
}

static void *link_build_array(const redisReadTask *task, size_t count)
{
    const struct redis_link *link = task->privdata;
    bool flat = !task->parent && task->type == REDIS_REPLY_ARRAY;
    return flat && link_may_build(task) ? link->build->createArray(task, count) : NULL;
}

static void *link_build_integer(const redisReadTask *task, long long value)
{
    const struct redis_link *link = task->privdata;
    return link_may_build(task) ? link->build->createInteger(task, value) : NULL;
}

static void *link_build_nil(const redisReadTask *task)
{
    const struct redis_link *link = task->privdata;
    return link_may_build(task) ? link->build->createNil(task) : NULL;
}

/* RESP3, which was not negotiated. */
static void *link_build_double(const redisReadTask *task, double value, char *text, size_t len)
{
    (void)task, (void)value, (void)text, (void)len;
    return NULL;
}

static void *link_build_bool(const redisReadTask *task, int value)
{
    (void)task, (void)value;
    return NULL;
}

static ssize_t link_read(struct redisContext *context, char *bytes, size_t size)
{
    struct redis_link *link = context->privdata;
    ssize_t got = link->read_inner(context, bytes, size);
    if (got <= 0)
        return got;
    link->config.counters->bytes_in += (uint64_t)got;
    if (context->reader->len + (size_t)got <= REDIS_REPLY_MAX)
        return got;
    context->err = REDIS_ERR_PROTOCOL;
    text_format(context->errstr, sizeof context->errstr, "reply larger than %zu bytes",
                REDIS_REPLY_MAX);
    return -1;
}

static void link_guard(struct redis_link *link)
{
    redisContext *context = &link->ac->c;
    link->funcs = *context->funcs;
    link->read_inner = link->funcs.read;
    link->funcs.read = link_read;
    context->funcs = &link->funcs;

    redisReader *reader = context->reader;
    link->build = reader->fn;
    link->guard = (redisReplyObjectFunctions){
        .createString = link_build_string,
        .createArray = link_build_array,
        .createInteger = link_build_integer,
        .createDouble = link_build_double,
        .createNil = link_build_nil,
        .createBool = link_build_bool,
        .freeObject = link->build->freeObject,
    };
    reader->fn = &link->guard;
    reader->privdata = link;
    reader->maxelements = PEER_LIST_MAX;
}

/* ---- callbacks of hiredis ---- */

/* A connection that did not come about. hiredis keeps errno's text only. */
static enum reach link_reach_of(const redisAsyncContext *ac)
{
    return strcmp(ac->errstr, strerror(ECONNREFUSED)) == 0 ? REACH_REFUSED : REACH_TIMEOUT;
}

static void link_on_connect(const redisAsyncContext *ac, int status)
{
    struct redis_link *link = ac->data;
    if (status != REDIS_OK) {
        link->ac = NULL; /* hiredis frees it when this returns */
        link_lose(link, link_reach_of(ac), ac->errstr);
        return;
    }
    if (link->lost)
        return;
    link->open = true;
    loop_timer_disarm(link->deadline);
    link->config.on_open(link->config.ctx);
}

static void link_on_disconnect(const redisAsyncContext *ac, int status)
{
    (void)status;
    struct redis_link *link = ac->data;
    if (!link->ac)
        return; /* freed by ourselves */
    link->ac = NULL;
    /* Closed or reset by the server, or not the protocol: whoever tries again will see. */
    link_lose(link, REACH_ERROR, ac->errstr ? ac->errstr : "closed");
}

static enum reply_kind link_kind_of(const redisReply *from)
{
    switch (from->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        return REPLY_TEXT;
    case REDIS_REPLY_ERROR:
        return REPLY_ERROR;
    case REDIS_REPLY_INTEGER:
        return REPLY_INTEGER;
    case REDIS_REPLY_NIL:
        return REPLY_NIL;
    case REDIS_REPLY_ARRAY:
        return REPLY_LIST;
    default: /* other types are not built */
        return REPLY_NONE;
    }
}

static void link_convert(const redisReply *from, struct reply *to)
{
    *to = (struct reply){.kind = link_kind_of(from), .integer = from->integer};
    if (to->kind == REPLY_TEXT || to->kind == REPLY_ERROR)
        to->text = (struct span){from->str, from->len};
    if (to->kind != REPLY_LIST)
        return;
    for (size_t i = 0; i < from->elements; i++) {
        const redisReply *item = from->element[i];
        if (link_kind_of(item) != REPLY_TEXT) {
            to->kind = REPLY_NONE;
            return;
        }
        to->items[to->item_count++] = (struct span){item->str, item->len};
    }
}

static void link_finish(struct redis_link *link)
{
    struct reply replies[PEER_COMMANDS_MAX];
    redisReply *owned[PEER_COMMANDS_MAX];
    size_t count = link->got;
    for (size_t i = 0; i < count; i++) {
        owned[i] = link->replies[i];
        link_convert(owned[i], &replies[i]);
    }
    loop_timer_disarm(link->deadline);
    link->got = link->expected = 0; /* the callback may send the next exchange */
    link->config.on_replies(link->config.ctx, replies, count);
    for (size_t i = 0; i < count; i++)
        freeReplyObject(owned[i]);
}

static void link_on_reply(redisAsyncContext *ac, void *reply, void *privdata)
{
    (void)privdata;
    struct redis_link *link = ac->data;
    if (!reply)
        return; /* the connection ends: on_lost tells */
    if (link->lost || link->got == link->expected) {
        freeReplyObject(reply);
        return;
    }
    link->replies[link->got++] = reply;
    if (link->got == link->expected)
        link_finish(link);
}

/* ---- interface ---- */

static void link_on_deadline(void *ctx)
{
    struct redis_link *link = ctx;
    link_lose(link, REACH_TIMEOUT, link->open ? "no answer in time" : "no connection in time");
}

static void link_connect(struct redis_link *link, const struct redis_link_config *config)
{
    redisOptions options = {
        .type = REDIS_CONN_TCP,
        .options = REDIS_OPT_NOAUTOFREEREPLIES | REDIS_OPT_PREFER_IP_UNSPEC,
        .endpoint.tcp = {.source_addr = config->bind_ip, .ip = config->ip, .port = config->port},
        .privdata = link,
    };
    redisAsyncContext *ac = redisAsyncConnectWithOptions(&options);
    assert(ac); /* NULL is out of memory */
    ac->data = link;
    if (ac->err) {
        link_lose(link, link_reach_of(ac), ac->errstr);
        redisAsyncFree(ac);
        return;
    }
    link->ac = ac;
    link_guard(link);
    (void)redisLibeventAttach(ac, loop_base(link->loop));
    (void)redisAsyncSetDisconnectCallback(ac, link_on_disconnect);
    (void)redisAsyncSetConnectCallback(ac, link_on_connect);
    loop_timer_arm(link->deadline, PEER_CONNECT_MS);
}

struct redis_link *redis_link_new(struct loop *loop, const struct redis_link_config *config)
{
    struct redis_link *link = xcalloc(1, sizeof *link);
    link->loop = loop;
    link->config = *config;
    link->config.ip = link->config.bind_ip = NULL;
    link->deadline = loop_timer_new(loop, link_on_deadline, link);
    config->counters->connects++;
    link_connect(link, config);
    return link;
}

void redis_link_free(struct redis_link *link)
{
    if (!link)
        return;
    link->freed = link->lost = true;
    link->open = false;
    loop_timer_disarm(link->deadline);
    loop_defer(link->loop, &link->reap, link_on_reap, link);
}

void redis_link_send(struct redis_link *link, const struct peer_command *commands, size_t count)
{
    assert(link->open && !link->expected && count > 0 && count <= PEER_COMMANDS_MAX);
    link->expected = count;
    loop_timer_arm(link->deadline, PEER_EXCHANGE_MS);
    for (size_t i = 0; i < count; i++) {
        const struct peer_command *command = &commands[i];
        const char *words[PEER_WORDS_MAX];
        size_t sizes[PEER_WORDS_MAX];
        for (size_t j = 0; j < command->word_count; j++) {
            words[j] = command->words[j].ptr;
            sizes[j] = command->words[j].len;
        }
        /* REDIS_ERR means that the connection is ending already: then on_lost tells. */
        (void)redisAsyncCommandArgv(link->ac, link_on_reply, NULL, (int)command->word_count, words,
                                    sizes);
    }
    link->config.counters->commands += count;
}

void redis_link_flush(struct redis_link *link)
{
    if (link->open)
        redisAsyncHandleWrite(link->ac);
}
