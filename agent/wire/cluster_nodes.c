/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/cluster_nodes.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"

/* The wire's words, in the order in which servers print them. */
static const struct {
    const char *word;
    uint32_t flag;
} flag_words[] = {
    {"myself", NODE_MYSELF}, {"master", NODE_PRIMARY},
    {"slave", NODE_REPLICA}, {"fail?", NODE_PFAIL},
    {"fail", NODE_FAIL},     {"handshake", NODE_HANDSHAKE},
    {"noaddr", NODE_NOADDR}, {"nofailover", NODE_NOFAILOVER},
};

/* What a parse builds: arrays of the arena, large enough for all that the text can hold. */
struct nodes_build {
    struct view_node *nodes;
    struct slot_range *ranges;
    struct open_slot *open_slots;
    size_t node_count;
    size_t range_count;
    size_t open_count;
    struct slot_set assigned;  /* by the nodes so far */
    struct slot_set migrating; /* open slots so far */
    struct slot_set importing;
};

static bool nodes_parse_id(struct span text, struct view_node *node)
{
    return node_id_parse(text, &node->id);
}

static bool nodes_parse_port(struct span text, uint16_t *ret_port)
{
    uint64_t port;
    if (!text_to_u64(text, UINT16_MAX, &port))
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

/*
 * Whatever a server was told to announce may be there, so a name is let through as well as an
 * address; it is compared and shown, never dialled.
 */
static bool nodes_parse_ip(struct span text, char *dst, size_t size)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '.' || c == ':' || c == '-' || c == '_'))
            return false;
    }
    return text_copy(dst, size, text);
}

/* <ip>:<port>@<bus-port>[,...] */
static bool nodes_parse_address(struct span text, struct view_node *node)
{
    struct span bus_port = span_until(&text, ',');
    ptrdiff_t at = span_find(bus_port, '@');
    if (at < 0)
        return false;
    struct span endpoint = span_until(&bus_port, '@');
    ptrdiff_t colon = span_rfind(endpoint, ':');
    if (colon < 0)
        return false;
    struct span ip = {endpoint.ptr, (size_t)colon};
    struct span port = {endpoint.ptr + colon + 1, endpoint.len - (size_t)colon - 1};
    return nodes_parse_ip(ip, node->ip, sizeof node->ip) && nodes_parse_port(port, &node->port) &&
           nodes_parse_port(bus_port, &node->bus_port);
}

static bool nodes_parse_flag(struct span word, uint32_t *flags)
{
    for (size_t i = 0; i < ARRAY_LEN(flag_words); i++) {
        if (span_is(word, flag_words[i].word)) {
            bool repeated = *flags & flag_words[i].flag;
            *flags |= flag_words[i].flag;
            return !repeated;
        }
    }
    return false;
}

/* A flag that is not known may change what the line means: refused, not ignored. */
static bool nodes_parse_flags(struct span text, struct view_node *node)
{
    if (span_is(text, "noflags"))
        return true;
    if (text.ptr[text.len - 1] == ',')
        return false;
    while (text.len)
        if (!nodes_parse_flag(span_until(&text, ','), &node->flags))
            return false;
    return !(node->flags & NODE_PRIMARY) || !(node->flags & NODE_REPLICA);
}

/* "-" also for a replica whose primary is not known yet (first heard of by gossip). */
static bool nodes_parse_primary(struct span text, struct view_node *node)
{
    if (span_is(text, "-"))
        return true;
    return (node->flags & NODE_REPLICA) && node_id_parse(text, &node->primary) &&
           !node_id_eq(&node->primary, &node->id);
}

/* Times of one server's own clock: checked, not kept. */
static bool nodes_parse_time(struct span text, struct view_node *node)
{
    (void)node;
    uint64_t unix_ms;
    return text_to_u64(text, INT64_MAX, &unix_ms);
}

static bool nodes_parse_epoch(struct span text, struct view_node *node)
{
    return text_to_u64(text, UINT64_MAX, &node->epoch);
}

static bool nodes_parse_link(struct span text, struct view_node *node)
{
    node->connected = span_is(text, "connected");
    return node->connected || span_is(text, "disconnected");
}

