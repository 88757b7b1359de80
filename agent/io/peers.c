/* SPDX-License-Identifier: Apache-2.0 */
#include "io/peers.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/rng.h"
#include "io/redis_link.h"
#include "wire/kube_json.h"

struct peers_item {
    char uid[UID_SIZE];
    char ip[IP_SIZE];
    uint16_t port;
    bool wanted;
    struct peer *peer; /* owned */
};

struct peers {
    struct loop *loop;
    char *bind_ip; /* owned; may be NULL */
    struct redis_auth auth;
    struct redis_tls tls;
    struct peer_counters counters;
    struct peer_window window;
    struct loop_timer *window_timer; /* owned: somebody may read now */
    struct rng rng;
    void (*on_change)(void *ctx);
    void *ctx;

    struct peers_item *items; /* owned; sorted by uid */
    size_t count;
    size_t cap;
    size_t dropped; /* views, since memory was given back last */
};

/* A formation of a hundred reads ten MiB of views, of which three are read later (core/observe.h). */
#define TRIM_AFTER_VIEWS 32

static void peers_on_free(void *ctx)
{
    const struct peers *peers = ctx;
    loop_timer_arm(peers->window_timer, 0);
}

/* The longest unread first. */
static struct peer *peers_next_waiting(const struct peers *peers)
{
    struct peer *next = NULL;
    int64_t oldest_ms = INT64_MAX;
    for (size_t i = 0; i < peers->count; i++) {
        int64_t since_ms;
        if (peer_waits(peers->items[i].peer, &since_ms) && since_ms < oldest_ms) {
            oldest_ms = since_ms;
            next = peers->items[i].peer;
        }
    }
    return next;
}

static void peers_on_window(void *ctx)
{
    struct peers *peers = ctx;
    struct peer *next;
    while (peers->window.in_flight < OBSERVE_IN_FLIGHT && (next = peers_next_waiting(peers)))
        peer_nudge(next);
}

struct peers *peers_new(struct loop *loop, const struct peers_config *config)
{
    struct peers *peers = xcalloc(1, sizeof *peers);
    peers->loop = loop;
    peers->bind_ip = config->bind_ip && config->bind_ip[0] ? xstrdup(config->bind_ip) : NULL;
    peers->rng.state = config->seed;
    peers->on_change = config->on_change;
    peers->ctx = config->ctx;
    peers->window = (struct peer_window){.on_free = peers_on_free, .ctx = peers};
    peers->window_timer = loop_timer_new(loop, peers_on_window, peers);
    redis_auth_init(&peers->auth, config->username, config->password_file);
    redis_tls_init(&peers->tls, config->tls);
    return peers;
}

void peers_free(struct peers *peers)
{
    if (!peers)
        return;
    for (size_t i = 0; i < peers->count; i++)
        peer_free(peers->items[i].peer);
    loop_timer_free(peers->window_timer);
    redis_auth_deinit(&peers->auth);
    redis_tls_deinit(&peers->tls);
    free(peers->items);
    free(peers->bind_ip);
    free(peers);
}

/* Where the uid is, or where it would be. */
static size_t peers_place(const struct peers *peers, const char *uid, bool *ret_found)
{
    size_t low = 0, high = peers->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(peers->items[mid].uid, uid);
        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_found = false;
    return low;
}

static void peers_on_change(void *ctx)
{
    const struct peers *peers = ctx;
    peers->on_change(peers->ctx);
}

static void peers_open(struct peers *peers, struct peers_item *item,
                       const struct peer_target *target)
{
    struct peer_config config = {
        .ip = target->ip,
        .port = target->port,
        .bind_ip = peers->bind_ip,
        .auth = &peers->auth,
        .tls = &peers->tls,
        .counters = &peers->counters,
        .window = &peers->window,
        .seed = rng_next(&peers->rng),
        .on_change = peers_on_change,
        .ctx = peers,
    };
    text_format(item->ip, sizeof item->ip, "%s", target->ip);
    item->port = target->port;
    item->peer = peer_new(peers->loop, &config);
}

static struct peers_item *peers_add(struct peers *peers, size_t at, const char *uid)
{
    if (peers->count == peers->cap) {
        peers->cap = peers->cap ? peers->cap * 2 : 8;
        peers->items = xrealloc(peers->items, peers->cap, sizeof *peers->items);
    }
    struct peers_item *item = &peers->items[at];
    memmove(item + 1, item, (peers->count - at) * sizeof *item);
    peers->count++;
    *item = (struct peers_item){0};
    text_format(item->uid, sizeof item->uid, "%s", uid);
    return item;
}

static void peers_want(struct peers *peers, const struct peer_target *target)
{
    bool found;
    size_t at = peers_place(peers, target->uid, &found);
    if (!found && peers->count == NODES_MAX)
        return;
    struct peers_item *item = found ? &peers->items[at] : peers_add(peers, at, target->uid);
    if (found && (strcmp(item->ip, target->ip) != 0 || item->port != target->port)) {
        peer_free(item->peer);
        item->peer = NULL;
    }
    if (!item->peer)
        peers_open(peers, item, target);
    item->wanted = true;
    peer_set_rhythm(item->peer, &target->rhythm);
    if (target->read)
        peer_read(item->peer);
    peers->dropped += peer_tidy(item->peer);
}

void peers_sync(struct peers *peers, const struct peer_target *targets, size_t count)
{
    for (size_t i = 0; i < peers->count; i++)
        peers->items[i].wanted = false;
    for (size_t i = 0; i < count; i++)
        if (targets[i].uid[0] && targets[i].port && kube_is_address(span_of(targets[i].ip)))
            peers_want(peers, &targets[i]);
    size_t kept = 0;
    for (size_t i = 0; i < peers->count; i++) {
        struct peers_item item = peers->items[i];
        if (item.wanted)
            peers->items[kept++] = item;
        else
            peer_free(item.peer);
    }
    peers->count = kept;
    if (peers->dropped >= TRIM_AFTER_VIEWS) {
        peers->dropped = 0;
        alloc_trim();
    }
}

struct redis_link *peers_open_link(struct peers *peers, struct redis_link_config *config)
{
    config->bind_ip = peers->bind_ip;
    config->auth = &peers->auth;
    config->tls = &peers->tls;
    config->counters = &peers->counters;
    return redis_link_new(peers->loop, config);
}

const struct redis_auth *peers_auth(const struct peers *peers)
{
    return &peers->auth;
}

struct peer *peers_find(struct peers *peers, const char *uid)
{
    bool found;
    size_t at = peers_place(peers, uid, &found);
    return found ? peers->items[at].peer : NULL;
}

struct span peers_info(const struct peers *peers, const char *uid)
{
    bool found;
    size_t at = peers_place(peers, uid, &found);
    return found ? peer_info(peers->items[at].peer) : span_of("");
}

const struct server *peers_server(const struct peers *peers, const char *uid)
{
    bool found;
    size_t at = peers_place(peers, uid, &found);
    return found ? peer_server(peers->items[at].peer) : NULL;
}

void peers_hurry(struct peers *peers, const char *uid, int64_t period_ms, int64_t until_ms)
{
    if (uid) {
        struct peer *peer = peers_find(peers, uid);
        if (peer)
            peer_hurry(peer, period_ms, until_ms);
        return;
    }
    for (size_t i = 0; i < peers->count; i++)
        peer_hurry(peers->items[i].peer, period_ms, until_ms);
}

size_t peers_count(const struct peers *peers)
{
    return peers->count;
}

struct peer_counters peers_counters(const struct peers *peers)
{
    return peers->counters;
}
