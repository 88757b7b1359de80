/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_turns.h"

static size_t *turns_count(struct http_turns *turns, const struct http_turn *turn)
{
    return turn->stream ? &turns->streams : &turns->requests;
}

static void turns_begin(struct http_turns *turns)
{
    struct http_turn *turn = turns->first;
    turns->first = turn->next;
    turn->waiting = false;
    turn->under_way = true;
    ++*turns_count(turns, turn);
    loop_defer(turns->loop, &turn->begin, turn->on_turn, turn->ctx);
}

static void turns_next(struct http_turns *turns)
{
    const struct http_turn *turn = turns->first;
    if (turn && !turns->requests && (!turn->stream || !turns->streams))
        turns_begin(turns);
    if (!turns->first)
        loop_timer_disarm(turns->timer);
    else if (!loop_timer_armed(turns->timer))
        loop_timer_arm(turns->timer, HTTP_TURN_MS);
}

static void turns_on_timer(void *ctx)
{
    struct http_turns *turns = ctx;
    turns_begin(turns);
    turns_next(turns);
}

void http_turns_init(struct http_turns *turns, struct loop *loop)
{
    *turns = (struct http_turns){.loop = loop};
    turns->timer = loop_timer_new(loop, turns_on_timer, turns);
}

void http_turns_deinit(struct http_turns *turns)
{
    loop_timer_free(turns->timer);
    *turns = (struct http_turns){0};
}

void http_turn_ask(struct http_turns *turns, struct http_turn *turn, bool stream, loop_fn on_turn,
                   void *ctx)
{
    struct http_turn **at = &turns->first;
    while (*at && (stream || !(*at)->stream))
        at = &(*at)->next;
    *turn = (struct http_turn){
        .next = *at, .on_turn = on_turn, .ctx = ctx, .stream = stream, .waiting = true};
    *at = turn;
    turns_next(turns);
}

static void turns_remove(struct http_turns *turns, struct http_turn *turn)
{
    struct http_turn **at = &turns->first;
    while (*at != turn)
        at = &(*at)->next;
    *at = turn->next;
    turn->waiting = false;
}

void http_turn_end(struct http_turns *turns, struct http_turn *turn)
{
    if (turn->waiting) {
        turns_remove(turns, turn);
        turns_next(turns);
        return;
    }
    if (!turn->under_way)
        return;
    turn->under_way = false;
    --*turns_count(turns, turn);
    loop_undefer(turns->loop, &turn->begin);
    loop_timer_disarm(turns->timer);
    turns_next(turns);
}
