/* SPDX-License-Identifier: Apache-2.0 */
/* A record of one's own, out of an arena that is about to be reset. */
#ifndef MUSTER_IO_RECORD_COPY_H
#define MUSTER_IO_RECORD_COPY_H

#include "base/arena.h"
#include "core/record.h"

/* The copy's arrays live in `arena`. */
void record_copy(const struct record *record, struct arena *arena, struct record *ret_copy);

#endif
