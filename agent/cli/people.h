/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `muster failover`, `pause` and `resume`: what people order (core/handover.h, core/pause.h). `argv` holds the words
 * behind the command. Exit codes as of the other commands: CLI_OK when it is done (a failover: begun, or
 * with --wait won), CLI_FAILED with the reason when not, CLI_USAGE.
 */
#ifndef MUSTER_CLI_PEOPLE_H
#define MUSTER_CLI_PEOPLE_H

#include "cli/cli.h"

int failover_run(const struct cli *cli, int argc, char **argv);
void failover_help(FILE *to);

int pause_run(const struct cli *cli, int argc, char **argv);
void pause_help(FILE *to);

int resume_run(const struct cli *cli, int argc, char **argv);
void resume_help(FILE *to);

#endif