static bool nodes_parse_slot(struct span text, uint16_t *ret_slot)
{
    uint64_t slot;
    if (!text_to_u64(text, SLOT_COUNT - 1, &slot))
        return false;
    *ret_slot = (uint16_t)slot;
    return true;
}

/* [93->-<id>] migrating to, [77-<-<id>] importing from; shown by myself only. */
static bool nodes_parse_open_slot(struct nodes_build *build, struct span text,
                                  const struct view_node *node)
{
    if (!(node->flags & NODE_MYSELF) || text.len < 2 || text.ptr[text.len - 1] != ']')
        return false;
    struct span rest = {text.ptr + 1, text.len - 2};
    struct span slot = span_until(&rest, '-');
    bool importing = span_starts(rest, "<-");
    if (!importing && !span_starts(rest, ">-"))
        return false;
    struct span peer = {rest.ptr + 2, rest.len - 2};
    struct open_slot open = {.importing = importing};
    if (!nodes_parse_slot(slot, &open.slot) || !node_id_parse(peer, &open.peer))
        return false;
    struct slot_set *seen = importing ? &build->importing : &build->migrating;
    if (slot_set_has(seen, open.slot))
        return false;
    slot_set_add(seen, (struct slot_range){open.slot, open.slot});
    build->open_slots[build->open_count++] = open;
    return true;
}

/* <slot> or <first>-<last>, added to what the node owns. */
static bool nodes_parse_range(struct span text, struct slot_set *owned, uint32_t *slot_count)
{
    struct slot_range range;
    bool single = span_find(text, '-') < 0;
    if (!nodes_parse_slot(span_until(&text, '-'), &range.first))
        return false;
    range.last = range.first;
    if (!single && (!nodes_parse_slot(text, &range.last) || range.last < range.first))
        return false;
    slot_set_add(owned, range);
    *slot_count += slot_range_count(range);
    return *slot_count <= SLOT_COUNT;
}

/* The node's slots as maximal ranges in order, however they were written. */
static bool nodes_add_ranges(struct nodes_build *build, const struct slot_set *owned,
                             struct view_node *node)
{
    if (slot_set_count(owned) != node->slot_count || slot_set_intersects(owned, &build->assigned))
        return false;
    node->range_first = (uint32_t)build->range_count;
    struct slot_range range;
    for (unsigned from = 0; slot_set_next(owned, &from, &range);) {
        slot_set_add(&build->assigned, range);
        build->ranges[build->range_count++] = range;
    }
    node->range_count = (uint32_t)build->range_count - node->range_first;
    return true;
}

static int nodes_parse_slots(struct nodes_build *build, struct span rest, struct view_node *node,
                             struct err *err)
{
    struct slot_set owned = {0};
    struct span token;
    while (span_token(&rest, &token)) {
        bool ok = token.ptr[0] == '[' ? nodes_parse_open_slot(build, token, node)
                                      : nodes_parse_range(token, &owned, &node->slot_count);
        if (!ok)
            return err_set(err, E_PROTO, "malformed slots");
    }
    if (node->slot_count && !nodes_add_ranges(build, &owned, node))
        return err_set(err, E_PROTO, "a slot that is already assigned");
    return 0;
}

static const struct {
    const char *name;
    bool (*parse)(struct span token, struct view_node *node);
} nodes_columns[] = {
    {"id", nodes_parse_id},
    {"address", nodes_parse_address},
    {"flags", nodes_parse_flags},
    {"primary", nodes_parse_primary},
    {"ping-sent", nodes_parse_time},
    {"pong-received", nodes_parse_time},
    {"config epoch", nodes_parse_epoch},
    {"link state", nodes_parse_link},
};

static int nodes_parse_line(struct nodes_build *build, struct span line, struct err *err)
{
    struct view_node node = {0};
    for (size_t i = 0; i < ARRAY_LEN(nodes_columns); i++) {
        struct span token;
        if (!span_token(&line, &token))
            return err_set(err, E_PROTO, "no %s", nodes_columns[i].name);
        if (!nodes_columns[i].parse(token, &node))
            return err_set(err, E_PROTO, "malformed %s", nodes_columns[i].name);
    }
    int r = nodes_parse_slots(build, line, &node, err);
    if (r < 0)
        return r;
    build->nodes[build->node_count++] = node;
    return 0;
}

