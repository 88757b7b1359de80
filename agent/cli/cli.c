/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "cli/ask.h"
#include "cli/gate.h"
#include "cli/options.h"
#include "cli/people.h"
#include "cli/show.h"
#include "cli/table.h"
#include "version.h"
#include "wire/status_json.h"

#define WATCH_PERIOD_MS 1000
/* An answer of STATUS_JSON_MAX and what is printed of it. */
#define CLI_ARENA_MAX MIB(64)

struct command {
    const char *verb;
    void (*show)(const struct show *show, const struct cli_answer *answer);
    void (*show_json)(const struct show *show, const struct cli_answer *answer);
    bool is_check; /* its exit code says how the cluster is */
    const char *purpose;
    const char *help;
};

static const struct command COMMANDS[] = {
    {"status", show_status, show_status_json, false, "the cluster in one table",
     "Who serves what and where, how far replicas are behind, what the weakest spot is, and what\n"
     "the leader does now. LAG and MEMORY are bytes; \"-\" is unknown.\n"},
    {"plan", show_plan, show_plan_json, false, "what is done now, and why",
     "The rule that speaks, its reason and its actions, then all rules in the order in which they\n"
     "are asked. An agent that does not lead plans for its own server only.\n\n"
     "With --replicas N: what another number of pods would mean: which slots, and about how many\n"
     "keys and bytes, would have to move from whom to whom, and whether they fit into maxmemory.\n"
     "Nothing is changed. Exits 0 if nothing stands against it, 1 if they do not fit, or if slots\n"
     "would be left without a server, 3 if memory or maxmemory of a server is not known.\n"},
    {"check", show_check, show_check_json, true, "which promises are held, as an exit code",
     "Exits 0 if the cluster is healthy, 1 if it works but a promise is not held, 2 if it is "
     "broken\n"
     "(a slot is not served, or the majority of the primaries is lost), 3 if that cannot be "
     "told.\n"},
};

static const char OPTIONS[] =
    "  --address HOST:PORT  the agent to ask: a literal IP or localhost, with or without port\n"
    "                       (else MUSTER_HTTP_ADDRESS, POD_IP or 127.0.0.1; port\n"
    "                       MUSTER_HTTP_PORT or 8008)\n"
    "  --replicas N         plan only: an estimate of scaling to N pods\n"
    "  --json               one line of JSON\n"
    "  --watch              again each second, until interrupted\n"
    "  --help               this text\n";

/* What changes something, by the agent beside. */
static const struct order {
    const char *verb;
    int (*run)(const struct cli *cli, int argc, char **argv);
    void (*help)(FILE *to);
    const char *purpose;
} ORDERS[] = {
    {"gate", gate_run, gate_help, "who waits at a gate; let one start"},
    {"failover", failover_run, failover_help, "make a replica its shard's primary"},
    {"pause", pause_run, pause_help, "do nothing but what keeps the cluster alive"},
    {"resume", resume_run, resume_help, "end a pause"},
    {"takeover", takeover_run, takeover_help, "give up primaries that are lost"},
};

static const struct order *find_order(const char *verb)
{
    for (size_t i = 0; i < ARRAY_LEN(ORDERS); i++)
        if (strcmp(ORDERS[i].verb, verb) == 0)
            return &ORDERS[i];
    return NULL;
}

static void put_usage(FILE *to)
{
    (void)fputs("usage: muster COMMAND [OPTION...]\n\n", to);
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
        (void)fprintf(to, "  %-8s %s\n", COMMANDS[i].verb, COMMANDS[i].purpose);
    for (size_t i = 0; i < ARRAY_LEN(ORDERS); i++)
        (void)fprintf(to, "  %-8s %s\n", ORDERS[i].verb, ORDERS[i].purpose);
    (void)fprintf(to, "  %-8s %s\n", "agent", "the daemon beside a server");
    (void)fprintf(to, "  %-8s %s\n", "version", "version and commit");
    (void)fprintf(to, "  %-8s %s\n", "help", "this text, or that of a command");
    (void)fprintf(to, "\nOptions of status, plan and check:\n%s", OPTIONS);
}

static void put_help(FILE *to, const struct command *command)
{
    (void)fprintf(to, "usage: muster %s [OPTION...]\n\n%s\n%s", command->verb, command->help,
                  OPTIONS);
}

/* One line, whatever the text holds. */
static void put_error(const struct cli *cli, const char *verb, const char *text)
{
    auto_buf struct buf line;
    buf_init(&line, KIB(8));
    cli_put_safe(&line, span_of(verb));
    (void)buf_append_str(&line, ": ");
    cli_put_safe(&line, span_of(text));
    (void)fprintf(cli->err, "muster %s\n", buf_str(&line));
}

static bool wants_colour(const struct cli *cli)
{
    const char *no_colour = cli->env("NO_COLOR");
    const char *terminal = cli->env("TERM");
    if (no_colour && no_colour[0])
        return false;
    return cli->tty && terminal && strcmp(terminal, "dumb") != 0;
}

/* `plan --replicas N`. */
static int run_scaling(const struct cli *cli, const struct cli_options *options,
                       const struct show *show, const struct cli_answer *answer)
{
    struct scaling scaling;
    struct err err = {0};
    if (scaling_find(&answer->status, (unsigned)options->replicas, show->arena, &scaling, &err) <
        0) {
        put_error(cli, "plan", err.msg);
        return CLI_FAILED;
    }
    if (options->json)
        show_scaling_json(show, &scaling);
    else
        show_scaling(show, answer->note, &scaling);
    if (scaling.fits == HELD_NO || scaling.unserved_count)
        return CLI_FAILED;
    return scaling.fits == HELD_YES ? CLI_OK : CLI_UNKNOWN;
}

