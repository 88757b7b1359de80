/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/hook_proto.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"

#define REQUEST_MAGIC "muster-hook/"
#define ANSWER_MAGIC "muster-agent/"
#define FAILING "fail?"

/* Words of the enums, in their order; 0 is "unknown" everywhere. */
static const char *const verb_words[] = {"unknown",  "start",    "drain", "ready",  "alive", "open",
                                         "takeover", "failover", "pause", "resume", NULL};
static const char *const verdict_words[] = {"unknown", "wait", "go", "ok", "no", "error", NULL};
static const char *const truth_words[] = {"unknown", "no", "yes", NULL};
static const char *const nodes_conf_words[] = {"unknown", "absent",     "present",
                                               "corrupt", "unreadable", NULL};

static int word_value(const char *const *words, struct span text)
{
    for (int value = 1; words[value]; value++)
        if (span_is(text, words[value]))
            return value;
    return 0;
}

/* The keys of `start` that stand for one field each: text, an enum's word, or a number >= 0. */
struct field {
    const char *key;
    const char *const *words;
    size_t offset;
    size_t text_size; /* of a text; 0 otherwise */
};

#define FIELD(key, words, member, text_size)                             \
    {                                                                    \
        (key), (words), offsetof(struct hook_facts, member), (text_size) \
    }
#define TEXT(key, member) FIELD(key, NULL, member, sizeof(((struct hook_facts *)0)->member))
#define WORD(key, words, member) FIELD(key, words, member, 0)
#define NUMBER(key, member) FIELD(key, NULL, member, 0)

static const struct field fields[] = {
    TEXT("hook-version", hook_version),
    NUMBER("pid", pid),
    TEXT("server", server),
    TEXT("argv0", argv0),
    TEXT("config-error", config_error),
    TEXT("data-dir", data_dir),
    TEXT("data-dir-error", data_dir_error),
    WORD("data-dir-empty", truth_words, dir_empty),
    WORD("cluster-enabled", truth_words, cluster_enabled),
    WORD("nodes-conf", nodes_conf_words, nodes_conf),
    TEXT("nodes-conf-file", nodes_conf_file),
    TEXT("nodes-conf-error", nodes_conf_error),
    WORD("appendonly", truth_words, appendonly),
    WORD("save", truth_words, save),
    WORD("rdb", truth_words, rdb),
    NUMBER("rdb-bytes", rdb_bytes),
    WORD("rdb-keys", truth_words, rdb_keys),
    WORD("aof", truth_words, aof),
    WORD("aof-complete", truth_words, aof_complete),
    NUMBER("aof-base-bytes", aof_base_bytes),
    NUMBER("aof-incr-bytes", aof_incr_bytes),
    WORD("aof-keys", truth_words, aof_keys),
};

void hook_facts_deinit(struct hook_facts *facts)
{
    free(facts->peers);
    *facts = (struct hook_facts){0};
}

void hook_request_deinit(struct hook_request *request)
{
    hook_facts_deinit(&request->facts);
    *request = (struct hook_request){0};
}

void hook_answer_deinit(struct hook_answer *answer)
{
    free(answer->addresses);
    *answer = (struct hook_answer){0};
}

static bool is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f;
}

/* "key=value" with '?' for each control byte of the value; nothing for an empty value. */
static void append_text(struct buf *out, const char *key, const char *value)
{
    if (!value[0])
        return;
    (void)buf_format(out, "%s=", key);
    size_t start = out->len;
    if (buf_append_str(out, value) == 0)
        for (size_t i = start; i < out->len; i++)
            if (is_control(out->bytes[i]))
                out->bytes[i] = '?';
    (void)buf_append(out, "\n", 1);
}

static void append_field(struct buf *out, const struct field *field, const struct hook_facts *facts)
{
    const char *at = (const char *)facts + field->offset;
    int64_t number = 0;
    int value = 0;
    if (field->text_size) {
        append_text(out, field->key, at);
    } else if (field->words) {
        memcpy(&value, at, sizeof value);
        append_text(out, field->key, value ? field->words[value] : "");
    } else {
        memcpy(&number, at, sizeof number);
        if (number)
            (void)buf_format(out, "%s=%lld\n", field->key, (long long)number);
    }
}

static const char *or_dash(const char *text)
{
    return text[0] ? text : "-";
}

