/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration file, and the same bytes as environment variables, one per line. What is accepted
 * lies within the table's limits, and says the same when it is written out and read again.
 */
#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "fuzz.h"
#include "wire/config_table.h"
#include "wire/config_yaml.h"

#define VARIABLES_MAX 64

static void print_peers(const struct config *config, struct buf *out)
{
    for (size_t i = 0; i < config->static_list.peer_count; i++) {
        const struct config_peer *peer = &config->static_list.peers[i];
        FUZZ_REQUIRE(peer->port && peer->host[0]);
        (void)buf_format(out, strchr(peer->host, ':') ? "%s[%s]:%u" : "%s%s:%u", i ? "," : "",
                         peer->host, (unsigned)peer->port);
    }
}

/* The key's value, as it would be written; every value must be one that the table allows. */
static void print_value(const struct config_key *key, const struct config *config, struct buf *out)
{
    const char *field = (const char *)config + key->offset;
    int64_t number = 0;
    switch (key->type) {
    case CONFIG_SECTION:
        return;
    case CONFIG_TEXT:
    case CONFIG_ADDRESS:
        FUZZ_REQUIRE(memchr(field, '\0', key->size));
        (void)buf_append_str(out, field);
        return;
    case CONFIG_WORD:
        number = *(const int *)(const void *)field;
        FUZZ_REQUIRE(number >= 1);
        for (int64_t i = 0; i < number; i++)
            FUZZ_REQUIRE(key->words[i]);
        (void)buf_append_str(out, key->words[number - 1]);
        return;
    case CONFIG_BOOL:
        (void)buf_append_str(out, *(const bool *)field ? "true" : "false");
        return;
    case CONFIG_PEERS:
        print_peers(config, out);
        return;
    case CONFIG_PORT:
        number = *(const uint16_t *)(const void *)field;
        break;
    case CONFIG_INT:
        number = *(const int *)(const void *)field;
        break;
    case CONFIG_INT64:
        number = *(const int64_t *)(const void *)field;
        break;
    }
    FUZZ_REQUIRE(number >= key->min && number <= key->max);
    (void)buf_format(out, "%" PRId64, number);
}

/* Every key as a variable of an environment. */
static void print_all(const struct config *config, struct buf *out)
{
    for (size_t i = 0; i < config_key_count; i++) {
        char variable[CONFIG_KEY_SIZE];
        if (config_keys[i].type == CONFIG_SECTION)
            continue;
        config_variable(&config_keys[i], variable);
        (void)buf_format(out, "%s=", variable);
        print_value(&config_keys[i], config, out);
        (void)buf_append_str(out, "\n");
    }
    FUZZ_REQUIRE(!out->failed);
}

/* Cuts a text into an environment, in place. */
static void split_environment(char *text, char **environment)
{
    size_t count = 0;
    for (char *line = text; line && count < VARIABLES_MAX; count++) {
        environment[count] = line;
        line = strchr(line, '\n');
        if (line)
            *line++ = '\0';
    }
    environment[count] = NULL;
}

static void check_again(const struct config *config)
{
    char *environment[VARIABLES_MAX + 1];
    struct config again;
    struct err err;
    auto_buf struct buf first = {.ceiling = MIB(1)};
    auto_buf struct buf second = {.ceiling = MIB(1)};
    print_all(config, &first);
    auto_free char *copy = xstrdup(buf_str(&first));
    split_environment(copy, environment);
    FUZZ_REQUIRE(config_parse((struct span){NULL, 0}, "again", environment, &again, &err) == 0);
    print_all(&again, &second);
    FUZZ_REQUIRE(strcmp(buf_str(&first), buf_str(&second)) == 0);
    FUZZ_REQUIRE(config_check(config, &err) == config_check(&again, &err));
    config_deinit(&again);
}

static void check(struct span yaml, char *const *environment)
{
    struct config config;
    struct err err = {0};
    memset(&config, 0, sizeof config);
    if (config_parse(yaml, "fuzz", environment, &config, &err) < 0) {
        FUZZ_REQUIRE(err.msg[0] && config.discovery == 0 && !config.static_list.peers);
        return;
    }
    check_again(&config);
    config_deinit(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *environment[VARIABLES_MAX + 1];
    auto_free char *copy = xcalloc(size + 1, 1);
    check(fuzz_span(data, size), NULL);
    if (size)
        memcpy(copy, data, size);
    split_environment(copy, environment);
    check((struct span){NULL, 0}, environment);
    return 0;
}
