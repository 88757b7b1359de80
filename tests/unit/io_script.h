/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of io need around them: the loop run until something holds, a scripted server in
 * processes of its own (one per connection), and a real Redis server.
 */
#ifndef MUSTER_TESTS_IO_SCRIPT_H
#define MUSTER_TESTS_IO_SCRIPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "io/loop.h"

#define IO_LINES_MAX 256
#define IO_LINE_SIZE 1024

/* Memory that the test and the server's processes share. */
struct io_shared {
    atomic_int connections;
    atomic_int requests;
    atomic_int stage;                       /* for the script's own use */
    char lines[IO_LINES_MAX][IO_LINE_SIZE]; /* "GET /path HTTP/1.1", in order of arrival */
    char bearers[IO_LINES_MAX][64];         /* the token sent with it */
};

/* Serves one connection and returns; `nth` counts connections from 0. */
typedef void (*io_serve_fn)(int fd, struct io_shared *shared, int nth);

struct io_script {
    pid_t pid;
    uint16_t port;
    struct io_shared *shared;
};

void io_script_start(struct io_script *script, io_serve_fn serve);
void io_script_stop(struct io_script *script);

/* A loopback port that nothing listens on now, and neither on the one 10000 above it. */
uint16_t io_free_port(void);

/* Reads one request into shared->lines; its index, or -1 at the end. The body goes to `body`. */
int io_http_read(int fd, struct io_shared *shared, char *body, size_t size);

/* A whole answer; `headers` are further lines, each ended by \r\n. */
void io_http_answer(int fd, int status, const char *headers, const char *body);

/* The head of a chunked answer, and a chunk of it; "" is the end. */
void io_http_open(int fd);
void io_http_chunk(int fd, const char *text);

/* Sends the text; blocks. */
void io_send(int fd, const char *text);

/* Does nothing until the connection or the test ends. */
void io_hold(int fd);

/* The number of recorded requests whose line contains the text. */
int io_count_lines(const struct io_shared *shared, const char *text);

/* Runs the loop until `holds` does, at most `limit_ms`; false if it never did. */
bool io_run_until(struct loop *loop, bool (*holds)(void *ctx), void *ctx, int64_t limit_ms);

/* Threads of this process: there is to be one. */
int io_count_threads(void);

/* A Redis 7.0 on loopback in a directory of its own, without persistence. */
struct io_redis {
    pid_t pid;
    uint16_t port;
    char dir[64];
};

/* `options`: further arguments, ended by NULL. Port 0: any. Waits until it accepts connections. */
void io_redis_start(struct io_redis *redis, const char *const *options);
void io_redis_stop(struct io_redis *redis);

#endif
