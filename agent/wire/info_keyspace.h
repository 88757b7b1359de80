/* SPDX-License-Identifier: Apache-2.0 */
/* The lines "db0:keys=12,expires=0,avg_ttl=0" of INFO keyspace. */
#ifndef MUSTER_WIRE_INFO_KEYSPACE_H
#define MUSTER_WIRE_INFO_KEYSPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"

struct keyspace {
    int64_t keys;  /* in all databases */
    bool expiring; /* some of them, unless it is told that none do */
};

/* Adds one line to *keyspace; others than of a database are left alone. 0, or E_PROTO. */
int info_keyspace_parse(struct span name, struct span value, struct keyspace *keyspace,
                        struct err *err);

#endif
