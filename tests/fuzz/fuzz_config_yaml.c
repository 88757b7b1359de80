/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file, and the same bytes as environment variables, one per line. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "fuzz.h"
#include "wire/config_yaml.h"

#define VARIABLES_MAX 64

static void check(struct span yaml, char *const *environment)
{
    struct config config;
    struct err err = {0};
    memset(&config, 0, sizeof config);
    if (config_parse(yaml, "fuzz", environment, &config, &err) < 0) {
        FUZZ_REQUIRE(err.msg[0] && config.discovery == 0 && !config.static_list.peers);
        return;
    }
    FUZZ_REQUIRE(config.discovery >= DISCOVERY_KUBERNETES && config.discovery <= DISCOVERY_STATIC);
    FUZZ_REQUIRE(config.redis.port && config.http.port && config.redis.host[0]);
    FUZZ_REQUIRE(config.hook.socket[0] == '/');
    FUZZ_REQUIRE(config.kubernetes.lease_seconds >= 2);
    (void)(config_check(&config, &err) == 0);
    config_deinit(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(fuzz_span(data, size), NULL);
    auto_free char *copy = xcalloc(size + 1, 1);
    if (size)
        memcpy(copy, data, size);
    char *environment[VARIABLES_MAX + 1] = {NULL};
    size_t count = 0;
    for (char *line = copy; line && count < VARIABLES_MAX; count++) {
        environment[count] = line;
        line = strchr(line, '\n');
        if (line)
            *line++ = '\0';
    }
    check((struct span){NULL, 0}, environment);
    return 0;
}
