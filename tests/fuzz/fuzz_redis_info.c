/* SPDX-License-Identifier: Apache-2.0 */
/* INFO, CLUSTER INFO and a pair of CONFIG GET: refused as a whole, or complete. */
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "wire/redis_info.h"

#define ALL (INFO_SERVER | INFO_REPLICATION | INFO_KEYSPACE | INFO_MEMORY)

static void check_info(struct span text, unsigned required)
{
    struct server server = {.keys = -1, .memory_bytes = -1};
    struct err err;
    if (redis_info_parse(text, required, &server, &err) < 0) {
        FUZZ_REQUIRE(server.kind == SERVER_UNKNOWN && server.keys == -1);
        return;
    }
    FUZZ_REQUIRE(strlen(server.run_id) < RUN_ID_SIZE && strlen(server.primary_ip) < IP_SIZE);
    if (required == ALL)
        FUZZ_REQUIRE(server.kind != SERVER_UNKNOWN && server.run_id[0] && server.keys >= 0 &&
                     server.memory_bytes >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_span(data, size);
    struct server server = {0};
    struct err err;
    check_info(text, 0);
    check_info(text, ALL);
    if (cluster_info_parse(text, &server, &err) == 0)
        FUZZ_REQUIRE(server.known_nodes > 0 && server.slots_ok <= SLOT_COUNT);
    struct span value = text;
    struct span key = span_until(&value, '\n');
    if (server_setting_parse(key, value, &server, &err) == 0)
        FUZZ_REQUIRE(strlen(server.announce_ip) < IP_SIZE && server.node_timeout_ms >= 0);
    return 0;
}
