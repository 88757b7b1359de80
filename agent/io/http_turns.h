/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to one server that follow one another, so that each takes the connection of the one
 * before instead of making its own: a TLS handshake costs both ends more than the request does, and
 * the agents of a whole StatefulSet start at one time.
 *
 * One is under way until it is answered; a stream, which has a connection of its own, until it is
 * open. A stream waits for all others, a request for requests only. When nothing is answered for
 * HTTP_TURN_MS the next one begins beside what hangs.
 */
#ifndef MUSTER_IO_HTTP_TURNS_H
#define MUSTER_IO_HTTP_TURNS_H

#include <stdbool.h>
#include <stddef.h>

#include "io/loop.h"

#define HTTP_TURN_MS 250

/* Embedded in a request; zero = has not asked. */
struct http_turn {
    struct http_turn *next;
    struct loop_deferred begin;
    loop_fn on_turn;
    void *ctx;
    bool stream;
    bool waiting;
    bool under_way;
};

struct http_turns {
    struct loop *loop;
    struct loop_timer *timer; /* owned: nothing was answered for too long */
    struct http_turn *first;  /* waiting, in order: streams last */
    size_t requests;          /* under way */
    size_t streams;           /* being opened */
};

void http_turns_init(struct http_turns *turns, struct loop *loop);

/* What waits or is under way must have ended before. */
void http_turns_deinit(struct http_turns *turns);

/* `on_turn` is called once, from the loop and never from within this. */
void http_turn_ask(struct http_turns *turns, struct http_turn *turn, bool stream, loop_fn on_turn,
                   void *ctx);

/* Answered, open, failed or given up; more than once is the same as once. */
void http_turn_end(struct http_turns *turns, struct http_turn *turn);

#endif
