/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <stddef.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"

static const char ADDRESS[] = "--address";
static const char REPLICAS[] = "--replicas";

static int take_replicas(const char *text, int *ret_replicas, struct err *err)
{
    uint64_t number;
    if (!text || !text_to_u64(span_of(text), NODES_MAX, &number))
        return err_set(err, E_INVALID, "--replicas wants a number from 0 to %d behind it",
                       NODES_MAX);
    *ret_replicas = (int)number;
    return 0;
}

int cli_options_parse(int argc, char **argv, struct cli_options *ret_options, struct err *err)
{
    struct cli_options options = {.replicas = -1};
    int r = 0;
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
        } else if (strncmp(arg, "--replicas=", sizeof REPLICAS) == 0) {
            r = take_replicas(arg + sizeof REPLICAS, &options.replicas, err);
        } else if (strcmp(arg, REPLICAS) == 0) {
            i++;
            r = take_replicas(i < argc ? argv[i] : NULL, &options.replicas, err);
        } else {
            return err_set(err, E_INVALID, "%.80s is not understood", arg);
        }
        if (r < 0)
            return r;
    }
    *ret_options = options;
    return 0;
}
