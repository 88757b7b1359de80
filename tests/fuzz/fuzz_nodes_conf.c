/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever bytes a volume holds, nodes.conf is read without harm; what is accepted is rewritten to
 * itself with its own addresses, and survives the loss and the return of all of them as a value.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/nodes_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The file's own addresses; false if one is no literal, which only a hand-made file has. */
static bool own_addresses(const struct nodes_conf *conf, struct nodes_conf_address *to)
{
    for (size_t i = 0; i < conf->count; i++) {
        const struct nodes_conf_node *node = &conf->nodes[i];
        to[i] = (struct nodes_conf_address){
            .id = node->id, .port = node->port, .bus_port = node->bus_port};
        memcpy(to[i].ip, node->ip, sizeof to[i].ip);
        if (i == conf->myself)
            continue;
        bool known = node->ip[0] && node->port && node->bus_port && nodes_conf_is_ip(node->ip);
        bool unknown = !node->ip[0] && !node->port && !node->bus_port;
        /* an address beside noaddr, or none without it, is put right and thus changes */
        if (!(known && !(node->flags & NODE_NOADDR)) && !(unknown && node->flags & NODE_NOADDR))
            return false;
    }
    to[conf->myself].ip[0] = '\0';
    return true;
}

static void same_bytes(struct span text, const struct nodes_conf_address *to, size_t count)
{
    auto_buf struct buf out;
    buf_init(&out, NODES_CONF_MAX);
    assert(nodes_conf_rewrite(text, to, count, &out, NULL) == 0);
    assert(out.len == text.len && memcmp(buf_str(&out), text.ptr, text.len) == 0);
}

static void lose_all(struct span text, const struct nodes_conf *conf)
{
    auto_buf struct buf out;
    buf_init(&out, NODES_CONF_MAX);
    if (nodes_conf_rewrite(text, NULL, 0, &out, NULL) < 0) {
        assert(text.len > NODES_CONF_MAX / 2);
        return;
    }
    struct span lost = {buf_str(&out), out.len};
    auto_nodes_conf struct nodes_conf after = {0};
    assert(nodes_conf_parse(lost, &after, NULL) == 0);
    assert(after.count == conf->count && after.myself == conf->myself);
    for (size_t i = 0; i < conf->count; i++) {
        struct nodes_conf_node was = conf->nodes[i];
        if (i != conf->myself) {
            /* what was found at an address is not true of none */
            if (was.ip[0] || !(was.flags & NODE_NOADDR))
                was.flags &= ~(uint32_t)(NODE_FAIL | NODE_PFAIL);
            memset(was.ip, 0, sizeof was.ip);
            was.port = was.bus_port = 0;
            was.flags |= NODE_NOADDR;
        }
        const struct nodes_conf_node *is = &after.nodes[i];
        assert(strcmp(is->id.hex, was.id.hex) == 0 &&
               strcmp(is->primary.hex, was.primary.hex) == 0);
        assert(strcmp(is->ip, was.ip) == 0 && is->port == was.port && is->flags == was.flags);
        assert(is->epoch == was.epoch && is->slot_count == was.slot_count);
    }
    same_bytes(lost, NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    auto_nodes_conf struct nodes_conf conf = {0};
    if (nodes_conf_parse(text, &conf, NULL) < 0)
        return 0;
    assert(conf.count && conf.myself < conf.count);
    auto_free struct nodes_conf_address *to = xcalloc(conf.count, sizeof *to);
    if (own_addresses(&conf, to))
        same_bytes(text, to, conf.count);
    lose_all(text, &conf);
    return 0;
}
