/* SPDX-License-Identifier: Apache-2.0 */
/* muster-hook: what runs inside the server's container. See usage below. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "hook/install.h"
#include "hook/paths.h"
#include "hook/probe.h"
#include "hook/say.h"
#include "hook/start.h"
#include "version.h"
#include "wire/hook_proto.h"

#define SILENT_SECONDS 30
#define SILENT_SECONDS_MAX 86400
#define EXIT_USAGE 2

static const char usage[] =
    "usage: muster-hook start [OPTION]... -- COMMAND...   wait for the agent's word, then run it\n"
    "       muster-hook drain [OPTION]...                 preStop: wait until the server may stop\n"
    "       muster-hook ready|alive [OPTION]...           probes: exit 0 for yes, 1 for no\n"
    "       muster-hook agent [OPTION]...                 the agent's own probe: does it answer?\n"
    "       muster-hook install DIR                       copy this program to DIR/muster-hook\n"
    "       muster-hook --version | --help\n"
    "  --socket PATH        the agent's socket (" PATHS_SOCKET ")\n"
    "  --data-dir DIR       start: where the data is, unless COMMAND's configuration tells\n"
    "                       (" PATHS_DATA_DIR ")\n"
    "  --silent-seconds N   start, drain: for how long a silent agent is waited for (30).\n"
    "                       Then a server that proves its data, a replica or a new one starts\n"
    "                       unchanged, a primary without its data goes on waiting; a drain ends.\n";

struct options {
    const char *socket_path;
    const char *data_dir;
    int64_t silent_seconds;
    char **rest; /* what follows the options */
};

/* The value of option `name` at *word ("--name V" or "--name=V"), NULL if it is another word. */
static const char *option_value(char ***word, const char *name)
{
    size_t len = strlen(name);
    char *text = **word;
    if (strncmp(text, name, len) != 0)
        return NULL;
    if (text[len] == '=')
        return text + len + 1;
    if (text[len] || !(*word)[1])
        return NULL;
    (*word)++;
    return **word;
}

/* False, said why, for what is no option. */
static bool read_options(char **word, struct options *options)
{
    for (; *word && strncmp(*word, "--", 2) == 0; word++) {
        const char *value;
        if (strcmp(*word, "--") == 0) {
            word++;
            break;
        }
        if ((value = option_value(&word, "--socket"))) {
            options->socket_path = value;
        } else if ((value = option_value(&word, "--data-dir"))) {
            options->data_dir = value;
        } else if ((value = option_value(&word, "--silent-seconds"))) {
            if (!text_to_i64(span_of(value), 1, SILENT_SECONDS_MAX, &options->silent_seconds)) {
                say_error("usage", "--silent-seconds %s is not a number of 1 to %d", value,
                          SILENT_SECONDS_MAX);
                return false;
            }
        } else {
            say_error("usage", "%s is no option, or its value is missing; see muster-hook --help",
                      *word);
            return false;
        }
    }
    options->rest = word;
    return true;
}

static int run_start(const struct options *options)
{
    if (!options->rest[0]) {
        say_error("usage", "start needs \"-- COMMAND...\": the words that start the server");
        return EXIT_USAGE;
    }
    struct start_options start = {
        .socket_path = options->socket_path,
        .data_dir = options->data_dir,
        .silent_seconds = options->silent_seconds,
        .command = options->rest,
    };
    return start_run(&start);
}

static int run(const char *verb, const struct options *options)
{
    if (strcmp(verb, "start") == 0)
        return run_start(options);
    if (strcmp(verb, "install") == 0 && options->rest[0] && !options->rest[1])
        return install_run(options->rest[0]);
    if (options->rest[0]) {
        say_error("usage", "%s: \"%s\" is one word too many", verb, options->rest[0]);
        return EXIT_USAGE;
    }
    if (strcmp(verb, "drain") == 0)
        return probe_drain(options->socket_path, options->silent_seconds);
    if (strcmp(verb, "ready") == 0)
        return probe_ready(options->socket_path);
    if (strcmp(verb, "alive") == 0)
        return probe_alive(options->socket_path);
    if (strcmp(verb, "agent") == 0)
        return probe_agent(options->socket_path);
    if (strcmp(verb, "install") == 0)
        say_error("usage", "install needs one directory");
    else
        say_error("usage", "\"%s\" is no request; see muster-hook --help", verb);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct options options = {.socket_path = PATHS_SOCKET, .silent_seconds = SILENT_SECONDS};
    if (argc < 2) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "--version") == 0) {
        if (argv[1][2] == 'h')
            (void)fputs(usage, stdout);
        else
            (void)printf("muster-hook %s (%s), protocol %d\n", MUSTER_VERSION, MUSTER_COMMIT,
                         HOOK_PROTO_VERSION);
        return 0;
    }
    if (!read_options(argv + 2, &options))
        return EXIT_USAGE;
    return run(argv[1], &options);
}
