/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hook server from within: only hook_server.c, which carries the connections, and hook_owner.c, which
 * is what the owner asks and says, include this.
 */
#ifndef MUSTER_IO_HOOK_CLIENT_H
#define MUSTER_IO_HOOK_CLIENT_H

#include "base/buf.h"
#include "io/hook_files.h"
#include "io/hook_server.h"

struct event;

enum client_state {
    CLIENT_ASKING = 1, /* its request is not complete */
    CLIENT_AT_GATE,
    CLIENT_LIFE_LINE,
    CLIENT_DRAINING,
    CLIENT_PERSON,  /* waits for what its order came to */
    CLIENT_LEAVING, /* answered: closed as soon as all is written */
};

struct hook_client {
    struct hook_client *next;
    struct hook_server *server;
    int fd;
    enum client_state state;
    struct event *readable;
    struct event *writable;
    struct event *timer;
    struct hook_reader reader;
    struct buf out;
    struct hook_request request;
    int64_t since_ms;
    char said[HOOK_REASON_SIZE]; /* the reason of the last "wait" */
};

struct hook_server {
    struct hook_server_config config;
    char lock_path[HOOK_FILE_PATH_SIZE];
    char ready_path[HOOK_FILE_PATH_SIZE];
    int fd;
    struct event *acceptable;
    struct event *lock_timer;
    struct hook_client *clients; /* newest first; owned */
    size_t client_count;
    int lock_polls;       /* how often in a row the lock was held without anybody at the gate */
    bool running_by_lock; /* a server without a life line was seen to run */
    int64_t dead_ms;      /* when the last life line ended */
    bool ready;
    bool ready_known; /* published, not only read from the file */
    char ready_reason[HOOK_REASON_SIZE];
};

/* The newest in this state, or NULL. */
struct hook_client *hook_client_find(const struct hook_server *server, enum client_state state);

/* Writes what can be written now. False if the client is gone by that. */
bool hook_client_flush(struct hook_client *client);

/* Queues the answer without sending it. */
int hook_client_say(struct hook_client *client, const struct hook_answer *answer, struct err *err);

/* One short answer, which always fits. The client may be gone after it. */
void hook_client_answer(struct hook_client *client, enum hook_verdict verdict, const char *reason);

#endif
