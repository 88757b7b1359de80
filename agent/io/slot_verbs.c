/* SPDX-License-Identifier: Apache-2.0 */
#include "io/slot_verbs.h"

#include <assert.h>

#include "base/text.h"

static struct span verbs_number(char *text, int number)
{
    text_format(text, SLOT_VERBS_NUMBER_SIZE, "%d", number);
    return span_of(text);
}

void slot_verbs_put(struct slot_verbs *verbs, const char *verb, int slot, int number)
{
    assert(verbs->count < SLOT_VERBS_MAX);
    size_t n = verbs->count++;
    struct span *words = verbs->words[n];
    size_t count = 0;
    words[count++] = span_of("CLUSTER");
    words[count++] = span_of(verb);
    if (slot >= 0)
        words[count++] = verbs_number(verbs->numbers[n][0], slot);
    if (number >= 0)
        words[count++] = verbs_number(verbs->numbers[n][1], number);
    verbs->commands[n] = (struct link_command){words, count};
}
