/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis_link.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "io/redis_greet.h"
#include "io/redis_reply.h"
#include "io/redis_wipe.h"

/* hiredis's adapter leaves its events at the middle priority. */
_Static_assert(LOOP_PRIORITIES / 2 == LOOP_REDIS, "Redis must be the middle priority");

/* The first byte of a TLS alert record (RFC 8446, 5.1); no reply of Redis begins with it. */
#define LINK_TLS_ALERT 0x15

enum link_state {
    LINK_CONNECTING = 1,
    LINK_SECURING, /* the TLS handshake */
    LINK_SIGNING_IN,
    LINK_OPEN,
};

struct redis_link {
    struct loop *loop;
    struct redis_link_config config; /* addresses are not kept */
    redisAsyncContext *ac;           /* NULL once hiredis has let go of it */
    char ip[IP_SIZE];
    enum link_state state;
    struct ssl_st *end; /* hiredis's; NULL without TLS */
    bool heard;         /* something came from the server */
    struct redis_greet greet;
    redisContextFuncs funcs; /* hiredis's own, with a bounded read */
    ssize_t (*read_inner)(struct redisContext *, char *, size_t);
    ssize_t (*write_inner)(struct redisContext *);
    redisReplyObjectFunctions guard; /* hiredis's own, within bounds */
    const redisReplyObjectFunctions *build;
    struct loop_timer *deadline; /* owned: of connecting, or of the exchange */

    redisReply **replies; /* owned, as are they: of the exchange in flight */
    size_t expected;
    size_t got;
    bool lost;  /* on_lost is due, or was told */
    bool freed; /* no callbacks any more */
    enum reach lost_reach;
    char lost_why[192];
    enum reach end_reach;             /* what OpenSSL's failure means, */
    char end_why[REDIS_TLS_WHY_SIZE]; /* in its words; "" = it has none */
    struct loop_deferred reap;
    struct loop_deferred secured;
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
    loop_undefer(link->loop, &link->secured);
    free(link->replies);
    free(link);
}

