/* SPDX-License-Identifier: Apache-2.0 */
#include "io/slot_link.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/limits.h"
#include "io/clock.h"
#include "io/redis_link.h"
#include "io/slot_keys.h"
#include "io/slot_verbs.h"
#include "io/slot_weigh.h"
#include "wire/cluster_nodes.h"

#define REFUSAL_SIZE 128
/* A view of NODES_MAX nodes that alternate in 16384 slots stays below. */
#define SLOT_LINK_ARENA_MAX MIB(8)

enum slot_link_at {
    AT_REST = 0,
    AT_LOOK,
    AT_NAMES, /* of the keys of slots that may be opened next, */
    AT_WEIGH, /* and what they weigh */
    AT_SETSLOT,
    AT_LIST,    /* the names of the keys that go next, */
    AT_SIZES,   /* and what they weigh; */
    AT_MIGRATE, /* which go slot by slot, */
    AT_COUNT,   /* and what is left */
};

/* One of the two connections. */
struct slot_half {
    struct slot_link *owner;
    struct redis_link *link; /* owned */
    bool open;
    bool waits;    /* for an answer */
    bool answered; /* at all; or nobody is there */
};

struct slot_link {
    struct loop *loop;
    struct slot_link_config config; /* addresses are not kept */
    char dest_ip[IP_SIZE];
    struct slot_half source;
    struct slot_half dest;
    bool lost;

    enum slot_link_at at;
    uint16_t slots[SLOT_LINK_SLOTS_MAX]; /* of the look */
    size_t slot_count;
    struct slot_seen seen[SLOT_LINK_SLOTS_MAX];

    struct mover_order order;
    bool ordered; /* something of it was sent */
    enum mover_result results[MOVER_WINDOW];
    int64_t left[MOVER_WINDOW];
    size_t moving;      /* the slot of the order whose keys go now */
    int64_t sent_ms;    /* its MIGRATE, or the SETSLOTs */
    int64_t longest_ms; /* of them */
    struct slot_keys keys;
    struct slot_weigh weigh;
    char refusal[REFUSAL_SIZE];
};

/* ---- the end ---- */

static void slot_link_close(struct slot_link *link)
{
    redis_link_free(TAKE(link->source.link));
    redis_link_free(TAKE(link->dest.link));
    link->source.open = link->dest.open = false;
}

static void slot_link_lose(struct slot_link *link, const char *who, const char *why)
{
    char text[ERR_MSG_SIZE];
    if (link->lost)
        return;
    bool ordered = link->ordered;
    link->lost = true;
    slot_link_close(link);
    link->at = AT_REST;
    text_format(text, sizeof text, "%s: %s", who, why);
    link->config.on_lost(link->config.ctx, ordered, text);
}

static const char *half_name(const struct slot_half *half)
{
    return half == &half->owner->source ? "the source" : "the destination";
}

static void slot_link_note_refusal(struct slot_link *link, struct span text)
{
    int len = text.len < REFUSAL_SIZE ? (int)text.len : REFUSAL_SIZE - 1;
    text_format(link->refusal, sizeof link->refusal, "%.*s", len, text.ptr);
}

/* ---- commands ---- */

static void half_send(struct slot_half *half, const struct link_command *commands, size_t count)
{
    half->waits = true;
    redis_link_send_long(half->link, commands, count);
}

/* ---- looking ---- */

static void look_send(struct slot_link *link, struct slot_half *half)
{
    struct slot_verbs *verbs = xcalloc(1, sizeof *verbs);
    /* First the state, then the number: see slot_move_next(). */
    slot_verbs_put(verbs, "NODES", -1, -1);
    for (size_t i = 0; i < link->slot_count; i++)
        slot_verbs_put(verbs, "COUNTKEYSINSLOT", link->slots[i], -1);
    half_send(half, verbs->commands, verbs->count);
    free(verbs);
}

