/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/io_script.h"

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "io/clock.h"

static struct sockaddr_in io_loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static bool io_bind(int fd, uint16_t port)
{
    struct sockaddr_in address = io_loopback(port);
    return bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
}

static uint16_t io_port_of(int fd)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;
    int rc = getsockname(fd, (struct sockaddr *)&address, &size);
    assert(rc == 0);
    (void)rc;
    return ntohs(address.sin_port);
}

uint16_t io_free_port(void)
{
    for (;;) {
        auto_close int low = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        auto_close int high = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (!io_bind(low, 0))
            continue;
        uint16_t port = io_port_of(low);
        if (port < 55000 && io_bind(high, (uint16_t)(port + 10000)))
            return port;
    }
}

/* For a child of `parent`: it dies with it, also when that happened already. */
static void io_die_with(pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
}

static void io_become_child(pid_t parent)
{
    io_die_with(parent);
    (void)signal(SIGCHLD, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
}

static void io_accept_all(int listener, struct io_shared *shared, io_serve_fn serve)
{
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            continue;
        int nth = atomic_fetch_add(&shared->connections, 1);
        pid_t parent = getpid();
        if (fork() == 0) {
            io_die_with(parent);
            close(listener);
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
            serve(fd, shared, nth);
            _exit(0);
        }
        close(fd);
    }
}

void io_script_start(struct io_script *script, io_serve_fn serve)
{
    script->shared = mmap(NULL, sizeof *script->shared, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(script->shared != MAP_FAILED);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ready = io_bind(listener, 0) && listen(listener, 64) == 0;
    assert(ready);
    (void)ready;
    script->port = io_port_of(listener);
    pid_t parent = getpid();
    script->pid = fork();
    assert(script->pid >= 0);
    if (script->pid == 0) {
        io_become_child(parent);
        io_accept_all(listener, script->shared, serve);
    }
    close(listener);
}

void io_script_stop(struct io_script *script)
{
    (void)kill(script->pid, SIGKILL); /* its children die with it */
    (void)waitpid(script->pid, NULL, 0);
    (void)munmap(script->shared, sizeof *script->shared);
}

void io_send(int fd, const char *text)
{
    size_t len = strlen(text);
    while (len) {
        ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        len -= (size_t)sent;
    }
}

void io_hold(int fd)
{
    char byte[256];
    while (read(fd, byte, sizeof byte) > 0)
        ;
}

static const char *io_header(const char *head, const char *name)
{
    const char *found = strcasestr(head, name);
    return found ? found + strlen(name) : NULL;
}

static void io_copy_word(char *dst, size_t size, const char *from)
{
    size_t len = from ? strcspn(from, "\r\n") : 0;
    text_format(dst, size, "%.*s", (int)len, from ? from : "");
}

int io_http_read(int fd, struct io_shared *shared, char *body, size_t size)
{
    char head[16384];
    size_t len = 0;
    while (len < sizeof head - 1) {
        if (read(fd, head + len, 1) != 1)
            return -1;
        head[++len] = '\0';
        if (len >= 4 && strcmp(head + len - 4, "\r\n\r\n") == 0)
            break;
    }
    uint64_t want = 0;
    char length[32];
    io_copy_word(length, sizeof length, io_header(head, "\r\nContent-Length: "));
    (void)text_to_u64(span_of(length), 1 << 20, &want);
    for (size_t got = 0; got < want; got++) {
        char byte;
        if (read(fd, &byte, 1) != 1)
            return -1;
        if (body && got + 1 < size) {
            body[got] = byte;
            body[got + 1] = '\0';
        }
    }
    int nth = atomic_fetch_add(&shared->requests, 1);
    if (nth >= IO_LINES_MAX)
        return -1;
    io_copy_word(shared->bearers[nth], sizeof shared->bearers[nth],
                 io_header(head, "\r\nAuthorization: Bearer "));
    io_copy_word(shared->lines[nth], IO_LINE_SIZE, head);
    return nth;
}

void io_http_answer(int fd, int status, const char *headers, const char *body)
{
    char head[512];
    text_format(head, sizeof head, "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\n%s\r\n", status,
                strlen(body), headers);
    io_send(fd, head);
    io_send(fd, body);
}

void io_http_open(int fd)
{
    io_send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

void io_http_chunk(int fd, const char *text)
{
    char head[32];
    text_format(head, sizeof head, "%zx\r\n", strlen(text));
    io_send(fd, head);
    io_send(fd, text);
    io_send(fd, "\r\n");
}

int io_count_lines(const struct io_shared *shared, const char *text)
{
    int count = 0;
    for (int i = 0; i < IO_LINES_MAX && i < shared->requests; i++)
        count += strstr(shared->lines[i], text) != NULL;
    return count;
}

bool io_run_until(struct loop *loop, bool (*holds)(void *ctx), void *ctx, int64_t limit_ms)
{
    int64_t end_ms = clock_mono_ms() + limit_ms;
    while (!holds(ctx)) {
        if (clock_mono_ms() > end_ms)
            return false;
        (void)loop_run_for(loop, 5);
    }
    return true;
}

int io_count_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    int count = 0;
    assert(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* ---- Redis ---- */

static void io_redis_path(char *dst, size_t size)
{
    FILE *pipe = popen(MUSTER_TESTS_DIR "/lib/server.sh redis-7.0", "r");
    assert(pipe);
    char line[512] = "";
    char *got = fgets(line, sizeof line, pipe);
    (void)pclose(pipe);
    assert(got);
    (void)got;
    io_copy_word(dst, size, line);
}

static bool io_is_listening(uint16_t port)
{
    auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = io_loopback(port);
    return connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
}

static void io_redis_exec(const struct io_redis *redis, const char *path,
                          const char *const *options)
{
    char port[16];
    text_format(port, sizeof port, "%u", redis->port);
    const char *args[32] = {path,  "--port",       port, "--bind", "127.0.0.1", "--cluster-enabled",
                            "yes", "--appendonly", "no", "--save", "",          "--logfile",
                            "log"};
    size_t count = 13;
    while (*options)
        args[count++] = *options++;
    args[count] = NULL;
    if (chdir(redis->dir) == 0)
        (void)execv(path, (char *const *)(uintptr_t)args);
    _exit(127);
}

void io_redis_start(struct io_redis *redis, const char *const *options)
{
    char path[512];
    io_redis_path(path, sizeof path);
    text_format(redis->dir, sizeof redis->dir, "/tmp/muster-io-XXXXXX");
    char *made = mkdtemp(redis->dir);
    assert(made);
    (void)made;
    if (!redis->port)
        redis->port = io_free_port();
    pid_t parent = getpid();
    redis->pid = fork();
    assert(redis->pid >= 0);
    if (redis->pid == 0) {
        io_die_with(parent);
        io_redis_exec(redis, path, options);
    }
    for (int i = 0; i < 500 && !io_is_listening(redis->port); i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert(io_is_listening(redis->port));
}

void io_redis_stop(struct io_redis *redis)
{
    if (!redis->pid)
        return;
    (void)kill(redis->pid, SIGKILL);
    (void)waitpid(redis->pid, NULL, 0);
    redis->pid = 0;
    static const char *const files[] = {"log", "nodes.conf", "dump.rdb"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        text_format(path, sizeof path, "%s/%s", redis->dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(redis->dir);
}
