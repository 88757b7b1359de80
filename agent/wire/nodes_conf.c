/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/nodes_conf.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"

#define SLOTS 16384
/* Servers before 4.0 wrote no bus port; the readers still add this (CLUSTER_PORT_INCR). */
#define BUS_PORT_OFFSET 10000

/* In the order in which servers write them (redisNodeFlags). */
static const struct {
    uint32_t flag;
    const char *name;
} flag_names[] = {
    {NODE_MYSELF, "myself"}, {NODE_PRIMARY, "master"},
    {NODE_REPLICA, "slave"}, {NODE_PFAIL, "fail?"},
    {NODE_FAIL, "fail"},     {NODE_HANDSHAKE, "handshake"},
    {NODE_NOADDR, "noaddr"}, {NODE_NOFAILOVER, "nofailover"},
};

/* One node's line, with the two places that may be replaced; the spans point into the file. */
struct node_line {
    struct nodes_conf_node node;
    struct span address; /* ip:port@cport, without what follows the comma */
    struct span flags;
};

bool nodes_conf_parse_id(struct span text, struct node_id *ret_id)
{
    if (text.len != NODE_ID_LEN)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!memchr("0123456789abcdef", text.ptr[i], 16))
            return false;
    return TEXT_COPY(ret_id->hex, text);
}

bool nodes_conf_is_ip(const char *text)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

void nodes_conf_format_flags(uint32_t flags, char ret_text[NODES_CONF_FLAGS_SIZE])
{
    ret_text[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(flag_names); i++)
        if (flags & flag_names[i].flag)
            text_append(ret_text, NODES_CONF_FLAGS_SIZE, "%s%s", ret_text[0] ? "," : "",
                        flag_names[i].name);
    if (!ret_text[0])
        text_append(ret_text, NODES_CONF_FLAGS_SIZE, "noflags");
}

/* Lower-case letters and '?', as every flag so far. */
static bool flag_is_name(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if ((name.ptr[i] < 'a' || name.ptr[i] > 'z') && name.ptr[i] != '?')
            return false;
    return name.len > 0;
}

static uint32_t flag_by_name(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(flag_names); i++)
        if (span_is(name, flag_names[i].name))
            return flag_names[i].flag;
    return 0;
}

bool nodes_conf_parse_flags(struct span text, uint32_t *ret_flags)
{
    uint32_t flags = 0;
    do {
        struct span name = span_until(&text, ',');
        if (!flag_is_name(name))
            return false;
        flags |= flag_by_name(name);
    } while (text.len);
    *ret_flags = flags;
    return true;
}

