/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "wire/kube_read.h"

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* [a-z0-9]([-a-z0-9]*[a-z0-9])? */
static bool is_dns_part(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_lower_alnum(text.ptr[i]) && text.ptr[i] != '-')
            return false;
    return text.len && text.ptr[0] != '-' && text.ptr[text.len - 1] != '-';
}

bool kube_is_label(struct span text)
{
    return text.len < KUBE_LABEL_SIZE && is_dns_part(text);
}

/* As IsDNS1123Subdomain (apimachinery): only the whole length is bounded. */
bool kube_is_subdomain(struct span text)
{
    if (text.len == 0 || text.len >= KUBE_NAME_SIZE || text.ptr[text.len - 1] == '.')
        return false;
    while (text.len)
        if (!is_dns_part(span_until(&text, '.')))
            return false;
    return true;
}

bool kube_is_address(struct span text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    return TEXT_COPY(copy, text) &&
           (inet_pton(AF_INET, copy, &address) == 1 || inet_pton(AF_INET6, copy, &address) == 1);
}

bool kube_is_same_family(const char *address, const char *other)
{
    return !strchr(address, ':') == !strchr(other, ':');
}

bool kube_is_label_value(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_alnum(text.ptr[i]) && !strchr("-_.", text.ptr[i]))
            return false;
    return true;
}

bool kube_is_token(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_alnum(text.ptr[i]) && !strchr("-_.~:=+/", text.ptr[i]))
            return false;
    return true;
}

int kube_pod_ordinal(const char *pod_name)
{
    const char *dash = strrchr(pod_name, '-');
    uint64_t ordinal;
    if (!dash || !text_to_u64(span_of(dash + 1), INT32_MAX, &ordinal))
        return -1;
    return (int)ordinal;
}

struct civil {
    int64_t year;
    int64_t month;
    int64_t day;
};

/* Days since 1970-01-01 to a date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
static struct civil civil_from_days(int64_t days)
{
    int64_t z = days + 719468; /* since 0000-03-01; never negative here */
    int64_t era = z / 146097;
    int64_t doe = z % 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int64_t month = mp < 10 ? mp + 3 : mp - 9;
    return (struct civil){
        .year = yoe + era * 400 + (month <= 2),
        .month = month,
        .day = doy - (153 * mp + 2) / 5 + 1,
    };
}

/* A clock that is set before 1970 or after 9999 is wrong: the nearest time that can be written. */
static int64_t time_clamp(int64_t unix_ms)
{
    const int64_t last_ms = INT64_C(253402300799999);
    if (unix_ms < 0)
        return 0;
    return unix_ms > last_ms ? last_ms : unix_ms;
}

static void time_format(int64_t unix_ms, const char *fraction, char *dst)
{
    int64_t seconds = unix_ms / 1000;
    struct civil date = civil_from_days(seconds / 86400);
    text_format(dst, LEASE_TIME_SIZE,
                "%04" PRId64 "-%02" PRId64 "-%02" PRId64 "T%02" PRId64 ":%02" PRId64 ":%02" PRId64
                "%sZ",
                date.year, date.month, date.day, seconds / 3600 % 24, seconds / 60 % 60,
                seconds % 60, fraction);
}

void kube_time_format_micro(int64_t unix_ms, char *dst)
{
    char fraction[16];
    unix_ms = time_clamp(unix_ms);
    text_format(fraction, sizeof fraction, ".%03d000", (int)(unix_ms % 1000));
    time_format(unix_ms, fraction, dst);
}

void kube_time_format(int64_t unix_ms, char *dst)
{
    time_format(time_clamp(unix_ms), "", dst);
}

const char *kube_kind_name(enum kube_kind kind)
{
    switch (kind) {
    case KUBE_KIND_NONE:
        break;
    case KUBE_POD:
        return "Pod";
    case KUBE_STATEFUL_SET:
        return "StatefulSet";
    case KUBE_LEASE:
        return "Lease";
    case KUBE_ENDPOINT_SLICE:
        return "EndpointSlice";
    case KUBE_NODE:
        return "Node";
    case KUBE_CONFIG_MAP:
        return "ConfigMap";
    case KUBE_POD_METADATA:
        return "PartialObjectMetadata";
    }
    return "object";
}

void kube_put_head(struct buf *buf, const char *api_version, enum kube_kind kind,
                   const char *namespace, const char *name, const char *resource_version)
{
    assert(kube_is_label(span_of(namespace)) && kube_is_subdomain(span_of(name)));
    (void)buf_format(buf,
                     "{\"apiVersion\":\"%s\",\"kind\":\"%s\",\"metadata\":{\"namespace\":\"%s\","
                     "\"name\":\"%s\"",
                     api_version, kube_kind_name(kind), namespace, name);
    if (resource_version[0])
        json_put_field(buf, "resourceVersion", resource_version);
    (void)buf_append_str(buf, "}");
}
