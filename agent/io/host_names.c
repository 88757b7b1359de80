/* SPDX-License-Identifier: Apache-2.0 */
#include "io/host_names.h"

#include <arpa/inet.h>
#include <assert.h>
#include <event2/dns.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define ADDRESS_BYTES 16

/* As the resolver gives it: 4 or 16 bytes. */
struct address {
    unsigned char bytes[ADDRESS_BYTES];
};

enum answer {
    ANSWER_UNKNOWN = 0, /* nothing that tells */
    ANSWER_NONE,        /* the name does not exist, or has no address of the family */
    ANSWER_OK,
};

/* One name in one family, within a read. */
struct query {
    struct host_names *names;
    struct evdns_request *request; /* NULL when it has ended; the base's */
    enum answer answer;
    int code; /* DNS_ERR_ of what is not OK */
    struct address found[HOST_NAMES_ADDRESSES_MAX];
    size_t found_count;
};

enum family { FAMILY_V4 = 0, FAMILY_V6, FAMILIES };

struct entry {
    char *name;   /* owned */
    bool literal; /* never read */
    int family;   /* enum family; -1 = not known yet */
    struct query queries[FAMILIES];
    struct address last[HOST_NAMES_ADDRESSES_MAX]; /* of the last good answer, sorted */
    size_t last_count;
    bool twice;
    char (*known)[IP_SIZE]; /* owned */
    size_t known_count;
    char problem[ERR_MSG_SIZE];
};

struct host_names {
    struct loop *loop;
    size_t wanted;
    char *server; /* owned */
    struct rng rng;
    void (*on_change)(void *ctx);
    void *ctx;
    bool hurry;
    struct entry *entries; /* owned */
    size_t count;
    struct loop_timer *timer;
    struct evdns_base *base; /* of the read that is under way; owned */
    size_t pending;
    struct loop_deferred end;
};

static const int families[FAMILIES] = {AF_INET, AF_INET6};
static const size_t sizes[FAMILIES] = {4, 16};

static int address_cmp(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct address));
}

static const char *answer_text(int code)
{
    switch (code) {
    case DNS_ERR_NOTEXIST:
        return "there is no such name (NXDOMAIN)";
    case DNS_ERR_NODATA:
        return "the name has no address";
    case DNS_ERR_TIMEOUT:
        return "no name server answers";
    case DNS_ERR_SERVERFAILED:
        return "the name server failed (SERVFAIL)";
    case DNS_ERR_REFUSED:
        return "the name server refuses (REFUSED)";
    case DNS_ERR_TRUNCATED:
        return "the answer does not fit into a UDP packet: too many addresses for discovery: dns";
    default:
        return "the name server's answer is not understood";
    }
}

static void entry_set_family(struct entry *entry, const char *literal)
{
    if (literal[0])
        entry->family = strchr(literal, ':') ? FAMILY_V6 : FAMILY_V4;
}

/* Known addresses become exactly `addresses`; true if that is news. */
static bool entry_put(struct entry *entry, const char (*addresses)[IP_SIZE], size_t count)
{
    bool same = count == entry->known_count &&
                (!count || memcmp(addresses, entry->known, count * sizeof *addresses) == 0);
    if (same)
        return false;
    free(entry->known);
    entry->known = xcalloc(count, sizeof *entry->known);
    memcpy(entry->known, addresses, count * sizeof *addresses);
    entry->known_count = count;
    return true;
}

static bool entry_is_known(const char (*known)[IP_SIZE], size_t count, const char *address)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(known[i], address) == 0)
            return true;
    return false;
}

static int text_cmp(const void *a, const void *b)
{
    struct address one = {0};
    struct address two = {0};
    int family = strchr(a, ':') ? AF_INET6 : AF_INET;
    (void)inet_pton(family, a, one.bytes);
    (void)inet_pton(family, b, two.bytes);
    return address_cmp(&one, &two);
}

