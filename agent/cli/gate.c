/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/gate.h"

#include <string.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "cli/ask.h"
#include "cli/hook_ask.h"
#include "cli/show.h"
#include "cli/table.h"

void gate_help(FILE *to)
{
    (void)fputs("usage: muster gate list [--address HOST:PORT]\n"
                "       muster gate open [POD] [--socket PATH]\n\n"
                "list  the servers that are held back at their gates, what they have and wait for\n"
                "open  lets the server beside this agent start as it is. It is held because its\n"
                "      start may cost data: the replicas of an empty primary throw theirs away.\n"
                "      The agent's log says what it waits for. Run it in the pod itself:\n"
                "      kubectl exec POD -c agent -- muster gate open POD\n",
                to);
}

static int gate_list(const struct cli *cli, const char *address)
{
    struct cli_target target;
    struct cli_answer answer = {.note = ""};
    struct err err = {0};
    struct arena arena;
    size_t held = 0;
    arena_init(&arena, MIB(64));
    int r = cli_target_find(address, cli->env, &target, &err);
    if (r == 0)
        r = cli_ask(&target, &arena, &answer, &err);
    if (r < 0) {
        (void)fprintf(cli->err, "muster gate list: %s\n", err.msg);
        arena_deinit(&arena);
        return CLI_FAILED;
    }
    for (size_t i = 0; i < answer.status.pod_count; i++) {
        const struct status_pod *pod = &answer.status.pods[i];
        if (!pod->gate[0])
            continue;
        held++;
        auto_buf struct buf line;
        buf_init(&line, KIB(1));
        cli_put_safe(&line, span_of(pod->name));
        (void)buf_append_str(&line, "  ");
        cli_put_safe(&line, span_of(pod->gate));
        if (pod->gate_why[0])
            (void)buf_append_str(&line, ": ");
        cli_put_safe(&line, span_of(pod->gate_why));
        (void)fprintf(cli->out, "%s\n", buf_str(&line));
    }
    if (!held)
        (void)fprintf(cli->out, "no server waits at a gate\n");
    if (answer.note[0])
        (void)fprintf(cli->err, "muster gate list: %s\n", answer.note);
    arena_deinit(&arena);
    return CLI_OK;
}

static int gate_open(const struct cli *cli, const char *pod, const char *path)
{
    const char *own = cli->env("POD_NAME");
    if (pod && own && own[0] && strcmp(pod, own) != 0) {
        (void)fprintf(cli->err,
                      "muster gate open: this is the agent of %s; run it beside that server: "
                      "kubectl exec %s -c agent -- muster gate open %s\n",
                      own, pod, pod);
        return CLI_USAGE;
    }
    return hook_tell(cli, "gate open", path, &(struct hook_request){.verb = HOOK_OPEN});
}

int gate_run(const struct cli *cli, int argc, char **argv)
{
    const char *verb = argc > 0 ? argv[0] : "";
    const char *pod = NULL;
    const char *address = NULL;
    const char *path = NULL;
    bool list = strcmp(verb, "list") == 0;
    bool open = strcmp(verb, "open") == 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            list = open = false;
        else if (list && strcmp(argv[i], "--address") == 0 && i + 1 < argc)
            address = argv[++i];
        else if (open && strcmp(argv[i], "--socket") == 0 && i + 1 < argc)
            path = argv[++i];
        else if (open && !pod && argv[i][0] != '-')
            pod = argv[i];
        else {
            (void)fprintf(cli->err, "muster gate %s: what is '%s'?\n", verb, argv[i]);
            return CLI_USAGE;
        }
    }
    if (list)
        return gate_list(cli, address);
    if (open)
        return gate_open(cli, pod, path);
    bool asked = strcmp(verb, "--help") == 0 || (argc > 1 && strcmp(argv[1], "--help") == 0);
    gate_help(asked ? cli->out : cli->err);
    return asked ? CLI_OK : CLI_USAGE;
}

void takeover_help(FILE *to)
{
    (void)fputs(
        "usage: muster takeover --yes [--socket PATH]\n\n"
        "Most primaries are lost for good, and nobody can be elected: the replicas that have\n"
        "most take over their slots, one shard after the other (CLUSTER FAILOVER TAKEOVER).\n"
        "What those replicas lack is lost. The agent that leads refuses as long as a lost\n"
        "primary could run where it is only not heard: its pod must be gone, which Kubernetes\n"
        "says once its node is known to be off. `muster plan` says who leads.\n",
        to);
}

int takeover_run(const struct cli *cli, int argc, char **argv)
{
    const char *path = NULL;
    bool yes = false;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            takeover_help(cli->out);
            return CLI_OK;
        }
        if (strcmp(argv[i], "--socket") == 0 && i + 1 < argc) {
            path = argv[++i];
        } else if (strcmp(argv[i], "--yes") == 0) {
            yes = true;
        } else {
            (void)fprintf(cli->err, "muster takeover: what is '%s'?\n", argv[i]);
            return CLI_USAGE;
        }
    }
    if (yes)
        return hook_tell(cli, "takeover", path, &(struct hook_request){.verb = HOOK_TAKEOVER});
    takeover_help(cli->err);
    return CLI_USAGE;
}
