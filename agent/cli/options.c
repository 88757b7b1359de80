/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <stddef.h>
#include <string.h>

static const char ADDRESS[] = "--address";

int cli_options_parse(int argc, char **argv, struct cli_options *ret_options, struct err *err)
{
    struct cli_options options = {0};
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--json") == 0) {
            options.json = true;
        } else if (strcmp(arg, "--watch") == 0) {
            options.watch = true;
        } else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            options.help = true;
        } else if (strncmp(arg, "--address=", sizeof ADDRESS) == 0) {
            options.address = arg + sizeof ADDRESS;
        } else if (strcmp(arg, ADDRESS) == 0) {
            if (i + 1 == argc)
                return err_set(err, E_INVALID, "--address wants a HOST:PORT behind it");
            options.address = argv[++i];
        } else {
            return err_set(err, E_INVALID, "%.80s is not understood", arg);
        }
    }
    *ret_options = options;
    return 0;
}