/* The end: told and cleared away outside of hiredis. */
static void link_lose(struct redis_link *link, enum reach reach, const char *why)
{
    if (link->lost)
        return;
    link->lost = true;
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

static void link_on_secured(void *ctx);

/* hiredis has errno's text only, which says nothing of TLS. */
static void link_note_failure(struct redis_link *link)
{
    if (!link->end || link->end_why[0])
        return;
    bool refused = redis_tls_explain(link->end, link->end_why);
    link->end_reach = refused ? REACH_DENIED : REACH_ERROR;
}

static ssize_t link_read(struct redisContext *context, char *bytes, size_t size)
{
    struct redis_link *link = context->privdata;
    redis_tls_clear();
    ssize_t got = link->read_inner(context, bytes, size);
    if (got < 0)
        link_note_failure(link);
    else if (link->state == LINK_SECURING && redis_tls_is_secure(link->end))
        loop_defer(link->loop, &link->secured, link_on_secured, link);
    if (got <= 0)
        return got;
    link->config.counters->bytes_in += (uint64_t)got;
    if (!link->heard && !link->end && bytes[0] == LINK_TLS_ALERT) {
        context->err = REDIS_ERR_PROTOCOL;
        text_format(context->errstr, sizeof context->errstr,
                    "the server wants TLS (redis.tls.enabled)");
        return -1;
    }
    link->heard = true;
    if (context->reader->len + (size_t)got <= REDIS_REPLY_MAX)
        return got;
    context->err = REDIS_ERR_PROTOCOL;
    text_format(context->errstr, sizeof context->errstr, "reply larger than %zu bytes",
                REDIS_REPLY_MAX);
    return -1;
}

static ssize_t link_write(struct redisContext *context)
{
    struct redis_link *link = context->privdata;
    redis_tls_clear();
    ssize_t done = link->write_inner(context);
    if (done < 0)
        link_note_failure(link);
    return done;
}

/* Puts our bounds around the functions of the transport: plain, then TLS. */
static void link_guard_transport(struct redis_link *link, const redisContextFuncs *funcs)
{
    link->funcs = *funcs;
    link->read_inner = funcs->read;
    link->write_inner = funcs->write;
    link->funcs.read = link_read;
    link->funcs.write = link_write;
    link->ac->c.funcs = &link->funcs;
}

static void link_guard_replies(struct redis_link *link)
{
    redisReader *reader = link->ac->c.reader;
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
    reader->maxelements = (long long)link->config.list_max;
}

/* ---- being let in ---- */

static void link_transmit(struct redis_link *link, const struct peer_command *commands,
                          size_t count);

static void link_sign_in(struct redis_link *link)
{
    struct peer_command commands[GREET_COMMANDS_MAX];
    size_t count = redis_greet_commands(&link->greet, commands);
    link_transmit(link, commands, count);
}

static void link_greet(struct redis_link *link)
{
    link->state = LINK_SIGNING_IN;
    redis_greet_begin(&link->greet, link->config.auth, link->end != NULL);
    link_sign_in(link);
}

static void link_take_greeting(struct redis_link *link, const struct reply *replies, size_t count)
{
    const char *why = NULL;
    switch (redis_greet_take(&link->greet, replies, count, &why)) {
    case GREET_MORE:
        link_sign_in(link);
        break;
    case GREET_IN:
        link->state = LINK_OPEN;
        link->config.on_open(link->config.ctx);
        break;
    case GREET_REFUSED:
        link_lose(link, REACH_DENIED, why);
        break;
    }
}

static void link_on_secured(void *ctx)
{
    struct redis_link *link = ctx;
    if (link->lost)
        return;
    loop_timer_disarm(link->deadline);
    link_greet(link);
}

/* From now on nothing goes out or comes in but by TLS. */
static void link_secure(struct redis_link *link)
{
    struct err err = {0};
    struct ssl_st *end = redis_tls_new_end(link->config.tls, link->ip, &err);
    if (!end) {
        link_lose(link, REACH_DENIED, err.msg);
        return;
    }
    redisContext *context = &link->ac->c;
    const redisContextFuncs *plain = context->funcs;
    redis_tls_clear();
    if (redisInitiateSSL(context, end) != REDIS_OK) {
        bool refused = redis_tls_explain(end, link->end_why);
        context->funcs = plain;
        link_lose(link, refused ? REACH_DENIED : REACH_ERROR,
                  link->end_why[0] ? link->end_why : context->errstr);
        redis_tls_drop(end);
        return;
    }
    link->end = end;
    link->state = LINK_SECURING;
    link_guard_transport(link, context->funcs);
    if (redis_tls_is_secure(end)) /* a server may be as quick as that */
        link_greet(link);
    else
        loop_timer_arm(link->deadline, PEER_HANDSHAKE_MS);
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
    loop_timer_disarm(link->deadline);
    if (link->config.tls->enabled)
        link_secure(link);
    else
        link_greet(link);
}

/* Closed or reset by the server, or not the protocol: whoever tries again will see. */
static const char *link_end_text(const struct redis_link *link, const redisAsyncContext *ac)
{
    if (link->end_why[0])
        return link->end_why;
    if (link->state == LINK_SECURING)
        return "closed during the TLS handshake: the server does not speak TLS, or refuses us";
    bool closed = ac->c.err == REDIS_ERR_EOF || ac->c.err == REDIS_ERR_IO;
    if (!link->end && !link->heard && closed)
        return "closed before it answered: the server may want TLS (redis.tls.enabled)";
    return ac->errstr && ac->errstr[0] ? ac->errstr : "closed";
}

static void link_on_disconnect(const redisAsyncContext *ac, int status)
{
    (void)status;
    struct redis_link *link = ac->data;
    if (!link->ac)
        return; /* freed by ourselves */
    link->ac = NULL;
    link_lose(link, link->end_why[0] ? link->end_reach : REACH_ERROR, link_end_text(link, ac));
    link->end = NULL; /* freed with hiredis's context */
}

static void link_finish(struct redis_link *link)
{
    struct redis_replies all;
    redis_replies_init(&all, link->replies, link->got);
    loop_timer_disarm(link->deadline);
    link->got = link->expected = 0; /* the callback may send the next exchange */
    if (link->state == LINK_SIGNING_IN)
        link_take_greeting(link, all.replies, all.count);
    else
        link->config.on_replies(link->config.ctx, all.replies, all.count);
    redis_replies_deinit(&all);
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

static void link_put(const struct redis_link *link, const struct span *spans, size_t count)
{
    const char **words = xcalloc(count, sizeof(char *));
    size_t *sizes = xcalloc(count, sizeof *sizes);
    for (size_t i = 0; i < count; i++) {
        words[i] = spans[i].ptr;
        sizes[i] = spans[i].len;
    }
    /* REDIS_ERR means that the connection is ending already: then on_lost tells. */
    (void)redisAsyncCommandArgv(link->ac, link_on_reply, NULL, (int)count, words, sizes);
    free(words);
    free(sizes);
}

static void link_transmit_long(struct redis_link *link, const struct link_command *commands,
                               size_t count)
{
    assert(!link->lost && !link->expected && count > 0 && count <= link->config.commands_max);
    link->expected = count;
    loop_timer_arm(link->deadline, link->config.exchange_ms);
    for (size_t i = 0; i < count; i++)
        link_put(link, commands[i].words, commands[i].word_count);
    link->config.counters->commands += count;
}

static void link_transmit(struct redis_link *link, const struct peer_command *commands,
                          size_t count)
{
    struct link_command borrowed[PEER_COMMANDS_MAX];
    assert(count <= PEER_COMMANDS_MAX);
    for (size_t i = 0; i < count; i++)
        borrowed[i] = (struct link_command){commands[i].words, commands[i].word_count};
    link_transmit_long(link, borrowed, count);
}

/* ---- interface ---- */

static void link_on_deadline(void *ctx)
{
    static const char *const late[] = {
        [LINK_CONNECTING] = "no connection in time",
        [LINK_SECURING] = "no TLS handshake in time: the server does not speak TLS, or hangs",
        [LINK_SIGNING_IN] = "no answer in time",
        [LINK_OPEN] = "no answer in time",
    };
    struct redis_link *link = ctx;
    link_lose(link, REACH_TIMEOUT, late[link->state]);
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
    link_guard_transport(link, ac->c.funcs);
    link_guard_replies(link);
    (void)redisLibeventAttach(ac, loop_base(link->loop));
    (void)redisAsyncSetDisconnectCallback(ac, link_on_disconnect);
    (void)redisAsyncSetConnectCallback(ac, link_on_connect);
    loop_timer_arm(link->deadline, PEER_CONNECT_MS);
}

struct redis_link *redis_link_new(struct loop *loop, const struct redis_link_config *config)
{
    redis_wipe_setup();
    struct redis_link *link = xcalloc(1, sizeof *link);
    link->loop = loop;
    link->state = LINK_CONNECTING;
    link->config = *config;
    link->config.commands_max = config->commands_max ? config->commands_max : PEER_COMMANDS_MAX;
    link->config.list_max = config->list_max ? config->list_max : PEER_LIST_MAX;
    link->config.exchange_ms = config->exchange_ms ? config->exchange_ms : PEER_EXCHANGE_MS;
    link->replies = xcalloc(link->config.commands_max, sizeof(redisReply *));
    text_format(link->ip, sizeof link->ip, "%s", config->ip);
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
    loop_timer_disarm(link->deadline);
    loop_defer(link->loop, &link->reap, link_on_reap, link);
}

void redis_link_send(struct redis_link *link, const struct peer_command *commands, size_t count)
{
    assert(link->state == LINK_OPEN);
    if (!link->lost)
        link_transmit(link, commands, count);
}

void redis_link_send_long(struct redis_link *link, const struct link_command *commands,
                          size_t count)
{
    assert(link->state == LINK_OPEN);
    if (!link->lost)
        link_transmit_long(link, commands, count);
}

void redis_link_flush(struct redis_link *link)
{
    /* Not redisAsyncHandleWrite(): this may be called within a callback of the same connection. */
    int done;
    if (link->state == LINK_OPEN && !link->lost)
        (void)redisBufferWrite(&link->ac->c, &done);
}