static void append_facts(struct buf *out, const struct hook_facts *facts)
{
    char flags[NODES_CONF_FLAGS_SIZE];
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        append_field(out, &fields[i], facts);
    const struct nodes_conf_node *me = &facts->myself;
    if (me->id.hex[0]) {
        nodes_conf_format_flags(me->flags, flags);
        (void)buf_format(out, "myself=%s %s %llu %u %s\n", me->id.hex, flags,
                         (unsigned long long)me->epoch, me->slot_count, or_dash(me->primary.hex));
    }
    for (size_t i = 0; i < facts->peer_count; i++) {
        const struct hook_peer *peer = &facts->peers[i];
        nodes_conf_format_flags(peer->flags, flags);
        (void)buf_format(out, "peer=%s %s %u %u %s\n", peer->id.hex, or_dash(peer->ip), peer->port,
                         peer->bus_port, flags);
    }
}

static void append_person(struct buf *out, const struct hook_person *person)
{
    append_text(out, "pod", person->pod);
    append_text(out, "look", person->look ? "yes" : "");
    append_text(out, "reason", person->reason);
    if (person->for_ms)
        (void)buf_format(out, "for=%lld\n", (long long)person->for_ms);
}

static int finish(struct buf *out, struct err *err)
{
    (void)buf_append(out, "\n", 1);
    return out->failed ? err_set(err, E_LIMIT, "message longer than %zu bytes", out->ceiling) : 0;
}

int hook_request_format(const struct hook_request *request, struct buf *out, struct err *err)
{
    (void)buf_format(out, "%s%d %s\n", REQUEST_MAGIC, HOOK_PROTO_VERSION,
                     verb_words[request->verb]);
    if (request->verb == HOOK_START)
        append_facts(out, &request->facts);
    else if (request->verb == HOOK_DRAIN && request->waits_ms > 0)
        (void)buf_format(out, "waits=%lld\n", (long long)request->waits_ms);
    else if (request->verb >= HOOK_FAILOVER)
        append_person(out, &request->person);
    return finish(out, err);
}

int hook_answer_format(const struct hook_answer *answer, struct buf *out, struct err *err)
{
    (void)buf_format(out, "%s%d %s\n", ANSWER_MAGIC, HOOK_PROTO_VERSION,
                     verdict_words[answer->verdict]);
    append_text(out, "reason", answer->reason);
    if (answer->rewrite)
        append_text(out, "nodes-conf", "rewrite");
    else if (answer->aside)
        append_text(out, "nodes-conf", "aside");
    if (answer->server_ip[0])
        (void)buf_format(out, "server=%s %u\n", answer->server_ip, answer->server_port);
    for (size_t i = 0; i < answer->setting_count; i++) {
        const struct hook_setting *setting = &answer->settings[i];
        (void)buf_format(out, "set=%s ", setting->name);
        (void)buf_format(out, "%s\n", setting->value);
    }
    for (size_t i = 0; i < answer->address_count; i++) {
        const struct nodes_conf_address *to = &answer->addresses[i];
        if (to->ip[0])
            (void)buf_format(out, "addr=%s %s %u %u\n", to->id.hex, to->ip, to->port, to->bus_port);
        else
            (void)buf_format(out, "addr=%s %s\n", to->id.hex, to->failing ? FAILING : "noaddr");
    }
    return finish(out, err);
}

