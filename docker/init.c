/* SPDX-License-Identifier: Apache-2.0 */
/*
 * muster-init [SERVER-ARGUMENT...]: the first process of the image muster-redis. It runs the agent
 * and, through its gate, the server; starts again what ends; reaps what others leave behind. On
 * SIGTERM the server is drained, then stopped, and the agent last. Exits as the server did.
 *
 * Environment, all but the last set by the image: SERVER (redis-server or valkey-server),
 * PASSWORD_CONFIG (the file to give the server its password by), MUSTER_HOOK_SOCKET and
 * MUSTER_REDIS_PASSWORDFILE, which are the agent's too.
 *
 * One thread without handlers: all signals are blocked, and taken one after the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONFIG "/etc/muster/redis.conf"
/* For how long a drain waits for an agent that says nothing. */
#define DRAIN_SILENT_SECONDS "5"
#define RESTART_MS 1000
#define PASSWORD_MAX 4096
#define PATH_MAX_BYTES 256
/* What comes before the container's own arguments, and the NULL. */
#define WORDS_MAX 16
/* The agent's configuration is wrong, and would be again. */
#define EXIT_CONFIG 2

enum role { AGENT, SERVER, DRAIN, ROLES };

static const char *const names[ROLES] = {"agent", "server", "drain"};

struct child {
    pid_t pid;        /* 0 = does not run */
    int64_t start_ms; /* when it is to start again; 0 = never */
};

struct init {
    struct child children[ROLES];
    char **server_arguments; /* the container's; NULL at the end */
    const char *server;
    const char *socket_path;
    const char *password_file; /* NULL = no password */
    const char *password_config;
    bool stopping;
    int server_status;
};

static void say(const char *level, const char *text, const char *name, int number)
{
    (void)fprintf(stderr, "level=%s program=muster-init msg=\"%s\" name=%s value=%d\n", level, text,
                  name, number);
}

static _Noreturn void fail(const char *text, const char *name)
{
    say("error", text, name, errno);
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the password ---- */

static size_t read_password(const char *path, char password[PASSWORD_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, password, PASSWORD_MAX);
    if (len < 0)
        fail("the password cannot be read", path);
    (void)close(fd);
    while (len > 0 && (password[len - 1] == '\n' || password[len - 1] == '\r'))
        len--;
    if (len == 0 || len == PASSWORD_MAX)
        fail("the password is empty or too long", path);
    return (size_t)len;
}

static void write_quoted(FILE *file, const char *setting, const char *text, size_t len)
{
    (void)fprintf(file, "%s \"", setting);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"' || text[i] == '\\')
            (void)fputc('\\', file);
        (void)fputc(text[i], file);
    }
    (void)fputs("\"\n", file);
}

/* Redis takes a password from a file only: arguments can be read by every process of the host. */
static void write_password(const struct init *init)
{
    char password[PASSWORD_MAX];
    size_t len = read_password(init->password_file, password);
    int fd = open(init->password_config, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file)
        fail("the password cannot be given to the server", init->password_config);
    write_quoted(file, "requirepass", password, len);
    write_quoted(file, "masterauth", password, len);
    if (fclose(file) != 0)
        fail("the password cannot be given to the server", init->password_config);
    explicit_bzero(password, sizeof password);
}

/* ---- children ---- */

static void start(struct init *init, enum role role, const char *const *argv)
{
    pid_t pid = fork();
    if (pid < 0)
        fail("no further process can be made", names[role]);
    if (pid == 0) {
        sigset_t none;
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
        say("error", "cannot be run", argv[0], errno);
        _exit(127);
    }
    init->children[role] = (struct child){.pid = pid};
}

static void start_server(struct init *init)
{
    const char *words[WORDS_MAX] = {"muster-hook", "start",      "--socket", init->socket_path,
                                    "--",          init->server, CONFIG};
    size_t count = 7, more = 0;
    if (init->password_file) {
        write_password(init);
        words[count++] = "--include";
        words[count++] = init->password_config;
    }
    while (init->server_arguments[more])
        more++;
    const char **argv = calloc(count + more + 1, sizeof *argv);
    if (!argv)
        fail("out of memory", names[SERVER]);
    memcpy(argv, words, count * sizeof *argv);
    memcpy(argv + count, init->server_arguments, more * sizeof *argv);
    start(init, SERVER, argv);
    free((void *)argv);
}

