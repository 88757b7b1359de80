/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/info_keyspace.h"

int info_keyspace_parse(struct span name, struct span value, struct keyspace *keyspace,
                        struct err *err)
{
    struct span digits = name;
    uint64_t db;
    if (!span_starts(name, "db"))
        return 0;
    digits.ptr += 2;
    digits.len -= 2;
    if (!text_to_u64(digits, INT32_MAX, &db))
        return 0;
    struct span first = span_until(&value, ',');
    int64_t more;
    if (!span_is(span_until(&first, '='), "keys") ||
        !text_to_i64(first, 0, INT64_MAX - keyspace->keys, &more))
        return err_set(err, E_PROTO, "db%d: malformed number of keys", (int)db);
    keyspace->keys += more;
    if (!span_is(span_until(&value, ','), "expires=0"))
        keyspace->expiring = true;
    return 0;
}
