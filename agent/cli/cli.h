/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands for people: status, plan, check, version, help. They ask an agent over HTTP and
 * follow once to the leader's, which knows every server.
 */
#ifndef MUSTER_CLI_CLI_H
#define MUSTER_CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

/* Exit codes; those of `check` are enum check. */
#define CLI_OK 0
/* no agent can be asked, its answer is not understood, or what is asked about would not go well */
#define CLI_FAILED 1
#define CLI_USAGE 2
/* what is asked about may go well or not: something that counts for it is not known */
#define CLI_UNKNOWN 3

/* What a command may touch, so that tests can give it something else. */
struct cli {
    FILE *out;
    FILE *err;
    const char *(*env)(const char *name); /* NULL if the variable is not set */
    bool tty;                             /* `out` is a terminal */
    unsigned frames; /* --watch ends after as many; 0 = when it is interrupted */
};

/* Runs `argv[1]` with its options and returns the exit code. */
int cli_run(const struct cli *cli, int argc, char **argv);

/* The same with the process's own stdout, stderr and environment. */
int cli_main(int argc, char **argv);

#endif