static bool read_port(struct span *rest, uint16_t *ret_port)
{
    struct span token;
    uint64_t port;
    if (!span_token(rest, &token) || !text_to_u64(token, UINT16_MAX, &port))
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

/* A literal, or "-" for none. */
static bool read_ip(struct span *rest, char ret_ip[IP_SIZE])
{
    struct span token;
    if (!span_token(rest, &token))
        return false;
    if (span_is(token, "-"))
        token.len = 0;
    return text_is_plain(token) && text_copy(ret_ip, IP_SIZE, token);
}

/* An id, or "-" for none where `optional`. */
static bool read_id(struct span *rest, bool optional, struct node_id *ret_id)
{
    struct span token;
    if (!span_token(rest, &token))
        return false;
    return (optional && span_is(token, "-")) || nodes_conf_parse_id(token, ret_id);
}

static bool read_flags(struct span *rest, uint32_t *ret_flags)
{
    struct span token;
    return span_token(rest, &token) && nodes_conf_parse_flags(token, ret_flags);
}

static bool read_number(struct span *rest, uint64_t max, uint64_t *ret_number)
{
    struct span token;
    return span_token(rest, &token) && text_to_u64(token, max, ret_number);
}

static bool read_myself(struct span value, struct nodes_conf_node *ret_me)
{
    struct nodes_conf_node me = {0};
    uint64_t slots;
    if (!read_id(&value, false, &me.id) || !read_flags(&value, &me.flags) ||
        !read_number(&value, UINT64_MAX, &me.epoch) || !read_number(&value, UINT32_MAX, &slots) ||
        !read_id(&value, true, &me.primary))
        return false;
    me.slot_count = (uint32_t)slots;
    *ret_me = me;
    return true;
}

/* `count` grown by one, at most NODES_MAX; the items double their room at each power of two. */
static bool grow(void **items, size_t count, size_t size)
{
    if (count == NODES_MAX)
        return false;
    if ((count & (count - 1)) == 0)
        *items = xrealloc(*items, count ? 2 * count : 1, size);
    return true;
}

static bool read_peer(struct span value, struct hook_facts *facts)
{
    struct hook_peer peer = {0};
    if (!read_id(&value, false, &peer.id) || !read_ip(&value, peer.ip) ||
        !read_port(&value, &peer.port) || !read_port(&value, &peer.bus_port) ||
        !read_flags(&value, &peer.flags))
        return false;
    void *items = facts->peers;
    if (!grow(&items, facts->peer_count, sizeof peer))
        return false;
    facts->peers = items;
    facts->peers[facts->peer_count++] = peer;
    return true;
}

/* A later release may have more room for a text than this one. */
static bool copy_cut(char *to, size_t size, struct span value)
{
    if (value.len >= size)
        value.len = size - 1;
    return text_copy(to, size, value);
}

static bool read_field(const struct field *field, struct span value, struct hook_facts *facts)
{
    char *at = (char *)facts + field->offset;
    if (field->text_size)
        return copy_cut(at, field->text_size, value);
    if (field->words) {
        int word = word_value(field->words, value);
        memcpy(at, &word, sizeof word);
        return true;
    }
    int64_t number;
    if (!text_to_i64(value, 0, INT64_MAX, &number))
        return false;
    memcpy(at, &number, sizeof number);
    return true;
}

/* False if the key is none of a person's; *ret_ok: whether the value is one. */
static bool read_person_key(struct span key, struct span value, struct hook_person *person,
                            bool *ret_ok)
{
    *ret_ok = true;
    if (span_is(key, "pod"))
        *ret_ok = TEXT_COPY(person->pod, value);
    else if (span_is(key, "look"))
        person->look = span_is(value, "yes");
    else if (span_is(key, "reason"))
        *ret_ok = copy_cut(person->reason, sizeof person->reason, value);
    else if (span_is(key, "for"))
        *ret_ok = text_to_i64(value, 0, INT64_MAX, &person->for_ms);
    else
        return false;
    return true;
}

static bool read_request_key(struct span key, struct span value, void *into)
{
    bool ok;
    struct hook_request *request = into;
    struct hook_facts *facts = &request->facts;
    if (span_is(key, "waits"))
        return text_to_i64(value, 0, INT64_MAX, &request->waits_ms);
    if (span_is(key, "myself"))
        return read_myself(value, &facts->myself);
    if (span_is(key, "peer"))
        return read_peer(value, facts);
    if (read_person_key(key, value, &request->person, &ok))
        return ok;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (span_is(key, fields[i].key))
            return read_field(&fields[i], value, facts);
    return true;
}

static bool read_address(struct span value, struct hook_answer *answer)
{
    struct nodes_conf_address to = {0};
    if (!read_id(&value, false, &to.id))
        return false;
    to.failing = span_is(value, FAILING);
    if (!to.failing && !span_is(value, "noaddr") &&
        (!read_ip(&value, to.ip) || !nodes_conf_is_ip(to.ip) || !read_port(&value, &to.port) ||
         !read_port(&value, &to.bus_port) || !to.port || !to.bus_port))
        return false;
    void *items = answer->addresses;
    if (!grow(&items, answer->address_count, sizeof to))
        return false;
    answer->addresses = items;
    answer->addresses[answer->address_count++] = to;
    return true;
}

static bool is_own_setting(const char *name)
{
    static const char *const names[] = {
        "cluster-announce-ip",         "cluster-announce-port",
        "cluster-announce-bus-port",   "cluster-announce-tls-port",
        "cluster-announce-hostname",   "cluster-announce-human-nodename",
        "cluster-replica-no-failover", "cluster-allow-replica-migration",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

bool hook_setting_is_allowed(const struct hook_setting *setting)
{
    return is_own_setting(setting->name) && setting->value[0] &&
           text_is_plain(span_of(setting->value));
}

/* A setting that is not ours to make is passed over: a later release may know more of them. */
static bool read_setting(struct span value, struct hook_answer *answer)
{
    struct hook_setting setting;
    struct span name = span_until(&value, ' ');
    if (!TEXT_COPY(setting.name, name) || !is_own_setting(setting.name))
        return true;
    if (answer->setting_count == HOOK_SETTINGS_MAX || !TEXT_COPY(setting.value, value) ||
        !hook_setting_is_allowed(&setting))
        return false;
    answer->settings[answer->setting_count++] = setting;
    return true;
}

static bool read_answer_key(struct span key, struct span value, void *into)
{
    struct hook_answer *answer = into;
    if (span_is(key, "reason"))
        return copy_cut(answer->reason, sizeof answer->reason, value);
    if (span_is(key, "nodes-conf")) {
        answer->rewrite = span_is(value, "rewrite");
        answer->aside = span_is(value, "aside");
    } else if (span_is(key, "server"))
        return read_ip(&value, answer->server_ip) && nodes_conf_is_ip(answer->server_ip) &&
               read_port(&value, &answer->server_port);
    else if (span_is(key, "set"))
        return read_setting(value, answer);
    else if (span_is(key, "addr"))
        return read_address(value, answer);
    return true;
}

/* "<magic><version> <word>" */
static bool read_first_line(struct span line, const char *magic, int *ret_version,
                            struct span *ret_word)
{
    uint64_t version;
    if (!span_starts(line, magic))
        return false;
    struct span rest = {line.ptr + strlen(magic), line.len - strlen(magic)};
    if (!text_to_u64(span_until(&rest, ' '), INT32_MAX, &version) || !version)
        return false;
    *ret_version = (int)version;
    *ret_word = rest;
    return true;
}

typedef bool (*key_fn)(struct span key, struct span value, void *into);

static int read_message(struct span message, const char *magic, int *ret_version,
                        struct span *ret_word, key_fn read_key, void *into, struct err *err)
{
    for (size_t i = 0; i < message.len; i++)
        if (is_control(message.ptr[i]) && message.ptr[i] != '\n')
            return err_set(err, E_PROTO, "control byte in a message");
    if (!read_first_line(span_until(&message, '\n'), magic, ret_version, ret_word))
        return err_set(err, E_PROTO, "not a message of %s", magic);
    while (message.len) {
        struct span value = span_until(&message, '\n');
        if (!value.len)
            return message.len ? err_set(err, E_PROTO, "bytes behind the end of a message") : 0;
        bool pair = span_find(value, '=') > 0;
        struct span key = span_until(&value, '=');
        if (!pair || !read_key(key, value, into))
            return err_set(err, E_PROTO, "bad line \"%.*s\"", (int)(key.len < 40 ? key.len : 40),
                           key.ptr);
    }
    return err_set(err, E_PROTO, "message without an end");
}

int hook_request_parse(struct span message, struct hook_request *ret_request, struct err *err)
{
    struct hook_request request = {0};
    struct span word = {0};
    int r = read_message(message, REQUEST_MAGIC, &request.version, &word, read_request_key,
                         &request, err);
    if (r < 0) {
        hook_request_deinit(&request);
        return r;
    }
    request.verb = (enum hook_verb)word_value(verb_words, word);
    *ret_request = request;
    return 0;
}

int hook_answer_parse(struct span message, struct hook_answer *ret_answer, struct err *err)
{
    struct hook_answer answer = {0};
    struct span word = {0};
    int r =
        read_message(message, ANSWER_MAGIC, &answer.version, &word, read_answer_key, &answer, err);
    if (r < 0) {
        hook_answer_deinit(&answer);
        return r;
    }
    answer.verdict = (enum hook_verdict)word_value(verdict_words, word);
    *ret_answer = answer;
    return 0;
}