static void start_role(struct init *init, enum role role)
{
    const char *agent[] = {"muster", "agent", NULL};
    const char *drain[] = {
        "muster-hook",        "drain", "--socket", init->socket_path, "--silent-seconds",
        DRAIN_SILENT_SECONDS, NULL};
    if (role == SERVER)
        start_server(init);
    else
        start(init, role, role == AGENT ? agent : drain);
}

/* The next step of stopping that is possible; ends the process with the last. */
static void stop_next(struct init *init)
{
    struct child *children = init->children;
    if (children[DRAIN].pid)
        return;
    if (children[SERVER].pid) {
        (void)kill(children[SERVER].pid, SIGTERM);
    } else if (children[AGENT].pid) {
        (void)kill(children[AGENT].pid, SIGTERM);
    } else {
        say("info", "stopped", names[SERVER], init->server_status);
        exit(init->server_status);
    }
}

static void on_ended(struct init *init, enum role role, int status)
{
    struct child *child = &init->children[role];
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    *child = (struct child){0};
    if (role == SERVER)
        init->server_status = code;
    if (init->stopping) {
        stop_next(init);
    } else if (role == AGENT && code == EXIT_CONFIG) {
        exit(code);
    } else {
        say("warn", "ended, and starts again", names[role], code);
        child->start_ms = now_ms() + RESTART_MS;
    }
}

static void reap(struct init *init)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (int role = 0; role < ROLES; role++)
            if (init->children[role].pid == pid)
                on_ended(init, (enum role)role, status);
}

static void on_stop(struct init *init)
{
    if (init->stopping)
        return;
    init->stopping = true;
    say("info", "draining", names[SERVER], 0);
    init->children[AGENT].start_ms = init->children[SERVER].start_ms = 0;
    if (init->children[SERVER].pid)
        start_role(init, DRAIN);
    else
        stop_next(init);
}

/* ---- the loop ---- */

/* Starts what is due; returns how long it is until the next, -1 = for ever. */
static int64_t start_due(struct init *init)
{
    int64_t now = now_ms(), wait = -1;
    for (int role = 0; role < ROLES; role++) {
        int64_t left = init->children[role].start_ms - now;
        if (!init->children[role].start_ms)
            continue;
        if (left <= 0)
            start_role(init, (enum role)role);
        else if (wait < 0 || left < wait)
            wait = left;
    }
    return wait;
}

static void run(struct init *init, const sigset_t *signals)
{
    for (;;) {
        int64_t wait = start_due(init);
        struct timespec time = {.tv_sec = wait / 1000, .tv_nsec = wait % 1000 * 1000000};
        int signo = wait < 0 ? sigwaitinfo(signals, NULL) : sigtimedwait(signals, NULL, &time);
        if (signo == SIGCHLD)
            reap(init);
        else if (signo > 0)
            on_stop(init);
    }
}

static void read_environment(struct init *init)
{
    const char *password_file = getenv("MUSTER_REDIS_PASSWORDFILE");
    init->server = getenv("SERVER");
    init->socket_path = getenv("MUSTER_HOOK_SOCKET");
    init->password_config = getenv("PASSWORD_CONFIG");
    init->password_file = password_file && password_file[0] ? password_file : NULL;
    if (!init->server || !init->socket_path || !init->password_config)
        fail("the image sets these, and they are away: SERVER, MUSTER_HOOK_SOCKET or",
             "PASSWORD_CONFIG");
}

/* The socket's folder, where the agent keeps its record too: in the volume, which is empty at first. */
static void make_folder(const char *socket_path)
{
    char path[PATH_MAX_BYTES];
    const char *slash = strrchr(socket_path, '/');
    size_t len = slash ? (size_t)(slash - socket_path) : 0;
    if (len == 0 || len >= sizeof path)
        fail("is no path of a socket", socket_path);
    memcpy(path, socket_path, len);
    path[len] = '\0';
    if (mkdir(path, 0770) < 0 && errno != EEXIST)
        fail("the folder cannot be made", path);
}

int main(int argc, char **argv)
{
    static struct init init;
    sigset_t signals;
    (void)argc;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGCHLD);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    init.server_arguments = argv + 1;
    read_environment(&init);
    make_folder(init.socket_path);
    start_role(&init, AGENT);
    start_role(&init, SERVER);
    run(&init, &signals);
}
