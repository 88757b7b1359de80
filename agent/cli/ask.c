/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ask.h"

#include <assert.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/http_get.h"
#include "io/endpoint.h"
#include "wire/status_json.h"

/* "10.0.0.1:8008", "[::1]:8008", "::1", "localhost": splits off a port if there is one. */
static bool split_port(struct span text, struct span *ret_host, struct span *ret_port)
{
    ptrdiff_t colon = span_rfind(text, ':');
    bool bracketed = text.len && text.ptr[0] == '[';
    bool bare_v6 = !bracketed && colon >= 0 && span_find(text, ':') != colon;
    *ret_host = text;
    *ret_port = (struct span){"", 0};
    if (colon < 0 || bare_v6 || text.ptr[text.len - 1] == ']')
        return text.len > 0;
    *ret_port = (struct span){text.ptr + colon + 1, text.len - (size_t)colon - 1};
    *ret_host = (struct span){text.ptr, (size_t)colon};
    return ret_port->len > 0 && ret_host->len > 0;
}

static bool target_parse(struct span text, uint16_t port, struct cli_target *ret_target)
{
    struct span host;
    struct span port_text;
    struct endpoint endpoint;
    uint64_t number = port;
    if (!split_port(text, &host, &port_text))
        return false;
    if (port_text.len && (!text_to_u64(port_text, UINT16_MAX, &number) || number == 0))
        return false;
    if (span_is(host, "localhost"))
        host = span_of("127.0.0.1");
    if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = (struct span){host.ptr + 1, host.len - 2};
    if (!endpoint_parse(host, (uint16_t)number, &endpoint))
        return false;
    if (!TEXT_COPY(ret_target->host, host))
        return false;
    ret_target->port = (uint16_t)number;
    return true;
}

static bool is_given(const char *value)
{
    return value && value[0];
}

/* An agent that listens on every address is asked at its pod's, or on loopback. */
static bool is_wildcard(const char *address)
{
    static const char *const wildcards[] = {"[::]", "::", "0.0.0.0"};
    for (size_t i = 0; i < ARRAY_LEN(wildcards); i++)
        if (strcmp(address, wildcards[i]) == 0)
            return true;
    return false;
}

int cli_target_find(const char *address, const char *(*env)(const char *),
                    struct cli_target *ret_target, struct err *err)
{
    const char *port_text = env("MUSTER_HTTP_PORT");
    uint64_t port = CLI_PORT;
    if (is_given(port_text) && (!text_to_u64(span_of(port_text), UINT16_MAX, &port) || port == 0))
        return err_set(err, E_INVALID, "MUSTER_HTTP_PORT: %.80s is no port", port_text);
    const char *source = "--address";
    if (!address) {
        source = "MUSTER_HTTP_ADDRESS";
        address = env(source);
        if (!is_given(address) || is_wildcard(address)) {
            source = "POD_IP";
            address = env(source);
        }
        if (!is_given(address))
            address = "127.0.0.1";
    }
    if (!target_parse(span_of(address), (uint16_t)port, ret_target))
        return err_set(err, E_INVALID, "%s: %.80s is no IP address with or without a port", source,
                       address);
    return 0;
}

static int ask_one(const struct cli_target *target, struct arena *arena, struct status *ret_status,
                   struct err *err)
{
    bool v6 = strchr(target->host, ':') != NULL;
    struct endpoint endpoint;
    auto_buf struct buf body;
    buf_init(&body, STATUS_JSON_MAX);
    int r = E_INVALID;
    if (endpoint_parse(span_of(target->host), target->port, &endpoint))
        r = http_get(&endpoint, "/status", &body, err);
    else
        (void)err_set(err, E_INVALID, "no IP address");
    if (r == 0)
        r = status_json_parse((struct span){buf_str(&body), body.len}, arena, ret_status, err);
    if (r < 0)
        return err_wrap(err, "agent at %s%s%s:%u", v6 ? "[" : "", target->host, v6 ? "]" : "",
                        target->port);
    return 0;
}

static const struct status_pod *find_pod(const struct status *status, const char *name)
{
    for (size_t i = 0; i < status->pod_count; i++)
        if (strcmp(status->pods[i].name, name) == 0)
            return &status->pods[i];
    return NULL;
}

/* The leader's own answer instead of the one we have; "" or a note why not. */
static const char *follow(const struct cli_target *first, struct arena *arena,
                          struct status *status)
{
    struct cli_target target = {.port = first->port};
    struct status leaders = {0};
    struct err err = {0};
    assert(status->leader && status->pod); /* a status that was parsed has every string */
    if (status->is_leader)
        return "";
    if (!status->leader[0])
        return arena_format(arena, "no agent leads; this is what %s alone knows", status->pod);
    const struct status_pod *pod = find_pod(status, status->leader);
    if (!pod || !TEXT_COPY(target.host, span_of(pod->ip)))
        return arena_format(arena,
                            "the address of %s, which leads, is not known; this is what %s "
                            "alone knows",
                            status->leader, status->pod);
    if (ask_one(&target, arena, &leaders, &err) < 0)
        return arena_format(arena, "%s leads but cannot be asked (%s); this is what %s alone knows",
                            status->leader, err.msg, status->pod);
    *status = leaders;
    if (!leaders.is_leader)
        return arena_format(arena, "the lead is changing; this is what %s alone knows",
                            leaders.pod);
    return "";
}

int cli_ask(const struct cli_target *target, struct arena *arena, struct cli_answer *ret_answer,
            struct err *err)
{
    struct cli_answer answer = {0};
    int r = ask_one(target, arena, &answer.status, err);
    if (r < 0)
        return r;
    answer.note = follow(target, arena, &answer.status);
    *ret_answer = answer;
    return 0;
}