/* NULL, or why the server is not the one that was meant. */
static const char *look_take(struct slot_link *link, const struct slot_half *half,
                             const struct reply *replies)
{
    bool source = half == &link->source;
    const struct slot_pair *pair = &link->config.pair;
    struct slot_side sides[SLOT_LINK_SLOTS_MAX] = {0};
    struct arena arena;
    struct view view;
    struct err err = {0};
    const char *why = NULL;
    arena_init(&arena, SLOT_LINK_ARENA_MAX);
    if (replies[0].kind != REPLY_TEXT)
        why = "it does not tell its view of the cluster";
    else if (cluster_nodes_parse(replies[0].text, &arena, &view, &err) < 0)
        why = "its view of the cluster is malformed";
    else if (!node_id_eq(&view.myself->id, source ? &pair->source : &pair->dest))
        why = "it is another node now";
    else if (!(view.myself->flags & NODE_PRIMARY))
        why = "it is no primary any more";
    if (!why)
        slot_look(&view, pair, source, link->slots, link->slot_count, sides);
    arena_deinit(&arena);
    for (size_t i = 0; !why && i < link->slot_count; i++) {
        const struct reply *count = &replies[1 + i];
        if (count->kind != REPLY_INTEGER)
            why = "it does not tell how many keys it has";
        sides[i].keys = count->integer;
        if (source)
            link->seen[i].source = sides[i];
        else
            link->seen[i].dest = sides[i];
    }
    return why;
}

/* The next slots of which a key may be too big; else all is seen. */
static void weigh_next(struct slot_link *link)
{
    struct slot_weigh *weigh = &link->weigh;
    if (slot_weigh_list(weigh, link->slots, link->seen, link->slot_count, link->source.link)) {
        link->at = AT_NAMES;
        link->source.waits = true;
        return;
    }
    if (weigh->found[0])
        text_format(link->refusal, sizeof link->refusal, "%s has %" PRId64 " bytes", weigh->found,
                    weigh->found_bytes);
    link->at = AT_REST;
    link->config.on_seen(link->config.ctx, link->seen);
}

static void weigh_on_replies(struct slot_link *link, const struct reply *replies)
{
    if (link->at == AT_WEIGH) {
        slot_weigh_take(&link->weigh, replies);
    } else if (slot_weigh_names(&link->weigh, replies) < 0) {
        slot_link_lose(link, "the source", "the names of its keys are too long");
        return;
    }
    link->at = AT_WEIGH;
    link->source.waits = slot_weigh_send(&link->weigh, link->source.link);
    if (link->source.waits)
        return;
    slot_weigh_mark(&link->weigh, link->seen);
    weigh_next(link);
}

static void look_on_replies(struct slot_link *link, const struct slot_half *half,
                            const struct reply *replies)
{
    const char *why = look_take(link, half, replies);
    if (why) {
        slot_link_lose(link, half_name(half), why);
        return;
    }
    if (link->source.waits || link->dest.waits)
        return;
    weigh_next(link);
}

/* ---- SETSLOT ---- */

static void order_end(struct slot_link *link)
{
    bool keys = link->order.step == SLOT_KEYS;
    link->at = AT_REST;
    link->ordered = false;
    link->config.on_did(link->config.ctx, link->results, keys ? link->left : NULL,
                        link->longest_ms);
}

static void setslot_begin(struct slot_link *link)
{
    struct action_args args[MOVER_WINDOW];
    struct span words[MOVER_WINDOW][ACTION_ARGS_MAX];
    struct link_command commands[MOVER_WINDOW];
    bool to_source = false;
    for (size_t i = 0; i < link->order.count; i++) {
        slot_step_command(link->order.step, link->order.slots[i], &link->config.pair, &args[i],
                          &to_source);
        for (size_t k = 0; k < args[i].count; k++)
            words[i][k] = span_of(args[i].words[k]);
        commands[i] = (struct link_command){words[i], args[i].count};
    }
    link->at = AT_SETSLOT;
    link->sent_ms = clock_mono_ms();
    half_send(to_source ? &link->source : &link->dest, commands, link->order.count);
}

static void setslot_on_replies(struct slot_link *link, const struct reply *replies)
{
    link->longest_ms = clock_mono_ms() - link->sent_ms;
    for (size_t i = 0; i < link->order.count; i++) {
        bool ok = replies[i].kind == REPLY_TEXT;
        link->results[i] = ok ? MOVER_OK : MOVER_REFUSED;
        if (!ok && replies[i].kind == REPLY_ERROR)
            slot_link_note_refusal(link, replies[i].text);
    }
    order_end(link);
}

