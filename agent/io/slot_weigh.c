/* SPDX-License-Identifier: Apache-2.0 */
#include "io/slot_weigh.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/text.h"
#include "io/slot_verbs.h"

void slot_weigh_init(struct slot_weigh *weigh, int64_t limit, struct slot_keys *keys)
{
    *weigh = (struct slot_weigh){.limit = limit, .keys = keys};
}

void slot_weigh_reset(struct slot_weigh *weigh)
{
    weigh->next = 0;
    weigh->found[0] = '\0';
}

/* Half-way a slot is of no use to anyone, whatever its keys weigh. */
static bool weigh_concerns(const struct slot_seen *seen)
{
    return seen->source.owner == SLOT_OWNER_SOURCE && seen->source.open == SLOT_CLOSED &&
           seen->dest.open == SLOT_CLOSED && seen->source.keys > 0;
}

bool slot_weigh_list(struct slot_weigh *weigh, const uint16_t *slots, const struct slot_seen *seen,
                     size_t count, struct redis_link *link)
{
    struct slot_verbs *verbs = xcalloc(1, sizeof *verbs);
    int64_t room = SLOT_WEIGH_KEYS;
    weigh->group_count = 0;
    for (; weigh->limit && weigh->next < count && weigh->group_count < MOVER_WINDOW;
         weigh->next++) {
        const struct slot_seen *slot = &seen[weigh->next];
        if (!weigh_concerns(slot))
            continue;
        if (weigh->group_count && slot->source.keys > room)
            break;
        int64_t keys = slot->source.keys < room ? slot->source.keys : room;
        room -= keys;
        slot_verbs_put(verbs, "GETKEYSINSLOT", slots[weigh->next], (int)keys);
        weigh->group[weigh->group_count++] = weigh->next;
    }
    if (weigh->group_count)
        redis_link_send_long(link, verbs->commands, verbs->count);
    free(verbs);
    return weigh->group_count > 0;
}

int slot_weigh_names(struct slot_weigh *weigh, const struct reply *replies)
{
    int r = slot_keys_take(weigh->keys, replies, weigh->group_count);
    slot_weigh_begin(weigh);
    return r;
}

void slot_weigh_begin(struct slot_weigh *weigh)
{
    weigh->nth = 0;
    weigh->name = buf_str(&weigh->keys->names);
}

bool slot_weigh_send(struct slot_weigh *weigh, struct redis_link *link)
{
    struct span words[SLOT_WEIGH_EXCHANGE][3];
    struct link_command commands[SLOT_WEIGH_EXCHANGE];
    const char *name = weigh->name;
    weigh->sent = 0;
    while (weigh->limit && weigh->sent < SLOT_WEIGH_EXCHANGE &&
           weigh->nth + weigh->sent < weigh->keys->total) {
        size_t size = weigh->keys->sizes[weigh->nth + weigh->sent];
        struct span *command = words[weigh->sent];
        command[0] = span_of("MEMORY");
        command[1] = span_of("USAGE");
        command[2] = (struct span){name, size};
        commands[weigh->sent++] = (struct link_command){command, 3};
        name += size;
    }
    if (weigh->sent)
        redis_link_send_long(link, commands, weigh->sent);
    return weigh->sent > 0;
}

static void weigh_note(struct slot_weigh *weigh, size_t size, int64_t bytes)
{
    size_t len = size < SLOT_WEIGH_NAME_SIZE - 1 ? size : SLOT_WEIGH_NAME_SIZE - 1;
    for (size_t i = 0; i < len; i++)
        weigh->found[i] = isprint((unsigned char)weigh->name[i]) ? weigh->name[i] : '?';
    weigh->found[len] = '\0';
    weigh->found_bytes = bytes;
}

void slot_weigh_take(struct slot_weigh *weigh, const struct reply *replies)
{
    for (size_t i = 0; i < weigh->sent; i++, weigh->nth++) {
        size_t size = weigh->keys->sizes[weigh->nth];
        int64_t bytes = replies[i].kind == REPLY_INTEGER ? replies[i].integer : 0;
        weigh->keys->bytes[weigh->nth] = bytes;
        if (bytes > weigh->limit)
            weigh_note(weigh, size, bytes);
        weigh->name += size;
    }
}

void slot_weigh_mark(struct slot_weigh *weigh, struct slot_seen *seen)
{
    const struct slot_keys *keys = weigh->keys;
    for (size_t slot = 0; slot < weigh->group_count; slot++)
        for (size_t i = keys->first[slot]; i < keys->first[slot + 1]; i++)
            seen[weigh->group[slot]].big |= keys->bytes[i] > weigh->limit;
}
