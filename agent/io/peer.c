/* SPDX-License-Identifier: Apache-2.0 */
#include "io/peer.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/rng.h"
#include "io/clock.h"
#include "io/peer_clock.h"
#include "io/peer_poll.h"
#include "io/redis_link.h"

/* A view of NODES_MAX nodes that alternate in 16384 slots stays below. */
#define PEER_VIEW_ARENA_MAX MIB(8)
#define PEER_SAID_SIZE 192

enum peer_flight { FLIGHT_NONE = 0, FLIGHT_POLL, FLIGHT_USER };

struct peer {
    struct loop *loop;
    char *ip; /* owned */
    uint16_t port;
    char *bind_ip; /* owned; may be NULL */
    struct redis_auth *auth;
    struct redis_tls *tls;
    struct peer_counters *counters;
    void (*on_change)(void *ctx);
    void *ctx;
    struct rng rng;

    struct redis_link *link;   /* owned; NULL between connections */
    bool open;                 /* let in */
    char said[PEER_SAID_SIZE]; /* why it is lost or unclear, as logged; "" = it answers */
    bool said_settings;        /* that it does not tell its settings was logged */
    unsigned failures;         /* connections in a row that came to nothing */
    int64_t retry_ms;          /* no connection before */
    struct loop_timer *timer;  /* owned: the next poll or connection */

    enum peer_flight flight;
    unsigned ask; /* of the poll in flight */
    int64_t sent_ms;

    struct peer_clock clock;
    struct peer_window *window;

    struct server server;
    uint64_t figures;     /* poll_figures() of when the view was read */
    struct buf info;      /* the last whole INFO, as text */
    struct view views[2]; /* the present one, and the one being read */
    struct arena arenas[2];
    size_t present;
    uint64_t digest;

    bool user_waiting;
    struct peer_exchange user; /* its words lie in user_text */
    struct buf user_text;
};

static void peer_next(struct peer *peer);

/* ---- what is known ---- */

static void peer_compare(struct peer *peer)
{
    uint64_t digest = poll_digest(&peer->server);
    if (digest == peer->digest)
        return;
    peer->digest = digest;
    peer->on_change(peer->ctx);
}

static void peer_set_reach(struct peer *peer, enum reach reach)
{
    peer->server.reach = reach;
    peer->server.asked_ms = peer->sent_ms;
    peer_compare(peer);
}

/* Once for each cause: what the first connection met is not what keeps a later one out. */
static void peer_say(struct peer *peer, const char *event, const char *why)
{
    char said[PEER_SAID_SIZE];
    text_format(said, sizeof said, "%s", why);
    if (strcmp(said, peer->said) == 0)
        return;
    memcpy(peer->said, said, sizeof said);
    LOG(LOG_WARN, event, LOG_ABOUT("server"), LOG_ABOUT(peer->ip), LOG_S("ip", peer->ip),
        LOG_S("reason", why));
}

/* Settings that are not told stay unknown, and what needs them is not done. */
static void peer_say_settings(struct peer *peer, const struct reply *reply)
{
    bool refused = reply->kind == REPLY_ERROR;
    if (refused && !peer->said_settings) {
        char why[POLL_REFUSAL_SIZE];
        poll_refusal(reply->text, why);
        LOG(LOG_WARN, "settings_unknown", LOG_S("ip", peer->ip), LOG_S("reason", why));
    }
    peer->said_settings = refused;
}