/* ---- keys ---- */

static void list_begin(struct slot_link *link)
{
    struct slot_verbs *verbs = xcalloc(1, sizeof *verbs);
    for (size_t i = 0; i < link->order.count; i++)
        slot_verbs_put(verbs, "GETKEYSINSLOT", link->order.slots[i], (int)link->order.keys[i]);
    link->at = AT_LIST;
    half_send(&link->source, verbs->commands, verbs->count);
    free(verbs);
}

static void count_begin(struct slot_link *link)
{
    struct slot_verbs *verbs = xcalloc(1, sizeof *verbs);
    for (size_t i = 0; i < link->order.count; i++)
        slot_verbs_put(verbs, "COUNTKEYSINSLOT", link->order.slots[i], -1);
    link->at = AT_COUNT;
    half_send(&link->source, verbs->commands, verbs->count);
    free(verbs);
}

static void migrate_send(struct slot_link *link)
{
    struct slot_keys_dest dest = {.ip = link->dest_ip,
                                  .port = link->config.migrate_port,
                                  .auth = peers_auth(link->config.peers)};
    link->sent_ms = clock_mono_ms();
    link->source.waits = true;
    slot_keys_send(&link->keys, link->moving, link->config.big_bytes, &dest, link->source.link);
}

/* The next slot of which the source has keys; else what is left is counted. */
static void migrate_next(struct slot_link *link)
{
    while (link->moving < link->order.count && !slot_keys_count(&link->keys, link->moving))
        link->moving++;
    link->at = AT_MIGRATE;
    link->keys.tried_all = false;
    if (link->moving < link->order.count)
        migrate_send(link);
    else
        count_begin(link);
}

static void sizes_next(struct slot_link *link)
{
    link->at = AT_SIZES;
    link->source.waits = slot_weigh_send(&link->weigh, link->source.link);
    if (link->source.waits)
        return;
    link->moving = 0;
    migrate_next(link);
}

static void list_on_replies(struct slot_link *link, const struct reply *replies)
{
    for (size_t i = 0; i < link->order.count; i++) {
        if (replies[i].kind != REPLY_ERROR)
            continue;
        link->results[i] = MOVER_REFUSED;
        slot_link_note_refusal(link, replies[i].text);
    }
    if (slot_keys_take(&link->keys, replies, link->order.count) < 0) {
        slot_link_lose(link, "the source", "the names of its keys are too long");
        return;
    }
    slot_weigh_begin(&link->weigh);
    sizes_next(link);
}

static void migrate_on_reply(struct slot_link *link, const struct reply *reply)
{
    int64_t took_ms = clock_mono_ms() - link->sent_ms;
    if (took_ms > link->longest_ms)
        link->longest_ms = took_ms;
    if (reply->kind == REPLY_TEXT) { /* OK or NOKEY */
        link->moving++;
        migrate_next(link);
        return;
    }
    bool error = reply->kind == REPLY_ERROR;
    if (error && slot_keys_tries_again(&link->keys, reply->text, peers_auth(link->config.peers))) {
        migrate_send(link);
        return;
    }
    link->results[link->moving] = MOVER_REFUSED;
    if (error)
        slot_link_note_refusal(link, reply->text);
    /* Each of the others could block the source for as long. */
    count_begin(link);
}

static void count_on_replies(struct slot_link *link, const struct reply *replies)
{
    for (size_t i = 0; i < link->order.count; i++) {
        if (replies[i].kind != REPLY_INTEGER)
            link->results[i] = MOVER_REFUSED;
        link->left[i] = replies[i].integer;
    }
    order_end(link);
}

/* ---- callbacks of the connections ---- */

static void slot_link_start(struct slot_link *link)
{
    assert(link->at == AT_REST || link->at == AT_LOOK); /* nothing is ordered before */
    if (!link->source.open || !link->dest.open || link->at != AT_LOOK)
        return;
    look_send(link, &link->source);
    look_send(link, &link->dest);
}

