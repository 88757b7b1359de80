/* SPDX-License-Identifier: Apache-2.0 */
#include "io/slot_keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"

#define NUMBER_SIZE 24
#define REFUSAL_SIZE 128
/* MIGRATE host port "" 0 timeout REPLACE AUTH2 user password KEYS */
#define MIGRATE_WORDS 11

void slot_keys_init(struct slot_keys *keys)
{
    *keys = (struct slot_keys){0};
    buf_init(&keys->names, REDIS_REPLY_MAX);
}

void slot_keys_deinit(struct slot_keys *keys)
{
    buf_deinit(&keys->names);
    free(keys->sizes);
    free(keys->bytes);
}

int slot_keys_take(struct slot_keys *keys, const struct reply *replies, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += replies[i].item_count;
    buf_clear(&keys->names);
    free(keys->sizes);
    free(keys->bytes);
    keys->sizes = xcalloc(total ? total : 1, sizeof *keys->sizes);
    keys->bytes = xcalloc(total ? total : 1, sizeof *keys->bytes);
    total = 0;
    for (size_t i = 0; i < count; i++) {
        keys->first[i] = total;
        for (size_t k = 0; replies[i].kind == REPLY_LIST && k < replies[i].item_count; k++) {
            struct span name = replies[i].items[k];
            (void)buf_append(&keys->names, name.ptr, name.len);
            keys->sizes[total++] = name.len;
        }
    }
    keys->first[count] = keys->total = total;
    keys->tried_all = false;
    return keys->names.failed ? E_LIMIT : 0;
}

size_t slot_keys_count(const struct slot_keys *keys, size_t nth)
{
    return keys->first[nth + 1] - keys->first[nth];
}

/* AUTH2 user password, or AUTH password, as the link's own AUTH has it: how many words. */
static size_t keys_auth(const struct slot_keys *keys, const struct redis_auth *us,
                        struct span *words)
{
    struct peer_command auth;
    if (keys->secret >= redis_auth_count(us))
        return 0;
    redis_auth_command(us, keys->secret, &auth);
    words[0] = span_of(auth.word_count == 3 ? "AUTH2" : "AUTH");
    for (size_t i = 1; i < auth.word_count; i++)
        words[i] = auth.words[i];
    return auth.word_count;
}

/* Behind the last of the nth slot's keys that go together. */
static size_t keys_end(const struct slot_keys *keys, size_t nth, int64_t limit)
{
    size_t i = keys->first[nth];
    int64_t sum = 0;
    for (; limit && i < keys->first[nth + 1]; i++) {
        if (i > keys->first[nth] && keys->bytes[i] > limit - sum)
            return i;
        sum = keys->bytes[i] > limit ? limit : sum + keys->bytes[i];
    }
    return keys->first[nth + 1];
}

void slot_keys_send(const struct slot_keys *keys, size_t nth, int64_t limit,
                    const struct slot_keys_dest *dest, struct redis_link *link)
{
    char port[NUMBER_SIZE];
    char timeout[NUMBER_SIZE];
    size_t first = keys->first[nth];
    size_t end = keys_end(keys, nth, limit);
    struct span *words = xcalloc(MIGRATE_WORDS + end - first, sizeof *words);
    size_t count = 0;
    text_format(port, sizeof port, "%u", dest->port);
    text_format(timeout, sizeof timeout, "%d", SLOT_KEYS_MIGRATE_MS);
    words[count++] = span_of("MIGRATE");
    words[count++] = span_of(dest->ip);
    words[count++] = span_of(port);
    words[count++] = span_of("");
    words[count++] = span_of("0");
    words[count++] = span_of(timeout);
    words[count++] = span_of("REPLACE");
    count += keys_auth(keys, dest->auth, &words[count]);
    words[count++] = span_of("KEYS");
    const char *name = buf_str(&keys->names);
    for (size_t i = 0; i < first; i++)
        name += keys->sizes[i];
    for (size_t i = first; i < end; i++) {
        words[count++] = (struct span){name, keys->sizes[i]};
        name += keys->sizes[i];
    }
    redis_link_send_long(link, &(struct link_command){words, count}, 1);
    free(words);
}

bool slot_keys_tries_again(struct slot_keys *keys, struct span refusal,
                           const struct redis_auth *auth)
{
    static const char *const words[] = {"WRONGPASS", "NOAUTH", "invalid password"};
    size_t secrets = redis_auth_count(auth);
    size_t len = refusal.len < REFUSAL_SIZE - 1 ? refusal.len : REFUSAL_SIZE - 1;
    char text[REFUSAL_SIZE];
    text_format(text, sizeof text, "%.*s", (int)len, refusal.ptr);
    bool denied = false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        denied |= strstr(text, words[i]) != NULL;
    if (!denied || secrets < 2 || keys->tried_all)
        return false;
    keys->secret = (keys->secret + 1) % secrets;
    keys->tried_all = true;
    return true;
}
