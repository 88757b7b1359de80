/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people order through the agent's socket: `muster gate list|open`: who waits at a gate, and letting one
 * of them start (DESIGN 5.4); `muster takeover`: giving lost primaries up (core/takeover.h).
 */
#ifndef MUSTER_CLI_GATE_H
#define MUSTER_CLI_GATE_H

#include "cli/cli.h"

/* `argv` holds the words behind "gate". Returns the exit code. */
int gate_run(const struct cli *cli, int argc, char **argv);

/* Its help, for `muster help gate`. */
void gate_help(FILE *to);

/* `argv` holds the words behind "takeover". */
int takeover_run(const struct cli *cli, int argc, char **argv);
void takeover_help(FILE *to);

#endif
