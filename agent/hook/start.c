/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "hook/aside.h"
#include "hook/command.h"
#include "hook/data_files.h"
#include "hook/file.h"
#include "hook/link.h"
#include "hook/nodes_file.h"
#include "hook/paths.h"
#include "hook/say.h"
#include "hook/server_conf.h"
#include "hook/verdict.h"
#include "version.h"

#define RETRY_MS 200
#define SAY_AGAIN_MS 10000
#define LOCK_MODE 0660

struct gate {
    const struct start_options *options;
    struct server_conf conf;
    struct hook_request request;
    struct link link;
    int lock_fd;
    int64_t heard_ms; /* when the agent was heard last, or the gate came up */
    char said[2 * HOOK_REASON_SIZE];
    int64_t said_ms;
};

/* ---- what there is ---- */

static void find_data_dir(struct gate *gate, char ret_dir[HOOK_PATH_SIZE])
{
    const char *given = gate->options->data_dir;
    const char *own = gate->conf.dir;
    char cwd[HOOK_PATH_SIZE] = "";
    if (!getcwd(cwd, sizeof cwd))
        cwd[0] = '\0';
    const char *dir = gate->conf.known ? own : "";
    if (!dir[0])
        dir = given ? given : gate->conf.known ? "." : PATHS_DATA_DIR;
    else if (given && strcmp(given, own) != 0)
        say_warn("data-dir", "the server's configuration says dir %s: --data-dir %s is not used",
                 own, given);
    struct err err = {0};
    bool here = strcmp(dir, ".") == 0 || strcmp(dir, "./") == 0;
    if (here)
        text_format(ret_dir, HOOK_PATH_SIZE, "%s", cwd);
    else if (file_join(cwd, dir, ret_dir, HOOK_PATH_SIZE, &err) < 0)
        text_format(ret_dir, HOOK_PATH_SIZE, "%s", dir);
}

/* What the agent noted of the server that ran in this pod before. */
static void read_part(struct gate *gate)
{
    char path[PATHS_SIZE];
    struct err err = {0};
    auto_buf struct buf text;
    buf_init(&text, KIB(1));
    if (paths_beside(gate->options->socket_path, "part", path, &err) < 0 ||
        file_read(path, &text, &err) < 0)
        return;
    struct span rest = {buf_str(&text), text.len};
    struct span line;
    if (span_line(&rest, &line))
        (void)node_id_parse(line, &gate->request.facts.part);
}

static void collect_facts(struct gate *gate)
{
    struct hook_facts *facts = &gate->request.facts;
    char dir[HOOK_PATH_SIZE];
    server_conf_read(gate->options->command, &gate->conf);
    find_data_dir(gate, dir);
    data_files_read(dir, &gate->conf, facts);
    text_format(facts->hook_version, sizeof facts->hook_version, "%s", MUSTER_VERSION);
    facts->pid = getpid();
    read_part(gate);
    memcpy(facts->server, gate->conf.server, sizeof facts->server);
    text_format(facts->argv0, sizeof facts->argv0, "%s", gate->options->command[0]);
    memcpy(facts->config_error, gate->conf.error, sizeof facts->config_error);
    facts->cluster_enabled = gate->conf.cluster_enabled;
    facts->appendonly = gate->conf.appendonly;
    facts->save = gate->conf.save;
    if (facts->config_error[0])
        say_warn("configuration", "%s", facts->config_error);
    if (facts->data_dir_error[0])
        say_warn("data-dir", "%s: if the data is elsewhere, say so by --data-dir",
                 facts->data_dir_error);
    if (facts->nodes_conf_error[0])
        say_warn("nodes-conf", "%s: %s", facts->nodes_conf_file, facts->nodes_conf_error);
}

/* ---- waiting ---- */

/* On change, and every ten seconds so that the end of the log tells why there is no server. */
static void say_waiting(struct gate *gate, const char *reason)
{
    int64_t now = file_now_ms();
    if (strcmp(gate->said, reason) == 0 && now - gate->said_ms < SAY_AGAIN_MS)
        return;
    text_format(gate->said, sizeof gate->said, "%s", reason);
    gate->said_ms = now;
    say_info("waiting", "%s", reason);
}

