/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster node's id: 40 lower-case hex digits chosen by the server, kept in its nodes.conf.
 * A struct of its own so that it can never be swapped with another string.
 */
#ifndef MUSTER_CORE_IDS_H
#define MUSTER_CORE_IDS_H

#include <stdbool.h>

#include "base/text.h"

#define RUN_ID_SIZE 41 /* 40 hex digits: of a process (run_id), of a replication history (replid) */

#define NODE_ID_LEN 40

struct node_id {
    char hex[NODE_ID_LEN + 1]; /* "" is no id */
};

/* Exactly 40 of [0-9a-f]; false, output untouched, otherwise. */
bool node_id_parse(struct span text, struct node_id *ret_id);

bool node_id_is_set(const struct node_id *id);
bool node_id_eq(const struct node_id *a, const struct node_id *b);

/* Order by hex digits, for sorting; "" first. */
int node_id_cmp(const struct node_id *a, const struct node_id *b);

#endif