/* A good answer: all that is known if it is complete, else more than was known. */
static bool entry_learn(struct host_names *names, struct entry *entry, const struct query *query)
{
    bool repeated =
        entry->last_count == query->found_count &&
        memcmp(entry->last, query->found, query->found_count * sizeof *query->found) == 0;
    bool confirmed = repeated && !entry->twice;
    memcpy(entry->last, query->found, query->found_count * sizeof *query->found);
    entry->last_count = query->found_count;
    entry->twice = repeated;
    char all[NODES_MAX][IP_SIZE] = {{0}};
    size_t count = 0;
    for (; count < query->found_count; count++)
        (void)inet_ntop(families[entry->family], query->found[count].bytes, all[count], IP_SIZE);
    bool partial = query->found_count < names->wanted;
    for (size_t i = 0; partial && i < entry->known_count && count < NODES_MAX; i++)
        if (!entry_is_known((const char(*)[IP_SIZE])all, count, entry->known[i]))
            memcpy(all[count++], entry->known[i], IP_SIZE);
    qsort(all, count, sizeof *all, text_cmp);
    return entry_put(entry, (const char(*)[IP_SIZE])all, count) || confirmed;
}

/* Both families of a name have ended. */
static bool entry_judge(struct host_names *names, struct entry *entry)
{
    const struct query *v4 = &entry->queries[FAMILY_V4];
    const struct query *v6 = &entry->queries[FAMILY_V6];
    if (entry->family < 0 && v4->answer == ANSWER_OK)
        entry->family = FAMILY_V4;
    else if (entry->family < 0 && v4->answer == ANSWER_NONE && v6->answer == ANSWER_OK)
        entry->family = FAMILY_V6;
    const struct query *query = entry->family == FAMILY_V6 ? v6 : v4;
    if (query->answer == ANSWER_OK) {
        entry->problem[0] = '\0';
        return entry_learn(names, entry, query);
    }
    bool news = entry->twice || !entry->problem[0];
    entry->twice = false;
    text_format(entry->problem, sizeof entry->problem, "%s: %s", entry->name,
                answer_text(query->code));
    return news;
}

/* ---- a read ---- */

static void names_schedule(struct host_names *names)
{
    int64_t period_ms = names->hurry ? HOST_NAMES_HURRY_MS : HOST_NAMES_PERIOD_MS;
    int64_t jitter_ms = (int64_t)rng_below(&names->rng, (uint64_t)period_ms / 4 + 1);
    loop_timer_arm(names->timer, period_ms - jitter_ms);
}

static void names_on_end(void *ctx)
{
    struct host_names *names = ctx;
    bool news = false;
    evdns_base_free(TAKE(names->base), 0);
    for (size_t i = 0; i < names->count; i++)
        if (!names->entries[i].literal)
            news |= entry_judge(names, &names->entries[i]);
    names_schedule(names);
    if (news)
        names->on_change(names->ctx);
}

static void query_end(struct query *query)
{
    query->request = NULL;
    if (--query->names->pending == 0)
        loop_defer(query->names->loop, &query->names->end, names_on_end, query->names);
}

static void query_on_answer(int code, char type, int count, int ttl, void *addresses, void *ctx)
{
    struct query *query = ctx;
    (void)ttl;
    query->code = code;
    if (code == DNS_ERR_NOTEXIST || code == DNS_ERR_NODATA ||
        (code == DNS_ERR_NONE && count == 0)) {
        query->code = code == DNS_ERR_NONE ? DNS_ERR_NODATA : code;
        query->answer = ANSWER_NONE;
    } else if (code == DNS_ERR_NONE && (type == DNS_IPv4_A || type == DNS_IPv6_AAAA)) {
        size_t size = sizes[type == DNS_IPv4_A ? FAMILY_V4 : FAMILY_V6];
        const unsigned char *bytes = addresses;
        query->answer = ANSWER_OK;
        for (size_t i = 0; i < (size_t)count && i < HOST_NAMES_ADDRESSES_MAX; i++)
            memcpy(query->found[query->found_count++].bytes, bytes + i * size, size);
        qsort(query->found, query->found_count, sizeof *query->found, address_cmp);
    }
    query_end(query);
}

static void query_start(struct host_names *names, const struct entry *entry, struct query *query,
                        enum family family)
{
    *query = (struct query){.names = names, .code = DNS_ERR_TIMEOUT};
    query->request =
        family == FAMILY_V4
            ? evdns_base_resolve_ipv4(names->base, entry->name, 0, query_on_answer, query)
            : evdns_base_resolve_ipv6(names->base, entry->name, 0, query_on_answer, query);
    if (!query->request)
        query_end(query);
}