static bool read_port(struct span text, uint16_t *ret_port)
{
    uint64_t port;
    if (!text_to_u64(text, UINT16_MAX, &port))
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

/* `text` up to the first comma is ip:port@cport; the last ':' before '@' ends the ip. */
static bool read_address(struct span text, struct node_line *line)
{
    struct span address = span_until(&text, ',');
    struct span rest = address;
    struct span ip_port = span_until(&rest, '@');
    ptrdiff_t colon = span_rfind(ip_port, ':');
    if (colon < 0)
        return false;
    struct span ip = {ip_port.ptr, (size_t)colon};
    struct span port = {ip_port.ptr + colon + 1, ip_port.len - (size_t)colon - 1};
    struct nodes_conf_node *node = &line->node;
    if (!text_is_plain(ip) || !TEXT_COPY(node->ip, ip) || !read_port(port, &node->port))
        return false;
    if (ip_port.len == address.len) {
        if (node->port > UINT16_MAX - BUS_PORT_OFFSET)
            return false;
        node->bus_port = (uint16_t)(node->port + BUS_PORT_OFFSET);
    } else if (!read_port(rest, &node->bus_port)) {
        return false;
    }
    line->address = address;
    return true;
}

/* "7", "0-5460", or "[93->-<id>]" of a half-done move, which counts nothing. */
static bool read_slots(struct span text, uint32_t *slot_count)
{
    if (span_starts(text, "["))
        return text.len > 2 && text.ptr[text.len - 1] == ']' && span_find(text, '-') > 1;
    uint64_t first, last;
    bool range = span_find(text, '-') >= 0;
    if (!text_to_u64(span_until(&text, '-'), SLOTS - 1, &first))
        return false;
    last = first;
    if (range && (!text_to_u64(text, SLOTS - 1, &last) || last < first))
        return false;
    *slot_count += (uint32_t)(last - first + 1);
    return *slot_count <= SLOTS;
}

/* False with what is wrong of a line that a server would refuse. */
static bool read_node(struct span text, struct node_line *ret_line, const char **ret_fault)
{
    enum { ID, ADDRESS, FLAGS, PRIMARY, PING, PONG, EPOCH, LINK, FIELDS };
    struct span field[FIELDS];
    struct node_line line = {0};
    uint64_t ignored;
    *ret_fault = "fewer than eight fields";
    for (int i = 0; i < FIELDS; i++)
        if (!span_token(&text, &field[i]))
            return false;
    *ret_fault = "bad id";
    if (!nodes_conf_parse_id(field[ID], &line.node.id))
        return false;
    *ret_fault = "bad address";
    if (!read_address(field[ADDRESS], &line))
        return false;
    *ret_fault = "bad flags";
    if (!nodes_conf_parse_flags(field[FLAGS], &line.node.flags))
        return false;
    line.flags = field[FLAGS];
    *ret_fault = "bad primary";
    if (!span_is(field[PRIMARY], "-") && !nodes_conf_parse_id(field[PRIMARY], &line.node.primary))
        return false;
    *ret_fault = "bad times or epoch";
    if (!text_to_u64(field[PING], INT64_MAX, &ignored) ||
        !text_to_u64(field[PONG], INT64_MAX, &ignored) ||
        !text_to_u64(field[EPOCH], UINT64_MAX, &line.node.epoch))
        return false;
    *ret_fault = "bad slots";
    for (struct span slots; span_token(&text, &slots);)
        if (!read_slots(slots, &line.node.slot_count))
            return false;
    *ret_line = line;
    return true;
}

/* `text` behind "vars": pairs of a name and a value. */
static bool read_vars(struct span text, struct nodes_conf *conf)
{
    for (struct span name, value; span_token(&text, &name);) {
        if (!span_token(&text, &value))
            return false;
        if (span_is(name, "currentEpoch") && !text_to_u64(value, UINT64_MAX, &conf->current_epoch))
            return false;
        if (span_is(name, "lastVoteEpoch") &&
            !text_to_u64(value, UINT64_MAX, &conf->last_vote_epoch))
            return false;
    }
    return true;
}

enum line_kind { LINE_BLANK = 1, LINE_VARS, LINE_NODE };

/* The kind of a line; *rest becomes what follows "vars". */
static enum line_kind line_kind_of(struct span line, struct span *rest)
{
    *rest = line;
    struct span word;
    if (!span_token(rest, &word))
        return LINE_BLANK;
    return span_is(word, "vars") ? LINE_VARS : LINE_NODE;
}

static int add_node(struct nodes_conf *conf, const struct nodes_conf_node *node, size_t *myselves,
                    struct err *err)
{
    if (conf->count == NODES_MAX)
        return err_set(err, E_LIMIT, "more than %d nodes", NODES_MAX);
    for (size_t i = 0; i < conf->count; i++)
        if (strcmp(conf->nodes[i].id.hex, node->id.hex) == 0)
            return err_set(err, E_INVALID, "node %s twice", node->id.hex);
    if (node->flags & NODE_MYSELF) {
        conf->myself = conf->count;
        (*myselves)++;
    }
    if ((conf->count & (conf->count - 1)) == 0)
        conf->nodes = xrealloc(conf->nodes, conf->count ? 2 * conf->count : 1, sizeof *conf->nodes);
    conf->nodes[conf->count++] = *node;
    return 0;
}

static int read_lines(struct span text, struct nodes_conf *conf, struct err *err)
{
    bool vars = false;
    size_t myselves = 0, number = 0;
    while (text.len) {
        struct span line = span_until(&text, '\n');
        struct span rest;
        struct node_line node;
        const char *fault;
        number++;
        switch (line_kind_of(line, &rest)) {
        case LINE_BLANK: /* Redis before 7.0 padded the file with newlines */
            break;
        case LINE_VARS:
            if (vars || !read_vars(rest, conf))
                return err_set(err, E_INVALID, "line %zu: bad vars", number);
            vars = true;
            break;
        case LINE_NODE:
            if (!read_node(line, &node, &fault))
                return err_set(err, E_INVALID, "line %zu: %s", number, fault);
            int r = add_node(conf, &node.node, &myselves, err);
            if (r < 0)
                return r;
            break;
        }
    }
    if (!vars)
        return err_set(err, E_INVALID, "no vars line: the file is cut");
    if (myselves != 1)
        return err_set(err, E_INVALID, "%zu lines with the flag myself instead of one", myselves);
    return 0;
}

int nodes_conf_parse(struct span text, struct nodes_conf *ret_conf, struct err *err)
{
    if (text.len > NODES_CONF_MAX)
        return err_set(err, E_LIMIT, "longer than %zu bytes", NODES_CONF_MAX);
    if (!text.len || text.ptr[text.len - 1] != '\n')
        return err_set(err, E_INVALID, "the last line has no end: the file is cut");
    auto_nodes_conf struct nodes_conf conf = {0};
    int r = read_lines(text, &conf, err);
    if (r < 0)
        return r;
    *ret_conf = conf;
    conf.nodes = NULL;
    return 0;
}

void nodes_conf_deinit(struct nodes_conf *conf)
{
    free(conf->nodes);
    *conf = (struct nodes_conf){0};
}

static const struct nodes_conf_address *find_address(const struct nodes_conf_address *addresses,
                                                     size_t count, const struct node_id *id)
{
    static const struct nodes_conf_address none;
    static const struct nodes_conf_address nowhere = {
        .ip = NODES_CONF_NOWHERE, .port = 1, .bus_port = 1, .failing = true};
    for (size_t i = 0; i < count; i++)
        if (strcmp(addresses[i].id.hex, id->hex) == 0)
            return addresses[i].failing ? &nowhere : &addresses[i];
    return &none;
}

/*
 * The flags of a peer at another address than the file's: what was found about the old one, failing
 * or failed, says nothing of the new. All others, also unknown ones, stay as they are.
 */
static void append_flags(struct buf *out, struct span flags, bool noaddr, bool failing)
{
    size_t start = out->len;
    while (flags.len) {
        struct span name = span_until(&flags, ',');
        if (span_is(name, "noaddr") || span_is(name, "noflags") || span_is(name, "fail?") ||
            span_is(name, "fail"))
            continue;
        (void)buf_append(out, ",", out->len > start ? 1 : 0);
        (void)buf_append(out, name.ptr, name.len);
    }
    if (failing)
        (void)buf_append_str(out, out->len > start ? ",fail?" : "fail?");
    if (noaddr)
        (void)buf_append_str(out, out->len > start ? ",noaddr" : "noaddr");
    if (out->len == start)
        (void)buf_append_str(out, "noflags");
}

static void append_node(struct buf *out, struct span text, const struct node_line *line,
                        const struct nodes_conf_address *to)
{
    const struct nodes_conf_node *node = &line->node;
    const char *at = text.ptr;
    bool noaddr = !to->ip[0];
    bool moved = strcmp(node->ip, to->ip) != 0 ||
                 (!noaddr && (node->port != to->port || node->bus_port != to->bus_port));
    uint32_t wanted = (noaddr ? NODE_NOADDR : 0) | (to->failing ? NODE_PFAIL : 0);
    bool told = !moved && (node->flags & (wanted | NODE_NOADDR)) == wanted;
    if (noaddr ? node->ip[0] || node->port || node->bus_port : moved) {
        (void)buf_append(out, at, (size_t)(line->address.ptr - at));
        (void)buf_format(out, "%s:%u@%u", to->ip, noaddr ? 0u : to->port,
                         noaddr ? 0u : to->bus_port);
        at = line->address.ptr + line->address.len;
    }
    if (!told) {
        (void)buf_append(out, at, (size_t)(line->flags.ptr - at));
        append_flags(out, line->flags, noaddr, to->failing);
        at = line->flags.ptr + line->flags.len;
    }
    (void)buf_append(out, at, (size_t)(text.ptr + text.len - at));
}

int nodes_conf_rewrite(struct span text, const struct nodes_conf_address *addresses, size_t count,
                       struct buf *out, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct nodes_conf_address *to = &addresses[i];
        if (to->ip[0] && (!nodes_conf_is_ip(to->ip) || !to->port || !to->bus_port))
            return err_set(err, E_INVALID, "bad address %s:%u@%u", to->ip, to->port, to->bus_port);
    }
    auto_nodes_conf struct nodes_conf conf = {0};
    int r = nodes_conf_parse(text, &conf, err);
    if (r < 0)
        return r;
    auto_buf struct buf made;
    buf_init(&made, NODES_CONF_MAX);
    while (text.len) {
        struct span line = span_until(&text, '\n');
        struct span rest;
        struct node_line node = {0};
        const char *fault;
        bool peer = line_kind_of(line, &rest) == LINE_NODE && read_node(line, &node, &fault) &&
                    !(node.node.flags & NODE_MYSELF);
        if (peer)
            append_node(&made, line, &node, find_address(addresses, count, &node.node.id));
        else
            (void)buf_append(&made, line.ptr, line.len);
        (void)buf_append(&made, "\n", 1);
    }
    if (made.failed || buf_append(out, buf_str(&made), made.len) < 0)
        return err_set(err, E_LIMIT, "longer than %zu bytes", NODES_CONF_MAX);
    return 0;
}