static void peer_take_poll(struct peer *peer, const struct reply *replies, size_t count)
{
    size_t spare = 1 - peer->present;
    struct server draft = peer->server;
    struct err err = {0};
    enum reach reach;
    if (peer->ask & POLL_FULL)
        arena_reset(&peer->arenas[spare]);
    int rc = poll_take(peer->ask, replies, count, &draft, &peer->views[spare], &peer->arenas[spare],
                       &reach, &err);
    if (rc < 0) {
        peer_say(peer, "server_unclear", err.msg);
        peer_set_reach(peer, reach);
        return;
    }
    if (strcmp(draft.run_id, peer->server.run_id) != 0) {
        /* Another process: nothing that was read before is its. */
        if (!(peer->ask & POLL_FULL)) {
            draft.view = NULL;
            draft.view_hash = 0;
        }
        if (!(peer->ask & POLL_SETTINGS))
            poll_forget_process(&draft);
        peer->clock.full_sent_ms = peer->ask & POLL_FULL ? peer->clock.full_sent_ms : 0;
        peer->clock.settings_sent_ms = peer->ask & POLL_SETTINGS ? peer->clock.settings_sent_ms : 0;
    }
    if (peer->said[0])
        LOG(LOG_INFO, "server_answers", LOG_ABOUT("server"), LOG_ABOUT(peer->ip),
            LOG_S("ip", peer->ip));
    peer->said[0] = '\0';
    if (peer->ask & POLL_FULL) {
        peer->present = spare;
        draft.view_ms = peer->sent_ms;
        draft.view_hash = draft.view->hash;
        peer->figures = poll_figures(&draft);
    }
    draft.beat_ms = peer->sent_ms;
    if (peer->ask & POLL_LIGHT)
        draft.seen_ms = peer->sent_ms;
    draft.view_outdated = draft.view_hash && poll_figures(&draft) != peer->figures;
    if (peer->ask & POLL_SETTINGS) {
        draft.settings_ms = peer->sent_ms;
        peer_say_settings(peer, &replies[count - 1]);
    }
    if (peer->ask & POLL_WIDE) {
        buf_clear(&peer->info);
        (void)buf_append(&peer->info, replies[0].text.ptr, replies[0].text.len);
    }
    peer->server = draft;
    peer_set_reach(peer, REACH_OK);
}

/* ---- the executor's exchange ---- */

static void peer_end_user(struct peer *peer, const struct reply *replies, size_t count, int code,
                          const char *why)
{
    struct peer_exchange user = peer->user;
    struct err err = {0};
    if (code != E_OK)
        (void)err_set(&err, code, "%s", why);
    peer->user = (struct peer_exchange){0};
    peer->user_waiting = false;
    if (user.on_replies)
        user.on_replies(user.ctx, replies, count, &err);
}

static void peer_send_user(struct peer *peer)
{
    peer->user_waiting = false;
    peer->flight = FLIGHT_USER;
    redis_link_send(peer->link, peer->user.commands, peer->user.command_count);
}

/* ---- polls ---- */

static bool peer_may_read(const struct peer *peer)
{
    return peer->window->in_flight < OBSERVE_IN_FLIGHT;
}

/* The poll in flight has ended, one way or another. */
static void peer_end_poll(struct peer *peer)
{
    if (peer->flight != FLIGHT_POLL || !(peer->ask & POLL_FULL))
        return;
    peer->window->in_flight--;
    peer->window->on_free(peer->window->ctx);
}

static void peer_send_poll(struct peer *peer, unsigned ask, int64_t now_ms)
{
    struct peer_command commands[PEER_COMMANDS_MAX];
    size_t count = poll_commands(ask, commands);
    peer->flight = FLIGHT_POLL;
    peer->ask = ask;
    peer->sent_ms = now_ms;
    if (ask & POLL_FULL)
        peer->window->in_flight++;
    peer_clock_sent(&peer->clock, ask, now_ms);
    redis_link_send(peer->link, commands, count);
}

/* ---- the connection ---- */

static void peer_close(struct peer *peer)
{
    redis_link_free(peer->link);
    peer->link = NULL;
    peer->open = false;
    peer_end_poll(peer);
    peer->flight = FLIGHT_NONE;
    peer_clock_reset(&peer->clock);
}

/* Ends the connection; the first failure in a row is followed by another try at once. */
static void peer_fail(struct peer *peer, enum reach reach, const char *why)
{
    bool in_flight = peer->flight == FLIGHT_USER;
    bool first = peer->failures == 0 && peer->open && reach == REACH_ERROR;
    peer_close(peer);
    peer->counters->failures++;
    peer->failures++;
    int64_t delay_ms =
        first ? 0 : backoff_ms(&peer->rng, peer->failures, PEER_BACKOFF_MS, PEER_BACKOFF_CAP_MS);
    peer->retry_ms = clock_mono_ms() + delay_ms;
    if (!first)
        peer_say(peer, "server_lost", why);
    loop_timer_arm(peer->timer, delay_ms);
    if (!first)
        peer_set_reach(peer, reach);
    if (in_flight || peer->user_waiting)
        peer_end_user(peer, NULL, 0, reach == REACH_TIMEOUT ? E_TIMEOUT : E_UNREACHABLE, why);
}

