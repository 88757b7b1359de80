/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands for people: status, plan, check, version, help. They ask an agent over HTTP and
 * follow once to the leader's, which knows every server.
 */
#ifndef MUSTER_CLI_CLI_H
#define MUSTER_CLI_CLI_H

#include <stdbool.h>

/* Exit codes; `check` has its own (enum check). */
#define CLI_OK 0
#define CLI_FAILED 1 /* the agent cannot be asked, or its answer is not understood */
#define CLI_USAGE 2

/* True if cli_main() knows the verb; `muster agent` is not one of its own. */
bool cli_has_verb(const char *verb);

/*
 * Runs `argv[1]` with its options (argv[0] is the program) and returns the exit code. Without a verb
 * or with one that is not known: the usage, and CLI_USAGE.
 */
int cli_main(int argc, char **argv);

#endif
