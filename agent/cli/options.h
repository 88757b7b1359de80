/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arguments behind a verb.
 */
#ifndef MUSTER_CLI_OPTIONS_H
#define MUSTER_CLI_OPTIONS_H

#include <stdbool.h>

#include "base/err.h"

struct cli_options {
    const char *address; /* --address HOST:PORT; NULL if not given; borrowed from argv */
    int replicas;        /* --replicas N; -1 if not given */
    bool json;
    bool watch;
    bool help;
};

/* E_INVALID naming the argument. `argv` holds the arguments behind the verb. */
must_check int cli_options_parse(int argc, char **argv, struct cli_options *ret_options,
                                 struct err *err);

#endif