static void peer_on_open(void *ctx)
{
    struct peer *peer = ctx;
    peer->open = true;
    peer_next(peer);
}

static void peer_on_replies(void *ctx, const struct reply *replies, size_t count)
{
    struct peer *peer = ctx;
    enum peer_flight flight = peer->flight;
    peer_end_poll(peer);
    peer->flight = FLIGHT_NONE;
    switch (flight) {
    case FLIGHT_POLL:
        peer_take_poll(peer, replies, count);
        if (peer->server.reach != REACH_DENIED)
            peer->failures = 0;
        else /* the connection would stay what it is: a new one may be let in */
            peer_fail(peer, REACH_DENIED, peer->said);
        break;
    case FLIGHT_USER:
        peer_end_user(peer, replies, count, E_OK, NULL);
        break;
    case FLIGHT_NONE:
        assert(false); /* the link brings replies to an exchange only */
        break;
    }
    peer_next(peer);
}

static void peer_on_lost(void *ctx, enum reach reach, const char *why)
{
    peer_fail(ctx, reach, why);
}

static void peer_connect(struct peer *peer, int64_t now_ms)
{
    struct redis_link_config config = {
        .ip = peer->ip,
        .port = peer->port,
        .bind_ip = peer->bind_ip,
        .auth = peer->auth,
        .tls = peer->tls,
        .counters = peer->counters,
        .on_open = peer_on_open,
        .on_replies = peer_on_replies,
        .on_lost = peer_on_lost,
        .ctx = peer,
    };
    peer->sent_ms = now_ms;
    peer->link = redis_link_new(peer->loop, &config);
}

/* What is to be done now, or a timer for when it is. */
static void peer_next(struct peer *peer)
{
    if (peer->flight != FLIGHT_NONE)
        return;
    int64_t now_ms = clock_mono_ms();
    if (!peer->link) {
        if (now_ms + PEER_SLACK_MS >= peer->retry_ms)
            peer_connect(peer, now_ms);
        else
            loop_timer_arm(peer->timer, peer->retry_ms - now_ms);
        return;
    }
    if (!peer->open)
        return; /* connecting: the link tells */
    bool may_read = peer_may_read(peer);
    unsigned ask = peer_clock_due(&peer->clock, now_ms, may_read);
    if (peer->user_waiting) {
        peer_send_user(peer);
    } else if (ask) {
        peer_send_poll(peer, ask, now_ms);
    } else {
        int64_t due_ms = peer_clock_next_ms(&peer->clock, now_ms, may_read);
        if (due_ms != INT64_MAX)
            loop_timer_arm(peer->timer, due_ms - now_ms);
    }
}

static void peer_on_timer(void *ctx)
{
    peer_next(ctx);
}

/* ---- interface ---- */

struct peer *peer_new(struct loop *loop, const struct peer_config *config)
{
    struct peer *peer = xcalloc(1, sizeof *peer);
    peer->loop = loop;
    peer->ip = xstrdup(config->ip);
    peer->port = config->port;
    peer->bind_ip = config->bind_ip && config->bind_ip[0] ? xstrdup(config->bind_ip) : NULL;
    peer->auth = config->auth;
    peer->tls = config->tls;
    peer->counters = config->counters;
    peer->window = config->window;
    peer->on_change = config->on_change;
    peer->ctx = config->ctx;
    peer->rng.state = config->seed;
    peer->timer = loop_timer_new(loop, peer_on_timer, peer);
    for (size_t i = 0; i < ARRAY_LEN(peer->arenas); i++)
        arena_init(&peer->arenas[i], PEER_VIEW_ARENA_MAX);
    buf_init(&peer->user_text, PEER_COMMANDS_MAX * KIB(4));
    buf_init(&peer->info, INFO_TEXT_MAX);
    poll_forget_process(&peer->server);
    peer->server.memory_max = -1;
    peer->digest = poll_digest(&peer->server);
    loop_timer_arm(peer->timer, 0);
    return peer;
}