static void sleep_ms(int64_t ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

/* The lock of the server before us is free as soon as it and its last child are gone. */
static int take_lock(struct gate *gate)
{
    char path[PATHS_SIZE];
    struct err err = {0};
    if (paths_beside(gate->options->socket_path, "server.lock", path, &err) < 0) {
        say_error("cannot-start", "%s", err.msg);
        return -1;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
    if (fd >= 0)
        (void)fchmod(fd, LOCK_MODE); /* against the umask; the agent's user must open it too */
    else
        fd = open(path, O_RDONLY | O_CLOEXEC); /* a read-only mount: the agent makes the file */
    if (fd < 0)
        return -errno;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        say_waiting(gate, "another server of this pod still runs, or a child of it: "
                          "it holds server.lock");
        sleep_ms(RETRY_MS / 2);
    }
    gate->lock_fd = fd;
    return 0;
}

static bool lock_server(struct gate *gate)
{
    for (;;) {
        int r = take_lock(gate);
        if (r == 0)
            return true;
        if (r == -1)
            return false;
        char reason[HOOK_REASON_SIZE];
        text_format(reason, sizeof reason,
                    "cannot open server.lock beside %s (%s): is the agent's volume mounted here?",
                    gate->options->socket_path, strerror(-r));
        say_waiting(gate, reason);
        sleep_ms(RETRY_MS);
    }
}

/* The agent said nothing that could be obeyed: `why`. True when the server may start without it. */
static bool silent_start(struct gate *gate, const char *why)
{
    char verdict[HOOK_REASON_SIZE], reason[2 * HOOK_REASON_SIZE];
    bool may = verdict_without_agent(&gate->request.facts, verdict);
    int64_t limit = gate->options->silent_seconds;
    bool over = file_now_ms() - gate->heard_ms >= limit * 1000;
    if (may && over) {
        say_warn("starting-alone", "the agent was silent for %lld s (%s); %s: starting unchanged",
                 (long long)limit, why, verdict);
        return true;
    }
    if (may)
        text_format(reason, sizeof reason, "%s; after %lld s it starts without: %s", why,
                    (long long)limit, verdict);
    else
        text_format(reason, sizeof reason,
                    "%s; without the agent it does not start: %s. Start the agent of this pod", why,
                    verdict);
    say_waiting(gate, reason);
    return false;
}

/* What the agent answered; true if it was "go". */
static bool obey(struct gate *gate, const struct hook_answer *answer)
{
    char reason[2 * HOOK_REASON_SIZE];
    gate->heard_ms = file_now_ms();
    if (answer->verdict == HOOK_GO)
        return true;
    if (answer->verdict == HOOK_WAIT)
        text_format(reason, sizeof reason, "the agent holds the server back: %s", answer->reason);
    else
        text_format(
            reason, sizeof reason,
            "the agent's answer is not understood (%s): are agent and hook of two releases?",
            answer->reason);
    say_waiting(gate, reason);
    return false;
}

/* True with the agent's "go"; false if the server may start without it. */
static bool wait_for_go(struct gate *gate, struct hook_answer *ret_answer)
{
    gate->heard_ms = file_now_ms();
    for (;;) {
        struct err err = {0};
        auto_hook_answer struct hook_answer answer = {0};
        int64_t deadline = file_now_ms() + RETRY_MS;
        int r = 0;
        if (gate->link.fd < 0)
            r = link_ask(&gate->link, gate->options->socket_path, &gate->request, deadline, &err);
        if (r == 0)
            r = link_hear(&gate->link, deadline, &answer, &err);
        if (r == 0 && obey(gate, &answer)) {
            *ret_answer = answer;
            answer = (struct hook_answer){0};
            return true;
        }
        if (r == 0)
            continue;
        bool quiet = r == E_TIMEOUT && file_now_ms() - gate->heard_ms < SAY_AGAIN_MS / 2;
        if (!quiet && silent_start(gate, err.msg))
            return false;
        if (r != E_TIMEOUT)
            sleep_ms(RETRY_MS);
    }
}

/* ---- starting ---- */

static bool rewrite_nodes(struct gate *gate, const struct hook_answer *answer)
{
    const struct hook_facts *facts = &gate->request.facts;
    struct err err = {0};
    bool changed = false;
    if (!answer->rewrite || facts->nodes_conf != HOOK_NODES_CONF_PRESENT)
        return true;
    if (nodes_file_rewrite(facts->nodes_conf_file, answer, time(NULL), &changed, &err) < 0) {
        say_error("cannot-start", "the new addresses cannot be written: %s; nothing was started",
                  err.msg);
        return false;
    }
    if (changed)
        say_info("nodes-conf", "%s: the addresses of %zu peers are as the agent knows them now",
                 facts->nodes_conf_file, facts->peer_count);
    return true;
}

static bool move_aside(struct gate *gate, const struct hook_answer *answer)
{
    struct err err = {0};
    size_t count = 0;
    if (!answer->aside)
        return true;
    if (aside_move(&gate->conf, &gate->request.facts, time(NULL), &count, &err) < 0) {
        say_error("cannot-start", "the old files cannot be moved aside: %s; nothing was started",
                  err.msg);
        return false;
    }
    say_warn("moved-aside", "%s: %zu old files were renamed to *.muster-aside-*, none was deleted",
             gate->request.facts.data_dir, count);
    return true;
}

static void leave_open(int fd)
{
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, 0);
}

static int become_server(struct gate *gate, const struct hook_answer *answer)
{
    char **argv = command_with_settings(gate->options, &gate->conf, answer);
    say_info("starting", "%s%s", argv[0],
             gate->link.fd < 0 ? " without the agent" : ", as the agent said");
    leave_open(gate->link.fd);
    leave_open(gate->lock_fd);
    (void)execvp(argv[0], argv);
    int code = errno == ENOENT ? 127 : 126;
    say_error("cannot-start", "%s: %s: check the words behind \"--\"", argv[0], strerror(errno));
    free(argv);
    return code;
}

/* PID 1 has no default actions: without this the pod would hang in the gate to the end of grace. */
static void on_signal(int signo)
{
    static const char line[] = "level=info program=muster-hook event=stopped "
                               "msg=\"told to stop while waiting: nothing was started\"\n";
    ssize_t n = write(STDERR_FILENO, line, sizeof line - 1);
    (void)n;
    _exit(128 + signo);
}

static void catch_signals(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        (void)sigaction(signals[i], &action, NULL);
}

int start_run(const struct start_options *options)
{
    struct gate gate = {.options = options, .link = LINK_NONE, .lock_fd = -1};
    gate.request.verb = HOOK_START;
    catch_signals();
    if (!lock_server(&gate))
        return 1;
    collect_facts(&gate);
    auto_hook_answer struct hook_answer answer = {0};
    int code = 1;
    if (!wait_for_go(&gate, &answer))
        link_close(&gate.link);
    if (move_aside(&gate, &answer) && rewrite_nodes(&gate, &answer))
        code = become_server(&gate, &answer);
    link_close(&gate.link);
    hook_request_deinit(&gate.request);
    (void)close(gate.lock_fd);
    return code;
}
