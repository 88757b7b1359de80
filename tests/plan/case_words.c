/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/case_words.h"

#include <string.h>

#include "base/cleanup.h"
#include "lib/world_build.h"

bool case_value(struct span words, const char *key, struct span *ret_value)
{
    struct span word;
    size_t len = strlen(key);
    while (span_token(&words, &word)) {
        if (word.len > len && word.ptr[len] == '=' && strncmp(word.ptr, key, len) == 0) {
            *ret_value = (struct span){word.ptr + len + 1, word.len - len - 1};
            return true;
        }
    }
    return false;
}

bool case_word(struct span words, const char *wanted)
{
    struct span word;
    while (span_token(&words, &word))
        if (span_is(word, wanted))
            return true;
    return false;
}

bool case_number(struct span words, const char *key, int64_t *ret_number)
{
    struct span value;
    return case_value(words, key, &value) && text_to_i64(value, INT32_MIN, INT64_MAX, ret_number);
}

bool case_id(struct span text, struct node_id *ret_id)
{
    uint64_t number;
    if (!span_starts(text, "@") ||
        !text_to_u64((struct span){text.ptr + 1, text.len - 1}, 9999, &number))
        return false;
    *ret_id = world_build_id((size_t)number);
    return true;
}

void case_copy(struct span words, const char *key, char *dst, size_t size)
{
    struct span value;
    if (case_value(words, key, &value))
        text_format(dst, size, "%.*s", span_is(value, "-") ? 0 : (int)value.len, value.ptr);
}

bool case_flags(struct span words, uint32_t *ret_flags)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } names[] = {
        {"fail?", NODE_PFAIL},
        {"fail", NODE_FAIL},
        {"handshake", NODE_HANDSHAKE},
        {"noaddr", NODE_NOADDR},
        {"primary", NODE_PRIMARY},
        {"replica", NODE_REPLICA},
        {"-", 0},
    };
    struct span value;
    if (!case_value(words, "flags", &value))
        return false;
    *ret_flags = 0;
    while (value.len) {
        struct span name = span_until(&value, ',');
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (span_is(name, names[i].name))
                *ret_flags |= names[i].flag;
    }
    return true;
}

bool case_guards(struct span words, uint32_t *ret_guards)
{
    static const char *const names[] = {
        "virgin",   "record", "member", "restore", "forget", "rebirth", "gate",  "data", "unsynced",
        "failover", "kept",   "place",  "heir",    "fence",  "lease",   "pause", "spare"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (case_word(words, names[i]))
            *ret_guards |= UINT32_C(1) << i;
    return *ret_guards != 0;
}