void peer_free(struct peer *peer)
{
    if (!peer)
        return;
    bool user = peer->flight == FLIGHT_USER || peer->user_waiting;
    peer_close(peer);
    if (user)
        peer_end_user(peer, NULL, 0, E_GONE, "no longer a target");
    loop_timer_free(peer->timer);
    for (size_t i = 0; i < ARRAY_LEN(peer->arenas); i++)
        arena_deinit(&peer->arenas[i]);
    buf_deinit(&peer->user_text);
    buf_deinit(&peer->info);
    free(peer->ip);
    free(peer->bind_ip);
    free(peer);
}

void peer_set_rhythm(struct peer *peer, const struct observe_rhythm *rhythm)
{
    if (memcmp(&peer->clock.rhythm, rhythm, sizeof *rhythm) == 0)
        return;
    peer->clock.rhythm = *rhythm;
    peer_next(peer);
}

void peer_hurry(struct peer *peer, int64_t period_ms, int64_t until_ms)
{
    peer->clock.hurry_period_ms = period_ms;
    peer->clock.hurry_until_ms = until_ms;
    if (peer->open)
        peer_next(peer);
}

void peer_read(struct peer *peer)
{
    if (peer->flight == FLIGHT_POLL && peer->ask & POLL_FULL)
        return;
    peer->clock.full_sent_ms = 0;
    if (peer->open)
        peer_next(peer);
}

bool peer_waits(const struct peer *peer, int64_t *ret_since_ms)
{
    *ret_since_ms = peer->clock.full_sent_ms;
    return peer->open && peer->flight == FLIGHT_NONE &&
           peer_clock_full_due(&peer->clock, clock_mono_ms());
}

void peer_nudge(struct peer *peer)
{
    peer_next(peer);
}

bool peer_tidy(struct peer *peer)
{
    if (!peer->server.view || clock_mono_ms() - peer->server.view_ms <= PEER_VIEW_KEEP_MS)
        return false;
    peer->server.view = NULL;
    for (size_t i = 0; i < ARRAY_LEN(peer->arenas); i++)
        arena_deinit(&peer->arenas[i]);
    return true;
}

struct span peer_info(const struct peer *peer)
{
    return (struct span){buf_str(&peer->info), peer->info.len};
}

const struct server *peer_server(const struct peer *peer)
{
    return &peer->server;
}

/* Copies the words, for they are sent later. */
static void peer_keep_words(struct peer *peer, const struct peer_exchange *exchange)
{
    peer->user = *exchange;
    buf_clear(&peer->user_text);
    for (size_t i = 0; i < exchange->command_count; i++)
        for (size_t j = 0; j < exchange->commands[i].word_count; j++)
            (void)buf_append(&peer->user_text, exchange->commands[i].words[j].ptr,
                             exchange->commands[i].words[j].len);
    const char *at = peer->user_text.bytes; /* it grows no more */
    for (size_t i = 0; i < exchange->command_count; i++) {
        for (size_t j = 0; j < exchange->commands[i].word_count; j++) {
            peer->user.commands[i].words[j].ptr = at;
            at += exchange->commands[i].words[j].len;
        }
    }
}

int peer_send(struct peer *peer, const struct peer_exchange *exchange, struct err *err)
{
    assert(exchange->command_count > 0 && exchange->command_count <= PEER_COMMANDS_MAX);
    if (peer->user_waiting || peer->flight == FLIGHT_USER)
        return err_set(err, E_BUSY, "an exchange is in flight");
    if (!peer->open)
        return err_set(err, E_UNREACHABLE, "not connected");
    peer_keep_words(peer, exchange);
    if (peer->user_text.failed)
        return err_set(err, E_LIMIT, "commands larger than %zu bytes", peer->user_text.ceiling);
    peer->user_waiting = true;
    if (peer->flight == FLIGHT_NONE)
        peer_send_user(peer);
    return 0;
}

void peer_forget(struct peer *peer, const void *ctx)
{
    if (peer->user.ctx == ctx)
        peer->user.on_replies = NULL;
}

void peer_flush(struct peer *peer)
{
    if (peer->link)
        redis_link_flush(peer->link);
}