/* Upper bounds of what the text holds, from its lines and tokens, so that the arrays fit it. */
static int nodes_build_init(struct nodes_build *build, struct span text, struct arena *arena,
                            struct err *err)
{
    size_t lines = 0;
    size_t ranges = 0;
    size_t open_slots = 0;
    for (size_t i = 0; i < text.len; i++) {
        lines += text.ptr[i] == '\n' || i + 1 == text.len;
        ranges += text.ptr[i] == ' ';
        open_slots += text.ptr[i] == '[';
    }
    if (lines > NODES_MAX)
        return err_set(err, E_LIMIT, "CLUSTER NODES: more than %d nodes", NODES_MAX);
    /* Disjoint ranges and repeat-free open slots cannot be more than these. */
    if (ranges > SLOT_COUNT)
        ranges = SLOT_COUNT;
    if (open_slots > (size_t)2 * SLOT_COUNT)
        open_slots = (size_t)2 * SLOT_COUNT;
    *build = (struct nodes_build){
        .nodes = ARENA_NEW(arena, struct view_node, lines + 1),
        .ranges = ARENA_NEW(arena, struct slot_range, ranges + 1),
        .open_slots = ARENA_NEW(arena, struct open_slot, open_slots + 1),
    };
    return 0;
}

int cluster_nodes_parse(struct span text, struct arena *arena, struct view *ret_view,
                        struct err *err)
{
    if (text.len > NODES_TEXT_MAX)
        return err_set(err, E_LIMIT, "CLUSTER NODES: longer than %zu bytes", NODES_TEXT_MAX);
    struct nodes_build build;
    int r = nodes_build_init(&build, text, arena, err);
    if (r < 0)
        return r;
    struct span line;
    for (unsigned number = 1; span_line(&text, &line); number++) {
        r = nodes_parse_line(&build, line, err);
        if (r < 0) {
            (void)err_wrap(err, "CLUSTER NODES: line %u", number);
            return r;
        }
    }
    struct view view = {
        .node_count = build.node_count,
        .ranges = build.ranges,
        .range_count = build.range_count,
        .open_slots = build.open_slots,
        .open_count = build.open_count,
    };
    if (!view_finish(&view, build.nodes))
        return err_set(err, E_PROTO, "CLUSTER NODES: a node twice, or not exactly one myself");
    *ret_view = view;
    return 0;
}

static void nodes_format_flags(uint32_t flags, struct buf *buf)
{
    const char *separator = " ";
    for (size_t i = 0; i < ARRAY_LEN(flag_words); i++) {
        if (!(flags & flag_words[i].flag))
            continue;
        (void)buf_format(buf, "%s%s", separator, flag_words[i].word);
        separator = ",";
    }
    if (!flags)
        (void)buf_append_str(buf, " noflags");
}

static void nodes_format_slots(const struct view *view, const struct view_node *node,
                               struct buf *buf)
{
    for (size_t i = 0; i < node->range_count; i++) {
        struct slot_range range = view->ranges[node->range_first + i];
        (void)buf_format(buf, " %u", range.first);
        if (range.last != range.first)
            (void)buf_format(buf, "-%u", range.last);
    }
    for (size_t i = 0; node == view->myself && i < view->open_count; i++) {
        const struct open_slot *open = &view->open_slots[i];
        (void)buf_format(buf, " [%u-%c-%s]", open->slot, open->importing ? '<' : '>',
                         open->peer.hex);
    }
}

int cluster_nodes_format(const struct view *view, struct buf *buf)
{
    for (size_t i = 0; i < view->node_count; i++) {
        const struct view_node *node = &view->nodes[i];
        (void)buf_format(buf, "%s %s:%u@%u", node->id.hex, node->ip, node->port, node->bus_port);
        nodes_format_flags(node->flags, buf);
        (void)buf_format(buf, " %s 0 0 %" PRIu64 " %s",
                         node_id_is_set(&node->primary) ? node->primary.hex : "-", node->epoch,
                         node->connected ? "connected" : "disconnected");
        nodes_format_slots(view, node, buf);
        (void)buf_append_str(buf, "\n");
    }
    return buf->failed ? E_LIMIT : 0;
}
