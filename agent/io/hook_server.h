/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's end of the hook's socket: who waits at the gate, whether the server beside us runs,
 * and the answers to its probes. Carries verdicts, makes none.
 *
 * That the server runs is known by its life line, the connection on which its hook was told "go":
 * it is left open across exec, so its end is the server's. A server that was started before this
 * agent has no connection here, but holds the lock on `server.lock` beside the socket; that lock is
 * then looked at every HOOK_LOCK_POLL_MS. Both end with the server: the kernel closes them.
 *
 * The last verdict on readiness is kept in the file `ready` beside the socket, for a hook that is
 * asked while the agent is silent. Every client is bounded: HOOK_CLIENTS_MAX of them, of which the
 * oldest that only asks or has its answer gives way; HOOK_MESSAGE_MAX bytes; HOOK_REQUEST_MS to
 * ask.
 */
#ifndef MUSTER_IO_HOOK_SERVER_H
#define MUSTER_IO_HOOK_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/hook_proto.h"

struct event_base;
struct hook_server;

#define HOOK_REQUEST_MS 5000
#define HOOK_LOCK_POLL_MS 200
/* A "wait" is repeated this often, so that the hook knows a waiting agent from a stopped one. */
#define HOOK_REPEAT_MS 1000

struct hook_server_config {
    struct event_base *base; /* outlives the server */
    int priority;            /* of its events in the base */
    const char *socket_path; /* borrowed; its directory must exist */
    const char *server_ip;   /* where the server beside us listens: copied into the file `ready` */
    uint16_t server_port;
    int64_t (*now_ms)(void); /* a monotonic clock */

    /* A server waits at the gate, with new facts: see hook_server_waiting(). */
    void (*on_start)(void *ctx);
    /* The server that ran has ended: its life line or its lock is gone. Once for each server. */
    void (*on_server_gone)(void *ctx);
    /*
     * preStop asks: HOOK_OK lets the server stop, HOOK_WAIT holds it and is asked again after
     * HOOK_REPEAT_MS, HOOK_NO ends the hook with an error; each with a reason for its log.
     */
    enum hook_verdict (*on_drain)(void *ctx, char reason[HOOK_REASON_SIZE]);
    /* A person opens the gate for the server that waits there now: HOOK_OK or HOOK_NO. */
    enum hook_verdict (*on_open)(void *ctx, char reason[HOOK_REASON_SIZE]);
    /* A person gives up most primaries, which are lost: HOOK_OK or HOOK_NO. */
    enum hook_verdict (*on_takeover)(void *ctx, char reason[HOOK_REASON_SIZE]);
    /*
     * A person orders a failover, a pause or its end, or asks what became of one: HOOK_OK, HOOK_NO or
     * HOOK_WAIT is the answer, HOOK_VERDICT_NONE that a turn gives it, by hook_server_answer_person().
     * Never an order while another one waits for that.
     */
    enum hook_verdict (*on_person)(void *ctx, const struct hook_request *request,
                                   char reason[HOOK_REASON_SIZE]);
    void *ctx;
};

/*
 * Listens at once: a stale socket is replaced, mode 0660. E_INVALID for a path too long for a
 * socket, E_BUSY if another agent answers there, E_SYSTEM (with the path) if it cannot be bound.
 */
must_check int hook_server_new(const struct hook_server_config *config,
                               struct hook_server **ret_server, struct err *err);

/* Closes every connection (a life line's server goes on) and unlinks the socket. Accepts NULL. */
void hook_server_free(struct hook_server *server);

/*
 * What the server that waits at the gate brought, and since when it waits (on now_ms); NULL if none
 * waits. Borrowed until the loop runs again.
 */
const struct hook_facts *hook_server_waiting(const struct hook_server *server,
                                             int64_t *ret_since_ms);

/*
 * The verdict on the one that waits, HOOK_WAIT or HOOK_GO; may be given any number of times, and
 * the same "wait" again costs nothing. After "go" the connection is the life line. E_LIMIT for an
 * answer that does not fit into a message, E_NOT_FOUND with nobody waiting.
 */
must_check int hook_server_answer_start(struct hook_server *server,
                                        const struct hook_answer *answer, struct err *err);

/* preStop asks whether the server may stop; since when it runs, by its own word (on now_ms). */
bool hook_server_draining(const struct hook_server *server, int64_t *ret_since_ms);

/* The verdict for it before it asks again: HOOK_OK, or HOOK_WAIT for another reason than before. */
void hook_server_answer_drain(struct hook_server *server, enum hook_verdict verdict,
                              const char *reason);

/* The answer to the person who waits for it, who is told nothing more. Nothing if nobody does. */
void hook_server_answer_person(struct hook_server *server, enum hook_verdict verdict,
                               const char *reason);

/* The server beside us runs: has a life line, or the lock is held and nobody waits at the gate. */
bool hook_server_server_running(const struct hook_server *server);

/*
 * The verdict that `muster-hook ready` gets from now on, and the file if it changed. Before the
 * first call the verdict in the file stands, which a previous agent may have left.
 */
void hook_server_publish_ready(struct hook_server *server, bool ready, const char *reason);

/* The verdict that stands; false if there was none. */
bool hook_server_last_ready(const struct hook_server *server);

#endif
