/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another number of pods would mean, as JSON: `muster plan --replicas N --json`. On one line, keys
 * in a fixed order; what is not known is null.
 *
 *     {"pods": {"now","then"}, "shards": {"now","then"}, "replicasPerPrimary",
 *      "slots","keys","bytes", "fits": true|false|null,
 *      "handOvers": [{"from","to","slots"}],
 *      "moves": [{"from","to","slots","ranges":"0-99,200","keys","bytes"}],
 *      "copies": [{"pod","primary"}],
 *      "primaries": [{"pod","slots","replicas","memoryBytes","maxMemoryBytes","fits"}],
 *      "unserved": [{"primary","slots":"0-5460","slotCount"}],
 *      "warnings": ["sentence"]}
 */
#ifndef MUSTER_WIRE_SCALING_JSON_H
#define MUSTER_WIRE_SCALING_JSON_H

#include "base/buf.h"
#include "core/scaling.h"

/* Appends the line without its newline. 0, or E_LIMIT past the buffer's ceiling. */
int scaling_json_format(struct buf *out, const struct scaling *scaling);

#endif