static void half_on_open(void *ctx)
{
    struct slot_half *half = ctx;
    half->open = true;
    slot_link_start(half->owner);
}

static void half_on_replies(void *ctx, const struct reply *replies, size_t count)
{
    struct slot_half *half = ctx;
    struct slot_link *link = half->owner;
    (void)count;
    half->waits = false;
    half->answered = true;
    if (link->lost)
        return;
    switch (link->at) {
    case AT_REST:
        assert(false && "nothing was asked");
        break;
    case AT_LOOK:
        look_on_replies(link, half, replies);
        break;
    case AT_NAMES:
    case AT_WEIGH:
        weigh_on_replies(link, replies);
        break;
    case AT_SETSLOT:
        setslot_on_replies(link, replies);
        break;
    case AT_LIST:
        list_on_replies(link, replies);
        break;
    case AT_SIZES:
        slot_weigh_take(&link->weigh, replies);
        sizes_next(link);
        break;
    case AT_MIGRATE:
        migrate_on_reply(link, &replies[0]);
        break;
    case AT_COUNT:
        count_on_replies(link, replies);
        break;
    }
}

static void half_on_lost(void *ctx, enum reach reach, const char *why)
{
    struct slot_half *half = ctx;
    half->answered |= reach == REACH_REFUSED;
    slot_link_lose(half->owner, half_name(half), why);
}

/* ---- interface ---- */

static void half_open(struct slot_link *link, struct slot_half *half, const struct slot_end *end)
{
    struct redis_link_config config = {
        .ip = end->ip,
        .port = end->port,
        .commands_max = 1 + SLOT_LINK_SLOTS_MAX,
        .list_max = SLOT_WEIGH_KEYS,
        .exchange_ms = SLOT_LINK_EXCHANGE_MS,
        .on_open = half_on_open,
        .on_replies = half_on_replies,
        .on_lost = half_on_lost,
        .ctx = half,
    };
    half->owner = link;
    half->link = peers_open_link(link->config.peers, &config);
}

struct slot_link *slot_link_new(struct loop *loop, const struct slot_link_config *config)
{
    struct slot_link *link = xcalloc(1, sizeof *link);
    link->loop = loop;
    link->config = *config;
    text_format(link->dest_ip, sizeof link->dest_ip, "%s", config->dest.ip);
    link->config.source.ip = link->config.dest.ip = NULL;
    slot_keys_init(&link->keys);
    slot_weigh_init(&link->weigh, config->big_bytes, &link->keys);
    half_open(link, &link->source, &config->source);
    half_open(link, &link->dest, &config->dest);
    return link;
}

void slot_link_free(struct slot_link *link)
{
    if (!link)
        return;
    slot_link_close(link);
    slot_keys_deinit(&link->keys);
    free(link);
}

void slot_link_look(struct slot_link *link, const uint16_t *slots, size_t count)
{
    assert(link->at == AT_REST && count && count <= SLOT_LINK_SLOTS_MAX);
    if (link->lost)
        return;
    memcpy(link->slots, slots, count * sizeof *slots);
    memset(link->seen, 0, sizeof link->seen);
    link->slot_count = count;
    slot_weigh_reset(&link->weigh);
    link->at = AT_LOOK;
    slot_link_start(link); /* else once both are connected */
}

void slot_link_order(struct slot_link *link, const struct mover_order *order)
{
    assert(link->at == AT_REST && order->kind == MOVER_STEP && order->count);
    if (link->lost)
        return;
    link->order = *order;
    link->ordered = true;
    link->longest_ms = 0;
    for (size_t i = 0; i < order->count; i++) {
        link->results[i] = MOVER_OK;
        link->left[i] = 0;
    }
    if (order->step == SLOT_KEYS)
        list_begin(link);
    else
        setslot_begin(link);
}

bool slot_link_is_busy(const struct slot_link *link)
{
    return link->at != AT_REST;
}

bool slot_link_was_answered(const struct slot_link *link)
{
    return link->source.answered && link->dest.answered;
}

const char *slot_link_refusal(const struct slot_link *link)
{
    return link->refusal;
}
