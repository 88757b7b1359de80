/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ids.h"

#include <string.h>

bool node_id_parse(struct span text, struct node_id *ret_id)
{
    if (text.len != NODE_ID_LEN)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    memcpy(ret_id->hex, text.ptr, NODE_ID_LEN);
    ret_id->hex[NODE_ID_LEN] = '\0';
    return true;
}

bool node_id_is_set(const struct node_id *id)
{
    return id->hex[0] != '\0';
}

bool node_id_eq(const struct node_id *a, const struct node_id *b)
{
    return node_id_cmp(a, b) == 0;
}

int node_id_cmp(const struct node_id *a, const struct node_id *b)
{
    return strcmp(a->hex, b->hex);
}