/* One frame into `out`; returns the exit code so far. */
static int run_once(const struct cli *cli, const struct command *command,
                    const struct cli_options *options, const struct cli_target *target,
                    struct arena *arena, struct buf *out)
{
    struct cli_answer answer;
    struct err err = {0};
    const struct show show = {out, arena, wants_colour(cli) && !options->json};
    if (cli_ask(target, arena, &answer, &err) < 0) {
        put_error(cli, command->verb, err.msg);
        return command->is_check ? CHECK_UNKNOWN : CLI_FAILED;
    }
    if (options->json && answer.note[0])
        put_error(cli, command->verb, answer.note);
    int code = command->is_check ? (int)answer.status.check : CLI_OK;
    if (options->replicas >= 0)
        code = run_scaling(cli, options, &show, &answer);
    else if (options->json)
        command->show_json(&show, &answer);
    else
        command->show(&show, &answer);
    if (out->failed) {
        buf_clear(out);
        put_error(cli, command->verb, "the answer is too long");
        return command->is_check ? CHECK_UNKNOWN : CLI_FAILED;
    }
    return code;
}

/* A terminal is redrawn in one write, without a moment of emptiness; anything else is appended to. */
static void put_frame(const struct cli *cli, bool redraw, unsigned frame, const struct buf *text)
{
    if (!redraw) {
        if (frame > 0)
            (void)fputs("\n", cli->out);
        (void)fwrite(buf_str(text), 1, text->len, cli->out);
        (void)fflush(cli->out);
        return;
    }
    struct span rest = {buf_str(text), text->len};
    struct span line;
    (void)fputs(frame > 0 ? "\033[H" : "\033[2J\033[H", cli->out);
    while (span_line(&rest, &line))
        (void)fprintf(cli->out, "%.*s\033[K\n", (int)line.len, line.ptr);
    (void)fputs("\033[J", cli->out);
    (void)fflush(cli->out);
}

static int run_command(const struct cli *cli, const struct command *command,
                       const struct cli_options *options, const struct cli_target *target)
{
    struct arena arena;
    auto_buf struct buf text;
    int code;
    arena_init(&arena, CLI_ARENA_MAX);
    buf_init(&text, SHOW_TEXT_MAX);
    for (unsigned frame = 0;;) {
        code = run_once(cli, command, options, target, &arena, &text);
        if (text.len)
            put_frame(cli, options->watch && cli->tty && !options->json, options->json ? 0 : frame,
                      &text);
        if (!options->watch || ++frame == cli->frames)
            break;
        arena_reset(&arena);
        buf_clear(&text);
        (void)poll(NULL, 0, WATCH_PERIOD_MS);
    }
    arena_deinit(&arena);
    return code;
}

static const struct command *find_command(const char *verb)
{
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
        if (strcmp(COMMANDS[i].verb, verb) == 0)
            return &COMMANDS[i];
    return NULL;
}

static bool is_one_of(const char *verb, const char *word, const char *option, const char *letter)
{
    return strcmp(verb, word) == 0 || strcmp(verb, option) == 0 || strcmp(verb, letter) == 0;
}

static int run_help(const struct cli *cli, const char *verb)
{
    const struct command *command = verb ? find_command(verb) : NULL;
    const struct order *order = verb ? find_order(verb) : NULL;
    if (command)
        put_help(cli->out, command);
    else if (order)
        order->help(cli->out);
    else
        put_usage(cli->out);
    return CLI_OK;
}

static int run_version(const struct cli *cli, bool json)
{
    (void)fprintf(cli->out, json ? "{\"version\":\"%s\",\"commit\":\"%s\"}\n" : "muster %s (%s)\n",
                  MUSTER_VERSION, MUSTER_COMMIT);
    return CLI_OK;
}

/* A wrong argument: for `check` too, for 2 would be taken for a broken cluster. */
static int refuse(const struct cli *cli, const char *verb, bool is_check, const char *text)
{
    put_error(cli, verb, text);
    (void)fprintf(cli->err, "usage: muster %s --help\n", verb);
    return is_check ? CHECK_UNKNOWN : CLI_USAGE;
}

int cli_run(const struct cli *cli, int argc, char **argv)
{
    struct cli_options options;
    struct cli_target target;
    struct err err = {0};
    const char *verb = argc > 1 ? argv[1] : "";
    if (is_one_of(verb, "help", "--help", "-h"))
        return run_help(cli, argc > 2 ? argv[2] : NULL);
    const struct order *order = find_order(verb);
    if (order)
        return order->run(cli, argc - 2, argv + 2);
    const struct command *command = find_command(verb);
    bool version = is_one_of(verb, "version", "--version", "-V");
    if (!command && !version) {
        if (verb[0])
            put_error(cli, verb, "there is no such command");
        put_usage(cli->err);
        return CLI_USAGE;
    }
    bool is_check = command && command->is_check;
    if (cli_options_parse(argc - 2, argv + 2, &options, &err) < 0)
        return refuse(cli, verb, is_check, err.msg);
    if (options.help)
        return run_help(cli, verb);
    if (options.replicas >= 0 && strcmp(verb, "plan") != 0)
        return refuse(cli, verb, is_check, "--replicas is for plan only");
    if (version)
        return run_version(cli, options.json);
    if (cli_target_find(options.address, cli->env, &target, &err) < 0)
        return refuse(cli, verb, is_check, err.msg);
    return run_command(cli, command, &options, &target);
}

static const char *process_env(const char *name)
{
    return getenv(name);
}

int cli_main(int argc, char **argv)
{
    const struct cli cli = {
        .out = stdout, .err = stderr, .env = process_env, .tty = isatty(STDOUT_FILENO) == 1};
    return cli_run(&cli, argc, argv);
}