/* What it has to say is said by entry_judge(), once. */
static void names_on_log(int is_warning, const char *text)
{
    (void)is_warning, (void)text;
}

static struct evdns_base *names_open_base(const struct host_names *names)
{
    static const struct {
        const char *key, *value;
    } options[] = {
        {"timeout:", "1"},
        {"attempts:", "2"},
        {"randomize-case:", "0"}, /* not every server gives the case back */
        {"max-timeouts:", "255"}, /* a server is never given up within one read */
    };
    struct evdns_base *base =
        evdns_base_new(loop_base(names->loop), EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    assert(base);
    evdns_set_log_fn(names_on_log);
    if (names->server[0])
        (void)evdns_base_nameserver_ip_add(base, names->server);
    else
        (void)evdns_base_resolv_conf_parse(base, DNS_OPTION_NAMESERVERS | DNS_OPTION_SEARCH,
                                           RESOLV_CONF);
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        (void)evdns_base_set_option(base, options[i].key, options[i].value);
    return base;
}

static void names_read(void *ctx)
{
    struct host_names *names = ctx;
    names->base = names_open_base(names);
    names->pending = 1; /* until all are asked */
    for (size_t i = 0; i < names->count; i++) {
        struct entry *entry = &names->entries[i];
        for (int family = 0; !entry->literal && family < FAMILIES; family++) {
            names->pending++;
            query_start(names, entry, &entry->queries[family], (enum family)family);
        }
    }
    if (--names->pending == 0)
        loop_defer(names->loop, &names->end, names_on_end, names);
}

/* ---- interface ---- */

static void entry_init(struct entry *entry, const char *name, const char *prefer)
{
    struct address address = {0};
    entry->name = xstrdup(name);
    entry->family = -1;
    int family = strchr(name, ':') ? AF_INET6 : AF_INET;
    entry->literal = inet_pton(family, name, address.bytes) == 1;
    entry_set_family(entry, entry->literal ? name : prefer);
    if (!entry->literal) {
        text_format(entry->problem, sizeof entry->problem, "%s: not answered yet", name);
        return;
    }
    char text[1][IP_SIZE] = {{0}};
    (void)inet_ntop(family, address.bytes, text[0], IP_SIZE);
    (void)entry_put(entry, (const char(*)[IP_SIZE])text, 1);
    entry->last_count = 1;
    entry->twice = true;
}

struct host_names *host_names_new(struct loop *loop, const struct host_names_config *config)
{
    struct host_names *names = xcalloc(1, sizeof *names);
    bool any = false;
    names->loop = loop;
    names->wanted = config->wanted;
    names->server = xstrdup(config->server);
    names->rng.state = config->seed;
    names->on_change = config->on_change;
    names->ctx = config->ctx;
    names->count = config->count;
    names->entries = xcalloc(config->count, sizeof *names->entries);
    for (size_t i = 0; i < config->count; i++) {
        entry_init(&names->entries[i], config->names[i], config->prefer);
        any |= !names->entries[i].literal;
    }
    names->timer = loop_timer_new(loop, names_read, names);
    if (any)
        loop_timer_arm(names->timer, 0);
    return names;
}

void host_names_free(struct host_names *names)
{
    if (!names)
        return;
    if (names->base)
        evdns_base_free(names->base, 0);
    loop_undefer(names->loop, &names->end);
    loop_timer_free(names->timer);
    for (size_t i = 0; i < names->count; i++) {
        free(names->entries[i].name);
        free(names->entries[i].known);
    }
    free(names->entries);
    free(names->server);
    free(names);
}

struct host_name host_names_get(const struct host_names *names, size_t index)
{
    const struct entry *entry = &names->entries[index];
    return (struct host_name){
        .addresses = (const char(*)[IP_SIZE])entry->known,
        .count = entry->known_count,
        .answered = entry->last_count,
        .twice = entry->twice,
        .problem = entry->problem,
    };
}

void host_names_hurry(struct host_names *names, bool on)
{
    if (names->hurry == on)
        return;
    names->hurry = on;
    if (on && !names->base && loop_timer_armed(names->timer))
        names_schedule(names);
}
